"""A small owner that speaks the control protocol over a real arena: a thread with a unix socket and objects made of numbers.

Stands in for the master where a test needs to decide what happens when (evict now, change the version, die, refuse). Everything shared is
real: arena, pin tables, descriptors, flocks, fence.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import crc32c
from google.protobuf.message import Message

from aviary.cashy.v1 import control_pb2 as pb
from cashy.core import meta_record, names
from shmipc.arena import ArenaOwner
from shmipc.channel import ServerChannel
from shmipc.instance import Instance
from shmipc.wire import FrameDecoder, encode_frame, receive, send_with_descriptors

__all__ = ["MiniMaster", "content_of"]

BLOCK = 64 * 1024
_ON_SOCKET = pb.ServerFrame(on_socket=pb.OnSocket()).SerializeToString()
_RECORD_CAPACITY = 4096


def content_of(name: str, size: int, version: int = 1) -> bytes:
    """The bytes of an object: 8-byte numbers, so that a block out of place shows."""
    seed = int.from_bytes(names.meta_digest(names.parse_name(name))[:4], "little") + version * 7919
    words = -(-size // 8)
    return b"".join(((seed + i) & (2**64 - 1)).to_bytes(8, "little") for i in range(words))[:size]


@dataclass
class _Object:
    data: bytes
    version: int
    content_id: bytes


@dataclass
class _Client:
    sock: socket.socket
    decoder: FrameDecoder = field(default_factory=FrameDecoder)
    held: dict[int, list[int]] = field(default_factory=dict)
    channel: ServerChannel | None = None
    queue: deque[bytes] = field(default_factory=deque)  # for its ring


class MiniMaster:
    """Owns an instance; ``blocks`` is how many data blocks its arena has. ``start``, ``kill`` and ``start`` again."""

    def __init__(self, folder: Path, *, blocks: int = 64, pin_blocks: int = 32) -> None:
        self.socket_path = str(folder / "cashy.sock")
        self.instance_name = f"{os.getpid()}-{folder.name[-24:]}".replace("_", "-").replace(".", "-")[:64]
        self.blocks = blocks
        self.pin_bytes_max = pin_blocks * BLOCK
        self.mappings_max = 1000
        self.private_bytes_max = 64 * BLOCK
        self.valid_s = 60.0
        self.objects: dict[str, _Object] = {}
        self.log: list[str] = []  # requests, as they came
        self.frozen_fetches = False  # fetches get their object and then nothing
        self.refuse: dict[str, pb.Failure] = {}
        self.ring_bytes = 4096
        self.channels = True  # clients that ask for a channel get one
        self.content_type = "application/x-numbers"
        self.by_socket = 0  # requests that came over the socket
        self.slow_fills = False  # streaming fetches are announced while they fill; ``grow`` fills them
        self._filling: list[tuple[_Client, int, int, int, bytes]] = []
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None

    # --- what tests do ---

    def put(self, name: str, size: int, version: int = 1) -> bytes:
        """Makes or replaces an object."""
        with self._lock:
            data = content_of(name, size, version)
            content = names.content_id("mini", name, f'"{version}"', BLOCK)
            self.objects[name] = _Object(data, version, content)
            digest = names.meta_digest(names.parse_name(name))
            if self._thread is not None and (slot := self.arena.find(digest)) >= 0:
                self.arena.invalidate(slot)
        return data

    def evict_all(self) -> int:
        """Evicts what nobody holds; returns how many slots stayed."""
        with self._lock:
            self.arena.tables.retire_abandoned()
            freed, held = self.arena.evict(self.arena.ready_slots())
            freed += self.arena.reclaim_retired()
            self._free_offsets.extend(f.offset for f in freed)
            for fields in freed:  # whoever still looked at it would see this
                memory = self.arena.segment.memory
                memory[fields.offset : fields.offset + fields.length] = b"\xee" * fields.length
            return len(held)

    def grow(self, watermark: int, *, complete: bool = False) -> None:
        """Fills what is being filled up to ``watermark`` and says so."""
        with self._lock:
            for client, request_id, index, slot, data in self._filling:
                self.arena.content(slot)[:watermark] = data[:watermark]
                self.arena.advance(slot, min(watermark, len(data)))
                if complete:
                    self.arena.publish(slot, crc32c.crc32c(data))
                progress = pb.BlockProgress(
                    block=index, watermark=min(watermark, len(data)), complete=complete
                )
                self._send(client, request_id, block_progress=progress)
                if complete:
                    self._send(client, request_id, fetch_done=pb.FetchDone())
            if complete:
                self._filling.clear()

    def abort_fills(self) -> None:
        """The origin broke off."""
        with self._lock:
            for client, request_id, _, slot, _ in self._filling:
                self.arena.abort(slot)
                self._fail(client, request_id, pb.Failure.ORIGIN_TIMEOUT, "the origin stopped sending")
            self._filling.clear()

    def requests(self, kind: str) -> int:
        """How many requests of a kind there were."""
        return sum(entry == kind for entry in self.log)

    def expire(self, name: str) -> None:
        """The metadata of ``name`` is no longer fresh."""
        with self._lock:
            self.arena.set_valid_until(self.arena.find(names.meta_digest(names.parse_name(name))), 0)

    def revalidate(self, name: str) -> None:
        """The origin was asked now, and the metadata of ``name`` is as it was."""
        now_ns = time.monotonic_ns()
        with self._lock:
            slot = self.arena.find(names.meta_digest(names.parse_name(name)))
            self.arena.set_valid_until(slot, now_ns + int(self.valid_s * 1e9), now_ns)

    # --- life ---

    def start(self) -> MiniMaster:
        """Opens the arena (or adopts it) and serves."""
        self.instance = Instance("minicashy", self.instance_name)
        self.instance.acquire()
        self.arena, self.adopted = ArenaOwner.open(
            self.instance, data_bytes=self.blocks * BLOCK, slab_bytes=BLOCK, slot_count=4 * self.blocks
        )
        geometry = self.arena.geometry
        taken = {
            self.arena.fields(s).offset for s in [*self.arena.ready_slots(), *self.arena.retired_slots()]
        }
        every = range(geometry.data_offset, geometry.total_bytes, BLOCK)
        self._free_offsets = deque(o for o in every if o not in taken)
        Path(self.socket_path).unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.socket_path)
        self._listener.listen()
        self._wake, self._stop = socket.socketpair()
        self._clients: dict[int, _Client] = {}
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def kill(self) -> None:
        """Dies without a word: sockets closed, lock freed, nothing else. The arena stays as it is."""
        if self._thread is None:
            return
        self._stop.send(b"x")
        self._thread.join(10)
        self._thread = None
        for client in self._clients.values():
            client.sock.close()
            if client.channel is not None:
                client.channel.close()
        for sock in (self._listener, self._wake, self._stop):
            sock.close()
        self.arena.close()
        self.instance.close()

    def remove(self) -> None:
        """Ends everything and unlinks the shared memory."""
        self.kill()
        instance = Instance("minicashy", self.instance_name)
        instance.acquire()
        instance.remove()
        instance.close()

    def _serve(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._listener, selectors.EVENT_READ)
        selector.register(self._wake, selectors.EVENT_READ)
        self._selector = selector
        while True:
            for key, _ in selector.select():
                if key.fileobj is self._wake:
                    selector.close()
                    return
                if key.fileobj is self._listener:
                    sock, _ = self._listener.accept()
                    self._clients[sock.fileno()] = _Client(sock)
                    selector.register(sock, selectors.EVENT_READ)
                    continue
                with self._lock:
                    client = key.data or self._clients[key.fd]
                    if client.sock.fileno() >= 0 and not self._read(client, over_socket=key.data is None):
                        self._drop(client)

    def _drop(self, client: _Client) -> None:
        for request_id in list(client.held):
            self._release(client, request_id)
        del self._clients[client.sock.fileno()]
        self._selector.unregister(client.sock)
        client.sock.close()
        if client.channel is not None:
            self._selector.unregister(client.channel)
            client.channel.close()
            client.channel = None  # and its memory with it

    def _read(self, client: _Client, *, over_socket: bool) -> bool:
        try:
            if not over_socket:
                assert client.channel is not None
                client.channel.drain()
                self._take_from_ring(client)
                self._fill_ring(client, client.channel)
                return True
            data = receive(client.sock, deque())
            for payload in client.decoder.feed(data):
                self._take_from_ring(client)
                self.by_socket += 1
                self._handle(client, pb.ClientFrame.FromString(payload))
        except OSError:
            return False
        return bool(data)

    def _take_from_ring(self, client: _Client) -> None:
        while client.channel is not None and (messages := client.channel.receive()):
            for payload in messages:
                self._handle(client, pb.ClientFrame.FromString(payload))

    # --- protocol ---

    def _send(self, client: _Client, request_id: int, fds: list[int] | None = None, **body: Message) -> None:
        payload = pb.ServerFrame(request_id=request_id, **body).SerializeToString()  # type: ignore[arg-type]
        channel = client.channel
        if channel is None or fds or len(payload) > channel.message_bytes_max:
            data = encode_frame(payload)
            try:
                sent = send_with_descriptors(client.sock, data, fds or [])
            finally:
                for fd in fds or []:
                    os.close(fd)
            if sent < len(data):
                client.sock.sendall(data[sent:])
            payload = _ON_SOCKET
        if channel is not None:
            client.queue.append(payload)
            self._fill_ring(client, channel)

    def _fill_ring(self, client: _Client, channel: ServerChannel) -> None:
        while client.queue and channel.send(client.queue[0]):
            client.queue.popleft()
        channel.flush()
        if client.queue:
            channel.want_room()

    def _fail(self, client: _Client, request_id: int, code: pb.Failure.Code, message: str) -> None:
        self._send(client, request_id, failure=pb.Failure(code=code, message=message))

    def _handle(self, client: _Client, frame: pb.ClientFrame) -> None:
        kind = frame.WhichOneof("body") or ""
        self.log.append(kind)
        if kind in self.refuse:
            self._send(client, frame.request_id, failure=self.refuse[kind])
            return
        getattr(self, f"_on_{kind}")(client, frame.request_id, getattr(frame, kind))

    def _on_hello(self, client: _Client, request_id: int, hello: pb.Hello) -> None:
        fds = [self.arena.segment.read_only_fd()]
        if hello.can_pin:
            fds.append(self.arena.tables.create()[1])
        welcome = pb.Welcome(
            protocol_version=1, arena_id=self.arena.arena_id, arena_bytes=self.arena.geometry.data_bytes,
            pin_bytes_max=self.pin_bytes_max, mappings_max=self.mappings_max, private_bytes_max=self.private_bytes_max,
            block_bytes=BLOCK, has_channel=hello.wants_channel and self.channels,
        )  # fmt: skip
        if not welcome.has_channel:
            self._send(client, request_id, fds, welcome=welcome)
            return
        channel = ServerChannel.create(ring_bytes=self.ring_bytes, client_waits="loop")
        fds += [os.dup(fd) for fd in channel.descriptors]
        channel.descriptors_sent()
        self._send(client, request_id, fds, welcome=welcome)
        client.channel = channel
        self._selector.register(channel, selectors.EVENT_READ, client)

    def _on_new_table(self, client: _Client, request_id: int, _: pb.NewTable) -> None:
        self._send(client, request_id, [self.arena.tables.create()[1]], table_granted=pb.TableGranted())

    def _on_stat(self, client: _Client, request_id: int, stat: pb.Stat) -> None:
        if (info := self._info(client, request_id, stat.name)) is not None:
            self._send(client, request_id, object=info)

    def _on_status(self, client: _Client, request_id: int, _: pb.Status) -> None:
        report = pb.StatusReport(instance="mini", pid=os.getpid(), arena_id=self.arena.arena_id)
        report.counters["free_slots"] = self.arena.free_slots
        self._send(client, request_id, status=report)

    def _on_prefetch(self, client: _Client, request_id: int, prefetch: pb.Prefetch) -> None:
        for name in prefetch.names:
            if name in self.objects:
                for index in range(-(-len(self.objects[name].data) // BLOCK)):
                    self._ready(self.objects[name], index)
        self._send(client, request_id, prefetch_accepted=pb.PrefetchAccepted(accepted=len(prefetch.names)))

    def _on_locate(self, client: _Client, request_id: int, locate: pb.Locate) -> None:
        info = self._info(client, request_id, locate.name)
        if info is None:
            return
        report = pb.LocateReport(object=info)
        for index in range(-(-info.size // BLOCK)):
            found = self.arena.find(names.block_digest(info.content_id, index)) >= 0
            report.tiers.append(pb.TIER_LOCAL_MEMORY if found else pb.TIER_UNSPECIFIED)
        self._send(client, request_id, located=report)

    def _info(self, client: _Client, request_id: int, name: str) -> pb.ObjectInfo | None:
        found = self.objects.get(name)
        if found is None:
            self._fail(client, request_id, pb.Failure.NO_SUCH_OBJECT, f"{name} does not exist")
            return None
        info = pb.ObjectInfo(
            content_id=found.content_id, size=len(found.data), block_bytes=BLOCK, version=f'"{found.version}"', last_modified=1.5,
            content_type=self.content_type, tier=pb.TIER_ORIGIN,
        )  # fmt: skip
        info.user_metadata.add(name="colour", value="blue")
        digest = names.meta_digest(names.parse_name(name))
        valid_until = time.monotonic_ns() + int(self.valid_s * 1e9)
        slot = self.arena.find(digest)
        if slot < 0:
            slot = self._fill(digest, meta_record.encode(info), meta_record.KIND_META)
        self.arena.set_valid_until(slot, valid_until, time.monotonic_ns())
        return info

    def _fill(self, digest: bytes, data: bytes, kind: int) -> int:
        if not self._free_offsets:
            self.evict_all()
        offset = self._free_offsets.popleft()
        slot = self.arena.lease(digest, offset, BLOCK, len(data), kind)
        self.arena.content(slot)[:] = data
        self.arena.publish(slot, crc32c.crc32c(data))
        return slot

    def _ready(self, found: _Object, index: int) -> tuple[int, int]:
        digest = names.block_digest(found.content_id, index)
        slot = self.arena.find(digest)
        if slot >= 0:
            return slot, pb.TIER_LOCAL_MEMORY
        return self._fill(
            digest, found.data[index * BLOCK : (index + 1) * BLOCK], meta_record.KIND_BLOCK
        ), pb.TIER_ORIGIN

    def _on_fetch(self, client: _Client, request_id: int, fetch: pb.Fetch) -> None:
        info = self._info(client, request_id, fetch.name)
        if info is None:
            return
        if fetch.content_id and fetch.content_id != info.content_id:
            self._fail(client, request_id, pb.Failure.VERSION_CHANGED, f"{fetch.name} was replaced")
            return
        self._send(client, request_id, object=info)
        if self.frozen_fetches:
            return
        if fetch.streaming and self.slow_fills:
            self._begin_fill(client, request_id, fetch)
            return
        held = client.held.setdefault(request_id, [])
        last = min(fetch.first_block + fetch.block_count, -(-info.size // BLOCK))
        for index in reversed(range(fetch.first_block, last)):  # in any order
            try:
                slot, tier = self._ready(self.objects[fetch.name], index)
            except IndexError:
                self._fail(client, request_id, pb.Failure.ARENA_FULL, "every slot is pinned")
                return
            self.arena.hold(slot)
            held.append(slot)
            ready = pb.BlockReady(
                block=index, slot=slot, generation=self.arena.generation(slot), length=self.arena.fields(slot).length,
                tier=tier,  # type: ignore[arg-type]
            )  # fmt: skip
            if fetch.streaming:
                ready.filling = True
                self._send(client, request_id, block_ready=ready)
                progress = pb.BlockProgress(block=index, watermark=ready.length, complete=True)
                self._send(client, request_id, block_progress=progress)
            else:
                self._send(client, request_id, block_ready=ready)
        self._send(client, request_id, fetch_done=pb.FetchDone())

    def _begin_fill(self, client: _Client, request_id: int, fetch: pb.Fetch) -> None:
        found, index = self.objects[fetch.name], fetch.first_block
        data = found.data[index * BLOCK : (index + 1) * BLOCK]
        digest = names.block_digest(found.content_id, index)
        slot = self.arena.lease(
            digest, self._free_offsets.popleft(), BLOCK, len(data), meta_record.KIND_BLOCK
        )
        self.arena.hold(slot)
        client.held.setdefault(request_id, []).append(slot)
        self._filling.append((client, request_id, index, slot, data))
        ready = pb.BlockReady(
            block=index, slot=slot, generation=self.arena.generation(slot), length=len(data), filling=True, tier=pb.TIER_ORIGIN
        )  # fmt: skip
        self._send(client, request_id, block_ready=ready)

    def _on_release(self, client: _Client, request_id: int, _: pb.Release) -> None:
        self._release(client, request_id)

    def _release(self, client: _Client, request_id: int) -> None:
        for slot in client.held.pop(request_id, []):
            self.arena.unhold(slot)
