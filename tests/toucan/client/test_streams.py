"""Streams over any sequence of breaks: nothing is missed, nothing is told twice, and a picture kept from them is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.client.mini_engine import OPEN, instruments

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as types
from toucan.client.blotter import Blotter
from toucan.client.instruments import Instrument, InstrumentTable
from toucan.client.streams import DropCopyStream, MarketDataStream, OrderStream, PositionStream
from toucan.client.values import DropCopyEvent, DropCopyGap, OrderUpdate

TABLE = InstrumentTable(map(Instrument.from_wire, instruments()))
find = TABLE.find


def order(order_id: int, seq: int, status: types.OrderStatus = types.ORDER_STATUS_NEW) -> types.Order:
    terms = types.OrderTerms(
        account="ACC1", symbol="AAPL", side=types.SIDE_BUY, type=types.ORDER_TYPE_MARKET,
        time_in_force=types.TIME_IN_FORCE_DAY, quantity=10,
    )  # fmt: skip
    return types.Order(
        order_id=order_id,
        terms=terms,
        status=status,
        leaves_quantity=10 if status in OPEN else 0,
        updated_seq=seq,
    )


@dataclass
class Server:
    """A history of orders, told as the public API promises."""

    seq: int = 0
    forgotten_seq: int = 0
    orders: dict[int, types.Order] = field(default_factory=dict)
    history: list[types.OrderUpdate] = field(default_factory=list)

    def change(self, order_id: int, status: types.OrderStatus) -> None:
        self.seq += 1
        made = self.orders[order_id] = order(order_id, self.seq, status)
        self.history.append(types.OrderUpdate(seq=self.seq, event="Reported", order=made))

    def stream(self, request: pb.WatchOrdersRequest, size: int) -> Iterator[pb.WatchOrdersResponse]:
        """What a stream says until it has nothing more to say at present; it may be left at any message."""
        told = request.after_seq
        if not request.HasField("after_seq") or told < self.forgotten_seq or told > self.seq:
            told = self.seq
            updates = [
                types.OrderUpdate(seq=one.updated_seq, event="Snapshot", order=one)
                for one in self.orders.values()
                if one.status in OPEN or not request.filter.is_open
            ]
            if not request.without_snapshot:
                for first in range(0, max(1, len(updates)), size):
                    yield pb.WatchOrdersResponse(
                        updates=updates[first : first + size],
                        seq=told,
                        is_snapshot=True,
                        is_snapshot_end=first + size >= len(updates),
                    )
        rest = [update for update in self.history if update.seq > told]
        for first in range(0, len(rest), size):
            part = rest[first : first + size]
            yield pb.WatchOrdersResponse(updates=part, seq=part[-1].seq)
        yield pb.WatchOrdersResponse(seq=self.seq)


_STATUSES = st.sampled_from([types.ORDER_STATUS_NEW, types.ORDER_STATUS_FILLED, types.ORDER_STATUS_CANCELED])
_CHANGES = st.lists(st.tuples(st.integers(1, 4), _STATUSES), max_size=8)
#: Per connection: what happens before it, whether the history before is forgotten, and after how many messages it breaks off.
_CONNECTIONS = st.lists(st.tuples(_CHANGES, st.booleans(), st.integers(0, 6)), max_size=8)


@settings(deadline=None)
@given(_CONNECTIONS, _CHANGES, st.integers(1, 3), st.booleans())
def test_orders_have_no_gap_no_repeat_and_a_right_picture(
    connections: list[tuple[list[tuple[int, types.OrderStatus]], bool, int]],
    last: list[tuple[int, types.OrderStatus]],
    size: int,
    only_open: bool,
) -> None:
    server, stream = Server(), OrderStream(pb.OrderFilter(is_open=only_open))
    blotter, told = Blotter(only_open=only_open), list[OrderUpdate]()
    for changes, is_forgotten, length in [*connections, (last, False, 10**6)]:
        for order_id, status in changes:
            server.change(order_id, status)
        if is_forgotten:
            server.forgotten_seq = server.seq
        for _, response in zip(range(length), server.stream(stream.request(), size), strict=False):
            told += blotter.apply(stream.take(response, find))
    # The picture is the truth.
    wanted = {
        one.order_id: one.updated_seq for one in server.orders.values() if one.status in OPEN or not only_open
    }
    assert {one.order_id: one.updated_seq for one in blotter} == wanted
    # Of each order every change is told once, in order; a snapshot may stand for several, its newest is the last.
    for order_id in server.orders:
        seqs = [update.order.updated_seq for update in told if update.order.order_id == order_id]
        assert seqs == sorted(set(seqs))
        if not only_open:
            assert seqs[-1] == server.orders[order_id].updated_seq
    changes_told = [update.seq for update in told if not update.is_snapshot]
    assert changes_told == sorted(set(changes_told))


@settings(deadline=None)
@given(_CONNECTIONS, st.integers(1, 3))
def test_without_a_snapshot_each_change_is_told_once(
    connections: list[tuple[list[tuple[int, types.OrderStatus]], bool, int]], size: int
) -> None:
    server, stream = Server(), OrderStream(pb.OrderFilter(), with_snapshot=False)
    server.change(9, types.ORDER_STATUS_NEW)
    (first,) = (stream.take(response, find) for response in server.stream(stream.request(), size))
    told = list(first.news)
    for changes, _, length in [*connections, ([], False, 10**6)]:
        for order_id, status in changes:
            server.change(order_id, status)
        for _, response in zip(range(length), server.stream(stream.request(), size), strict=False):
            told += stream.take(response, find).news
    assert [update.seq for update in told] == list(range(2, server.seq + 1))


def test_a_snapshot_that_had_to_come_brings_only_what_changed_since() -> None:
    server, stream = Server(), OrderStream(pb.OrderFilter())
    server.change(1, types.ORDER_STATUS_NEW)
    server.change(2, types.ORDER_STATUS_NEW)
    for response in server.stream(stream.request(), 10):
        stream.take(response, find)
    server.change(2, types.ORDER_STATUS_FILLED)
    server.forgotten_seq = server.seq
    first, *_ = (stream.take(response, find) for response in server.stream(stream.request(), 10))
    assert first.is_snapshot_begin
    assert first.is_snapshot_end
    assert [update.order.order_id for update in first.updates] == [1, 2]
    assert [update.order.order_id for update in first.news] == [2]


def test_a_snapshot_that_broke_off_leaves_nothing_in_the_picture() -> None:
    server, stream, blotter = Server(), OrderStream(pb.OrderFilter(is_open=True)), Blotter(only_open=True)
    server.change(1, types.ORDER_STATUS_NEW)
    server.change(2, types.ORDER_STATUS_NEW)
    blotter.apply(stream.take(next(server.stream(stream.request(), 1)), find))
    assert len(blotter) == 0  # half of a snapshot is not shown
    server.change(1, types.ORDER_STATUS_FILLED)
    for response in server.stream(stream.request(), 1):
        blotter.apply(stream.take(response, find))
    assert [one.order_id for one in blotter] == [2]


def test_what_a_server_tells_twice_is_told_once() -> None:
    stream = OrderStream(pb.OrderFilter(), after_seq=4)
    updates = [types.OrderUpdate(seq=seq, event="Reported", order=order(seq, seq)) for seq in (3, 4, 5, 6)]
    assert [one.seq for one in stream.take(pb.WatchOrdersResponse(updates=updates, seq=6), find).news] == [
        5,
        6,
    ]
    assert stream.take(pb.WatchOrdersResponse(updates=updates, seq=6), find).updates == ()


def test_a_snapshot_of_another_history_is_all_news() -> None:
    old, new, stream = Server(), Server(), OrderStream(pb.OrderFilter())
    for _ in range(5):
        old.change(1, types.ORDER_STATUS_NEW)
    for response in old.stream(stream.request(), 10):
        stream.take(response, find)
    new.change(7, types.ORDER_STATUS_NEW)
    told = [
        update for response in new.stream(stream.request(), 10) for update in stream.take(response, find).news
    ]
    assert [update.order.order_id for update in told] == [7]
    assert stream.request().after_seq == 1


def test_a_front_end_that_lags_behind_does_not_turn_the_clock_back() -> None:
    stream = OrderStream(pb.OrderFilter(), after_seq=10)
    assert stream.take(pb.WatchOrdersResponse(seq=7), find).news == ()
    assert stream.request().after_seq == 10


def test_a_message_that_cannot_be_read_is_not_taken() -> None:
    stream = OrderStream(pb.OrderFilter(), after_seq=1)
    update = types.OrderUpdate(seq=2, event="Reported", order=order(1, 2))
    response = pb.WatchOrdersResponse(updates=[update], seq=2)
    try:
        stream.take(response, InstrumentTable(()).find)
    except LookupError:
        raise AssertionError("an unknown instrument has an error of its own") from None
    except ValueError:
        pass
    assert [one.seq for one in stream.take(response, find).news] == [2]


def position(quantity: int) -> types.Position:
    return types.Position(
        account="ACC1", symbol="AAPL", quantity=quantity, realised_profit="0", currency="USD"
    )


def test_positions_that_are_as_they_were_are_no_news() -> None:
    stream = PositionStream(pb.WatchPositionsRequest())
    stream.request()
    first = stream.take(pb.WatchPositionsResponse(positions=[position(1)], seq=1), find)
    assert (first.is_snapshot, len(first.news)) == (True, 1)
    assert not stream.take(pb.WatchPositionsResponse(seq=2), find).is_snapshot
    stream.request()
    again = stream.take(pb.WatchPositionsResponse(positions=[position(1)], seq=2), find)
    assert (again.is_snapshot, len(again.positions), again.news) == (True, 1, ())
    assert len(stream.take(pb.WatchPositionsResponse(positions=[position(2)], seq=3), find).news) == 1


def test_drop_copy_tells_a_gap_and_resumes_after_it() -> None:
    stream = DropCopyStream(["ACC1"], after_seq=3)
    assert stream.request().after_seq == 3
    events = [pb.DropCopyEvent(seq=seq, event="Reported") for seq in (3, 9)]
    batch = stream.take(pb.DropCopyResponse(events=events, seq=9, gap_until_seq=8), find)
    gap, event = batch.news
    assert gap == DropCopyGap(until_seq=8)
    assert isinstance(event, DropCopyEvent)
    assert event.seq == 9
    assert not batch.is_stale
    assert stream.request().after_seq == 9
    assert stream.take(pb.DropCopyResponse(seq=9, is_stale=True), find).is_stale


def test_market_data_has_absent_sides() -> None:
    stream = MarketDataStream(pb.WatchMarketDataRequest(symbols=["AAPL"]))
    data = types.MarketData(
        symbol="AAPL", bid_price=18940, bid_quantity=3, bids=[types.Level(price=18940, quantity=3)]
    )
    (made,) = stream.take(pb.WatchMarketDataResponse(market_data=[data]), find).news
    assert made.bid is not None
    assert (str(made.bid.price), str(made.bid.quantity), made.ask, made.last) == ("189.40", "3", None, None)
    assert made.book.bids == (made.bid,)
