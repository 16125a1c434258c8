"""Market data for all connections: each gets the newest top of book and depth of every instrument, not every change.

Several times a second (``MARKET_DATA_INTERVAL_S``) what has changed is encoded, once for everybody, and written to whoever has room. Who has not
gets the newest when he has: what he missed is of no more interest to him, unlike reports, of which none is ever left out.

Firms hear of it over the connection of their orders, where quotes serve their risk. Whoever shows the market to people subscribes to the exchange's
feed instead (:mod:`toucan.market`), which has the tape of trades as well and nothing to do with orders.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from toucan.core.instruments import Instrument
from toucan.core.venue_messages import Book, Quote
from toucan.exchange.connection import FirmConnection
from toucan.exchange.core.exchange import Exchange
from toucan.exchange.core.wire import encode_all
from toucan.market.core.tape import Tape
from toucan.market.publisher import FeedPublisher

__all__ = ["MarketDataFeed"]


class MarketDataFeed:
    """The newest state of every market, as frames. It is what the feed's ``publisher`` tells (:class:`toucan.market.publisher.FeedSource`)."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._quotes = {symbol: exchange.quote(symbol) for symbol in exchange.markets}
        self._books = {symbol: exchange.book(symbol) for symbol in exchange.markets}
        self._quote_frames = {symbol: encode_all([quote]) for symbol, quote in self._quotes.items()}
        self._book_frames = {symbol: encode_all([book]) for symbol, book in self._books.items()}
        exchange.take_changed()
        self.publisher = FeedPublisher(self)

    def joined(self, connection: FirmConnection) -> None:
        """A new connection has nothing yet."""
        connection.stale_quotes.update(self._quotes)
        connection.stale_books.update(self._books)

    def publish(self, connections: Iterable[FirmConnection]) -> None:
        """Encodes what has changed since the last call, and writes to whoever has room what he does not have; to subscribers of the feed as well."""
        changed = self._exchange.take_changed()
        quotes, books = self._refresh(changed)
        for connection in connections:
            connection.stale_quotes |= quotes
            connection.stale_books |= books
            if connection.is_without_depth:
                connection.stale_books.clear()
            if connection.wants_market_data and (connection.stale_quotes or connection.stale_books):
                frames = [self._quote_frames[symbol] for symbol in sorted(connection.stale_quotes)]
                frames += [self._book_frames[symbol] for symbol in sorted(connection.stale_books)]
                connection.stale_quotes.clear()
                connection.stale_books.clear()
                connection.send_bytes(b"".join(frames))
        self.publisher.publish(quotes, books, changed)

    def _refresh(self, changed: Iterable[str]) -> tuple[set[str], set[str]]:
        """Symbols whose top of book, and whose depth, looks other than before."""
        quotes, books = set(), set()
        for symbol in changed:
            quote, book = self._exchange.quote(symbol), self._exchange.book(symbol)
            if not _is_same(quote, self._quotes[symbol]):
                self._quotes[symbol] = quote
                self._quote_frames[symbol] = encode_all([quote])
                quotes.add(symbol)
            if not _is_same(book, self._books[symbol]):
                self._books[symbol] = book
                self._book_frames[symbol] = encode_all([book])
                books.add(symbol)
        return quotes, books

    # ------------------------------------------------------------ for subscribers

    def life(self) -> str:
        """The exchange's."""
        return self._exchange.life

    def instruments(self) -> list[Instrument]:
        """All that is traded."""
        return [market.instrument for market in self._exchange.markets.values()]

    def quote(self, symbol: str) -> Quote:
        """As it was published last."""
        return self._quotes[symbol]

    def book(self, symbol: str) -> Book:
        """As it was published last."""
        return self._books[symbol]

    def tape(self, symbol: str) -> Tape:
        """The market's own."""
        return self._exchange.tape(symbol)

    def is_stale(self) -> bool:
        """It is the market."""
        return False


def _is_same(new: Quote | Book, old: Quote | Book) -> bool:
    """Whether only the time is another one."""
    return msgspec.structs.replace(new, at_ns=old.at_ns) == old
