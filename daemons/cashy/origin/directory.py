"""A directory, local or mounted, as an origin: positional reads in threads, straight into the reader's
buffer.

*Law.* Files may change, shrink, vanish or hang while they are read; what is given out is always one version's
bytes. The version is size, modification time and inode; it is taken before the first byte and checked after
each piece, *before* that piece is announced, so a watermark never covers mixed bytes. The loop's thread makes
no call that could block: opening, reading and closing are the threads' (:mod:`cashy.origin.file_threads`);
sinks are called on the loop only, so a thread asks the loop for its buffer and waits.

io_uring was rejected for now: many containers forbid it, and a dead mount blocks its workers alike. A cache
of open descriptors was rejected: it would pin deleted files and stale NFS handles to save about 5 us of a
read.

What the version cannot see: a file rewritten in place twice within one tick of the kernel's clock (4 ms;
kernels from 6.13 on have finer time stamps) with the same size. Replace files by rename, which changes the
inode.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

from cashy.core.breaker import ORIGIN_REST_MAX_S, Breaker
from cashy.errors import (
    AccessDenied,
    CashyError,
    InternalError,
    NoSuchBucket,
    NoSuchObject,
    OriginInvalid,
    OriginTimeout,
    OriginUnavailable,
    VersionChanged,
)
from cashy.origin.base import BlockRead, ListedPage, ObjectMeta, Origin
from cashy.origin.beneath import error_of_os, open_beneath, relative_path
from cashy.origin.directory_pages import DirectoryPages
from cashy.origin.file_threads import FileJob, FileThreads
from cashy.origin.file_version import version_of
from cashy.origin.loop_inbox import LoopInbox

__all__ = ["CHUNK_BYTES", "DirectoryOrigin", "QUEUE_MAX", "Preadv", "version_of"]

CHUNK_BYTES = 1 << 20
"""Read in one call: between two the version is checked, the watermark moved on, and a cancel noticed."""

QUEUE_MAX = 1024
"""Reads waiting for a thread; a thread reads thousands of small blocks a second, so this is well under a
second's work.
"""

CLOSE_GRACE_S = 1.0
"""How long ``close`` waits for threads in the middle of a read; those still there then are left to the
kernel.
"""

Preadv: TypeAlias = Callable[[int, Sequence[memoryview], int], int]
"""As ``os.preadv``: descriptor, buffers, offset; gives the count of bytes read."""


class _Task(FileJob):
    """One call under way in a thread, with what the loop knows of it. ``over``: its caller has been told, or
    asked not to be.
    """

    __slots__ = ("began", "bucket", "key", "over", "refusal", "reply", "result", "timer")

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(_nothing)
        self.bucket = bucket
        self.key = key
        self.over = False
        self.began = False
        self.refusal: CashyError | None = None
        self.reply: SimpleQueue[memoryview | None] = SimpleQueue()
        self.timer: asyncio.TimerHandle | None = None
        self.result: Callable[[CashyError | None], None]


def _nothing() -> None:
    """Stands in until a task has its work."""


class DirectoryOrigin(Origin):
    """Files below ``root``: bucket = a folder directly below it, key = the path below that; bucket "" = a
    path below ``root``.

    ``threads`` read at a time, each read within ``read_timeout_s`` (waiting for a thread included). A read
    that takes longer ends with OriginTimeout at once; its buffer is detached only when its thread returns.
    ``preadv`` is a seam: what reads in place of ``os.preadv``, so that tests (or a throttle) can stand
    between.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        *,
        threads: int,
        read_timeout_s: float,
        queue_max: int = QUEUE_MAX,
        preadv: Preadv = os.preadv,
    ) -> None:
        self.name = name
        self._root = os.fspath(root)
        self._threads = FileThreads(name, threads_max=threads, queue_max=queue_max)
        self._read_timeout_s = read_timeout_s
        self._pages = DirectoryPages(name, self._root)
        self._preadv = preadv
        self._tasks: set[_Task] = set()
        self._inbox: LoopInbox | None = None
        self._closed = False
        self._drained: asyncio.Event | None = None
        self._reads_total = 0
        self._heads_total = 0
        self._bytes_total = 0
        self._timeouts_total = 0
        self._breaker = Breaker(ORIGIN_REST_MAX_S)
        self._passed_over_total = 0
        self._cancels_total = 0

    # ------------------------------------------------------------ the interface, on the loop's thread

    def begin_read_block(self, read: BlockRead) -> None:
        """Queues the read for a thread; see :meth:`Origin.begin_read_block`."""
        loop = asyncio.get_running_loop()
        task = _Task(read.bucket, read.key)
        task.result = lambda error: read.on_done(read, error)
        read.state = task
        self._reads_total += 1
        try:
            path = relative_path(read.bucket, read.key)
            inbox = self._inbox_of(loop)
            task.run = lambda: self._run(inbox, task, lambda: self._read(inbox, task, read, path), read)
            self._start(loop, task)
        except CashyError as error:
            loop.call_soon(self._tell, task, error)

    def cancel_read_block(self, read: BlockRead) -> None:
        """Gives the read up; a thread within it notices after its present piece."""
        task = read.state
        if not isinstance(task, _Task) or task.over:
            return
        task.over = True
        self._cancels_total += 1
        # The timer stays while a thread is in it: only so a stuck one is found.
        if task.timer is not None and not self._threads.is_running(task):
            task.timer.cancel()

    async def head(self, bucket: str, key: str) -> ObjectMeta:
        """Opens the file and asks for its size and time; see :meth:`Origin.head`."""
        loop = asyncio.get_running_loop()
        path = relative_path(bucket, key)
        answer: asyncio.Future[ObjectMeta] = loop.create_future()
        found: list[ObjectMeta] = []
        task = _Task(bucket, key)
        task.result = lambda error: _settle(answer, found, error)
        inbox = self._inbox_of(loop)
        task.run = lambda: self._run(inbox, task, lambda: found.append(self._look(task, path)), None)
        self._heads_total += 1
        self._start(loop, task)
        try:
            return await answer
        finally:
            task.over = True

    async def list_page(
        self, bucket: str, prefix: str, *, folds: bool, token: str, entries_max: int
    ) -> ListedPage:
        """Walks as far as the page needs; see :meth:`Origin.list_page`."""
        return await self._pages.page(bucket, prefix, folds=folds, token=token, entries_max=entries_max)

    async def close(self) -> None:
        """Ends the threads. Reads under way end at their next piece, those stuck by then with OriginTimeout."""
        self._closed = True
        self._threads.close()
        self._pages.close()
        if self._tasks:
            self._drained = asyncio.Event()
            try:
                await asyncio.wait_for(self._drained.wait(), CLOSE_GRACE_S)
            except TimeoutError:
                pass
        for task in tuple(self._tasks):
            self._expire(task)
        await asyncio.to_thread(self._threads.join, 0 if self._tasks else CLOSE_GRACE_S)

    def counters(self) -> dict[str, int]:
        """Figures of reads and threads; ``threads_stuck`` is the one to watch."""
        return {
            "reads_total": self._reads_total,
            "heads_total": self._heads_total,
            "bytes_total": self._bytes_total,
            "timeouts_total": self._timeouts_total,
            "passed_over_total": self._passed_over_total,
            "hosts_resting": int(not self._breaker.is_closed),
            "cancels_total": self._cancels_total,
            "lists_total": self._pages.pages_total,
            **self._threads.counters(),
        }

    # ------------------------------------------------------------ a task's life, on the loop's thread

    def _inbox_of(self, loop: asyncio.AbstractEventLoop) -> LoopInbox:
        if self._inbox is None:
            self._inbox = LoopInbox(loop)
        return self._inbox

    def _start(self, loop: asyncio.AbstractEventLoop, task: _Task) -> None:
        if not self._breaker.ask(loop.time()):
            self._passed_over_total += 1
            raise OriginUnavailable(
                f"{self.name}: is left alone for a moment: the last reads have not come back from its file system"
            )
        try:
            self._threads.submit(task)
        except CashyError:
            self._breaker.given_up()
            raise
        self._tasks.add(task)
        task.timer = loop.call_later(self._read_timeout_s, self._expire, task)

    def _expire(self, task: _Task) -> None:
        """The time is up, whether the task was cancelled or not: a thread still within is stuck."""
        stuck = self._threads.mark_stuck(task)
        if task.over:
            return
        self._timeouts_total += 1
        self._breaker.failed(asyncio.get_running_loop().time())
        where = "its thread is stuck in the file system" if stuck else "no thread was free in time"
        limit = f"no answer within {self._read_timeout_s:g} s"
        self._tell(task, OriginTimeout(f"{self._name_of(task)}: {limit}; {where}"))

    def _give_buffer(self, task: _Task, read: BlockRead, meta: ObjectMeta, length: int) -> None:
        buffer: memoryview | None = None
        if not task.over:
            try:
                buffer = read.sink.begin(meta, length)
                task.began = True
            except CashyError as error:
                task.refusal = error
            except Exception as error:
                task.refusal = InternalError(f"{self._name_of(task)}: no buffer: {error!r}")
        task.reply.put(buffer)

    def _advance(self, task: _Task, read: BlockRead, watermark: int) -> None:
        if not task.over:
            read.sink.advanced(watermark)

    def _come_back(self, task: _Task, read: BlockRead | None, error: CashyError | None) -> None:
        """The thread has left the task and its buffer for good. Whatever came of it, the file system answers."""
        self._breaker.succeeded()
        self._tasks.discard(task)
        if self._drained is not None and not self._tasks:
            self._drained.set()
        if task.timer is not None:
            task.timer.cancel()
        task.run = _nothing  # it refers to the task: without this each read would be garbage in a cycle
        if read is not None:
            read.state = None
        if task.began and read is not None:
            task.began = False
            read.sink.detached()
        self._tell(task, task.refusal or error)

    def _tell(self, task: _Task, error: CashyError | None) -> None:
        if not task.over:
            task.over = True
            task.result(error)

    def _name_of(self, task: _Task) -> str:
        return f"{self.name}: {task.bucket}/{task.key}" if task.bucket else f"{self.name}: {task.key}"

    # ------------------------------------------------------------ the work, in a thread

    def _run(self, inbox: LoopInbox, task: _Task, work: Callable[[], None], read: BlockRead | None) -> None:
        error: CashyError | None = None
        try:
            if self._closed:
                raise OriginUnavailable(f"{self.name}: closed")
            if not task.over:
                work()
        except CashyError as failure:
            error = failure
        except OSError as failure:
            error = error_of_os(failure, self._name_of(task))
        except Exception as failure:
            error = InternalError(f"{self._name_of(task)}: {failure!r}")
        _post(inbox, self._come_back, task, read, error)

    def _open(self, task: _Task, path: bytes) -> int:
        """Opens a regular file below the root; raises CashyError or OSError."""
        try:
            root_fd = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            text = f"{self.name}: the directory {self._root} cannot be opened: {error.strerror}"
            raise OriginUnavailable(text) from None
        try:
            return open_beneath(root_fd, path)
        except OSError as error:
            failure = error_of_os(error, self._name_of(task))
            if isinstance(failure, NoSuchObject) and task.bucket:
                self._check_bucket(root_fd, task)
            raise failure from None
        finally:
            os.close(root_fd)

    def _check_bucket(self, root_fd: int, task: _Task) -> None:
        try:
            os.close(open_beneath(root_fd, relative_path("", task.bucket), folder=True))
        except OSError:
            raise NoSuchBucket(f"{self.name}: there is no folder {task.bucket!r}") from None

    def _status(self, task: _Task, fd: int) -> os.stat_result:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise NoSuchObject(f"{self._name_of(task)}: this is a folder")
        if not stat.S_ISREG(status.st_mode):
            raise AccessDenied(
                f"{self._name_of(task)}: not a regular file (a FIFO or device); it is not served"
            )
        return status

    def _look(self, task: _Task, path: bytes) -> ObjectMeta:
        fd = self._open(task, path)
        try:
            return _meta_of(self._status(task, fd))
        finally:
            os.close(fd)

    def _read(self, inbox: LoopInbox, task: _Task, read: BlockRead, path: bytes) -> None:
        fd = self._open(task, path)
        try:
            meta = _meta_of(self._status(task, fd))
            if read.expected_version not in (None, meta.version):
                raise self._changed(task)
            length = max(0, min(read.length, meta.size_bytes - read.offset))
            _post(inbox, self._give_buffer, task, read, meta, length)
            buffer = task.reply.get()
            if buffer is not None:
                self._fill(inbox, task, read, fd, meta, buffer, length)
        finally:
            os.close(fd)

    def _fill(
        self,
        inbox: LoopInbox,
        task: _Task,
        read: BlockRead,
        fd: int,
        meta: ObjectMeta,
        buffer: memoryview,
        length: int,
    ) -> None:
        done = 0
        while done < length and not task.over:
            if self._closed:
                raise OriginUnavailable(f"{self.name}: closed")
            with buffer[done : min(length, done + CHUNK_BYTES)] as piece:
                count = self._preadv(fd, [piece], read.offset + done)
            if version_of(os.fstat(fd)) != meta.version:
                raise self._changed(task)
            if count == 0:
                got = read.offset + done
                raise OriginInvalid(
                    f"{self._name_of(task)}: ends at byte {got} of {meta.size_bytes} announced"
                )
            done += count
            self._bytes_total += count
            _post(inbox, self._advance, task, read, done)

    def _changed(self, task: _Task) -> VersionChanged:
        return VersionChanged(
            f"{self._name_of(task)}: the file was changed since it was first looked at; read again"
        )


def _settle(answer: asyncio.Future[ObjectMeta], found: list[ObjectMeta], error: CashyError | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(found[0])


def _meta_of(status: os.stat_result) -> ObjectMeta:
    return ObjectMeta(version_of(status), status.st_size, status.st_mtime_ns / 1e9)


def _post(inbox: LoopInbox, function: Callable[..., None], *args: Any) -> None:
    try:
        inbox.post(function, *args)
    except (
        RuntimeError
    ):  # the loop is closed: a stuck thread came back after its origin's end; nobody is left to hear it
        if function.__name__ == "_give_buffer":
            args[0].reply.put(None)
