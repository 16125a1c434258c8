"""Signs of life, with a supervisor's real socket and, where time counts, a clock of the test's."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostkit.heartbeat import STATUS_INTERVAL_S, Heartbeat
from hostkit.notify import NotifyReceiver, notify_reloading, watchdog_s


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NotifyReceiver]:
    receiver = NotifyReceiver(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(receiver.path))
    yield receiver
    receiver.close()


def environment(receiver: NotifyReceiver, watchdog_s: float | None = None) -> dict[str, str]:
    values = {"NOTIFY_SOCKET": str(receiver.path)}
    return values if watchdog_s is None else {**values, "WATCHDOG_USEC": str(int(watchdog_s * 1e6))}


def fields(receiver: NotifyReceiver, name: str) -> list[str]:
    return [one.fields[name] for one in receiver.receive() if name in one.fields]


@pytest.mark.parametrize("wanted_s", [0.5, 2.0, 20.0, 300.0])
def test_pings_come_at_half_the_time_that_is_given_and_not_much_more_often(
    receiver: NotifyReceiver, wanted_s: float
) -> None:
    clock = Clock()
    heart = Heartbeat(lambda: "", environ=environment(receiver, wanted_s), now_s=clock)
    heart.beat()
    assert fields(receiver, "WATCHDOG") == ["1"]
    pinged_at = [clock.now]
    while clock.now < 100 + 5 * wanted_s:
        clock.now += heart.interval_s
        heart.beat()
        if fields(receiver, "WATCHDOG"):
            pinged_at.append(clock.now)
    gaps = [later - before for before, later in itertools.pairwise(pinged_at)]
    assert max(gaps) <= wanted_s / 2 + 1e-6
    assert min(gaps) >= wanted_s / 4


def test_a_loop_that_beats_all_the_time_pings_no_more_often(receiver: NotifyReceiver) -> None:
    clock = Clock()
    heart = Heartbeat(lambda: "", environ=environment(receiver, 10), now_s=clock)
    for _ in range(10_000):
        clock.now += 0.001
        heart.beat()
    assert 2 <= len(fields(receiver, "WATCHDOG")) <= 4


def test_the_line_is_sent_when_it_has_changed_and_at_most_once_a_second(receiver: NotifyReceiver) -> None:
    clock, said = Clock(), ["a"]
    heart = Heartbeat(lambda: said[0], environ=environment(receiver), now_s=clock)
    heart.beat()
    heart.beat()
    assert fields(receiver, "STATUS") == ["a"]
    for number in range(30):
        clock.now += STATUS_INTERVAL_S / 10
        said[0] = f"line {number}\nof two"
        heart.beat()
    told = fields(receiver, "STATUS")
    assert 3 <= len(told) <= 4
    assert all("\n" not in line and line.endswith(" of two") for line in told)
    clock.now += 10
    heart.beat()
    clock.now += 10
    fields(receiver, "STATUS")
    heart.beat()
    assert fields(receiver, "STATUS") == [], "nothing has changed"


def test_a_line_that_cannot_be_made_is_no_reason_to_fall(receiver: NotifyReceiver) -> None:
    clock = Clock()

    def fail() -> str:
        raise ValueError("a bug")

    heart = Heartbeat(fail, environ=environment(receiver, 10), now_s=clock)
    for _ in range(3):
        heart.beat()
        clock.now += 5
    assert len(fields(receiver, "WATCHDOG")) == 3


def test_without_a_supervisor_the_line_is_not_even_made() -> None:
    heart = Heartbeat(lambda: pytest.fail("nobody asked"), environ={})
    heart.beat()


def test_watchdog_of_another_process_is_not_ours() -> None:
    assert watchdog_s({"WATCHDOG_USEC": "5000000"}) == 5.0
    assert watchdog_s({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}) is None
    for nonsense in ("", "0", "-1", "soon"):
        assert watchdog_s({"WATCHDOG_USEC": nonsense}) is None


def test_reloading_tells_when_it_began(receiver: NotifyReceiver) -> None:
    before = time.monotonic_ns() // 1000
    assert notify_reloading()
    (told,) = receiver.receive()
    assert told.fields["RELOADING"] == "1"
    assert before <= int(told.fields["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000


def test_an_event_loop_that_stands_still_does_not_ping(receiver: NotifyReceiver) -> None:
    program = (
        "import asyncio, time\n"
        "from hostkit.heartbeat import Heartbeat\n"
        "async def main():\n"
        "    beating = asyncio.create_task(Heartbeat(lambda: 'alive').run())\n"
        "    await asyncio.sleep(1.0)\n"
        "    print('stands still', flush=True)\n"
        "    input()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment(receiver, 0.4), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"stands still\n"
        assert len(fields(receiver, "WATCHDOG")) >= 3
        time.sleep(0.6)  # what must not come has no sign to wait for
        assert fields(receiver, "WATCHDOG") == []
        process.stdin.write(b"\n")
        process.stdin.close()
        process.wait(20)
