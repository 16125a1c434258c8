"""What a front end knows of the market: from the feed of a symbol's venue, or, where the venue has none, from the engine.

The engine needs top of book for its risk and passes it on. Depth and trades come from the venue's feed (:mod:`toucan.market`), which this front end
follows itself: they cost the engine nothing, and go on while it is away. A feed that counts a symbol in other units than the engine is not believed:
its prices would be wrong by powers of ten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from toucan.core.instruments import Instrument
from toucan.core.venue_messages import Book, Quote
from toucan.engine.port import EnginePort
from toucan.market.core.tape import Tape
from toucan.market.link import FeedLink

__all__ = ["Market"]

_log = structlog.get_logger("toucan.server")


class Market:
    """``feeds`` are by venue; one event loop. ``on_change`` and ``on_staleness`` are told as those of a :class:`FeedLink`."""

    def __init__(self, port: EnginePort, feeds: Mapping[str, FeedLink]) -> None:
        self.feeds = dict(feeds)
        self.on_change: Callable[[Sequence[str]], None] = lambda symbols: None
        self.on_staleness: Callable[[], None] = lambda: None
        self._port = port
        #: Symbols of which it was said that their feed is not believed.
        self._doubted: set[str] = set()
        for feed in self.feeds.values():
            feed.on_change = self._changed
            feed.on_staleness = self._staleness_changed

    def quote(self, symbol: str) -> Quote | None:
        """Top of book and last trade."""
        feed = self._feed(symbol)
        quote = None if feed is None else feed.picture.quotes.get(symbol)
        return self._port.quotes.get(symbol) if quote is None else quote

    def book(self, symbol: str) -> Book | None:
        """Depth."""
        feed = self._feed(symbol)
        book = None if feed is None else feed.picture.books.get(symbol)
        return self._port.books.get(symbol) if book is None else book

    def tape(self, symbol: str) -> tuple[str, Tape] | None:
        """The tape, and the life in which its lines are numbered; None: there is none, or it is not heard of yet."""
        feed = self._feed(symbol)
        if feed is None or not feed.picture.is_complete or symbol not in feed.picture.tapes:
            return None
        return feed.picture.life, feed.picture.tapes[symbol]

    def is_fed(self, symbol: str) -> bool:
        """Whether what is shown is the feed's and not the engine's."""
        feed = self._feed(symbol)
        return feed is not None and symbol in feed.picture.quotes

    def stale(self, symbols: Iterable[str]) -> list[str]:
        """Those of which nothing is heard at the moment."""
        if (
            not self._port.is_stale
            and not self._doubted
            and not any(one.is_stale for one in self.feeds.values())
        ):
            return []
        return [symbol for symbol in symbols if self._is_stale(symbol)]

    def _is_stale(self, symbol: str) -> bool:
        feed = self._feed(symbol)
        return self._port.is_stale or symbol in self._doubted if feed is None else feed.is_stale

    def _feed(self, symbol: str) -> FeedLink | None:
        instrument = self._port.instruments.get(symbol)
        feed = None if instrument is None else self.feeds.get(instrument.venue)
        if feed is None or instrument is None:
            return None
        theirs = feed.picture.instruments.get(symbol)
        if theirs is None or _units(theirs) == _units(instrument):
            self._doubted.discard(symbol)
            return feed
        if symbol not in self._doubted:
            self._doubted.add(symbol)
            _log.error(
                "the feed counts a symbol in other units than the engine; give both the same instruments file",
                symbol=symbol, venue=feed.venue, feed=_units(theirs), engine=_units(instrument),
            )  # fmt: skip
        return None

    def _changed(self, symbols: Sequence[str]) -> None:
        self.on_change(symbols)

    def _staleness_changed(self) -> None:
        self.on_staleness()


def _units(instrument: Instrument) -> tuple[int, int]:
    return instrument.price_decimals, instrument.quantity_decimals
