"""Between people's numbers and the integers of the public API, exactly.

Law: a number that does not lie on its grid is an error, never rounded, and never a float: 0.1 is none, 189.5 happens to be one, and nobody sees
the difference in a source text. Everything here is integer arithmetic on digits; :mod:`decimal`'s context, which any thread may have set to a few
digits, has no say.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from toucan.client.errors import InvalidRequest
from toucan.client.limits import NUMBER_MAX

__all__ = ["Number", "decimal_of", "plain", "units_of"]

#: What people may give as a price or quantity.
Number = int | str | Decimal

#: Digits of a number that are looked at; more make no price.
_DIGITS_MAX = 200
_SHOWN_MAX = 40


def units_of(number: Number, decimals: int, step: int, what: str, grid: str) -> int:
    """``number`` in units of 10^-``decimals``, a multiple of ``step`` units.

    ``what`` and ``grid`` name the number and its step in errors, such as "AAPL: price" and "tick". Raises TypeError for a float, and
    :class:`~toucan.client.errors.InvalidRequest`.
    """
    value = _decimal(number, what)
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    shift = exponent + decimals
    mantissa = int("".join(map(str, digits)) or "0")
    if mantissa and len(digits) + shift > len(str(NUMBER_MAX)):
        raise InvalidRequest(
            f"{what} {_shown(number)} is too large: {plain(decimal_of(NUMBER_MAX, decimals))} is the most"
        )
    divisor = 1 if shift >= 0 else int(10 ** min(-shift, _DIGITS_MAX))
    units, rest = divmod(mantissa * int(10 ** min(max(shift, 0), _DIGITS_MAX)), divisor)
    if rest or units % step:
        raise InvalidRequest(
            f"{what} {_shown(number)} is not a multiple of the {grid}, {plain(decimal_of(step, decimals))}"
        )
    if units > NUMBER_MAX:
        raise InvalidRequest(
            f"{what} {_shown(number)} is too large: {plain(decimal_of(NUMBER_MAX, decimals))} is the most"
        )
    return -units if sign else units


def _decimal(number: Number, what: str) -> Decimal:
    if isinstance(number, float):
        raise TypeError(
            f"{what} {number!r} is a float, and floats cannot hold most decimal numbers: give it as text, "
            f'such as "{number!r}", or as a Decimal'
        )
    if isinstance(number, bool) or not isinstance(number, int | str | Decimal):
        raise TypeError(f"{what} is {type(number).__name__}; give it as text, an int or a Decimal")
    try:
        value = Decimal(number)
    except (InvalidOperation, ValueError):
        raise InvalidRequest(f"{what} {_shown(number)} is not a number") from None
    if not value.is_finite() or len(value.as_tuple().digits) > _DIGITS_MAX:
        raise InvalidRequest(f"{what} {_shown(number)} is not a number that can be traded")
    return value


def _shown(number: Number) -> str:
    text = str(number)
    text = text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"
    return repr(text) if isinstance(number, str) else text


def decimal_of(units: int, decimals: int) -> Decimal:
    """``units`` times 10^-``decimals``, with all its decimals."""
    return Decimal(f"{units}E-{decimals}")


def plain(number: Decimal) -> str:
    """A number for people: no exponent, no zeros that say nothing."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
