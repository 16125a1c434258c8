"""Recorded flow: what becomes of its events in a book in which others trade, and how a recording is read."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toucan.core.instruments import Instrument
from toucan.core.values import ExecType, Side
from toucan.core.venue_messages import Report
from toucan.exchange.core.background import LOOKAHEAD_EVENTS, BackgroundEvent, BackgroundFlow, EventKind
from toucan.exchange.core.exchange import BACKGROUND_FIRM
from toucan.exchange.errors import ExchangeConfigError
from toucan.exchange.replay_file import read_events

from .script import START_NS, Script

_MS = 1_000_000
CREATED, CHANGED, DELETED = EventKind
BITCOIN = Instrument(symbol="BTC-USD", currency="USD", venue="exchange", quantity_decimals=8)
HEADER = "id,timestamp,exchange_timestamp,price,volume,action,direction\n"


def _event(
    at_ms: int, event_id: int, kind: EventKind, side: Side, price: int, volume: int
) -> BackgroundEvent:
    return BackgroundEvent(at_ms * _MS, event_id, kind, side, price, volume)


def _flow(script: Script, *events: BackgroundEvent, speed: float = 1.0) -> BackgroundFlow:
    return BackgroundFlow(script.exchange, "ABC", iter(events), started_ns=START_NS, speed=speed)


def _play(script: Script, flow: BackgroundFlow, until_ms: int = 1_000_000) -> list[Report]:
    script.now_ns = START_NS + until_ms * _MS
    told = flow.advance(script.now_ns, 1000)
    return [message for _, message in told if isinstance(message, Report)]


def _depth(script: Script) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    book = script.exchange.book("ABC")
    return [(x.price, x.quantity) for x in book.bids], [(x.price, x.quantity) for x in book.asks]


def test_recorded_orders_come_change_and_go_and_nobody_is_told() -> None:
    script = Script()
    flow = _flow(
        script,
        _event(5, 1, CREATED, Side.BUY, 50, 10),
        _event(5, 2, CREATED, Side.SELL, 52, 10),
        _event(6, 1, CHANGED, Side.BUY, 50, 7),
        _event(7, 2, CHANGED, Side.SELL, 53, 10),
        _event(8, 1, DELETED, Side.BUY, 50, 7),
    )
    assert _play(script, flow, 0) == []
    assert _depth(script) == ([(50, 10)], [(52, 10)])
    _play(script, flow, 2)
    assert _depth(script) == ([(50, 7)], [(53, 10)])
    assert flow.next_at_ns() == START_NS + 3 * _MS
    _play(script, flow, 3)
    assert _depth(script) == ([], [(53, 10)])
    assert flow.next_at_ns() is None
    assert (flow.counts.created, flow.counts.changed, flow.counts.deleted) == (2, 2, 1)
    assert BACKGROUND_FIRM not in script.exchange.scribe.firms


@pytest.mark.parametrize(("speed", "due_ms"), [(1.0, 1000), (4.0, 250), (0.5, 2000)])
def test_speed_divides_the_time_between_events(speed: float, due_ms: int) -> None:
    script = Script()
    flow = _flow(
        script,
        _event(70_000, 1, CREATED, Side.BUY, 50, 1),
        _event(71_000, 2, CREATED, Side.BUY, 49, 1),
        speed=speed,
    )
    _play(script, flow, 0)
    assert flow.next_at_ns() == START_NS + due_ms * _MS


def test_a_person_takes_what_is_recorded_and_the_recording_follows() -> None:
    script = Script()
    flow = _flow(
        script,
        _event(0, 1, CREATED, Side.SELL, 50, 10),
        _event(1, 1, CHANGED, Side.SELL, 50, 8),
        _event(2, 1, CHANGED, Side.SELL, 50, 2),
        _event(3, 1, DELETED, Side.SELL, 50, 2),
    )
    _play(script, flow, 0)
    script.play(
        """
        > A buy X 4 @50
        < A NEW X NEW 4/0/4
        < A TRADE X FILLED 4/4/0 4@50
        """
    )
    _play(script, flow, 1)
    assert _depth(script) == ([], [(50, 6)])  # never more than is left here
    _play(script, flow, 2)
    assert _depth(script) == ([], [(50, 2)])
    script.play(
        """
        > A buy Y 5 @50
        < A NEW Y NEW 5/0/5
        < A TRADE Y PARTIALLY_FILLED 5/2/3 2@50
        """
    )
    _play(script, flow, 3)
    assert flow.counts.executed_before == 1


def test_a_recorded_order_that_meets_a_person_is_executed() -> None:
    script = Script()
    script.play("> A buy X 4 @51\n< A NEW X NEW 4/0/4")
    flow = _flow(
        script,
        _event(0, 1, CREATED, Side.SELL, 50, 10),
        _event(1, 1, CHANGED, Side.SELL, 49, 10),
    )
    reports = _play(script, flow)
    assert [(report.kind, report.last_quantity, report.last_price) for report in reports] == [
        (ExecType.TRADE, 4, 51)
    ]
    assert _depth(script) == ([], [(49, 6)])


def test_orders_that_came_and_went_at_the_same_time_are_left_out() -> None:
    script = Script()
    script.play("> A sell X 4 @50\n< A NEW X NEW 4/0/4")
    flow = _flow(
        script,
        _event(0, 1, CREATED, Side.BUY, 51, 10),
        _event(0, 1, DELETED, Side.BUY, 51, 10),
        _event(1, 2, CREATED, Side.BUY, 49, 10),
        _event(2, 2, DELETED, Side.BUY, 49, 10),  # later
        _event(3, 3, CREATED, Side.BUY, 50, 3),
        _event(3, 3, DELETED, Side.BUY, 50, 0),  # executed
    )
    reports = _play(script, flow)
    assert [(report.last_quantity, report.last_price) for report in reports] == [(3, 50)]
    assert (flow.counts.fleeting, flow.counts.created, flow.counts.executed_before) == (1, 2, 1)


@pytest.mark.parametrize(("between", "is_found"), [(LOOKAHEAD_EVENTS - 1, True), (LOOKAHEAD_EVENTS, False)])
def test_the_end_of_a_fleeting_order_is_looked_for_so_far(between: int, is_found: bool) -> None:
    script = Script()
    flow = _flow(
        script,
        _event(0, 1, CREATED, Side.BUY, 50, 10),
        *(_event(0, 10 + number, CREATED, Side.BUY, 40, 1) for number in range(between)),
        _event(0, 1, DELETED, Side.BUY, 50, 10),
    )
    _play(script, flow)
    assert flow.counts.fleeting == is_found


def test_events_that_cannot_be_are_counted() -> None:
    script = Script()
    flow = _flow(
        script,
        _event(0, 9, CHANGED, Side.BUY, 50, 1),
        _event(0, 9, DELETED, Side.BUY, 50, 1),
        _event(0, 1, CREATED, Side.BUY, 0, 1),
        _event(0, 2, CREATED, Side.BUY, 50, 0),
        _event(0, 3, CREATED, Side.BUY, 50, 1),
        _event(0, 3, CREATED, Side.BUY, 50, 1),
        _event(0, 3, CHANGED, Side.BUY, 50, 0),
    )
    _play(script, flow)
    assert (flow.counts.unknown, flow.counts.impossible, flow.counts.created) == (2, 4, 1)
    assert _depth(script) == ([(50, 1)], [])


def test_a_burst_is_played_in_portions_and_a_flow_can_be_taken_out() -> None:
    script = Script()
    flow = _flow(script, *(_event(0, number, CREATED, Side.BUY, 50, 1) for number in range(10)))
    flow.advance(START_NS, 4)
    assert _depth(script) == ([(50, 4)], [])
    flow.advance(START_NS, 100)
    script.play("> A sell X 3 @50\n< A NEW X NEW 3/0/3" + "\n< A TRADE X PARTIALLY_FILLED 3/1/2 1@50"
                "\n< A TRADE X PARTIALLY_FILLED 3/2/1 1@50\n< A TRADE X FILLED 3/3/0 1@50")  # fmt: skip
    flow.end(START_NS)
    assert _depth(script) == ([], [])


def test_during_a_halt_it_waits_in_the_book_and_a_halt_that_cancels_clears_it() -> None:
    script = Script()
    flow = _flow(
        script,
        _event(0, 1, CREATED, Side.BUY, 50, 5),
        _event(0, 2, CREATED, Side.SELL, 49, 5),
        _event(1, 1, DELETED, Side.BUY, 50, 5),
    )
    script.act("halt ABC")
    _play(script, flow, 0)
    assert _depth(script) == ([(50, 5)], [(49, 5)])
    script.act("resume ABC")
    assert script.exchange.quote("ABC").last_price is not None
    script.act("halt ABC cancel")
    _play(script, flow, 1)
    assert flow.counts.executed_before == 1


@pytest.mark.parametrize(
    ("symbol", "speed"), [("NIX", 1.0), ("ABC", 0.0), ("ABC", -1.0), ("ABC", float("nan"))]
)
def test_a_flow_needs_an_instrument_and_a_speed(symbol: str, speed: float) -> None:
    with pytest.raises(ValueError, match=r"traded here|more than 0"):
        BackgroundFlow(Script().exchange, symbol, iter(()), started_ns=START_NS, speed=speed)


_EVENTS = st.lists(
    st.builds(
        _event,
        st.integers(0, 50),
        st.integers(1, 6),
        st.sampled_from(EventKind),
        st.sampled_from(Side),
        st.integers(47, 53),
        st.integers(0, 20),
    ),
    max_size=60,
)


@given(_EVENTS, st.integers(0, 3))
@settings(deadline=None)
def test_any_recording_leaves_an_ordered_book_and_only_known_orders(
    events: list[BackgroundEvent], persons: int
) -> None:
    script = Script()
    for number in range(persons):
        script.act(f"A {('buy', 'sell')[number % 2]} P{number} 10 @{48 + 2 * number} gtc")
    flow = _flow(script, *events)
    _play(script, flow)
    market = script.exchange.markets["ABC"]
    assert not market.is_crossed
    counts = flow.counts
    total = counts.created + counts.changed + counts.deleted + counts.executed_before
    assert total + 2 * counts.fleeting + counts.unknown + counts.impossible == len(events)
    flow.end(script.now_ns)
    assert {order.firm for order in market.orders()} <= {"A"}


# ---------------------------------------------------------------- files


def _file(folder: Path, text: str, name: str = "orders.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["orders.csv", "orders.csv.gz"])
def test_a_recording_is_read_on_the_instruments_grid(tmp_path: Path, name: str) -> None:
    path = _file(
        tmp_path,
        HEADER
        + "2002347637329922,1777689383201,1777689380521,78318.0,1.53453667,created,bid\n"
        + "7,2,3,78318.5,0.5,changed,ask\n"
        + "7,2,3,999999999.0,1e-9,deleted,ask\n"
        + "8,2,3,1e400,nan,created,ask\n",
        name,
    )
    assert list(read_events(path, BITCOIN)) == [
        BackgroundEvent(1777689380521 * _MS, 2002347637329922, CREATED, Side.BUY, 7831800, 153453667),
        BackgroundEvent(3 * _MS, 7, CHANGED, Side.SELL, 7831850, 50_000_000),
        BackgroundEvent(3 * _MS, 7, DELETED, Side.SELL, 99999999900, 0),
        BackgroundEvent(3 * _MS, 8, CREATED, Side.SELL, 0, 0),
    ]


def test_without_an_exchanges_time_the_recorders_is_taken(tmp_path: Path) -> None:
    text = "price,timestamp,id,volume,direction,action,note\n50,9,1,2,ask,created,hello\n"
    assert list(read_events(_file(tmp_path, text), BITCOIN)) == [
        BackgroundEvent(9 * _MS, 1, CREATED, Side.SELL, 5000, 200_000_000)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing"),
        (HEADER, "no events"),
        ("id,price\n1,2\n", "missing: action, direction, exchange_timestamp, volume"),
        (HEADER + "x,1,1,50,1,created,bid\n", ":2: not an order event"),
        (HEADER + "1,1,1,50,1,created\n", ":2: not an order event"),
        (HEADER + "1,1,1,50,1,made,bid\n", ":2: not an order event"),
        (HEADER + "1,1,1,fifty,1,created,bid\n", "'fifty' is no number"),
    ],
)
def test_a_wrong_recording_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ExchangeConfigError, match=message):
        read_events(_file(tmp_path, text), BITCOIN)


def test_a_recording_that_goes_wrong_later_says_so_there(tmp_path: Path) -> None:
    events: Iterator[BackgroundEvent] = read_events(
        _file(tmp_path, HEADER + "1,1,1,50,1,created,bid\n2,1,1,50,1,created,bid\nnonsense\n"), BITCOIN
    )
    assert [next(events).event_id, next(events).event_id] == [1, 2]
    with pytest.raises(ExchangeConfigError, match=":4:"):
        next(events)


@pytest.mark.parametrize("name", ["no.csv", "damaged.csv.gz", "binary.csv"])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name != "no.csv":
        path.write_bytes(
            gzip.compress(HEADER.encode() * 100)[:60] if name.endswith(".gz") else b"\xff\xfe\x00"
        )
    with pytest.raises(ExchangeConfigError, match=name):
        read_events(path, BITCOIN)
