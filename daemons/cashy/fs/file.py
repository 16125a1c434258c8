"""One object opened for reading: a file whose bytes stay in shared memory until they are asked for.

Law: all bytes are of the version it was opened on. What :meth:`CashyFile.read` gives was copied once, from shared memory into the bytes object;
``readinto`` copies once, into the caller's buffer; :meth:`CashyFile.view` not at all. Between calls one block is held (a pin, no copy), so that small
reads next to each other are slices of it, without a message, a lock of the daemon's or a look into the index.

Read-ahead. A file read from one block into the next is being read through: from then on the blocks after it are on their way
(:meth:`cashy.CachedObject.blocks`). One that jumps about gets the blocks that it touches and no others. There is no buffer of the process's own, and
fsspec's ``block_size`` and ``cache_type`` mean nothing here.

Threads may share a file, and a position with it. After a fork each process has its own position, and the child asks over a connection of its own.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cashy.client import forking
from cashy.client.cached_object import CachedObject

if TYPE_CHECKING:
    from cashy.client.cache import Cache
    from cashy.fs.filesystem import CashyFileSystem

__all__ = ["CashyFile"]


class CashyFile(io.BufferedIOBase):
    """A binary file over one version of an object. ``size`` in bytes; ``details`` is what ``fs.info`` says of it.

    Reads raise :class:`~cashy.errors.VersionChanged` if the object was replaced and the rest of the version opened is no longer to be had.
    """

    mode = "rb"

    def __init__(self, fs: CashyFileSystem, path: str, cache: Cache, details: dict[str, Any]) -> None:
        self.fs = fs
        self.path = path
        self.name = path
        self.details = details
        self._cache = cache
        self._object: CachedObject = cache.open(details["cashy_name"])
        self.size = self._object.size
        self._at = 0
        self._lock = threading.Lock()
        # The block held: its bytes, and where they begin. Then the blocks that are on their way, and where they begin.
        self._held = memoryview(b"")
        self._held_at = 0
        self._ahead: Iterator[memoryview] | None = None
        self._ahead_at = -1
        forking.watch(self)

    # --- the position ---

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        self._check_open()
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a position, also one beyond the end; nothing is read. Raises ValueError for one before the start."""
        self._check_open()
        with self._lock:
            base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}.get(whence)
            if base is None:
                raise ValueError(f"whence is {whence!r}: use 0 (start), 1 (position) or 2 (end)")
            if base + offset < 0:
                raise ValueError(f"a position of {base + offset} bytes lies before the start")
            self._at = base + offset
            return self._at

    # --- reads ---

    def read(self, size: int | None = -1, /) -> bytes:
        """The next ``size`` bytes (negative or None: all that are left), fewer only at the end."""
        self._check_open()
        with self._lock:
            count = self._count(size)
            if count == 0:
                return b""
            piece = self._piece(self._at, count)
            if len(piece) == count:
                self._at += count
                return bytes(piece)
            return self._read_many(piece, count)

    def read1(self, size: int = -1, /) -> bytes:
        """The next bytes out of one block: at most ``size``, none only at the end."""
        self._check_open()
        with self._lock:
            count = self._count(size)
            if count == 0:
                return b""
            piece = self._piece(self._at, count)
            self._at += len(piece)
            return bytes(piece)

    def readinto(self, buffer: Any, /) -> int:
        """Fills ``buffer`` (writable, contiguous); returns how many bytes there were."""
        self._check_open()
        with self._lock, memoryview(buffer) as whole, whole.cast("B") as target:
            count = self._count(target.nbytes)
            if count == 0:
                return 0
            block_bytes = self._object.meta.block_bytes
            if count > 2 * block_bytes and self._at != self._ahead_at:  # all of it asked for at once
                done = self._object.readinto(target[:count], self._at)
                self._at += done
                return done
            done = 0
            while done < count:
                piece = self._piece(self._at, count - done)
                target[done : done + len(piece)] = piece
                done += len(piece)
                self._at += len(piece)
            return done

    def readinto1(self, buffer: Any, /) -> int:
        """As :meth:`readinto`, out of one block."""
        self._check_open()
        with self._lock, memoryview(buffer) as whole, whole.cast("B") as target:
            count = self._count(target.nbytes)
            if count == 0:
                return 0
            piece = self._piece(self._at, count)
            target[: len(piece)] = piece
            self._at += len(piece)
            return len(piece)

    def readline(self, size: int | None = -1, /) -> bytes:
        """The bytes up to the next newline, and with it."""
        return b"".join(self._line_pieces(self._limit(size)))

    def _line_pieces(self, limit: int) -> Iterator[bytes]:
        self._check_open()
        with self._lock:
            while limit and self._at < self.size:
                piece = bytes(self._piece(self._at, min(limit, _LINE_BYTES, self.size - self._at)))
                end = piece.find(b"\n") + 1
                piece = piece[:end] if end else piece
                self._at += len(piece)
                limit -= len(piece)
                yield piece
                if end:
                    return

    def _limit(self, size: int | None) -> int:
        return self.size if size is None or size < 0 else size

    def view(self, offset: int = 0, length: int | None = None) -> memoryview:
        """ONE read-only view of ``[offset, offset + length)`` without a copy, whatever the position; see :meth:`cashy.CachedObject.view`."""
        self._check_open()
        return self._object.view(offset, length)

    def copy_into(self, target: Any, callback: Any = None) -> None:
        """Writes everything to a binary file, block by block without a copy; an fsspec ``callback`` is told of each."""
        self._check_open()
        for block in self._object.blocks():
            target.write(block)
            if callback is not None:
                callback.relative_update(block.nbytes)

    # --- where bytes are ---

    def _count(self, size: int | None) -> int:
        left = max(0, self.size - self._at)
        return left if size is None or size < 0 else min(size, left)

    def _piece(self, at: int, count: int) -> memoryview:
        """At most ``count`` bytes from ``at`` on, out of the block that has them; at least one."""
        begin = at - self._held_at
        if not 0 <= begin < len(self._held):
            self._hold(at)
            begin = at - self._held_at
        return self._held[begin : begin + count]

    def _hold(self, at: int) -> None:
        """Holds the block that byte ``at`` lies in, instead of the one held now."""
        block_bytes = self._object.meta.block_bytes
        begin = at - at % block_bytes
        came_from = self._held_at + len(self._held)
        is_first = not len(self._held)
        self._held = memoryview(b"")  # given back before another one is asked for
        if self._ahead is not None and begin != self._ahead_at:
            self._drop_ahead()
        if self._ahead is None and begin == came_from and not is_first:
            self._ahead, self._ahead_at = self._object.blocks(begin), begin
        if self._ahead is not None:
            self._held = next(self._ahead)
            self._ahead_at += len(self._held)
        else:
            self._held = self._object.view(begin, block_bytes)
        self._held_at = begin

    def _read_many(self, piece: memoryview, count: int) -> bytes:
        """Collects several blocks' bytes into one object: BytesIO gives its buffer away without a copy."""
        target = io.BytesIO()
        done = target.write(piece)
        del piece
        at = self._at + done
        while done < count:
            step = target.write(self._piece(at, count - done))
            done += step
            at += step
        self._at = at
        return target.getvalue()

    def _drop_ahead(self) -> None:
        ahead, self._ahead, self._ahead_at = self._ahead, None, -1
        if ahead is not None:
            ahead.close()  # type: ignore[attr-defined]

    # --- fork, pickle and end ---

    def before_fork(self) -> None:
        """Nothing: the arena sees to its table."""

    def after_fork_in_child(self) -> None:
        """What is on its way is the parent's; the lock may be held by a thread that is not here."""
        self._lock = threading.Lock()
        self._drop_ahead()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.fs, self.path, self.details["version"], self.tell())

    def close(self) -> None:
        """Gives the block back; bytes and views that were given stay."""
        if not self.closed:
            with suppress(AttributeError):  # it was never opened
                self._drop_ahead()
                self._held = memoryview(b"")
                self._object.close()
        super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.path!r} was closed")

    def __repr__(self) -> str:
        return f"<cashy.fs.CashyFile {self.path!r}, {self.size:,} bytes>"


#: Bytes that are searched for a newline at a time: longer than most lines, shorter than what copying for nothing would be felt of.
_LINE_BYTES = 4096


def _reopened(fs: CashyFileSystem, path: str, version: str, at: int) -> CashyFile:
    """An unpickled file: the same version at the same position; raises VersionChanged if it is another one by now."""
    return fs.reopen(path, version, at)
