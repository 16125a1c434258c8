"""Order state for :mod:`tests.toucan.client.mini_server`: a dict of orders and a history, enough to be asked everything that the client can ask.

It answers each key once, numbers every event, and does at the venue what a test tells it. It knows no average-cost method, no order book and no
journal: what those do is tested where they are.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import grpc

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as types

#: Quantities above the first are denied, notionals above the second need a confirmation.
QUANTITY_MAX = 10_000
NOTIONAL_SOFT = Decimal(50_000)
OPEN = (
    types.ORDER_STATUS_PENDING_NEW,
    types.ORDER_STATUS_NEW,
    types.ORDER_STATUS_PARTIALLY_FILLED,
)
ROOT = "firm"


class NotOk(Exception):
    """An answer that is not OK."""

    def __init__(self, code: grpc.StatusCode, detail: types.Denial | types.Refusal | None, text: str) -> None:
        super().__init__(text)
        self.code, self.detail, self.text = code, detail, text


def refused(code: grpc.StatusCode, name: str, text: str) -> NotOk:
    return NotOk(code, types.Refusal(code=name, text=text), text)


@dataclass
class User:
    name: str
    accounts: tuple[str, ...]
    actions: tuple[str, ...] = ("trade", "cancel", "limits", "kill", "drop-copy")


@dataclass
class ClientRecord:
    last_number: int = 0
    answers: dict[int, Any] = field(default_factory=dict)


LOCAL = User("local", ("ACC1",))


def instruments() -> list[types.Instrument]:
    return [
        types.Instrument(
            symbol="AAPL", currency="USD", venue="SIM", price_decimals=2, tick=1, lot=1, multiplier=1,
            description="Apple Inc.", is_open=True, session_end_ns=4_000_000_000_000_000_000,
        ),
        types.Instrument(
            symbol="MSFT", currency="USD", venue="SIM", price_decimals=2, tick=5, lot=10, multiplier=1,
            description="Microsoft", is_open=True, session_end_ns=4_000_000_000_000_000_000,
        ),
        types.Instrument(
            symbol="BTC-USD", currency="USD", venue="SIM", price_decimals=2, quantity_decimals=8, tick=1, lot=1000,
            multiplier=1, description="Bitcoin", is_open=True, session_end_ns=4_000_000_000_000_000_000,
        ),
    ]  # fmt: skip


class MiniEngine:
    """All state; every method takes the lock itself."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.instruments = {one.symbol: one for one in instruments()}
        self.orders: dict[int, types.Order] = {}
        self.history: list[types.OrderUpdate] = []
        self.events: list[pb.DropCopyEvent] = []
        self.seq = 0
        #: Events up to this one are no longer told to those who resume.
        self.forgotten_seq = 0
        self.clients: defaultdict[tuple[str, str], ClientRecord] = defaultdict(ClientRecord)
        #: What was really done: user, session, number, kind. A key is in it once at most.
        self.executed: list[tuple[str, str, int, str]] = []
        self.positions: dict[tuple[str, str, str], types.Position] = {}
        self.market: dict[str, types.MarketData] = {}
        self.levels: dict[str, types.TradingLevel] = {ROOT: types.TRADING_LEVEL_NORMAL}
        self.limits: dict[tuple[str, str], str] = {(ROOT, "max_order_quantity"): str(QUANTITY_MAX)}
        #: The venue says nothing until it is told to (see :meth:`acknowledge`).
        self.is_venue_silent = False
        #: What happens to the next requests with a key, instead of being carried out: called with the request.
        self.faults: deque[Callable[[], None]] = deque()
        #: The same, after they were carried out and before they are answered; also when they come again.
        self.faults_after: deque[Callable[[], None]] = deque()
        self.quote("AAPL", "189.40", "189.50", "189.45")
        self.quote("MSFT", "400.00", "400.05", "400.00")
        self.quote("BTC-USD", "60000.00", "60001.00", "60000.50")

    # --- requests ---

    def once(self, user: User, key: pb.RequestKey, kind: str, do: Callable[[], Any]) -> Any:
        """Carries out a request once, and gives each repetition the same answer."""
        with self.changed:
            record = self.clients[(user.name, key.session)]
            if key.number not in record.answers:
                if key.number <= record.last_number:
                    raise refused(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        "REQUEST_SUPERSEDED",
                        f"request {key.number} was never seen before {record.last_number}",
                    )
                if self.faults:
                    self.faults.popleft()()
                record.last_number = key.number
                self.executed.append((user.name, key.session, key.number, kind))
                try:
                    record.answers[key.number] = do()
                except NotOk as error:
                    record.answers[key.number] = error
            if self.faults_after:
                self.faults_after.popleft()()
            answer = record.answers[key.number]
            if isinstance(answer, NotOk):
                raise answer
            return answer

    def submit(self, user: User, request: pb.SubmitOrderRequest) -> pb.SubmitOrderResponse:
        terms = request.terms
        self._check_account(user, terms.account)
        for denial in self.denials(terms):
            if not (denial.can_be_confirmed and request.is_confirmed):
                self._event("OrderDenied", user.name, terms.account, 0)
                raise NotOk(grpc.StatusCode.FAILED_PRECONDITION, denial, denial.text)
        order_id = len(self.orders) + 1
        order = types.Order(
            order_id=order_id,
            terms=terms,
            owner=user.name,
            session=request.key.session,
            venue=self.instruments[terms.symbol].venue,
            status=types.ORDER_STATUS_PENDING_NEW,
            leaves_quantity=terms.quantity,
            cl_ord_id=f"T{order_id}-1",
            created_ns=time.time_ns(),
        )
        self.orders[order_id] = order
        self._update(order, "OrderAccepted")
        answer = pb.SubmitOrderResponse(order_id=order_id, seq=self.seq)
        if not self.is_venue_silent:
            self.acknowledge(order_id)
        return answer

    def denials(self, terms: types.OrderTerms) -> list[types.Denial]:
        found = []
        path = f"{ROOT}/{terms.account}"
        if any(
            level != types.TRADING_LEVEL_NORMAL
            for node, level in self.levels.items()
            if path.startswith(node)
        ):
            found.append(types.Denial(code="TRADING_BLOCKED", node=ROOT, text="new orders are blocked"))
        if terms.quantity > QUANTITY_MAX and terms.symbol == "AAPL":
            found.append(
                types.Denial(
                    code="MAX_ORDER_QUANTITY", node=path, limit="max_order_quantity", value=str(terms.quantity),
                    maximum=str(QUANTITY_MAX), text=f"the quantity {terms.quantity} is above {QUANTITY_MAX}",
                )
            )  # fmt: skip
        notional = Decimal(terms.quantity * (terms.price or 18950)) / 100
        if notional > NOTIONAL_SOFT and terms.symbol == "AAPL":
            found.append(
                types.Denial(
                    code="MAX_ORDER_NOTIONAL", node=path, limit="soft_order_notional", value=str(notional),
                    maximum=str(NOTIONAL_SOFT), can_be_confirmed=True,
                    text=f"the order is worth {notional} USD, above {NOTIONAL_SOFT}",
                )
            )  # fmt: skip
        return found

    def cancel(self, user: User, order_id: int) -> pb.CancelOrderResponse:
        order = self.order_of(user, order_id)
        if order.status not in OPEN:
            raise refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_CLOSED", f"order {order_id} is over")
        self._end(order, types.ORDER_STATUS_CANCELED, types.EXECUTION_TYPE_CANCELED)
        return pb.CancelOrderResponse(seq=self.seq)

    def replace(self, user: User, request: pb.ReplaceOrderRequest) -> pb.ReplaceOrderResponse:
        order = self.order_of(user, request.order_id)
        if order.status not in OPEN:
            raise refused(
                grpc.StatusCode.FAILED_PRECONDITION, "ORDER_CLOSED", f"order {request.order_id} is over"
            )
        terms = types.OrderTerms()
        terms.CopyFrom(order.terms)
        for name in ("quantity", "price", "stop_price"):
            if request.HasField(name):
                setattr(terms, name, getattr(request, name))
        for denial in self.denials(terms):
            if not (denial.can_be_confirmed and request.is_confirmed):
                raise NotOk(grpc.StatusCode.FAILED_PRECONDITION, denial, denial.text)
        order.terms.CopyFrom(terms)
        order.leaves_quantity = terms.quantity - order.cum_quantity
        self._update(order, "Reported", types.EXECUTION_TYPE_REPLACED)
        return pb.ReplaceOrderResponse(seq=self.seq)

    def mass_cancel(
        self, user: User, account: str, symbol: str, side: int, owner: str
    ) -> pb.MassCancelResponse:
        cancelled = []
        for order in self.orders.values():
            terms = order.terms
            if (
                order.status in OPEN
                and terms.account in user.accounts
                and account in ("", terms.account)
                and symbol in ("", terms.symbol)
                and side in (0, terms.side)
                and owner in ("", order.owner)
            ):
                self._end(order, types.ORDER_STATUS_CANCELED, types.EXECUTION_TYPE_CANCELED)
                cancelled.append(order.order_id)
        return pb.MassCancelResponse(order_ids=cancelled, seq=self.seq)

    def set_level(self, user: User, request: pb.SetTradingStateRequest) -> pb.SetTradingStateResponse:
        if request.node not in self.levels and request.node != f"{ROOT}/ACC1":
            raise refused(grpc.StatusCode.NOT_FOUND, "UNKNOWN_NODE", f"there is no node {request.node!r}")
        if not request.reason:
            raise refused(grpc.StatusCode.INVALID_ARGUMENT, "REASON_MISSING", "say why, for the audit trail")
        self.levels[request.node] = request.level
        self._event("LevelSet", user.name, "", 0)
        cancelled: list[int] = []
        if request.level == types.TRADING_LEVEL_CANCEL_ALL:
            cancelled += self.mass_cancel(user, "", "", 0, "").order_ids
        return pb.SetTradingStateResponse(order_ids=cancelled, seq=self.seq)

    def set_limit(self, user: User, request: pb.SetLimitRequest) -> pb.SetLimitResponse:
        if not request.limit.startswith("max_"):
            raise refused(
                grpc.StatusCode.INVALID_ARGUMENT, "INVALID_LIMIT", f"there is no limit {request.limit!r}"
            )
        if request.HasField("value"):
            self.limits[(request.node, request.limit)] = request.value
        else:
            self.limits.pop((request.node, request.limit), None)
        self._event("LimitSet", user.name, "", 0)
        return pb.SetLimitResponse(seq=self.seq)

    def adjust(self, user: User, request: pb.AdjustPositionRequest) -> pb.AdjustPositionResponse:
        self._check_account(user, request.account)
        self._event("PositionAdjusted", user.name, request.account, 0)
        self._add(request.account, "", request.symbol, request.quantity, request.price)
        return pb.AdjustPositionResponse(seq=self.seq)

    def order_of(self, user: User, order_id: int) -> types.Order:
        order = self.orders.get(order_id)
        if order is None or order.terms.account not in user.accounts:
            raise refused(
                grpc.StatusCode.NOT_FOUND, "UNKNOWN_ORDER", f"there is no order {order_id} of yours"
            )
        return order

    def _check_account(self, user: User, account: str) -> None:
        if account not in user.accounts:
            raise NotOk(grpc.StatusCode.PERMISSION_DENIED, None, f"{user.name} may not trade on {account!r}")

    # --- the venue ---

    def acknowledge(self, order_id: int) -> None:
        """The venue takes an order and does what it can at once."""
        with self.changed:
            order = self.orders[order_id]
            order.status = types.ORDER_STATUS_NEW
            order.venue_order_id = f"V{order_id}"
            self._update(order, "Reported", types.EXECUTION_TYPE_NEW)
            price = self._marketable_price(order.terms)
            if price is not None:
                self.fill(order_id, order.terms.quantity, price)
            elif order.terms.time_in_force in (types.TIME_IN_FORCE_IOC, types.TIME_IN_FORCE_FOK):
                self._end(order, types.ORDER_STATUS_CANCELED, types.EXECUTION_TYPE_CANCELED)

    def _marketable_price(self, terms: types.OrderTerms) -> int | None:
        book = self.market[terms.symbol]
        opposite = book.ask_price if terms.side == types.SIDE_BUY else book.bid_price
        if terms.HasField("stop_price"):
            return None
        if not terms.HasField("price"):
            return opposite
        is_through = terms.price >= opposite if terms.side == types.SIDE_BUY else terms.price <= opposite
        return opposite if is_through else None

    def fill(self, order_id: int, quantity: int, price: int) -> None:
        """The venue executes a part of an order."""
        with self.changed:
            order = self.orders[order_id]
            before = order.cum_quantity
            paid = Decimal(order.average_price or 0) * before + Decimal(price).scaleb(-2) * quantity
            order.cum_quantity += quantity
            order.leaves_quantity = order.terms.quantity - order.cum_quantity
            order.average_price = f"{(paid / order.cum_quantity).normalize():f}"
            is_full = order.leaves_quantity <= 0
            order.status = types.ORDER_STATUS_FILLED if is_full else types.ORDER_STATUS_PARTIALLY_FILLED
            execution = types.Execution(exec_id=f"E{self.seq + 1}", quantity=quantity, price=price)
            self._update(order, "Reported", types.EXECUTION_TYPE_TRADE, execution)
            sign = 1 if order.terms.side == types.SIDE_BUY else -1
            self._add(order.terms.account, "", order.terms.symbol, sign * quantity, price)

    def reject(self, order_id: int, text: str) -> None:
        """The venue rejects an order."""
        with self.changed:
            order = self.orders[order_id]
            order.reason, order.text = "rejected", text
            self._end(order, types.ORDER_STATUS_REJECTED, types.EXECUTION_TYPE_REJECTED)

    def quote(self, symbol: str, bid: str, ask: str, last: str) -> None:
        """The market moves."""

        def units(price: str) -> int:
            return int(Decimal(price).scaleb(2))

        size = 10 ** self.instruments[symbol].quantity_decimals
        with self.changed:
            self.market[symbol] = types.MarketData(
                symbol=symbol, bid_price=units(bid), bid_quantity=300 * size, ask_price=units(ask),
                ask_quantity=200 * size, last_price=units(last), last_quantity=100 * size, volume=5000 * size,
                at_ns=time.time_ns(),
                bids=[types.Level(price=units(bid) - 5 * n, quantity=(300 + n) * size) for n in range(5)],
                asks=[types.Level(price=units(ask) + 5 * n, quantity=(200 + n) * size) for n in range(5)],
            )  # fmt: skip
            self.changed.notify_all()

    def _end(
        self, order: types.Order, status: types.OrderStatus, execution_type: types.ExecutionType
    ) -> None:
        order.status, order.leaves_quantity = status, 0
        self._update(order, "Reported", execution_type)

    def _add(self, account: str, trader: str, symbol: str, quantity: int, price: int) -> None:
        position = self.positions.setdefault(
            (account, trader, symbol),
            types.Position(
                account=account, trader=trader, symbol=symbol, realised_profit="0", currency="USD"
            ),
        )
        position.quantity += quantity
        if quantity > 0:
            position.bought_quantity += quantity
        else:
            position.sold_quantity -= quantity
        position.average_price = f"{Decimal(price).scaleb(-2):f}"
        position.mark_price = self.market[symbol].last_price
        # At this double's own rough reckoning: the last price is every share's.
        profit = Decimal((position.mark_price - price) * position.quantity).scaleb(
            -2 - self.instruments[symbol].quantity_decimals
        )
        position.unrealised_profit = f"{profit:f}"
        position.updated_seq = self.seq

    # --- history ---

    def _event(self, event: str, user: str, account: str, order_id: int) -> None:
        self.seq += 1
        self.events.append(
            pb.DropCopyEvent(
                seq=self.seq, at_ns=time.time_ns(), event=event, user=user, account=account, order_id=order_id,
                json=f'{{"type": "{event}"}}',
            )
        )  # fmt: skip
        self.changed.notify_all()

    def _update(
        self,
        order: types.Order,
        event: str,
        execution_type: types.ExecutionType = types.EXECUTION_TYPE_UNSPECIFIED,
        execution: types.Execution | None = None,
    ) -> None:
        with self.changed:
            self._event(
                event, order.owner if event != "Reported" else "", order.terms.account, order.order_id
            )
            order.updated_seq, order.updated_ns = self.seq, time.time_ns()
            update = types.OrderUpdate(
                seq=self.seq,
                execution_type=execution_type,
                event=event,
                execution=execution,
                at_ns=order.updated_ns,
            )
            update.order.CopyFrom(order)
            self.history.append(update)

    def forget_history(self) -> None:
        """Nobody can resume from before now."""
        with self.changed:
            self.forgotten_seq = self.seq
