"""A Fetch of blocks as files of the SSD, for views that do not fit into memory: what is not there is brought there first, through memory.

Law: a descriptor is handed out for what was verified just now, and not kept: whoever maps the file has the bytes, whatever becomes of its name. So
nothing is held for the client, and a view can be as large as the SSD. One block that is on its way takes one slot for a moment, which is held while
it is written; what the SSD's admission and rate say of other blocks does not count here, since a reader waits.
"""

from __future__ import annotations

import asyncio
import os
import time

from aviary.cashy.v1.control_pb2 import Tier
from cashy.core.names import block_digest
from cashy.disk.tier import DiskBlock, DiskTier
from cashy.errors import ArenaFull, CashyError, TooLarge
from cashy.limits import MAPPED_BLOCKS_MAX, MAPPED_TRIES, MAPPED_WAIT_S, OVERFULL_RETRY_S
from cashy.master.fetch import FetchJob
from cashy.master.fills import Fill, FillTable
from cashy.master.known import Known

__all__ = ["LoadedBlock", "MappedFetchJob"]


class MappedFetchJob(FetchJob):
    """See the module."""

    disk: DiskTier

    def _check_size(self, known: Known) -> None:
        if self._request.block_count > MAPPED_BLOCKS_MAX:
            raise TooLarge(
                f"{self._request.block_count:,} blocks are asked for as files; at most {MAPPED_BLOCKS_MAX} are at a time"
            )

    def _want(self, block: int) -> None:
        task = asyncio.get_running_loop().create_task(self._bring(block))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bring(self, block: int) -> None:
        try:
            tier, found, descriptor = await self._opened(block)
        except CashyError as error:
            self._fail(error)
            return
        if self._is_released:
            os.close(descriptor)
            return
        self._fills.counters.add("blocks_mapped")
        self._answers.send_file(self._id, block, found.length, tier, descriptor)
        self._done(block)

    async def _opened(self, block: int) -> tuple[Tier, DiskBlock, int]:
        """Opens a block's file, which is made if there is none; and where the bytes were before."""
        assert self._known is not None
        digest = block_digest(self._known.content.content_id, block)
        tier = Tier.TIER_LOCAL_SSD
        reason = "it was evicted each time"
        await self._recovery(digest)
        for _ in range(MAPPED_TRIES):
            found = self.disk.find(digest)
            if found is None:
                tier = await self._put_on_disk(block, digest)
                found = self.disk.find(digest)
            if found is not None:
                try:
                    return tier, found, await self.disk.open(found)
                except CashyError as error:  # damaged, or gone: it is brought there anew
                    reason = error.message
                    self._fills.counters.add("ssd_reads_failed")
        raise TooLarge(
            f"this view does not fit into memory, and block {block} cannot be had from the SSD: {reason}"
        )

    async def _recovery(self, digest: bytes) -> None:
        """Waits for a disk that is being read in: until then it has nothing and takes nothing, and there is no other place for the block."""
        give_up_at = time.monotonic() + MAPPED_WAIT_S
        while self.disk.is_recovering(digest) and time.monotonic() < give_up_at:  # noqa: ASYNC110 - a thread reads it in
            await asyncio.sleep(OVERFULL_RETRY_S)

    async def _put_on_disk(self, block: int, digest: bytes) -> Tier:
        tier = Tier.TIER_LOCAL_MEMORY
        while (slot := self._store.find(digest)) < 0:
            tier = await self._load(block)
        fields = self._store.arena.fields(slot)
        made: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        arena = self._store.arena
        arena.hold(slot)

        def done(is_there: bool) -> None:
            arena.unhold(slot)
            if not made.done():
                made.set_result(is_there)

        self.disk.write(digest, fields.length, fields.crc, self._store.content(slot), done)
        if not await made:
            raise TooLarge(
                "this view does not fit into memory, and the SSD, from which it would be mapped, does not take it: see the daemon's log"
            )
        return tier

    async def _load(self, block: int) -> Tier:
        """Brings a block into memory, waiting for room as any fetch does."""
        assert self._known is not None
        while True:
            try:
                return await LoadedBlock(self._fills, self._known, block).wait()
            except ArenaFull:
                if not self._may_wait_for_room():
                    raise
                await asyncio.sleep(OVERFULL_RETRY_S)

    def release(self) -> None:
        """Gives up what is under way."""
        super().release()
        for task in list(self._tasks):
            task.cancel()


class LoadedBlock:
    """Waits for one block that is brought into memory, for somebody who looks for it there afterwards."""

    def __init__(self, fills: FillTable, known: Known, index: int) -> None:
        self._done: asyncio.Future[Tier] = asyncio.get_running_loop().create_future()
        self._fills = fills
        self._fill = fills.join(known.content, index, self, url=known.name.url)

    async def wait(self) -> Tier:
        """Returns where it was when the block is READY; raises why it is not."""
        try:
            return await self._done
        except asyncio.CancelledError:
            self._fills.leave(self._fill, self)
            raise

    def check_room(self, fill: Fill) -> None:
        """Nobody keeps it for long."""

    def leased(self, fill: Fill) -> None:
        """Nothing to do."""

    def progressed(self, fill: Fill) -> None:
        """Nothing to do."""

    def finished(self, fill: Fill) -> None:
        """It is here."""
        if not self._done.done():
            self._done.set_result(fill.route.tier)

    def failed(self, fill: Fill, error: CashyError) -> None:
        """It is not."""
        if not self._done.done():
            self._done.set_exception(error)
