"""The Python client and the command line over a real front end that follows a real exchange's feed."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog
import uvloop
from rich.console import Console
from tests.toucan.server.local_engine import LocalEngine
from tests.toucan.server.support import World

import toucan.client.aio
from toucan import cli
from toucan.cli.ladder import ladder, show_ladder
from toucan.cli.words import trade_lines
from toucan.client import Book, Level, MarketData, Toucan, Trade, TradeKind, Trades, connect
from toucan.core.values import Side
from toucan.market.link import FeedLink
from toucan.server.limits import TRADES_PER_MESSAGE_MAX

from .feed import FeedVenue, served, until

_T = TypeVar("_T")
PATIENCE_S = 25.0


class FrontEndThread:
    """A loop of its own with feed and front end; the front end can be stopped, and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        engine = LocalEngine()
        (venue_name,) = {one.venue for one in engine.decider.instruments.values()}
        self.venue = FeedVenue(instruments=tuple(engine.decider.instruments.values()))
        self.address = ""
        self._engine = engine
        self._venue_name = venue_name
        self._path = folder / "feed"
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._feed = contextlib.AsyncExitStack()
        self._front = contextlib.AsyncExitStack()

    def do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def trade(self, count: int = 1, quantity: int = 1) -> None:
        """So many trades, and all of them published at once."""

        async def work() -> None:
            for number in range(count):
                self.venue.trade(quantity, 10_000 + number)
            self.venue.publish()

        self.do(work())

    def start(self) -> None:
        async def work() -> None:
            link = FeedLink(self._venue_name, self._path)
            listen = self.address or "127.0.0.1:0"
            world = World.open(engine=self._engine, feeds={self._venue_name: link}, listen=listen)
            self.address = (await self._front.enter_async_context(world)).front.address
            await until(lambda: not link.is_stale)

        self.do(work())

    def stop(self) -> None:
        self.do(self._front.aclose())

    def __enter__(self) -> FrontEndThread:
        self._thread.start()

        async def work() -> None:
            await self._feed.enter_async_context(served(self.venue.publisher, self._path))

        self.do(work())
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.do(self._feed.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def front(tmp_path: Path) -> Iterator[FrontEndThread]:
    # What the front end logs would stand between what the command line prints.
    with structlog.testing.capture_logs(), FrontEndThread(tmp_path) as front:
        yield front


@pytest.fixture
def client(front: FrontEndThread) -> Iterator[Toucan]:
    with connect(front.address) as client:
        yield client


def _wait_until(is_true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.01)


def test_trades_go_on_over_a_lost_connection_and_none_is_lost_silently(
    front: FrontEndThread, client: Toucan
) -> None:
    front.trade(3)
    with client.watch_trades(["AAPL", "MSFT"], before=2, timeout_s=PATIENCE_S) as watch:
        first = next(watch)
        assert [one.number for one in first.trades] == [2, 3]
        assert (first.symbol, first.left_out, first.trades[0].aggressor) == ("AAPL", 0, Side.BUY)
        assert (first.trades[1].price, first.trades[1].quantity) == (Decimal("100.02"), Decimal(1))
        front.trade(1)
        assert [one.number for one in next(watch).trades] == [4]
        front.stop()
        missed = TRADES_PER_MESSAGE_MAX + 30
        front.trade(missed, quantity=7)
        front.start()
        later = next(watch)
        told = len(later.trades) + later.left_out
        assert told == missed
        assert later.left_out > 0
        assert later.left_out_quantity == 7 * later.left_out
        assert later.trades[-1].number == 4 + missed


def test_market_data_say_whose_prices_are_stale(front: FrontEndThread, client: Toucan) -> None:
    with client.watch_market_data(["AAPL", "MSFT"], depth=20, timeout_s=PATIENCE_S) as watch:
        batches = watch.batches()
        next(one for one in batches if not one.stale_symbols)  # the front end may be there before its market
        front.do(front._feed.aclose())
        batch = next(one for one in batches if one.is_stale)
        assert sorted(batch.stale_symbols) == ["AAPL", "MSFT"]
        assert watch.is_stale


def test_trades_for_asyncio(front: FrontEndThread) -> None:
    front.trade(4)

    async def scenario() -> None:
        async with (
            toucan.client.aio.connect(front.address) as client,
            client.watch_trades(["AAPL"], before=100, timeout_s=PATIENCE_S) as watch,
        ):
            trades = await anext(watch)
            assert [one.number for one in trades.trades] == [1, 2, 3, 4]
            assert trades.trades[0].kind is TradeKind.TRADE

    asyncio.run(scenario())


# ---------------------------------------------------------------- the command line


def _ran(front: FrontEndThread, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run(["--server", front.address, *arguments]) == 0
    return capsys.readouterr().out


def test_trades_of_the_command_line(front: FrontEndThread, capsys: pytest.CaptureFixture[str]) -> None:
    front.trade(12, quantity=5)
    lines = _ran(front, capsys, "trades", "aapl", "--count", "1").splitlines()
    assert len(lines) == 10
    assert lines[-1].endswith("AAPL  5 @ 100.11  buy")
    (line,) = _ran(front, capsys, "trades", "AAPL", "--before", "1", "--count", "1", "--json").splitlines()[
        1:
    ]
    told = json.loads(line)
    assert told["type"] == "trades"
    assert told["trades"][0] | {"at": ""} == {
        "number": 12, "kind": "trade", "trade_number": 12, "price": "100.11", "quantity": "5", "aggressor": "buy", "at": "",
    }  # fmt: skip


def test_depth_of_the_command_line(front: FrontEndThread, capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        for number in range(25):
            front.venue.order(Side.BUY, 3, 9_000 - number)
            front.venue.order(Side.BUY, 4, 9_000 - number)
        front.venue.publish()

    front.do(work())
    with connect(front.address) as client:
        _wait_until(lambda: next(client.watch_market_data(["AAPL"])).bid is not None)
    market = json.loads(_ran(front, capsys, "book", "AAPL", "--depth", "20", "--json"))
    assert [level["price"] for level in market["bids"]] == [
        f"{90 - number / 100:.2f}" for number in range(20)
    ]
    assert market["bids"][0] == {"price": "90.00", "quantity": "7", "orders": 2}
    watched = _ran(front, capsys, "watch", "market", "AAPL", "--depth", "2", "--count", "1", "--json")
    assert len(json.loads(watched.splitlines()[-1])["bids"]) == 2
    assert "7  90.00" in _ran(front, capsys, "book", "AAPL")
    assert cli.run(["--server", front.address, "watch", "orders", "--depth", "2"]) == 2
    assert "--depth goes with market" in capsys.readouterr().err


def test_what_was_left_out_and_what_was_taken_back_is_said_in_words() -> None:
    bust = Trade(
        symbol="X", number=9, kind=TradeKind.BUST, trade_number=4, price=Decimal(2), quantity=Decimal(3), aggressor=None, at_ns=0
    )  # fmt: skip
    trades = Trades(symbol="X", life="L", trades=(bust,), left_out=5, left_out_quantity=Decimal(50))
    assert trade_lines(trades)[0] == "X: 5 trades left out, with 50 traded in them"
    assert trade_lines(trades)[1].endswith("X  3 @ 2  BUST of trade 4")


def _drawn(market: MarketData | None, depth: int, trouble: str) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=100, highlight=False).print(ladder(market, depth, trouble))
    return out.getvalue().splitlines()


def test_the_ladder_has_offers_above_bids_and_stands_still() -> None:
    def level(price: str, quantity: int) -> Level:
        return Level(price=Decimal(price), quantity=Decimal(quantity), orders=2)

    market = MarketData(
        symbol="AAPL", bid=level("9.9", 5), ask=level("10.1", 4), last=None, volume=Decimal(0), is_halted=True, at_ns=0,
        book=Book(bids=(level("9.9", 5), level("9.8", 10)), asks=(level("10.1", 4), level("10.2", 1))),
    )  # fmt: skip
    lines = _drawn(market, 3, "")
    prices = [word for line in lines for word in line.split() if word in ("10.2", "10.1", "9.9", "9.8")]
    assert prices == ["10.2", "10.1", "9.9", "9.8"]
    assert "HALTED" in lines[0]
    assert lines[-2].count("█") == 0
    assert max(line.count("█") for line in lines) == next(line for line in lines if "9.8" in line).count("█")
    trouble = _drawn(market, 3, "nothing is heard")
    assert trouble[0].startswith("NOTHING IS HEARD")
    assert len(_drawn(None, 3, "")) == len(trouble) == len(lines)


def test_the_ladder_follows_the_market_until_its_time_is_over(front: FrontEndThread, client: Toucan) -> None:
    front.trade(2)
    with client.watch_market_data(["AAPL"], depth=3, timeout_s=1.0) as watch:
        show_ladder(watch, 3)
    assert not watch.is_connected
