"""What the journal's tests share: events that tell which they are, disks that fail on command, ways to damage a file."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from toucan.journal.core.frame import Record
from toucan.journal.disk import Disk
from toucan.journal.reader import Follower, read
from toucan.journal.writer import Journal

__all__ = [
    "AT_NS",
    "JOURNAL_ID",
    "SEGMENT_BYTES",
    "FailingDisk",
    "PowerCutDisk",
    "QuickDisk",
    "batch_of",
    "check",
    "check_journal",
    "fill",
    "flip",
    "open_journal",
    "payload_of",
    "rest_of",
    "segments_of",
    "stage",
]

JOURNAL_ID = bytes(range(16))
AT_NS = 1_760_000_000_000_000_000
SEGMENT_BYTES = 8192
SECTOR_BYTES = 512


def payload_of(first_seq: int, count: int) -> bytes:
    """A payload that follows from the numbers of its events: 0 to 500 bytes, each of them telling."""
    word = hashlib.blake2b(b"%d+%d" % (first_seq, count), digest_size=32).digest()
    size = int.from_bytes(word[:2], "little") % 501
    return (word * (size // 32 + 1))[:size]


def batch_of(first_seq: int) -> list[tuple[int, int]]:
    """Which records the commit that begins with this event has: 1 to 4 of them, with 1 to 3 events each."""
    choose = random.Random(first_seq)
    records, seq = [], first_seq
    for _ in range(choose.randint(1, 4)):
        count = choose.randint(1, 3)
        records.append((seq, count))
        seq += count
    return records


PayloadOf = Callable[[int, int], bytes]


def stage(journal: Journal, payload_of: PayloadOf = payload_of) -> int:
    """Stages the batch that is due; returns its last event."""
    last_seq = 0
    for first_seq, count in batch_of(journal.next_seq):
        journal.append(first_seq, count, AT_NS + first_seq, payload_of(first_seq, count))
        last_seq = first_seq + count - 1
    return last_seq


def fill(journal: Journal, commits: int) -> int:
    """Commits so many batches; returns the last event."""
    for _ in range(commits):
        last_seq = stage(journal)
        assert journal.commit() == last_seq
    return journal.committed_seq


def open_journal(folder: Path, **options: object) -> Journal:
    """A journal of small segments."""
    chosen: dict[str, object] = {"segment_bytes": SEGMENT_BYTES, "reserve_bytes": SEGMENT_BYTES, **options}
    return Journal.open(folder, new_journal_id=JOURNAL_ID, at_ns=AT_NS, **chosen)  # type: ignore[arg-type]


def check(
    records: Iterable[Record], first_seq: int, last_seq: int, payload_of: PayloadOf = payload_of
) -> int:
    """Asserts that these are exactly the records of these events; returns how many records there were."""
    seq, count = first_seq, 0
    for record in records:
        assert record.first_seq == seq
        assert record.payload == payload_of(seq, record.count)
        assert record.at_ns == AT_NS + seq
        seq = record.last_seq + 1
        count += 1
    assert seq == last_seq + 1
    return count


def check_journal(folder: Path, last_seq: int) -> None:
    """Asserts that a journal holds events 1 to ``last_seq`` and can be read from the first one."""
    check(read(folder, 1, last_seq), 1, last_seq)


def rest_of(follower: Follower, up_to_seq: int) -> Iterator[Record]:
    """What a follower has still to read."""
    while records := follower.read(up_to_seq):
        yield from records


def segments_of(folder: Path) -> list[Path]:
    """The journal's segments, in order."""
    return sorted(folder.glob("segment-*.journal"))


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Turns one bit of a file around."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


class QuickDisk(Disk):
    """A disk that does not wait: for tests in which nothing but this process comes to an end, thousands of times."""

    def sync(self, fd: int) -> None:
        os.fstat(fd)

    def sync_folder(self, folder: Path) -> None:
        os.stat(folder)


class FailingDisk(QuickDisk):
    """A disk some of whose calls fail: ``plan`` is asked before each, with the call's name, and returns an errno or 0.

    Failing writes put half of their bytes onto the disk first; failing syncs lose what was not synced, as a page cache does, if ``is_lossy`` says so.
    """

    def __init__(self) -> None:
        self.plan: Callable[[str], int] = lambda name: 0
        self.is_lossy: Callable[[], bool] = lambda: True
        self.calls: list[str] = []
        self._unsynced: dict[int, list[tuple[int, bytes]]] = {}

    def _ask(self, name: str) -> int:
        self.calls.append(name)
        return self.plan(name)

    def fail(self, name: str, code: int = errno.EIO, times: int = 1_000_000) -> None:
        """From now on this call fails, so many times."""
        left = [times]

        def plan(called: str) -> int:
            if called != name or not left[0]:
                return 0
            left[0] -= 1
            return code

        self.plan = plan

    def heal(self) -> None:
        """From now on nothing fails."""
        self.plan = lambda name: 0

    def write(self, fd: int, data: bytes, offset: int) -> None:
        code = self._ask("write")
        inode = os.fstat(fd).st_ino
        before = os.pread(fd, len(data), offset)
        self._unsynced.setdefault(inode, []).append((offset, before.ljust(len(data), b"\0")))
        if code:
            super().write(fd, data[: len(data) // 2], offset)
            raise OSError(code, os.strerror(code))
        super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        code = self._ask("sync")
        unsynced = self._unsynced.pop(os.fstat(fd).st_ino, [])
        if code:
            if self.is_lossy():
                for offset, before in reversed(unsynced):
                    super().write(fd, before, offset)
            raise OSError(code, os.strerror(code))
        super().sync(fd)

    def allocate(self, fd: int, size_bytes: int) -> None:
        if code := self._ask("allocate"):
            raise OSError(code, os.strerror(code))
        super().allocate(fd, size_bytes)

    def sync_folder(self, folder: Path) -> None:
        if code := self._ask("sync_folder"):
            raise OSError(code, os.strerror(code))
        super().sync_folder(folder)


class PowerCutDisk(QuickDisk):
    """A disk that loses power on command: of what was written since the last sync of a file, any sectors may be there and any may not."""

    def __init__(self) -> None:
        self._unsynced: dict[int, tuple[int, list[tuple[int, bytes]]]] = {}

    def write(self, fd: int, data: bytes, offset: int) -> None:
        inode = os.fstat(fd).st_ino
        if inode not in self._unsynced:
            self._unsynced[inode] = os.dup(fd), []
        kept, writes = self._unsynced[inode]
        first = offset - offset % SECTOR_BYTES
        before = os.pread(kept, offset + len(data) - first, first)
        writes.append((first, before))
        super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self._forget(os.fstat(fd).st_ino)

    def _forget(self, inode: int) -> None:
        if inode in self._unsynced:
            os.close(self._unsynced.pop(inode)[0])

    def cut(self, choose: Callable[[], bool]) -> None:
        """The power goes: for each sector that was written and not synced, ``choose`` says whether it is lost."""
        for fd, writes in self._unsynced.values():
            for first, before in reversed(writes):
                for at in range(0, len(before), SECTOR_BYTES):
                    if choose():
                        os.pwrite(fd, before[at : at + SECTOR_BYTES], first + at)
        for inode in list(self._unsynced):
            self._forget(inode)
