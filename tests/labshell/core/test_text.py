"""Text that terminals show: harmless, and as wide as it is said to be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from labshell.core.text import ago, cut, one_line, padded, printable, width_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\tb\nc", "a    b\nc"),
        ("\x1b[31mred\x1b[0m", "?[31mred?[0m"),
        ("\x1b]0;title\x07", "?]0;title?"),
        ("\x9b31m", "?31m"),
        ("evil\u202etxt", "evil?txt"),
        ("zero\u200bwidth", "zero?width"),
        ("line\u2028end", "line?end"),
        ("\ud800", "?"),
        ("naïve 漢字 é", "naïve 漢字 é"),
    ],
)
def test_what_steers_terminals_is_shown_instead(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_printable_text_has_no_controls(text: str) -> None:
    shown = printable(text)
    assert all(character == "\n" or character.isprintable() or character.isspace() for character in shown)
    assert not any(
        ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in shown.replace("\n", "")
    )
    assert printable(shown) == shown
    assert "\n" not in one_line(text)


@given(st.text(max_size=10))
def test_width_is_never_less_than_what_the_terminal_library_counts(text: str) -> None:
    shown = one_line(text)
    assert width_of(shown) >= get_cwidth(shown)


def test_no_character_is_wider_than_it_is_counted() -> None:
    characters = [printable(chr(code)) for code in range(0x20, 0x20000)]
    assert [one for one in characters if width_of(one) < get_cwidth(one)] == []
    # With the selector that makes some of them wide.
    assert [one for one in characters if width_of(one + "\ufe0f") < get_cwidth(one + "\ufe0f")] == []


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("漢字", 4), ("e\u0301", 1), ("\uff46\uff55", 4), ("", 0), ("…", 1), ("🐦", 2)],
)
def test_width(text: str, width: int) -> None:
    assert width_of(text) == width == get_cwidth(text)


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("abcd", 1, "…"),
        ("abcd", 0, ""),
        ("漢字漢", 4, "漢…"),
        ("漢字漢", 5, "漢字…"),
    ],
)
def test_cut(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown


@given(st.text(max_size=10).map(one_line), st.integers(0, 12), st.booleans())
def test_cut_and_padded_keep_their_width(text: str, width: int, right: bool) -> None:
    assert width_of(cut(text, width)) <= width
    assert width_of(padded(text, width, right=right)) == width


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (119.9, "119 s"),
        (120, "2 min"),
        (7_199, "119 min"),
        (7_200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
    ],
)
def test_ago_has_one_unit(seconds: float, text: str) -> None:
    assert ago(seconds) == text
