"""Frames and descriptors over a unix stream socket.

Law: a frame is a 4-byte little-endian length and that many bytes, at most :data:`~shmipc.limits.FRAME_BYTES_MAX`; descriptors ride on the first byte
of the frame that announces them (``SCM_RIGHTS``). :class:`FrameDecoder` is sans-I/O; the rest are thin calls around ``sendmsg`` and ``recvmsg``.
What the peer is, the kernel says (``SO_PEERCRED``), not the peer.
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections import deque
from typing import NamedTuple

from shmipc.errors import HandshakeError
from shmipc.limits import FRAME_BYTES_MAX, FRAME_DESCRIPTORS_MAX

__all__ = [
    "FrameDecoder",
    "PeerCredentials",
    "encode_frame",
    "peer_credentials",
    "receive",
    "send_with_descriptors",
]

_LENGTH = struct.Struct("<I")
_CREDENTIALS = struct.Struct("=iII")


class PeerCredentials(NamedTuple):
    """Who is on the other end of a unix socket, as of its connect."""

    pid: int
    uid: int
    gid: int


def peer_credentials(sock: socket.socket) -> PeerCredentials:
    """The kernel's word on the peer (``SO_PEERCRED``, unix(7))."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return PeerCredentials._make(_CREDENTIALS.unpack(raw))


def encode_frame(payload: bytes) -> bytes:
    """The bytes of one frame; raises ``HandshakeError`` if it is too large."""
    if len(payload) > FRAME_BYTES_MAX:
        raise HandshakeError(f"a frame has at most {FRAME_BYTES_MAX:,} bytes, this one {len(payload):,}")
    return _LENGTH.pack(len(payload)) + payload


class FrameDecoder:
    """Turns received bytes into frames; sans-I/O. Holds at most one incomplete frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """The frames completed by ``data``; raises ``HandshakeError`` on an impossible length (garbage)."""
        self._buffer += data
        frames: list[bytes] = []
        at = 0
        while len(self._buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, at)
            if length > FRAME_BYTES_MAX:
                raise HandshakeError(
                    f"the peer announced a frame of {length:,} bytes (limit {FRAME_BYTES_MAX:,}): it does not speak this protocol"
                )
            end = at + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            frames.append(bytes(self._buffer[at + _LENGTH.size : end]))
            at = end
        if at:
            del self._buffer[:at]
        return frames

    @property
    def is_between_frames(self) -> bool:
        """Whether the peer could close here without cutting a frame."""
        return not self._buffer


def send_with_descriptors(sock: socket.socket, data: bytes, descriptors: list[int]) -> int:
    """Sends ``data`` with ``descriptors`` on its first byte; returns how many bytes went (the rest goes without)."""
    assert len(descriptors) <= FRAME_DESCRIPTORS_MAX
    return socket.send_fds(sock, [data], descriptors)


def receive(sock: socket.socket, descriptors: deque[int], size: int = 65536) -> bytes:
    """Receives up to ``size`` bytes; descriptors that came with them are appended (close-on-exec). ``b""`` = closed by the peer."""
    ancillary = socket.CMSG_SPACE(FRAME_DESCRIPTORS_MAX * array.array("i").itemsize)
    data, messages, flags, _ = sock.recvmsg(size, ancillary, socket.MSG_CMSG_CLOEXEC)
    received = array.array("i")
    for level, kind, raw in messages:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received.frombytes(raw[: len(raw) - len(raw) % received.itemsize])
    descriptors.extend(received)
    if flags & socket.MSG_CTRUNC or len(descriptors) > FRAME_DESCRIPTORS_MAX:
        while descriptors:
            os.close(descriptors.popleft())
        raise HandshakeError(f"the peer sent more than {FRAME_DESCRIPTORS_MAX} descriptors")
    return data
