"""Waiting for a semaphore: deadlines, signals, dead posters, clocks.

The machine's clock is *not* stepped here: that needs root and would disturb everything else on it. Shown instead: the kernel is asked to wait on
CLOCK_MONOTONIC, and shortly; the wall clock has no part in it, in either way of waiting; and ``sem_timedwait``, which is bound to the wall
clock, is never used.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import posix_ipc
import pytest
from tests.shmipc.support import FAMILY, descriptor_count, in_child

from shmipc import semaphore as semaphore_module
from shmipc.errors import OwnerDied, ShmError, SquattedName
from shmipc.limits import LIVENESS_CHECK_S
from shmipc.semaphore import Semaphore


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"{FAMILY}.{os.getpid()}-{abs(hash(request.node.nodeid)):x}"


@pytest.fixture(params=["sem_clockwait", "polling"])
def made(request: pytest.FixtureRequest, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Semaphore]:
    """A semaphore that waits in either way."""
    if request.param == "polling":
        monkeypatch.setattr(semaphore_module, "_clock_wait", None)
    semaphore = Semaphore.create(name)
    yield semaphore
    semaphore.close()
    semaphore.unlink()
    semaphore.unlink()  # again: no error


def test_a_post_wakes_now_or_later(made: Semaphore) -> None:
    made.post()
    made.post()
    assert made.wait(0)
    assert made.wait()
    assert not made.wait(0)
    threading.Timer(0.05, made.post).start()
    assert made.wait(30)


def test_posts_cross_processes(made: Semaphore, name: str) -> None:
    child = multiprocessing.get_context("fork").Process(target=lambda: Semaphore.open(name).post())
    child.start()
    assert made.wait(30)
    child.join()


def test_a_timeout_is_no_shorter_than_asked(made: Semaphore) -> None:
    for timeout_s in (0.0, 0.03, 2.5 * LIVENESS_CHECK_S):
        begin = time.monotonic()
        assert not made.wait(timeout_s)
        assert time.monotonic() - begin >= timeout_s


@contextmanager
def _signals(handler: Callable[[int, object], None], interval_s: float) -> Iterator[None]:
    """SIGUSR1 to this thread every ``interval_s`` (SIGALRM is the test runner's)."""
    previous = signal.signal(signal.SIGUSR1, handler)
    target, stop = threading.get_ident(), threading.Event()

    def send() -> None:
        while not stop.wait(interval_s):
            signal.pthread_kill(target, signal.SIGUSR1)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join()
        signal.signal(signal.SIGUSR1, previous)


def test_a_signal_runs_its_handler_and_the_wait_goes_on(made: Semaphore) -> None:
    seen: list[int] = []

    def handler(number: int, frame: object) -> None:
        seen.append(number)
        if len(seen) == 3:
            made.post()

    with _signals(handler, 0.02):
        assert made.wait(30), "signals are no timeout"
    assert len(seen) >= 3


def test_signals_do_not_move_the_deadline(made: Semaphore) -> None:
    begin = time.monotonic()
    with _signals(lambda number, frame: None, 0.01):
        assert not made.wait(0.25)
        assert time.monotonic() - begin >= 0.25


def test_a_handler_may_end_the_wait_by_raising(made: Semaphore) -> None:
    class Stop(Exception):
        pass

    raised: list[int] = []

    def handler(number: int, frame: object) -> None:
        if not raised:
            raised.append(number)
            raise Stop

    with _signals(handler, 0.03), pytest.raises(Stop):
        made.wait(60)


def test_a_dead_poster_ends_an_endless_wait(made: Semaphore) -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    descriptor = os.pidfd_open(pid)
    threading.Timer(0.05, lambda: os.kill(pid, signal.SIGKILL)).start()
    try:
        with pytest.raises(OwnerDied, match=r"the process that posts semaphore .* is gone"):
            made.wait(
                is_alive=lambda: (
                    os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
                )
            )
    finally:
        os.waitpid(pid, 0)
        os.close(descriptor)


def test_what_was_posted_before_the_death_still_counts(made: Semaphore) -> None:
    def dies_after_posting() -> bool:
        made.post()
        return False

    assert made.wait(is_alive=dies_after_posting)


# --- clocks ---


def test_the_kernel_is_asked_on_the_monotonic_clock_for_a_short_time(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, float]] = []
    real = semaphore_module._clock_wait
    assert real is not None, "this libc has sem_clockwait"

    def recorded(address: int, clock: int, until: object) -> int:
        deadline = until._obj  # type: ignore[attr-defined]
        asked.append((clock, deadline.seconds + deadline.nanoseconds / 1e9 - time.monotonic()))
        answer: int = real(address, clock, until)
        return answer

    monkeypatch.setattr(semaphore_module, "_clock_wait", recorded)
    monkeypatch.setattr(time, "time", lambda: pytest.fail("the wall clock has no part in it"))
    semaphore = Semaphore.create(name)
    try:
        assert not semaphore.wait(5 * LIVENESS_CHECK_S)
    finally:
        semaphore.close()
        semaphore.unlink()
    assert len(asked) >= 2, "it looks in between"
    assert {clock for clock, _ in asked} == {time.CLOCK_MONOTONIC}
    assert all(left <= LIVENESS_CHECK_S for _, left in asked)


class _Watched:
    """posix_ipc's semaphore; notes the timeouts that are asked of it."""

    def __init__(self, semaphore: posix_ipc.Semaphore) -> None:
        self.semaphore = semaphore
        self.timeouts: list[float] = []

    def acquire(self, timeout_s: float) -> None:
        self.timeouts.append(timeout_s)
        self.semaphore.acquire(timeout_s)


def test_a_wall_clock_that_runs_backwards_changes_nothing(
    made: Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours_back = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: 1.7e9 - 3600 * next(hours_back))
    watched = _Watched(made._semaphore)
    monkeypatch.setattr(made, "_semaphore", watched)
    begin = time.monotonic()
    assert not made.wait(2.5 * LIVENESS_CHECK_S)
    assert time.monotonic() - begin >= 2.5 * LIVENESS_CHECK_S
    assert set(watched.timeouts) <= {0}, "never sem_timedwait, which a step lengthens"
    monkeypatch.undo()


# --- names ---


def test_a_taken_name_is_a_squatter(made: Semaphore, name: str) -> None:
    with pytest.raises(SquattedName, match="exists already and was not made by this process: choose another"):
        Semaphore.create(name)


def test_a_missing_name_says_who_should_have_made_it(name: str) -> None:
    before = descriptor_count()
    with pytest.raises(ShmError, match=r"there is no semaphore .* its owner is not running, start it"):
        Semaphore.open(name)
    assert descriptor_count() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_users_semaphore_is_refused(made: Semaphore, name: str) -> None:
    def child() -> None:
        os.setuid(65534)
        with pytest.raises(SquattedName, match=r"user 65534 may not open semaphore"):
            Semaphore.open(name)

    assert in_child(child) == 0
