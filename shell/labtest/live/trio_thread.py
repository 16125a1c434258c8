"""trio in a thread of its own, and blocking calls into it, for callers that know nothing of trio.

One asynchronous context manager is entered when the thread starts and left when it ends. Each call is a task: it has a deadline, its exception is
raised where it was called, and Ctrl-C there cancels it here before ``KeyboardInterrupt`` goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

import trio

from labtest.live.errors import CallLate, EnvironmentClosed
from labtest.live.limits import CLOSE_TIMEOUT_S, INTERRUPT_GRACE_S

__all__ = ["TrioThread"]

_T = TypeVar("_T")
_R = TypeVar("_R")

#: How often a waiting caller looks whether the thread is still there. Answers do not wait for this.
_LOOK_S = 1.0


class TrioThread(Generic[_T]):
    """The thread. ``surround`` makes what is open while it runs."""

    def __init__(self, surround: Callable[[], AbstractAsyncContextManager[_T]]) -> None:
        self._surround = surround
        self._scope = trio.CancelScope()
        self._begun: Future[trio.lowlevel.TrioToken] = Future()
        self._opened: Future[_T] = Future()
        self._nursery: trio.Nursery | None = None
        # A daemon: a process that ends without closing must not hang; what it leaves on this machine the next one removes.
        self._thread = threading.Thread(target=self._run, name="labtest", daemon=True)

    def start(self, timeout_s: float) -> _T:
        """Starts it, and gives what is open. Raises what opening it raised."""
        self._thread.start()
        try:
            return self._opened.result(timeout_s)
        except TimeoutError:
            self.close()
            raise CallLate(f"not open after {timeout_s:g} s") from None
        except BaseException:
            self.close()
            raise

    def call(self, function: Callable[[], Awaitable[_R]], *, timeout_s: float, what: str) -> _R:
        """Calls a function in the thread, and waits for what it gives. ``what`` is for the message if that takes too long."""
        answer: Future[_R] = Future()
        scope = trio.CancelScope()

        async def carry() -> None:
            try:
                with scope:
                    scope.deadline = trio.current_time() + timeout_s
                    answer.set_result(await function())
                if scope.cancelled_caught:
                    answer.set_exception(CallLate(f"{what}: no answer after {timeout_s:g} s"))
            except trio.Cancelled:
                answer.set_exception(EnvironmentClosed(f"{what}: the environment was closed meanwhile"))
                raise
            except BaseException as error:
                answer.set_exception(_alone(error))

        try:
            # Within the try: from here on it may be under way.
            self._soon(lambda: self._begin(carry))
            return self._result(answer)
        except KeyboardInterrupt:
            self._soon(scope.cancel)
            wait([answer], timeout=INTERRUPT_GRACE_S)
            raise

    def close(self) -> None:
        """Leaves what is open, and ends the thread. Does nothing the second time."""
        if not self._thread.ident:
            return
        try:
            self._soon(self._scope.cancel)
        except EnvironmentClosed:
            pass
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            raise CallLate(f"connections do not end after {CLOSE_TIMEOUT_S:g} s")

    def _result(self, answer: Future[_R]) -> _R:
        while not wait([answer], timeout=_LOOK_S).done:
            if not self._thread.is_alive() and not answer.done():
                raise EnvironmentClosed("the environment was closed meanwhile")
        return answer.result()

    def _soon(self, function: Callable[[], object]) -> None:
        try:
            self._begun.result(CLOSE_TIMEOUT_S).run_sync_soon(function)
        except trio.RunFinishedError:
            raise EnvironmentClosed("the environment is closed") from None

    def _begin(self, function: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None, "calls are made once it is open"
        self._nursery.start_soon(function)

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            if not self._opened.done():
                self._opened.set_exception(_alone(error))
                return
            raise
        if not self._opened.done():
            self._opened.set_exception(EnvironmentClosed("closed before it was open"))

    async def _main(self) -> None:
        self._begun.set_result(trio.lowlevel.current_trio_token())
        with self._scope:
            async with self._surround() as opened, trio.open_nursery() as nursery:
                self._nursery = nursery
                self._opened.set_result(opened)
                await trio.sleep_forever()


def _alone(error: BaseException) -> BaseException:
    """The one exception of a group of one: the caller asked for one thing."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
