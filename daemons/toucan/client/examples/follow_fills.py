"""Follows a desk with asyncio: prints each fill, bust and correction as it comes, and what was bought and sold of each symbol so far."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from decimal import Decimal

from toucan.client import OrderUpdate
from toucan.client.aio import Toucan, connect

__all__ = ["Totals", "follow"]


class Totals:
    """Quantities by side and symbol."""

    def __init__(self) -> None:
        self._quantities: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)

    def line(self, update: OrderUpdate) -> str | None:
        """What is to be said of an update; None: nothing."""
        order, fill = update.order, update.fill
        if fill is None or update.execution_type is None:
            return None
        side, symbol = order.side.name.lower(), order.symbol
        if update.execution_type.name == "TRADE":
            self._quantities[side, symbol] += fill.quantity
        total = self._quantities[side, symbol]
        what = update.execution_type.name.lower().replace("_", " ")
        return f"{what}: {side} {fill.quantity} {symbol} @ {fill.price} for {order.account}, {total} so far"


async def follow(client: Toucan, timeout_s: float | None = None) -> None:
    """Prints until it is interrupted, or for so long; nothing is missed and nothing told twice, whatever happens to the connection."""
    totals = Totals()
    async with client, client.watch_orders(snapshot=False, timeout_s=timeout_s) as watch:
        async for update in watch:
            if (line := totals.line(update)) is not None:
                print(line, flush=True)


if __name__ == "__main__":
    asyncio.run(follow(connect()))
