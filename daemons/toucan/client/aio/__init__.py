"""The client for asyncio; values and errors are those of :mod:`toucan.client`.

async with toucan.client.aio.connect() as client:
    accepted = await client.buy("AAPL", 100, price="189.50")
    async with client.watch_orders(is_open=True) as watch:
        async for update in watch:
            print(update.order.status.name)
"""

from __future__ import annotations

from toucan.client.aio.api import Toucan, connect
from toucan.client.aio.session import Session
from toucan.client.aio.watch import Watch

__all__ = ["Session", "Toucan", "Watch", "connect"]
