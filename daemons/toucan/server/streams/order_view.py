"""One watcher's view of the orders: what has to be told, in which messages.

A view is in one of three phases. It *catches up* from the kept updates if it resumes; it gets a *snapshot* if it does not, or if what it would need
is no longer kept; then it is *live*. A snapshot is made in pieces while orders go on changing: an order that changes is told (again) before the
snapshot ends. So at its end everything stands as after the event that it names, and what follows is everything after that. Only the last message of
a snapshot has a ``seq``: who has lost the connection before that has nothing that he could resume from.

What waits for a slow client becomes the last update of each order, and the number of those left out is told. If even that is too much, the stream is
cut off; it can be resumed. A client is not slow because the front end was: what that catches up with after it was without its engine comes in one go,
and views read it from the kept updates, as if they had just resumed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from toucan.core.order import Order
from toucan.server.limits import (
    CATCH_UP_EVENTS,
    ORDERS_SCANNED_PER_TURN,
    SNAPSHOT_ORDERS_PER_TURN,
    UPDATES_PER_MESSAGE_MAX,
    UPDATES_WAITING_MAX,
)
from toucan.server.order_filter import OrderFilter
from toucan.server.streams.updates import Update
from toucan.server.translate import to_wire
from toucan.server.translate.pieces import order_update_piece, watch_orders_response

if TYPE_CHECKING:
    from toucan.server.streams.orders import OrderFeed

__all__ = ["OrderView", "Snapshot"]


class Snapshot:
    """How all orders stand that a filter takes, in pieces, while they change."""

    def __init__(self, order_ids: list[int], wanted: OrderFilter) -> None:
        self._order_ids: Iterator[int] = iter(order_ids)
        self._wanted = wanted
        self._is_exhausted = False
        #: Changed since it began, and to be told (again) before it ends.
        self._changed: dict[int, None] = {}
        #: Where a filter looks at what changes: who was told that an order is in his view must hear that it has left it.
        self._told: set[int] = set()

    def changed(self, order_id: int) -> None:
        """An order that matches in what never changes is otherwise now."""
        self._changed[order_id] = None

    def take(self, orders: Mapping[int, Order]) -> tuple[list[Order], bool]:
        """The next orders, and whether these were the last."""
        found: list[Order] = []
        for _ in range(ORDERS_SCANNED_PER_TURN):
            if self._is_exhausted or len(found) == SNAPSHOT_ORDERS_PER_TURN:
                break
            order_id = next(self._order_ids, None)
            if order_id is None:
                self._is_exhausted = True
            else:
                self._changed.pop(order_id, None)
                self._tell(orders.get(order_id), found)
        while self._is_exhausted and self._changed and len(found) < SNAPSHOT_ORDERS_PER_TURN:
            order_id = next(iter(self._changed))
            del self._changed[order_id]
            self._tell(orders.get(order_id), found)
        return found, self._is_exhausted and not self._changed

    def _tell(self, order: Order | None, found: list[Order]) -> None:
        if order is None:
            return
        if self._wanted.takes(order):
            found.append(order)
            if self._wanted.has_standing:
                self._told.add(order.order_id)
        elif order.order_id in self._told:
            found.append(order)


class OrderView:
    """What one stream tells of orders. ``poke`` is called when there is something, ``cut_off`` with why the client is too slow."""

    def __init__(
        self,
        feed: OrderFeed,
        wanted: OrderFilter,
        *,
        after_seq: int | None,
        has_snapshot: bool,
        poke: Callable[[], None],
        cut_off: Callable[[str], None],
    ) -> None:
        self.wanted = wanted
        self._feed = feed
        self._has_snapshot = has_snapshot
        self._poke = poke
        self._cut_off = cut_off
        self._snapshot: Snapshot | None = None
        #: While catching up: everything up to this event was told.
        self._cursor: int | None = None
        #: While live.
        self._waiting: list[Update] = []
        self._conflated = 0
        #: Something is to be said that is no update: the beginning, or that the copy is or is no longer stale.
        self._must_tell = True
        if after_seq is not None and feed.recent.reaches_back_to(after_seq):
            self._cursor = after_seq
        else:
            self._begin_snapshot()

    def _begin_snapshot(self) -> None:
        if not self._has_snapshot:
            return
        state = self._feed.port.state
        self._snapshot = Snapshot([*(state.live if self.wanted.is_open else state.orders)], self.wanted)

    # ------------------------------------------------------------ from the feed

    def offer(self, update: Update) -> None:
        """Something has happened that may be meant for it."""
        if self._snapshot is not None:
            if self.wanted.takes_for_life(update):
                self._snapshot.changed(update.order_id)
                self._poke()
        elif self._cursor is None and update.passes(self.wanted):
            if self._feed.port.is_stale and not self._conflated:
                self._catch_up_from(self._waiting[0] if self._waiting else update)
                return
            self._waiting.append(update)
            if len(self._waiting) > UPDATES_WAITING_MAX:
                self._conflate()
            self._poke()

    def _catch_up_from(self, update: Update) -> None:
        """Everything before this one was told; it is kept, and so is what comes after it."""
        self._cursor = update.seq - 1
        self._waiting.clear()
        self._poke()

    def _conflate(self) -> None:
        last: dict[int, Update] = {}
        for update in self._waiting:
            last.pop(update.order_id, None)
            last[update.order_id] = update
        left_out = len(self._waiting) - len(last)
        self._conflated += left_out
        self._feed.metrics.conflated(left_out)
        self._waiting = [*last.values()]
        if len(last) > UPDATES_WAITING_MAX // 2:
            self._cut_off(f"{len(last)} orders have changed that it was not told of")

    def restart(self) -> None:
        """What was told before may have skipped events: begins anew."""
        self._waiting.clear()
        self._cursor, self._must_tell = None, True
        self._begin_snapshot()
        self._poke()

    def tell(self) -> None:
        """Something is to be said that is no update."""
        self._must_tell = True
        self._poke()

    # ------------------------------------------------------------ messages

    @property
    def has_more(self) -> bool:
        """Whether there is another message."""
        return (
            self._snapshot is not None or self._cursor is not None or bool(self._waiting) or self._must_tell
        )

    def next_message(self, *, is_heartbeat: bool) -> bytes | None:
        """The next WatchOrdersResponse; None: there is none now."""
        if self._snapshot is not None:
            return self._snapshot_message(self._snapshot)
        if self._cursor is not None:
            updates, seq = self._caught_up_with(self._cursor)
        else:
            updates, seq = self._taken()
        if not updates and not is_heartbeat and not self._must_tell:
            return None
        return self._message(updates, seq)

    def _message(self, updates: list[Update], seq: int) -> bytes:
        conflated, self._conflated = self._conflated, 0
        self._must_tell = False
        pieces = (update.piece for update in updates)
        return watch_orders_response(pieces, seq, conflated=conflated, is_stale=self._feed.port.is_stale)

    def _taken(self) -> tuple[list[Update], int]:
        if len(self._waiting) <= UPDATES_PER_MESSAGE_MAX:
            updates, self._waiting = self._waiting, []
            return updates, self._feed.seq
        updates = self._waiting[:UPDATES_PER_MESSAGE_MAX]
        del self._waiting[:UPDATES_PER_MESSAGE_MAX]
        return updates, updates[-1].seq

    def _caught_up_with(self, cursor: int) -> tuple[list[Update], int]:
        recent = self._feed.recent
        if not recent.reaches_back_to(cursor):  # it fell out of what is kept, before it was read
            self.restart()
            return [], cursor
        candidates = recent.after(cursor, CATCH_UP_EVENTS)
        passing = (update for update in candidates if update.passes(self.wanted))
        found = [*itertools.islice(passing, UPDATES_PER_MESSAGE_MAX)]
        if len(found) == UPDATES_PER_MESSAGE_MAX:
            self._cursor = found[-1].seq
        elif len(candidates) == CATCH_UP_EVENTS:
            self._cursor = candidates[-1].seq
        else:
            self._cursor = None
            return found, self._feed.seq
        return found, self._cursor

    def _snapshot_message(self, snapshot: Snapshot) -> bytes:
        port = self._feed.port
        orders, is_end = snapshot.take(port.state.orders)
        pieces = [
            order_update_piece(to_wire.snapshot_line(order, port.instruments.get(order.terms.symbol)))
            for order in orders
        ]
        if is_end:
            self._snapshot, self._must_tell = None, False
        return watch_orders_response(
            pieces,
            self._feed.seq if is_end else 0,
            is_snapshot=True,
            is_snapshot_end=is_end,
            is_stale=port.is_stale,
        )
