"""A toy strategy: a bid and an offer around the middle of the book, moved when that moves.

If this program or its connection dies, the server cancels both orders two seconds later; Ctrl-C has the same effect. It is no way to make money.
"""

from __future__ import annotations

import sys
from decimal import Decimal

from toucan.client import MarketData, Refused, Session, Side, Toucan, connect

__all__ = ["Quotes", "run"]

QUANTITY = 10
TICKS_FROM_MIDDLE = 5


class Quotes:
    """One order on each side."""

    def __init__(self, session: Session, symbol: str, tick: Decimal) -> None:
        self._session, self._symbol, self._tick = session, symbol, tick
        self._orders: dict[Side, tuple[int, Decimal]] = {}

    def move(self, market: MarketData) -> None:
        """Brings both quotes to where they belong."""
        if market.bid is None or market.ask is None or market.is_halted:
            return
        middle = (market.bid.price + market.ask.price) / 2 // self._tick * self._tick
        for side in Side:
            self._quote(side, middle - side.sign * TICKS_FROM_MIDDLE * self._tick)

    def _quote(self, side: Side, price: Decimal) -> None:
        order_id, old_price = self._orders.get(side, (0, None))
        if not order_id:
            accepted = self._session.submit(side, self._symbol, QUANTITY, price=price, post_only=True)
            order_id = accepted.result().order_id
        elif price != old_price:
            try:
                self._session.replace(order_id, self._symbol, price=price).result()
            except Refused as error:
                if error.code == "ORDER_CLOSED":  # filled meanwhile: the next move makes a new one
                    order_id = 0
        self._orders[side] = order_id, price


def run(client: Toucan, symbol: str, timeout_s: float | None = None) -> None:
    """Quotes until it is interrupted, or for so long."""
    tick = client.instrument(symbol).tick
    with client.session(cancel_on_disconnect_s=2.0) as session:
        quotes = Quotes(session, symbol, tick)
        for market in client.watch_market_data([symbol], rate_max=5, timeout_s=timeout_s):
            quotes.move(market)


if __name__ == "__main__":
    run(connect(), sys.argv[1])
