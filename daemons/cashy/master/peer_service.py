"""What this host does for the others: their reads, out of its arena or through its origins; never through a third host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from aviary.cashy.v1.operate_pb2 import HostAnswer, HostRequest
from cashy.core.coherence import Change, Grant
from cashy.core.names import Resolved, block_digest, parse_name
from cashy.core.trace import TraceMemory
from cashy.errors import (
    CashyError,
    DeadlineExceeded,
    InternalError,
    InvalidName,
    InvalidRequest,
    NoSuchBucket,
    OriginUnavailable,
    SlowDown,
    VersionChanged,
)
from cashy.limits import PEER_TASKS_MAX
from cashy.master.catalog import Catalog
from cashy.master.coherence import Coherence
from cashy.master.counters import Counters
from cashy.master.fills import Content, Fill, FillTable
from cashy.master.hot_spots import HotSpots
from cashy.master.known import Known
from cashy.master.locating import tiers_here
from cashy.master.operating import Operating
from cashy.master.store import BlockStore
from cashy.master.tracing import current_trace, followed
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
        self.on_leaving: Callable[[str], None] = _nobody
        self.operating: Operating | None = None
        self.traces = TraceMemory()
        self.hot_spots = HotSpots(fills.routes.cluster, counters)

    # --- PeerService ---

    def read(self, request: ReadRequest, reply: BlockReply) -> None:
        """A block, or what is missing of one."""
        if request.trace_id:
            with followed(self.traces.of(request.trace_id, time.monotonic_ns())):
                self._read(request, reply)
        else:
            self._read(request, reply)

    def _read(self, request: ReadRequest, reply: BlockReply) -> None:
        place = self._place(request)
        if request.deadline_s <= 0:
            raise DeadlineExceeded("nobody waits for this read any more")
        index, start = divmod(request.offset, self._fills.block_bytes)
        if start + request.length > self._fills.block_bytes:
            raise InvalidRequest(
                f"bytes {request.offset} to {request.offset + request.length} lie in more than one block"
            )
        part = _Part(self, reply, request, index, start)
        self.hot_spots.take_note(request, place, index, reply)
        if request.version is None:
            self._spawn(reply, self._read_any_version(request, place, part))
            return
        if request.size_bytes is None:
            raise InvalidRequest("a read of a known version must say the object's size")
        meta = ObjectMeta(version=request.version, size_bytes=request.size_bytes, last_modified=0.0)
        part.serve(Content(place, meta, self._fills.block_bytes), 0.0)

    async def _read_any_version(self, request: ReadRequest, place: Resolved, part: _Part) -> None:
        name = parse_name(request.url)
        if request.only_here:
            found = self._catalog.cached(name)
            if found is None:
                raise _not_here(request)
            known = found
        else:
            known = await self._catalog.learn(
                name, part.index, forward=False, owner=part.owner, is_copy=part.is_copy
            )
        _check_place(known, place)
        part.serve(known.content, self._catalog.fresh_for_s(known))

    async def head(self, request: HeadRequest) -> HeadAnswer:
        """An object's metadata."""
        place = self._place(request)
        known = await self._catalog.stat(
            parse_name(request.url), revalidate=request.revalidate, forward=False, may_be_stale=False
        )
        _check_place(known, place)
        self._counters.add("peer_heads_served")
        blocks = range(request.blocks.start, min(request.blocks.stop, known.content.block_count))
        tiers = await tiers_here(self._fills, known.content, blocks)
        return HeadAnswer(known.content.meta, self._catalog.fresh_for_s(known), tiers)

    def changed(self, changes: Sequence[Change]) -> Noted:
        """Objects are being changed through another host, or were."""
        return self._the_coherence().changed(changes)

    def lease(self, peer: str, incarnation: int, number: int) -> Grant:
        """Another host wants to believe what it knows."""
        return self._the_coherence().lease(peer, incarnation, number)

    def leaving(self, peer: str) -> None:
        """Another host stops."""
        self._counters.add("peers_left")
        self._the_coherence().peer_leaves(peer)
        self.on_leaving(peer)

    async def operate(self, request: HostRequest) -> HostAnswer:
        """This host's part of what an operator asked of another one."""
        assert self.operating is not None
        return await self.operating.for_peer(request)

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
        task.add_done_callback(lambda _: work.close())  # cancelled before it began
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
        #: Whether the block's home sends its askers here.
        self.is_copy = request.copies > 1 and not host.hot_spots.is_home(request, index)
        self._start = start
        #: Who takes turns here: the asking host's user, or the host itself.
        self.owner = request.caller or f"host:{request.peer}"
        self._wanted_until = time.monotonic() + request.deadline_s
        self._content: Content | None = None
        self._length = 0
        self._fresh_for_s = 0.0
        self._has_begun = False
        self._trace = current_trace()
        self._note("read", request.peer)

    def _note(self, what: str, where: str = "") -> None:
        if self._trace is not None:
            self._trace.note(time.monotonic_ns(), self.index, what, where)

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
            self._note("memory")
            self._begin(slot, self._length)
            return
        request, fills = self._request, self._host._fills
        if request.only_here and not fills.is_at_origin(content, self.index):
            raise _not_here(request)
        fill = fills.join(
            content, self.index, self, url=request.url, asker=request.peer, owner=self.owner, wanted_until=self._wanted_until, is_copy=self.is_copy
        )  # fmt: skip
        fill.route.follow(self._trace)
        self._reply.on_cancel = lambda: self._host._fills.leave(fill, self)
        self._reply.is_at_origin = lambda: fill.route.is_at_origin

    def _begin(self, slot: int, available: int) -> None:
        assert self._content is not None
        arena = self._store.arena
        arena.hold(slot)
        self._has_begun = True
        self._note("sends", self._request.peer)
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
            lambda: self._gone(slot),
            known_as=(slot, arena.generation(slot)),
        )

    def _gone(self, slot: int) -> None:
        self._note("sent", self._request.peer)
        self._store.arena.unhold(slot)

    def _available(self, watermark: int) -> int:
        return min(self._length, max(0, watermark - self._start))

    # --- FillWaiter ---

    def check_room(self, fill: Fill) -> None:
        """Nobody keeps it for long."""

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


def _not_here(request: ReadRequest) -> OriginUnavailable:
    return OriginUnavailable(
        f"this host has no byte at {request.offset} of {request.url or request.key} in memory"
    )


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def _nothing() -> None:
    """An empty answer holds nothing."""


def _nobody(peer: str) -> None:
    """There are no other hosts."""
