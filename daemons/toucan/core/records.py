"""Events as bytes: the payload of a journal record and of a broadcast message.

Law: one record holds what one request led to, so it is there as a whole or not at all; its events are numbered in a row. The same bytes go to the
journal and to whoever follows the engine. MessagePack by msgspec, each event tagged with its name: a reader of an older version says clearly
which event it does not know, instead of applying half of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from toucan.core.events import Event

__all__ = ["UnreadableRecord", "decode", "encode"]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Event])


class UnreadableRecord(ValueError):
    """Not a record's payload, or one of a newer version."""


def encode(events: Sequence[Event]) -> bytes:
    """A record's payload."""
    return _encoder.encode(events)


def decode(payload: bytes | bytearray | memoryview) -> list[Event]:
    """The events of a payload. Raises :class:`UnreadableRecord`."""
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise UnreadableRecord(f"a record that this version cannot read: {error}") from error
