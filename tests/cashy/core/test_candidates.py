"""Who is asked first: the home unless it is clearly slow, and among those who have the block whoever has least to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.candidates import SLOW_FACTOR, SLOW_MARGIN_S, Candidate, in_order, is_slow

MISS_S = 0.050


def home(expected_s: float | None, outstanding: int = 0) -> Candidate:
    return Candidate("home", expected_s, outstanding, holds=True)


def other(name: str, expected_s: float | None, outstanding: int = 0, *, holds: bool = False) -> Candidate:
    return Candidate(name, expected_s, outstanding, holds)


HERE = Candidate("", 0.0, 0, holds=False)


@pytest.mark.parametrize(
    ("candidates", "due"),
    [
        ([home(None), other("c", None), HERE], ["home", "c", ""]),
        ([home(0.002), other("c", 0.001), HERE], ["home", "c", ""]),
        ([home(0.090), other("c", 0.001), HERE], ["home", "c", ""]),  # not twice what a miss costs
        ([home(0.200), other("c", 0.001), HERE], ["c", "", "home"]),
        ([home(0.200), other("c", 0.300), HERE], ["", "home", "c"]),  # this host reads the origin itself
        ([home(0.002), other("c", 9.0), HERE], ["home", "", "c"]),
        (
            [home(0.002, 500), other("c", 0.002), HERE],
            ["home", "c", ""],
        ),  # a queue is no reason to leave a home
        ([home(0.002, 9), other("copy", 0.002, 1, holds=True), HERE], ["copy", "home", ""]),
        ([home(0.002), other("copy", 0.002, holds=True), HERE], ["home", "copy", ""]),
        ([home(0.200), other("copy", 0.002, 3, holds=True), HERE], ["copy", "", "home"]),
    ],
)
def test_order(candidates: list[Candidate], due: list[str]) -> None:
    assert in_order(candidates, MISS_S) == due


known = st.builds(
    Candidate,
    st.integers(0, 1000).map(str),
    st.none() | st.floats(0, 10),
    st.integers(0, 300),
    st.booleans(),
)


@given(st.lists(known, min_size=1, max_size=6, unique_by=lambda each: each.name), st.floats(0, 2))
def test_everybody_is_named_once_and_the_first_is_not_slow(
    candidates: list[Candidate], miss_s: float
) -> None:
    ordered = in_order(candidates, miss_s)
    assert sorted(ordered) == sorted(each.name for each in candidates)
    first = next(each for each in candidates if each.name == ordered[0])
    assert not is_slow(first, candidates, miss_s)


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 2))
def test_a_home_is_left_only_for_what_is_clearly_better(home_s: float, next_s: float, miss_s: float) -> None:
    ordered = in_order([home(home_s), other("c", next_s)], miss_s)
    if ordered[0] != "home":
        assert home_s > SLOW_FACTOR * (next_s + miss_s)
        assert home_s > next_s + miss_s + SLOW_MARGIN_S
