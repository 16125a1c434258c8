"""Reads the instrument table from a TOML file: one ``[[instrument]]`` for each, with the fields of :class:`~toucan.core.instruments.Instrument`.

::

    [[instrument]]
    symbol = "BTC-USD"
    currency = "USD"
    venue = "exchange"
    price_decimals = 2
    quantity_decimals = 8
    [instrument.session]
    zone = "America/New_York"
    open = 09:30:00
    close = 16:00:00
    weekdays = [0, 1, 2, 3, 4]

Loading is strict, since a misspelt key that is silently ignored trades on another grid than its operator believes: whatever is not understood is an
:class:`InstrumentFileError` that names file, line and what was probably meant. The engine and the exchange read the same file.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from toucan.core.instruments import NUMBER_MAX, Instrument, Session
from toucan.errors import InvalidSettings

__all__ = [
    "DECIMALS_MAX",
    "INSTRUMENTS_MAX",
    "SYMBOL_CHARACTERS_MAX",
    "InstrumentFileError",
    "load_instruments",
]

#: With more decimals than this one unit of the largest number would be less than a thousandth of the currency.
DECIMALS_MAX = 12

#: A symbol is typed by people and is part of every order.
SYMBOL_CHARACTERS_MAX = 32

#: Each has a book and is told to every client that connects.
INSTRUMENTS_MAX = 10_000

_HEADER = re.compile(r"\s*\[\[\s*instrument\s*\]\]")


class InstrumentFileError(InvalidSettings):
    """The table cannot be read or used; the message names file and line, and says what to write."""


def load_instruments(path: Path) -> tuple[Instrument, ...]:
    """The instruments of a file, in its order. Raises :class:`InstrumentFileError`."""
    text = _read(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise InstrumentFileError(f"{path}:{line[1] if line else 1}: not valid TOML: {error}") from None
    tables = data.pop("instrument", [])
    if data:
        raise InstrumentFileError(f"{path}:1: unknown {_unknown(next(iter(data)), ['instrument'])}")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InstrumentFileError(
            f"{path}:1: instruments are a list of tables; write [[instrument]] with double brackets"
        )
    if not 0 < len(tables) <= INSTRUMENTS_MAX:
        raise InstrumentFileError(
            f"{path}:1: {len(tables)} instruments; there must be 1 to {INSTRUMENTS_MAX} tables [[instrument]]"
        )
    return _convert_all(path, text, tables)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InstrumentFileError(f"cannot read the instruments {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InstrumentFileError(f"{path}: the instruments are not UTF-8 text") from None


def _convert_all(path: Path, text: str, tables: list[dict[str, Any]]) -> tuple[Instrument, ...]:
    instruments: dict[str, Instrument] = {}
    for index, table in enumerate(tables):
        try:
            instrument = _convert(table)
            if instrument.symbol in instruments:
                raise _Fault("symbol", f"the symbol {instrument.symbol!r} is there twice")
        except _Fault as fault:
            line = _line_of(text, index, fault.key)
            raise InstrumentFileError(
                f"{path}:{line}: instrument {table.get('symbol', index + 1)}: {fault}"
            ) from None
        instruments[instrument.symbol] = instrument
    return tuple(instruments.values())


class _Fault(Exception):
    """What is wrong with one table, and at which of its keys."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def _convert(table: dict[str, Any]) -> Instrument:
    _check_keys(table, Instrument.__struct_fields__)
    session = table.get("session")
    if isinstance(session, dict):
        _check_keys(session, Session.__struct_fields__)
    try:
        instrument = msgspec.convert(table, Instrument)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        names = re.findall(r"\.([^.\[`]+)", place)
        found = re.search(r"missing required field `(\w+)`", message)
        key = names[-1] if names else found[1] if found else ""
        sentence = message.replace("`", "").replace("Object", "the table")
        raise _Fault(key, f"{'.'.join(names)}: {sentence}" if names else sentence) from None
    _check_values(instrument)
    _check_session(instrument.session)
    return instrument


def _check_keys(table: dict[str, Any], known: Iterable[str]) -> None:
    for key in table:
        if key not in known:
            raise _Fault(key, f"unknown {_unknown(key, list(known))}")


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(known)}"
    return f'key "{key}"; {hint}'


def _check_values(instrument: Instrument) -> None:
    symbol = instrument.symbol
    is_word = symbol.isprintable() and not any(character.isspace() for character in symbol)
    if not 0 < len(symbol) <= SYMBOL_CHARACTERS_MAX or not is_word:
        raise _Fault("symbol", f"a symbol is a word of 1 to {SYMBOL_CHARACTERS_MAX} characters")
    for key in ("currency", "venue"):
        if not getattr(instrument, key):
            raise _Fault(key, f"{key} is empty")
    for key in ("price_decimals", "quantity_decimals"):
        if not 0 <= getattr(instrument, key) <= DECIMALS_MAX:
            raise _Fault(key, f"{key} must be 0 to {DECIMALS_MAX}")
    for key in ("tick", "lot", "multiplier"):
        if not 0 < getattr(instrument, key) <= NUMBER_MAX:
            raise _Fault(key, f"{key} must be 1 or more, in the smallest unit")


def _check_session(session: Session) -> None:
    try:
        ZoneInfo(session.zone)
    except (OSError, ValueError, LookupError):
        raise _Fault(
            "zone", f"{session.zone!r} is no time zone; write one of the tz database's, such as Europe/Paris"
        ) from None
    if not session.weekdays or not set(session.weekdays) <= set(range(7)):
        raise _Fault("weekdays", "weekdays are numbers from 0, which is Monday, to 6; at least one")
    for key in ("open", "close"):
        if getattr(session, key).tzinfo is not None:
            raise _Fault(key, f"{key} is a time in the session's own zone, without an offset")
    try:
        session.ends_after_ns(0)
    except ValueError as error:
        raise _Fault("holidays", str(error)) from None


def _line_of(text: str, index: int, key: str) -> int:
    """Where a key of a table stands, or else the table. What looks like a header inside a string of several lines can mislead it."""
    lines = text.splitlines()
    headers = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    if index >= len(headers):
        return 1  # written as an inline list
    end = headers[index + 1] if index + 1 < len(headers) else len(lines)
    pattern = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=") if key else None
    for number in range(headers[index], end):
        if pattern is not None and pattern.match(lines[number]):
            return number + 1
    return headers[index] + 1
