"""What is usual of a source: never understated, forgotten in time, and learnt from reads that were given up only where they say something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.latency import SAMPLES_MIN, STALE_S, WINDOW, Latencies

times = st.floats(0.0, 90.0)


def of(*took_s: float) -> Latencies:
    made = Latencies()
    for each in took_s:
        made.add(each)
    return made


@given(st.lists(times, min_size=SAMPLES_MIN, max_size=WINDOW - 1), st.sampled_from([0.5, 0.9, 0.95]))
def test_a_percentile_is_never_too_low_and_a_fifth_too_high_at_most(took_s: list[float], part: float) -> None:
    found = of(*took_s).percentile_s(part)
    assert found is not None
    ordered = sorted(took_s)
    exact = next(each for count, each in enumerate(ordered, 1) if count >= part * len(ordered) - 1e-9)
    assert exact <= found * (1 + 1e-9)
    assert found <= max(exact, 1e-4) * 2**0.25 * (1 + 1e-9)


def test_too_few_reads_say_nothing_of_a_tail() -> None:
    assert of(*[0.001] * (SAMPLES_MIN - 1)).percentile_s(0.95) is None
    assert of(*[0.001] * SAMPLES_MIN).percentile_s(0.95) is not None


def test_what_was_usual_is_forgotten_within_two_windows() -> None:
    slow_then_fast = of(*[1.0] * WINDOW * 4, *[0.001] * WINDOW * 3)
    found = slow_then_fast.percentile_s(0.9)
    assert found is not None
    assert found < 0.002


@given(st.lists(times, max_size=2000))
def test_counts_do_not_grow_with_what_comes(took_s: list[float]) -> None:
    made = of(*took_s)
    assert made._total < WINDOW
    assert sum(made._counts) == pytest.approx(made._total)


def test_the_average_follows_a_host_that_becomes_slow_within_five_reads() -> None:
    made = of(*[0.002] * 100)
    for _ in range(5):
        made.add(0.2)
    assert made.average_s is not None
    assert made.average_s > 0.12


def test_what_was_before_a_silence_says_little_of_now() -> None:
    made = of(*[0.4] * 100)
    made.add(0.002, STALE_S)
    assert made.average_s is not None
    assert made.average_s < 0.1


def test_a_read_given_up_early_says_nothing_and_a_late_one_that_it_is_slow() -> None:
    made = of(*[0.050] * 30)
    made.add_at_least(0.010)
    assert made.average_s == pytest.approx(0.050)
    made.add_at_least(0.300)
    assert made.average_s is not None
    assert made.average_s > 0.090
