"""An order as the exchange has it, and how it stands.

Law: numbers and marks, nothing that happens by itself. The status is never stored: it follows from the numbers by the precedence of FIX 4.4
(Appendix D), so a bust of the last fill opens a filled order without a rule for it. Where the order lies (book, stops, nowhere) is a mark that only
:mod:`toucan.exchange.core.matching` sets. Rejected: references to the order's firm and market. They would make cycles of what is not collected
(``gc=False``: hundreds of thousands of orders would make each collection a pause), so both are names.
"""

from __future__ import annotations

import msgspec

from toucan.core.values import OrderType, OrdStatus, Side, TimeInForce

__all__ = ["NEVER_RESTS", "VenueOrder"]

#: Time in force of what ends on arrival.
NEVER_RESTS = (TimeInForce.IOC, TimeInForce.FOK)


class VenueOrder(msgspec.Struct, gc=False, eq=False):
    """One order. Prices and quantities as in :mod:`toucan.core.values`; times in ns since the epoch."""

    #: Counts the orders of one life of the exchange; ``venue_order_id`` is made of it.
    number: int
    venue_order_id: str
    firm: str
    #: The last accepted request's id, and the one before it.
    cl_ord_id: str
    account: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    quantity: int
    price: int | None
    stop_price: int | None = None
    max_floor: int | None = None
    post_only: bool = False
    expire_at_ns: int | None = None
    orig_cl_ord_id: str = ""
    #: Every id of a request about it.
    ids: tuple[str, ...] = ()
    cum_quantity: int = 0
    #: Of that, what was executed on earlier days.
    prior_cum_quantity: int = 0
    #: The market's day on which it was open last.
    day: int = 0
    #: What others see of it in the book: all of it, or an iceberg's present slice.
    shown: int = 0
    #: How it ended, if it did other than by being filled: CANCELED, EXPIRED, REJECTED.
    end: OrdStatus | None = None
    is_done_for_day: bool = False
    #: A stop order whose stop price was reached.
    is_triggered: bool = False
    #: It lies in the book.
    is_resting: bool = False
    #: It waits for its stop price.
    is_waiting: bool = False
    #: Entered by the operator, so that its firm has not seen it before.
    is_external: bool = False

    @property
    def leaves_quantity(self) -> int:
        """FIX 151: what can still be executed; of a DAY order done for the day nothing."""
        if self.end is not None or (self.is_done_for_day and self.time_in_force is TimeInForce.DAY):
            return 0
        return self.quantity - self.cum_quantity

    @property
    def is_open(self) -> bool:
        """Whether something can still be executed."""
        return self.leaves_quantity > 0

    @property
    def can_rest(self) -> bool:
        """Whether it may lie in the book."""
        return self.type.has_price and self.time_in_force not in NEVER_RESTS

    @property
    def waits_for_trigger(self) -> bool:
        """Whether it is a stop order whose stop price was not reached."""
        return self.stop_price is not None and not self.is_triggered

    @property
    def status(self) -> OrdStatus:
        """FIX 39, by precedence."""
        if self.is_done_for_day:
            return OrdStatus.DONE_FOR_DAY
        if self.end is OrdStatus.REJECTED:
            return OrdStatus.REJECTED
        if self.cum_quantity >= self.quantity:
            return OrdStatus.FILLED
        if self.end is not None:
            return self.end
        return OrdStatus.PARTIALLY_FILLED if self.cum_quantity else OrdStatus.NEW

    def begin_day(self, day: int) -> None:
        """The market's day is this one; what was executed before counts as of earlier days."""
        if day != self.day:
            self.day = day
            self.prior_cum_quantity = self.cum_quantity
