"""Shared memory of the engine: logs that everybody may follow, and the one semaphore on which its loop waits.

Each lies in a sealed memfd without a name, which goes when the last process is gone. Followers get a read-only descriptor. The semaphore is
writable for front ends, which run as the engine's own user: one that scribbles on it can end the engine, which then starts again.
"""

from __future__ import annotations

import fcntl
import mmap
import os

from shmipc.broadcast import LogReader, LogWriter, initialise_log
from shmipc.layout import RING_HEADER_BYTES
from shmipc.segment import allocate
from shmipc.waker import SemaphoreWaker

__all__ = ["Doorbell", "SharedLog", "attach_doorbell", "attach_log"]

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def _sealed(name: str, size_bytes: int) -> tuple[int, mmap.mmap]:
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        allocate(fd, size_bytes, name)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        return fd, mmap.mmap(fd, size_bytes)
    except BaseException:
        os.close(fd)
        raise


class SharedLog:
    """A broadcast log that this process writes; ``capacity_bytes`` is a power of two."""

    def __init__(self, name: str, capacity_bytes: int) -> None:
        fd, memory = _sealed(name, RING_HEADER_BYTES + capacity_bytes)
        try:
            self.read_only_fd = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(fd)
        initialise_log(memoryview(memory))
        self.writer = LogWriter(memoryview(memory))

    def close(self) -> None:
        """Closes the descriptor; the memory goes with the last who uses it."""
        os.close(self.read_only_fd)


class Doorbell:
    """The semaphore on which the engine's loop waits, whoever has something for it."""

    def __init__(self) -> None:
        self.fd, memory = _sealed("toucan-doorbell", mmap.PAGESIZE)
        self._waker = SemaphoreWaker.create(memoryview(memory))
        self.ring = self._waker.wake

    def wait(self, timeout_s: float) -> bool:
        """Waits until it is rung or the time is over, and takes all rings so far."""
        if not self._waker.wait(timeout_s):
            return False
        self._waker.drain()
        return True

    def close(self) -> None:
        """Closes the descriptor."""
        os.close(self.fd)


def attach_log(fd: int) -> LogReader:
    """Follows a log from the oldest message that is there; takes the descriptor over."""
    try:
        size_bytes = os.fstat(fd).st_size
        return LogReader(memoryview(mmap.mmap(fd, size_bytes, prot=mmap.PROT_READ)))
    finally:
        os.close(fd)


def attach_doorbell(fd: int) -> SemaphoreWaker:
    """Another process's doorbell, to ring; takes the descriptor over."""
    try:
        return SemaphoreWaker(memoryview(mmap.mmap(fd, mmap.PAGESIZE)))
    finally:
        os.close(fd)
