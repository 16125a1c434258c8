"""Questions in threads: answered, refused when there are too many, given up when they take too long."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

import pytest

from cashy.errors import InternalError, NoSuchBucket, OriginTimeout, OriginUnavailable, SlowDown
from cashy.origin.directory_threads import DirectoryThreads, Question

P = ParamSpec("P")


def on_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        asyncio.run(test(*arguments, **named))

    return run


def failing(_: Question) -> None:
    raise NoSuchBucket("no")


def buggy(_: Question) -> None:
    raise ZeroDivisionError


@on_a_loop
async def test_answers_and_errors_come_back() -> None:
    threads = DirectoryThreads("d", threads_max=2, queue_max=4)
    assert await threads.ask(lambda _: threading.current_thread().name, 5) != threading.current_thread().name
    with pytest.raises(NoSuchBucket):
        await threads.ask(failing, 5)
    with pytest.raises(InternalError) as caught:
        await threads.ask(buggy, 5)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert threads.under_way == 0
    threads.close()
    with pytest.raises(OriginUnavailable):
        await threads.ask(lambda _: 1, 5)


@on_a_loop
async def test_too_many_are_refused_and_the_others_answered() -> None:
    threads = DirectoryThreads("d", threads_max=1, queue_max=2)
    go = threading.Event()
    first = asyncio.create_task(threads.ask(lambda _: go.wait(20), 20))
    while not threads.under_way:
        await asyncio.sleep(0)
    rest = [asyncio.create_task(threads.ask(lambda _: True, 20)) for _ in range(6)]
    await asyncio.sleep(0.05)
    go.set()
    assert await first
    answers = await asyncio.gather(*rest, return_exceptions=True)
    refused = [one for one in answers if isinstance(one, SlowDown)]
    assert 4 <= len(refused) <= 5
    assert answers.count(True) == 6 - len(refused)
    threads.close()


@on_a_loop
async def test_who_takes_too_long_is_given_up_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cashy.origin.directory_threads._STUCK_AFTER_S", 0.01)
    threads = DirectoryThreads("d", threads_max=1, queue_max=2)
    go, ended = threading.Event(), threading.Event()

    def hang(question: Question) -> None:
        go.wait(20)
        try:
            question.check()
        except OriginUnavailable:
            ended.set()
            raise

    with pytest.raises(OriginTimeout):
        await threads.ask(hang, 0.01)
    assert await threads.ask(lambda _: "another thread", 5) == "another thread"
    go.set()
    assert await asyncio.to_thread(ended.wait, 20)
    threads.close()
