"""Words of a line: as shlex has them, with their places; and quoting back."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labshell.core.errors import LineError, UnfinishedQuote
from labshell.core.limits import LINE_CHARACTERS_MAX
from labshell.core.words import quoted, split, words_of

LINES = st.text(alphabet="ab -='\"\\\t\n@é", max_size=30)


@given(LINES)
def test_words_are_those_of_shlex(line: str) -> None:
    try:
        expected = shlex.split(line)
    except ValueError:
        with pytest.raises(UnfinishedQuote) as caught:
            words_of(line)
        assert 0 <= caught.value.start < caught.value.end <= len(line)
        return
    assert [word.text for word in words_of(line)] == expected


@given(st.text(alphabet="ab '\"\\#\t\n", max_size=30))
def test_places_cover_all_but_space_and_comment(line: str) -> None:
    found = split(line)
    end = 0
    for word in found.words:
        assert not line[end : word.start].strip(" \t\r\n")
        assert word.start < word.end <= len(line)
        assert word.plain == (line[word.start : word.end] == word.text)
        end = word.end
    rest = line[end:].strip(" \t\r\n")
    assert rest == "" or (found.comment and rest.startswith("#"))


@given(st.text(max_size=20), st.sampled_from(["", "'", '"']))
def test_quoted_text_is_one_word(text: str, quote: str) -> None:
    words = words_of(f"x {quoted(text, quote)} y")
    assert [word.text for word in words] == ["x", text, "y"]


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ("# a comment", []),
        ("a # b", ["a"]),
        ("a#b", ["a#b"]),
        ("a '#b'", ["a", "#b"]),
        ("''", [""]),
        ("a''b", ["ab"]),
    ],
)
def test_comments_begin_where_a_word_would(line: str, texts: list[str]) -> None:
    assert [word.text for word in words_of(line)] == texts


@pytest.mark.parametrize(("line", "start"), [("a 'b c", 2), ('say "x', 4), ("a b\\", 3), ("a'b'\"c", 4)])
def test_unfinished_quote_is_marked_where_it_opens(line: str, start: int) -> None:
    with pytest.raises(UnfinishedQuote) as caught:
        words_of(line)
    assert caught.value.start == start
    assert split(line).open_quote == line[start]


def test_line_is_read_up_to_its_limit_and_not_past_it() -> None:
    assert len(words_of("x" * LINE_CHARACTERS_MAX)) == 1
    with pytest.raises(LineError, match="characters"):
        words_of("x" * (LINE_CHARACTERS_MAX + 1))
