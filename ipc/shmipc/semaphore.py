"""One way to wait for a POSIX semaphore: with a deadline that clock steps do not move, through signals, while the other side lives.

Law: a semaphore is a wake-up, never a mutex: it has no owner, and a holder that is killed never gives it back. It may wake too often (posts
add up) and says nothing about why; the waiter looks at the shared state again. What makes waiting safe is collected here, since
``sem_timedwait``, all that posix_ipc has, is not: its deadline is on CLOCK_REALTIME, and a clock that is stepped back *during* a wait
lengthens it by the step, however short it was meant to be; and posix_ipc swallows what a signal handler raises meanwhile. So the wait is
``sem_clockwait`` (glibc 2.30) on CLOCK_MONOTONIC, of at most :data:`~shmipc.limits.LIVENESS_CHECK_S` each; with an older libc the semaphore
is polled.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time

import posix_ipc

from shmipc.errors import ShmError, SquattedName
from shmipc.limits import SEMAPHORE_POLL_S
from shmipc.waiting import Waitable

__all__ = ["Semaphore", "WaitableSemaphore"]


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


_libc = ctypes.CDLL(None, use_errno=True)
_sem_open = _libc.sem_open
_sem_open.restype = ctypes.c_void_p
_sem_open.argtypes = [ctypes.c_char_p, ctypes.c_int]
_sem_close = _libc.sem_close
_sem_close.argtypes = [ctypes.c_void_p]
_clock_wait = getattr(_libc, "sem_clockwait", None)
if _clock_wait is not None:
    _clock_wait.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Timespec)]


def _wait_until(address: int, deadline_s: float) -> int:
    """0 or an errno; ``deadline_s`` is on CLOCK_MONOTONIC."""
    seconds = int(deadline_s)
    until = _Timespec(seconds, int((deadline_s - seconds) * 1e9))
    assert _clock_wait is not None
    failed = _clock_wait(address, time.CLOCK_MONOTONIC, ctypes.byref(until))
    return ctypes.get_errno() if failed else 0


class WaitableSemaphore(Waitable):
    """What named and unnamed semaphores have in common. ``address`` is that of libc's ``sem_t``, None where only polling is possible."""

    def __init__(self, name: str, address: int | None) -> None:
        super().__init__(f"posts semaphore {name!r}")
        self.name = name
        self.address = address

    def _try(self, timeout_s: float) -> bool:
        """One wait. False also after a signal: its handler has run, and the caller recomputes what is left."""
        if timeout_s <= 0:
            return self._try_now()
        if self.address is None or _clock_wait is None:
            time.sleep(min(timeout_s, SEMAPHORE_POLL_S))
            return self._try_now()
        code = _wait_until(self.address, time.monotonic() + timeout_s)
        if code not in (0, errno.ETIMEDOUT, errno.EINTR):
            raise OSError(code, f"waiting for semaphore {self.name!r}: {os.strerror(code)}")
        return code == 0

    def _try_now(self) -> bool:
        """Takes a post if there is one."""
        raise NotImplementedError


class Semaphore(WaitableSemaphore):
    """A named POSIX semaphore, used to wake a waiting thread of another process."""

    def __init__(self, name: str, semaphore: posix_ipc.Semaphore) -> None:
        # libc gives the same semaphore for the same name, counted; posix_ipc does not show its address
        super().__init__(name, _sem_open(b"/" + name.encode(), 0) if _clock_wait is not None else None)
        self._semaphore = semaphore

    @classmethod
    def create(cls, name: str, mode: int = 0o600) -> Semaphore:
        """Makes a new one with value 0; raises ``SquattedName`` if the name is taken."""
        try:
            return cls(name, posix_ipc.Semaphore("/" + name, posix_ipc.O_CREX, mode=mode, initial_value=0))
        except posix_ipc.ExistentialError as error:
            raise SquattedName(
                f"semaphore {name!r} exists already and was not made by this process: choose another name, or remove it"
            ) from error

    @classmethod
    def open(cls, name: str) -> Semaphore:
        """Opens an existing one; raises ``ShmError`` if there is none, ``SquattedName`` if it is another user's."""
        try:
            return cls(name, posix_ipc.Semaphore("/" + name))
        except posix_ipc.ExistentialError as error:
            raise ShmError(f"there is no semaphore {name!r}: its owner is not running, start it") from error
        except posix_ipc.PermissionsError as error:
            raise SquattedName(
                f"user {os.geteuid()} may not open semaphore {name!r}: run as its owner, or choose another name"
            ) from error

    def post(self) -> None:
        """Wakes one waiter, now or the next time it waits."""
        self._semaphore.release()

    def _try_now(self) -> bool:
        try:
            self._semaphore.acquire(0)
        except posix_ipc.BusyError:
            return False
        return True

    def close(self) -> None:
        """Closes this process's handle."""
        self._semaphore.close()
        if self.address is not None:
            _sem_close(self.address)
            self.address = None

    def unlink(self) -> None:
        """Removes the name, also after :meth:`close`; no error if somebody else has done so."""
        try:
            posix_ipc.unlink_semaphore("/" + self.name)  # its own unlink() does nothing once it is closed
        except posix_ipc.ExistentialError:
            pass
