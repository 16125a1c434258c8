"""A fetch of blocks under asyncio: blocks are given as they are announced, also while they fill.

Law: a fetch that is left (``async with``), cancelled or forgotten is released. A block's pin is its own: it outlives the fetch until released.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING

from aviary.cashy.v1 import control_pb2 as pb
from cashy.client.link import Link
from cashy.client.meta import Meta
from cashy.client.reader import AnyPin, Pin, TableLost
from cashy.client.session_core import Answer, error_of
from cashy.errors import ArenaFull, CashyError, InternalError, NotConnected

if TYPE_CHECKING:
    from cashy.client.session import AsyncSession

__all__ = ["Fetch", "FetchedBlock"]


class FetchedBlock:
    """A block of a fetch, pinned; perhaps still filling. ``pin`` is the caller's to release, also after the fetch has ended."""

    __slots__ = ("_changed", "_error", "_is_complete", "index", "length", "pin", "tier")

    def __init__(self, ready: pb.BlockReady, pin: AnyPin) -> None:
        self.index = ready.block
        self.length = ready.length
        self.tier = ready.tier
        self.pin = pin
        self._is_complete = not ready.filling
        self._error: CashyError | None = None
        self._changed: asyncio.Future[None] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are there and verified."""
        return self._is_complete

    @property
    def available(self) -> int:
        """How many of its first bytes are there."""
        return self.length if self._is_complete else min(self.pin.available, self.length)

    async def wait_beyond(self, size_bytes: int) -> int:
        """Waits until more than ``size_bytes`` are available or the block is complete; returns how many are.

        Raises the fetch's :class:`~cashy.errors.CashyError` if the rest will not come.
        """
        while not self._is_complete and self.available <= size_bytes:
            if self._error is not None:
                raise self._error
            if self._changed is None or self._changed.done():
                self._changed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._changed)
        return self.available

    def progress(self, *, is_complete: bool = False, error: CashyError | None = None) -> None:
        """For the fetch: something changed."""
        self._is_complete = self._is_complete or is_complete
        self._error = self._error or error
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


class Fetch:
    """A range of blocks on its way: ``async with session.fetch(...) as fetch``, then :meth:`meta`, and ``async for block in fetch``.

    Blocks come in any order, each once, those that fill at once when streaming. Leaving it gives up what is under way. Progress of a filling
    block is taken in while the fetch is entered, whoever iterates.
    """

    def __init__(self, session: AsyncSession, request: pb.Fetch) -> None:
        self._session = session
        self._request = request
        self._link: Link | None = None
        self._request_id = 0
        self._pump: asyncio.Task[None] | None = None
        self._meta: asyncio.Future[Meta] = asyncio.get_running_loop().create_future()
        self._ready: asyncio.Queue[FetchedBlock | CashyError | None] = asyncio.Queue()
        self._filling: dict[int, FetchedBlock] = {}
        self._is_over = False

    async def __aenter__(self) -> Fetch:
        self._link = await self._session.live_link()
        arena = self._session.arena
        assert arena is not None
        self._arena = arena
        if not arena.can_pin:
            self._request.streaming = False  # a copy of a block that still fills cannot be verified
        self._request_id, self._queue = self._link.request(self._request)
        self._pump = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        assert self._pump is not None
        await asyncio.gather(self._pump, return_exceptions=True)
        while not self._ready.empty():
            block = self._ready.get_nowait()
            if isinstance(block, FetchedBlock):
                block.pin.release()

    def release(self) -> None:
        """Gives up what is under way, and lets the daemon drop what it holds for this fetch; blocks already given stay pinned."""
        link, self._link = self._link, None
        if link is None:
            return
        if self._pump is not None:
            self._pump.cancel()
        if not self._meta.done():
            self._meta.cancel()
        for block in self._filling.values():
            block.progress(error=NotConnected("the fetch of this block was given up"))
        link.release(self._request_id)

    async def meta(self) -> Meta:
        """The object's metadata; raises the fetch's error."""
        return await asyncio.shield(self._meta)

    def __aiter__(self) -> Fetch:
        return self

    async def __anext__(self) -> FetchedBlock:
        if self._is_over and self._ready.empty():
            raise StopAsyncIteration
        block = await self._ready.get()
        if block is None:
            self._is_over = True
            raise StopAsyncIteration
        if isinstance(block, CashyError):
            self._is_over = True
            raise block
        return block

    async def _run(self) -> None:
        """Takes answers in until the last."""
        try:
            while True:
                answer = await self._session.next_answer(self._queue)
                self._take(answer)
                if answer.is_last:
                    self._ready.put_nowait(None)
                    return
        except CashyError as error:
            self._fail(error)

    def _fail(self, error: CashyError) -> None:
        if not self._meta.done():
            self._meta.set_exception(error)
            self._meta.exception()  # it may be that nobody asks for the metadata
        for block in self._filling.values():
            block.progress(error=error)
        self._ready.put_nowait(error)

    def _take(self, answer: Answer) -> None:
        body = answer.body
        if isinstance(body, pb.Failure):
            raise error_of(body)
        if isinstance(body, pb.ObjectInfo):
            if not self._meta.done():
                self._meta.set_result(Meta.from_info(self._request.name, body))
        elif isinstance(body, pb.BlockReady):
            self._take_block(body)
        elif isinstance(body, pb.BlockProgress):
            block = self._filling.get(body.block)
            if block is not None:
                block.progress(is_complete=body.complete)
                if body.complete:
                    del self._filling[body.block]

    def _take_block(self, ready: pb.BlockReady) -> None:
        if not self._meta.done():
            raise InternalError("the daemon announced a block before its object: a bug")
        try:
            pin = self._arena.pin_announced(
                self._meta.result(), ready.block, ready.slot, ready.generation, filling=ready.filling
            )
        except TableLost:
            pin = None
        if pin is None:
            raise ArenaFull(
                f"block {ready.block} of {self._request.name} was gone before it could be used: try again"
            )
        block = FetchedBlock(ready, pin)
        if ready.filling and isinstance(pin, Pin):
            self._filling[ready.block] = block
        self._ready.put_nowait(block)
