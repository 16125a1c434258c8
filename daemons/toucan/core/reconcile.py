"""How the engine gets and stays in step with a venue: connection, what was missed, what is open there, what never arrived.

Law: nothing in flight is guessed about. After every connection the venue first tells what it has reported since the last report that is known here,
then which orders are open there (FIX OrderMassStatusRequest). Only what it then does not know has not arrived, and only after that may new orders
go. A cancel that has not arrived is sent again, since it can do no harm; a new order or a replacement is not: the market has moved, and a person
decides.

States: DOWN, then RESUMING (hears what it missed), ASKING (hears what is open), READY. Reports are taken in by their numbers: an older one is
no news, and one too new means that some are missing, so they are asked for again and none is taken until they come.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from toucan.core import events as ev
from toucan.core.instruments import Instrument
from toucan.core.life_cycle import anomaly, is_repeated
from toucan.core.order import Client, Order
from toucan.core.outcomes import Anomaly
from toucan.core.state import EngineState
from toucan.core.terms import OrderTerms
from toucan.core.values import ExecType, OrderType, RequestKind, TimeInForce
from toucan.core.venue_messages import (
    CancelOrder,
    MassStatusRequest,
    NewOrder,
    ReplaceOrder,
    Report,
    Resume,
    ResumeEnd,
    ToVenue,
    Welcome,
)

__all__ = ["Phase", "VenueSession", "message_of"]

#: Owner of orders that were entered at a venue by other ways.
EXTERNAL_SESSION = "external"


class Phase(enum.Enum):
    """How far a connection is."""

    DOWN = "down"
    RESUMING = "resuming"
    ASKING = "asking"
    READY = "ready"


class VenueSession:
    """One venue, from connection to connection. Its methods give events to apply, and messages to send once those are durable."""

    def __init__(self, name: str, firm: str, state: EngineState, instruments: dict[str, Instrument]) -> None:
        self.name = name
        self.phase = Phase.DOWN
        self._firm = firm
        self._state = state
        self._instruments = instruments
        self._question = ""
        self._questions = 0
        self._seen: set[int] = set()
        self._is_missing = False
        # Behind a welcome a venue may begin later than it was asked, if it keeps no older reports: that cannot be mended by asking again.
        self._is_welcomed = False
        #: Reports that told nothing new, and times that some were missing.
        self.repeated_count = 0
        self.gap_count = 0

    def rebind(self, state: EngineState) -> None:
        """The state was built anew."""
        self._state = state

    def resume(self) -> Resume:
        """First message of a connection, and what is sent when reports are missing."""
        record = self._state.venue(self.name)
        return Resume(self._firm, record.life, record.venue_seq)

    def connected(self) -> None:
        """A connection stands, and :meth:`resume` goes over it."""
        self.phase, self._is_missing = Phase.RESUMING, False

    def disconnected(self, why: str) -> list[ev.Event]:
        """It is gone."""
        self.phase = Phase.DOWN
        record = self._state.venue(self.name)
        return [ev.VenueChanged(self.name, record.life, False, why)] if record.is_ready else []

    def unsaid(self) -> list[ev.Event]:
        """That the venue is away, if the state does not say so: what :meth:`disconnected` gave was lost with a commit that failed."""
        record = self._state.venue(self.name)
        if self.phase is Phase.READY or not record.is_ready:
            return []
        return [ev.VenueChanged(self.name, record.life, False, "the connection was lost")]

    def welcome(self, message: Welcome) -> list[ev.Event]:
        """The venue's first answer: whether it is still the one that we knew."""
        record = self._state.venue(self.name)
        self._is_welcomed = True
        if message.life == record.life:
            return []
        return [ev.VenueChanged(self.name, message.life, False, "the venue has begun a new life")]

    def report(self, report: Report) -> tuple[list[ev.Event], list[ToVenue]]:
        """A report: what it changes, and what must be asked because of it."""
        heard = self._state.venue(self.name).venue_seq
        if report.venue_seq:
            if report.venue_seq <= heard:
                self.repeated_count += 1
                return [], []
            if report.venue_seq > heard + 1 and not self._is_welcomed:
                return [], self._missing()
            self._is_missing = self._is_welcomed = False
        order = self._order_of(report)
        if order is not None and self.phase is Phase.ASKING and report.kind is ExecType.ORDER_STATUS:
            self._seen.add(order.order_id)
        return self._taken_in(report, order), []

    def _missing(self) -> list[ToVenue]:
        if self._is_missing:
            return []  # asked for already
        self._is_missing = True
        self.gap_count += 1
        return [self.resume()]

    def _order_of(self, report: Report) -> Order | None:
        found = self._state.order_of(report.cl_ord_id) or self._state.order_of(report.orig_cl_ord_id)
        return found if found is not None and found.venue == self.name else None

    def _taken_in(self, report: Report, order: Order | None) -> list[ev.Event]:
        if order is None:
            return self._adopted(report)
        if is_repeated(order, report):
            self.repeated_count += 1
            if not report.venue_seq:
                return []
            return [self._refused(report, Anomaly.REPEATED, "this was reported before", order)]
        problem = anomaly(order, report)
        if problem is not None:
            return [self._refused(report, *problem, order)]
        taken = ev.Reported(self.name, order.order_id, report)
        return [taken, *self._missing_executions(report, order.order_id, order.cum_quantity)]

    def _missing_executions(self, report: Report, order_id: int, known: int) -> list[ev.Event]:
        told = report.cum_quantity
        if report.kind is not ExecType.ORDER_STATUS or told is None or told <= known:
            return []
        text = f"the venue has filled {told} of order {order_id}, and told of {known}"
        return [ev.ReportRefused(self.name, report, Anomaly.MISSING_EXECUTIONS, text, order_id)]

    def _refused(self, report: Report, code: Anomaly, text: str, order: Order | None) -> ev.ReportRefused:
        return ev.ReportRefused(self.name, report, code, text, None if order is None else order.order_id)

    def _adopted(self, report: Report) -> list[ev.Event]:
        """An order that somebody entered otherwise, by telephone say (FIX 4.4 Appendix D, E.1.a); anything else that is unknown is refused."""
        is_new = report.kind in (ExecType.NEW, ExecType.ORDER_STATUS)
        instrument = self._instruments.get(report.symbol)
        if not is_new or instrument is None or instrument.venue != self.name or not self._is_whole(report):
            text = f"{report.kind.name} for {report.cl_ord_id!r}, which is no order of ours"
            return [self._refused(report, Anomaly.UNKNOWN_ORDER, text, None)]
        assert report.side is not None
        assert report.quantity is not None
        terms = OrderTerms(
            account=report.account, symbol=report.symbol, side=report.side,
            type=OrderType.LIMIT if report.price is not None else OrderType.MARKET,
            time_in_force=TimeInForce.DAY, quantity=report.quantity, price=report.price,
            text="entered at the venue",
        )  # fmt: skip
        order_id = self._state.next_order_id
        owner = Client(self.name, EXTERNAL_SESSION)
        self._seen.add(order_id)
        return [
            ev.OrderAdopted(order_id, owner, terms, self.name, report.cl_ord_id),
            ev.Reported(self.name, order_id, report),
            *self._missing_executions(report, order_id, 0),
        ]

    def _is_whole(self, report: Report) -> bool:
        return (
            bool(report.cl_ord_id)
            and report.side is not None
            and bool(report.quantity)
            and self._state.risk.has_account(report.account)
        )

    def resume_end(self, message: ResumeEnd) -> tuple[list[ev.Event], list[ToVenue]]:
        """All that was missed, or all that is open, has been told."""
        self._is_welcomed = False
        if self._is_missing:
            return [], []  # the end of an answer with a gap in it; another one is on its way
        if message.request_id:
            if self.phase is not Phase.ASKING or message.request_id != self._question:
                return [], []
            return self._reconciled()
        if self.phase is not Phase.RESUMING:
            return [], []
        self.phase = Phase.ASKING
        self._questions += 1
        self._question = f"status-{self._state.epoch}-{self._questions}"
        self._seen = set()
        return [], [MassStatusRequest(self._question)]

    def _reconciled(self) -> tuple[list[ev.Event], list[ToVenue]]:
        events: list[ev.Event] = []
        messages: list[ToVenue] = []
        for order in self._state.live_orders():
            if order.venue != self.name:
                continue
            if order.order_id in self._seen:
                events += self._lost_replacements(order)
                messages += _cancels_again(order)
            else:
                events += self._lost(order)
        self.phase = Phase.READY
        life = self._state.venue(self.name).life
        return [*events, ev.VenueChanged(self.name, life, True)], messages

    def _lost_replacements(self, order: Order) -> list[ev.Event]:
        return [
            ev.RequestNotReceived(order.order_id, request.cl_ord_id, request.kind)
            for request in order.requests
            if request.kind is RequestKind.REPLACE and not request.is_acknowledged
        ]

    def _lost(self, order: Order) -> list[ev.Event]:
        """Not open at the venue, which has told all that happened: what is in flight never came, or the venue has forgotten the order."""
        new = [request for request in order.requests if request.kind is RequestKind.NEW]
        if new:
            return [ev.RequestNotReceived(order.order_id, new[0].cl_ord_id, RequestKind.NEW)]
        if order.is_open:
            gone = Report(
                kind=ExecType.CANCELED, cl_ord_id=order.cl_ord_id, reason="not-at-venue",
                text="the venue does not have this order any more and has not said why",
            )  # fmt: skip
            return [ev.Reported(self.name, order.order_id, gone)]
        return [
            ev.RequestNotReceived(order.order_id, request.cl_ord_id, request.kind)
            for request in order.requests
        ]


def _cancels_again(order: Order) -> list[ToVenue]:
    return [
        _cancel_message(order, request.cl_ord_id, order.cl_ord_id)
        for request in order.requests
        if request.kind is RequestKind.CANCEL and not request.is_acknowledged
    ]


def _cancel_message(order: Order, cl_ord_id: str, orig_cl_ord_id: str) -> CancelOrder:
    return CancelOrder(cl_ord_id, orig_cl_ord_id, order.terms.symbol, order.terms.side)


def message_of(event: ev.Event, state: EngineState) -> tuple[str, ToVenue] | None:
    """The venue and the message that an event sends there, once it is applied and durable; None if it sends nothing."""
    make = _MESSAGES.get(type(event))
    return None if make is None else make(event, state)


def _accepted_message(event: ev.OrderAccepted, _: EngineState) -> tuple[str, ToVenue]:
    return event.venue, NewOrder(event.cl_ord_id, *_same_at_venue(event.terms), event.expire_at_ns)  # type: ignore[call-arg]  # it takes the star for all that is left


def _cancel_requested_message(event: ev.CancelRequested, state: EngineState) -> tuple[str, ToVenue]:
    order = state.orders[event.order_id]
    return order.venue, _cancel_message(order, event.cl_ord_id, event.orig_cl_ord_id)


def _replace_requested_message(event: ev.ReplaceRequested, state: EngineState) -> tuple[str, ToVenue]:
    terms = event.terms
    message = ReplaceOrder(
        event.cl_ord_id, event.orig_cl_ord_id, terms.symbol, terms.side, terms.type,
        terms.quantity, terms.price, terms.stop_price,
    )  # fmt: skip
    return state.orders[event.order_id].venue, message


_MESSAGES: dict[type, Callable[[Any, EngineState], tuple[str, ToVenue]]] = {
    ev.OrderAccepted: _accepted_message,
    ev.CancelRequested: _cancel_requested_message,
    ev.ReplaceRequested: _replace_requested_message,
}

#: Fields of the terms that a venue gets as they are; reduce-only is kept by the engine, notes are nobody else's business.
_SAME_AT_VENUE = (
    "account", "symbol", "side", "type", "time_in_force", "quantity", "price", "stop_price", "max_floor", "post_only"
)  # fmt: skip
_same_at_venue = attrgetter(*_SAME_AT_VENUE)
assert NewOrder.__struct_fields__[: len(_SAME_AT_VENUE) + 2] == ("cl_ord_id", *_SAME_AT_VENUE, "expire_at_ns")
