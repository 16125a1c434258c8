"""The index of a disk against a dict, and its clock against what it promises."""

from __future__ import annotations

import random
import resource
from array import array
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cashy.core.disk_index import DISK_PAGE_BYTES, DiskIndex, cost_bytes

#: Few, and many of them on one place of the table.
KEYS = [(number % 3).to_bytes(8, "little") + number.to_bytes(8, "little") + bytes(16) for number in range(24)]


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "remove", "touch", "victim"]), st.integers(0, 23)), max_size=200
    )
)
@settings(max_examples=300, deadline=None)
def test_it_holds_what_a_dict_would(steps: list[tuple[str, int]]) -> None:
    index, model = DiskIndex(8), dict[bytes, tuple[int, int]]()
    for number, (what, chosen) in enumerate(steps):
        key = KEYS[chosen]
        if what == "add" and (len(model) < 8 or key in model):
            index.add(key, 1000 * number, number)
            model[key] = 1000 * number, number
        elif what == "remove" and (place := index.find(key)) is not None:
            index.remove(place.slot)
            assert not index.holds(place)
            del model[key]
        elif what == "touch" and (place := index.find(key)) is not None:
            index.touch(place.slot)
        elif what == "victim" and (place := index.victim()) is not None:
            index.remove(place.slot)
            (gone,) = (each for each in model if each[:16] == place.key)
            del model[gone]
        assert {place.key: (place.length, place.crc) for place in index.places()} == {
            each[:16]: values for each, values in model.items()
        }
        for each in KEYS:
            found = index.find(each)
            assert (found is None) == (each not in model)
        assert len(index) == len(model)
        assert index.used_bytes == sum(cost_bytes(length) for length, _ in model.values())


def test_who_came_first_goes_first_unless_it_was_read_since() -> None:
    index, order = DiskIndex(4), OrderedDict[bytes, None]()
    for key in KEYS[:4]:
        index.add(key, 1, 0)
        order[key[:16]] = None
    found = index.find(KEYS[0])
    assert found is not None
    index.touch(found.slot)
    gone = []
    while (victim := index.victim()) is not None:
        gone.append(index.remove(victim.slot).key)
    assert gone == [KEYS[1][:16], KEYS[2][:16], KEYS[3][:16], KEYS[0][:16]]


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "remove", "touch", "victim"]), st.integers(0, 15)), max_size=200
    )
)
@settings(max_examples=300, deadline=None)
def test_its_hand_goes_as_one_that_looks_at_each_place(steps: list[tuple[str, int]]) -> None:
    index, marks, hand, places = DiskIndex(8), dict[int, bool](), 0, 0  # by place: whether it was read
    for what, chosen in steps:
        found = index.find(KEYS[chosen])
        if what == "add" and found is None and len(index) < 8:
            slot = index.add(KEYS[chosen], 1, 0).slot
            marks[slot], places = False, max(places, slot + 1)
        elif what == "remove" and found is not None:
            index.remove(found.slot)
            del marks[found.slot]
        elif what == "touch" and found is not None:
            index.touch(found.slot)
            marks[found.slot] = True
        elif what == "victim" and (victim := index.victim()) is not None:
            while marks.get(hand, True):
                if hand in marks:
                    marks[hand] = False
                hand = (hand + 1) % places
            assert victim.slot == hand
            index.remove(victim.slot)
            del marks[hand]
            hand = (hand + 1) % places


def test_all_who_are_left_were_read_and_lie_behind_the_hand() -> None:
    index = DiskIndex(8)
    index.add(KEYS[0], 1, 0)
    index.remove(index.add(KEYS[1], 1, 0).slot)
    first = index.victim()
    assert first is not None
    index.remove(first.slot)
    again = index.add(KEYS[0], 1, 0)
    index.touch(again.slot)
    assert index.victim() == again


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_block_takes_few_bytes_also_where_four_times_as_many_have_places() -> None:
    count = 500_000
    keys = random.Random(1).randbytes(16 * count)
    numbers = array("I", range(count)).tobytes()
    before = resident_bytes()
    index = DiskIndex(4 * count)
    index.load(keys, numbers, numbers)
    assert len(index) == count
    assert (resident_bytes() - before) / count < 100


def test_a_copy_is_written_down_right_while_gaps_are_filled() -> None:
    index = DiskIndex(4)
    for number in range(3):
        index.add(KEYS[number], 1, number)
    index.remove(1)
    copy = index.copied()
    index.add(KEYS[5], 1, 5)
    assert copy.dump()[0] == KEYS[0][:16] + KEYS[2][:16]


def test_a_full_index_says_so_and_holds_a_digest_once() -> None:
    index = DiskIndex(2)
    index.add(KEYS[0], 1, 1)
    index.add(KEYS[0], 2, 2)
    assert (len(index), index.find(KEYS[0])) == (1, (0, KEYS[0][:16], 2, 2))
    index.add(KEYS[1], 1, 1)
    with pytest.raises(ValueError, match="all 2 places are used"):
        index.add(KEYS[2], 1, 1)


def test_a_copy_is_not_changed_with_its_original() -> None:
    index = DiskIndex(4)
    index.add(KEYS[0], 1, 1)
    copy = index.copied()
    index.add(KEYS[1], 1, 1)
    index.remove(0)
    assert [place.key for place in copy.places()] == [KEYS[0][:16]]


@pytest.mark.parametrize(
    ("length", "pages"), [(0, 1), (1, 2), (DISK_PAGE_BYTES, 2), (DISK_PAGE_BYTES + 1, 3)]
)
def test_a_block_costs_its_pages_and_one(length: int, pages: int) -> None:
    assert cost_bytes(length) == pages * DISK_PAGE_BYTES


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 23)), max_size=60), st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_what_was_dumped_is_loaded_in_its_order_and_the_last_of_it_where_places_are_few(
    steps: list[tuple[bool, int]], capacity: int
) -> None:
    index = DiskIndex(12)
    for is_adding, chosen in steps:
        found = index.find(KEYS[chosen])
        if found is not None and not is_adding:
            index.remove(found.slot)
        elif is_adding:
            if len(index) == 12 and found is None and (victim := index.victim()) is not None:
                index.remove(victim.slot)
            index.add(KEYS[chosen], chosen * 5000, chosen)
    other = DiskIndex(capacity)
    other.load(*index.dump())
    expected = [place[1:] for place in index.places()][-capacity:]
    assert [place[1:] for place in other.places()] == expected
    for key, length, crc in expected:
        assert other.find(key)[1:] == (key, length, crc)  # type: ignore[index]
    assert other.used_bytes == sum(cost_bytes(length) for _, length, _ in expected)
