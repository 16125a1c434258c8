"""WatchOrders: one watcher's stream."""

from __future__ import annotations

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.server.calls import Call
from toucan.server.identity import Identity
from toucan.server.limits import AHEAD_WAIT_S
from toucan.server.order_filter import OrderFilter, filter_of
from toucan.server.streams.book import StreamBook
from toucan.server.streams.order_view import OrderView
from toucan.server.streams.orders import OrderFeed
from toucan.server.streams.outlet import Outlet
from toucan.server.translate import fields, from_wire

__all__ = ["OrderWatch", "WatchOrders", "resume_point"]


class OrderWatch(Outlet):
    """A stream of WatchOrders."""

    def __init__(
        self,
        book: StreamBook,
        identity: Identity,
        feed: OrderFeed,
        wanted: OrderFilter,
        after_seq: int | None,
        has_snapshot: bool,
    ) -> None:
        super().__init__(book.pump, identity)
        self.view = OrderView(
            feed, wanted, after_seq=after_seq, has_snapshot=has_snapshot, poke=self.poke, cut_off=self.cut_off
        )

    def next_message(self, *, is_heartbeat: bool) -> bytes | None:
        """See :class:`Outlet`."""
        return self.view.next_message(is_heartbeat=is_heartbeat)

    @property
    def has_more(self) -> bool:
        """See :class:`Outlet`."""
        return self.view.has_more


class WatchOrders:
    """The method."""

    def __init__(self, feed: OrderFeed, book: StreamBook) -> None:
        self._feed = feed
        self._book = book

    async def watch(self, call: Call, request: pb.WatchOrdersRequest) -> None:
        """WatchOrders."""
        call.user.require("view")
        wanted = filter_of(from_wire.filter_terms(request.filter), call.user)
        after_seq = await resume_point(self._feed, request)
        with self._book.place(call):
            has_snapshot = not request.without_snapshot
            watch = OrderWatch(self._book, call.identity, self._feed, wanted, after_seq, has_snapshot)
            self._feed.add(watch.view)
            try:
                await watch.drive(call.context)
            finally:
                self._feed.remove(watch.view)


async def resume_point(feed: OrderFeed, request: pb.WatchOrdersRequest | pb.OpenSession) -> int | None:
    """Where a client wants to go on. If he has heard more, from another front end, than this one knows, it waits until it knows as much.

    A front end without an engine waits as long as it has none: what is missing will come. One that follows an engine and still knows less has
    another history than the client (its journal was replaced), who then gets a snapshot of it.
    """
    if not request.HasField("after_seq"):
        return None
    after_seq = fields.event_number(request.after_seq, "after_seq")
    while after_seq > feed.seq and not await feed.port.wait_for(after_seq, AHEAD_WAIT_S):
        if not feed.port.is_stale:
            break
    return after_seq
