"""When an origin counts as down, how it is probed, and how many ask at a time when it is back: by tables, and by seeded play."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.reachability import (
    ANSWER_S,
    FAILURES_TO_DOWN,
    PAUSE_FIRST_S,
    PAUSE_MAX_S,
    PLACES,
    RECOVERY_S,
    OriginHealth,
    Reach,
)


def is_in(health: OriginHealth, reach: Reach) -> bool:
    return health.reach is reach


def down(at: float = 0.0) -> OriginHealth:
    health = OriginHealth()
    for _ in range(FAILURES_TO_DOWN):
        health.failed(at)
    assert is_in(health, Reach.DOWN)
    return health


def recovering(at: float = 0.0) -> OriginHealth:
    health = down(at)
    health.answered(at)
    assert is_in(health, Reach.RECOVERING)
    return health


def test_it_is_down_after_so_many_failures_in_a_row_and_not_one_sooner() -> None:
    health = OriginHealth()
    for _ in range(FAILURES_TO_DOWN - 1):
        health.failed(1.0)
    assert is_in(health, Reach.UP)
    health.answered(1.0)
    for _ in range(FAILURES_TO_DOWN - 1):
        health.failed(2.0)
    assert is_in(health, Reach.UP), "one object that always fails is not the origin"
    health.failed(3.0)
    assert (health.reach, health.down_since) == (Reach.DOWN, 3.0)


def test_one_long_silence_is_enough_unless_something_else_was_answered_meanwhile() -> None:
    health = OriginHealth()
    health.answered(1.0)
    health.silent(0.5, 0.5 + ANSWER_S)
    assert is_in(health, Reach.UP)
    health.silent(1.5, 1.5 + ANSWER_S)
    assert is_in(health, Reach.DOWN)


def test_any_answer_begins_the_recovery_and_one_failure_ends_it() -> None:
    health = recovering(5.0)
    health.failed(6.0)
    assert (health.reach, health.down_since) == (Reach.DOWN, 6.0)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.999])
def test_probes_come_ever_more_rarely_and_not_all_hosts_at_once(fraction: float) -> None:
    health = down()
    pauses = [health.pause_s(fraction) for _ in range(12)]
    assert pauses[0] == pytest.approx(PAUSE_FIRST_S * (1 + fraction) / 2)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(PAUSE_MAX_S * (1 + fraction) / 2)
    health.answered(1.0)
    health.failed(1.0)
    assert health.pause_s(fraction) == pauses[0], "a new outage begins anew"


def test_all_ask_at_once_while_it_is_up_and_few_while_it_recovers() -> None:
    health = OriginHealth()
    assert all(health.enter(number, 0.0) for number in range(10 * PLACES))
    health = recovering()
    assert [health.enter(number, 0.0) for number in range(PLACES + 2)] == [True] * PLACES + [False] * 2
    assert health.leave(3, 0.1) == [PLACES]
    health.leave(PLACES + 1, 0.1)  # it gave up waiting
    assert health.leave(4, 0.1) == []


def test_it_is_up_again_when_nobody_had_to_wait_for_a_time() -> None:
    health = recovering(0.0)
    for number in range(PLACES + 1):
        health.enter(number, 1.0)
    health.leave(0, 9.0)
    assert health.enter("next", RECOVERY_S + 1) is False
    health.leave("next", RECOVERY_S + 1)
    assert is_in(health, Reach.RECOVERING)
    health.enter("later", 9.0 + RECOVERY_S)
    assert is_in(health, Reach.UP)


def test_who_waits_learns_that_it_is_down_again() -> None:
    health = recovering()
    for number in range(PLACES + 3):
        health.enter(number, 0.0)
    health.failed(1.0)
    assert health.leave(0, 1.0) == [PLACES, PLACES + 1, PLACES + 2]
    assert (health.waiting, health.asking) == (0, PLACES - 1)


@given(st.integers(0, 2**32), st.integers(1, 400))
def test_whatever_happens_nobody_waits_for_ever_and_few_ask_a_recovering_origin(
    seed: int, steps: int
) -> None:
    chance = random.Random(seed)
    health, now = OriginHealth(), 0.0
    asking: set[int] = set()
    waiting: list[int] = []
    for number in range(steps):
        now += chance.random()
        before = health.reach
        what = chance.choice(("enter", "enter", "leave", "give up", "answered", "failed", "silent"))
        if what == "enter":
            (asking.add if health.enter(number, now) else waiting.append)(number)
        elif what in ("leave", "give up") and (asking if what == "leave" else waiting):
            one = chance.choice(sorted(asking if what == "leave" else waiting))
            (asking if what == "leave" else waiting).remove(one)
            for released in health.leave(one, now):
                assert released == waiting.pop(0), "first come, first served"
                asking.add(released)
        elif what == "silent":
            health.silent(now - ANSWER_S, now)
        elif what in ("answered", "failed"):
            getattr(health, what)(now)
        if (
            health.reach is Reach.RECOVERING
            and before is Reach.RECOVERING
            and what == "enter"
            and number in asking
        ):
            assert health.asking <= PLACES
        assert health.waiting == len(waiting)
    while asking:
        for released in health.leave(asking.pop(), now):
            waiting.remove(released)  # type: ignore[arg-type]
            asking.add(released)  # type: ignore[arg-type]
    assert not waiting
