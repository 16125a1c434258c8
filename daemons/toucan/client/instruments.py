"""The instrument table: what can be traded, and in which steps; how prices and quantities become the integers that travel."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from aviary.toucan.v1 import types_pb2 as pb
from toucan.client.errors import UnknownInstrument
from toucan.client.exact import Number, decimal_of, units_of

__all__ = ["Instrument", "InstrumentTable"]

_ALIKE_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One line of the table."""

    symbol: str
    #: ISO 4217, or a cryptocurrency's usual code.
    currency: str
    venue: str
    #: Prices are multiples of ``tick``, quantities of ``lot``.
    tick: Decimal
    lot: Decimal
    #: What quantity 1 at price 1 is worth in the currency.
    multiplier: int
    description: str
    is_open: bool
    #: When the session closes that is on or comes next; ns since the epoch.
    session_end_ns: int
    price_decimals: int
    quantity_decimals: int
    #: ``tick`` and ``lot`` in units of 10^-price_decimals and 10^-quantity_decimals.
    tick_units: int
    lot_units: int

    @classmethod
    def from_wire(cls, message: pb.Instrument) -> Instrument:
        """From the public API's message."""
        return cls(
            symbol=message.symbol,
            currency=message.currency,
            venue=message.venue,
            tick=decimal_of(message.tick, message.price_decimals),
            lot=decimal_of(message.lot, message.quantity_decimals),
            multiplier=message.multiplier,
            description=message.description,
            is_open=message.is_open,
            session_end_ns=message.session_end_ns,
            price_decimals=message.price_decimals,
            quantity_decimals=message.quantity_decimals,
            tick_units=message.tick,
            lot_units=message.lot,
        )

    def price_units(self, price: Number, name: str = "price") -> int:
        """A price as the integer that travels. Raises TypeError for a float, :class:`~toucan.client.errors.InvalidRequest` off the grid."""
        return units_of(price, self.price_decimals, self.tick_units, f"{self.symbol}: {name}", "tick")

    def quantity_units(self, quantity: Number, name: str = "quantity") -> int:
        """A quantity as the integer that travels; as :meth:`price_units`."""
        return units_of(quantity, self.quantity_decimals, self.lot_units, f"{self.symbol}: {name}", "lot")

    def price(self, units: int) -> Decimal:
        """The price that travels as ``units``."""
        return decimal_of(units, self.price_decimals)

    def quantity(self, units: int) -> Decimal:
        """The quantity that travels as ``units``."""
        return decimal_of(units, self.quantity_decimals)


class InstrumentTable:
    """The whole table, by symbol; immutable."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._by_symbol = {instrument.symbol: instrument for instrument in instruments}

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_symbol.values())

    def __len__(self) -> int:
        return len(self._by_symbol)

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._by_symbol

    def get(self, symbol: str) -> Instrument | None:
        """The instrument, or None."""
        return self._by_symbol.get(symbol)

    def find(self, symbol: str) -> Instrument:
        """The instrument; raises :class:`~toucan.client.errors.UnknownInstrument` with the symbols that look alike."""
        found = self._by_symbol.get(symbol)
        if found is None:
            alike = difflib.get_close_matches(symbol.upper(), self._by_symbol, _ALIKE_MAX, 0.5)
            hint = (
                f"did you mean {' or '.join(alike)}?"
                if alike
                else "`toucan instruments` lists what can be traded"
            )
            raise UnknownInstrument(f"there is no instrument {symbol[:40]!r}; {hint}")
        return found
