"""The blocks of one answer, in order, with the next ones asked for ahead.

Law: an object of any size passes through a window of bounded size. Blocks that are here are pinned when their turn comes and not before (a hit
costs no time, and a slow reader would hold memory for nothing); blocks that are not are asked for up to the window ahead, each by a
fetch of its own, so that they come in the order they are sent. All blocks are of one version: every fetch names the content. Pins that are
given out belong to whoever gets them (:mod:`cashy.s3.send`); those not given out go with :meth:`BlockStream.close`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cashy.client.meta import Meta
from cashy.errors import ArenaFull, CashyError, OriginInvalid, PinQuotaExceeded, SlowDown
from cashy.s3.limits import FETCH_RETRY_S, READ_AHEAD_BLOCKS_MAX, READ_AHEAD_BLOCKS_MIN, READ_AHEAD_BYTES
from cashy.s3.session import Fetch, FetchedBlock, Pin, Session

__all__ = ["Block", "BlockStream", "first_block_of"]

_FULL = (ArenaFull, SlowDown, PinQuotaExceeded)


class Block:
    """One block to be sent: its pin, and how much of it is there."""

    __slots__ = ("_fetched", "pin")

    def __init__(self, pin: Pin, fetched: FetchedBlock | None = None) -> None:
        self.pin = pin
        self._fetched = fetched

    async def wait_beyond(self, count: int) -> int:
        """Waits until more than ``count`` bytes are there, or all; gives how many. Raises ``CashyError``."""
        return self.pin.length if self._fetched is None else await self._fetched.wait_beyond(count)


async def first_block_of(fetch: Fetch) -> FetchedBlock | None:
    """The first block a fetch announces, None if it ends without one (there is no such block)."""
    async for block in fetch:
        return block
    return None


class BlockStream:
    """Blocks ``first`` … ``last`` of one version.

    ``opened`` is an entered fetch of block ``first``, if there is one already. ``patience_s``: how long a block is asked for again while the
    memory is full, once the answer has begun (:meth:`begun`) and cannot become an error any more.
    """

    def __init__(
        self,
        session: Session,
        meta: Meta,
        first: int,
        last: int,
        *,
        opened: Fetch | None = None,
        patience_s: float,
        stream: int = 0,
        count_miss: Callable[[], None],
    ) -> None:
        self._session = session
        self._meta = meta
        self._last = last
        self._stream = stream
        self._patience_s = patience_s
        self._count_miss = count_miss
        self._fetches: dict[int, Fetch] = {} if opened is None else {first: opened}
        self._window = max(
            READ_AHEAD_BLOCKS_MIN, min(READ_AHEAD_BLOCKS_MAX, READ_AHEAD_BYTES // meta.block_bytes)
        )
        self._looked_ahead_to = first
        self._has_begun = False

    async def take(self, index: int) -> Block:
        """Block ``index``, perhaps still filling. To be called in rising order, after the block before was finished."""
        patience_s = self._patience_s if self._has_begun else 0.0
        while True:
            try:
                block = await self._get(index)
                if self._has_begun:
                    await self._look_ahead(index)
                return block
            except _FULL:
                if patience_s <= 0:
                    raise
                # What was asked for ahead may be the very thing that fills the memory.
                self._window = 0
                await self.close()
                patience_s -= FETCH_RETRY_S
                await asyncio.sleep(FETCH_RETRY_S)

    async def begun(self, index: int) -> None:
        """The first bytes, of block ``index``, are on their way: now others may be asked for beside it without delaying them."""
        self._has_begun = True
        await self._look_ahead(index)

    async def finish(self, index: int) -> None:
        """Block ``index`` is complete and was sent: its fetch is over."""
        fetch = self._fetches.pop(index, None)
        if fetch is not None:
            await fetch.__aexit__(None, None, None)

    async def close(self) -> None:
        """Gives up all that is under way."""
        fetches, self._fetches = list(self._fetches.values()), {}
        for fetch in fetches:
            await fetch.__aexit__(None, None, None)

    async def _get(self, index: int) -> Block:
        if index not in self._fetches:
            pin = self._session.pin(self._meta, index)
            if pin is not None:
                return Block(pin)
            await self._open(index)
        fetched = await first_block_of(self._fetches[index])
        if fetched is None:
            raise OriginInvalid(
                f"{self._meta.name} has no block {index}, though it is {self._meta.size_bytes} bytes long"
            )
        return Block(fetched.pin, fetched)

    async def _look_ahead(self, index: int) -> None:
        """Asks for what is not here, up to the window; failures show when the block's turn comes."""
        end = min(self._last, index + self._window)
        for ahead in range(max(index, self._looked_ahead_to) + 1, end + 1):
            self._looked_ahead_to = ahead
            try:
                pin = self._session.pin(self._meta, ahead)
                if pin is None:
                    await self._open(ahead)
                else:
                    pin.release()
            except CashyError:
                return

    async def _open(self, index: int) -> None:
        self._count_miss()
        fetch = self._session.fetch(
            self._meta.name, index, 1, content_id=self._meta.content_id, streaming=True, stream=self._stream
        )
        await fetch.__aenter__()
        self._fetches[index] = fetch
