"""What an order shall do, as its client asks: the values that are checked, journalled and sent, and the rules that they keep by themselves.

Law: terms are said once and never changed; a replacement is other terms. What can be judged from the terms, their instrument and the time is judged
here (:meth:`OrderTerms.validate`), and nothing else: limits, positions and other orders are for :mod:`toucan.core.risk_checks`. Of several faults
the first is told, in the order of the fields, so that the same terms always have the same answer. Rejected: leaving the rules to the venue, which
would answer late and in its own words; and checks in the constructor, since terms that a newer rule refuses must still be read from the journal.
"""

from __future__ import annotations

import enum

import msgspec

from toucan.core.instruments import NUMBER_MAX, Instrument
from toucan.core.values import OrderType, Side, TimeInForce

__all__ = ["AT_NS_MAX", "NOTIONAL_MAX", "TEXT_CHARACTERS_MAX", "OrderTerms", "Problem", "ProblemCode"]

#: Price times quantity times the instrument's multiplier of one order, in its smallest units: what an int64 of the wire and of SQLite carries.
NOTIONAL_MAX = 2**63 - 1
#: The last point in time that an int64 of ns since the epoch can name: in the year 2262.
AT_NS_MAX = 2**63 - 1
#: A note is copied into every journal record and update of its order: enough for a sentence.
TEXT_CHARACTERS_MAX = 200

_NEVER_RESTS = (TimeInForce.IOC, TimeInForce.FOK)


class ProblemCode(enum.IntEnum):
    """What is wrong with the terms of an order. Numbers are written into the journal: only added, never changed."""

    QUANTITY_NOT_POSITIVE = 1
    QUANTITY_NOT_ON_LOT = 2
    QUANTITY_TOO_LARGE = 3
    PRICE_MISSING = 4
    PRICE_NOT_ALLOWED = 5
    PRICE_NOT_POSITIVE = 6
    PRICE_NOT_ON_TICK = 7
    PRICE_TOO_LARGE = 8
    STOP_PRICE_MISSING = 9
    STOP_PRICE_NOT_ALLOWED = 10
    STOP_PRICE_NOT_POSITIVE = 11
    STOP_PRICE_NOT_ON_TICK = 12
    STOP_PRICE_TOO_LARGE = 13
    NOTIONAL_TOO_LARGE = 14
    MAX_FLOOR_NOT_ALLOWED = 15
    MAX_FLOOR_NOT_POSITIVE = 16
    MAX_FLOOR_NOT_ON_LOT = 17
    MAX_FLOOR_ABOVE_QUANTITY = 18
    POST_ONLY_NOT_ALLOWED = 19
    EXPIRE_TIME_MISSING = 20
    EXPIRE_TIME_NOT_ALLOWED = 21
    EXPIRE_TIME_PASSED = 22
    EXPIRE_TIME_TOO_LATE = 23
    TEXT_TOO_LONG = 24
    TEXT_NOT_PRINTABLE = 25
    ACCOUNT_MISSING = 26


class Problem(msgspec.Struct, frozen=True, gc=False):
    """Why terms are no order: a code for programs, the field at fault, and a sentence that says what to do."""

    code: ProblemCode
    field: str
    text: str


class OrderTerms(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What an order shall do. Prices and quantities are integers in the instrument's units; ``None`` is absent."""

    account: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    #: Altogether (FIX 38), what is executed already included.
    quantity: int
    #: FIX 44: the worst price at which it may be executed.
    price: int | None = None
    #: FIX 99: the last trade's price at which it becomes a MARKET or LIMIT order.
    stop_price: int | None = None
    #: FIX 111: the most that is shown at a time; None: all of it.
    max_floor: int | None = None
    #: Only ever adds to the book; the venue refuses or cancels it rather than execute it on arrival.
    post_only: bool = False
    #: Only ever brings the account's position nearer to zero.
    reduce_only: bool = False
    #: FIX 126, with GTD alone; ns since the epoch.
    expire_at_ns: int | None = None
    #: The client's note; it is kept and shown, never interpreted.
    text: str = ""

    def validate(self, instrument: Instrument, now_ns: int) -> Problem | None:
        """The first rule that these terms break, or None. ``instrument`` is that of :attr:`symbol`; ``now_ns`` since the epoch."""
        return (
            self._quantity_problem(instrument)
            or self._price_problem(instrument)
            or self._stop_price_problem(instrument)
            or self._notional_problem(instrument)
            or self._max_floor_problem(instrument)
            or self._post_only_problem()
            or self._expiry_problem(now_ns)
            or self._text_problem()
        )

    def _quantity_problem(self, instrument: Instrument) -> Problem | None:
        quantity = self.quantity
        if 0 < quantity <= NUMBER_MAX and quantity % instrument.lot == 0:
            return None
        shown = instrument.quantity_text(quantity)
        if quantity <= 0:
            text = f"the quantity is {shown}; it must be more than 0, and the side says the direction"
            return Problem(ProblemCode.QUANTITY_NOT_POSITIVE, "quantity", text)
        if quantity > NUMBER_MAX:
            text = f"the quantity {shown} is above {instrument.quantity_text(NUMBER_MAX)}, the largest there can be"
            return Problem(ProblemCode.QUANTITY_TOO_LARGE, "quantity", text)
        lot = instrument.quantity_text(instrument.lot)
        text = f"the quantity {shown} is not a multiple of the lot of {self.symbol}, {lot}"
        return Problem(ProblemCode.QUANTITY_NOT_ON_LOT, "quantity", text)

    def _price_problem(self, instrument: Instrument) -> Problem | None:
        if self.price is None:
            if not self.type.has_price:
                return None
            text = f"a {self.type.name} order needs a price"
            return Problem(ProblemCode.PRICE_MISSING, "price", text)
        if not self.type.has_price:
            text = f"a {self.type.name} order has no price; leave it out, or send a LIMIT or STOP_LIMIT order"
            return Problem(ProblemCode.PRICE_NOT_ALLOWED, "price", text)
        return _number_problem(self.price, instrument, "price", ProblemCode.PRICE_NOT_POSITIVE)

    def _stop_price_problem(self, instrument: Instrument) -> Problem | None:
        if self.stop_price is None:
            if not self.type.has_stop_price:
                return None
            text = f"a {self.type.name} order needs a stop price"
            return Problem(ProblemCode.STOP_PRICE_MISSING, "stop_price", text)
        if not self.type.has_stop_price:
            text = f"a {self.type.name} order has no stop price; leave it out, or send a STOP or STOP_LIMIT order"
            return Problem(ProblemCode.STOP_PRICE_NOT_ALLOWED, "stop_price", text)
        return _number_problem(self.stop_price, instrument, "stop price", ProblemCode.STOP_PRICE_NOT_POSITIVE)

    def _notional_problem(self, instrument: Instrument) -> Problem | None:
        worst = max(self.price or 0, self.stop_price or 0)
        if worst * self.quantity * instrument.multiplier <= NOTIONAL_MAX:
            return None
        most = NOTIONAL_MAX // (worst * instrument.multiplier) // instrument.lot * instrument.lot
        text = (
            f"price times quantity is more than can be counted; at this price the quantity can be "
            f"{instrument.quantity_text(most)} at most"
        )
        return Problem(ProblemCode.NOTIONAL_TOO_LARGE, "quantity", text)

    def _max_floor_problem(self, instrument: Instrument) -> Problem | None:
        floor = self.max_floor
        if floor is None:
            return None
        if not self.type.has_price or self.time_in_force in _NEVER_RESTS:
            what = self.time_in_force.name if self.type.has_price else self.type.name
            text = f"a {what} order is never shown in the book, so it cannot have a shown quantity"
            return Problem(ProblemCode.MAX_FLOOR_NOT_ALLOWED, "max_floor", text)
        shown = instrument.quantity_text(floor)
        if floor <= 0:
            text = f"the shown quantity is {shown}; it must be more than 0"
            return Problem(ProblemCode.MAX_FLOOR_NOT_POSITIVE, "max_floor", text)
        if floor % instrument.lot:
            lot = instrument.quantity_text(instrument.lot)
            text = f"the shown quantity {shown} is not a multiple of the lot of {self.symbol}, {lot}"
            return Problem(ProblemCode.MAX_FLOOR_NOT_ON_LOT, "max_floor", text)
        if floor > self.quantity:
            text = (
                f"the shown quantity {shown} is above the quantity {instrument.quantity_text(self.quantity)}"
            )
            return Problem(ProblemCode.MAX_FLOOR_ABOVE_QUANTITY, "max_floor", text)
        return None

    def _post_only_problem(self) -> Problem | None:
        if not self.post_only:
            return None
        if self.type is OrderType.LIMIT and self.time_in_force not in _NEVER_RESTS:
            return None
        what = self.type.name if self.type is not OrderType.LIMIT else self.time_in_force.name
        text = f"a {what} order cannot be post-only; only a LIMIT order that may rest in the book can"
        return Problem(ProblemCode.POST_ONLY_NOT_ALLOWED, "post_only", text)

    def _expiry_problem(self, now_ns: int) -> Problem | None:
        at_ns = self.expire_at_ns
        if self.time_in_force is not TimeInForce.GTD:
            if at_ns is None:
                return None
            text = f"a {self.time_in_force.name} order has no expire time; leave it out, or send it as GTD"
            return Problem(ProblemCode.EXPIRE_TIME_NOT_ALLOWED, "expire_at_ns", text)
        if at_ns is None:
            text = "a GTD order needs an expire time"
            return Problem(ProblemCode.EXPIRE_TIME_MISSING, "expire_at_ns", text)
        if at_ns <= now_ns:
            text = f"the expire time has passed {(now_ns - at_ns) / 1e9:.3f} s ago; it must lie in the future"
            return Problem(ProblemCode.EXPIRE_TIME_PASSED, "expire_at_ns", text)
        if at_ns > AT_NS_MAX:
            text = "the expire time is after the year 2262; send the order as GTC"
            return Problem(ProblemCode.EXPIRE_TIME_TOO_LATE, "expire_at_ns", text)
        return None

    def _text_problem(self) -> Problem | None:
        if not self.account:
            return Problem(ProblemCode.ACCOUNT_MISSING, "account", "the order needs an account")
        if len(self.text) > TEXT_CHARACTERS_MAX:
            text = f"the note has {len(self.text)} characters; {TEXT_CHARACTERS_MAX} are the most"
            return Problem(ProblemCode.TEXT_TOO_LONG, "text", text)
        if self.text and not self.text.isprintable():
            text = "the note has line breaks or other characters that cannot be shown; send plain text"
            return Problem(ProblemCode.TEXT_NOT_PRINTABLE, "text", text)
        return None


def _number_problem(number: int, instrument: Instrument, what: str, first: ProblemCode) -> Problem | None:
    """A price's own rules; ``first`` is the code of the first of three, whose numbers follow each other."""
    if 0 < number <= NUMBER_MAX and number % instrument.tick == 0:
        return None
    field, shown = what.replace(" ", "_"), instrument.price_text(number)
    if number <= 0:
        return Problem(first, field, f"the {what} is {shown}; it must be more than 0")
    if number > NUMBER_MAX:
        text = f"the {what} {shown} is above {instrument.price_text(NUMBER_MAX)}, the largest there can be"
        return Problem(ProblemCode(first + 2), field, text)
    tick = instrument.price_text(instrument.tick)
    text = f"the {what} {shown} is not a multiple of the tick of {instrument.symbol}, {tick}"
    return Problem(ProblemCode(first + 1), field, text)
