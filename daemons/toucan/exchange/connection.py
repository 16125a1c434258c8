"""One firm's connection: what it asks comes in, its reports go out of its log, as fast as it reads them.

There is no queue of reports for a connection: it has a place in its firm's log, and as long as the socket takes bytes the reports behind that place
are written. So a firm that reads slowly costs no memory; one that does not read at all, or so slowly that the log has moved on, is cut
off, and resumes later. What is no report (Welcome, ResumeEnd) waits for the place in the log at which it was said.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Protocol, cast

from toucan.core.venue_messages import FromVenue, Report, Resume, ResumeEnd, ToVenue, Welcome
from toucan.exchange.core.exchange import FirmRefused
from toucan.exchange.core.wire import WireError, encode_all, firm_reader
from toucan.exchange.limits import (
    GREETING_S_MAX,
    MARKET_DATA_BYTES_MAX,
    OUT_BYTES_MAX,
    QUESTIONS_MAX,
    SEND_REPORTS,
)

__all__ = ["ConnectionOwner", "FirmConnection"]

_log = logging.getLogger("toucan.exchange")


class ConnectionOwner(Protocol):
    """What a connection needs of the server."""

    stalled_s_max: float

    def greeted(self, connection: FirmConnection, resume: Resume) -> tuple[Welcome, int]:
        """A Resume has come: the answer, and the number after which the connection's reports go on. Raises :class:`FirmRefused`."""

    def received(self, connection: FirmConnection, message: ToVenue) -> None:
        """A further message has come."""

    def settle(self) -> None:
        """No more messages for now: what they led to can be sent."""

    def reports_after(self, firm: str, venue_seq: int, count_max: int) -> list[Report]:
        """From a firm's log."""

    def ended(self, connection: FirmConnection) -> None:
        """The connection is gone."""


class FirmConnection(asyncio.Protocol):
    """The server's end. :attr:`firm` is "" until it has said who it is. It is cut off as soon as it is open if there is a ``refusal``,
    without a word of it in the log if that is known there already (``is_known``).
    """

    def __init__(self, owner: ConnectionOwner, refusal: str = "", *, is_known: bool = False) -> None:
        self.firm = ""
        #: Symbols of which it does not have the newest.
        self.stale_quotes: set[str] = set()
        self.stale_books: set[str] = set()
        #: It does not want any of the latter.
        self.is_without_depth = False
        self._owner = owner
        self._refusal = refusal
        self._is_refusal_known = is_known
        self._reader = firm_reader()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_paused = False
        self._sent_seq = 0
        self._remarks: deque[tuple[int, FromVenue]] = deque()

    # ------------------------------------------------------------ called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open; it must say who it is in time."""
        # Not isinstance(): uvloop's transports are no subclass of asyncio's.
        self._transport = transport = cast(asyncio.Transport, transport)
        if self._refusal:
            self.cut(self._refusal, is_known=self._is_refusal_known)
            return
        transport.set_write_buffer_limits(high=OUT_BYTES_MAX)
        self._start_timer(GREETING_S_MAX, "it did not say who it is")

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        try:
            for message in self._reader.feed(data):
                if not self.is_open:
                    return
                self._take(message)
        except (WireError, FirmRefused) as error:
            self.cut(str(error))
        self._owner.settle()

    def pause_writing(self) -> None:
        """As much waits as may."""
        self._is_paused = True
        self._start_timer(self._owner.stalled_s_max, "it does not read what it is told")

    def resume_writing(self) -> None:
        """It has read; there is room again."""
        self._is_paused = False
        self._stop_timer()
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._stop_timer()
        self._transport = None
        self._owner.ended(self)

    # ------------------------------------------------------------ called by the server

    @property
    def is_open(self) -> bool:
        """Whether something can still be sent and received."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def wants_market_data(self) -> bool:
        """Whether it has all its reports and little waits for it."""
        transport = self._transport
        return (
            self.firm != ""
            and not self._remarks
            and transport is not None
            and transport.get_write_buffer_size() <= MARKET_DATA_BYTES_MAX
        )

    def remark(self, message: FromVenue, venue_seq: int) -> None:
        """Something that is no report, to be said after the report with this number."""
        if len(self._remarks) >= QUESTIONS_MAX:
            self.cut("it asks more than it reads")
        else:
            self._remarks.append((venue_seq, message))

    def send(self) -> None:
        """Writes what is due, as far as there is room."""
        transport = self._transport
        remarks = self._remarks
        if not self.firm or transport is None:
            return
        while not self._is_paused and not transport.is_closing():
            while remarks and remarks[0][0] <= self._sent_seq:
                transport.write(encode_all([remarks.popleft()[1]]))
            due = min(SEND_REPORTS, remarks[0][0] - self._sent_seq if remarks else SEND_REPORTS)
            reports = self._owner.reports_after(self.firm, self._sent_seq, due)
            if not reports:
                return
            if reports[0].venue_seq != self._sent_seq + 1:
                self.cut("it reads so slowly that its reports are no longer kept")
                return
            self._sent_seq = reports[-1].venue_seq
            transport.write(encode_all(reports))

    def send_bytes(self, data: bytes) -> None:
        """Writes finished frames of market data."""
        if self._transport is not None:
            self._transport.write(data)

    def cut(self, reason: str, *, is_known: bool = False) -> None:
        """Ends the connection at once; what waits is lost here and kept in the log."""
        if self.is_open and self._transport is not None:
            level = logging.DEBUG if is_known else logging.WARNING
            _log.log(level, "connection of %s is cut off: %s", self.firm or "somebody", reason)
            self._transport.abort()

    def close(self) -> None:
        """Ends the connection when all that waits is sent."""
        if self._transport is not None:
            self._transport.close()

    # ------------------------------------------------------------ inside

    def _take(self, message: ToVenue) -> None:
        if isinstance(message, Resume):
            self._resume(message)
        elif self.firm:
            self._owner.received(self, message)
        else:
            raise WireError(f"the first message is a {type(message).__name__}; it must be Resume")

    def _resume(self, message: Resume) -> None:
        """The first message, or one from a firm that has noticed that it misses something: its reports are told from there on."""
        if self.firm and message.firm != self.firm:
            raise WireError(f"{self.firm} cannot resume as another firm; that needs another connection")
        self.is_without_depth = message.without_depth
        welcome, self._sent_seq = self._owner.greeted(self, message)
        if not self.firm:
            self.firm = message.firm
            self._stop_timer()
        if len(self._remarks) >= QUESTIONS_MAX:
            self.cut("it asks more than it reads")
            return
        self._remarks.appendleft((self._sent_seq, welcome))
        self._remarks.append((welcome.venue_seq, ResumeEnd()))

    def _start_timer(self, delay_s: float, reason: str) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self.cut, reason)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
