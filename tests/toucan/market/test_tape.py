"""A line of the tape is told or counted, wherever somebody stands and whatever was lost on the way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from toucan.core.values import Side
from toucan.market.core.messages import FeedBeat, FeedWelcome, LineKind, TapeLine
from toucan.market.core.picture import MarketPicture
from toucan.market.core.tape import TOTAL_MODULUS, Place, Tape

from .feed import INSTRUMENTS

_WRITES = st.lists(st.tuples(st.sampled_from(LineKind), st.integers(1, 2**53)), max_size=40)


def _written(writes: list[tuple[LineKind, int]], kept_max: int) -> tuple[Tape, list[TapeLine]]:
    tape = Tape("X", kept_max)
    all_lines: list[TapeLine] = []
    for kind, quantity in writes:
        tape.write(kind, 5, 100, quantity, Side.BUY)
        all_lines += tape.since(Place(tape.end.number - 1)).lines
    return tape, all_lines


@given(_WRITES, st.integers(1, 50), st.integers(0, 45), st.none() | st.integers(0, 50))
def test_what_is_not_told_is_counted(
    writes: list[tuple[LineKind, int]], kept_max: int, begin: int, count_max: int | None
) -> None:
    tape, everything = _written(writes, kept_max)
    begin = min(begin, len(everything))
    place = Place(begin, everything[begin - 1].total if begin else 0)
    told = tape.since(place, count_max)
    missed, lines = everything[begin : begin + told.left_out], everything[begin + told.left_out :]
    assert list(told.lines) == lines
    assert told.left_out == len(missed)
    assert told.left_out_quantity == sum(one.quantity for one in missed if one.kind is LineKind.TRADE)
    assert told.place == tape.end
    assert len(told.lines) == min(
        len(everything) - begin, kept_max, len(everything) if count_max is None else count_max
    )
    assert tape.since(told.place).lines == ()


@given(_WRITES, st.data())
def test_whoever_follows_with_losses_knows_how_many_and_how_much(
    writes: list[tuple[LineKind, int]], data: st.DataObject
) -> None:
    _, everything = _written(writes, 1000)
    follower = Tape("X", data.draw(st.integers(1, 10)))
    place, counted, traded, seen = Place(), 0, 0, 0
    for line in everything:
        if data.draw(st.integers(0, 3)):
            assert follower.take(line)
            assert not follower.take(line), "a line is news once"
        if not data.draw(st.integers(0, 2)):
            told = follower.since(place)
            place = told.place
            counted, traded, seen = (
                counted + told.left_out,
                traded + told.left_out_quantity,
                seen + len(told.lines),
            )
            traded += sum(one.quantity for one in told.lines if one.kind is LineKind.TRADE)
    told = follower.since(place)
    counted, seen = counted + told.left_out, seen + len(told.lines)
    traded += told.left_out_quantity + sum(one.quantity for one in told.lines if one.kind is LineKind.TRADE)
    assert counted + seen == follower.end.number
    assert traded % TOTAL_MODULUS == follower.end.total


def test_sums_wrap_and_differences_do_not() -> None:
    tape = Tape("X", 1)
    for _ in range(1030):
        tape.write(LineKind.TRADE, 1, 1, 2**53 - 1)
    assert tape.end.total == 1030 * (2**53 - 1) - TOTAL_MODULUS
    told = tape.since(Place(1020, 1020 * (2**53 - 1) % TOTAL_MODULUS))
    assert (told.left_out, told.left_out_quantity) == (9, 9 * (2**53 - 1))


def test_a_place_ahead_of_the_tape_has_been_told_everything() -> None:
    tape = Tape("X")
    tape.write(LineKind.TRADE, 1, 1, 1)
    told = tape.since(Place(7, 7))
    assert (told.left_out, told.lines, told.place) == (0, (), Place(7, 7))


def test_a_picture_is_complete_with_the_first_beat_and_empty_in_another_life() -> None:
    picture = MarketPicture()
    line = TapeLine("AAPL", 5, LineKind.TRADE, 1, 10, 3, 20)
    assert picture.take(line) is None, "nothing is kept of what was not announced"
    assert picture.take(FeedWelcome("L", INSTRUMENTS)) is None
    assert not picture.is_complete
    assert picture.take(line) == "AAPL"
    assert picture.take(line) is None
    picture.take(FeedBeat(1))
    assert picture.is_complete
    picture.take(FeedWelcome("L", INSTRUMENTS))
    assert picture.places() == {"AAPL": 5}, "the same life goes on"
    picture.take(FeedWelcome("M", INSTRUMENTS))
    assert (picture.places(), picture.is_complete) == ({}, False)
    assert picture.take(TapeLine("NEW", 1, LineKind.TRADE, 1, 10, 3, 3)) is None
    assert set(picture.tapes) == {"AAPL", "MSFT"}
