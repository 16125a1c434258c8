"""How hot blocks are, by tables; tests/simulation/hot_blocks.py plays hosts that rush at some."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.hot_blocks import (
    COPIES_MAX,
    HALF_LIFE_NS,
    HOT_COUNT,
    HOT_HOSTS,
    NOT_HOT,
    Candidate,
    Heat,
    Hints,
    Hot,
    choose,
    is_sent_on,
)

SECOND = 1_000_000_000
HOSTS = [f"h{number}" for number in range(300)]


def ask(
    heat: Heat, count: int, hosts: int, *, key: int = 1, copies: int = 0, now_ns: int = 0, homes: int = 300
) -> Hot:
    hot = NOT_HOT
    for number in range(count):
        hot = heat.asked(key, HOSTS[number % hosts], copies, homes, now_ns)
    return hot


def test_a_block_is_hot_from_so_many_asks_of_so_many_hosts_on() -> None:
    assert ask(Heat(), int(HOT_COUNT) - 1, 30) == NOT_HOT
    assert ask(Heat(), int(HOT_COUNT), 30).copies == 4
    assert ask(Heat(), 1000, HOT_HOSTS - 1) == NOT_HOT, "a few hosts that ask again and again are not many"
    assert ask(Heat(), 100, HOT_HOSTS).copies == 10


@pytest.mark.parametrize(
    ("asks", "homes", "copies"),
    [
        (100, 300, 10),
        (300, 300, 18),
        (5000, 300, COPIES_MAX),
        (300, 5, 3),
        (300, 3, 2),
        (300, 2, 0),
        (300, 1, 0),
    ],
)
def test_as_many_copies_as_the_root_of_the_asks_and_at_most_half_of_the_hosts(
    asks: int, homes: int, copies: int
) -> None:
    assert ask(Heat(), asks, 300, homes=homes).copies == copies


def test_an_ask_that_was_chosen_among_several_stands_for_as_many() -> None:
    assert ask(Heat(), 20, 20, copies=16).copies == ask(Heat(), 320, 20).copies == 18
    assert ask(Heat(), 20, 20, copies=10**9).copies <= COPIES_MAX, "whoever lies is believed up to the limit"


def test_what_ceases_to_be_asked_for_cools_down() -> None:
    heat = Heat()
    assert ask(heat, 300, 300).copies == 18
    assert heat.asked(1, "h0", 0, 300, HALF_LIFE_NS).copies == 13, "half of the asks, 0.7 of the copies"
    assert heat.asked(1, "h0", 0, 300, 30 * HALF_LIFE_NS) == NOT_HOT
    assert heat.hot_blocks(300, 30 * HALF_LIFE_NS) == 0


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 299), st.integers(0, 40)), max_size=300))
def test_memory_is_bounded_and_what_is_asked_for_most_stays(asks: list[tuple[int, int, int]]) -> None:
    heat = Heat(blocks_max=20)
    for number in range(40):
        heat.asked(1000, HOSTS[number], 0, 300, 0)
    for turn, (key, host, copies) in enumerate(asks):
        hot = heat.asked(key, HOSTS[host], copies, 300, turn)
        assert len(heat) <= 20
        assert hot == NOT_HOT or 2 <= hot.copies <= COPIES_MAX
        if turn % 10 == 0:
            heat.asked(1000, HOSTS[turn], 0, 300, turn)
    assert heat.asked(1000, "h0", 0, 300, len(asks)).copies >= 6


def test_a_hint_is_good_for_its_time_and_there_are_only_so_many() -> None:
    hints = Hints(hints_max=2)
    hints.note(1, Hot(5, 2.0), 0)
    assert hints.copies(1, 2 * SECOND - 1) == 5
    assert hints.copies(1, 2 * SECOND) == 0
    hints.note(1, Hot(10**6, 1e9), 0)
    assert hints.copies(1, 0) == COPIES_MAX
    assert hints.copies(1, 11 * SECOND) == 0, "nobody binds another for longer than is usual"
    for key in (2, 3, 4):
        hints.note(key, Hot(2, 1.0), 0)
    assert len(hints) == 2
    assert hints.copies(4, 0) == 2
    hints.note(4, NOT_HOT, 0)
    assert hints.copies(4, 0) == 0, "not hot any more"


def test_the_least_busy_for_its_weight_is_asked_and_idle_ones_by_different_hosts_evenly() -> None:
    busy = [Candidate("a", 1.0, 3), Candidate("b", 1.0, 1), Candidate("c", 4.0, 3)]
    assert choose(busy, 7, "x") == ["b", "c", "a"] or choose(busy, 7, "x") == ["c", "b", "a"]
    idle = [Candidate(name, 1.0, 0) for name in "abcde"]
    firsts = [choose(idle, 7, asker)[0] for asker in HOSTS]
    assert min(firsts.count(name) for name in "abcde") > 30
    assert choose(idle, 7, "x") == choose(list(reversed(idle)), 7, "x")


def test_one_of_so_many_is_served_by_the_home_the_others_are_sent_on() -> None:
    for copies in (2, 5, 17):
        served = sum(not is_sent_on(9, asker, copies) for asker in HOSTS)
        assert 300 / copies * 0.5 < served < 300 / copies * 1.6
