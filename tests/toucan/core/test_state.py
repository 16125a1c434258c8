"""The state follows from events alone: the same after a replay, from a snapshot, in a follower; and it forgets in an orderly way."""

from __future__ import annotations

import typing

import msgspec
import pytest
from tests.toucan.core.desk import ALICE, BOB, INSTRUMENTS, START_NS, Desk, terms

from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core import state as state_module
from toucan.core.order import Client
from toucan.core.outcomes import Anomaly
from toucan.core.records import UnreadableRecord, decode, encode
from toucan.core.state import Change, EngineState, VenueRecord, cl_ord_id_of
from toucan.core.values import ExecType, OrdStatus, Side, TimeInForce, TradingLevel
from toucan.core.venue_messages import Quote, Welcome

LIMITS = """
base_currency = "USD"
[firm]
max_open_orders = 20
[team.alpha]
accounts = ["ACC1", "ACC2"]
max_requests = 50
[account.ACC1]
max_order_quantity = "1000"
max_denials = 2
duplicate_window_s = "0.5"
[team.beta]
accounts = ["ACC3"]
"""


def propose_and_decide(desk: Desk) -> None:
    """One staged order of each fate, and one that waits; one of ACC3 is left for the kill switch."""
    bot = Client("bot", "model")
    for number in range(1, 6):
        ttl_ns = 2_000_000_000 if number == 5 else None
        desk.ask(rq.Stage(terms(10 + number, account="ACC2"), f"idea {number}", ttl_ns), bot)
    desk.ask(rq.Stage(terms(5, account="ACC3"), "idea 6"), bot)
    desk.ask(rq.ReleaseStaged(1, 1, price=9_995, why="good"), BOB)
    desk.ask(rq.AmendStaged(2, 1, quantity=7, why="less"), BOB)
    desk.ask(rq.RejectStaged(3, "no"), BOB)
    desk.ask(rq.RejectStaged(4, "changed my mind"), bot)


def busy() -> Desk:
    """A desk on which one of everything has happened."""
    desk = Desk(LIMITS)
    desk.ask(rq.OpenSession(5_000_000_000), number=0)
    desk.decider.quote(Quote("AAPL", 0, 9_990, 10, 10_010, 10, 10_000))
    one = desk.working(terms(100, time_in_force=TimeInForce.DAY))
    two = desk.working(terms(200, account="ACC3", side=Side.SELL), BOB)
    for number in range(4):
        order = (one, two)[number % 2]
        desk.report(
            kind=ExecType.TRADE,
            cl_ord_id=order.cl_ord_id,
            exec_id=f"e{number}",
            last_quantity=10 + number,
            last_price=9_999,
        )
    desk.report(
        kind=ExecType.TRADE_CORRECT,
        cl_ord_id="T-1-1",
        exec_id="c",
        exec_ref_id="e0",
        last_quantity=5,
        last_price=9_000,
    )
    desk.report(kind=ExecType.TRADE_CANCEL, cl_ord_id="T-2-1", exec_id="b", exec_ref_id="e1")
    desk.report(kind=ExecType.TRADE, cl_ord_id="T-2-1", exec_id="too much", last_quantity=10**6, last_price=1)
    desk.ask(rq.Replace(one.order_id, quantity=150))
    desk.ask(rq.Cancel(two.order_id), BOB)
    for _ in range(2):
        desk.ask(rq.Submit(terms(1001)))
    propose_and_decide(desk)
    desk.ask(rq.SetLimit("firm", "max_open_orders", "30", "more"))
    desk.ask(rq.SetLevel("firm/beta", TradingLevel.CANCEL_ALL, "enough"), BOB)
    desk.ask(rq.AdjustPosition("ACC2", "carol", "MSFT", -7, 123, "transfer"))
    desk.report(
        kind=ExecType.NEW,
        cl_ord_id="phone",
        symbol="MSFT",
        side=Side.BUY,
        account="ACC2",
        quantity=5,
        price=7,
    )
    desk.ask(rq.SessionBroken(), number=0)
    desk.submit(terms(3, account="ACC2"), Client("carol", "x"))
    desk.disconnect()
    desk.connect_again(one, two)
    desk.pass_time(5)
    desk.apply([ev.ClientsForgotten((BOB,))])
    return desk


def test_a_replay_gives_the_same_state() -> None:
    desk = busy()
    assert {type(event) for _, _, event in desk.events} >= set(typing.get_args(ev.Event)) - {
        ev.EngineStarted, ev.RequestNotReceived,
    }  # fmt: skip
    assert desk.replayed().digest() == desk.state.digest()


def test_every_event_has_its_effect() -> None:
    assert set(state_module._APPLY) == set(typing.get_args(ev.Event))


def test_a_snapshot_anywhere_gives_the_same_state_at_the_end() -> None:
    desk = busy()
    running = EngineState()
    for seq, at_ns, event in desk.events:
        running.apply(seq, at_ns, event)
        dumped = running.dump()
        running = EngineState.load(dumped)
        assert running.dump() == dumped
    assert running.digest() == desk.state.digest()


def test_a_state_goes_on_the_same_way_from_a_snapshot() -> None:
    """What is not in it (a cache, an order of things) would show in what happens next."""
    desk = busy()
    loaded = EngineState.load(desk.state.dump())
    loaded.risk.use_instruments(INSTRUMENTS)
    before = len(desk.events)
    desk.apply([ev.EngineStarted(2, "test")])
    desk.connect_again(*(order for order in desk.state.live_orders()))
    desk.ask(rq.SetLevel("firm", TradingLevel.NORMAL, "go on"))
    desk.ask(rq.MassCancel())
    desk.report(kind=ExecType.TRADE, cl_ord_id="T-1-1", exec_id="e9", last_quantity=1, last_price=5)
    for seq, at_ns, event in desk.events[before:]:
        loaded.apply(seq, at_ns, event)
    assert loaded.digest() == desk.state.digest()


def test_a_digest_tells_states_apart() -> None:
    one, other = busy(), busy()
    assert one.state.digest() == other.state.digest()
    other.ask(rq.OpenSession(), Client("carol", "y"), number=0)
    assert one.state.digest() != other.state.digest()


def test_what_is_no_snapshot_is_an_error() -> None:
    dumped = busy().state.dump()
    for data in (b"", b"\xc1", dumped[:-1], dumped[: len(dumped) // 2], msgspec.msgpack.encode({"seq": 1})):
        with pytest.raises(msgspec.MsgspecError):
            EngineState.load(data)


def test_events_are_numbered_in_a_row_and_lost_ones_are_passed_over_on_purpose() -> None:
    state = EngineState()
    with pytest.raises(AssertionError, match="event 2 cannot follow 0"):
        state.apply(2, 0, ev.EngineStarted(1, "test"))
    state.skip(7)
    state.skip(3)
    state.apply(8, 5, ev.EngineStarted(1, "test"))
    assert (state.seq, state.at_ns, state.epoch) == (8, 5, 1)


# ---------------------------------------------------------------- what each event changes


def test_a_change_says_what_others_are_to_be_told() -> None:
    desk = Desk()
    order = desk.working(terms(100))
    state = desk.replayed()
    apply = state.apply

    def change_of(event: ev.Event) -> Change:
        return apply(state.seq + 1, START_NS, event)

    desk.report(kind=ExecType.TRADE, cl_ord_id="T-1-1", exec_id="e", last_quantity=10, last_price=5)
    change = change_of(desk.events[-1][2])
    assert change.order is state.orders[order.order_id]
    assert change.effect is not None
    assert (change.effect.quantity, change.effect.price) == (10, 5)
    assert change.position == ("ACC1", "alice", "AAPL")
    assert change_of(ev.PositionAdjusted("ACC2", "bob", "MSFT", 5, 5, BOB, "why")).position == (
        "ACC2",
        "bob",
        "MSFT",
    )
    assert change_of(ev.SessionOpened(ALICE)) == Change()
    assert (change.order.updated_seq, change.order.updated_ns) == (state.seq - 2, START_NS)


def test_a_venue_that_was_never_heard_of_is_not_ready() -> None:
    assert EngineState().venue("NOWHERE") == VenueRecord("", 0, False, "never connected")


def test_when_an_engine_starts_nothing_is_ready_and_every_session_lost() -> None:
    desk = Desk()
    desk.ask(rq.OpenSession(), number=0)
    desk.ask(rq.OpenSession(), BOB, number=0)
    desk.ask(rq.SessionBroken(), BOB, number=0)
    lost = desk.state.client(BOB).session
    assert lost is not None
    desk.now_ns += 5
    desk.apply([ev.EngineStarted(2, "test")])
    assert not desk.state.venue("SIM").is_ready
    mine = desk.state.client(ALICE).session
    assert mine is not None
    assert (mine.lost_at_ns, lost.lost_at_ns) == (START_NS + 5, START_NS)


def test_a_new_life_of_a_venue_begins_at_its_first_report() -> None:
    desk = Desk()
    desk.working(terms())
    assert desk.state.venue("SIM").venue_seq == 1
    desk.apply(desk.session.welcome(Welcome("life-2", 5)))
    assert (desk.state.venue("SIM").life, desk.state.venue("SIM").venue_seq) == ("life-2", 0)


# ---------------------------------------------------------------- what is over


def closed_orders(desk: Desk, count: int) -> None:
    for _ in range(count):
        order = desk.working(terms(10))
        desk.report(
            kind=ExecType.TRADE,
            cl_ord_id=order.cl_ord_id,
            exec_id=f"e{order.order_id}",
            last_quantity=10,
            last_price=5,
        )


def test_orders_that_are_over_are_kept_up_to_the_limit_and_one_more_forgets_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state_module, "CLOSED_ORDERS_KEPT_MAX", 3)
    desk = Desk()
    open_order = desk.working(terms(10))
    closed_orders(desk, 3)
    assert list(desk.state.orders) == [1, 2, 3, 4]
    closed_orders(desk, 1)
    assert list(desk.state.orders) == [1, 3, 4, 5]
    assert desk.state.order_of("T-2-1") is None
    assert list(desk.state.live) == [open_order.order_id]
    # Its fills stay; a bust of one is for people now.
    assert desk.state.positions.quantity("ACC1", "AAPL") == 40
    (event,) = desk.report(kind=ExecType.TRADE_CANCEL, cl_ord_id="T-2-1", exec_id="b", exec_ref_id="e2")
    assert isinstance(event, ev.ReportRefused)
    assert event.code == Anomaly.UNKNOWN_ORDER
    assert desk.replayed().digest() == desk.state.digest()


def test_an_order_that_is_opened_again_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "CLOSED_ORDERS_KEPT_MAX", 2)
    desk = Desk()
    closed_orders(desk, 2)
    desk.report(kind=ExecType.TRADE_CANCEL, cl_ord_id="T-1-1", exec_id="b", exec_ref_id="e1")
    first = desk.state.orders[1]
    assert (first.status, first.is_open, list(desk.state.live)) == (OrdStatus.NEW, True, [1])
    closed_orders(desk, 2)
    assert list(desk.state.orders) == [1, 3, 4]
    desk.report(kind=ExecType.CANCELED, cl_ord_id="T-1-1")
    assert list(desk.state.orders) == [1, 4]  # it ended last, so it is forgotten last
    assert EngineState.load(desk.state.dump()).digest() == desk.state.digest()


def test_every_id_of_an_order_leads_to_it() -> None:
    desk = Desk()
    order = desk.working(terms(100))
    for quantity in (110, 120):
        desk.ask(rq.Replace(order.order_id, quantity=quantity))
    desk.ask(rq.Cancel(order.order_id))
    assert [cl_ord_id_of(order, number) for number in range(1, 5)] == ["T-1-1", "T-1-2", "T-1-3", "T-1-4"]
    assert all(desk.state.order_of(cl_ord_id_of(order, number)) is order for number in range(1, 5))
    assert desk.state.order_of("T-1-5") is None


# ---------------------------------------------------------------- records


def test_events_are_the_same_after_being_written_and_read() -> None:
    events = [event for _, _, event in busy().events]
    assert decode(encode(events)) == events
    assert decode(memoryview(bytearray(encode(events)))) == events
    assert decode(encode([])) == []


def test_a_record_that_cannot_be_read_is_an_error_as_a_whole() -> None:
    good = encode([ev.EngineStarted(1, "test"), ev.SessionLost(ALICE)])
    newer = msgspec.msgpack.encode(
        [{"type": "EngineStarted", "epoch": 1, "version": "x"}, {"type": "MoonPhaseChanged"}]
    )
    for payload in (b"", good[:-1], b"\xc1", msgspec.msgpack.encode("text"), newer):
        with pytest.raises(UnreadableRecord, match="this version cannot read"):
            decode(payload)
    with pytest.raises(UnreadableRecord, match="MoonPhaseChanged"):
        decode(newer)


def test_fields_of_a_newer_version_are_passed_over() -> None:
    payload = msgspec.msgpack.encode([{"type": "EngineStarted", "epoch": 1, "version": "x", "moon": "full"}])
    assert decode(payload) == [ev.EngineStarted(1, "x")]
