"""A store made of a real socket and the answers a test writes down, byte for byte: for what no good store
would say.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

__all__ = ["Answer", "Request", "ETAG", "RawStore", "good_answer", "head_of", "hang", "raw_store", "say"]

ETAG = '"0123456789abcdef0123456789abcdef"'


@dataclass
class Request:
    """A request as it arrived, and the socket's other side."""

    method: str
    path: str
    headers: dict[str, str]
    connection: int
    writer: asyncio.StreamWriter

    def span(self, size: int) -> tuple[int, int]:
        """First byte and one past the last of the range asked for, cut at ``size``."""
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", f"bytes=0-{size}"))
        assert match is not None
        return int(match[1]), min(int(match[2]) + 1, size)


Answer = Callable[[Request], Awaitable[None]]


@dataclass
class RawStore:
    """Requests so far, and the answers to come: one for each request, the last one for all further."""

    answers: list[Answer]
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = lines[0].split(" ")
                headers = dict(line.split(": ", 1) for line in lines[1:] if line)
                request = Request(method, path, headers, number, writer)
                self.requests.append(request)
                answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
                await answer(request)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.transport.abort()


@asynccontextmanager
async def raw_store(*answers: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawStore]:
    """A store that gives these answers, on a port of its own."""
    store = RawStore(list(answers))
    server = await asyncio.start_server(store.serve, "127.0.0.1", 0, limit=1 << 22, ssl=tls)
    scheme = "http" if tls is None else "https"
    store.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield store
    finally:
        server.close()
        for task in tuple(store.tasks):
            task.cancel()
        await asyncio.gather(*store.tasks, return_exceptions=True)
        await asyncio.sleep(0.01)


def head_of(status: int, *headers: str, reason: str = "Reason") -> bytes:
    """An answer's head, from "name: value" lines."""
    return (
        f"HTTP/1.1 {status} {reason}\r\n{''.join(line + chr(13) + chr(10) for line in headers)}\r\n".encode(
            "latin-1"
        )
    )


def say(data: bytes, *, then_close: bool = False) -> Answer:
    """Sends these bytes, whatever was asked."""

    async def answer(request: Request) -> None:
        request.writer.write(data)
        await request.writer.drain()
        if then_close:
            request.writer.close()

    return answer


async def hang(request: Request) -> None:
    """Never answers."""
    await asyncio.sleep(3600)


def good_answer(data: bytes, etag: str = ETAG) -> Answer:
    """What a good store says of an object with these bytes."""

    async def answer(request: Request) -> None:
        first, end = request.span(len(data))
        range_line = f"content-range: bytes {first}-{end - 1}/{len(data)}"
        lines = [
            "content-length: " + str(end - first),
            f"etag: {etag}",
            "last-modified: Wed, 21 Oct 2015 07:28:00 GMT",
        ]
        request.writer.write(head_of(206, range_line, *lines) + data[first:end])
        await request.writer.drain()

    return answer
