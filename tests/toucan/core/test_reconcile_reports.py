"""What a venue says, one report at a time: gaps, repetitions, orders that others have entered, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from tests.toucan.core.desk import ALICE, BOB, INSTRUMENTS, Desk, terms

from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core import state as state_module
from toucan.core.limits import EXTERNAL_ID_KEPT
from toucan.core.order import Client
from toucan.core.outcomes import Accepted, Anomaly
from toucan.core.reconcile import Phase, VenueSession
from toucan.core.values import ExecType, OrderType, OrdStatus, RequestKind, Side
from toucan.core.venue_messages import CancelOrder, MassStatusRequest, Report, Resume, ResumeEnd, Welcome

TRADE = {"kind": ExecType.TRADE, "last_quantity": 10, "last_price": 10_000}


def refused(events: list[ev.Event]) -> str:
    """The code of the one report that was refused."""
    (event,) = (event for event in events if isinstance(event, ev.ReportRefused))
    return event.code


# ---------------------------------------------------------------- by their numbers


def test_reports_that_come_again_are_no_news() -> None:
    desk = Desk()
    order = desk.working(terms())
    desk.report(**TRADE, cl_ord_id="T-1-1", exec_id="e1")
    before = desk.state.digest()
    for venue_seq in (2, 1, 2):
        assert desk.report(**TRADE, cl_ord_id="T-1-1", exec_id="e1", venue_seq=venue_seq) == []
    assert (desk.state.digest(), desk.session.repeated_count) == (before, 3)
    assert order.cum_quantity == 10


def test_a_gap_is_asked_for_once_and_nothing_is_taken_in_until_it_is_filled() -> None:
    desk = Desk()
    order = desk.working(terms())
    desk.sent.clear()
    for venue_seq in (3, 4, 5):
        assert desk.report(**TRADE, cl_ord_id="T-1-1", exec_id=f"e{venue_seq}", venue_seq=venue_seq) == []
    assert desk.sent == [Resume("FIRM", "life-1", 1)]
    assert (order.cum_quantity, desk.session.gap_count) == (0, 1)
    for venue_seq in (2, 3, 4, 5):
        assert desk.report(**TRADE, cl_ord_id="T-1-1", exec_id=f"e{venue_seq}", venue_seq=venue_seq)
    assert order.cum_quantity == 40
    assert desk.report(**TRADE, cl_ord_id="T-1-1", exec_id="e9", venue_seq=9) == []
    assert desk.sent == [Resume("FIRM", "life-1", 1), Resume("FIRM", "life-1", 5)]


@pytest.mark.parametrize("phase", [Phase.RESUMING, Phase.ASKING])
def test_a_connection_with_a_gap_does_not_become_ready(phase: Phase) -> None:
    desk = Desk()
    desk.working(terms())
    desk.disconnect()
    desk.session.connected()
    desk.apply(desk.session.welcome(Welcome("life-1", 9)))
    if phase is Phase.ASKING:
        desk.resume_end("")
    else:
        desk.report(kind=ExecType.TRIGGERED, cl_ord_id="T-1-1", venue_seq=2)
    desk.report(**TRADE, cl_ord_id="T-1-1", exec_id="e", venue_seq=5)
    question = desk.sent[-2]
    desk.resume_end(question.request_id if isinstance(question, MassStatusRequest) else "")
    assert desk.session.phase is not Phase.READY
    assert not desk.state.venue("SIM").is_ready


def test_a_venue_that_keeps_no_older_reports_begins_later_than_it_was_asked() -> None:
    """That is only believed behind a welcome; and if executions are missing then, it is said."""
    desk = Desk()
    order = desk.working(terms())
    desk.disconnect()
    desk.session.connected()
    desk.apply(desk.session.welcome(Welcome("life-1", 51)))
    events = desk.report(**TRADE, cl_ord_id="T-1-1", exec_id="e50", venue_seq=50)
    assert [type(event) for event in events] == [ev.Reported]
    desk.resume_end("")
    question = desk.sent.pop()
    assert isinstance(question, MassStatusRequest)
    events = desk.report(
        kind=ExecType.ORDER_STATUS,
        cl_ord_id="T-1-1",
        venue_seq=51,
        cum_quantity=30,
        ord_status=OrdStatus.PARTIALLY_FILLED,
    )
    assert refused(events) == Anomaly.MISSING_EXECUTIONS
    desk.resume_end(question.request_id)
    assert (desk.session.phase, order.cum_quantity, order.is_open) == (Phase.READY, 10, True)
    assert desk.report(**TRADE, cl_ord_id="T-1-1", exec_id="e60", venue_seq=60) == []


def test_another_life_of_the_venue_counts_anew() -> None:
    desk = Desk()
    desk.working(terms())
    desk.disconnect()
    desk.session.connected()
    assert desk.session.resume() == Resume("FIRM", "life-1", 1)
    desk.apply(desk.session.welcome(Welcome("life-2", 0)))
    assert desk.session.resume() == Resume("FIRM", "life-2", 0)
    assert desk.report(kind=ExecType.NEW, cl_ord_id="T-1-1", venue_seq=1)


def test_answers_to_questions_of_an_earlier_connection_settle_nothing() -> None:
    desk = Desk()
    order = desk.working(terms())
    questions = []
    for _ in range(2):
        desk.disconnect()
        desk.session.connected()
        desk.resume_end("")
        question = desk.sent.pop()
        assert isinstance(question, MassStatusRequest)
        questions.append(question.request_id)
    assert questions[0] != questions[1]
    desk.resume_end(questions[0])
    assert (desk.session.phase, order.is_open) == (Phase.ASKING, True)
    desk.report(kind=ExecType.ORDER_STATUS, cl_ord_id="T-1-1", ord_status=OrdStatus.NEW)
    desk.resume_end(questions[1])
    assert (desk.session.phase, order.is_open) == (Phase.READY, True)
    desk.resume_end(questions[1])
    desk.resume_end("")
    assert desk.session.phase is Phase.READY


def test_questions_of_the_next_engine_are_others() -> None:
    desk = Desk()
    first = desk.restarted()
    second = first.restarted()
    names = []
    for one in (first, second):
        one.session.connected()
        _, (question,) = one.session.resume_end(ResumeEnd())
        assert isinstance(question, MassStatusRequest)
        names.append(question.request_id)
    assert len(set(names)) == 2


# ---------------------------------------------------------------- told twice


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (ExecType.TRADE, {"last_quantity": 10, "last_price": 10_000}),
        (ExecType.RESTATED, {"quantity": 90}),
        (ExecType.DONE_FOR_DAY, {}),
        (ExecType.STOPPED, {}),
        (ExecType.SUSPENDED, {}),
    ],
)
def test_what_is_told_again_under_a_new_number_counts_once_and_is_passed_over(
    kind: ExecType, fields: dict[str, Any]
) -> None:
    desk = Desk()
    order = desk.working(terms())
    desk.report(kind=kind, cl_ord_id="T-1-1", exec_id="e1", **fields)
    before = (order.status, order.cum_quantity, order.terms, desk.state.positions.dump())
    events = desk.report(kind=kind, cl_ord_id="T-1-1", exec_id="e1", **fields)
    assert refused(events) == Anomaly.REPEATED
    assert (order.status, order.cum_quantity, order.terms, desk.state.positions.dump()) == before
    assert desk.state.venue("SIM").venue_seq == 3  # so it is not asked for again
    # Without a number there is nothing to pass over.
    assert desk.report(kind=kind, cl_ord_id="T-1-1", exec_id="e1", venue_seq=0, **fields) == []


def test_busts_and_corrections_told_again_count_once() -> None:
    desk = Desk()
    order = desk.working(terms())
    desk.report(**TRADE, cl_ord_id="T-1-1", exec_id="e1")
    correct = {
        **TRADE,
        "kind": ExecType.TRADE_CORRECT,
        "last_quantity": 7,
        "exec_id": "c1",
        "exec_ref_id": "e1",
    }
    bust = {"kind": ExecType.TRADE_CANCEL, "exec_id": "b1", "exec_ref_id": "c1"}
    for fields, cum in ((correct, 7), (bust, 0)):
        desk.report(cl_ord_id="T-1-1", **fields)
        assert order.cum_quantity == cum
        assert refused(desk.report(cl_ord_id="T-1-1", **fields)) == Anomaly.REPEATED
        assert order.cum_quantity == cum == desk.state.positions.quantity("ACC1", "AAPL")


# ---------------------------------------------------------------- orders that others have entered

PHONED: dict[str, Any] = {
    "symbol": "AAPL",
    "side": Side.SELL,
    "account": "ACC3",
    "quantity": 50,
    "price": 9_000,
}


def test_an_external_order_is_taken_over_counted_and_can_be_cancelled() -> None:
    desk = Desk()
    events = desk.report(kind=ExecType.NEW, cl_ord_id="phone 1", **PHONED)
    assert [type(event) for event in events] == [ev.OrderAdopted, ev.Reported]
    order = desk.state.order_of("phone 1")
    assert order is not None
    assert (order.owner, order.is_external, order.requests) == (Client("SIM", "external"), True, [])
    assert (order.terms.type, order.terms.quantity, order.terms.price) == (OrderType.LIMIT, 50, 9_000)
    assert desk.state.risk.exposure.node("firm/beta/ACC3").symbol("AAPL").sell.quantity == 50
    assert desk.ask(rq.Cancel(order.order_id), BOB) == Accepted(order.order_id)
    assert desk.sent == [CancelOrder("phone 1-1-2", "phone 1", "AAPL", Side.SELL)]
    desk.report(kind=ExecType.CANCELED, cl_ord_id="phone 1-1-2", orig_cl_ord_id="phone 1")
    assert order.status is OrdStatus.CANCELED


def test_ids_of_requests_for_external_orders_are_unique_however_they_are_called() -> None:
    """Some look like ours, some are all alike but for their ends."""
    desk = Desk()
    names = ["A", "B", "A-1", "A-2", "A-3", "T-1-1", "x" * 128, "x" * 127 + "y", "-", "1-2"]
    for name in names:
        desk.report(kind=ExecType.NEW, cl_ord_id=name, **PHONED)
    desk.ask(rq.MassCancel())
    ids = [message.cl_ord_id for message in desk.sent if isinstance(message, CancelOrder)]
    assert len(ids) == len(names)
    assert len({*ids, *names}) == 2 * len(names)
    assert max(map(len, ids)) <= EXTERNAL_ID_KEPT + 20
    for order, name, cl_ord_id in zip(desk.state.live_orders(), names, ids, strict=True):
        assert desk.state.order_of(name) is order
        assert desk.state.order_of(cl_ord_id) is order


def test_external_orders_are_forgotten_with_all_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "CLOSED_ORDERS_KEPT_MAX", 1)
    desk = Desk()
    for name in ("A", "B", "C"):
        desk.report(kind=ExecType.NEW, cl_ord_id=name, **PHONED)
        order = desk.state.order_of(name)
        assert order is not None
        desk.ask(rq.Cancel(order.order_id))
        desk.report(kind=ExecType.CANCELED, cl_ord_id=order.requests[0].cl_ord_id)
    assert list(desk.state.orders) == [3]
    known = [one for one in ("A", "B", "C", "A-1-2", "B-2-2", "C-3-2") if desk.state.order_of(one)]
    assert known == ["C", "C-3-2"]


def test_an_external_order_that_is_first_heard_of_as_open_is_taken_over() -> None:
    """While nobody was connected; what was filled of it before is missing, and that is said."""
    desk = Desk()
    desk.disconnect()
    desk.session.connected()
    desk.resume_end("")
    question = desk.sent.pop()
    assert isinstance(question, MassStatusRequest)
    events = desk.report(
        kind=ExecType.ORDER_STATUS,
        cl_ord_id="phone",
        ord_status=OrdStatus.PARTIALLY_FILLED,
        cum_quantity=20,
        **PHONED,
    )
    assert refused(events) == Anomaly.MISSING_EXECUTIONS
    desk.resume_end(question.request_id)
    order = desk.state.order_of("phone")
    assert order is not None
    assert (order.is_open, desk.session.phase) == (True, Phase.READY)


@pytest.mark.parametrize(
    "fields",
    [
        {**PHONED, "account": "ACC9"},
        {**PHONED, "account": ""},
        {**PHONED, "symbol": "NONE"},
        {**PHONED, "symbol": ""},
        {**PHONED, "side": None},
        {**PHONED, "quantity": None},
        {**PHONED, "quantity": 0},
        {**PHONED, "cl_ord_id": ""},
        {**PHONED, "kind": ExecType.CANCELED},
        {**PHONED, "kind": ExecType.TRADE, "exec_id": "e", "last_quantity": 5, "last_price": 5},
    ],
)
def test_what_says_too_little_is_not_taken_over(fields: dict[str, Any]) -> None:
    desk = Desk()
    events = desk.report(**{"kind": ExecType.NEW, "cl_ord_id": "phone", **fields})
    assert refused(events) == Anomaly.UNKNOWN_ORDER
    assert desk.state.orders == {}
    assert desk.state.venue("SIM").venue_seq == 1


def test_a_venue_cannot_report_about_another_ones_orders() -> None:
    desk = Desk()
    order = desk.working(terms())
    other = VenueSession("ELSEWHERE", "FIRM", desk.state, dict(INSTRUMENTS))
    for fields in (TRADE, {"kind": ExecType.NEW, **PHONED}):
        events, answers = other.report(Report(cl_ord_id="T-1-1", exec_id="e", venue_seq=0, **fields))
        assert refused(events) == Anomaly.UNKNOWN_ORDER
        assert answers == []
    assert order.cum_quantity == 0


# ---------------------------------------------------------------- what cannot be

IMPOSSIBLE: list[tuple[Anomaly, dict[str, Any]]] = [
    (Anomaly.OVER_FILL, {**TRADE, "exec_id": "x", "last_quantity": 91}),
    (Anomaly.UNKNOWN_EXECUTION, {"kind": ExecType.TRADE_CANCEL, "exec_id": "x", "exec_ref_id": "never"}),
    (
        Anomaly.UNKNOWN_EXECUTION,
        {**TRADE, "kind": ExecType.TRADE_CORRECT, "exec_id": "x", "exec_ref_id": "never"},
    ),
    (Anomaly.MALFORMED, {**TRADE, "exec_id": ""}),
    (Anomaly.MALFORMED, {"kind": ExecType.RESTATED, "cum_quantity": 0}),
    (Anomaly.REPEATED, {**TRADE, "exec_id": "e1"}),
    (Anomaly.UNKNOWN_ORDER, {"kind": ExecType.NEW, "cl_ord_id": "?"}),
]


@pytest.mark.parametrize(
    ("code", "fields"), IMPOSSIBLE, ids=[f"{n}-{code}" for n, (code, _) in enumerate(IMPOSSIBLE)]
)
def test_what_cannot_be_changes_nothing_and_is_there_for_people_to_see(
    code: Anomaly, fields: dict[str, Any]
) -> None:
    desk = Desk()
    order = desk.working(terms(100))
    desk.report(**TRADE, cl_ord_id="T-1-1", exec_id="e1")
    before = (order.status, order.cum_quantity, order.terms, order.requests, desk.state.positions.dump())
    events = desk.report(**{"cl_ord_id": "T-1-1", **fields})
    (event,) = events
    assert isinstance(event, ev.ReportRefused)
    assert event.code == code
    assert event.order_id == (None if code is Anomaly.UNKNOWN_ORDER else order.order_id)
    assert event.report.venue_seq == 3 == desk.state.venue("SIM").venue_seq
    assert (
        order.status,
        order.cum_quantity,
        order.terms,
        order.requests,
        desk.state.positions.dump(),
    ) == before
    assert desk.replayed().digest() == desk.state.digest()


def test_an_impossible_report_is_refused() -> None:
    desk = Desk()
    order = desk.working(terms(100))
    desk.report(kind=ExecType.CANCELED, cl_ord_id="T-1-1")
    assert refused(desk.report(kind=ExecType.NEW, cl_ord_id="T-1-1")) == Anomaly.IMPOSSIBLE_NOW
    assert order.status is OrdStatus.CANCELED


def test_every_anomaly_is_among_these() -> None:
    here = {code for code, _ in IMPOSSIBLE} | {Anomaly.IMPOSSIBLE_NOW, Anomaly.MISSING_EXECUTIONS}
    assert here == set(Anomaly)


# ---------------------------------------------------------------- what the venue works on


def test_what_the_venue_has_confirmed_as_pending_is_not_lost_with_the_connection() -> None:
    """It has it, and will answer: it is neither given up nor sent again."""
    desk = Desk()
    replaced, cancelled = desk.working(terms(100)), desk.working(terms(100))
    desk.ask(rq.Replace(replaced.order_id, quantity=120))
    desk.ask(rq.Cancel(cancelled.order_id))
    desk.report(kind=ExecType.PENDING_REPLACE, cl_ord_id="T-1-2")
    desk.report(kind=ExecType.PENDING_CANCEL, cl_ord_id="T-2-2")
    desk.disconnect()
    desk.sent.clear()
    desk.connect_again(replaced, cancelled)
    assert desk.sent == []
    assert (replaced.status, cancelled.status) == (OrdStatus.PENDING_REPLACE, OrdStatus.PENDING_CANCEL)
    desk.report(kind=ExecType.REPLACED, cl_ord_id="T-1-2", quantity=120)
    desk.report(kind=ExecType.CANCELED, cl_ord_id="T-2-2")
    assert (replaced.terms.quantity, cancelled.status) == (120, OrdStatus.CANCELED)


def test_a_lost_replacement_is_given_up_and_a_lost_cancel_sent_again_under_its_own_id() -> None:
    desk = Desk()
    order = desk.working(terms(100))
    desk.ask(rq.Replace(order.order_id, quantity=120))
    desk.ask(rq.Cancel(order.order_id))
    desk.disconnect()
    desk.sent.clear()
    desk.connect_again(order)
    assert desk.sent == [CancelOrder("T-1-3", "T-1-1", "AAPL", Side.BUY)]
    assert [request.kind for request in order.requests] == [RequestKind.CANCEL]
    assert order.reason == "not-received"


def test_an_order_that_was_refused_for_lost_and_is_filled_after_all_counts() -> None:
    """A venue that says it does not know an order, and then fills it: somebody owns what was bought."""
    desk = Desk()
    order = desk.submit(terms(100), ALICE)
    desk.disconnect()
    desk.connect_again()
    assert order.status is OrdStatus.REJECTED
    desk.report(**TRADE, cl_ord_id="T-1-1", exec_id="e1")
    assert (order.status, order.leaves_quantity) == (OrdStatus.PARTIALLY_FILLED, 90)
    assert desk.state.positions.quantity("ACC1", "AAPL") == 10
