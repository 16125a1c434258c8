"""The venue that misbehaves: what it does is what was asked for, a seed repeats it, and a firm that keeps to the protocol comes out right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

import msgspec
import pytest
from tests.toucan.exchange.script import START_NS

from toucan.core.values import ExecType, OrderType, Side, TimeInForce
from toucan.core.venue_messages import (
    CancelOrder,
    MassStatusRequest,
    NewOrder,
    ReplaceOrder,
    Report,
    Resume,
    ResumeEnd,
    StatusRequest,
    ToVenue,
    Welcome,
)
from toucan.venue.events import Disconnected
from toucan.venue.misbehaving import BEHAVES, MISBEHAVES, Behaviour, MisbehavingVenue

from .harness import FirmSession, LocalUnderTest, order

_MS = 1_000_000
BUY, SELL = Side


def _venue(behaviour: Behaviour, seed: int = 1) -> tuple[LocalUnderTest, MisbehavingVenue]:
    under_test = LocalUnderTest(behaviour, seed)
    assert isinstance(under_test.core, MisbehavingVenue)
    return under_test, under_test.core


def _calm(core: MisbehavingVenue) -> None:
    """From now on it behaves."""
    core.behaviour = BEHAVES


# ---------------------------------------------------------------- each by itself


def test_late_reports_come_later_and_in_order() -> None:
    under_test, _ = _venue(Behaviour(late=1.0, late_ns_max=20 * _MS))
    one = under_test.session("one")
    began_ns = under_test.now_ns()
    one.tell(*(order(f"x{number}", BUY, 10, 50) for number in range(10)))
    assert one.reports == []
    assert [one.next().cl_ord_id for _ in range(10)] == [f"x{number}" for number in range(10)]
    assert began_ns < under_test.now_ns() <= began_ns + 21 * _MS


def test_a_duplicate_has_the_same_number() -> None:
    under_test, _ = _venue(Behaviour(duplicate=1.0))
    one = under_test.session("one")
    first = one.ask(order("x", BUY, 10, 50))
    assert one.repeated == [first]


def test_a_lost_report_leaves_a_gap_that_resuming_closes() -> None:
    under_test, core = _venue(Behaviour(lose=1.0))
    one = under_test.session("one")
    one.tell(order("x", BUY, 10, 50))
    assert one.nothing_more()
    _calm(core)
    one.tell(order("y", BUY, 10, 50))
    assert (one.gaps, one.reports) == (1, [])
    one.tell(Resume("one", one.life, 0))
    assert [one.next().cl_ord_id, one.next().cl_ord_id] == ["x", "y"]


def test_the_end_of_a_mass_status_is_never_told_behind_a_loss() -> None:
    under_test, core = _venue(Behaviour(lose=1.0))
    one = under_test.session("one")
    one.tell(order("x", BUY, 10, 50))
    _calm(core)
    one.tell(MassStatusRequest("q"))
    assert one.count(Disconnected) == 1
    one.wait(lambda: one.count(ResumeEnd) == 2)
    assert one.next().cl_ord_id == "x"


def test_answers_about_the_status_are_never_lost() -> None:
    under_test, core = _venue(BEHAVES)
    one = under_test.session("one")
    one.ask(order("x", BUY, 10, 50))
    core.behaviour = Behaviour(lose=1.0)
    assert one.ask(StatusRequest("x")).kind is ExecType.ORDER_STATUS
    one.tell(MassStatusRequest("q"))
    assert one.next().kind is ExecType.ORDER_STATUS
    assert ResumeEnd("q") in one.events


def test_reports_of_two_orders_change_places_but_not_those_of_one() -> None:
    under_test, _ = _venue(Behaviour(swap=1.0))
    one = under_test.session("one")
    one.tell(order("x", SELL, 5, 50), order("y", SELL, 5, 51))
    one.tell(order("b", BUY, 10, 51))
    seen = [(report.cl_ord_id, report.kind) for report in one.reports[2:]]
    own = [kind for name, kind in seen if name == "b"]
    assert own == [ExecType.NEW, ExecType.TRADE, ExecType.TRADE]
    assert seen != [
        ("b", ExecType.NEW), ("x", ExecType.TRADE), ("b", ExecType.TRADE), ("y", ExecType.TRADE), ("b", ExecType.TRADE),
    ]  # fmt: skip
    assert [report.venue_seq for report in one.reports] == list(range(1, 8))


def test_a_fill_that_is_held_back_comes_after_the_cancel_and_says_nothing_of_the_order() -> None:
    under_test, _ = _venue(Behaviour(hold_fill=1.0, late_ns_max=5 * _MS))
    one, other = under_test.session("one"), under_test.session("other")
    one.tell(order("x", BUY, 10, 50))
    other.tell(order("y", SELL, 4, 50))
    one.tell(CancelOrder("c", "x", "ABC", BUY))
    assert [report.kind for report in one.reports] == [ExecType.NEW, ExecType.CANCELED]
    assert one.next_kinds(3) == [ExecType.NEW, ExecType.CANCELED, ExecType.TRADE]
    fill = one.reports[-1]
    assert (fill.last_quantity, fill.ord_status, fill.cum_quantity, fill.leaves_quantity) == (
        4,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    "following",
    [MassStatusRequest("q"), Resume("one", "L", 1)],
)
def test_no_fill_is_held_back_behind_what_says_that_all_was_told(following: ToVenue) -> None:
    under_test, _ = _venue(Behaviour(hold_fill=1.0, late_ns_max=1000 * _MS))
    one, other = under_test.session("one"), under_test.session("other")
    one.tell(order("x", BUY, 10, 50))
    other.tell(order("y", SELL, 4, 50))
    assert len(one.reports) == 1
    one.tell(following)
    assert one.reports[1].kind is ExecType.TRADE


def test_no_fill_is_held_back_behind_its_bust() -> None:
    under_test, _ = _venue(Behaviour(hold_fill=1.0, late_ns_max=1000 * _MS))
    one = under_test.session("one")
    one.tell(order("x", BUY, 10, 50), order("y", SELL, 10, 50))
    under_test.operate("bust", exec_id="L-E3")
    kinds = Counter(report.kind for report in one.reports)
    assert kinds[ExecType.TRADE] == kinds[ExecType.TRADE_CANCEL] == 2
    for bust in (report for report in one.reports if report.kind is ExecType.TRADE_CANCEL):
        assert bust.exec_ref_id in {report.exec_id for report in one.reports[: bust.venue_seq]}


def test_a_request_vanishes() -> None:
    under_test, core = _venue(Behaviour(swallow=1.0))
    one = under_test.session("one")
    one.tell(order("x", BUY, 10, 50))
    _calm(core)
    assert one.ask(StatusRequest("x")).reason == "unknown-order"


@pytest.mark.parametrize("seed", range(6))
def test_a_connection_breaks_before_or_after_a_request_was_carried_out(seed: int) -> None:
    under_test, core = _venue(Behaviour(cut_at_request=1.0), seed)
    one = under_test.session("one")
    one.tell(order("x", BUY, 10, 50))
    assert one.count(Disconnected) == 1
    _calm(core)
    one.wait(lambda: one.count(ResumeEnd) == 2)
    arrived = "x" in under_test.exchange.firm("one").ids
    assert [report.kind for report in one.reports] == ([ExecType.NEW] if arrived else [])
    # Both happen.
    assert {_breaks_before(number) for number in range(20)} == {True, False}


def _breaks_before(seed: int) -> bool:
    under_test, _ = _venue(Behaviour(cut_at_request=1.0), seed)
    under_test.session("one").tell(order("x", BUY, 10, 50))
    return "x" not in under_test.exchange.firm("one").ids


def test_connections_break_by_themselves() -> None:
    under_test, _ = _venue(Behaviour(cut=1.0))
    one = under_test.session("one")
    one.wait(lambda: one.count(Disconnected) >= 3)


def _traded(behaviour: Behaviour) -> tuple[LocalUnderTest, FirmSession]:
    under_test, _ = _venue(behaviour)
    one = under_test.session("one")
    one.allows_resends = True
    one.tell(order("x", BUY, 10, 50), order("y", SELL, 4, 50))
    one.next_kinds(4)
    return under_test, one


def test_trades_are_cancelled_and_corrected_by_the_operator() -> None:
    _, one = _traded(Behaviour(bust=1.0))
    assert one.next_kinds(2) == [ExecType.TRADE_CANCEL] * 2
    _, one = _traded(Behaviour(correct=1.0))
    assert one.next_kinds(2) == [ExecType.TRADE_CORRECT] * 2
    assert one.reports[-1].last_price == 51


def test_orders_are_cancelled_by_the_operator() -> None:
    _, one = _traded(Behaviour(cancel=1.0))
    report = one.next()
    assert (report.kind, report.reason) == (ExecType.CANCELED, "operator")


def test_an_old_execution_is_told_again_under_a_new_number() -> None:
    _, one = _traded(Behaviour(resend=1.0))
    again = one.next()
    assert again.kind is ExecType.TRADE
    assert again.exec_id in {report.exec_id for report in one.reports[:-1]}
    kinds = set()
    _, one = _traded(Behaviour(resend=1.0, resends_all_kinds=True))
    for _ in range(30):
        kinds.add(one.next().kind)
    assert kinds == {ExecType.NEW, ExecType.TRADE}


def test_more_is_filled_than_was_ordered() -> None:
    under_test, one = _traded(Behaviour(over_fill=1.0))
    fill = one.next()
    assert fill.kind is ExecType.TRADE
    assert fill.quantity is not None
    assert fill.last_quantity > fill.quantity
    assert fill.exec_id not in {report.exec_id for report in one.reports[:-1]}
    known = under_test.exchange.firm("one").ids
    assert all(order.cum_quantity <= order.quantity for order in known.values())


# ---------------------------------------------------------------- all together


class Trader:
    """Sends at random, and keeps to the protocol: resumes at a gap, and asks again for nothing that may have arrived."""

    def __init__(self, under_test: LocalUnderTest, firm: str, chance: Random) -> None:
        self.firm = firm
        self.session = under_test.session(firm)
        self.session.allows_resends = True
        self._chance = chance
        self._sent: list[NewOrder] = []
        self._gaps = 0
        self._requests = 0

    def act(self) -> None:
        if self.session.gaps > self._gaps:
            self._gaps = self.session.gaps
            newest = self.session.reports[-1].venue_seq if self.session.reports else 0
            self.session.link.send([Resume(self.firm, self.session.life, newest)])
        self.session.link.send([self._request()])

    def _request(self) -> ToVenue:
        self._requests += 1
        name = f"{self.firm}{self._requests}"
        kind = self._chance.random()
        if kind < 0.6 or not self._sent:
            side = self._chance.choice((BUY, SELL))
            wanted = order(name, side, self._chance.randint(1, 20), self._chance.randint(48, 52))
            self._sent.append(wanted)
            return wanted
        old = self._chance.choice(self._sent)
        if kind < 0.75:
            return CancelOrder(name, old.cl_ord_id, "ABC", old.side)
        if kind < 0.9:
            quantity, price = self._chance.randint(1, 20), self._chance.randint(48, 52)
            return ReplaceOrder(name, old.cl_ord_id, "ABC", old.side, OrderType.LIMIT, quantity, price)
        return StatusRequest(old.cl_ord_id) if kind < 0.97 else MassStatusRequest(name)

    def executed(self) -> dict[str, int]:
        """By the venue's order id, from what was told: each execution once, corrections and busts counted, what no venue may do left out."""
        fills: dict[str, tuple[str, int]] = {}
        for report in self.session.reports:
            if "-X" in report.exec_id:
                continue
            if report.kind is ExecType.TRADE and report.exec_id not in fills:
                fills[report.exec_id] = (report.venue_order_id, report.last_quantity)
            elif report.kind is ExecType.TRADE_CANCEL:
                fills[report.exec_ref_id] = (report.venue_order_id, 0)
            elif report.kind is ExecType.TRADE_CORRECT:
                fills[report.exec_ref_id] = (report.venue_order_id, report.last_quantity)
        total: Counter[str] = Counter()
        for order_id, quantity in fills.values():
            total[order_id] += quantity
        return {order_id: quantity for order_id, quantity in total.items() if quantity}


def _course(behaviour: Behaviour | None, seed: int, turns: int = 400) -> tuple[LocalUnderTest, list[Trader]]:
    under_test = LocalUnderTest(behaviour, seed)
    chance = Random(seed + 1000)
    traders = [Trader(under_test, firm, chance) for firm in ("one", "other")]
    for _ in range(turns):
        for trader in traders:
            trader.act()
        under_test.venue.advance(under_test.now_ns() + chance.randint(0, 5 * _MS))
    return under_test, traders


@pytest.mark.parametrize("seed", range(8))
def test_who_keeps_to_the_protocol_knows_all_that_was_executed(seed: int) -> None:
    under_test, traders = _course(MISBEHAVES, seed)
    assert isinstance(under_test.core, MisbehavingVenue)
    _calm(under_test.core)
    for trader in traders:
        trader.session.link.reconnect()
    under_test.venue.advance(under_test.now_ns() + 1000 * _MS)
    under_test.venue.advance(under_test.now_ns() + 1000 * _MS)
    for trader in traders:
        known = under_test.exchange.firm(trader.firm).ids.values()
        truth = {one.venue_order_id: one.cum_quantity for one in known if one.cum_quantity}
        assert trader.executed() == truth
    assert any(trader.session.gaps for trader in traders)


def test_everything_happens() -> None:
    counts: Counter[str] = Counter()
    for seed in range(6):
        under_test, _ = _course(MISBEHAVES, seed)
        assert isinstance(under_test.core, MisbehavingVenue)
        counts.update(under_test.core.counts)
    named = {name for name, value in msgspec.structs.asdict(MISBEHAVES).items() if isinstance(value, float)}
    assert set(counts) == named


def _told(behaviour: Behaviour | None, seed: int) -> list[list[object]]:
    _, traders = _course(behaviour, seed, 150)
    return [list(trader.session.events) for trader in traders]


def test_a_seed_gives_the_same_course_again_and_another_seed_another() -> None:
    assert _told(MISBEHAVES, 3) == _told(MISBEHAVES, 3)
    assert _told(MISBEHAVES, 3) != _told(MISBEHAVES, 4)


@pytest.mark.parametrize("seed", range(3))
def test_with_nothing_to_do_it_is_the_exchange_that_it_is_around(seed: int) -> None:
    assert _told(BEHAVES, seed) == _told(None, seed)


def test_how_often_it_is_called_changes_nothing_that_it_does_by_itself() -> None:
    def course(steps: Iterator[int]) -> list[object]:
        under_test, _ = _venue(Behaviour(bust=0.3, cut=0.2, resend=0.3), 5)
        one = under_test.session("one")
        one.tell(order("x", BUY, 10, 50), order("y", SELL, 4, 50))
        for at_ms in steps:
            under_test.venue.advance(START_NS + at_ms * _MS)
        return [event for event in one.events if isinstance(event, (Report, Disconnected, Welcome))]

    assert course(iter(range(0, 501, 10))) == course(iter(range(0, 501, 1)))


def test_the_next_time_is_always_later() -> None:
    under_test, _ = _venue(MISBEHAVES, 2)
    one = under_test.session("one")
    one.allows_resends = True
    for number in range(100):
        one.link.send([order(f"x{number}", BUY if number % 2 else SELL, 10, 50)])
        for _ in range(5):
            at_ns = under_test.venue.next_at_ns()
            assert at_ns is not None
            assert at_ns > under_test.now_ns()
            under_test.venue.advance(at_ns)


def test_it_is_a_day_like_any_other() -> None:
    under_test, core = _venue(Behaviour(late=0.5))
    one = under_test.session("one")
    one.tell(order("x", BUY, 10, 50, time_in_force=TimeInForce.DAY))
    under_test.venue.advance(under_test.now_ns() + 86_400_000 * _MS)
    assert one.next_kinds(2) == [ExecType.NEW, ExecType.EXPIRED]
    assert core.symbols() == ["ABC"]
