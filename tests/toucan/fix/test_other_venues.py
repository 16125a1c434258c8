"""``toucan fix`` at a venue made by hand, which speaks as venues do and the embedded exchange does not."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.toucan.exchange.running import RawFirm
from tests.toucan.fix.chain import Chain, wait_until
from tests.toucan.fix.raw_client import Pair, RawVenue

from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce
from toucan.core.venue_messages import MassStatusRequest, NewOrder, Report, ResumeEnd
from toucan.fix.core.amounts import time_text

pytestmark = pytest.mark.system


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    chain = Chain(
        tmp_path, ("one",), ("ABC",), market_data=False,
        own_settings={"one": 'username = "us"\npassword = "open sesame"'}, log_level="debug",
    )  # fmt: skip
    try:
        chain.launch("one").wait_ready()
        yield chain
    finally:
        chain.close()


def _engine(chain: Chain, life: str = "", venue_seq: int = 0) -> tuple[RawFirm, str, list[Report]]:
    """An engine that has come in, which it can as soon as the session is there."""
    deadline = time.monotonic() + 20
    while True:
        engine = RawFirm(chain.socket_path("one"))
        try:
            welcome, reports = engine.resume("one", life, venue_seq)
            return engine, welcome.life, reports
        except (EOFError, ConnectionError):
            engine.socket.close()
            assert time.monotonic() < deadline
            time.sleep(0.02)


def _report(order: str, kind: str, status: str, exec_id: str, *more: Pair) -> list[Pair]:
    now = time_text(time.time_ns())
    return [
        (37, "V1"), (11, order), (17, exec_id), (150, kind), (39, status), (55, "ABC US"), (54, 1), (38, 10), (14, 0), (151, 10), (6, 0),
        (60, now), *more,
    ]  # fmt: skip


def _order(name: str) -> NewOrder:
    return NewOrder(name, "a", "ABC", Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 10, 50)


def test_a_venue_with_its_own_ways(chain: Chain) -> None:
    with RawVenue(chain.port, "AVIARY", "ONE") as venue:
        assert (venue.logon.get(553), venue.logon.get(554)) == ("us", "open sesame")
        engine, _, _ = _engine(chain)
        engine.send(_order("x"))
        asked = venue.next("D")
        assert [asked.get(tag) for tag in (11, 1, 21, 55, 54, 38, 40, 44, 59)] == ["x", "a", "1", "ABC", "1", "10", "2", "0.50", "1"]  # fmt: skip
        # Groups, fields of its own, a symbol of its own, fills as in FIX 4.2, and what nobody asked for.
        parties: list[Pair] = [
            (453, 2),
            (448, "A"),
            (447, "D"),
            (452, 1),
            (448, "B"),
            (447, "D"),
            (452, 3),
            (9001, "own"),
        ]
        venue.send("8", *_report("x", "0", "0", "e1", *parties))
        venue.send("B", (148, "closing early"), (33, 1), (58, "today"))
        venue.send("8", *_report("x", "1", "1", "e2", (32, 4), (31, "0.50"), *parties))
        venue.send("8", *_report("x", "F", "1", "e3", (32, 1), (31, "0.505")))
        new, old_fill, odd_fill = engine.reports(3)
        assert (new.kind, new.symbol, new.venue_order_id) == (ExecType.NEW, "", "V1")
        assert (old_fill.kind, old_fill.last_quantity, old_fill.last_price) == (ExecType.TRADE, 4, 50)
        assert (odd_fill.kind, odd_fill.last_price) == (ExecType.TRADE, None)
        assert "1 at 0.505" in odd_fill.text
        # It has no OrderMassStatusRequest.
        engine.send(MassStatusRequest("q"))
        question = venue.next("AF")
        venue.send("j", (45, question.get(34)), (372, "AF"), (380, 3))
        assert venue.next("H").get(11) == "x"
        venue.send("8", *_report("x", "I", "1", "0"))
        assert [one.kind for one in engine.reports(1)] == [ExecType.ORDER_STATUS]
        assert engine.receive() == ResumeEnd("q")
        # It cannot read an order.
        engine.send(_order("y"))
        unread = venue.next("D")
        venue.send("3", (45, unread.get(34)), (371, 44), (372, "D"), (373, 5), (58, "no such price"))
        (rejected,) = engine.reports(1)
        assert (rejected.kind, rejected.cl_ord_id, rejected.ord_status) == (
            ExecType.REJECTED,
            "y",
            OrdStatus.REJECTED,
        )
        assert (rejected.reason, rejected.text) == ("message-rejected", "no such price")
        engine.socket.close()
    wait_until(lambda: "logged out" in chain.processes["one"].log)
    assert "open sesame" not in chain.processes["one"].log


def test_what_comes_twice_counts_once_and_an_order_is_never_sent_again(chain: Chain) -> None:
    with RawVenue(chain.port, "AVIARY", "ONE") as venue:
        engine, life, _ = _engine(chain)
        engine.send(_order("x"))
        venue.next("D")
        venue.send("8", *_report("x", "0", "0", "e1"))
        venue.send("8", *_report("x", "F", "1", "e2", (32, 4), (31, "0.50")))
        known = engine.reports(2)[-1].venue_seq
        engine.socket.close()
    chain.restart("one")
    with RawVenue(chain.port, "AVIARY", "ONE", next_seq=4) as venue:
        venue.send("8", (97, "Y"), *_report("x", "F", "1", "e2", (32, 4), (31, "0.50")))
        venue.send("8", *_report("x", "F", "2", "e3", (32, 6), (31, "0.50")))
        # The venue asks for everything from here: an order's place is filled, whatever became of it.
        venue.send("2", (7, 1), (16, 0))
        fill = venue.next("4", "D")
        assert (fill.type, fill.get(123), fill.get(36)) == ("4", "Y", str(venue.logon.whole(34) + 1))
        engine, same_life, reports = _engine(chain, life, known)
        while not reports:
            reports = list(engine.reports(1))
        assert same_life == life
        assert [(one.exec_id, one.venue_seq) for one in reports] == [("e3", known + 1)]
        engine.socket.close()


def _time_of_day(seconds_ahead: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(time.time() + seconds_ahead))


def test_a_session_ends_and_begins_at_its_times_and_numbers_begin_anew(tmp_path: Path) -> None:
    began = time.time()
    times = f'start_time = "{_time_of_day(25)}"\nend_time = "{_time_of_day(20)}"'
    chain = Chain(tmp_path, ("one",), ("ABC",), market_data=False, own_settings={"one": times})
    try:
        chain.launch("one").wait_ready()
        with RawVenue(chain.port, "AVIARY", "ONE") as venue:
            assert venue.logon.whole(34) == 1
            engine, life, _ = _engine(chain)
            engine.send(_order("x"))
            venue.next("D")
            venue.send("8", *_report("x", "0", "0", "e1"))
            venue.send("8", *_report("x", "F", "1", "e2", (32, 4), (31, "0.50")))
            known = engine.reports(2)[-1].venue_seq
            while venue.nothing_for(1.0) or venue.next().type != "5":
                with contextlib.suppress(
                    ConnectionError
                ):  # the client may have gone, and its word is still to be read
                    venue.send("0")
            assert time.time() - began > 18
            with pytest.raises((EOFError, ConnectionError)):  # the venue is away
                engine.reports(1)
            engine.socket.close()
        with RawVenue(chain.port, "AVIARY", "ONE") as venue:
            assert time.time() - began > 23
            assert venue.logon.whole(34) == 1
            engine, same_life, reports = _engine(chain, life, known)
            # Its number was another report's in the session before.
            venue.send("8", *_report("x", "F", "2", "e3", (32, 6), (31, "0.50")))
            while not reports:
                reports = list(engine.reports(1))
            assert same_life == life
            assert [(one.exec_id, one.venue_seq) for one in reports] == [("e3", known + 1)]
            engine.socket.close()
    finally:
        chain.close()


def test_after_a_power_cut_the_venue_is_asked_for_what_the_disk_has_lost(chain: Chain) -> None:
    folder = chain.folder / "one"
    with RawVenue(chain.port, "AVIARY", "ONE") as venue:
        engine, life, _ = _engine(chain)
        engine.send(_order("x"))
        venue.next("D")
        venue.send("8", *_report("x", "0", "0", "e1"))
        known = engine.reports(1)[-1].venue_seq
        size = (folder / "reports.log").stat().st_size
        venue.send("8", *_report("x", "F", "1", "e2", (32, 4), (31, "0.50")))
        wait_until(lambda: (folder / "reports.log").stat().st_size > size)
        engine.socket.close()
    chain.processes["one"].kill()
    # QuickFIX counts it as taken, and the log had not reached the disk.
    os.truncate(folder / "reports.log", size)
    (folder / "boot").write_text("the start of the host before")
    chain.launch("one").wait_ready()
    with RawVenue(chain.port, "AVIARY", "ONE", next_seq=4) as venue:
        question = venue.next("2")
        assert (question.whole(7), question.whole(16)) == (3, 0)
        venue.next_seq = 3
        venue.send(
            "8",
            (43, "Y"),
            (122, time_text(time.time_ns())),
            *_report("x", "F", "1", "e2", (32, 4), (31, "0.50")),
        )
        engine, same_life, reports = _engine(chain, life, known)
        while not reports:
            reports = list(engine.reports(1))
        assert same_life == life
        assert [(one.exec_id, one.venue_seq) for one in reports] == [("e2", known + 1)]
        engine.socket.close()
