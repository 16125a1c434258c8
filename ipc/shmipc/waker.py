"""Wakers: how one side of a ring tells the other that it should look.

Law: a waker says "look again" and nothing else; it may say so too often and never too seldom. It knows no ring. Whoever publishes wakes *every
time*, after the store: "only if the other sleeps" needs a full fence between a store and a load, which Python does not have on x86-64. Whoever waits
takes the wake-up first and looks at the shared state after it, so that what is published in between is found by the look or by the next wake-up.

- :class:`SemaphoreWaker`, for threads of processes *that trust each other*: an unnamed process-shared POSIX semaphore within shared memory. Nothing
  to unlink: it goes with the memory, also after kill -9. Not across a trust boundary: whoever waits can also scribble on it, and glibc
  aborts the process that posts a garbled one ("The futex facility returned an unexpected error code").
- :class:`EventfdWaker`, for event loops, and for threads too where the other side is not trusted: the one who wakes holds an eventfd, the
  one who waits an epoll descriptor that watches it edge-triggered. The two ends are different open files on purpose. O_NONBLOCK belongs to an open
  file and not to a process: with one eventfd in both hands, the other side could clear it and empty (or fill) the counter at the right moment,
  and a read (or write) of ours would block the loop for ever. So nobody ever reads the eventfd: its counter only grows, by one per wake-up, and
  would be full after 2**64 of them. Rejected as well: pipes (SIGPIPE in an application that has it on default, a reader that spins at EOF),
  socket pairs (twice the cost).

A waker closes its descriptors when nobody refers to it any more: a thread that is in :meth:`EventfdWaker.wake` while another lets go of it must
not write to whatever file has got the number since.
"""

from __future__ import annotations

import ctypes
import os
import select

from shmipc.errors import ShmError
from shmipc.layout import SEMAPHORE_BYTES
from shmipc.limits import STALE_POSTS_MAX
from shmipc.semaphore import WaitableSemaphore
from shmipc.waiting import Waitable

__all__ = ["EventfdWaker", "SemaphoreWaker"]

# These never wait, so the interpreter's lock is kept: giving it up would let another thread run first.
_libc = ctypes.PyDLL(None)
_sem_init = _libc.sem_init
_sem_init.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint]
_sem_post = _libc.sem_post
_sem_post.argtypes = [ctypes.c_void_p]
_sem_trywait = _libc.sem_trywait
_sem_trywait.argtypes = [ctypes.c_void_p]


_EDGE = select.EPOLLIN | select.EPOLLET
#: A waiting end watches the other side's eventfd, and its own.
_ENDS = 2


class SemaphoreWaker(WaitableSemaphore):
    """An unnamed semaphore at the beginning of ``memory`` (writable, SEMAPHORE_BYTES, 8-byte aligned), which stays mapped as long as this lives."""

    def __init__(self, memory: memoryview) -> None:
        self._bytes = (ctypes.c_char * SEMAPHORE_BYTES).from_buffer(memory)
        super().__init__("in shared memory", ctypes.addressof(self._bytes))

    @classmethod
    def create(cls, memory: memoryview) -> SemaphoreWaker:
        """Makes one with value 0, for all processes that map the memory; once, before anybody else has it."""
        made = cls(memory)
        if _sem_init(made.address, 1, 0):
            raise ShmError("sem_init failed: this C library has no process-shared semaphores")
        return made

    def wake(self) -> None:
        """Wakes a waiter, now or the next time it waits; never blocks, and no error if nobody is there or the semaphore is full."""
        _sem_post(self.address)

    def drain(self) -> None:
        """Takes the wake-ups that have piled up (at most STALE_POSTS_MAX); look after it, not before."""
        for _ in range(STALE_POSTS_MAX):
            if not self._try_now():
                return

    def _try_now(self) -> bool:
        return not _sem_trywait(self.address)


class EventfdWaker(Waitable):
    """One or both ends of a waker: ``waking_fd`` (an eventfd) and ``waiting_fd`` (an epoll descriptor), -1 where there is none.

    Takes the descriptors over. Hand one end to the other side as it is, then :meth:`close_waking_end` or :meth:`close_waiting_end` here.
    """

    def __init__(self, *, waking_fd: int = -1, waiting_fd: int = -1) -> None:
        super().__init__("wakes by eventfd")
        self.waking_fd = waking_fd
        self._own_fd = -1
        self._epoll: select.epoll | None = None
        self._epoll = select.epoll.fromfd(waiting_fd) if waiting_fd >= 0 else None

    @classmethod
    def create(cls) -> EventfdWaker:
        """Both ends of a new one."""
        made = cls(waking_fd=os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        try:
            made._epoll = select.epoll()
            made._epoll.register(made.waking_fd, _EDGE)
        except BaseException:
            made.close()
            raise
        return made

    @property
    def waiting_fd(self) -> int:
        """The descriptor that is readable while there is a wake-up not drained; -1 if this side does not wait."""
        return self._epoll.fileno() if self._epoll is not None else -1

    def fileno(self) -> int:
        """The same, for ``loop.add_reader`` and selectors."""
        return self.waiting_fd

    def wake(self) -> None:
        """Makes the waiting end readable; never blocks, and no error if nobody waits any more."""
        if self.waking_fd >= 0:
            try:
                os.eventfd_write(self.waking_fd, 1)
            except BlockingIOError:
                pass  # only somebody who fills the counter on purpose gets here: he sleeps then

    def drain(self) -> None:
        """Takes all wake-ups so far; look after it, not before."""
        self._try(0.0)

    def _try(self, timeout_s: float) -> bool:
        epoll = self._epoll
        return epoll is not None and bool(
            epoll.poll(timeout_s, _ENDS)
        )  # what it gives, it takes: edge-triggered

    def watch_self(self) -> None:
        """From now on :meth:`wake_self` wakes this waiting end as well; before any thread waits."""
        assert self._epoll is not None
        self._own_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._own_fd, _EDGE)

    def wake_self(self) -> None:
        """Makes a thread of this process that waits return, now or the next time."""
        if self._own_fd >= 0:
            os.eventfd_write(self._own_fd, 1)

    def close_waking_end(self) -> None:
        """Closes ``waking_fd``: only others wake from now on."""
        if self.waking_fd >= 0:
            fd, self.waking_fd = self.waking_fd, -1
            os.close(fd)

    def close_waiting_end(self) -> None:
        """Closes ``waiting_fd``: only others wait from now on."""
        if self._epoll is not None:
            epoll, self._epoll = self._epoll, None
            epoll.close()
        if self._own_fd >= 0:
            fd, self._own_fd = self._own_fd, -1
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Closes both ends at once, where no other thread can be in here; take ``fileno()`` out of the loop before."""
        self.close_waking_end()
        self.close_waiting_end()
