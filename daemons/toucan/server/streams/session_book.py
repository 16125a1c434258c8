"""Which sessions have a stream on this front end, and that the engine knows it.

A stream that breaks off is told to the engine, which begins the session's grace time. The other way round the engine may count a session as lost
whose stream stands: it was restarted, or has lost this front end for a moment. Then it is opened again. And when the same session is opened
elsewhere, on this front end or on another, the stream here ends: one program, one stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

import structlog

from toucan.core import events as ev
from toucan.core.order import Client
from toucan.core.requests import OpenSession, SessionBroken
from toucan.engine.port import Applied, EngineAway
from toucan.server.asking import Asking
from toucan.server.errors import CallError, Conflict, FrontCode
from toucan.server.limits import ASK_TIMEOUT_S, SESSION_BROKEN_TIMEOUT_S

__all__ = ["OpenStream", "SessionBook"]

_log = structlog.get_logger("toucan.server")


class OpenStream(Protocol):
    """What the book needs of a session's stream."""

    client: Client
    body: OpenSession
    #: The event that opened it last; None while that is being asked for.
    opened_seq: int | None

    def end(self, error: CallError) -> None:
        """Ends the stream."""


class SessionBook:
    """A :class:`toucan.engine.port.EventListener`."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._port = asking.port
        self._streams: dict[Client, OpenStream] = {}
        #: The newest SessionOpened of each client with a stream here.
        self._seen: dict[Client, int] = {}
        self._lost: set[Client] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_opening = False

    def __len__(self) -> int:
        return len(self._streams)

    # ------------------------------------------------------------ streams

    async def open(self, stream: OpenStream, timeout_s: float) -> None:
        """Takes the place of an older stream of the session, and opens it. Raises :class:`~toucan.server.errors.CallError`."""
        older = self._streams.get(stream.client)
        self._streams[stream.client] = stream
        if older is not None:
            older.end(_taken_over())
        await self._ask_to_open(stream, timeout_s)

    async def _ask_to_open(self, stream: OpenStream, timeout_s: float) -> None:
        stream.opened_seq = None
        reply = await self._asking.ask(stream.client, 0, stream.body, timeout_s)
        await self._asking.caught_up(reply.seq, timeout_s)
        stream.opened_seq = reply.seq
        self._check_place(stream)

    def _check_place(self, stream: OpenStream) -> None:
        """Ends a stream whose session was opened by somebody else after it."""
        seen = self._seen.get(stream.client, 0)
        if stream.opened_seq is not None and seen > stream.opened_seq:
            stream.end(_taken_over())

    def close(self, stream: OpenStream, *, is_orderly: bool) -> None:
        """The stream is over. If it was not orderly, and no other one has its place, the engine is told."""
        client = stream.client
        if self._streams.get(client) is not stream:
            return
        del self._streams[client]
        seen = self._seen.pop(client, 0)
        self._lost.discard(client)
        opened_seq = stream.opened_seq or 0
        if is_orderly or seen > opened_seq > 0:
            return
        self._spawn(self._tell_broken(client, opened_seq))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell_broken(self, client: Client, opened_seq: int) -> None:
        try:
            await self._port.ask(client, 0, SessionBroken(opened_seq), SESSION_BROKEN_TIMEOUT_S)
        except EngineAway:
            pass  # the next engine counts every session as lost
        except TimeoutError:
            _log.warning(
                "the engine was not told in time that a session's stream has broken off",
                user=client.user,
                session=client.session,
            )

    async def drain(self) -> None:
        """Waits until the engine was told of everything."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SESSION_BROKEN_TIMEOUT_S)

    # ------------------------------------------------------------ the engine

    def on_applied(self, applied: Applied) -> None:
        """See :class:`toucan.engine.port.EventListener`."""
        event = applied.event
        if isinstance(event, ev.EngineStarted):
            self._lost.update(self._streams)
        elif isinstance(event, ev.SessionOpened) and event.client in self._streams:
            self._seen[event.client] = applied.seq
            self._lost.discard(event.client)
            self._check_place(self._streams[event.client])
        elif isinstance(event, (ev.SessionLost, ev.SessionEnded)) and event.client in self._streams:
            self._lost.add(event.client)
        if self._lost:
            self._open_lost()

    def on_market(self, symbols: Sequence[str]) -> None:
        """Sessions do not change with the market."""

    def on_resync(self) -> None:
        """What happened to sessions meanwhile is not known: each is opened again."""
        self._lost.update(self._streams)
        self._open_lost()

    def on_staleness(self, is_stale: bool) -> None:
        """The engine may be back."""
        self._open_lost()

    def _open_lost(self) -> None:
        if self._lost and not self._is_opening and not self._port.is_stale:
            self._is_opening = True
            self._spawn(self._reopen())

    async def _reopen(self) -> None:
        try:
            while self._lost and not self._port.is_stale:
                stream = self._streams.get(self._lost.pop())
                # One that is just being opened knows by itself.
                if stream is not None and stream.opened_seq is not None:
                    await self._reopen_one(stream)
        finally:
            self._is_opening = False

    async def _reopen_one(self, stream: OpenStream) -> None:
        before = stream.opened_seq
        try:
            await self._ask_to_open(stream, ASK_TIMEOUT_S)
        except CallError as error:
            stream.opened_seq = before
            if self._port.is_stale:
                self._lost.add(stream.client)
            else:
                stream.end(error)


def _taken_over() -> Conflict:
    return Conflict("another stream of this session has taken its place", code=FrontCode.SESSION_TAKEN_OVER)
