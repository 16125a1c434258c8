"""The feed's sending end: every subscriber gets the newest, as often as he has room for it, and nobody's slowness costs memory.

What a subscriber has not been told is two sets of symbols and a place on each tape. What has changed is encoded once for everybody. Who does not
read is told less often and then cut off; lines of the tape that he misses are missing in their numbers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from typing import Protocol, cast

from toucan.core.frames import WireError, encode_all
from toucan.core.instruments import Instrument
from toucan.core.venue_messages import Book, Quote
from toucan.market.core.messages import FeedBeat, FeedWelcome, Subscribe, subscriber_reader
from toucan.market.core.tape import Tape
from toucan.market.limits import (
    BEAT_S,
    CONNECTIONS_MAX,
    GREETING_S_MAX,
    JOIN_LINES,
    OUT_BYTES_MAX,
    SHUTDOWN_FLUSH_S,
    STALLED_S_MAX,
    SUBSCRIBE_BYTES_MAX,
)

__all__ = ["FeedConnection", "FeedPublisher", "FeedSource"]

_log = logging.getLogger("toucan.market")


class FeedSource(Protocol):
    """Whose market data are told: an exchange's, or a recording's."""

    def life(self) -> str:
        """Names the count of the tapes' lines."""

    def instruments(self) -> Iterable[Instrument]:
        """All that is told of."""

    def quote(self, symbol: str) -> Quote | None:
        """The newest."""

    def book(self, symbol: str) -> Book | None:
        """The newest."""

    def tape(self, symbol: str) -> Tape:
        """As it stands."""

    def is_stale(self) -> bool:
        """Whether nothing is heard from the market itself."""


class FeedPublisher:
    """Serves subscribers on the running loop; :meth:`accept` is for the loop's ``create_server``."""

    def __init__(self, source: FeedSource, *, stalled_s_max: float = STALLED_S_MAX) -> None:
        self.stalled_s_max = stalled_s_max
        self.connections: set[FeedConnection] = set()
        self._source = source
        self._quotes: dict[str, bytes] = {}
        self._books: dict[str, bytes] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_empty = asyncio.Event()

    # ------------------------------------------------------------ begin and end

    def start(self) -> None:
        """From now on it says every second that it is there."""
        self._beat()

    async def close(self) -> None:
        """Ends all connections; whoever reads still gets what waits for him, for a moment."""
        if self._timer is not None:
            self._timer.cancel()
        self._is_empty.clear()
        for connection in self.connections:
            connection.close()
        if self.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_empty.wait(), SHUTDOWN_FLUSH_S)
        for connection in list(self.connections):
            connection.cut("the feed ends")
        await asyncio.sleep(0)  # the loop tells them that they are gone

    def accept(self) -> FeedConnection:
        """Makes a new connection."""
        is_full = len(self.connections) >= CONNECTIONS_MAX
        connection = FeedConnection(self, "there are too many subscribers" if is_full else "")
        self.connections.add(connection)
        return connection

    def _beat(self) -> None:
        beat = self._beat_frame()
        for connection in [*self.connections]:
            if connection.is_greeted and connection.wants_more:
                connection.send(beat)
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def _beat_frame(self) -> bytes:
        return encode_all([FeedBeat(time.time_ns(), self._source.is_stale())])

    # ------------------------------------------------------------ what is told

    def publish(self, quotes: Iterable[str], books: Iterable[str], tapes: Iterable[str]) -> None:
        """Tells whoever has room what has changed of these symbols, and what he has not been told before."""
        for symbol in quotes:
            self._quotes.pop(symbol, None)
        for symbol in books:
            self._books.pop(symbol, None)
        lines: dict[tuple[str, int], bytes] = {}
        for connection in [*self.connections]:
            connection.stale_quotes.update(quotes)
            connection.stale_books.update(books)
            connection.stale_tapes.update(tapes)
            if connection.has_news and connection.wants_more:
                self._tell(connection, lines)

    def begin_anew(self) -> None:
        """The source is another one now: everybody is greeted again."""
        self._quotes.clear()
        self._books.clear()
        for connection in [*self.connections]:
            if connection.is_subscribed:
                self._greet(connection, {})

    def beat_now(self) -> None:
        """The source has become stale, or is no longer: that is told at once."""
        if self._timer is not None:
            self._timer.cancel()
        self._beat()

    def subscribed(self, connection: FeedConnection, wish: Subscribe) -> None:
        """A connection has said what it has seen."""
        self._greet(connection, wish.after if wish.life == self._source.life() else {})

    def _greet(self, connection: FeedConnection, after: dict[str, int]) -> None:
        instruments = tuple(self._source.instruments())
        symbols = {one.symbol for one in instruments}
        connection.stale_quotes, connection.stale_books = set(symbols), set(symbols)
        connection.stale_tapes = set(symbols)
        tapes = {symbol: self._source.tape(symbol) for symbol in symbols}
        connection.places = {
            symbol: min(after[symbol], tape.end.number) if symbol in after else tape.newest(JOIN_LINES).number
            for symbol, tape in tapes.items()
        }
        connection.is_greeted = False
        connection.send(encode_all([FeedWelcome(self._source.life(), instruments)]))
        if connection.wants_more:
            self._tell(connection, {})

    def _tell(self, connection: FeedConnection, lines: dict[tuple[str, int], bytes]) -> None:
        """``lines`` are those encoded already, by symbol and the place that they follow."""
        frames = [
            self._frame(self._quotes, symbol, self._source.quote)
            for symbol in sorted(connection.stale_quotes)
        ]
        frames += [
            self._frame(self._books, symbol, self._source.book) for symbol in sorted(connection.stale_books)
        ]
        for symbol in sorted(connection.stale_tapes):
            tape, place = self._source.tape(symbol), connection.places[symbol]
            if (symbol, place) not in lines:
                lines[symbol, place] = encode_all(tape.since_number(place))
            frames.append(lines[symbol, place])
            connection.places[symbol] = max(place, tape.end.number)
        connection.told_all()
        if not connection.is_greeted:
            connection.is_greeted = True
            frames.append(self._beat_frame())
        connection.send(b"".join(frames))

    @staticmethod
    def _frame(frames: dict[str, bytes], symbol: str, newest: _Newest) -> bytes:
        if symbol not in frames:
            message = newest(symbol)
            frames[symbol] = b"" if message is None else encode_all([message])
        return frames[symbol]

    def ended(self, connection: FeedConnection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._is_empty.set()


class _Newest(Protocol):
    def __call__(self, symbol: str) -> Quote | Book | None: ...


class FeedConnection(asyncio.Protocol):
    """The feed's end of one subscriber's connection. It is cut off as soon as it is open if there is a ``refusal``."""

    def __init__(self, owner: FeedPublisher, refusal: str = "") -> None:
        self.is_subscribed = False
        #: It was told everything that there was when it was welcomed.
        self.is_greeted = False
        #: Symbols of which it has not been told the newest; and of each tape the last line that it was told.
        self.stale_quotes: set[str] = set()
        self.stale_books: set[str] = set()
        self.stale_tapes: set[str] = set()
        self.places: dict[str, int] = {}
        self._owner = owner
        self._refusal = refusal
        self._reader = subscriber_reader()
        self._received = 0
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open; it must subscribe in time."""
        # Not isinstance(): uvloop's transports are no subclass of asyncio's.
        self._transport = transport = cast(asyncio.Transport, transport)
        if self._refusal:
            self.cut(self._refusal)
            return
        transport.set_write_buffer_limits(high=OUT_BYTES_MAX)
        self._start_timer(GREETING_S_MAX, "it did not subscribe")

    def data_received(self, data: bytes) -> None:
        """Bytes have come: one Subscribe, and nothing else ever."""
        self._received += len(data)
        try:
            if self._received > SUBSCRIBE_BYTES_MAX:
                raise WireError("a subscription that does not end")
            for wish in self._reader.feed(data):
                if self.is_subscribed:
                    raise WireError("it subscribes twice")
                self._stop_timer()
                self.is_subscribed = True
                self._owner.subscribed(self, wish)
        except WireError as error:
            self.cut(str(error))

    def pause_writing(self) -> None:
        """As much waits as may."""
        self._start_timer(self._owner.stalled_s_max, "it does not read what it is told")

    def resume_writing(self) -> None:
        """It has read; there is room again, and the next publication uses it."""
        self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._stop_timer()
        self._transport = None
        self._owner.ended(self)

    # ------------------------------------------------------------ called by the publisher

    @property
    def wants_more(self) -> bool:
        """Whether it has subscribed and little waits for it."""
        transport = self._transport
        return (
            self.is_subscribed
            and transport is not None
            and not transport.is_closing()
            and transport.get_write_buffer_size() < OUT_BYTES_MAX
        )

    @property
    def has_news(self) -> bool:
        """Whether there is something that it was not told."""
        return bool(self.stale_quotes or self.stale_books or self.stale_tapes)

    def told_all(self) -> None:
        """What was stale is being sent."""
        self.stale_quotes.clear()
        self.stale_books.clear()
        self.stale_tapes.clear()

    def send(self, data: bytes) -> None:
        """Writes finished frames."""
        if self._transport is not None and data:
            self._transport.write(data)

    def cut(self, reason: str) -> None:
        """Ends the connection at once; what waits is lost."""
        if self._transport is not None and not self._transport.is_closing():
            _log.warning("a subscriber is cut off: %s", reason)
            self._transport.abort()

    def close(self) -> None:
        """Ends the connection when all that waits is sent."""
        if self._transport is not None:
            self._transport.close()

    def _start_timer(self, delay_s: float, reason: str) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self.cut, reason)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
