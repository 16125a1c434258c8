"""A name becomes a connection by whichever of its addresses answers, resolved off the loop and anew each time."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cashy.origin.dial import ADDRESSES_MAX, DialPlace, dial

from .conformance import RUNNERS


class Names:
    """Addresses by name in place of the system's resolver; notes the threads that asked."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names
        self.threads: list[int] = []

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
        self.threads.append(threading.get_ident())
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.names[host]]


class Made(asyncio.Protocol):
    transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def given_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()


@asynccontextmanager
async def listener(host: str = "127.0.0.1") -> AsyncIterator[int]:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def connects(host: str, port: int, timeout_s: float = 5.0) -> str:
    """The address that was connected to."""
    made = await dial(Made, Made.given_up, DialPlace(host, port, None), timeout_s)
    assert made.transport is not None
    peer: str = made.transport.get_extra_info("peername")[0]
    made.transport.abort()
    await asyncio.sleep(0)
    return peer


def test_next_address_when_one_refuses_and_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(store=["127.0.0.2", "127.0.0.3", "127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)

    async def main() -> None:
        async with listener() as port, listener("127.0.0.9") as other:
            assert await connects("store", port) == "127.0.0.1"
            names.names["store"] = ["127.0.0.9"]
            assert await connects("store", other) == "127.0.0.9"
            assert len(names.threads) == 2
            assert threading.get_ident() not in names.threads

    asyncio.run(main())


def test_silent_address_takes_its_share_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names(store=["127.0.0.8", "127.0.0.1"]).getaddrinfo)
    silent = socket.socket()
    fillers: list[socket.socket] = []

    async def main() -> None:
        async with listener() as port:
            # A listener whose backlog is full does not answer further connections.
            silent.bind(("127.0.0.8", port))
            silent.listen(0)
            for _ in range(3):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.8", port))
                fillers.append(filler)
            assert await connects("store", port, timeout_s=1.0) == "127.0.0.1"

    try:
        asyncio.run(main())
    finally:
        for one in (silent, *fillers):
            one.close()


def test_all_addresses_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [f"127.0.0.{number}" for number in range(2, 30)]
    monkeypatch.setattr(socket, "getaddrinfo", Names(store=addresses).getaddrinfo)
    made: list[Made] = []

    def make() -> Made:
        made.append(Made())
        return made[-1]

    async def main() -> None:
        async with listener() as port:
            with pytest.raises(ConnectionRefusedError):
                await dial(make, Made.given_up, DialPlace("store", port, None), 5.0)
            assert len(made) == ADDRESSES_MAX
            with pytest.raises(OSError, match="not known"):
                await connects("nowhere", port)

    asyncio.run(main())


@pytest.mark.parametrize("loop", RUNNERS)
def test_addresses_and_localhosts_names_need_no_resolver(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names().getaddrinfo)

    async def main() -> None:
        async with listener() as port:
            assert await connects("bucket.s3.localhost", port) == "127.0.0.1"
            assert await connects("127.0.0.1", port) == "127.0.0.1"

    RUNNERS[loop](main())
