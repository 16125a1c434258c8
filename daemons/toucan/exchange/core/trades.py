"""Trades that can still be cancelled or corrected.

Law: a trade is kept with both orders and both sides' execution ids, by which the operator names it. The newest ones are kept, since an exchange
corrects what happened just now; trades between two orders of the background flow are nobody's business and are not kept.
"""

from __future__ import annotations

from collections import deque

import msgspec

from toucan.exchange.core.orders import VenueOrder

__all__ = ["Trade", "TradeBook"]


class Trade(msgspec.Struct, gc=False, eq=False):
    """One trade, with the numbers that it has now. An exec_id is "" where nobody was told."""

    buy: VenueOrder
    buy_exec_id: str
    sell: VenueOrder
    sell_exec_id: str
    quantity: int
    price: int
    #: The market's day on which it was made.
    day: int
    #: Number of its line on the market's tape.
    line: int = 0
    is_busted: bool = False


class TradeBook:
    """The newest ``kept_max`` trades, by either side's exec_id; its length is the number of ids."""

    def __init__(self, kept_max: int) -> None:
        self._kept_max = kept_max
        self._by_age: deque[Trade] = deque()
        self._by_id: dict[str, Trade] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, trade: Trade) -> None:
        """Keeps a trade of which somebody was told; the oldest is forgotten for it."""
        if not (trade.buy_exec_id or trade.sell_exec_id):
            return
        self._by_age.append(trade)
        for exec_id in (trade.buy_exec_id, trade.sell_exec_id):
            if exec_id:
                self._by_id[exec_id] = trade
        if len(self._by_age) > self._kept_max:
            oldest = self._by_age.popleft()
            for exec_id in (oldest.buy_exec_id, oldest.sell_exec_id):
                self._by_id.pop(exec_id, None)

    def get(self, exec_id: str) -> Trade | None:
        """The trade of which this is one side's execution id; None if there is none, or it is forgotten."""
        return self._by_id.get(exec_id)
