"""The last segment, as it is found when the journal is opened or a commit has failed: what is in it, and whether that can be all.

Only looks, and compares with the witness; what is done about it is the business of :mod:`toucan.journal.writer` and :mod:`toucan.journal.repair`.
"""

from __future__ import annotations

import os

import msgspec

from toucan.journal.core.frame import SEGMENT_HEADER_BYTES, Record, SegmentHeader
from toucan.journal.core.mark import Mark
from toucan.journal.core.scan import Damage, End, SegmentParser, TornTail
from toucan.journal.errors import JournalDamaged
from toucan.journal.folder import SegmentFile
from toucan.journal.losses import Loss, covers
from toucan.journal.segments import scan

__all__ = ["Tail", "damaged", "read_tail"]

_REPAIR = "Keep a copy of the folder, look for the cause (the disk?), then set the place aside with repair"


class Tail(msgspec.Struct, frozen=True):
    """What is in the last segment."""

    segment: SegmentFile
    header: SegmentHeader
    #: The last event, and the chain hash up to it.
    last_seq: int
    chain: bytes
    #: How the segment ends. Damage: it was proven that more was there (or, without events, that what is there belongs to no commit).
    ending: End | TornTail | Damage
    #: Damage before that which was not acknowledged.
    damages: list[Damage]
    #: The file is shorter than it was made, which no crash does.
    is_cut: bool
    #: The witness has seen another event at its place than there is.
    contradicts_witness: bool


def read_tail(
    fd: int,
    segment: SegmentFile,
    header: SegmentHeader,
    *,
    committed_seq: int,
    losses: list[Loss],
    mark: Mark | None = None,
) -> Tail:
    """Reads and verifies the whole segment. ``committed_seq``: what must be there at least; ``mark``: what the witness of this journal says. Raises
    ``OSError``."""
    parser = SegmentParser(
        header.salt, SEGMENT_HEADER_BYTES, header.first_seq, header.chain_before, committed_seq
    )
    last_seq, chain = header.first_seq - 1, header.chain_before
    marked_seq = mark.seq if mark is not None else -1
    contradicts = mark is not None and marked_seq == last_seq and mark.chain != chain
    damages: list[Damage] = []
    ending: End | TornTail | Damage | None = None
    for item in scan(fd, SEGMENT_HEADER_BYTES, parser):
        if isinstance(item, Record):
            last_seq, chain = item.last_seq, item.chain
            if mark is not None and item.first_seq <= marked_seq <= last_seq:
                contradicts = marked_seq != last_seq or mark.chain != chain
        elif isinstance(item, Damage) and not item.is_last:
            if not covers(losses, segment, item):
                damages.append(item)
        else:
            ending = item
    assert ending is not None
    return Tail(
        segment, header, last_seq, chain, ending, damages,
        is_cut=os.fstat(fd).st_size < header.size_bytes, contradicts_witness=contradicts,
    )  # fmt: skip


def damaged(segment: SegmentFile, damage: Damage, advice: str = _REPAIR) -> JournalDamaged:
    """The error that says what is wrong where, and what to do."""
    return JournalDamaged(
        segment.path, damage.offset, damage.first_seq, damage.last_seq, damage.reason.value, advice + "."
    )
