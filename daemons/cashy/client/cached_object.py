"""A handle on one version of an object, for programs with threads.

Law: all bytes that a handle ever gives are of the version it was opened on. Reads go through the cache's pump; what is kept here is only which
version, and for :meth:`CachedObject.blocks` which reads are under way.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cashy.client.connection import Call
from cashy.client.deadline import Deadline
from cashy.client.gather import GatherInto, GatherView
from cashy.client.limits import READ_AHEAD_BLOCKS
from cashy.client.meta import Meta
from cashy.client.reader import TableLost
from cashy.errors import ArenaFull, CashyError, PinQuotaExceeded, SlowDown

if TYPE_CHECKING:
    from cashy.client.cache import Cache

__all__ = ["NO_ROOM_AHEAD", "CachedObject"]

#: Errors that a block read ahead may meet while the blocks before it are still held.
NO_ROOM_AHEAD = (ArenaFull, PinQuotaExceeded, SlowDown)


class CachedObject:
    """A handle on exactly one version of an object; a context manager.

    Every read gives bytes of this version or raises :class:`~cashy.errors.VersionChanged` (when a block is no longer here and the
    origin has another version by now): open the object again then. ``tiers`` counts the blocks read, by where they were found.
    """

    def __init__(self, cache: Cache, meta: Meta) -> None:
        self._cache: Cache | None = cache
        self.meta = meta
        self.tiers: Counter[str] = Counter()

    @property
    def name(self) -> str:
        """The object's name in canonical form."""
        return self.meta.name

    @property
    def size(self) -> int:
        """Bytes."""
        return self.meta.size_bytes

    @property
    def version(self) -> str:
        """ETag with its quotes, or what identifies a file's state."""
        return self.meta.version

    @property
    def last_modified(self) -> float:
        """Seconds since the epoch, UTC."""
        return self.meta.last_modified

    @property
    def content_type(self) -> str:
        """MIME type."""
        return self.meta.content_type

    @property
    def user_metadata(self) -> dict[str, str]:
        """``x-amz-meta-*`` without the prefix."""
        return dict(self.meta.user_metadata)

    @property
    def is_stale(self) -> bool:
        """Whether the origin could not be reached when this was opened, so that it may have another version by now."""
        return self.stale_for_s > 0

    @property
    def stale_for_s(self) -> float:
        """For how many seconds it had been past its time then."""
        return self.meta.stale_for_s

    def view(
        self, offset: int = 0, length: int | None = None, *, timeout_s: float | None = None
    ) -> memoryview:
        """ONE contiguous read-only view of ``[offset, offset + length)``, cut at the end; no copy where this process can pin.

        It holds its blocks in the host's memory while anything made from it lives. Raises :class:`~cashy.errors.ViewTooLarge` (use
        :meth:`blocks` or :meth:`readinto`), :class:`~cashy.errors.PinQuotaExceeded` (drop other views). ``timeout_s`` as of :meth:`cashy.Cache.read`.
        """
        cache = self._open_cache()
        read = cache.new_read(self.name, offset, length, meta=self.meta, deadline=Deadline(timeout_s))
        view = cache.view_of(read)
        self.tiers.update(read.tiers)
        return view

    def readinto(self, buffer: Any, offset: int = 0, *, timeout_s: float | None = None) -> int:
        """Fills ``buffer`` from ``offset`` on; returns how many bytes there were."""
        deadline = Deadline(timeout_s)
        with memoryview(buffer) as whole, whole.cast("B") as target:
            return self._open_cache().gather_into(
                self.name, offset, target, meta=self.meta, deadline=deadline
            )

    def blocks(self, offset: int = 0, length: int | None = None) -> Iterator[memoryview]:
        """The bytes of ``[offset, offset + length)`` as read-only views, in order, one per block; the next ones are on their way meanwhile.

        For objects of any size: what you let go of is no longer held. Closing the iterator (or dropping it) cancels what is under way.
        """
        return _Blocks(self._open_cache(), self, offset, length)

    def _open_cache(self) -> Cache:
        if self._cache is None:
            raise ValueError(f"{self!r} was closed")
        return self._cache

    def close(self) -> None:
        """No further reads through this handle; views stay valid."""
        self._cache = None

    def __enter__(self) -> CachedObject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<cashy.CachedObject {self.name!r} {self.size:,} bytes, version {self.version}>"


class _Blocks(Iterator[memoryview]):
    """Reads block after block, with fetches under way for the blocks after the present one."""

    def __init__(self, cache: Cache, owner: CachedObject, offset: int, length: int | None) -> None:
        if offset < 0 or (length is not None and length < 0):
            raise ValueError(f"offset and length must not be negative: {offset}, {length}")
        self._cache = cache
        self._owner = owner
        meta = self._meta = owner.meta
        at = min(offset, meta.size_bytes)
        self._stop = meta.size_bytes if length is None else min(at + length, meta.size_bytes)
        self._stream = cache.next_stream()
        self._next_read = at
        self._ahead: deque[tuple[GatherView | GatherInto, Call | None]] = deque()

    def __next__(self) -> memoryview:
        self._ask_ahead()
        if not self._ahead:
            raise StopIteration
        read, call = self._ahead.popleft()
        try:
            if call is not None:
                self._cache.finish(read, call)
            view = read.view() if call is not None or read.tiers else self._cache.view_of(read)
        except BaseException:
            read.drop()
            self.close()
            raise
        self._owner.tiers.update(read.tiers)
        return view

    def _ask_ahead(self) -> None:
        """Has the next block's read begun, and those of some blocks after it."""
        while self._next_read < self._stop and len(self._ahead) < READ_AHEAD_BLOCKS:
            at = self._next_read
            stop = min(self._stop, (at // self._meta.block_bytes + 1) * self._meta.block_bytes)
            read = self._cache.new_read(self._meta.name, at, stop - at, meta=self._meta, stream=self._stream)
            call = None
            try:
                call = self._cache.start_ahead(read)
            except (CashyError, TableLost):
                read.drop()
                if self._ahead:  # no room ahead is no error: what is asked for now decides
                    return
            self._ahead.append((read, call))
            self._next_read = stop

    def close(self) -> None:
        """Cancels what is under way; takes no lock that anybody may hold."""
        self._next_read = self._stop
        while self._ahead:
            read, call = self._ahead.popleft()
            read.drop()
            if call is not None:
                call.close()

    def __del__(self) -> None:
        if hasattr(self, "_ahead"):
            self.close()
