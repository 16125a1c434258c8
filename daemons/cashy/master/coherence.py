"""Keeps a host of a cluster coherent: asks for leases and grants them, notes changes and makes them known. What it all means is decided in
:mod:`cashy.core.coherence`.

Whatever a reader goes by lies in the arena, so that clients and workers see it without asking: until when this host is coherent, and from when on
what was validated counts. Changes told are taken in first, then the second word moves, then the first.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Sequence

import structlog

from cashy.core.coherence import Change, Grant, Leases, Promises, Round
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
from cashy.peer.client import Peer
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
        self._cluster = cluster
        self._catalog = catalog
        self._arena = arena
        self._counters = counters
        self._lease_s = lease_s
        self._now_ns = now_ns
        self.incarnation = random_bits(63) | 1
        started_ns = now_ns()
        others = list(cluster.peers)
        self._leases = Leases(others, started_ns)
        self._promises = Promises(
            others,
            incarnation=self.incarnation,
            started_ns=started_ns,
            lease_ns=int(lease_s * _NS),
            remembered_max=CHANGES_REMEMBERED_MAX,
        )
        self._keepers: list[asyncio.Task[None]] = []
        arena.set_doubted_before(started_ns)
        arena.set_coherent_until(0)
        self._publish()

    def start(self) -> None:
        """Begins to ask for leases."""
        loop = asyncio.get_running_loop()
        self._keepers = [loop.create_task(self._keep_lease(peer)) for peer in self._cluster.peers.values()]

    async def close(self) -> None:
        """Asks no more; clients of this host are on their own once its leases end."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def levels(self) -> dict[str, int]:
        """``coherent`` (0 or 1), and for how many milliseconds more."""
        left_ns = min(self._arena.coherent_until - self._now_ns(), 1 << 62)
        return {"coherent": int(left_ns > 0), "coherent_left_ms": max(0, left_ns // 1_000_000)}

    # --- leases ---

    async def _keep_lease(self, peer: Peer) -> None:
        while True:
            pause_s = await self._renew(peer)
            await asyncio.sleep(pause_s)

    async def _renew(self, peer: Peer) -> float:
        """Asks once; gives the seconds until the next question."""
        asked_ns = self._now_ns()
        try:
            grant = await peer.lease(
                *self._leases.question(peer.name), min(LEASE_ANSWER_S, self._lease_s / LEASE_RENEWALS)
            )
        except CashyError:
            self._counters.add("leases_missed")
            return min(LEASE_RETRY_S, self._lease_s / LEASE_RENEWALS)
        self._take_in(grant.changes)
        if not grant.is_complete:
            self._counters.add("leases_begun")
        self._leases.granted(peer.name, grant, asked_ns, self._now_ns())
        self._publish()
        return self._lease_s / LEASE_RENEWALS if grant.duration_ns else 0.0

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
        terms = self._leases.terms(now_ns)
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
        return self._promises.grant(peer, incarnation, number, self._now_ns(), LEASE_NAMES_BYTES)

    # --- changes ---

    def changed(self, changes: Sequence[Change]) -> Noted:
        """As :meth:`cashy.peer.service.PeerService.changed`."""
        self._take_in(changes)
        return self._note(changes)

    def _note(self, changes: Sequence[Change]) -> Noted:
        now_ns = self._now_ns()
        promises = self._promises.note(changes, now_ns)
        return Noted(self._promises.counts_in_ns(now_ns), promises)

    async def begin(self, names: Sequence[str]) -> None:
        """Makes known that objects are about to be changed through this host. Raises ``SlowDown``: too few hosts know, so nothing may be changed."""
        if not await self._make_known(names, is_over=False):
            self._counters.add("changes_refused")
            raise SlowDown(
                f"host {self._cluster.own_name!r} reaches too few hosts of its cluster to change objects through it: try again, or another host"
            )

    async def end(self, names: Sequence[str]) -> None:
        """Makes known that they may have been. Raises ``SlowDown`` after :data:`~cashy.limits.CHANGE_END_S`: some hosts may believe in old versions.

        They are told twice: between the first telling and its last confirmation a host that knows can still learn the old version from one
        that does not.
        """
        give_up_ns = self._now_ns() + int(CHANGE_END_S * _NS)
        for _ in range(2):
            while not await self._make_known(names, is_over=True):
                if self._now_ns() > give_up_ns:
                    self._counters.add("changes_unconfirmed")
                    raise SlowDown(
                        f"objects may have been changed, but for {CHANGE_END_S:g} s too few hosts of the cluster could be told: try again"
                    )

    async def _make_known(self, names: Sequence[str], *, is_over: bool) -> bool:
        rounds = (
            self._round([Change(name, is_over, self._cluster.own_name) for name in batch])
            for batch in _batches(names)
        )
        return all(await asyncio.gather(*rounds))

    async def _round(self, changes: Sequence[Change]) -> bool:
        """Tells all hosts; True once whoever does not know believes nothing any more, False if that could not be reached in time."""
        own = self._note(changes)
        began_ns = self._now_ns()
        deadline_ns = began_ns + int(self._lease_s * CHANGE_ROUND_LEASES * _NS)
        known = Round([self._cluster.own_name, *self._cluster.peers])
        known.noted(self._cluster.own_name, own.counts_in_ns, own.promises, began_ns)
        telling = {
            asyncio.create_task(self._tell(peer, changes, known)) for peer in self._cluster.peers.values()
        }
        try:
            while True:
                now_ns = self._now_ns()
                over_at_ns = known.over_at()
                if over_at_ns is not None and over_at_ns <= now_ns:
                    break
                if now_ns >= deadline_ns:
                    return False
                wake_ns = deadline_ns if over_at_ns is None else min(over_at_ns, deadline_ns)
                # A timer may be early by its own resolution.
                _, telling = await asyncio.wait(
                    telling, timeout=(wake_ns - now_ns) / _NS + 0.001, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            for one in telling:
                one.cancel()
        self._counters.add("change_rounds")
        if known.silent:
            self._counters.add("change_rounds_without_all")
        return True

    async def _tell(self, peer: Peer, changes: Sequence[Change], known: Round) -> None:
        while True:
            try:
                noted = await peer.changed(changes, PEER_CHANGED_TIMEOUT_S)
            except CashyError:
                await asyncio.sleep(CHANGE_RETRY_S)
            else:
                known.noted(peer.name, noted.counts_in_ns, noted.promises, self._now_ns())
                return
