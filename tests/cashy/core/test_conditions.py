"""Conditions of requests, by the sections of RFC 9110 and the table of S3's GetObject."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.conditions import evaluate_conditions, failed_condition, parse_date, range_applies

ETAG, OTHER = '"e"', '"other"'
MODIFIED_S = 784_111_777  # the RFC's own example
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = b"Sun, 06 Nov 1994 08:49:36 GMT"
FUTURE = b"Tue, 01 Jan 2999 00:00:00 GMT"


def evaluate(**headers: bytes | str) -> int | None:
    as_sent = {
        name.lower().replace("_", "-").encode(): value.encode() if isinstance(value, str) else value
        for name, value in headers.items()
    }
    return evaluate_conditions(as_sent, ETAG, MODIFIED_S)


# ---------------------------------------------------------------- dates


@pytest.mark.parametrize(
    "text",
    [DATE, b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994", b"Sun, 6 Nov 1994 08:49:37 GMT",
     b"sun, 06 nov 1994 08:49:37 gmt", b"Sun, 06 Nov 1994 08:49:37 +0000", b"Sun, 06 Nov 1994 08:49:37 UTC"],
)  # fmt: skip
def test_the_three_forms_of_a_date(text: bytes) -> None:
    """RFC 9110 5.6.7; the last ones are what clients send without harm."""
    assert parse_date(text) == MODIFIED_S


@pytest.mark.parametrize(
    "text",
    [b"", b"yesterday", b"784111777", b"1994-11-06T08:49:37Z", b"Sun, 06 Nov 1994 08:49:37", b"Sun, 06 Nov 1994 08:49:37 +0100",
     b"Sun, 06 Nov 1994 08:49:37 EST", b"Sun, 31 Feb 1994 08:49:37 GMT", b"Sun, 06 Nov 1994 24:49:37 GMT",
     b"Sun, 06 Nov 0000 08:49:37 GMT", b"Sun, 06 Mai 1994 08:49:37 GMT", DATE + b", " + DATE, DATE + b"\xb9", b"\xff" * 40],
)  # fmt: skip
def test_anything_else_is_no_date(text: bytes) -> None:
    assert parse_date(text) is None


@given(st.integers(0, 4_102_444_800))
def test_every_date_comes_back(seconds: int) -> None:
    assert parse_date(formatdate(seconds, usegmt=True).encode()) == seconds
    date = datetime.fromtimestamp(seconds, UTC)
    assert parse_date(date.strftime("%a %b %e %H:%M:%S %Y").encode()) == seconds
    if date.year < 2069:
        assert parse_date(date.strftime("%A, %d-%b-%y %H:%M:%S GMT").encode()) == seconds


@given(st.binary(max_size=60))
def test_no_bytes_are_an_error(text: bytes) -> None:
    date_s = parse_date(text)
    assert date_s is None or isinstance(date_s, int)


@pytest.fixture
def far_from_greenwich() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Pacific/Auckland"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("far_from_greenwich")
def test_dates_are_gmt_wherever_this_host_is() -> None:
    parse_date_anew = parse_date.__globals__["_date_of"].__wrapped__
    for text in (DATE, b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"):
        assert parse_date_anew(text) == MODIFIED_S


# ---------------------------------------------------------------- verdicts

#: Headers and verdict. "S3" marks the rows of "Conditional requests" in the API Reference's GetObject.
TABLE: list[tuple[dict[str, bytes | str], int | None]] = [
    ({}, None),
    ({"if_match": ETAG}, None),  # 13.1.1
    ({"if_match": OTHER}, 412),
    ({"if_match": "*"}, None),
    ({"if_match": f"{OTHER}, {ETAG}"}, None),
    ({"if_match": f"W/{ETAG}"}, 412),  # a strong comparison
    ({"if_match": "e"}, None),  # S3 takes it without quotes
    ({"if_match": b"\xff"}, 412),
    ({"if_none_match": ETAG}, 304),  # 13.1.2
    ({"if_none_match": OTHER}, None),
    ({"if_none_match": "*"}, 304),
    ({"if_none_match": f"W/{ETAG}"}, 304),  # a weak one
    ({"if_none_match": '"a,b", "e"'}, 304),
    ({"if_none_match": '"a", b"'}, None),
    ({"if_modified_since": DATE}, 304),  # 13.1.3
    ({"if_modified_since": BEFORE}, None),
    ({"if_modified_since": FUTURE}, 304),
    ({"if_modified_since": b"nonsense"}, None),
    ({"if_unmodified_since": DATE}, None),  # 13.1.4
    ({"if_unmodified_since": BEFORE}, 412),
    ({"if_unmodified_since": FUTURE}, None),
    ({"if_unmodified_since": b"nonsense"}, None),
    ({"if_match": ETAG, "if_unmodified_since": BEFORE}, None),  # S3: true and false give 200
    ({"if_none_match": ETAG, "if_modified_since": BEFORE}, 304),  # S3: false and true give 304
    ({"if_match": OTHER, "if_unmodified_since": FUTURE}, 412),
    ({"if_none_match": OTHER, "if_modified_since": FUTURE}, None),
    ({"if_none_match": OTHER, "if_modified_since": b"nonsense"}, None),
    ({"if_match": ETAG, "if_none_match": ETAG}, 304),
    ({"if_match": OTHER, "if_none_match": ETAG}, 412),
    ({"if_unmodified_since": BEFORE, "if_none_match": ETAG}, 412),
    ({"if_unmodified_since": DATE, "if_modified_since": DATE}, 304),
]


@pytest.mark.parametrize(("headers", "verdict"), TABLE, ids=str)
def test_verdicts(headers: dict[str, bytes | str], verdict: int | None) -> None:
    assert evaluate(**headers) == verdict


TAGS = {ETAG: True, OTHER: False, "*": True}
DATES = {BEFORE: -1, DATE: 0, FUTURE: 1, b"nonsense": None}


@given(
    *(st.none() | st.sampled_from(sorted(TAGS)) for _ in range(2)),
    *(st.none() | st.sampled_from(sorted(DATES)) for _ in range(2)),
)
def test_all_combinations_follow_the_order_of_the_rfc(
    match: str | None, none_match: str | None, modified: bytes | None, unmodified: bytes | None
) -> None:
    """RFC 9110 13.2.2, step by step."""
    given = {
        "if_match": match, "if_none_match": none_match, "if_modified_since": modified, "if_unmodified_since": unmodified,
    }  # fmt: skip
    headers = {name: value for name, value in given.items() if value is not None}
    order = None if unmodified is None else DATES[unmodified]
    expected: int | None = None
    fails_match = match is not None and not TAGS[match]
    if fails_match or (match is None and order is not None and order < 0):
        expected = 412
    elif none_match is not None:
        expected = 304 if TAGS[none_match] else None
    elif modified is not None and DATES[modified] is not None and DATES[modified] >= 0:  # type: ignore[operator]
        expected = 304
    assert evaluate(**headers) == expected
    if expected == 412:
        named = failed_condition({name.replace("_", "-").encode(): b"" for name in headers})
        assert named == ("If-Match" if match is not None else "If-Unmodified-Since")


@pytest.mark.parametrize(
    ("field", "applies"),
    [(None, True), (b'"e"', True), (b'"other"', False), (b'W/"e"', False), (DATE, True), (BEFORE, False), (FUTURE, False), (b"e", False)],
)  # fmt: skip
def test_if_range_wants_the_very_version(field: bytes | None, applies: bool) -> None:
    """RFC 9110 13.1.5: a strong tag, or exactly the date."""
    assert range_applies(field, ETAG, MODIFIED_S + 0.4) is applies
