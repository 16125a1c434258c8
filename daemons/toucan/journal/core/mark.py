"""The bytes of the witness: two slots, each with the last committed event, written in turn.

Law: layout and choice only. The slot that is not being written is whole whatever happens to the other, so a kill in the middle of a write loses
one mark, not all. A slot is 64 bytes, little-endian::

     0  4s  magic "TJw1"            16 16s  journal id
     4  u32 crc32c of bytes 8..64   32  u64 last committed event
     8  u64 turn, from 1            40 16s  chain hash up to it
                                    56  u64 zero

Slot ``turn % 2`` is the one to be written. Rejected: one slot (torn), a file replaced by rename (ten times the cost of a write in place).
"""

from __future__ import annotations

from struct import Struct

import msgspec

from toucan.journal.core.frame import checksum
from toucan.journal.limits import SEQ_MAX

__all__ = ["MARKS_BYTES", "MARK_BYTES", "Mark", "decode_marks", "encode_mark"]

_MAGIC = b"TJw1"
_PREFIX = Struct("<4sI")
_BODY = Struct("<Q16sQ16sQ")

MARK_BYTES = _PREFIX.size + _BODY.size
MARKS_BYTES = 2 * MARK_BYTES

assert MARK_BYTES == 64


class Mark(msgspec.Struct, frozen=True, gc=False):
    """Events up to ``seq`` of this journal were durable, and the chain hash was ``chain``."""

    turn: int
    journal_id: bytes
    seq: int
    chain: bytes


def encode_mark(mark: Mark) -> tuple[bytes, int]:
    """The bytes of a slot, and its offset."""
    body = _BODY.pack(mark.turn, mark.journal_id, mark.seq, mark.chain, 0)
    return _PREFIX.pack(_MAGIC, checksum(body)) + body, mark.turn % 2 * MARK_BYTES


def decode_marks(data: bytes) -> Mark | None:
    """The newer of the whole slots; None if none is."""
    marks = []
    for at in range(0, len(data) - MARK_BYTES + 1, MARK_BYTES):
        magic, crc = _PREFIX.unpack_from(data, at)
        body = data[at + _PREFIX.size : at + MARK_BYTES]
        if magic == _MAGIC and checksum(body) == crc:
            turn, journal_id, seq, chain, _ = _BODY.unpack(body)
            if seq <= SEQ_MAX:
                marks.append(Mark(turn, journal_id, seq, chain))
    return max(marks, key=lambda mark: mark.turn, default=None)
