"""The calls that may block: made by threads, never by the loop. All raise OSError, or a :class:`~cashy.disk.errors.DiskError`."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import crc32c

from cashy.core.disk_index import DiskIndex
from cashy.disk.errors import DiskCorrupt, DiskError, DiskTorn
from cashy.disk.journal import Journal, read_journal
from cashy.disk.layout import (
    LAYOUT_VERSION,
    TRAILER_BYTES,
    Trailer,
    block_path,
    key_of_name,
    pack_trailer,
    trailer_offset,
    unpack_trailer,
)
from cashy.disk.limits import FOLDERS

__all__ = [
    "NO_ROOM", "Opened", "keys_in", "open_block", "open_folder", "probe", "read_block", "read_trailer", "remove_block", "write_block",
]  # fmt: skip

_MARKER = "cashy-disk"
_MARK = f"cashy disk, layout {LAYOUT_VERSION}\n"
_CHUNK_BYTES = 1 << 20
_PROBE_BYTES = 64 << 10

#: What a call says when others have filled the disk.
NO_ROOM = errno.ENOSPC, errno.EDQUOT


class Opened:
    """A folder that this process alone uses."""

    def __init__(self, lock_fd: int, index: DiskIndex, journal: Journal) -> None:
        self.lock_fd = lock_fd
        self.index = index
        self.journal = journal

    def close(self) -> None:
        """Another may use it."""
        self.journal.close()
        os.close(self.lock_fd)


def open_folder(folder: Path, capacity: int) -> Opened:
    """Makes the folder a disk, or takes the one that is there over, with what it holds."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock_fd = _lock(folder)
    try:
        blocks = folder / "blocks"
        for number in range(FOLDERS):
            (blocks / f"{number:02x}").mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in blocks.glob("new-*"):
            left.unlink()
        index, journal = DiskIndex(capacity), Journal(folder / "index")
        read_journal(folder / "index", index)
        try:
            journal.write_anew(index)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise  # others have filled the disk: it is read from all the same
        return Opened(lock_fd, index, journal)
    except BaseException:
        os.close(lock_fd)
        raise


def _lock(folder: Path) -> int:
    fd = os.open(folder / _MARKER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DiskError(f"{folder} is used by another daemon: give each its own folder") from None
        mark = os.pread(fd, 256, 0)
        if not mark:
            if (folder / "blocks").exists() or (folder / "index").exists():
                raise DiskError(f"{folder} holds 'blocks' or 'index' of something else: name an empty folder")
            os.pwrite(fd, _MARK.encode(), 0)
            os.fsync(fd)  # folders that outlive a power cut without it would be somebody else's
        elif mark != _MARK.encode():
            raise DiskError(
                f"{folder} was made by another version ({mark[:60].decode(errors='replace').strip()!r}): empty it, or name another folder"
            )
    except BaseException:
        os.close(fd)
        raise
    return fd


def write_block(folder: Path, number: int, digest: bytes, crc: int, data: memoryview) -> None:
    """Writes a block under a name of its own; it is there when it has its right name. ``number``: no other write of this process has it."""
    length = len(data)
    behind = bytes(trailer_offset(length) - length) + pack_trailer(digest, length, crc)
    new = f"{folder}/blocks/new-{number}"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            _write_all(fd, data)
            _write_all(fd, memoryview(behind))
        finally:
            os.close(fd)
        os.rename(new, block_path(folder, digest[:16]))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def read_block(folder: Path, digest: bytes, length: int, buffer: memoryview) -> int:
    """Reads a block into ``buffer`` (of its length); the crc32c of its bytes, which are right."""
    with _opened(folder, digest) as fd:
        _read_all(fd, buffer)
        crc = crc32c.crc32c(buffer)
        _check(_trailer(fd, length), digest, length, crc)
        # It lies in the arena now: twice in memory would be a waste.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return crc


def open_block(folder: Path, digest: bytes, length: int) -> int:
    """A descriptor of a block whose bytes are right."""
    with _opened(folder, digest) as fd:
        scratch, crc, left = bytearray(min(length, _CHUNK_BYTES)), 0, length
        while left:
            piece = memoryview(scratch)[: min(left, _CHUNK_BYTES)]
            _read_all(fd, piece)
            crc = crc32c.crc32c(piece, crc)
            left -= len(piece)
        _check(_trailer(fd, length), digest, length, crc)
        return os.dup(fd)


def read_trailer(folder: Path, key: bytes) -> Trailer | None:
    """Of a file that the index does not know: what it holds, None if it is no whole block. Its bytes are checked when they are read."""
    with _opened(folder, key) as fd:
        size = os.fstat(fd).st_size
        trailer = unpack_trailer(os.pread(fd, TRAILER_BYTES, max(0, size - TRAILER_BYTES)))
        if trailer is None or trailer.digest[:16] != key:
            return None
        return trailer if size == trailer_offset(trailer.length) + TRAILER_BYTES else None


@contextlib.contextmanager
def _opened(folder: Path, digest: bytes) -> Iterator[int]:
    path = block_path(folder, digest[:16])
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        os.stat(os.path.dirname(path))  # the whole disk is away: this raises, and is the disk's error
        raise DiskError("the block is not on the disk any more") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _read_all(fd: int, buffer: memoryview) -> None:
    while buffer:
        count = os.readv(fd, [buffer])
        if not count:
            raise DiskTorn("a block's file is shorter than the block")
        buffer = buffer[count:]


def _trailer(fd: int, length: int) -> Trailer | None:
    data = os.pread(fd, TRAILER_BYTES + 1, trailer_offset(length))
    if len(data) < TRAILER_BYTES or not any(data):
        raise DiskTorn("a block's file ends before its trailer")
    return unpack_trailer(data)


def _check(trailer: Trailer | None, digest: bytes, length: int, crc: int) -> None:
    if trailer is None:
        raise DiskCorrupt("a block's trailer is damaged")
    if trailer.digest != digest or trailer.length != length:
        raise DiskCorrupt("a block's file holds another block")
    if trailer.crc != crc:
        raise DiskCorrupt(
            f"a block's bytes are damaged: their crc32c is {crc:08x}, {trailer.crc:08x} was written"
        )


def remove_block(folder: Path, key: bytes) -> None:
    """The block's name goes; whoever has it mapped keeps the bytes."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(block_path(folder, key))


def keys_in(folder: Path, number: int) -> list[bytes]:
    """Blocks whose files lie in one of the folders; other names are left alone."""
    with os.scandir(f"{folder}/blocks/{number:02x}") as entries:
        keys = (key_of_name(entry.name) for entry in entries)
        return [key for key in keys if key is not None]


def probe(folder: Path) -> None:
    """Writes, reads back and removes a little."""
    path, data = folder / "probe", os.urandom(_PROBE_BYTES)
    path.write_bytes(data)
    try:
        if path.read_bytes() != data:
            raise DiskCorrupt("what was written to try it reads otherwise")
    finally:
        path.unlink()
