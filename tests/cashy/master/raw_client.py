"""A client that is nothing but frames, over the socket and through rings; and a host to try it on."""

from __future__ import annotations

import json
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from tests.readable import readable

from aviary.cashy.v1.control_pb2 import ClientFrame, Hello, ServerFrame, Status
from cashy.limits import PROTOCOL_VERSION
from shmipc.channel import ClientChannel
from shmipc.wire import FrameDecoder, encode_frame, receive

__all__ = ["Host", "RawClient", "RawRingClient", "host"]


class RawClient:
    """Frames over the socket, nothing else."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self.decoder = FrameDecoder()
        self.frames: deque[ServerFrame] = deque()
        self.descriptors: deque[int] = deque()

    def send(self, frame: ClientFrame) -> None:
        self.socket.sendall(encode_frame(frame.SerializeToString()))

    def next(self) -> ServerFrame:
        while not self.frames:
            data = receive(self.socket, self.descriptors)
            if not data:
                raise EOFError
            self.frames.extend(ServerFrame.FromString(frame) for frame in self.decoder.feed(data))
        return self.frames.popleft()

    def hello(self, *, can_pin: bool = True, version: int = PROTOCOL_VERSION) -> ServerFrame:
        self.send(
            ClientFrame(request_id=1, hello=Hello(protocol_version=version, can_pin=can_pin, program="test"))
        )
        return self.next()

    def counters(self) -> dict[str, int]:
        self.send(ClientFrame(request_id=99, status=Status()))
        return dict(self.next().status.counters)

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RawRingClient(RawClient):
    """The same with a channel. ``send`` and ``next`` are the ring; ``over_socket`` sends there. ``memory`` is all of the channel's, to be spoilt."""

    channel: ClientChannel | None = None

    def hello(self, *, can_pin: bool = False, version: int = PROTOCOL_VERSION) -> ServerFrame:
        greeting = Hello(protocol_version=version, can_pin=can_pin, program="ring", wants_channel=True)
        self.over_socket(ClientFrame(request_id=1, hello=greeting))
        welcome = super().next()
        assert welcome.welcome.has_channel
        fds = [self.descriptors.pop() for _ in range(3)][::-1]
        self.memory = mmap.mmap(fds[0], 0)
        self.channel = ClientChannel.attach(fds)
        self.of_ring: deque[ServerFrame] = deque()
        return welcome

    def over_socket(self, frame: ClientFrame) -> None:
        super().send(frame)

    def send(self, frame: ClientFrame) -> None:
        assert self.put(frame.SerializeToString())

    def put(self, payload: bytes) -> bool:
        """Any message, at once; False if the ring is full."""
        assert self.channel is not None
        is_put = self.channel.send(payload)
        self.channel.flush()
        return is_put

    def next(self) -> ServerFrame:
        """The next frame of the ring, or of the socket where the ring says so. Raises EOFError when the daemon has closed."""
        assert self.channel is not None
        while not self.of_ring:
            self.channel.drain()
            self.of_ring.extend(map(ServerFrame.FromString, self.channel.receive()))
            if not self.of_ring:
                self.wait()
        frame = self.of_ring.popleft()
        return super().next() if frame.HasField("on_socket") else frame

    def wait(self, timeout_s: float = 20) -> None:
        """Waits for a wake-up; raises EOFError when the daemon has closed."""
        assert self.channel is not None
        own = self.channel.fileno()
        ready = readable(self.socket.fileno(), own, timeout_s=timeout_s)
        if not ready:
            raise TimeoutError
        if own not in ready and not self.socket.recv(1, socket.MSG_PEEK):
            raise EOFError

    def close(self) -> None:
        if self.channel is not None:
            self.channel.close()
            self.memory.close()
        super().close()


class Host(NamedTuple):
    """A host over a folder: its socket, the folder, the master's pid."""

    path: Path
    folder: Path
    pid: int


@contextmanager
def host(place: Path, limits: str = "") -> Iterator[Host]:
    """A host with small limits (and further ones), of which ``place`` keeps the files. Its bucket b has an object x of four blocks."""
    folder = place / "origin"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "x").write_bytes(bytes(range(256)) * 1024)
    config = place / "cashy.toml"
    path = place / "cashy.sock"
    config.write_text(
        "[limits]\nclients_max = 50\nclient_requests_max = 20\n"
        + limits
        + '[memory]\nsize = "4MiB"\nblock_size = "64KiB"\n'
    )
    command = [
        sys.executable, "-m", "cashy", "dev", "--config", str(config), "--origin", f"file={folder}", "--socket", str(path),
        "--s3-workers", "0",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["ready"]
        with RawClient(path) as client:
            client.hello()
            client.send(ClientFrame(request_id=2, status=Status()))
            status = client.next().status
        yield Host(path, folder, status.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        process.stdout.close()  # type: ignore[union-attr]
