"""Conditional requests: RFC 9110 section 13, as a function of values.

Law. Whether a request with conditions is answered in full, with 304 or with 412 is decided here alone, from the headers and the
object's validators. The order is that of RFC 9110 13.2.2, which is also S3's: ``If-Match`` beats ``If-Unmodified-Since``, and
``If-None-Match`` beats ``If-Modified-Since``. A date that does not parse is ignored, as the RFC demands. ``ETag`` comparison is strong for
``If-Match`` and ``If-Range``, weak for ``If-None-Match`` (8.8.3.2). Clients send ETags without their quotes too; S3 accepts them, and so do we.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

__all__ = ["CONDITIONAL_HEADERS", "evaluate_conditions", "range_applies"]

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


def range_applies(if_range: bytes | None, etag: str, last_modified_s: float) -> bool:
    """Whether a Range is to be honoured under ``If-Range`` (RFC 9110 13.1.5): the ETag, or the exact date."""
    if if_range is None:
        return True
    if if_range.startswith((b'"', b"W/")):
        return _matches(if_range, etag, weak=False)
    date_s = _parse_date(if_range)
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
    date_s = _parse_date(field)
    return None if date_s is None else int(last_modified_s) > date_s


def _parse_date(field: bytes | None) -> int | None:
    if field is None:
        return None
    try:
        return int(parsedate_to_datetime(field.decode("ascii")).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
