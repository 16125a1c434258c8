"""One instrument's market: its book, its waiting orders, its last trade, and whether it trades.

Law: state and how it looks from outside (:meth:`Market.quote`, :meth:`Market.depth`); what changes it is in :mod:`toucan.exchange.core.matching`.
Orders are matched while the session is on and nobody has halted trading. Otherwise what can wait in the book is taken in and waits, and the book
may be crossed: so it is shown, and whoever looks sees ``is_halted``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from toucan.core.instruments import Instrument
from toucan.core.values import Side
from toucan.core.venue_messages import Book, Level, Quote
from toucan.exchange.core.book import BookSide
from toucan.exchange.core.calendar import SessionSpan
from toucan.exchange.core.orders import VenueOrder
from toucan.exchange.core.stops import StopBook
from toucan.market.core.tape import Tape

__all__ = ["Market"]


class Market:
    """The market in one instrument. ``changed_ns`` is when its book or last trade changed."""

    __slots__ = (
        "asks", "bids", "changed_ns", "day", "instrument", "is_closed", "is_halted", "last_price", "last_quantity",
        "span", "stops", "tape", "triggered", "volume",
    )  # fmt: skip

    def __init__(self, instrument: Instrument, span: SessionSpan, now_ns: int) -> None:
        self.instrument = instrument
        self.bids = BookSide(Side.BUY)
        self.asks = BookSide(Side.SELL)
        self.stops = StopBook()
        #: Reached by a trade and not yet sent into the book, in the order in which they were reached.
        self.triggered: deque[VenueOrder] = deque()
        self.last_price: int | None = None
        self.last_quantity = 0
        self.volume = 0
        #: Everybody's trades, those of the background flow too.
        self.tape = Tape(instrument.symbol)
        #: The session that is on, or the next one; ``day`` counts them.
        self.span = span
        self.day = 0
        #: By the calendar, or by the operator for the rest of the day.
        self.is_closed = not span.is_open(now_ns)
        self.is_halted = False
        self.changed_ns = now_ns

    @property
    def symbol(self) -> str:
        """The instrument's."""
        return self.instrument.symbol

    @property
    def is_matching(self) -> bool:
        """Whether orders that meet are executed."""
        return not (self.is_halted or self.is_closed)

    @property
    def is_crossed(self) -> bool:
        """Whether somebody would buy at a price at which somebody would sell."""
        best = self.asks.best
        return best is not None and self.bids.accepts(best.price)

    def side_of(self, side: Side) -> BookSide:
        """Where orders of this side lie."""
        return self.bids if side is Side.BUY else self.asks

    def opposite_of(self, side: Side) -> BookSide:
        """Whom orders of this side meet."""
        return self.asks if side is Side.BUY else self.bids

    def orders(self) -> Iterator[VenueOrder]:
        """All orders that lie in the book or wait for their stop price."""
        yield from self.bids.orders()
        yield from self.asks.orders()
        yield from self.stops.orders()

    def quote(self) -> Quote:
        """Top of book and last trade."""
        bid, ask = self.bids.best, self.asks.best
        return Quote(
            symbol=self.instrument.symbol,
            at_ns=self.changed_ns,
            bid_price=None if bid is None else bid.price,
            bid_quantity=0 if bid is None else bid.shown,
            ask_price=None if ask is None else ask.price,
            ask_quantity=0 if ask is None else ask.shown,
            last_price=self.last_price,
            last_quantity=self.last_quantity,
            volume=self.volume,
            is_halted=not self.is_matching,
        )

    def depth(self, count: int) -> Book:
        """The best ``count`` levels of each side, as they are shown."""
        return Book(
            symbol=self.instrument.symbol,
            at_ns=self.changed_ns,
            bids=tuple(Level(one.price, one.shown, len(one.orders)) for one in self.bids.depth(count)),
            asks=tuple(Level(one.price, one.shown, len(one.orders)) for one in self.asks.depth(count)),
        )
