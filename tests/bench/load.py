"""The load generator: a process of its own that replays prepared requests over keep-alive connections.

It is as lean as Python allows, so that the server is what is measured: requests are bytes made beforehand, one epoll, one ``recv_into`` per
arrival, and of an answer only its status and Content-Length are read. Peers get the same generator, so that its cost is equal for both.
Commands are JSON lines on standard input, answers JSON lines on standard output.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from .signing import plain_requests, signed_request, signed_requests

__all__ = ["main", "replay"]

#: How long nothing may arrive before the run is given up.
SILENCE_S = 30.0


class _Connection:
    """An open connection: ``left`` body bytes of the answer are still to come, ``seen`` is the part of a head that came alone."""

    __slots__ = ("left", "receive_into", "seen", "send", "socket")

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=SILENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A timeout would cost a poll(2) before every call; epoll says when there is something, and a request fits the send buffer.
        self.socket.settimeout(None)
        self.receive_into = self.socket.recv_into
        self.send = self.socket.send
        self.left = 0
        self.seen = b""

    def take(self, buffer: bytearray, count: int) -> int:
        """``count`` bytes have come into ``buffer``; returns how many of them are body."""
        if self.left:
            self.left -= count
            return count
        head_end = buffer.find(b"\r\n\r\n", 0, count)
        if head_end < 0 or self.seen:
            return self._take_in_pieces(bytes(buffer[:count]))
        body = count - head_end - 4
        self.left = _body_length(bytes(buffer[: head_end + 2])) - body
        return body

    def _take_in_pieces(self, piece: bytes) -> int:
        self.seen += piece
        head, found, body = self.seen.partition(b"\r\n\r\n")
        if not found:
            return 0
        self.seen = b""
        self.left = _body_length(head + b"\r\n") - len(body)
        return len(body)


class LoadError(Exception):
    """A server answered with something else than the object."""


def _body_length(head: bytes) -> int:
    if not head.startswith(b"HTTP/1.1 200 "):
        raise LoadError(f"the server answered {head[:200].decode(errors='replace')!r}")
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    if at < 0:
        raise LoadError("an answer without Content-Length")
    return int(lower[at + 17 : lower.find(b"\r\n", at + 17)])


def replay(
    host: str, port: int, requests: Iterator[bytes], *, connections: int, buffer_bytes: int
) -> tuple[float, int]:
    """Sends all requests, one at a time per connection; returns the seconds it took and the body bytes that came."""
    opened: dict[int, _Connection] = {}
    try:
        for _ in range(connections):
            made = _Connection(host, port)
            opened[made.socket.fileno()] = made
        return _exchange(opened, requests, bytearray(buffer_bytes))
    finally:
        for connection in opened.values():
            connection.socket.close()


def _exchange(
    opened: dict[int, _Connection], requests: Iterator[bytes], buffer: bytearray
) -> tuple[float, int]:
    received = busy = 0
    with select.epoll() as poll:
        for fd in opened:
            poll.register(fd, select.EPOLLIN)
        started = time.perf_counter()
        for connection, request in zip(opened.values(), requests, strict=False):
            connection.send(request)
            busy += 1
        while busy:
            events = poll.poll(SILENCE_S)
            if not events:
                raise LoadError(f"nothing arrived for {SILENCE_S:.0f} s")
            for fd, _ in events:
                connection = opened[fd]
                count = connection.receive_into(buffer)
                if not count:
                    raise LoadError("the server closed a connection")
                received += connection.take(buffer, count)
                if connection.left or connection.seen:
                    continue
                request = next(requests, b"")
                if request:
                    connection.send(request)
                else:
                    busy -= 1
        return time.perf_counter() - started, received


def _fetch(connection: socket.socket, request: bytes, buffer: bytearray) -> tuple[str, float, float, int]:
    """One GET of an object that is not empty, over an open connection: digest, seconds to the first body byte, seconds in all, length."""
    digest = hashlib.blake2b(digest_size=16)
    started = time.perf_counter()
    connection.sendall(request)
    received = head = body = b""
    while not body:
        count = connection.recv_into(buffer)
        if not count:
            raise LoadError("the server closed a connection")
        received += buffer[:count]
        head, _, body = received.partition(b"\r\n\r\n")
    first = time.perf_counter() - started
    length = _body_length(head + b"\r\n")
    digest.update(body)
    left = length - len(body)
    with memoryview(buffer) as view:
        while left:
            count = connection.recv_into(buffer)
            if not count:
                raise LoadError("the server closed a connection")
            digest.update(view[:count])
            left -= count
    return digest.hexdigest(), first, time.perf_counter() - started, length


class _Generator:
    """State between commands: where to, and the requests that are ready."""

    def __init__(self) -> None:
        self._target: dict[str, Any] = {}
        self._requests: list[bytes] = []

    def _one(self, key: str) -> bytes:
        target = self._target
        host = f"{target['host']}:{target['port']}"
        if target["access_key"]:
            return signed_request(
                host, target["bucket"], key, access_key=target["access_key"], secret=target["secret"]
            )
        return plain_requests(host, target["bucket"], [key], 1)[0]

    def target(self, **target: Any) -> dict[str, Any]:
        """host, port, bucket, access_key and secret ("" = unsigned)."""
        self._target = target
        return {}

    def prepare(self, keys: list[str], count: int) -> dict[str, Any]:
        """Makes requests with fresh dates."""
        target = self._target
        host = f"{target['host']}:{target['port']}"
        if target["access_key"]:
            self._requests = signed_requests(
                host, target["bucket"], keys, count, access_key=target["access_key"], secret=target["secret"]
            )
        else:
            self._requests = plain_requests(host, target["bucket"], keys, count)
        return {"count": len(self._requests)}

    def run(self, connections: int, buffer_bytes: int) -> dict[str, Any]:
        """Replays what was prepared, once."""
        requests, self._requests = iter(self._requests), []
        seconds, received = replay(
            self._target["host"],
            self._target["port"],
            requests,
            connections=connections,
            buffer_bytes=buffer_bytes,
        )
        return {"seconds": seconds, "bytes": received}

    def fetch(self, keys: list[str], warm_key: str | None = None) -> dict[str, Any]:
        """GETs each key over one connection (opened, and used for ``warm_key``, before the clock runs)."""
        buffer = bytearray(1 << 20)
        found = []
        with socket.create_connection((self._target["host"], self._target["port"]), timeout=SILENCE_S) as one:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if warm_key is not None:
                _fetch(one, self._one(warm_key), buffer)
            for key in keys:
                digest, first_s, total_s, length = _fetch(one, self._one(key), buffer)
                found.append({"digest": digest, "first_s": first_s, "total_s": total_s, "bytes": length})
        return {"objects": found}


def main() -> None:
    """Serves commands until standard input ends."""
    generator = _Generator()
    os.sched_setaffinity(0, {int(sys.argv[1])})
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(generator, command.pop("do"))(**command)
        except (LoadError, OSError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
