"""A journal's folder: what its files are called, who may write in it, and what is set aside.

::

    lock                               flock of the one writer; holds its process id
    segment-<first event>.journal      the log, 20 digits each, so that names sort as numbers do
    next-segment                       zeros, to become the next segment
    reserve                            space kept back for urgent commits
    losses/                            one file for each acknowledged loss (toucan.journal.losses)
    quarantine/                        bytes that were cut or replaced, for whoever wants to know what they were
    snapshot-<last event>.snapshot     states, if they are kept in the same folder (toucan.journal.snapshots)
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from toucan.journal.disk import Disk
from toucan.journal.errors import JournalLocked

__all__ = [
    "FolderLock",
    "SegmentFile",
    "list_segments",
    "opened",
    "quarantine_folder",
    "segment_path",
    "set_aside",
    "write_whole_file",
]

_SEGMENT_NAME = re.compile(r"segment-(\d{20})\.journal")
_LOCK_BYTES = 32  # written over in place: a full disk must not keep the engine from starting


class SegmentFile(msgspec.Struct, frozen=True):
    """A segment by its name, which says its first event."""

    path: Path
    first_seq: int


def segment_path(folder: Path, first_seq: int) -> Path:
    """Where the segment that begins with this event is."""
    return folder / f"segment-{first_seq:020d}.journal"


def list_segments(folder: Path) -> list[SegmentFile]:
    """All segments, by their first event; none where there is no such folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    matches = [match for name in names if (match := _SEGMENT_NAME.fullmatch(name))]
    found = [SegmentFile(folder / match.group(), int(match.group(1))) for match in matches]
    return sorted(found, key=lambda segment: segment.first_seq)


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A descriptor of the file, closed afterwards. New files can be read by their group, so that auditors need not be the engine's user."""
    fd = os.open(path, flags | os.O_CLOEXEC, 0o640)
    try:
        yield fd
    finally:
        os.close(fd)


def write_whole_file(path: Path, data: bytes, disk: Disk) -> None:
    """Makes (or replaces) a file so that a crash leaves the old one or the new one. Raises ``OSError``, with the old one in place."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        with opened(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as fd:
            disk.write(fd, data, 0)
            disk.sync(fd)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    disk.sync_folder(path.parent)


def quarantine_folder(folder: Path) -> Path:
    """Where bytes that were cut or replaced lie."""
    return folder / "quarantine"


def set_aside(folder: Path, name: str, data: bytes, disk: Disk) -> Path:
    """Keeps ``data`` in the quarantine under ``name``, or ``name.2`` and so on if there is one; returns where. It is durable when this returns.

    The same bytes under the same name are kept once: a start that is cut off and tried again leaves no heap.
    """
    quarantine = quarantine_folder(folder)
    if not quarantine.is_dir():
        quarantine.mkdir(mode=0o750)
        disk.sync_folder(folder)
    path, number = quarantine / name, 1
    while path.exists():
        if path.read_bytes() == data:
            return path
        number += 1
        path = quarantine / f"{name}.{number}"
    write_whole_file(path, data, disk)
    return path


class FolderLock:
    """Held by the one process that may write. The kernel lets it go when that process dies, however it dies.

    It belongs to the open file, so a child made by fork holds it too, until it ends or closes :attr:`fd`.
    """

    def __init__(self, folder: Path) -> None:
        """Raises :class:`JournalLocked`; ``OSError``, if the file cannot be made."""
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(fd, str(os.getpid()).encode().ljust(_LOCK_BYTES), 0)
        except BlockingIOError:
            holder = os.pread(fd, _LOCK_BYTES, 0).split()
            os.close(fd)
            pid = int(holder[0]) if holder and holder[0].isdigit() else None
            raise JournalLocked(folder, pid) from None
        except BaseException:
            os.close(fd)
            raise
        self.fd = fd

    def release(self) -> None:
        """Lets another process write; a second call does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
