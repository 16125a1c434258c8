"""What this host has learnt of those it reads from: how long each takes, what is under way there, who is asked first, and when a second one is."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

from cashy.core.candidates import (
    LOST_IN_A_ROW,
    MISS_UNKNOWN_S,
    PROBE_FIRST_S,
    PROBE_MAX_S,
    SLOW_MARGIN_S,
    Candidate,
    in_order,
    is_slow,
)
from cashy.core.hedging import Hedging
from cashy.core.latency import Latencies

__all__ = ["PROBE_ALONE_AFTER_S", "SILENT_READS", "SilentRead", "Sources"]

#: A slow host is asked again after so long even if nobody may be asked beside it: one read is slow then.
PROBE_ALONE_AFTER_S = 2.0

#: So many reads must have given no sign for a host to count as slow before one of them ends: one alone may have been lost on its way.
SILENT_READS = 3

#: This host itself, among the candidates.
_HERE = ""

#: What a host that loses its races is taken to need at least.
_LOSER_S = 1.0


class SilentRead(Protocol):
    """A read at another host that has given no sign yet."""

    @property
    def is_sending(self) -> bool:
        """Whether bytes of other reads are coming from the host."""
        ...


class _Races:
    """How a host does in races with another one."""

    __slots__ = ("lost", "lost_at", "probe_after_s")

    def __init__(self) -> None:
        self.lost = 0
        self.lost_at = 0.0
        self.probe_after_s = PROBE_FIRST_S


class Sources:
    """Of one host. Times are CLOCK_MONOTONIC, seconds."""

    def __init__(self, hedging: Hedging) -> None:
        self.hedging = hedging
        self.of_all = Latencies()
        self._peers: dict[str, Latencies] = {}
        self._origins: dict[str, Latencies] = {}
        self._outstanding: Counter[str] = Counter()
        self._asked_at: dict[str, float] = {}
        self._heard_at: dict[str, float] = {}
        self._races: dict[str, _Races] = {}
        #: When reads that have given no sign yet were asked, by host, the oldest first.
        self._silent: dict[str, OrderedDict[SilentRead, float]] = {}

    def of_peer(self, name: str) -> Latencies:
        """Times to the first sign of another host's reads."""
        found = self._peers.get(name)
        if found is None:
            found = self._peers[name] = Latencies()
        return found

    def of_origin(self, name: str) -> Latencies:
        """Times to the head of an origin's answers."""
        found = self._origins.get(name)
        if found is None:
            found = self._origins[name] = Latencies()
        return found

    def asked(self, peer: str, read: SilentRead, now: float) -> None:
        """A read was begun at another host."""
        self._outstanding[peer] += 1
        self._asked_at[peer] = now
        self._silent.setdefault(peer, OrderedDict())[read] = now

    def over(self, peer: str, read: SilentRead) -> None:
        """It is over."""
        self._outstanding[peer] -= 1
        self._silent[peer].pop(read, None)

    def gave_sign(self, peer: str, read: SilentRead, took_s: float | None, now: float) -> None:
        """A host has said the first thing of a read: its head, or that it waits for the origin. ``took_s`` None: the time says nothing of it."""
        silent = self._silent.get(peer)
        if silent is not None:
            silent.pop(read, None)
        self._races.pop(peer, None)
        silent_for_s = now - self._heard_at.get(peer, now)
        self._heard_at[peer] = now
        if took_s is not None:
            self.of_peer(peer).add(took_s, silent_for_s)
            self.of_all.add(took_s)

    def gave_none(self, peer: str, waited_s: float) -> None:
        """It had not when the read was given up."""
        self.of_peer(peer).add_at_least(waited_s)

    def lost(self, peer: str, asked_at: float, now: float, *, was_probe: bool) -> None:
        """Another source has answered before it, though it was asked later, or at the same time."""
        races = self._races.setdefault(peer, _Races())
        if asked_at >= races.lost_at:
            races.lost += 1
            races.lost_at = now
        if was_probe:
            races.probe_after_s = min(PROBE_MAX_S, 2 * races.probe_after_s)

    def late_after_s(self, peer: str) -> float:
        """How long a read there may give no sign."""
        return self.hedging.delay_s(self.of_peer(peer), self.of_all)

    def expected_s(self, peer: str, now: float) -> float | None:
        """How long a read there takes to its first sign: the average, or for how long several have given none, or much, if it loses all races."""
        average_s = self.of_peer(peer).average_s
        races, silent = self._races.get(peer), self._silent.get(peer)
        if races is not None and races.lost >= LOST_IN_A_ROW:
            average_s = max(average_s or 0.0, _LOSER_S)
        if not silent or len(silent) < SILENT_READS:
            return average_s
        read, asked_at = next(islice(silent.items(), SILENT_READS - 1, None))
        silent_s = now - asked_at
        return average_s if silent_s <= (average_s or 0.0) or read.is_sending else silent_s

    def in_order(
        self, names: Sequence[str], origin: str, now: float, *, crowd: float = 0.0, holders: int = 1
    ) -> list[str]:
        """Those of ``names`` (the block's own order) to be asked before this host asks the origin itself; the first ``holders`` have the block.

        ``crowd``: how many reads wait here for each place at the origins. Where hedging is off they are asked in their own order, slow or not.
        """
        if not self.hedging.budget:
            return list(names)
        if holders == 1 and all((self.expected_s(name, now) or 0.0) <= SLOW_MARGIN_S for name in names):
            return list(names)  # nobody is slow: most of the time, and this is asked for each block
        ordered = in_order(self._candidates(names, origin, now, crowd, holders), self._miss_s(origin))
        return ordered[: ordered.index(_HERE)]

    def wants_probe(self, names: Sequence[str], origin: str, now: float, *, crowd: float = 0.0) -> bool:
        """Whether the first of ``names``, which is too slow to be asked, is to be asked again, to see whether it still is."""
        if not names:
            return False
        candidates = self._candidates(names, origin, now, crowd, 1)
        if not is_slow(candidates[0], candidates, self._miss_s(origin)):
            return False
        idle_s = now - self._asked_at.get(names[0], now)
        may_hedge = self.hedging.refusal(_HERE, now, is_waiting=False) is None
        races = self._races.get(names[0])
        probe_after_s = PROBE_FIRST_S if races is None else races.probe_after_s
        return idle_s >= (probe_after_s if may_hedge else PROBE_ALONE_AFTER_S)

    def _candidates(
        self, names: Sequence[str], origin: str, now: float, crowd: float, holders: int
    ) -> list[Candidate]:
        found = [
            Candidate(name, self.expected_s(name, now), self._outstanding[name], position < holders)
            for position, name in enumerate(names)
        ]
        return [*found, Candidate(_HERE, crowd * self._miss_s(origin), 0, holds=False)]

    def _miss_s(self, origin: str) -> float:
        average_s = self.of_origin(origin).average_s
        return MISS_UNKNOWN_S if average_s is None else average_s

    def levels(self) -> dict[str, int]:
        """Figures of the moment: how long each host is expected to take, and second reads under way."""
        found = {"hedges_under_way": self.hedging.under_way}
        for name, each in self._peers.items():
            if each.average_s is not None:
                found |= {f"expected_sign_us.{name}": int(each.average_s * 1e6)}
        return found
