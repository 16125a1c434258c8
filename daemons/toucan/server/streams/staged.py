"""WatchStagedOrders: what happens to staged orders, for all who watch.

Proposals are few and their values never change, so a stream is no more than a place in the run of the last updates. A snapshot is the values as
they were at one event, sent in pieces; what has happened since is read from that run behind it. A stream that falls out of what is kept begins with
a snapshot again. Nothing waits for a slow client, and nothing is conflated.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from operator import attrgetter

import msgspec

from aviary.toucan.v1 import staged_pb2 as sp
from toucan.core import events as ev
from toucan.core.staged import StagedOrder
from toucan.engine.port import Applied, EnginePort
from toucan.server.calls import Call
from toucan.server.identity import Identity
from toucan.server.limits import CATCH_UP_EVENTS, STAGED_KEPT_MAX, STAGED_PER_MESSAGE_MAX
from toucan.server.staged_filter import StagedFilter, staged_filter_of
from toucan.server.streams.book import StreamBook
from toucan.server.streams.outlet import Outlet
from toucan.server.streams.resume import resume_point
from toucan.server.translate import staged as wire

__all__ = ["StagedFeed", "StagedWatch", "WatchStagedOrders"]

_seq_of = attrgetter("seq")
_ABOUT_STAGED = (
    ev.OrderStaged,
    ev.StagedAmended,
    ev.StagedReleased,
    ev.StagedRejected,
    ev.StagedWithdrawn,
    ev.StagedExpired,
    ev.OrderDenied,
)


class _Update(msgspec.Struct, frozen=True, gc=False):
    """One change: the staged order as it was after its event."""

    seq: int
    at_ns: int
    event: ev.Event
    staged: StagedOrder

    def to_wire(self) -> sp.StagedUpdate:
        return wire.staged_update(self.seq, self.at_ns, self.event, self.staged)


class StagedFeed:
    """Follows the engine for all streams of staged orders; a :class:`toucan.engine.port.EventListener`."""

    def __init__(self, port: EnginePort) -> None:
        self.port = port
        #: Everything up to this event is in what is kept, if it was about a staged order.
        self.seq = port.state.seq
        self.watches: set[StagedWatch] = set()
        self._updates: list[_Update] = []
        #: Every update of a later event is kept.
        self._kept_after = port.state.seq
        self._reach_back()

    def _reach_back(self) -> None:
        """Updates of the events that the port still keeps, so that clients of an earlier front end can go on here."""
        low, high = 0, self.port.state.seq
        while low < high:  # the smallest number after which all events are kept
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.port.history(middle) is None else (low, middle)
        self._updates = [*self._made_later(self.port.history(low) or [])]
        self._kept_after = low
        self.seq = self.port.state.seq

    def _made_later(self, events: Sequence[tuple[int, int, ev.Event]]) -> Iterator[_Update]:
        """What was not seen to happen: the staged order in it is as it is now."""
        for seq, at_ns, event in events:
            if isinstance(event, _ABOUT_STAGED):
                staged = self.port.state.staged.get(event.staged_id or 0)
                if staged is not None:
                    yield _Update(seq, at_ns, event, staged)

    def reaches_back_to(self, seq: int) -> bool:
        """Whether a stream that was told everything up to ``seq`` can go on from it."""
        return self._kept_after <= seq <= self.seq

    def after(self, seq: int) -> list[_Update]:
        """Updates after ``seq``, oldest first, as many as are looked at in one turn."""
        start = bisect.bisect_right(self._updates, seq, key=_seq_of)
        return self._updates[start : start + CATCH_UP_EVENTS]

    # ------------------------------------------------------------ the engine

    def on_applied(self, applied: Applied) -> None:
        """See :class:`toucan.engine.port.EventListener`."""
        self.seq = applied.seq
        staged = applied.change.staged
        if staged is not None:
            self._keep(_Update(applied.seq, applied.at_ns, applied.event, staged))
            for watch in self.watches:
                watch.news(staged)

    def _keep(self, update: _Update) -> None:
        self._updates.append(update)
        if len(self._updates) >= STAGED_KEPT_MAX + STAGED_KEPT_MAX // 4:
            dropped = STAGED_KEPT_MAX // 4
            self._kept_after = self._updates[dropped - 1].seq
            del self._updates[:dropped]

    def on_market(self, symbols: Sequence[str]) -> None:
        """Proposals do not change with the market."""

    def on_resync(self) -> None:
        """The copy was replaced: goes on without a gap if the events between are kept, else every stream begins with a snapshot."""
        events = self.port.history(self.seq) if self.port.state.seq >= self.seq else None
        if events is None:
            self._reach_back()
        else:
            for update in self._made_later(events):
                self._keep(update)
            self.seq = self.port.state.seq
        for watch in self.watches:
            watch.resync(is_gap=events is None)

    def on_staleness(self, is_stale: bool) -> None:
        """Told to everybody at once."""
        for watch in self.watches:
            watch.tell()


class StagedWatch(Outlet):
    """One stream: a place in the feed's updates, and a snapshot before it where one is due."""

    def __init__(
        self, book: StreamBook, identity: Identity, feed: StagedFeed, wanted: StagedFilter,
        after_seq: int | None, has_snapshot: bool,
    ) -> None:  # fmt: skip
        super().__init__(book.pump, identity)
        self._feed = feed
        self._wanted = wanted
        self._has_snapshot = has_snapshot
        self._snapshot: Iterator[StagedOrder] | None = None
        self._must_tell = True
        #: Everything up to this event was told, or is in the snapshot.
        self._cursor = feed.seq
        if after_seq is not None and feed.reaches_back_to(after_seq):
            self._cursor = after_seq
        else:
            self._begin_snapshot()

    def _begin_snapshot(self) -> None:
        self._cursor = self._feed.seq
        if self._has_snapshot:
            book = self._feed.port.state.staged
            self._snapshot = iter([*(book.waiting() if self._wanted.is_pending else book.orders.values())])

    # ------------------------------------------------------------ from the feed

    def news(self, staged: StagedOrder) -> None:
        """Something has happened to a staged order."""
        if self._wanted.takes_change(staged):
            self.poke()

    def resync(self, *, is_gap: bool) -> None:
        """The copy was replaced; with a gap what was told before may have skipped events."""
        if is_gap:
            self._begin_snapshot()
        self.tell()

    def tell(self) -> None:
        """Something is to be said that is no update."""
        self._must_tell = True
        self.poke()

    # ------------------------------------------------------------ messages

    @property
    def has_more(self) -> bool:
        """See :class:`Outlet`."""
        return self._snapshot is not None or self._must_tell or bool(self._feed.after(self._cursor))

    def next_message(self, *, is_heartbeat: bool) -> bytes | None:
        """See :class:`Outlet`."""
        if self._snapshot is None and not self._feed.reaches_back_to(self._cursor):
            self._begin_snapshot()  # what it would need fell out of what is kept
        if self._snapshot is not None:
            return self._snapshot_message(self._snapshot)
        candidates = self._feed.after(self._cursor)
        found: list[sp.StagedUpdate] = []
        for update in candidates:
            if len(found) == STAGED_PER_MESSAGE_MAX:
                break
            self._cursor = update.seq
            if self._wanted.takes_change(update.staged):
                found.append(update.to_wire())
        else:
            if len(candidates) < CATCH_UP_EVENTS:
                self._cursor = self._feed.seq
        if not found and not is_heartbeat and not self._must_tell:
            return None
        self._must_tell = False
        return self._message(found, self._cursor)

    def _message(self, updates: list[sp.StagedUpdate], seq: int, **more: bool) -> bytes:
        response = sp.WatchStagedOrdersResponse(
            updates=updates, seq=seq, is_stale=self._feed.port.is_stale, **more
        )
        return response.SerializeToString()

    def _snapshot_message(self, snapshot: Iterator[StagedOrder]) -> bytes:
        found: list[sp.StagedUpdate] = []
        for looked_at, staged in enumerate(snapshot, 1):
            if self._wanted.takes(staged):
                found.append(wire.snapshot_line(staged))
            if len(found) == STAGED_PER_MESSAGE_MAX or looked_at == CATCH_UP_EVENTS:
                return self._message(found, 0, is_snapshot=True)
        self._snapshot, self._must_tell = None, False
        return self._message(found, self._cursor, is_snapshot=True, is_snapshot_end=True)


class WatchStagedOrders:
    """The method."""

    def __init__(self, feed: StagedFeed, book: StreamBook) -> None:
        self._feed = feed
        self._book = book

    async def watch(self, call: Call, request: sp.WatchStagedOrdersRequest) -> None:
        """WatchStagedOrders."""
        call.user.require("view")
        wanted = staged_filter_of(wire.filter_terms(request.filter), call.user)
        after_seq = await resume_point(self._feed.port, request)
        with self._book.place(call):
            has_snapshot = not request.without_snapshot
            watch = StagedWatch(self._book, call.identity, self._feed, wanted, after_seq, has_snapshot)
            self._feed.watches.add(watch)
            try:
                await watch.drive(call.context)
            finally:
                self._feed.watches.discard(watch)
