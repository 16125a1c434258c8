"""Each limit at the limit and one past it; the order of the checks; what a replacement adds; where nothing is known."""

from __future__ import annotations

from typing import Any

import pytest
from tests.toucan.core.risk_desk import ALICE, RiskDesk, S, terms

from toucan.core.risk_checks import CHECKS, DenialCode
from toucan.core.values import Side, TradingLevel

BUY, SELL = Side.BUY, Side.SELL
NODES = (ALICE, "firm/alpha/ACC1", "firm/alpha", "firm")
BTC: dict[str, Any] = {"symbol": "BTC-USD"}
DAX: dict[str, Any] = {"symbol": "DAX"}


#: The limit, its value; an order at the limit, one past it; code, value and maximum as they are told.
ONE_ORDER: list[tuple[str, str, dict[str, Any], dict[str, Any], str, str, str]] = [
    ("max_order_quantity", "100", {"quantity": 100}, {"quantity": 101}, "MAX_ORDER_QUANTITY", "101", "100"),
    ("max_order_quantity", "0.5", {"quantity": 50_000_000, **BTC}, {"quantity": 50_000_001, **BTC}, "MAX_ORDER_QUANTITY", "0.50000001", "0.5"),
    ("max_order_quantity", "0.5", {"quantity": 50_000_000, **BTC}, {"quantity": 1}, "MAX_ORDER_QUANTITY", "1", "0"),
    ("max_order_notional", "10000", {}, {"quantity": 101}, "MAX_ORDER_NOTIONAL", "10100.00", "10000.00"),
    ("max_order_notional", "10000", {}, {"price": 10_001}, "MAX_ORDER_NOTIONAL", "10001.00", "10000.00"),
    ("max_order_notional", "10000", {"price": None}, {"price": None, "quantity": 101}, "MAX_ORDER_NOTIONAL", "10100.00", "10000.00"),
    ("max_order_notional", "10000", {"price": None, "stop": 10_000}, {"price": None, "stop": 10_001}, "MAX_ORDER_NOTIONAL", "10001.00", "10000.00"),
    # A sale far below the market is worth what the market pays.
    ("max_order_notional", "10000", {"side": SELL, "price": 1}, {"side": SELL, "price": 1, "quantity": 101},
     "MAX_ORDER_NOTIONAL", "10100.00", "10000.00"),
    ("price_collar_percent", "5", {"price": 10_500}, {"price": 10_501}, "PRICE_COLLAR", "5.0100", "5"),
    ("price_collar_percent", "2.5", {"price": 9_750, "side": SELL}, {"price": 9_749, "side": SELL}, "PRICE_COLLAR", "2.5100", "2.5"),
    ("price_collar_percent", "0", {"price": 10_000}, {"price": 10_001}, "PRICE_COLLAR", "0.0100", "0"),
    ("price_collar_percent", "5", {"price": None, "stop": 10_500}, {"price": None, "stop": 10_501}, "PRICE_COLLAR", "5.0100", "5"),
    ("price_collar_percent", "5", {"price": 10_500, "stop": 10_400}, {"price": 10_501, "stop": 10_400}, "PRICE_COLLAR", "5.0100", "5"),
    ("price_collar_percent", "5", {"price": 9_000, "stop": 10_500}, {"price": 9_000, "stop": 10_501}, "PRICE_COLLAR", "5.0100", "5"),
    ("price_collar_percent", "5", {"price": 1}, {"price": 99_999}, "PRICE_COLLAR", "899.9900", "5"),
    ("price_collar_percent", "5", {"price": None}, {"price": 10_501}, "PRICE_COLLAR", "5.0100", "5"),
    ("max_position", "100", {}, {"quantity": 101}, "MAX_POSITION", "101", "100"),
    ("max_position", "100", {"side": SELL}, {"side": SELL, "quantity": 101}, "MAX_POSITION", "101", "100"),
    ("max_open_orders", "1", {}, {}, "", "", ""),
    ("max_open_notional", "10000", {}, {"quantity": 101}, "MAX_OPEN_NOTIONAL", "10100.00", "10000.00"),
    ("max_gross_notional", "10000", {}, {"quantity": 101}, "MAX_GROSS_NOTIONAL", "10100.00", "10000.00"),
    ("allowed_order_types", "LIMIT,STOP", {}, {"price": None}, "ORDER_TYPE_NOT_ALLOWED", "MARKET", "LIMIT, STOP"),
    ("restricted_symbols", "AAPL", {"symbol": "MSFT"}, {}, "RESTRICTED_SYMBOL", "AAPL", ""),
    ("soft_max_order_quantity", "100", {"quantity": 100}, {"quantity": 101}, "SOFT_LIMIT", "101", "100"),
    ("soft_max_order_notional", "10000", {}, {"quantity": 101}, "SOFT_LIMIT", "10100.00", "10000.00"),
    ("soft_collar_percent", "5", {"price": 10_500}, {"price": 10_501}, "SOFT_LIMIT", "5.0100", "5"),
]  # fmt: skip


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize(("limit", "value", "at", "past", "code", "told", "maximum"), ONE_ORDER)
def test_one_order_at_the_limit_and_one_past_it(
    node: str,
    limit: str,
    value: str,
    at: dict[str, Any],
    past: dict[str, Any],
    code: str,
    told: str,
    maximum: str,
) -> None:
    desk = RiskDesk((node, limit, value))
    assert desk.code(terms(**at)) == ""
    denial = desk.denial(terms(**past))
    if not code:
        assert denial is None
        return
    assert denial is not None
    assert (denial.code, denial.node, denial.limit) == (code, node, limit)
    assert (denial.value, denial.maximum) == (told, maximum)
    assert limit in denial.text
    assert node in denial.text
    assert denial.can_be_confirmed == limit.startswith("soft_")


def test_every_limit_that_is_checked_has_a_table_row_or_a_test_of_its_own() -> None:
    own = {"", "max_requests", "duplicate_window_s", "prevent_self_trade"}
    assert {limit for limit, _ in CHECKS} == own | {row[0] for row in ONE_ORDER}


@pytest.mark.parametrize("other", [{"account": "ACC3"}, {"symbol": "MSFT"}])
def test_limits_of_other_nodes_and_symbols_do_not_count(other: dict[str, Any]) -> None:
    desk = RiskDesk(("firm/alpha", "symbol.AAPL.max_order_quantity", "1"))
    assert desk.code(terms()) == "MAX_ORDER_QUANTITY"
    assert desk.code(terms(**other)) == ""


def test_a_limit_for_a_symbol_may_be_wider_than_the_general_one() -> None:
    desk = RiskDesk(("firm", "max_order_quantity", "10"), ("firm", "symbol.AAPL.max_order_quantity", "200"))
    assert desk.code(terms()) == ""
    assert desk.code(terms(symbol="MSFT")) == "MAX_ORDER_QUANTITY"


# ---------------------------------------------------------------- the order of things


def test_nearest_node_is_told_first() -> None:
    desk = RiskDesk(*((node, "max_order_quantity", "10") for node in NODES))
    for node in NODES:
        denial = desk.denial(terms())
        assert denial is not None
        assert denial.node == node
        desk.set(node, "max_order_quantity", None)
    assert desk.code(terms()) == ""


def test_checks_come_in_their_documented_order() -> None:
    desk = RiskDesk(
        ("firm", "allowed_order_types", "STOP"), ("firm", "restricted_symbols", "AAPL"), ("firm", "max_requests", "0"),
        ("firm", "duplicate_window_s", "60"), ("firm", "max_order_quantity", "1"), ("firm", "max_order_notional", "1"),
        ("firm", "price_collar_percent", "1"), ("firm", "prevent_self_trade", "true"), ("firm", "max_position", "1"),
        ("firm", "max_open_orders", "1"), ("firm", "max_open_notional", "1"), ("firm", "max_gross_notional", "1"),
        ("firm", "soft_max_order_quantity", "1"), ("firm", "soft_max_order_notional", "1"), ("firm", "soft_collar_percent", "1"),
    )  # fmt: skip
    wanted = terms(quantity=200, price=20_000, reduce_only=True)
    desk.put(wanted)
    desk.put(terms(side=SELL, price=15_000))
    desk.level("firm", TradingLevel.BLOCK_NEW)
    found = []
    while denial := desk.denial(wanted):
        found.append(denial.limit or denial.code)
        if denial.code == "TRADING_BLOCKED":
            desk.level("firm", TradingLevel.NORMAL)
        elif denial.code == "REDUCE_ONLY":
            wanted = terms(quantity=200, price=20_000)
        else:
            desk.set("firm", denial.limit, None)
    assert found == ["TRADING_BLOCKED", *(limit or "REDUCE_ONLY" for limit, _ in CHECKS)]


def test_numbers_of_codes_are_stable() -> None:
    assert [code.value for code in DenialCode] == list(range(1, 22))
    assert (DenialCode.UNKNOWN_ACCOUNT, DenialCode.REDUCE_ONLY, DenialCode.SOFT_LIMIT) == (1, 10, 21)


def test_unknown_account_is_denied() -> None:
    assert RiskDesk().code(terms(account="ACC9")) == "UNKNOWN_ACCOUNT"


# ---------------------------------------------------------------- how often


def test_message_rate_counts_what_was_sent_within_the_window() -> None:
    desk = RiskDesk(("firm", "max_requests", "3"), ("firm", "requests_window_s", "2"))
    first = desk.open(terms())
    desk.now_ns += S
    desk.replace(first, quantity=90)
    desk.cancel_request(first)
    denial = desk.denial(terms())
    assert denial is not None
    assert (denial.code, denial.value, denial.maximum) == ("MAX_REQUESTS", "4", "3")
    assert desk.replace_code(first, quantity=80) == "MAX_REQUESTS"
    desk.now_ns += S - 1
    assert desk.code(terms()) == "MAX_REQUESTS"
    desk.now_ns += 1  # the first one is two seconds old
    desk.open(terms())
    assert desk.code(terms()) == "MAX_REQUESTS"


def test_message_rate_adds_up_over_traders_and_accounts() -> None:
    desk = RiskDesk(("firm/alpha", "max_requests", "2"), ("firm/alpha/ACC1/bob", "max_requests", "1"))
    desk.open(terms(), "alice")
    desk.open(terms(account="ACC2"), "bob")
    assert desk.code(terms(), "carol") == "MAX_REQUESTS"
    assert desk.code(terms(account="ACC3"), "carol") == ""


def test_denied_requests_are_not_counted() -> None:
    desk = RiskDesk(("firm", "max_requests", "1"), ("firm", "max_order_quantity", "10"))
    for _ in range(5):
        assert desk.code(terms(quantity=11)) == "MAX_ORDER_QUANTITY"
    assert desk.code(terms(quantity=10)) == ""


def test_message_rate_of_zero_lets_nothing_pass() -> None:
    assert RiskDesk(("firm", "max_requests", "0")).code(terms()) == "MAX_REQUESTS"


def test_message_rate_that_is_lowered_counts_at_once() -> None:
    desk = RiskDesk(("firm", "max_requests", "10"))
    for _ in range(5):
        desk.open(terms())
    desk.set("firm", "max_requests", "5")
    assert desk.code(terms()) == "MAX_REQUESTS"


def test_a_clock_set_back_does_not_block_for_long() -> None:
    desk = RiskDesk(("firm", "max_requests", "1"), ("firm", "duplicate_window_s", "10"))
    desk.open(terms())
    desk.now_ns -= 3600 * S
    desk.open(terms())
    desk.now_ns += S
    assert desk.code(terms()) == "DUPLICATE_ORDER"
    desk.now_ns += 9 * S
    desk.open(terms())


def test_duplicate_is_the_same_order_of_the_account_within_the_window() -> None:
    desk = RiskDesk(("firm/alpha/ACC1", "duplicate_window_s", "0.5"))
    desk.open(terms())
    desk.now_ns += S // 2 - 1
    denial = desk.denial(terms(), "bob")
    assert denial is not None
    assert (denial.code, denial.value, denial.maximum) == ("DUPLICATE_ORDER", "0.500", "0.5")
    for other in (
        {"quantity": 99},
        {"price": 9_999},
        {"side": SELL},
        {"symbol": "MSFT"},
        {"price": None},
        {"stop": 9_000},
    ):
        assert desk.code(terms(**other)) == ""
    assert desk.code(terms(account="ACC2")) == ""
    assert desk.code(terms(text="another note")) == "DUPLICATE_ORDER"
    desk.now_ns += 1
    assert desk.code(terms()) == ""


def test_each_node_has_its_own_duplicate_window() -> None:
    desk = RiskDesk(("firm", "duplicate_window_s", "1"), ("firm/alpha", "duplicate_window_s", "5"))
    desk.open(terms())
    desk.open(terms(account="ACC3"))
    desk.now_ns += 2 * S
    denial = desk.denial(terms())
    assert denial is not None
    assert denial.node == "firm/alpha"
    assert desk.code(terms(account="ACC3")) == ""


def test_replacement_is_no_duplicate() -> None:
    desk = RiskDesk(("firm", "duplicate_window_s", "60"))
    one = desk.open(terms())
    desk.open(terms(quantity=50))
    assert desk.replace_code(one, quantity=50) == ""


# ---------------------------------------------------------------- reduce-only


@pytest.mark.parametrize(
    ("held", "side", "quantity", "passes"),
    [
        (100, SELL, 100, True),
        (100, SELL, 101, False),
        (100, BUY, 1, False),
        (-100, BUY, 100, True),
        (-100, BUY, 101, False),
        (-100, SELL, 1, False),
        (0, BUY, 1, False),
        (0, SELL, 1, False),
    ],
)
def test_reduce_only_may_at_most_close_the_position(
    held: int, side: Side, quantity: int, passes: bool
) -> None:
    desk = RiskDesk()
    if held:
        desk.hold(held)
    denial = desk.denial(terms(quantity, side=side, reduce_only=True))
    assert (denial is None) == passes
    if denial is not None:
        assert (denial.code, denial.node) == ("REDUCE_ONLY", "firm/alpha/ACC1")


def test_reduce_only_orders_count_together_and_others_do_not() -> None:
    desk = RiskDesk()
    desk.hold(100)
    desk.open(terms(500, side=SELL))
    first = desk.open(terms(60, side=SELL, reduce_only=True))
    denial = desk.denial(terms(41, side=SELL, reduce_only=True), "bob")
    assert denial is not None
    assert (denial.code, denial.value, denial.maximum) == ("REDUCE_ONLY", "101", "100")
    assert desk.code(terms(40, side=SELL, reduce_only=True), "bob") == ""
    assert desk.replace_code(first, quantity=101) == "REDUCE_ONLY"
    assert desk.replace_code(first, quantity=100) == ""
    desk.fill(first, 60)
    assert desk.code(terms(41, side=SELL, reduce_only=True)) == "REDUCE_ONLY"
    assert desk.code(terms(40, side=SELL, reduce_only=True)) == ""


def test_reduce_only_orders_that_became_too_large_are_named_newest_first() -> None:
    desk = RiskDesk()
    desk.hold(100)
    ids = [desk.open(terms(30, side=SELL, reduce_only=True)).order_id for _ in range(3)]
    assert desk.risk.reduce_only_excess("ACC1", "AAPL") == []
    desk.hold(-40)
    assert desk.risk.reduce_only_excess("ACC1", "AAPL") == [ids[2]]
    desk.reload()
    desk.hold(-60)
    assert desk.risk.reduce_only_excess("ACC1", "AAPL") == ids[::-1]
    desk.hold(-10)
    assert desk.risk.reduce_only_excess("ACC1", "AAPL") == ids[::-1]
    for order_id in ids:
        desk.end(desk.orders[order_id])
    assert desk.risk.reduce_only_excess("ACC1", "AAPL") == []


def test_reduce_only_order_that_still_fits_stays_beside_one_that_does_not() -> None:
    desk = RiskDesk()
    desk.hold(80)
    ids = [desk.open(terms(quantity, side=SELL, reduce_only=True)).order_id for quantity in (40, 30, 10)]
    desk.hold(-30)
    assert desk.risk.reduce_only_excess("ACC1", "AAPL") == [ids[1]]


# ---------------------------------------------------------------- collar


def test_collar_judges_only_what_is_worse_unless_it_has_both_sides() -> None:
    desk = RiskDesk(("firm", "price_collar_percent", "5"))
    assert desk.code(terms(price=1)) == desk.code(terms(side=SELL, price=99_999)) == ""
    desk.set("firm", "collar_side", "both")
    assert desk.code(terms(price=9_500)) == desk.code(terms(side=SELL, price=10_500)) == ""
    assert desk.code(terms(price=9_499)) == desk.code(terms(side=SELL, price=10_501)) == "PRICE_COLLAR"


@pytest.mark.parametrize("wanted", [terms(), terms(price=None), terms(price=None, stop=9_000)])
def test_without_a_market_price_a_collar_denies_unless_it_is_told_to_allow(wanted: Any) -> None:
    desk = RiskDesk(("firm", "price_collar_percent", "5"), last=None)
    assert desk.code(wanted) == "NO_REFERENCE_PRICE"
    desk.set("firm", "collar_without_reference", "allow")
    assert desk.code(wanted) == ""


@pytest.mark.parametrize("limit", ["max_order_notional", "max_open_notional", "max_gross_notional"])
def test_limits_on_money_deny_what_has_no_price(limit: str) -> None:
    desk = RiskDesk(("firm", limit, "1000000"), ("firm", "collar_without_reference", "allow"), last=None)
    assert desk.code(terms(price=None)) == "NO_REFERENCE_PRICE"
    assert desk.code(terms()) == ""


@pytest.mark.parametrize("limit", ["max_order_notional", "max_open_notional", "max_gross_notional"])
def test_limits_on_money_need_to_know_what_the_currency_is_worth(limit: str) -> None:
    desk = RiskDesk(("firm", limit, "27000"))
    denial = desk.denial(terms(1, 100_000, **DAX))
    assert denial is not None
    assert (denial.code, denial.value) == ("NO_CURRENCY_RATE", "EUR")
    assert "currency.EUR of firm" in denial.text
    desk.set("firm", "currency.EUR", "1.08")
    assert desk.code(terms(1, 100_000, **DAX)) == ""  # 1000.00 EUR, times 25
    assert desk.code(terms(1, 100_001, **DAX)) != ""
    desk.set("firm", "currency.EUR", "1.09")
    assert desk.code(terms(1, 100_000, **DAX)) != ""


def test_soft_limits_ask_about_nothing_unknown() -> None:
    desk = RiskDesk(("firm", "soft_max_order_notional", "1"), ("firm", "soft_collar_percent", "1"), last=None)
    assert desk.code(terms(price=None)) == ""
    assert desk.code(terms(1, 1, **DAX)) == ""


# ---------------------------------------------------------------- soft limits


def test_soft_limit_passes_with_a_confirmation_and_hard_ones_do_not() -> None:
    desk = RiskDesk(("firm", "soft_max_order_quantity", "100"), ("firm", "max_order_quantity", "200"))
    assert desk.code(terms(150)) == "SOFT_LIMIT"
    assert desk.code(terms(150), is_confirmed=True) == ""
    assert desk.code(terms(201), is_confirmed=True) == "MAX_ORDER_QUANTITY"
    order = desk.open(terms(100))
    assert desk.replace_code(order, quantity=101) == "SOFT_LIMIT"
    assert desk.replace_code(order, quantity=101, is_confirmed=True) == ""


# ---------------------------------------------------------------- self-trade


@pytest.mark.parametrize(
    ("resting", "wanted", "crosses"),
    [
        (terms(side=SELL, price=10_100), terms(price=10_100), True),
        (terms(side=SELL, price=10_100), terms(price=10_099), False),
        (terms(side=SELL, price=10_100), terms(price=None), True),
        (terms(price=9_900), terms(side=SELL, price=9_900), True),
        (terms(price=9_900), terms(side=SELL, price=9_901), False),
        (terms(price=9_900), terms(side=SELL, price=None), True),
        (terms(price=9_900), terms(price=10_500), False),
        (terms(price=None), terms(side=SELL, price=99_999), True),
        (terms(side=SELL, price=None), terms(price=1), True),
        # A stop order waits; it meets nobody before its price is reached.
        (terms(side=SELL, price=None, stop=9_000), terms(price=10_000), False),
        (terms(side=SELL, price=9_000, stop=9_000), terms(price=10_000), False),
        (terms(side=SELL, price=9_900), terms(price=None, stop=10_500), False),
    ],
)
def test_own_orders_do_not_meet(resting: Any, wanted: Any, crosses: bool) -> None:
    desk = RiskDesk(("firm/alpha/ACC1", "prevent_self_trade", "true"))
    desk.put(resting, "bob")
    assert desk.code(wanted) == ("SELF_TRADE" if crosses else "")


def test_self_trade_counts_within_the_node_that_forbids_it() -> None:
    desk = RiskDesk((ALICE, "prevent_self_trade", "true"))
    desk.put(terms(side=SELL, price=10_100), "bob")
    assert desk.code(terms(price=10_100)) == ""
    desk.set("firm/alpha", "prevent_self_trade", "true")
    assert desk.code(terms(price=10_100)) == "SELF_TRADE"
    assert desk.code(terms(price=10_100, account="ACC2")) == "SELF_TRADE"
    assert desk.code(terms(price=10_100, account="ACC3")) == ""
    desk.set("firm/alpha", "prevent_self_trade", "false")
    assert desk.code(terms(price=10_100)) == ""


def test_best_of_many_own_orders_counts_and_ended_ones_do_not() -> None:
    desk = RiskDesk(("firm", "prevent_self_trade", "true"))
    orders = [desk.put(terms(side=SELL, price=price)) for price in (10_300, 10_100, 10_200, 10_100)]
    denial = desk.denial(terms(price=10_150))
    assert denial is not None
    assert (denial.code, denial.value, denial.maximum) == ("SELF_TRADE", "101.50", "101.00")
    desk.end(orders[1])
    assert desk.code(terms(price=10_150)) == "SELF_TRADE"
    desk.fill(orders[3], 100)
    assert desk.code(terms(price=10_150)) == ""
    assert desk.code(terms(price=10_200)) == "SELF_TRADE"


def test_replacement_in_flight_rests_at_its_most_aggressive_price() -> None:
    desk = RiskDesk(("firm", "prevent_self_trade", "true"))
    order = desk.open(terms(side=SELL, price=10_300))
    request = desk.replace(order, price=10_100)
    assert desk.code(terms(price=10_100)) == "SELF_TRADE"
    desk.settle(order, request, is_accepted=False)
    assert desk.code(terms(price=10_100)) == ""
    desk.open(terms(price=10_000))
    assert desk.replace_code(order, price=10_000) == "SELF_TRADE"
    assert desk.replace_code(order, price=10_001) == ""


def test_triggered_stop_order_meets_others() -> None:
    desk = RiskDesk(("firm", "prevent_self_trade", "true"))
    stop = desk.put(terms(side=SELL, price=None, stop=9_000))
    stop.is_triggered = True
    desk.risk.order_changed(stop)
    assert desk.code(terms(price=1)) == "SELF_TRADE"


# ---------------------------------------------------------------- positions and open orders


def test_position_counts_with_all_open_orders_that_lead_there() -> None:
    desk = RiskDesk(("firm/alpha/ACC1", "max_position", "1000"))
    desk.hold(400)
    desk.open(terms(500))
    desk.open(terms(300, side=SELL))  # may not be executed first
    denial = desk.denial(terms(101))
    assert denial is not None
    assert (denial.code, denial.value, denial.maximum) == ("MAX_POSITION", "1001", "1000")
    assert desk.code(terms(100)) == ""
    assert desk.code(terms(1100, side=SELL)) == ""
    assert desk.code(terms(1101, side=SELL)) == "MAX_POSITION"


def test_position_is_the_net_of_all_below_the_node() -> None:
    desk = RiskDesk(("firm", "max_position", "1000"))
    desk.hold(900)
    desk.hold(-500, account="ACC3", trader="bob")
    assert desk.code(terms(600)) == ""
    assert desk.code(terms(601)) == "MAX_POSITION"


def test_a_fill_moves_from_open_orders_to_the_position() -> None:
    desk = RiskDesk(("firm", "max_position", "1000"))
    order = desk.open(terms(1000))
    desk.fill(order, 400)
    assert desk.code(terms(1)) == "MAX_POSITION"
    desk.end(order)
    assert desk.code(terms(600)) == ""
    assert desk.code(terms(601)) == "MAX_POSITION"


def test_position_beyond_a_lowered_limit_can_be_reduced() -> None:
    desk = RiskDesk(("firm", "max_position", "1000"), ("firm", "max_gross_notional", "10000000"))
    desk.hold(1000)
    desk.set("firm", "max_position", "10")
    desk.set("firm", "max_gross_notional", "10")
    assert desk.code(terms(1)) == "MAX_POSITION"
    assert desk.code(terms(1000, side=SELL)) == ""
    assert desk.code(terms(1011, side=SELL)) == "MAX_POSITION"
    assert desk.code(terms(1001, side=SELL)) == "MAX_GROSS_NOTIONAL"


def test_open_orders_and_notional_are_freed_when_orders_end() -> None:
    desk = RiskDesk(("firm", "max_open_orders", "2"), ("firm", "max_open_notional", "30000"))
    first = desk.open(terms(100))
    second = desk.open(terms(100))
    denial = desk.denial(terms(100))
    assert denial is not None
    assert (denial.code, denial.value, denial.maximum) == ("MAX_OPEN_ORDERS", "3", "2")
    desk.end(first)
    assert desk.code(terms(200)) == ""
    assert desk.code(terms(201)) == "MAX_OPEN_NOTIONAL"
    desk.fill(second, 50)
    assert desk.code(terms(250)) == ""
    assert desk.code(terms(251)) == "MAX_OPEN_NOTIONAL"


def test_gross_notional_is_positions_at_the_market_and_open_orders() -> None:
    desk = RiskDesk(("firm", "max_gross_notional", "60000"))
    desk.hold(100)
    desk.hold(-100, account="ACC3")
    desk.open(terms(200))
    assert desk.code(terms(200)) == ""  # 10,000 + 10,000 + 20,000 + 20,000
    assert desk.code(terms(201)) == "MAX_GROSS_NOTIONAL"
    desk.risk.mark("AAPL", 11_000)
    assert desk.code(terms(180)) == ""
    assert desk.code(terms(181)) == "MAX_GROSS_NOTIONAL"


# ---------------------------------------------------------------- replacements


def test_replacement_is_judged_by_what_it_adds() -> None:
    desk = RiskDesk(
        ("firm", "max_position", "150"),
        ("firm", "max_open_notional", "15000"),
        ("firm", "max_open_orders", "1"),
    )
    order = desk.open(terms(100))
    assert desk.replace_code(order, quantity=150) == ""
    assert desk.replace_code(order, quantity=151) == "MAX_POSITION"
    assert desk.replace_code(order, price=15_000) == ""
    assert desk.replace_code(order, price=15_001) == "MAX_OPEN_NOTIONAL"
    desk.fill(order, 40)
    assert desk.replace_code(order, quantity=150) == ""
    assert desk.replace_code(order, quantity=151) == "MAX_POSITION"


def test_replacement_in_flight_counts_as_the_larger_of_both() -> None:
    desk = RiskDesk(("firm", "max_position", "150"))
    order = desk.open(terms(100))
    request = desk.replace(order, quantity=50)
    assert desk.code(terms(50)) == ""
    assert desk.code(terms(51)) == "MAX_POSITION"
    desk.settle(order, request, is_accepted=True)
    assert desk.code(terms(100)) == ""
    request = desk.replace(order, quantity=120)
    assert desk.code(terms(31)) == "MAX_POSITION"
    desk.settle(order, request, is_accepted=False)
    assert desk.code(terms(100)) == ""


def test_replacement_that_only_reduces_passes_all_limits_on_size_and_blocks() -> None:
    desk = RiskDesk()
    order = desk.open(terms(100, price=10_000))
    for limit in (
        "max_position",
        "max_order_quantity",
        "max_order_notional",
        "max_open_notional",
        "max_gross_notional",
        "max_open_orders",
    ):
        desk.set("firm", limit, "1")
    desk.set("firm", "restricted_symbols", "AAPL")
    desk.set("firm", "allowed_order_types", "STOP")
    desk.level("firm", TradingLevel.CANCEL_ALL)
    assert desk.code(terms(1)) == "TRADING_BLOCKED"
    assert desk.replace_code(order, quantity=99) == ""
    assert desk.replace_code(order, price=9_999) == ""
    assert desk.replace_code(order, quantity=101) == "TRADING_BLOCKED"
    assert desk.replace_code(order, price=10_001) == "TRADING_BLOCKED"
    desk.level("firm", TradingLevel.NORMAL)
    assert desk.replace_code(order, quantity=101) == "ORDER_TYPE_NOT_ALLOWED"


def test_sale_moved_closer_to_the_market_adds_nothing_to_notional_but_passes_no_block() -> None:
    desk = RiskDesk()
    order = desk.open(terms(side=SELL, price=12_000))
    desk.set("firm", "max_open_notional", "1")
    assert desk.replace_code(order, price=11_000) == ""
    assert desk.replace_code(order, price=12_001) == "MAX_OPEN_NOTIONAL"
    desk.level("firm", TradingLevel.BLOCK_NEW)
    assert desk.replace_code(order, price=11_000) == "TRADING_BLOCKED"


def test_replacement_to_a_better_price_passes_a_collar_and_an_unchanged_one_too() -> None:
    desk = RiskDesk()
    order = desk.open(terms(price=13_000))
    desk.set("firm", "price_collar_percent", "5")
    assert desk.replace_code(order, quantity=200) == ""
    assert desk.replace_code(order, price=12_000) == ""
    assert desk.replace_code(order, price=13_001) == "PRICE_COLLAR"
    desk.set("firm", "collar_side", "both")
    assert desk.replace_code(order, quantity=200) == ""
    assert desk.replace_code(order, price=12_000) == "PRICE_COLLAR"


def test_filled_order_that_grows_again_is_one_more_open_order() -> None:
    desk = RiskDesk(("firm", "max_open_orders", "1"))
    order = desk.open(terms(100))
    desk.fill(order, 100)
    assert desk.replace_code(order, quantity=150) == ""
    desk.open(terms(100))
    assert desk.replace_code(order, quantity=150) == "MAX_OPEN_ORDERS"


def test_replacement_by_another_trader_counts_for_the_owner() -> None:
    desk = RiskDesk((ALICE, "max_order_quantity", "100"))
    order = desk.open(terms(100))
    wanted = terms(101)
    asked = desk._asked("bob", wanted, False)
    denial = desk.risk.deny_replace(order, wanted, *asked)
    assert denial is not None
    assert denial.node == ALICE


# ---------------------------------------------------------------- changes at run time


def test_limits_changed_at_run_time_count_from_then_on() -> None:
    desk = RiskDesk()
    assert desk.code(terms(100)) == ""
    desk.set("firm", "max_order_quantity", "99")
    assert desk.code(terms(100)) == "MAX_ORDER_QUANTITY"
    desk.set("firm", "max_order_quantity", "100")
    assert desk.code(terms(100)) == ""
    desk.set("firm", "max_order_quantity", "1")
    desk.set("firm", "max_order_quantity", None)
    assert desk.code(terms(100)) == ""
