"""Keeps a host of a cluster coherent: asks for leases and grants them, notes changes and makes them known. What it all means is decided in
:mod:`cashy.core.coherence`.

Whatever a reader goes by lies in the arena, so that clients and workers see it without asking: until when this host is coherent, and from when on
what was validated counts. Changes told are taken in first, then the second word moves, then the first.

The hosts may change meanwhile (:meth:`Coherence.hosts_changed`). By which lists is counted is decided in :mod:`cashy.core.membership`; every lease
and every noted change carries the word that it needs.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Sequence

import structlog

from cashy.core.coherence import Change, Grant, Leases, Promises, Round, Word
from cashy.core.names import parse_name
from cashy.errors import CashyError, InvalidName, SlowDown
from cashy.limits import (
    CHANGE_END_S,
    CHANGE_RETRY_S,
    CHANGE_ROUND_LEASES,
    CHANGES_REMEMBERED_MAX,
    LEASE_ANSWER_S,
    LEASE_NAMES_BYTES,
    LEASE_RENEWALS,
    LEASE_RETRY_S,
    PEER_CHANGED_BYTES,
    PEER_CHANGED_NAMES,
    PEER_CHANGED_TIMEOUT_S,
)
from cashy.master.catalog import Catalog
from cashy.master.cluster import Cluster
from cashy.master.counters import Counters
from cashy.peer.service import Noted
from shmipc.arena import ArenaOwner

__all__ = ["Coherence"]

_log = structlog.get_logger("cashy.master")

_NS = 1_000_000_000


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    """The names in lists that are short in number and in bytes."""
    batch: list[str] = []
    size = 0
    for name in names:
        if batch and (size + len(name.encode()) > PEER_CHANGED_BYTES or len(batch) == PEER_CHANGED_NAMES):
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += len(name.encode())
    if batch:
        yield batch


class Coherence:
    """One host's part. To be made before anybody is served: what the arena says of an earlier master's leases ends here."""

    def __init__(
        self,
        cluster: Cluster,
        catalog: Catalog,
        arena: ArenaOwner,
        counters: Counters,
        *,
        lease_s: float,
        now_ns: Callable[[], int] = time.monotonic_ns,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self.cluster = cluster
        self._catalog = catalog
        self._arena = arena
        self._counters = counters
        self._lease_s = lease_s
        self._now_ns = now_ns
        self.incarnation = random_bits(63) | 1
        started_ns = now_ns()
        self._leases = Leases((), started_ns, cluster.own_name)
        self._promises = Promises(
            incarnation=self.incarnation,
            started_ns=started_ns,
            lease_ns=int(lease_s * _NS),
            remembered_max=CHANGES_REMEMBERED_MAX,
        )
        #: Called when the hosts are counted by other lists than before, or this one has begun or ceased to act.
        self.when_settled: Callable[[], None] = _nothing
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._settling: asyncio.Task[None] | None = None
        self._is_started = False
        arena.set_doubted_before(started_ns)
        arena.set_coherent_until(0)
        self._count_anew()
        self._publish()

    def start(self) -> None:
        """Begins to ask for leases."""
        self._is_started = True
        self.hosts_changed()

    def hosts_changed(self) -> None:
        """There is another list of hosts: leases are asked of all hosts of all lists that are counted by."""
        self._count_anew()
        if self._is_started:
            self._keep_leases()
            self._look_until_settled()
        self._publish()

    def _look_until_settled(self) -> None:
        if self._settling is None:
            self._settling = asyncio.get_running_loop().create_task(self._settle_in_time())

    async def _settle_in_time(self) -> None:
        """Looks again, until this host counts by one list and acts: time passes also where nobody is left to say anything."""
        while not self.cluster.counting.is_settled:
            await asyncio.sleep(self._lease_s / LEASE_RENEWALS)
            self._consider(self.cluster.counting.acts)
            self._publish()
        self._settling = None

    def _count_anew(self) -> None:
        counting = self.cluster.counting
        self._leases.count_by(counting.others(), counting.electorates())

    def _keep_leases(self) -> None:
        wanted = set(self.cluster.counting.others())
        for name in [name for name in self._keepers if name not in wanted]:
            self._keepers.pop(name).cancel()
        loop = asyncio.get_running_loop()
        for name in sorted(wanted - set(self._keepers)):
            self._keepers[name] = loop.create_task(self._keep_lease(name))

    async def leave(self) -> None:
        """Asks no more, and believes nothing from now on, nor do this host's clients. Only then may the others be told that it leaves."""
        await self.close()
        self._arena.set_coherent_until(0)

    def peer_leaves(self, peer: str) -> None:
        """Another host has done so."""
        self._promises.given_back(peer)

    async def close(self) -> None:
        """Asks no more; clients of this host are on their own once its leases end."""
        self._is_started = False
        tasks = [*self._keepers.values(), *([self._settling] if self._settling is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def levels(self) -> dict[str, int]:
        """``coherent`` (0 or 1), and for how many milliseconds more."""
        left_ns = min(self._arena.coherent_until - self._now_ns(), 1 << 62)
        return {"coherent": int(left_ns > 0), "coherent_left_ms": max(0, left_ns // 1_000_000)}

    # --- leases ---

    async def _keep_lease(self, name: str) -> None:
        while True:
            pause_s = await self._renew(name)
            await asyncio.sleep(pause_s)

    async def _renew(self, name: str) -> float:
        """Asks once; gives the seconds until the next question."""
        asked_ns = self._now_ns()
        peer = self.cluster.peers[name]  # its address may have changed since the last time
        try:
            grant = await peer.lease(
                *self._leases.question(name), min(LEASE_ANSWER_S, self._lease_s / LEASE_RENEWALS)
            )
        except CashyError:
            self._counters.add("leases_missed")
            return min(LEASE_RETRY_S, self._lease_s / LEASE_RENEWALS)
        self._take_in(grant.changes)
        if not grant.is_complete:
            self._counters.add("leases_begun")
        self._leases.granted(name, grant, asked_ns, self._now_ns())
        self._heard(name, grant.word)
        self._publish()
        return self._lease_s / LEASE_RENEWALS if grant.duration_ns else 0.0

    def _heard(self, name: str, word: Word) -> None:
        """Takes in by which lists another host counts: this one may have to count anew, may settle, begin to act, or cease to."""
        counting = self.cluster.counting
        acted = counting.acts
        counting.heard(name, word)
        if acted and not counting.acts:
            self._counters.add("membership_left_behind")
            _log.warning("other_hosts_went_on_without_this_one", by=name, version=counting.newest.version)
            self._look_until_settled()
        self._consider(acted)

    def _consider(self, acted: bool) -> None:
        counting, now_ns = self.cluster.counting, self._now_ns()
        if counting.may_begin():
            self._leases.doubt_before(now_ns)
            counting.begin()
            self._settled()
        elif counting.settles_in_ns(now_ns, int(self._lease_s * _NS)) == 0:
            terms = self._leases.terms(now_ns)
            self._leases.doubt_before(now_ns if terms is None else terms.doubted_before_ns)
            counting.settle()
            self._settled()
        elif acted != counting.acts:
            self.when_settled()
            self._count_anew()

    def _settled(self) -> None:
        self._counters.add("membership_settled")
        _log.info("hosts_agree_on_list", version=self.cluster.counting.newest.version)
        self.when_settled()
        self._count_anew()
        self._keep_leases()

    def _take_in(self, changes: Sequence[Change]) -> None:
        for change in changes:
            try:
                name = parse_name(change.name)
            except InvalidName:  # of another version of this program: nothing here has that name
                continue
            if change.is_over:
                self._catalog.elsewhere_over(name, change.by)
            else:
                self._catalog.elsewhere_begins(name, change.by)

    def _publish(self) -> None:
        now_ns = self._now_ns()
        was_until_ns = self._arena.coherent_until
        terms = self._leases.terms(now_ns) if self.cluster.counting.acts else None
        if terms is None:
            if was_until_ns > now_ns:
                self._arena.set_coherent_until(0)
            return
        if terms.doubted_before_ns != self._arena.doubted_before:
            self._arena.set_doubted_before(terms.doubted_before_ns)
        self._arena.set_coherent_until(terms.coherent_until_ns)
        if was_until_ns <= now_ns:
            self._counters.add("coherence_gained")
            _log.info("coherent")

    def lease(self, peer: str, incarnation: int, number: int) -> Grant:
        """As :meth:`cashy.peer.service.PeerService.lease`."""
        grant = self._promises.grant(peer, incarnation, number, self._now_ns(), LEASE_NAMES_BYTES)
        return grant._replace(word=self.cluster.counting.word())

    # --- changes ---

    def changed(self, changes: Sequence[Change]) -> Noted:
        """As :meth:`cashy.peer.service.PeerService.changed`."""
        self._take_in(changes)
        return self._note(changes)

    def _note(self, changes: Sequence[Change]) -> Noted:
        now_ns = self._now_ns()
        promises = self._promises.note(changes, now_ns)
        return Noted(self._promises.counts_in_ns(now_ns), promises, self.cluster.counting.word())

    async def begin(self, names: Sequence[str]) -> None:
        """Makes known that objects are about to be changed through this host. Raises ``SlowDown``: too few hosts know, so nothing may be changed."""
        if not await self._make_known(names, is_over=False):
            self._counters.add("changes_refused")
            own, acts = self.cluster.own_name, self.cluster.counting.acts
            why = (
                "reaches too few hosts of its cluster"
                if acts
                else "is not (yet, or any more) sure of its cluster's list of hosts"
            )
            raise SlowDown(
                f"host {own!r} {why}, so no objects can be changed through it: try again, or another host"
            )

    async def end(self, names: Sequence[str]) -> None:
        """Makes known that they may have been. Raises ``SlowDown`` after :data:`~cashy.limits.CHANGE_END_S`: some hosts may believe in old versions.

        They are told twice: between the first telling and its last confirmation a host that knows can still learn the old version from one
        that does not.
        """
        give_up_ns = self._now_ns() + int(CHANGE_END_S * _NS)
        for _ in range(2):
            while not await self._make_known(names, is_over=True):
                if self._now_ns() > give_up_ns or not self.cluster.counting.acts:
                    self._counters.add("changes_unconfirmed")
                    raise SlowDown(
                        f"objects may have been changed, but for {CHANGE_END_S:g} s too few hosts of the cluster could be told: try again"
                    )

    async def _make_known(self, names: Sequence[str], *, is_over: bool) -> bool:
        rounds = (
            self._round([Change(name, is_over, self.cluster.own_name) for name in batch])
            for batch in _batches(names)
        )
        return all(await asyncio.gather(*rounds))

    async def _round(self, changes: Sequence[Change]) -> bool:
        """Tells all hosts; True once whoever does not know believes nothing any more, False if that could not be reached in time.

        By the lists, and their hosts, as they are when it ends.
        """
        cluster = self.cluster
        own = self._note(changes)
        began_ns = self._now_ns()
        deadline_ns = began_ns + int(self._lease_s * CHANGE_ROUND_LEASES * _NS)
        known = Round([])
        known.noted(cluster.own_name, own.counts_in_ns, own.promises, began_ns)
        telling: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                others = cluster.counting.others()
                known.count_by([cluster.own_name, *others], cluster.counting.electorates())
                for name in others:
                    if name not in telling:
                        telling[name] = asyncio.create_task(self._tell(name, changes, known))
                now_ns = self._now_ns()
                over_at_ns = known.over_at()
                if over_at_ns is not None and over_at_ns <= now_ns and cluster.counting.acts:
                    break
                if now_ns >= deadline_ns or not cluster.counting.acts:
                    return False
                wake_ns = min(deadline_ns, now_ns + int(self._lease_s / LEASE_RENEWALS * _NS))
                wake_ns = wake_ns if over_at_ns is None else min(max(over_at_ns, now_ns), wake_ns)
                # A timer may be early by its own resolution.
                under_way = [task for task in telling.values() if not task.done()]
                await _first_of(under_way, (wake_ns - now_ns) / _NS + 0.001)
        finally:
            for one in telling.values():
                one.cancel()
        self._counters.add("change_rounds")
        if known.silent:
            self._counters.add("change_rounds_without_all")
        return True

    async def _tell(self, name: str, changes: Sequence[Change], known: Round) -> None:
        while True:
            peer = self.cluster.peers.get(name)
            try:
                if peer is None:
                    return  # it has left, and its word is not needed any more
                noted = await peer.changed(changes, PEER_CHANGED_TIMEOUT_S)
            except CashyError:
                await asyncio.sleep(CHANGE_RETRY_S)
            else:
                known.noted(name, noted.counts_in_ns, noted.promises, self._now_ns())
                self._heard(name, noted.word)
                self._publish()
                return


async def _first_of(tasks: Sequence[asyncio.Task[None]], timeout_s: float) -> None:
    """Returns when one of them is done, or so much later."""
    if tasks:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    else:
        await asyncio.sleep(timeout_s)


def _nothing() -> None:
    """Nobody wants to know."""
