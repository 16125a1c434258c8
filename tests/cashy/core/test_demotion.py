"""What is offered to the SSD: each block once while it stays, those that go next first, and never what is kept off."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cashy.core.ask_first import MISSES_MAX, AskFirst
from cashy.core.demotion import EDGE_SLOTS_MAX, EDGE_SLOTS_MIN, Demotion, edge


@given(st.integers(0, 1 << 22))
def test_the_edge_is_never_more_than_a_quarter_of_a_class(tracked: int) -> None:
    assert edge(tracked) <= min(EDGE_SLOTS_MAX, tracked // 4)
    assert edge(tracked) >= min(EDGE_SLOTS_MIN, tracked // 4)
    assert edge(tracked) <= edge(tracked + 1)


def test_blocks_are_offered_in_the_order_in_which_they_go_and_no_more_than_asked() -> None:
    demotion = Demotion(8)
    for slot in range(8):
        demotion.came(slot, is_wanted=slot != 3)
    assert demotion.due([5, 3, 1, 0], 2) == [5, 1]
    assert demotion.due([5, 3, 1, 0], 2) == [0]
    assert demotion.due([5, 3, 1, 0], 2) == []


def test_what_goes_unoffered_is_told_and_what_was_offered_or_kept_off_is_not() -> None:
    demotion = Demotion(4)
    for slot, is_wanted in ((0, True), (1, True), (2, False)):
        demotion.came(slot, is_wanted=is_wanted)
    demotion.due([0], 1)
    assert [demotion.went(slot) for slot in range(4)] == [False, True, False, False]
    assert not demotion.went(1)


@given(
    st.lists(st.tuples(st.sampled_from(["came", "kept off", "went", "due"]), st.integers(0, 5)), max_size=60)
)
def test_no_block_is_offered_twice_in_one_stay(steps: list[tuple[str, int]]) -> None:
    demotion = Demotion(6)
    may_be_offered: set[int] = set()
    for step, slot in steps:
        if step in ("came", "kept off"):
            demotion.came(slot, is_wanted=step == "came")
            may_be_offered.discard(slot)
            may_be_offered |= {slot} if step == "came" else set()
        elif step == "went":
            assert demotion.went(slot) == (slot in may_be_offered)
            may_be_offered.discard(slot)
        else:
            assert demotion.due(range(slot, 6), 2) == sorted(may_be_offered & set(range(slot, 6)))[:2]
            may_be_offered -= set(sorted(may_be_offered & set(range(slot, 6)))[:2])


def test_objects_are_asked_about_first_until_that_has_found_nothing_for_long_and_again_once_it_would_have() -> (
    None
):
    ask_first = AskFirst()
    for _ in range(MISSES_MAX - 1):
        ask_first.found(False)
    assert ask_first.is_worth_it
    ask_first.found(False)
    assert not ask_first.is_worth_it
    ask_first.found(True)
    assert ask_first.is_worth_it
