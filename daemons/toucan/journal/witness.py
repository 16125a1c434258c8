"""The witness: a tiny file elsewhere that says how far the journal was, so that a tail that is gone is noticed.

A log whose end was cut off looks like one that ended there. The witness is written after each commit, in place and without a sync: that is 2 us,
survives the death of the process, and after a loss of power it is at most older than the journal, which says nothing against the journal. It is
worth most on another disk than the journal's.
"""

from __future__ import annotations

import os
from pathlib import Path

from toucan.journal.core.mark import MARKS_BYTES, Mark, decode_marks, encode_mark
from toucan.journal.disk import Disk
from toucan.journal.folder import opened

__all__ = ["Witness", "read_witness"]


def read_witness(path: Path) -> Mark | None:
    """What the witness says, for any process; None if there is none, or it says nothing. Raises ``OSError``."""
    try:
        with opened(path) as fd:
            return decode_marks(os.pread(fd, MARKS_BYTES, 0))
    except FileNotFoundError:
        return None


class Witness:
    """The writing side, for the one process that holds the journal."""

    def __init__(self, path: Path, disk: Disk) -> None:
        """Opens or makes the file. Raises ``OSError``."""
        self.path = path
        self._disk = disk
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        #: What it held when it was opened.
        self.raw = os.pread(self._fd, MARKS_BYTES, 0)
        self.mark = decode_marks(self.raw)
        self._turn = self.mark.turn if self.mark else 0
        #: Why the last write failed; the journal goes on without, and a cut tail may go unnoticed meanwhile.
        self.failure = ""

    @property
    def is_destroyed(self) -> bool:
        """Whether it said something once that can no longer be read. Zeros are a file that was made and never reached the disk."""
        return self.mark is None and any(self.raw)

    def write(self, journal_id: bytes, seq: int, chain: bytes) -> None:
        """Notes that events up to ``seq`` are durable. Never raises: the events are, whatever becomes of the note."""
        self._turn += 1
        data, offset = encode_mark(Mark(self._turn, journal_id, seq, chain))
        try:
            self._disk.write(self._fd, data, offset)
            self.failure = ""
        except OSError as error:
            self.failure = f"{self.path} cannot be written: {error.strerror}"

    def close(self) -> None:
        """Gives the file back; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
