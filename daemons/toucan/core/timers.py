"""What happens because time passes: grace times that end, orders that their venue should have ended, proposals that nobody
decided on, clients that are forgotten.

Law: times come from the state, so a restart loses none; what is kept here beside it only spares looking at every order each time, and is built
again from it. Nothing is done twice: what has been decided is in the state by the time of the next look.
"""

from __future__ import annotations

import heapq

from toucan.core import events as ev
from toucan.core import staging
from toucan.core.clients import ClientRecord
from toucan.core.decide import REDUCE_ONLY, Decider, cancel_event
from toucan.core.limits import CLIENT_IDLE_NS, CLIENTS_MAX, STAGED_MAX
from toucan.core.order import Client, Order
from toucan.core.state import Change
from toucan.core.values import ExecType

__all__ = ["CANCEL_AGAIN_NS", "CLIENTS_FORGET_FROM", "OVERDUE_NS", "Timers"]

#: A DAY or GTD order that is still open so long after its end is cancelled from here: its venue should have done it. One that is frozen then is
#: looked at again after as long.
OVERDUE_NS = 5_000_000_000
#: A cancel of the engine's own that the venue has refused is asked for again after this, until it passes or the order is over: whoever might have
#: done it is not there.
CANCEL_AGAIN_NS = 5_000_000_000
#: From so many clients on the idle ones are forgotten.
CLIENTS_FORGET_FROM = CLIENTS_MAX // 2
_CLIENTS_AT_ONCE = 256
#: Events that a timer begins or ends with.
_TIMED = frozenset(
    (
        ev.OrderAccepted,
        ev.OrderStaged,
        ev.Reported,
        ev.SessionLost,
        ev.SessionOpened,
        ev.SessionEnded,
        ev.EngineStarted,
    )
)


class Timers:
    """Timers of one decider's state."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._overdue: list[tuple[int, int]] = []
        #: Orders of which a cancel was refused, and when it is due again.
        self._refused: list[tuple[int, int]] = []
        #: When staged orders expire; those that were decided are found out when it is their time.
        self._staged: list[tuple[int, int]] = []
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
        self._refused = [
            (order.refused_cancel.at_ns + CANCEL_AGAIN_NS, order.order_id)
            for order in state.live_orders()
            if order.refused_cancel is not None
        ]
        heapq.heapify(self._refused)
        self._staged = [(staged.expires_at_ns, staged.staged_id) for staged in state.staged.waiting()]
        heapq.heapify(self._staged)
        self._lost = {
            client: None
            for client, record in state.clients.items()
            if record.session is not None and record.session.lost_at_ns is not None
        }

    def applied(self, event: ev.Event, change: Change) -> None:
        """Told of every event after it was applied."""
        if type(event) not in _TIMED:
            return
        if isinstance(event, ev.Reported):  # most of them
            self._reported(event, change.order)
            return
        if isinstance(event, ev.OrderAccepted):
            if event.expire_at_ns is not None:
                heapq.heappush(self._overdue, (event.expire_at_ns + OVERDUE_NS, event.order_id))
        elif isinstance(event, ev.OrderStaged):
            self._note_staged(event)
        elif isinstance(event, ev.SessionLost):
            self._lost[event.client] = None
        elif isinstance(event, (ev.SessionOpened, ev.SessionEnded)):
            self._lost.pop(event.client, None)
        elif isinstance(event, ev.EngineStarted):
            self.rebuild()

    def _note_staged(self, event: ev.OrderStaged) -> None:
        heapq.heappush(self._staged, (event.expires_at_ns, event.staged_id))
        if len(self._staged) > 2 * STAGED_MAX:  # most of them were decided
            waiting = self._decider.state.staged.waiting()
            self._staged = [(staged.expires_at_ns, staged.staged_id) for staged in waiting]
            heapq.heapify(self._staged)

    def _reported(self, event: ev.Reported, order: Order | None) -> None:
        if event.report.kind is ExecType.CANCEL_REJECT and order is not None and order.refused_cancel:
            heapq.heappush(self._refused, (order.refused_cancel.at_ns + CANCEL_AGAIN_NS, order.order_id))

    def tick(self, now_ns: int) -> list[ev.Event]:
        """What is due."""
        # Nothing of it is applied yet, so an order that is in several of these is to be cancelled once.
        asked: set[int] = set()
        overdue = self._overdue_orders(now_ns, asked)
        again = self._cancels_again(now_ns, asked)
        over = self._staged_over(now_ns)
        grace = self._grace_over(now_ns, asked, {event.staged_id for event in over})
        return [*overdue, *again, *over, *grace, *self._idle_clients(now_ns)]

    def _staged_over(self, now_ns: int) -> list[ev.StagedExpired]:
        due = []
        while self._staged and self._staged[0][0] <= now_ns:
            due.append(heapq.heappop(self._staged)[1])
        return staging.expired(self._decider, due)

    def _cancels_again(self, now_ns: int, asked: set[int]) -> list[ev.CancelRequested]:
        events: list[ev.CancelRequested] = []
        state = self._decider.state
        while self._refused and self._refused[0][0] <= now_ns:
            _, order_id = heapq.heappop(self._refused)
            order = state.orders.get(order_id)
            if order is None or order.refused_cancel is None or not order.may_execute or order_id in asked:
                continue
            if order.is_asked_to_cancel() or self._decider.is_frozen(order):
                heapq.heappush(self._refused, (now_ns + CANCEL_AGAIN_NS, order_id))
            elif self._is_still_wanted(order, order.refused_cancel.why):
                asked.add(order_id)
                events.append(cancel_event(order, ev.ENGINE, order.refused_cancel.why))
        return events

    def _is_still_wanted(self, order: Order, why: str) -> bool:
        """Only what would do more than reduce can come right by itself; if it goes wrong again it is asked for anew."""
        if why != REDUCE_ONLY:
            return True
        terms = order.terms
        return order.order_id in self._decider.state.risk.reduce_only_excess(terms.account, terms.symbol)

    def _overdue_orders(self, now_ns: int, asked: set[int]) -> list[ev.CancelRequested]:
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
                asked.add(order_id)
                events.append(cancel_event(order, ev.ENGINE, "expired"))
        return events

    def _can_cancel(self, order: Order) -> bool:
        return order.may_execute and not order.is_asked_to_cancel()

    def _grace_over(self, now_ns: int, asked: set[int], expired: set[int]) -> list[ev.Event]:
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
            events += [
                one for one in staging.withdrawn(self._decider, client) if one.staged_id not in expired
            ]
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
