"""The last look: what the engine believes, beside what is true at the venues, in the journal, and for those who were told something."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from toucan.core import events as ev
from toucan.core.order import Order
from toucan.core.records import decode
from toucan.core.risk import Risk
from toucan.core.state import EngineState
from toucan.core.values import ExecType, StagedState
from toucan.exchange.core.orders import VenueOrder

from .venues import FIRM, SimulatedVenue
from .world import S, Violation

if TYPE_CHECKING:
    from .run import Run

__all__ = ["look"]


def look(run: Run) -> None:
    """Raises :class:`Violation`."""
    assert run.engine.loop is not None
    state = run.engine.loop.state
    _journal(run, state)
    _orders(run, state)
    _positions(run, state)
    _exposure(run, state)
    _told(run, state)
    _proposals(run, state)


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Violation(f"{what}: the engine says {found}, and it is {expected}")


def _journal(run: Run, state: EngineState) -> None:
    digest = state.digest()
    for what, other in (
        ("a replay", run.journal.recover()),
        ("a replay from a snapshot", run.journal.recover(from_snapshot=True)),
        ("a follower", run.engine.follower.state),
        ("the state, dumped and loaded", EngineState.load(state.dump())),
    ):
        if other.digest() != digest:
            raise Violation(f"{what} gives another state than the engine's ({other.seq}, {state.seq})")


def _orders(run: Run, state: EngineState) -> None:
    for venue in run.venues.values():
        there = {order.ids[0]: order for order in venue.exchange.firm(FIRM).ids.values()}
        trades = _trades(venue)
        mine = [order for order in state.orders.values() if order.venue == venue.name]
        unknown = set(there) - {order.first_cl_ord_id for order in mine}
        if unknown:
            raise Violation(f"{venue.name} has orders that the engine does not know: {sorted(unknown)}")
        for order in mine:
            found = there.get(order.first_cl_ord_id)
            if found is None:
                _not_there(venue, order)
            else:
                _same_order(order, found, trades.get(found.venue_order_id, {}))


def _trades(venue: SimulatedVenue) -> dict[str, dict[str, tuple[int, int]]]:
    """By order and exec_id, as they count now, from what the exchange itself has told."""
    trades: dict[str, dict[str, tuple[int, int]]] = {}
    for report in venue.reports():
        own = trades.setdefault(report.venue_order_id, {})
        if report.kind in (ExecType.TRADE, ExecType.TRADE_CORRECT):
            assert report.last_price is not None
            key = report.exec_id if report.kind is ExecType.TRADE else report.exec_ref_id
            own[key] = (report.last_quantity, report.last_price)
        elif report.kind is ExecType.TRADE_CANCEL:
            del own[report.exec_ref_id]
    return trades


def _not_there(venue: SimulatedVenue, order: Order) -> None:
    """It has not arrived, or in a life of the venue that is over."""
    if order.may_execute or order.requests:
        raise Violation(
            f"order {order.order_id} is {order.status.name} here, and {venue.name} does not have it"
        )
    made_up = set(order.executions) - venue.trades_of_old
    if made_up:
        raise Violation(f"order {order.order_id} was filled by {sorted(made_up)}, which never was")


def _same_order(order: Order, found: VenueOrder, trades: dict[str, tuple[int, int]]) -> None:
    name = f"order {order.order_id}"
    _same(f"{name}'s status", order.status.name, found.status.name)
    _same(
        f"{name}'s quantity and price",
        (order.terms.quantity, order.terms.price),
        (found.quantity, found.price),
    )
    _same(f"{name}'s executed quantity", order.cum_quantity, found.cum_quantity)
    _same(f"what is left of {name}", order.leaves_quantity, found.leaves_quantity)
    executions = {key: (one.quantity, one.price) for key, one in order.executions.items()}
    _same(f"{name}'s executions", executions, trades)
    _same(f"{name}'s requests in flight", order.requests, [])
    if order.cum_quantity > order.terms.quantity:
        raise Violation(f"{name} is for {order.terms.quantity}, and {order.cum_quantity} of it are executed")


def _positions(run: Run, state: EngineState) -> None:
    held: Counter[tuple[str, str]] = Counter()
    cash: Counter[tuple[str, str]] = Counter()
    for order in state.orders.values():
        where = (order.terms.account, order.terms.symbol)
        for one in order.executions.values():
            held[where] += order.terms.side.sign * one.quantity
            cash[where] -= order.terms.side.sign * one.quantity * one.price
    for record in run.journal.records:
        for event in decode(record.payload):
            if isinstance(event, ev.PositionAdjusted):
                held[event.account, event.symbol] += event.quantity
                cash[event.account, event.symbol] -= event.quantity * event.price
    for account, symbol in held:
        position = state.positions.position(account, symbol)
        _same(f"{account}'s {symbol}", position.quantity, held[account, symbol])
        _same(f"{account}'s cash in {symbol}", position.realised - position.cost, cash[account, symbol])


def _exposure(run: Run, state: EngineState) -> None:
    """What is counted towards limits is what a fresh count gives."""
    fresh = Risk.load(state.risk.dump())
    fresh.use_instruments({one.symbol: one for venue in run.venues.values() for one in venue.instruments})
    for name, usage in state.risk.exposure.nodes():
        other = fresh.exposure.node(name)
        _same(f"open orders of {name}", usage.open_orders, other.open_orders)
        for symbol in usage.symbols:
            mine, theirs = usage.symbol(symbol), other.symbol(symbol)
            _same(
                f"open quantity of {name} in {symbol}",
                (mine.buy.quantity, mine.sell.quantity),
                (theirs.buy.quantity, theirs.sell.quantity),
            )
    live = sum(order.may_execute for order in state.orders.values())
    _same("open orders of the firm", state.risk.exposure.node("firm").open_orders, live)


def _told(run: Run, state: EngineState) -> None:
    """What was acknowledged is there; and who is gone has no orders left, if that is what was asked for."""
    for client in run.clients:
        for order_id in client.orders:
            order = state.orders.get(order_id)
            if order is None or order.owner != client.name:
                raise Violation(f"order {order_id} was acknowledged to {client.name}, and is not there")
        left = {one.order_id for one in state.live_orders() if one.owner == client.name and one.may_execute}
        left -= _cancelled_in_vain(run)
        if client.is_dead and client.grace_ns is not None and client.had_session and left:
            raise Violation(
                f"{client.name} is gone for longer than its grace time; its orders {left} are still open"
            )


def _cancelled_in_vain(run: Run) -> set[int]:
    """A cancel that follows a replacement names it. Where that vanished inside a connection, which no wire does, the venue knows no such order."""
    return {
        event.order_id
        for record in run.journal.records
        for event in decode(record.payload)
        if isinstance(event, ev.Reported) and event.report.reason == "unknown-order"
    }


def _proposals(run: Run, state: EngineState) -> None:
    """What was released is an order, one each, as it was released; and what should be over is."""
    released = {
        one.staged_id: one for one in state.staged.orders.values() if one.state is StagedState.RELEASED
    }
    order_ids = [one.decision.order_id for one in released.values() if one.decision is not None]
    if len(set(order_ids)) != len(released):
        raise Violation(f"{len(released)} staged orders were released as {sorted(map(str, order_ids))}")
    accepted = {
        event.order_id: event
        for record in run.journal.records
        for event in decode(record.payload)
        if isinstance(event, ev.OrderAccepted)
    }
    for staged in released.values():
        assert staged.decision is not None
        order = accepted[staged.decision.order_id or 0]
        _same(f"what was released as order {order.order_id}", order.terms, staged.terms)
        _same(f"the owner of order {order.order_id}", order.owner, staged.owner)
    run.world.counts["proposals released"] += len(released)
    gone = {one.name for one in run.clients if one.is_dead and one.grace_ns is not None and one.had_session}
    for staged in state.staged.waiting():
        if staged.expires_at_ns + S < state.at_ns:
            raise Violation(f"staged order {staged.staged_id} should have expired")
        if staged.owner in gone:
            raise Violation(f"{staged.owner} is gone; its staged order {staged.staged_id} still waits")
