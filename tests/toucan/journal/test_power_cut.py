"""The power goes at any moment, and of what was not synced any sectors are there: what was acknowledged stays, and nothing wrong comes out."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.journal.support import PowerCutDisk, QuickDisk, check_journal, open_journal, stage

from toucan.journal.verify import verify


class _PowerCut(Exception):
    pass


class _TimedDisk(PowerCutDisk):
    """Its power goes before the call number ``left``."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise _PowerCut

    def write(self, fd: int, data: bytes, offset: int) -> None:
        self._count()
        super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        self._count()
        super().sync(fd)

    def sync_folder(self, folder: Path) -> None:
        self._count()
        super().sync_folder(folder)


def one_life(folder: Path, witness_path: Path, choose: random.Random, lost_percent: int) -> int:
    """From start to power cut; returns the last event that was acknowledged in it (0: none)."""
    disk = _TimedDisk(choose.randint(0, 60))
    acknowledged = 0
    journal = None
    try:
        journal = open_journal(folder, disk=disk, witness_path=witness_path, segment_bytes=4096)
        while True:
            if choose.random() < 0.3:
                journal.prepare()
            last_seq = stage(journal)
            journal.commit()
            acknowledged = last_seq
    except _PowerCut:
        disk.cut(lambda: choose.randrange(100) < lost_percent)
    finally:
        if journal is not None:
            journal.close()
    return acknowledged


def test_what_a_killed_process_wrote_is_made_durable_before_anybody_relies_on_it(tmp_path: Path) -> None:
    """A process is killed between write and sync; the next one finds the batch, and acts on it; then the power goes."""
    disk = _TimedDisk(1_000_000)
    folder = tmp_path / "journal"
    journal = open_journal(folder, disk=disk)
    last_seq = stage(journal)
    journal.commit()
    unacknowledged = stage(journal)
    disk.left = 1  # the write, not the sync
    with pytest.raises(_PowerCut):
        journal.commit()
    journal.close()
    disk.left = 1_000_000
    with open_journal(folder, disk=disk) as journal:
        assert journal.committed_seq == unacknowledged > last_seq
    disk.cut(lambda: True)
    with open_journal(folder) as journal:
        assert journal.committed_seq == unacknowledged
    check_journal(folder, unacknowledged)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0, 20, 50, 80, 100]))
def test_acknowledged_events_outlive_power_cuts(seed: int, lost_percent: int) -> None:
    choose = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder, witness_path = Path(name, "journal"), Path(name, "witness")
        acknowledged = 0
        for _ in range(6):
            acknowledged = max(acknowledged, one_life(folder, witness_path, choose, lost_percent))
            with open_journal(
                folder, witness_path=witness_path, segment_bytes=4096, disk=QuickDisk()
            ) as journal:
                assert journal.committed_seq >= acknowledged
                acknowledged = journal.committed_seq
            check_journal(folder, acknowledged)
        report = verify(folder, witness_path)
        assert report.findings == []
        assert report.last_seq == acknowledged
