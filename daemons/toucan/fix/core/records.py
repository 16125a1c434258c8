"""The files of a FIX process as bytes: records behind each other, each with its length and a checksum.

Law: bytes in, records out, and what stands behind the last whole one. A record is a u32 length, a u32 crc32c of the payload (going on from the
length's), and the payload; all little-endian. A file that ends inside a record was being written when the process ended (TORN), and nobody has
been told of that record; anything else that does not fit is DAMAGE.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator

import crc32c

from toucan.fix.limits import RECORD_BYTES_MAX

__all__ = ["RecordEnd", "encode_record", "read_records"]

_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")


class RecordEnd(enum.Enum):
    """What is behind the last whole record."""

    CLEAN = "nothing"
    TORN = "a record that was not finished"
    DAMAGE = "bytes that are no record"


def encode_record(payload: bytes) -> bytes:
    """A record."""
    length = _LENGTH.pack(len(payload))
    return length + _LENGTH.pack(crc32c.crc32c(payload, crc32c.crc32c(length))) + payload


def read_records(data: bytes) -> Iterator[tuple[bytes, int] | RecordEnd]:
    """Each payload with the offset behind it, and at last what is behind them."""
    start = 0
    while start < len(data):
        if start + _HEAD.size > len(data):
            yield RecordEnd.TORN
            return
        length, checksum = _HEAD.unpack_from(data, start)
        if length > RECORD_BYTES_MAX:
            yield RecordEnd.DAMAGE
            return
        end = start + _HEAD.size + length
        if end > len(data):
            yield RecordEnd.TORN
            return
        payload = data[start + _HEAD.size : end]
        if crc32c.crc32c(payload, crc32c.crc32c(data[start : start + _LENGTH.size])) != checksum:
            yield RecordEnd.DAMAGE
            return
        yield payload, end
        start = end
    yield RecordEnd.CLEAN
