"""A host that fails is left, one request tries after a rest, and a success brings it back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cashy.core.breaker import FAILURES_MAX, REST_FIRST_S, REST_MAX_S, TRIAL_S_MAX, Breaker, State


def opened(at_s: float = 0.0) -> Breaker:
    made = Breaker()
    for _ in range(FAILURES_MAX):
        assert made.ask(at_s)
        made.failed(at_s)
    return made


def test_it_opens_at_the_limit_and_not_one_failure_before() -> None:
    breaker = Breaker()
    for _ in range(FAILURES_MAX - 1):
        breaker.failed(0.0)
    assert breaker.is_closed
    breaker.succeeded()
    for _ in range(FAILURES_MAX - 1):
        breaker.failed(0.0)
    assert breaker.is_closed, "failures in a row are counted"
    breaker.failed(0.0)
    assert breaker.state(0.0) is State.OPEN
    assert breaker.opened_total == 1


def test_one_request_tries_after_the_rest_and_no_second_one() -> None:
    breaker = opened()
    assert not breaker.ask(REST_FIRST_S - 0.001)
    assert breaker.state(REST_FIRST_S) is State.HALF_OPEN
    assert breaker.ask(REST_FIRST_S)
    assert not breaker.ask(REST_FIRST_S + 0.5)
    breaker.succeeded()
    assert breaker.is_closed
    assert breaker.ask(REST_FIRST_S + 0.5)


def test_each_trial_that_fails_doubles_the_rest_up_to_its_limit() -> None:
    breaker, now_s, rests = opened(), 0.0, []
    for _ in range(8):
        began_s = now_s
        while not breaker.may_ask(now_s):
            now_s += 0.25
        rests.append(now_s - began_s)
        assert breaker.ask(now_s)
        breaker.failed(now_s)
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert rests[-1] == REST_MAX_S


def test_late_failures_do_not_prolong_a_rest_and_a_late_success_ends_it() -> None:
    breaker = opened()
    breaker.failed(REST_FIRST_S / 2)
    assert breaker.may_ask(REST_FIRST_S)
    breaker = opened()
    breaker.succeeded()
    assert breaker.is_closed


def test_a_trial_that_is_given_up_or_forgotten_frees_its_place() -> None:
    breaker = opened()
    assert breaker.ask(REST_FIRST_S)
    breaker.given_up()
    assert breaker.ask(REST_FIRST_S)
    assert not breaker.may_ask(REST_FIRST_S + TRIAL_S_MAX - 1)
    assert breaker.ask(REST_FIRST_S + TRIAL_S_MAX)


class Machine(RuleBasedStateMachine):
    """Whatever happens: a host is asked again within the longest rest and a trial, and never by two at once before that."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now_s = 0.0
        self.trials = 0

    @rule(step_s=st.floats(0, 40))
    def time_passes(self, step_s: float) -> None:
        self.now_s += step_s

    @rule()
    def somebody_asks(self) -> None:
        was_closed, could = self.breaker.is_closed, self.breaker.may_ask(self.now_s)
        assert self.breaker.ask(self.now_s) == could
        if could and not was_closed:
            assert not self.breaker.may_ask(self.now_s)

    @rule()
    def it_answers(self) -> None:
        self.breaker.succeeded()
        assert self.breaker.is_closed

    @rule()
    def it_fails(self) -> None:
        self.breaker.failed(self.now_s)

    @rule()
    def a_reader_leaves(self) -> None:
        self.breaker.given_up()

    @invariant()
    def it_comes_back(self) -> None:
        assert self.breaker.may_ask(self.now_s + max(REST_MAX_S, TRIAL_S_MAX))


TestMachine = Machine.TestCase


@given(st.floats(1.0, 60.0))
def test_the_longest_rest_is_its_owners_choice(rest_max_s: float) -> None:
    breaker = Breaker(rest_max_s)
    now_s = 0.0
    for _ in range(FAILURES_MAX + 10):
        breaker.failed(now_s)
        now_s += rest_max_s
        assert breaker.may_ask(now_s)
