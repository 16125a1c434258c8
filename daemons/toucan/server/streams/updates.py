"""Updates of orders, encoded once for all who watch, and the run of the last ones, from which a stream can go on where it broke off.

An update holds the order *as it was after its event* (:mod:`toucan.server.translate.moment`), and is encoded when the first one sends it. Updates of
events that this front end did not see happen, since it started later or its copy was replaced, are made from the events as they were kept; the
order in them is as it is now. What was executed is exact in either case: it is in the event.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from operator import attrgetter

import msgspec

from toucan.core import events as ev
from toucan.core.instruments import Instrument
from toucan.core.life_cycle import Effect
from toucan.core.order import Client, Order
from toucan.core.terms import OrderTerms
from toucan.server.limits import UPDATES_KEPT_MAX
from toucan.server.order_filter import NOT_THERE, OrderFilter, Standing
from toucan.server.translate import to_wire
from toucan.server.translate.moment import OrderMoment, moment_of
from toucan.server.translate.pieces import order_update_piece

__all__ = ["RecentUpdates", "Update", "is_about_order", "make_update", "order_id_of"]

_seq_of = attrgetter("seq")
#: Events after which an order is told of. A refused report changes nothing: it is for the drop copy.
_ABOUT_ORDERS = (
    ev.OrderAccepted,
    ev.OrderAdopted,
    ev.CancelRequested,
    ev.ReplaceRequested,
    ev.Reported,
    ev.RequestNotReceived,
)


class _Told(msgspec.Struct, frozen=True, gc=False):
    """What an update's bytes are made of."""

    at_ns: int
    event: ev.Event
    order: OrderMoment
    instrument: Instrument | None
    effect: Effect | None


class Update(msgspec.Struct, gc=False):
    """One change of one order. ``terms`` and ``owner`` are for filters."""

    seq: int
    order_id: int
    terms: OrderTerms
    owner: Client
    #: How the order stood before it, where that is known.
    before: Standing | None
    after: Standing
    #: What it tells: as bytes, once somebody was told.
    told: _Told | bytes

    @property
    def piece(self) -> bytes:
        """For the wire (:mod:`toucan.server.translate.pieces`)."""
        told = self.told
        if isinstance(told, _Told):
            wire = to_wire.order_update(
                self.seq, told.at_ns, told.event, told.order, told.instrument, told.effect
            )
            self.told = told = order_update_piece(wire)
        return told

    def passes(self, wanted: OrderFilter) -> bool:
        """Whether a watcher with this filter is told."""
        if not wanted.takes_for_life(self):
            return False
        if not wanted.has_standing or wanted.takes_standing(self.after):
            return True
        return self.before is None or wanted.takes_standing(self.before)


def is_about_order(event: ev.Event) -> bool:
    """Whether watchers of orders are told of an event."""
    return isinstance(event, _ABOUT_ORDERS)


def order_id_of(event: ev.Event) -> int | None:
    """The order that an event is about, if watchers of orders are told of it."""
    return event.order_id if isinstance(event, _ABOUT_ORDERS) else None


def make_update(
    seq: int,
    at_ns: int,
    event: ev.Event,
    order: Order,
    instrument: Instrument | None,
    effect: Effect | None,
    before: Standing | None,
) -> Update:
    """An update with the order as it is at this moment."""
    moment = moment_of(order)
    if isinstance(event, (ev.OrderAccepted, ev.OrderAdopted)):
        before = NOT_THERE
    after = Standing(moment.status, moment.leaves_quantity > 0)
    told = _Told(at_ns, event, moment, instrument, effect)
    return Update(seq, order.order_id, order.terms, order.owner, before, after, told)


class RecentUpdates:
    """The last updates, oldest first; everything after :attr:`kept_after` is there."""

    def __init__(self, seq: int) -> None:
        self._updates: list[Update] = []
        #: The newest event, whether or not it is about an order.
        self.seq = seq
        #: Every update of a later event is kept.
        self.kept_after = seq

    def __len__(self) -> int:
        return len(self._updates)

    def append(self, update: Update) -> None:
        """The next one. The oldest are dropped many at a time, since that moves the list."""
        self._updates.append(update)
        if len(self._updates) >= UPDATES_KEPT_MAX + UPDATES_KEPT_MAX // 4:
            dropped = UPDATES_KEPT_MAX // 4
            self.kept_after = self._updates[dropped - 1].seq
            del self._updates[:dropped]

    def prepend(self, updates: Iterable[Update], kept_after: int) -> None:
        """Older ones, which reach back to ``kept_after``."""
        self._updates[:0] = updates
        self.kept_after = kept_after

    def reaches_back_to(self, seq: int) -> bool:
        """Whether a stream that was told everything up to ``seq`` can go on from it."""
        return self.kept_after <= seq <= self.seq

    def after(self, seq: int, count: int) -> list[Update]:
        """So many updates after ``seq`` at most, oldest first."""
        start = bisect.bisect_right(self._updates, seq, key=_seq_of)
        return self._updates[start : start + count]
