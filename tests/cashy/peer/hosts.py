"""Two ends of the peer protocol for tests: a service over plain memory, sinks that keep what came, and raw sockets that say what no host would."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import uvloop

from aviary.cashy.v1.operate_pb2 import HostAnswer, HostEvicted, HostRequest
from cashy.core.coherence import Change, Grant
from cashy.core.peer_frames import HEADER_BYTES, Kind, State, unpack_header
from cashy.core.peer_greeting import NONCE_BYTES, AcceptingGreeting, ConnectingGreeting, PeerIdentity
from cashy.core.peer_wire import FrameWriter
from cashy.errors import CashyError, InvalidName, NoSuchObject
from cashy.origin.base import BlockRead, ObjectMeta
from cashy.peer.client import Peer
from cashy.peer.server import PeerServer
from cashy.peer.service import BlockReply, HeadAnswer, HeadRequest, Noted, PeerRead, ReadRequest

BLOCK_BYTES = 8 << 20
KEY = b"a key of the tests"
ANNA = PeerIdentity("floor", "anna", KEY, BLOCK_BYTES)
BERT = replace(ANNA, host="bert")
HOSTS = ("anna", "bert", "carl")
VERSION = '"v1"'

PATIENCE_S = 20.0
"""Beyond any time a test needs, also on a busy machine."""


def pattern(seed: int, size: int) -> bytes:
    """Bytes that differ at every place and for every seed."""
    block = os.urandom(8) + bytes((seed * 37 + index * 11) & 0xFF for index in range(251))
    return (block * (size // len(block) + 1))[:size]


def on_both_loops(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[str], None]:
    """Makes a coroutine a test that runs on asyncio's loop and on uvloop, in a bounded time."""

    async def bounded() -> None:
        async with asyncio.timeout(3 * PATIENCE_S):
            await test()

    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    def run(loop: str) -> None:
        factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.get_loop().set_exception_handler(_remember)
            _failures.clear()
            runner.run(bounded())
        assert _failures == []

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


_failures: list[str] = []


def _remember(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Nothing may fail behind a test's back."""
    _failures.append(f"{context.get('message')}: {context.get('exception')!r}")


def expected_failures() -> list[str]:
    """Takes what the loop's exception handler was told so far."""
    taken = list(_failures)
    _failures.clear()
    return taken


async def until(condition: Callable[[], object]) -> None:
    """Waits for something that happens in later turns of the loop."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.002)


# ------------------------------------------------------------ the serving side


@dataclass
class Served:
    """One read as the service saw it."""

    request: ReadRequest
    reply: BlockReply
    cancelled: int = 0
    gone: int = 0

    def count_cancel(self) -> None:
        self.cancelled += 1

    def count_gone(self) -> None:
        self.gone += 1


@dataclass
class MemoryService:
    """Serves ``objects`` by key; keys in ``held`` are answered by the test."""

    objects: dict[str, bytes] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    reads: list[Served] = field(default_factory=list)
    heads: list[HeadRequest] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    leases: list[tuple[str, int, int]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    operations: list[HostRequest] = field(default_factory=list)
    heads_cancelled: int = 0
    known: bool = False
    on_read: Callable[[Served], None] | None = None

    def read(self, request: ReadRequest, reply: BlockReply) -> None:
        served = Served(request, reply)
        reply.on_cancel = served.count_cancel
        self.reads.append(served)
        if self.on_read is not None:
            self.on_read(served)
        elif request.key not in self.held:
            self.answer(served)

    def leaving(self, peer: str) -> None:
        self.left.append(peer)

    def meta(self, key: str) -> ObjectMeta:
        return ObjectMeta(
            VERSION, len(self.objects[key]), 1.5, "text/x", (("cache-control", "no-cache"),), (("a", "\xe9"),)
        )

    def answer(self, served: Served, available: int | None = None) -> None:
        """Begins the answer; all of it can be sent at once unless ``available`` says otherwise."""
        request = served.request
        if request.key not in self.objects:
            raise NoSuchObject(f"there is no {request.key}")
        part = memoryview(self.objects[request.key])[request.offset : request.offset + request.length]
        now = len(part) if available is None else available
        served.reply.begin(
            self.meta(request.key), len(part), 2.5, part, now, served.count_gone, request.key if self.known else None
        )  # fmt: skip

    async def head(self, request: HeadRequest) -> HeadAnswer:
        self.heads.append(request)
        if request.key in self.held:
            try:
                await asyncio.sleep(PATIENCE_S)
            except asyncio.CancelledError:
                self.heads_cancelled += 1
                raise
        if request.key not in self.objects:
            raise NoSuchObject(f"there is no {request.key}")
        return HeadAnswer(self.meta(request.key), 7.25)

    def changed(self, changes: Sequence[Change]) -> Noted:
        if any(change.name == "bad" for change in changes):
            raise InvalidName("no name")
        self.changes.extend(changes)
        return Noted(1_500_001, {"other": 3_000_000_000})

    def lease(self, peer: str, incarnation: int, number: int) -> Grant:
        self.leases.append((peer, incarnation, number))
        return Grant((1 << 63) + 5, 8, 3_000_000_000, incarnation == 7, tuple(self.changes))

    async def operate(self, request: HostRequest) -> HostAnswer:
        self.operations.append(request)
        if "slow" in request.pin.names:
            await asyncio.sleep(PATIENCE_S)
        if "bad" in request.pin.names:
            raise InvalidName("no name")
        return HostAnswer(evicted=HostEvicted(blocks=7))

    def status(self) -> bytes:
        return b"all is well"


# ------------------------------------------------------------ the asking side


@dataclass
class Sink:
    """Keeps what came, and in which order things were called."""

    calls: list[str] = field(default_factory=list)
    memory: bytearray = field(default_factory=bytearray)
    meta: ObjectMeta | None = None
    watermark: int = 0
    crc: int | None = None
    on_begin: Callable[[], None] | None = None
    on_advanced: Callable[[], None] | None = None

    def begin(self, meta: ObjectMeta, length: int) -> memoryview:
        self.calls.append("begin")
        self.meta = meta
        self.memory = bytearray(b"\xee" * length)
        if self.on_begin is not None:
            self.on_begin()
        return memoryview(self.memory)

    def advanced(self, watermark: int, crc: int | None = None) -> None:
        if self.calls[-1] != "advanced":
            self.calls.append("advanced")
        assert watermark > self.watermark
        self.watermark, self.crc = watermark, crc
        if self.on_advanced is not None:
            self.on_advanced()

    def detached(self) -> None:
        self.calls.append("detached")


class Ask:
    """One read of a peer, its sink, and its outcome as a future."""

    def __init__(
        self, peer: Peer, key: str, offset: int = 0, length: int = BLOCK_BYTES, *,
        version: str | None = None, deadline_s: float = PATIENCE_S, silence_s: float = PATIENCE_S, sink: Sink | None = None,
        start: bool = True,
    ) -> None:  # fmt: skip
        self.peer = peer
        self.sink = sink or Sink()
        self.outcome: asyncio.Future[CashyError | None] = asyncio.get_running_loop().create_future()
        self.read = PeerRead(
            bucket="bucket", key=key, offset=offset, length=length, expected_version=version, sink=self.sink, on_done=self._done,
            origin="store", url=f"s3://bucket/{key}", deadline_s=deadline_s,
            silence_s=silence_s,
        )  # fmt: skip
        if start:
            self.start()

    def start(self) -> None:
        self.peer.begin_read_block(self.read)
        assert "done" not in self.sink.calls, "never before begin_read_block has returned"

    def cancel(self) -> None:
        self.peer.cancel_read_block(self.read)

    def _done(self, read: BlockRead, error: CashyError | None) -> None:
        assert read is self.read
        self.sink.calls.append("done")
        self.outcome.set_result(error)

    async def error(self) -> CashyError:
        """The error it ends with."""
        async with asyncio.timeout(PATIENCE_S):
            error = await self.outcome
        assert error is not None, "the read was expected to fail"
        return error

    async def data(self) -> bytes:
        """The bytes, complete."""
        async with asyncio.timeout(PATIENCE_S):
            error = await self.outcome
        if error is not None:
            raise error
        return bytes(self.sink.memory)


@asynccontextmanager
async def serving(
    service: MemoryService, identity: PeerIdentity = BERT, port: int = 0
) -> AsyncIterator[PeerServer]:
    server = PeerServer(service, identity=identity, hosts=HOSTS)
    server.listen("127.0.0.1", port)
    try:
        yield server
    finally:
        await server.close()
        assert server.counters()["connections"] == server.counters()["greetings_under_way"] == 0


@asynccontextmanager
async def peer_at(
    address: tuple[str, int], identity: PeerIdentity = ANNA, name: str = "bert"
) -> AsyncIterator[Peer]:
    peer = Peer(name, address, identity=identity, jitter=lambda: 0.5)
    peer.start()
    try:
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def pair(service: MemoryService) -> AsyncIterator[tuple[Peer, PeerServer]]:
    """Two hosts, connected."""
    async with serving(service) as server, peer_at(server.address) as peer:
        await until(lambda: peer.is_up)
        yield peer, server
        assert all(served.gone <= 1 and served.cancelled <= 1 for served in service.reads)


# ------------------------------------------------------------ raw sockets


@dataclass
class Got:
    """One frame as it came."""

    kind: Kind
    request_id: int
    offset: int
    payload: bytes


class Raw:
    """One end of a connection, frame by frame and byte by byte."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.writer = FrameWriter()
        sock.setblocking(False)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def control(self, kind: Kind, request_id: int = 0, payload: bytes = b"") -> None:
        await self.send(self.writer.control(kind, request_id, payload))

    async def take(self, count: int) -> bytes:
        """Exactly so many bytes; fewer at the end of the stream."""
        taken = b""
        async with asyncio.timeout(PATIENCE_S):
            while len(taken) < count:
                piece = await asyncio.get_running_loop().sock_recv(self.sock, count - len(taken))
                if not piece:
                    break
                taken += piece
        return taken

    async def frame(self) -> Got:
        kind, _, request_id, length, offset, _ = unpack_header(await self.take(HEADER_BYTES))
        return Got(kind, request_id, offset, await self.take(length))

    async def is_closed_by_the_other(self) -> bool:
        """Reads until nothing more comes: True at the end of the stream, or a reset."""
        try:
            while await self.take(1 << 16):
                pass
        except ConnectionError:
            pass
        return True

    async def greet_as_client(self, identity: PeerIdentity = ANNA, to_host: str = "bert") -> Got:
        """HELLO and PROOF; gives the answer to it."""
        greeting = ConnectingGreeting(identity, to_host, bytes(NONCE_BYTES))
        await self.control(Kind.HELLO, 0, greeting.hello)
        answer = await self.frame()
        if answer.kind is not Kind.CHALLENGE:
            return answer
        await self.control(Kind.PROOF, 0, greeting.challenged(answer.payload))
        return await self.frame()

    async def greet_as_server(self, identity: PeerIdentity = BERT) -> None:
        greeting = AcceptingGreeting(identity, HOSTS, bytes(NONCE_BYTES), 256)
        await self.control(Kind.CHALLENGE, 0, greeting.greeted((await self.frame()).payload))
        _, welcome = greeting.proved((await self.frame()).payload)
        await self.control(Kind.WELCOME, 0, welcome)


@asynccontextmanager
async def raw_client(server: PeerServer) -> AsyncIterator[Raw]:
    sock = socket.socket()
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, server.address)
        yield Raw(sock)
    finally:
        sock.close()


@asynccontextmanager
async def raw_server(talk: Callable[[Raw], Awaitable[None]]) -> AsyncIterator[tuple[str, int]]:
    """Accepts connections and lets ``talk`` have each; what it raises fails the test."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def accept() -> None:
        while True:
            sock, _ = await loop.sock_accept(listener)
            tasks.add(asyncio.create_task(serve(sock)))

    async def serve(sock: socket.socket) -> None:
        try:
            await talk(Raw(sock))
        except ConnectionError:
            pass
        finally:
            sock.close()

    accepting = asyncio.create_task(accept())
    try:
        yield listener.getsockname()
    finally:
        accepting.cancel()
        for task in tasks:
            if not task.done():
                task.cancel()
        results = await asyncio.gather(accepting, *tasks, return_exceptions=True)
        listener.close()
    errors = [error for error in results if isinstance(error, Exception)]
    assert errors == []


def now() -> float:
    """The clock the protocol goes by."""
    return time.monotonic()


__all__ = [
    "ANNA", "BERT", "BLOCK_BYTES", "Ask", "Got", "HOSTS", "MemoryService", "PATIENCE_S", "Raw", "Served", "Sink", "State", "VERSION",
    "expected_failures",
    "now", "on_both_loops", "pair", "pattern", "peer_at", "raw_client", "raw_server", "serving", "until",
]  # fmt: skip
