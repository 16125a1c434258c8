"""What one order may still do at its worst: a :class:`Claim` on its limits, of its terms and of every replacement in flight.

Law: pure arithmetic on terms; no other order, no limit, no position. "At its worst" holds until the venue's next word on the order: a replacement
on its way may or may not be accepted, before or after any fill, so each number of a claim is the worst one of all terms that may be in force. The
worst price and the worst quantity may come from different ones of them; a claim is then a bound and no forecast.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from toucan.core.instruments import NUMBER_MAX
from toucan.core.terms import OrderTerms
from toucan.core.values import Side

__all__ = [
    "NO_CLAIM",
    "Claim",
    "is_more_aggressive",
    "own_price",
    "resting_price",
    "worst_claim",
    "worst_price",
]


class Claim(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The worst that an order may still do, in its instrument's units."""

    #: What may still be executed.
    quantity: int
    #: The largest of its own prices; 0: it has none.
    price: int
    #: The price at which it may meet others in the book, the most aggressive one; None while it cannot.
    rest_price: int | None


#: Of an order that is over.
NO_CLAIM = Claim(0, 0, None)


def own_price(terms: OrderTerms) -> int:
    """The larger one of an order's prices; 0 if it has none (MARKET)."""
    return max(terms.price or 0, terms.stop_price or 0)


def worst_price(side: Side, own: int, market: int | None) -> int:
    """What a unit of an order is valued at; 0 if no price is known.

    A purchase costs no more than its ``own`` price. A sale may be executed at a better one, so it is worth what the ``market`` pays, if that is
    more; and what has no price of its own is worth what the market says.
    """
    if side is Side.SELL or own == 0:
        return max(own, market or 0)
    return own


def resting_price(terms: OrderTerms, is_triggered: bool = False) -> int | None:
    """The price at which it meets orders of the other side; None for a stop order that waits for its price.

    A MARKET order, and a STOP order once triggered, meets any: the largest price there is for a purchase, 0 for a sale.
    """
    if terms.type.has_stop_price and not is_triggered:
        return None
    if terms.price is not None:
        return terms.price
    return NUMBER_MAX if terms.side is Side.BUY else 0


def is_more_aggressive(side: Side, price: int | None, other: int | None) -> bool:
    """Whether ``price`` meets orders of the other side that ``other`` does not; None meets none."""
    if price is None or other is None:
        return price is not None
    return price > other if side is Side.BUY else price < other


def worst_claim(
    terms: OrderTerms,
    leaves: int,
    executed: int = 0,
    replacements: Iterable[OrderTerms] = (),
    is_triggered: bool = False,
) -> Claim:
    """What an order claims.

    ``leaves`` is what may be executed of its ``terms`` as they are, ``executed`` what was, ``replacements`` are the terms of those in flight.
    """
    quantity, price = leaves, own_price(terms)
    rest = resting_price(terms, is_triggered)
    for wanted in replacements:
        quantity = max(quantity, wanted.quantity - executed)
        price = max(price, own_price(wanted))
        wanted_rest = resting_price(wanted, is_triggered)
        if is_more_aggressive(terms.side, wanted_rest, rest):
            rest = wanted_rest
    return Claim(quantity, price, rest) if quantity > 0 else NO_CLAIM
