"""Real processes: an exchange, a recorder that is killed, and a replay that tells what was recorded."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from tests.toucan.exchange.running import RawFirm, RunningExchange, running_exchange

from toucan import cli
from toucan.core.values import OrderType, Side, TimeInForce
from toucan.core.venue_messages import Book, NewOrder, Quote, Resume, ResumeEnd
from toucan.market.core.messages import FeedBeat, FeedWelcome, FromFeed, TapeLine
from toucan.market.core.recording import Kind, Record, RecordReader
from toucan.market.limits import ROTATE_BYTES_MIN
from toucan.market.recorder import CannotRecord, Recorder
from toucan.market.recording_files import read_recording, recording_files

from .feed import Subscriber, run, subscribed

PATIENCE_S = 25.0


class Program:
    """A ``toucan`` command; killed when the ``with`` ends, if it still runs."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "toucan.cli", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=PATIENCE_S)

    def line(self) -> dict[str, Any]:
        """The next line of JSON."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate(timeout=PATIENCE_S))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


def _wait_until(is_true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.02)


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[RunningExchange]:
    with running_exchange(tmp_path, "--market-data", str(tmp_path / "feed")) as running:
        yield running


class Trader:
    """Sends orders that meet."""

    def __init__(self, exchange: RunningExchange) -> None:
        self.exchange = exchange
        self.firm = RawFirm(exchange.path)
        self.firm.resume("A")
        self.traded = 0

    def trade(self, count: int) -> None:
        for _ in range(count):
            self.traded += 1
            price = 100 + self.traded % 9
            for side in (Side.SELL, Side.BUY):
                name = f"{side.name}{self.traded}"
                self.firm.send(
                    NewOrder(name, "a", "ABC", side, OrderType.LIMIT, TimeInForce.GTC, self.traded, price)
                )
            reports = self.firm.reports(4)
            self.last_exec_id = reports[-1].exec_id

    def trade_slowly(self, rounds: int) -> None:
        """So that the exchange publishes in between."""
        for _ in range(rounds):
            self.trade(3)
            self.firm.wait_for_market(self._knows_all)

    def _knows_all(self, firm: RawFirm) -> bool:
        traded = self.traded * (self.traded + 1) // 2
        return any(quote.volume == traded for quote in firm.quotes)


@pytest.fixture
def trader(exchange: RunningExchange) -> Iterator[Trader]:
    trader = Trader(exchange)
    with trader.firm:
        yield trader


def _records(path: Path) -> list[Record]:
    return [*read_recording(path, lambda file, ending: None)]


def _lines(path: Path) -> list[TapeLine]:
    return [record.message for record in _records(path) if isinstance(record.message, TapeLine)]


def _told(messages: list[FromFeed]) -> list[FromFeed]:
    """News as a subscriber counts them: no signs of life, and no state twice."""
    newest: dict[tuple[type, str], FromFeed] = {}
    told: list[FromFeed] = []
    for message in messages:
        if isinstance(message, Quote | Book):
            if newest.get((type(message), message.symbol)) == message:
                continue
            newest[type(message), message.symbol] = message
        if not isinstance(message, FeedBeat | FeedWelcome):
            told.append(message)
    return told


async def _played(path: Path, replay: Program, wanted: int) -> list[FromFeed]:
    """Everything that a subscriber hears who was there from the beginning."""
    async with subscribed(path) as subscriber:
        replay.say("go\n")
        await subscriber.read_until(lambda one: len(_told(one.messages)) >= wanted)
        return subscriber.messages


def test_what_was_recorded_and_is_played_is_the_same_stream(
    exchange: RunningExchange, trader: Trader, tmp_path: Path
) -> None:
    out, feed = tmp_path / "rec", str(tmp_path / "feed")
    with Program("record", "--feed", feed, "--out", str(out)) as recorder:
        assert recorder.line()["ready"]
        trader.trade_slowly(15)
        exchange.told(action="bust", exec_id=trader.last_exec_id)
        _wait_until(lambda: bool(_lines(out)) and _lines(out)[-1].number == trader.traded + 1)
        assert recorder.end(signal.SIGKILL) == -signal.SIGKILL
    recorded = _told([record.message for record in _records(out)])
    lines = [message for message in recorded if isinstance(message, TapeLine)]
    assert [line.number for line in lines] == list(range(1, trader.traded + 2))
    assert sum(isinstance(message, Quote) for message in recorded) > 10
    socket_path = tmp_path / "replay"
    with Program(
        "replay", str(out), "--listen", str(socket_path), "--speed", "1000", "--step", "--ready"
    ) as replay:
        assert replay.line()["ready"]
        messages = run(_played(socket_path, replay, len(recorded)))
        assert _told(messages) == recorded
        assert replay.end() == 0


def test_a_firm_that_wants_no_depth_is_told_quotes_alone(exchange: RunningExchange, trader: Trader) -> None:
    with RawFirm(exchange.path) as firm:
        firm.send(Resume("engine", "", 0, without_depth=True))
        firm.receive_until(lambda message: message == ResumeEnd())
        trader.trade_slowly(3)
        firm.wait_for_market(
            lambda firm: firm.quotes[-1:] != [] and firm.quotes[-1].last_quantity == trader.traded
        )
        assert firm.books == []
        assert trader.firm.books, "others are told it as before"


def test_a_killed_recorders_cut_tail_is_told_and_the_next_one_keeps_the_file(
    exchange: RunningExchange, trader: Trader, tmp_path: Path
) -> None:
    out, feed = tmp_path / "rec", str(tmp_path / "feed")
    numbers: list[int] = []
    for _ in range(2):
        with Program("record", "--feed", feed, "--out", str(out)) as recorder:
            recorder.line()
            trader.trade_slowly(3)
            _wait_until(lambda: bool(_lines(out)) and _lines(out)[-1].number == trader.traded)
            recorder.end(signal.SIGKILL)
        numbers = [line.number for line in _lines(out)]
        os.truncate(out, out.stat().st_size - 3)
    assert sorted(set(numbers)) == list(range(1, trader.traded + 1)), "the two files together have all"
    with Program("replay", str(out), "--check") as check:
        found = check.line()
        assert check.process.wait(PATIENCE_S) == 1
    assert [Path(one["file"]).name for one in found["not_whole"]] == ["rec.000001", "rec"]
    assert {one["why"] for one in found["not_whole"]} == {"cut off"}
    assert found["symbols"] == ["ABC", "BTC-USD"]


def test_a_recording_goes_on_in_another_file_and_notes_that_the_feed_was_lost(
    exchange: RunningExchange, trader: Trader, tmp_path: Path
) -> None:
    out, feed = tmp_path / "rec", str(tmp_path / "feed")
    rotate = str(ROTATE_BYTES_MIN / (1 << 20))
    with Program("record", "--feed", feed, "--out", str(out), "--rotate-mib", rotate) as recorder:
        recorder.line()
        while len(recording_files(out)) < 3:
            trader.trade(200)
            _wait_until(lambda: bool(_lines(out)) and _lines(out)[-1].number == trader.traded)
        with Program("record", "--feed", feed, "--out", str(out)) as second:
            assert second.process.wait(PATIENCE_S) == 1
            assert "another recorder" in second.process.communicate()[1]
        exchange.kill()
        _wait_until(lambda: isinstance(_records(out)[-1].message, FeedBeat))
        assert recorder.end() == 0
        counts = recorder.line()
    records = _records(out)
    assert (counts["files"], counts["feed_losses"], counts["lines_missed"]) == (
        len(recording_files(out)),
        1,
        0,
    )
    last = records[-1].message
    assert isinstance(last, FeedBeat)
    assert last.is_stale
    news = [
        one.message.number for one in records if one.kind is Kind.NEWS and isinstance(one.message, TapeLine)
    ]
    assert news == list(range(1, trader.traded + 1)), "every line once, over all files"
    for file in recording_files(out)[1:]:
        alone = [*RecordReader(io.BytesIO(file.read_bytes())).records()]
        assert alone[0].kind is Kind.PICTURE
        assert isinstance(alone[0].message, FeedWelcome), "each file can be read alone"


def test_a_replay_goes_by_steps_and_begins_at_a_time(
    exchange: RunningExchange, trader: Trader, tmp_path: Path
) -> None:
    out, feed, socket_path = tmp_path / "rec", str(tmp_path / "feed"), tmp_path / "replay"
    with Program("record", "--feed", feed, "--out", str(out)) as recorder:
        recorder.line()
        trader.trade_slowly(8)
        _wait_until(lambda: bool(_lines(out)) and _lines(out)[-1].number == trader.traded)
        recorder.end()
    records = _records(out)
    middle = records[len(records) // 2]
    earlier = [r for r in records if r.at_ns < middle.at_ns]
    later = _told([r.message for r in records if r.at_ns >= middle.at_ns])
    assert earlier
    assert later
    after_s = (middle.at_ns - 500 - records[0].at_ns) / 1e9
    options = ["--from", f"+{after_s:.9f}", "--speed", "1000", "--step", "--ready"]
    with Program("replay", str(out), "--listen", str(socket_path), *options) as replay:
        replay.line()
        assert replay.line()["played"] == 0  # it waits: a step before that would be taken without a word

        async def scenario() -> None:
            async with subscribed(socket_path) as one:
                replay.say("1\n")  # the picture of then is there before it
                await one.read_until(lambda one: bool(one.quotes("ABC")))
                shown = len(_told(one.messages))
                replay.say("bad\n")
                answers = [replay.line() for _ in range(2)]
                assert any("is no step" in answer.get("error", "") for answer in answers)
                replay.say(f"{len(records)}\n")
                await one.read_until(lambda one: one.messages[-1:] != [] and _is_over(one))
                assert _told(one.messages)[-len(later) :] == later
                assert shown < len(_told(one.messages))

        run(scenario())
        assert replay.end() == 0


def _is_over(subscriber: Subscriber) -> bool:
    last = subscriber.messages[-1]
    return isinstance(last, FeedBeat) and last.is_stale


def test_what_cannot_be_recorded_or_played_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CannotRecord, match="at least"):
        Recorder(tmp_path / "feed", tmp_path / "rec", rotate_bytes=10)
    with pytest.raises(CannotRecord, match="cannot write"):
        Recorder(tmp_path / "feed", tmp_path / "none" / "rec").run()
    (tmp_path / "other").write_text("something else\n")
    for arguments, why in (
        (["replay", str(tmp_path / "none"), "--listen", str(tmp_path / "s")], "there is no recording"),
        (["replay", str(tmp_path / "other"), "--listen", str(tmp_path / "s")], "no recording of market data"),
        (["replay", str(tmp_path / "other")], "--listen"),
        (["replay", str(tmp_path / "other"), "--listen", str(tmp_path / "s"), "--from", "noon"], "noon"),
    ):
        assert cli.run(arguments) in (1, 2)
        assert why in capsys.readouterr().err


def test_a_full_disk_ends_the_recorder_with_what_is_there_readable(tmp_path: Path) -> None:
    """The file's size limit stands for the disk's end: a write is cut in the middle of a record."""
    path = tmp_path / "rec"
    recorder = Recorder(tmp_path / "feed", path)
    recorder._begin_file()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        for number in range(100):
            recorder._put(Record(number, Kind.NEWS, FeedBeat(number)))
        with pytest.raises(CannotRecord, match="can be played"):
            recorder._flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
        with contextlib.suppress(CannotRecord):
            recorder._end_file()
    numbers = [record.at_ns for record in _records(path)]
    assert 5 < len(numbers) <= 100
    assert numbers == list(range(len(numbers)))
