"""Values that are neither names nor any text: durations, times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labshell.core.values import duration_s, since_ns

NS = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5h", 5400), ("2d", 172800), ("500ms", 0.5), ("0", 0), ("", None), ("-1", None), ("1w", None),
     ("1 s", None), ("9" * 10, None), ("9" * 9, 999_999_999), ("\u0661", None), ("1.s", None)],
)  # fmt: skip
def test_duration(text: str, seconds: float | None) -> None:
    assert duration_s(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "at_s"),
    [
        ("10m", 999_400),
        ("1970-01-01T00:01", 60),
        ("1970-01-01", 0),
        ("1970-01-01T01:01+01:00", 60),
        ("1969-01-01", 0),
        ("30d", 0),
        ("soon", None),
    ],
)
def test_since(text: str, at_s: int | None) -> None:
    assert since_ns(text, 1_000_000 * NS) == (None if at_s is None else at_s * NS)


@given(st.text(max_size=20))
def test_any_text_is_a_time_or_none(text: str) -> None:
    found = since_ns(text, 1_000 * NS)
    assert found is None or found >= 0
