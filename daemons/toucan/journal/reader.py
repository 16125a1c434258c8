"""The reading side of the journal, for any process, also while it is being written.

A reader is told up to where events are committed (``up_to_seq``, from the engine's messages or :func:`committed_seq`) and never looks at bytes behind
that, so it cannot see a commit that may still fail. It needs no lock: what is committed never changes.

Every record is verified: checksum, number, chain of hashes. At a place that is damaged reading stops with
:class:`~toucan.journal.errors.JournalDamaged`, with two exceptions: a loss that was acknowledged is passed over (the next record's ``first_seq``
shows it), and a reader with ``past_damage`` passes over all of it, for who wants to see what is left.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from toucan.journal.core.frame import (
    SEGMENT_HEADER_BYTES,
    Flaw,
    Record,
    SegmentHeader,
    decode_record,
    flaw_in_order,
    record_bytes_at,
)
from toucan.journal.core.scan import Damage, SegmentParser
from toucan.journal.folder import SegmentFile, list_segments, opened, segment_path
from toucan.journal.limits import FOLLOW_BYTES_MAX, READ_WINDOW_BYTES, READ_WINDOW_BYTES_MIN
from toucan.journal.losses import covers, read_losses
from toucan.journal.segments import any_journal_id, joint_flaw, read_header, scan
from toucan.journal.tail import damaged
from toucan.journal.witness import read_witness

__all__ = ["Follower", "committed_seq", "read"]


class Follower:
    """Reads a journal from event ``from_seq`` on, as it grows. One thread at a time; close it, or use it in a ``with`` statement.

    All its methods raise :class:`JournalDamaged`, :class:`JournalUnsupported` and ``OSError``. After an error it stands where it stood.
    """

    def __init__(self, folder: Path, from_seq: int, *, past_damage: bool = False) -> None:
        """Opens nothing yet: the journal may not have begun."""
        self.folder = folder
        #: What was passed over so far: segment and damage.
        self.damages: list[tuple[SegmentFile, Damage]] = []
        self._from_seq = from_seq
        self._past_damage = past_damage
        self._journal_id: bytes | None = None
        self._segment: SegmentFile | None = None
        self._fd = -1
        self._salt = 0
        self._offset = 0
        self._seq = from_seq
        self._chain: bytes | None = None

    @property
    def next_seq(self) -> int:
        """The next event to be read: of its record the first one, which may be before the one that was asked for."""
        return self._seq

    @property
    def journal_id(self) -> bytes | None:
        """Which journal it is; None before the first byte was read."""
        return self._journal_id

    def close(self) -> None:
        """Gives its file back; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Follower:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------ reading

    def read(self, up_to_seq: int, bytes_max: int = FOLLOW_BYTES_MAX) -> list[Record]:
        """The next records, all of whose events are committed: at most ``up_to_seq``. Empty when there are no more; call again until it is.

        Stops at ``bytes_max`` of payload, but returns one record at least. The first record may begin before the event asked for.
        """
        if up_to_seq < self._from_seq:
            return []
        self._seek()
        return self._next(up_to_seq, bytes_max)

    def chain_before(self) -> bytes | None:
        """The chain hash of the event before the next one. Everything before that one must be committed; None if it cannot be said: it is damaged."""
        self._seek()
        return self._chain

    def _seek(self) -> None:
        """Goes to the record that holds the first event asked for, if it has not come so far. What is damaged before that does not matter."""
        if self._segment is None:
            self._begin(self._from_seq)
        while self._seq < self._from_seq and self._next(self._from_seq - 1, FOLLOW_BYTES_MAX):
            pass

    def _begin(self, seq: int) -> None:
        segments = list_segments(self.folder)
        before = [segment for segment in segments if segment.first_seq <= seq]
        if before:
            self._enter(before[-1])
        else:
            missing = SegmentFile(segment_path(self.folder, 1), 1)
            first_seq = segments[0].first_seq if segments else seq + 1
            self._pass(missing, Damage(0, 0, 1, first_seq - 1, Flaw.ABSENT, is_last=True))
            if not segments:
                return
            self._enter(segments[0])

    def _next(self, up_to_seq: int, bytes_max: int) -> list[Record]:
        records: list[Record] = []
        size, window = 0, READ_WINDOW_BYTES_MIN
        while self._fd >= 0 and self._seq <= up_to_seq and (size < bytes_max or not records):
            data = os.pread(self._fd, window, self._offset)
            base, at = self._offset, 0
            found: Record | Flaw = Flaw.SHORT
            while self._seq <= up_to_seq and (size < bytes_max or not records):
                found = self._decode(data, at)
                if not isinstance(found, Record):
                    break
                if found.last_seq > up_to_seq:
                    return records
                records.append(found)
                size += len(found.payload)
                self._seq, self._chain, self._offset = found.last_seq + 1, found.chain, found.end_offset
                at = self._offset - base
            if isinstance(found, Flaw):
                is_more = found is Flaw.SHORT and len(data) == window
                wanted = record_bytes_at(data, at) if is_more else 0
                window = max(min(4 * window, READ_WINDOW_BYTES), wanted)
                if not is_more:
                    self._cross(up_to_seq)
        return records

    def _decode(self, data: bytes, at: int) -> Record | Flaw:
        found = decode_record(data, at, self._offset, self._salt)
        if isinstance(found, Record):
            return flaw_in_order(found, self._seq, self._chain) or found
        return found

    # ------------------------------------------------------------ where a record is due and none is

    def _cross(self, up_to_seq: int) -> None:
        """Goes on in the next segment, or behind the damage."""
        assert self._segment is not None
        successor = SegmentFile(segment_path(self.folder, self._seq), self._seq)
        try:
            if successor != self._segment or self._is_replaced(successor):
                self._enter(successor)
                return
        except FileNotFoundError:
            pass
        later = [other for other in list_segments(self.folder) if other.first_seq > self._seq]
        durable_seq = later[0].first_seq - 1 if later else up_to_seq
        parser = SegmentParser(self._salt, self._offset, self._seq, self._chain, durable_seq)
        damage = next(scan(self._fd, self._offset, parser))
        if not isinstance(damage, Damage):
            return
        self._pass(self._segment, damage)
        self._seq, self._chain = damage.last_seq + 1, None
        if not damage.is_last:
            self._offset = damage.offset + damage.size_bytes
        elif later:
            self._enter(later[0])

    def _is_replaced(self, segment: SegmentFile) -> bool:
        """A segment without events was made anew, larger, for its first one."""
        return os.stat(segment.path).st_ino != os.fstat(self._fd).st_ino

    def _pass(self, segment: SegmentFile, damage: Damage) -> None:
        """Raises, unless this damage may be passed over."""
        is_event_lost = damage.last_seq >= damage.first_seq
        concerned_seq = damage.last_seq if is_event_lost else damage.first_seq
        if (
            not self._past_damage
            and concerned_seq >= self._from_seq
            and not covers(read_losses(self.folder), segment, damage)
        ):
            raise damaged(segment, damage)
        self.damages.append((segment, damage))

    def _enter(self, segment: SegmentFile) -> None:
        """Goes to the beginning of a segment."""
        fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            header = read_header(fd, segment)
            journal_id, chain = self._check(segment, header)
        except BaseException:
            os.close(fd)
            raise
        self.close()
        self._segment, self._fd, self._journal_id = segment, fd, journal_id
        self._salt = SegmentHeader(journal_id or b"", segment.first_seq, 0, b"").salt
        self._seq, self._chain, self._offset = segment.first_seq, chain, SEGMENT_HEADER_BYTES

    def _check(self, segment: SegmentFile, header: SegmentHeader | None) -> tuple[bytes | None, bytes | None]:
        """Journal id and chain hash to go on with."""
        nothing = segment.first_seq - 1
        if header is None:
            self._pass(segment, Damage(0, SEGMENT_HEADER_BYTES, segment.first_seq, nothing, Flaw.HEADER))
            return self._journal_id or any_journal_id(list_segments(self.folder)), None
        is_first = self._segment is None
        due = segment.first_seq if is_first else self._seq
        flaw = joint_flaw(header, self._journal_id, due, self._chain)
        if flaw is not None:
            self._pass(segment, Damage(0, 0, segment.first_seq, nothing, flaw))
        if flaw is Flaw.FOREIGN:
            return self._journal_id, None
        return header.journal_id, header.chain_before


def read(folder: Path, from_seq: int, up_to_seq: int, *, past_damage: bool = False) -> Iterator[Record]:
    """All records with events from ``from_seq`` to ``up_to_seq``, which must be committed. Errors are those of :class:`Follower`."""
    with Follower(folder, from_seq, past_damage=past_damage) as follower:
        while records := follower.read(up_to_seq):
            yield from records


def committed_seq(folder: Path, witness_path: Path | None = None) -> int:
    """Up to where events are certainly committed, as far as the files say; 0 where there is no journal.

    With the witness that is the last commit; without, the one before it: each record says what was durable when it was written. Reads the
    last segment, so ask the engine where there is one.
    """
    segments = list_segments(folder)
    if not segments:
        return 0
    last = segments[-1]
    with opened(last.path) as fd:
        header = read_header(fd, last)
        if header is None:
            return last.first_seq - 1
        parser = SegmentParser(header.salt, SEGMENT_HEADER_BYTES, header.first_seq, None)
        known = [
            item.durable_seq for item in scan(fd, SEGMENT_HEADER_BYTES, parser) if isinstance(item, Record)
        ]
    mark = read_witness(witness_path) if witness_path is not None else None
    if mark is not None and mark.journal_id == header.journal_id:
        known.append(mark.seq)
    return max([last.first_seq - 1, *known])
