"""Objects that change while they are read: what each host believes of their versions, by the real leases and rounds of ``cashy.core.coherence``.

An object is one block here. A write changes it at the origin, and is acknowledged when the round says so. A read takes the version that its host
believes in, or asks the origin (HEAD); and whoever reads from the origin gets what is there now, or learns that it has changed.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from cashy.core.coherence import Change, Grant, Leases, Promises, Round
from cashy.limits import (
    CHANGE_RETRY_S,
    CHANGE_ROUND_LEASES,
    CHANGES_REMEMBERED_MAX,
    LEASE_NAMES_BYTES,
    LEASE_RENEWALS,
    LEASE_RETRY_S,
)

from .events import NS
from .fill import LocalRead
from .placing import VERSIONS_STRIDE
from .world import World

__all__ = ["Coherence", "Knowledge"]

#: A round's end is looked for so often while hosts are silent.
_CHECK_NS = 5_000_000


class Knowledge:
    """What one host knows: versions by block, and when each was asked for."""

    def __init__(
        self, number: int, others: list[str], started_ns: int, incarnation: int, lease_ns: int
    ) -> None:
        self.number, self.others, self.incarnation = number, others, incarnation
        self.leases = Leases(others, started_ns)
        self.promises = Promises(
            incarnation=incarnation,
            started_ns=started_ns,
            lease_ns=lease_ns,
            remembered_max=CHANGES_REMEMBERED_MAX,
        )
        self._known: dict[int, tuple[int, int]] = {}
        self._noted_ns: dict[int, int] = {}

    def take_in(self, changes: tuple[Change, ...], now_ns: int) -> None:
        """These have changed."""
        for change in changes:
            self._known.pop(int(change.name), None)
            self._noted_ns[int(change.name)] = now_ns

    def believed(self, block: int, now_ns: int) -> int | None:
        """The version, if it may be believed."""
        known = self._known.get(block)
        terms = self.leases.terms(now_ns) if known is not None else None
        if (
            known is None
            or terms is None
            or now_ns >= terms.coherent_until_ns
            or known[1] < terms.doubted_before_ns
        ):
            return None
        return known[0]

    def learn(self, block: int, version: int, asked_ns: int) -> None:
        """The origin's answer; not kept if there was a change since the question."""
        if self._noted_ns.get(block, -1) < asked_ns:
            self._known[block] = version, asked_ns


class Coherence:
    """All hosts' knowledge, and the messages between them. ``violations``: reads of a version older than one acknowledged before they began."""

    def __init__(self, world: World, lease_s: float = 3.0) -> None:
        self._world, self._events = world, world.events
        self._lease_ns = int(lease_s * NS)
        self._names = [str(host.number) for host in world.hosts]
        self._random = Random(f"{world.seed} coherence")
        self.versions: Counter[int] = Counter()  # at the origin
        self._acknowledged: Counter[int] = Counter()
        self.violations: list[str] = []
        self.acknowledged_after_ns: list[tuple[int, int]] = []  # when a write began, and how long it took
        self.counts: Counter[str] = Counter()
        #: Nobody asks for leases any more, so that everything can come to its end.
        self.is_over = False
        self.hosts = [self._new(number) for number in range(len(self._names))]
        world.origin.current_version = self.versions.__getitem__
        world.on_start.append(self.restart)
        for host in world.hosts:
            self._begin_asking(host.number)

    def _new(self, number: int, incarnation: int = 1) -> Knowledge:
        others = [name for name in self._names if name != str(number)]
        return Knowledge(number, others, self._events.now_ns, incarnation, self._lease_ns)

    def restart(self, number: int) -> None:
        """A host that has forgotten all."""
        self.hosts[number] = self._new(number, self.hosts[number].incarnation + 1)
        self._begin_asking(number)

    # --- leases ---

    def _begin_asking(self, number: int) -> None:
        for name in self.hosts[number].others:
            self._events.at(
                self._events.now_ns + self._random.randrange(self._lease_ns // LEASE_RENEWALS),
                self._ask,
                self.hosts[number],
                name,
            )

    def _ask(self, asker: Knowledge, name: str) -> None:
        """``asker`` is gone if its host has died since: then its questions end."""
        if (
            self.is_over
            or self.hosts[asker.number] is not asker
            or not self._world.network.is_up[asker.number]
        ):
            return
        now_ns, network_ns = self._events.now_ns, self._world.times.network_ns
        self.counts["lease_messages"] += 1
        if self._world.network.reaches(asker.number, int(name)):
            self._events.at(now_ns + network_ns, self._grant, asker, name, now_ns)
        else:
            self._events.at(
                now_ns + self._lease_ns // LEASE_RENEWALS + int(LEASE_RETRY_S * NS), self._ask, asker, name
            )

    def _grant(self, asker: Knowledge, name: str, asked_ns: int) -> None:
        now_ns = self._events.now_ns
        if self._world.network.reaches(asker.number, int(name)):
            granter = self.hosts[int(name)]
            grant = granter.promises.grant(
                str(asker.number), *asker.leases.question(name), now_ns, LEASE_NAMES_BYTES
            )
            self.counts["lease_messages"] += 1
            self._events.at(
                now_ns + self._world.times.network_ns, self._granted, asker, name, grant, asked_ns
            )
        else:
            self._events.at(now_ns + self._lease_ns // LEASE_RENEWALS, self._ask, asker, name)

    def _granted(self, asker: Knowledge, name: str, grant: Grant, asked_ns: int) -> None:
        now_ns = self._events.now_ns
        asker.take_in(grant.changes, now_ns)
        asker.leases.granted(name, grant, asked_ns, now_ns)
        pause_ns = self._lease_ns // LEASE_RENEWALS if grant.duration_ns else 0
        self._events.at(now_ns + pause_ns, self._ask, asker, name)

    # --- writes ---

    def write(self, number: int, block: int) -> None:
        """Through a host: the object changes, then all are told."""
        if not self._world.network.is_up[number]:
            return
        writer, now_ns = self.hosts[number], self._events.now_ns
        self.versions[block] += 1
        change = (Change(str(block), True, str(number)),)
        telling = Round(self._names)
        writer.take_in(change, now_ns)
        telling.noted(
            str(number), writer.promises.counts_in_ns(now_ns), writer.promises.note(change, now_ns), now_ns
        )
        self.counts["writes"] += 1
        for name in writer.others:
            self._tell(writer, name, change, telling)
        self._check(writer, telling, block, self.versions[block], now_ns)

    def _tell(self, writer: Knowledge, name: str, change: tuple[Change, ...], telling: Round) -> None:
        if self.hosts[writer.number] is not writer or not self._world.network.is_up[writer.number]:
            return
        now_ns = self._events.now_ns
        if self._world.network.reaches(writer.number, int(name)):
            # The other host's loop has other things to do, too.
            delay_ns = self._world.times.network_ns + self._world.hosts[int(name)].serving.service_ns()
            self._events.at(now_ns + delay_ns, self._note, writer, name, change, telling)
        else:
            self._events.at(now_ns + int(CHANGE_RETRY_S * NS), self._tell, writer, name, change, telling)

    def _note(self, writer: Knowledge, name: str, change: tuple[Change, ...], telling: Round) -> None:
        now_ns = self._events.now_ns
        if not self._world.network.reaches(writer.number, int(name)):
            self._events.at(now_ns + int(CHANGE_RETRY_S * NS), self._tell, writer, name, change, telling)
            return
        host = self.hosts[int(name)]
        host.take_in(change, now_ns)
        counts_in_ns, outstanding = host.promises.counts_in_ns(now_ns), host.promises.note(change, now_ns)
        self._events.at(
            now_ns + self._world.times.network_ns, self._noted, telling, name, counts_in_ns, outstanding
        )

    def _noted(self, telling: Round, name: str, counts_in_ns: int, outstanding: dict[str, int]) -> None:
        telling.noted(name, counts_in_ns, outstanding, self._events.now_ns)

    def _check(self, writer: Knowledge, telling: Round, block: int, version: int, began_ns: int) -> None:
        now_ns = self._events.now_ns
        if self.hosts[writer.number] is not writer or not self._world.network.is_up[writer.number]:
            return
        over_at_ns = telling.over_at()
        if over_at_ns is not None and over_at_ns <= now_ns:
            self._acknowledged[block] = max(self._acknowledged[block], version)
            self.acknowledged_after_ns.append((began_ns, now_ns - began_ns))
        elif now_ns - began_ns > CHANGE_ROUND_LEASES * self._lease_ns:
            self.counts["writes_unconfirmed"] += 1
        else:
            pause_ns = _CHECK_NS if now_ns - began_ns > _CHECK_NS else _CHECK_NS // 50
            self._events.at(now_ns + pause_ns, self._check, writer, telling, block, version, began_ns)

    # --- reads ---

    def read(self, number: int, block: int) -> None:
        """Through a host: the version first, then the block."""
        if self._world.hosts[number].is_up:
            self.counts["reads"] += 1
            self._begin(number, block, self._events.now_ns, self._acknowledged[block])

    def _begin(self, number: int, block: int, started_ns: int, due: int) -> None:
        now_ns = self._events.now_ns
        version = self.hosts[number].believed(block, now_ns)
        if version is not None:
            self._fetch(number, block, version, started_ns, due)
            return
        self.counts["versions_asked"] += 1
        answers_ns = now_ns + self._world.times.origin_ns
        self._events.at(
            (now_ns + answers_ns) // 2,
            self._at_origin,
            self.hosts[number],
            block,
            now_ns,
            answers_ns,
            started_ns,
            due,
        )

    def _at_origin(
        self, host: Knowledge, block: int, asked_ns: int, answers_ns: int, started_ns: int, due: int
    ) -> None:
        self._events.at(
            answers_ns, self._answered, host, block, self.versions[block], asked_ns, started_ns, due
        )

    def _answered(
        self, host: Knowledge, block: int, version: int, asked_ns: int, started_ns: int, due: int
    ) -> None:
        if self.hosts[host.number] is host and self._world.hosts[host.number].is_up:
            host.learn(block, version, asked_ns)
            self._fetch(host.number, block, version, started_ns, due)

    def _fetch(self, number: int, block: int, version: int, started_ns: int, due: int) -> None:
        def done(_: int, has_it: bool) -> None:
            if not has_it:  # replaced: again, with the version of now
                self.counts["reads_again"] += 1
                self._begin(number, block, started_ns, due)
                return
            self.counts["reads_done"] += 1
            if version < due:
                self.violations.append(
                    f"host {number} read version {version} of {block}, {due} was acknowledged before {started_ns} ns"
                )

        self._world.hosts[number].read(block + version * VERSIONS_STRIDE, LocalRead(started_ns, done))
