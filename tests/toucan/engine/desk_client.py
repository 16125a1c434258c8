"""A front end without gRPC: an :class:`EngineLink` and what tests ask over it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from toucan.core import requests as rq
from toucan.core.order import Client
from toucan.core.outcomes import Outcome
from toucan.core.terms import OrderTerms
from toucan.core.values import OrderType, Side, TimeInForce
from toucan.engine.link import EngineLink

__all__ = ["TIMEOUT_S", "DeskClient", "desk_client", "limit_order", "until"]

TIMEOUT_S = 20.0


def limit_order(side: Side = Side.BUY, quantity: int = 10, price: int = 10_000, **more: Any) -> OrderTerms:
    """Good till cancelled, AAPL for ACC1 where nothing else is said."""
    values: dict[str, Any] = {"account": "ACC1", "symbol": "AAPL", "time_in_force": TimeInForce.GTC, **more}
    return OrderTerms(side=side, quantity=quantity, price=price, type=OrderType.LIMIT, **values)


async def until(condition: Any, timeout_s: float = TIMEOUT_S) -> None:
    """Waits until it holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


class DeskClient:
    """One client's requests, numbered."""

    def __init__(self, link: EngineLink, client: Client) -> None:
        self.link = link
        self.client = client
        self.number = 0

    async def ask(self, body: rq.Body, number: int | None = None) -> Outcome:
        """The outcome of the next request, or of one with this number, once the copy has seen what it did: answers are quicker."""
        if number is None:
            self.number = number = self.number + 1
        reply = await self.link.ask(self.client, number, body, TIMEOUT_S)
        assert await self.link.wait_for(reply.seq, TIMEOUT_S)
        return reply.outcome

    async def venue_ready(self) -> None:
        """Waits until orders can go."""
        await until(lambda: not self.link.is_stale and self.link.state.venue("SIM").is_ready)


@contextlib.asynccontextmanager
async def desk_client(socket: Path, user: str = "alice", session: str = "desk") -> AsyncIterator[DeskClient]:
    """A connected one."""
    link = EngineLink(socket, f"test of {user}")
    link.start()
    try:
        assert await link.ready(TIMEOUT_S)
        desk = DeskClient(link, Client(user, session))
        yield desk
    finally:
        await link.stop()
