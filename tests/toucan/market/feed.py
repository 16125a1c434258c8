"""An exchange with its feed on a unix socket, in the test's own loop, which publishes when the test says so; and subscribers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from toucan.core.frames import encode_all
from toucan.core.instruments import Instrument
from toucan.core.values import OrderType, Side, TimeInForce
from toucan.core.venue_messages import Book, NewOrder, Quote
from toucan.exchange.core.exchange import Exchange
from toucan.exchange.core.operator import Operator
from toucan.exchange.market_data import MarketDataFeed
from toucan.market.core.messages import FeedBeat, FromFeed, Subscribe, TapeLine, feed_reader
from toucan.market.publisher import FeedPublisher

__all__ = ["INSTRUMENTS", "FeedVenue", "Subscriber", "run", "served", "subscribed", "until"]

_T = TypeVar("_T")
NOW_NS = 1_704_283_200_000_000_000

INSTRUMENTS = (
    Instrument(symbol="AAPL", currency="USD", venue="SIM"),
    Instrument(symbol="MSFT", currency="USD", venue="SIM"),
)


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Runs a test on the loop that daemons run on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(work, 30))


async def until(condition: Callable[[], bool]) -> None:
    """Waits until something is so; the test's own time limit bounds it."""
    while not condition():
        await asyncio.sleep(0.001)


class FeedVenue:
    """An exchange and its feed."""

    def __init__(self, life: str = "L", instruments: tuple[Instrument, ...] = INSTRUMENTS) -> None:
        self.exchange = Exchange(instruments, life=life, now_ns=NOW_NS)
        self.operator = Operator(self.exchange)
        self.feed = MarketDataFeed(self.exchange)
        self._orders = 0

    @property
    def publisher(self) -> FeedPublisher:
        return self.feed.publisher

    def order(self, side: Side, quantity: int, price: int, symbol: str = "AAPL") -> list[Any]:
        """A limit order; what firms are told."""
        self._orders += 1
        order = NewOrder(
            f"o{self._orders}", "a", symbol, side, OrderType.LIMIT, TimeInForce.GTC, quantity, price
        )
        return self.exchange.handle("F", order, NOW_NS)

    def trade(self, quantity: int, price: int, symbol: str = "AAPL") -> list[Any]:
        """Somebody buys what somebody else offers."""
        self.order(Side.SELL, quantity, price, symbol)
        return self.order(Side.BUY, quantity, price, symbol)

    def publish(self) -> None:
        self.feed.publish([])


@contextlib.asynccontextmanager
async def served(publisher: FeedPublisher, path: Path) -> AsyncIterator[None]:
    """Serves a feed on a unix socket."""
    server = await asyncio.get_running_loop().create_unix_server(publisher.accept, path)
    publisher.start()
    try:
        yield
    finally:
        server.close()
        await publisher.close()


class Subscriber:
    """A plain subscriber, which keeps everything that it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.messages: list[FromFeed] = []
        self.writer = writer
        self._reader = reader
        self._frames = feed_reader()

    async def read_until(self, is_enough: Callable[[Subscriber], bool]) -> None:
        """Reads on; raises EOFError at the end."""
        while not is_enough(self):
            data = await self._reader.read(1 << 16)
            if not data:
                raise EOFError
            self.messages += self._frames.feed(data)

    def lines(self, symbol: str = "AAPL") -> list[TapeLine]:
        return [one for one in self.messages if isinstance(one, TapeLine) and one.symbol == symbol]

    def quotes(self, symbol: str = "AAPL") -> list[Quote]:
        return [one for one in self.messages if isinstance(one, Quote) and one.symbol == symbol]

    def books(self, symbol: str = "AAPL") -> list[Book]:
        return [one for one in self.messages if isinstance(one, Book) and one.symbol == symbol]

    def is_greeted(self) -> bool:
        return any(isinstance(one, FeedBeat) for one in self.messages)


@contextlib.asynccontextmanager
async def subscribed(path: Path, wish: Subscribe | None = None) -> AsyncIterator[Subscriber]:
    """A connection that has subscribed, and was told what there is."""
    reader, writer = await asyncio.open_unix_connection(path)
    subscriber = Subscriber(reader, writer)
    try:
        writer.write(encode_all([wish or Subscribe()]))
        await subscriber.read_until(Subscriber.is_greeted)
        yield subscriber
    finally:
        writer.transport.abort()
