"""Messages of streams, put together from parts that were encoded once for all watchers.

In protobuf's encoding (https://protobuf.dev/programming-guides/encoding) a message is its fields one after the other, and a repeated message field is
each element with a tag and a length before it. So an update is encoded once, as a *piece* (tag, length and all), and each watcher's message is
the pieces that are meant for him, joined, and some small fields of his own. Field numbers are taken from the generated code.
"""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from aviary.toucan.v1 import toucan_pb2 as pb

__all__ = [
    "drop_copy_event",
    "drop_copy_response",
    "market_data_piece",
    "market_data_response",
    "market_trades_piece",
    "order_update_piece",
    "position_piece",
    "session_updates",
    "watch_orders_response",
    "watch_positions_response",
]


def _tag(message: type[Message], name: str) -> bytes:
    field = message.DESCRIPTOR.fields_by_name[name]
    is_message = field.type == FieldDescriptor.TYPE_MESSAGE
    return _varint(field.number << 3 | (2 if is_message else 0))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _length_delimited(tag: bytes, body: bytes) -> bytes:
    return tag + _varint(len(body)) + body


_UPDATES = _tag(pb.WatchOrdersResponse, "updates")
_ORDERS_SEQ = _tag(pb.WatchOrdersResponse, "seq")
_IS_SNAPSHOT = _tag(pb.WatchOrdersResponse, "is_snapshot") + b"\1"
_IS_SNAPSHOT_END = _tag(pb.WatchOrdersResponse, "is_snapshot_end") + b"\1"
_CONFLATED = _tag(pb.WatchOrdersResponse, "conflated")
_ORDERS_STALE = _tag(pb.WatchOrdersResponse, "is_stale") + b"\1"
_POSITIONS = _tag(pb.WatchPositionsResponse, "positions")
_POSITIONS_SEQ = _tag(pb.WatchPositionsResponse, "seq")
_POSITIONS_STALE = _tag(pb.WatchPositionsResponse, "is_stale") + b"\1"
_MARKET_DATA = _tag(pb.WatchMarketDataResponse, "market_data")
_MARKET_TRADES = _tag(pb.WatchMarketDataResponse, "trades")
_STALE_SYMBOLS = _varint(
    pb.WatchMarketDataResponse.DESCRIPTOR.fields_by_name["stale_symbols"].number << 3 | 2
)
_MARKET_STALE = _tag(pb.WatchMarketDataResponse, "is_stale") + b"\1"
_DROP_EVENTS = _tag(pb.DropCopyResponse, "events")
_DROP_SEQ = _tag(pb.DropCopyResponse, "seq")
_DROP_GAP = _tag(pb.DropCopyResponse, "gap_until_seq")
_DROP_STALE = _tag(pb.DropCopyResponse, "is_stale") + b"\1"
_SESSION_UPDATES = _tag(pb.SessionResponse, "updates")


def order_update_piece(update: Message) -> bytes:
    """An OrderUpdate, for :func:`watch_orders_response`."""
    return _length_delimited(_UPDATES, update.SerializeToString())


def watch_orders_response(
    updates: Iterable[bytes],
    seq: int,
    *,
    is_snapshot: bool = False,
    is_snapshot_end: bool = False,
    conflated: int = 0,
    is_stale: bool = False,
) -> bytes:
    """A WatchOrdersResponse; ``updates`` are pieces."""
    parts = [*updates]
    if seq:
        parts.append(_ORDERS_SEQ + _varint(seq))
    if is_snapshot:
        parts.append(_IS_SNAPSHOT)
    if is_snapshot_end:
        parts.append(_IS_SNAPSHOT_END)
    if conflated:
        parts.append(_CONFLATED + _varint(conflated))
    if is_stale:
        parts.append(_ORDERS_STALE)
    return b"".join(parts)


def session_updates(response: bytes) -> bytes:
    """A SessionResponse with a WatchOrdersResponse in it."""
    return _length_delimited(_SESSION_UPDATES, response)


def position_piece(position: Message) -> bytes:
    """A Position, for :func:`watch_positions_response`."""
    return _length_delimited(_POSITIONS, position.SerializeToString())


def watch_positions_response(positions: Iterable[bytes], seq: int, is_stale: bool) -> bytes:
    """A WatchPositionsResponse; ``positions`` are pieces."""
    parts = [*positions]
    if seq:
        parts.append(_POSITIONS_SEQ + _varint(seq))
    if is_stale:
        parts.append(_POSITIONS_STALE)
    return b"".join(parts)


def market_data_piece(market_data: Message) -> bytes:
    """A MarketData, for :func:`market_data_response`."""
    return _length_delimited(_MARKET_DATA, market_data.SerializeToString())


def market_trades_piece(trades: Message) -> bytes:
    """A MarketTrades, for :func:`market_data_response`."""
    return _length_delimited(_MARKET_TRADES, trades.SerializeToString())


def market_data_response(pieces: Iterable[bytes], stale_symbols: Iterable[str]) -> bytes:
    """A WatchMarketDataResponse; ``pieces`` are of market data and of trades."""
    parts = [*pieces]
    stale = [_length_delimited(_STALE_SYMBOLS, symbol.encode()) for symbol in stale_symbols]
    if stale:
        parts += [_MARKET_STALE, *stale]
    return b"".join(parts)


def drop_copy_event(event: Message) -> bytes:
    """A DropCopyEvent, for :func:`drop_copy_response`."""
    return _length_delimited(_DROP_EVENTS, event.SerializeToString())


def drop_copy_response(events: Iterable[bytes], seq: int, gap_until_seq: int | None, is_stale: bool) -> bytes:
    """A DropCopyResponse; ``events`` are pieces."""
    parts = [*events]
    if seq:
        parts.append(_DROP_SEQ + _varint(seq))
    if gap_until_seq is not None:
        parts.append(_DROP_GAP + _varint(gap_until_seq))
    if is_stale:
        parts.append(_DROP_STALE)
    return b"".join(parts)
