"""One way to wait for a POSIX semaphore: with a deadline that clock steps do not move, through signals, while the other side lives.

Law: a semaphore is a wake-up, never a mutex: it has no owner, and a holder that is killed never gives it back. It may wake too often (posts add up)
and says nothing about why; the waiter looks at the shared state again.
What makes waiting safe is collected here, since ``sem_timedwait`` alone is not:
its deadline is on CLOCK_REALTIME (a clock stepped back lengthens the wait by the step), and posix_ipc raises ``SignalError`` when a Python
signal handler ran. So each single wait is at most :data:`~shmipc.limits.LIVENESS_CHECK_S` long, and the deadline is counted on CLOCK_MONOTONIC.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import posix_ipc

from shmipc.errors import OwnerDied, ShmError, SquattedName
from shmipc.limits import LIVENESS_CHECK_S

__all__ = ["Semaphore"]


class Semaphore:
    """A named POSIX semaphore, used to wake a waiting thread of another process."""

    def __init__(self, name: str, semaphore: posix_ipc.Semaphore) -> None:
        self.name = name
        self._semaphore = semaphore

    @classmethod
    def create(cls, name: str, mode: int = 0o600) -> Semaphore:
        """Makes a new one with value 0; raises ``SquattedName`` if the name is taken."""
        try:
            return cls(name, posix_ipc.Semaphore("/" + name, posix_ipc.O_CREX, mode=mode, initial_value=0))
        except posix_ipc.ExistentialError as error:
            raise SquattedName(
                f"semaphore {name!r} exists already and was not made by this process"
            ) from error

    @classmethod
    def open(cls, name: str) -> Semaphore:
        """Opens an existing one; raises ``ShmError``."""
        try:
            return cls(name, posix_ipc.Semaphore("/" + name))
        except posix_ipc.ExistentialError as error:
            raise ShmError(f"there is no semaphore {name!r}: its owner is not running") from error

    def post(self) -> None:
        """Wakes one waiter, now or the next time it waits."""
        self._semaphore.release()

    def wait(self, timeout_s: float | None = None, *, is_alive: Callable[[], bool] | None = None) -> bool:
        """Waits for a post; False when ``timeout_s`` has passed on the monotonic clock.

        ``is_alive`` is asked at least every ``LIVENESS_CHECK_S``; raises ``OwnerDied`` once it says no (a post already made still counts).
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
                raise OwnerDied(f"the process that posts semaphore {self.name!r} is gone")
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def _try(self, timeout_s: float) -> bool:
        try:
            self._semaphore.acquire(timeout_s)
        except posix_ipc.BusyError:
            return False
        except posix_ipc.SignalError:
            return False  # the handler has run; the caller recomputes what is left
        return True

    def close(self) -> None:
        """Closes this process's handle."""
        self._semaphore.close()

    def unlink(self) -> None:
        """Removes the name; False alarms are fine: somebody else may have done so."""
        try:
            self._semaphore.unlink()
        except posix_ipc.ExistentialError:
            pass
