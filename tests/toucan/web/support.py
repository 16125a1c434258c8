"""A whole gateway in the test's process, over loopback, with the local engine behind it; and a browser that says exactly what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from tests.toucan.server.local_engine import LocalEngine, LocalPort

from toucan.server.front_end import FrontEnd
from toucan.web.gateway import make_gateway
from toucan.web.settings import WebSection

__all__ = ["Answer", "Browser", "ORDERS", "RISK", "Stream", "WebWorld", "envelope", "order_json"]

ORDERS = "/aviary.toucan.v1.OrderEntryService/"
RISK = "/aviary.toucan.v1.RiskService/"
_JSON = {"content-type": "application/json"}


def envelope(body: bytes, flags: int = 0) -> bytes:
    """As Connect's and gRPC-Web's streams have them."""
    return struct.pack(">BI", flags, len(body)) + body


def order_json(number: int, session: str = "page", **terms: Any) -> dict[str, Any]:
    """SubmitOrder of 100 AAPL at 100.00 for ACC1, where nothing else is said."""
    values = {
        "account": "ACC1", "symbol": "AAPL", "side": "SIDE_BUY", "type": "ORDER_TYPE_LIMIT", "timeInForce": "TIME_IN_FORCE_GTC",
        "quantity": 100, "price": 10_000,
    }  # fmt: skip
    return {"key": {"session": session, "number": number}, "terms": {**values, **terms}}


class Answer:
    """An HTTP response."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.header_list = headers
        self.headers = dict(headers)
        self.body = body

    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Connect's code of an error."""
        return str(self.json()["code"])

    @property
    def detail(self) -> Any:
        """The first detail of an error, as JSON."""
        return self.json()["details"][0]["debug"]


class Browser:
    """One connection at a time to a gateway, with the headers that its tests give it."""

    def __init__(
        self, address: str, tls: ssl.SSLContext | None = None, host: str = "", receive_buffer_bytes: int = 0
    ) -> None:
        self.address = address
        #: Sent with every request.
        self.headers: dict[str, str] = {"host": host or address}
        self._tls = tls
        self._receive_buffer_bytes = receive_buffer_bytes
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Browser:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    async def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The one that it has, or a new one."""
        if self._streams is None:
            host, _, port = self.address.rpartition(":")
            made = socket.socket()
            made.setblocking(False)
            if self._receive_buffer_bytes:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer_bytes)
            try:
                await asyncio.get_running_loop().sock_connect(made, (host, int(port)))
            except OSError:
                made.close()
                raise
            name = None if self._tls is None else host
            self._streams = await asyncio.open_connection(sock=made, ssl=self._tls, server_hostname=name)
        return self._streams

    async def close(self) -> None:
        """Ends it."""
        if self._streams is not None:
            self._streams[1].close()
            with contextlib.suppress(OSError):
                await self._streams[1].wait_closed()
            self._streams = None

    def vanish(self) -> None:
        """Its connection is broken off."""
        assert self._streams is not None
        self._streams[1].transport.abort()
        self._streams = None

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """A request, and its whole answer."""
        reader = await self.send(method, path, body, headers)
        return await self._answer(reader, method)

    async def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> asyncio.StreamReader:
        """A request."""
        reader, writer = await self.connection()
        sent = {**self.headers, **(headers or {})}
        if body or method == "POST":
            sent["content-length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        await writer.drain()
        return reader

    async def _answer(self, reader: asyncio.StreamReader, method: str) -> Answer:
        status, headers = await self.head(reader)
        known = dict(headers)
        body = b""
        if method != "HEAD" and status not in (204, 304):
            if known.get("transfer-encoding") == "chunked":
                while (piece := await _chunk(reader)) is not None:
                    body += piece
            else:
                body = await reader.readexactly(int(known["content-length"]))
        if known.get("connection") == "close":
            await self.close()
        return Answer(status, headers, body)

    @staticmethod
    async def head(reader: asyncio.StreamReader) -> tuple[int, list[tuple[str, str]]]:
        """A response's first line and headers."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines[1:])]
        return int(lines[0].split(" ")[1]), headers

    async def call(self, method: str, request: object, headers: Mapping[str, str] | None = None) -> Answer:
        """A unary call in JSON; ``method`` is a path."""
        return await self.ask("POST", method, json.dumps(request).encode(), {**_JSON, **(headers or {})})

    async def log_in(self, token: str = "") -> Answer:
        """As the page does: from then on it has cookie and CSRF token."""
        answer = await self.call("/session", {"token": token} if token else {})
        if answer.status == 200:
            self.headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]
            self.headers["x-toucan-csrf"] = answer.json()["csrf"]
        return answer

    async def watch(self, method: str, request: object, headers: Mapping[str, str] | None = None) -> Stream:
        """Opens a stream in JSON; the browser has no other request on this connection then."""
        kind = {"content-type": "application/connect+json", **(headers or {})}
        reader = await self.send("POST", ORDERS + method, envelope(json.dumps(request).encode()), kind)
        status, answered = await self.head(reader)
        assert status == 200, status
        return Stream(self, reader, dict(answered))


class Stream:
    """A stream that is open."""

    def __init__(self, browser: Browser, reader: asyncio.StreamReader, headers: dict[str, str]) -> None:
        self.browser = browser
        self.headers = headers
        self._reader = reader
        self._data = b""

    async def _take(self, size: int) -> bytes:
        while len(self._data) < size:
            piece = await _chunk(self._reader)
            if piece is None:
                raise asyncio.IncompleteReadError(self._data, size)
            self._data += piece
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    async def envelope(self) -> tuple[int, bytes]:
        """The next one: flags and content."""
        flags, size = struct.unpack(">BI", await self._take(5))
        return flags, await self._take(size)

    async def read(self) -> dict[str, Any]:
        """The next message."""
        flags, body = await self.envelope()
        assert flags == 0, body
        message: dict[str, Any] = json.loads(body)
        return message

    async def end(self) -> dict[str, Any]:
        """Reads to its end, and gives what that says."""
        while True:
            flags, body = await self.envelope()
            if flags == 2:
                said: dict[str, Any] = json.loads(body)
                return said


async def _chunk(reader: asyncio.StreamReader) -> bytes | None:
    """One chunk of a body (RFC 9112, 7.1); None: the last."""
    size = int(await reader.readuntil(b"\r\n"), 16)
    data = await reader.readexactly(size + 2)
    return data[:-2] if size else None


class WebWorld:
    """A gateway that serves, and what is behind it."""

    def __init__(self, engine: LocalEngine, port: LocalPort, front: FrontEnd) -> None:
        self.engine = engine
        self.port = port
        self.front = front
        self._browsers: list[Browser] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, state: Path, users: Path | None = None, engine: LocalEngine | None = None, **settings: Any
    ) -> AsyncIterator[WebWorld]:
        """Without a users file everyone is ``local`` and may do everything."""
        engine = engine or LocalEngine()
        port = engine.port()
        who = {"local_user": "local"} if users is None else {"users": str(users)}
        common = {"listen": "127.0.0.1:0", "share_port": False, "state": str(state)}
        section = WebSection(**{**common, **who, **settings})
        async with make_gateway(section, port) as front:
            world = cls(engine, port, front)
            try:
                yield world
            finally:
                for browser in world._browsers:
                    await browser.close()

    def browser(
        self, tls: ssl.SSLContext | None = None, host: str = "", receive_buffer_bytes: int = 0
    ) -> Browser:
        """A connection that is closed in the end."""
        browser = Browser(self.front.address, tls, host, receive_buffer_bytes)
        self._browsers.append(browser)
        return browser

    async def user(self, name: str) -> Browser:
        """One who has logged in."""
        browser = self.browser()
        assert (await browser.log_in(f"token-of-{name}")).status == 200
        return browser
