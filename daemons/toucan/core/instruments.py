"""The instrument table: what can be traded, in which steps, in which currency, and when its day ends.

Law: everything that turns people's numbers into the integers of :mod:`toucan.core.values` and back is here, and it is exact: a number that does
not lie on an instrument's grid is an error, never rounded. Time zones are data (``zoneinfo``), the time itself is an argument.
"""

from __future__ import annotations

import datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

import msgspec

__all__ = ["NUMBER_MAX", "Instrument", "NotOnGrid", "Session"]

#: No price and no quantity is larger: a product of two fits 126 bits, and JSON and SQLite carry each exactly.
NUMBER_MAX = 2**53 - 1
_NS = 1_000_000_000


class NotOnGrid(ValueError):
    """A number that an instrument cannot have: not a number, too large, or between two steps."""


class Session(msgspec.Struct, frozen=True):
    """The trading day of an instrument, in its own time zone; ``open`` = ``close`` means around the clock, the day ending at that time."""

    zone: str = "UTC"
    open: datetime.time = datetime.time(0, 0)
    close: datetime.time = datetime.time(0, 0)
    #: 0 is Monday.
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    holidays: tuple[datetime.date, ...] = ()

    def ends_after_ns(self, now_ns: int) -> int:
        """When the session that is on, or else the next one, closes; ns since the epoch, later than ``now_ns``."""
        zone = ZoneInfo(self.zone)
        day = datetime.datetime.fromtimestamp(now_ns // _NS, zone).date() - datetime.timedelta(days=1)
        for _ in range(400):
            if day.weekday() in self.weekdays and day not in self.holidays:
                end = self._close_ns(day, zone)
                if end > now_ns:
                    return end
            day += datetime.timedelta(days=1)
        raise ValueError("this calendar has no trading day within a year")

    def trade_date(self, now_ns: int) -> datetime.date:
        """The day to which a trade at ``now_ns`` belongs: that of the close that comes next."""
        zone = ZoneInfo(self.zone)
        end = datetime.datetime.fromtimestamp(self.ends_after_ns(now_ns) // _NS - 1, zone)
        return end.date()

    def is_open(self, now_ns: int) -> bool:
        """Whether a session is on."""
        zone = ZoneInfo(self.zone)
        now = datetime.datetime.fromtimestamp(now_ns / _NS, zone)
        if self.open == self.close:
            return (self._day_of(now)).weekday() in self.weekdays and self._day_of(now) not in self.holidays
        if self.open < self.close:
            day = now.date()
            return self._trades_on(day) and self.open <= now.time() < self.close
        # Over midnight: named after the day on which it closes.
        if now.time() < self.close:
            return self._trades_on(now.date())
        return now.time() >= self.open and self._trades_on(now.date() + datetime.timedelta(days=1))

    def _trades_on(self, day: datetime.date) -> bool:
        return day.weekday() in self.weekdays and day not in self.holidays

    def _day_of(self, now: datetime.datetime) -> datetime.date:
        is_next = self.close != datetime.time(0, 0) and now.time() >= self.close
        return now.date() + datetime.timedelta(days=1) if is_next else now.date()

    def _close_ns(self, day: datetime.date, zone: ZoneInfo) -> int:
        # Midnight closes the day that it ends.
        date = day + datetime.timedelta(days=1) if self.close == datetime.time(0, 0) else day
        return int(datetime.datetime.combine(date, self.close, zone).timestamp()) * _NS


class Instrument(msgspec.Struct, frozen=True):
    """One line of the table; ``tick`` and ``lot`` are integers in the units of prices and quantities."""

    symbol: str
    currency: str
    venue: str
    price_decimals: int = 2
    quantity_decimals: int = 0
    tick: int = 1
    lot: int = 1
    #: What one unit of quantity at price 1 is worth in the currency: 1 for shares, the contract size of a future.
    multiplier: int = 1
    session: Session = Session()
    description: str = ""

    def price_of(self, text: str | Decimal) -> int:
        """A price as people write it. Raises :class:`NotOnGrid`."""
        return _scaled(text, self.price_decimals, self.tick, f"{self.symbol}: price", "tick")

    def quantity_of(self, text: str | Decimal) -> int:
        """A quantity as people write it. Raises :class:`NotOnGrid`."""
        return _scaled(text, self.quantity_decimals, self.lot, f"{self.symbol}: quantity", "lot")

    def price_text(self, price: int) -> str:
        """A price for people, with all its decimals."""
        return f"{Decimal(price).scaleb(-self.price_decimals):f}"

    def quantity_text(self, quantity: int) -> str:
        """A quantity for people, without zeros that say nothing."""
        text = f"{Decimal(quantity).scaleb(-self.quantity_decimals):f}"
        return text.rstrip("0").rstrip(".") if "." in text else text

    def money(self, notional: int) -> Decimal:
        """A product of price and quantity (or a sum of such) in the currency, exactly."""
        return Decimal(notional * self.multiplier).scaleb(-self.price_decimals - self.quantity_decimals)


def _scaled(text: str | Decimal, decimals: int, step: int, what: str, name: str) -> int:
    try:
        number = Decimal(text)
        scaled = number.scaleb(decimals)
        whole = int(scaled)
    except (InvalidOperation, ValueError, OverflowError):
        raise NotOnGrid(f"{what} {str(text)[:40]!r} is not a number that can be traded") from None
    if abs(scaled) > NUMBER_MAX:
        raise NotOnGrid(f"{what} {str(text)[:40]} is too large")
    if whole != scaled or whole % step:
        grid = f"{Decimal(step).scaleb(-decimals):f}"
        raise NotOnGrid(f"{what} {str(text)[:40]} is not a multiple of its {name}, {grid}")
    return whole
