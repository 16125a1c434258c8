"""One disk: its threads, its health, its room. Everything but the threads' calls happens on the loop."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from cashy.core.disk_admission import DiskAdmission
from cashy.core.disk_health import DiskHealth, DiskState
from cashy.core.disk_index import Place, cost_bytes
from cashy.disk import files
from cashy.disk.errors import DiskCorrupt, DiskError, DiskTimeout, DiskTorn
from cashy.disk.layout import Record, RecordKind
from cashy.disk.limits import (
    BLOCK_SHARE_MIN,
    BUSY_S,
    CLOSE_S_MAX,
    EVICTIONS_PER_TURN,
    FOLDERS,
    FOREIGN_NAMES_PER_TURN,
    JOURNAL_SLACK_RECORDS,
    LATE_S,
    NOTES_WAITING_MAX,
    READ_S_MAX,
    READ_THREADS,
    READS_WAITING_MAX,
    RECOVER_S_MAX,
    WRITE_S_MAX,
    WRITES_WAITING_BYTES_MAX,
)
from cashy.disk.options import DiskOptions
from cashy.disk.task import Task
from cashy.errors import CashyError
from cashy.origin.file_threads import FileThreads

__all__ = ["Disk"]

_log = structlog.get_logger("cashy.disk")

#: Writes and removals that wait; each is a block, and those are bounded by their bytes.
_JOBS_MAX = 1 << 16
#: In the place of a write's number: what it writes goes again.
_UNWANTED = 0
_COUNTED = (
    "adopted_total", "bytes_written_total", "corrupt_total", "errors_total", "evicted_total", "full_total", "hits_total", "mapped_total",
    "reads_total", "refused_by_admission_total", "refused_by_queue_total", "refused_by_rate_total", "timeouts_total", "writes_failed_total",
    "writes_total",
)  # fmt: skip

#: Of this process or machine, and not of the disk: nothing is held against the disk, or the block.
_SHORTAGES = errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN


class Disk:
    """See the module; ``now`` is CLOCK_MONOTONIC."""

    def __init__(
        self, options: DiskOptions, *, block_bytes: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.options = options
        self.folder = options.directory
        self.capacity = max(64, options.size_bytes * BLOCK_SHARE_MIN // block_bytes)
        self._largest_bytes = cost_bytes(block_bytes)
        self.health = DiskHealth()
        self.admission = DiskAdmission(options.write_bytes_per_s)
        self.counts: Counter[str] = Counter()
        self._now = now
        self._opened: files.Opened | None = None
        self._epoch = 0
        self._limit_bytes = options.size_bytes
        self._coming_bytes = 0  # room of blocks that are being written
        self._writing: dict[bytes, int] = {}
        self._removing: set[bytes] = set()
        self._waiting_bytes = 0
        self._records: list[Record] = []
        self._is_journal_busy = False
        self._is_journal_behind = False
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        name = str(options.directory)
        self._readers = FileThreads(name, threads_max=READ_THREADS, queue_max=READS_WAITING_MAX)
        self._writers = FileThreads(name, threads_max=1, queue_max=_JOBS_MAX)

    # --- from start to end ---

    async def open(self) -> None:
        """Recovers what it holds; it has no blocks until then. Never raises: a disk that cannot be used is tried again later."""
        epoch = self._epoch
        reason = ""
        try:
            opened = await self._call(
                self._writers,
                partial(files.open_folder, self.folder, self.capacity),
                limit_s=RECOVER_S_MAX,
                late=files.Opened.close,
            )
        except (CashyError, OSError) as error:
            reason = _said(error)
        if epoch != self._epoch or self._is_closed:
            if not reason:
                opened.close()
            return
        if reason:
            self.health.failed(reason, self._now())
            _log.warning("disk_failed", disk=str(self.folder), reason=reason)
            return
        self._opened = opened
        self._is_journal_behind = not opened.journal.is_open
        self.health.recovered()
        if self._is_journal_behind:
            self.health.is_full(self._now())
        _log.info("disk_ready", disk=str(self.folder), blocks=len(opened.index), used=opened.index.used_bytes)
        self._spawn(self._settle())

    async def _settle(self) -> None:
        """Gives up what is beyond the size, which may be smaller than it was; then looks for what the index does not know."""
        opened = self._opened
        while opened is not None and opened is self._opened and self._make_room(0):
            try:
                await self._call(self._writers, _nothing_to_do)  # the files go as fast as the disk lets them
            except CashyError:
                await asyncio.sleep(BUSY_S)
        await self._look_for_others()

    async def close(self) -> None:
        """Ends its threads; one that hangs is left behind."""
        self._is_closed = True
        self._flush_records()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for threads in (self._readers, self._writers):
            threads.close()
        loop = asyncio.get_running_loop()
        has_ended = await loop.run_in_executor(
            None, self._writers.join, CLOSE_S_MAX if self.is_ready else 0.1
        )
        if has_ended and self._opened is not None:
            self._opened.close()
        self._opened = None

    @property
    def is_ready(self) -> bool:
        """Whether it is used."""
        return self.health.state is DiskState.READY and self._opened is not None

    def look_after(self) -> None:
        """To be called every second or so: flushes, probes, makes room, and writes the journal anew when it has grown long."""
        if self.health.is_probe_due(self._now()):
            self.health.probed("", self._now())  # RECOVERING: nobody else tries it meanwhile
            self._spawn(self._try_again())
        if self.is_ready:
            self._make_room(0)
            self._flush_records()

    async def _try_again(self) -> None:
        try:
            await self._call(self._readers, partial(files.probe, self.folder), limit_s=READ_S_MAX)
        except (CashyError, OSError) as error:
            self.health.probed(_said(error), self._now())
            return
        await self.open()

    def _take_out(self) -> None:
        """It is not READY any more: it holds nothing until it has recovered."""
        self._epoch += 1
        opened, self._opened = self._opened, None
        records, self._records = self._records, []
        if opened is not None:
            # The lock and the journal go with the thread that may still use them.
            self._submit(self._writers, Task(partial(_give_back, opened, records), _nothing, _nothing))
        self._coming_bytes = 0
        self._limit_bytes = self.options.size_bytes
        _log.warning(
            "disk_taken_out", disk=str(self.folder), state=self.health.state.value, reason=self.health.reason
        )

    # --- blocks ---

    def find(self, digest: bytes) -> Place | None:
        """The block's place, if it is here."""
        return self._opened.index.find(digest) if self._opened is not None else None

    def read(
        self, place: Place, digest: bytes, buffer: memoryview, done: Callable[[CashyError | None, int], None], detached: Callable[[], None]
    ) -> Task:  # fmt: skip
        """See :meth:`cashy.disk.tier.DiskTier.read`."""

        def told(task: Task) -> None:
            error = self._outcome(task, place)
            if not task.is_cancelled:
                done(error, task.result or 0)

        def over(task: Task) -> None:
            self._came_back(task)
            detached()

        call = partial(files.read_block, self.folder, digest, place.length, buffer)
        task = Task(call, told, over)
        self.counts["reads_total"] += 1
        self._touch(place)
        if self._submit(self._readers, task):
            self._watch(task, READ_S_MAX)
        return task

    async def open_block(self, place: Place, digest: bytes) -> int:
        """See :meth:`cashy.disk.tier.DiskTier.open`."""
        made: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def told(task: Task) -> None:
            error = self._outcome(task, place)
            if made.done():
                return
            if error is not None:
                made.set_exception(error)
            else:
                made.set_result(task.result)

        def over(task: Task) -> None:
            self._came_back(task)
            if task.result is not None and (task.is_told or made.done()):
                os.close(task.result)

        task = Task(partial(files.open_block, self.folder, digest, place.length), told, over)
        self.counts["mapped_total"] += 1
        self._touch(place)
        if self._submit(self._readers, task):
            self._watch(task, READ_S_MAX)
        return await made

    def wants(self, digest: bytes, length: int, uses: int) -> bool:
        """See :meth:`cashy.disk.tier.DiskTier.wants`."""
        if not self.health.may_write(self._now()) or self._opened is None:
            return False
        if digest[:16] in self._writing or cost_bytes(length) > self._limit_bytes:
            return False
        if self._used_bytes > self._limit_bytes:
            return False  # it became smaller, and is not there yet
        if not self.admission.is_worth_it(digest, length, uses):
            self.counts["refused_by_admission_total"] += 1
        elif self._waiting_bytes + length > WRITES_WAITING_BYTES_MAX:
            self.counts["refused_by_queue_total"] += 1
        elif not self.admission.may_write(self._now()):
            self.counts["refused_by_rate_total"] += 1
        else:
            return True
        return False

    def write(
        self, digest: bytes, length: int, crc: int, data: memoryview, done: Callable[[bool], None]
    ) -> None:
        """See :meth:`cashy.disk.tier.DiskTier.write`."""
        cost, key, epoch = cost_bytes(length), digest[:16], self._epoch
        self._make_room(cost)
        self.admission.writes(length, self._now())
        self._number = number = self._number + 1
        self._waiting_bytes += length
        self._coming_bytes += cost
        self._writing[key] = number

        def over(task: Task) -> None:
            self._waiting_bytes -= length
            is_wanted = self._writing.pop(key, None) == number
            if epoch == self._epoch:
                self._coming_bytes -= cost
            is_here = not task.is_told and self._written(task, digest, length, crc, epoch)
            if is_here and not is_wanted:
                self.forget_block(digest)
                is_here = False
            self._came_back(task)
            done(is_here)  # also of one that hung: the bytes were needed until now

        task = Task(partial(files.write_block, self.folder, number, digest, crc, data), _nothing, over)
        self.counts["writes_total"] += 1
        if self._submit(self._writers, task):
            self._watch(task, WRITE_S_MAX)

    def forget_block(self, digest: bytes) -> None:
        """The block goes, if it is here; if it is being written, when it is written."""
        if digest[:16] in self._writing:
            self._writing[digest[:16]] = _UNWANTED
        place = self.find(digest)
        if place is not None:
            self.forget(place)

    def forget(self, place: Place) -> None:
        """The block goes."""
        opened = self._opened
        if opened is None or not opened.index.holds(place):
            return
        opened.index.remove(place.slot)
        self._note(RecordKind.REMOVED, place)
        self._remove(place.key)

    # --- outcomes ---

    def _outcome(self, task: Task, place: Place) -> CashyError | None:
        """What became of a read."""
        error = task.error
        if error is None:
            if task.result is not None:
                self.counts["hits_total"] += 1
                self.health.went_well()
                return None
            return DiskError("cancelled")
        if isinstance(error, DiskCorrupt):
            self.counts["corrupt_total"] += 1
            _log.warning(
                "disk_block_corrupt", disk=str(self.folder), block=place.key.hex(), reason=error.message
            )
        if (
            isinstance(error, OSError)
            and not isinstance(error, DiskTimeout)
            and error.errno not in _SHORTAGES
        ):
            if not isinstance(error, FileNotFoundError):  # the folder is away, and the block with it
                self.forget(place)
            if not isinstance(error, DiskTorn) and not _is_absent(error):
                self._erred(error)
        return error if isinstance(error, CashyError) else DiskError(f"{self.folder}: {_said(error)}")

    def _written(self, task: Task, digest: bytes, length: int, crc: int, epoch: int) -> bool:
        opened = self._opened
        if task.error is None and not task.is_dropped and epoch == self._epoch and opened is not None:
            self.counts["bytes_written_total"] += length
            self._limit_bytes = min(self.options.size_bytes, self._limit_bytes + cost_bytes(length))
            if opened.index.count >= opened.index.capacity:
                self._evict()
            self._note(RecordKind.ADDED, opened.index.add(digest, length, crc))
            return True
        if task.error is not None:
            self.counts["writes_failed_total"] += 1
            if isinstance(task.error, OSError) and not isinstance(task.error, DiskTimeout):
                self._refused(task.error, cost_bytes(length))
        return False

    def _refused(self, error: OSError, cost: int) -> None:
        """The disk did not take what was to be written; ``cost``: what it would have taken."""
        if error.errno in files.NO_ROOM:
            self._is_full(cost)
        else:
            self._erred(error)

    def _is_full(self, cost: int) -> None:
        """Others have taken the room: this disk becomes smaller, for a time."""
        if self._opened is None:
            return
        self.counts["full_total"] += 1
        self.health.is_full(self._now())
        # Never below one block: it is tried with that when others may have made room again.
        self._limit_bytes = max(self._largest_bytes, self._opened.index.used_bytes - 4 * cost)
        _log.warning("disk_full", disk=str(self.folder), used=self._opened.index.used_bytes)
        self._make_room(0)

    def _erred(self, error: BaseException) -> None:
        self.counts["errors_total"] += 1
        if isinstance(error, OSError) and error.errno in _SHORTAGES:
            return
        if self.health.erred(_said(error), self._now()):
            self._take_out()

    # --- room ---

    def _make_room(self, cost: int) -> bool:
        """Evicts; True: more must go, and the loop gets its turn before."""
        opened = self._opened
        for _ in range(EVICTIONS_PER_TURN):
            if opened is None or not opened.index.count or self._used_bytes + cost <= self._limit_bytes:
                return False
            self._evict()
        return True

    @property
    def _used_bytes(self) -> int:
        return (self._opened.index.used_bytes if self._opened is not None else 0) + self._coming_bytes

    def _evict(self) -> None:
        assert self._opened is not None
        victim = self._opened.index.victim()
        if victim is not None:
            self.counts["evicted_total"] += 1
            self.forget(victim)

    def _touch(self, place: Place) -> None:
        if self._opened is not None and self._opened.index.holds(place):
            self._opened.index.touch(place.slot)

    # --- the journal ---

    def _note(self, kind: int, place: Place) -> None:
        self._records.append(Record(kind, place.key, place.length, place.crc))

    def _flush_records(self) -> None:
        opened = self._opened
        if opened is None or self._is_journal_busy or not (self._records or self._is_journal_behind):
            return
        if not self.health.may_write(self._now()):
            self._drop_notes()
            return
        records, self._records = self._records, []
        journal, index = opened.journal, opened.index

        def over(task: Task) -> None:
            self._is_journal_busy = False
            self._came_back(task)
            if opened is not self._opened:
                return
            if task.error is None:
                self._is_journal_behind = self._is_journal_behind and not is_anew
                return
            self._records[:0] = records
            self._drop_notes()
            if isinstance(task.error, OSError):
                self._refused(task.error, self._largest_bytes)

        is_anew = self._is_journal_behind or journal.records > len(index) // 4 + JOURNAL_SLACK_RECORDS
        call = partial(journal.write_anew, index.copied()) if is_anew else partial(journal.append, records)
        self._is_journal_busy = True
        self._keep_up(call, over)

    def _drop_notes(self) -> None:
        """While nothing can be written, notes are no more than so many: the whole index is written instead, later."""
        if len(self._records) > NOTES_WAITING_MAX:
            self._records.clear()
            self._is_journal_behind = True

    async def _look_for_others(self) -> None:
        """Adopts blocks that lie in the folders and are not in the index: it was lost, or behind."""
        number, opened = 0, self._opened
        while number < FOLDERS and opened is not None and opened is self._opened:
            try:
                await self._look_into(number)
                number += 1
            except (CashyError, OSError) as error:
                if isinstance(error, CashyError) or error.errno in _SHORTAGES:
                    await asyncio.sleep(BUSY_S)  # readers come first
                    continue
                self._erred(error)
                number += 1

    async def _look_into(self, number: int) -> None:
        opened = self._opened
        keys = await self._call(self._readers, partial(files.keys_in, self.folder, number))
        for at in range(0, len(keys), FOREIGN_NAMES_PER_TURN):
            for key in keys[at : at + FOREIGN_NAMES_PER_TURN]:
                if opened is None or opened is not self._opened:
                    return
                if self._is_unknown(key):
                    await self._adopt(key)
            await asyncio.sleep(0)

    def _is_unknown(self, key: bytes) -> bool:
        return self.find(key) is None and key not in self._writing and key not in self._removing

    async def _adopt(self, key: bytes) -> None:
        try:
            trailer = await self._call(self._readers, partial(files.read_trailer, self.folder, key))
        except DiskError:
            return  # it has just gone
        opened = self._opened
        if opened is None or not self._is_unknown(key):
            return
        if trailer is None or cost_bytes(trailer.length) > self._limit_bytes:
            self._remove(key)
            return
        # It came after what the journal tells, so what the journal has goes for it.
        self._make_room(cost_bytes(trailer.length))
        if opened.index.count >= opened.index.capacity:
            self._evict()
        self.counts["adopted_total"] += 1
        self._note(RecordKind.ADDED, opened.index.add(key, trailer.length, trailer.crc))

    # --- threads ---

    def _remove(self, key: bytes) -> None:
        """Its file goes; until it has gone, nobody adopts it."""
        self._removing.add(key)

        def over(task: Task) -> None:
            self._removing.discard(key)
            self._came_back(task)

        self._keep_up(partial(files.remove_block, self.folder, key), over)

    def _keep_up(self, call: Callable[[], Any], over: Callable[[Task], None]) -> None:
        """A call that nobody waits for: it has its turn however long that takes, but if it hangs, the disk does."""
        task = Task(call, _nothing, over, may_wait=True)
        if self._submit(self._writers, task):
            self._watch(task, WRITE_S_MAX)

    def _submit(self, threads: FileThreads, task: Task) -> bool:
        task.threads = threads
        try:
            threads.submit(task.job)
            return True
        except CashyError as error:
            task.error = error
            asyncio.get_running_loop().call_soon(task._back)
            return False

    def _watch(self, task: Task, limit_s: float) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(limit_s, self._is_late, task, limit_s, loop.time() + limit_s)

    def _is_late(self, task: Task, limit_s: float, due_at_s: float) -> None:
        if task.job.finished or task.is_told:
            return
        if (
            asyncio.get_running_loop().time() - due_at_s > LATE_S
        ):  # this process stood still, and its threads too
            self._watch(task, limit_s)
            return
        if task.may_wait and not task.job.running:
            self._watch(task, limit_s)
            return
        text = f"{self.folder}: no answer within {limit_s:g} s"
        assert task.threads is not None
        task.is_dropped = True  # before the look at who has it, or one could take it in between
        if task.threads.mark_stuck(task.job):
            self.counts["timeouts_total"] += 1
            was_ready = self.health.state is DiskState.READY
            self.health.hangs(text)
            if was_ready:
                self._take_out()
        elif task.job.finished:
            return  # it has just come back
        task.error = DiskTimeout(text)
        if not task.job.running:  # it waits behind those that hang, and will never begin
            task.end()
        task.tell()

    def _came_back(self, task: Task) -> None:
        if task.job.stuck:
            self.health.came_back(self._now())

    async def _call(
        self, threads: FileThreads, call: Callable[[], Any], *, limit_s: float = WRITE_S_MAX, late: Callable[[Any], None] | None = None
    ) -> Any:  # fmt: skip
        """The result of a call in a thread; raises what it raises, SlowDown, DiskTimeout. ``late`` gets a result that nobody waits for any more."""
        made: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def told(task: Task) -> None:
            if made.done():
                return
            if task.error is not None:
                made.set_exception(task.error)
            else:
                made.set_result(task.result)

        def over(task: Task) -> None:
            self._came_back(task)
            if late is not None and task.result is not None and (task.is_told or made.done()):
                late(task.result)

        task = Task(call, told, over)
        if self._submit(threads, task):
            self._watch(task, limit_s)
        return await made

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- figures ---

    @property
    def block_count(self) -> int:
        """Blocks that it holds; none while it is not in use."""
        return len(self._opened.index) if self._opened is not None else 0

    def counters(self) -> dict[str, int]:
        """Totals since the start."""
        return {name: self.counts[name] for name in _COUNTED}

    def levels(self) -> dict[str, int]:
        """Figures of the moment."""
        index = self._opened.index if self._opened is not None else None
        return {
            "blocks": len(index) if index is not None else 0,
            "used_bytes": index.used_bytes if index is not None else 0,
            "size_bytes": self.options.size_bytes,
            "waiting_bytes": self._waiting_bytes,
            "is_ready": int(self.is_ready),
        }


def _give_back(opened: files.Opened, records: list[Record]) -> None:
    try:
        opened.journal.append(records)
    finally:
        opened.close()


def _nothing_to_do() -> None:
    """Comes back when all that was asked before is done."""


def _nothing(_task: Task) -> None:
    """Nobody waits for it."""


def _is_absent(error: BaseException) -> bool:
    return type(error) is DiskError


def _said(error: BaseException) -> str:
    return error.message if isinstance(error, CashyError) else f"{type(error).__name__}: {error}"
