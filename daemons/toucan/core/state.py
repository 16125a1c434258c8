"""All that the engine knows, as it follows from the journal: orders, positions, clients, venues, risk; and how each event changes it.

Law: :meth:`EngineState.apply` is the only way in. It decides nothing, so it can neither refuse nor fail: whoever made the event has checked it
(:mod:`toucan.core.decide`). Equal events give equal states, byte for byte (:meth:`EngineState.digest`), in the engine, after a replay, and
in every front end, which holds a copy that follows the engine's. What is not in the journal (market data, connections) is not in here.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from toucan.core import events as ev
from toucan.core.clients import ClientRecord, SessionRecord
from toucan.core.life_cycle import Effect, apply_report
from toucan.core.limits import CLOSED_ORDERS_KEPT_MAX, EXTERNAL_ID_KEPT
from toucan.core.order import Client, Order, OrderState, PendingRequest, RefusedCancel
from toucan.core.positions import Positions
from toucan.core.risk import Risk
from toucan.core.staged import (
    Decision,
    Revision,
    StagedBook,
    StagedDump,
    StagedOrder,
    StagedStep,
)
from toucan.core.values import ExecType, RequestKind, StagedState

__all__ = ["Change", "EngineState", "VenueRecord", "cl_ord_id_of", "limits_digest"]


class VenueRecord(msgspec.Struct):
    """How far we have heard a venue, and whether everything in flight there is known."""

    life: str = ""
    venue_seq: int = 0
    is_ready: bool = False
    why: str = "never connected"


class Change(msgspec.Struct, frozen=True):
    """What an event has changed, for those who tell others: an order as it is now, and what the report did to positions."""

    order: Order | None = None
    effect: Effect | None = None
    #: Account, trader and symbol of positions that changed.
    position: tuple[str, str, str] | None = None
    #: A staged order as it is now.
    staged: StagedOrder | None = None


_NO_CHANGE = Change()


class EngineState:
    """The state after the event with number :attr:`seq`."""

    def __init__(self) -> None:
        self.seq = 0
        #: Wall time of the last event, ns since the epoch.
        self.at_ns = 0
        #: How often an engine has taken the journal over.
        self.epoch = 0
        self.next_order_id = 1
        self.orders: dict[int, Order] = {}
        #: Orders that can still be executed or have a request in flight, in the order in which they came.
        self.live: dict[int, None] = {}
        #: Orders that are over, the one that ended first first: a plain dict finds its first by a search past all that were taken out.
        self._closed: OrderedDict[int, None] = OrderedDict()
        self._by_cl_ord_id: dict[str, int] = {}
        self.clients: dict[Client, ClientRecord] = {}
        self.venues: dict[str, VenueRecord] = {}
        self.positions = Positions()
        self.risk = Risk()
        #: Of the limits file that was loaded last (:func:`limits_digest`).
        self.limits_digest = ""
        #: What waits to be released: no part of :attr:`orders` before that.
        self.staged = StagedBook()

    # ------------------------------------------------------------ questions

    def order_of(self, cl_ord_id: str) -> Order | None:
        """The order to which a request's id belongs, whichever of its requests it was."""
        order_id = self._by_cl_ord_id.get(cl_ord_id)
        return None if order_id is None else self.orders.get(order_id)

    def live_orders(self) -> Iterator[Order]:
        """Those of :attr:`live`."""
        return (self.orders[order_id] for order_id in self.live)

    def venue(self, name: str) -> VenueRecord:
        """How we stand with a venue; one never heard of is not ready."""
        return self.venues.get(name) or VenueRecord()

    def client(self, client: Client) -> ClientRecord:
        """What is remembered of a client; an empty record if nothing is."""
        return self.clients.get(client) or ClientRecord()

    # ------------------------------------------------------------ events

    def skip(self, seq: int) -> None:
        """Passes over events up to ``seq`` that are lost for good, which a person has acknowledged."""
        self.seq = max(self.seq, seq)

    def apply(self, seq: int, at_ns: int, event: ev.Event) -> Change:
        """Takes in the next event. ``seq`` is :attr:`seq` + 1."""
        assert seq == self.seq + 1, f"event {seq} cannot follow {self.seq}"
        self.seq, self.at_ns = seq, at_ns
        change: Change | None = _APPLY[type(event)](self, event)
        return change or _NO_CHANGE

    def _engine_started(self, event: ev.EngineStarted) -> None:
        self.epoch = event.epoch
        for record in self.clients.values():
            if record.session is not None and record.session.lost_at_ns is None:
                record.session.lost_at_ns = self.at_ns
        for venue in self.venues.values():
            venue.is_ready, venue.why = False, "the engine has started"

    def _order_accepted(self, event: ev.OrderAccepted) -> Change:
        return self._add(event, event.expire_at_ns, is_external=False)

    def _order_adopted(self, event: ev.OrderAdopted) -> Change:
        return self._add(event, None, is_external=True)

    def _add(
        self, event: ev.OrderAccepted | ev.OrderAdopted, expire_at_ns: int | None, is_external: bool
    ) -> Change:
        order = Order(
            order_id=event.order_id, terms=event.terms, owner=event.owner, venue=event.venue, cl_ord_id=event.cl_ord_id,
            created_ns=self.at_ns, first_cl_ord_id=event.cl_ord_id, is_external=is_external, expire_at_ns=expire_at_ns,
        )  # fmt: skip
        if not is_external:
            order.requests.append(
                PendingRequest(RequestKind.NEW, event.cl_ord_id, terms=None, by=event.owner.user)
            )
        self.next_order_id = event.order_id + 1
        self.orders[event.order_id] = order
        self._by_cl_ord_id[event.cl_ord_id] = event.order_id
        self.risk.requested(order, self.at_ns)
        return self._changed(order)

    def _order_denied(self, event: ev.OrderDenied) -> Change | None:
        self.risk.denied(event, self.at_ns)
        staged = self.staged.get(event.staged_id or 0)
        # A try with other terms says nothing of those that it has.
        if staged is None or staged.terms != event.terms:
            return None
        return self._staged(staged.staged_id, StagedStep.DENY, denial=event.denial)

    def _cancel_requested(self, event: ev.CancelRequested) -> Change:
        if event.by == ev.ENGINE:
            self.orders[event.order_id].refused_cancel = None
        request = PendingRequest(RequestKind.CANCEL, event.cl_ord_id, by=event.by.user, why=event.why)
        return self._request(event.order_id, request)

    def _replace_requested(self, event: ev.ReplaceRequested) -> Change:
        request = PendingRequest(RequestKind.REPLACE, event.cl_ord_id, terms=event.terms, by=event.by.user)
        return self._request(event.order_id, request)

    def _request(self, order_id: int, request: PendingRequest) -> Change:
        order = self.orders[order_id]
        order.requests.append(request)
        order.request_count += 1
        self._by_cl_ord_id[request.cl_ord_id] = order_id
        self.risk.requested(order, self.at_ns)
        return self._changed(order)

    def _reported(self, event: ev.Reported) -> Change:
        self._heard(event.venue, event.report.venue_seq)
        order = self.orders[event.order_id]
        if event.report.kind is ExecType.CANCEL_REJECT:
            request = order.request(event.report.cl_ord_id)
            if request is not None and request.kind is RequestKind.CANCEL and request.by == ev.ENGINE.user:
                order.refused_cancel = RefusedCancel(self.at_ns, request.why)
        effect = apply_report(order, event.report)
        return self._changed(order, effect)

    def _report_refused(self, event: ev.ReportRefused) -> Change | None:
        self._heard(event.venue, event.report.venue_seq)
        order = self.orders.get(event.order_id or 0)
        return None if order is None else Change(order)

    def _heard(self, venue: str, venue_seq: int) -> None:
        record = self.venues.setdefault(venue, VenueRecord())
        record.venue_seq = max(record.venue_seq, venue_seq)

    def _request_not_received(self, event: ev.RequestNotReceived) -> Change:
        order = self.orders[event.order_id]
        order.requests = [one for one in order.requests if one.cl_ord_id != event.cl_ord_id]
        order.reason, order.text = (
            "not-received",
            "the connection was lost and the venue never got this request",
        )
        if event.kind is RequestKind.NEW:
            order.state, order.requests = OrderState.REJECTED, []
        return self._changed(order)

    def _venue_changed(self, event: ev.VenueChanged) -> None:
        record = self.venues.setdefault(event.venue, VenueRecord())
        if event.life != record.life:
            record.life, record.venue_seq = event.life, 0
        record.is_ready, record.why = event.is_ready, event.why

    def _answered(self, event: ev.Answered) -> None:
        self._client(event.client).remember(event.number, event.outcome, self.at_ns, event.fingerprint)

    def _client(self, client: Client) -> ClientRecord:
        return self.clients.setdefault(client, ClientRecord(last_at_ns=self.at_ns))

    def _clients_forgotten(self, event: ev.ClientsForgotten) -> None:
        for client in event.clients:
            self.clients.pop(client, None)

    def _session_opened(self, event: ev.SessionOpened) -> None:
        record = self._client(event.client)
        record.session, record.last_at_ns = SessionRecord(event.grace_ns, opened_seq=self.seq), self.at_ns

    def _session_lost(self, event: ev.SessionLost) -> None:
        session = self._client(event.client).session
        if session is not None:
            session.lost_at_ns = self.at_ns

    def _session_ended(self, event: ev.SessionEnded) -> None:
        self._client(event.client).session = None

    def _position_adjusted(self, event: ev.PositionAdjusted) -> Change:
        self.positions.apply_adjustment(
            event.account, event.trader, event.symbol, event.quantity, event.price, self.at_ns
        )
        self.risk.position_changed(event.account, event.trader, event.symbol, self.positions)
        return Change(position=(event.account, event.trader, event.symbol))

    # ------------------------------------------------------------ staged orders

    def _order_staged(self, event: ev.OrderStaged) -> Change:
        proposal = self._revision(event, event.owner)
        staged = StagedOrder(
            event.staged_id, StagedState.PROPOSED, (proposal,), event.expires_at_ns, event.expires_why, self.seq, self.at_ns
        )  # fmt: skip
        return Change(staged=self.staged.propose(staged))

    def _revision(self, event: ev.OrderStaged | ev.StagedAmended, by: Client) -> Revision:
        return Revision(
            event.terms, by, event.why, self.at_ns, event.denials, event.notional, event.reference_price
        )

    def _staged(self, staged_id: int, step: StagedStep, **more: Any) -> Change:
        return Change(staged=self.staged.step(staged_id, step, self.seq, self.at_ns, **more))

    def _staged_amended(self, event: ev.StagedAmended) -> Change:
        return self._staged(event.staged_id, StagedStep.AMEND, revision=self._revision(event, event.by))

    def _staged_released(self, event: ev.StagedReleased) -> Change:
        decision = Decision(event.by, event.why, self.at_ns, event.order_id)
        return self._staged(event.staged_id, StagedStep.RELEASE, decision=decision)

    def _staged_rejected(self, event: ev.StagedRejected) -> Change:
        decision = Decision(event.by, event.why, self.at_ns)
        return self._staged(event.staged_id, StagedStep.REJECT, decision=decision)

    def _staged_withdrawn(self, event: ev.StagedWithdrawn) -> Change:
        decision = Decision(event.by, event.why, self.at_ns)
        return self._staged(event.staged_id, StagedStep.WITHDRAW, decision=decision)

    def _staged_expired(self, event: ev.StagedExpired) -> Change:
        decision = Decision(ev.ENGINE, event.why, self.at_ns)
        return self._staged(event.staged_id, StagedStep.EXPIRE, decision=decision)

    # ------------------------------------------------------------ limits and levels

    def _limits_loaded(self, event: ev.LimitsLoaded) -> None:
        self.limits_digest = limits_digest(event.document)
        self.risk.apply(event, self.at_ns)

    def _risk_changed(self, event: Any) -> None:
        self.risk.apply(event, self.at_ns)

    # ------------------------------------------------------------ what follows from a changed order

    def _changed(self, order: Order, effect: Effect | None = None) -> Change:
        order.updated_seq, order.updated_ns = self.seq, self.at_ns
        terms = order.terms
        position = None
        if effect is not None:
            position = (terms.account, order.owner.user, terms.symbol)
            self._book(order, effect)
        self.risk.order_changed(order)
        if position is not None:
            self.risk.position_changed(*position, self.positions)
        if order.is_open or order.requests:
            self.live[order.order_id] = None
            self._closed.pop(order.order_id, None)
        elif order.order_id not in self._closed:
            self.live.pop(order.order_id, None)
            self._closed[order.order_id] = None
            self._forget_closed()
        return Change(order, effect, position)

    def _book(self, order: Order, effect: Effect) -> None:
        terms = order.terms
        where = (terms.account, order.owner.user, terms.symbol, terms.side)
        # Unique among all venues, also if two of them number their executions alike.
        exec_id = f"{order.order_id}/{effect.exec_id}"
        if effect.kind is ExecType.TRADE:
            self.positions.apply_trade(*where, effect.quantity, effect.price, exec_id, self.at_ns)
        elif effect.kind is ExecType.TRADE_CANCEL:
            self.positions.apply_bust(*where, effect.old_quantity, effect.old_price, exec_id, self.at_ns)
        else:
            old = (effect.old_quantity, effect.old_price)
            self.positions.apply_correct(*where, *old, effect.quantity, effect.price, exec_id, self.at_ns)

    def _forget_closed(self) -> None:
        while len(self._closed) > CLOSED_ORDERS_KEPT_MAX:
            order_id, _ = self._closed.popitem(last=False)
            order = self.orders.pop(order_id)
            for number in range(1, order.request_count + 1):
                self._by_cl_ord_id.pop(cl_ord_id_of(order, number), None)

    # ------------------------------------------------------------ snapshots

    def dump(self) -> bytes:
        """All of it: equal histories give equal bytes, since all that is kept here keeps the order in which it came."""
        return _encode(
            {
                "seq": self.seq, "at_ns": self.at_ns, "epoch": self.epoch, "next_order_id": self.next_order_id,
                "orders": list(self.orders.values()), "live": list(self.live), "closed": list(self._closed),
                "cl_ord_ids": self._by_cl_ord_id,
                "clients": [[client, record] for client, record in self.clients.items()],
                "venues": self.venues, "positions": self.positions.dump(), "risk": self.risk.dump(),
                "limits_digest": self.limits_digest, "staged": self.staged.dump(),
            }
        )  # fmt: skip

    @classmethod
    def load(cls, dumped: bytes) -> EngineState:
        """The opposite of :meth:`dump`. Raises ``msgspec.MsgspecError`` for anything else."""
        found = msgspec.msgpack.decode(dumped, type=_Dump)
        state = cls()
        state.seq, state.at_ns, state.epoch = found.seq, found.at_ns, found.epoch
        state.next_order_id = found.next_order_id
        state.orders = {order.order_id: order for order in found.orders}
        state.live, state._closed = dict.fromkeys(found.live), OrderedDict.fromkeys(found.closed)
        state._by_cl_ord_id = found.cl_ord_ids
        state.clients = dict(found.clients)
        state.venues = found.venues
        state.positions = Positions.load(found.positions)
        state.risk, state.limits_digest = Risk.load(found.risk), found.limits_digest
        state.staged = StagedBook.load(found.staged)
        return state

    def digest(self) -> str:
        """A hash of all of it (BLAKE2b, hex): the same after the same events, wherever they were applied."""
        return hashlib.blake2b(self.dump(), digest_size=16).hexdigest()


def limits_digest(document: str) -> str:
    """By which it is known whether a limits file has changed."""
    return hashlib.blake2b(document.encode(), digest_size=16).hexdigest()


def cl_ord_id_of(order: Order, number: int) -> str:
    """The id of an order's request with this number, from 1: the first one's is known, the others differ in their ending.

    What was entered at its venue by another way has an id that others have made: ours are made unique by the order's number.
    """
    first = order.first_cl_ord_id
    if number == 1:
        return first
    stem = f"{first[:EXTERNAL_ID_KEPT]}-{order.order_id}" if order.is_external else first.rpartition("-")[0]
    return f"{stem}-{number}"


class _Dump(msgspec.Struct):
    seq: int
    at_ns: int
    epoch: int
    next_order_id: int
    orders: list[Order]
    live: list[int]
    closed: list[int]
    cl_ord_ids: dict[str, int]
    clients: list[tuple[Client, ClientRecord]]
    venues: dict[str, VenueRecord]
    positions: dict[str, Any]
    risk: Any
    limits_digest: str
    staged: StagedDump = msgspec.field(default_factory=StagedDump)


_encode = msgspec.msgpack.Encoder().encode

_APPLY: dict[type, Callable[[EngineState, Any], Change | None]] = {
    ev.EngineStarted: EngineState._engine_started,
    ev.OrderAccepted: EngineState._order_accepted,
    ev.OrderAdopted: EngineState._order_adopted,
    ev.OrderDenied: EngineState._order_denied,
    ev.CancelRequested: EngineState._cancel_requested,
    ev.ReplaceRequested: EngineState._replace_requested,
    ev.Reported: EngineState._reported,
    ev.ReportRefused: EngineState._report_refused,
    ev.RequestNotReceived: EngineState._request_not_received,
    ev.VenueChanged: EngineState._venue_changed,
    ev.Answered: EngineState._answered,
    ev.ClientsForgotten: EngineState._clients_forgotten,
    ev.SessionOpened: EngineState._session_opened,
    ev.SessionLost: EngineState._session_lost,
    ev.SessionEnded: EngineState._session_ended,
    ev.PositionAdjusted: EngineState._position_adjusted,
    ev.LimitsLoaded: EngineState._limits_loaded,
    ev.LimitSet: EngineState._risk_changed,
    ev.LevelSet: EngineState._risk_changed,
    ev.NodeBlocked: EngineState._risk_changed,
    ev.OrderStaged: EngineState._order_staged,
    ev.StagedAmended: EngineState._staged_amended,
    ev.StagedReleased: EngineState._staged_released,
    ev.StagedRejected: EngineState._staged_rejected,
    ev.StagedWithdrawn: EngineState._staged_withdrawn,
    ev.StagedExpired: EngineState._staged_expired,
}
