"""The exchange against the naive matcher, and what must hold whatever firms and operators do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce
from toucan.core.venue_messages import CancelOrder, MassStatusRequest, NewOrder, ReplaceOrder, Report
from toucan.exchange.core.exchange import Exchange
from toucan.exchange.core.market import Market
from toucan.exchange.core.operator import Operator, OperatorError
from toucan.exchange.core.scribe import Addressed

from .naive import NaiveMarket, NaiveOrder
from .script import INSTRUMENTS, START_NS, check_report

#: How long an example takes says nothing here.
RELAXED = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.large_base_example, HealthCheck.data_too_large],
)

_PRICES = st.integers(95, 105)
_QUANTITIES = st.integers(1, 20)
_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)
_RESTING = (TimeInForce.GTC, TimeInForce.DAY)
_TYPES = {
    (False, False): OrderType.MARKET,
    (True, False): OrderType.LIMIT,
    (False, True): OrderType.STOP,
    (True, True): OrderType.STOP_LIMIT,
}


def _mostly(often: st.SearchStrategy[Any], seldom: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One in five is another."""
    return st.one_of(often, often, often, often, seldom)


@st.composite
def _new(draw: st.DrawFn) -> dict[str, Any]:
    """An order that is well formed."""
    price = draw(_mostly(_PRICES, st.none()))
    stop = draw(_mostly(st.none(), _PRICES))
    kind = _TYPES[price is not None, stop is not None]
    time_in_force = draw(_mostly(st.sampled_from(_RESTING), st.sampled_from(_IMMEDIATE)))
    rests = time_in_force not in _IMMEDIATE and price is not None
    quantity = draw(_QUANTITIES)
    return {
        "action": "new",
        "firm": draw(st.sampled_from("AB")),
        "side": draw(st.sampled_from(Side)),
        "type": kind,
        "time_in_force": time_in_force,
        "quantity": quantity,
        "price": price,
        "stop_price": stop,
        "max_floor": draw(_mostly(st.none(), st.integers(1, quantity))) if rests else None,
        "post_only": draw(_mostly(st.just(False), st.just(True))) if rests and stop is None else False,
    }


_INDEX = st.integers(0, 30)
_CHANGES = st.one_of(
    st.fixed_dictionaries({"action": st.just("cancel"), "order": _INDEX}),
    st.fixed_dictionaries(
        {
            "action": st.just("replace"), "order": _INDEX, "quantity": _QUANTITIES,
            "price": st.one_of(st.none(), _PRICES), "stop": st.one_of(st.none(), _PRICES),
        }
    ),
)  # fmt: skip
_HALTS = st.fixed_dictionaries({"action": st.sampled_from(("halt", "resume", "resume", "resume"))})
_OPERATIONS = st.one_of(
    st.fixed_dictionaries({"action": st.just("bust"), "trade": _INDEX, "back": st.booleans()}),
    st.fixed_dictionaries(
        {
            "action": st.just("correct"), "trade": _INDEX, "back": st.booleans(),
            "quantity": st.one_of(st.none(), _QUANTITIES), "price": st.one_of(st.none(), _PRICES),
        }
    ),
    st.fixed_dictionaries({"action": st.just("drop"), "order": _INDEX}),
    st.fixed_dictionaries({"action": st.just("restate"), "order": _INDEX, "quantity": _QUANTITIES}),
    st.fixed_dictionaries({"action": st.sampled_from(("end-day", "next-day"))}),
)  # fmt: skip


def _course(*actions: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Long enough that something is traded."""
    return st.lists(st.one_of(*actions), min_size=20, max_size=50)


class Desk:
    """An exchange, driven by the drawn actions; keeps what it told, and checks it."""

    def __init__(self) -> None:
        self.exchange = Exchange(INSTRUMENTS, life="L", now_ns=START_NS)
        self.operator = Operator(self.exchange)
        self.now_ns = START_NS
        self.orders: list[tuple[str, NewOrder, str]] = []  # firm, order, its last accepted id
        self.reports: list[Report] = []
        self._seqs: dict[str, int] = {}
        self._exec_ids: set[str] = set()

    @property
    def market(self) -> Market:
        return self.exchange.markets["ABC"]

    def take(self, told: list[Addressed]) -> list[Report]:
        reports = []
        for firm, message in told:
            if isinstance(message, Report):
                self._seqs[firm] = check_report(message, self._seqs.get(firm, 0), self._exec_ids)
                reports.append(message)
        self.reports += reports
        return reports

    def new(self, action: dict[str, Any]) -> list[Report]:
        fields = {key: value for key, value in action.items() if key not in ("action", "firm")}
        order = NewOrder(cl_ord_id=f"o{len(self.orders)}", account="a", symbol="ABC", **fields)
        self.orders.append((action["firm"], order, order.cl_ord_id))
        return self.take(self.exchange.handle(action["firm"], order, self.now_ns))

    def cancel(self, place: int) -> list[Report]:
        firm, order, last = self.orders[place]
        own = f"c{len(self.reports)}-{place}"
        return self.take(self.exchange.handle(firm, CancelOrder(own, last, "ABC", order.side), self.now_ns))

    def replace_some(self, action: dict[str, Any]) -> tuple[list[Report], ReplaceOrder]:
        """What the action does not say stays as the order's first message had it."""
        place = action["order"] % len(self.orders)
        firm, order, last = self.orders[place]
        message = ReplaceOrder(
            cl_ord_id=f"r{len(self.reports)}-{place}",
            orig_cl_ord_id=last,
            symbol="ABC",
            side=order.side,
            type=order.type,
            quantity=action["quantity"],
            price=(action["price"] or order.price) if order.type.has_price else None,
            stop_price=(action["stop"] or order.stop_price) if order.type.has_stop_price else None,
        )
        reports = self.take(self.exchange.handle(firm, message, self.now_ns))
        if reports[0].kind is ExecType.REPLACED:
            self.orders[place] = (firm, order, message.cl_ord_id)
        return reports, message

    def operate(self, action: dict[str, Any]) -> None:
        """What the operator cannot do is left alone."""
        try:
            self.take(self._operate(action))
        except OperatorError:
            pass

    def _operate(self, action: dict[str, Any]) -> list[Addressed]:
        operator, now_ns = self.operator, self.now_ns
        trades = [report.exec_id for report in self.reports if report.kind is ExecType.TRADE]
        if action["action"] in ("bust", "correct"):
            if not trades:
                return []
            exec_id = trades[action["trade"] % len(trades)]
            if action["action"] == "bust":
                return operator.bust(exec_id, now_ns, is_reinstated=action["back"])
            return operator.correct(
                exec_id,
                now_ns,
                quantity=action["quantity"],
                price=action["price"],
                is_reinstated=action["back"],
            )
        if action["action"] == "halt":
            return operator.halt("ABC", now_ns)
        if action["action"] == "resume":
            return operator.resume("ABC", now_ns)
        if action["action"] == "end-day":
            return operator.done_for_day("ABC", now_ns)
        if action["action"] == "next-day":
            self.now_ns += 86_400 * 1_000_000_000
            return self.exchange.advance(self.now_ns)
        if not self.orders:
            return []
        firm, _, last = self.orders[action["order"] % len(self.orders)]
        if action["action"] == "drop":
            return operator.cancel(firm, last, now_ns)
        return operator.restate(firm, last, now_ns, quantity=action["quantity"])

    def check(self) -> None:
        """What holds between any two actions."""
        market = self.market
        assert not (market.is_matching and market.is_crossed)
        assert not market.triggered
        for side in (market.bids, market.asks):
            levels = list(side.levels())
            assert side.best is (levels[0] if levels else None)
            for level in levels:
                orders = level.orders.values()
                assert level.orders
                assert level.shown == sum(order.shown for order in orders)
                assert level.total == sum(order.leaves_quantity for order in orders)
                assert all(0 < order.shown <= order.leaves_quantity for order in orders)
                assert all(order.price == level.price for order in orders)
        everyone = {id(order): order for firm in "AB" for order in self.exchange.firm(firm).ids.values()}
        bought = sum(order.cum_quantity for order in everyone.values() if order.side is Side.BUY)
        sold = sum(order.cum_quantity for order in everyone.values() if order.side is Side.SELL)
        assert bought == sold
        lying = {order.number for order in market.orders()}
        listed = {number for firm in "AB" for number in self.exchange.firm(firm).open_orders}
        assert lying <= listed
        for firm in "AB":
            for order in self.exchange.firm(firm).open_orders.values():
                assert order.is_open or order.is_done_for_day
                assert order.end is None
        assert lying == {order.number for order in everyone.values() if order.is_open}

    def open_orders(self) -> set[str]:
        told = self.exchange.handle("A", MassStatusRequest("q"), self.now_ns)
        told += self.exchange.handle("B", MassStatusRequest("q"), self.now_ns)
        return {report.venue_order_id for report in self.take(told)}


def _trades_of(reports: list[Report]) -> list[tuple[str, int, int]]:
    return [
        (report.venue_order_id, report.last_quantity, report.last_price or 0)
        for report in reports
        if report.kind is ExecType.TRADE
    ]


def _naive_order(order: NewOrder) -> NaiveOrder:
    return NaiveOrder(
        name=order.cl_ord_id,
        is_buy=order.side is Side.BUY,
        price=order.price,
        quantity=order.quantity,
        is_immediate=order.time_in_force in _IMMEDIATE,
        is_all_or_none=order.time_in_force is TimeInForce.FOK,
        stop=order.stop_price,
        floor=order.max_floor,
        post_only=order.post_only,
    )


class Comparison:
    """Does everything twice."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.naive = NaiveMarket()
        self._names: dict[str, str] = {}  # by venue_order_id
        self._models: dict[int, NaiveOrder] = {}

    def do(self, action: dict[str, Any]) -> None:
        known = len(self.naive.trades)
        reports = self._act(action)
        told = [(self._names[order], quantity, price) for order, quantity, price in _trades_of(reports)]
        expected = []
        for one, other, quantity, price in self.naive.trades[known:]:
            expected += [(one, quantity, price), (other, quantity, price)]
        assert told == expected
        book = self.desk.exchange.book("ABC", 1000)
        assert [(level.price, level.quantity) for level in book.bids] == self.naive.depth(True)
        assert [(level.price, level.quantity) for level in book.asks] == self.naive.depth(False)
        self.desk.check()

    def _act(self, action: dict[str, Any]) -> list[Report]:
        desk, naive = self.desk, self.naive
        if action["action"] == "new":
            reports = desk.new(action)
            _, order, _ = desk.orders[-1]
            self._names[reports[0].venue_order_id] = order.cl_ord_id
            model = self._models[len(desk.orders) - 1] = _naive_order(order)
            assert naive.new(model) is (reports[0].kind is ExecType.NEW)
            return reports
        if action["action"] in ("halt", "resume"):
            return self._halt(action["action"])
        if not desk.orders:
            return []
        place = action["order"] % len(desk.orders)
        model = self._models[place]
        if action["action"] == "cancel":
            reports = desk.cancel(place)
            assert naive.cancel(model) is (reports[0].kind is ExecType.CANCELED)
            return reports
        reports, wanted = desk.replace_some(action)
        was_refused = reports[0].kind is ExecType.CANCEL_REJECT
        assert naive.replace(model, wanted.quantity, wanted.price, wanted.stop_price) is not was_refused
        return reports

    def _halt(self, action: str) -> list[Report]:
        if self.naive.is_halted is (action == "halt"):
            return []
        if action == "halt":
            self.naive.halt()
            return self.desk.take(self.desk.operator.halt("ABC", START_NS))
        self.naive.resume()
        return self.desk.take(self.desk.operator.resume("ABC", START_NS))


@given(_course(_new(), _new(), _new(), _new(), _new(), _CHANGES, _CHANGES, _HALTS))
@settings(RELAXED)
def test_every_trade_and_the_book_are_those_of_the_naive_matcher(actions: list[dict[str, Any]]) -> None:
    comparison = Comparison()
    for action in actions:
        comparison.do(action)


def _long_course(chance: Random, length: int) -> Iterator[dict[str, Any]]:
    """As the drawn ones, but dense: everybody is at a few prices, so much is traded."""
    for _ in range(length):
        kind = chance.random()
        if kind < 0.65:
            price = None if chance.random() < 0.1 else chance.randint(98, 102)
            stop = chance.randint(97, 103) if chance.random() < 0.1 else None
            is_immediate = chance.random() < 0.15
            rests = price is not None and not is_immediate
            quantity = chance.randint(1, 20)
            yield {
                "action": "new",
                "firm": chance.choice("AB"),
                "side": chance.choice(tuple(Side)),
                "type": _TYPES[price is not None, stop is not None],
                "time_in_force": chance.choice(_IMMEDIATE if is_immediate else _RESTING),
                "quantity": quantity,
                "price": price,
                "stop_price": stop,
                "max_floor": chance.randint(1, quantity) if rests and chance.random() < 0.3 else None,
                "post_only": rests and stop is None and chance.random() < 0.1,
            }
        elif kind < 0.95:
            change: dict[str, Any] = {"action": "cancel", "order": chance.randrange(length)}
            if kind < 0.85:
                change |= {
                    "action": "replace",
                    "quantity": chance.randint(1, 20),
                    "price": chance.choice((None, None, chance.randint(98, 102))),
                    "stop": None,
                }
            yield change
        else:
            yield {"action": chance.choice(("halt", "resume"))}


@pytest.mark.parametrize("seed", range(30))
def test_a_long_and_dense_course_is_that_of_the_naive_matcher(seed: int) -> None:
    comparison = Comparison()
    for action in _long_course(Random(seed), 250):
        comparison.do(action)
    assert len(comparison.naive.trades) > 50


@given(_course(_new(), _new(), _new(), _new(), _new(), _CHANGES, _HALTS, _OPERATIONS, _OPERATIONS))
@settings(RELAXED)
def test_quantities_are_conserved_and_books_not_crossed_whatever_the_operator_does(
    actions: list[dict[str, Any]],
) -> None:
    _operate_and_check(actions)


@pytest.mark.parametrize("seed", range(30))
def test_quantities_are_conserved_in_a_long_and_dense_course(seed: int) -> None:
    chance = Random(seed)
    desk = _operate_and_check(_with_operations(chance, _long_course(chance, 250)))
    kinds = {report.kind for report in desk.reports}
    assert {ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT, ExecType.RESTATED} <= kinds


def _with_operations(chance: Random, course: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for action in course:
        yield action
        kind = chance.random()
        if kind < 0.1:
            yield {"action": "bust", "trade": chance.randrange(500), "back": chance.random() < 0.5}
        elif kind < 0.2:
            yield {
                "action": "correct",
                "trade": chance.randrange(500),
                "back": chance.random() < 0.5,
                "quantity": chance.choice((None, chance.randint(1, 20))),
                "price": chance.choice((None, chance.randint(98, 102))),
            }
        elif kind < 0.25:
            yield {"action": "restate", "order": chance.randrange(500), "quantity": chance.randint(1, 20)}
        elif kind < 0.28:
            yield {"action": chance.choice(("end-day", "next-day"))}


def _operate_and_check(actions: Iterable[dict[str, Any]]) -> Desk:
    desk = Desk()
    for action in actions:
        if action["action"] == "new":
            desk.new(action)
        elif action["action"] == "cancel":
            if desk.orders:
                desk.cancel(action["order"] % len(desk.orders))
        elif action["action"] == "replace":
            if desk.orders:
                desk.replace_some(action)
        else:
            desk.operate(action)
        desk.check()
    assert {order.venue_order_id for order in desk.market.orders()} <= desk.open_orders()
    return desk


@given(_course(_new()))
@settings(RELAXED)
def test_the_last_report_of_an_order_says_how_it_stands(actions: list[dict[str, Any]]) -> None:
    desk = Desk()
    for action in actions:
        desk.new(action)
    last = {report.venue_order_id: report for report in desk.reports}
    for firm in "AB":
        for order in desk.exchange.firm(firm).ids.values():
            report = last[order.venue_order_id]
            assert (report.ord_status, report.cum_quantity) == (order.status, order.cum_quantity)
            assert report.leaves_quantity == order.leaves_quantity
            if order.time_in_force in _IMMEDIATE and not order.is_waiting:
                assert order.status in (OrdStatus.FILLED, OrdStatus.CANCELED, OrdStatus.REJECTED)
            if order.time_in_force is TimeInForce.FOK:
                assert order.cum_quantity in (0, order.quantity)
