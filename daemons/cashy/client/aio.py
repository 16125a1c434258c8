"""``cashy.aio``: the client library for asyncio. The same reads as :mod:`cashy.client.cache`, with the same lifetimes.

Law: a thin pump over :class:`~cashy.client.session.AsyncSession`. A read whose bytes are here never suspends the calling task.

::

    async with cashy.aio.connect() as cache:
        array = np.frombuffer(await cache.read("s3://bucket/key"), np.float32)
        async for view in (await cache.open("s3://bucket/large")).blocks():
            ...
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter, deque
from collections.abc import AsyncIterator, Generator, Iterable
from types import TracebackType
from typing import Any

from aviary.cashy.v1 import control_pb2 as pb
from cashy.client.cache import NO_ROOM_AHEAD, batches, program_name, socket_path_or_default
from cashy.client.deadline import NO_DEADLINE, Deadline
from cashy.client.gather import GatherInto, GatherView
from cashy.client.limits import ANSWER_TIMEOUT_S, READ_AHEAD_BLOCKS
from cashy.client.listing import Listed, ListingPages
from cashy.client.meta import Location, Meta
from cashy.client.session import AsyncSession
from cashy.core.names import parse_name
from cashy.errors import NotConnected, ViewTooLarge

__all__ = ["AsyncCache", "AsyncCachedObject", "connect"]


class _Connecting:
    """What :func:`connect` returns: to be awaited, or used with ``async with``."""

    def __init__(self, socket_path: str, timeout_s: float) -> None:
        self._socket_path = socket_path
        self._timeout_s = timeout_s
        self._cache: AsyncCache | None = None

    async def _connect(self) -> AsyncCache:
        session = await AsyncSession.connect(
            self._socket_path, program=program_name(), timeout_s=self._timeout_s
        )
        return AsyncCache(session)

    def __await__(self) -> Generator[Any, None, AsyncCache]:
        return self._connect().__await__()

    async def __aenter__(self) -> AsyncCache:
        self._cache = await self._connect()
        return self._cache

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._cache is not None:
            await self._cache.close()


def connect(
    socket_path: str | os.PathLike[str] | None = None, *, timeout_s: float = ANSWER_TIMEOUT_S
) -> _Connecting:
    """Connects to the host's daemon: ``async with connect() as cache``, or ``cache = await connect()``.

    Arguments as for :func:`cashy.connect`. Raises :class:`~cashy.errors.NotConnected`.
    """
    return _Connecting(socket_path_or_default(socket_path), timeout_s)


class AsyncCache:
    """The host's cache for one event loop. Methods as of :class:`cashy.Cache`."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self._streams = 0

    async def read(
        self, url: str, offset: int = 0, length: int | None = None, *, timeout_s: float | None = None
    ) -> memoryview:
        """The bytes ``[offset, offset + length)``, cut at the object's end, as one read-only view of one version; see :meth:`cashy.Cache.read`."""
        arena = self.session.arena
        if arena is not None:
            view = arena.read_hit(url, offset, length)
            if view is not None:
                return view
        return await self.view_of(self.new_read(url, offset, length, deadline=Deadline(timeout_s)))

    async def readinto(
        self, url: str, buffer: Any, offset: int = 0, *, timeout_s: float | None = None
    ) -> int:
        """Fills ``buffer`` from ``offset`` on; returns how many bytes there were."""
        return await self.copy_into(url, buffer, offset, deadline=Deadline(timeout_s))

    async def open(self, url: str) -> AsyncCachedObject:
        """A handle on the present version of an object."""
        return AsyncCachedObject(self, await self.stat(url))

    async def stat(self, url: str, *, revalidate: bool = False) -> Meta:
        """Metadata of an object."""
        return await self.session.stat(url, revalidate=revalidate)

    async def prefetch(self, urls: Iterable[str]) -> int:
        """Asks the daemon to load objects and does not wait for them; returns how many it accepted."""
        accepted = 0
        for names in batches(parse_name(url).url for url in urls):
            body = await self.session.ask(pb.Prefetch(names=names))
            assert isinstance(body, pb.PrefetchAccepted)
            accepted += body.accepted
        return accepted

    async def locate(self, url: str) -> Location:
        """Where each block of an object lies."""
        name = parse_name(url).url
        body = await self.session.ask(pb.Locate(name=name))
        assert isinstance(body, pb.LocateReport)
        return Location.from_report(name, body)

    async def list(self, prefix: str, *, folds: bool = False, page_entries: int = 0) -> AsyncIterator[Listed]:
        """The objects whose names begin with ``prefix``; see :meth:`cashy.Cache.list`."""
        pages = ListingPages(prefix, folds=folds, page_entries=page_entries)
        while pages.question is not None:
            body = await self.session.ask(pages.question)
            assert isinstance(body, pb.ListReport)
            for entry in pages.take(body):
                yield entry

    async def status(self) -> pb.StatusReport:
        """The daemon's instance, process and counters."""
        body = await self.session.ask(pb.Status())
        assert isinstance(body, pb.StatusReport)
        return body

    async def cluster(self) -> pb.ClusterReport:
        """What every host of the cluster says of itself."""
        body = await self.session.ask(pb.ClusterStatus())
        assert isinstance(body, pb.ClusterReport)
        return body

    # --- shared with AsyncCachedObject ---

    def new_read(
        self, url: str, offset: int, length: int | None, *, meta: Meta | None = None, stream: int = 0, deadline: Deadline = NO_DEADLINE
    ) -> GatherView | GatherInto:  # fmt: skip
        """A read of a range, pinned if this process can pin; ``meta`` given = that version or an error."""
        if self.session.arena is None:
            raise NotConnected("this cache was closed: connect anew")
        kind = GatherView if self.session.arena.can_pin else GatherInto
        return kind(
            url, offset, length, meta=meta, keep_version=meta is not None, stream=stream, deadline=deadline
        )

    async def view_of(self, read: GatherView | GatherInto) -> memoryview:
        """Carries a read out."""
        await self.session.carry_out(read)
        try:
            return read.view()
        except ViewTooLarge:
            if not isinstance(read, GatherView):
                raise
            copy = read.as_copy()
            await self.session.carry_out(copy)
            return copy.view()

    async def copy_into(
        self, url: str, buffer: Any, offset: int, meta: Meta | None = None, *, deadline: Deadline = NO_DEADLINE
    ) -> int:  # fmt: skip
        """Copies a range into ``buffer``; returns its length."""
        with memoryview(buffer) as whole, whole.cast("B") as target:
            if not target.nbytes:
                return 0
            read = GatherInto(
                url,
                offset,
                target.nbytes,
                target=target,
                meta=meta,
                keep_version=meta is not None,
                deadline=deadline,
            )
            await self.session.carry_out(read)
            return read.size_bytes

    def next_stream(self) -> int:
        """A number for a sequence of reads."""
        self._streams += 1
        return self._streams

    async def close(self) -> None:
        """Ends the connection; views and arrays stay valid."""
        await self.session.close()

    async def __aenter__(self) -> AsyncCache:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncCachedObject:
    """A handle on exactly one version of an object, as :class:`cashy.CachedObject`."""

    def __init__(self, cache: AsyncCache, meta: Meta) -> None:
        self._cache = cache
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

    async def view(
        self, offset: int = 0, length: int | None = None, *, timeout_s: float | None = None
    ) -> memoryview:
        """ONE contiguous read-only view of ``[offset, offset + length)``, cut at the end; see :meth:`cashy.CachedObject.view`."""
        return await self._view(offset, length, 0, Deadline(timeout_s))

    async def _view(
        self, offset: int, length: int | None, stream: int, deadline: Deadline = NO_DEADLINE
    ) -> memoryview:
        read = self._cache.new_read(
            self.name, offset, length, meta=self.meta, stream=stream, deadline=deadline
        )
        view = await self._cache.view_of(read)
        self.tiers.update(read.tiers)
        return view

    async def readinto(self, buffer: Any, offset: int = 0, *, timeout_s: float | None = None) -> int:
        """Fills ``buffer`` from ``offset`` on; returns how many bytes there were."""
        return await self._cache.copy_into(self.name, buffer, offset, self.meta, deadline=Deadline(timeout_s))

    async def blocks(self, offset: int = 0, length: int | None = None) -> AsyncIterator[memoryview]:
        """The bytes of a range as read-only views, in order, one per block; the next ones are on their way meanwhile.

        Leave it early with ``contextlib.aclosing``, or what is under way goes on until the generator is collected.
        """
        if offset < 0 or (length is not None and length < 0):
            raise ValueError(f"offset and length must not be negative: {offset}, {length}")
        at = min(offset, self.size)
        stop = self.size if length is None else min(at + length, self.size)
        stream = self._cache.next_stream()
        ahead: deque[tuple[int, int, asyncio.Task[memoryview]]] = deque()
        try:
            while at < stop or ahead:
                while at < stop and len(ahead) < READ_AHEAD_BLOCKS:
                    length = min(stop, (at // self.meta.block_bytes + 1) * self.meta.block_bytes) - at
                    ahead.append((at, length, asyncio.create_task(self._view(at, length, stream))))
                    at += length
                begin, length, task = ahead.popleft()
                try:
                    view = await task
                except NO_ROOM_AHEAD:
                    view = await self._view(
                        begin, length, stream
                    )  # what was before it has been given away meanwhile
                yield view
                del view, task
        finally:
            for _, _, task in ahead:
                task.cancel()
            await asyncio.gather(*(task for _, _, task in ahead), return_exceptions=True)

    async def __aenter__(self) -> AsyncCachedObject:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
