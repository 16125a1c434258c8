"""JSON messages for people, and everything else to the letter."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labshell.core.log_text import readable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            '{"event": "peer up", "peer": "a", "n": 3, "level": "info", "timestamp": "t"}',
            "peer up  peer=a n=3",
        ),
        (
            '{"event": "x", "why": "two words", "empty": "", "no": null}',
            'x  why="two words" empty="" no=null',
        ),
        ('{"event": "alone"}', "alone"),
        ('{"event": 3}', '{"event": 3}'),
        ('{"event": "cut', '{"event": "cut'),
        ('{"a": 1}', '{"a": 1}'),
        ("plain", "plain"),
    ],
)
def test_messages(text: str, shown: str) -> None:
    assert readable(text) == shown


@given(st.text())
def test_what_is_no_json_is_left_as_it_is(text: str) -> None:
    assert text.startswith('{"') or readable(text) == text


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.none()), st.text(min_size=1))
def test_every_field_is_shown(fields: dict[str, str | int | None], event: str) -> None:
    shown = readable(json.dumps({"event": event, **{f"k{name}": value for name, value in fields.items()}}))
    assert shown.startswith(event.rstrip() if not fields else event)
    assert all(f"k{name}=" in shown for name in fields)
