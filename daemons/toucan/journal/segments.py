"""Reads segments: the file side of :mod:`toucan.journal.core.scan`. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from toucan.journal.core.frame import (
    FORMAT_VERSION,
    SEGMENT_HEADER_BYTES,
    Flaw,
    Record,
    SegmentHeader,
    decode_segment_header,
)
from toucan.journal.core.scan import Damage, Item, SegmentParser, TornTail
from toucan.journal.errors import JournalUnsupported
from toucan.journal.folder import SegmentFile, list_segments, opened, segment_path
from toucan.journal.limits import READ_WINDOW_BYTES

__all__ = ["any_journal_id", "joint_flaw", "read_header", "scan", "walk"]


def read_header(fd: int, segment: SegmentFile) -> SegmentHeader | None:
    """The header of an open segment; None if it is destroyed or belongs to a segment of another name.

    Raises :class:`JournalUnsupported` for another format version, and ``OSError``.
    """
    header = decode_segment_header(os.pread(fd, SEGMENT_HEADER_BYTES, 0))
    if isinstance(header, int):
        raise JournalUnsupported(
            f"{segment.path} has format version {header}, this program reads {FORMAT_VERSION}: use the version of toucan that wrote it"
        )
    return header if header is not None and header.first_seq == segment.first_seq else None


def scan(fd: int, offset: int, parser: SegmentParser) -> Iterator[Item]:
    """Reads an open segment from ``offset``, where the parser was told to begin, to the file's end. Raises ``OSError``."""
    while window := os.pread(fd, READ_WINDOW_BYTES, offset):
        offset += len(window)
        yield from parser.feed(window)
    yield from parser.finish()


def joint_flaw(
    header: SegmentHeader, journal_id: bytes | None, next_seq: int, chain: bytes | None
) -> Flaw | None:
    """Why a segment does not follow what was read before it (None as id or chain: unknown); None if it does."""
    if journal_id is not None and header.journal_id != journal_id:
        return Flaw.FOREIGN
    if header.first_seq != next_seq:
        return Flaw.SEQUENCE
    return Flaw.CHAIN if chain is not None and header.chain_before != chain else None


class _Walk:
    """State of a walk over all segments: what is due next."""

    def __init__(self, journal_id: bytes | None) -> None:
        self.journal_id = journal_id
        self.next_seq = 1
        self.chain = journal_id

    def begin(self, segment: SegmentFile, header: SegmentHeader | None) -> Damage | None:
        """Comes to a segment; what is wrong with its beginning."""
        flaw = Flaw.HEADER
        chain = None
        if header is not None:
            if self.journal_id is None:
                self.journal_id = header.journal_id
            if segment.first_seq == 1:
                self.chain = self.journal_id
            joint = joint_flaw(header, self.journal_id, self.next_seq, self.chain)
            chain = header.chain_before if joint is not Flaw.FOREIGN else None
            flaw = joint or flaw
            if joint is None:
                self.chain = chain
                return None
        self.next_seq = segment.first_seq
        self.chain = chain
        size = SEGMENT_HEADER_BYTES if flaw is Flaw.HEADER else 0
        return Damage(0, size, segment.first_seq, segment.first_seq - 1, flaw)

    def see(self, item: Item) -> None:
        """Keeps count of what is due."""
        if isinstance(item, Record):
            self.next_seq, self.chain = item.last_seq + 1, item.chain
        elif isinstance(item, Damage):
            self.next_seq, self.chain = max(self.next_seq, item.last_seq + 1), None


def walk(
    folder: Path, committed_seq: int = 0, journal_id: bytes | None = None
) -> Iterator[tuple[SegmentFile, Item]]:
    """Everything in a journal, in order, with its segment.

    ``committed_seq``: up to where events are known to have been durable (from the witness). ``journal_id`` lets a segment be read whose header is
    destroyed, if no other one says it. Raises ``OSError`` and :class:`JournalUnsupported`.
    """
    segments = list_segments(folder)
    state = _Walk(journal_id or any_journal_id(segments))
    if segments and segments[0].first_seq > 1:
        missing = SegmentFile(segment_path(folder, 1), 1)
        absent = Damage(0, 0, 1, segments[0].first_seq - 1, Flaw.ABSENT, is_last=True)
        state.see(absent)
        yield missing, absent
    for index, segment in enumerate(segments):
        durable_seq = segments[index + 1].first_seq - 1 if index + 1 < len(segments) else committed_seq
        with opened(segment.path) as fd:
            damage = state.begin(segment, read_header(fd, segment))
            if damage is not None:
                yield segment, damage
            salt = SegmentHeader(state.journal_id or b"", segment.first_seq, 0, b"").salt
            parser = SegmentParser(salt, SEGMENT_HEADER_BYTES, state.next_seq, state.chain, durable_seq)
            for item in scan(fd, SEGMENT_HEADER_BYTES, parser):
                state.see(item)
                yield segment, item if segment == segments[-1] else _in_the_middle(item, state.next_seq)


def _in_the_middle(item: Item, next_seq: int) -> Item:
    """Before a segment was followed by another one, a torn tail of it was cut: what looks like one came later."""
    if not isinstance(item, TornTail):
        return item
    return Damage(item.offset, item.size_bytes, next_seq, next_seq - 1, Flaw.STRAY, is_last=True)


def any_journal_id(segments: list[SegmentFile]) -> bytes | None:
    """What the first readable header says; None if there is none."""
    for segment in segments:
        with opened(segment.path) as fd:
            header = read_header(fd, segment)
        if header is not None:
            return header.journal_id
    return None
