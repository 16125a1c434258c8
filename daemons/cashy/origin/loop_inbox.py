"""What threads have to tell the event loop, told a little at a time.

*Law.* Calls are made on the loop's thread, in the order they were posted, and for at most :data:`TURN_BUDGET_S` (and the call under way) in
one turn of the loop; what is left waits for the next turn, so that sockets and timers have theirs between. One
``call_soon_threadsafe`` each was rejected: a loop runs all that is ready in one turn, and when sixteen threads come back
together with what a fill costs, that turn takes 20 ms.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

__all__ = ["TURN_BUDGET_S", "LoopInbox"]

TURN_BUDGET_S = 0.002
"""A fifth of the longest stall that a master's loop should have."""


class LoopInbox:
    """Calls for one loop, posted by any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._is_woken = False

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Has ``function(*args)`` called soon. Raises ``RuntimeError`` if the loop is closed; then it is not."""
        self._calls.append((function, args))
        # Two threads may both see it unset: one wake-up too many does no harm. The loop unsets it before it looks for the last time.
        if not self._is_woken:
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        until = perf_counter() + TURN_BUDGET_S
        calls = self._calls
        while calls:
            function, args = calls.popleft()
            try:
                function(*args)
            except Exception as error:  # as the loop does with a callback of its own
                self._loop.call_exception_handler({"message": f"{function!r} failed", "exception": error})
            if perf_counter() > until:
                break
        if not calls:
            self._is_woken = False
            if not calls:  # still: whoever posts from here on wakes the loop
                return
            self._is_woken = True
        self._loop.call_soon(self._drain)
