"""The bytes of a snapshot file: a header and a payload.

Law: layout and checksum only; the payload is opaque, and which snapshot is used is decided in :mod:`toucan.journal.snapshots`. Little-endian::

     0  4s  magic "TJp1"                16 16s  journal id
     4  u32 crc32c of all from byte 8   32  u64 last event that is in it
     8  u32 format version (1)          40 16s  chain hash up to that event
    12  u32 zero                        56  i64 at_ns: wall clock, ns since 1970-01-01 UTC
                                        64      payload, to the end of the file

The chain hash binds it to one history: a snapshot of events that were lost since, or of another journal, is not used by mistake.
"""

from __future__ import annotations

from struct import Struct

import msgspec

from toucan.journal.core.frame import checksum
from toucan.journal.limits import SEQ_MAX

__all__ = [
    "SNAPSHOT_FORMAT_VERSION",
    "SNAPSHOT_HEADER_BYTES",
    "Snapshot",
    "decode_snapshot",
    "encode_snapshot",
]

SNAPSHOT_FORMAT_VERSION = 1

_MAGIC = b"TJp1"
_PREFIX = Struct("<4sI")
_BODY = Struct("<II16sQ16sq")
SNAPSHOT_HEADER_BYTES = _PREFIX.size + _BODY.size

assert SNAPSHOT_HEADER_BYTES == 64


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """A state after event ``seq`` of a journal, whose chain hash was ``chain`` there. ``at_ns``: when it was made, ns since 1970-01-01 UTC."""

    journal_id: bytes
    seq: int
    chain: bytes
    at_ns: int
    payload: bytes


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The whole file."""
    body = _BODY.pack(
        SNAPSHOT_FORMAT_VERSION, 0, snapshot.journal_id, snapshot.seq, snapshot.chain, snapshot.at_ns
    )
    crc = checksum(snapshot.payload, checksum(body))
    return b"".join((_PREFIX.pack(_MAGIC, crc), body, snapshot.payload))


def decode_snapshot(data: bytes) -> Snapshot | int | None:
    """The snapshot in a file's bytes; None if they are damaged, the format version (a number) if they are whole but of another one."""
    if len(data) < SNAPSHOT_HEADER_BYTES:
        return None
    magic, crc = _PREFIX.unpack_from(data)
    if magic != _MAGIC or checksum(memoryview(data)[_PREFIX.size :]) != crc:
        return None
    version, _, journal_id, seq, chain, at_ns = _BODY.unpack_from(data, _PREFIX.size)
    if version != SNAPSHOT_FORMAT_VERSION:
        return int(version)
    return Snapshot(journal_id, seq, chain, at_ns, data[SNAPSHOT_HEADER_BYTES:]) if seq <= SEQ_MAX else None
