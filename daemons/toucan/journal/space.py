"""Space: the next segment, made before it is needed, and the reserve, which lets urgent commits pass on a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from toucan.journal.core.frame import SegmentHeader, encode_segment_header
from toucan.journal.disk import Disk
from toucan.journal.folder import opened, segment_path
from toucan.journal.limits import PREPARE_STEP_BYTES

__all__ = ["NextSegment", "Reserve", "is_out_of_space"]

#: After the next segment could not be made, so many calls of ``step`` do nothing: each try is a walk through a full disk.
_CALLS_WITHOUT_A_TRY = 256


def is_out_of_space(error: OSError) -> bool:
    """Whether room is what is missing (a full disk, a used up quota)."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


class NextSegment:
    """A file of zeros that becomes the next segment.

    It is allocated as a whole and then filled with zeros, for an allocated but unwritten block costs the file system a transaction when it is
    first written, within a commit's sync (p50 a quarter to two thirds longer [measured, ext4]). Filling is done in steps, so that it can be
    spread over the engine's idle moments.
    """

    def __init__(self, folder: Path, disk: Disk) -> None:
        """Removes what a former process had prepared: it holds zeros, and nobody knows how many of them reached the disk."""
        self._folder = folder
        self._path = folder / "next-segment"
        self._disk = disk
        self._path.unlink(missing_ok=True)
        self._fd = -1
        self._size_bytes = 0
        self._zeroed_bytes = 0
        self._calls_to_skip = 0

    def is_ready(self, size_bytes: int) -> bool:
        """Whether a segment of this size can begin at once."""
        return self._fd >= 0 and self._size_bytes == self._zeroed_bytes == size_bytes

    def step(self, size_bytes: int) -> bool:
        """Does one step of making it; False when it is ready, or there is no room for it now (which is tried again after some calls)."""
        if self.is_ready(size_bytes):
            return False
        if self._calls_to_skip:
            self._calls_to_skip -= 1
            return False
        try:
            self._fill(size_bytes)
        except OSError:
            self.drop()
            self._calls_to_skip = _CALLS_WITHOUT_A_TRY
            return False
        return not self.is_ready(size_bytes)

    def begin(self, header: SegmentHeader) -> int:
        """Makes it the segment with this header, durable but for its name in the folder; returns its descriptor.

        Raises ``OSError``, with nothing left behind.
        """
        size_bytes = header.size_bytes
        try:
            while not self.is_ready(size_bytes):
                self._fill(size_bytes)
            self._disk.write(self._fd, encode_segment_header(header), 0)
            self._disk.sync(self._fd)
            self._path.rename(segment_path(self._folder, header.first_seq))
        except OSError:
            self.drop()
            raise
        fd, self._fd = self._fd, -1
        return fd

    def _fill(self, size_bytes: int) -> None:
        if self._fd < 0 or self._size_bytes != size_bytes:
            self.drop()
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            self._size_bytes, self._zeroed_bytes = size_bytes, 0
            self._disk.allocate(self._fd, size_bytes)
        count = min(PREPARE_STEP_BYTES, size_bytes - self._zeroed_bytes)
        self._disk.write(self._fd, bytes(count), self._zeroed_bytes)
        self._disk.sync(self._fd)  # now and not in the middle of some commit
        self._zeroed_bytes += count

    def drop(self) -> None:
        """Gives its space back; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
            self._path.unlink(missing_ok=True)


class Reserve:
    """A file that does nothing but hold space. A size of 0: there is none to hold."""

    def __init__(self, folder: Path, size_bytes: int, disk: Disk) -> None:
        self._folder = folder
        self._path = folder / "reserve"
        self._disk = disk
        self.size_bytes = size_bytes
        self.is_held = False
        #: Why it could not be taken the last time.
        self.failure: OSError | None = None
        self.take()

    def take(self) -> bool:
        """Takes the space, if it is not held and the disk has it; returns whether it is held now."""
        if not self.is_held:
            try:
                with opened(self._path, os.O_RDWR | os.O_CREAT) as fd:
                    os.ftruncate(fd, self.size_bytes)
                    if self.size_bytes:
                        self._disk.allocate(fd, self.size_bytes)
                self.is_held = True
                self.failure = None
            except OSError as error:
                self.failure = error
                self._path.unlink(missing_ok=True)
        return self.is_held

    def release(self) -> bool:
        """Gives the space back to the disk; returns whether there was any to give."""
        if not self.is_held or not self.size_bytes:
            return False
        self.is_held = False
        self._path.unlink(missing_ok=True)
        self._disk.sync_folder(self._folder)  # some file systems free blocks only with their next transaction
        return True
