"""Recorded orders of a real market as background flow: somebody to trade against.

Law: recorded events become orders of a firm that nobody can be (``BACKGROUND_FIRM``) in the real book, at the recorded pace times a factor; what
they do there follows from the book alone. The recording does not know our users: an order of theirs that takes what the recording shows as resting
has taken it, and a recorded order that meets one of theirs is executed. So an event only ever says what the order should *at most* be: a changed
order is made smaller to the recorded volume, never larger than what is left of it here, and the end of an order that is executed already changes
nothing. Events about orders that are not known (recordings begin and end somewhere) are counted and ignored.

**Fleeting orders.** Recordings are full of orders that end at the moment at which they came, with nothing executed: post-only orders that the real
market refused because they would have met somebody. Here they would meet him. So an order whose end is among the next events of the same time, with
the same volume, is left out.

Events are pulled some at a time, so a recording of any length is never in memory. Its times need not be ordered: an event is due at its time or
when those before it are done, whichever is later.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator
from itertools import islice

import msgspec

from toucan.core.instruments import NUMBER_MAX
from toucan.core.values import ExecType, OrderType, Side, TimeInForce
from toucan.core.venue_messages import NewOrder
from toucan.exchange.core.exchange import BACKGROUND_FIRM, Exchange
from toucan.exchange.core.orders import VenueOrder
from toucan.exchange.core.scribe import Addressed

__all__ = ["LOOKAHEAD_EVENTS", "BackgroundCounts", "BackgroundEvent", "BackgroundFlow", "EventKind"]


#: How far the end of a fleeting order is looked for: nearly always it is the very next event.
LOOKAHEAD_EVENTS = 64


class EventKind(enum.IntEnum):
    """What a recorded event says of an order."""

    CREATED = 1
    CHANGED = 2
    DELETED = 3


class BackgroundEvent(msgspec.Struct, frozen=True, gc=False):
    """One recorded event. ``at_ns`` is the recording's time; price and volume (what is left) are integers in the instrument's units."""

    at_ns: int
    event_id: int
    kind: EventKind
    side: Side
    price: int
    volume: int


class BackgroundCounts(msgspec.Struct, gc=False):
    """What became of the events so far."""

    created: int = 0
    changed: int = 0
    deleted: int = 0
    #: Of orders that were executed here before the recording says so.
    executed_before: int = 0
    #: Of orders that are not known.
    unknown: int = 0
    #: Orders left out because they came and went at the same time.
    fleeting: int = 0
    #: Of prices or volumes that cannot be traded: off the grid, not positive, created twice.
    impossible: int = 0


class BackgroundFlow:
    """Plays events into one instrument of an exchange. ``speed`` 2.0 plays them in half the time; ``started_ns`` is when the first one is due."""

    def __init__(
        self,
        exchange: Exchange,
        symbol: str,
        events: Iterator[BackgroundEvent],
        *,
        started_ns: int,
        speed: float = 1.0,
    ) -> None:
        if symbol not in exchange.markets:
            raise ValueError(f"no instrument {symbol!r} is traded here")
        if not speed > 0:
            raise ValueError(f"a speed of {speed}: it must be more than 0")
        self.counts = BackgroundCounts()
        self._exchange = exchange
        self._market = exchange.markets[symbol]
        self._events = events
        self._started_ns = started_ns
        self._speed = speed
        self._orders: dict[int, VenueOrder] = {}
        self._fleeting: set[int] = set()
        #: The next event, and some behind it.
        self._ahead: deque[BackgroundEvent] = deque(islice(events, LOOKAHEAD_EVENTS))
        self._first_ns = self._ahead[0].at_ns if self._ahead else 0

    def next_at_ns(self) -> int | None:
        """When the next event is due; None: there is none left."""
        if not self._ahead:
            return None
        return self._started_ns + int((self._ahead[0].at_ns - self._first_ns) / self._speed)

    def advance(self, now_ns: int, count_max: int) -> list[Addressed]:
        """Plays what is due, at most so many events; gives what the firms are told whose orders were met."""
        self._exchange.move_time(now_ns)
        for _ in range(count_max):
            due_ns = self.next_at_ns()
            if due_ns is None or due_ns > now_ns:
                break
            event = self._ahead.popleft()
            self._ahead.extend(islice(self._events, 1))
            self._play(event)
        return self._exchange.scribe.take()

    def end(self, now_ns: int) -> list[Addressed]:
        """Takes out what is left of the recording's orders, so that another one can begin."""
        self._exchange.move_time(now_ns)
        for order in self._orders.values():
            self._withdraw(order)
        self._orders.clear()
        self._fleeting.clear()
        self._ahead.clear()
        return self._exchange.scribe.take()

    # ------------------------------------------------------------ one event

    def _play(self, event: BackgroundEvent) -> None:
        if event.kind is EventKind.CREATED:
            if self._is_fleeting(event):
                self._fleeting.add(event.event_id)
            else:
                self._create(event)
            return
        if event.event_id in self._fleeting:
            self._fleeting.remove(event.event_id)
            self.counts.fleeting += 1
            return
        order = self._orders.get(event.event_id)
        if order is None:
            self.counts.unknown += 1
        elif event.kind is EventKind.DELETED:
            del self._orders[event.event_id]
            self._count_end(order)
        elif not order.is_open:
            self.counts.executed_before += 1
        else:
            self._change(order, event)

    def _is_fleeting(self, event: BackgroundEvent) -> bool:
        for other in self._ahead:
            if other.at_ns != event.at_ns:
                return False
            if other.event_id == event.event_id:
                return other.kind is EventKind.DELETED and other.volume == event.volume
        return False

    def _create(self, event: BackgroundEvent) -> None:
        if event.event_id in self._orders or not self._is_possible(event.price, event.volume):
            self.counts.impossible += 1
            return
        self.counts.created += 1
        message = NewOrder(
            cl_ord_id="",
            account="",
            symbol=self._market.symbol,
            side=event.side,
            type=OrderType.LIMIT,
            time_in_force=TimeInForce.GTC,
            quantity=event.volume,
            price=event.price,
        )
        order = self._exchange.make_order(BACKGROUND_FIRM, message)
        self._orders[event.event_id] = order
        self._exchange.matching.enter(self._market, order)

    def _change(self, order: VenueOrder, event: BackgroundEvent) -> None:
        left = min(event.volume, order.leaves_quantity)
        if not self._is_possible(event.price, left):
            self.counts.impossible += 1
            return
        self.counts.changed += 1
        quantity = order.cum_quantity + left
        self._exchange.matching.amend(self._market, order, quantity, event.price, None, _nobody)

    def _count_end(self, order: VenueOrder) -> None:
        if order.is_open:
            self._withdraw(order)
            self.counts.deleted += 1
        else:
            self.counts.executed_before += 1

    def _withdraw(self, order: VenueOrder) -> None:
        if order.is_open:
            self._exchange.matching.end(self._market, order, ExecType.CANCELED, "")

    def _is_possible(self, price: int, volume: int) -> bool:
        instrument = self._market.instrument
        return (
            0 < price <= NUMBER_MAX
            and 0 < volume <= NUMBER_MAX
            and price % instrument.tick == 0
            and volume % instrument.lot == 0
        )


def _nobody() -> None:
    """Nobody is told that a recorded order has changed."""
