"""The streams without their sockets: from which event to go on, what is news, and what a snapshot means.

Law: no channel, no clock, no thread. A stream object outlives its connections: each time one is made, :meth:`request` says what to ask for, and
:meth:`take` turns what comes into a batch. What it has told it does not tell again, and what it has not told it asks for; that is all of "no gap and
no repeat". A message is taken whole or (when :meth:`take` raises) not at all, so that one which speaks of an unknown instrument can be taken again.

Resuming: the server goes on after the last event that was told, if it still keeps it. If not, a snapshot comes: how every order stands that matches.
Of that only what has changed since is news; the whole of it is in the batch, for those who keep a picture (:class:`~toucan.client.blotter.Blotter`).
A snapshot that turns out older than what was told before can only be of another engine's history (its data were replaced), and all of it is news.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.client import decode
from toucan.client.decode import Find
from toucan.client.values import DropCopyEvent, DropCopyGap, MarketData, OrderUpdate, Position

__all__ = [
    "Batch",
    "DropCopyBatch",
    "DropCopyStream",
    "MarketDataBatch",
    "MarketDataStream",
    "OrderBatch",
    "OrderResume",
    "OrderStream",
    "PositionBatch",
    "PositionStream",
    "Stream",
]

_ORDER_ENTRY = "/aviary.toucan.v1.OrderEntryService/"
_Item = TypeVar("_Item")
_Item_co = TypeVar("_Item_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Generic[_Item]):
    """One message of a stream; often it only says that all is well."""

    #: What was not told before.
    news: tuple[_Item, ...]
    #: The front end does not follow the engine at the moment: what it tells may be old.
    is_stale: bool
    #: Everything up to this event is told; 0 where the stream has no such number.
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBatch(Batch[OrderUpdate]):
    """``updates``: all of the message, in a snapshot also those that were told before."""

    updates: tuple[OrderUpdate, ...]
    is_snapshot: bool
    #: The first and the last message of a snapshot.
    is_snapshot_begin: bool
    is_snapshot_end: bool
    #: Updates that the server left out because this client was too slow.
    conflated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionBatch(Batch[Position]):
    """``positions``: all of the message; of the first message of a connection (``is_snapshot``) all there are."""

    positions: tuple[Position, ...]
    is_snapshot: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketDataBatch(Batch[MarketData]):
    """``stale_symbols``: those of which nothing is heard at the moment, for whatever reason."""

    stale_symbols: tuple[str, ...]


DropCopyBatch = Batch[DropCopyEvent | DropCopyGap]
_Batch_co = TypeVar("_Batch_co", bound=Batch[Any], covariant=True)


class Stream(Protocol[_Batch_co]):
    """What a pump needs to know of a stream."""

    method: str
    response_type: type[Message]

    def request(self) -> Message:
        """Begins a connection: what to ask for."""

    def take(self, response: Any, find: Find) -> _Batch_co:
        """What a message says."""


class OrderResume:
    """Where in the history of orders one is; of :class:`OrderStream` and of a session's own updates."""

    def __init__(self, after_seq: int | None) -> None:
        #: Everything up to here was told; None: nothing yet.
        self.after_seq = after_seq
        self._is_in_snapshot = False
        #: Told of a snapshot that has not ended: by order, the event that changed it last.
        self._told_of_snapshot: dict[int, int] = {}
        #: Of that snapshot, what was told before it.
        self._known: list[OrderUpdate] = []

    def begin(self) -> None:
        """A connection begins; a snapshot that had not ended counts for nothing."""
        self._is_in_snapshot = False
        self._known = []

    def take(self, response: pb.WatchOrdersResponse, find: Find) -> OrderBatch:
        """What a message says."""
        is_begin = response.is_snapshot and not self._is_in_snapshot
        is_snapshot = response.is_snapshot or self._is_in_snapshot or response.is_snapshot_end
        updates = tuple(
            decode.update_of(update, find, is_snapshot=is_snapshot) for update in response.updates
        )
        news = self._changed(updates) if is_snapshot else self._later(updates)
        self._is_in_snapshot = is_snapshot and not response.is_snapshot_end
        if response.is_snapshot_end:
            if response.seq < (self.after_seq or 0):
                news = (*self._known, *news)
            self.after_seq, self._known, self._told_of_snapshot = response.seq, [], {}
        elif not is_snapshot:
            # A front end that lags behind the one before it has nothing new to say.
            self.after_seq = max(self.after_seq or 0, response.seq)
        return OrderBatch(
            news=news,
            updates=updates if is_snapshot else news,
            seq=response.seq,
            is_snapshot=is_snapshot,
            is_snapshot_begin=is_begin,
            is_snapshot_end=response.is_snapshot_end,
            is_stale=response.is_stale,
            conflated=response.conflated,
        )

    def _changed(self, updates: Iterable[OrderUpdate]) -> tuple[OrderUpdate, ...]:
        told, partly = self.after_seq or 0, self._told_of_snapshot
        news = []
        for update in updates:
            order = update.order
            if order.updated_seq > max(told, partly.get(order.order_id, -1)):
                partly[order.order_id] = order.updated_seq
                news.append(update)
            else:
                self._known.append(update)
        return tuple(news)

    def _later(self, updates: Iterable[OrderUpdate]) -> tuple[OrderUpdate, ...]:
        told = self.after_seq or 0
        return tuple(update for update in updates if update.seq > told)


class OrderStream:
    """WatchOrders. Without ``with_snapshot`` only what happens from now on is told."""

    method = _ORDER_ENTRY + "WatchOrders"
    response_type: type[Message] = pb.WatchOrdersResponse

    def __init__(
        self, wanted: pb.OrderFilter, *, after_seq: int | None = None, with_snapshot: bool = True
    ) -> None:
        self._filter = wanted
        self._with_snapshot = with_snapshot
        self._resume = OrderResume(after_seq)

    def request(self) -> pb.WatchOrdersRequest:
        """Begins a connection: what to ask for."""
        self._resume.begin()
        told = self._resume.after_seq
        # Once something was told, a snapshot is the only way to learn what was missed.
        return pb.WatchOrdersRequest(
            filter=self._filter,
            after_seq=told,
            without_snapshot=not self._with_snapshot and told is None,
        )

    def take(self, response: pb.WatchOrdersResponse, find: Find) -> OrderBatch:
        """What a message says."""
        return self._resume.take(response, find)


class PositionStream:
    """WatchPositions: each connection begins with all of them; what is as it was is no news."""

    method = _ORDER_ENTRY + "WatchPositions"
    response_type: type[Message] = pb.WatchPositionsResponse

    def __init__(self, request: pb.WatchPositionsRequest) -> None:
        self._request = request
        self._told: dict[tuple[str, str, str], Position] = {}
        self._is_first = True

    def request(self) -> pb.WatchPositionsRequest:
        """Begins a connection: what to ask for."""
        self._is_first = True
        return self._request

    def take(self, response: pb.WatchPositionsResponse, find: Find) -> PositionBatch:
        """What a message says."""
        positions = tuple(decode.position_of(message, find) for message in response.positions)
        news = tuple(position for position in positions if self._told.get(_place(position)) != position)
        self._told.update((_place(position), position) for position in positions)
        is_first, self._is_first = self._is_first, False
        return PositionBatch(
            news=news,
            positions=positions,
            seq=response.seq,
            is_stale=response.is_stale,
            is_snapshot=is_first,
        )


def _place(position: Position) -> tuple[str, str, str]:
    return position.account, position.trader, position.symbol


class MarketDataStream:
    """WatchMarketData: always the newest, so there is nothing to resume."""

    method = _ORDER_ENTRY + "WatchMarketData"
    response_type: type[Message] = pb.WatchMarketDataResponse

    def __init__(self, request: pb.WatchMarketDataRequest) -> None:
        self._request = request

    def request(self) -> pb.WatchMarketDataRequest:
        """Begins a connection: what to ask for."""
        return self._request

    def take(self, response: pb.WatchMarketDataResponse, find: Find) -> MarketDataBatch:
        """What a message says."""
        news = tuple(decode.market_data_of(message, find) for message in response.market_data)
        return MarketDataBatch(
            news=news, is_stale=response.is_stale, stale_symbols=tuple(response.stale_symbols)
        )


class DropCopyStream:
    """DropCopy. A gap in what the front end still keeps is told as a :class:`~toucan.client.values.DropCopyGap`, never passed over."""

    method = _ORDER_ENTRY + "DropCopy"
    response_type: type[Message] = pb.DropCopyResponse

    def __init__(self, accounts: Iterable[str], *, after_seq: int | None = None) -> None:
        self._accounts = list(accounts)
        self._after_seq = after_seq

    def request(self) -> pb.DropCopyRequest:
        """Begins a connection: what to ask for."""
        return pb.DropCopyRequest(after_seq=self._after_seq, accounts=self._accounts)

    def take(self, response: pb.DropCopyResponse, find: Find) -> DropCopyBatch:
        """What a message says."""
        told = self._after_seq or 0
        news: list[DropCopyEvent | DropCopyGap] = []
        if response.HasField("gap_until_seq") and response.gap_until_seq > told + 1:
            news.append(DropCopyGap(until_seq=response.gap_until_seq))
        news += [decode.drop_copy_event_of(event) for event in response.events if event.seq > told]
        self._after_seq = max(told, response.seq)
        return Batch(news=tuple(news), is_stale=response.is_stale, seq=response.seq)
