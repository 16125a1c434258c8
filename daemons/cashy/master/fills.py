"""Fills: block reads under way, each straight from its source into its slot, shared by all who wait for the block.

One fill per block however many ask (singleflight); what is on this host's SSD is read from there (:mod:`cashy.master.disk_reads`), and from whom
anything else is read is its route's affair (:mod:`cashy.master.routes`). A slot that is being
received into stays attached to its fill until the source says that it will never write there again, whatever becomes of the fill: an aborted
fill's slot is not reused under a late write.

A *first* fill does not know yet what it reads: it asks for any version, and learns content, size and so its place among the fills from the head of
the answer. So a cold object costs one round trip.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Protocol

import crc32c

from aviary.cashy.v1.control_pb2 import Tier
from cashy.core.ask_first import AskFirst
from cashy.core.names import Resolved, block_digest, content_id
from cashy.core.peer_frames import full_frame_end
from cashy.core.trace import LOCAL_SSD
from cashy.disk.tier import DiskTier
from cashy.errors import (
    ArenaFull,
    CashyError,
    InternalError,
    OriginInvalid,
    OriginTimeout,
    SlowDown,
    VersionChanged,
)
from cashy.limits import FILL_SILENCE_S_MAX, PROGRESS_STEP_BYTES
from cashy.master.counters import Counters
from cashy.master.disk_reads import SsdRead
from cashy.master.routes import Route, Routes, Target
from cashy.master.store import BlockStore
from cashy.origin.base import ObjectMeta
from cashy.peer.replies import ChecksumMemory

__all__ = ["Content", "Fill", "FillTable", "FillWaiter", "content_of", "source_key"]


#: How what was brought is counted, by where it was.
_SOURCES = {Tier.TIER_PEER: "peer", Tier.TIER_LOCAL_SSD: "ssd"}

_KEEP_GIL = 0  # crc32c's gil_release_mode "never"


class Content:
    """One version of one object at one place: what its blocks are keyed by, and where they are read."""

    __slots__ = ("block_bytes", "content_id", "meta", "place", "size_bytes")

    def __init__(self, place: Resolved, meta: ObjectMeta, block_bytes: int) -> None:
        self.place = place
        self.meta = meta
        self.block_bytes = block_bytes
        self.size_bytes = meta.size_bytes
        self.content_id = content_of(place, meta, block_bytes)

    def block_length(self, index: int) -> int:
        """Bytes of block ``index``; 0 beyond the end."""
        return max(0, min(self.block_bytes, self.size_bytes - index * self.block_bytes))

    @property
    def block_count(self) -> int:
        """Blocks of the object; an empty one has none."""
        return -(-self.size_bytes // self.block_bytes)


def source_key(place: Resolved) -> str:
    """The key under which blocks are filed: the same for ``s3://folder/file`` and ``file:///data/folder/file`` of a directory."""
    return f"{place.bucket}/{place.key}" if place.bucket else place.key


def content_of(place: Resolved, meta: ObjectMeta, block_bytes: int) -> bytes:
    """The content id of a version at a place. Its size is part of it: there are stores that give two contents one ETag."""
    return content_id(place.origin, source_key(place), f"{meta.version} {meta.size_bytes}", block_bytes)


class FillWaiter(Protocol):
    """Who waits for a block. Called on the master's loop; may leave the fill from inside."""

    def check_room(self, fill: Fill) -> ArenaFull | None:
        """Why no room may be taken for the block on this waiter's behalf; asked when a read of it is about to begin, at each source anew."""

    def leased(self, fill: Fill) -> None:
        """The block has a slot and its bytes begin to arrive."""

    def progressed(self, fill: Fill) -> None:
        """``fill.watermark`` has moved on by at least a step."""

    def finished(self, fill: Fill) -> None:
        """The block is READY."""

    def failed(self, fill: Fill, error: CashyError) -> None:
        """It did not come."""


class Fill:
    """One block on its way. Also the :class:`~cashy.origin.base.BlockSink` of its read."""

    __slots__ = (
        "_announced", "_buffer", "_crc", "_ssd_read", "_sums", "_table", "content", "digest", "expected", "heard_at", "index", "is_demand",
        "is_done", "learnt", "length", "place", "route", "slot", "waiters", "watermark",
    )  # fmt: skip

    def __init__(
        self, table: FillTable, place: Resolved, index: int, expected: Content | None, *, url: str, is_demand: bool, forward: bool,
        owner: str = "", is_copy: bool = False,
    ) -> None:  # fmt: skip
        self._table = table
        self.place = place
        self.index = index
        self.expected = expected
        self.is_demand = is_demand
        self.content = expected
        self.digest = block_digest(expected.content_id, index) if expected else b""
        self.waiters: list[FillWaiter] = []
        self.learnt: Callable[[Content], None] | None = None
        self.slot = -1
        self.length = 0
        self.watermark = 0
        self.is_done = False
        self.heard_at = time.monotonic()
        version, size_bytes = (expected.meta.version, expected.size_bytes) if expected else (None, None)
        target = Target(place, source_key(place), index, version, url, size_bytes)
        self.route = Route(
            table.routes, target, self, self.done, is_demand=is_demand, forward=forward, owner=owner, is_copy=is_copy,
            check_room=self._check_room,
        )  # fmt: skip
        self._buffer: memoryview | None = None
        self._crc = 0
        self._sums: dict[int, int] | None = None
        self._announced = 0
        self._ssd_read: SsdRead | None = None

    # --- from where ---

    def launch(self) -> None:
        """Begins: at this host's SSD if it has the block, else with the route. Nothing is told before this returns."""
        if not self._is_begun_at_ssd():
            self.route.launch()

    def _is_begun_at_ssd(self) -> bool:
        table, content = self._table, self.expected
        block = table.disk.find(self.digest) if content is not None and table.disk is not None else None
        if (
            block is None
            or content is None
            or table.disk is None
            or block.length != content.block_length(self.index)
        ):
            return False
        try:
            self._check_room()
            self._ssd_read = SsdRead(
                table.store, table.disk, block, self._ssd_done, is_one_of_many=content.block_count > 1
            )
        except ArenaFull as error:
            asyncio.get_running_loop().call_soon(self._refused, error)
        self.route.note("asked", LOCAL_SSD)
        return True

    def _check_room(self) -> None:
        """Raises ``ArenaFull`` if all who wait keep too much already."""
        refusal: ArenaFull | None = None
        for waiter in self.waiters:
            refusal = waiter.check_room(self)
            if refusal is None:
                return
        if refusal is not None:
            raise refusal

    def _refused(self, error: CashyError) -> None:
        if not self.is_done:
            self.done(error)

    def _ssd_done(self, error: CashyError | None, slot: int, crc: int) -> None:
        assert self.expected is not None
        self._ssd_read = None
        if error is not None:
            self.route.note("failed", LOCAL_SSD, error)
            self._table.counters.add("ssd_reads_failed")
            self.route.launch()
            return
        self.slot, self._crc = slot, crc
        self.length = self.watermark = self.expected.block_length(self.index)
        self.route.tier = Tier.TIER_LOCAL_SSD
        self.route.note("arrived")
        self.done(None)

    def cancel(self) -> None:
        """Gives up whatever is under way."""
        self.is_done = True
        if self._ssd_read is not None:
            self._ssd_read.cancel()
        self.route.cancel()

    # --- BlockSink ---

    def begin(self, meta: ObjectMeta, length: int) -> memoryview:
        """Leases a slot for the block that the answer's head announced."""
        content = Content(self.place, meta, self._table.block_bytes)
        if self.expected is not None and content.content_id != self.expected.content_id:
            raise VersionChanged(
                f"{source_key(self.place)} is now version {meta.version}, {self.expected.meta.version} was asked for"
            )
        if length != content.block_length(self.index):
            raise OriginInvalid(
                f"origin {self.place.origin!r} offers {length} bytes of block {self.index} of {source_key(self.place)}, "
                f"{content.block_length(self.index)} were due"
            )
        if self.expected is None:
            self._learn(content)
        self.length = length
        if not length:
            return memoryview(bytearray())
        self.slot = self._table.store.lease_block(self.digest, length, content.block_count > 1)
        self._table.store.attach(self.slot)
        self._buffer = self._table.store.buffer(self.slot)
        if self._table.checksums is not None and self.route.is_at_origin:
            name = (self.slot, self._table.store.arena.generation(self.slot))  # as peers' reads name it
            self._sums = self._table.checksums.of((name, self.index * self._table.block_bytes, length))
        for waiter in tuple(self.waiters):
            waiter.leased(self)
        return self._buffer

    def _learn(self, content: Content) -> None:
        self.content = content
        self.digest = block_digest(content.content_id, self.index)
        if self.learnt is not None:
            self.learnt(content)
        if not content.block_length(self.index):
            return
        if self._table.is_here(self.digest):
            raise _AlreadyHereError("the block is here, or on its way, under another name")
        self._table.fills[self.digest] = self

    def advanced(self, watermark: int, crc: int | None = None) -> None:
        """Bytes up to ``watermark`` have arrived: checksummed, and announced in steps."""
        if self._buffer is None or self.slot < 0:
            return
        self._crc = self._summed_up(self._buffer, watermark) if crc is None else crc
        self.watermark = watermark
        self.heard_at = time.monotonic()
        self._table.store.advance(self.slot, watermark)
        if watermark - self._announced >= PROGRESS_STEP_BYTES:
            self._announced = watermark
            for waiter in tuple(self.waiters):
                waiter.progressed(self)

    def _summed_up(self, buffer: memoryview, watermark: int) -> int:
        """The crc32c up to ``watermark``; where other hosts may ask for the block, it is noted at each end of the frames that they would get."""
        start, crc, sums = self.watermark, self._crc, self._sums
        while start < watermark:
            full_end = full_frame_end(start) if sums is not None else watermark
            end = min(watermark, full_end)
            # Keeping the GIL: a piece takes microseconds, and getting it back from the reading threads takes milliseconds.
            crc = crc32c.crc32c(buffer[start:end], crc, _KEEP_GIL)
            if sums is not None and end in (full_end, self.length):
                sums[end] = crc
            start = end
        return crc

    def detached(self) -> None:
        """The origin will not write into the slot again."""
        if self.slot >= 0:
            self._table.store.detach(self.slot)
        self._buffer = None

    @property
    def has_all(self) -> bool:
        """Whether every byte has arrived; only the source's last word is missing."""
        return 0 < self.length == self.watermark

    @property
    def last_sign(self) -> float:
        """When a source was last asked or heard."""
        return max(self.heard_at, self.route.last_sign)

    # --- outcome ---

    def done(self, error: CashyError | None) -> None:
        """The route's end."""
        self.is_done = True
        if error is None and self.slot >= 0 and self.watermark != self.length:
            error = InternalError(f"a read ended at {self.watermark} of {self.length} bytes without an error")
        self._table.ended(self, error, self._crc)


class _AlreadyHereError(CashyError):
    """Ends a first read whose block turned out to be cached, in memory or on the SSD: no failure."""


class FillTable:
    """All fills of the master. ``checksums``: where those of blocks from the origin are noted for other hosts' reads, if there are such hosts."""

    def __init__(
        self, store: BlockStore, routes: Routes, counters: Counters, checksums: ChecksumMemory | None = None, disk: DiskTier | None = None
    ) -> None:  # fmt: skip
        self.store = store
        self.disk = disk
        self.ask_first = AskFirst()
        self.checksums = checksums
        self.routes = routes
        self.block_bytes = routes.block_bytes
        self.fills: dict[bytes, Fill] = {}
        self.counters = counters
        self._live: set[Fill] = set()

    def is_here(self, digest: bytes) -> bool:
        """Whether a block is in memory, on its way there, or on this host's SSD."""
        if digest in self.fills or self.store.find(digest) >= 0:
            return True
        is_on_ssd = self.is_on_ssd(digest)
        if is_on_ssd:
            self.ask_first.found(True)
        return is_on_ssd

    def is_on_ssd(self, digest: bytes) -> bool:
        """Whether this host's SSD has a block."""
        return self.disk is not None and self.disk.find(digest) is not None

    @property
    def asks_first(self) -> bool:
        """Whether an unknown object is to be asked about before it is read."""
        return self.disk is not None and self.ask_first.is_worth_it and self.disk.block_count > 0

    def join(
        self, content: Content, index: int, waiter: FillWaiter, *, url: str = "", asker: str = "", owner: str = "", wanted_until: float = math.inf,
        is_copy: bool = False,
    ) -> Fill:  # fmt: skip
        """Waits for a block that is not READY: joins its fill, or starts one. Raises ``SlowDown``.

        ``owner``: the user, who takes turns with others for a place. ``wanted_until``: it is not started afterwards (CLOCK_MONOTONIC, seconds).

        ``asker`` is the peer on whose behalf: then the block is read from the origin and from no third host, and a fill that waits for this very peer
        is not joined, since each would wait for the other. ``is_copy``: this host is asked because it holds copies of hot blocks, and gets them from
        their home.
        """
        under_way = self.fills.get(block_digest(content.content_id, index))
        if asker and under_way is not None and under_way.route.is_asking(asker):
            raise SlowDown(f"block {index} of {source_key(content.place)} is being asked of {asker} itself")
        fill = self._join(
            content, index, url, is_demand=True, forward=not asker, owner=owner, wanted_until=wanted_until, is_copy=is_copy, waiter=waiter
        )  # fmt: skip
        if fill.slot >= 0:
            asyncio.get_running_loop().call_soon(_announce, fill, waiter)
        return fill

    def prefetch(self, content: Content, index: int) -> Fill | None:
        """Starts loading a block nobody waits for; None where the queue has no room for wishes."""
        if not self.routes.takes_wishes:
            return None
        return self._join(content, index, "", is_demand=False, forward=True, owner="", wanted_until=math.inf)

    def is_at_origin(self, content: Content, index: int) -> bool:
        """Whether a block is on its way from the origin, or waits for a place there."""
        fill = self.fills.get(block_digest(content.content_id, index))
        return fill is not None and fill.route.is_at_origin

    def _join(
        self, content: Content, index: int, url: str, *, is_demand: bool, forward: bool, owner: str, wanted_until: float, is_copy: bool = False,
        waiter: FillWaiter | None = None,
    ) -> Fill:  # fmt: skip
        fill = self.fills.get(block_digest(content.content_id, index))
        waiters = [] if waiter is None else [waiter]
        if fill is not None:
            fill.waiters += waiters
            if is_demand:
                self.counters.add("fills_joined")
                fill.route.also_for(owner, wanted_until)
            return fill
        self.routes.check_room(owner)
        fill = Fill(
            self, content.place, index, content, url=url, is_demand=is_demand, forward=forward, owner=owner, is_copy=is_copy
        )  # fmt: skip
        fill.route.wanted_until = wanted_until
        fill.waiters += waiters
        self.fills[fill.digest] = fill
        self._begin(fill)
        return fill

    def first(
        self, place: Resolved, index: int, url: str, learnt: Callable[[Content], None], waiter: FillWaiter, *, forward: bool, owner: str = "",
        is_copy: bool = False,
    ) -> Fill:  # fmt: skip
        """Reads block ``index`` of whatever version there is; ``learnt`` is called with the content before any byte."""
        self.routes.check_room(owner)
        fill = Fill(
            self, place, index, None, url=url, is_demand=True, forward=forward, owner=owner, is_copy=is_copy
        )
        fill.learnt = learnt
        fill.waiters.append(waiter)
        self._begin(fill)
        return fill

    def _begin(self, fill: Fill) -> None:
        self._live.add(fill)
        self.counters.add("fills_started")
        fill.launch()

    def ended(self, fill: Fill, error: CashyError | None, crc: int) -> None:
        """Publishes or aborts, and tells who waited."""
        self._forget(fill)
        waiters, fill.waiters = fill.waiters, []
        if error is None:
            self._count(fill)
            if fill.slot >= 0:
                self.store.publish(fill.slot, crc, is_guest=fill.route.is_guest)
        elif fill.slot >= 0:
            self.store.abort(fill.slot)
        if error is not None and not isinstance(error, _AlreadyHereError):
            self.counters.add("fills_failed")
        for waiter in waiters:
            if error is None or isinstance(error, _AlreadyHereError):
                waiter.finished(fill)
            else:
                waiter.failed(fill, error)

    def _count(self, fill: Fill) -> None:
        source = _SOURCES.get(fill.route.tier, "origin")
        self.counters.add("blocks_filled")
        self.counters.add("bytes_filled", fill.length)
        self.counters.add(f"blocks_from_{source}")
        self.counters.add(f"bytes_from_{source}", fill.length)

    def expire(self, now: float) -> None:
        """Gives up reads that have been silent beyond every source's own limits: a bug there must not leave anybody waiting for ever."""
        for fill in [
            fill for fill in self._live if fill.route.started and now - fill.last_sign > FILL_SILENCE_S_MAX
        ]:
            self.counters.add("fills_expired")
            fill.cancel()
            error = OriginTimeout(
                f"origin {fill.place.origin!r} has been silent for {FILL_SILENCE_S_MAX:.0f} s"
            )
            self.ended(fill, error, 0)

    def _forget(self, fill: Fill) -> None:
        self._live.discard(fill)
        if fill.digest and self.fills.get(fill.digest) is fill:
            del self.fills[fill.digest]

    def leave(self, fill: Fill, waiter: FillWaiter) -> None:
        """A waiter gives up; a fill that nobody waits for any more is cancelled, unless all its bytes are there: who reads by the watermark may leave
        before the source has said that it is done.
        """
        if waiter in fill.waiters:
            fill.waiters.remove(waiter)
        if not fill.waiters and fill.is_demand and not fill.is_done and not fill.has_all:
            self._cancel(fill)

    def _cancel(self, fill: Fill) -> None:
        self._forget(fill)
        self.counters.add("fills_cancelled")
        fill.cancel()
        if fill.slot >= 0:
            self.store.abort(fill.slot)

    @property
    def levels(self) -> dict[str, int]:
        """Fills at the moment."""
        return {"fills_under_way": self.routes.active, "fills_waiting": self.routes.waiting}


def _announce(fill: Fill, waiter: FillWaiter) -> None:
    if waiter in fill.waiters and not fill.is_done:
        waiter.leased(fill)
        if fill.watermark:
            waiter.progressed(fill)
