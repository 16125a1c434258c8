"""A client's request is executed at most once, and answered the same each time: in order, with gaps, again, too late, for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.core.desk import ALICE, BOB, Desk, terms

from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core.clients import ClientRecord
from toucan.core.limits import ANSWERS_KEPT_MAX
from toucan.core.order import Client
from toucan.core.outcomes import Accepted, Denied, Done, Outcome, Refusal, Refused
from toucan.core.state import EngineState


def code(outcome: Outcome) -> str:
    return outcome.code if isinstance(outcome, Refused) else type(outcome).__name__


# ---------------------------------------------------------------- by itself


def test_numbers_may_have_gaps_and_each_is_answered_as_it_was() -> None:
    record = ClientRecord()
    for number in (1, 5, 6, 100):
        assert record.recall(number) is None
        record.remember(number, Accepted(number), 0)
    assert [record.recall(number) for number in (1, 5, 6, 100)] == [Accepted(n) for n in (1, 5, 6, 100)]
    for number in (2, 4, 7, 99):
        refused = record.recall(number)
        assert isinstance(refused, Refused)
        assert refused.code is Refusal.REQUEST_SUPERSEDED
    assert record.recall(101) is None


def test_answers_are_kept_up_to_the_limit_and_one_more_forgets_the_oldest() -> None:
    record = ClientRecord()
    for number in range(1, ANSWERS_KEPT_MAX + 1):
        record.remember(number, Accepted(number), 0)
    assert record.recall(1) == Accepted(1)
    record.remember(ANSWERS_KEPT_MAX + 1, Done(), 0)
    forgotten = record.recall(1)
    assert isinstance(forgotten, Refused)
    assert forgotten.code is Refusal.REQUEST_FORGOTTEN
    assert record.recall(2) == Accepted(2)
    assert len(record.answers) == ANSWERS_KEPT_MAX


def test_what_is_below_all_that_are_kept_may_have_been_executed() -> None:
    """With nothing forgotten it was not; afterwards nobody knows, and it is not said that it was not."""
    record = ClientRecord()
    record.remember(10, Done(), 0)
    assert code(record.recall(3) or Done()) == Refusal.REQUEST_SUPERSEDED
    for number in range(11, 11 + ANSWERS_KEPT_MAX):
        record.remember(number, Done(), 0)
    assert code(record.recall(3) or Done()) == Refusal.REQUEST_FORGOTTEN


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), max_size=60))
def test_a_number_is_new_once_at_most(asked: list[int]) -> None:
    """Against the whole history."""
    record = ClientRecord()
    executed: dict[int, Outcome] = {}
    for turn, number in enumerate(asked):
        answer = record.recall(number)
        if answer is None:
            assert number not in executed
            assert number > max(executed, default=0)
            executed[number] = Accepted(turn)
            record.remember(number, Accepted(turn), turn)
        elif number in executed:
            assert answer == executed[number]
        else:
            assert code(answer) == Refusal.REQUEST_SUPERSEDED
            assert number < max(executed)


# ---------------------------------------------------------------- as a part of the engine

BODIES: list[rq.Body] = [
    rq.Submit(terms(100)),
    rq.Submit(terms(5000)),
    rq.Cancel(1),
    rq.Cancel(99),
    rq.Replace(1, quantity=7),
    rq.MassCancel(),
    rq.SetLimit("firm", "max_order_quantity", "1000", "why"),
    rq.AdjustPosition("ACC1", "alice", "AAPL", 5, 100, "why"),
]


@pytest.mark.parametrize("body", BODIES, ids=[type(body).__name__ for body in BODIES])
def test_the_same_request_again_does_nothing_and_is_answered_the_same(body: rq.Body) -> None:
    desk = Desk()
    desk.working(terms(100), BOB)
    desk.ask(rq.SetLimit("firm", "max_order_quantity", "4000", "why"), BOB)
    first = desk.ask(body, number=1)
    events, sent = len(desk.events), len(desk.sent)
    for _ in range(3):
        assert desk.ask(body, number=1) == first
    # Another request under the number does nothing either, and does not pass for the first one.
    assert code(desk.ask(rq.Submit(terms(1)), number=1)) == Refusal.KEY_REUSED
    assert (len(desk.events), len(desk.sent)) == (events, sent)


def test_answers_outlive_the_engine_and_its_snapshots() -> None:
    desk = Desk()
    first = desk.ask(rq.Submit(terms(100)), number=4)
    desk.apply([ev.EngineStarted(2, "test")])
    for state in (desk.replayed(), EngineState.load(desk.state.dump())):
        assert state.client(ALICE).recall(4) == first
        assert code(state.client(ALICE).recall(3) or Done()) == Refusal.REQUEST_SUPERSEDED


def test_sessions_of_one_user_and_users_of_one_session_name_count_by_themselves() -> None:
    desk = Desk()
    clients = [ALICE, BOB, Client("alice", "robot")]
    outcomes = [desk.ask(rq.Submit(terms(100)), client, number=1) for client in clients]
    assert outcomes == [Accepted(1), Accepted(2), Accepted(3)]


def test_denials_and_refusals_are_remembered_like_everything_else() -> None:
    """So what was denied once is not sent after all because limits have changed and somebody asks again."""
    desk = Desk()
    desk.ask(rq.SetLimit("firm", "max_order_quantity", "10", "why"), BOB)
    denied = desk.ask(rq.Submit(terms(11)), number=1)
    assert isinstance(denied, Denied)
    late = desk.ask(rq.Submit(terms(5)), number=2, deadline_ns=desk.now_ns - 1)
    assert code(late) == Refusal.DEADLINE_PASSED
    desk.ask(rq.SetLimit("firm", "max_order_quantity", None, "why"), BOB)
    assert desk.ask(rq.Submit(terms(11)), number=1) == denied
    assert desk.ask(rq.Submit(terms(5)), number=2, deadline_ns=desk.now_ns + 10**12) == late
    assert desk.state.orders == {}


def test_a_deadline_is_kept_to_the_nanosecond_and_only_until_the_first_answer() -> None:
    desk = Desk()
    assert desk.ask(rq.Submit(terms()), number=1, deadline_ns=desk.now_ns) == Accepted(1)
    assert (
        code(desk.ask(rq.Submit(terms()), number=2, deadline_ns=desk.now_ns - 1)) == Refusal.DEADLINE_PASSED
    )
    # It was executed in time; that its answer is asked for late does not change that.
    assert desk.ask(rq.Submit(terms()), number=1, deadline_ns=desk.now_ns - 10**9) == Accepted(1)


def test_what_changes_no_order_needs_no_number_and_is_not_remembered() -> None:
    desk = Desk()
    for body in (rq.OpenSession(), rq.Preview(terms()), rq.SessionBroken(), rq.CloseSession()):
        desk.ask(body, number=0)
    assert desk.state.client(ALICE).answers == {}
    assert not any(isinstance(event, ev.Answered) for _, _, event in desk.events)


def test_a_request_without_a_number_is_not_executed_however_often_it_comes() -> None:
    desk = Desk()
    for number in (0, -1, 0):
        assert code(desk.ask(rq.Submit(terms()), number=number)) == Refusal.REQUEST_NUMBER_MISSING
    assert desk.state.orders == {}
