"""Positions: the average-cost method by hand, busts and corrections, folding, snapshots."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from toucan.core.instruments import Instrument
from toucan.core.positions import (
    EXECUTIONS_MAX,
    FOLD_EXECUTIONS,
    Position,
    Positions,
    average_price_decimal,
    unrealised_profit,
)
from toucan.core.values import Side

BUY, SELL = Side.BUY, Side.SELL
WHERE = ("ACC1", "alice", "AAPL")


def stands(position: Position) -> tuple[Any, ...]:
    return position.quantity, position.average_price, position.realised


class Books:
    """One trader's trades in one symbol; each gets the next id and time."""

    def __init__(self) -> None:
        self.positions = Positions()
        self.count = 0

    def trade(self, side: Side, quantity: int, price: int) -> str:
        self.count += 1
        exec_id = f"x{self.count}"
        self.positions.apply_trade(*WHERE, side, quantity, price, exec_id, self.count)
        return exec_id

    @property
    def now(self) -> Position:
        return self.positions.position("ACC1", "AAPL")


@pytest.mark.parametrize(
    ("trades", "quantity", "average", "realised"),
    [
        ([], 0, None, 0),
        ([(BUY, 100, 50)], 100, 50, 0),
        ([(BUY, 100, 50), (BUY, 50, 56)], 150, 52, 0),
        ([(BUY, 100, 50), (SELL, 40, 55)], 60, 50, 200),
        ([(BUY, 100, 50), (SELL, 100, 49)], 0, None, -100),
        ([(BUY, 100, 50), (SELL, 150, 55)], -50, 55, 500),
        ([(SELL, 100, 50)], -100, 50, 0),
        ([(SELL, 100, 50), (BUY, 40, 45)], -60, 50, 200),
        ([(SELL, 100, 50), (BUY, 130, 45)], 30, 45, 500),
        ([(BUY, 10, 50), (SELL, 10, 60), (BUY, 10, 70)], 10, 70, 100),
        ([(BUY, 3, 33), (BUY, 1, 1)], 4, 25, 0),
    ],
)
def test_average_cost_by_hand(
    trades: list[tuple[Side, int, int]], quantity: int, average: int | None, realised: int
) -> None:
    books = Books()
    for trade in trades:
        books.trade(*trade)
    assert stands(books.now) == (quantity, average, realised)
    assert books.now.cost == quantity * (average or 0)
    assert not books.now.is_approximate


def test_average_price_of_thirds_stays_exact_through_reductions() -> None:
    books = Books()
    books.trade(BUY, 1, 50)
    books.trade(BUY, 2, 25)
    assert books.now.average_price == Fraction(100, 3)
    books.trade(SELL, 1, 40)
    assert books.now.average_price == Fraction(100, 3)
    assert (books.now.cost, books.now.realised) == (
        67,
        7,
    )  # 66.67 and 6.67: their difference, the cash, is 60
    books.trade(SELL, 2, 40)
    assert (books.now.cost, books.now.realised) == (0, 20)


def test_volume_counts_both_sides_and_trades_only() -> None:
    books = Books()
    books.trade(BUY, 100, 50)
    books.trade(SELL, 30, 50)
    books.positions.apply_adjustment(*WHERE, 500, 40, 9)
    assert (books.now.bought, books.now.sold, books.now.quantity) == (100, 30, 570)
    assert books.now.updated_ns == 9


def test_adjustment_is_like_a_trade_for_cost_and_profit() -> None:
    books = Books()
    books.positions.apply_adjustment(*WHERE, 100, 50, 1)
    assert stands(books.now) == (100, 50, 0)
    books.positions.apply_adjustment(*WHERE, -40, 55, 2)
    assert stands(books.now) == (60, 50, 200)


def test_unrealised_and_realised_together_are_exact() -> None:
    books = Books()
    books.trade(BUY, 3, 10)
    books.trade(BUY, 4, 11)
    books.trade(SELL, 2, 15)
    # Paid 74, received 30, five are left.
    assert unrealised_profit(books.now, 12) + books.now.realised == 5 * 12 - 74 + 30
    assert unrealised_profit(Positions().position("ACC1", "AAPL"), 12) == 0


def test_unrealised_profit_of_a_short_position() -> None:
    books = Books()
    books.trade(SELL, 10, 50)
    assert unrealised_profit(books.now, 45) == 50
    assert unrealised_profit(books.now, 55) == -50


def test_average_price_for_people_has_six_more_decimals() -> None:
    instrument = Instrument("AAPL", "USD", "SIM")
    books = Books()
    books.trade(BUY, 1, 5000)
    books.trade(BUY, 2, 2500)
    assert average_price_decimal(books.now, instrument) == Decimal("33.33333333")
    assert average_price_decimal(Positions().position("ACC1", "AAPL"), instrument) is None


def test_account_and_traders_have_their_own_books() -> None:
    positions = Positions()
    positions.apply_trade("ACC1", "alice", "AAPL", BUY, 100, 50, "a", 1)
    positions.apply_trade("ACC1", "bob", "AAPL", SELL, 100, 60, "b", 2)
    positions.apply_trade("ACC2", "alice", "AAPL", BUY, 7, 50, "c", 3)
    positions.apply_trade("ACC1", "alice", "MSFT", BUY, 8, 50, "d", 4)
    account = positions.position("ACC1", "AAPL")
    assert (account.quantity, account.realised, account.trader) == (0, 1000, None)
    bob = positions.position("ACC1", "AAPL", "bob")
    assert (*stands(bob), bob.trader) == (-100, 60, 0, "bob")
    assert positions.quantity("ACC1", "AAPL", "alice") == 100
    assert positions.quantity("ACC2", "AAPL") == 7
    assert positions.quantity("ACC9", "AAPL") == 0
    keys = [(one.account, one.trader, one.symbol) for one in positions]
    assert keys == [
        ("ACC1", None, "AAPL"), ("ACC1", None, "MSFT"), ("ACC2", None, "AAPL"),
        ("ACC1", "alice", "AAPL"), ("ACC1", "alice", "MSFT"), ("ACC1", "bob", "AAPL"), ("ACC2", "alice", "AAPL"),
    ]  # fmt: skip


def test_last_price_is_that_of_the_last_change() -> None:
    books = Books()
    assert books.positions.last_price("ACC1", "AAPL") == 0
    books.trade(BUY, 1, 50)
    books.positions.apply_adjustment(*WHERE, 1, 51, 2)
    assert books.positions.last_price("ACC1", "AAPL") == 51


# ---------------------------------------------------------------- busts and corrections


def test_bust_of_the_opening_trade_turns_the_history_over() -> None:
    books = Books()
    first = books.trade(BUY, 100, 50)
    books.trade(SELL, 40, 55)
    books.positions.apply_bust(*WHERE, BUY, 100, 50, first, 9)
    assert stands(books.now) == (-40, 55, 0)
    assert (books.now.bought, books.now.sold, books.now.updated_ns) == (0, 40, 9)


def test_bust_of_everything_leaves_nothing() -> None:
    books = Books()
    ids = [books.trade(BUY, 3, 10), books.trade(SELL, 5, 11)]
    books.positions.apply_bust(*WHERE, BUY, 3, 10, ids[0], 9)
    books.positions.apply_bust(*WHERE, SELL, 5, 11, ids[1], 9)
    now = books.now
    assert (now.quantity, now.cost, now.realised, now.bought, now.sold) == (0, 0, 0, 0, 0)


def test_correction_is_as_if_it_had_always_been_so() -> None:
    books = Books()
    first = books.trade(BUY, 100, 50)
    books.trade(SELL, 40, 55)
    books.positions.apply_correct(*WHERE, BUY, 100, 50, 80, 45, first, 9)
    assert stands(books.now) == (40, 45, 400)
    books.positions.apply_bust(*WHERE, BUY, 80, 45, first, 10)
    assert stands(books.now) == (-40, 55, 0)


def test_bust_far_back_among_many() -> None:
    books, expected = Books(), Books()
    for number in range(1000):
        side, quantity, price = (BUY, SELL)[number % 3 == 2], number % 7 + 1, 100 + number % 13
        exec_id = books.trade(side, quantity, price)
        if number == 333:
            busted, busted_id = (side, quantity, price), exec_id
        else:
            expected.trade(side, quantity, price)
    books.positions.apply_bust(*WHERE, *busted, busted_id, expected.count)
    assert books.now == expected.now


def test_many_busts_in_any_order_are_as_if_those_trades_never_were() -> None:
    books, expected = Books(), Books()
    busted = []
    for number in range(2000):
        trade = (BUY, SELL)[number % 3 == 2], number % 7 + 1, 100 + number % 13
        exec_id = books.trade(*trade)
        if number % 20 == 7:
            busted.append((trade, exec_id))
        else:
            expected.trade(*trade)
    for trade, exec_id in busted[50:] + busted[:50]:
        books.positions.apply_bust(*WHERE, *trade, exec_id, expected.count)
    assert books.positions.quantity("ACC1", "AAPL") == expected.now.quantity
    assert books.now == expected.now


# ---------------------------------------------------------------- folding


def filled(count: int) -> Books:
    books = Books()
    for number in range(count):
        books.trade(BUY, 10, 100 + number % 2)
    return books


def test_at_the_limit_nothing_is_folded() -> None:
    books = filled(EXECUTIONS_MAX)
    books.positions.apply_bust(*WHERE, BUY, 10, 100, "x1", 9)
    assert not books.now.is_approximate
    assert books.now.quantity == 10 * (EXECUTIONS_MAX - 1)


def test_beyond_the_limit_the_oldest_are_folded_and_sums_are_the_same() -> None:
    books = filled(EXECUTIONS_MAX + 1)
    assert books.now.quantity == 10 * (EXECUTIONS_MAX + 1)
    assert not books.now.is_approximate
    kept = books.positions.dump()["accounts"][0][2][0]
    assert len(kept) == EXECUTIONS_MAX + 1 - FOLD_EXECUTIONS
    assert kept[0] == f"x{FOLD_EXECUTIONS + 1}"
    # What is kept is still exact.
    books.positions.apply_bust(*WHERE, BUY, 10, 100, f"x{FOLD_EXECUTIONS + 1}", 9)
    assert not books.now.is_approximate


def test_memory_stays_bounded() -> None:
    books = filled(EXECUTIONS_MAX + 5 * FOLD_EXECUTIONS // 2)
    for _, dumped in (row[-2:] for row in books.positions.dump()["accounts"]):
        assert EXECUTIONS_MAX - FOLD_EXECUTIONS < len(dumped[0]) <= EXECUTIONS_MAX


def test_bust_of_a_folded_execution_is_exact_but_for_the_average() -> None:
    books = filled(EXECUTIONS_MAX + 1)
    before = books.now
    books.positions.apply_bust(*WHERE, BUY, 10, 100, "x1", 9)
    now = books.now
    assert now.is_approximate
    assert now.quantity == before.quantity - 10
    assert now.bought == before.bought - 10
    assert (
        now.realised - now.cost == before.realised - before.cost + 1000
    )  # the cash that was paid comes back
    books.trade(SELL, now.quantity, 150)
    assert not books.now.is_approximate
    assert books.now.realised == now.realised - now.cost + now.quantity * 150


def test_correction_of_a_folded_execution_is_exact_but_for_the_average() -> None:
    books = filled(EXECUTIONS_MAX + 1)
    before = books.now
    books.positions.apply_correct(*WHERE, BUY, 10, 100, 4, 90, "x1", 9)
    now = books.now
    assert now.is_approximate
    assert now.quantity == before.quantity - 6
    assert now.realised - now.cost == before.realised - before.cost + 1000 - 360


def test_execution_whose_order_was_split_is_taken_back_as_it_counts_now() -> None:
    books = Books()
    first = books.trade(BUY, 10, 100)
    books.positions.apply_adjustment(*WHERE, 10, 0, 2)  # two for one
    assert stands(books.now) == (20, 50, 0)
    books.positions.apply_bust(*WHERE, BUY, 20, 50, first, 3)
    assert (books.now.quantity, books.now.realised) == (0, 0)


# ---------------------------------------------------------------- snapshots


def test_loaded_books_go_on_alike_and_dump_alike() -> None:
    books = filled(EXECUTIONS_MAX + 700)
    books.trade(SELL, 333, 77)
    packed = msgspec.msgpack.encode(books.positions.dump())
    loaded = Positions.load(msgspec.msgpack.decode(packed))
    assert list(loaded) == list(books.positions)
    for positions in (books.positions, loaded):
        positions.apply_bust(*WHERE, BUY, 10, 101, "x5000", 1)
        positions.apply_bust(*WHERE, BUY, 10, 100, "x1", 2)
        for number in range(FOLD_EXECUTIONS):
            positions.apply_trade(*WHERE, BUY, 3, 99, f"y{number}", 3)
    assert list(loaded) == list(books.positions)
    assert loaded.dump() == books.positions.dump()


def test_loaded_book_can_be_folded() -> None:
    books = filled(EXECUTIONS_MAX)
    loaded = Positions.load(books.positions.dump())
    for positions in (books.positions, loaded):
        positions.apply_trade(*WHERE, BUY, 3, 99, "one more", 3)
    assert loaded.dump() == books.positions.dump()


def test_numbers_beyond_64_bits_survive_a_snapshot() -> None:
    books = Books()
    for _ in range(3000):
        books.trade(BUY, 2**53 - 1, 2**53 - 1)
    packed = msgspec.msgpack.encode(books.positions.dump())
    assert list(Positions.load(msgspec.msgpack.decode(packed))) == list(books.positions)
