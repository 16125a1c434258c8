"""Prices, quantities and times between our integers and FIX's text.

Law: exact. An integer becomes a decimal with the instrument's decimals, and text becomes an integer only if nothing has to be rounded; whether a
number lies on a tick or lot is for whoever trades to say. FIX 4.4 has times in UTC with milliseconds; others may send more digits, which are read
as far as nanoseconds go.
"""

from __future__ import annotations

import datetime
import re
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

from toucan.core.instruments import Instrument
from toucan.fix.core.message import FaultKind, FixFault, FixMessage

__all__ = ["UNKNOWN_DECIMALS", "Scale", "time_ns", "time_text"]

_NS = 1_000_000_000
_MS = 1_000_000
_EXACT = Context(prec=80, Emax=80, Emin=-80, traps=[Inexact, InvalidOperation, Overflow])
_NUMBER = re.compile(r"-?\d+\.?\d*|-?\.\d+")
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?", re.ASCII)
#: A FIX number has at most 15 significant digits; more than this is none.
_CHARACTERS_MAX = 40

#: What the seam's messages can carry; whoever trades refuses much smaller numbers, with a better word for it.
_WHOLE_MAX = 2**63 - 1

#: Of an instrument that is not known: enough to say a number again as it was said.
UNKNOWN_DECIMALS = 8


class Scale:
    """How an instrument's numbers are written."""

    def __init__(self, instrument: Instrument | None) -> None:
        self._price_decimals = instrument.price_decimals if instrument else UNKNOWN_DECIMALS
        self._quantity_decimals = instrument.quantity_decimals if instrument else UNKNOWN_DECIMALS

    def price_text(self, price: int) -> str:
        """FIX's Price, with all its decimals."""
        return f"{Decimal(price).scaleb(-self._price_decimals, _EXACT):f}"

    def quantity_text(self, quantity: int) -> str:
        """FIX's Qty, without zeros that say nothing."""
        text = f"{Decimal(quantity).scaleb(-self._quantity_decimals, _EXACT):f}"
        return text.rstrip("0").rstrip(".") if "." in text else text

    def price(self, message: FixMessage, tag: int) -> int | None:
        """The price in a field; None: it is not there. Raises :class:`FixFault`."""
        return _scaled(message, tag, self._price_decimals)

    def quantity(self, message: FixMessage, tag: int) -> int | None:
        """The quantity in a field; None: it is not there. Raises :class:`FixFault`."""
        return _scaled(message, tag, self._quantity_decimals)


def _scaled(message: FixMessage, tag: int, decimals: int) -> int | None:
    if not message.has(tag):
        return None
    text = message.get(tag)
    if len(text) > _CHARACTERS_MAX or not (text.isascii() and _NUMBER.fullmatch(text)):
        raise FixFault(FaultKind.FORMAT, tag, f"{text[:20]!r} is no number")
    try:
        scaled = Decimal(text).scaleb(decimals, _EXACT)
    except ArithmeticError:
        raise FixFault(FaultKind.VALUE, tag, f"{text} cannot be traded") from None
    whole = int(scaled)
    if whole != scaled or abs(whole) > _WHOLE_MAX:
        raise FixFault(FaultKind.VALUE, tag, f"{text} has more digits than can be traded")
    return whole


def time_text(at_ns: int, *, is_rounded_up: bool = False) -> str:
    """FIX's UTCTimestamp, with milliseconds, of a time in ns since the epoch."""
    at_ms = -(-at_ns // _MS) if is_rounded_up else at_ns // _MS
    moment = datetime.datetime.fromtimestamp(at_ms // 1000, datetime.UTC)
    return f"{moment:%Y%m%d-%H:%M:%S}.{at_ms % 1000:03d}"


def time_ns(message: FixMessage, tag: int) -> int | None:
    """The time in a field, in ns since the epoch; None: it is not there. Raises :class:`FixFault`."""
    if not message.has(tag):
        return None
    found = _TIME.fullmatch(message.get(tag))
    if found is None:
        raise FixFault(FaultKind.FORMAT, tag, f"{message.get(tag)[:30]!r} is no UTC time")
    *whole, fraction = found.groups()
    # A leap second is the one after it.
    year, month, day, hour, minute, second = map(int, whole)
    try:
        moment = datetime.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=datetime.UTC)
    except ValueError:
        raise FixFault(FaultKind.VALUE, tag, f"{message.get(tag)} is no time") from None
    seconds = int(moment.timestamp()) + (1 if second >= 60 else 0)
    at_ns = seconds * _NS + int((fraction or "0").ljust(9, "0")[:9])
    if abs(at_ns) > _WHOLE_MAX:
        raise FixFault(FaultKind.VALUE, tag, f"{message.get(tag)} is no time that can be counted in ns")
    return at_ns
