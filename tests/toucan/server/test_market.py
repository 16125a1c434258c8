"""WatchMarketData over a venue's own feed: depth, trades, what is left out, and what is stale."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.toucan.market.feed import FeedVenue, served
from tests.toucan.server.local_engine import LocalEngine
from tests.toucan.server.support import World, failing, run, until

from aviary.toucan.v1 import market_pb2 as mp
from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from toucan.core.instruments import Instrument
from toucan.core.values import Side
from toucan.core.venue_messages import Quote, Report
from toucan.market.link import FeedLink
from toucan.server.limits import MARKET_SYMBOLS_MAX, TRADES_PER_MESSAGE_MAX
from toucan.server.streams.market import MarketWatch

_VENUE = next(iter(LocalEngine().decider.instruments.values())).venue


def _instruments(**changes: Any) -> tuple[Instrument, ...]:
    """The engine's own table, as the venue has it."""
    table = LocalEngine().decider.instruments.values()
    return tuple(msgspec.structs.replace(one, **changes) for one in table if one.venue == _VENUE)


class FedWorld:
    """A front end that follows an exchange."""

    def __init__(self, world: World, venue: FeedVenue, link: FeedLink, path: Path) -> None:
        self.world = world
        self.venue = venue
        self.link = link
        self.path = path

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, folder: Path, venue: FeedVenue | None = None) -> AsyncIterator[FedWorld]:
        """Feed and front end, which has heard of it."""
        path, venue = folder / "feed", venue or FeedVenue(instruments=_instruments())
        link = FeedLink(_VENUE, path)
        async with served(venue.publisher, path), World.open(feeds={_VENUE: link}) as world:
            await until(lambda: not link.is_stale)
            yield cls(world, venue, link, path)

    def watch(self, **wish: Any) -> Any:
        return self.world.client().orders.WatchMarketData(
            pb.WatchMarketDataRequest(**{"symbols": ["AAPL"], **wish})
        )


async def _read_until(stream: Any, is_it: Callable[[pb.WatchMarketDataResponse], Any]) -> Any:
    while not is_it(message := await stream.read()):
        pass
    return message


def test_depth_comes_from_the_feed_with_the_number_of_orders(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FedWorld.open(tmp_path) as fed:
            top, deep = fed.watch(), fed.watch(depth=20)
            await top.read()
            await deep.read()
            for number in range(25):
                fed.venue.order(Side.BUY, 10 + number, 100 - number)
                fed.venue.order(Side.BUY, 1, 100 - number)
            fed.venue.publish()
            message = await _read_until(deep, lambda message: message.market_data)
            (market,) = message.market_data
            assert [(one.price, one.quantity, one.orders) for one in market.bids] == [
                (100 - number, 11 + number, 2) for number in range(20)
            ]
            (market,) = (await _read_until(top, lambda message: message.market_data)).market_data
            assert (market.bid_price, market.bid_quantity, len(market.bids)) == (100, 11, 0)
            assert message.stale_symbols == []
            assert not message.is_stale

    run(scenario())


def test_who_does_not_ask_for_trades_is_told_what_he_was_always_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FedWorld.open(tmp_path) as fed:
            stream = fed.watch()
            await stream.read()
            fed.venue.trade(3, 101)
            fed.venue.publish()
            message = await _read_until(stream, lambda message: message.market_data[0].volume)
            assert not message.trades
            assert not message.market_data[0].bids

    run(scenario())


def test_trades_are_told_in_order_with_busts(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FedWorld.open(tmp_path) as fed:
            fed.venue.trade(9, 90)
            fed.venue.publish()
            await until(lambda: fed.link.picture.tapes["AAPL"].end.number == 1)
            stream = fed.watch(with_trades=True, without_prices=True)
            await stream.read()
            told = fed.venue.trade(3, 101)
            exec_ids = [
                report.exec_id for _, report in told if isinstance(report, Report) and report.last_quantity
            ]
            fed.venue.operator.correct(exec_ids[0], fed.venue.exchange.now_ns, quantity=2, price=99)
            fed.venue.operator.bust(exec_ids[0], fed.venue.exchange.now_ns)
            fed.venue.publish()
            message = await _read_until(stream, lambda message: message.trades)
            assert not message.market_data
            (trades,) = message.trades
            assert (trades.symbol, trades.life, trades.left_out, trades.traded) == ("AAPL", "L", 0, 12)
            assert [
                (one.number, one.kind, one.trade_number, one.quantity, one.price, one.aggressor)
                for one in trades.trades
            ] == [
                (2, mp.TRADE_KIND_TRADE, 2, 3, 101, tp.SIDE_BUY),
                (3, mp.TRADE_KIND_CORRECTION, 2, 2, 99, tp.SIDE_UNSPECIFIED),
                (4, mp.TRADE_KIND_BUST, 2, 2, 99, tp.SIDE_UNSPECIFIED),
            ]

    run(scenario())


def test_a_slow_client_learns_how_many_trades_were_left_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FedWorld.open(tmp_path) as fed:
            stream = fed.watch(with_trades=True)
            await stream.read()
            count = 3 * TRADES_PER_MESSAGE_MAX
            for number in range(count):
                fed.venue.trade(number + 1, 100)
            fed.venue.publish()
            message = await _read_until(stream, lambda message: message.trades)
            (trades,) = message.trades
            missed = count - TRADES_PER_MESSAGE_MAX
            assert trades.left_out == missed
            assert trades.left_out_quantity == sum(range(1, missed + 1))
            assert [one.number for one in trades.trades] == list(range(missed + 1, count + 1))
            fed.venue.trade(1, 5)
            fed.venue.publish()
            (trades,) = (await _read_until(stream, lambda message: message.trades)).trades
            assert (trades.left_out, len(trades.trades)) == (0, 1), "it is told once"

    run(scenario())


def test_a_stream_costs_a_place_however_much_is_traded(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FedWorld.open(tmp_path) as fed:
            stream = fed.watch(with_trades=True, depth=20)
            await stream.read()  # and nothing more, while much happens
            (watch,) = (one for one in fed.world.front.pump.outlets if isinstance(one, MarketWatch))
            for number in range(2000):
                fed.venue.trade(1, 100 + number % 5)
                if number % 20 == 0:
                    fed.venue.publish()
                    await asyncio.sleep(0)
            fed.venue.publish()
            await until(lambda: fed.link.picture.tapes["AAPL"].end.number == 2000)
            assert len(watch._places) == 1
            assert len(watch._changed) <= 1
            assert len(fed.world.front.market._trades) <= 1
            seen = left_out = 0
            while seen + left_out < 2000:
                for trades in (await stream.read()).trades:
                    left_out += trades.left_out
                    seen += len(trades.trades)
                    assert trades.traded == seen + left_out
            assert seen + left_out == 2000

    run(scenario())


def test_a_stream_begins_with_the_newest_and_goes_on_behind_what_was_seen(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FedWorld.open(tmp_path) as fed:
            for price in range(1, 11):
                fed.venue.trade(1, price)
            fed.venue.publish()
            await until(lambda: fed.link.picture.tapes["AAPL"].end.number == 10)

            async def first(**wish: Any) -> tuple[int, list[int]]:
                message = await fed.watch(with_trades=True, **wish).read()
                return (
                    sum(one.left_out for one in message.trades),
                    [one.number for trades in message.trades for one in trades.trades],
                )

            assert await first() == (0, [])
            assert await first(trades_before=3) == (0, [8, 9, 10])
            assert await first(trades_before=100) == (0, list(range(1, 11)))
            seen = mp.TradePlace(symbol="AAPL", life="L", number=6, traded=6)
            assert await first(after=[seen], trades_before=1) == (0, [7, 8, 9, 10])
            of_before = mp.TradePlace(symbol="AAPL", life="before", number=600, traded=6)
            assert await first(after=[of_before]) == (0, list(range(1, 11))), (
                "another count begins at its beginning"
            )

    run(scenario())


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"without_prices": True}, "without_prices"),
        ({"trades_before": TRADES_PER_MESSAGE_MAX + 1}, "trades_before"),
        ({"trades_before": -1}, "trades_before"),
        ({"after": [mp.TradePlace(symbol="MSFT", life="L")]}, "after[0].symbol"),
        ({"after": [mp.TradePlace(symbol="AAPL")]}, "after[0].life"),
        ({"after": [mp.TradePlace(symbol="AAPL", life="x" * 200)]}, "after[0].life"),
        ({"after": [mp.TradePlace(symbol="AAPL", life="L", number=-1)]}, "after[0].number"),
        ({"after": [mp.TradePlace(symbol="AAPL", life="L", traded=-1)]}, "after[0].traded"),
        ({"after": [mp.TradePlace(symbol="AAPL", life="L")] * (MARKET_SYMBOLS_MAX + 1)}, "after"),
    ],
)
def test_trades_that_cannot_be_had(wish: dict[str, Any], field: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FedWorld.open(tmp_path) as fed:
            failure = await failing(fed.watch(**wish).read())
            assert (failure.status, failure.field) == ("INVALID_ARGUMENT", field)

    run(scenario())


def test_a_feed_that_is_lost_is_told_and_the_engine_being_away_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        path, link = tmp_path / "feed", FeedLink(_VENUE, tmp_path / "feed")
        async with World.open(feeds={_VENUE: link}) as world:
            stream = world.client().orders.WatchMarketData(
                pb.WatchMarketDataRequest(symbols=["AAPL", "MSFT"], with_trades=True)
            )
            first = await stream.read()
            assert first.is_stale
            assert sorted(first.stale_symbols) == ["AAPL", "MSFT"], "it was never heard"
            async with served(FeedVenue(instruments=_instruments()).publisher, path):
                assert not (await _read_until(stream, lambda message: not message.is_stale)).stale_symbols
                world.port.go_away()
                message = await stream.read()
                assert not message.is_stale, "the venue itself is heard all the same"
            message = await _read_until(stream, lambda message: message.is_stale)
            assert sorted(message.stale_symbols) == ["AAPL", "MSFT"]

    run(scenario())


def test_until_the_feed_is_heard_prices_are_the_engines_and_then_no_longer(tmp_path: Path) -> None:
    async def scenario() -> None:
        link = FeedLink(_VENUE, tmp_path / "feed")
        async with World.open(feeds={_VENUE: link}) as world:
            world.engine.quote(Quote("AAPL", 1, bid_price=77, bid_quantity=1))
            stream = world.client().orders.WatchMarketData(pb.WatchMarketDataRequest(symbols=["AAPL"]))
            assert (await stream.read()).market_data[0].bid_price == 77
            world.engine.quote(Quote("AAPL", 1, bid_price=78, bid_quantity=1))
            await _read_until(stream, lambda m: m.market_data and m.market_data[0].bid_price == 78)
            venue = FeedVenue(instruments=_instruments())
            venue.order(Side.BUY, 1, 88)
            venue.publish()
            async with served(venue.publisher, tmp_path / "feed"):
                await _read_until(stream, lambda m: m.market_data and m.market_data[0].bid_price == 88)
                world.engine.quote(Quote("AAPL", 2, bid_price=66, bid_quantity=1))
                venue.order(Side.BUY, 1, 89)
                venue.publish()
                message = await _read_until(stream, lambda m: m.market_data)
                assert message.market_data[0].bid_price == 89

    run(scenario())


def test_a_feed_in_other_units_is_not_believed(tmp_path: Path) -> None:
    async def scenario() -> None:
        venue = FeedVenue(instruments=_instruments(price_decimals=7))
        venue.order(Side.BUY, 1, 88)
        venue.publish()
        async with FedWorld.open(tmp_path, venue) as fed:
            fed.world.engine.quote(Quote("AAPL", 1, bid_price=77, bid_quantity=1))
            message = await _read_until(fed.watch(with_trades=True, depth=5), lambda m: m.stale_symbols)
            assert message.market_data[0].bid_price == 77
            assert not message.market_data[0].bids

    run(scenario())
