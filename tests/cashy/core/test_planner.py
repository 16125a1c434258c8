"""Block plan and prefetch rule: the arithmetic, the order of events, and the two promises as properties."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cashy.core.planner import ReadAhead, ReadPlan, block_count, block_length, blocks_of

MIB = 1 << 20


@pytest.mark.parametrize(
    ("offset", "length", "size", "blocks"),
    [
        (0, 10, 40, range(1)),
        (0, 11, 40, range(2)),
        (9, 2, 40, range(2)),
        (10, 10, 40, range(1, 2)),
        (35, 100, 40, range(3, 4)),
        (35, 100, 41, range(3, 5)),
        (35, 100, None, range(3, 14)),
        (40, 1, 40, range(0)),
        (0, 0, 40, range(0)),
        (5, 0, None, range(0)),
        (0, 1, 0, range(0)),
    ],
)
def test_blocks_of_a_byte_range(offset: int, length: int, size: int | None, blocks: range) -> None:
    assert blocks_of(offset, length, 10, size) == blocks


@pytest.mark.parametrize(("offset", "length"), [(-1, 5), (5, -1)])
def test_negative_positions_are_refused(offset: int, length: int) -> None:
    with pytest.raises(ValueError, match="may not be negative"):
        blocks_of(offset, length, 10, 40)


@given(
    offset=st.integers(0, 99),
    length=st.integers(0, 99),
    size=st.integers(0, 99),
    block_bytes=st.integers(1, 12),
)
def test_blocks_hold_the_bytes_and_no_block_is_without_one(
    offset: int, length: int, size: int, block_bytes: int
) -> None:
    blocks = blocks_of(offset, length, block_bytes, size)
    wanted = range(offset, min(offset + length, size))
    assert set(blocks) == {byte // block_bytes for byte in wanted}
    lengths = [block_length(index, size, block_bytes) for index in range(block_count(size, block_bytes) + 2)]
    assert sum(lengths) == size
    assert all(lengths[:-2])
    assert lengths[-2:] == [0, 0]


def test_the_first_block_goes_alone_until_the_size_is_known() -> None:
    plan = ReadPlan(2, 10, 4, block_bytes=MIB)
    assert plan.next_blocks() == [2]
    assert plan.next_blocks() == []
    plan.on_size(100 * MIB)
    assert plan.next_blocks() == [3, 4, 5]
    plan.on_done(4)
    assert plan.next_blocks() == [6]
    assert plan.in_flight == {2, 3, 5, 6}


def test_a_known_size_opens_the_window_at_once_and_clips_the_end() -> None:
    plan = ReadPlan(2, 10, 4, block_bytes=MIB)
    plan.on_size(4 * MIB + 1)
    assert plan.next_blocks() == [2, 3, 4]
    for index in (4, 2, 3):
        assert not plan.finished
        plan.on_done(index)
    assert plan.finished
    assert plan.next_blocks() == []


@pytest.mark.parametrize("size", [0, MIB])
def test_a_first_block_behind_the_end_is_awaited_and_nothing_follows(size: int) -> None:
    plan = ReadPlan(1, 10, 4, block_bytes=MIB)
    assert plan.next_blocks() == [1]
    plan.on_size(size)
    assert plan.next_blocks() == []
    assert not plan.finished
    plan.on_done(1)
    assert plan.finished


def test_nothing_asked_is_finished_from_the_start() -> None:
    assert ReadPlan(3, 0, 4, block_bytes=MIB).finished
    empty = ReadPlan(0, 5, 4, block_bytes=MIB)
    empty.on_size(0)
    assert empty.finished


def test_after_a_failure_nothing_is_issued_and_the_rest_is_awaited() -> None:
    plan = ReadPlan(0, 10, 3, block_bytes=MIB)
    plan.on_size(10 * MIB)
    assert plan.next_blocks() == [0, 1, 2]
    plan.on_failed(1)
    assert plan.failed
    assert plan.next_blocks() == []
    plan.on_done(0)
    assert not plan.finished
    plan.on_failed(2)
    assert plan.finished


def test_a_cancelled_plan_finishes_when_what_is_under_way_is_reported() -> None:
    plan = ReadPlan(0, 10, 3, block_bytes=MIB)
    plan.next_blocks()
    plan.cancel()
    assert plan.next_blocks() == []
    assert not plan.finished
    plan.on_done(0)
    assert plan.finished


def test_the_size_may_be_repeated_and_not_changed() -> None:
    plan = ReadPlan(0, 10, 3, block_bytes=MIB)
    plan.on_size(5)
    plan.on_size(5)
    assert plan.size_bytes == 5
    with pytest.raises(ValueError, match="another version"):
        plan.on_size(6)


def test_misuse_is_refused() -> None:
    plan = ReadPlan(0, 10, 3, block_bytes=MIB)
    for report in (plan.on_done, plan.on_failed):
        with pytest.raises(KeyError):
            report(0)
    for first, count, window, block_bytes in [(-1, 1, 1, 1), (0, -1, 1, 1), (0, 1, 0, 1), (0, 1, 1, 0)]:
        with pytest.raises(ValueError, match="no plan for"):
            ReadPlan(first, count, window, block_bytes=block_bytes)


@given(
    data=st.data(),
    first=st.integers(0, 8),
    count=st.integers(0, 20),
    window=st.integers(1, 6),
    size=st.integers(0, 30),
)
def test_all_demand_is_issued_once_in_order_at_full_window(
    data: st.DataObject, first: int, count: int, window: int, size: int
) -> None:
    plan = ReadPlan(first, count, window, block_bytes=1)
    size_comes_with = data.draw(st.integers(0, 2), label="size known after so many steps")
    issued: list[int] = []
    for step in range(200):
        if step >= size_comes_with:
            plan.on_size(size)
        new = plan.next_blocks()
        issued += new
        if plan.size_bytes is None:
            assert len(plan.in_flight) <= 1
        elif plan.in_flight:
            demand_left = len(range(first, min(first + count, size))) - len(set(issued) & set(range(size)))
            # Demand is never throttled: either the window is full or everything has been issued.
            assert len(plan.in_flight) == window or demand_left == 0
        assert len(plan.in_flight) <= window
        if plan.finished and plan.size_bytes is not None:
            break
        if plan.in_flight and (step >= size_comes_with or data.draw(st.booleans())):
            plan.on_done(data.draw(st.sampled_from(sorted(plan.in_flight))))
    assert plan.finished
    assert issued == list(range(first, first + len(issued)))
    demand = list(range(first, min(first + count, size)))
    assert issued[: len(demand)] == demand
    # Beyond the demand are at most the blocks that were tried while nobody knew the size.
    assert len(issued) - len(demand) <= size_comes_with


def test_a_sequential_reader_gets_as_much_ahead_as_it_has_read_up_to_the_window() -> None:
    ahead = ReadAhead(4, block_bytes=MIB)
    found = [ahead.prefetch(range(index, index + 1), None) for index in range(8)]
    assert [list(each) for each in found] == [[], [2], [3, 4], [5, 6], [7, 8], [9], [10], [11]]


def test_small_reads_inside_one_block_count_it_once() -> None:
    ahead = ReadAhead(4, block_bytes=MIB)
    found = [ahead.prefetch(range(1), None) for _ in range(10)]
    assert [list(each) for each in found] == [[], [1], *([[]] * 8)]


def test_a_jump_begins_anew_and_does_not_ask_again_for_what_lies_ahead() -> None:
    ahead = ReadAhead(8, block_bytes=MIB)
    ahead.prefetch(range(4), None)
    assert ahead.prefetch(range(4, 5), None) == range(5, 9)
    assert not ahead.prefetch(range(6, 7), None)  # a jump into the prefetched part, which ends with block 8
    assert not ahead.prefetch(range(7, 8), None)  # one block would be allowed, and 8 is there already
    assert ahead.prefetch(range(8, 9), None) == range(9, 11)
    assert not ahead.prefetch(range(100, 101), None)
    assert ahead.prefetch(range(101, 102), None) == range(102, 103)


@pytest.mark.parametrize("reads", [range(50, 0, -1), range(0, 200, 3)])
def test_backward_and_strided_readers_get_nothing(reads: range) -> None:
    ahead = ReadAhead(8, block_bytes=MIB)
    assert not any(ahead.prefetch(range(index, index + 1), None) for index in reads)


def test_a_known_size_and_the_budget_clip() -> None:
    ahead = ReadAhead(8, block_bytes=MIB)
    ahead.prefetch(range(4), 10 * MIB)
    assert ahead.prefetch(range(4, 8), 10 * MIB, budget=0) == range(8, 8)
    assert ahead.prefetch(range(4, 8), 10 * MIB, budget=1) == range(8, 9)
    assert ahead.prefetch(range(4, 8), 9 * MIB + 1, budget=9) == range(9, 10)
    assert not ahead.prefetch(range(8, 10), 10 * MIB)
    assert not ahead.prefetch(range(0), None)


def reads_of_blocks() -> st.SearchStrategy[list[range]]:
    """Reads that often continue or overlap the last one, and sometimes jump."""
    step = st.tuples(
        st.sampled_from(["on", "on", "on", "back", "skip", "jump"]), st.integers(0, 5), st.integers(0, 40)
    )
    return st.lists(step, max_size=40).map(_as_reads)


def _as_reads(steps: list[tuple[str, int, int]]) -> list[range]:
    reads, position = [], 0
    for kind, length, place in steps:
        start = {
            "on": position,
            "back": max(0, position - place % 4),
            "skip": position + place % 4,
            "jump": place,
        }[kind]
        reads.append(range(start, start + length))
        position = start + length
    return reads


@settings(max_examples=400)
@given(
    data=st.data(), reads=reads_of_blocks(), window=st.integers(0, 10), size=st.none() | st.integers(0, 60)
)
def test_never_more_than_twice_the_blocks_read_are_loaded(
    data: st.DataObject, reads: list[range], window: int, size: int | None
) -> None:
    ahead = ReadAhead(window, block_bytes=1)
    read: set[int] = set()
    loaded: set[int] = set()
    for now_reading in reads:
        demand = (
            now_reading
            if size is None
            else range(now_reading.start, max(now_reading.start, min(now_reading.stop, size)))
        )
        budget = data.draw(st.none() | st.integers(0, 6), label="budget")
        prefetched = ahead.prefetch(demand, size, budget=budget)
        assert len(prefetched) <= min(len(read), window, budget if budget is not None else window)
        assert not set(prefetched) & set(demand)
        assert size is None or prefetched.stop <= max(size, prefetched.start)
        read.update(demand)
        loaded.update(demand, prefetched)
        assert len(loaded) <= 2 * len(read)


@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=30),
    window=st.integers(1, 10),
    size=st.integers(1, 200),
)
def test_one_sequential_reader_is_never_asked_for_a_block_twice_and_kept_ahead(
    lengths: list[int], window: int, size: int
) -> None:
    ahead = ReadAhead(window, block_bytes=1)
    prefetched: list[int] = []
    position = 0
    for length in lengths:
        if position >= size:
            break
        now_reading = range(position, min(position + length, size))
        prefetched += ahead.prefetch(now_reading, size)
        unread = [index for index in prefetched if index >= now_reading.stop]
        assert len(unread) <= position
        assert len(unread) >= min(position, window, size - now_reading.stop)
        position = now_reading.stop
    assert len(prefetched) == len(set(prefetched))
