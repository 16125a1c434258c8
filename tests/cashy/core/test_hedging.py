"""Second reads: late enough, paid by successes, few at once, and none where they would do harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.hedging import (
    DELAY_MAX_S,
    DELAY_MIN_S,
    HEDGES_MAX,
    HEDGES_PER_HOST_MAX,
    REST_S,
    TOKENS_MAX,
    Hedging,
    Refusal,
)
from cashy.core.latency import Latencies


def rich(budget: float = 1.0) -> Hedging:
    made = Hedging(budget)
    for _ in range(1000):
        made.succeeded()
    return made


def usual(took_s: float, count: int = 100) -> Latencies:
    made = Latencies()
    for _ in range(count):
        made.add(took_s)
    return made


def ask(rules: Hedging, host: str = "b", now_s: float = 0.0, *, is_waiting: bool = False) -> Refusal | None:
    return rules.refusal(host, now_s, is_waiting=is_waiting)


@pytest.mark.parametrize(
    ("of_host", "of_all", "least_s", "most_s"),
    [
        (Latencies(), Latencies(), DELAY_MAX_S, DELAY_MAX_S),  # nothing is known
        (usual(0.001), usual(0.001), DELAY_MIN_S, DELAY_MIN_S),
        (usual(0.100), usual(0.100), 0.100, 0.119),
        (usual(0.300), usual(0.050), 0.050, 0.060),  # a slow host does not set its own mark
        (usual(0.050), usual(0.300), 0.050, 0.060),
        (usual(9.0), usual(9.0), DELAY_MAX_S, DELAY_MAX_S),
    ],
)
def test_a_read_is_late_after_the_usual_time(
    of_host: Latencies, of_all: Latencies, least_s: float, most_s: float
) -> None:
    assert least_s <= Hedging(0.05).delay_s(of_host, of_all) <= most_s


@given(st.lists(st.booleans(), max_size=500), st.floats(0.001, 1.0))
def test_second_reads_are_never_more_than_the_budget_of_what_has_succeeded(
    events: list[bool], budget: float
) -> None:
    rules, successes, hedges = Hedging(budget), 0, 0
    for is_success in events:
        if is_success:
            rules.succeeded()
            successes += 1
        elif ask(rules) is None:
            rules.started("b")
            rules.ended("b")
            hedges += 1
        assert hedges <= budget * successes + 1e-6
        assert rules.tokens <= TOKENS_MAX


def test_a_quiet_hour_pays_for_a_few_and_no_storm() -> None:
    rules = rich()
    started = 0
    while ask(rules) is None:
        rules.started("b")
        rules.ended("b")
        started += 1
    assert started == TOKENS_MAX
    assert ask(rules) is Refusal.BUDGET


def test_so_many_at_one_host_and_so_many_in_all_and_not_one_more() -> None:
    rules = rich()
    for number in range(HEDGES_MAX):
        host = f"h{number // HEDGES_PER_HOST_MAX}"
        rules.tokens = TOKENS_MAX
        assert ask(rules, host) is None, number
        rules.started(host)
    rules.tokens = TOKENS_MAX
    assert ask(rules, "another") is Refusal.CAP
    rules.ended("h0")
    assert ask(rules, "another") is None
    assert ask(rules, "h1") is Refusal.CAP
    assert ask(rules, "h0") is None
    assert rules.under_way == HEDGES_MAX - 1


def test_nobody_is_asked_twice_while_somebody_is_overloaded() -> None:
    rules = rich()
    rules.slow_down_seen(10.0)
    assert ask(rules, now_s=10.0 + REST_S - 0.001) is Refusal.OVERLOAD
    assert ask(rules, now_s=10.0 + REST_S) is None


def test_a_host_that_waits_for_the_origin_is_waited_for() -> None:
    assert ask(rich(), is_waiting=True) is Refusal.WAITING


def test_a_host_that_gives_no_sign_of_life_is_left_without_a_token_within_the_caps() -> None:
    rules = Hedging(0.05)
    assert ask(rules) is Refusal.BUDGET
    for _ in range(HEDGES_PER_HOST_MAX):
        assert rules.refusal("b", 0.0, is_waiting=True, is_silent=True) is None
        rules.started("b", is_silent=True)
    assert rules.refusal("b", 0.0, is_waiting=False, is_silent=True) is Refusal.CAP
    assert rules.tokens == 0.0
    rules.slow_down_seen(0.0)
    assert rules.refusal("c", 0.0, is_waiting=False, is_silent=True) is Refusal.OVERLOAD


def test_without_a_budget_there_are_none() -> None:
    assert ask(rich(0.0)) is Refusal.OFF
