"""Reads recorded order events from a CSV file, plain or compressed (``.gz``), for :mod:`toucan.exchange.core.background`.

The columns are those of the recorder of the package ob-analytics, in any order, others are ignored: ``id``, ``price`` and ``volume`` (decimal
numbers; the volume is what is left), ``action`` (created, changed, deleted), ``direction`` (bid, ask), and the time in ms since the epoch:
``exchange_timestamp``, or where that is missing ``timestamp``.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path

from toucan.core.instruments import NUMBER_MAX, Instrument
from toucan.core.values import Side
from toucan.exchange.core.background import BackgroundEvent, EventKind
from toucan.exchange.errors import ExchangeConfigError

__all__ = ["read_events"]

_KINDS = {"created": EventKind.CREATED, "changed": EventKind.CHANGED, "deleted": EventKind.DELETED}
_SIDES = {"bid": Side.BUY, "ask": Side.SELL}
_TIMES = ("exchange_timestamp", "timestamp")
_NS_PER_MS = 1_000_000


def read_events(path: Path, instrument: Instrument) -> Iterator[BackgroundEvent]:
    """Gives the file's events one at a time; the first one is looked at now, so that a wrong file is noticed at once.

    A price or volume that does not lie on the instrument's grid is given as 0, which cannot be traded: the flow counts it. Raises
    :class:`ExchangeConfigError`, also later, for lines that are no events.
    """
    events = _events(path, instrument)
    first = next(events, None)
    if first is None:
        raise ExchangeConfigError(f"the recording {path} has no events")
    return _chained(first, events)


def _chained(first: BackgroundEvent, others: Iterator[BackgroundEvent]) -> Iterator[BackgroundEvent]:
    yield first
    yield from others


def _events(path: Path, instrument: Instrument) -> Iterator[BackgroundEvent]:
    line = 1
    try:
        with _opened(path) as text:
            rows = csv.reader(text)
            event_of = _parser(next(rows, []), instrument)
            for row in rows:
                line = rows.line_num
                yield event_of(row)
    except (OSError, EOFError) as error:
        raise ExchangeConfigError(f"cannot read the recording {path}: {error}") from None
    except (ValueError, LookupError, csv.Error) as error:
        raise ExchangeConfigError(f"{path}:{line}: not an order event: {error}") from None


def _opened(path: Path) -> io.TextIOWrapper:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path, "rb"), encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _parser(header: list[str], instrument: Instrument) -> Callable[[list[str]], BackgroundEvent]:
    time = next((name for name in _TIMES if name in header), _TIMES[0])
    missing = {"id", "price", "volume", "action", "direction", time} - set(header)
    if missing:
        raise ValueError(f"the first line must name the columns; missing: {', '.join(sorted(missing))}")
    at, event_id, price, volume, action, direction = (
        header.index(name) for name in (time, "id", "price", "volume", "action", "direction")
    )
    price_decimals, quantity_decimals = instrument.price_decimals, instrument.quantity_decimals

    def event_of(row: list[str]) -> BackgroundEvent:
        return BackgroundEvent(
            at_ns=int(row[at]) * _NS_PER_MS,
            event_id=int(row[event_id]),
            kind=_KINDS[row[action]],
            side=_SIDES[row[direction]],
            price=_scaled(row[price], price_decimals),
            volume=_scaled(row[volume], quantity_decimals),
        )

    return event_of


def _scaled(text: str, decimals: int) -> int:
    try:
        scaled = Decimal(text).scaleb(decimals)
    except InvalidOperation:
        raise ValueError(f"{text!r} is no number") from None
    if not (scaled.is_finite() and 0 <= scaled <= NUMBER_MAX):
        return 0
    whole = int(scaled)
    return whole if whole == scaled else 0
