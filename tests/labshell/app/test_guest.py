"""Two loops on one thread: what crosses between them, and that both end, in whatever order it begins."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.labshell.app.person import environment

from labshell.app.exits import Interrupted
from labshell.app.guest import Bridge, GuestEnded, run_with_guest


class Told:
    """What is reported."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, BaseException]] = []

    def __call__(self, what: str, error: BaseException) -> None:
        self.errors.append((what, error))


def run(main: Callable[[Bridge], Awaitable[int]]) -> tuple[int, list[tuple[str, BaseException]]]:
    told = Told()
    before = signal.getsignal(signal.SIGINT)
    code = run_with_guest(main, bridge=Bridge(told))
    assert signal.getsignal(signal.SIGINT) is before
    return code, told.errors


async def fails(error: BaseException) -> None:
    await trio.lowlevel.checkpoint()
    raise error


def test_results_and_errors_cross_in_both_directions() -> None:
    async def main(bridge: Bridge) -> int:
        async def in_asyncio(value: int) -> int:
            await asyncio.sleep(0.001)
            assert asyncio.current_task() is not None
            return value + 1

        async def in_trio(value: int) -> int:
            await trio.sleep(0.001)
            return await bridge.host(in_asyncio(value)) + 10

        assert await bridge.call(in_trio, 1) == 12
        with pytest.raises(KeyError):
            await bridge.call(fails, KeyError("x"))
        for error in (KeyboardInterrupt(), SystemExit(3), StopIteration()):
            with pytest.raises(RuntimeError):
                await bridge.call(fails, error)

        async def host_fails() -> None:
            raise ValueError("asyncio's")

        async def asks() -> None:
            await bridge.host(host_fails())

        with pytest.raises(ValueError, match="asyncio's"):
            await bridge.call(asks)
        return 5

    assert run(main) == (5, [])


def test_cancelling_crosses_in_both_directions() -> None:
    seen: list[str] = []

    async def main(bridge: Bridge) -> int:
        async def sleeps() -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                seen.append("trio's")
                raise

        task = asyncio.ensure_future(bridge.call(sleeps))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

        async def host_sleeps() -> None:
            try:
                await asyncio.sleep(600)
            finally:
                seen.append("asyncio's")

        async def waits() -> None:
            with trio.move_on_after(0.01):
                await bridge.host(host_sleeps())

        await bridge.call(waits)

        async def cancels_itself() -> None:
            raise Interrupted("cancelled")

        with pytest.raises(Interrupted):
            await bridge.call(cancels_itself)
        return 0

    assert run(main) == (0, [])
    assert seen == ["trio's", "asyncio's"]


def test_a_task_that_fails_is_reported_and_ends_nothing() -> None:
    async def main(bridge: Bridge) -> int:
        for error in (ValueError("one"), KeyboardInterrupt("two"), ExceptionGroup("three", [ValueError()])):
            bridge.start_soon(fails, error)
        await asyncio.sleep(0.02)
        assert await bridge.call(trio.sleep, 0) is None  # type: ignore[func-returns-value]
        return 0

    code, errors = run(main)
    assert code == 0
    assert sorted(type(error).__name__ for _, error in errors) == [
        "ExceptionGroup",
        "KeyboardInterrupt",
        "ValueError",
    ]


def test_everything_is_on_one_thread_and_tasks_end_with_the_host() -> None:
    threads: set[int] = set()
    ended: list[bool] = []

    async def main(bridge: Bridge) -> int:
        async def works() -> None:
            try:
                while True:
                    threads.add(threading.get_ident())
                    await trio.sleep(0)
            finally:
                ended.append(True)

        bridge.start_soon(works)
        await asyncio.sleep(0.02)
        return 0

    assert run(main) == (0, [])
    assert threads == {threading.get_ident()}
    assert ended == [True]


def test_an_error_of_the_host_ends_the_guest_too() -> None:
    async def main(bridge: Bridge) -> int:
        bridge.start_soon(trio.sleep_forever)
        raise ValueError("the host's")

    code, errors = run(main)
    assert code == 70
    assert [str(error) for _, error in errors] == ["the host's"]


def test_when_the_guest_ends_first_the_host_ends() -> None:
    seen: list[str] = []

    async def main(bridge: Bridge) -> int:
        bridge.cancel()
        try:
            await asyncio.sleep(600)
        finally:
            seen.append("ended")
            with pytest.raises(GuestEnded):
                bridge.start_soon(trio.sleep, 1)
        return 0

    code, errors = run(main)
    assert (code, errors, seen) == (70, [], ["ended"])


def test_a_call_under_way_when_the_guest_ends_is_answered() -> None:
    async def main(bridge: Bridge) -> int:
        call = asyncio.ensure_future(bridge.call(trio.sleep_forever))
        await asyncio.sleep(0.01)
        bridge.cancel()
        with pytest.raises(GuestEnded):
            await call
        return 0

    assert run(main)[1] == []


def test_sigint_is_delivered_and_is_never_keyboard_interrupt() -> None:
    got: list[int] = []

    async def main(bridge: Bridge) -> int:
        bridge.on_signal = got.append
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
            while number not in got:
                await asyncio.sleep(0.001)
        return 0

    assert run(main) == (0, [])
    assert got == [2, 15, 1]


def test_an_error_in_a_callback_of_asyncio_is_reported() -> None:
    async def main(bridge: Bridge) -> int:
        def broken() -> None:
            raise ValueError("called back")

        asyncio.get_running_loop().call_soon(broken)
        await asyncio.sleep(0.01)
        return 0

    code, errors = run(main)
    assert (code, [str(error) for _, error in errors]) == (0, ["called back"])


STUCK = """
import sys, trio
from labshell.app.guest import Bridge, run_with_guest
async def stuck():
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()
async def main(bridge):
    bridge.start_soon(stuck)
    return 9
run_with_guest(main, bridge=Bridge(print), leave=lambda: print("left"), grace_s=0.1)
"""


def test_a_guest_that_does_not_end_is_left_behind(tmp_path: Path) -> None:
    done: Any = subprocess.run(
        [sys.executable, "-c", STUCK],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(tmp_path),
    )
    assert (done.returncode, done.stdout, done.stderr) == (9, "left\n", "")
