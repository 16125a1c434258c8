"""What engine and front end say on the unix socket before everything goes over shared memory.

One frame each way, by :mod:`shmipc.wire`: :class:`Hello` from the front end; :class:`Greeting` from the engine, with five or more descriptors:
those of the channel (:attr:`shmipc.channel.ServerChannel.descriptors`), the doorbell, the log of events, the log of market data. After that the
socket is only the sign of life: whoever sees it end knows that the other side has died.
"""

from __future__ import annotations

import struct

import msgspec

from toucan.core.instruments import Instrument
from toucan.core.venue_messages import Book, Quote

__all__ = ["EVENT_HEAD", "Greeting", "Hello", "MarketMessage", "decode_market", "encode_market"]

#: Head of a message in the log of events: first sequence number, number of events, time (ns since the epoch). Its payload is a journal record's.
EVENT_HEAD = struct.Struct("<QIq")


class Hello(msgspec.Struct, frozen=True):
    """Who connects."""

    protocol: int
    name: str


class Greeting(msgspec.Struct, frozen=True):
    """What a front end needs to follow; ``error`` set: it was refused, and there are no descriptors."""

    protocol: int
    error: str = ""
    #: Folder of the journal, for what the log does not hold any more.
    journal: str = ""
    #: The journal's own name, hex; another one is another history.
    journal_id: str = ""
    epoch: int = 0
    #: Everything up to it is durable.
    committed_seq: int = 0
    base_currency: str = ""
    instruments: tuple[Instrument, ...] = ()
    ring_bytes: int = 0


MarketMessage = Quote | Book
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[MarketMessage] = msgspec.msgpack.Decoder(MarketMessage)


def encode_market(message: MarketMessage) -> bytes:
    """A message of the market log."""
    return _encoder.encode(message)


def decode_market(data: bytes) -> MarketMessage:
    """The opposite."""
    return _decoder.decode(data)
