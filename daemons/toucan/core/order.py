"""One order: what was asked, what is in flight to its venue, what was executed; and from that, how it stands.

Law: an order's status is never stored. It follows from the numbers, the marks and the requests that the venue has confirmed as pending, by the
precedence that FIX 4.4 gives (Appendix D, "OrdStatus precedence"): so a filled order whose replacement to a larger quantity is accepted is partly
filled again, and a bust after the last fill opens it, without a rule for either. What happens to an order is in :mod:`toucan.core.life_cycle` alone.

``OrdStatus`` says what the venue has said. What was sent and not yet heard of is beside it (:attr:`Order.requests`), not in it: a cancel on its
way cancels nothing yet. Rejected: a status of our own for "sent", which would hide a fill that crosses it on the wire.
"""

from __future__ import annotations

import enum
from fractions import Fraction

import msgspec

from toucan.core.terms import OrderTerms
from toucan.core.values import OrdStatus, RequestKind, TimeInForce

__all__ = ["PRECEDENCE", "Client", "Execution", "Order", "OrderState", "PendingRequest", "RefusedCancel"]

#: FIX 4.4 Appendix D: where several apply, the one with the largest number is told.
PRECEDENCE: dict[OrdStatus, int] = {
    OrdStatus.PENDING_CANCEL: 12,
    OrdStatus.PENDING_REPLACE: 11,
    OrdStatus.DONE_FOR_DAY: 10,
    OrdStatus.FILLED: 8,
    OrdStatus.STOPPED: 7,
    OrdStatus.SUSPENDED: 6,
    OrdStatus.CANCELED: 5,
    OrdStatus.EXPIRED: 5,
    OrdStatus.PARTIALLY_FILLED: 4,
    OrdStatus.NEW: 2,
    OrdStatus.REJECTED: 2,
    OrdStatus.PENDING_NEW: 2,
}


class OrderState(enum.IntEnum):
    """The states that an order itself can be in, requests and marks left aside: the life cycle's rows."""

    PENDING_NEW = 1
    WORKING = 2
    CANCELED = 3
    REJECTED = 4
    EXPIRED = 5


class Client(msgspec.Struct, frozen=True, gc=False, array_like=True, order=True):
    """Who asks: a user, and one of his sessions (a program, a window), each with requests numbered by itself."""

    user: str
    session: str


class Execution(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A fill as it counts now, that is after corrections."""

    quantity: int
    price: int
    at_ns: int


class PendingRequest(msgspec.Struct, gc=False):
    """Something sent to the venue and not answered for good. ``terms``: those that the order shall have (replacements only)."""

    kind: RequestKind
    cl_ord_id: str
    #: Whether the venue has confirmed that it works on it (FIX Pending Cancel, Pending Replace).
    is_acknowledged: bool = False
    terms: OrderTerms | None = None
    #: Who asked: shown to those who watch, and 'engine' where nobody did.
    by: str = ""
    #: Why, where the engine asked.
    why: str = ""


class RefusedCancel(msgspec.Struct, frozen=True, gc=False):
    """A cancel that the engine wanted and the venue refused: when, and why it was wanted."""

    at_ns: int
    why: str


class Order(msgspec.Struct):
    """An order and all that is known of it. Quantities and prices as in :mod:`toucan.core.values`."""

    order_id: int
    terms: OrderTerms
    owner: Client
    venue: str
    #: The last request's id that the venue has accepted, or the first's: what OrigClOrdID says next.
    cl_ord_id: str
    created_ns: int
    #: The id of its first request; those that follow count on from it.
    first_cl_ord_id: str
    state: OrderState = OrderState.PENDING_NEW
    venue_order_id: str = ""
    requests: list[PendingRequest] = msgspec.field(default_factory=list)
    #: Fills as they count now, by the exec_id of the trade.
    executions: dict[str, Execution] = msgspec.field(default_factory=dict)
    #: A correction's exec_id and that of the trade it corrects: the next correction may name either.
    corrections: dict[str, str] = msgspec.field(default_factory=dict)
    #: Reports that were taken in and must not count twice: told again, they are no news. A dict for its order, which equal histories share.
    exec_ids: dict[str, bool] = msgspec.field(default_factory=dict)
    cum_quantity: int = 0
    #: Sum of price times quantity of what was executed.
    cum_notional: int = 0
    is_done_for_day: bool = False
    is_stopped: bool = False
    is_suspended: bool = False
    #: A stop order whose stop price was reached.
    is_triggered: bool = False
    #: Why it ended or was refused last, machine-readable; and the venue's words.
    reason: str = ""
    text: str = ""
    #: When the venue shall end it (DAY, GTD), ns since the epoch.
    expire_at_ns: int | None = None
    #: The event that changed it last, and when.
    updated_seq: int = 0
    updated_ns: int = 0
    #: Requests sent for it so far: the next one's id carries this number.
    request_count: int = 1
    #: Entered at the venue by other ways than through here.
    is_external: bool = False
    #: What the engine will ask for again, until it is under way or the order is over.
    refused_cancel: RefusedCancel | None = None

    @property
    def is_open(self) -> bool:
        """Whether something may still be executed."""
        return self.leaves_quantity > 0

    @property
    def has_ended(self) -> bool:
        """Whether its venue has ended it, whatever was executed of it."""
        return self.state not in _LIVE

    @property
    def remaining_quantity(self) -> int:
        """What is not executed, whether or not it still can be."""
        return max(0, self.terms.quantity - self.cum_quantity)

    @property
    def leaves_quantity(self) -> int:
        """FIX 151: what can still be executed; of a DAY order done for the day nothing."""
        if self.state not in _LIVE or (self.is_done_for_day and self.terms.time_in_force is TimeInForce.DAY):
            return 0
        return self.remaining_quantity

    @property
    def may_execute(self) -> bool:
        """Whether something may still be executed at worst: a filled order too, while a replacement that makes it larger is in flight."""
        return self.worst_terms[0] > 0

    @property
    def worst_terms(self) -> tuple[int, int | None, int | None]:
        """Quantity still to come, price and stop price at the worst that may be: of the terms as they are and all replacements in flight."""
        quantity, price, stop = self.leaves_quantity, self.terms.price, self.terms.stop_price
        for request in self.requests:
            wanted = request.terms
            if wanted is None:
                continue
            if self.state in _LIVE:
                quantity = max(quantity, wanted.quantity - self.cum_quantity)
            price = _worse(price, wanted.price)
            stop = _worse(stop, wanted.stop_price)
        return quantity, price, stop

    @property
    def average_price(self) -> Fraction | None:
        """FIX 6, exactly; None before the first fill."""
        return Fraction(self.cum_notional, self.cum_quantity) if self.cum_quantity else None

    @property
    def status(self) -> OrdStatus:
        """FIX 39, by precedence."""
        return max(self._statuses(), key=PRECEDENCE.__getitem__)

    def _statuses(self) -> list[OrdStatus]:
        found = [_OWN[self.state]]
        if self.cum_quantity and self.state != OrderState.REJECTED:
            is_full = self.cum_quantity >= self.terms.quantity
            found.append(OrdStatus.FILLED if is_full else OrdStatus.PARTIALLY_FILLED)
        if self.is_done_for_day:
            found.append(OrdStatus.DONE_FOR_DAY)
        if self.is_stopped:
            found.append(OrdStatus.STOPPED)
        if self.is_suspended:
            found.append(OrdStatus.SUSPENDED)
        for request in self.requests:
            if request.is_acknowledged and request.kind is not RequestKind.NEW:
                found.append(_PENDING[request.kind])
        return found

    @property
    def orig_cl_ord_id(self) -> str:
        """FIX 41 for the next request: the last replacement in flight, which is not rejected yet, or else the last accepted request."""
        replacing = [request.cl_ord_id for request in self.requests if request.kind is RequestKind.REPLACE]
        return replacing[-1] if replacing else self.cl_ord_id

    def request(self, cl_ord_id: str) -> PendingRequest | None:
        """The request in flight with this id."""
        return next((request for request in self.requests if request.cl_ord_id == cl_ord_id), None)

    def execution_of(self, exec_ref_id: str) -> tuple[str, Execution] | None:
        """The fill that a bust or correction refers to, by the id of its trade or of its last correction."""
        key = self.corrections.get(exec_ref_id, exec_ref_id)
        found = self.executions.get(key)
        return None if found is None else (key, found)

    def is_asked_to_cancel(self) -> bool:
        """Whether a cancel is in flight."""
        return any(request.kind is RequestKind.CANCEL for request in self.requests)


_LIVE = (OrderState.PENDING_NEW, OrderState.WORKING)
_OWN = {
    OrderState.PENDING_NEW: OrdStatus.PENDING_NEW,
    OrderState.WORKING: OrdStatus.NEW,
    OrderState.CANCELED: OrdStatus.CANCELED,
    OrderState.REJECTED: OrdStatus.REJECTED,
    OrderState.EXPIRED: OrdStatus.EXPIRED,
}
_PENDING = {
    RequestKind.CANCEL: OrdStatus.PENDING_CANCEL,
    RequestKind.REPLACE: OrdStatus.PENDING_REPLACE,
}


def _worse(one: int | None, other: int | None) -> int | None:
    """The larger one: for either side the one that is more money."""
    if one is None or other is None:
        return one if other is None else other
    return max(one, other)
