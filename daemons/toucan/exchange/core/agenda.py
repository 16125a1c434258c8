"""What happens by itself at a time: orders that expire, markets that open and close.

Law: times and who is due, in order; what then happens is decided elsewhere. At one and the same nanosecond orders expire first, then markets
change. An order that ends before its time is taken off, so that there are never more entries than open orders and markets.
"""

from __future__ import annotations

import heapq

from sortedcontainers import SortedDict  # type: ignore[import-untyped]

from toucan.exchange.core.market import Market
from toucan.exchange.core.orders import VenueOrder

__all__ = ["NEVER_NS", "Agenda"]

#: Later than any time in ns that an int64 can name.
NEVER_NS = 2**63


class Agenda:
    """All expiries and changes of sessions. :attr:`due_ns` is the next one's time, ``NEVER_NS`` if there is none."""

    def __init__(self) -> None:
        self.due_ns = NEVER_NS
        self._expiring: SortedDict = SortedDict()  # orders by number, by time
        self._markets: list[tuple[int, str, Market]] = []

    def add_order(self, order: VenueOrder) -> None:
        """The order ends at its ``expire_at_ns``, if it has one."""
        at_ns = order.expire_at_ns
        if at_ns is None:
            return
        if at_ns not in self._expiring:
            self._expiring[at_ns] = {}
            self.due_ns = min(self.due_ns, at_ns)
        self._expiring[at_ns][order.number] = order

    def remove_order(self, order: VenueOrder) -> None:
        """The order has ended otherwise; nothing happens if it is not here."""
        orders = self._expiring.get(order.expire_at_ns) if order.expire_at_ns is not None else None
        if orders is not None and orders.pop(order.number, None) is not None and not orders:
            del self._expiring[order.expire_at_ns]
            self._look()

    def add_market(self, market: Market, at_ns: int) -> None:
        """The market opens or closes at that time. Each market has one entry."""
        heapq.heappush(self._markets, (at_ns, market.symbol, market))
        self._look()

    def take_due(self, now_ns: int) -> tuple[int, list[VenueOrder] | Market] | None:
        """Takes off what is due next, with its time; None if nothing is due yet."""
        if self.due_ns > now_ns:
            return None
        at_ns = self.due_ns
        orders = self._expiring.pop(at_ns, None)
        found = heapq.heappop(self._markets)[2] if orders is None else list(orders.values())
        self._look()
        return at_ns, found

    def _look(self) -> None:
        self.due_ns = min(
            self._expiring.peekitem(0)[0] if self._expiring else NEVER_NS,
            self._markets[0][0] if self._markets else NEVER_NS,
        )
