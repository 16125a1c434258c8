"""WatchOrders: one watcher's stream."""

from __future__ import annotations

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.server.calls import Call
from toucan.server.identity import Identity
from toucan.server.order_filter import OrderFilter, filter_of
from toucan.server.streams.book import StreamBook
from toucan.server.streams.order_view import OrderView
from toucan.server.streams.orders import OrderFeed
from toucan.server.streams.outlet import Outlet
from toucan.server.streams.resume import resume_point
from toucan.server.translate import from_wire

__all__ = ["OrderWatch", "WatchOrders"]


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
        after_seq = await resume_point(self._feed.port, request)
        with self._book.place(call):
            has_snapshot = not request.without_snapshot
            watch = OrderWatch(self._book, call.identity, self._feed, wanted, after_seq, has_snapshot)
            self._feed.add(watch.view)
            try:
                await watch.drive(call.context)
            finally:
                self._feed.remove(watch.view)
