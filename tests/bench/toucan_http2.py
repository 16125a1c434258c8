"""As little of gRPC's client side as a load generator needs: HTTP/2 (RFC 9113) with requests whose bytes were made beforehand.

A real client library costs as much CPU per call as the server does; sixteen of them on one core would be what is measured. Headers are sent without
compression (RFC 7541, 6.2.2), so that equal headers are equal bytes; those of answers are not read: an answer is good if it has a message, which
gRPC sends only with an OK.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Final

__all__ = ["Http2Connection", "Http2Error"]

#: How long nothing may arrive before the run is given up.
SILENCE_S = 30.0

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA: Final = 0
_HEADERS: Final = 1
_RESET: Final = 3
_SETTINGS: Final = 4
_PING: Final = 6
_GOAWAY: Final = 7
_WINDOW_UPDATE: Final = 8
_ACK = 0x1
_END_STREAM = 0x1
_END_HEADERS = 0x4
_INITIAL_WINDOW_SIZE = 4
_WINDOW_MAX = (1 << 31) - 1
_WINDOW_FIRST = 65_535
_FRAME_HEAD_BYTES = 9
#: Before each message of gRPC: whether it is compressed, and its length.
_PREFIX = struct.Struct(">BI")
_RECEIVE_BYTES = 1 << 18


class Http2Error(Exception):
    """The server did not do what was asked of it."""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _text(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()


def _header_block(authority: str, path: str) -> bytes:
    """POST and http from the static table (RFC 7541, appendix A), the rest literally."""
    return b"".join(
        (
            b"\x83\x86\x04", _text(path), b"\x01", _text(authority),
            b"\x0f\x10", _text("application/grpc"), b"\x00", _text("te"), _text("trailers"),
        )
    )  # fmt: skip


class Http2Connection:
    """One connection; ``on_message(stream, message)`` and ``on_end(stream)`` are called by :meth:`receive`."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=SILENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.on_message: Callable[[int, bytes], None] = lambda stream, message: None
        self.on_end: Callable[[int], None] = lambda stream: None
        self._authority = address
        self._next_stream = 1
        self._seen = b""
        #: Of messages that have come in part, by stream.
        self._parts: dict[int, bytes] = {}
        # What the server sends is never held back: the windows are as large as can be.
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, _WINDOW_MAX)
        window = (_WINDOW_MAX - _WINDOW_FIRST).to_bytes(4, "big")
        self.socket.sendall(
            _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, window)
        )

    def close(self) -> None:
        """At once; calls under way are broken off."""
        self.socket.close()

    def call(self, path: str, message: bytes) -> tuple[int, bytes]:
        """A call with one message: its stream, and the bytes to be sent. Calls are sent in the order in which they are made."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        head = _frame(_HEADERS, _END_HEADERS, stream, _header_block(self._authority, path))
        body = _PREFIX.pack(0, len(message)) + message
        return stream, head + _frame(_DATA, _END_STREAM, stream, body)

    def send(self, call: bytes) -> None:
        """Sends what :meth:`call` has made. Few are under way at a time and all are small, so the server's own windows are never in the way."""
        self.socket.sendall(call)

    def receive(self) -> None:
        """Waits for bytes and takes them in."""
        data = self.socket.recv(_RECEIVE_BYTES)
        if not data:
            raise Http2Error("the server closed a connection")
        seen = self._seen + data if self._seen else data
        at, end = 0, len(seen)
        while end - at >= _FRAME_HEAD_BYTES:
            body = at + _FRAME_HEAD_BYTES
            following = body + int.from_bytes(seen[at : at + 3], "big")
            if following > end:
                break
            stream = int.from_bytes(seen[at + 5 : body], "big")
            self._take(seen[at + 3], seen[at + 4], stream, seen[body:following])
            at = following
        self._seen = seen[at:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._take_data(stream, payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self.socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self.socket.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _GOAWAY:
            raise Http2Error(f"the server goes away: {payload[8:200]!r}")
        if kind == _RESET or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
            self.on_end(stream)

    def _take_data(self, stream: int, payload: bytes) -> None:
        data = self._parts.pop(stream, b"") + payload
        while len(data) >= _PREFIX.size:
            is_compressed, length = _PREFIX.unpack_from(data)
            if len(data) < _PREFIX.size + length:
                break
            if is_compressed:
                raise Http2Error("a compressed message, which nobody asked for")
            self.on_message(stream, data[_PREFIX.size : _PREFIX.size + length])
            data = data[_PREFIX.size + length :]
        if data:
            self._parts[stream] = data
