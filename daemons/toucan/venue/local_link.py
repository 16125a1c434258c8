"""The way to an exchange in the same process: no thread, no socket, and the time is passed in. For tests and simulations.

What is sent is carried out at once, at the time passed to :meth:`LocalVenueLink.advance` last, and what the venue answers is delivered before
``send`` returns; so ``deliver`` only ever hands over. Answers for other firms go to their ways, which is why all ways to one venue share a
:class:`LocalVenue`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from toucan.core.venue_messages import Book, FromVenue, Quote, Resume, ToVenue
from toucan.exchange.core.exchange import FirmRefused
from toucan.venue.events import Connected, Disconnected, VenueEvent
from toucan.venue.limits import RECONNECT_NS
from toucan.venue.link import Deliver

__all__ = ["LocalVenue", "LocalVenueLink", "VenueCore"]


class VenueCore(Protocol):
    """An exchange, or something that misbehaves around one (:mod:`toucan.venue.misbehaving`)."""

    def handle(
        self, firm: str, message: ToVenue, now_ns: int
    ) -> Sequence[tuple[str, FromVenue | Disconnected]]:
        """Carries out what a firm asks; Resume too."""

    def advance(self, now_ns: int) -> Sequence[tuple[str, FromVenue | Disconnected]]:
        """Does what is due."""

    def next_at_ns(self) -> int | None:
        """When something is due next."""

    def take_changed(self) -> list[str]:
        """Symbols of the markets that look other than before."""

    def symbols(self) -> list[str]:
        """All that is traded."""

    def quote(self, symbol: str) -> Quote:
        """Top of book and last trade."""

    def book(self, symbol: str) -> Book:
        """Depth."""


class LocalVenue:
    """One venue and the ways to it. All of it is at the time that :meth:`advance` was given last."""

    def __init__(self, core: VenueCore, now_ns: int) -> None:
        self.core = core
        self.now_ns = now_ns
        self._links: dict[str, LocalVenueLink] = {}

    def advance(self, now_ns: int) -> None:
        """Lets time pass: what is due at the venue happens, and lost connections are made anew."""
        self.now_ns = max(self.now_ns, now_ns)
        self.dispatch(self.core.advance(self.now_ns))
        for link in list(self._links.values()):
            link.advance(self.now_ns)
        for symbol in self.core.take_changed():
            for link in self._links.values():
                link.receive([self.core.quote(symbol), self.core.book(symbol)])

    def next_at_ns(self) -> int | None:
        """When :meth:`advance` has something to do next; None: when somebody sends something."""
        times = [self.core.next_at_ns(), *(link.connects_at_ns for link in self._links.values())]
        return min((at_ns for at_ns in times if at_ns is not None), default=None)

    def restart(self, core: VenueCore, reason: str = "the venue was restarted") -> None:
        """The venue is another one now, which has lost all state; its life must be a new one."""
        self.core = core
        for link in self._links.values():
            link.lose(reason)

    def dispatch(self, told: Sequence[tuple[str, FromVenue | Disconnected]]) -> None:
        """Takes messages to the firms that they are for; those that are not connected will resume."""
        batches: dict[str, list[FromVenue]] = {}
        for firm, message in told:
            link = self._links.get(firm)
            if link is None:
                continue
            if isinstance(message, Disconnected):
                link.receive(batches.pop(firm, []))
                link.lose(message.reason)
            else:
                batches.setdefault(firm, []).append(message)
        for firm, messages in batches.items():
            self._links[firm].receive(messages)

    def join(self, link: LocalVenueLink) -> None:
        """A way begins."""
        self._links[link.firm] = link

    def leave(self, link: LocalVenueLink) -> None:
        """A way ends."""
        if self._links.get(link.firm) is link:
            del self._links[link.firm]


class LocalVenueLink:
    """A :class:`~toucan.venue.link.VenueLink` to a :class:`LocalVenue`."""

    def __init__(self, venue: LocalVenue, firm: str) -> None:
        self.firm = firm
        #: When it connects anew; None: it is connected, or not started.
        self.connects_at_ns: int | None = None
        self._venue = venue
        self._known = ("", 0)
        self._deliver: Deliver | None = None
        self._is_connected = False
        #: What could not be told yet.
        self._owed: Disconnected | None = None

    def resume_from(self, life: str, venue_seq: int) -> None:
        """See :class:`~toucan.venue.link.VenueLink`."""
        self._known = (life, venue_seq)

    def start(self, deliver: Deliver) -> None:
        """See :class:`~toucan.venue.link.VenueLink`; it is connected when this returns."""
        self._deliver = deliver
        self._venue.join(self)
        self._connect()

    def send(self, messages: Sequence[ToVenue]) -> bool:
        """See :class:`~toucan.venue.link.VenueLink`."""
        if not self._is_connected:
            return False
        for message in messages:
            if not self._is_connected:
                break  # lost in the middle
            self._venue.dispatch(self._venue.core.handle(self.firm, message, self._venue.now_ns))
        return True

    def reconnect(self) -> None:
        """See :class:`~toucan.venue.link.VenueLink`."""
        self.lose("dropped here, to connect anew")

    def stop(self) -> None:
        """See :class:`~toucan.venue.link.VenueLink`."""
        self._is_connected = False
        self.connects_at_ns = None
        self._deliver = None
        self._venue.leave(self)

    # ------------------------------------------------------------ called by the venue

    def advance(self, now_ns: int) -> None:
        """Connects anew if it is time, and the end of the connection before was heard."""
        if self._owed is not None and not self._tell_lost(self._owed):
            return
        if self.connects_at_ns is not None and self.connects_at_ns <= now_ns:
            self._connect()

    def receive(self, messages: Sequence[FromVenue]) -> None:
        """The venue says something."""
        if messages and self._is_connected:
            self._hand_over(list(messages))

    def lose(self, reason: str) -> None:
        """The connection is gone; a new one is made in a while (``RECONNECT_NS``)."""
        if self._is_connected:
            self._is_connected = False
            self.connects_at_ns = self._venue.now_ns + RECONNECT_NS
            self._tell_lost(Disconnected(reason))

    def _tell_lost(self, event: Disconnected) -> bool:
        is_taken = self._deliver is None or self._deliver([event])
        self._owed = None if is_taken else event
        return is_taken

    def _connect(self) -> None:
        life, venue_seq = self._known
        self.connects_at_ns = None
        self._is_connected = True
        self._hand_over([Connected()])
        try:
            resume = Resume(firm=self.firm, life=life, venue_seq=venue_seq)
            self._venue.dispatch(self._venue.core.handle(self.firm, resume, self._venue.now_ns))
        except FirmRefused as error:
            self.lose(str(error))
            return
        for symbol in self._venue.core.symbols():
            self.receive([self._venue.core.quote(symbol), self._venue.core.book(symbol)])

    def _hand_over(self, messages: list[VenueEvent]) -> None:
        if self._deliver is not None and not self._deliver(messages):
            self.lose("the engine takes no more: it has too much waiting")
