"""What the exchange publishes is what its whole book and all its trades come to, whatever firms and operators do."""

from __future__ import annotations

from collections import Counter, defaultdict
from random import Random

import pytest
from tests.toucan.exchange.script import INSTRUMENTS, START_NS
from tests.toucan.exchange.test_matching import (
    Comparison,
    Desk,
    _long_course,
    _operate_and_check,
    _with_operations,
)

from toucan.core.values import ExecType, OrderType, Side, TimeInForce
from toucan.core.venue_messages import Level
from toucan.exchange.market_data import MarketDataFeed
from toucan.market.core.messages import LineKind
from toucan.market.core.tape import Place
from toucan.market.limits import DEPTH_LEVELS


def _naive_depth(desk: Desk, side: Side) -> tuple[Level, ...]:
    """Every resting order looked at, one by one."""
    shown: dict[int, int] = defaultdict(int)
    orders: Counter[int] = Counter()
    for firm in "AB":
        for order in desk.exchange.firm(firm).open_orders.values():
            if order.is_resting and order.side is side and order.price is not None:
                shown[order.price] += order.shown
                orders[order.price] += 1
    prices = sorted(shown, reverse=side is Side.BUY)[:DEPTH_LEVELS]
    return tuple(Level(price, shown[price], orders[price]) for price in prices)


@pytest.mark.parametrize("seed", range(12))
def test_depth_is_that_of_the_naive_book(seed: int) -> None:
    comparison = Comparison()
    feed = MarketDataFeed(comparison.desk.exchange)
    for number, action in enumerate(_long_course(Random(seed), 250)):
        comparison.do(action)
        if number % 3 == 0:
            feed.publish([])
            book = feed.book("ABC")
            assert book.bids == _naive_depth(comparison.desk, Side.BUY)
            assert book.asks == _naive_depth(comparison.desk, Side.SELL)
            pairs = [(level.price, level.quantity) for level in (*book.bids, *book.asks)]
            assert pairs == [
                *comparison.naive.depth(True)[:DEPTH_LEVELS],
                *comparison.naive.depth(False)[:DEPTH_LEVELS],
            ]
    tape = feed.tape("ABC").since(Place()).lines
    assert [(line.quantity, line.price) for line in tape] == [
        (quantity, price) for _, _, quantity, price in comparison.naive.trades
    ]
    assert [line.number for line in tape] == list(range(1, len(tape) + 1))
    assert tape[-1].total == sum(line.quantity for line in tape)


@pytest.mark.parametrize("seed", range(8))
def test_the_tape_tells_busts_and_corrections_of_the_trade_that_they_are_about(seed: int) -> None:
    chance = Random(seed)
    desk = _operate_and_check(_with_operations(chance, _long_course(chance, 250)))
    tape = desk.exchange.tape("ABC")
    assert len(tape) == tape.end.number, "all of it is kept"
    lines = {line.number: line for line in tape.since(Place()).lines}
    by_exec_id: dict[str, tuple[int, int | None]] = {}
    told: list[tuple[str, int, int | None]] = []
    for report in desk.reports:
        if report.kind is ExecType.TRADE:
            by_exec_id[report.exec_id] = report.last_quantity, report.last_price
        elif report.kind in (ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT):
            told.append((report.exec_ref_id, report.last_quantity, report.last_price))
    changes = [line for line in lines.values() if line.kind is not LineKind.TRADE]
    assert changes
    # Each is told to both sides, and once to everybody else.
    assert [(line.quantity, line.price) for line in changes] == [one[1:] for one in told[::2]]
    for line, (exec_id, _, _) in zip(changes, told[::2], strict=True):
        first = lines[line.of]
        assert first.kind is LineKind.TRADE
        assert (first.quantity, first.price) == by_exec_id[exec_id]
    made = sum(line.quantity for line in lines.values() if line.kind is LineKind.TRADE)
    assert tape.end.total == made, "what was busted was traded all the same"


def test_the_aggressor_is_who_came_and_nobody_in_an_uncross() -> None:
    desk = Desk()
    assert desk.exchange.symbols() == [one.symbol for one in INSTRUMENTS]
    order = {"action": "new", "firm": "A", "quantity": 10, "price": 100, "stop_price": None}
    order |= {
        "type": OrderType.LIMIT,
        "time_in_force": TimeInForce.GTC,
        "max_floor": None,
        "post_only": False,
    }
    desk.new({**order, "side": Side.SELL})
    desk.new({**order, "side": Side.BUY})
    desk.new({**order, "side": Side.BUY})
    desk.new({**order, "side": Side.SELL})
    desk.operator.halt("ABC", START_NS)
    desk.new({**order, "side": Side.BUY})
    desk.new({**order, "side": Side.SELL})
    desk.operator.resume("ABC", START_NS)
    lines = desk.exchange.tape("ABC").since(Place()).lines
    assert [line.aggressor for line in lines] == [Side.BUY, Side.SELL, None]


@pytest.mark.parametrize("seed", range(4))
def test_no_more_than_the_named_number_of_levels_is_told(seed: int) -> None:
    chance, desk = Random(seed), Desk()
    feed = MarketDataFeed(desk.exchange)
    fields = {"action": "new", "type": OrderType.LIMIT, "time_in_force": TimeInForce.GTC, "stop_price": None}
    for _ in range(300):
        side = chance.choice(tuple(Side))
        price = chance.randint(950, 1005) if side is Side.BUY else chance.randint(995, 1050)
        quantity = chance.randint(1, 20)
        floor = chance.choice((None, chance.randint(1, quantity)))
        desk.new(
            {
                **fields,
                "firm": chance.choice("AB"),
                "side": side,
                "price": price,
                "quantity": quantity,
                "max_floor": floor,
                "post_only": False,
            }
        )
        feed.publish([])
        assert feed.book("ABC").bids == _naive_depth(desk, Side.BUY)
        assert feed.book("ABC").asks == _naive_depth(desk, Side.SELL)
    assert len(feed.book("ABC").bids) == len(feed.book("ABC").asks) == DEPTH_LEVELS
