"""From requests to events: what is accepted, denied, refused; and what goes to a venue because of it.

Law: :class:`Decider` reads the state and changes nothing. What it gives is applied, made durable and only then acted on, by others. Time, market data
and the instrument table come as arguments; the same state and arguments give the same events. A request is decided as a whole before the next one
is looked at, so of one client nothing is ever under way twice (the client-specific mutex of a threaded server, without a mutex).

The checks come in this order, and the first that fails is the answer: was it executed before, is it too late, does it make sense, may it pass
(:mod:`toucan.core.risk`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core import staging
from toucan.core.instruments import Instrument
from toucan.core.limits import CLIENTS_MAX, OPEN_ORDERS_MAX, REQUESTS_IN_FLIGHT_MAX, SESSION_NAME_MAX
from toucan.core.order import Client, Order
from toucan.core.outcomes import (
    Accepted,
    Denial,
    Denied,
    Done,
    MassCanceled,
    Outcome,
    Previewed,
    Refusal,
    Refused,
)
from toucan.core.risk import reference_price
from toucan.core.state import Change, EngineState, cl_ord_id_of
from toucan.core.terms import OrderTerms
from toucan.core.values import OrdStatus, TimeInForce, TradingLevel
from toucan.core.venue_messages import Quote

__all__ = ["REDUCE_ONLY", "Decider", "Decision", "cancel_event"]

#: Why the engine cancels an order that would do more than close the position.
REDUCE_ONLY = "reduce-only"

#: Events, and the answer to who asked.
Decision = tuple[list[ev.Event], Outcome]


class Decider:
    """Decides for one state. ``id_prefix`` begins every ClOrdID: unique to this journal, so that venues never see an id twice."""

    def __init__(
        self,
        state: EngineState,
        instruments: Mapping[str, Instrument],
        id_prefix: str,
    ) -> None:
        self.state = state
        self.instruments = instruments
        self._quotes: dict[str, Quote] = {}
        self._id_prefix = id_prefix
        state.risk.use_instruments(instruments)
        #: When each symbol's session ends, as long as that is still to come.
        self._session_ends: dict[str, int] = {}

    def rebind(self, state: EngineState) -> None:
        """The state was built anew."""
        self.state = state
        state.risk.use_instruments(self.instruments)
        for quote in self._quotes.values():
            self.quote(quote)

    def quote(self, quote: Quote) -> None:
        """Newer market data, for price collars and marks."""
        self._quotes[quote.symbol] = quote
        price = reference_price(quote)
        if price is not None:
            self.state.risk.mark(quote.symbol, price)

    def following(self, change: Change) -> list[ev.Event]:
        """What must be done because of a change: reduce-only orders that would do more than close the position are cancelled, the newest first."""
        if change.position is None:
            return []
        account, _, symbol = change.position
        orders = (
            self.state.orders[order_id] for order_id in self.state.risk.reduce_only_excess(account, symbol)
        )
        return [
            cancel_event(order, ev.ENGINE, REDUCE_ONLY)
            for order in orders
            if order.may_execute and not order.is_asked_to_cancel() and not self.is_frozen(order)
        ]

    def is_frozen(self, order: Order, besides: str = "") -> bool:
        """Whether nothing passes for an order, cancels neither; how the node ``besides`` is set does not count."""
        risk, account, trader = self.state.risk, order.terms.account, order.owner.user
        if not besides:
            return risk.level(account, trader) is TradingLevel.FREEZE
        others = (node for node in risk.tree.path(account, trader) if node != besides)
        return any(risk.controls.control(node).effective is TradingLevel.FREEZE for node in others)

    def request(self, request: rq.Request, now_ns: int, monotonic_ns: int) -> Decision:
        """What a request leads to. ``now_ns``: wall clock, ns since the epoch; ``monotonic_ns``: the clock of the request's deadline."""
        body, client = request.body, request.client
        unnumbered = _UNNUMBERED.get(type(body))
        if unnumbered is not None:
            return self._room_for(client) or unnumbered(self, client, body, now_ns)
        if request.number <= 0:
            return [], Refused(
                Refusal.REQUEST_NUMBER_MISSING, "a request that changes something needs a number from 1"
            )
        fingerprint = rq.fingerprint(body)
        known = self.state.client(client).recall(request.number, fingerprint)
        if known is not None:
            return [], known
        refusal = self._room_for(client)
        if refusal is not None and not self._passes_without_room(client, body):
            return refusal
        if request.deadline_ns is not None and monotonic_ns > request.deadline_ns:
            late = (monotonic_ns - request.deadline_ns) / 1e6
            events, outcome = _refused(
                Refusal.DEADLINE_PASSED, f"came {late:.1f} ms after its deadline; it was not executed"
            )
        else:
            events, outcome = _NUMBERED[type(body)](self, client, body, now_ns)
        if refusal is not None:
            return events, outcome  # not remembered
        return [*events, ev.Answered(client, request.number, outcome, fingerprint)], outcome

    def _passes_without_room(self, client: Client, body: rq.Body) -> bool:
        """Whether it is carried out for a session that there is no room to remember: what cancels or stops. To do that twice does no harm."""
        if not 0 < len(client.session) <= SESSION_NAME_MAX:
            return False
        is_stop = isinstance(body, rq.SetLevel) and body.level is not TradingLevel.NORMAL
        return is_stop or isinstance(body, (rq.Cancel, rq.MassCancel))

    def _room_for(self, client: Client) -> Decision | None:
        if client in self.state.clients:
            return None
        if not 0 < len(client.session) <= SESSION_NAME_MAX:
            return _refused(Refusal.INVALID_ORDER, f"a session's name has 1 to {SESSION_NAME_MAX} characters")
        if len(self.state.clients) >= CLIENTS_MAX:
            return _refused(
                Refusal.TOO_MANY_SESSIONS, f"{CLIENTS_MAX} sessions are remembered; use one of yours again"
            )
        return None

    # ------------------------------------------------------------ orders

    def _submit(self, client: Client, body: rq.Submit, now_ns: int) -> Decision:
        return self.new_order(body.terms, client, client, now_ns, body.is_confirmed)

    def new_order(
        self, terms: OrderTerms, asker: Client, owner: Client, now_ns: int, is_confirmed: bool,
        staged_id: int | None = None,
    ) -> Decision:  # fmt: skip
        """All checks of a new order of ``owner``, within his limits; ``asker`` sends it, who is another one where it was staged."""
        refusal = self._unsendable(terms, now_ns)
        if refusal is not None:
            return refusal
        state, instrument = self.state, self.instruments[terms.symbol]
        denial = state.risk.deny_new(
            terms, owner.user, instrument, self._quote(terms.symbol), state.positions, now_ns, is_confirmed
        )
        if denial is not None:
            return self._denied(asker, terms, denial, now_ns, staged_id=staged_id)
        order_id = state.next_order_id
        accepted = ev.OrderAccepted(
            order_id,
            f"{self._id_prefix}-{order_id}-1",
            owner,
            terms,
            instrument.venue,
            self._expiry(terms, now_ns),
        )
        return [accepted], Accepted(order_id)

    def judged(
        self, terms: OrderTerms, trader: str, now_ns: int
    ) -> tuple[tuple[Denial, ...], str, int | None]:
        """What a new order of ``trader`` would be denied for now, what it is worth in the base currency, and the market's price."""
        instrument, quote, state = self.instruments[terms.symbol], self._quote(terms.symbol), self.state
        common = (terms, trader, instrument, quote, state.positions, now_ns)
        hard = state.risk.deny_new(*common, True)
        soft = state.risk.deny_new(*common, False)
        denials = tuple(dict.fromkeys(one for one in (hard, soft) if one is not None))
        return denials, state.risk.notional_text(terms, instrument, quote), reference_price(quote)

    def _unsendable(self, terms: OrderTerms, now_ns: int) -> Decision | None:
        refusal = self.senseless(terms, now_ns)
        if refusal is not None:
            return refusal
        if len(self.state.live) >= OPEN_ORDERS_MAX:
            return _refused(Refusal.TOO_MANY_ORDERS, f"{OPEN_ORDERS_MAX} orders are open; cancel some")
        name = self.instruments[terms.symbol].venue
        venue = self.state.venue(name)
        if not venue.is_ready:
            return _refused(Refusal.VENUE_NOT_READY, f"venue {name} takes no orders now: {venue.why}")
        return None

    def senseless(self, terms: OrderTerms, now_ns: int) -> Decision | None:
        """The refusal of terms that could never be an order of anybody; None: they could."""
        instrument = self.instruments.get(terms.symbol)
        if instrument is None:
            return _refused(Refusal.UNKNOWN_INSTRUMENT, f"there is no instrument {terms.symbol[:40]!r}")
        problem = terms.validate(instrument, now_ns)
        if problem is not None:
            return _refused(Refusal.INVALID_ORDER, f"{problem.field}: {problem.text}")
        if not self.state.risk.has_account(terms.account):
            return _refused(
                Refusal.UNKNOWN_ACCOUNT, f"there is no account {terms.account[:40]!r} in the limits file"
            )
        return None

    def _denied(
        self, client: Client, terms: OrderTerms, denial: Denial, now_ns: int, order_id: int | None = None,
        staged_id: int | None = None,
    ) -> Decision:  # fmt: skip
        denied = ev.OrderDenied(client, terms, denial, order_id, staged_id)
        blocked = self.state.risk.blocks_after(denied, now_ns)
        return [denied, *blocked], Denied(denial)

    def _quote(self, symbol: str) -> Quote | None:
        return self._quotes.get(symbol)

    def _expiry(self, terms: OrderTerms, now_ns: int) -> int | None:
        if terms.time_in_force is not TimeInForce.DAY:
            return terms.expire_at_ns
        return self.session_end(terms.symbol, now_ns)

    def session_end(self, symbol: str, now_ns: int) -> int:
        """When the session of a symbol ends that is on or comes next, ns since the epoch. Raises ``ValueError`` for a calendar without one."""
        end = self._session_ends.get(symbol, 0)
        if end <= now_ns:
            end = self.instruments[symbol].session.ends_after_ns(now_ns)
            self._session_ends[symbol] = end
        return end

    def _cancel(self, client: Client, body: rq.Cancel, now_ns: int) -> Decision:
        order = self.state.orders.get(body.order_id)
        refusal = self._untouchable(order, body.order_id)
        if refusal is not None:
            return refusal
        assert order is not None
        if not order.may_execute:
            return _refused(
                Refusal.ORDER_CLOSED,
                f"order {order.order_id} is {order.status.name}: nothing is left to cancel",
            )
        return [cancel_event(order, client)], Accepted(order.order_id)

    def _untouchable(self, order: Order | None, order_id: int) -> Decision | None:
        if order is None:
            return _refused(Refusal.UNKNOWN_ORDER, f"there is no order {order_id}")
        if self.is_frozen(order):
            return _refused(
                Refusal.FROZEN, f"account {order.terms.account} is frozen: nothing passes, cancels neither"
            )
        if order.is_asked_to_cancel():
            return _refused(Refusal.CANCEL_IN_FLIGHT, f"order {order.order_id} is being cancelled already")
        return None

    def _replace(self, client: Client, body: rq.Replace, now_ns: int) -> Decision:
        order = self.state.orders.get(body.order_id)
        refusal = self._untouchable(order, body.order_id)
        if refusal is not None:
            return refusal
        assert order is not None
        base = next((one.terms for one in reversed(order.requests) if one.terms is not None), order.terms)
        given = {
            name: getattr(body, name)
            for name in ("quantity", "price", "stop_price")
            if getattr(body, name) is not None
        }
        terms = msgspec.structs.replace(base, **given)
        refusal = self._unreplaceable(order, base, terms, now_ns)
        if refusal is not None:
            return refusal
        denial = self.state.risk.deny_replace(
            order, terms, client.user, self.instruments[terms.symbol], self._quote(terms.symbol), self.state.positions,
            now_ns, body.is_confirmed,
        )  # fmt: skip
        if denial is not None:
            return self._denied(client, terms, denial, now_ns, order.order_id)
        cl_ord_id = cl_ord_id_of(order, order.request_count + 1)
        return [
            ev.ReplaceRequested(order.order_id, cl_ord_id, order.orig_cl_ord_id, client, terms)
        ], Accepted(order.order_id)

    def _unreplaceable(
        self, order: Order, base: OrderTerms, terms: OrderTerms, now_ns: int
    ) -> Decision | None:
        # A filled order may still grow, where its venue allows it (FIX 4.4 Appendix D, C.1.c); one that was cancelled, and of which fills came
        # later that make it full, may not.
        can_grow = not order.has_ended and order.status in (OrdStatus.FILLED, OrdStatus.PENDING_REPLACE)
        if not order.is_open and not can_grow:
            return _refused(
                Refusal.ORDER_CLOSED, f"order {order.order_id} is {order.status.name}: it cannot be replaced"
            )
        if len(order.requests) >= REQUESTS_IN_FLIGHT_MAX:
            return _refused(
                Refusal.TOO_MANY_IN_FLIGHT,
                f"{len(order.requests)} requests for order {order.order_id} are unanswered; wait for its venue, or cancel it",
            )
        if terms == base:
            return _refused(Refusal.NOTHING_CHANGES, f"order {order.order_id} is already as asked")
        problem = self.senseless(terms, now_ns)
        if problem is not None:
            return problem
        if terms.quantity <= order.cum_quantity:
            return _refused(
                Refusal.INVALID_ORDER,
                f"quantity: {order.cum_quantity} of order {order.order_id} are filled already; cancel it to end it there",
            )
        venue = self.state.venue(order.venue)
        if not venue.is_ready:
            return _refused(
                Refusal.VENUE_NOT_READY, f"venue {order.venue} takes no replacements now: {venue.why}"
            )
        return None

    def _mass_cancel(self, client: Client, body: rq.MassCancel, now_ns: int) -> Decision:
        return self._cancel_all(
            (order for order in self.state.live_orders() if _matches(order, body)), client, ""
        )

    def _cancel_all(
        self, orders: Iterable[Order], by: Client, why: str, besides: str = ""
    ) -> tuple[list[ev.Event], MassCanceled]:
        events: list[ev.Event] = []
        skipped = 0
        for order in orders:
            if not order.may_execute:
                continue
            if order.is_asked_to_cancel() or self.is_frozen(order, besides):
                skipped += 1
            else:
                events.append(cancel_event(order, by, why))
        order_ids = tuple(event.order_id for event in events if isinstance(event, ev.CancelRequested))
        return events, MassCanceled(order_ids, skipped)

    def _preview(self, client: Client, body: rq.Preview, now_ns: int) -> Decision:
        terms = body.terms
        refusal = self._unsendable(terms, now_ns)
        if refusal is not None:
            return refusal
        denials, notional, reference = self.judged(terms, client.user, now_ns)
        return [], Previewed(
            denials, notional, reference, self.state.positions.quantity(terms.account, terms.symbol)
        )

    # ------------------------------------------------------------ risk

    def _set_level(self, client: Client, body: rq.SetLevel, now_ns: int) -> Decision:
        risk = self.state.risk
        if not risk.has_node(body.node):
            return _refused(
                Refusal.UNKNOWN_NODE, f"there is no node {body.node[:80]!r}; `toucan limits` lists all"
            )
        if not body.reason.strip():
            return _refused(Refusal.REASON_MISSING, "say why, for the audit trail")
        until_ns = risk.cooling_off_until_ns(body.node)
        if body.level is TradingLevel.NORMAL and until_ns > now_ns:
            left = (until_ns - now_ns) / 1e9
            return _refused(
                Refusal.STILL_COOLING_OFF,
                f"{body.node} was blocked after too many denials and can be enabled in {left:.0f} s",
            )
        events: list[ev.Event] = [ev.LevelSet(body.node, body.level, client, body.reason)]
        outcome = MassCanceled(())
        if body.level is TradingLevel.CANCEL_ALL:
            below = (
                order
                for order in self.state.live_orders()
                if risk.is_below(order.terms.account, order.owner.user, body.node)
            )
            # Its own level is another one from now on.
            cancels, outcome = self._cancel_all(below, client, "kill switch", besides=body.node)
            events += cancels
        rejected = staging.rejected_below(self, client, body)
        staged_ids = tuple(event.staged_id for event in rejected)
        return [*events, *rejected], msgspec.structs.replace(outcome, staged_ids=staged_ids)

    def _set_limit(self, client: Client, body: rq.SetLimit, now_ns: int) -> Decision:
        risk = self.state.risk
        if not risk.has_node(body.node):
            return _refused(
                Refusal.UNKNOWN_NODE, f"there is no node {body.node[:80]!r}; `toucan limits` lists all"
            )
        if not body.reason.strip():
            return _refused(Refusal.REASON_MISSING, "say why, for the audit trail")
        problem = risk.limit_problem(body.node, body.limit, body.value)
        if problem is not None:
            return _refused(Refusal.INVALID_LIMIT, problem)
        return [ev.LimitSet(body.node, body.limit, body.value, client, body.reason)], Done()

    def _adjust_position(self, client: Client, body: rq.AdjustPosition, now_ns: int) -> Decision:
        if body.symbol not in self.instruments:
            return _refused(Refusal.UNKNOWN_INSTRUMENT, f"there is no instrument {body.symbol[:40]!r}")
        if not self.state.risk.has_account(body.account):
            return _refused(
                Refusal.UNKNOWN_ACCOUNT, f"there is no account {body.account[:40]!r} in the limits file"
            )
        if not body.reason.strip():
            return _refused(Refusal.REASON_MISSING, "say why, for the audit trail")
        if body.quantity == 0 or body.price < 0:
            return _refused(Refusal.INVALID_ORDER, "quantity: must not be 0; price: must not be negative")
        adjusted = ev.PositionAdjusted(
            body.account, body.trader, body.symbol, body.quantity, body.price, client, body.reason
        )
        return [adjusted], Done()

    # ------------------------------------------------------------ sessions

    def _open_session(self, client: Client, body: rq.OpenSession, now_ns: int) -> Decision:
        return [ev.SessionOpened(client, body.grace_ns)], Done()

    def _close_session(self, client: Client, body: rq.CloseSession, now_ns: int) -> Decision:
        session = self.state.client(client).session
        if session is None or body.opened_seq not in (0, session.opened_seq):
            return [], Done()
        return [ev.SessionEnded(client, is_orderly=True)], Done()

    def _session_broken(self, client: Client, body: rq.SessionBroken, now_ns: int) -> Decision:
        session = self.state.client(client).session
        is_another = session is not None and body.opened_seq not in (0, session.opened_seq)
        if session is None or session.lost_at_ns is not None or is_another:
            return [], Done()
        return [ev.SessionLost(client)], Done()


def cancel_event(order: Order, by: Client, why: str = "") -> ev.CancelRequested:
    """The event by which an open order without a cancel in flight is asked to be cancelled."""
    cl_ord_id = cl_ord_id_of(order, order.request_count + 1)
    return ev.CancelRequested(order.order_id, cl_ord_id, order.orig_cl_ord_id, by, why)


def _refused(code: Refusal, text: str) -> Decision:
    return [], Refused(code, text)


def _matches(order: Order, asked: rq.MassCancel) -> bool:
    terms = order.terms
    return (
        (asked.accounts is None or terms.account in asked.accounts)
        and (not asked.symbol or terms.symbol == asked.symbol)
        and (asked.side is None or terms.side is asked.side)
        and (not asked.owner or order.owner.user == asked.owner)
        and (not asked.session or order.owner.session == asked.session)
    )


_Handler = Callable[[Decider, Client, Any, int], Decision]
#: Change orders or risk: each needs a number and is answered once and for all.
_NUMBERED: dict[type, _Handler] = {
    rq.Submit: Decider._submit,
    rq.Cancel: Decider._cancel,
    rq.Replace: Decider._replace,
    rq.MassCancel: Decider._mass_cancel,
    rq.SetLevel: Decider._set_level,
    rq.SetLimit: Decider._set_limit,
    rq.AdjustPosition: Decider._adjust_position,
    rq.Stage: staging.stage,
    rq.ReleaseStaged: staging.release,
    rq.AmendStaged: staging.amend,
    rq.RejectStaged: staging.reject,
}
_UNNUMBERED: dict[type, _Handler] = {
    rq.Preview: Decider._preview,
    rq.OpenSession: Decider._open_session,
    rq.CloseSession: Decider._close_session,
    rq.SessionBroken: Decider._session_broken,
}
