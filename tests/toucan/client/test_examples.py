"""The example programs do what they say."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from tests.toucan.client.mini_engine import OPEN
from tests.toucan.client.mini_server import MiniServer
from tests.toucan.client.test_aio import run, until

from toucan.client import Toucan, aio
from toucan.client.examples import follow_fills, market_maker


def prices(server: MiniServer) -> list[int]:
    return [order.terms.price for order in server.engine.orders.values() if order.status in OPEN]


def test_market_maker_follows_the_middle_and_replaces_what_was_filled(
    client: Toucan, server: MiniServer
) -> None:
    with client.session() as session, client.watch_market_data(["AAPL"]) as market:
        quotes = market_maker.Quotes(session, "AAPL", client.instrument("AAPL").tick)
        quotes.move(next(market))
        assert prices(server) == [18940, 18950]
        server.engine.quote("AAPL", "190.00", "190.10", "190.05")
        quotes.move(next(market))
        assert prices(server) == [19000, 19010]
        server.engine.fill(1, 10, 19000)
        server.engine.quote("AAPL", "191.00", "191.10", "191.05")
        quotes.move(next(market))
        assert prices(server) == [19110]
        quotes.move(next(client.watch_market_data(["AAPL"])))
        assert prices(server) == [19110, 19100]


def test_market_maker_leaves_its_orders_when_its_time_is_over(client: Toucan, server: MiniServer) -> None:
    market_maker.run(client, "AAPL", timeout_s=1.0)
    assert len(prices(server)) in (0, 2)
    assert len(inspect.getsource(market_maker).splitlines()) <= 60


def test_follower_prints_each_fill_once(server: MiniServer, capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []

    def printed() -> int:
        lines.extend(capsys.readouterr().out.splitlines())
        return len(lines)

    async def main() -> None:
        task = asyncio.create_task(follow_fills.follow(aio.connect(server.address)))
        await until(lambda: server.watching > 0)
        async with aio.connect(server.address) as client:
            await client.buy("AAPL", 5, price="market")
            server.drop_streams()
            await client.buy("AAPL", 7, price="market")
            await client.sell("AAPL", 1, price="1")
        await until(lambda: printed() >= 3)
        task.cancel()
        await asyncio.wait([task])

    run(main())
    assert lines == [
        "trade: buy 5 AAPL @ 189.50 for ACC1, 5 so far",
        "trade: buy 7 AAPL @ 189.50 for ACC1, 12 so far",
        "trade: sell 1 AAPL @ 189.40 for ACC1, 1 so far",
    ]
