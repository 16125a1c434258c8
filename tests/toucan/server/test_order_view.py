"""A watcher's view of orders, without the wire: no gap, no repeat, whatever breaks and whenever; and what a slow one is spared."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.core.desk import ALICE, BOB, Desk, terms
from tests.toucan.server.local_engine import LocalEngine, LocalPort

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core.order import Client
from toucan.core.values import ExecType, OrdStatus, Side
from toucan.server.limits import (
    CATCH_UP_EVENTS,
    SNAPSHOT_ORDERS_PER_TURN,
    UPDATES_KEPT_MAX,
    UPDATES_PER_MESSAGE_MAX,
    UPDATES_WAITING_MAX,
)
from toucan.server.metrics import Metrics
from toucan.server.order_filter import OrderFilter, Standing
from toucan.server.streams.order_view import OrderView
from toucan.server.streams.orders import OrderFeed
from toucan.server.streams.updates import RecentUpdates, Update, make_update, order_id_of


class Front:
    """A front end's feed of orders over the local engine."""

    def __init__(self, engine: LocalEngine) -> None:
        self.port = engine.port()
        self.feed = OrderFeed(self.port, Metrics())
        self.port.add_listener(self.feed)


class Watcher:
    """A client: takes messages, believes them, and resumes after what it was told."""

    def __init__(self, wanted: OrderFilter = OrderFilter()) -> None:  # noqa: B008 - immutable
        self.wanted = wanted
        self.told_seq: int | None = None
        #: Numbers of all updates that were told as changes.
        self.seqs: list[int] = []
        #: The last that was told of each order.
        self.orders: dict[int, tp.Order] = {}
        self.snapshots = 0
        self.conflated = 0
        self.cut_off_by: list[str] = []
        self.pokes = 0
        self.view: OrderView | None = None
        self._front: Front | None = None
        self._in_snapshot: dict[int, tp.Order] = {}

    def connect(self, front: Front, *, has_snapshot: bool = True) -> None:
        self.disconnect()
        self._front = front
        self._in_snapshot = {}
        self.view = OrderView(
            front.feed, self.wanted, after_seq=self.told_seq, has_snapshot=has_snapshot, poke=self._poke,
            cut_off=self.cut_off_by.append,
        )  # fmt: skip
        front.feed.add(self.view)

    def _poke(self) -> None:
        self.pokes += 1

    def disconnect(self) -> None:
        if self.view is not None and self._front is not None:
            self._front.feed.remove(self.view)
        self.view = None

    def take(self, count: int = 1_000_000) -> list[pb.WatchOrdersResponse]:
        """So many messages, or all that there are."""
        assert self.view is not None
        taken: list[pb.WatchOrdersResponse] = []
        while len(taken) < count and self.view.has_more:
            data = self.view.next_message(is_heartbeat=False)
            if data is not None:
                taken.append(pb.WatchOrdersResponse.FromString(data))
                self._believe(taken[-1])
        return taken

    def _believe(self, message: pb.WatchOrdersResponse) -> None:
        self.conflated += message.conflated
        if message.is_snapshot:
            assert message.is_snapshot_end == (message.seq != 0)
            self._in_snapshot |= {update.order.order_id: update.order for update in message.updates}
            if message.is_snapshot_end:
                self.orders, self._in_snapshot = self._in_snapshot, {}
                self.snapshots += 1
                self.told_seq = message.seq
            return
        for update in message.updates:
            assert self.told_seq is None or update.seq > self.told_seq
            self.seqs.append(update.seq)
            self.orders[update.order.order_id] = update.order
        assert message.seq >= max([0, *(update.seq for update in message.updates)])
        self.told_seq = message.seq


def _all_seqs(engine: LocalEngine, after: int) -> list[int]:
    return [seq for seq, _, event in engine.events if seq > after and order_id_of(event) is not None]


# ---------------------------------------------------------------- no gap, no repeat

_ACTIONS = st.lists(
    st.sampled_from(
        [
            "submit",
            "fill",
            "cancel",
            "take one",
            "take all",
            "break",
            "connect",
            "other front",
            "restart",
            "lag",
            "replace copy",
        ]
    ),
    max_size=60,
)


class _Storm:
    """Random things that happen to one engine, two front ends and a client."""

    def __init__(self) -> None:
        self.engine = LocalEngine()
        self.fronts = [Front(self.engine), Front(self.engine)]
        self.client = Watcher()
        self.client.connect(self.fronts[0])
        self.client.take()
        self.began = self.client.told_seq or 0
        self._at = 0
        self._fills = 0

    def do(self, action: str) -> None:
        getattr(self, "_" + action.replace(" ", "_"))()

    def _submit(self) -> None:
        self.engine.working(terms())

    def _fill(self) -> None:
        open_orders = [
            order for order in self.engine.state.live_orders() if order.is_open and order.venue_order_id == ""
        ]
        if open_orders:
            self._fills += 1
            self.engine.fill(open_orders[self._fills % len(open_orders)], 1, 10_000, f"e{self._fills}")

    def _cancel(self) -> None:
        order = next(
            (order for order in self.engine.state.live_orders() if not order.is_asked_to_cancel()), None
        )
        if order is not None:
            self.engine.ask(rq.Cancel(order.order_id))

    def _take_one(self) -> None:
        if self.client.view is not None:
            self.client.take(1)

    def _take_all(self) -> None:
        if self.client.view is not None:
            self.client.take()

    def _break(self) -> None:
        self.client.disconnect()

    def _connect(self) -> None:
        self.client.connect(self.fronts[self._at])

    def _other_front(self) -> None:
        self._at = 1 - self._at
        # It has heard everything that the client was told: the method waits for that (resume_point).
        self._port.catch_up()
        self._connect()

    def _restart(self) -> None:
        self.engine.restart()

    def _lag(self) -> None:
        self._port.is_lagging = True

    def _replace_copy(self) -> None:
        self._port.replace_copy(keeps_history=True)

    @property
    def _port(self) -> LocalPort:
        return self.fronts[self._at].port


@settings(max_examples=150, deadline=None)
@given(_ACTIONS)
def test_every_change_is_told_once_whatever_breaks(actions: list[str]) -> None:
    storm = _Storm()
    for action in actions:
        storm.do(action)
    for front in storm.fronts:
        front.port.catch_up()
    if storm.client.view is None:
        storm.client.connect(storm.fronts[0])
    storm.client.take()
    assert storm.client.seqs == _all_seqs(storm.engine, storm.began)
    assert storm.client.snapshots == 1
    assert {order_id: order.cum_quantity for order_id, order in storm.client.orders.items()} == {
        order_id: order.cum_quantity for order_id, order in storm.engine.state.orders.items()
    }


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_with_history_lost_a_snapshot_makes_it_whole(steps: list[int]) -> None:
    engine = LocalEngine()
    front, client = Front(engine), Watcher()
    for number in range(2 * SNAPSHOT_ORDERS_PER_TURN + 50):
        engine.submit(terms(), ALICE if number % 2 else BOB)
    front.port.replace_copy(keeps_history=False)
    client.connect(front)
    for step in steps:
        client.take(1)
        engine.working(terms())
        if step % 7 == 0:
            front.port.replace_copy(keeps_history=False)
        if step % 11 == 0:
            client.connect(front)
    client.take()
    assert set(client.orders) == set(engine.state.orders)
    for order_id, told in client.orders.items():
        assert told.updated_seq == engine.state.orders[order_id].updated_seq


def test_updates_hold_the_order_as_it_was_after_each() -> None:
    engine = LocalEngine()
    front, client = Front(engine), Watcher()
    client.connect(front, has_snapshot=False)
    order = engine.working(terms(quantity=10))
    engine.fill(order, 4, 10_000, "e1")
    engine.fill(order, 6, 10_000, "e2")
    (message,) = client.take()
    assert [
        (update.event, update.execution_type, update.order.status, update.order.cum_quantity)
        for update in message.updates
    ] == [
        ("OrderAccepted", 0, tp.ORDER_STATUS_PENDING_NEW, 0),
        ("Reported", tp.EXECUTION_TYPE_NEW, tp.ORDER_STATUS_NEW, 0),
        ("Reported", tp.EXECUTION_TYPE_TRADE, tp.ORDER_STATUS_PARTIALLY_FILLED, 4),
        ("Reported", tp.EXECUTION_TYPE_TRADE, tp.ORDER_STATUS_FILLED, 10),
    ]
    assert message.updates[3].execution == tp.Execution(exec_id="e2", quantity=6, price=10_000)
    assert message.updates[3].order.average_price == "100.00"
    resumed = Watcher()
    resumed.told_seq = message.updates[0].seq
    resumed.connect(front)
    assert [update for told in resumed.take() for update in told.updates] == list(message.updates)[1:]


def test_new_front_end_goes_on_where_another_one_was() -> None:
    engine = LocalEngine()
    first, client = Front(engine), Watcher()
    client.connect(first)
    client.take()
    order = engine.working(terms())
    engine.fill(order, 1, 10_000, "e1")
    client.connect(Front(engine))  # it began after all that, and keeps the events
    (message,) = client.take()
    assert not message.is_snapshot
    assert [update.seq for update in message.updates] == _all_seqs(engine, client.seqs[0] - 1)
    assert message.updates[-1].execution.exec_id == "e1"


def test_without_snapshot_only_what_happens_from_now_on() -> None:
    engine = LocalEngine()
    engine.working(terms())
    front, client = Front(engine), Watcher()
    client.connect(front, has_snapshot=False)
    (hello,) = client.take()
    assert (len(hello.updates), hello.seq, hello.is_snapshot) == (0, engine.state.seq, False)
    engine.working(terms())
    client.take()
    assert set(client.orders) == {2}
    front.port.replace_copy(keeps_history=False)
    client.take()
    assert client.snapshots == 0


# ---------------------------------------------------------------- filters


def test_who_watches_a_status_hears_that_an_order_has_left_it() -> None:
    engine = LocalEngine()
    front = Front(engine)
    open_ones = Watcher(OrderFilter(is_open=True))
    filled = Watcher(OrderFilter(statuses=frozenset({OrdStatus.FILLED})))
    for client in (open_ones, filled):
        client.connect(front)
        client.take()
    order = engine.working(terms(quantity=2))
    engine.fill(order, 1, 10_000, "e1")
    assert filled.take() == []
    engine.fill(order, 1, 10_000, "e2")
    for client in (open_ones, filled):
        client.take()
    assert len(open_ones.seqs) == 4
    assert open_ones.orders[1].leaves_quantity == 0
    assert len(filled.seqs) == 1
    engine.report(kind=ExecType.TRADE_CANCEL, cl_ord_id=order.cl_ord_id, exec_id="e3", exec_ref_id="e2")
    for client in (open_ones, filled):
        client.take()
    assert filled.orders[1].status == tp.ORDER_STATUS_PARTIALLY_FILLED  # it has left
    assert open_ones.orders[1].leaves_quantity == 1  # it is back


@given(
    st.lists(st.sampled_from(["ACC1", "ACC2", "ACC3"]), max_size=2),
    st.lists(st.sampled_from(["AAPL", "MSFT"]), max_size=2),
    st.none() | st.sampled_from(Side),
    st.lists(st.sampled_from(["alice", "bob"]), max_size=2),
)
@settings(max_examples=40, deadline=None)
def test_filters_tell_exactly_what_matches(
    accounts: list[str], symbols: list[str], side: Side | None, owners: list[str]
) -> None:
    engine = LocalEngine()
    wanted = OrderFilter(
        frozenset(accounts) or None, frozenset(symbols) or None, side, frozenset(owners) or None
    )
    front, early, late = Front(engine), Watcher(wanted), Watcher(wanted)
    early.connect(front)
    early.take()
    for account in ("ACC1", "ACC2", "ACC3"):
        for symbol in ("AAPL", "MSFT"):
            for one in Side:
                for owner in (ALICE, BOB):
                    engine.submit(terms(account=account, symbol=symbol, side=one), owner)
    late.connect(front)
    for client in (early, late):
        client.take()
    expected = {
        order_id
        for order_id, order in engine.state.orders.items()
        if (not accounts or order.terms.account in accounts)
        and (not symbols or order.terms.symbol in symbols)
        and (side is None or order.terms.side is side)
        and (not owners or order.owner.user in owners)
    }
    assert set(early.orders) == set(late.orders) == expected


def test_session_sees_its_own_orders_alone() -> None:
    engine = LocalEngine()
    front, client = Front(engine), Watcher(OrderFilter(client=Client("alice", "algo")))
    client.connect(front)
    client.take()
    engine.submit(terms(), ALICE)
    engine.submit(terms(), Client("alice", "algo"))
    engine.submit(terms(), Client("bob", "algo"))
    client.take()
    assert set(client.orders) == {2}


# ---------------------------------------------------------------- snapshots


def test_snapshot_in_pieces_while_orders_change_is_whole_at_its_end() -> None:
    engine = LocalEngine()
    orders = [engine.working(terms()) for _ in range(3 * SNAPSHOT_ORDERS_PER_TURN)]
    front, client = Front(engine), Watcher(OrderFilter(is_open=True))
    front.port.replace_copy(keeps_history=False)
    client.connect(front)
    client.take(1)
    engine.fill(orders[0], 100, 10_000, "gone already told")
    engine.fill(orders[-1], 100, 10_000, "gone not told yet")
    engine.fill(orders[1], 1, 10_000, "changed already told")
    new = engine.working(terms())
    messages = client.take()
    assert messages[-1].is_snapshot_end
    assert client.seqs == []
    assert client.told_seq == engine.state.seq
    assert client.orders[1].leaves_quantity == 0
    assert orders[-1].order_id not in client.orders
    assert client.orders[2].cum_quantity == 1
    assert new.order_id in client.orders


def test_snapshot_that_was_broken_off_leaves_nothing_to_resume_from() -> None:
    engine = LocalEngine()
    for _ in range(2 * SNAPSHOT_ORDERS_PER_TURN):
        engine.submit(terms())
    front, client = Front(engine), Watcher()
    front.port.replace_copy(keeps_history=False)
    client.connect(front)
    (first,) = client.take(1)
    assert (len(first.updates), first.seq) == (SNAPSHOT_ORDERS_PER_TURN, 0)
    assert client.told_seq is None


# ---------------------------------------------------------------- slow


def _flood(front: Front, engine: LocalEngine, orders: int, updates: int) -> None:
    known = [engine.working(terms(quantity=1_000_000)) for _ in range(orders)]
    for number in range(updates):
        engine.fill(known[number % orders], 1, 10_000, f"f{number}")


def test_what_waits_for_a_slow_one_becomes_the_last_of_each_order() -> None:
    engine = LocalEngine()
    front, client = Front(engine), Watcher()
    client.connect(front)
    client.take()
    began = client.told_seq or 0
    _flood(front, engine, 10, UPDATES_WAITING_MAX + 500)
    messages = client.take()
    assert client.conflated > 0
    assert messages[0].conflated == client.conflated
    assert len(client.seqs) + client.conflated == len(_all_seqs(engine, began))
    assert client.cut_off_by == []
    assert {order.cum_quantity for order in client.orders.values()} == {
        order.cum_quantity for order in engine.state.orders.values()
    }
    assert client.told_seq == engine.state.seq


@pytest.mark.parametrize("waiting", [0, 3], ids=["all was told", "something waits"])
@pytest.mark.parametrize("is_replaced", [False, True], ids=["the same copy", "another copy"])
def test_a_front_end_that_was_without_its_engine_leaves_nothing_out(waiting: int, is_replaced: bool) -> None:
    """However much it hears at once: its clients are not slow."""
    engine = LocalEngine()
    front, client = Front(engine), Watcher()
    client.connect(front)
    client.take()
    began = client.told_seq or 0
    known = [engine.working(terms(quantity=1_000_000)) for _ in range(10)]
    client.take()
    for number in range(waiting):
        engine.fill(known[number], 1, 10_000, f"w{number}")
    front.port.is_stale = True
    _flood(front, engine, UPDATES_WAITING_MAX // 2 + 2, 2 * UPDATES_WAITING_MAX)
    if is_replaced:
        front.port.replace_copy(keeps_history=True)
    else:
        front.port.catch_up()
    front.port.is_stale = False
    engine.fill(known[0], 1, 10_000, "after it")
    client.take()
    assert (client.conflated, client.cut_off_by, client.snapshots) == (0, [], 1)
    assert client.seqs == _all_seqs(engine, began)
    assert client.told_seq == engine.state.seq


def test_at_the_bound_nothing_is_left_out() -> None:
    engine = LocalEngine()
    front, client = Front(engine), Watcher()
    client.connect(front)
    client.take()
    order = engine.submit(terms(quantity=1_000_000))
    for number in range(UPDATES_WAITING_MAX - 1):
        engine.fill(order, 1, 10_000, f"f{number}")
    messages = client.take()
    assert client.conflated == 0
    assert [len(message.updates) for message in messages][:-1] == [UPDATES_PER_MESSAGE_MAX] * (
        UPDATES_WAITING_MAX // UPDATES_PER_MESSAGE_MAX
    )


def test_with_too_many_orders_changed_a_slow_one_is_cut_off() -> None:
    engine = LocalEngine()
    front, client = Front(engine), Watcher()
    client.connect(front)
    client.take()
    _flood(front, engine, UPDATES_WAITING_MAX // 2, UPDATES_WAITING_MAX)
    assert client.cut_off_by == []
    _flood(front, engine, UPDATES_WAITING_MAX // 2 + 2, UPDATES_WAITING_MAX)
    assert client.cut_off_by
    assert "orders have changed" in client.cut_off_by[0]


def test_heartbeat_says_how_far_it_is_told() -> None:
    engine = LocalEngine()
    front, client = Front(engine), Watcher(OrderFilter(accounts=frozenset({"ACC3"})))
    client.connect(front)
    client.take()
    engine.submit(terms())
    assert client.view is not None
    assert client.view.next_message(is_heartbeat=False) is None
    data = client.view.next_message(is_heartbeat=True)
    assert data is not None
    assert pb.WatchOrdersResponse.FromString(data) == pb.WatchOrdersResponse(seq=engine.state.seq)


def test_staleness_is_told_at_once_and_once() -> None:
    engine = LocalEngine()
    front, client = Front(engine), Watcher()
    client.connect(front)
    client.take()
    pokes = client.pokes
    front.port.go_away()
    assert client.pokes == pokes + 1
    assert [message.is_stale for message in client.take()] == [True]
    front.port.come_back()
    assert [message.is_stale for message in client.take()] == [False]


# ---------------------------------------------------------------- what is kept


def test_an_update_tells_of_the_order_as_it_was_however_late_it_is_encoded() -> None:
    desk = Desk()
    order = desk.submit(terms())
    seq, at_ns, event = next(one for one in desk.events if isinstance(one[2], ev.OrderAccepted))
    early, late = (make_update(seq, at_ns, event, order, None, None, None) for _ in range(2))
    told = early.piece
    desk.report(kind=ExecType.NEW, cl_ord_id=order.cl_ord_id)
    desk.ask(rq.Cancel(order.order_id))
    desk.report(kind=ExecType.PENDING_CANCEL, cl_ord_id=order.requests[0].cl_ord_id)
    assert order.status is OrdStatus.PENDING_CANCEL
    assert late.piece == told
    (update,) = pb.WatchOrdersResponse.FromString(late.piece).updates
    assert update.order.status == tp.ORDER_STATUS_PENDING_NEW
    assert [one.kind for one in update.order.requests] == [tp.REQUEST_KIND_NEW]
    assert late.piece is late.piece


def _update(seq: int) -> Update:
    standing = Standing(OrdStatus.NEW, True)
    return Update(seq, 1, terms(), ALICE, None, standing, b"")


def test_kept_updates_are_bounded_and_say_how_far_back_they_reach() -> None:
    recent = RecentUpdates(100)
    assert recent.reaches_back_to(100)
    assert not recent.reaches_back_to(99)
    for seq in range(101, 101 + UPDATES_KEPT_MAX):
        recent.append(_update(seq))
        recent.seq = seq
    assert recent.reaches_back_to(100)
    for seq in range(recent.seq + 1, recent.seq + 1 + UPDATES_KEPT_MAX):
        recent.append(_update(seq))
        recent.seq = seq
    assert UPDATES_KEPT_MAX <= len(recent) <= UPDATES_KEPT_MAX + UPDATES_KEPT_MAX // 4
    assert not recent.reaches_back_to(100)
    assert recent.reaches_back_to(recent.kept_after)
    assert [update.seq for update in recent.after(recent.kept_after, 2)] == [
        recent.kept_after + 1,
        recent.kept_after + 2,
    ]
    assert recent.after(recent.seq, 10) == []
    assert not recent.reaches_back_to(recent.seq + 1)


def test_catching_up_goes_in_pieces_and_ends_live() -> None:
    engine = LocalEngine()
    front, client = Front(engine), Watcher(OrderFilter(accounts=frozenset({"ACC2"})))
    client.connect(front)
    client.take()
    client.disconnect()
    for number in range(CATCH_UP_EVENTS + 10):
        engine.submit(terms(account="ACC1" if number % 3 else "ACC2"))
    client.connect(front)
    client.take(1)
    engine.submit(terms(account="ACC2"))  # while it catches up
    client.take()
    engine.submit(terms(account="ACC2"))
    client.take()
    expected = [order.updated_seq for order in engine.state.orders.values() if order.terms.account == "ACC2"]
    assert client.seqs == expected
    assert client.snapshots == 1


def test_one_that_reads_more_slowly_than_updates_are_dropped_gets_a_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = LocalEngine()
    front, client = Front(engine), Watcher()
    client.connect(front)
    client.take()
    client.disconnect()
    engine.submit(terms())
    client.connect(front)
    monkeypatch.setattr(front.feed.recent, "kept_after", engine.state.seq)
    client.take()
    assert client.snapshots == 2
    assert set(client.orders) == {1}


def test_stream_of_another_history_begins_with_a_snapshot() -> None:
    engine = LocalEngine()
    engine.submit(terms())
    front, client = Front(engine), Watcher()
    client.told_seq = 10**15
    client.connect(front)
    client.told_seq = None
    client.take()
    assert client.snapshots == 1
