"""The instrument table: what can be traded, in which steps, in which currency, and when its day ends.

Law: everything that turns people's numbers into the integers of :mod:`toucan.core.values` and back is here, and it is exact: a number that does
not lie on an instrument's grid is an error, never rounded. Time zones are data (``zoneinfo``), the time itself is an argument.
"""

from __future__ import annotations

import datetime
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from zoneinfo import ZoneInfo

import msgspec

__all__ = ["NUMBER_MAX", "Instrument", "NotOnGrid", "Session"]

#: No price and no quantity is larger: a product of two fits 126 bits, and JSON and SQLite carry each exactly.
NUMBER_MAX = 2**53 - 1
_NS = 1_000_000_000
_MIDNIGHT = datetime.time(0, 0)
#: More digits than a sum of products of a price, a quantity and a multiplier has.
_WIDE = Context(prec=80)
#: What would have to be rounded is an error, and so is what is too large or too small to be anything (``1e999999999``).
_EXACT = Context(prec=80, Emax=80, Emin=-80, traps=[Inexact, InvalidOperation, Overflow])


class NotOnGrid(ValueError):
    """A number that an instrument cannot have: not a number, too large, or between two steps."""


class Session(msgspec.Struct, frozen=True):
    """The trading day of an instrument, in its own time zone; ``open`` = ``close`` means around the clock, the day ending at that time."""

    #: Time zone by its IANA name.
    zone: str = "UTC"
    #: Local time at which it opens.
    open: datetime.time = datetime.time(0, 0)
    #: Local time at which it closes; DAY orders end then.
    close: datetime.time = datetime.time(0, 0)
    #: 0 is Monday.
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    #: Days without a session.
    holidays: tuple[datetime.date, ...] = ()

    def ends_after_ns(self, now_ns: int) -> int:
        """When the session that is on, or else the next one, closes; ns since the epoch, later than ``now_ns``."""
        return self._next(now_ns)[1]

    def trade_date(self, now_ns: int) -> datetime.date:
        """The day to which a trade at ``now_ns`` belongs: that of the close that comes next."""
        return self._next(now_ns)[0]

    def is_open(self, now_ns: int) -> bool:
        """Whether a session is on. Points in time are compared, since on some days a wall clock shows an hour twice, or never."""
        day, _ = self._next(now_ns)
        return self._open_ns(day, ZoneInfo(self.zone)) <= now_ns

    def _next(self, now_ns: int) -> tuple[datetime.date, int]:
        """The day whose session is on or comes next, and when it closes."""
        zone = ZoneInfo(self.zone)
        day = datetime.datetime.fromtimestamp(now_ns // _NS, zone).date() - datetime.timedelta(days=1)
        for _ in range(400):
            if day.weekday() in self.weekdays and day not in self.holidays:
                end = self._close_ns(day, zone)
                if end > now_ns:
                    return day, end
            day += datetime.timedelta(days=1)
        raise ValueError("this calendar has no trading day within a year")

    def _close_ns(self, day: datetime.date, zone: ZoneInfo) -> int:
        # Midnight closes the day that it ends.
        date = day + datetime.timedelta(days=1) if self.close == _MIDNIGHT else day
        return _instant_ns(date, self.close, zone)

    def _open_ns(self, day: datetime.date, zone: ZoneInfo) -> int:
        # A session over midnight, or around the clock, is named after the day on which it closes.
        is_before = self.close != _MIDNIGHT and self.open >= self.close
        date = day - datetime.timedelta(days=1) if is_before else day
        return _instant_ns(date, self.open, zone)


def _instant_ns(date: datetime.date, time: datetime.time, zone: ZoneInfo) -> int:
    return int(datetime.datetime.combine(date, time, zone).timestamp()) * _NS


class Instrument(msgspec.Struct, frozen=True):
    """One line of the table; ``tick`` and ``lot`` are integers in the units of prices and quantities."""

    #: What people type; unique.
    symbol: str
    #: ISO 4217, or a cryptocurrency's usual code.
    currency: str
    #: Where orders for it go.
    venue: str
    #: Decimals of a price: it is an integer in units of 10^-price_decimals.
    price_decimals: int = 2
    #: Decimals of a quantity.
    quantity_decimals: int = 0
    #: Prices are multiples of it; in units of prices.
    tick: int = 1
    #: Quantities are multiples of it; in units of quantities.
    lot: int = 1
    #: What one unit of quantity at price 1 is worth in the currency: 1 for shares, the contract size of a future.
    multiplier: int = 1
    #: When it is traded.
    session: Session = Session()
    #: For people.
    description: str = ""

    def price_of(self, text: str | Decimal) -> int:
        """A price as people write it. Raises :class:`NotOnGrid`."""
        return _scaled(text, self.price_decimals, self.tick, f"{self.symbol}: price", "tick")

    def quantity_of(self, text: str | Decimal) -> int:
        """A quantity as people write it. Raises :class:`NotOnGrid`."""
        return _scaled(text, self.quantity_decimals, self.lot, f"{self.symbol}: quantity", "lot")

    def price_text(self, price: int) -> str:
        """A price for people, with all its decimals."""
        return f"{Decimal(price).scaleb(-self.price_decimals, _EXACT):f}"

    def quantity_text(self, quantity: int) -> str:
        """A quantity for people, without zeros that say nothing."""
        text = f"{Decimal(quantity).scaleb(-self.quantity_decimals):f}"
        return text.rstrip("0").rstrip(".") if "." in text else text

    def money(self, notional: int) -> Decimal:
        """A product of price and quantity (or a sum of such) in the currency, exactly."""
        return Decimal(notional * self.multiplier).scaleb(
            -self.price_decimals - self.quantity_decimals, _WIDE
        )


def _scaled(text: str | Decimal, decimals: int, step: int, what: str, name: str) -> int:
    try:
        scaled = Decimal(text).scaleb(decimals, _EXACT)
        whole = int(scaled)
    except (ArithmeticError, ValueError):
        raise NotOnGrid(f"{what} {str(text)[:40]!r} is not a number that can be traded") from None
    if abs(whole) > NUMBER_MAX:
        raise NotOnGrid(f"{what} {str(text)[:40]} is too large")
    if whole != scaled or whole % step:
        grid = f"{Decimal(step).scaleb(-decimals):f}"
        raise NotOnGrid(f"{what} {str(text)[:40]} is not a multiple of its {name}, {grid}")
    return whole
