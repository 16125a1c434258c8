"""What the FIX processes write down, and how it is after a start: whole, torn, damaged, too long."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import msgspec
import pytest
from tests.toucan.exchange.running import PATIENCE_S

from toucan.core.values import ExecType, OrdStatus, RequestKind, Side
from toucan.core.venue_messages import Report
from toucan.fix.core.facts import OrderFacts
from toucan.fix.limits import ANSWERS_KEPT_MAX
from toucan.fix.open_orders import OpenOrders
from toucan.fix.order_book import OrderBook
from toucan.fix.position import Place, PositionFile
from toucan.fix.record_file import FixFileError
from toucan.fix.report_log import ReportLog


def _fill(exec_id: str, order: str = "x") -> Report:
    return Report(
        kind=ExecType.TRADE,
        cl_ord_id=order,
        exec_id=exec_id,
        venue_order_id="o",
        ord_status=OrdStatus.PARTIALLY_FILLED,
    )


def _status(order: str = "x", status: OrdStatus = OrdStatus.NEW) -> Report:
    return Report(kind=ExecType.ORDER_STATUS, cl_ord_id=order, ord_status=status)


def _log_of(path: Path, count: int = 3, **limits: int) -> ReportLog:
    log = ReportLog(path, **limits)
    for number in range(1, count + 1):
        log.append(_fill(f"e{number}"), 10 * number)
    return log


# ---------------------------------------------------------------- the report log


def test_reports_are_numbered_and_told_when_they_are_on_the_disk(tmp_path: Path) -> None:
    log = _log_of(tmp_path / "log")
    assert log.after(0, 10) == []
    log.sync()
    assert [report.venue_seq for report in log.after(0, 10)] == [1, 2, 3]
    assert [report.venue_seq for report in log.after(1, 1)] == [2]


def test_a_killed_process_goes_on_in_its_life(tmp_path: Path) -> None:
    first = _log_of(tmp_path / "log")
    again = ReportLog(tmp_path / "log")
    assert (again.life, again.flaw, again.fix_seq) == (first.life, "", 30)
    assert [report.exec_id for report in again.after(0, 10)] == ["e1", "e2", "e3"]
    assert again.append(_fill("e4")).venue_seq == 4


def test_a_torn_end_is_cut_in_the_same_life(tmp_path: Path) -> None:
    first = _log_of(tmp_path / "log")
    data = (tmp_path / "log").read_bytes()
    (tmp_path / "log").write_bytes(data[:-3])
    again = ReportLog(tmp_path / "log")
    assert again.life == first.life
    assert "not finished" in again.flaw
    assert (again.newest_seq, again.fix_seq) == (2, 20)
    assert again.append(_fill("e3"), 30).venue_seq == 3
    assert ReportLog(tmp_path / "log").flaw == ""


@pytest.mark.parametrize("place", [-3, 60])
def test_damage_begins_a_new_life_with_what_is_in_front_of_it(tmp_path: Path, place: int) -> None:
    first = _log_of(tmp_path / "log")
    data = bytearray((tmp_path / "log").read_bytes())
    data[place] ^= 0xFF
    (tmp_path / "log").write_bytes(data)
    again = ReportLog(tmp_path / "log")
    assert again.life != first.life
    assert again.flaw
    assert [report.venue_seq for report in again.after(0, 10)] == list(range(1, again.newest_seq + 1))
    assert ReportLog(tmp_path / "log").life == again.life


def test_a_new_life_tells_everything_under_new_numbers(tmp_path: Path) -> None:
    log = _log_of(tmp_path / "log", 5, kept_max=3)
    log.sync()
    old = log.life
    assert log.oldest_seq == 3
    log.begin_life()
    assert log.life != old
    assert [(one.venue_seq, one.exec_id) for one in log.after(0, 10)] == [(1, "e3"), (2, "e4"), (3, "e5")]
    assert ReportLog(tmp_path / "log", kept_max=3).life == log.life


def test_a_long_file_is_written_anew_and_goes_on(tmp_path: Path) -> None:
    log = _log_of(tmp_path / "log", 9, kept_max=3)
    again = ReportLog(tmp_path / "log", kept_max=3, bytes_kept=100)
    assert (again.life, again.oldest_seq, again.newest_seq, again.fix_seq) == (log.life, 7, 9, 90)
    again.append(_fill("e10"), 100)
    once_more = ReportLog(tmp_path / "log", kept_max=3)
    assert (once_more.oldest_seq, once_more.newest_seq, once_more.fix_seq) == (8, 10, 100)


def test_a_report_that_comes_twice_is_known_by_its_execution_or_else_by_its_number(tmp_path: Path) -> None:
    log = _log_of(tmp_path / "log")
    for one in (log, ReportLog(tmp_path / "log")):
        assert one.is_repeated(_fill("e2"), 99)
        assert not one.is_repeated(_fill("e9"), 20), "a fill that is not here is taken, whatever its number"
        assert one.is_repeated(_status(), 30)
        assert not one.is_repeated(_status(), 31)
        one.numbers_begin_anew()
        assert not one.is_repeated(_status(), 30)
        assert one.is_repeated(_fill("e2"), 1)
    assert ReportLog(tmp_path / "log").fix_seq == 0


def test_a_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    log = ReportLog(tmp_path / "log", kept_max=3, bytes_kept=1000)
    book = OrderBook(tmp_path / "orders", kept_max=3, bytes_kept=1000)
    for number in range(1, 101):
        log.append(_fill(f"e{number}"), number * 10)
        book.note(_facts(f"x{number}"))
    for name in ("log", "orders"):
        assert (tmp_path / name).stat().st_size < 2000
    again = ReportLog(tmp_path / "log", kept_max=3)
    assert (again.life, again.all_kept(), again.fix_seq) == (log.life, log.all_kept(), 1000)
    assert OrderBook(tmp_path / "orders", kept_max=3).all() == book.all()


def test_a_life_that_begins_while_the_disk_is_slow_tells_nothing_before_it_is_there(tmp_path: Path) -> None:
    log = _log_of(tmp_path / "log", 5, kept_max=3)
    is_under_way, sync = threading.Event(), log._file.sync

    def slow() -> None:
        is_under_way.set()
        time.sleep(0.1)
        sync()

    log._file.sync = slow  # type: ignore[method-assign]
    syncing = threading.Thread(target=log.sync)
    syncing.start()
    assert is_under_way.wait(PATIENCE_S)
    log.begin_life()
    syncing.join()
    log.append(_fill("e6"), 60)
    assert [one.exec_id for one in log.after(0, 10)] == ["e4", "e5"]


def test_what_a_start_would_take_for_damage_is_not_written(tmp_path: Path) -> None:
    log = _log_of(tmp_path / "log")
    with pytest.raises(FixFileError, match="a record of"):
        log.append(msgspec.structs.replace(_fill("e9"), text="x" * (64 << 10)), 90)
    assert ReportLog(tmp_path / "log").all_kept() == log.all_kept()


def test_a_log_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(FixFileError, match="log"):
        ReportLog(tmp_path / "log")


# ---------------------------------------------------------------- orders


def _facts(name: str, kind: RequestKind = RequestKind.NEW) -> OrderFacts:
    return OrderFacts(name, "ABC", Side.BUY, kind, "a", 10)


def test_orders_are_remembered_by_each_id_and_the_first_counts(tmp_path: Path) -> None:
    book = OrderBook(tmp_path / "orders")
    book.note(_facts("x"))
    book.note(_facts("y", RequestKind.REPLACE))
    book.note(OrderFacts("x", "LOT", Side.SELL))
    again = OrderBook(tmp_path / "orders")
    assert again.get("nix", "x") == _facts("x")
    assert again.get("y") == _facts("y", RequestKind.REPLACE)
    assert again.get("nix") is None


@pytest.mark.parametrize("bytes_kept", [1, 1 << 20])
def test_the_oldest_orders_are_forgotten_first(tmp_path: Path, bytes_kept: int) -> None:
    book = OrderBook(tmp_path / "orders", kept_max=3)
    for number in range(4):
        book.note(_facts(f"x{number}"))
    for one in (book, OrderBook(tmp_path / "orders", kept_max=3, bytes_kept=bytes_kept)):
        assert len(one) == 3
        assert (one.get("x0"), one.get("x3")) == (None, _facts("x3"))


def test_what_may_be_open_is_asked_for_and_each_answer_counts() -> None:
    told = [_status("x1"), _status("x2", OrdStatus.CANCELED), _fill("e", "x3")]
    orders = OpenOrders([_facts("x0"), _facts("x1"), _facts("x2"), _facts("c", RequestKind.CANCEL)], told)
    assert orders.ask("q") == ["x0", "x1", "x3"]
    assert orders.told(_status("x0")) == []
    assert orders.told(_fill("e2", "x1")) == [], "only its status answers the question"
    assert orders.unanswered("x3") == []
    assert orders.told(_status("x1")) == ["q"]
    assert orders.told(_status("x1")) == []


def test_an_order_is_asked_for_by_its_newest_id_and_not_when_it_has_ended() -> None:
    orders = OpenOrders([_facts("x")], [])
    orders.told(Report(kind=ExecType.REPLACED, cl_ord_id="y", orig_cl_ord_id="x", ord_status=OrdStatus.NEW))
    assert orders.ask("q") == ["y"]
    orders.told(
        Report(kind=ExecType.CANCEL_REJECT, cl_ord_id="c", orig_cl_ord_id="y", ord_status=OrdStatus.FILLED)
    )
    orders.told(Report(kind=ExecType.REJECTED, cl_ord_id="y", ord_status=OrdStatus.NEW))
    assert orders.ask("q") == ["y"], "a second copy was rejected, not the order"
    orders.told(
        Report(kind=ExecType.CANCELED, cl_ord_id="c", orig_cl_ord_id="y", ord_status=OrdStatus.CANCELED)
    )
    assert orders.ask("q") == []


def test_what_is_pending_is_not_an_order_of_its_own() -> None:
    orders = OpenOrders([_facts("x")], [])
    for kind, status, name in (
        (ExecType.PENDING_CANCEL, OrdStatus.PENDING_CANCEL, "c"),
        (ExecType.CANCEL_REJECT, OrdStatus.NEW, "c"),
        (ExecType.PENDING_REPLACE, OrdStatus.PENDING_REPLACE, "r"),
    ):
        orders.told(Report(kind=kind, cl_ord_id=name, orig_cl_ord_id="x", ord_status=status))
    assert orders.ask("q") == ["x"]


def test_a_question_ends_when_all_orders_are_answered_however_many_there_are() -> None:
    names = [f"x{number}" for number in range(2 * ANSWERS_KEPT_MAX + 1)]
    orders = OpenOrders([_facts(name) for name in names], [])
    asked = orders.ask("q")
    assert len(asked) == ANSWERS_KEPT_MAX
    ended: list[str] = []
    while asked:
        assert ended == []
        for name in asked:
            ended += orders.unanswered(name) if name == "x7" else orders.told(_status(name))
        names = names[len(asked) :]
        asked = orders.more()
    assert (ended, names) == (["q"], [])
    assert "x7" not in orders.ask("again")


# ---------------------------------------------------------------- positions


@pytest.mark.parametrize(
    ("next_fix_seq", "settled"),
    [(8, Place("L", 5, 0, 1)), (7, Place("L", 4)), (6, Place("L", 4))],
)
def test_quickfixs_store_says_whether_the_last_report_was_stored(
    tmp_path: Path, next_fix_seq: int, settled: Place
) -> None:
    PositionFile(tmp_path / "at").write(Place("L", 5, 7))
    assert PositionFile(tmp_path / "at").settle(next_fix_seq) == settled
    assert PositionFile(tmp_path / "at").place == settled


def test_reports_that_were_stored_for_nobody_are_counted_until_one_is_read() -> None:
    place = Place("L", 4)
    for venue_seq in (5, 6):
        place = place.numbered("L", venue_seq, venue_seq + 10)
        assert (place.venue_seq, place.fix_seq) == (venue_seq, venue_seq + 10)
        place = place.stored(is_sent=False)
    assert place == Place("L", 6, 0, 2)
    assert place.reached_seq == 4
    assert place.numbered("L", 7, 17).stored(is_sent=True) == Place("L", 7)
    assert place.numbered("another life", 1, 17).stored(is_sent=False) == Place("another life", 1, 0, 1)


@pytest.mark.parametrize("place", [Place("L", 6, 0, 2), Place("L", 6, 17, 1)])
def test_numbers_that_begin_anew_go_back_to_what_was_read(tmp_path: Path, place: Place) -> None:
    position = PositionFile(tmp_path / "at")
    position.write(place)
    assert position.begin_anew() == 6
    assert PositionFile(tmp_path / "at").place == Place("L", 4)


def test_a_position_that_is_sure_stays_and_a_damaged_one_tells_everything_again(tmp_path: Path) -> None:
    position = PositionFile(tmp_path / "at")
    assert position.place == Place()
    position.write(Place("a life", 5))
    assert PositionFile(tmp_path / "at").settle(1) == Place("a life", 5)
    data = bytearray((tmp_path / "at").read_bytes())
    data[9] ^= 1
    (tmp_path / "at").write_bytes(data)
    damaged = PositionFile(tmp_path / "at")
    assert (damaged.is_damaged, damaged.place) == (True, Place())
