"""When a request is sent again, how often, and how many may be under way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.backoff import (
    DECREASE_INTERVAL_S,
    RETRY_AFTER_S_MAX,
    RETRY_BASE_S,
    RETRY_CAP_S,
    RETRY_TOKENS_MAX,
    TOKENS_PER_SUCCESS,
    RetryBudget,
    Window,
    is_transient,
    retry_after_s,
    retry_delay_s,
)


@given(
    attempt=st.integers(1, 10_000),
    fraction=st.floats(0, 1, exclude_max=True),
    asked_s=st.floats(0, 100),
    remaining_s=st.floats(-10, 200),
)
def test_delay_is_jittered_bounded_and_in_time(
    attempt: int, fraction: float, asked_s: float, remaining_s: float
) -> None:
    delay_s = retry_delay_s(attempt, fraction, asked_s=asked_s, remaining_s=remaining_s)
    if delay_s is None:
        assert asked_s > RETRY_AFTER_S_MAX or asked_s + RETRY_CAP_S >= remaining_s
    else:
        assert asked_s <= delay_s < remaining_s
        assert delay_s <= asked_s + min(RETRY_CAP_S, RETRY_BASE_S * 2 ** min(attempt, 60))


def test_bound_doubles_up_to_its_cap() -> None:
    bounds = [retry_delay_s(attempt, 0.5, asked_s=0, remaining_s=60) for attempt in range(1, 9)]
    assert bounds == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.5, 2.5]
    assert retry_delay_s(3, 0.0, asked_s=0, remaining_s=60) == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("", 0), ("3", 3), ("0", 0), ("-3", 0), ("3.5", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("²", 0), ("9" * 10, 0), ("9" * 9, 999_999_999)],
)  # fmt: skip
def test_retry_after(header: str, seconds: float) -> None:
    assert retry_after_s(header) == seconds


def test_asking_for_too_long_is_no_retry() -> None:
    assert retry_delay_s(1, 0.0, asked_s=RETRY_AFTER_S_MAX, remaining_s=60) == RETRY_AFTER_S_MAX
    assert retry_delay_s(1, 0.0, asked_s=RETRY_AFTER_S_MAX + 1, remaining_s=60) is None


def test_transient_statuses() -> None:
    transient = {status for status in range(100, 600) if is_transient(status)}
    assert transient == {429, 500, 502, 503, 504}


def test_budget_is_a_bucket_that_successes_fill() -> None:
    budget = RetryBudget()
    assert sum(budget.take() for _ in range(1000)) == RETRY_TOKENS_MAX
    for _ in range(round(1 / TOKENS_PER_SUCCESS) + 1):
        budget.succeeded()
    assert [budget.take(), budget.take()] == [True, False]
    for _ in range(10_000):
        budget.succeeded()
    assert budget.tokens == RETRY_TOKENS_MAX


def test_store_that_always_fails_gets_hardly_more_than_its_load() -> None:
    budget, sent = RetryBudget(), 0
    for _ in range(10_000):
        sent += 1
        for _ in range(4):
            sent += budget.take()
    assert sent == 10_000 + RETRY_TOKENS_MAX


def test_window_halves_once_for_a_burst_and_grows_by_one_a_round() -> None:
    window = Window(32)
    assert window.limit == 32
    assert window.refused(32, 100.0)
    assert not window.refused(32, 100.0 + DECREASE_INTERVAL_S * 0.9)
    assert window.limit == 16
    for _ in range(17):
        window.succeeded()
    assert window.limit == 17
    assert window.refused(6, 200.0)  # fewer were under way than might have been
    assert window.limit == 3


@given(
    st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 64), st.floats(0, 10))), max_size=200),
    st.integers(1, 64),
)
def test_window_stays_within_its_limits(events: list[tuple[int, float] | None], limit_max: int) -> None:
    window, now_s = Window(limit_max), 0.0
    for event in events:
        if event is None:
            window.succeeded()
        else:
            now_s += event[1]
            window.refused(event[0], now_s)
        assert 1 <= window.limit <= limit_max
    for _ in range(limit_max * limit_max):
        window.succeeded()
    assert window.limit == limit_max
