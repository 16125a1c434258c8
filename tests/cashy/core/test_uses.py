"""How many uses the touch marks of a batch stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.uses import PIECES_APART_MAX, uses


@pytest.mark.parametrize(
    ("marks", "due"),
    [
        ("", ""),
        ("a", "a"),
        ("aaaaaaaa", "a"),  # one reader, in small pieces
        ("abcdabcdabcdabcd", "abcd"),  # four in turns
        ("abcdeabcdeabcde", "abcdeabcdeabcde"),  # an object of five blocks, read three times
        ("aaabbbcccdddaaa", "abcda"),
    ],
)
def test_pieces_of_one_reading_are_one_use_and_what_is_read_again_is_another(marks: str, due: str) -> None:
    assert "".join(map(chr, uses(map(ord, marks)))) == due


@given(st.lists(st.integers(0, 8)))
def test_each_block_with_a_mark_was_used_and_none_oftener_than_it_was_marked(marks: list[int]) -> None:
    found = list(uses(marks))
    assert set(found) == set(marks)
    assert all(found.count(mark) <= marks.count(mark) for mark in set(marks))


@given(st.permutations(range(PIECES_APART_MAX + 1)), st.integers(1, 5))
def test_uses_do_not_depend_on_how_many_times_the_marks_were_taken_in(order: list[int], rounds: int) -> None:
    """As long as the blocks are read one after the other: all at once is what round by round would be."""
    assert list(uses(order * rounds)) == [mark for _ in range(rounds) for mark in uses(order)]
