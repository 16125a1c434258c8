"""What a venue only acknowledges waits a moment for company, and nothing else waits because of it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, cast

import msgspec
import pytest
from tests.toucan.core.desk import ALICE, START_NS, Desk, terms

from toucan.core import requests as rq
from toucan.core.order import Order
from toucan.core.values import ExecType, OrdStatus
from toucan.core.venue_messages import Quote, Report
from toucan.engine.clock import EngineClock
from toucan.engine.front_door import Front, FrontJoined
from toucan.engine.handshake import decode_market
from toucan.engine.loop import EngineLoop, FromVenueLink
from toucan.engine.shared import SharedLog, attach_log
from toucan.limits import PATIENCE_S, PATIENT_RECORDS_MAX, TICK_S

_MS = 1_000_000
_encode = msgspec.msgpack.Encoder().encode


class Commits:
    """A journal that keeps nothing and counts: how many records each commit had."""

    def __init__(self, seq: int) -> None:
        self.committed_seq = seq
        self.sizes: list[int] = []
        self.noted_seq = seq
        self._staged: list[int] = []

    def append(self, first_seq: int, count: int, at_ns: int, payload: bytes) -> None:
        self._staged.append(first_seq + count - 1)

    def commit(self, *, is_urgent: bool = False, is_noted: bool = True) -> int:
        self.sizes.append(len(self._staged))
        self.committed_seq = self._staged[-1]
        self._staged = []
        return self.committed_seq

    def note(self) -> None:
        self.noted_seq = self.committed_seq

    def prepare(self) -> bool:
        return False


class Pipe:
    """A front end's channel."""

    def __init__(self) -> None:
        self.requests: deque[bytes] = deque()
        self.replies: list[bytes] = []
        self.has_staged = False
        self.on_wake: Callable[[], None] = lambda: None

    def receive(self, count_max: int) -> list[bytes]:
        return [self.requests.popleft() for _ in range(min(count_max, len(self.requests)))]

    def send(self, message: bytes) -> bool:
        self.replies.append(message)
        return True

    def wake(self) -> None:
        self.on_wake()


class Link:
    """A way to a venue that takes everything."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    def send(self, messages: list[object]) -> bool:
        self.sent += messages
        return True

    def resume_from(self, life: str, venue_seq: int) -> None: ...


class World:
    """A loop with one front end, a venue that is ready, and time that stands still."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.now_ns = 0
        self.journal, self.pipe, self.link = Commits(self.desk.state.seq), Pipe(), Link()
        self.logs = [SharedLog("events", 1 << 16), SharedLog("market", 1 << 16)]
        self.loop = EngineLoop(
            self.desk.state, self.desk.decider, {"SIM": self.desk.session}, {"SIM": cast(Any, self.link)}, self.journal,
            self.logs[0], self.logs[1], EngineClock(lambda: START_NS + self.now_ns, lambda: self.now_ns), recover=lambda: self.desk.state,
            drop_front=lambda number: None, patience_s=PATIENCE_S,
        )  # fmt: skip
        self.loop.deliver(FrontJoined(Front(1, "front", cast(Any, self.pipe))))
        self.loop.turn()
        self._venue_seq = 0

    def submit(self) -> None:
        number = len(self.pipe.replies) + len(self.pipe.requests) + 1
        self.pipe.requests.append(_encode(rq.Request(number, ALICE, number, rq.Submit(terms()))))

    def order(self) -> Order:
        """One that was accepted, answered and sent."""
        self.submit()
        self.loop.turn()
        return [*self.desk.state.orders.values()][-1]

    def report(self, order: Order, kind: ExecType, **more: Any) -> None:
        self._venue_seq += 1
        report = Report(kind, order.cl_ord_id, self._venue_seq, **more)
        self.loop.deliver(FromVenueLink("SIM", [report]))

    def commits_of_a_turn(self) -> list[int]:
        self.journal.sizes.clear()
        self.loop.turn()
        return self.journal.sizes


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    for log in world.logs:
        log.close()


def test_an_acknowledgement_shares_the_sync_of_the_request_that_comes_next(world: World) -> None:
    order = world.order()
    world.report(order, ExecType.NEW)
    assert world.commits_of_a_turn() == []
    assert order.status is OrdStatus.NEW, "it is applied, and not told"
    assert world.journal.committed_seq < world.desk.state.seq
    assert 0 < world.loop.rest_s <= PATIENCE_S
    world.submit()
    assert world.commits_of_a_turn() == [2]
    assert world.journal.committed_seq == world.journal.noted_seq == world.desk.state.seq
    assert world.loop.rest_s == TICK_S


def test_it_waits_no_longer_than_it_may(world: World) -> None:
    world.report(world.order(), ExecType.NEW)
    assert world.commits_of_a_turn() == []
    world.now_ns += int(PATIENCE_S * 1e9) - 1
    assert world.commits_of_a_turn() == []
    world.now_ns += 1
    assert world.loop.rest_s == 0
    assert world.commits_of_a_turn() == [1]


def test_a_fill_and_a_refusal_wait_for_nothing_and_take_along_what_waits(world: World) -> None:
    first, second = world.order(), world.order()
    world.report(first, ExecType.NEW)
    assert world.commits_of_a_turn() == []
    world.report(first, ExecType.TRADE, exec_id="1", last_quantity=1, last_price=10_000)
    assert world.commits_of_a_turn() == [2]
    world.report(second, ExecType.REJECTED)
    assert world.commits_of_a_turn() == [1]


def test_many_are_company_for_each_other(world: World) -> None:
    orders = [world.order() for _ in range(PATIENT_RECORDS_MAX + 1)]
    for order in orders[:-1]:
        world.report(order, ExecType.NEW)
    assert world.commits_of_a_turn() == []
    world.report(orders[-1], ExecType.NEW)
    assert world.commits_of_a_turn() == [PATIENT_RECORDS_MAX + 1]


def test_a_tick_lets_nothing_wait(world: World) -> None:
    world.report(world.order(), ExecType.NEW)
    world.now_ns += int(TICK_S * 1e9)
    assert world.commits_of_a_turn() == [1]


def test_who_is_woken_for_a_quote_finds_it(world: World) -> None:
    """Nobody is woken for it a second time: the last quote before a silence would stay unseen."""
    log = attach_log(os.dup(world.logs[1].read_only_fd))
    found: list[int | None] = []

    def look() -> None:
        for message in log.take(10):
            quote = decode_market(cast(Any, message).payload)
            assert isinstance(quote, Quote)
            found.append(quote.last_price)

    world.pipe.on_wake = look
    for price in (10_000, 10_001):
        world.loop.deliver(FromVenueLink("SIM", [Quote("AAPL", START_NS, last_price=price)]))
        world.loop.turn()
        assert found[-1:] == [price]
