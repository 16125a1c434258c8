"""The writing side of the journal: stage events, commit them with one write and one sync, know that they stay.

:meth:`Journal.open` is the only way to start, after an orderly end as after a kill or a loss of power: it takes the lock, verifies the last
segment, cuts what a commit left that never ended (a copy goes to the quarantine), and compares the end with the witness. It never cuts what was
committed: that is :class:`~toucan.journal.errors.JournalDamaged` or :class:`~toucan.journal.errors.JournalTruncated`, and a person decides.

A commit is durable when :meth:`Journal.commit` returns, and not there at all when it raises. After a failed write or sync the pages in memory
prove nothing (Linux marks them clean; a second sync succeeds without having written them), so the segment is opened anew, the failed batch is
overwritten with zeros, and all of the segment is read again from the disk before the next commit is tried.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType

from toucan.journal.core.frame import (
    JOURNAL_ID_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    encode_record,
    record_bytes,
)
from toucan.journal.core.scan import End
from toucan.journal.disk import Disk
from toucan.journal.errors import CommitTooLarge, JournalDamaged, JournalError, JournalUnavailable
from toucan.journal.folder import FolderLock, SegmentFile, segment_path
from toucan.journal.limits import (
    COMMIT_BYTES_MAX,
    EMERGENCY_SEGMENTS,
    EVENTS_PER_RECORD_MAX,
    RECORD_PAYLOAD_BYTES_MAX,
    RESERVE_BYTES_DEFAULT,
    SEGMENT_BYTES_DEFAULT,
    SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN,
)
from toucan.journal.losses import Loss, read_losses
from toucan.journal.opening import Opened, open_tail
from toucan.journal.segments import read_header
from toucan.journal.space import NextSegment, Reserve, is_out_of_space
from toucan.journal.tail import read_tail
from toucan.journal.witness import Witness

__all__ = ["Journal"]

_PAGE_BYTES = 4096

Staged = tuple[int, int, int, bytes]  # first_seq, count, at_ns, payload


class Journal:
    """The one writer of a journal; made by :meth:`open`. One thread at a time."""

    def __init__(self, folder: Path, segment_bytes: int, disk: Disk, lock: FolderLock) -> None:
        """Use :meth:`open`."""
        self.folder = folder
        self.journal_id = b""
        #: Every event up to here is durable.
        self.committed_seq = 0
        #: The chain hash up to ``committed_seq``.
        self.chain = b""
        #: What opening found and did, for the log: sentences.
        self.notes: list[str] = []
        #: Events that a person has acknowledged to be gone.
        self.losses: list[Loss] = []
        self._segment_bytes = segment_bytes
        self._disk = disk
        self._lock: FolderLock | None = lock
        self._witness: Witness | None = None
        self._next_segment: NextSegment | None = None
        self._reserve: Reserve | None = None
        self._staged: list[Staged] = []
        self._staged_bytes = 0
        self._next_seq = 1
        self._fd = -1
        self._header = SegmentHeader(b"", 0, 0, b"")
        self._salt = 0
        self._position = 0
        # A name was given to a segment and the folder not yet synced.
        self._is_name_loose = False
        # Bytes behind _position which a failed commit may have left.
        self._suspect_bytes = 0
        self._broken: JournalError | None = None

    # ------------------------------------------------------------ open, close

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        new_journal_id: bytes,
        at_ns: int,
        witness_path: Path | None = None,
        segment_bytes: int = SEGMENT_BYTES_DEFAULT,
        reserve_bytes: int = RESERVE_BYTES_DEFAULT,
        accept_loss: bool = False,
        disk: Disk | None = None,
    ) -> Journal:
        """Opens the journal in ``folder``, or begins one there under ``new_journal_id`` (16 random bytes) if there is none.

        ``at_ns`` (wall clock) is noted with a loss that ``accept_loss`` acknowledges: that the events which the witness saw and which are gone
        from the end are lost for good. Sizes are in bytes; ``segment_bytes`` is that of new segments and a multiple of 4096.

        Raises :class:`JournalLocked`, :class:`JournalDamaged`, :class:`JournalTruncated`, :class:`JournalUnsupported`, and
        :class:`JournalUnavailable` when the disk fails or has no room.
        """
        if len(new_journal_id) != JOURNAL_ID_BYTES:
            raise ValueError(f"a journal id has {JOURNAL_ID_BYTES} bytes, not {len(new_journal_id)}")
        if not SEGMENT_BYTES_MIN <= segment_bytes <= SEGMENT_BYTES_MAX or segment_bytes % _PAGE_BYTES:
            raise ValueError(
                f"segments of {segment_bytes:,} bytes: they must be a multiple of {_PAGE_BYTES} between {SEGMENT_BYTES_MIN:,} and "
                f"{SEGMENT_BYTES_MAX:,}"
            )
        disk = disk or Disk()
        try:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            journal = cls(folder, segment_bytes, disk, FolderLock(folder))
        except OSError as error:
            raise JournalUnavailable(f"{folder} cannot be opened: {error.strerror}") from error
        try:
            journal._start(new_journal_id, at_ns, witness_path, reserve_bytes, accept_loss)
        except OSError as error:
            journal.close()
            raise JournalUnavailable(f"{folder} cannot be opened: {error.strerror}") from error
        except BaseException:
            journal.close()
            raise
        return journal

    def _start(
        self, new_id: bytes, at_ns: int, witness_path: Path | None, reserve_bytes: int, accept_loss: bool
    ) -> None:
        self._reserve = Reserve(self.folder, reserve_bytes, self._disk)
        self._next_segment = NextSegment(self.folder, self._disk)
        if witness_path is not None:
            self._witness = Witness(witness_path, self._disk)
        opened = open_tail(
            self.folder, self._witness, self._reserve, self._disk, at_ns=at_ns, accept_loss=accept_loss
        )
        self.notes = opened.notes
        self.losses = read_losses(self.folder)
        self._adopt(opened, new_id)
        if not self._reserve.is_held:
            self.notes.append("there is no room for the reserve: only urgent commits pass until there is")
        self.note()

    def _adopt(self, opened: Opened, new_id: bytes) -> None:
        """Goes on where the last segment ends; begins a segment where that cannot be written on, or there is none."""
        tail = opened.tail
        self.journal_id = tail.header.journal_id if tail is not None else new_id
        self.chain = tail.chain if tail is not None else new_id
        self.committed_seq = opened.last_seq
        self._next_seq = self.committed_seq + 1
        if tail is not None and opened.fd >= 0:
            self._use(opened.fd, tail.header, tail.ending.offset)
        else:
            self._rotate(self._segment_bytes)
            self._sync_names()

    def close(self) -> None:
        """Gives files and lock back; what is staged and not committed is dropped. A second call does nothing."""
        self.discard()
        self._broken = self._broken or JournalUnavailable(f"{self.folder}: this journal was closed")
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._next_segment is not None:
            self._next_segment.drop()
        if self._witness is not None:
            self._witness.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------ state

    @property
    def next_seq(self) -> int:
        """Number of the next event to be appended."""
        return self._next_seq

    @property
    def staged_bytes(self) -> int:
        """What the next commit will write; at most ``COMMIT_BYTES_MAX``."""
        return self._staged_bytes

    @property
    def has_reserve(self) -> bool:
        """False while the space for urgent commits is in use: nothing else passes then."""
        return self._reserve is not None and self._reserve.is_held

    @property
    def is_next_segment_ready(self) -> bool:
        """False for long means that the disk is about to be full: commits fail when the current segment is used up."""
        return self._next_segment is not None and self._next_segment.is_ready(self._segment_bytes)

    @property
    def free_bytes(self) -> int:
        """Room that is left in the current segment."""
        return self._header.size_bytes - self._position

    @property
    def witness_failure(self) -> str:
        """Why the witness is not up to date; empty if it is."""
        return self._witness.failure if self._witness is not None else ""

    # ------------------------------------------------------------ append, commit

    def append(self, first_seq: int, count: int, at_ns: int, payload: bytes) -> None:
        """Stages ``count`` events with numbers from ``first_seq`` on, which must be :attr:`next_seq`; nothing is written yet.

        ``at_ns``: wall clock, ns since the epoch. Raises :class:`CommitTooLarge` when the batch has no room for it (commit, and append again),
        and ``ValueError`` for what can never be written.
        """
        if first_seq != self._next_seq:
            raise ValueError(f"event {first_seq} appended where {self._next_seq} is due")
        if not 1 <= count <= EVENTS_PER_RECORD_MAX:
            raise ValueError(f"a record of {count} events: it has 1 to {EVENTS_PER_RECORD_MAX}")
        if len(payload) > RECORD_PAYLOAD_BYTES_MAX:
            raise ValueError(
                f"a record of {len(payload):,} bytes: at most {RECORD_PAYLOAD_BYTES_MAX:,}, divide it"
            )
        size = record_bytes(len(payload))
        if self._staged_bytes + size > COMMIT_BYTES_MAX:
            raise CommitTooLarge(
                f"{self._staged_bytes:,} bytes are staged and {size:,} more do not fit a commit of {COMMIT_BYTES_MAX:,}: commit first"
            )
        self._staged.append((first_seq, count, at_ns, payload))
        self._staged_bytes += size
        self._next_seq = first_seq + count

    def discard(self) -> None:
        """Drops what is staged."""
        self._staged, self._staged_bytes = [], 0
        self._next_seq = self.committed_seq + 1

    def commit(self, *, is_urgent: bool = False, is_noted: bool = True) -> int:
        """Makes everything staged durable, with one write and one sync; returns :attr:`committed_seq`.

        ``is_noted``: the witness is told as well; otherwise :meth:`note` does it, behind what waits for this. ``is_urgent``: may use the reserve (a
        cancel on a full disk). Raises :class:`JournalUnavailable`: nothing staged was kept, and it is no longer
        staged; :class:`JournalDamaged`: the disk no longer holds what was committed, and every later call raises it again.
        """
        staged, size = self._staged, self._staged_bytes
        self.discard()  # whatever happens now, it is not staged any more
        if not staged:
            return self.committed_seq
        self.recover()
        try:
            self._make_room(size, is_urgent=is_urgent)
            self._sync_names()
        except OSError as error:
            raise self._unavailable(error) from error
        try:
            self._write(staged, size)
        except OSError as error:
            self._recover_from(error)
            if not (is_urgent and is_out_of_space(error) and self._released_reserve()):
                raise self._unavailable(error) from error
            self._write_again(staged, size)
        if is_noted:
            self.note()
        return self.committed_seq

    def note(self) -> None:
        """Tells the witness how far the journal is. Never raises."""
        if self._witness is not None:
            self._witness.write(self.journal_id, self.committed_seq, self.chain)

    def _write(self, staged: list[Staged], size: int) -> None:
        chain, offset = self.chain, self._position
        parts = []
        for first_seq, count, at_ns, payload in staged:
            record, chain = encode_record(
                first_seq, count, at_ns, payload,
                durable_seq=self.committed_seq, offset=offset, salt=self._salt, chain_before=chain,
            )  # fmt: skip
            parts.append(record)
            offset += len(record)
        self._suspect_bytes = size  # also if a signal handler raises from here on
        self._disk.write(self._fd, b"".join(parts), self._position)
        self._disk.sync(self._fd)
        first_seq, count, _, _ = staged[-1]
        # No call, so no signal handler, comes between these.
        self._position, self.chain, self.committed_seq = offset, chain, first_seq + count - 1
        self._next_seq, self._suspect_bytes = self.committed_seq + 1, 0

    def _write_again(self, staged: list[Staged], size: int) -> None:
        """The second and last try, after the reserve was given back."""
        try:
            self._write(staged, size)
        except OSError as error:
            self._recover_from(error)
            raise self._unavailable(error) from error

    def _unavailable(self, error: OSError) -> JournalUnavailable:
        if is_out_of_space(error):
            what = "the disk is full: free some space; cancels pass while the reserve lasts"
        else:
            what = f"writing failed: {error.strerror}"
        return JournalUnavailable(
            f"nothing was written to {self.folder}: {what}", may_reappear=self._suspect_bytes > 0
        )

    # ------------------------------------------------------------ space

    def prepare(self) -> bool:
        """Does a millisecond's work towards the next segment, and takes the reserve back when there is room; False when nothing is left to do.

        For idle moments and behind acknowledgements. Without it the commit that needs a new segment does all at once. Never raises.
        """
        assert self._reserve is not None
        assert self._next_segment is not None
        return self._reserve.take() and self._next_segment.step(self._segment_bytes)

    def _make_room(self, size: int, *, is_urgent: bool) -> None:
        """Sees to it that a batch of this size fits the current segment. Raises ``OSError``."""
        assert self._reserve is not None
        if not is_urgent and not self._reserve.take():
            # What little room there is belongs to the urgent ones.
            raise self._reserve.failure or OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._position + size <= self._header.size_bytes:
            return
        needed = SEGMENT_HEADER_BYTES + size
        try:
            self._rotate(max(self._segment_bytes, _whole_pages(needed)))
        except OSError as error:
            if not (is_urgent and is_out_of_space(error)):
                raise
            self._rotate_in_reserve(_whole_pages(needed))

    def _rotate_in_reserve(self, needed_bytes: int) -> None:
        """A small segment in the space that was kept back."""
        assert self._reserve is not None
        self._released_reserve()
        share = max(SEGMENT_BYTES_MIN, self._reserve.size_bytes // EMERGENCY_SEGMENTS)
        try:
            self._rotate(max(_whole_pages(share), needed_bytes))
        except OSError as error:
            if not is_out_of_space(error):
                raise
            self._rotate(needed_bytes)  # others were faster; this one batch may still fit

    def _released_reserve(self) -> bool:
        assert self._reserve is not None
        try:
            return self._reserve.release()
        except OSError as error:
            raise self._unavailable(error) from error

    def _rotate(self, size_bytes: int) -> None:
        """Goes on in a new segment. Raises ``OSError``, and the current one stays as it is."""
        assert self._next_segment is not None
        first_seq = self.committed_seq + 1
        # Its own segment is replaced where that has no event: then it was too small for the first one.
        assert first_seq == self._header.first_seq or not segment_path(self.folder, first_seq).exists()
        header = SegmentHeader(self.journal_id, first_seq, size_bytes, self.chain)
        fd = self._next_segment.begin(header)
        self._is_name_loose = True
        if self._fd >= 0:
            os.close(self._fd)
        self._use(fd, header, SEGMENT_HEADER_BYTES)

    def _sync_names(self) -> None:
        if self._is_name_loose:
            self._disk.sync_folder(self.folder)
            self._is_name_loose = False

    def _use(self, fd: int, header: SegmentHeader, position: int) -> None:
        self._fd, self._header, self._salt, self._position = fd, header, header.salt, position

    # ------------------------------------------------------------ after a failure

    def recover(self) -> None:
        """Undoes what a failed commit may have left on the disk; does nothing where none did. :meth:`commit` begins with it.

        Raises :class:`JournalUnavailable` while the disk still fails, :class:`JournalDamaged` if it lost what was committed.
        """
        if self._broken is not None:
            raise self._broken
        if self._suspect_bytes:
            try:
                self._restore()
            except OSError as error:
                raise JournalUnavailable(
                    f"{self.folder}: an earlier commit failed and cannot be undone yet: {error.strerror}"
                ) from error

    def _recover_from(self, cause: OSError) -> None:
        """Tries to undo at once, so that the answer can be "nothing was kept"."""
        try:
            self._restore()
        except OSError:
            raise self._unavailable(cause) from cause

    def _restore(self) -> None:
        segment = SegmentFile(segment_path(self.folder, self._header.first_seq), self._header.first_seq)
        fd = os.open(segment.path, os.O_RDWR | os.O_CLOEXEC)
        os.close(self._fd)
        self._fd = fd
        self._disk.forget_cache(fd)
        self._disk.write(fd, bytes(self._suspect_bytes), self._position)
        self._disk.sync(fd)
        self._disk.forget_cache(fd)
        is_header_whole = read_header(fd, segment) == self._header
        tail = read_tail(fd, segment, self._header, committed_seq=self.committed_seq, losses=self.losses)
        found = (tail.last_seq, tail.chain, tail.ending, tail.damages)
        if not is_header_whole or found != (self.committed_seq, self.chain, End(self._position), []):
            self._broken = JournalDamaged(
                segment.path, self._position, tail.last_seq + 1, self.committed_seq,
                "found when a failed write was undone",
                "Stop, keep a copy of the folder, look for the cause (the disk?), and start again.",
            )  # fmt: skip
            raise self._broken
        self._suspect_bytes = 0


def _whole_pages(size_bytes: int) -> int:
    return -(-size_bytes // _PAGE_BYTES) * _PAGE_BYTES
