"""One side of a book: price levels, best first, and on each the orders in the order of their arrival.

Law: places and sums. Which orders may meet is for :mod:`toucan.exchange.core.matching`; here an order is put behind the others of its price, taken
out, made smaller where it lies, or executed from the front. An iceberg whose slice is used up goes behind the others with its next slice: the
hidden part has no time priority. Each level carries the sums of what it shows and of what it holds, kept up to date by whoever changes it, never
counted anew.

Keys are prices for asks and negated prices for bids, so the best level is the first of either side. Orders of a level are an ``OrderedDict``:
cancels come from the middle. Rejected: a plain dict, whose first item is found by walking over all those deleted before it; a linked list, which
costs more in pure Python than the dict in C.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

from sortedcontainers import SortedDict  # type: ignore[import-untyped]

from toucan.core.values import Side
from toucan.exchange.core.orders import VenueOrder

__all__ = ["BookSide", "PriceLevel"]


class PriceLevel:
    """All orders of one side and price. ``shown`` is what others see, ``total`` what can be executed."""

    __slots__ = ("key", "orders", "price", "shown", "total")

    def __init__(self, key: int, price: int) -> None:
        self.key = key
        self.price = price
        self.shown = 0
        self.total = 0
        #: By the order's number.
        self.orders: OrderedDict[int, VenueOrder] = OrderedDict()

    @property
    def first(self) -> VenueOrder:
        """Whose turn it is."""
        return next(iter(self.orders.values()))


class BookSide:
    """The buy or the sell side. :attr:`best` is the level to be executed first, None if the side is empty."""

    __slots__ = ("_levels", "_sign", "best", "side")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.best: PriceLevel | None = None
        self._sign = -1 if side is Side.BUY else 1
        self._levels: SortedDict = SortedDict()

    def accepts(self, price: int | None) -> bool:
        """Whether somebody of the other side with this limit (None: any price) would be executed here."""
        best = self.best
        return best is not None and (price is None or best.key <= self._sign * price)

    def levels(self) -> Iterator[PriceLevel]:
        """All levels, best first."""
        return iter(self._levels.values())

    def depth(self, count: int) -> Iterator[PriceLevel]:
        """The best levels, best first."""
        return islice(self._levels.values(), count)

    def orders(self) -> Iterator[VenueOrder]:
        """All orders, in the order in which they would be executed."""
        for level in self._levels.values():
            yield from level.orders.values()

    def available(self, price: int | None, wanted: int) -> int:
        """What can be executed up to a limit, hidden parts included; counted until ``wanted`` is reached."""
        found = 0
        for level in self._levels.values():
            if found >= wanted or (price is not None and level.key > self._sign * price):
                break
            found += level.total
        return found

    def add(self, order: VenueOrder) -> None:
        """Puts an order with a price behind the others of its price."""
        price = order.price
        assert price is not None
        key = self._sign * price
        level = self._levels.get(key)
        if level is None:
            level = self._levels[key] = PriceLevel(key, price)
            if self.best is None or key < self.best.key:
                self.best = level
        leaves = order.leaves_quantity
        order.shown = leaves if order.max_floor is None else min(order.max_floor, leaves)
        order.is_resting = True
        level.orders[order.number] = order
        level.shown += order.shown
        level.total += leaves

    def remove(self, order: VenueOrder) -> None:
        """Takes an order out, wherever it lies."""
        level = self._level_of(order)
        del level.orders[order.number]
        level.shown -= order.shown
        level.total -= order.leaves_quantity
        order.shown = 0
        order.is_resting = False
        if not level.orders:
            self._drop(level)

    def resize(self, order: VenueOrder, quantity: int, cum_quantity: int) -> None:
        """Gives an order that lies here other numbers; it keeps its place. It must not get larger, and something must be left."""
        level = self._level_of(order)
        leaves = quantity - cum_quantity
        assert 0 < leaves <= order.leaves_quantity
        level.total -= order.leaves_quantity - leaves
        order.quantity, order.cum_quantity = quantity, cum_quantity
        if leaves < order.shown:
            level.shown -= order.shown - leaves
            order.shown = leaves

    def execute_first(self, level: PriceLevel, order: VenueOrder, quantity: int) -> None:
        """Executes ``quantity`` of the level's first order, at most what it shows; its next slice, if it has one, goes to the end."""
        order.cum_quantity += quantity
        order.shown -= quantity
        level.shown -= quantity
        level.total -= quantity
        if order.shown:
            return
        del level.orders[order.number]
        leaves = order.leaves_quantity
        if leaves:
            assert order.max_floor is not None
            order.shown = min(order.max_floor, leaves)
            level.shown += order.shown
            level.orders[order.number] = order
            return
        order.is_resting = False
        if not level.orders:
            self._drop(level)

    def _level_of(self, order: VenueOrder) -> PriceLevel:
        assert order.price is not None
        level: PriceLevel = self._levels[self._sign * order.price]
        return level

    def _drop(self, level: PriceLevel) -> None:
        del self._levels[level.key]
        if level is self.best:
            self.best = self._levels.peekitem(0)[1] if self._levels else None
