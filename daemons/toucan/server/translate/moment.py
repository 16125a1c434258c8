"""An order as it stood after one of its events: what the wire tells of it, taken from an order that goes on changing.

To take it costs a fifth of encoding it, so what nobody watches is never encoded, and what somebody does not before his turn.
"""

from __future__ import annotations

from operator import attrgetter

import msgspec

from toucan.core.order import Client, Order, PendingRequest
from toucan.core.terms import OrderTerms
from toucan.core.values import OrdStatus

__all__ = ["OrderMoment", "moment_of"]


class OrderMoment(msgspec.Struct, frozen=True, gc=False):
    """See :class:`toucan.core.order.Order`, whose names these are."""

    requests: tuple[PendingRequest, ...]
    order_id: int
    terms: OrderTerms
    owner: Client
    venue: str
    status: OrdStatus
    cum_quantity: int
    cum_notional: int
    leaves_quantity: int
    venue_order_id: str
    cl_ord_id: str
    created_ns: int
    updated_ns: int
    updated_seq: int
    reason: str
    text: str
    is_triggered: bool
    is_external: bool


_read = attrgetter(*(name for name in OrderMoment.__struct_fields__ if name != "requests"))


def moment_of(order: Order) -> OrderMoment:
    """The order as it stands now."""
    return OrderMoment(tuple(map(msgspec.structs.replace, order.requests)), *_read(order))
