"""Venues for tests: one interface for those in-process, at a time that the test passes in, and those behind a socket, at the host's."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from tests.toucan.exchange.running import PATIENCE_S, RunningExchange
from tests.toucan.exchange.script import START_NS, check_report

from toucan.core.instruments import Instrument
from toucan.core.values import ExecType, OrderType, Side, TimeInForce
from toucan.core.venue_messages import Book, NewOrder, Quote, Report, ResumeEnd, ToVenue, Welcome
from toucan.exchange.core.exchange import Exchange
from toucan.exchange.core.operator import Operator
from toucan.exchange.core.scribe import Addressed
from toucan.venue.events import VenueEvent
from toucan.venue.link import VenueLink
from toucan.venue.local_link import LocalVenue, LocalVenueLink
from toucan.venue.misbehaving import Behaviour, MisbehavingVenue
from toucan.venue.socket_link import SocketVenueLink

__all__ = ["INSTRUMENT", "FirmSession", "LocalUnderTest", "SocketUnderTest", "VenueUnderTest", "order"]

_MarketData = TypeVar("_MarketData", Quote, Book)
_MS = 1_000_000

INSTRUMENT = Instrument(symbol="ABC", currency="USD", venue="exchange")


def order(cl_ord_id: str, side: Side, quantity: int, price: int | None = None, **fields: Any) -> NewOrder:
    """An order in ABC; what is not said is as usual."""
    fields.setdefault("type", OrderType.MARKET if price is None else OrderType.LIMIT)
    fields.setdefault("time_in_force", TimeInForce.GTC)
    return NewOrder(
        cl_ord_id=cl_ord_id, account="a", symbol="ABC", side=side, quantity=quantity, price=price, **fields
    )


class FirmSession:
    """A firm at a venue, which remembers as an engine would: what it has heard for good is what it resumes from.

    Every report is checked for what holds for all; ``reports`` has each once, in order.
    """

    def __init__(self, venue: VenueUnderTest, link: VenueLink) -> None:
        self.link = link
        self.events: list[VenueEvent] = []
        self.reports: list[Report] = []
        self.repeated: list[Report] = []
        self.gaps = 0
        self.life = ""
        self.is_refusing = False
        #: Whether an execution may be told again under a new number.
        self.allows_resends = False
        self.remembers = True
        self.heard = threading.Condition()
        self._venue = venue
        self._seq = 0
        self._exec_ids: set[str] = set()
        self._failure: AssertionError | None = None
        self._taken = 0

    # ------------------------------------------------------------ the link's side

    def deliver(self, events: list[VenueEvent]) -> bool:
        """For the link."""
        with self.heard:
            if self.is_refusing:
                return False
            for event in events:
                self._take(event)
            self.heard.notify_all()
        return True

    def _take(self, event: VenueEvent) -> None:
        self.events.append(event)
        if isinstance(event, Welcome) and event.life != self.life:
            self.life, self._seq = event.life, 0
            self._remember()
        if not isinstance(event, Report):
            return
        if event.venue_seq <= self._seq:
            self.repeated.append(event)
            return
        if event.venue_seq > self._seq + 1:
            self.gaps += 1
            return  # nothing behind a gap counts before it is closed
        try:
            check_report(event, self._seq, set() if self.allows_resends else self._exec_ids)
        except AssertionError as error:
            self._failure = error
        self._seq = event.venue_seq
        self.reports.append(event)
        self._remember()

    def _remember(self) -> None:
        if self.remembers:
            self.link.resume_from(self.life, self._seq)

    # ------------------------------------------------------------ the test's side

    def start(self) -> None:
        """Connects, and waits until all is told."""
        self.link.start(self.deliver)
        self.wait(lambda: ResumeEnd() in self.events)

    def wait(self, is_true: Callable[[], bool]) -> None:
        """Lets time pass until something is true."""
        self._venue.wait(self, is_true)
        if self._failure is not None:
            raise self._failure

    def tell(self, *messages: ToVenue) -> None:
        """Sends what must be taken."""
        assert self.link.send(messages)

    def ask(self, *messages: ToVenue) -> Report:
        """Sends, and gives the next report."""
        self.tell(*messages)
        return self.next()

    def next(self) -> Report:
        """The next report that was not taken yet."""
        self.wait(lambda: len(self.reports) > self._taken)
        self._taken += 1
        return self.reports[self._taken - 1]

    def next_kinds(self, count: int) -> list[ExecType]:
        """What the next reports say."""
        return [self.next().kind for _ in range(count)]

    def nothing_more(self) -> bool:
        """Whether all reports were taken; what was asked before has been answered."""
        return len(self.reports) == self._taken

    def count(self, kind: type[object]) -> int:
        """How many events of a kind were delivered."""
        with self.heard:
            return sum(isinstance(event, kind) for event in self.events)

    def newest(self, kind: type[_MarketData]) -> _MarketData | None:
        """The newest quote or book of ABC."""
        with self.heard:
            found = (event for event in reversed(self.events) if isinstance(event, kind))
            return next((event for event in found if event.symbol == INSTRUMENT.symbol), None)


class VenueUnderTest(ABC):
    """A venue at which firms trade ABC."""

    def __init__(self) -> None:
        self.sessions: list[FirmSession] = []

    def session(self, firm: str) -> FirmSession:
        """A firm that is connected and has heard all there is."""
        session = FirmSession(self, self.link(firm))
        self.sessions.append(session)
        session.start()
        return session

    def close(self) -> None:
        """Ends everything."""
        for session in self.sessions:
            session.link.stop()

    @abstractmethod
    def link(self, firm: str) -> VenueLink:
        """A new way to it."""

    @abstractmethod
    def wait(self, session: FirmSession, is_true: Callable[[], bool]) -> None:
        """Lets time pass until something is true, or fails."""

    @abstractmethod
    def now_ns(self) -> int:
        """The venue's time."""

    @abstractmethod
    def operate(self, action: str, **fields: Any) -> None:
        """What the operator does, by the names and fields of :mod:`toucan.exchange.operator_channel`."""


class LocalUnderTest(VenueUnderTest):
    """In this process, behind :class:`LocalVenueLink`; misbehaves if a behaviour is given."""

    def __init__(self, behaviour: Behaviour | None = None, seed: int = 1) -> None:
        super().__init__()
        self.exchange = Exchange([INSTRUMENT], life="L", now_ns=START_NS)
        self.operator = Operator(self.exchange)
        self.core: Exchange | MisbehavingVenue = self.exchange
        if behaviour is not None:
            self.core = MisbehavingVenue(self.exchange, behaviour, Random(seed))
        self.venue = LocalVenue(self.core, START_NS)

    def link(self, firm: str) -> LocalVenueLink:
        return LocalVenueLink(self.venue, firm)

    def wait(self, session: FirmSession, is_true: Callable[[], bool]) -> None:
        deadline_ns = self.venue.now_ns + 20_000 * _MS
        while not is_true():
            assert self.venue.now_ns < deadline_ns, "it did not come true"
            self.venue.advance(self.venue.now_ns + _MS)

    def now_ns(self) -> int:
        return self.venue.now_ns

    def operate(self, action: str, **fields: Any) -> None:
        if action == "advance":
            self.venue.advance(self.venue.now_ns + int(fields["by_s"] * 1000) * _MS)
            return
        told: list[Addressed] = getattr(self.operator, action)(**fields, now_ns=self.venue.now_ns)
        if isinstance(self.core, MisbehavingVenue):
            self.venue.dispatch(self.core.tell(told, self.venue.now_ns))
        else:
            self.venue.dispatch(told)


class SocketUnderTest(VenueUnderTest):
    """A process of its own, behind :class:`SocketVenueLink`."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__()
        self.folder = folder
        self.exchange = RunningExchange(folder, *options)

    def close(self) -> None:
        super().close()
        self.exchange.kill()
        assert "Traceback" not in self.exchange.log_path.read_text()

    def link(self, firm: str) -> SocketVenueLink:
        return SocketVenueLink(self.exchange.path, firm)

    def wait(self, session: FirmSession, is_true: Callable[[], bool]) -> None:
        with session.heard:
            assert session.heard.wait_for(is_true, PATIENCE_S), "it did not come true"

    def now_ns(self) -> int:
        return time.time_ns()

    def operate(self, action: str, **fields: Any) -> None:
        self.exchange.told(action=action, **fields)
