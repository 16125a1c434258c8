"""The instrument table: what is read, and how mistakes are told."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from toucan.core.instruments import Instrument, Session
from toucan.errors import InvalidSettings
from toucan.instrument_file import (
    DECIMALS_MAX,
    INSTRUMENTS_MAX,
    SYMBOL_CHARACTERS_MAX,
    InstrumentFileError,
    load_instruments,
)

GOOD = """\
# what is traded
[[instrument]]
symbol = "ABC"
currency = "USD"
venue = "exchange"

[[instrument]]
symbol = "BTC-USD"
currency = "USD"
venue = "exchange"
price_decimals = 2
quantity_decimals = 8
tick = 50
lot = 1000
multiplier = 1
description = "bitcoin"
[instrument.session]
zone = "America/New_York"
open = 09:30:00
close = "16:00:00"
weekdays = [0, 1, 2, 3, 4]
holidays = [2024-12-25]
"""


def _load(folder: Path, text: str) -> tuple[Instrument, ...]:
    path = folder / "instruments.toml"
    path.write_text(text, encoding="utf-8")
    return load_instruments(path)


def test_a_table_is_read_in_its_order_with_defaults(tmp_path: Path) -> None:
    abc, bitcoin = _load(tmp_path, GOOD)
    assert abc == Instrument(symbol="ABC", currency="USD", venue="exchange")
    assert (bitcoin.tick, bitcoin.lot, bitcoin.quantity_decimals) == (50, 1000, 8)
    assert bitcoin.session == Session(
        zone="America/New_York",
        open=datetime.time(9, 30),
        close=datetime.time(16),
        weekdays=(0, 1, 2, 3, 4),
        holidays=(datetime.date(2024, 12, 25),),
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tick = 50", "tik = 50", r':13: instrument BTC-USD: unknown key "tik"; did you mean "tick"\?'),
        ("tick = 50", 'tick = "50"', r":13: instrument BTC-USD: tick: Expected int, got str"),
        ("tick = 50", "tick = 0", r":13: instrument BTC-USD: tick must be 1 or more"),
        ("lot = 1000", "lot = -1", r":14: .*lot must be"),
        ("multiplier = 1", "multiplier = 9007199254740993", r":15: .*multiplier must be"),
        ("price_decimals = 2", f"price_decimals = {DECIMALS_MAX + 1}", r":11: .*price_decimals must be 0 to"),
        ('currency = "USD"\nvenue = "exchange"\n\n', 'venue = "exchange"\n\n', r":2: instrument ABC: .*missing required field currency"),
        ('symbol = "BTC-USD"', 'symbol = "ABC"', r":8: instrument ABC: the symbol 'ABC' is there twice"),
        ('symbol = "BTC-USD"', 'symbol = "B C"', r":8: .*a symbol is a word"),
        ('symbol = "BTC-USD"', 'symbol = ""', r":8: .*a symbol is a word"),
        ('symbol = "BTC-USD"', f'symbol = "{"x" * (SYMBOL_CHARACTERS_MAX + 1)}"', r":8: .*a symbol is a word"),
        ('currency = "USD"\nvenue = "exchange"\nprice', 'currency = "USD"\nvenue = ""\nprice', r":10: .*venue is empty"),
        ('zone = "America/New_York"', 'zone = "America/Nowhere"', r":18: .*is no time zone"),
        ('zone = "America/New_York"', 'zone = "../../etc/passwd"', r":18: .*is no time zone"),
        ("weekdays = [0, 1, 2, 3, 4]", "weekdays = []", r":21: .*weekdays are numbers"),
        ("weekdays = [0, 1, 2, 3, 4]", "weekdays = [7]", r":21: .*weekdays are numbers"),
        ("open = 09:30:00", "open = 09:30:00\nbreak = 12:00:00", r":20: .*unknown key \"break\""),
        ("open = 09:30:00", "open = 25", r":19: .*session.open: Expected time, got int"),
        ("open = 09:30:00", 'open = "09:30:00+02:00"', r":19: .*without an offset"),
        ("# what", "title = 1 # what", r':1: unknown key "title"; known: instrument'),
        ("[[instrument]]\nsymbol = \"ABC\"", "[[instrumnt]]\nsymbol = \"ABC\"", r'unknown key "instrumnt"; did you mean "instrument"'),
        ("tick = 50", "tick = ", r":13: not valid TOML"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_line_and_what_to_write(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    with pytest.raises(InstrumentFileError, match=message) as caught:
        _load(tmp_path, GOOD.replace(old, new))
    assert str(caught.value).startswith(str(tmp_path / "instruments.toml"))
    assert isinstance(caught.value, InvalidSettings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 instruments"),
        ("instrument = 3", "write \\[\\[instrument\\]\\] with double brackets"),
        ("[instrument]\nsymbol = 'x'", "double brackets"),
        ("instrument = [1]", "double brackets"),
    ],
)
def test_there_must_be_a_list_of_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InstrumentFileError, match=message):
        _load(tmp_path, text)


def test_a_list_that_is_written_inline_is_read_too(tmp_path: Path) -> None:
    (one,) = _load(tmp_path, 'instrument = [{symbol = "ABC", currency = "EUR", venue = "x"}]')
    assert one.currency == "EUR"
    with pytest.raises(InstrumentFileError, match=":1: instrument ABC"):
        _load(tmp_path, 'instrument = [{symbol = "ABC", currency = "EUR", venue = ""}]')


def test_there_is_a_most(tmp_path: Path) -> None:
    def table(count: int) -> str:
        return "".join(
            f'[[instrument]]\nsymbol = "S{number}"\ncurrency = "USD"\nvenue = "x"\n'
            for number in range(count)
        )

    assert len(_load(tmp_path, table(100))) == 100
    with pytest.raises(InstrumentFileError, match=f"1 to {INSTRUMENTS_MAX}"):
        _load(tmp_path, table(INSTRUMENTS_MAX + 1))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InstrumentFileError, match="cannot read"):
        load_instruments(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff")
    with pytest.raises(InstrumentFileError, match="not UTF-8"):
        load_instruments(tmp_path / "binary.toml")
