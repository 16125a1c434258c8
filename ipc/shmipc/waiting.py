"""One loop for every kind of waiting: with a deadline on CLOCK_MONOTONIC, in short slices, while the other side lives.

Law: what can be waited for says only how to try once (:meth:`Waitable._try`); deadline, slices and the question whether somebody is still there to
wake are decided here. Nothing that wakes tells of its waker's death, so the waiter looks at least every :data:`~shmipc.limits.LIVENESS_CHECK_S`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from shmipc.errors import OwnerDied
from shmipc.limits import LIVENESS_CHECK_S

__all__ = ["Waitable"]


class Waitable:
    """Something that a thread can wait for. ``deed`` is what the other side does to wake, for messages: "posts semaphore 'x'"."""

    def __init__(self, deed: str) -> None:
        self._deed = deed

    def wait(self, timeout_s: float | None = None, *, is_alive: Callable[[], bool] | None = None) -> bool:
        """Waits for a wake-up; False when ``timeout_s`` has passed on the monotonic clock.

        ``is_alive`` is asked at least every ``LIVENESS_CHECK_S``; raises ``OwnerDied`` once it says no (a wake-up already made still counts).
        A signal handler runs meanwhile and may raise.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = (
                LIVENESS_CHECK_S if deadline is None else min(LIVENESS_CHECK_S, deadline - time.monotonic())
            )
            if self._try(max(left, 0.0)):
                return True
            if is_alive is not None and not is_alive():
                if self._try(0.0):
                    return True
                raise OwnerDied(f"the process that {self._deed} is gone")
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def _try(self, timeout_s: float) -> bool:
        """Waits once, for about so long at most; True if there was a wake-up. May return False early."""
        raise NotImplementedError
