"""Positions, market data and drop copies, over the wire."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.toucan.core.desk import BOB, terms
from tests.toucan.server.local_engine import LocalEngine, LocalPort
from tests.toucan.server.support import Failure, World, failing, run, until, write_users

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core.order import Client
from toucan.core.values import ExecType, Side
from toucan.core.venue_messages import Book, Level, Quote
from toucan.server.limits import DEPTH_MAX, MARKET_RATE_MAX, MARKET_SYMBOLS_MAX, POSITIONS_PER_TURN
from toucan.server.streams import drop_copy, outlet, positions, pump
from toucan.server.streams.position_book import PositionBook, PositionKey


async def _read_until(stream: Any, condition: Any) -> Any:
    while True:
        message = await stream.read()
        if condition(message):
            return message


# ---------------------------------------------------------------- positions


def test_positions_come_all_at_first_and_then_as_they_change() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            engine = world.engine
            engine.fill(engine.working(terms(), BOB), 1, 10_000, "e1")
            engine.fill(engine.working(terms(symbol="MSFT"), BOB), 1, 10_000, "e2")
            stream = world.client().orders.WatchPositions(pb.WatchPositionsRequest(by_trader=True))
            first = await stream.read()
            assert [(one.account, one.trader, one.symbol, one.quantity) for one in first.positions] == [
                ("ACC1", "", "AAPL", 1), ("ACC1", "", "MSFT", 1), ("ACC1", "bob", "AAPL", 1), ("ACC1", "bob", "MSFT", 1)
            ]  # fmt: skip
            assert first.seq == engine.state.seq
            engine.fill(engine.working(terms(side=Side.SELL, price=10_050)), 3, 10_050, "e3")
            changed = await _read_until(stream, lambda message: message.positions)
            assert {(one.trader, one.quantity) for one in changed.positions} == {("", -2), ("alice", -3)}
            assert changed.positions[0].updated_seq == engine.state.seq

    run(scenario())


def test_positions_are_marked_when_the_market_moves() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            engine = world.engine
            engine.fill(engine.working(terms()), 2, 10_000, "e1")
            stream = world.client().orders.WatchPositions(pb.WatchPositionsRequest(symbols=["AAPL"]))
            (first,) = (await stream.read()).positions
            assert not first.HasField("unrealised_profit")
            engine.quote(Quote("MSFT", 1, last_price=5))
            engine.quote(Quote("AAPL", 1, last_price=10_100))
            engine.quote(Quote("AAPL", 2, last_price=10_200))
            (marked,) = (await _read_until(stream, lambda message: message.positions)).positions
            assert (marked.mark_price, marked.unrealised_profit) == (10_200, "4.00")

    run(scenario())


def test_many_positions_are_one_first_message_unless_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = LocalEngine()
    for number in range(2 * POSITIONS_PER_TURN):
        engine.fill(engine.working(terms(), Client(f"trader{number}", "s")), 1, 10_000, f"e{number}")

    async def scenario() -> None:
        async with World.open(engine=engine) as world:
            request = pb.WatchPositionsRequest(by_trader=True)
            first = await world.client().orders.WatchPositions(request).read()
            assert len(first.positions) == 2 * POSITIONS_PER_TURN + 1
            monkeypatch.setattr(positions, "MESSAGE_BYTES_MAX", 100)
            stream, count = world.client().orders.WatchPositions(request), 0
            messages = []
            while count < 2 * POSITIONS_PER_TURN + 1:
                messages.append(await stream.read())
                count += len(messages[-1].positions)
            assert [message.seq for message in messages] == [0] * (len(messages) - 1) + [engine.state.seq]
            assert len(messages) == 3

    run(scenario())


def test_positions_of_others_are_not_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            engine = world.engine
            stream = world.client("carol").orders.WatchPositions(pb.WatchPositionsRequest())
            await stream.read()
            for account in ("ACC1", "ACC3"):
                engine.fill(engine.working(terms(account=account)), 1, 10_000, f"e{account}")
            told = await _read_until(stream, lambda message: message.positions)
            assert [position.account for position in told.positions] == ["ACC3"]
            foreign = world.client("carol").orders.WatchPositions(pb.WatchPositionsRequest(accounts=["ACC1"]))
            assert (await failing(foreign.read())).status == "PERMISSION_DENIED"

    run(scenario())


def test_positions_after_the_copy_was_replaced_are_all_told_again() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            engine = world.engine
            engine.fill(engine.working(terms()), 1, 10_000, "e1")
            stream = world.client().orders.WatchPositions(pb.WatchPositionsRequest())
            await stream.read()
            world.port.is_lagging = True
            engine.fill(engine.working(terms()), 1, 10_000, "e2")
            world.port.replace_copy(keeps_history=False)
            (position,) = (await _read_until(stream, lambda message: message.positions)).positions
            assert position.quantity == 2
            world.port.go_away()
            assert (await _read_until(stream, lambda message: message.is_stale)).is_stale

    run(scenario())


def test_position_that_changes_while_the_market_goes_away_and_comes_back_is_told_where_the_market_is() -> (
    None
):
    engine = LocalEngine()
    port = LocalPort(engine)
    engine.ports.append(port)
    engine.fill(engine.working(terms(), BOB), 1, 10_000, "e1")
    book = PositionBook(port)
    key = PositionKey("ACC1", None, "AAPL")

    def told() -> tuple[int, int]:
        position = pb.WatchPositionsResponse.FromString(book.piece(key)).positions[0]
        return position.quantity, position.mark_price

    port.market(Quote("AAPL", 1, last_price=10_200), None)
    assert key in book.marked(["AAPL"])
    assert told() == (1, 10_200)
    port.market(Quote("AAPL", 2, last_price=10_300), None)
    engine.fill(engine.working(terms(), BOB), 1, 10_000, "e2")
    book.changed("ACC1", "bob", "AAPL", 9)
    book.piece(key)  # told at once, whatever the marks are
    port.market(Quote("AAPL", 3, last_price=10_200), None)
    book.marked(["AAPL"])
    assert told() == (2, 10_200)


# ---------------------------------------------------------------- market data


def test_market_data_is_the_newest_at_the_asked_depth() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            book = Book("AAPL", 2, (Level(10, 1), Level(9, 1)), (Level(12, 1), Level(13, 1)))
            world.engine.quote(Quote("AAPL", 1, bid_price=10, bid_quantity=1), book)
            orders = world.client().orders
            top = orders.WatchMarketData(pb.WatchMarketDataRequest(symbols=["AAPL", "MSFT"]))
            deep = orders.WatchMarketData(pb.WatchMarketDataRequest(symbols=["AAPL"], depth=1))
            first = await top.read()
            assert [(one.symbol, one.bid_price, len(one.bids)) for one in first.market_data] == [
                ("AAPL", 10, 0),
                ("MSFT", 0, 0),
            ]
            (one,) = (await deep.read()).market_data
            assert [level.price for level in (*one.bids, *one.asks)] == [10, 12]
            for price in range(20, 120):
                world.engine.quote(Quote("AAPL", price, bid_price=price))
            told = [await top.read()]
            while told[-1].market_data[0].bid_price != 119:
                told.append(await top.read())
            assert len(told) <= 3  # not one for each
            world.port.go_away()
            assert (await _read_until(top, lambda message: message.is_stale)).is_stale

    run(scenario())


def test_rate_of_market_data_is_bounded_by_what_is_asked() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            loop = asyncio.get_running_loop()
            slow = world.client().orders.WatchMarketData(
                pb.WatchMarketDataRequest(symbols=["AAPL"], rate_max=10)
            )
            await slow.read()
            began = loop.time()
            for price in (1, 2, 3):
                world.engine.quote(Quote("AAPL", price, bid_price=price))
                await slow.read()
            assert loop.time() - began > 3 / 10 * 0.9

    run(scenario())


@pytest.mark.parametrize(
    ("request_", "status", "field"),
    [
        (pb.WatchMarketDataRequest(), "INVALID_ARGUMENT", "symbols"),
        (pb.WatchMarketDataRequest(symbols=["NONE"]), "NOT_FOUND", ""),
        (pb.WatchMarketDataRequest(symbols=["AAPL"], depth=DEPTH_MAX + 1), "INVALID_ARGUMENT", "depth"),
        (pb.WatchMarketDataRequest(symbols=["AAPL"], depth=-1), "INVALID_ARGUMENT", "depth"),
        (
            pb.WatchMarketDataRequest(symbols=["AAPL"], rate_max=MARKET_RATE_MAX + 1),
            "INVALID_ARGUMENT",
            "rate_max",
        ),
        (
            pb.WatchMarketDataRequest(symbols=["AAPL"] * (MARKET_SYMBOLS_MAX + 1)),
            "INVALID_ARGUMENT",
            "symbols",
        ),
    ],
)
def test_market_data_that_cannot_be_had(request_: pb.WatchMarketDataRequest, status: str, field: str) -> None:
    async def scenario() -> None:
        async with World.open() as world:
            failure = await failing(world.client().orders.WatchMarketData(request_).read())
            assert (failure.status, failure.field) == (status, field)

    run(scenario())


@pytest.mark.parametrize("name", ["WatchMarketData", "DropCopy"])
def test_silence_is_filled_with_heartbeats(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(pump, "HOUSEKEEPING_S", 0.02)

    async def scenario() -> None:
        async with World.open() as world:
            orders = world.client().orders
            if name == "DropCopy":
                stream = orders.DropCopy(pb.DropCopyRequest())
                expected: Any = pb.DropCopyResponse(seq=world.engine.state.seq)
            else:
                stream = orders.WatchMarketData(pb.WatchMarketDataRequest(symbols=["AAPL"]))
                assert (await stream.read()).market_data
                expected = pb.WatchMarketDataResponse()
            for _ in range(3):
                assert await stream.read() == expected

    run(scenario())


# ---------------------------------------------------------------- drop copies


async def _events(stream: Any, until_seq: int) -> list[pb.DropCopyEvent]:
    found: list[pb.DropCopyEvent] = []
    while True:
        message = await stream.read()
        found += message.events
        if message.seq >= until_seq:
            return found


def test_drop_copy_tells_every_event_with_what_it_is_about() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            engine = world.engine
            stream = world.client().orders.DropCopy(pb.DropCopyRequest())
            began = (await stream.read()).seq
            order = engine.working(terms())
            engine.fill(order, 1, 10_000, "e1")
            engine.report(
                kind=ExecType.TRADE,
                cl_ord_id="T-77-1",
                exec_id="x",
                last_quantity=1,
                last_price=1,
                account="ACC9",
            )
            engine.ask(rq.Submit(terms(quantity=0)))
            told = await _events(stream, engine.state.seq)
            assert [event.seq for event in told] == [seq for seq, _, _ in engine.events if seq > began]
            assert [event.event for event in told] == [
                "OrderAccepted",
                "Answered",
                "Reported",
                "Reported",
                "ReportRefused",
                "Answered",
            ]
            accepted, answered, _, filled, refused, _ = told
            assert (accepted.user, accepted.account, accepted.order_id) == ("alice", "ACC1", 1)
            assert (answered.user, answered.account, answered.order_id) == ("alice", "ACC1", 1)
            assert (filled.user, filled.account, filled.order_id) == ("", "ACC1", 1)
            assert refused.account == "ACC9"
            assert json.loads(filled.json)["report"]["exec_id"] == "e1"
            assert json.loads(accepted.json)["type"] == "OrderAccepted"
            assert accepted.at_ns == engine.now_ns

    run(scenario())


def test_drop_copy_goes_on_where_it_was_and_tells_what_is_no_longer_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drop_copy, "DROP_COPIES_PER_MESSAGE", 7)

    async def scenario() -> None:
        async with World.open() as world:
            engine = world.engine
            for _ in range(20):
                engine.working(terms())
            for after in (0, 10, engine.state.seq):
                stream = world.client().orders.DropCopy(pb.DropCopyRequest(after_seq=after))
                told = await _events(stream, engine.state.seq)
                engine.working(terms())
                told += await _events(stream, engine.state.seq)
                assert [event.seq for event in told] == [*range(after + 1, engine.state.seq + 1)]
            world.port.history_max = 5
            gap = await world.client().orders.DropCopy(pb.DropCopyRequest(after_seq=1)).read()
            assert (gap.gap_until_seq, gap.seq, len(gap.events)) == (
                engine.state.seq + 1,
                engine.state.seq,
                0,
            )

    run(scenario())


def test_drop_copy_says_at_once_that_the_engine_is_away_and_back() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = world.client().orders.DropCopy(pb.DropCopyRequest())
            began = await stream.read()
            assert not began.is_stale
            world.port.go_away()
            away = await stream.read()
            assert (away.is_stale, away.seq, len(away.events)) == (True, began.seq, 0)
            world.port.come_back()
            assert not (await stream.read()).is_stale

    run(scenario())


def test_drop_copy_over_a_replaced_copy() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            engine, port = world.engine, world.port
            stream = world.client().orders.DropCopy(pb.DropCopyRequest())
            began = (await stream.read()).seq
            port.is_lagging = True
            engine.working(terms())
            port.replace_copy(keeps_history=True)
            assert [event.seq for event in await _events(stream, engine.state.seq)] == [
                *range(began + 1, engine.state.seq + 1)
            ]
            port.is_lagging = True
            engine.working(terms())
            port.replace_copy(keeps_history=False)
            gap = await _read_until(stream, lambda message: message.HasField("gap_until_seq"))
            assert gap.gap_until_seq == engine.state.seq + 1

    run(scenario())


def test_drop_copy_is_for_those_entitled_and_of_their_accounts(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            engine = world.engine
            assert (
                await failing(world.client("alice").orders.DropCopy(pb.DropCopyRequest()).read())
            ).status == "PERMISSION_DENIED"
            foreign = world.client("desk-risk").orders.DropCopy(pb.DropCopyRequest(accounts=["ACC3"]))
            assert (await failing(foreign.read())).status == "PERMISSION_DENIED"
            desk = world.client("desk-risk").orders.DropCopy(pb.DropCopyRequest())
            firm = world.client("firm-risk").orders.DropCopy(pb.DropCopyRequest(accounts=["ACC3"]))
            for stream in (desk, firm):
                await stream.read()
            for account in ("ACC1", "ACC3"):
                engine.working(terms(account=account), Client("x", "s"))
            engine.apply([ev.SessionOpened(Client("x", "s")), ev.VenueChanged("SIM", "life", True)])
            assert [event.event for event in await _events(desk, engine.state.seq)] == [
                "OrderAccepted", "Answered", "Reported", "VenueChanged"
            ]  # fmt: skip
            assert {event.account for event in await _events(firm, engine.state.seq)} == {"ACC3", ""}

    run(scenario())


def test_drop_copy_that_is_not_taken_is_cut_off_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drop_copy, "DROP_COPIES_WAITING_MAX", 50)

    async def scenario() -> None:
        async with World.open() as world:
            engine = world.engine
            stream = world.client().orders.DropCopy(pb.DropCopyRequest())
            told = (await stream.read()).seq
            seqs: list[int] = []
            for _ in range(60):  # all in one turn of the loop
                engine.working(terms())
            while True:
                message = await _message_or_failure(stream)
                if not isinstance(message, pb.DropCopyResponse):
                    break
                seqs += [event.seq for event in message.events]
                told = message.seq
            assert (message.status, message.code) == ("RESOURCE_EXHAUSTED", "SLOW_CONSUMER")
            again = world.client().orders.DropCopy(pb.DropCopyRequest(after_seq=told))
            seqs += [event.seq for event in await _events(again, engine.state.seq)]
            assert seqs == [*range(seqs[0], engine.state.seq + 1)]
            await until(lambda: len(world.front.pump.outlets) == 1)

    run(scenario())


async def _message_or_failure(stream: Any) -> Any:
    try:
        return await stream.read()
    except grpc.aio.AioRpcError as error:
        return Failure(error)
