"""What of the exchange's process is easier to see from inside: limits, and recordings that go wrong."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from toucan.core.values import OrderType, Side, TimeInForce
from toucan.core.venue_messages import FromVenue, NewOrder, Report, Resume, ResumeEnd, StatusRequest, Welcome
from toucan.exchange.connection import FirmConnection
from toucan.exchange.core.background import LOOKAHEAD_EVENTS, BackgroundEvent, EventKind
from toucan.exchange.core.exchange import Exchange
from toucan.exchange.core.wire import encode_all, venue_reader
from toucan.exchange.errors import ExchangeConfigError
from toucan.exchange.limits import BOOK_LEVELS, CONNECTIONS_MAX
from toucan.exchange.market_data import MarketDataFeed
from toucan.exchange.server import ExchangeServer
from toucan.exchange.settings import ReplaySettings

from .script import INSTRUMENTS, START_NS

PATIENCE_S = 20.0


def _run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(test(), PATIENCE_S)

    asyncio.run(limited())


def _exchange(**limits: int) -> Exchange:
    return Exchange(INSTRUMENTS, life="L", now_ns=START_NS, **limits)


async def _joined(server: ExchangeServer) -> socket.socket:
    """A new connection; this side does not block."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    await asyncio.get_running_loop().connect_accepted_socket(server.accept, theirs)
    return ours


async def _read_to_the_end(ours: socket.socket) -> list[FromVenue]:
    reader, messages = venue_reader(), []
    while data := await asyncio.get_running_loop().sock_recv(ours, 1 << 20):
        messages += [*reader.feed(data)]
    return messages


def test_who_reads_so_slowly_that_the_log_has_moved_on_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        server = ExchangeServer(_exchange(reports_kept_max=100))
        ours = await _joined(server)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(ours, encode_all([Resume("slow", "", 0)]))
        reader = venue_reader()
        messages: list[FromVenue] = []
        while ResumeEnd() not in messages:
            messages += [*reader.feed(await loop.sock_recv(ours, 1 << 20))]
        for number in range(20_000):
            told = server.exchange.handle("slow", StatusRequest(f"x{number}"), START_NS)
            server.deliver(told)
            server.settle()
        told_seqs = [
            message.venue_seq for message in await _read_to_the_end(ours) if isinstance(message, Report)
        ]
        assert told_seqs == list(range(1, len(told_seqs) + 1))
        assert 100 < len(told_seqs) < 20_000
        assert server.connections == set()
        ours.close()
        await server.close()

    _run(test)
    assert "no longer kept" in caplog.text


def test_what_is_no_longer_kept_is_missing_at_the_beginning_of_what_is_told() -> None:
    async def test() -> None:
        server = ExchangeServer(_exchange(reports_kept_max=100))
        for number in range(500):
            server.deliver(server.exchange.handle("late", StatusRequest(f"x{number}"), START_NS))
        ours = await _joined(server)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(ours, encode_all([Resume("late", "L", 7)]))
        reader = venue_reader()
        messages: list[FromVenue] = []
        while ResumeEnd() not in messages:
            messages += [*reader.feed(await loop.sock_recv(ours, 1 << 20))]
        assert messages[0] == Welcome("L", 500)
        assert [message.venue_seq for message in messages if isinstance(message, Report)] == list(
            range(401, 501)
        )
        ours.close()
        await server.close()

    _run(test)


def test_market_data_is_told_only_if_it_looks_other_than_before() -> None:
    exchange = _exchange()
    server = ExchangeServer(exchange)
    feed, connection = MarketDataFeed(exchange), FirmConnection(server)

    def told(cl_ord_id: str, price: int) -> tuple[set[str], set[str]]:
        connection.stale_quotes.clear()
        connection.stale_books.clear()
        order = NewOrder(cl_ord_id, "a", "ABC", Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 10, price)
        exchange.handle("A", order, START_NS)
        feed.publish([connection])
        return set(connection.stale_quotes), set(connection.stale_books)

    assert told("top", 100) == ({"ABC"}, {"ABC"})
    for number in range(1, BOOK_LEVELS):
        assert told(f"level {number}", 100 - number) == (set(), {"ABC"})
    assert told("below all that is shown", 1) == (set(), set())
    assert told("new top", 101) == ({"ABC"}, {"ABC"})
    feed.joined(connection)
    assert connection.stale_quotes == connection.stale_books == {"ABC", "LOT", "NINE"}


def test_connections_have_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        server = ExchangeServer(_exchange())
        ours = [await _joined(server) for _ in range(CONNECTIONS_MAX)]
        assert len(server.connections) == CONNECTIONS_MAX
        one_more = await _joined(server)
        assert await _read_to_the_end(one_more) == []
        assert len(server.connections) == CONNECTIONS_MAX
        await server.close()
        for one in (*ours, one_more):
            one.close()

    _run(test)
    assert "too many connections" in caplog.text


def _damaged(path: Path) -> Iterator[BackgroundEvent]:
    for number in range(2 * LOOKAHEAD_EVENTS):
        yield BackgroundEvent(number, number, EventKind.CREATED, Side.BUY, 50, 1)
    raise ExchangeConfigError(f"{path}:3: not an order event")


def test_a_recording_that_is_damaged_ends_and_the_exchange_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    replay = ReplaySettings(path=Path("orders.csv"), symbol="ABC", speed=1e9, repeats=True)

    async def test() -> None:
        server = ExchangeServer(_exchange(), replay=replay, open_events=lambda: _damaged(replay.path))
        server.start()
        assert server.exchange.quote("ABC").bid_quantity == LOOKAHEAD_EVENTS
        ours = await _joined(server)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(ours, encode_all([Resume("one", "", 0)]))
        assert await loop.sock_recv(ours, 1)
        ours.close()
        await server.close()

    _run(test)
    assert "orders.csv:3" in caplog.text


def test_a_recording_that_was_exchanged_for_a_wrong_one_does_not_begin_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    replay = ReplaySettings(path=Path("orders.csv"), symbol="ABC", repeats=True)
    opened = 0

    def open_events() -> Iterator[BackgroundEvent]:
        nonlocal opened
        opened += 1
        if opened > 1:
            raise ExchangeConfigError("orders.csv:1: not an order event")
        return iter([BackgroundEvent(0, 1, EventKind.CREATED, Side.BUY, 50, 1)])

    async def test() -> None:
        server = ExchangeServer(_exchange(), replay=replay, open_events=open_events)
        server.start()
        while opened < 2:
            await asyncio.sleep(0)
        assert server.exchange.quote("ABC").bid_price is None
        await server.close()

    _run(test)
    assert "the recorded flow ends" in caplog.text
