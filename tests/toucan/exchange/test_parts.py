"""Parts of the exchange's core by themselves: sessions, the uncross, logs of reports, the agenda."""

from __future__ import annotations

import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toucan.core.instruments import Instrument, Session
from toucan.core.values import ExecType, OrderType, Side, TimeInForce
from toucan.core.venue_messages import NewOrder, Report, Resume, ResumeEnd, Welcome
from toucan.exchange.core.calendar import session_span
from toucan.exchange.core.exchange import Exchange
from toucan.exchange.core.firms import ReportLog
from toucan.exchange.core.uncross import equilibrium

from .script import INSTRUMENTS, START_NS

RELAXED = settings(deadline=None)
_NS = 1_000_000_000
_HOUR_NS = 3600 * _NS


# ---------------------------------------------------------------- sessions


def _at(text: str, zone: str = "UTC") -> int:
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * _NS


_TIME = datetime.time
SESSIONS = {
    "around the clock": Session(),
    "around the clock from five": Session(zone="America/Chicago", open=_TIME(17), close=_TIME(17), weekdays=(0, 1, 2, 3, 4)),
    "over noon": Session(zone="Europe/Berlin", open=_TIME(9), close=_TIME(17, 30), weekdays=(0, 1, 2, 3, 4)),
    "over midnight": Session(zone="Asia/Tokyo", open=_TIME(22), close=_TIME(5), weekdays=(1, 2, 3, 4, 5)),
    "until midnight": Session(open=_TIME(8), close=_TIME(0)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "now", "opens", "closes"),
    [
        ("around the clock", "2024-01-03T12:00", "2024-01-03T00:00", "2024-01-04T00:00"),
        ("around the clock from five", "2024-01-03T17:00", "2024-01-03T17:00", "2024-01-04T17:00"),
        ("around the clock from five", "2024-01-05T18:00", "2024-01-07T17:00", "2024-01-08T17:00"),
        ("over noon", "2024-01-03T09:00", "2024-01-03T09:00", "2024-01-03T17:30"),
        ("over noon", "2024-01-03T17:30", "2024-01-04T09:00", "2024-01-04T17:30"),
        ("over noon", "2024-01-05T20:00", "2024-01-08T09:00", "2024-01-08T17:30"),
        # The night of the change to summer time: still nine o'clock there.
        ("over noon", "2024-03-29T20:00", "2024-04-01T09:00", "2024-04-01T17:30"),
        ("over midnight", "2024-01-03T23:00", "2024-01-03T22:00", "2024-01-04T05:00"),
        ("over midnight", "2024-01-04T04:59", "2024-01-03T22:00", "2024-01-04T05:00"),
        ("over midnight", "2024-01-04T05:00", "2024-01-04T22:00", "2024-01-05T05:00"),
        ("until midnight", "2024-01-03T07:00", "2024-01-03T08:00", "2024-01-04T00:00"),
        ("until midnight", "2024-01-03T23:59", "2024-01-03T08:00", "2024-01-04T00:00"),
    ],
)
def test_the_session_that_is_on_or_the_next_one(name: str, now: str, opens: str, closes: str) -> None:
    session = SESSIONS[name]
    span = session_span(session, _at(now, session.zone))
    assert (span.opens_ns, span.closes_ns) == (_at(opens, session.zone), _at(closes, session.zone))
    assert span.is_open(_at(now, session.zone)) is (_at(opens, session.zone) <= _at(now, session.zone))


@given(st.sampled_from(sorted(SESSIONS)), st.integers(_at("2020-01-01"), _at("2030-01-01")))
@RELAXED
def test_sessions_follow_each_other_and_never_overlap(name: str, now_ns: int) -> None:
    spans = [session_span(SESSIONS[name], now_ns)]
    for _ in range(10):
        spans.append(session_span(SESSIONS[name], spans[-1].closes_ns))
    assert now_ns < spans[0].closes_ns
    for one, following in pairwise(spans):
        assert one.opens_ns < one.closes_ns <= following.opens_ns
        assert session_span(SESSIONS[name], one.closes_ns - 1) == one


def test_markets_open_and_close_by_themselves_over_years() -> None:
    """One step at a time: the agenda never asks for a time that has passed, and never forgets a market."""
    instruments = [
        Instrument(symbol=name, currency="USD", venue="x", session=session)
        for name, session in SESSIONS.items()
    ]
    exchange = Exchange(instruments, life="L", now_ns=START_NS)
    for _ in range(2000):
        at_ns = exchange.next_at_ns()
        assert at_ns is not None
        assert at_ns > exchange.now_ns
        assert exchange.advance(at_ns) == []
        for market in exchange.markets.values():
            span = session_span(market.instrument.session, at_ns)
            assert (market.span, market.is_closed) == (span, not span.is_open(at_ns))
    assert exchange.now_ns > START_NS + 365 * 24 * _HOUR_NS


def test_time_that_jumps_over_days_goes_through_each_of_them() -> None:
    exchange = Exchange(INSTRUMENTS, life="L", now_ns=START_NS)
    order = NewOrder("x", "a", "NINE", Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 10, 50)
    exchange.handle("A", order, START_NS)
    told = exchange.advance(START_NS + 48 * _HOUR_NS)
    kinds = [message.kind for _, message in told if isinstance(message, Report)]
    assert kinds == [ExecType.DONE_FOR_DAY, ExecType.RESTATED] * 2
    assert [message.at_ns for _, message in told if isinstance(message, Report)] == [
        _at("2024-01-03T17:00"), _at("2024-01-04T09:00"), _at("2024-01-04T17:00"), _at("2024-01-05T09:00"),
    ]  # fmt: skip


def test_an_instrument_is_listed_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        Exchange([*INSTRUMENTS, INSTRUMENTS[0]], life="L", now_ns=START_NS)


# ---------------------------------------------------------------- the uncross

_SIDE = st.dictionaries(st.integers(90, 110), st.integers(1, 30), max_size=8)


@given(_SIDE, _SIDE, st.one_of(st.none(), st.integers(85, 115)))
@settings(deadline=None, max_examples=400)
def test_the_uncross_price_is_the_one_that_a_look_at_every_price_finds(
    bids: dict[int, int], asks: dict[int, int], last: int | None
) -> None:
    ranked = []
    for price in sorted({*bids, *asks}):
        demand = sum(quantity for limit, quantity in bids.items() if limit >= price)
        supply = sum(quantity for limit, quantity in asks.items() if limit <= price)
        if executed := min(demand, supply):
            distance = 0 if last is None else abs(price - last)
            ranked.append((-executed, abs(demand - supply), distance, price))
    best = min(ranked, default=None)
    found = equilibrium(list(bids.items()), list(asks.items()), last)
    assert found == (None if best is None else (best[3], -best[0]))


# ---------------------------------------------------------------- logs of reports


def _filled_log(kept_max: int, count: int) -> ReportLog:
    log = ReportLog(kept_max)
    for number in range(1, count + 1):
        log.append(Report(ExecType.NEW, f"x{number}", number))
    return log


@given(
    st.integers(1, 12),
    st.integers(0, 30),
    st.integers(-1, 35),
    st.one_of(st.none(), st.integers(0, 8)),
)
@RELAXED
def test_a_log_gives_what_it_keeps_behind_a_number(
    kept_max: int, count: int, after: int, count_max: int | None
) -> None:
    log = _filled_log(kept_max, count)
    kept = list(range(1, count + 1))[-kept_max:]
    expected = [number for number in kept if number > after][:count_max]
    assert [report.venue_seq for report in log.after(after, count_max)] == expected
    assert log.newest_seq == count
    assert log.oldest_seq == (kept[0] if kept else count + 1)


def _resumed(exchange: Exchange, life: str, venue_seq: int) -> tuple[Welcome, list[int]]:
    told = [message for _, message in exchange.handle("A", Resume("A", life, venue_seq), START_NS)]
    assert isinstance(told[0], Welcome)
    assert told[-1] == ResumeEnd()
    return told[0], [message.venue_seq for message in told[1:-1] if isinstance(message, Report)]


def test_a_firm_resumes_behind_what_it_knows_and_another_life_from_the_beginning() -> None:
    exchange = Exchange(INSTRUMENTS, life="L", now_ns=START_NS, reports_kept_max=5)
    for number in range(4):
        exchange.handle(
            "A",
            NewOrder(f"x{number}", "a", "ABC", Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 10, 50),
            START_NS,
        )
    assert _resumed(exchange, "", 0) == (Welcome("L", 4), [1, 2, 3, 4])
    assert _resumed(exchange, "L", 2) == (Welcome("L", 4), [3, 4])
    assert _resumed(exchange, "L", 4) == (Welcome("L", 4), [])
    assert _resumed(exchange, "L", 9) == (Welcome("L", 4), [])
    assert _resumed(exchange, "another", 4) == (Welcome("L", 4), [1, 2, 3, 4])


def test_what_is_no_longer_kept_is_missing_in_the_same_life() -> None:
    exchange = Exchange(INSTRUMENTS, life="L", now_ns=START_NS, reports_kept_max=3)
    for number in range(5):
        exchange.handle(
            "A",
            NewOrder(f"x{number}", "a", "ABC", Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 10, 50),
            START_NS,
        )
    assert _resumed(exchange, "L", 2) == (Welcome("L", 5), [3, 4, 5])
    assert _resumed(exchange, "L", 1) == (Welcome("L", 5), [3, 4, 5])
