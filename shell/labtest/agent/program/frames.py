"""Frames: what both directions of a connection consist of. Bytes in, frames out; no descriptor, no clock.

A frame is a header of nine bytes (kind, request, length of the payload; big-endian) and a payload. JSON payloads are objects. Blobs are the bytes
themselves, so that a file is neither encoded nor copied on its way.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .limits import FRAME_BYTES_MAX

__all__ = ["Frame", "FrameError", "FrameReader", "pack_frame", "pack_header"]

_HEADER = struct.Struct(">BII")
HEADER_BYTES = _HEADER.size

#: The agent's first words, after whatever a login shell has printed.
MAGIC = b"\x00labtest-agent\x00"

# Kinds. From the agent unless it says so.
HELLO = 1  # JSON, once, before all else
REQUEST = 2  # JSON, to the agent: a new request
BLOB = 3  # bytes of a request, both ways
EVENT = 4  # JSON, one item of a request's answer, more to come
RESULT = 5  # JSON, ends the request
ERROR = 6  # JSON, ends the request
CANCEL = 7  # empty, to the agent: the request is not wanted any more; it is still answered
ACKNOWLEDGE = 8  # empty, to the agent: one EVENT has been consumed
BEAT = 9  # empty, both ways, request 0

_KINDS = frozenset(range(HELLO, BEAT + 1))


class FrameError(Exception):
    """What came is not in the protocol. Nothing can be read after it."""


class Frame(NamedTuple):
    """One frame, whole."""

    kind: int
    request: int
    payload: bytes


def pack_header(kind: int, request: int, length: int) -> bytes:
    """The header of a frame whose payload is sent after it."""
    return _HEADER.pack(kind, request, length)


def pack_frame(kind: int, request: int = 0, payload: bytes = b"") -> bytes:
    """A frame, whole."""
    if len(payload) > FRAME_BYTES_MAX:
        raise FrameError(f"a frame of {len(payload)} bytes: at most {FRAME_BYTES_MAX} are sent at once")
    return _HEADER.pack(kind, request, len(payload)) + payload


class FrameReader:
    """Takes a stream apart, however it was cut."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes | bytearray) -> list[Frame]:
        """The frames that are whole now. Raises :class:`FrameError`: the length is checked before anything is kept for it."""
        received = self._received
        received += data
        frames = []
        start = 0
        while len(received) - start >= HEADER_BYTES:
            kind, request, length = _HEADER.unpack_from(received, start)
            if kind not in _KINDS:
                raise FrameError(f"a frame of unknown kind {kind}")
            if length > FRAME_BYTES_MAX:
                raise FrameError(f"a frame of {length} bytes: at most {FRAME_BYTES_MAX} are taken")
            end = start + HEADER_BYTES + length
            if end > len(received):
                break
            frames.append(Frame(kind, request, bytes(received[start + HEADER_BYTES : end])))
            start = end
        del received[:start]
        return frames

    @property
    def is_between_frames(self) -> bool:
        """Whether nothing has come of the next frame yet."""
        return not self._received
