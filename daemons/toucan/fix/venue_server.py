"""The engine's side of a venue behind FIX: a unix socket that speaks the embedded exchange's protocol (:mod:`toucan.exchange.connection`).

It is there as long as the FIX session is: without one a connection is closed at once, which is how the engine knows that the venue is away, and when
the session ends it is cut. So what the engine has sent and not heard of is asked for by its own rules, after the session is back: by
OrderMassStatusRequest, which is behind all that the venue sends again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec

from hostkit.log import get_logger
from toucan.core.venue_messages import Book, Quote, Report, Resume, ResumeEnd, ToVenue, Welcome
from toucan.exchange.connection import FirmConnection
from toucan.exchange.core.exchange import FirmRefused
from toucan.exchange.core.wire import encode_all
from toucan.exchange.limits import FIRM_CHARACTERS_MAX, MARKET_DATA_INTERVAL_S, SHUTDOWN_FLUSH_S
from toucan.fix.limits import STALLED_S_MAX
from toucan.fix.report_log import ReportLog

__all__ = ["VenueServer"]

_log = get_logger(program="toucan fix")


class VenueServer:
    """The owner of its connections (:class:`~toucan.exchange.connection.ConnectionOwner`), of which one counts; all on one loop.

    ``take`` gets what the engine asks for.
    """

    stalled_s_max = STALLED_S_MAX

    def __init__(self, log: ReportLog, take: Callable[[ToVenue], None]) -> None:
        self._log = log
        self._take = take
        self._current: FirmConnection | None = None
        self._connections: set[FirmConnection] = set()
        self._is_empty = asyncio.Event()
        self._is_up = False
        self._is_refusal_known = False
        self._quotes: dict[str, Quote] = {}
        self._books: dict[str, Book] = {}
        self._flush: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ the session

    def up(self) -> None:
        """The FIX session is there: the engine may come in."""
        self._is_up = True
        self._is_refusal_known = False

    def down(self, reason: str) -> None:
        """It is not: the venue is away."""
        self._is_up = False
        self._quotes.clear()
        self._books.clear()
        for connection in list(self._connections):
            connection.cut(reason)

    @property
    def has_engine(self) -> bool:
        """Whether an engine is connected and has said who it is."""
        return self._current is not None

    def accept(self) -> FirmConnection:
        """For the loop's ``create_unix_server``."""
        refusal = "" if self._is_up else "there is no FIX session with the venue"
        connection = FirmConnection(self, refusal, is_known=self._is_refusal_known)
        self._is_refusal_known = self._is_refusal_known or bool(refusal)
        self._connections.add(connection)
        return connection

    # ------------------------------------------------------------ what connections need

    def greeted(self, connection: FirmConnection, resume: Resume) -> tuple[Welcome, int]:
        """An engine says who it is; see :class:`~toucan.exchange.connection.ConnectionOwner`."""
        if not 0 < len(resume.firm) <= FIRM_CHARACTERS_MAX:
            raise FirmRefused(f"a firm's name has 1 to {FIRM_CHARACTERS_MAX} characters")
        log = self._log
        if resume.life == log.life and resume.venue_seq > log.newest_seq:
            _log.error(
                "the engine knows reports that are not here: a new life begins",
                engine=resume.venue_seq,
                here=log.newest_seq,
            )
            log.begin_life()  # it waits for the disk, once in the life of a damaged file
        old, self._current = self._current, connection
        if old is not None and old is not connection:
            old.cut("the engine has connected anew")
        connection.stale_quotes.update(self._quotes)
        connection.stale_books.update(self._books)
        self._flush_later()
        after = min(resume.venue_seq, log.newest_seq) if resume.life == log.life else 0
        return Welcome(log.life, log.newest_seq), max(after, log.oldest_seq - 1)

    def received(self, connection: FirmConnection, message: ToVenue) -> None:
        """The engine asks for something."""
        if connection is self._current and self._is_up:
            self._take(message)

    def settle(self) -> None:
        """What is on the disk can be told."""
        if self._current is not None:
            self._current.send()

    def reports_after(self, firm: str, venue_seq: int, count_max: int) -> list[Report]:
        """From the log."""
        return self._log.after(venue_seq, count_max)

    def ended(self, connection: FirmConnection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._is_empty.set()
        if self._current is connection:
            self._current = None

    # ------------------------------------------------------------ what the venue says beside reports

    def answered(self, question: str, venue_seq: int) -> None:
        """All reports for a mass status request are there, up to this one."""
        if self._current is not None:
            self._current.remark(ResumeEnd(question), venue_seq)

    def market(self, quote: Quote, book: Book | None) -> None:
        """The market looks other than before."""
        self._quotes[quote.symbol] = quote
        current = self._current
        if current is not None:
            current.stale_quotes.add(quote.symbol)
        if book is not None:
            self._books[book.symbol] = book
            if current is not None:
                current.stale_books.add(book.symbol)
        self._flush_later()

    def halted(self, symbol: str, is_halted: bool) -> None:
        """Whether an instrument is traded."""
        quote = self._quotes.get(symbol)
        if quote is not None:
            self.market(msgspec.structs.replace(quote, is_halted=is_halted), None)

    def _flush_later(self) -> None:
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(MARKET_DATA_INTERVAL_S, self._flush_market)

    def _flush_market(self) -> None:
        self._flush = None
        current = self._current
        if current is None:
            return
        if current.is_without_depth:
            current.stale_books.clear()
        if not (current.stale_quotes or current.stale_books):
            return
        if not current.wants_market_data:
            self._flush_later()
            return
        frames = encode_all(
            self._quotes[symbol] for symbol in sorted(current.stale_quotes & self._quotes.keys())
        )
        frames += encode_all(
            self._books[symbol] for symbol in sorted(current.stale_books & self._books.keys())
        )
        current.stale_quotes.clear()
        current.stale_books.clear()
        current.send_bytes(frames)

    async def close(self) -> None:
        """Ends all connections; who reads still gets what waits for him, for a moment."""
        if self._flush is not None:
            self._flush.cancel()
        self._is_empty.clear()
        for connection in list(self._connections):
            connection.close()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_empty.wait(), SHUTDOWN_FLUSH_S)
        for connection in list(self._connections):
            connection.cut("the process ends")
