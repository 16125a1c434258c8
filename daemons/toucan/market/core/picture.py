"""The newest of everything that a feed has told: what a front end shows, what a recording begins with, what a replay plays.

Law: messages in, the symbols that look other than before out. A welcome in another life empties it: quotes, depth and numbers of a venue that has
begun anew have nothing to do with those before. Instruments that the feed has not named are not kept, so the picture is as large as the feed's
table and no message can make it larger.
"""

from __future__ import annotations

from toucan.core.instruments import Instrument
from toucan.core.venue_messages import Book, Quote
from toucan.market.core.messages import FeedBeat, FeedWelcome, FromFeed, TapeLine
from toucan.market.core.tape import Tape
from toucan.market.limits import JOIN_LINES

__all__ = ["MarketPicture"]


class MarketPicture:
    """See the module. ``life`` is "" before the first welcome; ``is_stale``: the feed says that it hears nothing itself."""

    def __init__(self) -> None:
        self.life = ""
        self.instruments: dict[str, Instrument] = {}
        self.quotes: dict[str, Quote] = {}
        self.books: dict[str, Book] = {}
        self.tapes: dict[str, Tape] = {}
        self.is_stale = False
        #: Everything was told that there was when the feed said welcome.
        self.is_complete = False
        #: Lines that have not come although later ones have: left out on the way here.
        self.lines_missed = 0

    def take(self, message: FromFeed) -> str | None:
        """Keeps what a message says; gives the symbol that looks other than before, if one does."""
        if isinstance(message, FeedWelcome):
            self._begin(message)
        elif isinstance(message, FeedBeat):
            self.is_stale, self.is_complete = message.is_stale, True
        elif message.symbol not in self.instruments:
            return None
        elif isinstance(message, Quote):
            self.quotes[message.symbol] = message
            return message.symbol
        elif isinstance(message, Book):
            self.books[message.symbol] = message
            return message.symbol
        else:
            return message.symbol if self._take_line(message) else None
        return None

    def places(self) -> dict[str, int]:
        """The last line of each tape that has one, to go on behind it."""
        return {symbol: tape.end.number for symbol, tape in self.tapes.items() if tape.end.number}

    def messages(self) -> list[FromFeed]:
        """What somebody has to be told who knows nothing: all of this, of each tape the newest lines."""
        told: list[FromFeed] = [FeedWelcome(self.life, tuple(self.instruments.values()))]
        told += self.quotes.values()
        told += self.books.values()
        for tape in self.tapes.values():
            told += tape.since(tape.newest(JOIN_LINES)).lines
        return told

    def _begin(self, welcome: FeedWelcome) -> None:
        self.is_stale = self.is_complete = False
        instruments = {one.symbol: one for one in welcome.instruments}
        if welcome.life == self.life and instruments == self.instruments:
            return
        self.life, self.instruments = welcome.life, instruments
        self.quotes, self.books = {}, {}
        self.tapes = {symbol: Tape(symbol) for symbol in instruments}

    def _take_line(self, line: TapeLine) -> bool:
        tape = self.tapes[line.symbol]
        if tape.end.number:
            self.lines_missed += max(0, line.number - tape.end.number - 1)
        return tape.take(line)
