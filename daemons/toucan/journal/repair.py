"""Makes a damaged journal usable again, without losing evidence. For a person who has kept a copy and looked for the cause.

Nothing readable is touched. What is damaged in the middle stays where it is and is acknowledged as lost (:mod:`toucan.journal.losses`), so that
readers pass over it. Two things are written anew, after a copy went to the quarantine: a destroyed header of a segment (all it says is known from
elsewhere), and stray bytes behind the end. What the witness says to be missing at the end is not repaired but accepted, when the journal is
opened (``accept_loss``).
"""

from __future__ import annotations

import os
from pathlib import Path

from toucan.journal.core.frame import (
    CHAIN_BYTES,
    SEGMENT_HEADER_BYTES,
    Flaw,
    Record,
    SegmentHeader,
    encode_segment_header,
)
from toucan.journal.core.scan import Damage, SegmentParser
from toucan.journal.disk import Disk
from toucan.journal.errors import JournalDamaged, JournalUnavailable
from toucan.journal.folder import FolderLock, SegmentFile, list_segments, opened, set_aside
from toucan.journal.limits import SEGMENT_BYTES_MIN
from toucan.journal.losses import Loss, acknowledge, covers, read_losses
from toucan.journal.segments import any_journal_id, scan, walk
from toucan.journal.witness import read_witness

__all__ = ["repair"]


def repair(
    folder: Path,
    *,
    at_ns: int,
    witness_path: Path | None = None,
    journal_id: bytes | None = None,
    disk: Disk | None = None,
) -> list[Loss]:
    """Sets aside all damage that is not acknowledged yet; returns what was acknowledged by this call. ``at_ns`` (wall clock) is noted with it.

    ``journal_id`` is needed only where no header of a segment is readable and there is no witness; a snapshot has it.

    Raises :class:`JournalLocked`, :class:`JournalDamaged` (a header that cannot be made again), :class:`JournalUnavailable` if the disk fails.
    """
    disk = disk or Disk()
    try:
        lock = FolderLock(folder)
    except OSError as error:
        raise JournalUnavailable(f"{folder} cannot be opened: {error.strerror}") from error
    try:
        mark = read_witness(witness_path) if witness_path is not None else None
        known = any_journal_id(list_segments(folder)) or journal_id or (mark.journal_id if mark else None)
        committed_seq = mark.seq if mark is not None and mark.journal_id == known else 0
        _Repair(folder, disk, known, committed_seq).restore_headers()
        return _Repair(folder, disk, known, committed_seq).set_damage_aside(at_ns)
    except OSError as error:
        raise JournalUnavailable(f"{folder} cannot be repaired: {error.strerror}") from error
    finally:
        lock.release()


class _Repair:
    def __init__(self, folder: Path, disk: Disk, journal_id: bytes | None, committed_seq: int) -> None:
        self.folder = folder
        self.disk = disk
        self.journal_id = journal_id
        self.committed_seq = committed_seq
        self.segments = list_segments(folder)
        self.is_id_certain = any_journal_id(self.segments) is not None

    # ------------------------------------------------------------ headers

    def restore_headers(self) -> None:
        """Makes each destroyed header again from what the segments before it say."""
        chain = self.journal_id
        for segment, item in walk(self.folder, self.committed_seq, self.journal_id):
            if isinstance(item, Record):
                chain = item.chain
            elif isinstance(item, Damage):
                if item.reason is Flaw.HEADER:
                    self._restore_header(segment, item, chain)
                chain = None if item.offset or item.is_last else chain

    def _restore_header(self, segment: SegmentFile, damage: Damage, chain: bytes | None) -> None:
        if self.journal_id is None:
            raise JournalDamaged(
                segment.path, 0, segment.first_seq, None, damage.reason.value,
                "No header says which journal this is: give repair its journal_id (the witness or a snapshot has it).",
            )  # fmt: skip
        size = max(segment.path.stat().st_size, SEGMENT_BYTES_MIN)
        # Behind other damage the hash is unknown; the first record then shows as a break in the chain, which is what it is.
        header = SegmentHeader(self.journal_id, segment.first_seq, size, chain or bytes(CHAIN_BYTES))
        with opened(segment.path, os.O_RDWR) as fd:
            if not self.is_id_certain and not self._fits(fd, header):
                raise JournalDamaged(
                    segment.path, 0, segment.first_seq, None, damage.reason.value,
                    f"No event in it fits journal {self.journal_id.hex()}: is that the right journal_id?",
                )  # fmt: skip
            old = os.pread(fd, SEGMENT_HEADER_BYTES, 0)
            set_aside(self.folder, f"{segment.path.name}-0.header", old, self.disk)
            self.disk.allocate(fd, size)
            self.disk.write(fd, encode_segment_header(header), 0)
            self.disk.sync(fd)

    def _fits(self, fd: int, header: SegmentHeader) -> bool:
        """Whether there is a record that this header lets read, or nothing to be read at all."""
        parser = SegmentParser(header.salt, SEGMENT_HEADER_BYTES, header.first_seq, None, header.first_seq)
        items = list(scan(fd, SEGMENT_HEADER_BYTES, parser))
        last = items[-1]
        return any(isinstance(item, Record) for item in items) or (
            isinstance(last, Damage) and not last.size_bytes
        )

    # ------------------------------------------------------------ the rest

    def set_damage_aside(self, at_ns: int) -> list[Loss]:
        """Acknowledges damage in the middle, clears stray bytes behind the end."""
        losses, known = [], read_losses(self.folder)
        for segment, item in walk(self.folder, self.committed_seq, self.journal_id):
            if not isinstance(item, Damage) or covers(known, segment, item):
                continue
            if not item.is_last or segment != self.segments[-1]:
                losses.append(acknowledge(self.folder, segment, item, at_ns, self.disk))
            elif item.last_seq < item.first_seq:
                self._clear(segment, item)
        return losses

    def _clear(self, segment: SegmentFile, stray: Damage) -> None:
        with opened(segment.path, os.O_RDWR) as fd:
            data = os.pread(fd, stray.size_bytes, stray.offset)
            set_aside(self.folder, f"{segment.path.name}-{stray.offset}.stray", data, self.disk)
            self.disk.write(fd, bytes(len(data)), stray.offset)
            self.disk.sync(fd)
