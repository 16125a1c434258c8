"""What goes to a venue and what comes back, in no venue's own format: the seam between the engine and every way to a market.

Law: these are values; how a venue's wire says them is for that venue's module alone. Ids that a venue must give back (``cl_ord_id``) are made by the
engine, unique for ever: FIX 4.4's ClOrdID, new with each request for an order. ``orig_cl_ord_id`` names the last request of that order
which the venue has accepted (FIX 41).

A venue numbers its reports (``venue_seq``, from 1 within one life of the venue, without gaps) and keeps them, so that whoever lost some can
ask again from the last one it knows (:class:`Resume`), as with FIX's ResendRequest.
"""

from __future__ import annotations

import msgspec

from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce

__all__ = [
    "Book",
    "CancelOrder",
    "Level",
    "MassStatusRequest",
    "NewOrder",
    "Quote",
    "ReplaceOrder",
    "Report",
    "Resume",
    "ResumeEnd",
    "StatusRequest",
    "ToVenue",
    "FromVenue",
    "Welcome",
]


class _Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag=True, tag_field="message"):
    """Immutable, tagged with its name, and holding nothing that could form a cycle."""


# ---------------------------------------------------------------- to a venue


class NewOrder(_Message, frozen=True):
    """FIX NewOrderSingle (35=D)."""

    cl_ord_id: str
    account: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    quantity: int
    price: int | None = None
    stop_price: int | None = None
    #: The most that is shown at a time (FIX 111 MaxFloor); None: all of it.
    max_floor: int | None = None
    #: Rejected or cancelled rather than executed on arrival.
    post_only: bool = False
    #: When a DAY or GTD order ends, ns since the epoch; None for the other kinds.
    expire_at_ns: int | None = None
    #: It may have been sent before (FIX 97): what the venue has seen under this id is answered with its status.
    is_possible_resend: bool = False


class CancelOrder(_Message, frozen=True):
    """FIX OrderCancelRequest (35=F): for all that is left."""

    cl_ord_id: str
    orig_cl_ord_id: str
    symbol: str
    side: Side


class ReplaceOrder(_Message, frozen=True):
    """FIX OrderCancelReplaceRequest (35=G). The values that the order shall have then; the quantity counts what is filled already."""

    cl_ord_id: str
    orig_cl_ord_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: int
    price: int | None = None
    stop_price: int | None = None


class StatusRequest(_Message, frozen=True):
    """FIX OrderStatusRequest (35=H): answered by a report of kind ORDER_STATUS."""

    cl_ord_id: str


class MassStatusRequest(_Message, frozen=True):
    """FIX OrderMassStatusRequest (35=AF): a report of kind ORDER_STATUS for each order that is open, then :class:`ResumeEnd` with this id."""

    request_id: str


class Resume(_Message, frozen=True):
    """First message of a connection: who speaks, and after which report of which life of the venue to go on.

    Answered by :class:`Welcome`, then by every report after ``venue_seq`` (by all there are, if the life is another one), then by :class:`ResumeEnd`.
    """

    firm: str
    life: str
    venue_seq: int
    #: Quotes are enough, since whoever wants to see depth follows the venue's feed (:mod:`toucan.market`).
    without_depth: bool = False


ToVenue = NewOrder | CancelOrder | ReplaceOrder | StatusRequest | MassStatusRequest | Resume


# ---------------------------------------------------------------- from a venue


class Report(_Message, frozen=True):
    """FIX ExecutionReport (35=8) or, as CANCEL_REJECT, OrderCancelReject (35=9). Absent means that the venue did not say."""

    kind: ExecType
    #: Of the request that this answers, or the order's current id.
    cl_ord_id: str
    venue_seq: int = 0
    orig_cl_ord_id: str = ""
    #: The venue's own id of the order (FIX 37).
    venue_order_id: str = ""
    #: Unique per execution report of a venue (FIX 17); what is told twice has the same.
    exec_id: str = ""
    #: Of the execution that is cancelled or corrected (FIX 19).
    exec_ref_id: str = ""
    #: This execution's (for TRADE_CORRECT: the execution's new values).
    last_quantity: int = 0
    last_price: int | None = None
    #: How the venue sees the order after this.
    ord_status: OrdStatus | None = None
    quantity: int | None = None
    price: int | None = None
    stop_price: int | None = None
    cum_quantity: int | None = None
    leaves_quantity: int | None = None
    #: What was executed today of an order of several days (FIX 425); None: as ``cum_quantity``.
    day_cum_quantity: int | None = None
    #: Given with orders that this side did not send (FIX 55, 54, 1).
    symbol: str = ""
    side: Side | None = None
    account: str = ""
    #: Machine-readable, such as "too-late", "unknown-order", "post-only", "halted", "expired".
    reason: str = ""
    text: str = ""
    #: The venue's own time, ns since the epoch.
    at_ns: int = 0


class Welcome(_Message, frozen=True):
    """First answer of a venue: ``life`` is new when the venue has lost its state; ``venue_seq`` is its newest report's number for this firm."""

    life: str
    venue_seq: int


class ResumeEnd(_Message, frozen=True):
    """All that was asked for has been sent; ``request_id`` of a MassStatusRequest, else empty."""

    request_id: str = ""


class Level(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One price of a book and what is shown there."""

    price: int
    quantity: int
    #: How many orders lie there; 0: the venue does not say.
    orders: int = 0


class Quote(_Message, frozen=True):
    """Top of book and last trade of an instrument; None: there is none."""

    symbol: str
    at_ns: int
    bid_price: int | None = None
    bid_quantity: int = 0
    ask_price: int | None = None
    ask_quantity: int = 0
    last_price: int | None = None
    last_quantity: int = 0
    #: All that was traded today.
    volume: int = 0
    is_halted: bool = False


class Book(_Message, frozen=True):
    """Depth: the best levels of each side, best first."""

    symbol: str
    at_ns: int
    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()


FromVenue = Report | Welcome | ResumeEnd | Quote | Book
