"""A toy strategy with a person in the loop: where a price has left its own average it proposes to trade against that, and says why.

Nothing leaves before somebody releases it (``toucan release``). It follows what becomes of its proposals, makes no second one while one waits, and
lets a price alone for a while that somebody did not like. Its proposals are withdrawn five seconds after it is gone. It is no way to make money.
"""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal

from toucan.client import MarketData, Refused, Side, StagedUpdate
from toucan.client.aio import Toucan, connect

__all__ = ["Ideas", "run"]

QUANTITY = 10
#: How far from its average a price must be, in parts of it; and how much a new price moves the average.
FAR, WEIGHT = Decimal("0.002"), Decimal("0.02")
#: Prices that are let alone after somebody was against a proposal.
COOL_OFF_PRICES = 50


class Ideas:
    """When to propose what; and what became of it, as lines for a person."""

    def __init__(self) -> None:
        #: One of ours waits for somebody to decide, or is on its way.
        self.is_waiting = False
        self._average: Decimal | None = None
        self._cool_off = 0

    def idea(self, market: MarketData) -> tuple[Side, Decimal, str] | None:
        """Side, price and reason of a proposal; None: nothing is to be proposed."""
        if market.last is None or market.is_halted:
            return None
        price, average = market.last.price, self._average or market.last.price
        self._average = average + (price - average) * WEIGHT
        self._cool_off = max(0, self._cool_off - 1)
        away = (price - average) / average
        if self.is_waiting or self._cool_off or abs(away) < FAR:
            return None
        side = Side.SELL if away > 0 else Side.BUY
        return side, price, f"{abs(away):.2%} {'above' if away > 0 else 'below'} its average of {average:.2f}"

    def hear(self, update: StagedUpdate) -> str:
        """Something has happened to a proposal of ours."""
        staged = update.staged
        self.is_waiting = staged.is_pending
        if not staged.is_pending and staged.order_id is None:
            self._cool_off = COOL_OFF_PRICES
        by = f" by {staged.decided_by}: {staged.decided_why}" if staged.decided_by else f": {staged.why}"
        what = f"{staged.side.name.lower()} {staged.quantity} {staged.symbol} @ {staged.price}"
        return f"proposal {staged.staged_id}, {what}: {staged.status.name.lower()}{by}"


async def run(client: Toucan, symbol: str, timeout_s: float | None = None) -> None:
    """Proposes until it is interrupted, or for so long."""
    ideas, user = Ideas(), (await client.identity()).user

    async def follow() -> None:
        async for update in client.watch_staged(
            proposers=[user], symbols=[symbol], is_pending=True, timeout_s=timeout_s
        ):
            print(ideas.hear(update), flush=True)

    async def propose() -> None:
        async for market in client.watch_market_data([symbol], rate_max=5, timeout_s=timeout_s):
            if (idea := ideas.idea(market)) is None:
                continue
            side, price, why = idea
            ideas.is_waiting = True
            try:
                await client.stage(side, symbol, QUANTITY, price=price, why=why, time_to_live_s=60)
            except Refused as error:
                ideas.is_waiting = False
                print(f"not proposed: {error.message}", flush=True)

    # A session of the name under which requests go: what it has proposed is withdrawn when it is gone.
    async with client.session(client.request_session, cancel_on_disconnect_s=5.0):
        await asyncio.gather(follow(), propose())


if __name__ == "__main__":
    asyncio.run(run(connect(), sys.argv[1]))
