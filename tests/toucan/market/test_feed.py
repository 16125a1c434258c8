"""Feeds over sockets: the newest for everybody, bounded memory for the slow, and what front ends see of a feed that goes and comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from toucan.core.frames import FRAME_BYTES_MAX, encode_all
from toucan.core.instruments import Instrument
from toucan.core.values import Side
from toucan.core.venue_messages import Level, Quote
from toucan.market import link as link_module
from toucan.market import publisher as publisher_module
from toucan.market import replay as replay_module
from toucan.market.core.messages import FeedBeat, FeedWelcome, FromFeed, LineKind, Subscribe
from toucan.market.core.pace import Pace
from toucan.market.core.recording import Kind, Record, encode_head, encode_record
from toucan.market.core.tape import Place
from toucan.market.limits import CONNECTIONS_MAX, JOIN_LINES, OUT_BYTES_MAX, TAPE_LINES_KEPT
from toucan.market.link import FeedLink
from toucan.market.publisher import FeedPublisher
from toucan.market.replay import Replay

from .feed import FeedVenue, Subscriber, run, served, subscribed, until


def test_a_subscriber_is_told_what_there_is_and_then_what_changes(tmp_path: Path) -> None:
    async def scenario() -> None:
        venue = FeedVenue()
        venue.order(Side.BUY, 5, 99)
        venue.order(Side.BUY, 6, 99)
        venue.trade(10, 100)
        venue.publish()
        async with served(venue.publisher, tmp_path / "feed"), subscribed(tmp_path / "feed") as one:
            welcome = one.messages[0]
            assert isinstance(welcome, FeedWelcome)
            assert (welcome.life, len(welcome.instruments)) == ("L", 2)
            assert isinstance(one.messages[-1], FeedBeat), "what there is ends with a beat"
            assert one.books()[-1].bids == (Level(99, 11, 2),)
            assert [(line.quantity, line.price, line.aggressor) for line in one.lines()] == [
                (10, 100, Side.BUY)
            ]
            venue.trade(3, 101)
            venue.publish()
            await one.read_until(lambda one: len(one.lines()) == 2)
            assert one.quotes()[-1].last_price == 101
            told = len(one.messages)
            venue.publish()
            venue.order(Side.SELL, 1, 200, "MSFT")
            venue.publish()
            await one.read_until(lambda one: bool(one.books("MSFT")[-1].asks))
            news = [m for m in one.messages[told:] if not isinstance(m, FeedBeat)]
            assert {getattr(message, "symbol", "") for message in news} == {"MSFT"}

    run(scenario())


def test_who_comes_back_goes_on_behind_the_last_line_he_saw(tmp_path: Path) -> None:
    async def scenario() -> None:
        venue, path = FeedVenue(), tmp_path / "feed"
        for price in range(1, JOIN_LINES + 51):
            venue.trade(1, price)
        venue.publish()
        async with served(venue.publisher, path):
            async with subscribed(path) as new:
                assert [line.number for line in new.lines()] == list(range(51, JOIN_LINES + 51)), "the newest"
            async with subscribed(path, Subscribe("L", {"AAPL": 10, "GONE": 3})) as back:
                assert [line.number for line in back.lines()] == list(range(11, JOIN_LINES + 51))
            async with subscribed(path, Subscribe("L", {"AAPL": 10**9})) as ahead:
                assert ahead.lines() == []
                venue.trade(1, 7)
                venue.publish()
                await ahead.read_until(lambda one: bool(one.lines()))
            async with subscribed(path, Subscribe("another life", {"AAPL": 150})) as other:
                assert len(other.lines()) == JOIN_LINES

    run(scenario())


def test_who_reads_slowly_gets_the_newest_and_costs_no_memory(tmp_path: Path) -> None:
    async def scenario() -> None:
        venue, path = FeedVenue(), tmp_path / "feed"
        async with served(venue.publisher, path), subscribed(path) as slow:
            (connection,) = venue.publisher.connections
            rounds, traded = 0, 0
            while connection.wants_more or rounds < 4000:
                for _ in range(3):
                    venue.trade(2, 100 + rounds % 7)
                    traded += 1
                venue.publish()
                rounds += 1
                if rounds % 50 == 0:
                    await asyncio.sleep(0)
            transport = connection._transport
            assert transport is not None
            assert transport.get_write_buffer_size() < 2 * OUT_BYTES_MAX
            assert traded > TAPE_LINES_KEPT
            end = venue.exchange.tape("AAPL").end

            def has_all(one: Subscriber) -> bool:
                venue.publish()
                return bool(one.lines()) and one.lines()[-1].number == end.number

            await slow.read_until(has_all)
            lines = slow.lines()
            numbers = [line.number for line in lines]
            assert numbers == sorted(set(numbers)), "no line twice"
            assert len(lines) < end.number, "some were left out"
            assert lines[-1].total == end.total == 2 * traded, "and what they came to is known"
            assert slow.quotes()[-1].volume == 2 * traded, "prices are the newest"

    run(scenario())


def test_who_does_not_read_at_all_is_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        venue, path = FeedVenue(), tmp_path / "feed"
        publisher = FeedPublisher(venue.feed, stalled_s_max=0.05)
        async with served(publisher, path), subscribed(path):
            while publisher.connections:
                venue.trade(2, 100)
                publisher.publish(["AAPL"], ["AAPL"], ["AAPL"])
                await asyncio.sleep(0)

    run(scenario())
    assert "does not read" in caplog.text


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "a frame of"),
        (encode_all([Subscribe()]) * 2, "subscribes twice"),
        (encode_all([FeedBeat(1)]), "no message"),
        ((FRAME_BYTES_MAX).to_bytes(4, "big") + bytes(FRAME_BYTES_MAX + 9), "does not end"),
    ],
)
def test_who_speaks_otherwise_is_cut_off(
    data: bytes, why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        venue, path = FeedVenue(), tmp_path / "feed"
        async with served(venue.publisher, path), subscribed(path) as other:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(data)
            with contextlib.suppress(ConnectionError):
                while await reader.read(1 << 16):
                    pass
            writer.transport.abort()
            venue.trade(1, 5)
            venue.publish()
            await other.read_until(lambda one: bool(one.lines()))

    run(scenario())
    assert why in caplog.text


def test_who_says_nothing_is_cut_off_and_there_are_only_so_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(publisher_module, "GREETING_S_MAX", 0.2)

    async def scenario() -> None:
        venue, path = FeedVenue(), tmp_path / "feed"
        async with served(venue.publisher, path):
            ends = [await asyncio.open_unix_connection(path) for _ in range(CONNECTIONS_MAX + 1)]
            for reader, writer in ends:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.transport.abort()
            await until(lambda: not venue.publisher.connections)

    run(scenario())
    assert "did not subscribe" in caplog.text
    assert "too many" in caplog.text


# ---------------------------------------------------------------- followed by a front end


@contextlib.asynccontextmanager
async def _following(path: Path):  # type: ignore[no-untyped-def]
    link = FeedLink("SIM", path)
    link.start()
    try:
        yield link
    finally:
        await link.stop()


def test_a_follower_goes_on_where_it_was_when_the_connection_is_lost(tmp_path: Path) -> None:
    async def scenario() -> None:
        venue, path = FeedVenue(), tmp_path / "feed"
        async with _following(path) as link:
            async with served(venue.publisher, path):
                venue.trade(5, 100)
                venue.publish()
                await until(lambda: not link.is_stale)
                assert link.picture.tapes["AAPL"].end == Place(1, 5)
            await until(lambda: link.is_stale)
            assert link.picture.quotes["AAPL"].last_price == 100, "the old is shown, as old"
            venue.trade(6, 101)
            path.unlink(missing_ok=True)
            async with served(venue.publisher, path):
                venue.publish()
                await until(lambda: not link.is_stale)
                await until(lambda: link.picture.tapes["AAPL"].end == Place(2, 11))
            assert link.picture.lines_missed == 0
            path.unlink(missing_ok=True)
            other = FeedVenue(life="M")
            async with served(other.publisher, path):
                await until(lambda: link.picture.life == "M" and not link.is_stale)
                assert link.picture.tapes["AAPL"].end == Place()
                assert link.picture.quotes["AAPL"].last_price is None

    run(scenario())


def test_a_feed_that_says_nothing_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "SILENCE_S_MAX", 0.2)

    async def scenario() -> None:
        venue, path = FeedVenue(), tmp_path / "feed"
        server = await asyncio.get_running_loop().create_unix_server(venue.publisher.accept, path)
        stale: list[bool] = []  # a publisher that was not started does not beat
        async with _following(path) as link:
            link.on_staleness = lambda: stale.append(link.is_stale)
            await until(lambda: len(stale) >= 3)
        assert stale[:3] == [False, True, False], "it was asked over another connection"
        server.close()
        await venue.publisher.close()

    run(scenario())


def test_a_greeting_that_comes_in_pieces_is_told_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        symbols = [f"S{number}" for number in range(30)]
        table = tuple(Instrument(symbol=symbol, currency="USD", venue="SIM") for symbol in symbols)
        venue, path = FeedVenue(instruments=table), tmp_path / "feed"
        for symbol in symbols:
            for number in range(JOIN_LINES):
                venue.trade(1, 1 + number, symbol)
        venue.publish()
        told: list[set[str]] = []
        async with served(venue.publisher, path), _following(path) as link:
            link.on_change = lambda changed: told.append({*changed})
            await until(lambda: bool(told))
            assert told == [{*symbols}]
            assert all(len(tape) == JOIN_LINES for tape in link.picture.tapes.values())

    run(scenario())


def test_a_repeated_recording_is_played_at_its_pace_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "REPEAT_PAUSE_S", 0.01)
    table = (Instrument(symbol="AAPL", currency="USD", venue="SIM"),)
    told: list[FromFeed] = [
        FeedWelcome("L", table),
        *(Quote("AAPL", number, bid_price=number) for number in range(1, 4)),
    ]
    records = [Record(number * 100_000_000, Kind.NEWS, message) for number, message in enumerate(told)]
    (tmp_path / "rec").write_bytes(encode_head() + b"".join(map(encode_record, records)))

    async def scenario() -> None:
        loop, replay = asyncio.get_running_loop(), Replay(tmp_path / "rec", Pace(1.0), repeats=True)
        async with served(replay.publisher, tmp_path / "feed"), _following(tmp_path / "feed") as link:
            playing = loop.create_task(replay.run())
            lives: dict[str, float] = {}
            prices: list[int | None] = []

            def heard(symbols: Sequence[str]) -> None:
                lives.setdefault(link.picture.life, loop.time())
                prices.extend(quote.bid_price for quote in link.picture.quotes.values())

            link.on_change = heard
            await until(lambda: len(lives) == 4)
            playing.cancel()
        begins = [*lives.values()]
        assert begins[3] - begins[1] > 2 * 0.3 * 0.9, "two times, each as long as it was recorded"
        assert {1, 2, 3} <= {*prices}

    run(scenario())


def test_changes_are_told_once_they_are_complete(tmp_path: Path) -> None:
    async def scenario() -> None:
        venue, path = FeedVenue(), tmp_path / "feed"
        venue.trade(5, 100)
        venue.publish()
        told: list[set[str]] = []
        async with served(venue.publisher, path), _following(path) as link:
            link.on_change = lambda symbols: told.append({*symbols})
            await until(lambda: bool(told))
            assert told == [{"AAPL", "MSFT"}]
            assert link.picture.is_complete
            venue.order(Side.BUY, 1, 3, "MSFT")
            venue.publish()
            await until(lambda: len(told) == 2)
            assert told[1] == {"MSFT"}
            assert [line.kind for line in link.picture.tapes["AAPL"].since(Place()).lines] == [LineKind.TRADE]

    run(scenario())
