"""The blocks of one answer, in order, with the next ones asked for ahead.

Law: an object of any size passes through a window of bounded size, and a reader that stalls holds one block, not a window. Blocks that are
here are pinned when their turn comes and not before. Those that are not are asked for up to the window ahead, each by a fetch of its own,
so that they come in the order they are sent; once such a block is complete it is let go again, and stays in memory like
any other that was just read (if it is evicted before its turn, it is fetched again). A block whose turn comes while it is filling is
taken over as it is. All blocks are of one version: every fetch names the content. Pins that are given out belong to whoever gets
them (:mod:`cashy.s3.send`).

Rejected: keeping what was asked for ahead pinned until its turn; four stalled readers then pinned a whole small arena, and everybody
else was refused [seen].
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cashy.client.deadline import NO_DEADLINE, Deadline
from cashy.client.meta import Meta
from cashy.client.reader import NOT_COUNTED
from cashy.errors import ArenaFull, CashyError, OriginInvalid, PinQuotaExceeded, SlowDown
from cashy.s3.limits import FETCH_RETRY_S, READ_AHEAD_BLOCKS_MAX, READ_AHEAD_BLOCKS_MIN
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


class _Ahead:
    """One block asked for before its turn. ``arrived`` is the block once it is announced, None if it will not come."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self.is_taken = False
        self.arrived: asyncio.Future[FetchedBlock | None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        block: FetchedBlock | None = None
        try:
            async with self._fetch as fetch:
                block = await first_block_of(fetch)
                self.arrived.set_result(block)
                if block is not None:
                    await block.wait_beyond(block.pin.length - 1)
        except CashyError:
            pass  # whoever sends the block meets the error itself
        finally:
            if not self.arrived.done():
                self.arrived.set_result(None)
            if block is not None and not self.is_taken:
                block.pin.release()

    async def take(self) -> FetchedBlock | None:
        """The block if it is still under way, with its pin; None if it is here by now, or failed: to be asked for as usual."""
        if self.task.done():
            return None
        self.is_taken = True
        try:
            return await asyncio.shield(self.arrived)
        except asyncio.CancelledError:
            self.is_taken = False
            raise

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class BlockStream:
    """Blocks ``first`` … ``last`` of one version.

    ``opened`` is an entered fetch of block ``first``, if there is one already. ``ahead_bytes`` is the window. ``patience_s``: how long a
    block is asked for again while the memory is full, once the answer has begun (:meth:`begun`) and cannot become an error any more.
    ``caller``: whose key signed the request. ``deadline``: of the whole answer.
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
        ahead_bytes: int,
        stream: int = 0,
        caller: str = "",
        deadline: Deadline = NO_DEADLINE,
        count_miss: Callable[[], None],
    ) -> None:
        self._session = session
        self._meta = meta
        self._last = last
        self._stream = stream
        self._caller = caller
        self._deadline = deadline
        self._patience_s = patience_s
        self._count_miss = count_miss
        self._fetches: dict[int, Fetch] = {} if opened is None else {first: opened}
        self._ahead: dict[int, _Ahead] = {}
        self._window = max(READ_AHEAD_BLOCKS_MIN, min(READ_AHEAD_BLOCKS_MAX, ahead_bytes // meta.block_bytes))
        self._looked_ahead_to = first
        self._has_begun = False

    async def take(self, index: int, wanted_bytes: int | None = None) -> Block:
        """Block ``index``, perhaps still filling, of which ``wanted_bytes`` (default: all) will be sent.

        To be called in rising order, after the block before was finished.
        """
        patience_s = self._patience_s if self._has_begun else 0.0
        while True:
            try:
                block = await self._get(index, wanted_bytes)
                if self._has_begun:
                    self._look_ahead(index)
                return block
            except _FULL:
                if patience_s <= 0:
                    raise
                # What was asked for ahead may be the very thing that fills the memory.
                self._window = 0
                await self.close()
                patience_s -= FETCH_RETRY_S
                await asyncio.sleep(FETCH_RETRY_S)

    def begun(self, index: int) -> None:
        """The first bytes, of block ``index``, are on their way: now others may be asked for beside it without delaying them."""
        self._has_begun = True
        self._look_ahead(index)

    async def finish(self, index: int) -> None:
        """Block ``index`` is complete and was sent: its fetch is over."""
        ahead = self._ahead.pop(index, None)
        if ahead is not None:
            await ahead.close()
        fetch = self._fetches.pop(index, None)
        if fetch is not None:
            await fetch.__aexit__(None, None, None)

    async def close(self) -> None:
        """Gives up all that is under way."""
        aheads, self._ahead = list(self._ahead.values()), {}
        for ahead in aheads:
            await ahead.close()
        fetches, self._fetches = list(self._fetches.values()), {}
        for fetch in fetches:
            await fetch.__aexit__(None, None, None)

    async def _get(self, index: int, wanted_bytes: int | None) -> Block:
        ahead = self._ahead.get(index)
        if ahead is not None:
            early = await ahead.take()
            if early is not None:
                return Block(early.pin, early)
            await self._ahead.pop(index).close()
            wanted_bytes = NOT_COUNTED  # it was a miss when it was asked for
        if index not in self._fetches:
            pin = self._session.pin(self._meta, index, wanted_bytes)
            if pin is not None:
                return Block(pin)
            await self._open(index)
        fetched = await first_block_of(self._fetches[index])
        if fetched is None:
            raise OriginInvalid(
                f"{self._meta.name} has no block {index}, though it is {self._meta.size_bytes} bytes long"
            )
        return Block(fetched.pin, fetched)

    def _look_ahead(self, index: int) -> None:
        """Asks for what is not here, up to the window; failures show when the block's turn comes."""
        end = min(self._last, index + self._window)
        for number in range(max(index, self._looked_ahead_to) + 1, end + 1):
            self._looked_ahead_to = number
            try:
                pin = self._session.pin(self._meta, number, NOT_COUNTED)
                if pin is None:
                    self._ahead[number] = _Ahead(self._fetch(number))
                else:
                    pin.release()
            except CashyError:
                return

    async def _open(self, index: int) -> None:
        fetch = self._fetch(index)
        await fetch.__aenter__()
        self._fetches[index] = fetch

    def _fetch(self, index: int) -> Fetch:
        self._count_miss()
        return self._session.fetch(
            self._meta.name, index, 1, content_id=self._meta.content_id, streaming=True, stream=self._stream,
            caller=self._caller, deadline_ms=self._deadline.left_ms(self._meta.name),
        )  # fmt: skip
