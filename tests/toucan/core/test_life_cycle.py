"""The life cycle of an order: every cell of its table, what is not in it, and what holds after any reports in any order."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.core.desk import ALICE, Desk, terms

from toucan.core import requests as rq
from toucan.core.events import Reported, ReportRefused
from toucan.core.life_cycle import TRANSITIONS, anomaly, apply_report, is_repeated, kind_of
from toucan.core.order import PRECEDENCE, Execution, Order, OrderState, PendingRequest
from toucan.core.outcomes import Accepted, Anomaly
from toucan.core.values import ExecType, OrderType, OrdStatus, RequestKind, TimeInForce
from toucan.core.venue_messages import CancelOrder, Report

_EXECUTIONS = (ExecType.TRADE, ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT)


def make(state: OrderState, **more: Any) -> Order:
    """An order of 100 that got into a state as orders do, with a fill of 10 before unless nothing can have been filled yet."""
    values: dict[str, Any] = {
        "order_id": 1, "terms": terms(100), "owner": ALICE, "venue": "SIM", "cl_ord_id": "X-1", "first_cl_ord_id": "X-1",
        "created_ns": 0,
    }  # fmt: skip
    order = Order(**{**values, **more})
    order.requests.append(PendingRequest(RequestKind.NEW, "X-1"))
    if state is OrderState.PENDING_NEW:
        return order
    trade = Report(ExecType.TRADE, "X-1", exec_id="e1", last_quantity=10, last_price=10_000)
    end = {
        OrderState.CANCELED: ExecType.CANCELED,
        OrderState.EXPIRED: ExecType.EXPIRED,
        OrderState.REJECTED: ExecType.REJECTED,
    }.get(state)
    for report in (Report(ExecType.NEW, "X-1"), trade, *([Report(end, "X-1")] if end else [])):
        assert anomaly(order, report) is None
        apply_report(order, report)
    assert order.state is state
    return order


def report_of(kind: ExecType) -> Report:
    """A report of a kind with all that it needs, about the fill that :func:`make` makes."""
    more: dict[str, Any] = {}
    if kind in _EXECUTIONS:
        more["exec_id"] = "e2"
    if kind is not ExecType.TRADE:
        more["exec_ref_id"] = "e1"
    if kind in (ExecType.TRADE, ExecType.TRADE_CORRECT):
        more |= {"last_quantity": 5, "last_price": 10_100}
    return Report(kind, "X-1", **more)


# ---------------------------------------------------------------- the table

CELLS = [(state, kind) for state, row in TRANSITIONS.items() for kind in row]
NO_CELLS = [(state, kind) for state in OrderState for kind in ExecType if kind not in TRANSITIONS[state]]


@pytest.mark.parametrize(("state", "kind"), CELLS, ids=[f"{state.name}-{kind.name}" for state, kind in CELLS])
def test_every_cell_is_reached(state: OrderState, kind: ExecType) -> None:
    order = make(state)
    report = report_of(kind)
    assert anomaly(order, report) is None
    apply_report(order, report)
    assert order.state is TRANSITIONS[state][kind]
    if order.state is not OrderState.PENDING_NEW:
        assert order.request("X-1") is None  # what is known to have arrived is not in flight


@pytest.mark.parametrize(
    ("state", "kind"), NO_CELLS, ids=[f"{state.name}-{kind.name}" for state, kind in NO_CELLS]
)
def test_what_is_not_in_the_table_cannot_be(state: OrderState, kind: ExecType) -> None:
    order = make(state)
    before = msgspec.msgpack.encode(order)
    problem = anomaly(order, report_of(kind))
    assert problem is not None
    assert problem[0] is Anomaly.IMPOSSIBLE_NOW
    assert kind.name in problem[1]
    assert order.status.name in problem[1]
    assert msgspec.msgpack.encode(order) == before


def test_nothing_is_executed_before_the_first_trade() -> None:
    """So an order that is not acknowledged has no bust and no correction in its row."""
    assert not {ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT} & set(TRANSITIONS[OrderState.PENDING_NEW])
    every_other = [state for state in OrderState if state is not OrderState.PENDING_NEW]
    assert all(
        {ExecType.TRADE, ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT} <= set(TRANSITIONS[one])
        for one in every_other
    )


# ---------------------------------------------------------------- what reports come to


@pytest.mark.parametrize("status", OrdStatus)
def test_a_status_says_what_an_acknowledgement_or_an_end_would_have_said(status: OrdStatus) -> None:
    report = Report(ExecType.ORDER_STATUS, "X-1", ord_status=status)
    ends = {
        OrdStatus.CANCELED: ExecType.CANCELED,
        OrdStatus.EXPIRED: ExecType.EXPIRED,
        OrdStatus.REJECTED: ExecType.REJECTED,
    }
    expected = ends.get(status, ExecType.ORDER_STATUS if status is OrdStatus.PENDING_NEW else ExecType.NEW)
    assert kind_of(make(OrderState.PENDING_NEW), report) is expected
    assert kind_of(make(OrderState.WORKING), report) is ends.get(status, ExecType.ORDER_STATUS)
    for state in (OrderState.CANCELED, OrderState.REJECTED, OrderState.EXPIRED):
        assert kind_of(make(state), report) is ExecType.ORDER_STATUS


def test_a_rejection_with_another_status_is_about_a_second_copy() -> None:
    order = make(OrderState.WORKING)
    apply_report(order, Report(ExecType.REJECTED, "X-1", ord_status=OrdStatus.PARTIALLY_FILLED))
    assert order.state is OrderState.WORKING
    apply_report(order, Report(ExecType.REJECTED, "X-1", ord_status=OrdStatus.REJECTED))
    assert order.status is OrdStatus.REJECTED


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (Report(ExecType.TRADE, "X-1", last_quantity=5, last_price=1), Anomaly.MALFORMED),  # without an exec_id
        (Report(ExecType.TRADE, "X-1", exec_id="e2", last_price=1), Anomaly.MALFORMED),
        (Report(ExecType.TRADE, "X-1", exec_id="e2", last_quantity=-5, last_price=1), Anomaly.MALFORMED),
        (Report(ExecType.TRADE, "X-1", exec_id="e2", last_quantity=5), Anomaly.MALFORMED),
        (Report(ExecType.TRADE, "X-1", exec_id="e2", last_quantity=5, last_price=0), Anomaly.MALFORMED),
        (Report(ExecType.TRADE, "X-1", exec_id="e2", last_quantity=91, last_price=1), Anomaly.OVER_FILL),
        (Report(ExecType.TRADE_CANCEL, "X-1", exec_id="e2", exec_ref_id="e9"), Anomaly.UNKNOWN_EXECUTION),
        (Report(ExecType.TRADE_CANCEL, "X-1", exec_ref_id="e1"), Anomaly.MALFORMED),
        (
            Report(ExecType.TRADE_CORRECT, "X-1", exec_id="e2", exec_ref_id="e1", last_quantity=101, last_price=1),
            Anomaly.OVER_FILL,
        ),
        (Report(ExecType.TRADE_CORRECT, "X-1", exec_id="e2", exec_ref_id="e1", last_price=1), Anomaly.MALFORMED),
        (Report(ExecType.RESTATED, "X-1", quantity=0), Anomaly.MALFORMED),
        (Report(ExecType.RESTATED, "X-1", quantity=9), Anomaly.MALFORMED),  # less than is filled
        (Report(ExecType.RESTATED, "X-1", cum_quantity=0), Anomaly.MALFORMED),  # a bust would do that
        (Report(ExecType.RESTATED, "X-1", cum_quantity=-1), Anomaly.MALFORMED),
        (Report(ExecType.RESTATED, "X-1", quantity=5, cum_quantity=5), Anomaly.MALFORMED),  # no split scales only one of them
        (Report(ExecType.RESTATED, "X-1", price=0), Anomaly.MALFORMED),
        (Report(ExecType.RESTATED, "X-1", stop_price=-5), Anomaly.MALFORMED),
    ],
)  # fmt: skip
def test_a_report_that_cannot_be_is_refused(report: Report, code: Anomaly) -> None:
    order = make(OrderState.WORKING)
    problem = anomaly(order, report)
    assert problem is not None
    assert problem[0] is code


def test_a_fill_up_to_the_quantity_passes_and_one_more_does_not() -> None:
    order = make(OrderState.WORKING)
    last = Report(ExecType.TRADE, "X-1", exec_id="e2", last_quantity=90, last_price=1)
    assert anomaly(order, last) is None
    apply_report(order, last)
    assert order.status is OrdStatus.FILLED
    one_more = Report(ExecType.TRADE, "X-1", exec_id="e3", last_quantity=1, last_price=1)
    assert anomaly(order, one_more) is not None
    order.requests.append(PendingRequest(RequestKind.REPLACE, "X-2", terms=terms(101)))
    assert anomaly(order, one_more) is None  # the replacement may be in force, its report still to come


def test_reports_that_would_change_something_twice_count_once() -> None:
    order = make(OrderState.WORKING)
    replaced = Report(ExecType.RESTATED, "X-1", exec_id="r1", quantity=80)
    apply_report(order, replaced)
    apply_report(order, Report(ExecType.RESTATED, "X-1", exec_id="r2", quantity=90))
    assert is_repeated(order, replaced)
    assert not is_repeated(order, Report(ExecType.RESTATED, "X-1", exec_id="r3", quantity=80))
    assert is_repeated(
        order, Report(ExecType.TRADE, "X-1", exec_id="e1", last_quantity=10, last_price=10_000)
    )


def test_a_replacement_told_again_later_changes_nothing() -> None:
    desk = Desk()
    order = desk.working(terms(100))
    for number, quantity in enumerate((200, 300), 2):
        desk.ask(rq.Replace(order.order_id, quantity=quantity))
        desk.report(
            kind=ExecType.REPLACED, cl_ord_id=f"T-1-{number}", exec_id=f"r{number}", quantity=quantity
        )
    events = desk.report(kind=ExecType.REPLACED, cl_ord_id="T-1-2", exec_id="r2", quantity=200)
    assert [type(event) for event in events] == [ReportRefused]
    assert order.terms.quantity == 300


def test_the_order_id_of_no_order_is_not_taken_over() -> None:
    order = make(OrderState.PENDING_NEW)
    apply_report(order, Report(ExecType.CANCEL_REJECT, "X-2", venue_order_id="NONE", reason="unknown-order"))
    assert order.venue_order_id == ""
    apply_report(order, Report(ExecType.NEW, "X-1", venue_order_id="V7"))
    assert order.venue_order_id == "V7"


# ---------------------------------------------------------------- corrections, splits


def test_a_correction_is_corrected_by_either_name_and_busted_by_either() -> None:
    order = make(OrderState.WORKING)
    steps = [
        (ExecType.TRADE_CORRECT, "c1", "e1", 20, 9_000),
        (ExecType.TRADE_CORRECT, "c2", "c1", 30, 8_000),
        (ExecType.TRADE_CORRECT, "c3", "e1", 40, 7_000),
    ]
    for kind, exec_id, ref, quantity, price in steps:
        report = Report(
            kind, "X-1", exec_id=exec_id, exec_ref_id=ref, last_quantity=quantity, last_price=price
        )
        assert anomaly(order, report) is None
        effect = apply_report(order, report)
        assert effect is not None
        assert (effect.exec_id, effect.quantity, effect.price) == ("e1", quantity, price)
        assert (order.cum_quantity, order.cum_notional) == (quantity, quantity * price)
    bust = Report(ExecType.TRADE_CANCEL, "X-1", exec_id="b1", exec_ref_id="c2")
    effect = apply_report(order, bust)
    assert effect is not None
    assert (effect.quantity, effect.old_quantity, effect.old_price) == (0, 40, 7_000)
    assert (order.cum_quantity, order.cum_notional, order.average_price) == (0, 0, None)
    again = Report(ExecType.TRADE_CANCEL, "X-1", exec_id="b2", exec_ref_id="e1")
    assert anomaly(order, again) is not None


def test_a_split_of_the_shares_changes_quantities_and_not_what_was_paid() -> None:
    order = make(OrderState.WORKING)
    apply_report(order, Report(ExecType.RESTATED, "X-1", quantity=200, price=5_000, cum_quantity=20))
    assert (order.cum_quantity, order.terms.quantity, order.terms.price) == (20, 200, 5_000)
    assert order.executions == {"e1": Execution(20, 5_000, 0)}
    assert order.cum_notional == 10 * 10_000
    apply_report(order, Report(ExecType.TRADE_CANCEL, "X-1", exec_id="b", exec_ref_id="e1"))
    assert (order.cum_quantity, order.cum_notional) == (0, 0)


@pytest.mark.parametrize(
    ("quantity", "price", "cum"),
    [(None, None, 0), (0, None, None), (5, None, None), (50, 0, None), (5, None, 5)],
)
def test_a_replacement_that_nobody_asked_for_cannot_say_anything_either(
    quantity: int | None, price: int | None, cum: int | None
) -> None:
    order = make(OrderState.WORKING)
    report = Report(ExecType.REPLACED, "theirs", quantity=quantity, price=price, cum_quantity=cum)
    assert anomaly(order, report) is not None
    apply_report(order, Report(ExecType.REPLACED, "theirs", quantity=50, price=9_500, cum_quantity=10))
    assert (order.terms.quantity, order.terms.price, order.cum_quantity) == (50, 9_500, 10)


def test_a_restatement_with_other_fills_is_a_split_only_if_the_quantity_says_so() -> None:
    order = make(OrderState.WORKING)
    apply_report(order, Report(ExecType.RESTATED, "X-1", quantity=120, cum_quantity=20))
    assert (order.terms.quantity, order.cum_quantity) == (120, 10)
    apply_report(order, Report(ExecType.RESTATED, "X-1", quantity=240, cum_quantity=20))
    assert (order.terms.quantity, order.cum_quantity) == (240, 20)


def test_a_market_order_is_not_given_a_price() -> None:
    order = make(OrderState.WORKING, terms=terms(100, None))
    assert order.terms.type is OrderType.MARKET
    apply_report(order, Report(ExecType.RESTATED, "X-1", quantity=90, price=5))
    assert (order.terms.quantity, order.terms.price) == (90, None)


# ---------------------------------------------------------------- what may still happen to an order


def test_a_filled_order_may_execute_while_it_may_grow() -> None:
    order = make(OrderState.WORKING)
    apply_report(order, Report(ExecType.TRADE, "X-1", exec_id="e2", last_quantity=90, last_price=10_000))
    assert not order.may_execute
    order.requests.append(PendingRequest(RequestKind.REPLACE, "X-2", terms=terms(150, 10_500)))
    assert order.may_execute
    assert not order.is_open
    assert order.worst_terms == (50, 10_500, None)


def test_a_day_order_done_for_the_day_has_nothing_left_and_others_have() -> None:
    for time_in_force, leaves in ((TimeInForce.DAY, 0), (TimeInForce.GTC, 90)):
        order = make(OrderState.WORKING, terms=terms(100, time_in_force=time_in_force))
        apply_report(order, Report(ExecType.DONE_FOR_DAY, "X-1"))
        assert order.leaves_quantity == leaves
        assert order.status is OrdStatus.DONE_FOR_DAY
        apply_report(order, Report(ExecType.RESTATED, "X-1"))
        assert (order.leaves_quantity, order.status) == (90, OrdStatus.PARTIALLY_FILLED)


def test_the_next_request_names_the_last_one_that_may_be_accepted() -> None:
    desk = Desk()
    order = desk.working(terms(100))
    assert isinstance(desk.ask(rq.Replace(order.order_id, quantity=200)), Accepted)
    assert order.orig_cl_ord_id == "T-1-2"
    desk.ask(rq.Cancel(order.order_id))
    assert desk.sent[-1] == CancelOrder("T-1-3", "T-1-2", "AAPL", order.terms.side)
    desk.report(kind=ExecType.CANCEL_REJECT, cl_ord_id="T-1-2")
    assert order.orig_cl_ord_id == "T-1-1"


# ---------------------------------------------------------------- any reports in any order

ids = st.sampled_from(["X-1", "X-2", "X-3"])
reports = st.builds(
    Report,
    st.sampled_from(ExecType),
    ids,
    exec_id=st.sampled_from(["", *(f"e{number}" for number in range(8))]),
    exec_ref_id=st.sampled_from([f"e{number}" for number in range(8)]),
    last_quantity=st.integers(-1, 60),
    last_price=st.one_of(st.none(), st.integers(0, 3)),
    ord_status=st.one_of(st.none(), st.sampled_from(OrdStatus)),
    quantity=st.one_of(st.none(), st.integers(0, 150)),
    price=st.one_of(st.none(), st.integers(0, 3)),
    cum_quantity=st.sampled_from([None, 0, -1]),  # splits are for the tests above
)


def in_flight() -> Order:
    """An order of 100 with a replacement to 120 and a cancel in flight."""
    order = make(OrderState.PENDING_NEW)
    order.requests.append(PendingRequest(RequestKind.REPLACE, "X-2", terms=terms(120)))
    order.requests.append(PendingRequest(RequestKind.CANCEL, "X-3"))
    return order


def expected_status(order: Order) -> OrdStatus:
    """By the words of FIX 4.4, without the order's own arithmetic."""
    executed = sum(one.quantity for one in order.executions.values())
    own = {
        OrderState.PENDING_NEW: OrdStatus.PENDING_NEW,
        OrderState.WORKING: OrdStatus.NEW,
        OrderState.CANCELED: OrdStatus.CANCELED,
        OrderState.REJECTED: OrdStatus.REJECTED,
        OrderState.EXPIRED: OrdStatus.EXPIRED,
    }[order.state]
    applies = {own}
    if executed and order.state is not OrderState.REJECTED:
        is_full = executed >= order.terms.quantity
        applies.add(OrdStatus.FILLED if is_full else OrdStatus.PARTIALLY_FILLED)
    for mark, status in (
        (order.is_done_for_day, OrdStatus.DONE_FOR_DAY),
        (order.is_stopped, OrdStatus.STOPPED),
        (order.is_suspended, OrdStatus.SUSPENDED),
    ):
        if mark:
            applies.add(status)
    for request in order.requests:
        if request.is_acknowledged and request.kind is RequestKind.CANCEL:
            applies.add(OrdStatus.PENDING_CANCEL)
        if request.is_acknowledged and request.kind is RequestKind.REPLACE:
            applies.add(OrdStatus.PENDING_REPLACE)
    return next(status for status in sorted(applies, key=lambda one: -PRECEDENCE[one]))


@settings(deadline=None)
@given(st.lists(reports, max_size=12))
def test_an_order_adds_up_whatever_is_reported(told: list[Report]) -> None:
    order = in_flight()
    effects: dict[str, tuple[int, int]] = {}
    for report in told:
        if is_repeated(order, report) or anomaly(order, report) is not None:
            continue
        effect = apply_report(order, report)
        if effect is not None:
            assert effects.get(effect.exec_id, (0, 0))[0] == effect.old_quantity
            effects[effect.exec_id] = (effect.quantity, effect.price)
        counted = list(order.executions.values())
        assert order.cum_quantity == sum(one.quantity for one in counted)
        assert order.cum_notional == sum(one.quantity * one.price for one in counted)
        assert 0 <= order.cum_quantity <= max(120, order.terms.quantity)
        assert (
            order.leaves_quantity == 0 or order.cum_quantity + order.leaves_quantity == order.terms.quantity
        )
        assert order.leaves_quantity <= order.worst_terms[0]
        assert order.status is expected_status(order)
        if order.state in (OrderState.CANCELED, OrderState.REJECTED, OrderState.EXPIRED):
            assert order.leaves_quantity == 0
            assert order.requests == []
    assert {key: one for key, one in effects.items() if one[0]} == {
        key: (one.quantity, one.price) for key, one in order.executions.items()
    }


@settings(deadline=None, max_examples=60)
@given(st.lists(reports, min_size=1, max_size=10), st.data())
def test_a_report_told_again_under_a_new_number_changes_nothing(
    told: list[Report], data: st.DataObject
) -> None:
    """As far as its venue gave it an exec_id; what has none is either a question's answer or changes nothing when told twice."""
    once, twice = Desk(), Desk()
    for desk in (once, twice):
        desk.submit(terms(100))
        desk.ask(rq.Replace(1, quantity=120))
    seen: list[dict[str, Any]] = []
    for report in told:
        fields = {**msgspec.structs.asdict(report), "cl_ord_id": report.cl_ord_id.replace("X", "T-1")}
        del fields["venue_seq"]
        events = once.report(**fields)
        twice.report(**fields)
        if (
            any(isinstance(event, Reported) for event in events)
            and report.exec_id
            and report.kind in _EXECUTIONS
        ):
            seen.append(fields)
        if seen:
            again = twice.report(**data.draw(st.sampled_from(seen)))
            assert all(isinstance(event, ReportRefused) for event in again)
    assert order_of(once) == order_of(twice)
    assert once.state.positions.dump() == twice.state.positions.dump()


def order_of(desk: Desk) -> dict[str, Any]:
    """The first order, without the number of the event that changed it last."""
    values = msgspec.structs.asdict(desk.state.orders[1])
    del values["updated_seq"]
    return values
