"""The engine's time under clocks that are set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from toucan.engine.clock import SLEW, EngineClock

SECOND = 1_000_000_000
HOUR = 3600 * SECOND


class Clocks:
    def __init__(self, wall: int) -> None:
        self.wall, self.monotonic = wall, 5 * SECOND
        self.clock = EngineClock(lambda: self.wall, lambda: self.monotonic)

    def pass_time(self, ns: int, step: int = 0) -> int:
        self.wall += ns + step
        self.monotonic += ns
        return self.clock.now_ns()


def test_without_steps_it_is_the_wall_clock() -> None:
    clocks = Clocks(1_000 * SECOND)
    for _ in range(100):
        assert clocks.pass_time(SECOND) == clocks.wall
    assert clocks.clock.steps_count == 0


def test_an_hour_back_changes_the_speed_and_not_the_time() -> None:
    clocks = Clocks(100 * HOUR)
    before = clocks.pass_time(SECOND)
    after = clocks.pass_time(SECOND, -HOUR)
    assert SECOND * (1 - SLEW) <= after - before <= SECOND
    assert clocks.clock.steps_count == 1
    for _ in range(25):
        clocks.pass_time(HOUR)
    assert clocks.clock.now_ns() == clocks.wall, "after a day it has followed"
    assert clocks.clock.steps_count == 1


def test_an_hour_ahead_neither_ends_a_grace_time() -> None:
    clocks = Clocks(100 * HOUR)
    before = clocks.pass_time(SECOND)
    assert clocks.pass_time(SECOND, HOUR) - before <= SECOND * (1 + SLEW)


def test_never_before_the_last_event() -> None:
    clock = EngineClock(lambda: 10 * SECOND, lambda: 0, not_before_ns=50 * SECOND)
    assert clock.now_ns() >= 50 * SECOND


@given(st.lists(st.tuples(st.integers(0, HOUR), st.integers(-HOUR, HOUR)), max_size=50))
def test_whatever_happens_it_goes_on_at_about_the_speed_of_time(steps: list[tuple[int, int]]) -> None:
    clocks = Clocks(10_000 * HOUR)
    last = clocks.clock.now_ns()
    for passed, step in steps:
        now = clocks.pass_time(passed, step)
        assert passed * (1 - SLEW) - 1 <= now - last <= passed * (1 + SLEW) + 1
        last = now
