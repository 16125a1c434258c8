"""A front end put together: all methods, everything behind them, and the way by which calls come (gRPC, or the gateway's)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import structlog

from aviary.toucan.v1 import staged_pb2 as sp
from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.engine.port import EnginePort, Listener
from toucan.market.link import FeedLink
from toucan.server.asking import Asking
from toucan.server.calls import Calls, Lines
from toucan.server.identity import Authority
from toucan.server.market import Market
from toucan.server.metrics import Metrics
from toucan.server.order_entry import OrderEntry
from toucan.server.queries import Queries
from toucan.server.risk import RiskCalls
from toucan.server.settings import ServerSection
from toucan.server.staged import StagedCalls
from toucan.server.streams.book import StreamBook
from toucan.server.streams.drop_copy import DropCopy, DropCopyFeed
from toucan.server.streams.market import MarketFeed, WatchMarketData
from toucan.server.streams.orders import OrderFeed
from toucan.server.streams.positions import PositionFeed, WatchPositions
from toucan.server.streams.pump import Pump
from toucan.server.streams.session import Session
from toucan.server.streams.session_book import SessionBook
from toucan.server.streams.staged import StagedFeed, WatchStagedOrders
from toucan.server.streams.watch_orders import WatchOrders
from toucan.server.tls import Tls
from toucan.server.transport import FrontSection, GrpcTransport, MakeTransport, Methods

__all__ = ["FrontEnd"]

_log = structlog.get_logger("toucan.server")
_SERVICES = [
    service.full_name
    for definition in (pb, sp)
    for service in definition.DESCRIPTOR.services_by_name.values()
]


class FrontEnd:
    """One front end; from :meth:`start` to :meth:`stop` it serves. Raises :class:`~toucan.errors.InvalidSettings`.

    ``port`` belongs to the running event loop, and so does this. ``feeds``: market data, by venue; it starts and stops them.
    """

    def __init__(
        self,
        section: FrontSection,
        port: EnginePort,
        feeds: Mapping[str, FeedLink] | None = None,
        *,
        authority: Authority | None = None,
        transport: MakeTransport | None = None,
    ) -> None:
        section.check()
        self.section = section
        self.port = port
        self.metrics = Metrics()
        if authority is None or transport is None:
            assert isinstance(section, ServerSection)
            authority, transport = _over_grpc(section)
        self.authority = authority
        self.pump = Pump()
        self.book = StreamBook(self.pump, self.authority)
        self.authority.on_change = self.book.on_users_changed
        self.asking = Asking(port)
        self.sessions = SessionBook(self.asking)
        self.orders = OrderFeed(port, self.metrics)
        self.staged = StagedFeed(port)
        self.positions = PositionFeed(port)
        self.market = MarketFeed(port, Market(port, feeds or {}))
        self.drop_copies = DropCopyFeed(port)
        self._transport = transport(self.book, self.metrics)
        self._stack = contextlib.AsyncExitStack()
        #: HOST:PORT as bound, of the service and of /metrics (empty: not served).
        self.address = ""
        self.metrics_address = ""

    def status_line(self) -> str:
        """How it does, in a few words for a supervisor."""
        port = self.port
        engine = "the engine is away" if port.is_stale else f"event {port.state.seq}"
        return f"serving on {self.address}; {len(self.sessions)} sessions; {engine}"

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Serves from now on."""
        async with contextlib.AsyncExitStack() as stack:
            self._count()
            self.metrics_address = stack.enter_context(self.metrics.served(self.section.metrics))
            # Positions and sessions first: whoever hears of an event by a stream finds them as after it.
            listeners: list[Listener] = [
                self.positions, self.sessions, self.orders, self.staged, self.market, self.drop_copies, *self._transport.listeners
            ]  # fmt: skip
            for listener in listeners:
                stack.callback(self.port.add_listener(listener))
            stack.callback(self.positions.stop)
            stack.callback(self.market.stop)
            for feed in self.market.market.feeds.values():
                feed.start()
                stack.push_async_callback(feed.stop)
            await self._serve()
            stack.push_async_callback(self._stop_serving)
            for work in (self.authority.keep_current(), self.pump.keep_house(), self.metrics.watch_loop()):
                stack.push_async_callback(_ended, asyncio.get_running_loop().create_task(work))
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Ends all streams with a reason, lets requests under way end, and is gone."""
        await self._stack.aclose()

    async def __aenter__(self) -> FrontEnd:
        await self.start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.stop()

    async def _serve(self) -> None:
        self.address = await self._transport.start(self._methods(), is_serving=not self.port.is_stale)
        _log.info("front end serves", address=self.address)

    async def _stop_serving(self) -> None:
        await self._transport.refuse()
        self.book.stop()
        await self._transport.stop()
        await self.sessions.drain()

    def _count(self) -> None:
        gauge = self.metrics.gauge
        waiting, queued = self.asking.turns, self.pump
        gauge(
            "toucan_server_requests_waiting",
            "Requests that wait for their client's turn.",
            lambda: waiting.waiting_count,
        )
        gauge(
            "toucan_server_streams_queued",
            "Streams that wait for a turn to write.",
            lambda: queued.queued_count,
        )
        gauge("toucan_server_sessions", "Sessions with a stream here.", lambda: len(self.sessions))
        gauge("toucan_server_seq", "Newest event of the copy.", lambda: self.port.state.seq)
        gauge("toucan_server_stale", "1 while no engine is followed.", lambda: int(self.port.is_stale))
        feeds = self.market.market.feeds.values()
        gauge(
            "toucan_server_feeds_stale",
            "Venues' feeds of market data that are not heard at the moment.",
            lambda: sum(feed.is_stale for feed in feeds),
        )
        gauge(
            "toucan_server_trades_missed",
            "Lines of venues' tapes that have not reached this front end.",
            lambda: sum(feed.picture.lines_missed for feed in feeds),
        )
        gauge(
            "toucan_server_updates_kept",
            "Updates that streams can resume from.",
            lambda: len(self.orders.recent),
        )

    # ------------------------------------------------------------ methods

    def _methods(self) -> Methods:
        calls = Calls(self.authority, self.metrics)
        return {
            "aviary.toucan.v1.OrderEntryService": self._requests(calls) | self._streams(calls),
            "aviary.toucan.v1.RiskService": self._risk(calls),
            "aviary.toucan.v1.StagedOrderService": self._staged_orders(calls),
        }

    def _requests(self, calls: Calls) -> dict[str, Any]:
        entry = OrderEntry(self.asking)
        reads = Queries(self.asking, self.positions.book)
        one = calls.unary
        return {
            "SubmitOrder": one("SubmitOrder", pb.SubmitOrderRequest, entry.submit, lines=Lines.FAILURES),
            "CancelOrder": one("CancelOrder", pb.CancelOrderRequest, entry.cancel, lines=Lines.FAILURES),
            "ReplaceOrder": one("ReplaceOrder", pb.ReplaceOrderRequest, entry.replace, lines=Lines.FAILURES),
            "MassCancel": one("MassCancel", pb.MassCancelRequest, entry.mass_cancel, lines=Lines.FAILURES),
            "PreviewOrder": one("PreviewOrder", pb.PreviewOrderRequest, entry.preview),
            "GetOrder": one("GetOrder", pb.GetOrderRequest, reads.get_order),
            "ListOrders": one("ListOrders", pb.ListOrdersRequest, reads.list_orders),
            "ListPositions": one("ListPositions", pb.ListPositionsRequest, reads.list_positions),
            "ListInstruments": one("ListInstruments", pb.ListInstrumentsRequest, reads.list_instruments),
            "GetIdentity": one("GetIdentity", pb.GetIdentityRequest, reads.get_identity),
        }

    def _streams(self, calls: Calls) -> dict[str, Any]:
        stream, book = calls.server_stream, self.book
        orders, positions = WatchOrders(self.orders, book), WatchPositions(self.positions, book)
        market, drop_copy = WatchMarketData(self.market, book), DropCopy(self.drop_copies, book)
        session = Session(calls, self.asking, OrderEntry(self.asking), self.orders, book, self.sessions)
        return {
            "WatchOrders": stream("WatchOrders", pb.WatchOrdersRequest, orders.watch),
            "WatchPositions": stream("WatchPositions", pb.WatchPositionsRequest, positions.watch),
            "WatchMarketData": stream("WatchMarketData", pb.WatchMarketDataRequest, market.watch),
            "DropCopy": stream("DropCopy", pb.DropCopyRequest, drop_copy.watch),
            "Session": calls.both_streams("Session", session.run),
        }

    def _risk(self, calls: Calls) -> dict[str, Any]:
        risk, one = RiskCalls(self.asking), calls.unary
        return {
            "SetTradingState": one(
                "SetTradingState", pb.SetTradingStateRequest, risk.set_trading_state, lines=Lines.ALL
            ),
            "SetLimit": one("SetLimit", pb.SetLimitRequest, risk.set_limit, lines=Lines.ALL),
            "AdjustPosition": one(
                "AdjustPosition", pb.AdjustPositionRequest, risk.adjust_position, lines=Lines.ALL
            ),
            "ListLimits": one("ListLimits", pb.ListLimitsRequest, risk.list_limits),
        }

    def _staged_orders(self, calls: Calls) -> dict[str, Any]:
        staged, watch, one = StagedCalls(self.asking), WatchStagedOrders(self.staged, self.book), calls.unary
        return {
            "StageOrder": one("StageOrder", sp.StageOrderRequest, staged.stage, lines=Lines.FAILURES),
            "ReleaseStagedOrder": one(
                "ReleaseStagedOrder", sp.ReleaseStagedOrderRequest, staged.release, lines=Lines.ALL
            ),
            "AmendStagedOrder": one(
                "AmendStagedOrder", sp.AmendStagedOrderRequest, staged.amend, lines=Lines.ALL
            ),
            "RejectStagedOrder": one(
                "RejectStagedOrder", sp.RejectStagedOrderRequest, staged.reject, lines=Lines.ALL
            ),
            "GetStagedOrder": one("GetStagedOrder", sp.GetStagedOrderRequest, staged.get_staged),
            "ListStagedOrders": one("ListStagedOrders", sp.ListStagedOrdersRequest, staged.list_staged),
            "WatchStagedOrders": calls.server_stream(
                "WatchStagedOrders", sp.WatchStagedOrdersRequest, watch.watch
            ),
        }


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is not None:
        _log.error("work in the background had ended early", exc_info=task.exception())


def _over_grpc(section: ServerSection) -> tuple[Authority, MakeTransport]:
    tls = Tls(section) if section.has_tls else None

    def make(book: StreamBook, metrics: Metrics) -> GrpcTransport:
        return GrpcTransport(
            section.listen, share_port=section.share_port, tls=tls, services=_SERVICES, book=book
        )

    return Authority(section, tls), make
