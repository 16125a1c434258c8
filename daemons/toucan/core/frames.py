"""Messages as bytes between two processes of ours: a frame is a length (u32, big-endian) and one message in MessagePack.

Law: bytes and messages, no socket; which messages there are is said by whoever has the decoder. Nothing is allocated for a length that was not
checked, and one reader keeps at most one unfinished frame. Every violation is a :class:`WireError` and final: behind a wrong frame no other one can
be found. Fields that this version does not know are ignored, so that a newer side can say more; unknown messages and enum members are violations,
since ignoring an order is not possible.

Rejected: the framing of gRPC or WebSocket, which two processes of one host do not need; JSON, which costs three times as much.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import msgspec

__all__ = ["FRAME_BYTES_MAX", "FrameReader", "WireError", "encode_all"]

#: A message has hundreds of bytes; depth of twenty levels a thousand more, and a table of thousands of instruments some hundred thousand. A longer
#: frame is not one of ours.
FRAME_BYTES_MAX = 1 << 20

_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()
_T = TypeVar("_T")


class WireError(ValueError):
    """The other side does not speak this protocol; the connection is of no more use."""


def encode_all(messages: Iterable[msgspec.Struct]) -> bytes:
    """One frame for each message, one behind the other. Raises :class:`WireError` if one is too long for a frame."""
    out = bytearray()
    for message in messages:
        start = len(out)
        out += b"\0\0\0\0"
        _encoder.encode_into(message, out, start + _LENGTH.size)
        length = len(out) - start - _LENGTH.size
        if length > FRAME_BYTES_MAX:
            raise WireError(f"a message of {length:,} bytes; a frame holds {FRAME_BYTES_MAX:,} at most")
        _LENGTH.pack_into(out, start, length)
    return bytes(out)


class FrameReader(Generic[_T]):
    """Takes a stream apart, however it is cut."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[_T]) -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[_T]:
        """Gives the messages that are complete with these bytes, one at a time; it must be exhausted before more is fed.

        Raises :class:`WireError` where a frame is wrong, after the messages before it; then nothing more can be read.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if not 0 < length <= FRAME_BYTES_MAX:
                raise WireError(f"a frame of {length:,} bytes; it may have 1 to {FRAME_BYTES_MAX:,}")
            following = start + _LENGTH.size + length
            if following > len(buffer):
                break
            yield self._decode(bytes(memoryview(buffer)[start + _LENGTH.size : following]))
            start = following
        del buffer[:start]

    def _decode(self, payload: bytes) -> _T:
        try:
            return self._decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise WireError(f"a frame is no message of this protocol: {error}") from None
