"""A small but honest front end for tests of the client: a real gRPC server on a real socket, in front of :class:`MiniEngine`.

It can be killed and started again on its port with the same state, freeze, refuse, and lose answers before or after the request was carried out.
It stands for a server that cannot run in these tests; that one is tested with this client in ``tests/system``.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from google.rpc import status_pb2  # type: ignore[import-untyped]
from tests.toucan.client.mini_engine import LOCAL, OPEN, ROOT, MiniEngine, NotOk, User

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as types

_ORDER_ENTRY = "aviary.toucan.v1.OrderEntryService"
_RISK = "aviary.toucan.v1.RiskService"
_PAGE = 100


def lost() -> None:
    """A fault: the connection to the engine is gone."""
    raise NotOk(grpc.StatusCode.UNAVAILABLE, types.Refusal(code="ENGINE_AWAY", text="the engine is away"), "")


def exhausted() -> None:
    """A fault: too many are waiting."""
    text = "too many requests of this client are waiting"
    raise NotOk(grpc.StatusCode.RESOURCE_EXHAUSTED, types.Refusal(code="ENGINE_OVERLOADED", text=text), text)


def crash() -> None:
    """A fault: a bug."""
    raise RuntimeError("the handler failed")


class MiniServer:
    """Serves ``engine`` on a free port of 127.0.0.1 until :meth:`kill`; :meth:`start` serves again on the same port."""

    def __init__(
        self,
        engine: MiniEngine | None = None,
        *,
        users: dict[str, User] | None = None,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self.engine = engine or MiniEngine()
        self.users = users
        self.heartbeat_s = 0.1
        #: Streams say nothing, heartbeats neither.
        self.is_mute = False
        #: Streams say that they do not follow the engine.
        self.is_stale = False
        #: Requests wait while it is cleared.
        self.running = threading.Event()
        self.running.set()
        #: What a snapshot's message holds at most.
        self.snapshot_size = 2
        self.requests: list[str] = []
        #: The instrument table cannot be had.
        self.has_no_table = False
        #: Streams of orders whose place in the history is fixed.
        self.watching = 0
        #: Of the reads that have one.
        self.min_seqs: list[int] = []
        self._credentials = credentials
        self._port = 0
        self._server: grpc.Server | None = None
        self._life = 0
        self._sessions: dict[tuple[str, str], int] = {}
        self._graces: dict[tuple[str, str], threading.Timer] = {}
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        assert self._server is None
        options = (("grpc.so_reuseport", 0), ("grpc.http2.min_ping_interval_without_data_ms", 5000))
        server = grpc.server(futures.ThreadPoolExecutor(64), options=options)
        server.add_generic_rpc_handlers((self._order_entry(), self._risk()))
        target = f"127.0.0.1:{self._port}"
        self._port = (
            server.add_insecure_port(target)
            if self._credentials is None
            else server.add_secure_port(target, self._credentials)
        )
        server.start()
        self._server = server

    def kill(self) -> None:
        """Breaks every connection; what is under way gets no answer."""
        assert self._server is not None
        server, self._server = self._server, None
        self._life += 1
        with self.engine.changed:
            self.engine.changed.notify_all()
        server.stop(0).wait()

    def close(self) -> None:
        self.running.set()
        for timer in self._graces.values():
            timer.cancel()
        if self._server is not None:
            self.kill()

    def drop_streams(self) -> None:
        """Ends every stream with an error, and nothing else."""
        with self.engine.changed:
            self._life += 1
            self.engine.changed.notify_all()

    # --- requests with one answer ---

    def _order_entry(self) -> Any:
        engine = self.engine
        return grpc.method_handlers_generic_handler(
            _ORDER_ENTRY,
            {
                "SubmitOrder": self._keyed(pb.SubmitOrderRequest, engine.submit),
                "CancelOrder": self._keyed(
                    pb.CancelOrderRequest, lambda user, request: engine.cancel(user, request.order_id)
                ),
                "ReplaceOrder": self._keyed(pb.ReplaceOrderRequest, engine.replace),
                "MassCancel": self._keyed(pb.MassCancelRequest, self._mass_cancel),
                "PreviewOrder": self._unary(pb.PreviewOrderRequest, self._preview),
                "GetOrder": self._unary(
                    pb.GetOrderRequest,
                    lambda user, request: pb.GetOrderResponse(order=engine.order_of(user, request.order_id)),
                ),
                "ListOrders": self._unary(pb.ListOrdersRequest, self._list_orders),
                "ListPositions": self._unary(
                    pb.ListPositionsRequest,
                    lambda user, request: pb.ListPositionsResponse(
                        positions=self._positions(user, request), seq=engine.seq
                    ),
                ),
                "ListInstruments": self._unary(
                    pb.ListInstrumentsRequest,
                    self._list_instruments,
                ),
                "GetIdentity": self._unary(
                    pb.GetIdentityRequest,
                    lambda user, request: pb.GetIdentityResponse(
                        user=user.name, accounts=user.accounts, actions=user.actions
                    ),
                ),
                "WatchOrders": self._stream(pb.WatchOrdersRequest, self._watch_orders),
                "WatchPositions": self._stream(pb.WatchPositionsRequest, self._watch_positions),
                "WatchMarketData": self._stream(pb.WatchMarketDataRequest, self._watch_market_data),
                "DropCopy": self._stream(pb.DropCopyRequest, self._drop_copy),
                "Session": grpc.stream_stream_rpc_method_handler(
                    self._session,
                    request_deserializer=pb.SessionRequest.FromString,
                    response_serializer=pb.SessionResponse.SerializeToString,
                ),
            },
        )

    def _risk(self) -> Any:
        engine = self.engine
        return grpc.method_handlers_generic_handler(
            _RISK,
            {
                "SetTradingState": self._keyed(pb.SetTradingStateRequest, engine.set_level, "kill"),
                "SetLimit": self._keyed(pb.SetLimitRequest, engine.set_limit, "limits"),
                "AdjustPosition": self._keyed(pb.AdjustPositionRequest, engine.adjust, "limits"),
                "ListLimits": self._unary(pb.ListLimitsRequest, self._list_limits),
            },
        )

    def _user_of(self, context: grpc.ServicerContext) -> User:
        if self.users is None:
            return LOCAL
        given = dict(context.invocation_metadata()).get("authorization", "")
        user = self.users.get(str(given).removeprefix("Bearer "))
        if user is None:
            raise NotOk(grpc.StatusCode.UNAUTHENTICATED, None, "the token is not known")
        return user

    def _unary(
        self, request_type: type[Any], do: Callable[[User, Any], Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            self.requests.append(request_type.__name__)
            self.running.wait(30)
            if hasattr(request, "min_seq"):
                self.min_seqs.append(request.min_seq)
            try:
                user = self._user_of(context)
                with self.engine.changed:
                    return do(user, request)
            except NotOk as error:
                _abort(context, error)

        return grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=request_type.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _keyed(
        self, request_type: type[Any], do: Callable[[User, Any], Any], action: str = "trade"
    ) -> grpc.RpcMethodHandler[Any, Any]:
        def once(user: User, request: Any) -> Any:
            if action not in user.actions:
                raise NotOk(grpc.StatusCode.PERMISSION_DENIED, None, f"{user.name} may not: {action}")
            return self.engine.once(user, request.key, request_type.__name__, lambda: do(user, request))

        return self._unary(request_type, once)

    def _mass_cancel(self, user: User, request: pb.MassCancelRequest) -> pb.MassCancelResponse:
        return self.engine.mass_cancel(user, request.account, request.symbol, request.side, request.owner)

    def _preview(self, user: User, request: pb.PreviewOrderRequest) -> pb.PreviewOrderResponse:
        terms = request.terms
        position = self.engine.positions.get((terms.account, "", terms.symbol))
        return pb.PreviewOrderResponse(
            denials=self.engine.denials(terms),
            notional=f"{terms.quantity * terms.price / 100:.2f}" if terms.HasField("price") else "",
            reference_price=self.engine.market[terms.symbol].last_price,
            position=position.quantity if position else 0,
        )

    def _list_orders(self, user: User, request: pb.ListOrdersRequest) -> pb.ListOrdersResponse:
        found = [
            order
            for order in sorted(self.engine.orders.values(), key=lambda order: -order.order_id)
            if _matches(order, request.filter, user)
        ]
        first = int(request.page_token or 0)
        size = min(request.page_size or _PAGE, _PAGE)
        is_more = first + size < len(found)
        return pb.ListOrdersResponse(
            orders=found[first : first + size],
            next_page_token=str(first + size) if is_more else "",
            seq=self.engine.seq,
        )

    def _positions(self, user: User, request: Any) -> list[types.Position]:
        return [
            position
            for position in self.engine.positions.values()
            if position.account in user.accounts
            and (not request.accounts or position.account in request.accounts)
            and (not request.symbols or position.symbol in request.symbols)
        ]

    def _list_instruments(self, user: User, request: pb.ListInstrumentsRequest) -> pb.ListInstrumentsResponse:
        if self.has_no_table:
            lost()
        return pb.ListInstrumentsResponse(instruments=self.engine.instruments.values())

    def _list_limits(self, user: User, request: pb.ListLimitsRequest) -> pb.ListLimitsResponse:
        engine = self.engine
        if "limits" not in user.actions:
            raise NotOk(grpc.StatusCode.PERMISSION_DENIED, None, f"{user.name} may not: limits")
        nodes = sorted({ROOT, f"{ROOT}/ACC1", *engine.levels})
        made = []
        for node in nodes:
            if not node.startswith(request.node):
                continue
            above = [level for other, level in engine.levels.items() if node.startswith(other)]
            made.append(
                types.RiskNode(
                    node=node,
                    level=engine.levels.get(node, types.TRADING_LEVEL_NORMAL),
                    effective_level=max(above),
                    limits=[
                        types.Limit(node=node, name=name, value=value)
                        for (other, name), value in engine.limits.items()
                        if other == node
                    ],
                    open_orders=sum(order.status in OPEN for order in engine.orders.values()),
                    open_notional="0",
                )
            )
        return pb.ListLimitsResponse(nodes=made, base_currency="USD", seq=engine.seq)

    # --- streams ---

    def _stream(
        self, request_type: type[Any], run: Callable[[User, Any, Callable[[], bool]], Iterator[Any]]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            life = self._life
            self.requests.append(request_type.__name__)

            def wait() -> bool:
                """Waits for a change or a heartbeat's time; False: the stream is over."""
                with self.engine.changed:
                    if self._life == life:
                        self.engine.changed.wait(self.heartbeat_s)
                while self.is_mute and self._life == life and context.is_active():
                    time.sleep(0.01)
                return self._life == life and context.is_active()

            try:
                user = self._user_of(context)
                yield from run(user, request, wait)
            except NotOk as error:
                _abort(context, error)
            context.abort(grpc.StatusCode.UNAVAILABLE, "the stream was dropped")

        return grpc.unary_stream_rpc_method_handler(
            handle,
            request_deserializer=request_type.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _watch_orders(
        self, user: User, request: pb.WatchOrdersRequest, wait: Callable[[], bool]
    ) -> Iterator[pb.WatchOrdersResponse]:
        engine = self.engine
        told = request.after_seq
        with engine.changed:
            if not request.HasField("after_seq") or told < engine.forgotten_seq or told > engine.seq:
                told = engine.seq
                orders = [order for order in engine.orders.values() if _matches(order, request.filter, user)]
                snapshot = [
                    types.OrderUpdate(
                        seq=order.updated_seq, event="Snapshot", order=order, at_ns=order.updated_ns
                    )
                    for order in orders
                ]
            else:
                snapshot = None
            self.watching += 1
        if snapshot is not None and not request.without_snapshot:
            size = self.snapshot_size
            for first in range(0, max(len(snapshot), 1), size):
                yield pb.WatchOrdersResponse(
                    updates=snapshot[first : first + size],
                    seq=told,
                    is_snapshot=True,
                    is_snapshot_end=first + size >= len(snapshot),
                )
                if not wait():
                    return
        while True:
            with engine.changed:
                updates = [
                    update
                    for update in engine.history
                    if update.seq > told and _matches(update.order, request.filter, user, is_change=True)
                ]
                told = engine.seq
            yield pb.WatchOrdersResponse(updates=updates, seq=told, is_stale=self.is_stale)
            if not wait():
                return

    def _watch_positions(
        self, user: User, request: pb.WatchPositionsRequest, wait: Callable[[], bool]
    ) -> Iterator[pb.WatchPositionsResponse]:
        told: dict[Any, bytes] = {}
        while True:
            with self.engine.changed:
                changed = [
                    position
                    for position in self._positions(user, request)
                    if told.get((position.account, position.symbol)) != position.SerializeToString()
                ]
                told.update(
                    ((position.account, position.symbol), position.SerializeToString())
                    for position in changed
                )
                response = pb.WatchPositionsResponse(
                    positions=changed, seq=self.engine.seq, is_stale=self.is_stale
                )
            yield response
            if not wait():
                return

    def _watch_market_data(
        self, user: User, request: pb.WatchMarketDataRequest, wait: Callable[[], bool]
    ) -> Iterator[pb.WatchMarketDataResponse]:
        told: dict[str, bytes] = {}
        for symbol in request.symbols:
            if symbol not in self.engine.market:
                raise NotOk(
                    grpc.StatusCode.NOT_FOUND,
                    types.Refusal(code="UNKNOWN_INSTRUMENT", text=f"there is no {symbol}"),
                    "",
                )
        while True:
            made = []
            with self.engine.changed:
                for symbol in request.symbols:
                    data = types.MarketData()
                    data.CopyFrom(self.engine.market[symbol])
                    del data.bids[request.depth :]
                    del data.asks[request.depth :]
                    if told.get(symbol) != data.SerializeToString():
                        told[symbol] = data.SerializeToString()
                        made.append(data)
            yield pb.WatchMarketDataResponse(market_data=made, is_stale=self.is_stale)
            if not wait():
                return

    def _drop_copy(
        self, user: User, request: pb.DropCopyRequest, wait: Callable[[], bool]
    ) -> Iterator[pb.DropCopyResponse]:
        engine = self.engine
        if "drop-copy" not in user.actions:
            raise NotOk(grpc.StatusCode.PERMISSION_DENIED, None, f"{user.name} may not: drop-copy")
        told = request.after_seq if request.HasField("after_seq") else engine.seq
        gap = None
        if told < engine.forgotten_seq:
            gap, told = engine.forgotten_seq + 1, engine.forgotten_seq
        while True:
            with engine.changed:
                events = [event for event in engine.events if event.seq > told]
                told = engine.seq
            yield pb.DropCopyResponse(events=events, seq=told, gap_until_seq=gap, is_stale=self.is_stale)
            gap = None
            if not wait():
                return

    # --- sessions ---

    def _session(
        self, requests: Iterator[pb.SessionRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.SessionResponse]:
        try:
            user = self._user_of(context)
        except NotOk as error:
            _abort(context, error)
        opening = next(requests).open
        place = (user.name, opening.session)
        with self.engine.changed:
            timer = self._graces.pop(place, None)
            if timer is not None:
                timer.cancel()
            mine = self._sessions[place] = self._sessions.get(place, 0) + 1
            last_number = self.engine.clients[place].last_number
            told = opening.after_seq if opening.HasField("after_seq") else self.engine.seq
            opened = pb.SessionOpened(last_number=last_number, seq=self.engine.seq)
        yield pb.SessionResponse(opened=opened)
        answers: queue.SimpleQueue[pb.SessionResponse | None] = queue.SimpleQueue()
        reader = threading.Thread(target=self._read_session, args=(user, requests, answers), daemon=True)
        reader.start()
        yield from self._write_session(user, opening, told, mine, answers, context)

    def _read_session(
        self, user: User, requests: Iterator[pb.SessionRequest], answers: queue.SimpleQueue[Any]
    ) -> None:
        try:
            for request in requests:
                self.running.wait(30)
                answers.put(self._session_answer(user, request))
        except Exception:  # gRPC raises a bare Exception when the stream breaks off
            pass
        answers.put(None)

    def _session_answer(self, user: User, request: pb.SessionRequest) -> pb.SessionResponse:
        body, engine = request.WhichOneof("body"), self.engine
        message: Any = getattr(request, str(body))
        do: dict[str, Callable[[], Any]] = {
            "submit": lambda: engine.submit(user, message),
            "cancel": lambda: engine.cancel(user, message.order_id),
            "replace": lambda: engine.replace(user, message),
            "mass_cancel": lambda: self._mass_cancel(user, message),
        }
        if body == "close":
            return pb.SessionResponse(closed=pb.CloseSessionDone())
        try:
            answer = engine.once(user, message.key, str(body), do[str(body)])
        except NotOk as error:
            made = pb.SessionError(code=error.code.value[0], message=error.text)
            if isinstance(error.detail, types.Denial):
                made.denial.CopyFrom(error.detail)
            elif error.detail is not None:
                made.refusal.CopyFrom(error.detail)
            return pb.SessionResponse(tag=request.tag, error=made)
        return pb.SessionResponse(tag=request.tag, **{str(body): answer})

    def _write_session(
        self,
        user: User,
        opening: pb.OpenSession,
        told: int,
        mine: int,
        answers: queue.SimpleQueue[Any],
        context: grpc.ServicerContext,
    ) -> Iterator[pb.SessionResponse]:
        engine, life, place = self.engine, self._life, (user.name, opening.session)
        heartbeat_at, is_orderly = 0.0, False

        def ended() -> None:
            if not is_orderly:
                self._lost(user, opening, mine)

        context.add_callback(ended)
        while self._life == life and context.is_active():
            if self._sessions[place] != mine:
                _abort(
                    context,
                    NotOk(
                        grpc.StatusCode.ABORTED,
                        types.Refusal(
                            code="SESSION_TAKEN_OVER", text="another stream has taken this session"
                        ),
                        "",
                    ),
                )
            if self.is_mute:
                time.sleep(0.01)
                continue
            try:
                answer = answers.get(timeout=0.01)
            except queue.Empty:
                pass
            else:
                if answer is None:
                    break
                is_orderly = answer.HasField("closed")
                yield answer
                if is_orderly:
                    return
                continue
            with engine.changed:
                updates = [
                    update
                    for update in engine.history
                    if update.seq > told and update.order.session == opening.session
                ]
                told = engine.seq
            if updates or time.monotonic() >= heartbeat_at:
                heartbeat_at = time.monotonic() + self.heartbeat_s
                yield pb.SessionResponse(updates=pb.WatchOrdersResponse(updates=updates, seq=told))
        context.abort(grpc.StatusCode.UNAVAILABLE, "the stream was dropped")

    def _lost(self, user: User, opening: pb.OpenSession, mine: int) -> None:
        place = (user.name, opening.session)
        if not opening.HasField("cancel_on_disconnect_ms") or self._sessions[place] != mine:
            return

        def cancel_all() -> None:
            with self.engine.changed:
                for order in list(self.engine.orders.values()):
                    if order.session == opening.session and order.status in OPEN:
                        self.engine.cancel(user, order.order_id)

        timer = threading.Timer(opening.cancel_on_disconnect_ms / 1000, cancel_all)
        timer.daemon = True
        self._graces[place] = timer
        timer.start()


def _matches(order: types.Order, wanted: pb.OrderFilter, user: User, *, is_change: bool = False) -> bool:
    terms = order.terms
    return (
        terms.account in user.accounts
        and (not wanted.accounts or terms.account in wanted.accounts)
        and (not wanted.symbols or terms.symbol in wanted.symbols)
        and wanted.side in (0, terms.side)
        and (not wanted.owners or order.owner in wanted.owners)
        # A change that ends an order is told to those who watch open ones.
        and (not wanted.is_open or is_change or order.status in OPEN)
        and (not wanted.statuses or order.status in wanted.statuses)
    )


def _abort(context: grpc.ServicerContext, error: NotOk) -> Any:
    if error.detail is not None:
        status = status_pb2.Status(code=error.code.value[0], message=error.text)
        status.details.add().Pack(error.detail)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(error.code, error.text)
