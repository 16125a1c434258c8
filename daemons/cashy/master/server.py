"""The client socket: accepts, greets, answers requests. A client that misbehaves or does not read is dropped; the master never waits for one."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import structlog

from aviary.cashy.v1.control_pb2 import (
    BlockProgress,
    BlockReady,
    ChangeNoted,
    ClientFrame,
    Failure,
    Fetch,
    FetchDone,
    Hello,
    ObjectInfo,
    PrefetchAccepted,
    ServerFrame,
    TableGranted,
    Tier,
    Welcome,
)
from cashy.core.names import parse_name
from cashy.core.planner import ReadAhead
from cashy.errors import CashyError, ConfigError, InternalError, InvalidRequest, SlowDown, TooLarge
from cashy.limits import (
    ACCEPT_PAUSE_S,
    CHANGE_NAMES_MAX,
    HELLO_TIMEOUT_S,
    PROTOCOL_VERSION,
    READ_AHEAD_STREAMS_MAX,
)
from cashy.master.catalog import Known
from cashy.master.client_wire import CHANNEL_RING_BYTES, ClientWire
from cashy.master.fetch import FetchJob
from cashy.master.host import Host
from shmipc.channel import ServerChannel
from shmipc.errors import HandshakeError, QuotaExceeded, ShmError
from shmipc.wire import peer_credentials

__all__ = ["ClientConnection", "ClientServer"]

_log = structlog.get_logger("cashy.master")

#: Connections the kernel queues while the master is busy.
_BACKLOG = 1024
#: Accepted per wake-up, so that a storm of connections does not hold up reads.
_ACCEPTS_PER_TURN = 64


class ClientServer:
    """Listens on the unix socket and keeps the connections."""

    def __init__(self, host: Host, path: Path, mode: int) -> None:
        self.host = host
        self.connections: set[ClientConnection] = set()
        self._path = path
        self._mode = mode
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Binds and listens; raises ``ConfigError``."""
        self._socket = _listen(self._path, self._mode)
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        assert self._socket is not None
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                sock, _address = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # out of descriptors: the connection stays in the backlog, and would wake us at once again
                _log.warning("accept_failed", error=str(error))
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._socket)
                loop.call_later(ACCEPT_PAUSE_S, self._accept_again)
                return
            sock.setblocking(False)
            self.connections.add(ClientConnection(self, sock))

    def _accept_again(self) -> None:
        if self._socket is not None and self._socket.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def forget(self, connection: ClientConnection) -> None:
        """A connection is closed; its pin table counts until its client lets go of it."""
        self.connections.discard(connection)

    def close(self) -> None:
        """Stops listening and drops all clients; what they hold pinned stays theirs."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._path.unlink(missing_ok=True)
        for connection in list(self.connections):
            connection.close("the daemon is stopping")


def _listen(path: Path, mode: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # The instance's lock is held, so a socket file that is there belongs to a dead predecessor.
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
        sock.bind(str(path))
        path.chmod(mode)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise ConfigError(f"cannot listen on the socket {path}: {error.strerror or error}") from error
    return sock


class ClientConnection:
    """One client: what it asks for, and what is held for it."""

    def __init__(self, server: ClientServer, sock: socket.socket) -> None:
        self._server = server
        self._host = server.host
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._is_greeted = False
        self._fetches: dict[int, FetchJob] = {}
        self._changing: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._readers: OrderedDict[tuple[int, bytes], ReadAhead] = OrderedDict()
        self.credentials = peer_credentials(sock)
        self.program = ""
        self._wire = ClientWire(sock, self._on_frame, self._on_wire_end)
        self._hello_timer = self._loop.call_later(HELLO_TIMEOUT_S, self._on_no_hello)

    # --- greeting ---

    def _on_wire_end(self, reason: str, counter: str | None) -> None:
        if counter is not None:
            self._host.counters.add(counter)
        self.close(reason)

    def _on_frame(self, data: bytes) -> None:
        frame = ClientFrame.FromString(data)
        kind = frame.WhichOneof("body")
        if not self._is_greeted:
            if kind != "hello":
                raise HandshakeError("the first frame must be Hello")
            self._on_hello(frame.request_id, frame.hello)
            return
        handler = _HANDLERS.get(kind or "")
        if handler is None:
            self.send_failure(
                frame.request_id,
                InvalidRequest(f"unknown request {kind!r}: client and daemon differ in version"),
            )
            return
        handler(self, frame)

    def _on_no_hello(self) -> None:
        if not self._is_greeted:
            self.close("no Hello in time")

    def _on_hello(self, request_id: int, hello: Hello) -> None:
        settings = self._host.settings
        if hello.protocol_version != PROTOCOL_VERSION:
            self._refuse(
                request_id,
                InvalidRequest(
                    f"the client speaks protocol {hello.protocol_version}, this daemon {PROTOCOL_VERSION}: "
                    "client library and daemon must be of the same version"
                ),
            )
            return
        if sum(other._is_greeted for other in self._server.connections) >= settings.limits.clients_max:
            self._refuse(
                request_id,
                SlowDown(f"{settings.limits.clients_max} clients are connected already (limits.clients_max)"),
            )
            return
        arena = self._host.store.arena
        descriptors = [arena.segment.read_only_fd()]
        if hello.can_pin:
            try:
                descriptors.append(arena.tables.create()[1])
            except (QuotaExceeded, ShmError, OSError) as error:
                os.close(descriptors[0])
                self._refuse(request_id, SlowDown(f"no pin table can be had: {error}"))
                return
        channel, channel_descriptors = _channel_for(hello)
        self._is_greeted = True
        self._hello_timer.cancel()
        self.program = hello.program[:256]
        welcome = Welcome(
            protocol_version=PROTOCOL_VERSION,
            arena_id=arena.arena_id,
            arena_bytes=arena.geometry.data_bytes,
            pin_bytes_max=settings.client_pin_bytes_max,
            mappings_max=settings.limits.client_mappings_max,
            private_bytes_max=settings.limits.client_private_bytes,
            block_bytes=settings.memory.block_bytes,
            has_channel=channel is not None,
        )
        self._send(ServerFrame(request_id=request_id, welcome=welcome), descriptors + channel_descriptors)
        if channel is not None:
            self._wire.use_channel(channel)

    def _refuse(self, request_id: int, error: CashyError) -> None:
        self._host.counters.add("clients_refused")
        self.send_failure(request_id, error)
        self.close(error.message)

    # --- requests ---

    def _on_stat(self, frame: ClientFrame) -> None:
        self._spawn(frame.request_id, self._stat(frame))

    async def _stat(self, frame: ClientFrame) -> None:
        known = await self._host.stat(frame.stat.name, revalidate=frame.stat.revalidate)
        self.send_object(frame.request_id, known.info)

    def _on_fetch(self, frame: ClientFrame) -> None:
        if frame.request_id in self._fetches:
            raise HandshakeError(f"request id {frame.request_id} is in use")
        if len(self._fetches) >= self._host.settings.limits.client_requests_max:
            self.send_failure(
                frame.request_id,
                SlowDown("too many fetches of this client are open (limits.client_requests_max)"),
            )
            return
        job = self._host.new_fetch(frame.request_id, frame.fetch, self)
        self._fetches[frame.request_id] = job
        self._spawn(frame.request_id, self._fetch(job, frame.request_id, frame.fetch))

    async def _fetch(self, job: FetchJob, request_id: int, request: Fetch) -> None:
        # Behind the demand, which is issued before the loop comes round to this.
        await job.run(lambda known: self._loop.call_soon(self._read_ahead, known, request))
        self._send(ServerFrame(request_id=request_id, fetch_done=FetchDone()))

    def _read_ahead(self, known: Known, request: Fetch) -> None:
        if not request.stream or self._is_closed:
            return
        key = (request.stream, known.content.content_id)
        reader = self._readers.pop(key, None) or self._host.new_read_ahead()
        self._readers[key] = reader
        while len(self._readers) > READ_AHEAD_STREAMS_MAX:
            self._readers.popitem(last=False)
        last = min(request.first_block + request.block_count, known.content.block_count)
        self._host.prefetch_blocks(
            known, reader.prefetch(range(request.first_block, last), known.content.size_bytes)
        )

    def _on_release(self, frame: ClientFrame) -> None:
        job = self._fetches.pop(frame.request_id, None)
        if job is not None:
            job.release()
            for task in self._tasks:
                if task.get_name() == f"{frame.request_id}":
                    task.cancel()

    def _on_prefetch(self, frame: ClientFrame) -> None:
        accepted = self._host.prefetch_names(list(frame.prefetch.names))
        self._send(
            ServerFrame(request_id=frame.request_id, prefetch_accepted=PrefetchAccepted(accepted=accepted))
        )

    def _on_new_table(self, frame: ClientFrame) -> None:
        try:
            descriptor = self._host.store.arena.tables.create()[1]
        except (ShmError, OSError) as error:
            self.send_failure(frame.request_id, SlowDown(f"no pin table can be had: {error}"))
            return
        self._send(ServerFrame(request_id=frame.request_id, table_granted=TableGranted()), [descriptor])

    def _on_status(self, frame: ClientFrame) -> None:
        self._send(ServerFrame(request_id=frame.request_id, status=self._host.status()))

    def _on_locate(self, frame: ClientFrame) -> None:
        self._spawn(frame.request_id, self._locate(frame))

    async def _locate(self, frame: ClientFrame) -> None:
        self._send(
            ServerFrame(request_id=frame.request_id, located=await self._host.locate(frame.locate.name))
        )

    def _on_change(self, frame: ClientFrame) -> None:
        self._spawn(frame.request_id, self._change(frame))

    async def _change(self, frame: ClientFrame) -> None:
        names = [parse_name(name) for name in frame.change.names]
        if len(names) > CHANGE_NAMES_MAX:
            raise TooLarge(f"{len(names):,} objects in one change, at most {CHANGE_NAMES_MAX:,} are allowed")
        if frame.change.is_over:
            begun = [name for name in names if self._changing[name.url] > 0]
            others = [name for name in names if name not in begun]  # begun at this master's predecessor
            self._changing.subtract(name.url for name in begun)
            for group, had_begun in ((begun, True), (others, False)):
                if group:
                    await asyncio.shield(self._host.change_is_over(group, had_begun=had_begun))
        else:
            self._changing.update(name.url for name in names)
            await self._host.change_begins(names)
        self._send(ServerFrame(request_id=frame.request_id, change_noted=ChangeNoted()))

    def _on_cluster_status(self, frame: ClientFrame) -> None:
        self._spawn(frame.request_id, self._cluster_status(frame))

    async def _cluster_status(self, frame: ClientFrame) -> None:
        report = await self._host.cluster_status()
        self._send(ServerFrame(request_id=frame.request_id, cluster=report))

    def _spawn(self, request_id: int, work: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= self._host.settings.limits.client_requests_max:
            work.close()  # it was never started
            self._fetches.pop(request_id, None)
            self.send_failure(
                request_id,
                SlowDown("too many requests of this client are under way (limits.client_requests_max)"),
            )
            return
        task = self._loop.create_task(self._guarded(request_id, work), name=f"{request_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, request_id: int, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except CashyError as error:
            self._host.counters.add("requests_failed")
            self.send_failure(request_id, error)
        except Exception:
            _log.exception("request_crashed", client=self.credentials.pid)
            self.send_failure(
                request_id, InternalError("the daemon failed at this request; its log has the details")
            )

    # --- FetchAnswers ---

    def send_object(self, request_id: int, info: ObjectInfo) -> None:
        """Answers with an object's metadata."""
        self._send(ServerFrame(request_id=request_id, object=info))

    def send_block(
        self,
        request_id: int,
        block: int,
        slot: int,
        generation: int,
        length: int,
        tier: Tier,
        *,
        filling: bool,
    ) -> None:
        """Announces a held block."""
        ready = BlockReady(
            block=block, slot=slot, generation=generation, length=length, filling=filling, tier=tier
        )
        self._send(ServerFrame(request_id=request_id, block_ready=ready))

    def send_progress(self, request_id: int, block: int, watermark: int, *, complete: bool) -> None:
        """Announces progress of a filling block."""
        progress = BlockProgress(block=block, watermark=watermark, complete=complete)
        self._send(ServerFrame(request_id=request_id, block_progress=progress))

    def send_failure(self, request_id: int, error: CashyError) -> None:
        """Answers with an error."""
        code: Failure.Code = getattr(Failure, error.code, Failure.INTERNAL)
        self._send(
            ServerFrame(request_id=request_id, failure=Failure(code=code, message=error.message[:4096]))
        )

    def _send(self, frame: ServerFrame, descriptors: Sequence[int] = ()) -> None:
        self._wire.send(frame.SerializeToString(), descriptors)

    def close(self, reason: str) -> None:
        """Drops the client and lets go of what was held for it."""
        if self._is_closed:
            return
        self._is_closed = True
        _log.debug("client_closed", client=self.credentials.pid, program=self.program, reason=reason)
        self._hello_timer.cancel()
        self._wire.close()
        for task in list(self._tasks):
            task.cancel()
        if abandoned := [parse_name(url) for url in self._changing.elements()]:
            self._changing.clear()
            self._host.change_is_over(abandoned, had_begun=True)  # of unknown outcome
        for job in self._fetches.values():
            job.release()
        self._fetches.clear()
        self._server.forget(self)


def _channel_for(hello: Hello) -> tuple[ServerChannel | None, list[int]]:
    """The channel that a client asks for, and descriptors to be sent to it; None and none if it asks for none, or there can be none."""
    if not hello.wants_channel:
        return None, []
    descriptors: list[int] = []
    channel = None
    try:
        channel = ServerChannel.create(ring_bytes=CHANNEL_RING_BYTES, client_waits="loop")
        for descriptor in channel.descriptors:
            descriptors.append(os.dup(descriptor))  # sending closes them, which may be later
        channel.descriptors_sent()
    except (ShmError, OSError) as error:  # out of descriptors or memory: the socket will do
        _log.warning("no_channel", error=str(error))
        for descriptor in descriptors:
            os.close(descriptor)
        if channel is not None:
            channel.close()
        return None, []
    return channel, descriptors


_HANDLERS: dict[str, Callable[[ClientConnection, ClientFrame], None]] = {
    "stat": ClientConnection._on_stat,
    "fetch": ClientConnection._on_fetch,
    "release": ClientConnection._on_release,
    "prefetch": ClientConnection._on_prefetch,
    "new_table": ClientConnection._on_new_table,
    "status": ClientConnection._on_status,
    "locate": ClientConnection._on_locate,
    "cluster_status": ClientConnection._on_cluster_status,
    "change": ClientConnection._on_change,
}
