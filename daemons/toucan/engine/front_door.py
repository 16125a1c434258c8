"""Where front ends come in: a thread that greets them, gives each a channel, and notices when one has died.

The loop hears of it by its inbox (:class:`FrontJoined`, :class:`FrontLeft`) and never touches a socket.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from shmipc.channel import ServerChannel
from shmipc.errors import ShmError
from shmipc.wire import FrameDecoder, encode_frame, peer_credentials, send_with_descriptors
from toucan.engine.handshake import Greeting, Hello
from toucan.limits import FRONT_RING_BYTES, FRONTS_MAX, HANDSHAKE_TIMEOUT_S, PROTOCOL_VERSION

__all__ = ["Front", "FrontDoor", "FrontJoined", "FrontLeft"]

_log = structlog.get_logger(__name__)
_hello = msgspec.msgpack.Decoder(Hello)


class Front:
    """A front end: its channel, and the answers that have no room in it yet. The loop's thread alone uses it."""

    def __init__(self, number: int, name: str, channel: ServerChannel) -> None:
        self.number = number
        self.name = name
        self.channel = channel
        self.backlog: list[bytes] = []


class FrontJoined(msgspec.Struct, frozen=True):
    """A front end is there."""

    front: Front


class FrontLeft(msgspec.Struct, frozen=True):
    """A front end is gone."""

    number: int


class FrontDoor:
    """Listens on a unix socket that only the engine's own user may open.

    ``greeting`` gives what a front end is told (any thread), ``descriptors`` what goes with it beside the channel's; ``deliver`` takes
    what the loop shall hear of (any thread).
    """

    def __init__(
        self,
        path: Path,
        greeting: Callable[[], Greeting],
        descriptors: list[int],
        deliver: Callable[[FrontJoined | FrontLeft], None],
    ) -> None:
        self._path = path
        self._greeting = greeting
        self._descriptors = descriptors
        self._deliver = deliver
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._listener = _listen(path)
        self._numbers = 0
        self._open: dict[socket.socket, int] = {}
        self._to_drop: set[int] = set()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="front-door", daemon=True)

    def start(self) -> None:
        """Front ends are let in from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Lets nobody in any more and lets go of those who are in."""
        self._is_stopping = True
        self._wake.send(b"x")
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def drop(self, number: int) -> None:
        """Cuts a front end off; any thread."""
        self._to_drop.add(number)
        self._wake.send(b"x")

    def _run(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        while not self._is_stopping:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._woken:
                    self._woken.recv(64)
                else:
                    self._end_if_over(key.fileobj)  # type: ignore[arg-type]
            for sock in [sock for sock, number in self._open.items() if number in self._to_drop]:
                self._end(sock)
        for sock in [*self._open]:
            self._end(sock)
        for one in (self._listener, self._wake, self._woken):
            one.close()
        self._selector.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError as error:  # out of descriptors, or gone again
            _log.warning("front end not accepted", error=str(error))
            return
        try:
            self._greet(sock)
        except (OSError, ShmError, ValueError, msgspec.MsgspecError) as error:
            _log.warning("front end refused", error=str(error))
            sock.close()

    def _greet(self, sock: socket.socket) -> None:
        # One after the other: front ends are this user's own processes, few, and say hello at once.
        sock.settimeout(HANDSHAKE_TIMEOUT_S)
        credentials = peer_credentials(sock)
        hello = _hello.decode(_one_frame(sock))
        problem = self._problem(hello, credentials.uid)
        if problem:
            sock.sendall(encode_frame(msgspec.msgpack.encode(Greeting(PROTOCOL_VERSION, error=problem))))
            raise ValueError(problem)
        self._numbers += 1
        channel = ServerChannel.create(ring_bytes=FRONT_RING_BYTES, client_waits="loop")
        try:
            greeting = encode_frame(msgspec.msgpack.encode(self._greeting()))
            sent = send_with_descriptors(sock, greeting, [*channel.descriptors, *self._descriptors])
            if sent < len(greeting):
                sock.sendall(greeting[sent:])
            channel.descriptors_sent()
        except BaseException:
            channel.close()
            raise
        front = Front(self._numbers, hello.name, channel)
        sock.setblocking(False)
        self._open[sock] = front.number
        self._selector.register(sock, selectors.EVENT_READ)
        self._deliver(FrontJoined(front))
        _log.info("front end joined", front=hello.name, number=front.number, pid=credentials.pid)

    def _problem(self, hello: Hello, uid: int) -> str:
        if hello.protocol != PROTOCOL_VERSION:
            return f"front end {hello.name!r} speaks protocol {hello.protocol}, the engine {PROTOCOL_VERSION}: update the older one"
        if uid != os.geteuid():
            return f"front end {hello.name!r} runs as user {uid}, the engine as {os.geteuid()}: they must be the same"
        if len(self._open) >= FRONTS_MAX:
            return f"{FRONTS_MAX} front ends are connected, which is the most there can be"
        return ""

    def _end_if_over(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(sock)

    def _end(self, sock: socket.socket) -> None:
        number = self._open.pop(sock)
        self._to_drop.discard(number)
        self._selector.unregister(sock)
        sock.close()
        self._deliver(FrontLeft(number))
        _log.info("front end left", number=number)


def _listen(path: Path) -> socket.socket:
    # The journal's lock is held: whoever left this socket behind is dead.
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(FRONTS_MAX)
    listener.setblocking(False)
    return listener


def _one_frame(sock: socket.socket) -> bytes:
    decoder = FrameDecoder()
    while True:
        data = sock.recv(4096)
        if not data:
            raise ConnectionError("it went before it had said hello")
        frames = decoder.feed(data)
        if frames:
            return frames[0]
