"""The exchange's process from inside: connections, the clock, market data and recorded flow around one
:class:`~toucan.exchange.core.exchange.Exchange`.

Everything runs on one loop, so one message is carried out after the other; the order in which bytes arrive is the order in which orders do. A firm
has one connection: a newer one takes its place, since the old one is most likely dead and only nobody has noticed yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator

from toucan.core.venue_messages import Report, Resume, ToVenue, Welcome
from toucan.exchange.connection import FirmConnection
from toucan.exchange.core.background import BackgroundEvent, BackgroundFlow
from toucan.exchange.core.exchange import Exchange
from toucan.exchange.core.scribe import Addressed
from toucan.exchange.errors import ExchangeConfigError
from toucan.exchange.limits import (
    CONNECTIONS_MAX,
    MARKET_DATA_INTERVAL_S,
    REPLAY_EVENTS_PER_TURN,
    REPLAY_TURN_S,
    SHUTDOWN_FLUSH_S,
    STALLED_S_MAX,
    TIMER_S_MAX,
)
from toucan.exchange.market_data import MarketDataFeed
from toucan.exchange.settings import ReplaySettings

__all__ = ["ExchangeServer"]

_NS = 1_000_000_000
_log = logging.getLogger("toucan.exchange")


class ExchangeServer:
    """Serves an exchange on the running loop. It is the owner of its connections (:class:`~toucan.exchange.connection.ConnectionOwner`).

    ``open_events`` gives the recorded events from the beginning; None: there is no recorded flow.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        stalled_s_max: float = STALLED_S_MAX,
        replay: ReplaySettings | None = None,
        open_events: Callable[[], Iterator[BackgroundEvent]] | None = None,
    ) -> None:
        self.exchange = exchange
        self.stalled_s_max = stalled_s_max
        self.flow: BackgroundFlow | None = None
        self.connections: set[FirmConnection] = set()
        self._is_empty = asyncio.Event()
        self._by_firm: dict[str, FirmConnection] = {}
        self._feed = MarketDataFeed(exchange)
        #: Serves whoever shows the market to people.
        self.market_data = self._feed.publisher
        self._clock_offset_ns = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._armed_for_ns: int | None = None
        self._unsent: set[FirmConnection] = set()
        self._replay = replay
        self._open_events = open_events

    # ------------------------------------------------------------ begin and end

    def start(self) -> None:
        """Starts the clock and the recorded flow."""
        self._start_flow()
        self._publish()
        self.market_data.start()
        self._arm()

    async def close(self) -> None:
        """Stops everything; whoever reads still gets what waits for him, for a moment."""
        for timer in self._timers.values():
            timer.cancel()
        await self.market_data.close()
        self._is_empty.clear()
        for connection in self.connections:
            connection.close()
        if self.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_empty.wait(), SHUTDOWN_FLUSH_S)
        for connection in list(self.connections):
            connection.cut("the exchange ends")
        await asyncio.sleep(0)  # the loop tells them that they are gone

    def accept(self) -> FirmConnection:
        """Makes a new connection; for the loop's ``create_server``."""
        is_full = len(self.connections) >= CONNECTIONS_MAX
        connection = FirmConnection(self, "there are too many connections" if is_full else "")
        self.connections.add(connection)
        return connection

    # ------------------------------------------------------------ the clock

    def now_ns(self) -> int:
        """The exchange's time: the host's, and what the operator has added."""
        return time.time_ns() + self._clock_offset_ns

    def advance_clock(self, by_ns: int) -> list[Addressed]:
        """Puts the exchange's clock forward; gives what firms are told because of it."""
        self._clock_offset_ns += by_ns
        return self.exchange.advance(self.now_ns())

    def _arm(self) -> None:
        """Sees to it that :meth:`_tick` is called when something is due."""
        at_ns = self.exchange.next_at_ns()
        if at_ns == self._armed_for_ns and "clock" in self._timers:
            return
        self._armed_for_ns = at_ns
        delay_s = TIMER_S_MAX if at_ns is None else (at_ns - self.now_ns()) / _NS
        self._later("clock", min(max(delay_s, 0.0), TIMER_S_MAX), self._tick)

    def _tick(self) -> None:
        del self._timers["clock"]
        self.deliver(self.exchange.advance(self.now_ns()))
        self.settle()

    def _later(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        old = self._timers.pop(name, None)
        if old is not None:
            old.cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(delay_s, call)

    # ------------------------------------------------------------ connections

    def greeted(self, connection: FirmConnection, resume: Resume) -> tuple[Welcome, int]:
        """A connection says who it is; see :class:`~toucan.exchange.connection.ConnectionOwner`."""
        welcome, after_seq = self.exchange.welcome(resume)
        old = self._by_firm.get(resume.firm)
        if old is not None and old is not connection:
            old.cut("the firm has connected anew")
        if old is not connection:
            self._by_firm[resume.firm] = connection
            self._feed.joined(connection)
        self._unsent.add(connection)
        # What is no longer kept cannot be told; the first report's number shows the firm what it misses.
        return welcome, max(after_seq, self.exchange.oldest_seq(resume.firm) - 1)

    def received(self, connection: FirmConnection, message: ToVenue) -> None:
        """A firm asks for something."""
        self.deliver(self.exchange.handle(connection.firm, message, self.now_ns()))

    def deliver(self, told: list[Addressed]) -> None:
        """Remembers who has something to be sent; :meth:`settle` sends it."""
        for firm, message in told:
            connection = self._by_firm.get(firm)
            if connection is None:
                continue  # it will resume
            if not isinstance(message, Report):
                connection.remark(message, self.exchange.newest_seq(firm))
            self._unsent.add(connection)

    def settle(self) -> None:
        """Sends what was told, and looks when something is due next."""
        unsent, self._unsent = self._unsent, set()
        for connection in unsent:
            connection.send()
        self._arm()

    def reports_after(self, firm: str, venue_seq: int, count_max: int) -> list[Report]:
        """From a firm's log."""
        return self.exchange.reports_after(firm, venue_seq, count_max)

    def ended(self, connection: FirmConnection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        self._unsent.discard(connection)
        if not self.connections:
            self._is_empty.set()
        if self._by_firm.get(connection.firm) is connection:
            del self._by_firm[connection.firm]

    # ------------------------------------------------------------ market data and recorded flow

    def _publish(self) -> None:
        self._feed.publish(self._by_firm.values())
        self._later("market data", MARKET_DATA_INTERVAL_S, self._publish)

    def _start_flow(self) -> None:
        if self._replay is None or self._open_events is None:
            return
        self.flow = BackgroundFlow(
            self.exchange,
            self._replay.symbol,
            self._open_events(),
            started_ns=self.now_ns(),
            speed=self._replay.speed,
        )
        self._play()

    def _restart_flow(self) -> None:
        """What the recording has left in the book goes, and it begins again."""
        assert self.flow is not None
        self.deliver(self.flow.end(self.now_ns()))
        try:
            self._start_flow()
        except ExchangeConfigError as error:  # the file is another one by now
            _log.error("the recorded flow ends: %s", error)
            self.settle()

    def _play(self) -> None:
        flow, replay = self.flow, self._replay
        assert flow is not None
        assert replay is not None
        try:
            self.deliver(flow.advance(self.now_ns(), REPLAY_EVENTS_PER_TURN))
        except ExchangeConfigError as error:  # the recording is damaged; the exchange is not
            _log.error("the recorded flow ends: %s", error)
            self.settle()
            return
        self.settle()
        if flow.next_at_ns() is not None:
            self._later("replay", REPLAY_TURN_S, self._play)
        elif replay.repeats:
            self._later("replay", REPLAY_TURN_S, self._restart_flow)
        else:
            _log.info("the recorded flow is over: %s", flow.counts)
