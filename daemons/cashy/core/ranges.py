"""The Range header: RFC 9110 section 14, as S3 treats it.

Law. This module alone turns a ``Range`` header and an object's size into the bytes to be sent. It knows no request and no response but
for the values of ``Range`` and ``Content-Range``; conditions (``If-Range``) and status codes are the endpoint's.

RFC 9110 14.2 lets a server ignore a Range header, and says so for what it cannot parse. S3 makes full use of that, and clients rely on it:

* one range ``bytes=a-b``, ``bytes=a-`` or ``bytes=-n``: 206 with these bytes, clipped at the object's end;
* a range that begins at or after the end, ``bytes=-0``, or any valid range of an empty object: 416 ``InvalidRange``;
* anything else (another unit, no number, the end before the beginning, more than one range): 200 with the whole object. The S3 API
  Reference says of GetObject that it does not support several ranges; S3 then answers with the whole object, never with 416.

Rejected: multipart/byteranges answers (S3 has none, and they are a known way to make a server send one byte many times).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cashy.errors import InvalidRequest

__all__ = [
    "RANGE_HEADER_CHARACTERS_MAX",
    "ByteRange",
    "InvalidRange",
    "parse_range",
    "unsatisfied_content_range",
]

# Far above any real range; a longer header is ignored like any other malformed one. It also bounds the digits given to int(), which is
# quadratic and refuses more than 4,300 of them.
RANGE_HEADER_CHARACTERS_MAX = 256

# One range; empty list elements and blanks around it are legal in a list (RFC 9110 5.6.1). Digits are ASCII only, unlike int()'s.
_SINGLE_RANGE = re.compile(r"bytes=[ \t,]*([0-9]*)-([0-9]*)[ \t,]*", re.IGNORECASE)


class InvalidRange(InvalidRequest):
    """No byte of the object lies in the range: 416, S3's ``InvalidRange``, with :func:`unsatisfied_content_range`."""

    def __init__(self, message: str, size_bytes: int) -> None:
        super().__init__(message)
        self.size_bytes = size_bytes


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``start`` … ``stop`` - 1 of an object of ``size_bytes``; never empty: 0 <= start < stop <= size_bytes."""

    start: int
    stop: int
    size_bytes: int

    @property
    def length(self) -> int:
        """Number of bytes, which is the answer's Content-Length."""
        return self.stop - self.start

    @property
    def content_range(self) -> str:
        """The value of the answer's Content-Range header (RFC 9110 14.4): its last position is inclusive."""
        return f"bytes {self.start}-{self.stop - 1}/{self.size_bytes}"


def parse_range(header: str | None, size_bytes: int) -> ByteRange | None:
    """The bytes that ``header`` asks of an object of ``size_bytes``; None means the whole object (200), also for an ignored header.

    Raises :class:`InvalidRange` (416) if the header is valid and no byte satisfies it.
    """
    if header is None or len(header) > RANGE_HEADER_CHARACTERS_MAX:
        return None
    match = _SINGLE_RANGE.fullmatch(header)
    if match is None:
        return None
    first, last = match.groups()
    if first:
        return _from_positions(int(first), int(last) if last else None, size_bytes)
    return _from_suffix(int(last), size_bytes) if last else None


def unsatisfied_content_range(size_bytes: int) -> str:
    """The value of Content-Range in a 416 answer (RFC 9110 15.5.17)."""
    return f"bytes */{size_bytes}"


def _from_positions(first: int, last: int | None, size_bytes: int) -> ByteRange | None:
    if last is not None and last < first:
        return None
    if first >= size_bytes:
        raise InvalidRange(
            f"the range begins at byte {first}, and the object has {size_bytes} bytes", size_bytes
        )
    stop = size_bytes if last is None else min(last + 1, size_bytes)
    return ByteRange(first, stop, size_bytes)


def _from_suffix(length: int, size_bytes: int) -> ByteRange:
    if not length or not size_bytes:
        raise InvalidRange(f"there are no last {length} bytes in an object of {size_bytes} bytes", size_bytes)
    return ByteRange(max(0, size_bytes - length), size_bytes, size_bytes)
