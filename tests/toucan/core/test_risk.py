"""Risk as a whole: the market's price, another limits file, snapshots, what the engine asks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.toucan.core.risk_desk import ALICE, INSTRUMENTS, NOW_NS, TEAMS, RiskDesk, terms

from toucan.core import events as ev
from toucan.core import risk as module
from toucan.core.claims import NO_CLAIM
from toucan.core.order import OrderState
from toucan.core.risk import Risk, claim_of, reference_price
from toucan.core.values import Side, TradingLevel
from toucan.core.venue_messages import Quote

BUY, SELL = Side.BUY, Side.SELL


@pytest.mark.parametrize(
    ("prices", "reference"),
    [
        ({}, None),
        ({"last_price": 100}, 100),
        ({"last_price": 100, "bid_price": 90, "ask_price": 110}, 100),
        ({"last_price": 100, "bid_price": 105, "ask_price": 110}, 105),
        ({"last_price": 100, "bid_price": 80, "ask_price": 90}, 90),
        ({"last_price": 100, "bid_price": 105}, 105),
        ({"last_price": 100, "ask_price": 90}, 90),
        ({"bid_price": 90, "ask_price": 111}, 100),
        ({"bid_price": 90}, None),
        ({"ask_price": 90}, None),
    ],
)
def test_reference_price(prices: dict[str, Any], reference: int | None) -> None:
    assert reference_price(Quote("AAPL", NOW_NS, **prices)) == reference


def test_no_quote_is_no_reference() -> None:
    assert reference_price(None) is None


def test_claim_of_an_order_that_is_over_is_nothing() -> None:
    desk = RiskDesk()
    order = desk.open(terms())
    assert claim_of(order).quantity == 100
    order.state = OrderState.CANCELED
    assert claim_of(order) == NO_CLAIM


def test_without_a_limits_file_nobody_has_an_account() -> None:
    risk = Risk()
    assert not risk.has_account("ACC1")
    assert risk.has_node("firm")
    assert not risk.has_node("firm/alpha")


def test_nodes_and_what_is_below_them() -> None:
    risk = RiskDesk().risk
    assert risk.has_node(ALICE)
    assert risk.has_account("ACC3")
    assert risk.is_below("ACC1", "alice", ALICE)
    assert risk.is_below("ACC1", "alice", "firm")
    assert not risk.is_below("ACC1", "alice", "firm/beta")
    assert not risk.is_below("ACC1", "bob", ALICE)


def test_problem_of_a_limit_is_told_in_words() -> None:
    risk = RiskDesk().risk
    assert risk.limit_problem("firm", "max_position", "5") is None
    assert risk.limit_problem("firm", "max_position", None) is None
    assert "did you mean" in (risk.limit_problem("firm", "max_positions", "5") or "")
    assert "no team" in (risk.limit_problem("firm/gamma", "max_position", "5") or "")


def test_notional_is_told_in_the_base_currency() -> None:
    desk = RiskDesk(("firm", "currency.EUR", "1.08"))
    dax, aapl = INSTRUMENTS["DAX"], INSTRUMENTS["AAPL"]
    quote = Quote("AAPL", NOW_NS, last_price=20_000)
    assert desk.risk.notional_text(terms(), aapl, None) == "10000.00"
    assert desk.risk.notional_text(terms(side=SELL), aapl, quote) == "20000.00"
    assert desk.risk.notional_text(terms(price=None), aapl, quote) == "20000.00"
    assert desk.risk.notional_text(terms(price=None), aapl, None) == ""
    assert desk.risk.notional_text(terms(1, 33, symbol="DAX"), dax, None) == "8.91"
    desk.set("firm", "currency.EUR", None)
    assert desk.risk.notional_text(terms(1, 33, symbol="DAX"), dax, None) == ""


def test_another_limits_file_takes_the_place_of_everything_but_usage_and_levels() -> None:
    desk = RiskDesk(("firm", "max_order_quantity", "100"), ("firm/alpha/ACC1", "max_requests", "2"))
    desk.open(terms())
    desk.hold(50)
    desk.level("firm/alpha/ACC1", TradingLevel.BLOCK_NEW)
    document = """
    base_currency = "USD"
    [team.gamma]
    accounts = ["ACC1"]
    max_position = "150"
    """
    desk.risk.apply(ev.LimitsLoaded(document, "test"), desk.now_ns)
    assert not desk.risk.has_account("ACC2")
    assert desk.risk.exposure.node("firm/gamma").symbol("AAPL").worst_position == 150
    assert desk.risk.exposure.node("firm/gamma").open_notional == 10_000 * 10**6
    assert desk.risk.exposure.node("firm/alpha").open_orders == 0
    assert desk.code(terms(200)) == "TRADING_BLOCKED"
    desk.level("firm/gamma/ACC1", TradingLevel.NORMAL)
    assert desk.code(terms(200)) == "MAX_POSITION"
    assert desk.code(terms(1)) == "MAX_POSITION"
    assert desk.code(terms(200, side=SELL)) == ""
    assert desk.risk.dump()["exposure"]["requests"] == []


def test_requests_of_nodes_that_stay_are_still_counted_after_another_file() -> None:
    desk = RiskDesk()
    document = TEAMS + '[firm]\nmax_requests = 2\nrequests_window_s = "60"\n'
    desk.risk.apply(ev.LimitsLoaded(document, "test"), desk.now_ns)
    desk.open(terms())
    desk.open(terms())
    desk.risk.apply(ev.LimitsLoaded(document, "test"), desk.now_ns)
    assert desk.code(terms()) == "MAX_REQUESTS"


def busy_desk() -> RiskDesk:
    desk = RiskDesk(
        ("firm", "max_requests", "10"), ("firm", "duplicate_window_s", "60"), ("firm", "max_position", "1000"),
        ("firm/alpha", "max_denials", "5"), (ALICE, "symbol.AAPL.max_order_quantity", "200"), ("firm", "currency.EUR", "1.1"),
        ("firm", "restricted_symbols", "MSFT"), ("firm", "prevent_self_trade", "true"),
    )  # fmt: skip
    order = desk.open(terms(150))
    desk.fill(order, 30)
    desk.replace(order, quantity=180, price=10_100)
    desk.open(terms(7, symbol="DAX"), "bob")
    desk.hold(-20, account="ACC3", trader="carol")
    desk.open(terms(5, reduce_only=True, account="ACC3"), "carol")
    denial = desk.denial(terms(201))
    assert denial is not None
    desk.risk.denied(ev.OrderDenied(order.owner, terms(201), denial), desk.now_ns)
    desk.level("firm/beta", TradingLevel.BLOCK_NEW)
    desk.risk.apply(ev.NodeBlocked(ALICE, NOW_NS + 5, 3), desk.now_ns)
    return desk


def test_loaded_risk_answers_alike_and_dumps_alike() -> None:
    desk, other = busy_desk(), busy_desk()
    assert desk.risk.dump() == other.risk.dump()
    other.reload()
    assert other.risk.dump() == desk.risk.dump()
    questions = [
        (terms(150), "alice"), (terms(201), "bob"), (terms(7, symbol="DAX"), "bob"), (terms(1, side=SELL), "bob"),
        (terms(850), "bob"), (terms(16, reduce_only=True, account="ACC3"), "carol"), (terms(1, symbol="MSFT"), "bob"),
        (terms(820, price=9_000), "bob"), (terms(821, price=9_000), "bob"),
    ]  # fmt: skip
    assert [desk.denial(*one) for one in questions] == [other.denial(*one) for one in questions]
    assert len({desk.code(*one) for one in questions}) > 4
    for one in (desk, other):
        one.end(one.orders[1])
        one.open(terms(3), "bob")
    assert other.risk.dump() == desk.risk.dump()


def test_dump_survives_msgpack() -> None:
    dumped = busy_desk().risk.dump()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(dumped)) == dumped


def test_kept_rules_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RULES_KEPT_MAX", 3)
    desk = RiskDesk(("firm", "max_order_quantity", "10"))
    for number in range(10):
        assert desk.code(terms(11), f"t{number}") == "MAX_ORDER_QUANTITY"
    assert len(desk.risk._rules) <= 3
