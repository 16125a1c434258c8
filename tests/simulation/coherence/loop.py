"""An event loop with virtual time and a seeded order: the same seed gives the same run, and an hour passes as fast as its callbacks run.

Of all processes that could run, the next one is drawn; within a process callbacks keep the order asyncio promises. Each callback takes a moment
of virtual time. When nothing can run, the clock jumps to the next timer. There are no sockets, threads or sleeping.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
import traceback
from asyncio import Handle, TimerHandle
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from itertools import count
from typing import Any

from .process import CURRENT, NS, Clock, Process

__all__ = ["Deadlock", "SimulatedLoop", "SimulatedTask"]

#: The longest that one callback takes.
_STEP_NS_MAX = 20_000


class Deadlock(Exception):
    """Nothing can run, no timer is set, and the simulation is not over."""


class SimulatedTask(asyncio.Task[Any]):
    """A task that sets iterate over in the same order in each run."""

    _numbers = count(1)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._number = next(SimulatedTask._numbers)
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other

    @classmethod
    def start_anew(cls) -> None:
        cls._numbers = count(1)


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module. ``problems`` are errors that no code took: a bug, here or in what is tested."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.true_ns = 0
        self.steps = 0
        self.problems: list[str] = []
        self.world = Process("world", Clock())
        self._draw = random.Random(f"order {seed}")
        self._processes = [self.world]
        self._runnable: list[Process] = []
        self._timers: list[tuple[int, int, TimerHandle]] = []
        self._numbers = count()
        SimulatedTask.start_anew()
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._problem)

    # --- processes ---

    def add(self, process: Process) -> None:
        self._processes.append(process)

    def kill(self, process: Process) -> None:
        process.kill()

    def call_in(
        self, process: Process, delay_ns: int, callback: Callable[..., object], *args: Any
    ) -> TimerHandle:
        """Runs ``callback`` in ``process`` after ``delay_ns`` of true time, if it lives and runs by then."""
        return self._add_timer(self.true_ns + max(0, delay_ns), callback, args, process.context)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, work: Any, context: Context | None = None
    ) -> SimulatedTask:
        task = SimulatedTask(work, loop=loop, context=context)
        process = self._process_of(context)
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
        return task

    def _process_of(self, context: Context | None) -> Process:
        found = CURRENT.get(self.world) if context is None else context.get(CURRENT, self.world)
        assert found is not None
        return found

    # --- what asyncio asks of a loop ---

    def time(self) -> float:
        return self._process_of(None).clock.local_ns(self.true_ns) / NS

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        if context is None:
            context = copy_context()
        handle = Handle(callback, args, self, context)
        self._enqueue(handle, self._process_of(context))
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> TimerHandle:
        true_ns = self._process_of(context).clock.true_ns(math.ceil(when * NS))
        return self._add_timer(true_ns, callback, args, context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _add_timer(
        self, true_ns: int, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> TimerHandle:
        handle = TimerHandle(
            true_ns / NS, callback, args, self, context if context is not None else copy_context()
        )
        heapq.heappush(self._timers, (true_ns, next(self._numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        """It is dropped when it is due."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps."""

    # --- running ---

    def _run_once(self) -> None:
        draw, runnable = self._draw.random, self._runnable
        while not self._stopping:  # type: ignore[attr-defined]
            if self._timers and self._timers[0][0] <= self.true_ns:
                self._take_due()
            if not runnable:
                self._jump()
                continue
            at = int(draw() * len(runnable))
            process = runnable[at]
            if process.is_frozen or process.is_dead or not process.ready:
                process.is_listed = False
                runnable[at] = runnable[-1]
                runnable.pop()
                continue
            handle = process.ready.popleft()
            if not handle.cancelled():
                self.steps += 1
                self.true_ns += 1 + int(draw() * _STEP_NS_MAX)
                handle._run()

    def _jump(self) -> None:
        """Nothing happens before the next timer is due."""
        if not self._timers:
            raise Deadlock("nothing can run any more")
        self.true_ns = max(self.true_ns, self._timers[0][0])

    def _take_due(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self.true_ns:
            handle = heapq.heappop(timers)[2]
            if not handle.cancelled():
                self._enqueue(handle, self._process_of(handle._context))  # type: ignore[attr-defined]

    def _enqueue(self, handle: Handle, process: Process) -> None:
        if process.is_dead:
            return
        process.ready.append(handle)
        self._list(process)

    def _list(self, process: Process) -> None:
        if not process.is_listed and not process.is_frozen:
            process.is_listed = True
            self._runnable.append(process)

    def freeze(self, process: Process) -> None:
        """SIGSTOP."""
        process.is_frozen = True

    def thaw(self, process: Process) -> None:
        """SIGCONT."""
        process.is_frozen = False
        self._list(process)

    def _problem(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.problems.append(f"{context.get('message')}: {error!r}")
        if error is not None and error.__traceback__ is not None:
            self.problems.append("".join(traceback.format_exception(error)))

    def abandon(self) -> None:
        """Ends every task that is under way where it stands; to be called as the last thing, on the running loop."""
        mine = asyncio.current_task()
        while tasks := [task for process in self._processes for task in process.tasks if task is not mine]:
            for task in tasks:
                for process in self._processes:
                    process.tasks.discard(task)
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with suppress(BaseException):
                    task.get_coro().close()
        self._timers.clear()
        for process in self._processes:
            if process is not self.world:
                process.kill()
