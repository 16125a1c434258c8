"""What each side of a FIX session remembers of an order under each of its ids, since reports of the seam do not repeat it and FIX's must.

Law: values, and no more of them than a message needs. Every request's id has facts of its own; who writes them down, and for how long, is
:mod:`toucan.fix.order_book`'s.
"""

from __future__ import annotations

import msgspec

from toucan.core.values import RequestKind, Side
from toucan.core.venue_messages import CancelOrder, NewOrder, ReplaceOrder, Report

__all__ = ["OrderFacts", "facts_of_report", "facts_of_request"]


class OrderFacts(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Of one id of a request."""

    cl_ord_id: str
    symbol: str
    side: Side
    kind: RequestKind = RequestKind.NEW
    account: str = ""
    #: As it was asked for last; None: never said.
    quantity: int | None = None


def facts_of_request(
    message: NewOrder | CancelOrder | ReplaceOrder, original: OrderFacts | None
) -> OrderFacts:
    """What is to be remembered of a request; ``original``: what is known of the order that it is about."""
    account = original.account if original else ""
    match message:
        case NewOrder():
            return OrderFacts(message.cl_ord_id, message.symbol, message.side, RequestKind.NEW, message.account, message.quantity)  # fmt: skip
        case ReplaceOrder():
            return OrderFacts(message.cl_ord_id, message.symbol, message.side, RequestKind.REPLACE, account, message.quantity)  # fmt: skip
    quantity = original.quantity if original else None
    return OrderFacts(message.cl_ord_id, message.symbol, message.side, RequestKind.CANCEL, account, quantity)


def facts_of_report(report: Report) -> OrderFacts | None:
    """What a report says of an order that nobody here has sent, such as one by telephone; None: too little."""
    if not report.symbol or report.side is None or not report.cl_ord_id:
        return None
    return OrderFacts(
        report.cl_ord_id, report.symbol, report.side, RequestKind.NEW, report.account, report.quantity
    )
