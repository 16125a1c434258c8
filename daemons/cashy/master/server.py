"""The client socket: accepts, greets, answers requests. A client that misbehaves or does not read is dropped; the master never waits for one."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import structlog
from google.protobuf.message import Message

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
from cashy.core.allowed_clients import EVERYBODY, AllowedClients
from cashy.core.names import parse_name
from cashy.core.planner import ReadAhead
from cashy.errors import (
    AccessDenied,
    CannotStart,
    CashyError,
    ConfigError,
    InternalError,
    InvalidName,
    InvalidRequest,
    NoSuchBucket,
    NoSuchObject,
    SlowDown,
    TooLarge,
    VersionChanged,
)
from cashy.limits import (
    ACCEPT_PAUSE_S,
    CALLER_CHARACTERS_MAX,
    CHANGE_NAMES_MAX,
    HELLO_TIMEOUT_S,
    MAPPED_FETCHES_MAX,
    PROTOCOL_VERSION,
    READ_AHEAD_STREAMS_MAX,
)
from cashy.master.client_accounts import allowed_clients
from cashy.master.client_wire import CHANNEL_RING_BYTES, ClientWire
from cashy.master.fetch import FetchJob
from cashy.master.host import Host
from cashy.master.known import Known
from cashy.master.mapped_fetch import MappedFetchJob
from cashy.master.operators import peer_groups
from cashy.master.room import Room
from cashy.peer.reports import Reports
from cashy.settings import InstanceSettings
from shmipc.channel import ServerChannel
from shmipc.errors import HandshakeError, QuotaExceeded, ShmError
from shmipc.tables import TableFolder
from shmipc.wire import peer_credentials

__all__ = ["ClientConnection", "ClientServer"]

_log = structlog.get_logger("cashy.master")

_Asked = TypeVar("_Asked", bound=Message)

#: Errors that say what the client asked for, or that it has to ask again; the others are somebody's trouble.
_NOBODYS_TROUBLE = (NoSuchObject, NoSuchBucket, InvalidName, InvalidRequest, TooLarge, VersionChanged)

#: Connections the kernel queues while the master is busy.
_BACKLOG = 1024
#: Accepted per wake-up, so that a storm of connections does not hold up reads.
_ACCEPTS_PER_TURN = 64


class ClientServer:
    """Listens on the unix socket and keeps the connections."""

    def __init__(self, host: Host, path: Path, mode: int, allowed: AllowedClients = EVERYBODY) -> None:
        self.host = host
        self.connections: set[ClientConnection] = set()
        #: Who is let in; clients that are connected stay.
        self.allowed = allowed
        self.reports = Reports()
        self._reading: asyncio.Task[None] | None = None
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

    def apply(self, instance: InstanceSettings) -> None:
        """Reads who is let in anew, for clients that connect from now on. What is wrong with the lists is logged, and changes nothing."""
        if self._reading is not None:
            self._reading.cancel()  # what is asked for last counts
        self._reading = asyncio.get_running_loop().create_task(self._read_allowed(instance))

    async def _read_allowed(self, instance: InstanceSettings) -> None:
        try:
            self.allowed = await asyncio.to_thread(allowed_clients, instance)
        except ConfigError as error:
            _log.error("who may connect was not read again, those before still may", reason=error.message)

    def forget(self, connection: ClientConnection) -> None:
        """A connection is closed; its pin table counts until its client lets go of it."""
        self.connections.discard(connection)

    def close(self) -> None:
        """Stops listening and drops all clients; what they hold pinned stays theirs."""
        if self._reading is not None:
            self._reading.cancel()
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
        raise CannotStart(f"cannot listen on the socket {path}: {error.strerror or error}") from error
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
        self._groups = peer_groups(sock)
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
        if not self._is_allowed():
            user = f"uid {self.credentials.uid}"
            self._server.reports.warning(
                "client_not_allowed", "", "it is in neither instance.allow_users nor allow_groups", user=user, pid=self.credentials.pid
            )  # fmt: skip
            self._refuse(
                request_id,
                AccessDenied(
                    f"this daemon (instance {settings.instance.name!r}) does not let your user ({user}) in: "
                    "instance.allow_users or allow_groups in its settings must name you or a group of yours"
                ),
            )
            return
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
        if self._users_clients() >= settings.limits.clients_per_user_max:
            self._refuse(
                request_id,
                SlowDown(
                    f"user {self.credentials.uid} has {settings.limits.clients_per_user_max} clients already (limits.clients_per_user_max)"
                ),
            )
            return
        arena = self._host.store.arena
        descriptors = [arena.segment.read_only_fd()]
        if hello.can_pin:
            try:
                descriptors += self._table_for(arena.tables)
            except QuotaExceeded as error:
                os.close(descriptors[0])
                self._refuse(request_id, SlowDown(f"no pin table can be had: {error}"))
                return
        has_table = len(descriptors) > 1
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
            mapped_bytes_max=self._host.client_mapped_bytes_max,
            has_no_table=hello.can_pin and not has_table,
        )
        self._send(ServerFrame(request_id=request_id, welcome=welcome), descriptors + channel_descriptors)
        if channel is not None:
            self._wire.use_channel(channel)

    def _table_for(self, tables: TableFolder) -> list[int]:
        """A new pin table's descriptor; none where no shared memory is left for one: then the client copies, which is slower and works."""
        try:
            serial, descriptor = tables.create()
        except QuotaExceeded:
            raise
        except (ShmError, OSError) as error:
            self._host.counters.add("clients_without_table")
            _log.warning("no_pin_table", client=self.credentials.pid, error=str(error))
            return []
        self._room().has_table(serial)
        return [descriptor]

    def _room(self) -> Room:
        """Of this process's user."""
        return self._host.rooms.of(self._owner_of(""))

    def _users_clients(self) -> int:
        """Greeted connections of the same user."""
        own = self.credentials.uid
        return sum(other._is_greeted and other.credentials.uid == own for other in self._server.connections)

    def _is_allowed(self) -> bool:
        return self._server.allowed.allows(
            self.credentials.uid, {self.credentials.gid, *self._groups}, os.geteuid()
        )

    def _refuse(self, request_id: int, error: CashyError) -> None:
        self._host.counters.add("clients_refused")
        self.send_failure(request_id, error)
        self.close(error.message)

    # --- requests ---

    def _on_stat(self, frame: ClientFrame) -> None:
        self._spawn(frame.request_id, self._stat(frame), frame.stat.name)

    async def _stat(self, frame: ClientFrame) -> None:
        stat = frame.stat
        known = await self._host.stat(stat.name, revalidate=stat.revalidate, may_be_stale=stat.may_be_stale)
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
        if (
            frame.fetch.mapped
            and sum(isinstance(job, MappedFetchJob) for job in self._fetches.values()) >= MAPPED_FETCHES_MAX
        ):
            self.send_failure(
                frame.request_id,
                SlowDown(f"{MAPPED_FETCHES_MAX} fetches of files are under way for this client already"),
            )
            return
        try:
            job = self._host.new_fetch(
                frame.request_id, frame.fetch, self, self._owner_of(frame.fetch.caller)
            )
        except CashyError as error:
            self.send_failure(frame.request_id, error)
            return
        self._fetches[frame.request_id] = job
        self._spawn(frame.request_id, self._fetch(job, frame.request_id, frame.fetch), frame.fetch.name)

    def _owner_of(self, caller: str) -> str:
        """Who takes turns for a place: an S3 worker's caller, or else whose process this is."""
        if caller and self.credentials.uid in (os.geteuid(), 0):
            return f"key:{caller[:CALLER_CHARACTERS_MAX]}"
        return f"uid:{self.credentials.uid}"

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
            serial, descriptor = self._host.store.arena.tables.create()
        except (ShmError, OSError) as error:
            self.send_failure(frame.request_id, SlowDown(f"no pin table can be had: {error}"))
            return
        self._room().has_table(serial)
        self._send(ServerFrame(request_id=frame.request_id, table_granted=TableGranted()), [descriptor])

    def _on_status(self, frame: ClientFrame) -> None:
        self._send(ServerFrame(request_id=frame.request_id, status=self._host.status()))

    def _on_locate(self, frame: ClientFrame) -> None:
        self._spawn(frame.request_id, self._locate(frame), frame.locate.name)

    async def _locate(self, frame: ClientFrame) -> None:
        self._send(
            ServerFrame(request_id=frame.request_id, located=await self._host.locate(frame.locate.name))
        )

    def _on_list(self, frame: ClientFrame) -> None:
        self._spawn(frame.request_id, self._list(frame), frame.list.prefix)

    async def _list(self, frame: ClientFrame) -> None:
        self._send(
            ServerFrame(request_id=frame.request_id, listed=await self._host.listings.page(frame.list))
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

    def _on_evict(self, frame: ClientFrame) -> None:
        self._operate(frame, "evicted", self._host.operating.evict, frame.evict)

    def _on_pin(self, frame: ClientFrame) -> None:
        self._operate(frame, "pins", self._host.operating.pin, frame.pin)

    def _on_unpin(self, frame: ClientFrame) -> None:
        self._operate(frame, "pins", self._host.operating.unpin, frame.unpin)

    def _operate(
        self, frame: ClientFrame, field: str, work: Callable[[_Asked], Awaitable[Message]], asked: _Asked
    ) -> None:
        """Does what only operators may ask for."""

        async def done() -> None:
            self._host.operators.check(self.credentials, self._groups)
            await self._answer(frame, field, work(asked))

        self._spawn(frame.request_id, done())

    def _on_list_pins(self, frame: ClientFrame) -> None:
        self._spawn(
            frame.request_id, self._answer(frame, "pins", self._host.operating.list_pins(frame.list_pins))
        )

    def _on_trace(self, frame: ClientFrame) -> None:
        self._spawn(frame.request_id, self._answer(frame, "traced", self._host.operating.trace(frame.trace)))

    async def _answer(self, frame: ClientFrame, field: str, work: Awaitable[Message]) -> None:
        answer = ServerFrame(request_id=frame.request_id)
        getattr(answer, field).CopyFrom(await work)
        getattr(answer, field).SetInParent()
        self._send(answer)

    def _on_cluster_status(self, frame: ClientFrame) -> None:
        self._spawn(frame.request_id, self._cluster_status(frame))

    async def _cluster_status(self, frame: ClientFrame) -> None:
        report = await self._host.cluster_status()
        self._send(ServerFrame(request_id=frame.request_id, cluster=report))

    def _spawn(self, request_id: int, work: Coroutine[Any, Any, None], url: str = "") -> None:
        if len(self._tasks) >= self._host.settings.limits.client_requests_max:
            work.close()  # it was never started
            self._fetches.pop(request_id, None)
            self.send_failure(
                request_id,
                SlowDown("too many requests of this client are under way (limits.client_requests_max)"),
            )
            return
        task = self._loop.create_task(self._guarded(request_id, work, url), name=f"{request_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # of a client that has gone before it began

    async def _guarded(self, request_id: int, work: Coroutine[Any, Any, None], url: str) -> None:
        try:
            await work
        except CashyError as error:
            self._host.counters.add("requests_failed")
            self._log_failure(request_id, url, error)
            self.send_failure(request_id, error)
        except Exception:
            _log.exception("request_crashed", client=self._label, request=request_id, url=url)
            self.send_failure(
                request_id, InternalError("the daemon failed at this request; its log has the details")
            )

    @property
    def _label(self) -> str:
        """For the log."""
        return f"{self.program}[{self.credentials.pid}]"

    def _log_failure(self, request_id: int, url: str, error: CashyError) -> None:
        """What is not the client's own fault, nor of the object itself."""
        if not url or isinstance(error, _NOBODYS_TROUBLE):
            return
        client = f"{self.program}[{self.credentials.pid}]"
        self._host.routes.log.warning(
            "request_failed",
            client,
            client=client,
            request=request_id,
            url=url,
            code=error.code,
            error=error.message,
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

    def send_file(self, request_id: int, block: int, length: int, tier: Tier, descriptor: int) -> None:
        """Hands a block's file out."""
        ready = BlockReady(block=block, length=length, tier=tier, mapped=True)
        self._send(ServerFrame(request_id=request_id, block_ready=ready), [descriptor])

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
    "list": ClientConnection._on_list,
    "change": ClientConnection._on_change,
    "evict": ClientConnection._on_evict,
    "pin": ClientConnection._on_pin,
    "unpin": ClientConnection._on_unpin,
    "list_pins": ClientConnection._on_list_pins,
    "trace": ClientConnection._on_trace,
}
