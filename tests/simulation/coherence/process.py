"""Simulated processes and the clocks of their machines.

What runs belongs to a process by its context: tasks and callbacks inherit it, so the real code under test needs to know nothing of it. A frozen
process (SIGSTOP) does not run while time goes on and its callbacks pile up; a dead one never runs again. Clocks of machines begin
anywhere and run at slightly different speeds; a process sees its machine's only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context, ContextVar, copy_context

__all__ = ["CURRENT", "NS", "Clock", "Process", "current_process"]

NS = 1_000_000_000

CURRENT: ContextVar[Process] = ContextVar("CURRENT")


class Clock:
    """CLOCK_MONOTONIC of one machine: ``rate`` of its own seconds pass in one true second."""

    def __init__(self, offset_ns: int = 0, rate: float = 1.0) -> None:
        self.offset_ns = offset_ns
        self.rate = rate

    def local_ns(self, true_ns: int) -> int:
        return self.offset_ns + int(true_ns * self.rate)

    def true_ns(self, local_ns: int) -> int:
        """When the clock will show ``local_ns``; never earlier than that."""
        return int((local_ns - self.offset_ns) / self.rate) + 1


class Process:
    """One process. ``context`` is what its first callback runs in; all later ones inherit it."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.clock = clock
        self.is_frozen = False
        self.is_dead = False
        #: Whether the loop has it among those that may run.
        self.is_listed = False
        #: What is to run, in order; one event loop's order within a process is not the simulator's to change.
        self.ready: deque[asyncio.Handle] = deque()
        #: Tasks of a dead process are kept, so that nothing of it is cleaned up that a killed process would not clean up.
        self.tasks: set[asyncio.Task[object]] = set()
        self._context = copy_context()
        self._context.run(CURRENT.set, self)

    @property
    def context(self) -> Context:
        return self._context.copy()

    def kill(self) -> None:
        """SIGKILL."""
        self.is_dead = True


def current_process() -> Process | None:
    """Whose code is running; None outside of a simulation."""
    return CURRENT.get(None)
