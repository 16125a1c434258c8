"""What this host does for the others: their reads, out of its arena or through its origins; never through a third host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from cashy.core.coherence import Change, Grant
from cashy.core.names import Resolved, block_digest, parse_name
from cashy.errors import (
    CashyError,
    InternalError,
    InvalidName,
    InvalidRequest,
    NoSuchBucket,
    SlowDown,
    VersionChanged,
)
from cashy.limits import PEER_TASKS_MAX
from cashy.master.catalog import Catalog, Known
from cashy.master.coherence import Coherence
from cashy.master.counters import Counters
from cashy.master.fills import Content, Fill, FillTable
from cashy.master.store import BlockStore
from cashy.origin.base import ObjectMeta
from cashy.peer.service import BlockReply, HeadAnswer, HeadRequest, Noted, ReadRequest

__all__ = ["BlocksForPeers"]


class BlocksForPeers:
    """The :class:`~cashy.peer.service.PeerService` of a master."""

    def __init__(
        self, store: BlockStore, fills: FillTable, catalog: Catalog, counters: Counters, status: Callable[[], bytes]
    ) -> None:  # fmt: skip
        self._store = store
        self._fills = fills
        self._catalog = catalog
        self._counters = counters
        self._tasks: set[asyncio.Task[None]] = set()
        self.status = status
        self.coherence: Coherence | None = None

    # --- PeerService ---

    def read(self, request: ReadRequest, reply: BlockReply) -> None:
        """A block, or what is missing of one."""
        place = self._place(request)
        index, start = divmod(request.offset, self._fills.block_bytes)
        if start + request.length > self._fills.block_bytes:
            raise InvalidRequest(
                f"bytes {request.offset} to {request.offset + request.length} lie in more than one block"
            )
        part = _Part(self, reply, request, index, start)
        if request.version is None:
            self._spawn(reply, self._read_any_version(request, place, part))
            return
        if request.size_bytes is None:
            raise InvalidRequest("a read of a known version must say the object's size")
        meta = ObjectMeta(version=request.version, size_bytes=request.size_bytes, last_modified=0.0)
        part.serve(Content(place, meta, self._fills.block_bytes), 0.0)

    async def _read_any_version(self, request: ReadRequest, place: Resolved, part: _Part) -> None:
        known = await self._catalog.learn(parse_name(request.url), part.index, forward=False)
        _check_place(known, place)
        part.serve(known.content, self._catalog.fresh_for_s(known))

    async def head(self, request: HeadRequest) -> HeadAnswer:
        """An object's metadata."""
        place = self._place(request)
        known = await self._catalog.stat(
            parse_name(request.url), revalidate=request.revalidate, forward=False
        )
        _check_place(known, place)
        self._counters.add("peer_heads_served")
        return HeadAnswer(known.content.meta, self._catalog.fresh_for_s(known))

    def changed(self, changes: Sequence[Change]) -> Noted:
        """Objects are being changed through another host, or were."""
        return self._the_coherence().changed(changes)

    def lease(self, peer: str, incarnation: int, number: int) -> Grant:
        """Another host wants to believe what it knows."""
        return self._the_coherence().lease(peer, incarnation, number)

    def _the_coherence(self) -> Coherence:
        assert self.coherence is not None  # only hosts of a cluster have an endpoint for others
        return self.coherence

    def _place(self, request: ReadRequest | HeadRequest) -> Resolved:
        if request.origin not in self._fills.routes.origins:
            raise InvalidName(
                f"this host has no origin named {request.origin!r}: origins must have the same names on all hosts of a cluster"
            )
        return Resolved(request.origin, request.bucket, request.key)

    # --- tasks ---

    def _spawn(self, reply: BlockReply, work: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= PEER_TASKS_MAX:
            work.close()
            raise SlowDown(
                f"{PEER_TASKS_MAX} objects are being looked up for other hosts already: try again later"
            )
        task = asyncio.get_running_loop().create_task(self._guarded(reply, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        reply.on_cancel = lambda: _cancel(task)
        reply.is_at_origin = lambda: not task.done()  # it asks nobody else

    async def _guarded(self, reply: BlockReply, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except CashyError as error:
            reply.fail(error)
        except Exception as error:
            reply.fail(InternalError(f"the host failed at this read: {type(error).__name__}"))
            raise

    async def close(self) -> None:
        """Ends what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _check_place(known: Known, place: Resolved) -> None:
    found = known.content.place
    if found != place:
        raise NoSuchBucket(
            f"this host finds {known.name.url} in origin {found.origin!r}, not in {place.origin!r}"
        )


class _Part:
    """One read of a peer's. Is the :class:`~cashy.master.fills.FillWaiter` of its block."""

    def __init__(
        self, host: BlocksForPeers, reply: BlockReply, request: ReadRequest, index: int, start: int
    ) -> None:
        self._host = host
        self._store = host._store
        self._reply = reply
        self._request = request
        self.index = index
        self._start = start
        self._content: Content | None = None
        self._length = 0
        self._fresh_for_s = 0.0
        self._has_begun = False

    def serve(self, content: Content, fresh_for_s: float) -> None:
        """Answers out of the arena, or joins the block's fill. Raises a :class:`~cashy.errors.CashyError`."""
        self._content, self._fresh_for_s = content, fresh_for_s
        self._length = min(self._request.length, max(0, content.block_length(self.index) - self._start))
        if not self._length:
            self._reply.begin(content.meta, 0, fresh_for_s, memoryview(b""), 0, _nothing)
            return
        slot = self._store.find(block_digest(content.content_id, self.index))
        if slot >= 0:
            self._store.touch(slot)
            self._begin(slot, self._length)
            return
        fill = self._host._fills.join(
            content, self.index, self, url=self._request.url, asker=self._request.peer
        )
        self._reply.on_cancel = lambda: self._host._fills.leave(fill, self)
        self._reply.is_at_origin = lambda: fill.route.is_at_origin

    def _begin(self, slot: int, available: int) -> None:
        assert self._content is not None
        arena = self._store.arena
        arena.hold(slot)
        self._has_begun = True
        self._host._counters.add("peer_reads_served")
        self._host._counters.add("peer_bytes_served", self._length)
        buffer = arena.content(slot)[self._start : self._start + self._length].toreadonly()
        # A slot of one generation never changes, so checksums of its frames may be remembered by it.
        self._reply.begin(
            self._content.meta,
            self._length,
            self._fresh_for_s,
            buffer,
            available,
            lambda: arena.unhold(slot),
            known_as=(slot, arena.generation(slot)),
        )

    def _available(self, watermark: int) -> int:
        return min(self._length, max(0, watermark - self._start))

    # --- FillWaiter ---

    def leased(self, fill: Fill) -> None:
        """Sends on while the block arrives."""
        if not self._has_begun and not self._reply.is_gone:
            self._begin(fill.slot, self._available(fill.watermark))

    def progressed(self, fill: Fill) -> None:
        """More can be sent."""
        if self._has_begun:
            self._reply.advance(self._available(fill.watermark))

    def finished(self, fill: Fill) -> None:
        """All can be sent."""
        if self._has_begun:
            self._reply.advance(self._length)
            return
        assert self._content is not None
        try:
            self.serve(self._content, self._fresh_for_s)  # it is here, or under way under another name
        except CashyError as error:
            self._reply.fail(error)

    def failed(self, fill: Fill, error: CashyError) -> None:
        """The peer asks somebody else, in the end the origin."""
        if isinstance(error, VersionChanged) and self._request.url and self._content is not None:
            self._host._catalog.forget(parse_name(self._request.url), self._content)
        self._reply.fail(error)


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def _nothing() -> None:
    """An empty answer holds nothing."""
