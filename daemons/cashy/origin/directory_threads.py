"""Blocking questions about a directory, asked in threads and waited for on the loop.

Law: the loop never waits for a file system, and a mount that is dead costs a bounded number of threads. Each question has its
time; one that gets no answer within it ends with OriginTimeout, and its thread is written off until it comes back
(:mod:`cashy.origin.file_threads`). Too many at once are refused with SlowDown. What nobody waits for any more is told so by
:meth:`Question.check`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

from cashy.errors import CashyError, InternalError, OriginTimeout, OriginUnavailable
from cashy.origin.file_threads import FileJob, FileThreads

__all__ = ["DirectoryThreads", "Question"]

_T = TypeVar("_T")

#: A question that looks at its own time ends by itself; this much later its thread is stuck.
_STUCK_AFTER_S = 2.0


class Question(FileJob):
    """One call in a thread: it should :meth:`check` now and then whether it is still wanted."""

    __slots__ = ("deadline", "is_given_up")

    def __init__(self, timeout_s: float) -> None:
        super().__init__(_nothing)
        self.deadline = time.monotonic() + timeout_s
        self.is_given_up = False

    def check(self) -> None:
        """Raises OriginTimeout when the time is over, OriginUnavailable when nobody waits any more."""
        if self.is_given_up:
            raise OriginUnavailable("nobody waits for the answer any more")
        if time.monotonic() > self.deadline:
            raise OriginTimeout("the time for the answer is over")


def _nothing() -> None:
    """Stands in until a question has its work."""


class DirectoryThreads:
    """Threads of one kind of question about one directory; all methods are called on the loop."""

    def __init__(self, name: str, *, threads_max: int, queue_max: int) -> None:
        self._name = name
        self._threads = FileThreads(name, threads_max=threads_max, queue_max=queue_max)
        #: Questions that wait or are being answered.
        self.under_way = 0

    async def ask(self, work: Callable[[Question], _T], timeout_s: float) -> _T:
        """What ``work`` gives; raises what it raises (a CashyError), OriginTimeout, or SlowDown."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_T] = loop.create_future()
        question = Question(timeout_s)
        question.run = lambda: _answer(loop, answer, question, work)
        self._threads.submit(question)
        self.under_way += 1
        try:
            async with asyncio.timeout(timeout_s + _STUCK_AFTER_S):
                return await answer
        except TimeoutError:
            self._threads.mark_stuck(question)
            raise OriginTimeout(f"{self._name}: no answer within {timeout_s:g} s") from None
        finally:
            self.under_way -= 1
            question.is_given_up = True
            question.run = _nothing  # it refers to itself

    def close(self) -> None:
        """Lets the threads end; what is asked now is refused."""
        self._threads.close()


def _answer(
    loop: asyncio.AbstractEventLoop,
    answer: asyncio.Future[_T],
    question: Question,
    work: Callable[[Question], _T],
) -> None:
    """In a thread: never raises."""
    result: Any = None
    error: Exception | None = None
    try:
        question.check()
        result = work(question)
    except CashyError as failure:
        error = failure
    except Exception as failure:
        error = InternalError(f"a question about a directory failed: {failure!r}")
        error.__cause__ = failure
    try:
        loop.call_soon_threadsafe(_settle, answer, result, error)
    except RuntimeError:
        pass  # the loop is closed: nobody is left to hear it


def _settle(answer: asyncio.Future[_T], result: _T, error: Exception | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)
