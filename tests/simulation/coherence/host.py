"""A simulated machine: the real master over a real arena, and real client sessions, joined by simulated connections.

What is replaced is only what carries bytes: the socket between a client and the master (:class:`SimulatedLink`, :class:`SimulatedClientConnection`),
the peers, the origin. A master that is killed leaves its arena behind, and the next one takes it over.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast

from google.protobuf.message import Message

from cashy.client.connection import adopt_welcome
from cashy.client.link import AnswerQueue, Link
from cashy.client.session import AsyncSession
from cashy.client.session_core import SessionCore
from cashy.core.allowed_clients import EVERYBODY
from cashy.core.peer_greeting import PeerIdentity
from cashy.errors import CashyError, ConfigError, NotConnected
from cashy.hosts_file import HostList
from cashy.limits import HELLO_TIMEOUT_S
from cashy.master.cluster import Cluster
from cashy.master.host import Host
from cashy.master.membership import HostMemory, Membership
from cashy.master.server import ClientConnection, ClientServer
from cashy.peer.client import Peer
from cashy.peer.service import PeerService
from cashy.setting_values import Address, BlockSize, ByteSize, HttpUrl
from cashy.settings import (
    ClusterSettings,
    FreshnessSettings,
    InstanceSettings,
    LimitsSettings,
    MemorySettings,
    PeerSettings,
    S3OriginSettings,
    Settings,
)
from shmipc.instance import Instance
from shmipc.wire import FrameDecoder, PeerCredentials, encode_frame

from .network import Network, SimulatedPeer
from .process import Clock, Process
from .store import BLOCK_BYTES, ModelStore, SimulatedOrigin

__all__ = ["Client", "SimulatedHost", "host_list"]

_ARENA_BYTES = 24 * BLOCK_BYTES
_ORIGIN = "store"
#: How often a host looks at its file, and for how long it deals with those that have left.
_LOOK_S, _HANDOVER_S, _DRAIN_S = 0.3, 4.0, 3.0


def _address(name: str) -> Address:
    return Address(f"127.0.0.1:{ord(name)}")


def host_list(version: int, names: tuple[str, ...], gone: tuple[str, ...] = ()) -> HostList:
    """A list as it would stand in a file."""
    peers = tuple(PeerSettings(name=name, address=_address(name)) for name in names)
    return HostList(version=version, host_count=len(peers), peers=peers, gone=gone)


def _settings(name: str, instance: str, hosts: list[str], lease_s: float, fresh_s: float) -> Settings:
    return Settings(
        instance=InstanceSettings(name=instance),
        memory=MemorySettings(size_bytes=ByteSize(_ARENA_BYTES), block_bytes=BlockSize(BLOCK_BYTES)),
        limits=LimitsSettings(client_requests_max=256),
        freshness=FreshnessSettings(revalidate_after_s=fresh_s),
        origins=(S3OriginSettings(url=HttpUrl("http://store.invalid"), name=_ORIGIN),),
        cluster=ClusterSettings(
            host=name if len(hosts) > 1 else None, lease_s=lease_s, local_copies="always"
        ),
        peers=tuple(PeerSettings(name=each, address=_address(each)) for each in hosts)
        if len(hosts) > 1
        else (),
    )


class SimulatedHost:
    """One machine."""

    def __init__(
        self, name: str, clock: Clock, hosts: list[str], network: Network, store: ModelStore, *, lease_s: float, fresh_s: float
    ) -> None:  # fmt: skip
        self.name = name
        self.clock = clock
        self.network = network
        self.store = store
        self.loop = network.loop
        self.settings = _settings(name, f"sim-{os.getpid()}-{name}", hosts, lease_s, fresh_s)
        #: The master's process while it lives; what it consists of; and its side for the other hosts.
        self.master: Process | None = None
        self.host: Host | None = None
        self.service: PeerService | None = None
        self.server: Any = None
        self.clients: list[Client] = []
        #: The file of hosts on its disk; None: the list stands in the settings.
        self.file: HostList | None = None
        self.is_cut_off = False
        self._starts = 0
        self._instance: Instance | None = None
        self._owners: list[Host] = []
        network.hosts[name] = self

    # --- the master ---

    def start_master(self) -> None:
        """Starts a master, if there is none; it takes over what the last one left."""
        if self.master is not None:
            return
        self._starts += 1
        self.master = Process(f"master {self.name}{self._starts}", self.clock)
        self.loop.add(self.master)
        self.loop.call_in(self.master, 0, self._run_master, self.master)

    def _run_master(self, process: Process) -> None:
        instance = Instance("cashysim", self.settings.instance.name)
        instance.acquire()
        self._instance = instance
        origin = SimulatedOrigin(_ORIGIN, self.store, process)
        memory = HostMemory(instance.folder)
        source = _File(self) if self.file is not None else None
        cluster = self._make_cluster(process, memory.first_list(source))
        self.host = host = Host(self.settings, instance, {_ORIGIN: origin}, cluster)
        if source is not None:
            assert host.coherence is not None
            host.membership = Membership(source, host.coherence, memory, host.counters)
        if cluster is not None:
            cluster.when_changed.append(self._end_connections)
        self._owners.append(host)
        self.service = host.for_peers
        self.server = _Server(host)
        host.start()

    def _make_cluster(self, process: Process, listed: HostList | None) -> Cluster | None:
        if len(self.settings.peers) < 2 and listed is None:
            return None
        identity = PeerIdentity(cluster="simulated", host=self.name, key=b"k" * 32, block_bytes=BLOCK_BYTES)
        return _SimulatedCluster(self, process, listed or self.settings.peers, identity)

    def lets_in(self, name: str) -> bool:
        """Whether another host may connect."""
        return self.host is not None and self.host.cluster is not None and name in self.host.cluster.peers

    def _end_connections(self) -> None:
        for connection in list(self.network.connections):
            if connection.server_process is self.master and not self.lets_in(connection.client.own_name):
                connection.cut()

    def reboot(self) -> None:
        """Its processes end and its memory is lost; the file of hosts stays."""
        self.kill_master()
        for client in self.clients:
            client.kill()
        instance = Instance("cashysim", self.settings.instance.name)
        instance.acquire()
        instance.remove()
        instance.close()

    def kill_master(self) -> None:
        """SIGKILL: its memory is lost, its locks and connections are let go of by the kernel; the arena stays as it is."""
        process, self.master = self.master, None
        if process is None:
            return
        self.loop.kill(process)
        self.server, self.host, self.service = None, None, None
        if self._instance is not None:
            self._instance.close()
            self._instance = None
        self.network.process_gone(process)
        for client in self.clients:
            for link in client.links:
                if link.master is process:
                    link.cut_by_server()

    def close(self) -> None:
        """Removes what the machine has left in shared memory."""
        for client in self.clients:
            client.close()
        for owner in self._owners:
            with suppress(BufferError, ValueError):
                owner.store.close()
        instance = self._instance
        if instance is None:
            instance = Instance("cashysim", self.settings.instance.name)
            instance.acquire()
        instance.remove()
        instance.close()


class _SimulatedCluster(Cluster):
    """The real one over simulated connections."""

    def __init__(self, host: SimulatedHost, process: Process, hosts: Any, identity: PeerIdentity) -> None:
        self._host = host
        self._process = process
        settings = host.settings.cluster
        super().__init__(
            hosts, identity, peers_tried=settings.peers_tried, read_timeout_s=settings.read_timeout_s, handover_s=_HANDOVER_S,
            drain_s=_DRAIN_S,
        )  # fmt: skip

    def connect(self, settings: PeerSettings) -> Peer:
        """A connection of the simulated network."""
        peer = SimulatedPeer(self._host.network, self.own_name, settings.name, self._process, BLOCK_BYTES)
        peer.address = (str(settings.address.host), settings.address.port)
        return cast(Peer, peer)


class _File:
    """A host's file of hosts, as a :class:`~cashy.master.membership.MembershipSource`."""

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host

    def read(self) -> HostList:
        assert self._host.file is not None
        return self._host.file

    async def lists(self) -> AsyncIterator[HostList | ConfigError]:
        seen = None
        while True:
            if self._host.file is not seen:
                seen = self._host.file
                yield self.read()
            await asyncio.sleep(_LOOK_S)

    def look_again(self) -> None:
        """It looks often enough."""


class _Server:
    """Stands for :class:`cashy.master.server.ClientServer`: what connections need of it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.allowed = EVERYBODY
        self.connections: set[SimulatedClientConnection] = set()

    def forget(self, connection: SimulatedClientConnection) -> None:
        self.connections.discard(connection)


class _Wire:
    """Stands for :class:`cashy.master.client_wire.ClientWire`."""

    def __init__(self, link: SimulatedLink) -> None:
        self._link = link

    def send(self, frame: bytes, descriptors: list[int]) -> None:
        self._link.to_client(frame, list(descriptors))

    def close(self) -> None:
        self._link.cut_by_server()


class SimulatedClientConnection(ClientConnection):
    """The master's side of a client's connection, without a socket."""

    def __init__(self, server: _Server, link: SimulatedLink) -> None:
        self.link = link
        self._server = cast(ClientServer, server)
        self._host = server.host
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._is_greeted = False
        self._fetches = {}
        self._changing = Counter()
        self._tasks = set()
        self._readers = OrderedDict()
        self.credentials = PeerCredentials(os.getpid(), os.getuid(), os.getgid())
        self._groups = ()
        self.program = ""
        self._wire = cast(Any, _Wire(link))
        self._hello_timer = self._loop.call_later(HELLO_TIMEOUT_S, self._on_no_hello)
        server.connections.add(self)

    def take_frame(self, data: bytes) -> None:
        if not self._is_closed:
            self._on_frame(data)


class SimulatedLink:
    """A client's connection to its master, as :class:`cashy.client.link.Link`; both ends of it."""

    def __init__(self, client: Client, host: SimulatedHost) -> None:
        self.core = SessionCore(can_pin=True, program=client.process.name)
        self.sinks: dict[int, AnswerQueue] = {}
        self.lost: asyncio.Future[str] = client.loop.create_future()
        self._client = client
        self._loop = client.loop
        assert host.master is not None
        self.master = host.master
        self._server: _Server = host.server
        self._connection: SimulatedClientConnection | None = None
        self._decoder = FrameDecoder()
        self._due_ns = {True: 0, False: 0}
        self._is_cut = False
        self._post(True, self._accept)

    def _post(self, to_server: bool, callback: Any, *args: Any) -> None:
        """In order, and soon: both are on one machine."""
        loop = self._loop
        due_ns = max(self._due_ns[to_server], loop.true_ns + self._client.delay_ns()) + 1
        self._due_ns[to_server] = due_ns
        loop.call_in(
            self.master if to_server else self._client.process, due_ns - loop.true_ns, callback, *args
        )

    # --- the client's end ---

    def hello(self) -> AnswerQueue:
        queue: AnswerQueue = asyncio.Queue()
        self.sinks[1] = queue
        for frame in self._decoder.feed(self.core.hello()):
            self._post(True, self._to_server, frame)
        return queue

    def request(self, body: Message) -> tuple[int, AnswerQueue]:
        if self.lost.done():
            raise NotConnected(self.lost.result())
        request_id, frame = self.core.request(body)
        queue: AnswerQueue = asyncio.Queue()
        self.sinks[request_id] = queue
        self._post(True, self._to_server, frame)
        return request_id, queue

    def release(self, request_id: int) -> None:
        self.sinks.pop(request_id, None)
        if not self.lost.done():
            self._post(True, self._to_server, self.core.release(request_id))

    def _to_client(self, frame: bytes, descriptors: list[int]) -> None:
        if self.lost.done():
            _close_all(descriptors)
            return
        framed = encode_frame(frame)
        self._client.in_flight.difference_update(descriptors)
        waiting = deque(descriptors)
        for answer in self.core.feed(framed, waiting):
            queue = self.sinks.get(answer.request_id)
            if queue is None:
                _close_all(answer.descriptors)
                continue
            queue.put_nowait(answer)
            if answer.is_last:
                self.sinks.pop(answer.request_id, None)
        _close_all(waiting)

    def close(self, reason: str) -> None:
        """The client leaves, or has noticed that the master has gone."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        for queue in self.sinks.values():
            queue.put_nowait(NotConnected(f"the connection was lost: {reason}"))
        self.sinks.clear()
        if not self._is_cut:
            self._is_cut = True
            self._post(True, self._client_gone)

    def cut_by_client(self) -> None:
        """The client has died."""
        if not self._is_cut:
            self._is_cut = True
            self._post(True, self._client_gone)

    # --- the master's end ---

    def _accept(self) -> None:
        self._connection = SimulatedClientConnection(self._server, self)

    def _to_server(self, frame: bytes) -> None:
        if self._connection is not None:
            self._connection.take_frame(frame)

    def _client_gone(self) -> None:
        if self._connection is not None:
            self._connection.close("the client has closed the connection")

    def to_client(self, frame: bytes, descriptors: list[int]) -> None:
        if self._is_cut:
            _close_all(descriptors)
        else:
            self._client.in_flight.update(descriptors)
            self._post(False, self._to_client, frame, descriptors)

    def cut_by_server(self) -> None:
        """The master has died, or dropped the client."""
        if not self._is_cut:
            self._is_cut = True
            self._post(False, self.close, "the daemon closed the connection")


def _close_all(descriptors: Any) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class SimulatedSession(AsyncSession):
    """A real session over a simulated link."""

    def __init__(self, client: Client) -> None:
        super().__init__("simulated", program=client.process.name, timeout_s=client.timeout_s)
        self._client = client

    async def _connect(self) -> None:
        host = self._client.host
        if host.server is None or host.master is None:
            raise NotConnected("no daemon answers")
        link = SimulatedLink(self._client, host)
        self._client.links.append(link)
        as_link = cast(Link, link)
        try:
            self._arena, _ = adopt_welcome(await self.next_answer(as_link.hello()), self._arena)
        except BaseException:
            link.close("it was not greeted")
            raise
        self._link = as_link
        self._connected.set()


class Client:
    """A process that reads and writes through its machine's master: a job, or an S3 worker."""

    def __init__(self, host: SimulatedHost, name: str, *, timeout_s: float) -> None:
        self.host = host
        self.loop = host.loop
        self.timeout_s = timeout_s
        self.links: list[SimulatedLink] = []
        #: Descriptors that are on their way to this process.
        self.in_flight: set[int] = set()
        self.session: SimulatedSession | None = None
        self.process = Process(name, host.clock)
        self._draw = host.network.draw(name, "master")
        self.loop.add(self.process)
        host.clients.append(self)

    def delay_ns(self) -> int:
        """How long a message to the master or back takes."""
        return int(20_000 + self._draw.random() * 200_000)

    async def connect(self) -> None:
        """Connects, however long that takes; to be called in the client's process."""
        session = SimulatedSession(self)
        while True:
            try:
                await session._connect()
                break
            except CashyError:
                await asyncio.sleep(0.1)
        session._keeper = asyncio.create_task(session._keep_connected())
        self.session = session

    def kill(self) -> None:
        """SIGKILL: its connection and its pin table are let go of by the kernel."""
        self.loop.kill(self.process)
        for link in self.links:
            link.cut_by_client()
        self.close()

    def close(self) -> None:
        session, self.session = self.session, None
        if session is not None and session._arena is not None:
            session._arena.drop_table()
        _close_all(self.in_flight)
        self.in_flight.clear()
