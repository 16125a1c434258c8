"""A request over a network that loses it or its answer, and an engine that is away, overloaded or ahead: what is said of it is true."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toucan.client.errors import Denied, Refused, ServerUnavailable
from toucan.client.failures import Failure
from toucan.client.keys import Keys
from toucan.client.limits import PAUSE_S_MAX, PAUSE_S_MIN
from toucan.client.resending import Again, GiveUp, Renumber, Resending, Unknown, pause_s
from toucan.client.values import Denial, RequestKey

_DENIAL = Denial(code="X", node="n", limit="l", value="1", maximum="0", text="no", can_be_confirmed=False)
_DEADLINE_S = 10.0


@dataclass
class Engine:
    """What the real one promises: each number once, a lower one that was never seen never."""

    denies: bool
    last_numbers: dict[str, int] = field(default_factory=dict)
    answers: dict[RequestKey, Failure | None] = field(default_factory=dict)
    executed: int = 0

    def ask(self, key: RequestKey) -> Failure | None:
        if key in self.answers:
            return self.answers[key]
        if key.number <= self.last_numbers.get(key.session, 0):
            return Failure("FAILED_PRECONDITION", "too low", refusal_code="REQUEST_SUPERSEDED")
        self.last_numbers[key.session] = key.number
        if self.denies:
            self.answers[key] = Failure("FAILED_PRECONDITION", "no", denial=_DENIAL)
        else:
            self.executed += 1
            self.answers[key] = None
        return self.answers[key]


#: What the way there and back does to one attempt.
_FATES = (
    "arrives",
    "lost before",
    "lost after",
    "never sent",
    "overloaded",
    "away",
    "crash after",
    "not entitled",
)
_BEFORE = {
    "lost before": Failure("UNAVAILABLE", "socket closed"),
    "never sent": Failure("UNAVAILABLE", "failed to connect", is_unsent=True),
    "overloaded": Failure("RESOURCE_EXHAUSTED", "wait", refusal_code="ENGINE_OVERLOADED"),
    "away": Failure("UNAVAILABLE", "away", refusal_code="JOURNAL_UNAVAILABLE"),
    "not entitled": Failure("PERMISSION_DENIED", "not you"),
}
_AFTER = {
    "lost after": Failure("UNAVAILABLE", "socket closed"),
    "crash after": Failure("UNKNOWN", "exception"),
}


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(_FATES), st.floats(0, 3)), max_size=30),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
)
def test_what_is_said_of_a_request_is_true(
    fates: list[tuple[str, float]], denies: bool, is_given_key: bool, overtaken_by: int
) -> None:
    engine = Engine(denies)
    engine.last_numbers["s"] = overtaken_by
    keys = Keys("s")
    resending = Resending(is_mutating=True, deadline_s=_DEADLINE_S, may_renumber=not is_given_key)
    key, now_s = keys.next(), 0.0
    for fate, taken_s in [*fates, *[("arrives", 0.1)] * 3]:
        now_s += taken_s
        failure = _BEFORE.get(fate) or engine.ask(key)
        failure = _AFTER.get(fate, failure) if fate not in _BEFORE else failure
        if failure is None:
            assert engine.executed == 1
            return
        match resending.after(failure, now_s, 0.5):
            case Again(pause):
                assert now_s + pause < _DEADLINE_S
                now_s += pause
            case Renumber():
                assert not is_given_key
                assert engine.executed == 0
                keys.renew("fresh")
                key = keys.next()
            case GiveUp(error):
                assert engine.executed == 0
                assert not isinstance(error, Denied) or engine.denies
                return
            case Unknown():
                # Only where it really might have been carried out, and only when the time is over or nobody else may be asked.
                assert any(one not in ("never sent", "overloaded") for one, _ in fates)
                return
    raise AssertionError("three attempts that arrive are enough for any end")


def test_executed_and_lost_is_unknown_only_when_the_time_is_over() -> None:
    resending = Resending(is_mutating=True, deadline_s=1.0)
    lost = Failure("UNAVAILABLE", "socket closed")
    assert isinstance(resending.after(lost, 0.5, 0.0), Again)
    assert resending.after(lost, 1.0, 0.0) == Unknown("socket closed")


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ((), "not in time"),
        ((Failure("UNAVAILABLE", "the engine is away", refusal_code="ENGINE_AWAY"),), "the engine is away"),
        (
            (Failure("DEADLINE_EXCEEDED", "not in time"), Failure("UNAVAILABLE", "socket closed")),
            "socket closed",
        ),
    ],
)
def test_a_deadline_that_cuts_off_the_last_attempt_does_not_hide_what_was_said_before(
    before: tuple[Failure, ...], said: str
) -> None:
    resending = Resending(is_mutating=True, deadline_s=1.0)
    for failure in before:
        assert isinstance(resending.after(failure, 0.5, 0.0), Again)
    assert resending.after(Failure("DEADLINE_EXCEEDED", "not in time"), 1.0, 0.0) == Unknown(said)


def test_never_sent_is_unavailable_and_ends_with_the_connecting() -> None:
    resending = Resending(is_mutating=True, deadline_s=10.0, connect_deadline_s=1.0)
    refused = Failure("UNAVAILABLE", "nothing answers at h:1", is_unsent=True)
    assert isinstance(resending.after(refused, 0.5, 0.0), Again)
    step = resending.after(refused, 1.0, 0.0)
    assert isinstance(step, GiveUp)
    assert isinstance(step.error, ServerUnavailable)


def test_sent_once_then_unreachable_goes_on_to_the_deadline_and_is_unknown() -> None:
    resending = Resending(is_mutating=True, deadline_s=10.0, connect_deadline_s=1.0)
    resending.after(Failure("UNAVAILABLE", "socket closed"), 0.1, 0.0)
    refused = Failure("UNAVAILABLE", "nothing answers at h:1", is_unsent=True)
    assert isinstance(resending.after(refused, 5.0, 0.0), Again)
    assert isinstance(resending.after(refused, 10.0, 0.0), Unknown)


def test_a_number_that_is_dead_takes_the_doubt_about_it_along() -> None:
    resending = Resending(is_mutating=True, deadline_s=1.0, may_renumber=True)
    resending.after(Failure("UNAVAILABLE", "socket closed"), 0.0, 0.0)
    superseded = Failure("FAILED_PRECONDITION", "too low", refusal_code="REQUEST_SUPERSEDED")
    assert resending.after(superseded, 0.1, 0.0) == Renumber()
    step = resending.after(Failure("UNAVAILABLE", "nothing answers", is_unsent=True), 1.0, 0.0)
    assert isinstance(step, GiveUp)
    assert isinstance(step.error, ServerUnavailable)


def test_overloaded_to_the_end_was_not_carried_out() -> None:
    resending = Resending(is_mutating=True, deadline_s=1.0)
    step = resending.after(Failure("RESOURCE_EXHAUSTED", "wait", refusal_code="ENGINE_OVERLOADED"), 1.0, 0.0)
    assert isinstance(step, GiveUp)
    assert isinstance(step.error, Refused)
    assert step.error.code == "ENGINE_OVERLOADED"


def test_forgotten_number_of_a_request_that_was_sent_is_unknown() -> None:
    forgotten = Failure("FAILED_PRECONDITION", "too old", refusal_code="REQUEST_FORGOTTEN")
    again = Resending(is_mutating=True, deadline_s=10.0, may_renumber=False)
    assert again.after(forgotten, 0.0, 0.0) == Unknown("too old")
    fresh = Resending(is_mutating=True, deadline_s=10.0, may_renumber=True)
    assert fresh.after(forgotten, 0.0, 0.0) == Renumber()


def test_engines_refusal_for_lateness_is_final() -> None:
    resending = Resending(is_mutating=True, deadline_s=10.0)
    step = resending.after(Failure("DEADLINE_EXCEEDED", "too late", refusal_code="DEADLINE_PASSED"), 0.0, 0.0)
    assert isinstance(step, GiveUp)
    assert isinstance(step.error, Refused)


def test_a_bug_in_the_server_ends_a_read_at_once_and_a_change_at_the_deadline() -> None:
    bug = Failure("UNKNOWN", "exception")
    assert isinstance(Resending(is_mutating=False, deadline_s=10.0).after(bug, 0.0, 0.0), GiveUp)
    assert isinstance(Resending(is_mutating=True, deadline_s=10.0).after(bug, 0.0, 0.0), Again)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_to_a_bound(attempt: int, chance: float) -> None:
    assert PAUSE_S_MIN / 2 <= pause_s(attempt, chance) <= PAUSE_S_MAX
    assert pause_s(attempt + 1, chance) >= pause_s(attempt, chance)
