"""Requests and their answers: each kind of request, each refusal, and that a preview says what the order would be answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.core.desk import ALICE, BOB, INSTRUMENTS, NO_LIMITS, START_NS, Desk, terms

from toucan.core import decide
from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core.instruments import Instrument
from toucan.core.limits import (
    ANSWERS_KEPT_MAX,
    REQUESTS_IN_FLIGHT_MAX,
    SESSION_NAME_MAX,
    STAGED_TTL_NS_MAX,
    STAGED_TTL_NS_MIN,
    STAGED_WHY_CHARACTERS_MAX,
)
from toucan.core.order import Client
from toucan.core.outcomes import (
    Accepted,
    Denied,
    Done,
    MassCanceled,
    Outcome,
    Previewed,
    Refusal,
    Refused,
)
from toucan.core.terms import OrderTerms
from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce, TradingLevel
from toucan.core.venue_messages import CancelOrder, NewOrder, Quote, ReplaceOrder

# ---------------------------------------------------------------- every refusal, and how it comes about


def _filled(desk: Desk, **more: Any) -> int:
    order = desk.working(terms(100, **more))
    desk.report(kind=ExecType.TRADE, cl_ord_id=order.cl_ord_id, exec_id="f", last_quantity=100, last_price=1)
    return order.order_id


def _canceled(desk: Desk) -> int:
    order = desk.working(terms(100))
    desk.report(kind=ExecType.CANCELED, cl_ord_id=order.cl_ord_id)
    return order.order_id


def _being_canceled(desk: Desk) -> int:
    order = desk.working(terms(100))
    desk.ask(rq.Cancel(order.order_id))
    return order.order_id


def _busy(desk: Desk) -> int:
    order = desk.working(terms(100))
    for number in range(REQUESTS_IN_FLIGHT_MAX):
        assert isinstance(desk.ask(rq.Replace(order.order_id, quantity=200 + number)), Accepted)
    return order.order_id


def _frozen(desk: Desk) -> int:
    order = desk.working(terms(100))
    desk.ask(rq.SetLevel("firm", TradingLevel.FREEZE, "test"))
    return order.order_id


def _disconnected(desk: Desk) -> Outcome:
    desk.disconnect()
    return desk.ask(rq.Submit(terms()))


def _disconnected_replacement(desk: Desk) -> Outcome:
    order = desk.working(terms())
    desk.disconnect()
    return desk.ask(rq.Replace(order.order_id, quantity=5))


def _cooling_off(desk: Desk) -> Outcome:
    desk.ask(rq.SetLimit("firm", "max_denials", "1", "test"))
    desk.ask(rq.SetLimit("firm", "max_order_quantity", "10", "test"))
    assert isinstance(desk.ask(rq.Submit(terms(11))), Denied)
    desk.pass_time(59.9)
    return desk.ask(rq.SetLevel("firm", TradingLevel.NORMAL, "test"))


def _forgotten(desk: Desk) -> Outcome:
    for number in range(1, ANSWERS_KEPT_MAX + 2):
        desk.ask(rq.Cancel(7), number=number)
    return desk.ask(rq.Cancel(7), number=1)


def _superseded(desk: Desk) -> Outcome:
    desk.ask(rq.Cancel(7), number=3)
    return desk.ask(rq.Submit(terms()), number=2)


def _reused(desk: Desk) -> Outcome:
    desk.ask(rq.Cancel(7), number=3)
    return desk.ask(rq.Cancel(8), number=3)


def _staged(desk: Desk) -> int:
    desk.ask(rq.Stage(terms(), "why not"))
    return desk.state.staged.next_id - 1


def _decided_before(desk: Desk) -> Outcome:
    staged_id = _staged(desk)
    desk.ask(rq.RejectStaged(staged_id, "no"), BOB)
    return desk.ask(rq.ReleaseStaged(staged_id, 1), BOB)


def _changed_before(desk: Desk) -> Outcome:
    staged_id = _staged(desk)
    desk.ask(rq.AmendStaged(staged_id, 1, quantity=5, why="less"))
    return desk.ask(rq.ReleaseStaged(staged_id, 1), BOB)


def _released_while_away(desk: Desk) -> Outcome:
    staged_id = _staged(desk)
    desk.disconnect()
    return desk.ask(rq.ReleaseStaged(staged_id, 1), BOB)


def _late(desk: Desk) -> Outcome:
    return desk.ask(rq.Submit(terms()), deadline_ns=desk.now_ns - 1)


_AsksWrong = Callable[[Desk], Outcome]
REFUSALS: list[tuple[Refusal, _AsksWrong]] = [
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Submit(terms(0)))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Submit(terms(account="")))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Preview(terms(-5)))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Replace(desk.working(terms()).order_id, quantity=0))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Replace(desk.working(terms()).order_id, stop_price=5))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Replace(desk.working(terms(9, None)).order_id, price=5))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Replace(_filled(desk), price=12))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Replace(_filled(desk), quantity=100, price=12))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.AdjustPosition("ACC1", "alice", "AAPL", 0, 5, "why"))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.AdjustPosition("ACC1", "alice", "AAPL", 1, -5, "why"))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Submit(terms()), Client("alice", ""))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Submit(terms()), Client("alice", "x" * (SESSION_NAME_MAX + 1)))),
    (Refusal.UNKNOWN_INSTRUMENT, lambda desk: desk.ask(rq.Submit(terms(symbol="NONE")))),
    (Refusal.UNKNOWN_INSTRUMENT, lambda desk: desk.ask(rq.Preview(terms(symbol="NONE")))),
    (Refusal.UNKNOWN_INSTRUMENT, lambda desk: desk.ask(rq.AdjustPosition("ACC1", "alice", "NONE", 1, 5, "why"))),
    (Refusal.UNKNOWN_ACCOUNT, lambda desk: desk.ask(rq.Submit(terms(account="ACC9")))),
    (Refusal.UNKNOWN_ACCOUNT, lambda desk: desk.ask(rq.AdjustPosition("ACC9", "alice", "AAPL", 1, 5, "why"))),
    (Refusal.UNKNOWN_ORDER, lambda desk: desk.ask(rq.Cancel(7))),
    (Refusal.UNKNOWN_ORDER, lambda desk: desk.ask(rq.Replace(7, quantity=5))),
    (Refusal.ORDER_CLOSED, lambda desk: desk.ask(rq.Cancel(_filled(desk)))),
    (Refusal.ORDER_CLOSED, lambda desk: desk.ask(rq.Cancel(_canceled(desk)))),
    (Refusal.ORDER_CLOSED, lambda desk: desk.ask(rq.Replace(_canceled(desk), quantity=500))),
    (Refusal.CANCEL_IN_FLIGHT, lambda desk: desk.ask(rq.Cancel(_being_canceled(desk)))),
    (Refusal.CANCEL_IN_FLIGHT, lambda desk: desk.ask(rq.Replace(_being_canceled(desk), quantity=500))),
    (Refusal.TOO_MANY_IN_FLIGHT, lambda desk: desk.ask(rq.Replace(_busy(desk), quantity=500))),
    (Refusal.NOTHING_CHANGES, lambda desk: desk.ask(rq.Replace(desk.working(terms(100)).order_id, quantity=100))),
    (Refusal.NOTHING_CHANGES, lambda desk: desk.ask(rq.Replace(desk.working(terms(100)).order_id))),
    (Refusal.VENUE_NOT_READY, _disconnected),
    (Refusal.VENUE_NOT_READY, _disconnected_replacement),
    (Refusal.FROZEN, lambda desk: desk.ask(rq.Cancel(_frozen(desk)))),
    (Refusal.FROZEN, lambda desk: desk.ask(rq.Replace(_frozen(desk), quantity=5))),
    (Refusal.UNKNOWN_NODE, lambda desk: desk.ask(rq.SetLevel("firm/gamma", TradingLevel.NORMAL, "why"))),
    (Refusal.UNKNOWN_NODE, lambda desk: desk.ask(rq.SetLimit("firm/gamma", "max_open_orders", "5", "why"))),
    (Refusal.INVALID_LIMIT, lambda desk: desk.ask(rq.SetLimit("firm", "max_colour", "5", "why"))),
    (Refusal.INVALID_LIMIT, lambda desk: desk.ask(rq.SetLimit("firm", "max_open_orders", "-5", "why"))),
    (Refusal.REASON_MISSING, lambda desk: desk.ask(rq.SetLevel("firm", TradingLevel.FREEZE, " "))),
    (Refusal.REASON_MISSING, lambda desk: desk.ask(rq.SetLimit("firm", "max_open_orders", "5", ""))),
    (Refusal.REASON_MISSING, lambda desk: desk.ask(rq.AdjustPosition("ACC1", "alice", "AAPL", 1, 5, ""))),
    (Refusal.STILL_COOLING_OFF, _cooling_off),
    (Refusal.REQUEST_NUMBER_MISSING, lambda desk: desk.ask(rq.Submit(terms()), number=0)),
    (Refusal.REQUEST_NUMBER_MISSING, lambda desk: desk.ask(rq.Cancel(1), number=-1)),
    (Refusal.KEY_REUSED, _reused),
    (Refusal.REQUEST_SUPERSEDED, _superseded),
    (Refusal.REQUEST_FORGOTTEN, _forgotten),
    (Refusal.DEADLINE_PASSED, _late),
    (Refusal.UNKNOWN_STAGED_ORDER, lambda desk: desk.ask(rq.ReleaseStaged(7, 1))),
    (Refusal.UNKNOWN_STAGED_ORDER, lambda desk: desk.ask(rq.AmendStaged(7, 1, quantity=5, why="less"))),
    (Refusal.UNKNOWN_STAGED_ORDER, lambda desk: desk.ask(rq.RejectStaged(7, "no"))),
    (Refusal.STAGED_ORDER_DECIDED, _decided_before),
    (Refusal.STAGED_ORDER_CHANGED, _changed_before),
    (Refusal.FOUR_EYES, lambda desk: desk.ask(rq.ReleaseStaged(_staged(desk), 1))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Stage(terms(0), "why"))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Stage(terms(), "w" * (STAGED_WHY_CHARACTERS_MAX + 1)))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Stage(terms(), "two\nlines"))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Stage(terms(), "why", STAGED_TTL_NS_MIN - 1))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.Stage(terms(), "why", STAGED_TTL_NS_MAX + 1))),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.ReleaseStaged(_staged(desk), 2), BOB)),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.ReleaseStaged(_staged(desk), 1, quantity=-5), BOB)),
    (Refusal.INVALID_ORDER, lambda desk: desk.ask(rq.AmendStaged(_staged(desk), 1, price=-5, why="less"), BOB)),
    (Refusal.UNKNOWN_INSTRUMENT, lambda desk: desk.ask(rq.Stage(terms(symbol="NONE"), "why"))),
    (Refusal.UNKNOWN_ACCOUNT, lambda desk: desk.ask(rq.Stage(terms(account="ACC9"), "why"))),
    (Refusal.REASON_MISSING, lambda desk: desk.ask(rq.Stage(terms(), " "))),
    (Refusal.REASON_MISSING, lambda desk: desk.ask(rq.AmendStaged(_staged(desk), 1, quantity=5), BOB)),
    (Refusal.REASON_MISSING, lambda desk: desk.ask(rq.RejectStaged(_staged(desk), ""), BOB)),
    (Refusal.NOTHING_CHANGES, lambda desk: desk.ask(rq.AmendStaged(_staged(desk), 1, quantity=100, why="as it is"))),
    (Refusal.VENUE_NOT_READY, _released_while_away),
]  # fmt: skip

#: Those that are not the decider's, and those below, whose limits are too large for a table.
ELSEWHERE = {
    Refusal.JOURNAL_UNAVAILABLE: "the loop's (toucan.engine.loop)",
    Refusal.ENGINE_OVERLOADED: "the front end's (toucan.engine.link)",
    Refusal.TOO_MANY_SESSIONS: "test_sessions_up_to_the_limit",
    Refusal.TOO_MANY_ORDERS: "test_open_orders_up_to_the_limit",
    Refusal.TOO_MANY_STAGED_ORDERS: "test_staged.py",
}


def test_every_refusal_has_its_case() -> None:
    assert {code for code, _ in REFUSALS} | set(ELSEWHERE) == set(Refusal)


@pytest.mark.parametrize(
    ("code", "ask"), REFUSALS, ids=[f"{n}-{code}" for n, (code, _) in enumerate(REFUSALS)]
)
def test_a_request_that_makes_no_sense_is_refused(code: Refusal, ask: _AsksWrong) -> None:
    desk = Desk()
    outcome = ask(desk)
    assert isinstance(outcome, Refused), outcome
    assert outcome.code is code
    assert len(outcome.text) > 10
    assert not isinstance(desk.events[-1][2], (ev.OrderAccepted, ev.CancelRequested, ev.ReplaceRequested))
    before = desk.state.digest()
    assert desk.again() == outcome
    assert desk.state.digest() == before == desk.replayed().digest()


def test_open_orders_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "OPEN_ORDERS_MAX", 2)
    desk = Desk()
    first = desk.submit(terms())
    desk.submit(terms())
    refused = desk.ask(rq.Submit(terms()))
    assert isinstance(refused, Refused)
    assert refused.code is Refusal.TOO_MANY_ORDERS
    assert desk.ask(rq.Preview(terms())) == refused
    desk.report(kind=ExecType.REJECTED, cl_ord_id=first.cl_ord_id)
    assert desk.submit(terms()).order_id == 3


def test_sessions_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "CLIENTS_MAX", 2)
    desk = Desk()
    desk.submit(terms(), ALICE)
    desk.submit(terms(), BOB)
    for body in (rq.Submit(terms()), rq.OpenSession()):
        refused = desk.ask(body, Client("carol", "desk"))
        assert isinstance(refused, Refused)
        assert refused.code is Refusal.TOO_MANY_SESSIONS
    desk.submit(terms(), ALICE)


def test_beyond_the_limit_of_sessions_cancels_pass_and_are_not_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decide, "CLIENTS_MAX", 2)
    desk, carol = Desk(), Client("carol", "desk")
    first, second = desk.working(terms(), ALICE), desk.working(terms(), BOB)
    assert desk.ask(rq.Cancel(first.order_id), carol, number=1) == Accepted(first.order_id)
    again = desk.ask(rq.Cancel(first.order_id), carol, number=1)
    assert isinstance(again, Refused)
    assert again.code is Refusal.CANCEL_IN_FLIGHT
    assert desk.ask(rq.MassCancel(), carol, number=2) == MassCanceled((second.order_id,), 1)
    assert desk.ask(rq.SetLevel("firm", TradingLevel.BLOCK_NEW, "why"), carol) == MassCanceled(())
    for body in (rq.SetLevel("firm", TradingLevel.NORMAL, "why"), rq.Replace(second.order_id, quantity=5)):
        refused = desk.ask(body, carol)
        assert isinstance(refused, Refused)
        assert refused.code is Refusal.TOO_MANY_SESSIONS
    nameless = desk.ask(rq.MassCancel(), Client("carol", ""))
    assert isinstance(nameless, Refused)
    assert nameless.code is Refusal.INVALID_ORDER
    assert carol not in desk.state.clients
    assert desk.state.digest() == desk.replayed().digest()


# ---------------------------------------------------------------- new orders


def test_an_accepted_order_goes_to_its_venue_as_it_was_asked_for() -> None:
    desk = Desk()
    wanted = OrderTerms(
        "ACC1", "AAPL", Side.SELL, OrderType.STOP_LIMIT, TimeInForce.GTD, 100, 9_000, 9_500, 30, expire_at_ns=START_NS + 5,
        text="note", reduce_only=True,
    )  # fmt: skip
    desk.ask(rq.AdjustPosition("ACC1", "alice", "AAPL", 100, 9_000, "opening balance"))
    order = desk.submit(wanted)
    assert desk.sent == [
        NewOrder(
            "T-1-1", "ACC1", "AAPL", Side.SELL, OrderType.STOP_LIMIT, TimeInForce.GTD, 100, 9_000, 9_500, 30,
            expire_at_ns=START_NS + 5,
        )
    ]  # fmt: skip
    assert (order.status, order.owner, order.terms) == (OrdStatus.PENDING_NEW, ALICE, wanted)


def test_ids_of_requests_are_never_the_same() -> None:
    desk = Desk()
    for _ in range(3):
        order = desk.working(terms(100))
        for quantity in (200, 300):
            desk.ask(rq.Replace(order.order_id, quantity=quantity))
            desk.report(kind=ExecType.REPLACED, cl_ord_id=order.requests[-1].cl_ord_id, quantity=quantity)
        desk.ask(rq.Cancel(order.order_id))
    ids = [
        message.cl_ord_id
        for message in desk.sent
        if isinstance(message, (NewOrder, CancelOrder, ReplaceOrder))
    ]
    assert ids == [f"T-{order}-{number}" for order in (1, 2, 3) for number in (1, 2, 3, 4)]


def test_a_day_order_ends_with_the_session_and_others_when_they_say() -> None:
    desk = Desk()
    midnight = START_NS + 10 * 3600 * 1_000_000_000
    assert desk.submit(terms(time_in_force=TimeInForce.DAY)).expire_at_ns == midnight
    assert desk.submit(terms(time_in_force=TimeInForce.GTC)).expire_at_ns is None
    assert desk.submit(terms(time_in_force=TimeInForce.IOC)).expire_at_ns is None
    gtd = desk.submit(terms(time_in_force=TimeInForce.GTD, expire_at_ns=START_NS + 77))
    assert gtd.expire_at_ns == START_NS + 77
    desk.pass_time(10 * 3600)
    assert (
        desk.submit(terms(time_in_force=TimeInForce.DAY)).expire_at_ns == midnight + 24 * 3600 * 1_000_000_000
    )


# ---------------------------------------------------------------- cancels


def test_a_cancel_names_the_order_and_is_in_flight_until_it_is_answered() -> None:
    desk = Desk()
    order = desk.working(terms(100))
    assert desk.ask(rq.Cancel(order.order_id), BOB) == Accepted(order.order_id)
    assert desk.sent[-1] == CancelOrder("T-1-2", "T-1-1", "AAPL", Side.BUY)
    assert (order.status, order.requests[0].by) == (OrdStatus.NEW, "bob")
    desk.report(kind=ExecType.CANCEL_REJECT, cl_ord_id="T-1-2", reason="busy")
    assert (order.requests, order.reason) == ([], "busy")
    assert desk.ask(rq.Cancel(order.order_id)) == Accepted(order.order_id)
    desk.report(kind=ExecType.CANCELED, cl_ord_id="T-1-3")
    assert (order.status, order.requests) == (OrdStatus.CANCELED, [])


def test_a_cancel_passes_however_many_requests_are_unanswered() -> None:
    desk = Desk()
    order_id = _busy(desk)
    assert desk.ask(rq.Cancel(order_id)) == Accepted(order_id)
    assert isinstance(desk.sent[-1], CancelOrder)


def test_a_cancel_passes_while_a_filled_order_may_still_grow() -> None:
    """The replacement and the cancel arrive in this order, so nothing is left of it whichever the venue accepts."""
    desk = Desk()
    order_id = _filled(desk)
    desk.ask(rq.Replace(order_id, quantity=150))
    assert desk.ask(rq.Cancel(order_id)) == Accepted(order_id)
    assert desk.sent[-1] == CancelOrder("T-1-3", "T-1-2", "AAPL", Side.BUY)
    desk.report(kind=ExecType.REPLACED, cl_ord_id="T-1-2", quantity=150)
    desk.report(kind=ExecType.CANCELED, cl_ord_id="T-1-3")
    assert desk.state.orders[order_id].leaves_quantity == 0


# ---------------------------------------------------------------- replacements


def test_a_replacement_changes_what_is_said_and_keeps_the_rest() -> None:
    desk = Desk()
    order = desk.working(terms(100, 10_000))
    assert desk.ask(rq.Replace(order.order_id, price=10_100)) == Accepted(order.order_id)
    assert desk.sent[-1] == ReplaceOrder(
        "T-1-2", "T-1-1", "AAPL", Side.BUY, OrderType.LIMIT, 100, 10_100, None
    )
    assert order.terms.price == 10_000
    desk.report(kind=ExecType.REPLACED, cl_ord_id="T-1-2")
    assert (order.terms.price, order.terms.quantity, order.cl_ord_id) == (10_100, 100, "T-1-2")


def test_a_second_replacement_goes_on_from_the_first() -> None:
    desk = Desk()
    order = desk.working(terms(100, 10_000))
    desk.ask(rq.Replace(order.order_id, price=10_100))
    refused = desk.ask(rq.Replace(order.order_id, price=10_100))
    assert isinstance(refused, Refused)
    assert refused.code is Refusal.NOTHING_CHANGES
    desk.ask(rq.Replace(order.order_id, quantity=150))
    assert desk.sent[-1] == ReplaceOrder(
        "T-1-3", "T-1-2", "AAPL", Side.BUY, OrderType.LIMIT, 150, 10_100, None
    )
    desk.report(kind=ExecType.CANCEL_REJECT, cl_ord_id="T-1-2")
    desk.report(kind=ExecType.REPLACED, cl_ord_id="T-1-3")
    assert (order.terms.price, order.terms.quantity) == (10_100, 150)


def test_as_many_requests_as_may_be_in_flight() -> None:
    desk = Desk()
    order = desk.submit(terms(100))  # the new order itself is one of them
    for number in range(REQUESTS_IN_FLIGHT_MAX - 1):
        assert isinstance(desk.ask(rq.Replace(order.order_id, quantity=101 + number)), Accepted)
    assert isinstance(desk.ask(rq.Replace(order.order_id, quantity=500)), Refused)
    desk.report(kind=ExecType.NEW, cl_ord_id=order.cl_ord_id)
    assert isinstance(desk.ask(rq.Replace(order.order_id, quantity=500)), Accepted)


def test_a_filled_order_may_grow_and_not_change_otherwise() -> None:
    desk = Desk()
    order_id = _filled(desk)
    assert isinstance(desk.ask(rq.Replace(order_id, price=9_000)), Refused)
    assert isinstance(desk.ask(rq.Replace(order_id, quantity=120)), Accepted)
    order = desk.state.orders[order_id]
    desk.report(kind=ExecType.REPLACED, cl_ord_id="T-1-2", quantity=120)
    assert (order.status, order.leaves_quantity) == (OrdStatus.PARTIALLY_FILLED, 20)


def test_an_order_that_was_cancelled_does_not_grow_though_late_fills_made_it_full() -> None:
    desk = Desk()
    order_id = _canceled(desk)
    desk.report(kind=ExecType.TRADE, cl_ord_id="T-1-1", exec_id="f", last_quantity=100, last_price=1)
    assert desk.state.orders[order_id].status is OrdStatus.FILLED
    refused = desk.ask(rq.Replace(order_id, quantity=150))
    assert isinstance(refused, Refused)
    assert refused.code is Refusal.ORDER_CLOSED


def test_the_quantity_of_a_replacement_counts_what_is_filled() -> None:
    desk = Desk()
    order = desk.working(terms(100))
    desk.report(kind=ExecType.TRADE, cl_ord_id="T-1-1", exec_id="f", last_quantity=60, last_price=1)
    refused = desk.ask(rq.Replace(order.order_id, quantity=60))
    assert isinstance(refused, Refused)
    assert "60 of order 1 are filled already" in refused.text
    assert isinstance(desk.ask(rq.Replace(order.order_id, quantity=61)), Accepted)


def test_a_replacement_is_denied_as_an_order_would_be_and_leaves_the_order_alone() -> None:
    desk = Desk(NO_LIMITS.replace("[firm]", '[firm]\nmax_order_quantity = "150"'))
    order = desk.working(terms(100))
    denied = desk.ask(rq.Replace(order.order_id, quantity=151))
    assert isinstance(denied, Denied)
    assert denied.denial.code == "MAX_ORDER_QUANTITY"
    denials = [event for _, _, event in desk.events if isinstance(event, ev.OrderDenied)]
    assert [(one.order_id, one.terms.quantity) for one in denials] == [(order.order_id, 151)]
    assert (order.requests, order.terms.quantity) == ([], 100)
    assert isinstance(desk.ask(rq.Replace(order.order_id, quantity=150)), Accepted)


# ---------------------------------------------------------------- mass cancels

_LIVE = {
    1: (terms(10, account="ACC1", symbol="AAPL", side=Side.BUY), ALICE),
    2: (terms(10, account="ACC1", symbol="MSFT", side=Side.BUY), ALICE),
    3: (terms(10, account="ACC2", symbol="AAPL", side=Side.SELL), ALICE),
    4: (terms(10, account="ACC3", symbol="AAPL", side=Side.BUY), BOB),
    5: (terms(10, account="ACC3", symbol="MSFT", side=Side.SELL), Client("bob", "robot")),
}


@pytest.mark.parametrize(
    ("body", "order_ids"),
    [
        (rq.MassCancel(), (1, 2, 3, 4, 5)),
        (rq.MassCancel(accounts=("ACC1", "ACC2")), (1, 2, 3)),
        (rq.MassCancel(accounts=()), ()),  # entitled to none
        (rq.MassCancel(symbol="AAPL"), (1, 3, 4)),
        (rq.MassCancel(side=Side.SELL), (3, 5)),
        (rq.MassCancel(owner="alice"), (1, 2, 3)),
        (rq.MassCancel(owner="bob", session="robot"), (5,)),
        (rq.MassCancel(session="desk"), (1, 2, 3, 4)),
        (rq.MassCancel(accounts=("ACC3",), symbol="AAPL", side=Side.BUY, owner="bob", session="desk"), (4,)),
        (rq.MassCancel(symbol="BTC-USD"), ()),
    ],
)
def test_a_mass_cancel_hits_what_matches_everything_given(
    body: rq.MassCancel, order_ids: tuple[int, ...]
) -> None:
    desk = Desk()
    for wanted, client in _LIVE.values():
        desk.working(wanted, client)
    before = len(desk.sent)
    assert desk.ask(body, ALICE) == MassCanceled(order_ids)
    sent = desk.sent[before:]
    assert [message.orig_cl_ord_id for message in sent if isinstance(message, CancelOrder)] == [
        f"T-{order_id}-1" for order_id in order_ids
    ]
    assert len(sent) == len(order_ids)


def test_a_mass_cancel_counts_those_that_are_being_cancelled_already() -> None:
    desk = Desk()
    _being_canceled(desk)
    _filled(desk)
    _canceled(desk)
    other = desk.working(terms())
    assert desk.ask(rq.MassCancel()) == MassCanceled((other.order_id,), skipped=1)


def test_a_mass_cancel_hits_a_filled_order_that_may_still_grow() -> None:
    desk = Desk()
    order_id = _filled(desk)
    desk.ask(rq.Replace(order_id, quantity=150))
    assert desk.ask(rq.MassCancel()) == MassCanceled((order_id,))


# ---------------------------------------------------------------- reduce-only


def test_reduce_only_orders_that_would_turn_the_position_over_are_cancelled() -> None:
    """The newest first, as many as must be, and none twice."""
    desk = Desk()
    desk.ask(rq.AdjustPosition("ACC1", "alice", "AAPL", 100, 10_000, "opening balance"))
    first = desk.working(terms(60, side=Side.SELL, reduce_only=True))
    second = desk.working(terms(40, side=Side.SELL, reduce_only=True))
    other = desk.working(terms(50, side=Side.SELL))
    events = desk.report(
        kind=ExecType.TRADE, cl_ord_id=other.cl_ord_id, exec_id="f1", last_quantity=10, last_price=10_000
    )
    assert [event.order_id for event in events if isinstance(event, ev.CancelRequested)] == [second.order_id]
    assert isinstance(desk.sent[-1], CancelOrder)
    desk.report(
        kind=ExecType.TRADE, cl_ord_id=other.cl_ord_id, exec_id="f2", last_quantity=40, last_price=10_000
    )
    assert first.is_asked_to_cancel()
    why = [
        (event.order_id, event.why, event.by)
        for _, _, event in desk.events
        if isinstance(event, ev.CancelRequested)
    ]
    assert why == [(second.order_id, "reduce-only", ev.ENGINE), (first.order_id, "reduce-only", ev.ENGINE)]
    assert desk.replayed().digest() == desk.state.digest()


def test_an_adjustment_of_the_position_counts_for_reduce_only_orders_too() -> None:
    desk = Desk()
    desk.ask(rq.AdjustPosition("ACC1", "alice", "AAPL", -100, 10_000, "opening balance"))
    order = desk.working(terms(100, reduce_only=True))
    assert desk.ask(rq.AdjustPosition("ACC1", "alice", "AAPL", 1, 10_000, "transfer")) == Done()
    assert order.is_asked_to_cancel()


# ---------------------------------------------------------------- preview

LIMITED = """
base_currency = "USD"
[firm]
max_open_orders = 4
[team.alpha]
accounts = ["ACC1", "ACC2"]
max_order_notional = "30000"
soft_max_order_notional = "20000"
price_collar_percent = "5"
[account.ACC1]
soft_max_order_quantity = "80"
prevent_self_trade = true
max_position = "250"
[account.ACC2]
max_order_quantity = "120"
[team.beta]
accounts = ["ACC3"]
restricted_symbols = ["MSFT"]
"""
wanted_terms = st.builds(
    terms,
    st.integers(-1, 300),
    st.one_of(st.none(), st.integers(9_300, 10_700)),
    account=st.sampled_from(["ACC1", "ACC2", "ACC3", "ACC9"]),
    symbol=st.sampled_from(["AAPL", "MSFT", "NONE"]),
    side=st.sampled_from(Side),
    reduce_only=st.booleans(),
)
steps = st.one_of(
    st.builds(rq.Submit, wanted_terms, st.booleans()),
    st.builds(rq.SetLevel, st.sampled_from(["firm", "firm/alpha", "firm/alpha/ACC1/alice"]), st.sampled_from(TradingLevel), st.just("x")),
    st.builds(rq.AdjustPosition, st.just("ACC1"), st.just("alice"), st.just("AAPL"), st.integers(-200, 200), st.just(10_000), st.just("x")),
)  # fmt: skip


def quoted(desk: Desk) -> None:
    """A market for one of the symbols: without one, and with a limit on money, some orders are denied for that."""
    desk.decider.quote(Quote("AAPL", 0, 9_990, 100, 10_010, 100, 10_000, 5))


@settings(deadline=None, max_examples=60)
@given(st.lists(steps, max_size=6), st.lists(wanted_terms, min_size=1, max_size=5), st.booleans())
def test_a_preview_says_what_the_order_would_be_answered(
    before: list[rq.Body], wanted: list[OrderTerms], is_ready: bool
) -> None:
    desk = Desk(LIMITED)
    quoted(desk)
    for body in before:
        desk.ask(body)
    if not is_ready:
        desk.disconnect()
    for one in wanted:
        before_digest = desk.state.digest()
        preview = desk.ask(rq.Preview(one), number=0)
        assert desk.state.digest() == before_digest
        for is_confirmed in (True, False):
            request = rq.Request(0, ALICE, 10**6, rq.Submit(one, is_confirmed))
            _, answer = desk.decider.request(request, desk.now_ns, desk.now_ns)
            if isinstance(answer, Refused):
                assert preview == answer
                continue
            assert isinstance(preview, Previewed)
            counting = [
                denial for denial in preview.denials if not (is_confirmed and denial.can_be_confirmed)
            ]
            assert answer == (Denied(counting[0]) if counting else Accepted(desk.state.next_order_id))
        desk.ask(rq.Submit(one, is_confirmed=True))


def test_a_preview_says_what_the_order_is_worth() -> None:
    desk = Desk()
    quoted(desk)
    desk.ask(rq.AdjustPosition("ACC1", "alice", "AAPL", 70, 10_000, "opening balance"))
    assert desk.ask(rq.Preview(terms(100, 10_500))) == Previewed((), "10500.00", 10_000, 70)
    assert desk.ask(rq.Preview(terms(100, symbol="MSFT"))) == Previewed((), "10000.00", None, 0)
    assert desk.ask(rq.Preview(terms(100, None, symbol="MSFT"))) == Previewed((), "", None, 0)


# ---------------------------------------------------------------- limits and positions


def test_a_limit_holds_from_the_next_order_on_and_can_be_removed() -> None:
    desk = Desk()
    desk.submit(terms(100))
    assert desk.ask(rq.SetLimit("firm/alpha", "max_order_quantity", "50", "less risk")) == Done()
    assert isinstance(desk.ask(rq.Submit(terms(51))), Denied)
    desk.submit(terms(51, account="ACC3"))
    assert desk.ask(rq.SetLimit("firm/alpha", "max_order_quantity", None, "enough")) == Done()
    desk.submit(terms(51))
    changes = [event for _, _, event in desk.events if isinstance(event, ev.LimitSet)]
    assert [(one.by, one.reason, one.value) for one in changes] == [
        (ALICE, "less risk", "50"),
        (ALICE, "enough", None),
    ]


def test_another_table_of_instruments_does_not_change_what_was_decided() -> None:
    """An instrument that is gone: its orders are still there, and can be cancelled."""
    desk = Desk()
    order = desk.working(terms())
    fewer: dict[str, Instrument] = {name: one for name, one in INSTRUMENTS.items() if name != "AAPL"}
    desk.decider.instruments = fewer
    refused = desk.ask(rq.Replace(order.order_id, quantity=5))
    assert isinstance(refused, Refused)
    assert refused.code is Refusal.UNKNOWN_INSTRUMENT
    assert desk.ask(rq.Cancel(order.order_id)) == Accepted(order.order_id)


def test_decisions_do_not_depend_on_anything_but_their_arguments() -> None:
    """The same requests at the same times: the same events, byte for byte."""
    desks = [Desk(LIMITED), Desk(LIMITED)]
    for desk in desks:
        quoted(desk)
        for quantity in (10, 90, 300):
            desk.ask(rq.Submit(terms(quantity)))
        desk.ask(rq.MassCancel())
    one, other = (msgspec.msgpack.encode([event for _, _, event in desk.events]) for desk in desks)
    assert one == other
