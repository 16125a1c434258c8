"""An agent as everybody else sees it: the calls of :class:`labtest.hosts.interface.Agent`, over a :class:`~labtest.agent.connection.Connection`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import msgspec
import trio

from labtest.agent import messages
from labtest.agent.connection import Call, Connection
from labtest.agent.limits import CALLS_MAX, STREAMS_MAX
from labtest.agent.messages import ErrorAnswer, Event, Hello
from labtest.agent.program import frames
from labtest.agent.program.limits import CHUNK_BYTES
from labtest.core.actual import HostActual, UnitState
from labtest.core.steps import Action
from labtest.errors import ActionFailed, AgentFailed, EnvironmentLocked, HostUnreachable
from labtest.hosts.interface import LogBatch, Ran

__all__ = ["AgentClient"]

_T = TypeVar("_T")


def _nothing(name: str) -> bytes:
    raise KeyError(name)


class AgentClient:
    """One live agent. Its methods may run at the same time; more than the host takes wait their turn."""

    def __init__(self, connection: Connection) -> None:
        self.host = connection.host
        self._connection = connection
        self._calls = trio.Semaphore(CALLS_MAX)
        self._streams = trio.Semaphore(STREAMS_MAX)

    @property
    def hello(self) -> Hello:
        """What the agent said of itself."""
        return self._connection.hello

    @property
    def lost(self) -> trio.Event:
        """Set when the connection is over."""
        return self._connection.lost

    async def wait_lost(self) -> str:
        """Waits until the connection is over, and says why."""
        await self._connection.lost.wait()
        return self._connection.reason

    async def aclose(self) -> None:
        """Ends the agent. Every call under way raises :class:`HostUnreachable`."""
        await self._connection.close()

    # ------------------------------------------------------------ calls

    async def observe(self, environment: str, *, files: Sequence[str], units: dict[str, str]) -> HostActual:
        """What the manifest of ``environment`` names, and the files (paths) and units (process to unit) asked for."""
        answer = await self._call(
            {"op": "observe", "environment": environment, "files": list(files), "units": units},
            messages.ObserveAnswer,
        )
        return answer.of(self.host)

    async def do(self, environment: str, action: Action, *, content: Callable[[str], bytes]) -> str:
        """Carries an action out. ``content`` is asked only for what the host lacks. Gives a line for people."""
        request = {"op": "do", "environment": environment, "action": msgspec.to_builtins(action)}
        return (await self._call(request, messages.SaidAnswer, content=content)).said

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: dict[str, str] | None = None,
        folder: str = "/",
        timeout_s: float = 60.0,
        output_bytes_max: int = 4 * 2**20,
    ) -> Ran:
        """Runs a command as root in a process group of its own.

        What is left of the group is ended when the command ends, is late, or is cancelled.
        """
        request = {
            "op": "run",
            "argv": list(argv),
            "env": env or {},
            "folder": folder,
            "timeout_s": timeout_s,
            "output_bytes_max": output_bytes_max,
            "stdin_bytes": len(stdin),
        }
        output = bytearray()
        answer = await self._call(request, messages.RunAnswer, content=lambda _: stdin, blobs=output)
        return Ran(
            status=answer.status,
            stdout=bytes(output[: answer.stdout_bytes]),
            stderr=bytes(output[answer.stdout_bytes :]),
            dropped_bytes=answer.dropped_bytes,
        )

    async def read_file(self, path: str, *, size_max: int = 16 * 2**20) -> bytes:
        """The contents of a file."""
        content = bytearray()
        await self._call({"op": "read-file", "path": path, "size_max": size_max}, dict, blobs=content)
        return bytes(content)

    async def _call(
        self,
        request: dict[str, Any],
        kind: type[_T],
        *,
        content: Callable[[str], bytes] = _nothing,
        blobs: bytearray | None = None,
    ) -> _T:
        async with self._calls, self._connection.call(messages.encode(request)) as call:
            blob, blob_name = b"", ""
            while True:
                frame = await self._next(call, request["op"])
                if frame.kind == frames.RESULT:
                    return self._decode(frame.payload, kind)
                if frame.kind == frames.BLOB and blobs is not None:
                    blobs += frame.payload
                elif frame.kind == frames.EVENT:
                    event = self._decode(frame.payload, Event)
                    if blob_name != event.need:
                        blob, blob_name = content(event.need), event.need
                    await self._send_range(call, blob, event)

    async def _send_range(self, call: Call, blob: bytes, event: Event) -> None:
        wanted = memoryview(blob)[event.offset : event.offset + event.length]
        if len(wanted) != event.length:
            raise ValueError(f"{event.need}: {len(blob)} bytes are given, and more were announced")
        for start in range(0, len(wanted), CHUNK_BYTES):
            chunk = wanted[start : start + CHUNK_BYTES]
            await self._connection.send(frames.pack_header(frames.BLOB, call.number, len(chunk)), chunk)

    async def _next(self, call: Call, operation: str) -> frames.Frame:
        """The next frame of a call. Raises what the host raises."""
        frame = await call.receive()
        if frame is None:
            raise HostUnreachable(self.host, self._connection.reason)
        if frame.kind != frames.ERROR:
            return frame
        error = self._decode(frame.payload, ErrorAnswer)
        if operation == "lock" and error.code == "locked":
            raise EnvironmentLocked(f"{self.host}: {error.problem}", error.holder)
        raise ActionFailed(self.host, error.code, error.problem)

    def _decode(self, payload: bytes, kind: type[_T]) -> _T:
        try:
            return messages.decode(payload, kind)
        except msgspec.MsgspecError as error:
            raise AgentFailed(self.host, f"an answer that is not in the protocol: {error}") from error

    # ------------------------------------------------------------ streams

    @asynccontextmanager
    async def _stream(
        self, request: dict[str, Any], convert: Callable[[Event], _T]
    ) -> AsyncIterator[AsyncIterator[_T]]:
        async with self._streams, self._connection.call(messages.encode(request)) as call:
            yield _Items(self, call, request["op"], convert)

    async def next_item(self, call: Call, operation: str) -> Event | None:
        """The next event of a stream, which is acknowledged; None at its end."""
        frame = await self._next(call, operation)
        if frame.kind == frames.RESULT:
            return None
        self._connection.post(frames.pack_frame(frames.ACKNOWLEDGE, call.number))
        return self._decode(frame.payload, Event)

    @asynccontextmanager
    async def units(self, units: Sequence[str]) -> AsyncIterator[AsyncIterator[tuple[UnitState, ...]]]:
        """States of units (names, or shell patterns): all of them at first, then those that have changed, within half a second or so."""
        async with self._stream(
            {"op": "units", "units": list(units)}, lambda event: event.units or ()
        ) as states:
            yield states

    @asynccontextmanager
    async def logs(
        self,
        units: Sequence[str],
        *,
        lines: int = 10,
        follow: bool = False,
        cursor: str = "",
        grep: str = "",
        since_ns: int = 0,
    ) -> AsyncIterator[AsyncIterator[LogBatch]]:
        """The last ``lines`` messages (that match ``grep``), or all after ``cursor`` or ``since_ns``: of those none is left out.

        Then, with ``follow``, new ones.
        """
        request = {
            "op": "logs",
            "units": list(units),
            "lines": lines,
            "follow": follow,
            "cursor": cursor,
            "grep": grep,
            "since_ns": since_ns,
        }
        async with self._stream(request, messages.log_batch) as batches:
            yield batches

    @asynccontextmanager
    async def lock(self, environment: str, holder: str) -> AsyncIterator[None]:
        """Holds the environment's lock on this host. Raises :class:`EnvironmentLocked`."""
        request = {"op": "lock", "environment": environment, "holder": holder}
        async with self._stream(request, lambda event: event.locked) as events:
            await anext(events)
            yield


class _Items(Generic[_T]):
    """What a stream yields. Not an async generator: those complain when they are left before their end, and this one is made to be left."""

    def __init__(
        self, client: AgentClient, call: Call, operation: str, convert: Callable[[Event], _T]
    ) -> None:
        self._client = client
        self._call = call
        self._operation = operation
        self._convert = convert

    def __aiter__(self) -> _Items[_T]:
        return self

    async def __anext__(self) -> _T:
        event = await self._client.next_item(self._call, self._operation)
        if event is None:
            raise StopAsyncIteration
        return self._convert(event)
