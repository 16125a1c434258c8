"""A firm's desk in the acceptor, between an exchange and clients made by hand."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from tests.toucan.exchange.running import PATIENCE_S
from tests.toucan.fix.chain import wait_until

from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce
from toucan.core.venue_messages import MassStatusRequest, NewOrder, Report, ResumeEnd, ToVenue, Welcome
from toucan.fix.core.message import FixMessage
from toucan.fix.desk import Consumer, FirmDesk
from toucan.fix.order_book import OrderBook
from toucan.fix.position import Place, PositionFile
from toucan.venue.events import Disconnected
from toucan.venue.link import Deliver


class _Exchange:
    """Takes what it is sent if :attr:`takes` says so."""

    def __init__(self) -> None:
        self.takes = True
        self.sent: list[ToVenue] = []
        self.deliver: Deliver

    def resume_from(self, life: str, venue_seq: int) -> None:
        pass

    def start(self, deliver: Deliver) -> None:
        self.deliver = deliver

    def send(self, messages: Sequence[ToVenue]) -> bool:
        self.sent += messages if self.takes else ()
        return self.takes

    def reconnect(self) -> None:
        pass

    def stop(self) -> None:
        pass


class _Rig:
    def __init__(self, folder: Path, reports: Sequence[Report] = ()) -> None:
        self.exchange = _Exchange()
        self.goes_on = threading.Event()
        self.is_sending = self.is_numbered = False
        self.goes_on.set()
        self.told: queue.SimpleQueue[FixMessage] = queue.SimpleQueue()
        self.desk = FirmDesk("f", self.exchange, OrderBook(folder / "orders"), {}, self._send)
        self.consumer = Consumer("C", "f", PositionFile(folder / "at"), is_copy=False)
        self.desk.consumers.append(self.consumer)
        self.desk.start()
        self.exchange.deliver([Welcome("life", len(reports)), *reports, ResumeEnd()])
        self.desk.joined(self.consumer)
        wait_until(lambda: self.desk.is_there and self.consumer.is_on)

    def _send(self, session: str, message: FixMessage) -> bool:
        self.is_sending = True
        assert self.goes_on.wait(PATIENCE_S)
        self.told.put(message)
        if self.is_numbered:
            self.is_numbered = False
        elif message.whole(5802):
            self.consumer.numbered(message.whole(5802), 1)
        return True

    def next(self) -> FixMessage:
        return self.told.get(timeout=PATIENCE_S)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[_Rig]:
    rig = _Rig(tmp_path)
    yield rig
    rig.desk.stop()


def _status(venue_seq: int) -> Report:
    return Report(kind=ExecType.ORDER_STATUS, cl_ord_id="x", venue_seq=venue_seq, ord_status=OrdStatus.NEW)


def test_a_question_that_was_not_sent_holds_up_no_other_one(rig: _Rig) -> None:
    rig.exchange.takes = False
    assert not rig.desk.take(MassStatusRequest("lost"))
    rig.exchange.takes = True
    assert rig.desk.take(MassStatusRequest("q"))
    rig.exchange.deliver([_status(1), _status(2), ResumeEnd("q")])
    told = [rig.next(), rig.next()]
    assert [(one.get(584), one.get(912)) for one in told] == [("q", "N"), ("q", "Y")]


def test_an_order_that_was_not_sent_is_not_remembered(rig: _Rig, tmp_path: Path) -> None:
    first = NewOrder("x", "a", "ABC", Side.BUY, OrderType.LIMIT, TimeInForce.DAY, 10, 50)
    second = msgspec.structs.replace(first, symbol="XYZ", side=Side.SELL)
    rig.exchange.takes = False
    assert not rig.desk.take(first)
    rig.exchange.takes = True
    assert rig.desk.take(second)
    rig.exchange.takes = False
    assert not rig.desk.take(second), "the same once more: the first one is at the exchange"
    rig.exchange.deliver([Report(kind=ExecType.NEW, cl_ord_id="x", venue_seq=1, ord_status=OrdStatus.NEW)])
    told = rig.next()
    assert (told.get(55), told.get(54)) == ("XYZ", "2")
    again = OrderBook(tmp_path / "orders").get("x")
    assert again is not None
    assert again.symbol == "XYZ"


def test_reports_of_another_life_were_never_sent_before(rig: _Rig) -> None:
    rig.consumer.position.write(Place("the life before", 5, 0, 1))
    rig.consumer.begin_anew()
    rig.exchange.deliver([_status(1)])
    assert rig.next().get(97) == ""
    rig.consumer.position.write(Place("life", 1, 0, 1))
    rig.consumer.begin_anew()
    rig.desk.joined(rig.consumer)
    assert rig.next().get(97) == "Y"


def test_nothing_is_sent_over_a_connection_on_the_word_of_the_one_before(rig: _Rig) -> None:
    rig.goes_on.clear()  # the desk is slower than the connection
    rig.exchange.deliver([_status(1)])
    rig.exchange.deliver([Disconnected("once")])
    rig.exchange.deliver([Welcome("life", 1), ResumeEnd()])
    rig.exchange.deliver([Disconnected("twice")])
    rig.goes_on.set()
    rig.next()
    rig.exchange.deliver([Welcome("life", 1), _status(2)])
    rig.next()
    assert not rig.desk.take(MassStatusRequest("q"))
    rig.exchange.deliver([ResumeEnd(), _status(3)])
    rig.next()
    assert rig.desk.take(MassStatusRequest("q"))


def test_who_is_told_everything_again_is_told_that_he_may_have_it(tmp_path: Path) -> None:
    (tmp_path / "at").write_bytes(b"damaged" * 100)
    rig = _Rig(tmp_path, reports=[_status(1), _status(2)])
    rig.exchange.deliver([_status(3)])
    assert [rig.next().get(97) for _ in range(3)] == ["Y", "Y", ""]
    rig.desk.stop()


def test_a_report_that_is_stored_while_numbers_begin_anew_is_told_again(rig: _Rig) -> None:
    rig.goes_on.clear()
    rig.exchange.deliver([_status(1)])
    wait_until(lambda: rig.is_sending)
    # The desk has given it to QuickFIX and not heard of it; meanwhile its client leaves and comes back.
    rig.consumer.numbered(1, 7)
    rig.desk.left(rig.consumer)
    rig.consumer.begin_anew()
    rig.desk.joined(rig.consumer)
    rig.is_numbered = True
    rig.goes_on.set()
    assert [rig.next().get(97) for _ in range(2)] == ["", "Y"]
