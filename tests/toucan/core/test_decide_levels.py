"""Trading levels, exactly: what passes under each of them, what is cancelled when it is set, and who must enable trading again."""

from __future__ import annotations

import pytest
from tests.toucan.core.desk import ALICE, BOB, NO_LIMITS, Desk, terms

from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core.order import Order
from toucan.core.outcomes import Accepted, Denied, MassCanceled, Outcome, Refused
from toucan.core.values import ExecType, Side, TimeInForce, TradingLevel
from toucan.core.venue_messages import CancelOrder

NORMAL, BLOCK_NEW, CANCEL_ALL, FREEZE = TradingLevel


def code(outcome: Outcome) -> str:
    """Its kind, or why not."""
    if isinstance(outcome, Refused):
        return outcome.code
    return outcome.denial.code if isinstance(outcome, Denied) else type(outcome).__name__


def set_level(desk: Desk, level: TradingLevel, node: str = "firm") -> Outcome:
    """By Bob, who trades elsewhere."""
    return desk.ask(rq.SetLevel(node, level, "test"), BOB)


# ---------------------------------------------------------------- what passes

PASSES = {
    #: level: new order, replacement to more, to less, cancel, mass cancel
    NORMAL: ("Accepted", "Accepted", "Accepted", "Accepted", MassCanceled((2,))),
    BLOCK_NEW: ("TRADING_BLOCKED", "TRADING_BLOCKED", "Accepted", "Accepted", MassCanceled((2,))),
    CANCEL_ALL: ("TRADING_BLOCKED", "CANCEL_IN_FLIGHT", "CANCEL_IN_FLIGHT", "CANCEL_IN_FLIGHT", MassCanceled((), 2)),
    FREEZE: ("TRADING_FROZEN", "FROZEN", "FROZEN", "FROZEN", MassCanceled((), 2)),
}  # fmt: skip


@pytest.mark.parametrize("level", TradingLevel)
@pytest.mark.parametrize("node", ["firm", "firm/alpha", "firm/alpha/ACC1", "firm/alpha/ACC1/alice"])
def test_what_passes(level: TradingLevel, node: str) -> None:
    desk = Desk()
    order, _ = desk.working(terms(100)), desk.working(terms(100))
    set_level(desk, level, node)
    new, more, less, cancel, mass = PASSES[level]
    assert code(desk.ask(rq.Submit(terms(7)))) == new
    assert code(desk.ask(rq.Preview(terms(7)))) == "Previewed"
    if level is NORMAL:
        desk.report(kind=ExecType.REJECTED, cl_ord_id="T-3-1")
    assert code(desk.ask(rq.Replace(order.order_id, quantity=101))) == more
    assert code(desk.ask(rq.Replace(order.order_id, quantity=99))) == less
    assert code(desk.ask(rq.Cancel(order.order_id))) == cancel
    first = desk.ask(rq.MassCancel())
    skipped = 1 if cancel == "Accepted" else 0
    assert isinstance(first, MassCanceled)
    assert MassCanceled(first.order_ids, first.skipped - skipped) == mass


@pytest.mark.parametrize("level", [BLOCK_NEW, CANCEL_ALL, FREEZE])
@pytest.mark.parametrize("node", ["firm/beta", "firm/alpha/ACC2", "firm/alpha/ACC1/bob"])
def test_a_level_holds_below_its_node_only(level: TradingLevel, node: str) -> None:
    desk = Desk()
    order = desk.working(terms(100))
    assert set_level(desk, level, node) == MassCanceled(())
    assert code(desk.ask(rq.Submit(terms(7)))) == "Accepted"
    assert code(desk.ask(rq.Replace(order.order_id, quantity=101))) == "Accepted"
    assert code(desk.ask(rq.Cancel(order.order_id))) == "Accepted"


def test_the_strictest_level_above_an_order_counts() -> None:
    desk = Desk()
    set_level(desk, FREEZE, "firm/alpha/ACC1/alice")
    set_level(desk, BLOCK_NEW, "firm/alpha")
    set_level(desk, NORMAL, "firm")
    assert code(desk.ask(rq.Submit(terms()))) == "TRADING_FROZEN"
    assert code(desk.ask(rq.Submit(terms()), BOB)) == "TRADING_BLOCKED"
    assert code(desk.ask(rq.Submit(terms(account="ACC3")), BOB)) == "Accepted"
    set_level(desk, NORMAL, "firm/alpha/ACC1/alice")
    assert code(desk.ask(rq.Submit(terms()))) == "TRADING_BLOCKED"


def test_reduce_only_orders_are_new_orders_too() -> None:
    desk = Desk()
    desk.ask(rq.AdjustPosition("ACC1", "alice", "AAPL", 100, 10_000, "opening balance"))
    set_level(desk, BLOCK_NEW)
    assert code(desk.ask(rq.Submit(terms(10, side=Side.SELL, reduce_only=True)))) == "TRADING_BLOCKED"


# ---------------------------------------------------------------- what is cancelled


def live_orders(desk: Desk) -> dict[str, Order]:
    """One of each kind that is there when somebody pulls the plug."""
    orders = {
        "pending": desk.submit(terms(10)),
        "working": desk.working(terms(10)),
        "being cancelled": desk.working(terms(10)),
        "being replaced": desk.working(terms(10)),
        "filled": desk.working(terms(10)),
        "filled, growing": desk.working(terms(10)),
        "of another account": desk.working(terms(10, account="ACC3"), BOB),
        "cancelled": desk.working(terms(10)),
        "done for the day": desk.working(terms(10)),
        "day order done for the day": desk.working(terms(10, time_in_force=TimeInForce.DAY)),
    }
    desk.ask(rq.Cancel(orders["being cancelled"].order_id))
    desk.ask(rq.Replace(orders["being replaced"].order_id, quantity=20))
    for name in ("filled", "filled, growing"):
        one = orders[name]
        desk.report(
            kind=ExecType.TRADE, cl_ord_id=one.cl_ord_id, exec_id=name, last_quantity=10, last_price=1
        )
    desk.ask(rq.Replace(orders["filled, growing"].order_id, quantity=20))
    desk.report(kind=ExecType.CANCELED, cl_ord_id=orders["cancelled"].cl_ord_id)
    for name in ("done for the day", "day order done for the day"):
        desk.report(kind=ExecType.DONE_FOR_DAY, cl_ord_id=orders[name].cl_ord_id)
    return orders


def test_cancel_all_asks_for_every_order_below_that_may_still_execute() -> None:
    desk = Desk()
    orders = live_orders(desk)
    before = len(desk.sent)
    outcome = set_level(desk, CANCEL_ALL, "firm/alpha")
    hit = ["pending", "working", "being replaced", "filled, growing", "done for the day"]
    assert isinstance(outcome, MassCanceled)
    assert outcome.skipped == 1
    assert sorted(outcome.order_ids) == [orders[name].order_id for name in hit]
    assert all(isinstance(message, CancelOrder) for message in desk.sent[before:])
    assert len(desk.sent) - before == len(hit)
    assert not orders["of another account"].is_asked_to_cancel()
    assert all(
        not order.may_execute or order.is_asked_to_cancel()
        for order in orders.values()
        if order.terms.account == "ACC1"
    )
    whys = {
        event.why for _, _, event in desk.events if isinstance(event, ev.CancelRequested) and event.by == BOB
    }
    assert whys == {"kill switch"}


@pytest.mark.parametrize("level", [BLOCK_NEW, FREEZE, NORMAL])
def test_other_levels_cancel_nothing(level: TradingLevel) -> None:
    desk = Desk()
    live_orders(desk)
    before = list(desk.sent)
    assert set_level(desk, level) == MassCanceled(())
    assert desk.sent == before


def test_cancel_all_at_a_frozen_node_thaws_it() -> None:
    """It takes the place of the level that was there, so it is not held back by it."""
    desk = Desk()
    order = desk.working(terms())
    set_level(desk, FREEZE)
    assert set_level(desk, CANCEL_ALL) == MassCanceled((order.order_id,))
    assert isinstance(desk.sent[-1], CancelOrder)


@pytest.mark.parametrize("node", ["firm", "firm/alpha/ACC1/alice"])
def test_cancel_all_leaves_alone_what_another_node_has_frozen(node: str) -> None:
    desk = Desk()
    frozen, other = desk.working(terms()), desk.working(terms(account="ACC3"), BOB)
    set_level(desk, FREEZE, "firm/alpha/ACC1")
    outcome = set_level(desk, CANCEL_ALL, node)
    assert outcome == MassCanceled((other.order_id,) if node == "firm" else (), skipped=1)
    assert not frozen.is_asked_to_cancel()


def test_cancels_are_kept_for_a_venue_that_cannot_be_reached() -> None:
    desk = Desk()
    order = desk.working(terms())
    desk.disconnect()
    before = len(desk.sent)
    assert set_level(desk, CANCEL_ALL) == MassCanceled((order.order_id,))
    assert len(desk.sent) == before
    desk.session.connected()
    desk.resume_end("")
    desk.reconcile(order)
    assert desk.sent[-1] == CancelOrder("T-1-2", "T-1-1", "AAPL", Side.BUY)


# ---------------------------------------------------------------- frozen means frozen


def test_time_cancels_nothing_that_is_frozen_and_makes_up_for_it_later() -> None:
    desk = Desk()
    desk.ask(rq.OpenSession(grace_ns=0))
    desk.working(terms(10))
    desk.working(terms(10, time_in_force=TimeInForce.DAY), BOB)
    set_level(desk, FREEZE)
    desk.ask(rq.SessionBroken())
    before = list(desk.sent)
    assert desk.pass_time(24 * 3600) == []
    assert desk.sent == before
    set_level(desk, NORMAL)
    desk.pass_time(5)
    assert [
        message.orig_cl_ord_id for message in desk.sent[len(before) :] if isinstance(message, CancelOrder)
    ] == [
        "T-2-1",
        "T-1-1",
    ]


def test_reduce_only_orders_stay_as_they_are_while_they_are_frozen() -> None:
    desk = Desk()
    desk.ask(rq.AdjustPosition("ACC1", "alice", "AAPL", 100, 10_000, "opening balance"))
    order = desk.working(terms(100, side=Side.SELL, reduce_only=True))
    set_level(desk, FREEZE)
    desk.ask(rq.AdjustPosition("ACC1", "alice", "AAPL", -1, 10_000, "transfer"))
    assert not order.is_asked_to_cancel()
    set_level(desk, NORMAL)
    desk.ask(rq.AdjustPosition("ACC1", "alice", "AAPL", -1, 10_000, "transfer"))
    assert order.is_asked_to_cancel()


# ---------------------------------------------------------------- automatic blocks

BLOCKING = (
    NO_LIMITS
    + """
[account.ACC1]
max_denials = 2
cooling_off_s = "30"
max_order_quantity = "10"
"""
)


def test_too_many_denials_block_and_time_alone_never_enables() -> None:
    desk = Desk(BLOCKING)
    order = desk.working(terms(10))
    assert code(desk.ask(rq.Submit(terms(11)))) == "MAX_ORDER_QUANTITY"
    assert code(desk.ask(rq.Submit(terms(10)))) == "Accepted"
    assert code(desk.ask(rq.Submit(terms(12)))) == "MAX_ORDER_QUANTITY"
    blocks = [event for _, _, event in desk.events if isinstance(event, ev.NodeBlocked)]
    assert [(one.node, one.denials) for one in blocks] == [("firm/alpha/ACC1", 2)]
    assert code(desk.ask(rq.Submit(terms(10)))) == "AUTO_BLOCKED"
    assert code(desk.ask(rq.Submit(terms(10, account="ACC2")))) == "Accepted"
    assert code(set_level(desk, NORMAL, "firm/alpha/ACC1")) == "STILL_COOLING_OFF"
    assert desk.ask(rq.Cancel(order.order_id)) == Accepted(order.order_id)
    desk.pass_time(3600)
    assert code(desk.ask(rq.Submit(terms(10)))) == "AUTO_BLOCKED"
    assert code(set_level(desk, NORMAL, "firm/alpha/ACC1")) == "MassCanceled"
    assert code(desk.ask(rq.Submit(terms(10)))) == "Accepted"
    assert desk.replayed().digest() == desk.state.digest()


def test_a_blocked_node_can_be_made_stricter_while_it_cools_off() -> None:
    desk = Desk(BLOCKING)
    for _ in range(2):
        desk.ask(rq.Submit(terms(11)))
    assert code(set_level(desk, FREEZE, "firm/alpha/ACC1")) == "MassCanceled"
    assert code(desk.ask(rq.Submit(terms(10)))) == "TRADING_FROZEN"
    assert code(set_level(desk, BLOCK_NEW, "firm/alpha/ACC1")) == "MassCanceled"
    assert code(set_level(desk, NORMAL, "firm/alpha/ACC1")) == "STILL_COOLING_OFF"


def test_who_set_a_level_and_why_is_in_the_journal() -> None:
    desk = Desk()
    desk.ask(rq.SetLevel("firm/beta", CANCEL_ALL, "runaway robot"), ALICE)
    assert [event for _, _, event in desk.events if isinstance(event, ev.LevelSet)] == [
        ev.LevelSet("firm/beta", CANCEL_ALL, ALICE, "runaway robot")
    ]
