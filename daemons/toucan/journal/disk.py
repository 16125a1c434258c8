"""The system calls by which the journal changes files. A parameter of all that writes, so that a test can fail each of them, or lose what was not
synced.

Sizes and offsets are bytes. All raise ``OSError``.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["Disk"]


class Disk:
    """The real thing."""

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Writes all of ``data``; one ``pwrite``, unless the system takes only a part of it at a time (2 GiB, a signal, a limit)."""
        done = os.pwrite(fd, data, offset)
        rest = memoryview(data)
        while done < len(rest):
            rest = rest[done:]
            offset += done
            done = os.pwrite(fd, rest, offset)

    def sync(self, fd: int) -> None:
        """Returns when the file's data are on the disk, and of its metadata what is needed to read them."""
        os.fdatasync(fd)

    def allocate(self, fd: int, size_bytes: int) -> None:
        """Makes the file at least this large, with space for all of it."""
        os.posix_fallocate(fd, 0, size_bytes)

    def sync_folder(self, folder: Path) -> None:
        """Returns when the names of the files in ``folder`` are on the disk."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def forget_cache(self, fd: int) -> None:
        """Asks the system to read the file from the disk again. After a failed sync the pages in memory are no proof of what is on the disk: Linux
        marks them clean, and the next sync succeeds."""
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
