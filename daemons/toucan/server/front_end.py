"""A front end put together: the gRPC server with all its methods, and everything behind them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc
import structlog

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.engine.port import EnginePort, Listener
from toucan.errors import InvalidSettings
from toucan.server.asking import Asking
from toucan.server.calls import Calls
from toucan.server.health import Health, add_reflection
from toucan.server.identity import Authority
from toucan.server.limits import (
    KEEPALIVE_TIME_S,
    KEEPALIVE_TIMEOUT_S,
    PING_INTERVAL_MIN_S,
    REQUEST_BYTES_MAX,
    RPCS_MAX,
    STOP_GRACE_S,
    STREAMS_PER_CONNECTION_MAX,
)
from toucan.server.metrics import Metrics
from toucan.server.order_entry import OrderEntry
from toucan.server.queries import Queries
from toucan.server.risk import RiskCalls
from toucan.server.settings import ServerSection
from toucan.server.streams.book import StreamBook
from toucan.server.streams.drop_copy import DropCopy, DropCopyFeed
from toucan.server.streams.market import MarketFeed, WatchMarketData
from toucan.server.streams.orders import OrderFeed
from toucan.server.streams.positions import PositionFeed, WatchPositions
from toucan.server.streams.pump import Pump
from toucan.server.streams.session import Session
from toucan.server.streams.session_book import SessionBook
from toucan.server.streams.watch_orders import WatchOrders
from toucan.server.tls import Tls

__all__ = ["FrontEnd"]

_log = structlog.get_logger("toucan.server")
_SERVICES = [service.full_name for service in pb.DESCRIPTOR.services_by_name.values()]


class FrontEnd:
    """One front end; from :meth:`start` to :meth:`stop` it serves. Raises :class:`~toucan.errors.InvalidSettings`.

    ``port`` belongs to the running event loop, and so does this.
    """

    def __init__(self, section: ServerSection, port: EnginePort) -> None:
        section.check()
        self.section = section
        self.port = port
        self.metrics = Metrics()
        tls = Tls(section) if section.has_tls else None
        self.authority = Authority(section, tls)
        self.pump = Pump()
        self.book = StreamBook(self.pump, self.authority)
        self.authority.on_change = self.book.on_users_changed
        self.asking = Asking(port)
        self.sessions = SessionBook(self.asking)
        self.orders = OrderFeed(port, self.metrics)
        self.positions = PositionFeed(port)
        self.market = MarketFeed(port)
        self.drop_copies = DropCopyFeed(port)
        self.health = Health(_SERVICES, self.book)
        self._tls = tls
        self._server: grpc.aio.Server | None = None
        self._stack = contextlib.AsyncExitStack()
        #: HOST:PORT as bound, of the service and of /metrics (empty: not served).
        self.address = ""
        self.metrics_address = ""

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Serves from now on."""
        async with contextlib.AsyncExitStack() as stack:
            self._count()
            self.metrics_address = stack.enter_context(self.metrics.served(self.section.metrics))
            # Positions and sessions first: whoever hears of an event by a stream finds them as after it.
            listeners: list[Listener] = [
                self.positions, self.sessions, self.orders, self.market, self.drop_copies, self.health
            ]  # fmt: skip
            for listener in listeners:
                stack.callback(self.port.add_listener(listener))
            stack.callback(self.positions.stop)
            stack.callback(self.market.stop)
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
        section = self.section
        server = grpc.aio.server(options=_options(section.share_port), maximum_concurrent_rpcs=RPCS_MAX)
        server.add_generic_rpc_handlers(self._handlers())
        self.health.add_to(server)
        add_reflection(server, _SERVICES, self.book)
        try:
            port = self._bind(server)
        except RuntimeError as error:
            raise InvalidSettings(f"cannot listen on server.listen = {section.listen!r}: {error}") from None
        await self.health.set(not self.port.is_stale)
        await server.start()
        self._server = server
        self.address = f"{section.listen.rpartition(':')[0]}:{port}"
        _log.info("front end serves", address=self.address, tls=self._tls is not None)

    def _bind(self, server: grpc.aio.Server) -> int:
        listen = self.section.listen
        if self._tls is None:
            return server.add_insecure_port(listen)
        return server.add_secure_port(listen, self._tls.credentials)

    async def _stop_serving(self) -> None:
        assert self._server is not None
        await self.health.stop()
        self.book.stop()
        await self._server.stop(STOP_GRACE_S)
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
        gauge(
            "toucan_server_updates_kept",
            "Updates that streams can resume from.",
            lambda: len(self.orders.recent),
        )

    # ------------------------------------------------------------ methods

    def _handlers(self) -> tuple[Any, ...]:
        calls = Calls(self.authority, self.metrics)
        return (
            grpc.method_handlers_generic_handler(
                "aviary.toucan.v1.OrderEntryService", self._requests(calls) | self._streams(calls)
            ),
            grpc.method_handlers_generic_handler("aviary.toucan.v1.RiskService", self._risk(calls)),
        )

    def _requests(self, calls: Calls) -> dict[str, Any]:
        entry = OrderEntry(self.asking)
        reads = Queries(self.asking, self.positions.book)
        one = calls.unary
        return {
            "SubmitOrder": one("SubmitOrder", pb.SubmitOrderRequest, entry.submit, is_logged=True),
            "CancelOrder": one("CancelOrder", pb.CancelOrderRequest, entry.cancel, is_logged=True),
            "ReplaceOrder": one("ReplaceOrder", pb.ReplaceOrderRequest, entry.replace, is_logged=True),
            "MassCancel": one("MassCancel", pb.MassCancelRequest, entry.mass_cancel, is_logged=True),
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
                "SetTradingState", pb.SetTradingStateRequest, risk.set_trading_state, is_logged=True
            ),
            "SetLimit": one("SetLimit", pb.SetLimitRequest, risk.set_limit, is_logged=True),
            "AdjustPosition": one(
                "AdjustPosition", pb.AdjustPositionRequest, risk.adjust_position, is_logged=True
            ),
            "ListLimits": one("ListLimits", pb.ListLimitsRequest, risk.list_limits),
        }


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is not None:
        _log.error("work in the background had ended early", exc_info=task.exception())


def _options(share_port: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
        ("grpc.max_send_message_length", -1),  # what is sent is bounded by what makes it
        ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION_MAX),
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_S * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_INTERVAL_MIN_S * 1000),
        ("grpc.so_reuseport", int(share_port)),
    ]
