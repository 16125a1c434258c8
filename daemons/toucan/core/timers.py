"""What happens because time passes: grace times that end, orders that their venue should have ended, clients that are forgotten.

Law: times come from the state, so a restart loses none; what is kept here beside it only spares looking at every order each time, and is built
again from it. Nothing is done twice: what has been decided is in the state by the time of the next look.
"""

from __future__ import annotations

import heapq

from toucan.core import events as ev
from toucan.core.clients import ClientRecord
from toucan.core.decide import Decider, cancel_event
from toucan.core.limits import CLIENT_IDLE_NS, CLIENTS_MAX
from toucan.core.order import Client, Order
from toucan.core.state import Change

__all__ = ["CLIENTS_FORGET_FROM", "OVERDUE_NS", "Timers"]

#: A DAY or GTD order that is still open so long after its end is cancelled from here: its venue should have done it. One that is frozen then is
#: looked at again after as long.
OVERDUE_NS = 5_000_000_000
#: From so many clients on the idle ones are forgotten.
CLIENTS_FORGET_FROM = CLIENTS_MAX // 2
_CLIENTS_AT_ONCE = 256


class Timers:
    """Timers of one decider's state."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._overdue: list[tuple[int, int]] = []
        self._lost: dict[Client, None] = {}
        self.rebuild()

    def rebuild(self) -> None:
        """After the state was replaced."""
        state = self._decider.state
        self._overdue = [
            (order.expire_at_ns + OVERDUE_NS, order.order_id)
            for order in state.live_orders()
            if order.expire_at_ns is not None
        ]
        heapq.heapify(self._overdue)
        self._lost = {
            client: None
            for client, record in state.clients.items()
            if record.session is not None and record.session.lost_at_ns is not None
        }

    def applied(self, event: ev.Event, change: Change) -> None:
        """Told of every event after it was applied."""
        if isinstance(event, ev.OrderAccepted):
            if event.expire_at_ns is not None:
                heapq.heappush(self._overdue, (event.expire_at_ns + OVERDUE_NS, event.order_id))
        elif isinstance(event, ev.SessionLost):
            self._lost[event.client] = None
        elif isinstance(event, (ev.SessionOpened, ev.SessionEnded)):
            self._lost.pop(event.client, None)
        elif isinstance(event, ev.EngineStarted):
            self.rebuild()

    def tick(self, now_ns: int) -> list[ev.Event]:
        """What is due."""
        overdue = self._overdue_orders(now_ns)
        # Nothing of it is applied yet, so an order that is both is to be cancelled once.
        asked = {event.order_id for event in overdue}
        return [*overdue, *self._grace_over(now_ns, asked), *self._idle_clients(now_ns)]

    def _overdue_orders(self, now_ns: int) -> list[ev.CancelRequested]:
        events: list[ev.CancelRequested] = []
        state = self._decider.state
        while self._overdue and self._overdue[0][0] <= now_ns:
            _, order_id = heapq.heappop(self._overdue)
            order = state.orders.get(order_id)
            if order is None or not self._can_cancel(order):
                continue
            if self._decider.is_frozen(order):
                heapq.heappush(self._overdue, (now_ns + OVERDUE_NS, order_id))
            else:
                events.append(cancel_event(order, ev.ENGINE, "expired"))
        return events

    def _can_cancel(self, order: Order) -> bool:
        return order.may_execute and not order.is_asked_to_cancel()

    def _grace_over(self, now_ns: int, asked: set[int]) -> list[ev.Event]:
        events: list[ev.Event] = []
        state = self._decider.state
        over = []
        for client in self._lost:
            session = state.client(client).session
            if session is None or session.lost_at_ns is None or session.grace_ns is None:
                continue
            if session.lost_at_ns + session.grace_ns <= now_ns:
                over.append(client)
        for client in over:
            orders = [
                order
                for order in state.live_orders()
                if order.owner == client and order.order_id not in asked and self._can_cancel(order)
            ]
            if any(map(self._decider.is_frozen, orders)):
                continue  # as it is, until somebody thaws it
            events.append(ev.SessionEnded(client, is_orderly=False))
            events += [cancel_event(order, ev.ENGINE, "disconnected") for order in orders]
        return events

    def _idle_clients(self, now_ns: int) -> list[ev.Event]:
        state = self._decider.state
        if len(state.clients) < CLIENTS_FORGET_FROM:
            return []
        busy = {order.owner for order in state.live_orders()}
        idle = [
            client
            for client, record in state.clients.items()
            if _is_away(record) and client not in busy and record.last_at_ns + CLIENT_IDLE_NS <= now_ns
        ]
        return [ev.ClientsForgotten(tuple(idle[:_CLIENTS_AT_ONCE]))] if idle else []


def _is_away(record: ClientRecord) -> bool:
    """Whether nobody is there, and nothing more will happen because of that."""
    session = record.session
    return session is None or (session.lost_at_ns is not None and session.grace_ns is None)
