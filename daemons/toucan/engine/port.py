"""What a front end has of the engine: a copy of its state that follows it, a way to ask, and market data.

Everything here belongs to one asyncio event loop. The copy is the engine's own code applied to the engine's own events
(:class:`toucan.core.state.EngineState`), so reading it costs the engine nothing; it may be some microseconds behind, and says so when it is more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from toucan.core.events import Event
from toucan.core.instruments import Instrument
from toucan.core.order import Client
from toucan.core.requests import Body, Reply
from toucan.core.state import Change, EngineState
from toucan.core.venue_messages import Book, Quote

__all__ = ["Applied", "EngineAway", "EnginePort", "EventListener", "Listener"]


class EngineAway(ConnectionError):
    """No engine, or it went while it was asked: the outcome is unknown until the same request is sent again."""


class Applied(msgspec.Struct, frozen=True):
    """One event after it was applied to the copy. ``change.order`` is the live object: take what is needed from it at once."""

    seq: int
    at_ns: int
    event: Event
    change: Change


class Listener(Protocol):
    """Who is told; each method returns at once. One that is to be told of events is a :class:`EventListener`."""

    def on_market(self, symbols: Sequence[str]) -> None:
        """There are newer quotes or books of these symbols."""

    def on_resync(self) -> None:
        """The copy was replaced (after a gap, or by a new engine): what was told before may have skipped events."""

    def on_staleness(self, is_stale: bool) -> None:
        """The copy stopped or began to follow the engine."""


@runtime_checkable
class EventListener(Listener, Protocol):
    """Who is told of every event as well."""

    def on_applied(self, applied: Applied) -> None:
        """An event, as it was applied to the copy and before the next one is."""


class EnginePort(Protocol):
    """The front end's side of the engine."""

    #: Follows the engine; never to be changed by who reads it.
    state: EngineState
    instruments: dict[str, Instrument]
    #: Newest known of each symbol.
    quotes: dict[str, Quote]
    books: dict[str, Book]
    #: Whether the copy does not follow an engine at the moment.
    is_stale: bool
    #: Currency in which notionals and limits are counted.
    base_currency: str

    async def ask(self, client: Client, number: int, body: Body, timeout_s: float | None = None) -> Reply:
        """Sends a request and waits for its answer. Raises :class:`EngineAway`, and ``TimeoutError`` when ``timeout_s`` is over.

        A cancelled or timed-out request may be executed all the same. An answer may be here before the copy has applied what it led to: who reads
        the copy after it waits for the answer's ``seq`` (:meth:`wait_for`).
        """

    async def wait_for(self, seq: int, timeout_s: float) -> bool:
        """Waits until the copy has applied ``seq``; False: it has not in time."""

    def history(self, after_seq: int) -> list[tuple[int, int, Event]] | None:
        """Events (seq, at_ns, event) after ``after_seq`` up to the copy's, oldest first, from memory; None: not all of them are kept."""

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Tells ``listener`` from now on; the result ends that."""
