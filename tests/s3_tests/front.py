"""What stands before cashy in a run of ceph/s3-tests: it asks twice, or asks two hosts, where the tests ask one endpoint once.

Law. A request goes on byte for byte (its signature covers the Host header, which stays that of this front) but for its framing: bodies are read
whole, ``100 Continue`` is said here. What is asked decides to whom: what reads (GET, HEAD) goes to ``reading``, the rest to ``writing``. With
``asks_twice`` every read is sent twice, and the second answer, which is the cache's, is the one that the test sees.
"""

from __future__ import annotations

import http.client
import socket
import socketserver
import threading
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

__all__ = ["Front"]

_READS = (b"GET", b"HEAD")


class _Source(Protocol):
    """What is needed of a connection's file."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self, size: int = ..., /) -> bytes: ...


class Front:
    """Listens on a port of its own; a context manager."""

    def __init__(self, *, reading: str, writing: str, asks_twice: bool = False) -> None:
        self._reading, self._writing = _address(reading), _address(writing)
        self._asks_twice = asks_twice
        front = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                try:
                    while front.serve_one(self.rfile, self.connection):
                        pass
                except (OSError, ValueError, http.client.HTTPException):
                    pass  # one of the two ends is gone: so is the other

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve_one(self, source: _Source, connection: socket.socket) -> bool:
        """Carries one request and its answer; False at the end of the connection."""
        head = _read_head(source)
        if not head:
            return False
        method = head.partition(b" ")[0]
        lines = head.split(b"\r\n")
        if any(line.lower().startswith(b"expect:") for line in lines):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = b"\r\n".join(line for line in lines if not line.lower().startswith(b"expect:"))
        length = _length(head)
        body = b"" if length is None else _read_body(source, head, length)
        is_read = method in _READS
        address = self._reading if is_read else self._writing
        if is_read and self._asks_twice:
            _ask(address, head + body, method.decode())
        connection.sendall(_ask(address, head + body, method.decode()))
        return length is not None


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def _read_head(source: _Source) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = source.readline(65_536)
        if not line:
            return b""
        head += line
    return head


def _fields(head: bytes) -> dict[bytes, bytes]:
    return dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)


def _length(head: bytes) -> int | None:
    """Of the body; None if it is nonsense, which is not ours to answer: then nothing more is read."""
    text = _fields(head).get(b"content-length", b"0").strip()
    return int(text) if text.isdigit() else None


def _read_body(source: _Source, head: bytes, length: int) -> bytes:
    if b"chunked" in _fields(head).get(b"transfer-encoding", b""):
        body = b""
        while True:
            line = source.readline(65_536)
            size_bytes = int(line.partition(b";")[0], 16)
            body += line + source.read(size_bytes) + source.readline()
            if not size_bytes:
                return body
    return source.read(length)


def _ask(address: tuple[str, int], request: bytes, method: str) -> bytes:
    """Asks on a connection of its own, and gives the answer with its length known."""
    with socket.create_connection(address, timeout=120) as connection:
        try:
            connection.sendall(request)
        except ConnectionError:
            pass  # refused before its end: the answer says why
        answer = http.client.HTTPResponse(connection, method=method)
        try:
            answer.begin()
            body = answer.read()
            headers = [(name, value) for name, value in answer.getheaders() if _is_passed(name)]
            if method == "HEAD" and (length := answer.getheader("Content-Length")) is not None:
                headers.append(("Content-Length", length))
            elif method != "HEAD" and answer.status not in (204, 304):
                headers.append(("Content-Length", str(len(body))))
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
            head = f"HTTP/1.1 {answer.status} {answer.reason}\r\n{lines}\r\n"
            return head.encode("latin-1") + body
        finally:
            answer.close()


def _is_passed(name: str) -> bool:
    return name.lower() not in ("connection", "content-length", "keep-alive", "transfer-encoding")
