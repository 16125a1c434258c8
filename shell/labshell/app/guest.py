"""One thread, two loops: asyncio hosts the terminal (prompt_toolkit), trio is its guest for the whole life of the program.

Everything runs on one thread, so *synchronous* calls cross freely in both directions and no lock is needed. Calls that wait cross by
:meth:`Bridge.call` (from asyncio into trio) and :meth:`Bridge.host` (from trio into asyncio). The guest always ends before its host: a trio run whose
host is gone can never be ended (trio's reference, "Using guest mode").

SIGINT is the program's own: it neither cancels asyncio's main task nor raises KeyboardInterrupt in the middle of something, which asyncio
would carry out of its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, NoReturn, TypeVar, TypeVarTuple

import trio

from labshell.app.exits import Exit, Interrupted
from labshell.app.limits import END_GRACE_S

__all__ = ["SIGNALS", "Bridge", "GuestEnded", "HostTask", "deaf_to_interrupts", "run_with_guest"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: What ends or interrupts the program.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class GuestEnded(Exception):
    """The trio run is over, or about to be: nothing can be called in it."""


class HostTask:
    """Something of asyncio's that trio waits for."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        #: Of trio's.
        self.ended = trio.Event()
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # it is somebody's who waits; asyncio need not complain
        self.ended.set()


class Bridge:
    """Between the two loops. ``report(what, error)`` is told of errors that are nobody's result."""

    def __init__(self, report: Callable[[str, BaseException], None]) -> None:
        self.report = report
        #: Called with a signal's number, between two steps of either loop.
        self.on_signal: Callable[[int], None] = lambda number: None
        self._nursery: trio.Nursery | None = None
        self._ready = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The host's loop, while it runs."""
        if self._loop is None:
            raise GuestEnded("the program is not running")
        return self._loop

    # --- asyncio's side ---

    async def call(self, async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Runs a function in trio and gives its result or error. Cancelling the caller cancels it; being cancelled is :class:`Interrupted`."""
        answer: asyncio.Future[T] = self.loop.create_future()
        scope = trio.CancelScope()

        async def run() -> None:
            try:
                with scope:
                    value = await async_fn(*args)
            except trio.Cancelled:
                _answer(answer, GuestEnded("the program ends"))
                raise
            except BaseException as error:
                _answer(answer, error)
                return
            if scope.cancelled_caught:
                _answer(answer, Interrupted("cancelled"))
            elif not answer.done():
                answer.set_result(value)

        self.start_soon(run)
        try:
            return await answer
        except asyncio.CancelledError:
            scope.cancel()
            raise

    def start_soon(self, async_fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Starts a task in trio. An error in it is reported, and ends nothing else. From either side; raises :class:`GuestEnded`."""
        nursery = self._nursery
        if nursery is None:
            raise GuestEnded("the program ends")
        nursery.start_soon(self._supervise, async_fn, args)

    async def _supervise(self, async_fn: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        try:
            await async_fn(*args)
        except trio.Cancelled:
            raise
        except BaseException as error:
            cancelled, rest = _parted(error)
            if rest is not None:
                self.report(f"in {getattr(async_fn, '__qualname__', async_fn)}", rest)
            if cancelled is not None:
                raise cancelled from None

    # --- trio's side ---

    def start_host(self, coroutine: Coroutine[Any, Any, Any]) -> HostTask:
        """Starts a task in asyncio. From either side."""
        return HostTask(self.loop.create_task(coroutine))

    async def host(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine of asyncio's and gives its result; in trio. Cancelling the caller cancels it, and waits until it has ended."""
        started = self.start_host(coroutine)
        try:
            await started.ended.wait()
        finally:
            if not started.ended.is_set():
                started.task.cancel()
                with trio.CancelScope(shield=True):
                    await started.ended.wait()
        if started.task.cancelled():
            raise GuestEnded("the program ends")
        result: T = started.task.result()
        return result

    async def guest_main(self) -> None:
        """What trio runs."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._ready.set()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    # --- begin and end ---

    async def begin(self) -> asyncio.Future[Any]:
        """Starts the guest; gives a future that is its end."""
        loop = self._loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._loop_error)
        done: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            self.guest_main,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=loop.call_soon,
            done_callback=done.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        await self._ready.wait()
        return done

    def cancel(self) -> None:
        """Cancels everything in trio."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def _loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(str(context.get("message")))
        self.report(f"in the terminal: {context.get('message')}", error)


def _answer(answer: asyncio.Future[Any], error: BaseException) -> None:
    if answer.done():
        return
    if isinstance(error, Exception):
        answer.set_exception(error)
        return
    # asyncio carries KeyboardInterrupt and SystemExit of a task straight out of the loop, and a future refuses StopIteration.
    wrapped = RuntimeError(f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    answer.set_exception(wrapped)


def _parted(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    return None, error


@contextlib.contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """SIGINT does nothing by itself: trio and asyncio then leave it alone, and there is no moment in which it is KeyboardInterrupt."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run_with_guest(
    main: Callable[[Bridge], Awaitable[int]],
    *,
    bridge: Bridge,
    leave: Callable[[], None] = lambda: None,
    grace_s: float = END_GRACE_S,
) -> int:
    """Runs ``main`` in asyncio beside a trio run; its result. Everything in trio is cancelled when it ends.

    Trio tasks that do not end within ``grace_s`` are left behind: ``leave`` is called and the process ends at once with the result, since
    neither loop can be ended without them. An error of ``main`` or of trio itself is reported, and the result is then ``Exit.INTERNAL``.
    """
    with deaf_to_interrupts():
        return asyncio.run(_host(main, bridge, leave, grace_s))


async def _host(
    main: Callable[[Bridge], Awaitable[int]], bridge: Bridge, leave: Callable[[], None], grace_s: float
) -> int:
    loop = asyncio.get_running_loop()
    _listen(loop, bridge)
    done = await bridge.begin()
    code = await _until_either_ends(asyncio.ensure_future(main(bridge)), done, bridge)
    bridge.cancel()
    await asyncio.wait({done}, timeout=grace_s)
    if not done.done():
        _leave_now(leave, code)
    try:
        done.result().unwrap()
    except BaseException as error:
        bridge.report("in trio", error)
        code = Exit.INTERNAL
    return code


def _deliver(bridge: Bridge, number: int) -> None:
    bridge.on_signal(number)


def _listen(loop: asyncio.AbstractEventLoop, bridge: Bridge) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, functools.partial(_deliver, bridge, number))

    # Not the loop's own handler: at its removal SIGINT is KeyboardInterrupt again for a moment.
    def interrupted(number: int, frame: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(_deliver, bridge, number)

    signal.signal(signal.SIGINT, interrupted)


async def _until_either_ends(running: asyncio.Future[int], done: asyncio.Future[Any], bridge: Bridge) -> int:
    await asyncio.wait({running, done}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        running.cancel()
        await asyncio.wait({running})
    if running.cancelled():
        return Exit.INTERNAL
    error = running.exception()
    if error is None:
        return running.result()
    bridge.report("in the program", error)
    return Exit.INTERNAL


def _leave_now(leave: Callable[[], None], code: int) -> NoReturn:
    leave()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
