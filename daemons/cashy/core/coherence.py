"""When a host of a cluster may take what it knows of an object for current: leases, promises and rounds.

Law. Every decision of the coherence protocol is made here, from values; no message, clock or task. Times are nanoseconds of the *own* host's
monotonic clock, lengths of time travel, points in time never do. What is done with the decisions is :mod:`cashy.master.coherence`'s.

A host may be dead, frozen or cut off, and nobody can tell which. So each host asks all others for a *lease* again and again. Who grants one
promises that no change it has noted meanwhile is acknowledged to a writer before the lease has ended, unless the holder was told of it; every
renewal tells the holder what was noted since the last. A host believes what it validated at time v while it holds leases of r hosts (itself
counted) each of which has told it everything since before v. A change is acknowledged when w hosts (the writer's counted) have noted it, and
of the hosts that did not confirm none holds a promise of those w any more.

Why that suffices, with r + w = hosts + 1: let a change be applied at the store after v and acknowledged at time t, and a reader use what it
validated at v later than t. One host X is both among the w that noted the change and among the r whose leases the reader holds. X noted it
after v (it is noted after it was applied). Was the reader's present lease granted before X noted the change, then its promise had ended by t, and
the lease ended sooner. Was it granted afterwards by the same incarnation of X, then it told the change, and the reader dropped what it knew. Was
it granted by a later incarnation, then X has told everything only since after v, and is none of the r. Was it granted by an earlier one, then X
had forgotten its promises when it noted the change; for that reason a host does not count among the w for one lease's length after its start.

So the smaller half of the hosts may be silent at no cost to reading. A host that holds too few leases asks the origin at each read, and
through a host that reaches too few others nothing can be changed.

All of this is by one list of hosts. While the list changes it is by several at a time (``electorates``, the names of each): w of each, r of each,
and the proof is applied to the one that writer and reader have in common, which :mod:`cashy.core.membership` proves to exist.

Rejected: leases of *all* hosts (one dead host, and every read of every host asks the origin); an elected authority (consensus is a dependency,
and a cache has a truth to fall back on: the origin); believing for a fixed time only (old bytes as current, after each partition).

Sources: Gray and Cheriton, "Leases" (SOSP 1989); Gifford, "Weighted Voting for Replicated Data" (SOSP 1979).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = [
    "NO_WORD", "Change", "Grant", "Leases", "ListId", "Promises", "Round", "Terms", "Word", "quorums",
]  # fmt: skip

#: A lease ends this much sooner for its holder than for who promised it: two clocks that differ in speed by less than that are covered.
_DRIFT_SHARE = 20

_FOR_EVER = (1 << 63) - 1

#: What a change takes in a message beside its names.
_CHANGE_BYTES = 20


def quorums(host_count: int) -> tuple[int, int]:
    """``(w, r)``: how many hosts note a change before it counts, and how many leases make a host believe what it knows."""
    write = (host_count + 1) // 2
    return write, host_count + 1 - write


class ListId(NamedTuple):
    """Names a list: its number, and 64 bits made from its hosts' names, which are all that quorums depend on."""

    version: int
    digest: int


class Word(NamedTuple):
    """What a host says of itself: the lists it counts by, oldest first, and whether it acts. No lists: it says nothing."""

    counted: tuple[ListId, ...]
    acts: bool


NO_WORD = Word((), acts=False)


class Change(NamedTuple):
    """An object's change as it is told: begun, or over; ``by`` is the name of the host it goes through."""

    name: str
    is_over: bool
    by: str


class Grant(NamedTuple):
    """A lease as granted. ``duration_ns`` 0: none yet, there is more to tell. ``is_complete``: every change since the number asked with was told."""

    incarnation: int
    number: int
    duration_ns: int
    is_complete: bool
    changes: tuple[Change, ...]
    word: Word = NO_WORD


class Terms(NamedTuple):
    """What was validated at or after ``doubted_before_ns`` is current until ``coherent_until_ns``."""

    coherent_until_ns: int
    doubted_before_ns: int


@dataclass(slots=True)
class _Lease:
    incarnation: int = 0
    number: int = 0
    since_ns: int = 0
    until_ns: int = 0


class Leases:
    """What one host holds of the others."""

    def __init__(self, others: Iterable[str], started_ns: int, own: str = "") -> None:
        self._own = own
        self._held = {name: _Lease() for name in others}
        self._started_ns = started_ns
        self._doubted_before_ns = started_ns
        self._electorates = [frozenset([own, *self._held])]

    def count_by(self, others: Iterable[str], electorates: Iterable[frozenset[str]]) -> None:
        """The lists have changed: from now on leases are asked of ``others``. What is held of those who stay, stays."""
        self._held = {name: self._held.get(name) or _Lease() for name in others}
        self._electorates = list(electorates)

    def doubt_before(self, now_ns: int) -> None:
        """What was validated before is not believed any more, whatever leases say."""
        self._doubted_before_ns = max(self._doubted_before_ns, now_ns)

    def question(self, host: str) -> tuple[int, int]:
        """``(incarnation, number)``: up to where ``host`` has told its changes; zeros at first."""
        lease = self._held[host]
        return lease.incarnation, lease.number

    def granted(self, host: str, grant: Grant, asked_ns: int, now_ns: int) -> None:
        """An answer of ``host`` to a question sent at ``asked_ns``, after the changes it tells were taken in."""
        lease = self._held.get(host)
        if lease is None:
            return  # it has left meanwhile
        if grant.incarnation != lease.incarnation or not grant.is_complete:
            lease.incarnation = grant.incarnation
            lease.since_ns = now_ns
            lease.until_ns = 0
        lease.number = grant.number
        if grant.duration_ns:
            lasts_ns = grant.duration_ns - grant.duration_ns // _DRIFT_SHARE
            lease.until_ns = max(lease.until_ns, asked_ns + lasts_ns)

    def terms(self, now_ns: int) -> Terms | None:
        """On which terms this host may believe what it knows; None: not at all, too few leases hold."""
        doubted_before_ns = self._doubted_before_ns
        by_list = []
        for electorate in self._electorates:
            holding = self._holding(electorate, now_ns)
            needed = self._needed(electorate)
            if len(holding) < needed:
                return None
            doubted_before_ns = max(
                doubted_before_ns, sorted(since_ns for since_ns, _ in holding)[needed - 1]
            )
            by_list.append((holding, needed))
        until_ns = _FOR_EVER
        for holding, needed in by_list:
            ends = [until_ns for since_ns, until_ns in holding if since_ns <= doubted_before_ns]
            until_ns = min(until_ns, sorted(ends, reverse=True)[needed - 1])
        return Terms(until_ns, doubted_before_ns)

    def _holding(self, electorate: frozenset[str], now_ns: int) -> list[tuple[int, int]]:
        """Since when each lease of these hosts tells everything, and until when it lasts; this host's own for ever."""
        held = self._held
        # All that are held, if there is but one list: a thousand of them are gone through at each answer.
        leases = (
            held.values()
            if len(self._electorates) == 1
            else [held[name] for name in electorate if name in held]
        )
        holding = [(lease.since_ns, lease.until_ns) for lease in leases if lease.until_ns > now_ns]
        if self._own in electorate:
            holding.append((self._started_ns, _FOR_EVER))
        return holding

    @staticmethod
    def _needed(electorate: frozenset[str]) -> int:
        return quorums(len(electorate))[1]


class Promises:
    """What one host has granted to the others, and the changes it has noted: the last ``remembered_max`` of them."""

    def __init__(self, *, incarnation: int, started_ns: int, lease_ns: int, remembered_max: int) -> None:
        self.incarnation = incarnation
        self.lease_ns = lease_ns
        self._counts_from_ns = started_ns + lease_ns
        self._promised_until_ns: dict[str, int] = {}
        self._noted: deque[Change] = deque(maxlen=remembered_max)
        self._number = 0  # of the last one noted

    def note(self, changes: Iterable[Change], now_ns: int) -> dict[str, int]:
        """Keeps changes, to be told with the next leases; gives for how many nanoseconds more each host holds a promise without knowing of them.

        Whatever was granted before now counts, told or not: nobody knows which answers have arrived.
        """
        for change in changes:
            self._noted.append(change)
            self._number += 1
        live = {host: until_ns for host, until_ns in self._promised_until_ns.items() if until_ns > now_ns}
        self._promised_until_ns = live
        return {host: until_ns - now_ns for host, until_ns in live.items()}

    def given_back(self, host: str) -> None:
        """``host`` believes nothing any more: what was promised to it holds nobody up."""
        self._promised_until_ns[host] = 0

    def counts_in_ns(self, now_ns: int) -> int:
        """In how many nanoseconds this host counts among those that have noted a change: earlier it may have forgotten promises."""
        return max(0, self._counts_from_ns - now_ns)

    def grant(self, host: str, incarnation: int, number: int, now_ns: int, names_bytes_max: int) -> Grant:
        """A lease for ``host``, which was told changes up to ``number`` by ``incarnation``; so many bytes of names are told at once, or one name.

        The promise begins here, and the lease when the question was sent: sooner.
        """
        oldest = self._number - len(self._noted)  # everything up to it is forgotten
        is_known = incarnation == self.incarnation and oldest <= number <= self._number
        start = number if is_known else self._number
        changes = self._since(start, names_bytes_max)
        told = start + len(changes)
        is_all = told == self._number
        if is_all:
            self._promised_until_ns[host] = now_ns + self.lease_ns
        return Grant(self.incarnation, told, self.lease_ns if is_all else 0, is_known, changes)

    def _since(self, number: int, names_bytes_max: int) -> tuple[Change, ...]:
        found: list[Change] = []
        size_bytes = 0
        for at in range(len(self._noted) - (self._number - number), len(self._noted)):
            change = self._noted[at]
            size_bytes += len(change.name.encode()) + len(change.by.encode()) + _CHANGE_BYTES
            if found and size_bytes > names_bytes_max:
                break
            found.append(change)
        return tuple(found)


@dataclass(slots=True)
class Round:
    """One change (or several) on its way to ``hosts``, by one list of them unless :meth:`count_by` says otherwise: when is it known wherever it could
    matter?
    """

    hosts: Sequence[str]
    #: By host that noted it: from when it counts, and until when its promises to others last.
    _noted: dict[str, tuple[int, dict[str, int]]] = field(default_factory=dict)
    _electorates: Sequence[frozenset[str]] = ()

    def count_by(self, hosts: Sequence[str], electorates: Sequence[frozenset[str]]) -> None:
        """The lists have changed; what was noted stays noted."""
        self.hosts = hosts
        self._electorates = electorates

    def noted(self, host: str, counts_in_ns: int, outstanding: Mapping[str, int], now_ns: int) -> None:
        """``host`` has noted it; what it says of lengths of time counts from now."""
        ends = {other: now_ns + left_ns for other, left_ns in outstanding.items()}
        self._noted[host] = now_ns + counts_in_ns, ends

    @property
    def silent(self) -> list[str]:
        """Hosts that have not noted it."""
        return [host for host in self.hosts if host not in self._noted]

    def over_at(self) -> int | None:
        """When the change is known to all who believe what they know, given what is noted by now (0: already); None: too few hosts have noted it."""
        silent = self.silent
        over_at_ns = 0  # where all were told nobody's promise matters
        for electorate in self._electorates or [frozenset(self.hosts)]:
            write, _ = quorums(len(electorate))
            noted = [self._noted[host] for host in electorate if host in self._noted]
            if len(noted) < write:
                return None
            if silent:
                free_at = sorted(
                    max(counts_from_ns, *(ends.get(host, 0) for host in silent))
                    for counts_from_ns, ends in noted
                )
                over_at_ns = max(over_at_ns, free_at[write - 1])
        return over_at_ns
