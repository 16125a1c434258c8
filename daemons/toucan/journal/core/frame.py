"""The bytes of a segment: its header and its records, made and taken apart one at a time. :mod:`toucan.journal.core.scan` reads a whole segment.

Law: layout and checksums only; what a place that is no record *means* (an end, a torn tail, damage) is decided in ``scan``, and where bytes come
from is known to neither. All integers are little-endian. A segment is a header and records behind each other, each at a multiple of 8; the rest
is zeros::

    segment header, 64 bytes             record, 64 bytes and its payload
     0  4s  magic "TJs1"                  0  4s  magic "TJr1"
     4  u32 crc32c of bytes 8..64         4  u32 crc32c of all from byte 8 to the end of the padding, going on from the segment's salt
     8  u32 format version (1)            8  u64 first_seq: number of its first event
    12  u32 zero                         16  u64 durable_seq: every event up to here was durable before this record was written
    16 16s  journal id                   24  i64 at_ns: wall clock, ns since 1970-01-01 UTC
    32  u64 number of its first event    32  u32 count of its events; first_seq + count is the next record's first_seq
    40  u64 size of the file             36  u32 length of the payload
    48 16s  chain hash before            40  u64 offset of the record in its file
                                         48 16s  chain hash
                                         64      payload, then zeros up to a multiple of 8

* *salt*: crc32c of journal id and first event number of the segment. A record of another journal or segment, and one that a payload imitates,
  does not fit; nor does one that stands at another offset than it says. So a reader behind a damaged place can look for the next record without
  being fooled.
* *chain hash*: blake2b, 16 bytes, of the hash before, bytes 8..48 and the payload. It begins with the journal id. Nothing can be taken out, put in or
  replaced in the middle while a later hash is known elsewhere (the witness, a snapshot).
* *durable_seq* tells a commit that never ended from one that did and was damaged later: whatever a valid record says to be durable was written.

Rejected: lengths at the end of records (for reading backwards; nobody does), a checksum of the header alone (a damaged length makes the whole
checksum fail, and the search for the next record needs no length), a commit record behind each batch (64 bytes more, and the next record says the
same).
"""

from __future__ import annotations

from enum import Enum
from hashlib import blake2b
from struct import Struct

import crc32c
import msgspec

from toucan.journal.limits import RECORD_PAYLOAD_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEQ_MAX

__all__ = [
    "ALIGNMENT_BYTES",
    "CHAIN_BYTES",
    "FORMAT_VERSION",
    "JOURNAL_ID_BYTES",
    "RECORD_HEADER_BYTES",
    "RECORD_MAGIC",
    "SEGMENT_HEADER_BYTES",
    "Flaw",
    "Record",
    "SegmentHeader",
    "checksum",
    "decode_record",
    "decode_segment_header",
    "encode_record",
    "encode_segment_header",
    "flaw_in_order",
    "record_bytes",
    "record_bytes_at",
]

#: Written into every segment; a program reads only its own.
FORMAT_VERSION = 1

SEGMENT_MAGIC = b"TJs1"
RECORD_MAGIC = b"TJr1"
JOURNAL_ID_BYTES = 16
CHAIN_BYTES = 16
ALIGNMENT_BYTES = 8

# version, zero, journal id, first number, file size, chain before
_SEGMENT = Struct("<II16sQQ16s")
# first number, durable, at, count, payload length, offset; the chain's hash covers these, and stands behind them
_RECORD = Struct("<QQqIIQ")
_PREFIX = Struct("<4sI")  # magic, checksum of what follows
_U32 = Struct("<I")

SEGMENT_HEADER_BYTES = _PREFIX.size + _SEGMENT.size
RECORD_HEADER_BYTES = _PREFIX.size + _RECORD.size + CHAIN_BYTES
_FIELDS_END = _PREFIX.size + _RECORD.size
_LENGTH_AT = 36

assert SEGMENT_HEADER_BYTES == RECORD_HEADER_BYTES == 64
assert _FIELDS_END == 48
assert SEGMENT_HEADER_BYTES % ALIGNMENT_BYTES == 0
assert SEGMENT_BYTES_MIN > SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES

_NO_HEADER = bytes(RECORD_HEADER_BYTES)
_KEEP_GIL = 0  # crc32c's gil_release_mode "never"


class Flaw(Enum):
    """Why there is no good record at a place. The text completes "damaged at byte N (...)"."""

    SHORT = "the bytes end inside a record"
    EMPTY = "zeros where a record should be"
    UNKNOWN = "no record begins here"
    LENGTH = "a length that cannot be"
    CHECKSUM = "the checksum does not fit"
    PLACE = "a record of another place"
    SEQUENCE = "a record of another number"
    CHAIN = "the chain of hashes is broken"
    STRAY = "bytes in space that was never written"
    HEADER = "the segment's header is destroyed"
    ABSENT = "the file is missing"
    FOREIGN = "a segment of another journal"


class SegmentHeader(msgspec.Struct, frozen=True, gc=False):
    """First bytes of a segment. ``size_bytes`` is that of the whole file, ``chain_before`` the chain hash of the event before ``first_seq``."""

    journal_id: bytes
    first_seq: int
    size_bytes: int
    chain_before: bytes

    @property
    def salt(self) -> int:
        """What the checksums of the records go on from."""
        return checksum(self.journal_id + self.first_seq.to_bytes(8, "little"))


class Record(msgspec.Struct, frozen=True, gc=False):
    """Events ``first_seq`` to ``last_seq``, as one payload. ``at_ns``: wall clock, ns since 1970-01-01 UTC."""

    first_seq: int
    count: int
    at_ns: int
    payload: bytes
    #: The chain hash up to and with this record.
    chain: bytes
    #: Everything up to this number was durable before this record was written.
    durable_seq: int
    #: Where the record begins in its segment.
    offset: int

    @property
    def last_seq(self) -> int:
        """Number of its last event."""
        return self.first_seq + self.count - 1

    @property
    def end_offset(self) -> int:
        """Where the next record begins."""
        return self.offset + record_bytes(len(self.payload))


def checksum(data: bytes | memoryview, crc: int = 0) -> int:
    """crc32c (RFC 3720, appendix B.4) of ``data``, going on from ``crc``."""
    result: int = crc32c.crc32c(data, crc, _KEEP_GIL)
    return result


def record_bytes(payload_bytes: int) -> int:
    """Size of a record with a payload of this length, padding included."""
    return RECORD_HEADER_BYTES + payload_bytes + -payload_bytes % ALIGNMENT_BYTES


def encode_segment_header(header: SegmentHeader) -> bytes:
    """The 64 bytes of a segment's header."""
    assert len(header.journal_id) == JOURNAL_ID_BYTES
    assert len(header.chain_before) == CHAIN_BYTES
    body = _SEGMENT.pack(
        FORMAT_VERSION, 0, header.journal_id, header.first_seq, header.size_bytes, header.chain_before
    )
    return _PREFIX.pack(SEGMENT_MAGIC, checksum(body)) + body


def decode_segment_header(data: bytes) -> SegmentHeader | int | None:
    """The header in the first 64 bytes of ``data``; None if it is destroyed, the format version (a number) if it is whole but of another version."""
    if len(data) < SEGMENT_HEADER_BYTES:
        return None
    magic, crc = _PREFIX.unpack_from(data)
    body = data[_PREFIX.size : SEGMENT_HEADER_BYTES]
    if magic != SEGMENT_MAGIC or checksum(body) != crc:
        return None
    version, _, journal_id, first_seq, size_bytes, chain_before = _SEGMENT.unpack(body)
    if version != FORMAT_VERSION:
        return int(version)
    if not 1 <= first_seq <= SEQ_MAX or not SEGMENT_BYTES_MIN <= size_bytes <= SEGMENT_BYTES_MAX:
        return None
    return SegmentHeader(journal_id, first_seq, size_bytes, chain_before)


def encode_record(
    first_seq: int,
    count: int,
    at_ns: int,
    payload: bytes,
    *,
    durable_seq: int,
    offset: int,
    salt: int,
    chain_before: bytes,
) -> tuple[bytes, bytes]:
    """The bytes of a record, and its chain hash. ``offset`` is where it will stand in a segment of this ``salt``."""
    fields = _RECORD.pack(first_seq, durable_seq, at_ns, count, len(payload), offset)
    chain = blake2b(chain_before + fields + payload, digest_size=CHAIN_BYTES).digest()
    body = b"".join((fields, chain, payload, bytes(-len(payload) % ALIGNMENT_BYTES)))
    return _PREFIX.pack(RECORD_MAGIC, checksum(body, salt)) + body, chain


def record_bytes_at(data: bytes, at: int) -> int:
    """How many bytes the record that begins at ``data[at]`` has, or must be there to know that."""
    if len(data) - at < RECORD_HEADER_BYTES:
        return RECORD_HEADER_BYTES
    return record_bytes(_U32.unpack_from(data, at + _LENGTH_AT)[0])


def decode_record(data: bytes, at: int, offset: int, salt: int) -> Record | Flaw:
    """The record at ``data[at]``, which is byte ``offset`` of its segment, or why it is none.

    Checked is what the record says of itself; that it follows what was read before is :func:`flaw_in_order`. ``SHORT``: the bytes so far may be the
    beginning of one, which needs :func:`record_bytes_at`.
    """
    if len(data) - at < RECORD_HEADER_BYTES:
        return Flaw.SHORT
    magic, crc = _PREFIX.unpack_from(data, at)
    if magic != RECORD_MAGIC:
        is_empty = data[at : at + RECORD_HEADER_BYTES] == _NO_HEADER
        return Flaw.EMPTY if is_empty else Flaw.UNKNOWN
    first_seq, durable_seq, at_ns, count, length, own_offset = _RECORD.unpack_from(data, at + _PREFIX.size)
    if length > RECORD_PAYLOAD_BYTES_MAX:
        return Flaw.LENGTH
    payload_at = at + RECORD_HEADER_BYTES
    end = payload_at + length + -length % ALIGNMENT_BYTES
    if end > len(data):
        return Flaw.SHORT
    if checksum(memoryview(data)[at + _PREFIX.size : end], salt) != crc:
        return Flaw.CHECKSUM
    if own_offset != offset:
        return Flaw.PLACE
    if not 1 <= first_seq <= SEQ_MAX - count or not count >= 1 or durable_seq >= first_seq:
        return Flaw.SEQUENCE
    return Record(
        first_seq, count, at_ns, data[payload_at : payload_at + length],
        data[at + _FIELDS_END : payload_at], durable_seq, offset,
    )  # fmt: skip


def flaw_in_order(record: Record, next_seq: int, chain: bytes | None) -> Flaw | None:
    """Why a record, good in itself, is not the one that follows event ``next_seq - 1`` with hash ``chain``; None if it is.

    A ``chain`` of None (behind a damaged place) is followed by anything.
    """
    if record.first_seq != next_seq:
        return Flaw.SEQUENCE
    if chain is None:
        return None
    payload = record.payload
    fields = _RECORD.pack(
        record.first_seq, record.durable_seq, record.at_ns, record.count, len(payload), record.offset
    )
    hashed = blake2b(chain + fields + payload, digest_size=CHAIN_BYTES).digest()
    return None if hashed == record.chain else Flaw.CHAIN
