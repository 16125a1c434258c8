"""One client's Fetch: which blocks are asked of whom, what is announced when, and what is held for the client until it says Release."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Protocol

from aviary.cashy.v1.control_pb2 import Fetch, ObjectInfo, Tier
from cashy.core.names import block_digest, parse_name
from cashy.core.planner import ReadPlan
from cashy.errors import ArenaFull, CashyError, DeadlineExceeded, SlowDown, TooLarge, VersionChanged
from cashy.limits import ARENA_WAIT_S, FETCH_BLOCKS_MAX, OVERFULL_RETRY_S
from cashy.master.catalog import Catalog
from cashy.master.fills import Fill, FillTable
from cashy.master.known import Known
from cashy.master.room import Room
from cashy.master.store import BlockStore
from cashy.master.tracing import current_trace

__all__ = ["FetchAnswers", "FetchJob"]

#: Blocks found READY that are announced before the loop gets its turn again.
_ANNOUNCED_PER_TURN = 64


class FetchAnswers(Protocol):
    """Where a fetch's answers go: a client connection."""

    def send_object(self, request_id: int, info: ObjectInfo) -> None:
        """The object's metadata; always the first answer."""

    def send_block(
        self,
        request_id: int,
        block: int,
        slot: int,
        generation: int,
        length: int,
        tier: Tier,
        *,
        filling: bool,
    ) -> None:
        """A block has a slot, and is held there."""

    def send_file(self, request_id: int, block: int, length: int, tier: Tier, descriptor: int) -> None:
        """A block is in a file of the SSD, from its first byte on; the descriptor is the receiver's."""

    def send_progress(self, request_id: int, block: int, watermark: int, *, complete: bool) -> None:
        """An announced filling block has grown."""


class FetchJob:
    """A Fetch from its start to its Release. Is the :class:`~cashy.master.fills.FillWaiter` of its blocks."""

    def __init__(
        self, request_id: int, request: Fetch, answers: FetchAnswers, store: BlockStore, fills: FillTable, catalog: Catalog,
        *, window: int, hold_bytes_max: int, room: Room, owner: str = "",
    ) -> None:  # fmt: skip
        self._id = request_id
        self._request = request
        self._answers = answers
        self._store = store
        self._fills = fills
        self._catalog = catalog
        self._window = window
        self._hold_bytes_max = hold_bytes_max
        self._owner = owner
        self._room = room
        room.users += 1
        self._coming: dict[int, int] = {}  # blocks that room is taken for, and how much
        self._without_room: list[int] = []
        wait_s = request.deadline_ms / 1000 if request.deadline_ms else math.inf
        #: When nobody wants it any more (CLOCK_MONOTONIC, seconds).
        self.wanted_until = time.monotonic() + wait_s
        self._held: list[int] = []
        self._waiting: dict[int, Fill] = {}
        self._streamed: set[int] = set()
        self._again: list[int] = []
        self._wake = asyncio.Event()
        self._error: CashyError | None = None
        self._give_up_at = 0.0
        self._known: Known | None = None
        self._plan: ReadPlan | None = None
        self._trace = current_trace()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_released = False

    async def run(self, on_known: Callable[[Known], object]) -> None:
        """Fetches and announces everything; returns when all is announced. Raises a :class:`~cashy.errors.CashyError`.

        ``on_known`` is told the object as soon as it is known.
        """
        if self.wanted_until == math.inf:
            await self._run(on_known)
            return
        try:
            async with asyncio.timeout(self.wanted_until - time.monotonic()):
                await self._run(on_known)
        except TimeoutError as error:
            if isinstance(error, CashyError):
                raise
            raise DeadlineExceeded(
                f"{self._request.name} was not there within {self._request.deadline_ms / 1000:g} s: the origin or another host is slow; "
                "`cashy top` shows which, or allow more time"
            ) from None

    async def _run(self, on_known: Callable[[Known], object]) -> None:
        request = self._request
        if not 1 <= request.block_count <= FETCH_BLOCKS_MAX:
            raise TooLarge(
                f"a fetch has 1 to {FETCH_BLOCKS_MAX:,} blocks, not {request.block_count:,}: read in smaller pieces"
            )
        known = await self._catalog.learn(parse_name(request.name), request.first_block, owner=self._owner)
        if request.content_id and request.content_id != known.content.content_id:
            raise VersionChanged(
                f"{request.name} was replaced (now {known.info.version}): open it again to read the new version"
            )
        self._known = known
        self._check_size(known)
        self._answers.send_object(self._id, known.info)
        on_known(known)
        plan = self._plan = ReadPlan(
            request.first_block, request.block_count, self._window, block_bytes=known.content.block_bytes
        )
        plan.on_size(known.content.size_bytes)
        while not plan.finished:
            await self._turn(plan)

    def _check_size(self, known: Known) -> None:
        blocks = max(0, min(self._request.block_count, known.content.block_count - self._request.first_block))
        needed = blocks * known.content.block_bytes
        if blocks > 1 and needed > self._hold_bytes_max:
            raise TooLarge(
                f"{blocks:,} blocks of {known.content.block_bytes:,} bytes are more than the {self._hold_bytes_max:,} bytes that one client "
                "may hold: read in smaller pieces"
            )

    async def _turn(self, plan: ReadPlan) -> None:
        blocks, self._again = [*self._again, *plan.next_blocks()], []
        for count, block in enumerate(blocks, 1):
            if self._without_room:
                self._without_room.append(block)  # behind those before it
            else:
                self._want(block)
            if not count % _ANNOUNCED_PER_TURN or self._store.turn_is_over():
                await asyncio.sleep(0)
        if self._error is not None:
            raise self._error
        if not plan.finished and not blocks:
            await self._wake.wait()
        self._wake.clear()
        if self._error is not None:
            raise self._error

    def _want(self, block: int) -> None:
        assert self._known is not None
        slot = self._store.find(block_digest(self._known.content.content_id, block))
        if not self._room.keeps(slot) and not self._room.has_room(self._known.content.block_length(block)):
            self._wait_for_room(block, None)
            return
        if slot >= 0:  # it counts as used when the client marks it: what was only read ahead was not
            self._announce(block, slot, Tier.TIER_LOCAL_MEMORY, filling=False)
            self._done(block)
            if self._trace is not None:
                self._trace.note(time.monotonic_ns(), block, "memory")
            return
        try:
            fill = self._fills.join(
                self._known.content,
                block,
                self,
                url=self._known.name.url,
                owner=self._owner,
                wanted_until=self.wanted_until,
            )
            self._waiting[block] = fill
            fill.route.follow(self._trace)
        except SlowDown as error:
            self._fail(error)

    def _announce(self, block: int, slot: int, tier: Tier, *, filling: bool) -> None:
        self._store.arena.hold(slot)
        self._room.hold(slot)
        self._held.append(slot)
        self._comes_no_more(block)
        length = self._store.arena.fields(slot).length
        self._answers.send_block(
            self._id, block, slot, self._store.arena.generation(slot), length, tier, filling=filling
        )

    def _done(self, block: int) -> None:
        assert self._plan is not None
        self._give_up_at = 0.0
        self._plan.on_done(block)
        self._wake.set()

    def _fail(self, error: CashyError) -> None:
        self._error = self._error or error
        self._wake.set()

    # --- FillWaiter ---

    def check_room(self, fill: Fill) -> ArenaFull | None:
        """Whether the user may keep one block more; then it counts as kept from now on."""
        assert self._known is not None
        if fill.index in self._coming:
            return None
        length = self._known.content.block_length(fill.index)
        if not self._room.has_room(length):
            return self._room.full()
        self._coming[fill.index] = length
        self._room.comes(length)
        return None

    def _comes_no_more(self, block: int) -> None:
        self._room.comes(-self._coming.pop(block, 0))

    def leased(self, fill: Fill) -> None:
        """Announces the block while it fills, if asked to."""
        if self._request.streaming and fill.index not in self._streamed:
            self._streamed.add(fill.index)
            self._announce(fill.index, fill.slot, fill.route.tier, filling=True)

    def progressed(self, fill: Fill) -> None:
        """Passes progress on."""
        if fill.index in self._streamed:
            self._answers.send_progress(self._id, fill.index, fill.watermark, complete=False)

    def finished(self, fill: Fill) -> None:
        """The block is READY: announces it, or that it is complete."""
        self._waiting.pop(fill.index, None)
        if fill.index in self._streamed:
            self._answers.send_progress(self._id, fill.index, fill.length, complete=True)
        elif fill.slot >= 0:
            self._announce(fill.index, fill.slot, fill.route.tier, filling=False)
        else:  # it came under another name
            self._comes_no_more(fill.index)
            self._again.append(fill.index)
            self._wake.set()
            return
        self._done(fill.index)

    def failed(self, fill: Fill, error: CashyError) -> None:
        """Waits for room if the arena is full; anything else ends the fetch."""
        self._waiting.pop(fill.index, None)
        self._comes_no_more(fill.index)
        if isinstance(error, ArenaFull) and fill.index not in self._streamed and self._may_wait_for_room():
            self._wait_for_room(fill.index, error)
            return
        if isinstance(error, VersionChanged) and self._known is not None:
            self._catalog.forget(self._known.name, self._known.content)
        self._fail(error)

    def _may_wait_for_room(self) -> bool:
        now = time.monotonic()
        self._give_up_at = self._give_up_at or now + ARENA_WAIT_S
        return now < self._give_up_at

    def _wait_for_room(self, block: int, error: ArenaFull | None) -> None:
        """``error``: why a source could not be read; None: it was not asked."""
        if not self._without_room:
            asyncio.get_running_loop().call_later(OVERFULL_RETRY_S, self._look_for_room, error)
        self._without_room.append(block)

    def _look_for_room(self, error: ArenaFull | None) -> None:
        blocks, self._without_room = self._without_room, []
        if not self._may_wait_for_room():
            self._fail(error or self._room.full())
            return
        self._again += blocks
        self._wake.set()

    # --- end ---

    def release(self) -> None:
        """Gives up what is under way and lets go of what is held."""
        self._room.users -= not self._is_released
        self._is_released = True
        for fill in list(self._waiting.values()):
            self._fills.leave(fill, self)
        self._waiting.clear()
        for block in list(self._coming):
            self._comes_no_more(block)
        for slot in self._held:
            self._room.let_go(slot)
            self._store.arena.unhold(slot)
        self._held.clear()
