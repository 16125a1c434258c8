"""A store of a real socket that keeps what it was sent, byte for byte, and answers as a test says."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from cashy.setting_values import HttpUrl
from cashy.settings import S3OriginSettings

__all__ = ["Received", "ScriptedStore", "answer", "read_body"]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Received:
    """One request as it came. ``is_whole``: its body came to the end that its head announced."""

    head: bytes
    connection: int
    peer: socket.socket
    body: bytearray = field(default_factory=bytearray)
    is_whole: bool = False

    @property
    def line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:-2]
        names = [line.partition(": ")[0] for line in lines]
        assert len(set(names)) == len(names), "a header twice"
        return dict(line.split(": ", 1) for line in lines)

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", "0"))


Behave = Callable[[Received], None]


def read_body(request: Received) -> None:
    """Takes the body, a chunked one with its framing; gives up when its sender does."""
    if request.headers.get("transfer-encoding") == "chunked":
        while not request.body.endswith(b"0\r\n\r\n"):
            data = request.peer.recv(1 << 20)
            if not data:
                return
            request.body += data
    while len(request.body) < request.length:
        try:
            data = request.peer.recv(min(1 << 20, request.length - len(request.body)))
        except ConnectionError:
            return
        if not data:
            return
        request.body += data
    request.is_whole = True


def answer(data: bytes = OK) -> Behave:
    """Takes the body and says this."""

    def behave(request: Received) -> None:
        read_body(request)
        if request.is_whole:
            request.peer.sendall(data)

    return behave


class ScriptedStore:
    """A context manager. ``behave`` is called for each request, in the thread of its connection."""

    def __init__(self, behave: Behave, *, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self._tls = tls
        self.requests: list[Received] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.port: int = self._listener.getsockname()[1]
        self.settings = S3OriginSettings(
            url=HttpUrl(f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}")
        )

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer, self.connections))
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: socket.socket, number: int) -> None:
        with peer:
            try:
                if self._tls is not None:
                    peer = self._tls.wrap_socket(peer, server_side=True)
                    self._sockets.append(peer)
                while head := self._read_head(peer):
                    request = Received(head, number, peer)
                    self.requests.append(request)
                    self.behave(request)
            except OSError:
                pass  # closed by the other side, or by a test
            finally:
                peer.close()

    def _read_head(self, peer: socket.socket) -> bytes:
        head = bytearray()
        while not head.endswith(b"\r\n\r\n"):
            byte = peer.recv(1)  # never a byte of the body
            if not byte:
                return b""
            head += byte
        return bytes(head)

    def __enter__(self) -> ScriptedStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self._sockets:
            try:
                peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
