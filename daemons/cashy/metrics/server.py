"""A web server for one page on the daemon's own loop: ``GET /metrics``, one request per connection.

It must never hold up the daemon it lives in, nor grow with what strangers send: head, connections and times are limited, a page is made at most every
:data:`PAGE_AGE_MAX_S`, and a reader that does not read is cut off. There is no keep-alive, no compression and no body: Prometheus asks every few
seconds and needs none of them. (prometheus_client's own server runs threads, which would contend with the loop for the interpreter.)
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import cast

from cashy.errors import CannotStart
from hostkit.log import get_logger

__all__ = ["MetricsServer", "serve"]

#: A scraper's request has a few hundred bytes; a browser's with cookies a few thousand.
HEAD_BYTES_MAX = 8192
#: A monitoring system, its stand-in, and some people with curl; more are told to come back.
CONNECTIONS_MAX = 16
#: From the connection to the end of the request's head.
HEAD_TIMEOUT_S = 5.0
#: For the answer (some tens of KiB) to be taken, and for the other side to close.
SEND_TIMEOUT_S = 10.0
#: A page is given out again within this time: many scrapers cost as much as one.
PAGE_AGE_MAX_S = 0.2

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsServer:
    """A running server; made by :func:`serve`."""

    def __init__(self, listener: socket.socket, render: Callable[[], bytes]) -> None:
        self._listener = listener
        self._render = render
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._page = b""
        self._made_at = -PAGE_AGE_MAX_S
        self.connections: set[_Connection] = set()
        host, port = listener.getsockname()[:2]
        #: ``HOST:PORT`` as bound.
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def url(self) -> str:
        """What a scraper is to be given."""
        return f"http://{self.address}/metrics"

    async def start(self) -> None:
        """Begins to answer."""
        self._server = await self._loop.create_server(lambda: _Connection(self), sock=self._listener)

    def page(self) -> bytes:
        """The page, made anew unless it was a moment ago."""
        now = self._loop.time()
        if now - self._made_at >= PAGE_AGE_MAX_S:
            self._page = self._render()
            self._made_at = now
        return self._page

    async def close(self) -> None:
        """Stops listening and ends all connections."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.abort()
        while self.connections:  # noqa: ASYNC110 - the loop tells them in its next turn
            await asyncio.sleep(0)
        if self._server is not None:
            await self._server.wait_closed()


async def serve(
    listen: tuple[str, int], render: Callable[[], bytes], *, further_ports: int = 0
) -> MetricsServer:
    """Serves what ``render`` gives at ``http://HOST:PORT/metrics`` (port 0: any free one) on the running loop.

    Where the port is taken, the next ones are tried, ``further_ports`` of them. Raises :class:`~cashy.errors.CannotStart`.
    """
    server = MetricsServer(_listener(*listen, further_ports if listen[1] else 0), render)
    await server.start()
    return server


def _listener(host: str, port: int, further_ports: int) -> socket.socket:
    last = min(port + further_ports, 65535)
    for candidate in range(port, last + 1):
        try:
            return _bound(host, candidate)
        except OSError as error:
            if candidate == last or error.errno != errno.EADDRINUSE:
                where = f"{host}:{port}" if last == port else f"{host}, ports {port} to {last}"
                raise CannotStart(
                    f"cannot listen for /metrics on {where}: {error.strerror or error}; choose another with --metrics HOST:PORT"
                ) from None
    raise AssertionError("there is at least one candidate")


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket of its own: listen() is part of the trial, since only it notices who else was quick."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(CONNECTIONS_MAX)
    except OSError:
        listener.close()
        raise
    return listener


class _Connection(asyncio.Protocol):
    """One request and its answer."""

    def __init__(self, server: MetricsServer) -> None:
        self._server = server
        self._head = b""
        self._is_answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are not subclasses
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(HEAD_TIMEOUT_S, self.abort)
        if len(self._server.connections) >= 2 * CONNECTIONS_MAX:
            self.abort()
            return
        self._server.connections.add(self)
        if len(self._server.connections) > CONNECTIONS_MAX:
            self._answer("503 Service Unavailable", b"too many connections\n", "retry-after: 1\r\n")

    def data_received(self, data: bytes) -> None:
        if self._is_answered:
            return  # pipelined, or a body: nobody will answer
        self._head += data
        head, end, _ = self._head.partition(b"\r\n\r\n")
        if len(head) + len(end) > HEAD_BYTES_MAX:
            self._answer("431 Request Header Fields Too Large", b"")
        elif end:
            self._answer_head(head)

    def _answer_head(self, head: bytes) -> None:
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        target, _, version = rest.partition(b" ")
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            self._answer("400 Bad Request", b"this is an HTTP/1.1 server\n")
        elif target.partition(b"?")[0] != b"/metrics":
            self._answer("404 Not Found", b"there is only /metrics\n")
        elif method != b"GET":
            self._answer("405 Method Not Allowed", b"", "allow: GET\r\n")
        else:
            self._answer_page()

    def _answer_page(self) -> None:
        try:
            page = self._server.page()
        except Exception as error:  # a bug must not take the daemon with it
            get_logger(program="cashy metrics").error("metrics could not be made: a bug", exc_info=error)
            self._answer("500 Internal Server Error", b"")
        else:
            self._answer("200 OK", page)

    def _answer(self, status: str, body: bytes, further_headers: str = "") -> None:
        self._is_answered = True
        self._head = b""
        self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(SEND_TIMEOUT_S, self.abort)
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: {_CONTENT_TYPE}\r\ncontent-length: {len(body)}\r\n"
            f"{further_headers}connection: close\r\n\r\n"
        )
        self._transport.write(head.encode() + body)
        self._transport.close()  # when all is sent

    def abort(self) -> None:
        """Ends it at once."""
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._deadline.cancel()
        self._server.connections.discard(self)
