"""trio behind blocking calls: what they raise, when they end, and what Ctrl-C does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from labtest.errors import HostUnreachable
from labtest.live import CallLate, EnvironmentClosed
from labtest.live.trio_thread import TrioThread


@asynccontextmanager
async def nothing() -> AsyncIterator[str]:
    yield "open"


def test_a_call_gives_what_the_function_gives_and_raises_what_it_raises() -> None:
    thread = TrioThread(nothing)
    assert thread.start(10) == "open"

    async def one() -> int:
        await trio.sleep(0)
        return 1

    async def unreachable() -> None:
        raise HostUnreachable("a", "it is gone")

    async def in_a_group() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(unreachable)

    assert thread.call(one, timeout_s=10, what="one") == 1
    with pytest.raises(HostUnreachable, match="it is gone"):
        thread.call(unreachable, timeout_s=10, what="two")
    with pytest.raises(HostUnreachable, match="it is gone"):
        thread.call(in_a_group, timeout_s=10, what="three")
    thread.close()
    thread.close()
    with pytest.raises(EnvironmentClosed):
        thread.call(one, timeout_s=10, what="four")


def test_a_late_call_is_cancelled_and_says_what_it_was() -> None:
    thread = TrioThread(nothing)
    thread.start(10)
    cancelled = threading.Event()

    async def hangs() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    with pytest.raises(CallLate, match=r"the moon: no answer after 0.05 s"):
        thread.call(hangs, timeout_s=0.05, what="the moon")
    assert cancelled.is_set()
    thread.close()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """As at a terminal: what a shell runs in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_cancels_the_call_and_goes_on_as_keyboard_interrupt() -> None:
    thread = TrioThread(nothing)
    thread.start(10)
    cancelled = threading.Event()

    async def hangs() -> None:
        try:
            while True:
                # Again and again, as a person would: one that comes while something else is called back is lost to that.
                os.kill(os.getpid(), signal.SIGINT)
                await trio.sleep(1)
        finally:
            cancelled.set()

    with pytest.raises(KeyboardInterrupt):
        thread.call(hangs, timeout_s=60, what="waiting")
    assert cancelled.is_set()

    async def two() -> int:
        return 2

    assert thread.call(two, timeout_s=10, what="two") == 2
    thread.close()


def test_closing_ends_calls_that_are_under_way() -> None:
    thread = TrioThread(nothing)
    thread.start(10)
    begun = threading.Event()

    async def hangs() -> None:
        begun.set()
        await trio.sleep_forever()

    problems: list[BaseException] = []

    def caller() -> None:
        try:
            thread.call(hangs, timeout_s=60, what="waiting")
        except EnvironmentClosed as error:
            problems.append(error)

    other = threading.Thread(target=caller)
    other.start()
    assert begun.wait(10)
    thread.close()
    other.join(10)
    assert len(problems) == 1


def test_what_opening_raises_is_raised_by_start_and_nothing_is_left() -> None:
    @asynccontextmanager
    async def fails() -> AsyncIterator[None]:
        async with trio.open_nursery():
            raise HostUnreachable("b", "no such host")
        yield

    before = threading.active_count()
    thread = TrioThread(fails)
    with pytest.raises(HostUnreachable, match="no such host"):
        thread.start(10)
    assert threading.active_count() == before


def test_opening_that_hangs_is_given_up() -> None:
    left = threading.Event()

    @asynccontextmanager
    async def hangs() -> AsyncIterator[None]:
        try:
            await trio.sleep_forever()
        finally:
            left.set()
        yield

    with pytest.raises(CallLate, match=r"not open after 0\.05 s"):
        TrioThread(hangs).start(0.05)
    assert left.is_set()
