"""The seam for coherence: what is told before and after an object is changed through the proxy.

Law: every change of an object whose name is known lies wholly inside one :meth:`Writing.writing`, from before its request leaves until the store's
answer is complete, and the client learns of its success only after that has been left. It is left in every case: also when the
outcome is unknown, and when the client has gone (then by cancellation). A worker that dies inside leaves by its connection to the master.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Protocol

from google.protobuf.message import Message

from aviary.cashy.v1.control_pb2 import Change
from cashy.errors import CashyError
from cashy.s3.limits import CHANGE_TOLD_RETRY_S, CHANGE_TOLD_S
from hostkit.log import get_logger

__all__ = ["NothingShared", "ToldToMaster", "Writing"]

_log = get_logger(program="cashy s3")


class Writing(Protocol):
    """Who has to know of changes."""

    def writing(self, names: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """To be entered around a change of these objects (``s3://bucket/key``); may raise ``CashyError`` on entering."""
        ...


class NothingShared:
    """Nobody has to know: what was cached is found out by its age."""

    def writing(self, names: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """Does nothing."""
        return nullcontext()


class _Asking(Protocol):
    async def ask(self, body: Message) -> Message:
        """A request with one answer."""
        ...


class ToldToMaster:
    """The master of this host has to know, and tells the other hosts."""

    def __init__(self, session: _Asking) -> None:
        self._session = session
        self._leaving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def writing(self, names: Sequence[str]) -> AsyncIterator[None]:
        """Raises ``CashyError`` where the master cannot be told before: then nothing may be changed. Where it cannot be told after: then nobody
        may be told of success.
        """
        try:
            await self._session.ask(Change(names=names))
        except BaseException:
            self._leave(names)  # it may know all the same, and nobody has to wait until it knows better
            raise
        try:
            yield
        except BaseException:
            # Whoever is cancelled here, or gets an error, leaves all the same: the change may have happened.
            await asyncio.wait([self._leave(names)])
            raise
        await asyncio.shield(self._leave(names))

    def _leave(self, names: Sequence[str]) -> asyncio.Task[None]:
        leaving = asyncio.get_running_loop().create_task(self._tell_over(list(names)))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._left)
        return leaving

    def _left(self, leaving: asyncio.Task[None]) -> None:
        self._leaving.discard(leaving)
        if not leaving.cancelled():
            leaving.exception()  # is for whoever waits for it

    async def _tell_over(self, names: Sequence[str]) -> None:
        """Again and again: the master may be another one by now, and must know nevertheless."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + CHANGE_TOLD_S
        while True:
            try:
                await self._session.ask(Change(names=names, is_over=True))
            except CashyError as error:
                if loop.time() > give_up_at:
                    _log.warning(
                        "the master was not told that a change is over", error=error.message, names=names[:3]
                    )
                    raise
                await asyncio.sleep(CHANGE_TOLD_RETRY_S)
            else:
                return
