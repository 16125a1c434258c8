"""The life cycle of an order: which report of its venue leads from which state to which, and what it changes.

Law: what happens to an :class:`~toucan.core.order.Order` happens in this module. The table :data:`TRANSITIONS` is the whole of it: what is not in the
table cannot be, and is refused with a reason (:func:`anomaly`), never guessed at. The diagram in the docs is drawn from the table. After FIX 4.4
Appendix D, whose 47 examples are tests of this module; they leave open what does not appear in them, and where this table says more, it is
because a venue that is slow, interrupted or operated by people does it: a fill before the acknowledgement, a fill reported after the cancel.

A fill is a fact that somebody owes and owns, so it is taken in whatever the state; only one beyond the order's quantity is not, since then either
side's books are wrong and a person must say which.
"""

from __future__ import annotations

from fractions import Fraction

import msgspec

from toucan.core.order import Execution, Order, OrderState
from toucan.core.outcomes import Anomaly
from toucan.core.terms import OrderTerms
from toucan.core.values import ExecType, OrdStatus, RequestKind
from toucan.core.venue_messages import Report

__all__ = ["TRANSITIONS", "Effect", "anomaly", "apply_report", "diagram", "is_repeated", "kind_of"]

_N, _W, _C, _R, _E = (
    OrderState.PENDING_NEW,
    OrderState.WORKING,
    OrderState.CANCELED,
    OrderState.REJECTED,
    OrderState.EXPIRED,
)

#: What each report leads to. A state that is its own successor means: it is taken in, and the state stays.
TRANSITIONS: dict[OrderState, dict[ExecType, OrderState]] = {
    _N: {
        ExecType.PENDING_NEW: _N,
        ExecType.NEW: _W,
        ExecType.REJECTED: _R,
        ExecType.TRADE: _W,
        ExecType.CANCELED: _C,
        ExecType.EXPIRED: _E,
        ExecType.DONE_FOR_DAY: _W,
        ExecType.RESTATED: _W,
        ExecType.REPLACED: _W,
        ExecType.STOPPED: _W,
        ExecType.SUSPENDED: _W,
        ExecType.TRIGGERED: _W,
        ExecType.PENDING_CANCEL: _N,
        ExecType.PENDING_REPLACE: _N,
        ExecType.CANCEL_REJECT: _N,
        ExecType.ORDER_STATUS: _N,
    },
    _W: {
        ExecType.PENDING_NEW: _W,
        ExecType.NEW: _W,
        ExecType.REJECTED: _R,
        ExecType.TRADE: _W,
        ExecType.TRADE_CANCEL: _W,
        ExecType.TRADE_CORRECT: _W,
        ExecType.CANCELED: _C,
        ExecType.EXPIRED: _E,
        ExecType.DONE_FOR_DAY: _W,
        ExecType.RESTATED: _W,
        ExecType.REPLACED: _W,
        ExecType.STOPPED: _W,
        ExecType.SUSPENDED: _W,
        ExecType.TRIGGERED: _W,
        ExecType.PENDING_CANCEL: _W,
        ExecType.PENDING_REPLACE: _W,
        ExecType.CANCEL_REJECT: _W,
        ExecType.ORDER_STATUS: _W,
    },
    _C: {
        ExecType.TRADE: _C,
        ExecType.TRADE_CANCEL: _C,
        ExecType.TRADE_CORRECT: _C,
        ExecType.CANCEL_REJECT: _C,
        ExecType.ORDER_STATUS: _C,
    },
    _R: {
        ExecType.TRADE: _W,
        ExecType.TRADE_CANCEL: _R,
        ExecType.TRADE_CORRECT: _R,
        ExecType.CANCEL_REJECT: _R,
        ExecType.ORDER_STATUS: _R,
    },
    _E: {
        ExecType.TRADE: _E,
        ExecType.TRADE_CANCEL: _E,
        ExecType.TRADE_CORRECT: _E,
        ExecType.CANCEL_REJECT: _E,
        ExecType.ORDER_STATUS: _E,
    },
}

#: FIX 37 in an answer about an order that the venue does not know.
_NO_ORDER_ID = "NONE"
_EXECUTIONS = (ExecType.TRADE, ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT)
#: Reports that would change something once more if they were taken in twice.
_ONCE = (
    *_EXECUTIONS,
    ExecType.NEW,
    ExecType.REPLACED,
    ExecType.RESTATED,
    ExecType.DONE_FOR_DAY,
    ExecType.STOPPED,
    ExecType.SUSPENDED,
)
_ENDS = (_C, _R, _E)
#: Reports of an order's status that say no more than that the venue has it.
_KNOWN_AT_VENUE = (
    OrdStatus.NEW,
    OrdStatus.PARTIALLY_FILLED,
    OrdStatus.FILLED,
    OrdStatus.DONE_FOR_DAY,
    OrdStatus.PENDING_CANCEL,
    OrdStatus.PENDING_REPLACE,
    OrdStatus.STOPPED,
    OrdStatus.SUSPENDED,
)
_ENDED_AT_VENUE = {
    OrdStatus.CANCELED: ExecType.CANCELED,
    OrdStatus.EXPIRED: ExecType.EXPIRED,
    OrdStatus.REJECTED: ExecType.REJECTED,
}


class Effect(msgspec.Struct, frozen=True, gc=False):
    """What a report does to positions. ``exec_id`` names the trade; ``quantity`` and ``price`` as it counts now (0 after a bust), ``old_…`` as
    before."""

    kind: ExecType
    exec_id: str
    quantity: int
    price: int
    old_quantity: int = 0
    old_price: int = 0


def kind_of(order: Order, report: Report) -> ExecType:
    """What a report comes to.

    A status report says what an acknowledgement or an end would have said, if that is not known here yet. A rejection that gives the order another
    status than rejected is about a second copy of it, and not about the order (Appendix D, F.1.a).
    """
    if report.kind is ExecType.ORDER_STATUS:
        if order.state is _N and report.ord_status in _KNOWN_AT_VENUE:
            return ExecType.NEW
        if order.state not in _ENDS and report.ord_status in _ENDED_AT_VENUE:
            return _ENDED_AT_VENUE[report.ord_status]
    if report.kind is ExecType.REJECTED and report.ord_status not in (None, OrdStatus.REJECTED):
        return ExecType.ORDER_STATUS
    return report.kind


def is_repeated(order: Order, report: Report) -> bool:
    """Whether this was taken in before: venues may tell everything twice (FIX PossDup, PossResend)."""
    return report.kind in _ONCE and report.exec_id in order.exec_ids


def anomaly(order: Order, report: Report) -> tuple[Anomaly, str] | None:
    """Why a report cannot be about this order as it stands; None: it can, :func:`apply_report` takes it in."""
    kind = kind_of(order, report)
    if kind not in TRANSITIONS[order.state]:
        return Anomaly.IMPOSSIBLE_NOW, f"{kind.name} for order {order.order_id}, which is {order.status.name}"
    if kind not in _EXECUTIONS:
        return _terms_anomaly(order, report, kind) if kind in (ExecType.RESTATED, ExecType.REPLACED) else None
    if not report.exec_id:
        return Anomaly.MALFORMED, f"{kind.name} without an exec_id"
    if kind is not ExecType.TRADE and order.execution_of(report.exec_ref_id) is None:
        return Anomaly.UNKNOWN_EXECUTION, (
            f"{kind.name} of {report.exec_ref_id!r}, which is no execution of order {order.order_id}"
        )
    if kind is ExecType.TRADE_CANCEL:
        return None
    if report.last_quantity <= 0 or report.last_price is None or report.last_price <= 0:
        return (
            Anomaly.MALFORMED,
            f"{kind.name} of quantity {report.last_quantity} at price {report.last_price}",
        )
    return _over_fill(order, report, kind)


def _over_fill(order: Order, report: Report, kind: ExecType) -> tuple[Anomaly, str] | None:
    wanted = [request.terms.quantity for request in order.requests if request.terms is not None]
    most = max([order.terms.quantity, *wanted])
    before = order.cum_quantity
    if kind is ExecType.TRADE_CORRECT:
        corrected = order.execution_of(report.exec_ref_id)
        before -= corrected[1].quantity if corrected else 0
    if before + report.last_quantity <= most:
        return None
    return Anomaly.OVER_FILL, (
        f"a fill of {report.last_quantity} would make {before + report.last_quantity} of order {order.order_id}'s {most}"
    )


def _terms_anomaly(order: Order, report: Report, kind: ExecType) -> tuple[Anomaly, str] | None:
    """Why an order cannot have the terms that its venue gives it."""
    quantity = order.terms.quantity if report.quantity is None else report.quantity
    told = f"{kind.name} to quantity {quantity} of order {order.order_id}"
    prices = [price for price in (report.price, report.stop_price) if price is not None]
    if quantity <= 0 or min(prices, default=1) <= 0:
        return Anomaly.MALFORMED, f"{told}, prices {prices}"
    if kind is ExecType.REPLACED and _asked_for(order, report) is not None:
        return None  # what is filled meanwhile bounds the quantity from below
    factor = _split_factor(order, report) if kind is ExecType.RESTATED else None
    cum = order.cum_quantity if factor is None else order.cum_quantity * factor
    # To nothing, what is filled can only be busted.
    is_undone = report.cum_quantity is not None and report.cum_quantity <= 0 < order.cum_quantity
    if is_undone or quantity < cum:
        return Anomaly.MALFORMED, f"{told}, {order.cum_quantity} of it filled"
    return None


def _split_factor(order: Order, report: Report) -> Fraction | None:
    """By how much a split of the shares scales the quantity and what is filled (H.1.b); None: it is none.

    Another filled quantity alone says that executions are missing, which a status will tell.
    """
    cum, quantity = report.cum_quantity, report.quantity
    if not cum or not quantity or not order.cum_quantity or cum == order.cum_quantity:
        return None
    factor = Fraction(cum, order.cum_quantity)
    return factor if quantity == order.terms.quantity * factor else None


def _asked_for(order: Order, report: Report) -> OrderTerms | None:
    """The terms of the replacement in flight that a report answers."""
    request = order.request(report.cl_ord_id)
    return None if request is None else request.terms


def apply_report(order: Order, report: Report) -> Effect | None:
    """Takes in a report for which :func:`anomaly` is None; gives what it does to positions."""
    kind = kind_of(order, report)
    order.state = TRANSITIONS[order.state][kind]
    if report.venue_order_id not in ("", _NO_ORDER_ID):
        order.venue_order_id = report.venue_order_id
    if order.state is not _N:
        _forget(order, RequestKind.NEW)
    if kind in _ONCE and report.exec_id:
        order.exec_ids[report.exec_id] = True
    effect = _apply_execution(order, report, kind) if kind in _EXECUTIONS else None
    _CHANGES.get(kind, _nothing)(order, report)
    if report.reason or report.text:
        order.reason, order.text = report.reason, report.text
    if order.state in _ENDS and kind not in _EXECUTIONS:
        order.requests = []
        order.is_done_for_day = order.is_stopped = order.is_suspended = False
    return effect


def _forget(order: Order, kind: RequestKind) -> None:
    order.requests = [request for request in order.requests if request.kind is not kind]


def _nothing(order: Order, report: Report) -> None:
    """The state says it all."""


def _acknowledge(order: Order, report: Report) -> None:
    request = order.request(report.cl_ord_id)
    if request is not None:
        request.is_acknowledged = True


def _refuse(order: Order, report: Report) -> None:
    order.requests = [request for request in order.requests if request.cl_ord_id != report.cl_ord_id]


def _cancel(order: Order, report: Report) -> None:
    if order.request(report.cl_ord_id) is not None:
        order.cl_ord_id = report.cl_ord_id


def _replace(order: Order, report: Report) -> None:
    wanted = _asked_for(order, report)
    if wanted is None:
        _take_terms(order, report)  # nobody here asked for it
        return
    # The venue's word counts where it gives other numbers: what is filled meanwhile bounds the quantity from below (C.3.c).
    quantity = max(wanted.quantity if report.quantity is None else report.quantity, order.cum_quantity)
    order.terms = msgspec.structs.replace(wanted, quantity=quantity)
    order.cl_ord_id = report.cl_ord_id
    _refuse(order, report)


def _restate(order: Order, report: Report) -> None:
    factor = _split_factor(order, report)
    if factor is not None:
        _split(order, factor)
    _take_terms(order, report)


def _take_terms(order: Order, report: Report) -> None:
    order.is_done_for_day = False
    told = {
        name: value
        for name, value in (
            ("quantity", report.quantity),
            ("price", report.price if order.terms.type.has_price else None),
            ("stop_price", report.stop_price if order.terms.type.has_stop_price else None),
        )
        if value is not None
    }
    if told:
        order.terms = msgspec.structs.replace(order.terms, **told)


def _split(order: Order, factor: Fraction) -> None:
    """A split of the shares (H.1.b): quantities change, what was paid does not. Executions follow where the new numbers are whole."""
    order.cum_quantity = int(order.cum_quantity * factor)
    scaled = {
        key: (one.quantity * factor, one.price / factor, one.at_ns) for key, one in order.executions.items()
    }
    if all(quantity.denominator == price.denominator == 1 for quantity, price, _ in scaled.values()):
        order.executions = {key: Execution(int(q), int(p), at_ns) for key, (q, p, at_ns) in scaled.items()}


def _done_for_day(order: Order, report: Report) -> None:
    order.is_done_for_day = True


def _stop(order: Order, report: Report) -> None:
    order.is_stopped = True


def _suspend(order: Order, report: Report) -> None:
    order.is_suspended = True


def _trigger(order: Order, report: Report) -> None:
    order.is_triggered = True


def _resume(order: Order, report: Report) -> None:
    order.is_suspended = False
    if report.ord_status in (OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED):
        order.is_done_for_day = False


_CHANGES = {
    ExecType.NEW: _resume,
    ExecType.PENDING_CANCEL: _acknowledge,
    ExecType.PENDING_REPLACE: _acknowledge,
    ExecType.CANCELED: _cancel,
    ExecType.REPLACED: _replace,
    ExecType.RESTATED: _restate,
    ExecType.CANCEL_REJECT: _refuse,
    ExecType.DONE_FOR_DAY: _done_for_day,
    ExecType.STOPPED: _stop,
    ExecType.SUSPENDED: _suspend,
    ExecType.TRIGGERED: _trigger,
}


def _apply_execution(order: Order, report: Report, kind: ExecType) -> Effect:
    if kind is ExecType.TRADE:
        key, old = report.exec_id, Execution(0, 0, report.at_ns)
    else:
        found = order.execution_of(report.exec_ref_id)
        assert found is not None, "checked by anomaly()"
        key, old = found
        order.cum_quantity -= old.quantity
        order.cum_notional -= old.quantity * old.price
        del order.executions[key]
        if kind is ExecType.TRADE_CANCEL:
            return Effect(kind, key, 0, old.price, old.quantity, old.price)
        order.corrections[report.exec_id] = key
    assert report.last_price is not None, "checked by anomaly()"
    new = Execution(report.last_quantity, report.last_price, old.at_ns)
    order.executions[key] = new
    order.cum_quantity += new.quantity
    order.cum_notional += new.quantity * new.price
    return Effect(kind, key, new.quantity, new.price, old.quantity, old.price)


def diagram() -> str:
    """The table as a Mermaid state diagram; reports that leave the state as it is are listed below it."""
    lines = ["stateDiagram-v2", "    [*] --> PENDING_NEW: accepted, sent"]
    staying = []
    for state, row in TRANSITIONS.items():
        by_next: dict[OrderState, list[str]] = {}
        for kind, following in row.items():
            by_next.setdefault(following, []).append(kind.name)
        for following, kinds in by_next.items():
            if following is state:
                staying.append(f"| {state.name} | {', '.join(kinds)} |")
            else:
                lines.append(f"    {state.name} --> {following.name}: {', '.join(kinds)}")
    lines += [f"    {state.name} --> [*]" for state in _ENDS]
    table = "\n".join(["| state | taken in, and it stays |", "|---|---|", *staying])
    return "```mermaid\n" + "\n".join(lines) + "\n```\n\n" + table + "\n"
