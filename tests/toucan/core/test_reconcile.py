"""In step with a venue, whatever is lost: each way a connection can break around each request, with a real exchange at the other end.

A script runs over a line that is cut after a number of messages, for every number: from there on nothing arrives, either way. After the next
connection the engine must know exactly what the exchange knows, and must have sent nothing twice.
"""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
from tests.toucan.core.desk import BOB, INSTRUMENTS, START_NS, Desk, terms

from toucan.core import events as ev
from toucan.core import requests as rq
from toucan.core.order import Order
from toucan.core.outcomes import Accepted, Refusal, Refused
from toucan.core.reconcile import Phase
from toucan.core.values import OrderType, OrdStatus, Side, TimeInForce
from toucan.core.venue_messages import (
    CancelOrder,
    FromVenue,
    MassStatusRequest,
    NewOrder,
    ReplaceOrder,
    Report,
    Resume,
    ResumeEnd,
    ToVenue,
    Welcome,
)
from toucan.exchange.core.exchange import Exchange
from toucan.exchange.core.operator import Operator, OperatorError
from toucan.exchange.core.orders import VenueOrder

FIRM = "FIRM"
NEVER = 10**9


class Line:
    """A desk, an exchange, and what is between them; ``cut_after`` messages, either way, nothing arrives any more."""

    def __init__(self, cut_after: int = NEVER) -> None:
        self.desk = Desk(is_ready=False)
        self.exchange = Exchange(INSTRUMENTS.values(), life="L1", now_ns=START_NS)
        self.cut_after = cut_after
        self.count = 0
        self.counterparty = 0
        #: Requests that were handed to the line, and those that have arrived.
        self.sent: Counter[str] = Counter()
        self.arrived: list[ToVenue] = []
        self.trades: dict[str, Report] = {}
        self.connect()

    # ------------------------------------------------------------ the line

    @property
    def is_cut(self) -> bool:
        return self.count >= self.cut_after

    def _passes(self) -> bool:
        self.count += 1
        return self.count <= self.cut_after

    def connect(self) -> None:
        """A connection, up to the point at which the engine has settled everything."""
        self.desk.session.connected()
        self._to_venue(self.desk.session.resume())
        self.pump()

    def reconnect(self) -> None:
        """The cut is noticed, and there is another connection without one."""
        self.desk.disconnect()
        self.cut_after = NEVER
        self.desk.sent.clear()
        self.connect()

    def pump(self) -> None:
        """Whatever was sent arrives, until nobody has anything to say."""
        while self.desk.sent:
            message = self.desk.sent.pop(0)
            if isinstance(message, (NewOrder, CancelOrder, ReplaceOrder)):
                self.sent[message.cl_ord_id] += 1
            self._to_venue(message)

    def _to_venue(self, message: ToVenue) -> None:
        if self._passes():
            self.arrived.append(message)
            self.hear(self.exchange.handle(FIRM, message, self.desk.now_ns))

    def hear(self, told: list[tuple[str, FromVenue]]) -> None:
        """What the exchange says arrives, or does not."""
        for firm, message in told:
            if firm != FIRM:
                continue
            if isinstance(message, Report) and message.last_quantity:
                self.trades[message.exec_id] = message
            if self._passes():
                self._take(message)

    def _take(self, message: FromVenue) -> None:
        session = self.desk.session
        if isinstance(message, Report):
            events, answers = session.report(message)
        elif isinstance(message, ResumeEnd):
            events, answers = session.resume_end(message)
        else:
            assert isinstance(message, Welcome)
            events, answers = session.welcome(message), []
        self.desk.apply(events)
        self.desk.sent += answers

    # ------------------------------------------------------------ steps of a script

    def step(self, text: str) -> None:
        """One word, then numbers: the order's (1 is the first), quantities, prices."""
        word, *more = text.split()
        numbers = [int(one) for one in more]
        match word:
            case "new" | "sell":
                quantity, price = numbers
                side = Side.BUY if word == "new" else Side.SELL
                self.desk.ask(rq.Submit(terms(quantity, price or None, side=side)))
            case "cancel":
                self.desk.ask(rq.Cancel(numbers[0]))
            case "quantity":
                self.desk.ask(rq.Replace(numbers[0], quantity=numbers[1]))
            case "price":
                self.desk.ask(rq.Replace(numbers[0], price=numbers[1]))
            case "price-and-cancel":
                self.desk.ask(rq.Replace(numbers[0], price=numbers[1]))
                self.desk.ask(rq.Cancel(numbers[0]))
            case "trade":
                self.trade(numbers[0])
            case _:
                # What turns out to be impossible, since the order or the trade is not there, is left alone.
                with contextlib.suppress(OperatorError):
                    self.hear(self.operate(word, numbers))
        self.pump()

    def trade(self, quantity: int) -> None:
        """Somebody else sells to whatever is bought here."""
        self.counterparty += 1
        message = NewOrder(
            f"C-{self.counterparty}",
            "THEM",
            "AAPL",
            Side.SELL,
            OrderType.LIMIT,
            TimeInForce.IOC,
            quantity,
            9_000,
        )
        self.hear(self.exchange.handle("OTHER", message, self.desk.now_ns))

    def operate(self, word: str, numbers: list[int]) -> list[tuple[str, FromVenue]]:
        """The exchange's people do something."""
        them, now_ns = Operator(self.exchange), self.desk.now_ns
        trade = next(reversed(self.trades), "none")
        match word:
            case "halt":
                return them.halt("AAPL", now_ns)
            case "end-day":
                return them.done_for_day("AAPL", now_ns)
            case "drop":
                return them.cancel(FIRM, f"T-{numbers[0]}-1", now_ns)
            case "restate":
                return them.restate(FIRM, f"T-{numbers[0]}-1", now_ns, quantity=numbers[1])
            case "bust":
                return them.bust(trade, now_ns)
            case "reinstate":
                return them.bust(trade, now_ns, is_reinstated=True)
        assert word == "correct"
        return them.correct(trade, now_ns, quantity=numbers[0], price=numbers[1])

    # ------------------------------------------------------------ the truth

    def order_there(self, order: Order) -> VenueOrder | None:
        """What the exchange has of it, under any id it may know it by."""
        ids = self.exchange.firm(FIRM).ids
        return ids.get(order.first_cl_ord_id)

    def check(self) -> None:
        """The engine knows what the exchange knows, no more and no less; and has sent no request twice, cancels aside."""
        desk = self.desk
        assert desk.session.phase is Phase.READY
        for order in desk.state.orders.values():
            there = self.order_there(order)
            assert order.requests == []
            if there is None:
                assert (order.status, order.reason) == (OrdStatus.REJECTED, "not-received")
                continue
            assert order.status is there.status
            assert (order.cum_quantity, order.leaves_quantity) == (there.cum_quantity, there.leaves_quantity)
            assert (order.terms.quantity, order.terms.price) == (there.quantity, there.price)
            assert order.cl_ord_id in there.ids
        known = {order.first_cl_ord_id for order in desk.state.orders.values()}
        there_are = {order.ids[0] for order in self.exchange.firm(FIRM).ids.values()}
        assert there_are <= known
        held = sum(
            order.side.sign * order.cum_quantity for order in set(self.exchange.firm(FIRM).ids.values())
        )
        assert desk.state.positions.quantity("ACC1", "AAPL") == held
        twice = {name for name, count in self.sent.items() if count > 1}
        assert twice <= {one.cl_ord_id for one in self.arrived if isinstance(one, CancelOrder)}
        assert desk.replayed().digest() == desk.state.digest()


SCRIPTS = {
    "a new order": "new 100 10000",
    "two new orders": "new 100 10000; new 50 9990",
    "an order that is executed at once": "new 100 10000; sell 60 10000",
    "an order that is rejected": "halt; new 10 0",
    "a part fill": "new 100 10000; trade 40",
    "fills up to the end": "new 100 10000; trade 40; trade 60",
    "a cancel": "new 100 10000; cancel 1",
    "a cancel that comes too late": "new 100 10000; trade 100; cancel 1",
    "a cancel after a part fill": "new 100 10000; trade 30; cancel 1",
    "a replacement to more": "new 100 10000; quantity 1 200",
    "a replacement to less": "new 100 10000; trade 20; quantity 1 50",
    "a replacement of the price": "new 100 10000; price 1 9950",
    "a replacement that is refused": "new 100 10000; trade 100; price 1 9950",
    "a filled order that grows": "new 100 10000; trade 100; quantity 1 150",
    "two replacements": "new 100 10000; quantity 1 200; price 1 9950",
    "a replacement and a cancel at once": "new 100 10000; price-and-cancel 1 9990",
    "fills between replacements": "new 100 10000; quantity 1 200; trade 150; quantity 1 160; trade 10",
    "an unsolicited cancel": "new 100 10000; drop 1",
    "a restatement": "new 100 10000; restate 1 70",
    "a bust": "new 100 10000; trade 40; bust",
    "a bust of a filled order": "new 100 10000; trade 100; bust",
    "a bust that opens a filled order": "new 100 10000; trade 100; reinstate",
    "a correction": "new 100 10000; trade 40; correct 30 9900",
    "done for the day": "new 100 10000; trade 10; end-day",
    "everything": "new 100 10000; new 50 9990; trade 40; quantity 1 150; trade 70; price-and-cancel 1 9990; sell 30 10100; "
    "price 2 9980; correct 60 9970; cancel 2; new 20 10000; drop 3; trade 10; bust",
}


def run(name: str, cut_after: int) -> Line:
    line = Line(cut_after)
    for step in SCRIPTS[name].split(";"):
        line.step(step)
    return line


LENGTHS = {name: run(name, NEVER).count for name in SCRIPTS}


@pytest.mark.parametrize("name", SCRIPTS)
def test_without_a_cut(name: str) -> None:
    run(name, NEVER).check()


@pytest.mark.parametrize("name", SCRIPTS)
def test_after_each_way_of_breaking_the_engine_knows_the_truth(name: str) -> None:
    for cut_after in range(LENGTHS[name] + 1):
        line = run(name, cut_after)
        line.reconnect()
        line.check()


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_engine_dies_at_the_cut_and_its_next_process_knows_the_truth(name: str) -> None:
    for cut_after in range(LENGTHS[name] + 1):
        line = run(name, cut_after)
        line.desk = line.desk.restarted()
        line.reconnect()
        line.check()


@pytest.mark.parametrize("name", ["everything", "a filled order that grows", "a bust"])
def test_the_next_connection_is_cut_as_well(name: str) -> None:
    for cut_after in range(LENGTHS[name] + 1):
        for next_cut in range(8):
            line = run(name, cut_after)
            line.desk.disconnect()
            line.count, line.cut_after = 0, next_cut
            line.desk.sent.clear()
            line.connect()
            line.reconnect()
            line.check()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_venue_that_has_lost_everything_leaves_nothing_open(name: str) -> None:
    """What was told before still holds; what was open is over; and nothing is sent again."""
    for cut_after in range(LENGTHS[name] + 1):
        line = run(name, cut_after)
        held = line.desk.state.positions.quantity("ACC1", "AAPL")
        before = {
            order.order_id: (order.cum_quantity, order.status) for order in line.desk.state.orders.values()
        }
        line.exchange = Exchange(INSTRUMENTS.values(), life="L2", now_ns=START_NS)
        line.arrived.clear()
        line.reconnect()
        assert [type(message) for message in line.arrived] == [Resume, MassStatusRequest]
        assert not line.desk.state.live
        assert line.desk.state.positions.quantity("ACC1", "AAPL") == held
        for order in line.desk.state.orders.values():
            cum, status = before[order.order_id]
            assert order.cum_quantity == cum
            if status in (OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED):
                assert (order.status, order.reason) == (
                    OrdStatus.CANCELED if not cum else order.status,
                    "not-at-venue",
                )
            assert order.leaves_quantity == 0
        line.step("new 10 10000")
        assert line.desk.state.venue("SIM").life == "L2"
        assert line.desk.session.phase is Phase.READY


def test_new_orders_are_refused_until_everything_is_settled() -> None:
    """At each message of the connection; cancels are taken, and sent when they can be."""
    for cut_after in range(40):
        line = Line()
        line.step("new 100 10000")
        line.step("trade 40")
        line.desk.disconnect()
        line.count, line.cut_after = 0, cut_after
        line.connect()
        outcome = line.desk.ask(rq.Submit(terms(7)), BOB)
        if line.desk.session.phase is Phase.READY:
            assert isinstance(outcome, Accepted)
            return
        assert isinstance(outcome, Refused)
        assert outcome.code is Refusal.VENUE_NOT_READY
        assert isinstance(line.desk.ask(rq.Replace(1, quantity=200), BOB), Refused)
        assert isinstance(line.desk.ask(rq.Cancel(1), BOB), Accepted)
        assert not any(isinstance(one, CancelOrder) for one in line.desk.sent)
        line.reconnect()
        line.check()
        assert line.desk.state.orders[1].status is OrdStatus.CANCELED
    pytest.fail("it never became ready")


def test_what_the_venue_never_got_is_told_to_whoever_watches() -> None:
    line = Line()
    line.count, line.cut_after = 0, 0
    line.step("new 100 10000")
    line.reconnect()
    lost = [event for _, _, event in line.desk.events if isinstance(event, ev.RequestNotReceived)]
    assert [(one.order_id, one.cl_ord_id) for one in lost] == [(1, "T-1-1")]
    assert line.desk.state.orders[1].text.startswith("the connection was lost")
