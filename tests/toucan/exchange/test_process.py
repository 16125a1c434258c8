"""The exchange as a process: connections, resuming, slow readers, market data, the operator, starts and ends."""

from __future__ import annotations

import json
import os
import random
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce
from toucan.core.venue_messages import (
    CancelOrder,
    MassStatusRequest,
    NewOrder,
    Report,
    Resume,
    ResumeEnd,
    StatusRequest,
    Welcome,
)
from toucan.exchange.core.wire import FRAME_BYTES_MAX, encode_all
from toucan.exchange.limits import OPERATOR_LINE_BYTES_MAX, QUESTIONS_MAX

from .running import RawFirm, RunningExchange, running_exchange

pytestmark = pytest.mark.system


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[RunningExchange]:
    with running_exchange(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """For tests that leave nothing behind."""
    with running_exchange(tmp_path_factory.mktemp("exchange")) as running:
        yield running


def _order(cl_ord_id: str, side: Side = Side.BUY, price: int = 5000, quantity: int = 10) -> NewOrder:
    return NewOrder(cl_ord_id, "a", "ABC", side, OrderType.LIMIT, TimeInForce.GTC, quantity, price)


# ---------------------------------------------------------------- connections


def test_two_firms_trade_and_each_hears_its_side(exchange: RunningExchange) -> None:
    with RawFirm(exchange.path) as one, RawFirm(exchange.path) as other:
        assert one.resume("one") == (Welcome(exchange.ready["life"], 0), [])
        other.resume("other")
        one.send(_order("x"))
        assert one.reports(1)[0].kind is ExecType.NEW
        other.send(_order("y", Side.SELL))
        assert [report.kind for report in other.reports(2)] == [ExecType.NEW, ExecType.TRADE]
        (trade,) = one.reports(1)
        assert (trade.kind, trade.last_quantity, trade.ord_status) == (ExecType.TRADE, 10, OrdStatus.FILLED)


def test_a_connection_goes_on_where_the_last_one_ended(exchange: RunningExchange) -> None:
    with RawFirm(exchange.path) as one:
        welcome, _ = one.resume("one")
        one.send(_order("x"), _order("y"), CancelOrder("c", "x", "ABC", Side.BUY))
        one.reports(3)
    with RawFirm(exchange.path) as one:
        again, reports = one.resume("one", welcome.life, 1)
        assert again == Welcome(welcome.life, 3)
        assert [(report.venue_seq, report.cl_ord_id) for report in reports] == [(2, "y"), (3, "c")]
    with RawFirm(exchange.path) as one:
        assert len(one.resume("one", "an older life", 3)[1]) == 3


def test_a_firm_that_misses_something_resumes_over_the_same_connection(exchange: RunningExchange) -> None:
    with RawFirm(exchange.path) as one:
        welcome, _ = one.resume("one")
        one.send(
            _order("x"),
            _order("y"),
            MassStatusRequest("q"),
            Resume("one", welcome.life, 1),
            StatusRequest("y"),
        )
        told = one.receive_until(lambda message: message == ResumeEnd())
        told += one.reports(1)
        assert [message.venue_seq for message in told if isinstance(message, Report)][-4:] == [2, 3, 4, 5]
        assert told[0] == Welcome(welcome.life, 4)  # nothing had been sent yet
        assert ResumeEnd("q") in told
        one.send(Resume("other", "", 0))
        with pytest.raises(EOFError):
            one.receive()


def test_a_newer_connection_of_a_firm_takes_the_place_of_the_older(exchange: RunningExchange) -> None:
    with RawFirm(exchange.path) as old, RawFirm(exchange.path) as new:
        old.resume("one")
        new.resume("one")
        with pytest.raises((EOFError, ConnectionError)):
            old.receive()
        new.send(_order("x"))
        assert new.reports(1)[0].cl_ord_id == "x"


def test_reports_of_a_firm_that_is_not_there_wait_for_it(exchange: RunningExchange) -> None:
    with RawFirm(exchange.path) as one:
        one.resume("one")
        one.send(_order("x"))
        one.reports(1)
    with RawFirm(exchange.path) as other:
        other.resume("other")
        other.send(_order("y", Side.SELL))
        other.reports(2)
    with RawFirm(exchange.path) as one:
        _, reports = one.resume("one", exchange.ready["life"], 1)
        assert [report.kind for report in reports] == [ExecType.TRADE]


def test_the_end_of_a_mass_status_comes_behind_its_reports(exchange: RunningExchange) -> None:
    with RawFirm(exchange.path) as one:
        one.resume("one")
        one.send(*(_order(f"x{number}") for number in range(3000)))
        one.reports(3000)
        one.send(MassStatusRequest("q"))
        told = one.receive_until(lambda message: isinstance(message, ResumeEnd))
        assert len(told) == 3001
        assert told[-1] == ResumeEnd("q")
        assert {told[0].kind for told[0] in told[:-1] if isinstance(told[0], Report)} == {
            ExecType.ORDER_STATUS
        }


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nHost: exchange\r\n\r\n",
        struct.pack(">I", FRAME_BYTES_MAX + 1),
        struct.pack(">I", 0),
        encode_all([StatusRequest("x")]),
        encode_all([Resume("", "", 0)]),
        encode_all([Resume("background", "", 0)]),
        encode_all([Resume("x" * 65, "", 0)]),
        encode_all([Welcome("x", 0)]),
    ],
)
def test_who_does_not_speak_the_protocol_is_cut_off(shared: RunningExchange, first: bytes) -> None:
    with RawFirm(shared.path) as stranger, RawFirm(shared.path) as one:
        stranger.socket.sendall(first)
        with pytest.raises((EOFError, ConnectionError)):
            stranger.receive()
        one.resume("one")


def test_random_bytes_harm_nobody_else(shared: RunningExchange) -> None:
    chance = random.Random(7)
    good = encode_all([Resume("fuzz", "", 0), _order("f"), CancelOrder("g", "f", "ABC", Side.BUY)])
    with RawFirm(shared.path) as one:
        one.resume("one")
        for number in range(150):
            data = bytearray(good)
            for _ in range(chance.randrange(1, 6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            with socket.socket(socket.AF_UNIX) as fuzz:
                fuzz.connect(str(shared.path))
                try:
                    fuzz.sendall(bytes(data[: chance.randrange(1, len(data) + 1)]))
                except ConnectionError:
                    pass
            one.send(StatusRequest(f"s{number}"))
            assert one.reports(1)[0].cl_ord_id == f"s{number}"


def test_a_slow_reader_is_cut_off_and_resumes_without_a_gap(tmp_path: Path) -> None:
    with running_exchange(tmp_path, "--stalled-after", "0.2") as exchange:
        with RawFirm(exchange.path) as slow:
            slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            welcome, _ = slow.resume("slow")
            # 20,000 reports of about 150 bytes: far more than all buffers between the two.
            try:
                for _ in range(20):
                    slow.send(*(StatusRequest("an order that nobody knows") for _ in range(1000)))
            except ConnectionError:
                pass  # cut off already
            with pytest.raises((EOFError, ConnectionError)):
                _read_slowly_until_cut_off(slow, exchange)
        with RawFirm(exchange.path) as again:
            _, reports = again.resume("slow", welcome.life, 0)
            assert [report.venue_seq for report in reports] == list(range(1, len(reports) + 1))
            assert reports
        assert "it does not read what it is told" in exchange.log_path.read_text()


def _read_slowly_until_cut_off(slow: RawFirm, exchange: RunningExchange) -> None:
    """Does not read until the exchange says that the connection is gone, then reads what is left in the socket."""
    while exchange.command(action="status")["status"]["connections"]:
        pass
    while True:
        slow.receive()


def test_who_asks_and_does_not_read_is_cut_off(exchange: RunningExchange) -> None:
    with RawFirm(exchange.path) as greedy:
        greedy.resume("greedy")
        greedy.send(_order("x" * 100))
        questions = [MassStatusRequest("q" * 1000) for _ in range(QUESTIONS_MAX + 2000)]
        with pytest.raises((EOFError, ConnectionError)):
            _ask_all(greedy, questions)
        assert "it asks more than it reads" in exchange.log_path.read_text()


def _ask_all(firm: RawFirm, questions: list[MassStatusRequest]) -> None:
    firm.send(*questions)
    while True:
        firm.receive()


# ---------------------------------------------------------------- market data


def test_market_data_is_the_newest_and_not_every_change(exchange: RunningExchange) -> None:
    with RawFirm(exchange.path) as one:
        one.resume("one")
        one.wait_for_market(lambda firm: len(firm.quotes) >= 2)
        assert {quote.symbol for quote in one.quotes} == {"ABC", "BTC-USD"}
        for number in range(1, 1001):
            one.send(_order(f"x{number}", price=1000 + number, quantity=number))
        one.wait_for_market(lambda firm: firm.quotes[-1].bid_price == 2000)
        assert (one.quotes[-1].bid_quantity, one.quotes[-1].ask_price) == (1000, None)
        assert len(one.quotes) < 500
        one.wait_for_market(lambda firm: bool(firm.books[-1].bids) and firm.books[-1].bids[0].price == 2000)
        assert [level.quantity for level in one.books[-1].bids] == list(range(1000, 980, -1))


# ---------------------------------------------------------------- the operator


def test_the_operator_halts_and_resumes_and_firms_are_told(exchange: RunningExchange) -> None:
    with RawFirm(exchange.path) as one:
        one.resume("one")
        one.send(_order("x"))
        one.reports(1)
        assert exchange.told(action="halt", symbol="ABC") == []
        one.send(
            _order("y", Side.SELL), NewOrder("m", "a", "ABC", Side.SELL, OrderType.MARKET, TimeInForce.IOC, 1)
        )
        assert [report.reason for report in one.reports(2)] == ["", "halted"]
        told = exchange.told(action="resume", symbol="ABC")
        assert [firm for firm, _ in told] == ["one", "one"]
        trades = one.reports(2)
        assert [report.kind for report in trades] == [ExecType.TRADE] * 2
        exchange.told(action="bust", exec_id=trades[0].exec_id)
        assert one.reports(4)[0].kind is ExecType.TRADE_CANCEL


def test_the_operator_can_do_all_that_is_documented(exchange: RunningExchange) -> None:
    with RawFirm(exchange.path) as one:
        one.resume("one")
        order = {
            "message": "NewOrder", "cl_ord_id": "p", "account": "a", "symbol": "ABC", "side": 1, "type": 2,
            "time_in_force": 2, "quantity": 10, "price": 5000,
        }  # fmt: skip
        exchange.told(action="enter", firm="one", order=order)
        exchange.told(action="restate", firm="one", cl_ord_id="p", quantity=12, price=5001)
        one.send(_order("s", Side.SELL, 5001, 4))
        new, restated, *_, trade = one.reports(5)
        assert (new.kind, new.symbol, restated.kind, restated.quantity) == (
            ExecType.NEW,
            "ABC",
            ExecType.RESTATED,
            12,
        )
        exchange.told(action="correct", exec_id=trade.exec_id, quantity=4, price=5002)
        assert [report.kind for report in one.reports(2)] == [ExecType.TRADE_CORRECT] * 2
        exchange.told(action="done_for_day", symbol="ABC")
        assert one.reports(1)[0].kind is ExecType.DONE_FOR_DAY
        exchange.told(action="advance", by_s=86_400)
        assert one.reports(1)[0].kind is ExecType.RESTATED
        exchange.told(action="cancel", firm="one", cl_ord_id="p", reason="not-best", text="moved away")
        (cancelled,) = one.reports(1)
        assert (cancelled.kind, cancelled.reason, cancelled.text) == (
            ExecType.CANCELED,
            "not-best",
            "moved away",
        )
        exchange.told(action="halt", symbol="ABC", cancels_orders=True)
        status = exchange.command(action="status")["status"]
        assert status["life"] == exchange.ready["life"]
        assert status["firms"]["one"] == {"open_orders": 0, "venue_seq": 10}
        assert status["markets"]["ABC"]["is_halted"]


@pytest.mark.parametrize(
    "line",
    [
        b"halt ABC\n",
        b'{"action": "halt", "symbol": "NIX"}\n',
        b'{"action": "halt", "symbol": "ABC", "cancel_orders": true}\n',
        b'{"action": "explode"}\n',
        b'{"action": "advance", "by_s": -1}\n',
        b'{"action": "advance", "by_s": 1e300}\n',
        b'{"action": "bust", "exec_id": "none"}\n',
        b"\xff\n",
        b"\n",
        b"x" * (OPERATOR_LINE_BYTES_MAX + 1),
    ],
)
def test_a_command_that_cannot_be_is_answered_with_the_reason(shared: RunningExchange, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(20)
        channel.connect(str(shared.operator_path))
        channel.sendall(line)
        with channel.makefile("rb") as lines:
            answer = json.loads(lines.readline())
            assert answer["ok"] is False
            assert answer["error"]
    assert shared.told(action="status") == []


# ---------------------------------------------------------------- starts and ends


def test_it_says_when_it_is_ready_and_ends_when_it_is_told_to(exchange: RunningExchange) -> None:
    assert exchange.ready["ready"] is True
    assert exchange.ready["pid"] == exchange.process.pid
    assert exchange.ready["tcp"] is None
    assert stat.S_IMODE(exchange.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(exchange.operator_path.stat().st_mode) == 0o600
    with RawFirm(exchange.path) as one:
        one.resume("one")
        one.send(_order("x"))
        assert one.reports(1)
        assert exchange.stop() == 0
        with pytest.raises(EOFError):
            one.receive()
    assert not exchange.path.exists()
    assert not exchange.operator_path.exists()


def test_after_a_kill_it_is_another_life_that_knows_nothing(tmp_path: Path) -> None:
    with running_exchange(tmp_path) as first:
        with RawFirm(first.path) as one:
            welcome, _ = one.resume("one")
            one.send(_order("x"))
            one.reports(1)
            first.kill()
            with pytest.raises((EOFError, ConnectionError)):
                one.receive()
        assert first.path.exists()
        with running_exchange(tmp_path) as second, RawFirm(second.path) as one:
            again, reports = one.resume("one", welcome.life, 1)
            assert again.life not in ("", welcome.life)
            assert (again.venue_seq, reports) == (0, [])
            one.send(MassStatusRequest("q"))
            assert one.receive() == ResumeEnd("q")


def test_it_listens_on_tcp_when_asked_to(tmp_path: Path) -> None:
    with running_exchange(tmp_path, "--tcp", "127.0.0.1:0") as exchange:
        host, port = exchange.ready["tcp"].rsplit(":", 1)
        with RawFirm((host, int(port))) as one:
            one.resume("one")
            one.send(_order("x"))
            assert one.reports(1)[0].kind is ExecType.NEW


def test_it_plays_a_recording_against_which_a_firm_trades(tmp_path: Path) -> None:
    recording = tmp_path / "orders.csv"
    lines = ["id,exchange_timestamp,price,volume,action,direction"]
    lines += [f"{number},{1000 + number},{78000 - number}.0,0.5,created,bid" for number in range(1000)]
    recording.write_text("\n".join(lines) + "\n")
    options = ("--replay", str(recording), "--replay-symbol", "BTC-USD", "--speed", "1000000")
    with running_exchange(tmp_path, *options) as exchange, RawFirm(exchange.path) as one:
        one.resume("one")
        one.wait_for_market(lambda firm: any(q.bid_price == 7800000 for q in firm.quotes))
        one.send(NewOrder("m", "a", "BTC-USD", Side.SELL, OrderType.MARKET, TimeInForce.IOC, 60_000_000))
        new, first, second = one.reports(3)
        assert new.kind is ExecType.NEW
        assert [(r.last_quantity, r.last_price) for r in (first, second)] == [
            (50_000_000, 7_800_000), (10_000_000, 7_799_900),
        ]  # fmt: skip
        assert exchange.command(action="status")["status"]["replay"]["created"] == 1000


def test_a_recording_can_begin_again(tmp_path: Path) -> None:
    recording = tmp_path / "orders.csv"
    recording.write_text("id,timestamp,price,volume,action,direction\n1,5,100,1,created,bid\n")
    options = ("--replay", str(recording), "--replay-symbol", "BTC-USD", "--repeat")
    with running_exchange(tmp_path, *options) as exchange, RawFirm(exchange.path) as one:
        one.resume("one")
        for number in range(3):
            sold = False
            while not sold:
                order = NewOrder(
                    f"m{number}-{os.urandom(4).hex()}",
                    "a",
                    "BTC-USD",
                    Side.SELL,
                    OrderType.MARKET,
                    TimeInForce.IOC,
                    100_000_000,
                )
                one.send(order)
                sold = one.reports(2)[1].kind is ExecType.TRADE


def _fails_to_start(folder: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "toucan.exchange", *options], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def test_what_it_cannot_start_with_is_told(tmp_path: Path, exchange: RunningExchange) -> None:
    instruments = ("--instruments", str(tmp_path / "instruments.toml"))
    assert "answers on" in _fails_to_start(tmp_path, "--listen", str(exchange.path), *instruments)
    assert "is no socket" in _fails_to_start(
        tmp_path, "--listen", str(tmp_path / "instruments.toml"), *instruments
    )
    assert "cannot listen" in _fails_to_start(tmp_path, "--listen", str(tmp_path / "no" / "x"), *instruments)
    here = ("--listen", str(tmp_path / "x.sock"))
    assert "cannot read" in _fails_to_start(tmp_path, *here, "--instruments", "none.toml")
    assert "go together" in _fails_to_start(tmp_path, *here, *instruments, "--replay", "none.csv")
    assert "is not traded" in _fails_to_start(
        tmp_path, *here, *instruments, "--replay", "none.csv", "--replay-symbol", "X"
    )
    assert "cannot read" in _fails_to_start(
        tmp_path, *here, *instruments, "--replay", "none.csv", "--replay-symbol", "ABC"
    )
    assert "HOST:PORT" in _fails_to_start(tmp_path, *here, *instruments, "--tcp", "here")
    assert not (tmp_path / "x.sock").exists()
