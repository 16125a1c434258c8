"""Threads for calls that may block in a file system, and may never come back.

*Law.* Only threads live here: jobs in, jobs run; what a job does and who hears of it is not known. The number
of threads, of waiting jobs and of stuck threads is bounded, always. A thread in a dead mount sits in the
kernel and cannot be ended, so it is *written off*: counted as stuck, and a replacement takes its place, up to
as many replacements as there were threads. When it comes back after all, it leaves if there are enough
others. With no thread left to work, jobs are refused at once rather than queued behind a mount that is dead.

``concurrent.futures`` was rejected: its queue has no bound, it cannot replace a thread, and it joins stuck
threads at exit.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from cashy.errors import OriginUnavailable, SlowDown

__all__ = ["FileJob", "FileThreads", "READER_NICENESS", "REPLACEMENTS_PER_THREAD"]

REPLACEMENTS_PER_THREAD = 1
"""Threads that may be started for each configured one, when it is stuck: one dead mount beside a good one is
survived.
"""

READER_NICENESS = 10
"""By how much the threads give way to the event loop: a thread that waits for a disk loses nothing by it.
"""


class FileJob:
    """One call to be made in a thread; ``run`` must not raise. The flags belong to :class:`FileThreads`."""

    __slots__ = ("finished", "run", "running", "stuck")

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run
        self.running = False
        self.finished = False
        self.stuck = False


class FileThreads:
    """Up to ``threads_max`` working threads and a queue of ``queue_max`` jobs. Threads start when they are
    needed.

    All methods but the threads' own are called by one thread. ``lock`` guards the counts; it is held for a
    few instructions.
    """

    def __init__(self, name: str, *, threads_max: int, queue_max: int) -> None:
        self._name = name
        self._threads_max = threads_max
        self._alive_max = threads_max * (1 + REPLACEMENTS_PER_THREAD)
        self._queue_max = queue_max
        self._queue: SimpleQueue[FileJob | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._queued = 0
        self._busy = 0  # running a job, stuck ones included
        self._stuck = 0
        self._stuck_total = 0
        self._closed = False

    def submit(self, job: FileJob) -> None:
        """Queues a job. Raises SlowDown when the queue is full or every thread is stuck, OriginUnavailable
        when closed.
        """
        with self._lock:
            if self._closed:
                raise OriginUnavailable(f"{self._name}: closed")
            if self._queued >= self._queue_max:
                raise SlowDown(f"{self._name}: {self._queue_max} reads are waiting already; try again later")
            if len(self._threads) - self._busy <= self._queued:
                self._start_thread()
            if len(self._threads) == self._stuck:
                raise SlowDown(
                    f"{self._name}: {self._stuck} threads are stuck in the file system, none is left; "
                    "is its server reachable?"
                )
            self._queued += 1
        self._queue.put(job)

    def mark_stuck(self, job: FileJob) -> bool:
        """Writes off the thread that runs ``job`` if it still does (then True), and starts a replacement if
        the bound allows.
        """
        with self._lock:
            if not job.running or job.finished or job.stuck:
                return False
            job.stuck = True
            self._stuck += 1
            self._stuck_total += 1
            if self._queued:
                self._start_thread()
            return True

    def is_running(self, job: FileJob) -> bool:
        """Tells whether a thread has taken the job and not come back from it."""
        with self._lock:
            return job.running and not job.finished

    def close(self) -> None:
        """Lets the threads end after the jobs queued before; later jobs are refused."""
        with self._lock:
            self._closed = True
            count = len(self._threads)
        for _ in range(count):
            self._queue.put(None)

    def join(self, timeout_s: float) -> bool:
        """Blocks until all threads have ended, at most so long; tells whether they have. For use off the
        loop, after close.
        """
        deadline = time.monotonic() + timeout_s
        for thread in tuple(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in tuple(self._threads))

    def counters(self) -> dict[str, int]:
        """Levels: threads, busy, stuck and queued; and how often a thread was found stuck."""
        with self._lock:
            return {
                "threads": len(self._threads),
                "threads_busy": self._busy,
                "threads_stuck": self._stuck,
                "threads_stuck_total": self._stuck_total,
                "queued": self._queued,
            }

    def _start_thread(self) -> None:
        """Starts one if the bounds allow; called with the lock held."""
        if len(self._threads) - self._stuck >= self._threads_max or len(self._threads) >= self._alive_max:
            return
        # A daemon thread: one that is stuck in the kernel must not keep the process from ending.
        thread = threading.Thread(target=self._work, name=f"cashy-file-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no further threads; the others do the work
            return
        self._threads.add(thread)

    def _work(self) -> None:
        _give_way()
        while (job := self._queue.get()) is not None:
            with self._lock:
                self._queued -= 1
                self._busy += 1
                job.running = True
            job.run()
            with self._lock:
                if self._finish(job):
                    return
        with self._lock:
            self._threads.discard(threading.current_thread())

    def _finish(self, job: FileJob) -> bool:
        """Accounts for a job that came back; True if this thread is one too many by now."""
        job.finished = True
        self._busy -= 1
        if job.stuck:
            self._stuck -= 1
        if len(self._threads) - self._stuck <= self._threads_max or self._closed:
            return False
        self._threads.discard(threading.current_thread())
        return True


def _give_way() -> None:
    """Lowers this thread's priority (on Linux a thread has its own): copying from the page cache must not keep the event loop from its core."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), READER_NICENESS)
