"""Usage of limits: claims at their worst, sums up the tree, money, and that all of it equals a recomputation."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.core.risk_desk import ALICE, INSTRUMENTS, RiskDesk, S, terms

from toucan.core import exposure as module
from toucan.core.claims import NO_CLAIM, Claim, is_more_aggressive, resting_price, worst_claim, worst_price
from toucan.core.exposure import Exposure, SideUsage
from toucan.core.instruments import NUMBER_MAX
from toucan.core.order import OrderState, PendingRequest
from toucan.core.risk_tree import LimitTree
from toucan.core.terms import OrderTerms
from toucan.core.values import RequestKind, Side

BUY, SELL = Side.BUY, Side.SELL


# ---------------------------------------------------------------- claims


@pytest.mark.parametrize(
    ("side", "own", "market", "worst"),
    [
        (BUY, 100, 90, 100),
        (BUY, 100, 110, 100),
        (BUY, 0, 110, 110),
        (BUY, 0, None, 0),
        (SELL, 100, 90, 100),
        (SELL, 100, 110, 110),
        (SELL, 100, None, 100),
        (SELL, 0, None, 0),
    ],
)
def test_worst_price(side: Side, own: int, market: int | None, worst: int) -> None:
    assert worst_price(side, own, market) == worst


@pytest.mark.parametrize(
    ("wanted", "is_triggered", "price"),
    [
        (terms(price=100), False, 100),
        (terms(price=None), False, NUMBER_MAX),
        (terms(price=None, side=SELL), False, 0),
        (terms(price=None, stop=90), False, None),
        (terms(price=None, stop=90), True, NUMBER_MAX),
        (terms(price=100, stop=90), False, None),
        (terms(price=100, stop=90), True, 100),
    ],
)
def test_price_at_which_an_order_meets_others(
    wanted: OrderTerms, is_triggered: bool, price: int | None
) -> None:
    assert resting_price(wanted, is_triggered) == price


def test_claim_is_the_worst_of_all_terms_in_flight() -> None:
    base = terms(100, price=50, side=SELL)
    claim = worst_claim(base, 60, 40, [terms(80, price=70, side=SELL), terms(150, price=45, side=SELL)])
    assert claim == Claim(110, 70, 45)
    assert worst_claim(base, 0, 100) == NO_CLAIM
    assert worst_claim(base, 0, 100, [terms(120, price=50, side=SELL)]) == Claim(20, 50, 50)


changes = st.tuples(st.integers(1, 20), st.integers(1, 20))


@given(
    st.sampled_from(Side),
    changes,
    st.lists(changes, max_size=3),
    st.integers(0, 20),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.lists(st.integers(0, 20), min_size=4, max_size=4),
    st.integers(1, 30),
)
def test_claim_is_never_below_any_outcome(
    side: Side,
    base: tuple[int, int],
    replacements: list[tuple[int, int]],
    filled: int,
    accepted: list[bool],
    fills: list[int],
    market: int,
) -> None:
    """The venue accepts any of the replacements, in their order, and executes whatever it may before, between and after them."""
    first = terms(base[0], price=base[1], side=side)
    executed = min(filled, first.quantity)
    others = [terms(quantity, price=price, side=side) for quantity, price in replacements]
    claim = worst_claim(first, first.quantity - executed, executed, others)
    now, done, paid = first, executed, 0
    for step, fill in enumerate(fills):
        quantity = min(fill, max(0, now.quantity - done))
        assert now.price is not None
        # A purchase never costs more than its price, a sale never brings more than the market pays.
        paid += quantity * (now.price if side is BUY else max(now.price, market))
        done += quantity
        if quantity:
            assert not is_more_aggressive(side, now.price, claim.rest_price)
        if step < len(others) and accepted[step]:
            now = others[step]
    assert done - executed <= claim.quantity
    assert paid <= claim.quantity * worst_price(side, claim.price, market)


# ---------------------------------------------------------------- sums


def test_usage_adds_up_from_the_trader_to_the_firm() -> None:
    desk = RiskDesk()
    desk.open(terms(100), "alice")
    desk.open(terms(50, side=SELL, price=10_200), "bob")
    desk.open(terms(30, account="ACC2"), "alice")
    desk.open(terms(20, account="ACC3", symbol="MSFT"), "carol")
    desk.hold(7)
    usage = {
        name: (
            node.open_orders,
            node.open_notional // 10**6,
            node.symbol("AAPL").buy.quantity,
            node.symbol("AAPL").position,
        )
        for name, node in desk.risk.exposure.nodes()
    }
    assert usage == {
        ALICE: (1, 10_000, 100, 7),
        "firm/alpha/ACC1/bob": (1, 5_100, 0, 0),
        "firm/alpha/ACC1": (2, 15_100, 100, 7),
        "firm/alpha/ACC2/alice": (1, 3_000, 30, 0),
        "firm/alpha/ACC2": (1, 3_000, 30, 0),
        "firm/alpha": (3, 18_100, 130, 7),
        "firm/beta/ACC3/carol": (1, 2_000, 0, 0),
        "firm/beta/ACC3": (1, 2_000, 0, 0),
        "firm/beta": (1, 2_000, 0, 0),
        "firm": (4, 20_100, 130, 7),
    }


def test_gross_value_is_netted_within_an_account_and_added_up_between_accounts() -> None:
    desk = RiskDesk()
    desk.hold(100, trader="alice")
    desk.hold(-60, trader="bob")
    desk.hold(-40, account="ACC2")
    gross = {name: node.gross_notional // 10**8 for name, node in desk.risk.exposure.nodes()}
    assert gross[ALICE] == 100
    assert gross["firm/alpha/ACC1/bob"] == 60
    assert gross["firm/alpha/ACC1"] == 40
    assert gross["firm/alpha"] == gross["firm"] == 80


def test_positions_follow_the_market_once_it_is_known() -> None:
    desk = RiskDesk()
    desk.hold(100, price=9_000)
    node = desk.risk.exposure.node("firm")
    assert node.gross_notional == 9_000 * 10**6
    desk.hold(100, price=9_500)
    assert node.gross_notional == 2 * 9_500 * 10**6
    desk.risk.mark("AAPL", 10_000)
    desk.hold(100, price=1)  # the market counts now
    assert node.gross_notional == 3 * 10_000 * 10**6


def test_money_of_a_multiplier_and_another_currency() -> None:
    desk = RiskDesk(("firm", "currency.EUR", "1.08"))
    desk.put(terms(2, 100_000, symbol="DAX"))
    assert desk.risk.exposure.node("firm").open_notional == int(2 * 1000 * 25 * 1.08 * 10**6)
    desk.set("firm", "currency.EUR", "2")
    assert desk.risk.exposure.node("firm").open_notional == 2 * 1000 * 25 * 2 * 10**6
    desk.set("firm", "currency.EUR", None)
    assert desk.risk.exposure.node("firm").open_notional == 0


def test_orders_of_unknown_accounts_count_for_the_firm() -> None:
    desk = RiskDesk()
    desk.put(terms(100, account="ELSEWHERE"))
    assert desk.risk.exposure.node("firm").open_orders == 1
    assert desk.risk.exposure.node("firm//ELSEWHERE").symbol("AAPL").buy.quantity == 100


def test_questions_leave_no_trace() -> None:
    desk = RiskDesk(
        ("firm", "max_position", "10"), ("firm", "max_requests", "10"), ("firm", "duplicate_window_s", "1")
    )
    before = desk.risk.dump()
    assert desk.code(terms(100), "nobody") == "MAX_POSITION"
    assert desk.risk.dump() == before
    assert list(desk.risk.exposure.nodes()) == []


def test_traders_beyond_the_bound_are_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NODES_MAX", 8)
    desk = RiskDesk()
    desk.open(terms(), "alice")  # four nodes
    desk.open(terms(), "bob")  # one more: five
    assert desk.code(terms(), "carol") == "TOO_MANY_TRADERS"
    assert desk.code(terms(), "alice") == ""


def test_remembered_orders_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DUPLICATES_KEPT_MAX", 3)
    desk = RiskDesk(("firm", "duplicate_window_s", "60"))
    for quantity in (1, 2, 3):
        desk.open(terms(quantity))
    assert [desk.code(terms(quantity)) for quantity in (1, 2, 3)] == ["DUPLICATE_ORDER"] * 3
    desk.open(terms(4))
    assert [desk.code(terms(quantity)) for quantity in (1, 2, 3)] == [
        "",
        "DUPLICATE_ORDER",
        "DUPLICATE_ORDER",
    ]


def test_order_sent_again_becomes_the_newest_that_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DUPLICATES_KEPT_MAX", 2)
    desk = RiskDesk(("firm", "duplicate_window_s", "60"))
    for quantity in (1, 2, 1, 3):
        desk.put(terms(quantity))
    assert [desk.code(terms(quantity)) for quantity in (1, 2, 3)] == [
        "DUPLICATE_ORDER",
        "",
        "DUPLICATE_ORDER",
    ]


def test_limits_set_later_count_for_traders_known_before() -> None:
    desk = RiskDesk()
    desk.open(terms())
    desk.set("firm", "max_requests", "1")
    desk.set("firm", "duplicate_window_s", "60")
    desk.open(terms(7))
    assert desk.code(terms(8)) == "MAX_REQUESTS"
    desk.set("firm", "max_requests", None)
    assert desk.code(terms(7)) == "DUPLICATE_ORDER"


def test_remembered_orders_go_with_their_window() -> None:
    desk = RiskDesk(("firm", "duplicate_window_s", "2"))
    for quantity in range(1, 6):
        desk.open(terms(quantity))
        desk.now_ns += S
    (row,) = desk.risk.dump()["exposure"]["recent"]
    assert [one[3] for one in row[1]] == [4, 5]


def test_kept_request_times_are_bounded_by_the_limit() -> None:
    desk = RiskDesk(("firm", "max_requests", "3"), ("firm", "requests_window_s", "1"))
    for _ in range(20):
        desk.open(terms())
        desk.now_ns += S
    assert [len(times) for _, times in desk.risk.dump()["exposure"]["requests"]] == [3]


# ---------------------------------------------------------------- against a recomputation

ACCOUNTS = ("ACC1", "ACC2", "ACC3")
TRADERS = ("alice", "bob")
SYMBOLS = ("AAPL", "DAX")


def recomputed(desk: RiskDesk) -> dict[str, Any]:
    """What every node uses, from the list of orders and the books, naively."""
    nodes: dict[str, dict[str, Any]] = {}
    tree = desk.risk.tree

    def node(name: str) -> dict[str, Any]:
        return nodes.setdefault(name, {"orders": 0, "open": 0, "gross": 0, "symbols": {}})

    def symbol(name: str, which: str) -> dict[Any, Any]:
        fresh: dict[Any, Any] = {"position": 0, BUY: [0, 0, []], SELL: [0, 0, []]}
        return node(name)["symbols"].setdefault(which, fresh)  # type: ignore[no-any-return]

    def worth(which: str, quantity: int, price: int) -> int:
        scale = tree.scale(INSTRUMENTS[which])
        return 0 if scale is None else -(-abs(quantity) * price * scale[0] // scale[1])

    for order in desk.orders.values():
        wanted = order.terms
        possible = [order.terms, *(one.terms for one in order.requests if one.terms is not None)]
        is_over = order.state is not OrderState.WORKING
        leaves = 0 if is_over else max(one.quantity for one in possible) - order.cum_quantity
        if leaves <= 0:
            continue
        prices = [resting_price(one) for one in possible]
        rest = (max if wanted.side is BUY else min)(price for price in prices if price is not None)
        price = max(max(one.price or 0, one.stop_price or 0) for one in possible)
        for name in tree.path(wanted.account, order.owner.user):
            node(name)["orders"] += 1
            node(name)["open"] += worth(wanted.symbol, leaves, price)
            side = symbol(name, wanted.symbol)[wanted.side]
            side[0] += leaves
            side[1] += leaves * wanted.reduce_only
            side[2].append(rest)
    for position in desk.positions:
        path = tree.path(position.account, position.trader or "")
        mark = desk.risk.exposure.price(position.symbol)
        value = worth(position.symbol, position.quantity, mark)
        if position.trader is not None:
            node(path[0])["gross"] += value
            for name in path:
                symbol(name, position.symbol)["position"] += position.quantity
        else:
            for name in path[1:]:
                node(name)["gross"] += value
    return nodes


def listed(side: SideUsage) -> list[Any]:
    assert side.prices == sorted(side.counts), "each price once, ascending"
    return [side.quantity, side.reducing, [price for price in side.prices for _ in range(side.counts[price])]]


def shown(exposure: Exposure) -> dict[str, Any]:
    """The same of the real one; what is all zeros is left out on both sides."""
    return {
        name: {
            "orders": node.open_orders,
            "open": node.open_notional,
            "gross": node.gross_notional,
            "symbols": {
                which: {"position": usage.position, BUY: listed(usage.buy), SELL: listed(usage.sell)}
                for which, usage in node.symbols.items()
            },
        }
        for name, node in exposure.nodes()
    }


def cleaned(nodes: dict[str, Any]) -> dict[str, Any]:
    nothing: dict[Any, Any] = {"position": 0, BUY: [0, 0, []], SELL: [0, 0, []]}
    for node in nodes.values():
        for usage in node["symbols"].values():
            usage[BUY][2].sort()
            usage[SELL][2].sort()
        node["symbols"] = {which: usage for which, usage in node["symbols"].items() if usage != nothing}
    empty = {"orders": 0, "open": 0, "gross": 0, "symbols": {}}
    return {name: node for name, node in nodes.items() if node != empty}


number = st.integers(0, 30)
step = st.one_of(
    st.tuples(
        st.just("open"), st.sampled_from(ACCOUNTS), st.sampled_from(TRADERS), st.sampled_from(SYMBOLS), st.sampled_from(Side),
        st.integers(1, 50), st.integers(1, 20), st.booleans(),
    ),
    st.tuples(st.just("fill"), number, st.integers(1, 60)),
    st.tuples(st.just("end"), number),
    st.tuples(st.just("replace"), number, st.integers(1, 80), st.integers(1, 20)),
    st.tuples(st.just("settle"), number, st.booleans()),
    st.tuples(st.just("rate"), st.sampled_from(["1.08", "2", None])),
    st.tuples(st.just("reload")),
    st.tuples(st.just("bust"), number),
)  # fmt: skip


class Machine:
    """Drives a desk by numbers that pick among the orders there are."""

    def __init__(self) -> None:
        self.desk = RiskDesk(
            ("firm", "currency.EUR", "1.5"),
            ("firm", "max_requests", "5"),
            ("firm", "duplicate_window_s", "5"),
        )
        for which in SYMBOLS:
            self.desk.risk.mark(which, 1)  # below all prices, so that an order is worth its own

    def do(self, name: str, *rest: Any) -> None:
        self.desk.now_ns += S
        getattr(self, name)(*rest)

    def pick(self, at: int) -> Any:
        orders = list(self.desk.orders.values())
        return orders[at % len(orders)] if orders else None

    def open(
        self, account: str, trader: str, which: str, side: Side, quantity: int, price: int, reduce_only: bool
    ) -> None:
        self.desk.put(
            terms(quantity, price, side, account=account, symbol=which, reduce_only=reduce_only), trader
        )

    def fill(self, at: int, most: int) -> None:
        order = self.pick(at)
        if order is not None and order.leaves_quantity:
            self.desk.fill(order, min(most, order.leaves_quantity))

    def end(self, at: int) -> None:
        order = self.pick(at)
        if order is not None:
            self.desk.end(order)

    def replace(self, at: int, quantity: int, price: int) -> None:
        order = self.pick(at)
        if order is None or order.state is not OrderState.WORKING or quantity < order.cum_quantity:
            return
        wanted = msgspec.structs.replace(order.terms, quantity=quantity, price=price)
        order.requests.append(PendingRequest(RequestKind.REPLACE, "r", terms=wanted))
        self.desk.risk.requested(order, self.desk.now_ns)
        self.desk.risk.order_changed(order)

    def settle(self, at: int, is_accepted: bool) -> None:
        order = self.pick(at)
        if order is not None and order.requests:
            self.desk.settle(order, order.requests[0], is_accepted=is_accepted)

    def bust(self, at: int) -> None:
        """Everything that was executed never was; a filled order works again."""
        order = self.pick(at)
        if order is None or not order.cum_quantity:
            return
        order.cum_quantity = 0
        self.desk.risk.order_changed(order)

    def rate(self, value: str | None) -> None:
        self.desk.set("firm", "currency.EUR", value)

    def reload(self) -> None:
        self.desk.reload()
        for which in SYMBOLS:
            self.desk.risk.mark(which, 1)
        self.desk.risk.exposure.rebuild()


@settings(max_examples=150, deadline=None)
@given(st.lists(step, max_size=40))
def test_exposure_equals_a_recomputation_from_open_orders_and_positions(steps: list[tuple[Any, ...]]) -> None:
    machine = Machine()
    for one in steps:
        machine.do(*one)
    assert cleaned(shown(machine.desk.risk.exposure)) == cleaned(recomputed(machine.desk))


@settings(max_examples=60, deadline=None)
@given(st.lists(step, max_size=40), st.integers(0, 40))
def test_a_snapshot_in_between_changes_nothing(steps: list[tuple[Any, ...]], at: int) -> None:
    straight, broken = Machine(), Machine()
    for count, one in enumerate(steps):
        straight.do(*one)
        if count == at:
            broken.reload()
        broken.do(*one)
    assert broken.desk.risk.dump() == straight.desk.risk.dump()
    assert cleaned(shown(broken.desk.risk.exposure)) == cleaned(shown(straight.desk.risk.exposure))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(step, max_size=30),
    st.lists(st.tuples(st.booleans(), st.integers(0, 80)), min_size=30, max_size=30),
)
def test_worst_position_is_never_below_one_that_is_reached(
    steps: list[tuple[Any, ...]], outcomes: list[tuple[bool, int]]
) -> None:
    """From any state, the venue accepts or refuses every replacement and executes as much as it likes."""
    machine = Machine()
    for one in steps:
        machine.do(*one)
    desk = machine.desk
    worst = {
        (name, which): desk.risk.exposure.node(name).symbol(which).worst_position
        for name, _ in desk.risk.exposure.nodes()
        for which in SYMBOLS
    }
    for order, (is_accepted, most) in zip(list(desk.orders.values()), outcomes, strict=False):
        for request in list(order.requests):
            desk.settle(order, request, is_accepted=is_accepted)
        if order.leaves_quantity and most:
            desk.fill(order, min(most, order.leaves_quantity))
    for (name, which), bound in worst.items():
        assert abs(desk.risk.exposure.node(name).symbol(which).position) <= bound


def test_rebuilding_changes_nothing() -> None:
    machine = Machine()
    machine.do("open", "ACC1", "alice", "AAPL", BUY, 10, 5, True)
    machine.do("open", "ACC3", "bob", "DAX", SELL, 7, 5, False)
    machine.do("fill", 1, 3)
    before = shown(machine.desk.risk.exposure)
    machine.desk.risk.exposure.rebuild()
    assert shown(machine.desk.risk.exposure) == before


def test_same_claim_again_costs_nothing_and_changes_nothing() -> None:
    exposure = Exposure(LimitTree("USD", {"alpha": ["ACC1"]}))
    for _ in range(3):
        exposure.order_changed(1, "alice", terms(), Claim(100, 10_000, 10_000))
        exposure.order_changed(2, "alice", terms(), NO_CLAIM)
    assert (exposure.node("firm").open_orders, exposure.claim(1)) == (1, Claim(100, 10_000, 10_000))
    assert exposure.claim(2) == NO_CLAIM
    assert exposure.open_notional(1) == exposure.open_notional(2) == 0  # nobody gave the instruments yet
    exposure.use_instruments(INSTRUMENTS)
    assert exposure.open_notional(1) == 10_000 * 10**6
