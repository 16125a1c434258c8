"""The feed of orders: follows the engine for all who watch them, WatchOrders and sessions alike.

An update is made and encoded once, kept for those who resume, and offered to the views (:mod:`toucan.server.streams.order_view`) that may be meant:
those that look at its account, and those of the session that entered the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import structlog

from toucan.core.events import Event
from toucan.core.instruments import Instrument
from toucan.core.order import Client, Order
from toucan.engine.port import Applied, EnginePort
from toucan.server.metrics import Metrics
from toucan.server.order_filter import Standing
from toucan.server.streams.order_view import OrderView
from toucan.server.streams.updates import RecentUpdates, Update, is_about_order, make_update, order_id_of

__all__ = ["OrderFeed"]

_log = structlog.get_logger("toucan.server")


class OrderFeed:
    """Follows the engine for all watchers of orders; a :class:`toucan.engine.port.EventListener`."""

    def __init__(self, port: EnginePort, metrics: Metrics) -> None:
        self.port = port
        self.metrics = metrics
        self.recent = RecentUpdates(port.state.seq)
        #: How orders that are not over stood last.
        self._standings: dict[int, Standing] = {}
        self._views: set[OrderView] = set()
        self._by_account: dict[str, tuple[OrderView, ...]] = {}
        self._by_client: dict[Client, set[OrderView]] = {}
        self._reach_back()

    @property
    def seq(self) -> int:
        """Everything up to this event was offered to all views."""
        return self.recent.seq

    # ------------------------------------------------------------ views

    def add(self, view: OrderView) -> None:
        """From now on the view is offered what happens."""
        client = view.wanted.client
        if client is not None:
            self._by_client.setdefault(client, set()).add(view)
        self._views.add(view)
        self._by_account.clear()

    def remove(self, view: OrderView) -> None:
        """Its stream is over."""
        client = view.wanted.client
        if client is not None:
            self._by_client[client].discard(view)
            if not self._by_client[client]:
                del self._by_client[client]
        self._views.discard(view)
        self._by_account.clear()

    def _watchers(self, update: Update) -> Iterable[OrderView]:
        account = update.terms.account
        watchers = self._by_account.get(account)
        if watchers is None:
            watchers = self._by_account[account] = tuple(
                view
                for view in self._views
                if view.wanted.client is None
                and (view.wanted.accounts is None or account in view.wanted.accounts)
            )
        sessions = self._by_client.get(update.owner)
        return (*watchers, *sessions) if sessions else watchers

    # ------------------------------------------------------------ the engine

    def on_applied(self, applied: Applied) -> None:
        """See :class:`toucan.engine.port.EventListener`."""
        seq, event, change = applied.seq, applied.event, applied.change
        self.recent.seq = seq
        order = change.order
        if order is None or not is_about_order(event):
            return
        before = self._standings.get(order.order_id)
        instrument = self._instrument(order)
        update = make_update(seq, applied.at_ns, event, order, instrument, change.effect, before)
        self._note_standing(order, update.after)
        self._offer(update)

    def _instrument(self, order: Order) -> Instrument | None:
        return self.port.instruments.get(order.terms.symbol)

    def _note_standing(self, order: Order, standing: Standing) -> None:
        if order.order_id in self.port.state.live:
            self._standings[order.order_id] = standing
        else:
            self._standings.pop(order.order_id, None)

    def _offer(self, update: Update) -> None:
        self.recent.append(update)
        for view in self._watchers(update):
            view.offer(update)

    def on_market(self, symbols: Sequence[str]) -> None:
        """Orders do not change with the market."""

    def on_resync(self) -> None:
        """The copy was replaced: goes on without a gap if the events between are kept, else every view begins with a snapshot."""
        events = self.port.history(self.seq) if self.port.state.seq >= self.seq else None
        self._standings.clear()
        if events is not None:
            for update in self._made_later(events):
                self._offer(update)
            self.recent.seq = self.port.state.seq
            return
        _log.warning("order streams begin anew: the events between are not kept", seq=self.port.state.seq)
        self.recent = RecentUpdates(self.port.state.seq)
        self._reach_back()
        for view in self._views:
            view.restart()

    def on_staleness(self, is_stale: bool) -> None:
        """Told to everybody at once."""
        for view in self._views:
            view.tell()

    # ------------------------------------------------------------ what happened before

    def _reach_back(self) -> None:
        """Makes updates of the events that the port keeps, so that clients of an earlier front end can go on here."""
        oldest = _oldest_kept(self.port)
        events = self.port.history(oldest)
        if events:
            self.recent.prepend([*self._made_later(events)], oldest)

    def _made_later(self, events: Iterable[tuple[int, int, Event]]) -> Iterator[Update]:
        for seq, at_ns, event in events:
            order_id = order_id_of(event)
            order = None if order_id is None else self.port.state.orders.get(order_id)
            if order is not None:
                yield make_update(seq, at_ns, event, order, self._instrument(order), None, None)


def _oldest_kept(port: EnginePort) -> int:
    """The smallest number after which all events are kept."""
    low, high = 0, port.state.seq
    while low < high:
        middle = (low + high) // 2
        if port.history(middle) is None:
            low = middle + 1
        else:
            high = middle
    return low
