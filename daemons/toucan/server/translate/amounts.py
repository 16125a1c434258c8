"""Numbers for the wire as decimal text, exactly, from the core's integers and fractions.

Integer arithmetic alone: a ``decimal.Decimal`` rounds to its thread's context, and sums of money have more digits than that has.
"""

from __future__ import annotations

from fractions import Fraction

from toucan.core.instruments import Instrument

__all__ = ["AVERAGE_DECIMALS", "average_price_text", "decimal_text", "money_text"]

#: Decimals of an average price on the wire.
AVERAGE_DECIMALS = 12


def decimal_text(number: int, decimals: int, kept: int = 0) -> str:
    """``number`` * 10^-``decimals``, without zeros at the end beyond ``kept`` decimals: ``decimal_text(-123450, 3, 2)`` is ``-123.45``."""
    digits = str(abs(number)).rjust(decimals + 1, "0")
    whole, part = (digits[:-decimals], digits[-decimals:]) if decimals else (digits, "")
    part = part[:kept] + part[kept:].rstrip("0")
    sign = "-" if number < 0 else ""
    return f"{sign}{whole}.{part}" if part else sign + whole


def money_text(notional: int, instrument: Instrument) -> str:
    """A product of price and quantity, or a sum of such, in the instrument's currency."""
    decimals = instrument.price_decimals + instrument.quantity_decimals
    return decimal_text(notional * instrument.multiplier, decimals, instrument.price_decimals)


def average_price_text(notional: int | Fraction, quantity: int, instrument: Instrument) -> str:
    """``notional`` / ``quantity`` in the currency, rounded half to even to :data:`AVERAGE_DECIMALS`; ``quantity`` is not 0."""
    decimals = instrument.price_decimals
    places = max(AVERAGE_DECIMALS, decimals)
    factor = 10 ** (places - decimals)
    if isinstance(notional, int):
        return decimal_text(_divided(notional * factor, quantity), places, decimals)
    return decimal_text(
        _divided(notional.numerator * factor, notional.denominator * quantity), places, decimals
    )


def _divided(numerator: int, denominator: int) -> int:
    """The quotient, rounded half to even."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    whole, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return whole + (twice > denominator or (twice == denominator and whole & 1))
