"""What the exchange tells for what it is asked, scenario by scenario."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from toucan.core.terms import ProblemCode
from toucan.core.values import OrderType, OrdStatus, Side, TimeInForce
from toucan.core.venue_messages import CancelOrder, NewOrder, ReplaceOrder, Report
from toucan.exchange.core.exchange import FirmRefused
from toucan.exchange.core.operator import OperatorError
from toucan.exchange.core.reasons import REASONS, reason_of
from toucan.exchange.limits import (
    ACCOUNT_CHARACTERS_MAX,
    FIRM_CHARACTERS_MAX,
    FIRMS_MAX,
    ID_CHARACTERS_MAX,
    REQUESTS_PER_ORDER_MAX,
)

from . import cases_fix, cases_operator, cases_orders
from .script import START_NS, Script

_ALL = {**cases_orders.CASES, **cases_fix.CASES, **cases_operator.CASES}


@pytest.mark.parametrize("name", _ALL)
def test_scenario(name: str) -> None:
    Script().play(_ALL[name])


def test_no_scenario_hides_another() -> None:
    tables = (cases_orders.CASES, cases_fix.CASES, cases_operator.CASES)
    assert len(_ALL) == sum(len(table) for table in tables) >= 60


def _limit(cl_ord_id: str, *, side: Side = Side.BUY, price: int = 50, account: str = "a") -> NewOrder:
    return NewOrder(cl_ord_id, account, "ABC", side, OrderType.LIMIT, TimeInForce.DAY, 10, price)


def _only(told: Sequence[tuple[str, object]]) -> Report:
    ((_, report),) = told
    assert isinstance(report, Report)
    return report


@pytest.mark.parametrize(
    ("cl_ord_id", "account", "reason"),
    [
        ("x" * ID_CHARACTERS_MAX, "a" * ACCOUNT_CHARACTERS_MAX, ""),
        ("x" * (ID_CHARACTERS_MAX + 1), "a", "bad-id"),
        ("", "a", "bad-id"),
        ("x", "a" * (ACCOUNT_CHARACTERS_MAX + 1), "bad-account"),
        ("x", "", "account-missing"),
    ],
)
def test_ids_and_accounts_have_limits(cl_ord_id: str, account: str, reason: str) -> None:
    report = _only(Script().exchange.handle("A", _limit(cl_ord_id, account=account), START_NS))
    assert report.reason == reason
    assert report.ord_status is (OrdStatus.REJECTED if reason else OrdStatus.NEW)
    assert len(report.cl_ord_id) <= ID_CHARACTERS_MAX
    assert report.text == REASONS.get(reason, report.text)


def test_requests_of_one_order_have_a_limit_that_does_not_hold_for_its_cancel() -> None:
    script = Script()
    script.play("> A buy X 10 @50\n< A NEW X NEW 10/0/10")
    last = "X"
    for number in range(REQUESTS_PER_ORDER_MAX - 1):
        told = script.exchange.handle(
            "A",
            ReplaceOrder(f"r{number}", last, "ABC", Side.BUY, OrderType.LIMIT, 10, 50 + number % 2),
            START_NS,
        )
        assert _only(told).ord_status is OrdStatus.NEW
        last = f"r{number}"
    refused = script.exchange.handle(
        "A", ReplaceOrder("more", last, "ABC", Side.BUY, OrderType.LIMIT, 10, 60), START_NS
    )
    assert _only(refused).reason == "too-many-requests"
    cancelled = script.exchange.handle("A", CancelOrder("c", last, "ABC", Side.BUY), START_NS)
    assert _only(cancelled).ord_status is OrdStatus.CANCELED
    late = script.exchange.handle("A", CancelOrder("c2", last, "ABC", Side.BUY), START_NS)
    assert _only(late).reason == "too-many-requests"


@pytest.mark.parametrize(
    "request_",
    [
        CancelOrder("Y", "X", "LOT", Side.BUY),
        CancelOrder("Y", "X", "ABC", Side.SELL),
        ReplaceOrder("Y", "X", "ABC", Side.BUY, OrderType.STOP, 10, None, 60),
    ],
)
def test_a_request_that_names_another_symbol_side_or_type_is_refused(
    request_: CancelOrder | ReplaceOrder,
) -> None:
    script = Script()
    script.play("> A buy X 10 @50\n< A NEW X NEW 10/0/10")
    assert _only(script.exchange.handle("A", request_, START_NS)).reason == "order-mismatch"


def test_a_cancel_with_an_id_that_is_too_long_is_refused_and_not_remembered() -> None:
    script = Script()
    script.play("> A buy X 10 @50\n< A NEW X NEW 10/0/10")
    told = script.exchange.handle(
        "A", CancelOrder("y" * (ID_CHARACTERS_MAX + 1), "X", "ABC", Side.BUY), START_NS
    )
    assert _only(told).reason == "bad-id"
    assert list(script.exchange.firm("A").ids) == ["X"]


def test_open_orders_have_a_limit_and_an_ended_one_makes_room() -> None:
    Script(open_orders_max=2).play(
        """
        > A buy X1 10 @50
        < A NEW X1 NEW 10/0/10
        > A buy X2 10 stop 90
        < A NEW X2 NEW 10/0/10
        > A buy X3 10 @50
        < A REJECTED X3 REJECTED 10/0/0 (too-many-orders)
        > A cancel C X2
        < A CANCELED C CANCELED 10/0/0 after X2
        > A buy X4 10 @50
        < A NEW X4 NEW 10/0/10
        """
    )


def test_after_ids_were_forgotten_a_possible_resend_of_an_unknown_one_is_no_new_order() -> None:
    Script(closed_orders_kept_max=1).play(
        """
        > A buy X1 10 @50
        < A NEW X1 NEW 10/0/10
        > A cancel C1 X1
        < A CANCELED C1 CANCELED 10/0/0 after X1
        > A buy N1 10 @50 resend
        < A NEW N1 NEW 10/0/10
        > A cancel C2 N1
        < A CANCELED C2 CANCELED 10/0/0 after N1
        > A buy X1 10 @50 resend
        < A REJECTED X1 REJECTED 10/0/0 (unknown-resend)
        > A buy X5 10 @50
        < A NEW X5 NEW 10/0/10
        > A status X5
        < A ORDER_STATUS X5 NEW 10/0/10 (nothing-done)
        """
    )


def test_an_order_that_is_open_again_is_not_forgotten() -> None:
    Script(closed_orders_kept_max=1).play(
        """
        > A buy X 10 @50
        < A NEW X NEW 10/0/10
        > B sell S 10 @50
        < B NEW S NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@50
        < B TRADE S FILLED 10/10/0 10@50
        > A replace Y X 20
        < A REPLACED Y PARTIALLY_FILLED 20/10/10 @50 after X
        > A buy Z 10 @40
        < A NEW Z NEW 10/0/10
        > A cancel C Z
        < A CANCELED C CANCELED 10/0/0 after Z
        > A cancel D Y
        < A CANCELED D CANCELED 20/10/0 after Y
        """
    )


def test_an_order_that_has_ended_is_due_for_nothing_more() -> None:
    script = Script()
    close_ns = script.exchange.next_at_ns()
    script.act("A buy X 10 @50 gtd 10")
    assert script.exchange.next_at_ns() == START_NS + 10 * 1_000_000_000
    script.act("A cancel C X")
    assert script.exchange.next_at_ns() == close_ns


@pytest.mark.parametrize("name", ["", "background", "x" * (FIRM_CHARACTERS_MAX + 1), "a\nb"])
def test_some_names_are_no_firms(name: str) -> None:
    with pytest.raises(FirmRefused):
        Script().exchange.handle(name, _limit("X"), START_NS)


def test_firms_have_a_limit() -> None:
    exchange = Script().exchange
    for number in range(FIRMS_MAX):
        exchange.firm(f"f{number}")
    with pytest.raises(FirmRefused, match="as many as there may be"):
        exchange.firm("one more")
    assert exchange.firm("f0").name == "f0"


@pytest.mark.parametrize(
    "action",
    [
        "halt NIX",
        "resume ABC",
        "end-day NIX",
        "drop A nix",
        "drop Z X",
        "restate A X quantity 0",
        "restate A X quantity 3",
        "restate A X price 0",
        "restate A M price 50",
        "correct X 1 quantity 11",
        "correct X 1 price 0",
        "phone A buy X 10 @50",
        "phone background buy P 10 @50",
    ],
)
def test_what_the_operator_cannot_do_changes_nothing(action: str) -> None:
    script = Script()
    script.play(
        """
        > A buy X 10 @50
        < A NEW X NEW 10/0/10
        > A buy M 10 stop 90
        < A NEW M NEW 10/0/10
        > B sell S 4 @50
        < B NEW S NEW 4/0/4
        < A TRADE X PARTIALLY_FILLED 10/4/6 4@50
        < B TRADE S FILLED 4/4/0 4@50
        """
    )
    before = script.exchange.quote("ABC"), script.exchange.newest_seq("A"), script.exchange.newest_seq("B")
    with pytest.raises(OperatorError):
        script.act(action)
    after = script.exchange.quote("ABC"), script.exchange.newest_seq("A"), script.exchange.newest_seq("B")
    assert before == after


def test_a_trade_is_busted_once_and_named_by_a_known_execution() -> None:
    script = Script()
    script.play(
        """
        > A buy X 10 @50
        < A NEW X NEW 10/0/10
        > B sell S 10 @50
        < B NEW S NEW 10/0/10
        < A TRADE X FILLED 10/10/0 10@50
        < B TRADE S FILLED 10/10/0 10@50
        """
    )
    script.act("bust X 1")
    for order in ("X", "S"):
        with pytest.raises(OperatorError, match="cancelled already"):
            script.act(f"bust {order} 1")
    with pytest.raises(OperatorError, match="no trade"):
        script.operator.bust("L-E999", START_NS)
    assert script.exchange.quote("ABC").volume == 0


def test_old_trades_are_forgotten() -> None:
    script = Script(trades_kept_max=1)
    trade = """
        > A buy X{0} 10 @50
        < A NEW X{0} NEW 10/0/10
        > B sell S{0} 10 @50
        < B NEW S{0} NEW 10/0/10
        < A TRADE X{0} FILLED 10/10/0 10@50
        < B TRADE S{0} FILLED 10/10/0 10@50
        """
    script.play(trade.format(1))
    script.play(trade.format(2))
    for order in ("X1", "S1"):
        with pytest.raises(OperatorError, match="too old"):
            script.act(f"bust {order} 1")
    assert len(script.exchange.trades) == 2
    script.act("bust S2 1")


def test_halts_and_early_ends_cannot_be_doubled() -> None:
    script = Script()
    script.act("halt ABC")
    script.act("end-day ABC")
    for action in ("halt ABC", "end-day ABC"):
        with pytest.raises(OperatorError, match="already"):
            script.act(action)


def test_every_reason_has_words_and_none_is_named_like_a_fault_in_terms() -> None:
    assert all(REASONS[reason] for reason in REASONS if reason)
    assert not set(REASONS) & {reason_of(code) for code in ProblemCode}


def test_time_does_not_go_back() -> None:
    script = Script()
    first = script.exchange.handle("A", _limit("X"), START_NS + 5)
    second = script.exchange.handle("A", _limit("Y"), START_NS)
    assert _only(first).at_ns == _only(second).at_ns == START_NS + 5


def test_market_data_shows_slices_last_trade_and_halts() -> None:
    script = Script()
    exchange = script.exchange
    script.act("A sell X 30 @50 floor 10")
    script.act("A sell Y 5 @51")
    script.act("B buy Z 4 @50")
    script.act("B buy W 7 @49")
    assert exchange.take_changed() == ["ABC"]
    assert exchange.take_changed() == []
    quote = exchange.quote("ABC")
    assert (quote.bid_price, quote.bid_quantity, quote.ask_price, quote.ask_quantity) == (49, 7, 50, 6)
    assert (quote.last_price, quote.last_quantity, quote.volume, quote.is_halted) == (50, 4, 4, False)
    assert [(level.price, level.quantity) for level in exchange.book("ABC").asks] == [(50, 6), (51, 5)]
    assert len(exchange.book("ABC", 1).asks) == 1
    script.act("halt ABC")
    assert exchange.quote("ABC").is_halted
    script.act("until 2024-01-04 00:00")
    assert exchange.quote("ABC").volume == 0
