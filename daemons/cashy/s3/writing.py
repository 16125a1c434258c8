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
from cashy.log import get_logger

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
        """Raises ``CashyError`` where the master cannot be told: then nothing may be changed."""
        try:
            await self._session.ask(Change(names=names))
            yield
        finally:
            # Whoever is cancelled here leaves all the same: the change may have happened.
            leaving = asyncio.get_running_loop().create_task(self._leave(list(names)))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            await asyncio.shield(leaving)

    async def _leave(self, names: Sequence[str]) -> None:
        try:
            await self._session.ask(Change(names=names, is_over=True))
        except CashyError as error:  # the store has it; what is cached is found out by its age
            _log.warning(
                "the master was not told that a change is over", error=error.message, names=names[:3]
            )
