"""Risk by itself: orders come, change and end by hand, and each is judged first, as the engine does it."""

from __future__ import annotations

from typing import Any

import msgspec

from toucan.core import events as ev
from toucan.core.instruments import Instrument
from toucan.core.order import Client, Order, OrderState, PendingRequest
from toucan.core.outcomes import Denial
from toucan.core.positions import Positions
from toucan.core.risk import Risk
from toucan.core.terms import OrderTerms
from toucan.core.values import OrderType, RequestKind, Side, TimeInForce, TradingLevel
from toucan.core.venue_messages import Quote

__all__ = ["ALICE", "INSTRUMENTS", "NOW_NS", "S", "RiskDesk", "terms"]

S = 1_000_000_000
NOW_NS = 1_767_621_600 * S
#: Alice's node for ACC1.
ALICE = "firm/alpha/ACC1/alice"
INSTRUMENTS = {
    one.symbol: one
    for one in (
        Instrument("AAPL", "USD", "SIM"),
        Instrument("MSFT", "USD", "SIM"),
        Instrument("DAX", "EUR", "SIM", multiplier=25),
        Instrument("BTC-USD", "USD", "SIM", quantity_decimals=8),
    )
}
TEAMS = """
base_currency = "USD"
[team.alpha]
accounts = ["ACC1", "ACC2"]
[team.beta]
accounts = ["ACC3"]
"""


def terms(
    quantity: int = 100,
    price: int | None = 10_000,
    side: Side = Side.BUY,
    stop: int | None = None,
    **more: Any,
) -> OrderTerms:
    """An order for ACC1 in AAPL; its type follows from its prices."""
    kinds = {
        (True, False): OrderType.LIMIT,
        (False, False): OrderType.MARKET,
        (False, True): OrderType.STOP,
        (True, True): OrderType.STOP_LIMIT,
    }
    values: dict[str, Any] = {"account": "ACC1", "symbol": "AAPL", "time_in_force": TimeInForce.GTC}
    kind = kinds[price is not None, stop is not None]
    return OrderTerms(
        **{
            **values,
            "quantity": quantity,
            "price": price,
            "stop_price": stop,
            "side": side,
            "type": kind,
            **more,
        }
    )


class RiskDesk:
    """``limits`` are set at their nodes; the market of AAPL is 99.90 to 100.10, last 100.00, unless another is given."""

    def __init__(self, *limits: tuple[str, str, str], last: int | None = 10_000) -> None:
        self.risk = Risk()
        self.positions = Positions()
        self.now_ns = NOW_NS
        self.orders: dict[int, Order] = {}
        self.market = last
        self.risk.apply(ev.LimitsLoaded(TEAMS, "test"), self.now_ns)
        self.risk.use_instruments(INSTRUMENTS)
        for node, limit, value in limits:
            self.set(node, limit, value)

    def set(self, node: str, limit: str, value: str | None) -> None:
        problem = self.risk.limit_problem(node, limit, value)
        assert problem is None, problem
        self.risk.apply(ev.LimitSet(node, limit, value, Client("risk", ""), "test"), self.now_ns)

    def level(self, node: str, level: TradingLevel) -> None:
        self.risk.apply(ev.LevelSet(node, level, Client("risk", ""), "test"), self.now_ns)

    def reload(self) -> None:
        """Through a snapshot, and on with what came out of it."""
        packed = msgspec.msgpack.encode(self.risk.dump())
        self.risk = Risk.load(msgspec.msgpack.decode(packed))
        self.risk.use_instruments(INSTRUMENTS)

    def _asked(self, trader: str, wanted: OrderTerms, is_confirmed: bool) -> tuple[Any, ...]:
        quote = None if self.market is None else Quote(wanted.symbol, self.now_ns, last_price=self.market)
        return trader, INSTRUMENTS[wanted.symbol], quote, self.positions, self.now_ns, is_confirmed

    # ------------------------------------------------------------ orders

    def denial(
        self, wanted: OrderTerms, trader: str = "alice", *, is_confirmed: bool = False
    ) -> Denial | None:
        """What a new order would be answered."""
        return self.risk.deny_new(wanted, *self._asked(trader, wanted, is_confirmed))

    def code(self, wanted: OrderTerms, trader: str = "alice", *, is_confirmed: bool = False) -> str:
        """The denial's code; empty: it passes."""
        denial = self.denial(wanted, trader, is_confirmed=is_confirmed)
        return "" if denial is None else denial.code

    def open(self, wanted: OrderTerms, trader: str = "alice") -> Order:
        """An order that passes, and works at its venue from then on."""
        denial = self.denial(wanted, trader, is_confirmed=True)
        assert denial is None, denial
        return self.put(wanted, trader)

    def put(self, wanted: OrderTerms, trader: str = "alice") -> Order:
        """An order that nobody was asked about."""
        number = len(self.orders) + 1
        order = Order(
            order_id=number, terms=wanted, owner=Client(trader, "desk"), venue="SIM", cl_ord_id=f"T-{number}-1",
            created_ns=self.now_ns, first_cl_ord_id=f"T-{number}-1",
        )  # fmt: skip
        order.requests.append(PendingRequest(RequestKind.NEW, order.cl_ord_id))
        self.orders[number] = order
        self.risk.requested(order, self.now_ns)
        order.state, order.requests = OrderState.WORKING, []
        self.risk.order_changed(order)
        return order

    def replace_denial(self, order: Order, *, is_confirmed: bool = False, **changes: Any) -> Denial | None:
        wanted = msgspec.structs.replace(order.terms, **changes)
        return self.risk.deny_replace(order, wanted, *self._asked(order.owner.user, wanted, is_confirmed))

    def replace_code(self, order: Order, *, is_confirmed: bool = False, **changes: Any) -> str:
        denial = self.replace_denial(order, is_confirmed=is_confirmed, **changes)
        return "" if denial is None else denial.code

    def replace(self, order: Order, **changes: Any) -> PendingRequest:
        """A replacement that passes, in flight from then on."""
        denial = self.replace_denial(order, is_confirmed=True, **changes)
        assert denial is None, denial
        wanted = msgspec.structs.replace(order.terms, **changes)
        request = PendingRequest(RequestKind.REPLACE, f"{order.first_cl_ord_id}r", terms=wanted)
        order.requests.append(request)
        self.risk.requested(order, self.now_ns)
        self.risk.order_changed(order)
        return request

    def settle(self, order: Order, request: PendingRequest, *, is_accepted: bool) -> None:
        """The venue answers a replacement."""
        order.requests.remove(request)
        if is_accepted and request.terms is not None:
            quantity = max(request.terms.quantity, order.cum_quantity)
            order.terms = msgspec.structs.replace(request.terms, quantity=quantity)
        self.risk.order_changed(order)

    def cancel_request(self, order: Order) -> None:
        order.requests.append(PendingRequest(RequestKind.CANCEL, "c"))
        self.risk.requested(order, self.now_ns)
        order.requests.pop()

    def fill(self, order: Order, quantity: int, price: int | None = None) -> None:
        """An execution; at the order's price if nothing else is said."""
        at = price or order.terms.price or 10_000
        order.cum_quantity += quantity
        wanted, trader = order.terms, order.owner.user
        exec_id = f"{order.order_id}/{order.cum_quantity}"
        self.positions.apply_trade(
            wanted.account, trader, wanted.symbol, wanted.side, quantity, at, exec_id, self.now_ns
        )
        self.risk.order_changed(order)
        self.risk.position_changed(wanted.account, trader, wanted.symbol, self.positions)

    def end(self, order: Order) -> None:
        order.state, order.requests = OrderState.CANCELED, []
        self.risk.order_changed(order)

    def hold(
        self,
        quantity: int,
        price: int = 10_000,
        symbol: str = "AAPL",
        account: str = "ACC1",
        trader: str = "alice",
    ) -> None:
        """A position from elsewhere."""
        self.positions.apply_adjustment(account, trader, symbol, quantity, price, self.now_ns)
        self.risk.position_changed(account, trader, symbol, self.positions)
