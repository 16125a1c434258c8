"""What happens because time passes: grace times, orders that their venue forgot to end, clients who never come back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.core.desk import ALICE, BOB, INSTRUMENTS, START_NS, Desk, terms

from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core import timers as timers_module
from toucan.core.decide import Decider
from toucan.core.limits import CLIENT_IDLE_NS
from toucan.core.order import Client, Order
from toucan.core.outcomes import Accepted, Done
from toucan.core.state import EngineState
from toucan.core.timers import CANCEL_AGAIN_NS, OVERDUE_NS, Timers
from toucan.core.values import ExecType, OrderType, Side, TimeInForce, TradingLevel
from toucan.core.venue_messages import CancelOrder

S = 1_000_000_000


def opened(desk: Desk, grace_s: float | None, client: Client = ALICE) -> int:
    """A session stream begins; gives the number by which its front end will name it."""
    grace_ns = None if grace_s is None else int(grace_s * S)
    assert desk.ask(rq.OpenSession(grace_ns), client, number=0) == Done()
    return desk.state.seq


def broken(desk: Desk, opened_seq: int = 0, client: Client = ALICE) -> None:
    """Its front end lost it."""
    assert desk.ask(rq.SessionBroken(opened_seq), client, number=0) == Done()


def cancelled(events: list[ev.Event]) -> list[int]:
    return [event.order_id for event in events if isinstance(event, ev.CancelRequested)]


# ---------------------------------------------------------------- cancels that a venue has refused

AGAIN_S = CANCEL_AGAIN_NS / S


def refuse_cancel(desk: Desk, order: Order) -> None:
    """The venue does not carry out the cancel that is under way."""
    (request,) = order.requests
    desk.report(
        kind=ExecType.CANCEL_REJECT,
        cl_ord_id=request.cl_ord_id,
        reason="halted",
        text="not while it is halted",
    )


def disconnected(desk: Desk) -> Order:
    """An order that is being cancelled, since nobody is there any more."""
    number = opened(desk, 0)
    order = desk.working(terms())
    broken(desk, number)
    assert cancelled(desk.pass_time(0)) == [order.order_id]
    return order


def test_the_engines_own_cancel_is_asked_for_again_until_it_passes() -> None:
    desk = Desk()
    order = disconnected(desk)
    for _ in range(3):
        refuse_cancel(desk, order)
        assert (order.is_open, order.requests, order.reason) == (True, [], "halted")
        assert desk.pass_time(AGAIN_S - 0.001) == []
        (event,) = desk.pass_time(0.001)
        assert isinstance(event, ev.CancelRequested)
        assert (event.by, event.why) == (ev.ENGINE, "disconnected")
        assert desk.pass_time(10 * AGAIN_S) == []  # it is under way
    desk.report(kind=ExecType.CANCELED, cl_ord_id=order.requests[0].cl_ord_id)
    assert desk.pass_time(10 * AGAIN_S) == []
    assert desk.state.digest() == desk.replayed().digest()


def test_a_cancel_that_a_client_asked_for_is_his_to_ask_for_again() -> None:
    desk = Desk()
    order = desk.working(terms())
    desk.ask(rq.Cancel(order.order_id))
    refuse_cancel(desk, order)
    assert desk.pass_time(10 * AGAIN_S) == []


def test_a_restart_forgets_no_refused_cancel() -> None:
    desk = Desk()
    refuse_cancel(desk, disconnected(desk))
    after = desk.restarted()
    assert cancelled(after.pass_time(AGAIN_S)) == [1]


def test_a_refused_cancel_waits_while_it_cannot_be_asked_for_again() -> None:
    desk = Desk()
    order = disconnected(desk)
    refuse_cancel(desk, order)
    desk.ask(rq.SetLevel("firm", TradingLevel.FREEZE, "why"), BOB)
    assert desk.pass_time(AGAIN_S) == []
    desk.ask(rq.SetLevel("firm", TradingLevel.NORMAL, "why"), BOB)
    desk.ask(rq.Cancel(order.order_id), BOB)
    assert desk.pass_time(AGAIN_S) == []
    refuse_cancel(desk, order)
    assert cancelled(desk.pass_time(AGAIN_S)) == [order.order_id]


def test_an_order_that_ends_meanwhile_is_not_asked_for() -> None:
    desk = Desk()
    order = disconnected(desk)
    refuse_cancel(desk, order)
    desk.report(
        kind=ExecType.TRADE, cl_ord_id=order.cl_ord_id, exec_id="e1", last_quantity=100, last_price=10_000
    )
    assert desk.pass_time(AGAIN_S) == []


def test_a_reduce_only_order_that_only_reduces_again_is_left_alone() -> None:
    desk = Desk()
    desk.ask(rq.AdjustPosition("ACC1", "alice", "AAPL", 100, 10_000, "why"), BOB)
    order = desk.working(terms(side=Side.SELL, reduce_only=True))
    for held in (-1, 1, -1):  # with 99 it is too large, with 100 it is not
        desk.ask(rq.AdjustPosition("ACC1", "alice", "AAPL", held, 10_000, "why"), BOB)
        if held < 0:
            refuse_cancel(desk, order)
        else:
            assert desk.pass_time(AGAIN_S) == []
    (event,) = desk.pass_time(AGAIN_S)
    assert isinstance(event, ev.CancelRequested)
    assert event.why == "reduce-only"


# ---------------------------------------------------------------- cancel on disconnect


def test_a_broken_session_cancels_its_orders_when_its_grace_time_is_over() -> None:
    desk = Desk()
    opened(desk, 10)
    orders = [desk.working(terms()), desk.submit(terms())]
    other = desk.working(terms(), Client("alice", "robot"))
    broken(desk)
    assert desk.pass_time(9.999_999_999) == []
    events = desk.pass_time(0.000_000_001)
    assert events[0] == ev.SessionEnded(ALICE, is_orderly=False)
    assert cancelled(events) == [order.order_id for order in orders]
    assert {event.why for event in events if isinstance(event, ev.CancelRequested)} == {"disconnected"}
    assert not other.is_asked_to_cancel()
    assert desk.pass_time(3600) == []  # once
    assert len([message for message in desk.sent if isinstance(message, CancelOrder)]) == 2


def test_without_a_grace_time_that_was_asked_for_orders_stay() -> None:
    desk = Desk()
    opened(desk, None)
    order = desk.working(terms())
    broken(desk)
    assert desk.pass_time(10**6) == []
    assert order.is_open


def test_a_grace_time_of_nothing_is_over_at_the_next_look() -> None:
    desk = Desk()
    opened(desk, 0)
    desk.working(terms())
    broken(desk)
    assert cancelled(desk.pass_time(0)) == [1]


def test_an_orderly_logout_keeps_orders() -> None:
    desk = Desk()
    opened(desk, 10)
    order = desk.working(terms())
    assert desk.ask(rq.CloseSession(), number=0) == Done()
    broken(desk)  # the socket ends after that, too
    assert desk.pass_time(3600) == []
    assert order.is_open
    assert desk.events[-1][2] == ev.SessionEnded(ALICE, is_orderly=True)
    assert desk.ask(rq.CloseSession(), number=0) == Done()


def test_a_logout_that_comes_late_does_not_end_the_session_that_was_opened_after_it() -> None:
    """Of an old front end, say, which was asked to log out before the client went elsewhere."""
    desk = Desk()
    first, second = opened(desk, 10), opened(desk, 10)
    order = desk.working(terms())
    assert desk.ask(rq.CloseSession(first), number=0) == Done()
    assert not any(isinstance(event, ev.SessionEnded) for _, _, event in desk.events)
    broken(desk, second)
    assert cancelled(desk.pass_time(10)) == [order.order_id]
    third = opened(desk, 10)
    assert desk.ask(rq.CloseSession(third), number=0) == Done()
    assert desk.events[-1][2] == ev.SessionEnded(ALICE, is_orderly=True)


def test_who_comes_back_in_time_keeps_his_orders() -> None:
    desk = Desk()
    first = opened(desk, 10)
    order = desk.working(terms())
    broken(desk, first)
    desk.pass_time(9)
    second = opened(desk, 10)
    assert desk.pass_time(3600) == []
    assert order.is_open
    broken(desk, second)
    assert cancelled(desk.pass_time(10)) == [order.order_id]


def test_a_session_that_was_taken_over_does_not_end_the_one_that_took_it_over() -> None:
    """Another front end has it by now; that the first one has lost it says nothing."""
    desk = Desk()
    first = opened(desk, 1)
    order = desk.working(terms())
    second = opened(desk, 1)
    broken(desk, first)
    assert desk.pass_time(3600) == []
    broken(desk, second)
    broken(desk, first)
    assert cancelled(desk.pass_time(1)) == [order.order_id]


def test_broken_twice_the_grace_time_runs_from_the_first() -> None:
    desk = Desk()
    number = opened(desk, 10)
    desk.working(terms())
    broken(desk, number)
    desk.pass_time(6)
    broken(desk, number)
    assert cancelled(desk.pass_time(4)) == [1]


def test_an_engine_that_starts_counts_every_session_as_lost_from_then_on() -> None:
    desk = Desk()
    opened(desk, 10)
    opened(desk, 20, BOB)
    mine, his = desk.working(terms()), desk.working(terms(), BOB)
    desk.now_ns += 3600 * S  # it was away for an hour
    desk.apply([ev.EngineStarted(2, "test")])
    desk.connect_again(mine, his)
    assert desk.pass_time(9.9) == []
    assert cancelled(desk.pass_time(0.1)) == [mine.order_id]
    opened(desk, 20, BOB)
    assert desk.pass_time(100) == []
    assert his.is_open


def test_a_grace_time_that_had_begun_goes_on_over_a_restart() -> None:
    desk = Desk()
    opened(desk, 10)
    order = desk.working(terms())
    broken(desk)
    desk.now_ns += 6 * S
    desk.apply([ev.EngineStarted(2, "test")])
    desk.connect_again(order)
    assert cancelled(desk.pass_time(4)) == [order.order_id]


def test_what_is_being_cancelled_is_not_asked_twice() -> None:
    desk = Desk()
    opened(desk, 1)
    order = desk.working(terms())
    desk.ask(rq.Cancel(order.order_id))
    broken(desk)
    assert desk.pass_time(1) == [ev.SessionEnded(ALICE, is_orderly=False)]


def test_a_filled_order_that_may_still_grow_is_cancelled_too() -> None:
    desk = Desk()
    opened(desk, 1)
    order = desk.working(terms(100))
    desk.report(kind=ExecType.TRADE, cl_ord_id="T-1-1", exec_id="f", last_quantity=100, last_price=1)
    desk.ask(rq.Replace(order.order_id, quantity=200))
    broken(desk)
    assert cancelled(desk.pass_time(1)) == [order.order_id]


# ---------------------------------------------------------------- orders that are overdue


def test_an_order_that_is_overdue_when_a_grace_time_ends_is_cancelled_once() -> None:
    desk = Desk()
    opened(desk, 6)
    order = desk.working(terms(time_in_force=TimeInForce.GTD, expire_at_ns=START_NS + S))
    other = desk.working(terms())
    broken(desk)
    assert cancelled(desk.pass_time(6)) == [order.order_id, other.order_id]
    assert len({message.cl_ord_id for message in desk.sent if isinstance(message, CancelOrder)}) == 2


@pytest.mark.parametrize("time_in_force", [TimeInForce.DAY, TimeInForce.GTD])
def test_an_order_that_its_venue_should_have_ended_is_cancelled(time_in_force: TimeInForce) -> None:
    desk = Desk()
    end_ns = START_NS + 10 * 3600 * S
    expire_at_ns = end_ns if time_in_force is TimeInForce.GTD else None
    order = desk.working(terms(time_in_force=time_in_force, expire_at_ns=expire_at_ns))
    assert order.expire_at_ns == end_ns
    desk.now_ns = end_ns
    assert desk.pass_time(OVERDUE_NS / S - 0.001) == []
    events = desk.pass_time(0.001)
    assert cancelled(events) == [order.order_id]
    assert isinstance(events[0], ev.CancelRequested)
    assert (events[0].why, events[0].by) == ("expired", ev.ENGINE)
    assert desk.pass_time(3600) == []


def test_an_order_that_has_ended_in_time_is_left_alone() -> None:
    desk = Desk()
    order = desk.working(terms(time_in_force=TimeInForce.DAY))
    desk.report(kind=ExecType.EXPIRED, cl_ord_id=order.cl_ord_id)
    assert desk.pass_time(24 * 3600) == []
    desk.working(terms(time_in_force=TimeInForce.GTC))
    assert desk.pass_time(24 * 3600) == []


def test_timers_are_found_again_in_the_state() -> None:
    """What the engine keeps beside it only spares looking."""
    desk = Desk()
    opened(desk, 10)
    desk.working(terms(time_in_force=TimeInForce.DAY))
    desk.working(terms(time_in_force=TimeInForce.GTD, expire_at_ns=START_NS + S), BOB)
    broken(desk)
    state = EngineState.load(desk.state.dump())
    timers = Timers(Decider(state, INSTRUMENTS, "T"))
    found = []
    for now_ns in (START_NS + 6 * S, START_NS + 10 * S, START_NS + 11 * 3600 * S):
        events = timers.tick(now_ns)
        assert events == desk.timers.tick(now_ns)
        found.append(len(events))
    assert found == [
        1,
        2,
        2,
    ]  # the second order; the session and its order; again, since nothing was applied, the order by its end


# ---------------------------------------------------------------- clients that are forgotten


@pytest.fixture
def _small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers_module, "CLIENTS_FORGET_FROM", 3)


@pytest.mark.usefixtures("_small_table")
def test_idle_clients_are_forgotten_when_there_are_many() -> None:
    desk = Desk()
    here, away, busy, gone = (Client("u", name) for name in ("here", "away", "busy", "gone"))
    opened(desk, None, here)
    opened(desk, None, away)
    broken(desk, client=away)  # without an end of its own, and without a grace time
    desk.working(terms(), busy)
    desk.ask(rq.Cancel(99), gone)
    desk.now_ns += CLIENT_IDLE_NS - 1
    assert desk.pass_time(0) == []
    assert desk.pass_time(1e-9) == [ev.ClientsForgotten((away, gone))]
    assert list(desk.state.clients) == [here, busy]
    assert desk.ask(rq.Submit(terms()), gone, number=1) == Accepted(2)
    assert desk.replayed().digest() == desk.state.digest()


@pytest.mark.usefixtures("_small_table")
def test_nobody_is_forgotten_while_there_are_few() -> None:
    desk = Desk()
    for name in ("one", "two"):
        desk.ask(rq.Cancel(99), Client("u", name))
    desk.now_ns += CLIENT_IDLE_NS * 10
    assert desk.pass_time(0) == []


@pytest.mark.usefixtures("_small_table")
def test_whose_grace_time_runs_is_not_forgotten() -> None:
    desk = Desk()
    clients = [Client("u", name) for name in ("one", "two", "three")]
    for client in clients:
        opened(desk, 30 * 24 * 3600, client)
        broken(desk, client=client)
    desk.now_ns += CLIENT_IDLE_NS
    assert desk.pass_time(1) == []


# ---------------------------------------------------------------- any course of a session

actions = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.sampled_from([None, 0, 5, 30])),
        st.tuples(st.just("broken"), st.integers(0, 3)),
        st.tuples(st.just("close"), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([1, 4, 10, 29])),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("submit"), st.none()),
    ),
    max_size=15,
)


@settings(deadline=None, max_examples=80)
@given(actions)
def test_orders_are_cancelled_exactly_when_a_lost_session_was_not_taken_up_in_time(
    course: list[tuple[str, int | None]],
) -> None:
    """Against the rule, computed anew from the whole course."""
    desk = Desk()
    streams: list[int] = []
    grace_s: int | None = None
    is_open, lost_at_ns = False, None
    expected: set[int] = set()
    for action, value in course:
        if action == "open":
            streams.append(opened(desk, value))
            grace_s, is_open, lost_at_ns = value, True, None
        elif action == "broken" and streams:
            stream = streams[-1 - min(value or 0, len(streams) - 1)]
            broken(desk, stream)
            if is_open and lost_at_ns is None and stream == streams[-1]:
                lost_at_ns = desk.now_ns
        elif action == "close":
            desk.ask(rq.CloseSession(), number=0)
            is_open, lost_at_ns = False, None
        elif action == "restart":
            desk.apply([ev.EngineStarted(desk.state.epoch + 1, "test")])
            desk.connect_again(*desk.state.live_orders())
            if is_open and lost_at_ns is None:
                lost_at_ns = desk.now_ns
        elif action == "submit":
            desk.working(terms(type=OrderType.LIMIT))
        desk.pass_time(value or 0 if action == "wait" else 0)
        if lost_at_ns is not None and grace_s is not None and lost_at_ns + grace_s * S <= desk.now_ns:
            expected |= set(desk.state.orders)
            is_open, lost_at_ns = False, None
        asked = {order.order_id for order in desk.state.orders.values() if order.is_asked_to_cancel()}
        assert asked == expected
    assert desk.replayed().digest() == desk.state.digest()
