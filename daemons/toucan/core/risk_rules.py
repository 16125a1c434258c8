"""The vocabulary of the risk checks: why an order is denied, the order that is judged, and one rule that it is judged by.

Law: values and their arithmetic; which checks there are, and in which order, is for :mod:`toucan.core.risk_checks`. A case knows what a request
*adds*: of a new order everything, of a replacement the difference between the worst that may be with it and without it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import msgspec

from toucan.core.claims import NO_CLAIM, Claim, own_price, worst_price
from toucan.core.exposure import Exposure, NodeUsage
from toucan.core.instruments import Instrument
from toucan.core.outcomes import Denial
from toucan.core.risk_tree import MICROS_DECIMALS
from toucan.core.terms import OrderTerms

__all__ = ["Case", "DenialCode", "Rule", "money_text"]


class DenialCode(enum.IntEnum):
    """Why an order was denied. Programs branch on the names, and the numbers go over the wire: only added, never changed."""

    #: No team has the account.
    UNKNOWN_ACCOUNT = 1
    #: More traders have sent orders than are counted; see :data:`toucan.core.exposure.NODES_MAX`.
    TOO_MANY_TRADERS = 2
    #: The trading level is FREEZE: cancels are denied too.
    TRADING_FROZEN = 3
    #: The trading level is BLOCK_NEW or CANCEL_ALL.
    TRADING_BLOCKED = 4
    #: Blocked by itself after too many denials.
    AUTO_BLOCKED = 5
    #: The order's type is not among ``allowed_order_types``.
    ORDER_TYPE_NOT_ALLOWED = 6
    #: The symbol is one of ``restricted_symbols``.
    RESTRICTED_SYMBOL = 7
    #: As many requests were sent within ``requests_window_s`` as may be.
    MAX_REQUESTS = 8
    #: The same order was sent for the account within ``duplicate_window_s``.
    DUPLICATE_ORDER = 9
    #: A reduce-only order that would not only reduce.
    REDUCE_ONLY = 10
    #: The order's quantity is above ``max_order_quantity``.
    MAX_ORDER_QUANTITY = 11
    #: The order is worth more than ``max_order_notional``.
    MAX_ORDER_NOTIONAL = 12
    #: A limit on money, and nobody has said what the instrument's currency is worth.
    NO_CURRENCY_RATE = 13
    #: A limit that needs the market's price, and there is none.
    NO_REFERENCE_PRICE = 14
    #: The price is worse than the market's by more than ``price_collar_percent``.
    PRICE_COLLAR = 15
    #: It would be executed against an order of the same node.
    SELF_TRADE = 16
    #: With all open orders the position could become larger than ``max_position``.
    MAX_POSITION = 17
    #: More orders would be open than ``max_open_orders``.
    MAX_OPEN_ORDERS = 18
    #: All open orders would be worth more than ``max_open_notional``.
    MAX_OPEN_NOTIONAL = 19
    #: All positions and open orders would be worth more than ``max_gross_notional``.
    MAX_GROSS_NOTIONAL = 20
    #: Passes with a confirmation.
    SOFT_LIMIT = 21


class Case(msgspec.Struct, eq=False):
    """One order, or one replacement, to be judged. What several rules ask for is worked out once."""

    terms: OrderTerms
    instrument: Instrument
    #: Nearest first.
    path: tuple[str, ...]
    exposure: Exposure
    base_currency: str
    now_ns: int
    #: What the market pays now; None: not known.
    market: int | None
    #: What the account holds in the symbol, signed.
    held: int
    #: What the order would claim.
    after: Claim
    #: Of a replacement: the terms it changes, what the order claims without it, and what is counted for that in micro-units.
    old: OrderTerms | None = None
    before: Claim = NO_CLAIM
    counted: int = 0
    # Worked out once; functools.cached_property takes a lock each time.
    _notional: int | None = None
    _price: int | None = None

    @property
    def is_reduction(self) -> bool:
        """Whether it is a replacement that makes nothing worse: less quantity, a less aggressive price."""
        return self.old is not None and self.after == self.before

    @property
    def quantity(self) -> int:
        """What it adds to the quantity that may be executed."""
        return self.after.quantity - self.before.quantity

    @property
    def notional(self) -> int:
        """What it adds to open notional, in micro-units."""
        if self._notional is None:
            after = self._worth(self.after)
            self._notional = after - self.counted if after > self._worth(self.before) else 0
        return self._notional

    def _worth(self, claim: Claim) -> int:
        price = worst_price(self.terms.side, claim.price, self.market)
        return self.exposure.notional(self.terms.symbol, claim.quantity, price)

    @property
    def price(self) -> int:
        """What a unit of the order is valued at by its own terms; 0 if no price is known."""
        if self._price is None:
            self._price = self.price_of(self.terms)
        return self._price

    def price_of(self, terms: OrderTerms) -> int:
        """What a unit of an order with these terms is valued at."""
        return worst_price(terms.side, own_price(terms), self.market)

    @property
    def has_rate(self) -> bool:
        """Whether it is known what the instrument's currency is worth."""
        return self.exposure.has_rate(self.terms.symbol)

    def usage(self, node: str) -> NodeUsage:
        """What a node uses."""
        return self.exposure.node(node)


class Rule(msgspec.Struct, frozen=True):
    """A check that is to be made, with the numbers of one node for one symbol."""

    check: Callable[[Case, Rule], Denial | None]
    node: str
    #: The limit's name; empty where the order itself asks for the check.
    limit: str
    #: In the units that the check compares.
    maximum: int = 0
    window_ns: int = 0
    #: Of collars: whether an order passes when there is no market price, and whether prices can be too good.
    is_lenient: bool = False
    is_two_sided: bool = False
    names: frozenset[str] = frozenset()
    is_soft: bool = False

    def denial(self, code: DenialCode, value: str, maximum: str, text: str) -> Denial:
        """Says that this rule is broken."""
        if self.limit:
            text = f"{text} ({self.limit} of {self.node})"
        if self.is_soft:
            code, text = DenialCode.SOFT_LIMIT, f"{text}; confirm it to send it"
        return Denial(code.name, self.node, self.limit, value, maximum, text, can_be_confirmed=self.is_soft)


def money_text(micros: int) -> str:
    """Micro-units for people, in hundredths, rounded up: what is above a limit is never shown as the limit itself."""
    hundredths = -(-micros // 10 ** (MICROS_DECIMALS - 2))
    return f"{hundredths // 100}.{hundredths % 100:02d}"
