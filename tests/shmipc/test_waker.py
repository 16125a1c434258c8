"""Wakers: none is lost, none blocks, signals and dead sides included."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import mmap
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvloop
from tests.readable import readable
from tests.shmipc.support import descriptor_count, in_child

from shmipc import semaphore as semaphore_module
from shmipc.errors import OwnerDied
from shmipc.layout import SEMAPHORE_BYTES
from shmipc.limits import LIVENESS_CHECK_S, STALE_POSTS_MAX
from shmipc.waker import EventfdWaker, SemaphoreWaker


@pytest.fixture
def page() -> memoryview:
    return memoryview(mmap.mmap(-1, mmap.PAGESIZE))


@pytest.fixture(params=["sem_clockwait", "polling"])
def semaphore(
    request: pytest.FixtureRequest, page: memoryview, monkeypatch: pytest.MonkeyPatch
) -> SemaphoreWaker:
    if request.param == "polling":
        monkeypatch.setattr(semaphore_module, "_clock_wait", None)
    return SemaphoreWaker.create(page)


@pytest.fixture
def waker() -> Iterator[EventfdWaker]:
    made = EventfdWaker.create()
    yield made
    made.close()


def is_readable(waker: EventfdWaker, timeout_s: float = 0.0) -> bool:
    poll = select.poll()
    poll.register(waker.fileno(), select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


# --- semaphore ---


def test_posts_are_kept_until_somebody_waits(semaphore: SemaphoreWaker) -> None:
    semaphore.wake()
    semaphore.wake()
    assert semaphore.wait(0)
    assert semaphore.wait(30)
    assert not semaphore.wait(0)


def test_a_timeout_is_no_shorter_than_asked(semaphore: SemaphoreWaker) -> None:
    for timeout_s in (0.0, 0.03, 1.5 * LIVENESS_CHECK_S):
        begin = time.monotonic()
        assert not semaphore.wait(timeout_s)
        assert time.monotonic() - begin >= timeout_s


def test_posts_cross_processes(semaphore: SemaphoreWaker, page: memoryview) -> None:
    assert in_child(lambda: SemaphoreWaker(page).wake()) == 0
    assert semaphore.wait(30)


def test_a_thread_sleeps_until_it_is_woken(semaphore: SemaphoreWaker) -> None:
    threading.Timer(0.05, semaphore.wake).start()
    assert semaphore.wait(30)


def test_draining_takes_all_posts_but_ends(semaphore: SemaphoreWaker) -> None:
    for _ in range(STALE_POSTS_MAX):
        semaphore.wake()
    semaphore.drain()
    assert not semaphore.wait(0)
    for _ in range(STALE_POSTS_MAX + 1):
        semaphore.wake()
    semaphore.drain()
    assert semaphore.wait(0), "somebody who posts for ever does not keep the waiter"


def test_a_dead_poster_ends_the_wait(semaphore: SemaphoreWaker) -> None:
    with pytest.raises(OwnerDied):
        semaphore.wait(30, is_alive=lambda: False)
    semaphore.wake()
    assert semaphore.wait(30, is_alive=lambda: False), "a post already made counts"


def test_a_full_semaphore_is_no_error(page: memoryview) -> None:
    semaphore = SemaphoreWaker.create(page)
    page[:4] = (0x7FFFFFFF).to_bytes(4, "little")
    semaphore.wake()
    assert semaphore.wait(0)


def test_a_garbled_semaphore_kills_who_posts_it(page: memoryview) -> None:
    """Why channels, whose other side is not trusted, do not wake by semaphore. Should libc have got better, this may change."""
    semaphore = SemaphoreWaker.create(page)
    page[:SEMAPHORE_BYTES] = b"\xff" * SEMAPHORE_BYTES

    def post() -> None:
        faulthandler.disable()
        semaphore.wake()

    assert in_child(post) == -signal.SIGABRT


def test_the_memory_stays_while_the_semaphore_lives() -> None:
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    semaphore = SemaphoreWaker.create(memoryview(memory))
    with pytest.raises(BufferError):
        memory.close()
    del memory
    gc.collect()
    semaphore.wake()
    assert semaphore.wait(0)


# --- eventfd ---


def test_readable_from_wake_to_drain(waker: EventfdWaker) -> None:
    assert not is_readable(waker)
    for _ in range(3):
        waker.wake()
        waker.wake()
        assert is_readable(waker)
        assert is_readable(waker), "until it is drained"
        waker.drain()
        assert not is_readable(waker)
    waker.drain()


def test_every_wake_after_a_drain_shows(waker: EventfdWaker) -> None:
    """Edge-triggered, with a counter that nobody ever takes back: still no wake-up is lost."""
    rounds = 20_000

    def answer() -> None:
        for _ in range(rounds):
            assert readable(back.fileno(), timeout_s=30)
            back.drain()
            waker.wake()

    back = EventfdWaker.create()
    thread = threading.Thread(target=answer)
    thread.start()
    for _ in range(rounds):
        back.wake()
        assert readable(waker.fileno(), timeout_s=30), "a wake-up was lost"
        waker.drain()
    thread.join()
    back.close()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_wakes_cross_processes_and_loops(
    waker: EventfdWaker, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def main() -> None:
        woken = asyncio.Event()
        looks: list[int] = []

        def look() -> None:
            waker.drain()
            looks.append(1)
            woken.set()

        asyncio.get_running_loop().add_reader(waker.fileno(), look)
        for number in range(1, 4):
            assert await asyncio.to_thread(in_child, waker.wake) == 0
            await asyncio.wait_for(woken.wait(), 30)
            woken.clear()
            await asyncio.sleep(0.01)
            assert len(looks) == number, "a drained waker is not looked at again"
        asyncio.get_running_loop().remove_reader(waker.fileno())

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def test_the_waker_cannot_make_the_waiter_block(waker: EventfdWaker) -> None:
    """It clears O_NONBLOCK, empties and fills the counter: the waiting end is another open file."""
    os.set_blocking(waker.waking_fd, True)
    waker.wake()
    os.eventfd_read(waker.waking_fd)
    waker.drain()
    os.eventfd_write(waker.waking_fd, 2**64 - 2)
    assert is_readable(waker)
    waker.drain()
    assert not is_readable(waker)
    os.set_blocking(waker.waking_fd, False)
    waker.wake()  # full: no error


def test_the_waiter_cannot_make_the_waker_block(waker: EventfdWaker) -> None:
    """What it holds is no eventfd: there is no counter that it could fill."""
    os.set_blocking(waker.waiting_fd, True)
    with pytest.raises(OSError, match="Invalid argument"):
        os.eventfd_write(waker.waiting_fd, 2**64 - 2)
    for _ in range(1000):
        waker.wake()
    assert is_readable(waker)


def test_a_thread_waits_for_an_eventfd_too(waker: EventfdWaker) -> None:
    begin = time.monotonic()
    assert not waker.wait(1.5 * LIVENESS_CHECK_S)
    assert time.monotonic() - begin >= 1.5 * LIVENESS_CHECK_S
    threading.Timer(0.05, waker.wake).start()
    assert waker.wait(30)
    assert not waker.wait(0), "waiting takes what it was woken by"
    waker.wake()
    assert waker.wait(30, is_alive=lambda: False), "a wake-up already made counts"
    with pytest.raises(OwnerDied, match="wakes by eventfd is gone"):
        waker.wait(30, is_alive=lambda: False)


def test_a_signal_handler_runs_in_the_wait_and_may_raise(waker: EventfdWaker) -> None:
    class Stop(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Stop

    previous = signal.signal(signal.SIGUSR1, handler)
    target = threading.get_ident()
    timer = threading.Timer(0.05, lambda: signal.pthread_kill(target, signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(Stop):
            waker.wait(30)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, previous)


def test_a_waiter_is_woken_by_its_own_process_too(waker: EventfdWaker) -> None:
    waker.wake_self()
    assert not waker.wait(0), "it was not asked to watch itself"
    waker.watch_self()
    for _ in range(3):
        waker.wake_self()
        assert waker.wait(30)
        waker.wake_self()
        waker.wake()
        assert waker.wait(30)
        assert not waker.wait(0), "both are taken at once"


def test_either_end_may_be_gone(waker: EventfdWaker) -> None:
    waiting = EventfdWaker(waiting_fd=os.dup(waker.waiting_fd))
    waker.close_waiting_end()
    waker.wake()
    assert is_readable(waiting)
    waiting.close()
    waker.wake()
    waker.close()
    waker.wake()
    waker.drain()
    assert waker.fileno() == -1


def test_a_waiting_end_does_not_spin_when_the_waking_end_is_gone(waker: EventfdWaker) -> None:
    waker.close_waking_end()
    assert not is_readable(waker)


def test_descriptors_are_closed_with_the_last_reference() -> None:
    before = descriptor_count()
    made = EventfdWaker.create()
    wake = made.wake
    del made
    wake()
    assert descriptor_count() == before + 2
    del wake
    assert descriptor_count() == before
