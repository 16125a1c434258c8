"""A disk that fails: a commit is durable or not there at all, later ones are right, and what cannot be known is said."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.journal.support import (
    FailingDisk,
    check_journal,
    fill,
    flip,
    open_journal,
    segments_of,
    stage,
)

from toucan.journal.errors import JournalDamaged, JournalUnavailable
from toucan.journal.reader import read
from toucan.journal.verify import verify
from toucan.journal.writer import Journal


@pytest.mark.parametrize("call", ["write", "sync"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_failed_commit_leaves_nothing_and_the_next_one_passes(tmp_path: Path, call: str, code: int) -> None:
    disk = FailingDisk()
    with open_journal(tmp_path, disk=disk) as journal:
        last_seq = fill(journal, 2)
        stage(journal)
        disk.fail(call, code, times=1)
        with pytest.raises(JournalUnavailable) as caught:
            journal.commit()
        assert not caught.value.may_reappear
        assert ("disk is full" in str(caught.value)) == (code == errno.ENOSPC)
        assert (journal.committed_seq, journal.next_seq, journal.staged_bytes) == (last_seq, last_seq + 1, 0)
        journal.append(last_seq + 1, 1, 0, b"another one")
        assert journal.commit() == last_seq + 1
    check_journal(tmp_path, last_seq)
    assert [record.payload for record in read(tmp_path, last_seq + 1, last_seq + 1)] == [b"another one"]
    with open_journal(tmp_path) as journal:
        assert (journal.committed_seq, journal.notes) == (last_seq + 1, [])


def test_batch_that_cannot_be_dropped_may_reappear_until_it_is(tmp_path: Path) -> None:
    disk = FailingDisk()
    with open_journal(tmp_path, disk=disk) as journal:
        last_seq = fill(journal, 2)
        stage(journal)
        disk.fail("sync")
        with pytest.raises(JournalUnavailable) as caught:
            journal.commit()
        assert caught.value.may_reappear
        with pytest.raises(JournalUnavailable, match="an earlier commit failed and cannot be undone yet"):
            journal.recover()
        stage(journal)
        with pytest.raises(JournalUnavailable) as caught:
            journal.commit()
        assert not caught.value.may_reappear, "this one was not even tried"
        disk.heal()
        journal.recover()
        assert fill(journal, 1) > last_seq
        last_seq = journal.committed_seq
    check_journal(tmp_path, last_seq)


@pytest.mark.parametrize("offset", [10, 100])
def test_disk_that_lost_what_was_committed_stops_the_journal(tmp_path: Path, offset: int) -> None:
    disk = FailingDisk()
    with open_journal(tmp_path, disk=disk) as journal:
        last_seq = fill(journal, 3)
        (path,) = segments_of(tmp_path)
        flip(path, offset)
        stage(journal)
        disk.fail("sync", times=1)
        with pytest.raises(JournalDamaged, match="found when a failed write was undone"):
            journal.commit()
        stage(journal)
        with pytest.raises(JournalDamaged):
            journal.commit()
        assert journal.committed_seq == last_seq


def test_new_segment_whose_name_is_not_durable_takes_no_event(tmp_path: Path) -> None:
    disk = FailingDisk()
    with open_journal(tmp_path, disk=disk) as journal:
        while journal.free_bytes > 4096:
            fill(journal, 1)
        last_seq = journal.committed_seq
        journal.append(last_seq + 1, 1, 0, bytes(6000))
        disk.fail("sync_folder")
        with pytest.raises(JournalUnavailable):
            journal.commit()
        stage(journal)
        with pytest.raises(JournalUnavailable):
            journal.commit()
        disk.heal()
        last_seq = fill(journal, 1)
    check_journal(tmp_path, last_seq)
    assert verify(tmp_path).is_whole


def test_urgent_commit_that_finds_no_room_while_writing_tries_again_with_the_reserve(tmp_path: Path) -> None:
    """A file system that allocates a block when it is written, whatever was allocated before."""
    disk = FailingDisk()
    with open_journal(tmp_path, disk=disk) as journal:
        fill(journal, 2)
        stage(journal)
        disk.fail("write", errno.ENOSPC, times=1)
        last_seq = journal.commit(is_urgent=True)
        assert not journal.has_reserve
        last_seq = fill(journal, 1)
        assert journal.has_reserve
    check_journal(tmp_path, last_seq)


@pytest.mark.parametrize(("passing", "may_reappear"), [((1, 3), False), ((1,), True), ((), True)])
def test_second_try_of_an_urgent_commit_fails_like_the_first(
    tmp_path: Path, passing: tuple[int, ...], may_reappear: bool
) -> None:
    """There are four writes: the batch, zeros over it, the batch again, zeros again."""
    disk = FailingDisk()
    with open_journal(tmp_path, disk=disk) as journal:
        fill(journal, 2)
        stage(journal)
        numbers = count()
        disk.plan = lambda name: errno.ENOSPC if name == "write" and next(numbers) not in passing else 0
        with pytest.raises(JournalUnavailable) as caught:
            journal.commit(is_urgent=True)
        assert caught.value.may_reappear == may_reappear
        disk.heal()
        last_seq = fill(journal, 1)
    check_journal(tmp_path, last_seq)


def test_urgent_commit_passes_in_as_little_room_as_it_needs(tmp_path: Path) -> None:
    """The reserve was given back, and somebody else took most of it."""

    class NarrowDisk(FailingDisk):
        room_bytes = 1 << 30

        def allocate(self, fd: int, size_bytes: int) -> None:
            if size_bytes > self.room_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().allocate(fd, size_bytes)

    disk = NarrowDisk()
    with open_journal(tmp_path, disk=disk, reserve_bytes=1 << 20) as journal:
        while journal.free_bytes > 1500:
            fill(journal, 1)
        disk.room_bytes = 4096
        journal.append(journal.next_seq, 1, 0, bytes(1500))
        last_seq = journal.commit(is_urgent=True)
        assert segments_of(tmp_path)[-1].stat().st_size == 4096
        journal.append(journal.next_seq, 1, 0, bytes(5000))
        with pytest.raises(JournalUnavailable):
            journal.commit(is_urgent=True)
        assert journal.committed_seq == last_seq


class _Interrupted(Exception):
    pass


def test_signal_in_the_middle_of_a_commit_leaves_nothing(tmp_path: Path) -> None:
    class InterruptingDisk(FailingDisk):
        is_armed = False

        def sync(self, fd: int) -> None:
            if self.is_armed:
                self.is_armed = False
                raise _Interrupted
            super().sync(fd)

    disk = InterruptingDisk()
    with open_journal(tmp_path, disk=disk) as journal:
        last_seq = fill(journal, 2)
        journal.append(last_seq + 1, 1, 0, b"interrupted")
        disk.is_armed = True
        with pytest.raises(_Interrupted):
            journal.commit()
        assert journal.committed_seq == last_seq
        last_seq = fill(journal, 1)
    check_journal(tmp_path, last_seq)


class Trial:
    """A journal on a disk that fails at random, and what it has acknowledged."""

    def __init__(self, folder: Path, seed: int, percent: int) -> None:
        self.folder = folder
        self.choose = random.Random(seed)
        self.percent = percent
        self.disk = FailingDisk()
        self.disk.is_lossy = lambda: self.choose.random() < 0.5
        self.acknowledged: dict[int, bytes] = {}
        self.doubtful: dict[int, bytes] | None = None
        self.failures = 0

    def plan(self, name: str) -> int:
        if self.choose.randrange(100) < self.percent:
            return self.choose.choice((errno.EIO, errno.ENOSPC))
        return 0

    def run(self, commits: int) -> None:
        self.disk.heal()
        with open_journal(self.folder, disk=self.disk, segment_bytes=4096) as journal:
            assert journal.committed_seq == self.settle(journal)
            self.disk.plan = self.plan
            for _ in range(commits):
                self.step(journal)
        self.disk.heal()

    def step(self, journal: Journal) -> None:
        if self.choose.randrange(3) == 0:
            journal.prepare()
        batch = {}
        for _ in range(self.choose.randint(1, 3)):
            payload = self.choose.randbytes(self.choose.randint(0, 900))
            batch[journal.next_seq] = payload
            journal.append(journal.next_seq, 1, 0, payload)
        before = journal.committed_seq
        try:
            journal.commit(is_urgent=self.choose.random() < 0.3)
        except JournalUnavailable as error:
            self.failures += 1
            assert journal.committed_seq == before
            assert journal.next_seq == before + 1
            if error.may_reappear:
                self.doubtful = batch  # one before it was undone, or this one would not have been tried
        else:
            self.acknowledged |= batch
            self.doubtful = None
            assert journal.committed_seq == max(batch)

    def settle(self, journal: Journal) -> int:
        """What a new start may find: all that was acknowledged, and of a doubtful batch any beginning."""
        last = max(self.acknowledged, default=0)
        found = {record.first_seq: record.payload for record in read(self.folder, 1, journal.committed_seq)}
        extra = {seq: payload for seq, payload in found.items() if seq > last}
        assert {seq: found[seq] for seq in self.acknowledged} == self.acknowledged
        doubtful = self.doubtful or {}
        assert extra == {seq: doubtful[seq] for seq in extra}
        assert list(found) == list(range(1, len(found) + 1))
        self.acknowledged, self.doubtful = found, None
        return len(found)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([2, 10, 30, 60]))
def test_whatever_fails_the_acknowledged_is_there_and_the_refused_is_not(seed: int, percent: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), seed, percent)
        for _ in range(4):
            trial.run(8)
        trial.run(0)
        report = verify(Path(folder))
        assert report.is_whole
        assert report.events == len(trial.acknowledged)


@pytest.fixture
def small_files() -> Iterator[int]:
    """Files of this process may not grow over, nor be written behind, so many bytes: the kernel's own short and failing writes."""
    limit, old = 6000, resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        yield limit
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


def test_short_write_of_the_kernel_is_undone(tmp_path: Path, small_files: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    with open_journal(tmp_path) as journal:
        journal.append(1, 1, 0, bytes(5000))
        journal.commit()
        resource.setrlimit(resource.RLIMIT_FSIZE, (small_files, hard))
        journal.append(2, 1, 0, b"x" * 1500)  # its beginning can be written, its end cannot
        with pytest.raises(JournalUnavailable, match="File too large") as caught:
            journal.commit()
        assert caught.value.may_reappear, "zeros cannot be written there either"
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        journal.append(2, 1, 0, b"y" * 1400)
        assert journal.commit() == 2
    data = segments_of(tmp_path)[0].read_bytes()
    assert b"xx" not in data
    assert os.path.getsize(segments_of(tmp_path)[0]) == len(data)
    assert [len(record.payload) for record in read(tmp_path, 1, 2)] == [5000, 1400]
