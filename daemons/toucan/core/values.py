"""The words of order entry: sides, order types, states, reports; with FIX 4.4's names and, where the public API shows them, its enum numbers.

Law: plain values only. Every price is an integer in units of 10^-``price_decimals`` of the instrument's currency, every quantity an integer in
units of 10^-``quantity_decimals`` (:mod:`toucan.core.instruments`); ``None`` means absent, 0 means zero. Numbers of an enum are written into the
journal and go over the wire, so a member is never renumbered, only added.
"""

from __future__ import annotations

import enum

__all__ = [
    "ExecType",
    "OrdStatus",
    "OrderType",
    "RequestKind",
    "Side",
    "StagedState",
    "TimeInForce",
    "TradingLevel",
]


class Side(enum.IntEnum):
    """FIX 54."""

    BUY = 1
    SELL = 2

    @property
    def sign(self) -> int:
        """+1 for what adds to a position, -1 for what takes from it."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(enum.IntEnum):
    """FIX 40."""

    MARKET = 1
    LIMIT = 2
    STOP = 3
    STOP_LIMIT = 4

    @property
    def has_price(self) -> bool:
        """Whether it carries a limit price."""
        return self in (OrderType.LIMIT, OrderType.STOP_LIMIT)

    @property
    def has_stop_price(self) -> bool:
        """Whether it carries a stop price."""
        return self in (OrderType.STOP, OrderType.STOP_LIMIT)


class TimeInForce(enum.IntEnum):
    """FIX 59. The public API's numbers, which are not FIX's: there DAY is 0, and here 0 is "not said"."""

    DAY = 1
    GTC = 2
    IOC = 3
    FOK = 4
    GTD = 5


class OrdStatus(enum.IntEnum):
    """FIX 39: how an order stands, as far as its venue has said."""

    PENDING_NEW = 1
    NEW = 2
    PARTIALLY_FILLED = 3
    FILLED = 4
    DONE_FOR_DAY = 5
    CANCELED = 6
    PENDING_CANCEL = 7
    STOPPED = 8
    REJECTED = 9
    SUSPENDED = 10
    EXPIRED = 11
    PENDING_REPLACE = 12


class ExecType(enum.IntEnum):
    """FIX 150: what a report from a venue says; ``CANCEL_REJECT`` stands for FIX's message OrderCancelReject (35=9), which has no ExecType."""

    PENDING_NEW = 1
    NEW = 2
    TRADE = 3
    DONE_FOR_DAY = 4
    CANCELED = 5
    REPLACED = 6
    PENDING_CANCEL = 7
    PENDING_REPLACE = 8
    STOPPED = 9
    REJECTED = 10
    SUSPENDED = 11
    EXPIRED = 12
    RESTATED = 13
    TRADE_CORRECT = 14
    TRADE_CANCEL = 15
    ORDER_STATUS = 16
    TRIGGERED = 17
    CANCEL_REJECT = 18


class RequestKind(enum.IntEnum):
    """What an unanswered request asks of a venue."""

    NEW = 1
    CANCEL = 2
    REPLACE = 3


class StagedState(enum.IntEnum):
    """How a staged order stands (:mod:`toucan.core.staged`)."""

    PROPOSED = 1
    RELEASED = 2
    REJECTED = 3
    WITHDRAWN = 4
    EXPIRED = 5


class TradingLevel(enum.IntEnum):
    """How much is allowed below a node of the risk tree; the strictest of all nodes above an order counts."""

    NORMAL = 1
    #: No new orders, no replacement that adds exposure; cancels pass.
    BLOCK_NEW = 2
    #: The same, and every open order was asked to be cancelled when the level was set.
    CANCEL_ALL = 3
    #: Nothing passes, cancels neither: what stands at the venue stays as it is.
    FREEZE = 4
