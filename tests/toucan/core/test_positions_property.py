"""Positions against a naive recomputation of the whole corrected history with Fractions, whatever is busted and corrected when."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toucan.core import positions as module
from toucan.core.positions import COST_DENOMINATOR_BITS_MAX, Position, Positions, unrealised_profit
from toucan.core.values import Side

TRADERS = ("alice", "bob")


class Naive:
    """The average-cost method as a book would print it."""

    def __init__(self, executions: list[tuple[int, int, bool]]) -> None:
        self.quantity = 0
        self.average = Fraction(0)
        self.realised = Fraction(0)
        self.bought = self.sold = 0
        self.bits = 0
        for signed, price, is_volume in executions:
            self.take(signed, price)
            self.bought += max(signed, 0) * is_volume
            self.sold += max(-signed, 0) * is_volume
            self.bits = max(self.bits, (self.average * self.quantity).denominator.bit_length())

    def take(self, signed: int, price: int) -> None:
        if self.quantity * signed < 0:
            closed = min(abs(signed), abs(self.quantity)) * (1 if self.quantity > 0 else -1)
            self.realised += closed * (price - self.average)
            self.quantity -= closed
            signed += closed
        if signed:
            self.average = (self.average * self.quantity + signed * price) / (self.quantity + signed)
            self.quantity += signed


#: Rounding happens at 2^-192 of a unit, at most once for each execution.
EPSILON = Fraction(1, 2**150)


def assert_equal(found: Position, naive: Naive) -> None:
    cost = naive.average * naive.quantity
    assert found.quantity == naive.quantity
    assert (found.bought, found.sold) == (naive.bought, naive.sold)
    assert not found.is_approximate
    # Never rounded: the cash, and with it the whole profit at any price.
    assert unrealised_profit(found, 7) + found.realised == naive.quantity * 7 - cost + naive.realised
    assert abs(found.cost - cost) <= Fraction(1, 2) + EPSILON
    if naive.quantity == 0:
        assert found.average_price is None
        assert found.realised == naive.realised
        return
    assert found.average_price is not None
    assert abs(found.average_price - naive.average) <= EPSILON
    if naive.bits <= COST_DENOMINATOR_BITS_MAX:
        assert found.average_price == naive.average


small = st.integers(1, 40)
large = st.integers(1, 2**53 - 1)
amount = small | small | large
action = st.one_of(
    st.tuples(st.just("trade"), st.sampled_from(TRADERS), st.sampled_from(Side), amount, amount),
    st.tuples(st.just("trade"), st.sampled_from(TRADERS), st.sampled_from(Side), small, small),
    st.tuples(st.just("adjust"), st.sampled_from(TRADERS), st.integers(-50, 50), st.integers(0, 50)),
    st.tuples(st.just("bust"), st.integers(0, 10**6)),
    st.tuples(st.just("correct"), st.integers(0, 10**6), small, small),
)


class History:
    """What was done, as it counts now, and the books that were told one after the other."""

    def __init__(self) -> None:
        self.positions = Positions()
        #: Trader, signed quantity, price, whether it is volume.
        self.rows: list[tuple[str, int, int, bool]] = []

    def do(self, step: tuple[Any, ...]) -> None:
        kind, *rest = step
        getattr(self, kind)(*rest)

    def trade(self, trader: str, side: Side, quantity: int, price: int) -> None:
        self.positions.apply_trade("A", trader, "S", side, quantity, price, f"x{len(self.rows)}", 1)
        self.rows.append((trader, side.sign * quantity, price, True))

    def adjust(self, trader: str, quantity: int, price: int) -> None:
        self.positions.apply_adjustment("A", trader, "S", quantity, price, 1)
        self.rows.append((trader, quantity, price, False))

    def _pick(self, number: int) -> int | None:
        there = [at for at, (_, signed, _, is_volume) in enumerate(self.rows) if is_volume and signed]
        return there[number % len(there)] if there else None

    def bust(self, number: int) -> None:
        at = self._pick(number)
        if at is None:
            return
        trader, signed, price, _ = self.rows[at]
        side = Side.BUY if signed > 0 else Side.SELL
        self.positions.apply_bust("A", trader, "S", side, abs(signed), price, f"x{at}", 1)
        self.rows[at] = (trader, 0, price, True)

    def correct(self, number: int, quantity: int, price: int) -> None:
        at = self._pick(number)
        if at is None:
            return
        trader, signed, old_price, _ = self.rows[at]
        side = Side.BUY if signed > 0 else Side.SELL
        self.positions.apply_correct(
            "A", trader, "S", side, abs(signed), old_price, quantity, price, f"x{at}", 1
        )
        self.rows[at] = (trader, side.sign * quantity, price, True)

    def check(self) -> None:
        assert_equal(self.positions.position("A", "S"), Naive([row[1:] for row in self.rows]))
        for trader in TRADERS:
            own = [row[1:] for row in self.rows if row[0] == trader]
            assert_equal(self.positions.position("A", "S", trader), Naive(own))


@pytest.mark.parametrize("checkpoint", [3, module.CHECKPOINT_EXECUTIONS])
@settings(max_examples=100, deadline=None)
@given(steps=st.lists(action, max_size=60))
def test_books_equal_a_recomputation_of_the_corrected_history(
    checkpoint: int, steps: list[tuple[Any, ...]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHECKPOINT_EXECUTIONS", checkpoint)
        history = History()
        for step in steps:
            history.do(step)
        history.check()


@settings(max_examples=60, deadline=None)
@given(st.lists(action, max_size=60), st.integers(0, 60))
def test_a_snapshot_in_between_changes_nothing(steps: list[tuple[Any, ...]], at: int) -> None:
    history = History()
    for number, step in enumerate(steps):
        if number == at:
            history.positions = Positions.load(history.positions.dump())
        history.do(step)
    history.check()
    straight = History()
    for step in steps:
        straight.do(step)
    assert straight.positions.dump() == history.positions.dump()


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(action, max_size=80))
def test_with_folding_quantity_cash_and_volume_stay_exact(steps: list[tuple[Any, ...]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "EXECUTIONS_MAX", 8)
        patch.setattr(module, "FOLD_EXECUTIONS", 4)
        patch.setattr(module, "CHECKPOINT_EXECUTIONS", 2)
        history = History()
        for step in steps:
            history.do(step)
            naive = Naive([row[1:] for row in history.rows])
            found = history.positions.position("A", "S")
            assert (found.quantity, found.bought, found.sold) == (naive.quantity, naive.bought, naive.sold)
            whole = naive.quantity * 7 - naive.average * naive.quantity + naive.realised
            assert unrealised_profit(found, 7) + found.realised == whole
            if not found.is_approximate:
                assert_equal(found, naive)
