"""``toucan fix`` at a venue made by hand, which speaks as venues do and the embedded exchange does not."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.toucan.exchange.running import PATIENCE_S, RawFirm
from tests.toucan.fix.chain import Chain, Process, wait_until
from tests.toucan.fix.raw_client import Pair, RawVenue

from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce
from toucan.core.venue_messages import MassStatusRequest, NewOrder, Report, ResumeEnd
from toucan.fix.core.amounts import time_text
from toucan.fix.report_log import ReportLog

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


def _part_filled(venue: RawVenue, engine: RawFirm) -> int:
    """An order is accepted and filled in part; gives the number of that report."""
    engine.send(_order("x"))
    venue.next("D")
    venue.send("8", *_report("x", "0", "0", "e1"))
    venue.send("8", *_report("x", "F", "1", "e2", (32, 4), (31, "0.50")))
    return engine.reports(2)[-1].venue_seq


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
        # It names the order and not the message.
        engine.send(_order("z"))
        venue.next("D")
        venue.send("j", (372, "D"), (379, "z"), (380, 2))
        (rejected,) = engine.reports(1)
        assert (rejected.kind, rejected.cl_ord_id) == (ExecType.REJECTED, "z")
        engine.socket.close()
    wait_until(lambda: "logged out" in chain.processes["one"].log)
    assert "open sesame" not in chain.processes["one"].log


def test_answers_that_are_counted_end_when_all_are_there(chain: Chain) -> None:
    with RawVenue(chain.port, "AVIARY", "ONE") as venue:
        engine, _, _ = _engine(chain)
        engine.send(MassStatusRequest("q"))
        venue.next("AF")
        for name in ("x", "y"):
            venue.send("8", *_report(name, "I", "0", "0", (584, "q"), (911, 2)))
        assert [one.cl_ord_id for one in engine.reports(2)] == ["x", "y"]
        assert engine.receive() == ResumeEnd("q")
        engine.socket.close()


def test_a_number_that_is_refused_means_a_message_of_this_session(tmp_path: Path) -> None:
    settings = {"one": "reset_on_logon = true"}
    chain = Chain(tmp_path, ("one",), ("ABC",), market_data=False, own_settings=settings)
    try:
        chain.launch("one").wait_ready()
        with RawVenue(chain.port, "AVIARY", "ONE") as venue:
            engine, life, _ = _engine(chain)
            engine.send(_order("x"))
            number = venue.next("D").get(34)
            venue.send("8", *_report("x", "0", "0", "e1"))
            known = engine.reports(1)[-1].venue_seq
            engine.socket.close()
        with RawVenue(chain.port, "AVIARY", "ONE") as venue:
            engine, _, _ = _engine(chain, life, known)
            venue.send("1", (112, "t"))
            assert venue.next("0").get(34) == number
            venue.send("3", (45, number), (372, "0"), (373, 5))
            venue.send("8", *_report("x", "F", "1", "e2", (32, 4), (31, "0.50")))
            assert [one.kind for one in engine.reports(1)] == [ExecType.TRADE]
            engine.socket.close()
    finally:
        chain.close()


def test_numbers_that_begin_anew_in_a_session_are_another_session(chain: Chain) -> None:
    with RawVenue(chain.port, "AVIARY", "ONE") as venue:
        engine, life, _ = _engine(chain)
        engine.send(_order("x"))
        venue.next("D")
        venue.send("A", (98, 0), (108, 30), (141, "Y"), seq=1)
        venue.next_seq = 2
        assert venue.next("A").get(141) == "Y"
        with pytest.raises((EOFError, ConnectionError)):
            engine.receive()
        engine.socket.close()
        engine, same_life, _ = _engine(chain, life)
        assert same_life == life
        engine.socket.close()


def test_a_request_that_cannot_be_stored_ends_the_process(tmp_path: Path) -> None:
    chain = Chain(tmp_path, ("one",), ("ABC",), market_data=False)
    try:
        chain.launch("one").wait_ready()
        with RawVenue(chain.port, "AVIARY", "ONE") as venue:
            engine, _, _ = _engine(chain)
            venue.send("1", (112, "t" * 20_000))
            venue.next("0")
            (stored,) = (tmp_path / "one" / "store").glob("*.body")
            disk = stored.stat().st_size + 10
            resource.prlimit(chain.processes["one"].process.pid, resource.RLIMIT_FSIZE, (disk, disk))
            engine.send(_order("x"))
            with pytest.raises((EOFError, ConnectionError)):
                engine.receive()
            engine.socket.close()
            assert chain.processes["one"]._gone() == 1
    finally:
        chain.kill()


def test_nothing_that_a_venue_writes_is_refused_or_ends_the_process(chain: Chain) -> None:
    with RawVenue(chain.port, "AVIARY", "ONE") as venue:
        engine, _, _ = _engine(chain)
        odd: list[list[Pair]] = [
            [(58, "na\udcefve")],
            [(58, "long" * 300_000)],
            [(354, 6), (355, "a\x01b=c\x01")],
        ]
        for number, pairs in enumerate(odd):
            venue.send("8", *_report("x", "0", "0", f"e{number}", *pairs))
        venue.send("3", (45, "the third"), (58, "na\udcefve"))
        venue.send("j", (45, "1" * 5000), (372, "D"), (380, 0))
        venue.send(
            "W", (262, "m"), (55, "ABC"), (268, 2), (269, 0), (270, "0.505"), (271, 1),
            (269, 1), (270, "0.51"), (271, 1),
        )  # fmt: skip
        venue.send("8", *_report("x", "0", "0", "last"))
        told = engine.reports(4)
        assert [one.exec_id for one in told] == ["e0", "e1", "e2", "last"]
        assert told[0].text == "na\ufffdve"
        venue.send("1", (112, "t"))
        assert venue.next("0", "3").type == "0"
        engine.socket.close()


def test_what_comes_twice_counts_once_and_an_order_is_never_sent_again(chain: Chain) -> None:
    with RawVenue(chain.port, "AVIARY", "ONE") as venue:
        engine, life, _ = _engine(chain)
        known = _part_filled(venue, engine)
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
            known = _part_filled(venue, engine)
            while venue.nothing_for(1.0) or venue.next().type != "5":
                # The client may have gone, and its word is still to be read.
                with contextlib.suppress(ConnectionError):
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


@pytest.mark.parametrize("number_before", [0, 500])
def test_after_a_power_cut_before_the_first_report_of_a_session_all_of_it_is_asked_for(
    chain: Chain, number_before: int
) -> None:
    log = chain.folder / "one" / "reports.log"
    size = log.stat().st_size
    with RawVenue(chain.port, "AVIARY", "ONE") as venue:
        venue.send("8", *_report("x", "0", "0", "e1"))
        wait_until(lambda: log.stat().st_size > size)
        venue.send("1", (112, "t"))
        venue.next("0")
    chain.processes["one"].kill()
    os.truncate(log, size)
    if number_before:  # of the session before, whose end has not reached the disk either
        before = ReportLog(log)
        before.append(Report(kind=ExecType.NEW, cl_ord_id="w", exec_id="e0"), number_before)
        before.close()
    (chain.folder / "one" / "boot").write_text("the start of the host before")
    killed = (
        "import os, toucan.fix.quickfix_session as q; q.FixEngine.ask_from = lambda *_: os._exit(9);"
        "from toucan.cli import main; main()"
    )
    command = ("-c", killed, "fix", "one", "--config", str(chain.config))
    chain.processes["killed"] = Process(chain.folder, "killed", *command)
    assert chain.processes["killed"].process.wait(PATIENCE_S) == 9
    chain.launch("one").wait_ready()
    with RawVenue(chain.port, "AVIARY", "ONE", next_seq=4) as venue:
        assert venue.next("2").whole(7) == 1
