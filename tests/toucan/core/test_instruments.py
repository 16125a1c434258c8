"""The instrument table: numbers on their grid and back exactly; trading days in their own zones, against a calendar written out by hand."""

from __future__ import annotations

import datetime
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toucan.core.instruments import NUMBER_MAX, Instrument, NotOnGrid, Session

_NS = 1_000_000_000
_MIDNIGHT = datetime.time(0)

# ---------------------------------------------------------------- the calendar

#: With the hours that are shown twice or never at night (New York, London), at midnight (Havana, Beirut), by half an hour (Lord Howe), in the
#: south (Santiago), a date that never was (Apia, 30 December 2011), and without any (Tokyo, UTC).
ZONES = (
    "UTC", "America/New_York", "Europe/London", "Asia/Tokyo", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe",
    "America/Santiago", "Pacific/Apia",
)  # fmt: skip


def ns(text: str, zone: str = "UTC", fold: int = 0) -> int:
    """A wall clock's time in a zone."""
    local = datetime.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return int(local.timestamp()) * _NS


def instant_s(date: datetime.date, time: datetime.time, zone: ZoneInfo) -> int:
    """When a wall clock first shows a time; where it never does, when it would have if it had not been put forward."""
    wall = datetime.datetime.combine(date, time)
    wall_s = int((wall - datetime.datetime(1970, 1, 1)).total_seconds())
    offsets = set()
    for hours in range(-36, 37):
        offset = datetime.datetime.fromtimestamp(wall_s + hours * 3600, zone).utcoffset()
        assert offset is not None
        offsets.add(int(offset.total_seconds()))
    every = [wall_s - offset for offset in offsets]
    shown = [
        at_s for at_s in every if datetime.datetime.fromtimestamp(at_s, zone).replace(tzinfo=None) == wall
    ]
    return min(shown) if shown else max(every)


def spans(session: Session, around_ns: int) -> list[tuple[datetime.date, int, int]]:
    """Every session of some weeks: its day, and when it opens and closes."""
    zone = ZoneInfo(session.zone)
    today = datetime.datetime.fromtimestamp(around_ns // _NS, zone).date()
    found = []
    for days in range(-4, 30):
        day = today + datetime.timedelta(days=days)
        if day.weekday() not in session.weekdays or day in session.holidays:
            continue
        opens_on = closes_on = day
        if session.close == _MIDNIGHT:
            closes_on = day + datetime.timedelta(days=1)
        elif session.open >= session.close:
            opens_on = day - datetime.timedelta(days=1)
        opens = instant_s(opens_on, session.open, zone) * _NS
        found.append((day, opens, instant_s(closes_on, session.close, zone) * _NS))
    return found


times = st.builds(datetime.time, st.integers(0, 23), st.sampled_from((0, 1, 15, 30, 59)))
moments = st.one_of(
    st.integers(ns("2011-12-20T00:00"), ns("2012-01-10T00:00")),
    st.integers(ns("2024-01-01T00:00"), ns("2027-12-31T00:00")),
    # The nights on which clocks are changed.
    st.sampled_from(
        ("2025-03-09T06:00", "2025-11-02T05:00", "2025-03-30T00:30", "2025-10-26T00:30", "2025-04-05T14:30", "2025-09-07T03:00")
    ).flatmap(lambda text: st.integers(ns(text) - 4 * 3600 * _NS, ns(text) + 4 * 3600 * _NS)),
)  # fmt: skip
sessions = st.builds(
    Session,
    st.sampled_from(ZONES),
    times,
    times,
    st.sampled_from(((0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5, 6), (6,), (0, 2))),
    st.lists(st.dates(datetime.date(2024, 1, 1), datetime.date(2027, 12, 31)), max_size=3).map(tuple),
)


@settings(deadline=None)
@given(sessions, moments)
@example(
    Session("America/New_York", datetime.time(18), datetime.time(17)),
    ns("2025-11-02T01:30", "America/New_York", 1),
)
@example(
    Session("America/New_York", datetime.time(9), datetime.time(1, 30)),
    ns("2025-11-02T01:15", "America/New_York", 1),
)
def test_calendar_is_that_of_every_day_written_out(session: Session, now_ns: int) -> None:
    day, opens, closes = next(one for one in spans(session, now_ns) if one[2] > now_ns)
    assert session.ends_after_ns(now_ns) == closes
    assert session.trade_date(now_ns) == day
    assert session.is_open(now_ns) == (opens <= now_ns)


@settings(deadline=None)
@given(sessions, moments)
def test_a_session_ends_at_its_close_to_the_nanosecond(session: Session, now_ns: int) -> None:
    closes = session.ends_after_ns(now_ns)
    assert session.ends_after_ns(closes - 1) == closes
    assert session.ends_after_ns(closes) > closes
    assert session.trade_date(closes) > session.trade_date(closes - 1)


NEW_YORK = Session(
    "America/New_York", datetime.time(9, 30), datetime.time(16), (0, 1, 2, 3, 4), (datetime.date(2026, 1, 1),)
)


@pytest.mark.parametrize(
    ("now", "is_open", "ends", "date"),
    [
        ("2025-12-31T09:29:59", False, "2025-12-31T16:00", "2025-12-31"),
        ("2025-12-31T09:30", True, "2025-12-31T16:00", "2025-12-31"),
        ("2025-12-31T15:59:59", True, "2025-12-31T16:00", "2025-12-31"),
        ("2025-12-31T16:00", False, "2026-01-02T16:00", "2026-01-02"),  # over the holiday
        ("2026-01-01T12:00", False, "2026-01-02T16:00", "2026-01-02"),
        ("2026-01-02T16:00", False, "2026-01-05T16:00", "2026-01-05"),  # over the week-end
    ],
)
def test_a_stock_exchange(now: str, is_open: bool, ends: str, date: str) -> None:
    now_ns = ns(now, "America/New_York")
    assert NEW_YORK.is_open(now_ns) is is_open
    assert NEW_YORK.ends_after_ns(now_ns) == ns(ends, "America/New_York")
    assert NEW_YORK.trade_date(now_ns) == datetime.date.fromisoformat(date)


@pytest.mark.parametrize(
    ("before", "after", "hours"),
    [("2026-03-06", "2026-03-09", 71), ("2026-10-30", "2026-11-02", 73)],
)
def test_days_on_which_clocks_are_changed_are_shorter_and_longer(before: str, after: str, hours: int) -> None:
    friday = ns(f"{before}T15:00", "America/New_York")
    closes = NEW_YORK.ends_after_ns(friday)
    assert NEW_YORK.ends_after_ns(closes) - closes == hours * 3600 * _NS
    assert NEW_YORK.trade_date(closes) == datetime.date.fromisoformat(after)


def test_a_session_over_midnight_is_named_after_the_day_on_which_it_closes() -> None:
    future = Session("America/Chicago", datetime.time(17), datetime.time(16), (0, 1, 2, 3, 4))
    sunday_evening = ns("2026-01-04T17:00", "America/Chicago")
    assert future.is_open(sunday_evening)
    assert not future.is_open(sunday_evening - 1)
    assert future.trade_date(sunday_evening) == datetime.date(2026, 1, 5)
    assert future.ends_after_ns(sunday_evening) == ns("2026-01-05T16:00", "America/Chicago")
    assert not future.is_open(
        ns("2026-01-09T17:00", "America/Chicago")
    )  # Friday's has closed, and Saturday has none


def test_around_the_clock_one_day_follows_the_other() -> None:
    always = Session()
    new_year = ns("2026-01-01T00:00")
    assert always.is_open(new_year - 1)
    assert always.is_open(new_year)
    assert always.ends_after_ns(new_year - 1) == new_year
    assert always.trade_date(new_year - 1) == datetime.date(2025, 12, 31)
    assert always.trade_date(new_year) == datetime.date(2026, 1, 1)
    assert always.ends_after_ns(new_year) == ns("2026-01-02T00:00")


def test_around_the_clock_of_the_working_week_is_closed_at_the_week_end() -> None:
    foreign_exchange = Session("America/New_York", datetime.time(17), datetime.time(17), (0, 1, 2, 3, 4))
    assert not foreign_exchange.is_open(ns("2026-01-04T16:59", "America/New_York"))
    assert foreign_exchange.is_open(ns("2026-01-04T17:00", "America/New_York"))
    assert foreign_exchange.is_open(ns("2026-01-09T16:59", "America/New_York"))
    assert not foreign_exchange.is_open(ns("2026-01-09T17:00", "America/New_York"))


def test_a_calendar_without_trading_days_is_an_error() -> None:
    with pytest.raises(ValueError, match="no trading day within a year"):
        Session(weekdays=()).ends_after_ns(0)


# ---------------------------------------------------------------- numbers

grids = st.builds(
    Instrument,
    st.just("X"),
    st.just("USD"),
    st.just("SIM"),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(1, 1000),
    st.integers(1, 1000),
)


@settings(deadline=None)
@given(grids, st.integers(-NUMBER_MAX, NUMBER_MAX))
def test_a_number_on_the_grid_survives_being_written_and_read(grid: Instrument, number: int) -> None:
    price, quantity = number - number % grid.tick, number - number % grid.lot
    for whole, text, read in (
        (price, grid.price_text(price), grid.price_of),
        (quantity, grid.quantity_text(quantity), grid.quantity_of),
    ):
        if abs(whole) <= NUMBER_MAX:
            assert read(text) == whole
            assert read(Decimal(text)) == whole


@settings(deadline=None)
@given(grids, st.decimals(-(10**20), 10**20, allow_nan=False, allow_infinity=False))
def test_what_is_not_on_the_grid_is_an_error_and_never_rounded(grid: Instrument, number: Decimal) -> None:
    for read, decimals, step in (
        (grid.price_of, grid.price_decimals, grid.tick),
        (grid.quantity_of, grid.quantity_decimals, grid.lot),
    ):
        exact = number * 10**decimals if number == 0 else Decimal(str(number)).scaleb(decimals)
        is_whole = exact == exact.to_integral_value() and int(exact) % step == 0 and abs(exact) <= NUMBER_MAX
        if is_whole:
            assert read(number) == exact
        else:
            with pytest.raises(NotOnGrid):
                read(number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "1,000",
        "1_0x",
        "NaN",
        "inf",
        "-Infinity",
        "0x10",
        "1e999999999",
        "1e-999999999",
        "--1",
        "¼",
    ],
)
def test_what_is_no_number_is_an_error(text: str) -> None:
    grid = Instrument("X", "USD", "SIM")
    with pytest.raises(NotOnGrid, match=r"X: (price|quantity)"):
        grid.price_of(text)
    with pytest.raises(NotOnGrid):
        grid.quantity_of(text)


@pytest.mark.parametrize(
    "text", ["1." + 60 * "0" + "1", "0." + 100 * "9", "1e-40", "1" + 40 * "0", "1" + 100 * "0"]
)
def test_digits_beyond_any_precision_count(text: str) -> None:
    """And are not rounded away to a number that can be traded."""
    with pytest.raises(NotOnGrid):
        Instrument("X", "USD", "SIM").price_of(text)


def test_errors_say_what_was_wrong() -> None:
    grid = Instrument("AAPL", "USD", "SIM", tick=5, lot=10)
    with pytest.raises(NotOnGrid, match=r"AAPL: price 1\.03 is not a multiple of its tick, 0\.05"):
        grid.price_of("1.03")
    with pytest.raises(NotOnGrid, match="AAPL: quantity 15 is not a multiple of its lot, 10"):
        grid.quantity_of("15")
    with pytest.raises(NotOnGrid, match="too large"):
        grid.quantity_of(str(NUMBER_MAX + 3))
    assert grid.quantity_of(str(NUMBER_MAX - NUMBER_MAX % 10)) == NUMBER_MAX - NUMBER_MAX % 10


@settings(deadline=None)
@given(grids, st.integers(0, NUMBER_MAX), st.integers(0, NUMBER_MAX), st.integers(1, 1000))
def test_money_is_exact(grid: Instrument, price: int, quantity: int, multiplier: int) -> None:
    contract = Instrument(
        "X", "USD", "SIM", grid.price_decimals, grid.quantity_decimals, multiplier=multiplier
    )
    money = contract.money(price * quantity)
    smallest_unit = Fraction(1, 10 ** (grid.price_decimals + grid.quantity_decimals))
    assert Fraction(money) == price * quantity * multiplier * smallest_unit


def test_texts_are_for_people() -> None:
    bitcoin = Instrument("BTC", "USD", "SIM", quantity_decimals=8)
    assert bitcoin.price_text(6_500_000) == "65000.00"
    assert bitcoin.quantity_text(150_000_000) == "1.5"
    assert bitcoin.quantity_text(100_000_000) == "1"
    assert bitcoin.quantity_text(1) == "0.00000001"
    assert Instrument("X", "USD", "SIM").quantity_text(100) == "100"
    assert Instrument("X", "USD", "SIM").money(18_950 * 100) == Decimal("18950.00")
