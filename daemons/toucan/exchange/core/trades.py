"""Trades that can still be cancelled or corrected.

Law: a trade is kept with both orders and both sides' execution ids, by which the operator names it. The newest ones are kept, since an exchange
corrects what happened just now; trades between two orders of the background flow are nobody's business and are not kept.
"""

from __future__ import annotations

from collections import OrderedDict

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
    is_busted: bool = False


class TradeBook:
    """The newest ``kept_max`` trades, by either side's exec_id."""

    def __init__(self, kept_max: int) -> None:
        self._kept_max = kept_max
        self._trades: OrderedDict[str, Trade] = OrderedDict()  # by the first exec_id that there is
        self._other_ids: dict[str, str] = {}

    def add(self, trade: Trade) -> None:
        """Keeps a trade of which somebody was told; the oldest is forgotten for it."""
        key = trade.buy_exec_id or trade.sell_exec_id
        if not key:
            return
        self._trades[key] = trade
        if trade.buy_exec_id and trade.sell_exec_id:
            self._other_ids[trade.sell_exec_id] = key
        if len(self._trades) > self._kept_max:
            _, oldest = self._trades.popitem(last=False)
            self._other_ids.pop(oldest.sell_exec_id, None)

    def get(self, exec_id: str) -> Trade | None:
        """The trade of which this is one side's execution id; None if there is none, or it is forgotten."""
        return self._trades.get(self._other_ids.get(exec_id, exec_id))
