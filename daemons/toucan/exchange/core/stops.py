"""Orders that wait for a price: which of them the last trade has reached.

Law: a buy stop is reached by a trade at its stop price or above, a sell stop by one at it or below (FIX 40=3, 4). The nearest is reached first, then
the oldest. What becomes of a reached order is for :mod:`toucan.exchange.core.matching`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from sortedcontainers import SortedDict  # type: ignore[import-untyped]

from toucan.core.values import Side
from toucan.exchange.core.orders import VenueOrder

__all__ = ["StopBook"]


class StopBook:
    """All waiting orders of an instrument."""

    __slots__ = ("_buys", "_sells")

    def __init__(self) -> None:
        # Keys are such that the side's first key is reached first: prices of buys, negated prices of sells.
        self._buys: SortedDict = SortedDict()
        self._sells: SortedDict = SortedDict()

    def __bool__(self) -> bool:
        return bool(self._buys or self._sells)

    def orders(self) -> Iterator[VenueOrder]:
        """All that wait; buys first, the nearest first."""
        for side in (self._buys, self._sells):
            for orders in side.values():
                yield from orders.values()

    def add(self, order: VenueOrder) -> None:
        """Lets an order with a stop price wait, behind the others of its stop price."""
        side, key = self._place(order)
        if key not in side:
            side[key] = OrderedDict()
        side[key][order.number] = order
        order.is_waiting = True

    def remove(self, order: VenueOrder) -> None:
        """Takes an order out."""
        side, key = self._place(order)
        del side[key][order.number]
        if not side[key]:
            del side[key]
        order.is_waiting = False

    def take_reached(self, last_price: int) -> list[VenueOrder]:
        """Takes out all orders that a trade at this price reaches: buys first, the nearest first, then the oldest."""
        reached: list[VenueOrder] = []
        for side, limit in ((self._buys, last_price), (self._sells, -last_price)):
            while side and side.peekitem(0)[0] <= limit:
                reached += side.popitem(0)[1].values()
        for order in reached:
            order.is_waiting = False
        return reached

    def _place(self, order: VenueOrder) -> tuple[SortedDict, int]:
        assert order.stop_price is not None
        if order.side is Side.BUY:
            return self._buys, order.stop_price
        return self._sells, -order.stop_price
