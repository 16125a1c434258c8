"""Conditional requests: RFC 9110 section 13, as a function of values.

Law. Whether a request with conditions is answered in full, with 304 or with 412 is decided here alone, from the headers and the
object's validators. The order is that of RFC 9110 13.2.2, and S3's documented table says the same: ``If-Match`` beats
``If-Unmodified-Since`` (the first holds and the second does not: 200), ``If-None-Match`` beats ``If-Modified-Since`` (the tag matches and the
object is newer: 304). ``ETag`` comparison is strong for ``If-Match`` and ``If-Range``, weak for ``If-None-Match`` (8.8.3.2). Clients send
ETags without their quotes too; S3 accepts them, and so do we.

A date is one of the three forms of HTTP (5.6.7), all in GMT whatever this host's zone is; anything else is ignored, as the RFC demands (13.1.3,
13.1.4), and no range applies under it (13.1.5). A date in the future is a date like any other: RFC 2616 had it ignored, RFC 9110 has not.
Rejected: ``email.utils``, which takes dates of mails (any zone, or numbers out of their range), and reads those without a zone as local time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

__all__ = ["CONDITIONAL_HEADERS", "evaluate_conditions", "failed_condition", "parse_date", "range_applies"]

CONDITIONAL_HEADERS = frozenset((b"if-match", b"if-unmodified-since", b"if-none-match", b"if-modified-since"))

_TAG = re.compile(r'(W/)?("[^"]*"|[^",\s]+)')


def evaluate_conditions(headers: Mapping[bytes, bytes], etag: str, last_modified_s: float) -> int | None:
    """304, 412, or None to answer in full. ``etag`` has its quotes; ``last_modified_s`` is seconds since the epoch."""
    match = headers.get(b"if-match")
    if match is not None:
        if not _matches(match, etag, weak=False):
            return 412
    elif _later_than(last_modified_s, headers.get(b"if-unmodified-since")) is True:
        return 412
    none_match = headers.get(b"if-none-match")
    if none_match is not None:
        return 304 if _matches(none_match, etag, weak=True) else None
    return 304 if _later_than(last_modified_s, headers.get(b"if-modified-since")) is False else None


def failed_condition(headers: Mapping[bytes, bytes]) -> str:
    """The header that a 412 comes from, as S3's error names it."""
    return "If-Match" if b"if-match" in headers else "If-Unmodified-Since"


def range_applies(if_range: bytes | None, etag: str, last_modified_s: float) -> bool:
    """Whether a Range is to be honoured under ``If-Range`` (RFC 9110 13.1.5): the ETag, or the exact date."""
    if if_range is None:
        return True
    if if_range.startswith((b'"', b"W/")):
        return _matches(if_range, etag, weak=False)
    date_s = parse_date(if_range)
    return date_s is not None and date_s == int(last_modified_s)


def _matches(field: bytes, etag: str, *, weak: bool) -> bool:
    text = field.decode("latin-1").strip()
    if text == "*":
        return True
    if not weak and etag.startswith("W/"):
        return False
    wanted = etag.removeprefix("W/").strip('"')
    return any(tag.strip('"') == wanted and (weak or not weak_mark) for weak_mark, tag in _TAG.findall(text))


def _later_than(last_modified_s: float, field: bytes | None) -> bool | None:
    """Whether the object is newer than the date of the header; None without a valid date."""
    date_s = parse_date(field)
    return None if date_s is None else int(last_modified_s) > date_s


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DATES = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rb"[a-z]{3}, +(?P<day>\d\d?) (?P<month>[a-z]{3}) (?P<year>\d{4}) "
        + _TIME
        + rb" (?:GMT|UTC|[+-]0000)",
        rb"[a-z]{6,9}, (?P<day>\d\d)-(?P<month>[a-z]{3})-(?P<year>\d\d) " + _TIME + rb" GMT",  # RFC 850's
        rb"[a-z]{3} (?P<month>[a-z]{3}) (?P<day>[ \d]\d) " + _TIME + rb" (?P<year>\d{4})",  # asctime's
    )
)

#: Two digits of a year from here on are of the last century, as POSIX has it.
_CENTURY_TURNS = 69


def parse_date(field: bytes | None) -> int | None:
    """Seconds since the epoch; None if it is no date of HTTP."""
    return None if field is None else _date_of(field)


@lru_cache(maxsize=256)  # clients ask with the dates they were told
def _date_of(field: bytes) -> int | None:
    for form in _DATES:
        match = form.fullmatch(field)
        if match is not None:
            return _epoch_seconds(match)
    return None


def _epoch_seconds(match: re.Match[bytes]) -> int | None:
    month, year = match["month"].decode().lower(), int(match["year"])
    if len(match["year"]) == 2:
        year += 1900 if year >= _CENTURY_TURNS else 2000
    second = (
        min(int(match["second"]), 59) if match["second"] == b"60" else int(match["second"])
    )  # a leap second
    try:
        date = datetime(
            year, _MONTHS.index(month) + 1, int(match["day"]), int(match["hour"]), int(match["minute"]), second, tzinfo=UTC
        )  # fmt: skip
    except ValueError:
        return None
    return int(date.timestamp())
