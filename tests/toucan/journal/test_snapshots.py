"""Snapshots: the newest that fits is used, and nothing is lost when none does."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from tests.toucan.journal.support import (
    AT_NS,
    JOURNAL_ID,
    FailingDisk,
    check,
    fill,
    flip,
    open_journal,
    rest_of,
    segments_of,
)

from toucan.journal.core.snapshot_frame import Snapshot
from toucan.journal.errors import JournalDamaged, SnapshotNotStored
from toucan.journal.folder import quarantine_folder
from toucan.journal.limits import SNAPSHOT_BYTES_MAX
from toucan.journal.snapshots import SnapshotStore
from toucan.journal.writer import Journal


def store_of(journal: Journal, payload: bytes = b"state") -> Snapshot:
    snapshot = Snapshot(journal.journal_id, journal.committed_seq, journal.chain, AT_NS, payload)
    SnapshotStore(journal.folder).store(snapshot)
    return snapshot


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, list[Snapshot], int]:
    """A journal of several segments with three snapshots made on the way, and its last event."""
    with open_journal(tmp_path) as journal:
        snapshots = []
        for _ in range(3):
            fill(journal, 9)
            snapshots.append(store_of(journal, b"state %d" % journal.committed_seq))
        last_seq = fill(journal, 9)
    assert len(segments_of(tmp_path)) > 2
    return tmp_path, snapshots, last_seq


def resumed(folder: Path, last_seq: int) -> tuple[Snapshot | None, list[str]]:
    """Which snapshot a start uses; asserts that the rest of the journal follows."""
    store = SnapshotStore(folder)
    snapshot, follower = store.resume(folder, last_seq)
    with follower:
        check(rest_of(follower, last_seq), snapshot.seq + 1 if snapshot else 1, last_seq)
    return snapshot, store.notes


def test_newest_snapshot_and_the_events_behind_it(made: tuple[Path, list[Snapshot], int]) -> None:
    folder, snapshots, last_seq = made
    assert resumed(folder, last_seq) == (snapshots[-1], [])
    assert [path.name for path in SnapshotStore(folder).paths()] == [
        f"snapshot-{snapshot.seq:020d}.snapshot" for snapshot in reversed(snapshots[-2:])
    ], "two are kept"


def test_snapshot_of_the_last_event_is_followed_by_nothing(made: tuple[Path, list[Snapshot], int]) -> None:
    folder, _, last_seq = made
    with open_journal(folder) as journal:
        snapshot = store_of(journal)
    assert resumed(folder, last_seq) == (snapshot, [])


@pytest.mark.parametrize("offset", [0, 5, 20, 35, 45, 60, 66])
def test_damaged_snapshot_is_set_aside_for_the_one_before(
    made: tuple[Path, list[Snapshot], int], offset: int
) -> None:
    folder, snapshots, last_seq = made
    newest = SnapshotStore(folder).paths()[0]
    flip(newest, offset)
    bad = newest.read_bytes()
    snapshot, notes = resumed(folder, last_seq)
    assert snapshot == snapshots[-2]
    assert "is damaged and was set aside" in notes[0]
    assert (quarantine_folder(folder) / newest.name).read_bytes() == bad
    assert not newest.exists()
    flip(SnapshotStore(folder).paths()[0], offset)
    assert resumed(folder, last_seq)[0] is None


def test_damaged_snapshot_that_cannot_be_set_aside_is_passed_over(
    made: tuple[Path, list[Snapshot], int],
) -> None:
    """A front end that may only read, or a quarantine that is no folder."""
    folder, snapshots, last_seq = made
    flip(SnapshotStore(folder).paths()[0], 66)
    quarantine_folder(folder).write_bytes(b"")
    snapshot, notes = resumed(folder, last_seq)
    assert snapshot == snapshots[-2]
    assert "cannot be set aside" in notes[0]


def test_snapshot_that_vanishes_while_it_is_looked_for_is_passed_over(
    made: tuple[Path, list[Snapshot], int],
) -> None:
    """The engine stores a newer one, and removes the oldest, while a front end starts."""
    folder, snapshots, last_seq = made
    newest = SnapshotStore(folder).paths()[0]
    newest.unlink()
    newest.symlink_to(folder / "nowhere")  # listed, and not there when it is read
    assert resumed(folder, last_seq) == (snapshots[-2], [])


def test_snapshot_of_another_journal_is_passed_over(made: tuple[Path, list[Snapshot], int]) -> None:
    folder, snapshots, last_seq = made
    other = Snapshot(bytes(16), last_seq, snapshots[-1].chain, AT_NS, b"other")
    SnapshotStore(folder).store(other)
    snapshot, notes = resumed(folder, last_seq)
    assert snapshot == snapshots[-1]
    assert "belongs to journal 0000" in notes[0]


def test_snapshot_of_another_history_is_passed_over(made: tuple[Path, list[Snapshot], int]) -> None:
    folder, snapshots, last_seq = made
    SnapshotStore(folder).store(Snapshot(JOURNAL_ID, last_seq, bytes(16), AT_NS, b"other"))
    snapshot, notes = resumed(folder, last_seq)
    assert snapshot == snapshots[-1]
    assert "another history" in notes[0]


def test_snapshot_of_events_that_are_no_more_is_passed_over(made: tuple[Path, list[Snapshot], int]) -> None:
    folder, snapshots, last_seq = made
    SnapshotStore(folder).store(Snapshot(JOURNAL_ID, last_seq + 1, bytes(16), AT_NS, b"future"))
    snapshot, notes = resumed(folder, last_seq)
    assert snapshot == snapshots[-1]
    assert f"the journal ends at {last_seq}" in notes[0]


def test_snapshot_spares_reading_what_is_damaged_before_it(made: tuple[Path, list[Snapshot], int]) -> None:
    folder, snapshots, last_seq = made
    flip(segments_of(folder)[0], 200)
    assert resumed(folder, last_seq) == (snapshots[-1], [])
    for path in SnapshotStore(folder).paths():
        path.unlink()
    with pytest.raises(JournalDamaged):
        resumed(folder, last_seq)


@pytest.mark.parametrize("call", ["write", "sync"])
def test_full_disk_leaves_the_older_snapshots(made: tuple[Path, list[Snapshot], int], call: str) -> None:
    folder, snapshots, last_seq = made
    disk = FailingDisk()
    disk.fail(call, errno.ENOSPC)
    store = SnapshotStore(folder, disk=disk)
    with pytest.raises(SnapshotNotStored, match="No space left on device"):
        store.store(Snapshot(JOURNAL_ID, last_seq, bytes(16), AT_NS, b"x"))
    assert resumed(folder, last_seq) == (snapshots[-1], [])
    assert list(folder.glob(".*")) == []


def test_what_a_killed_writer_left_is_removed_with_the_next_snapshot(
    made: tuple[Path, list[Snapshot], int],
) -> None:
    folder, _, _ = made
    left = folder / ".snapshot-00000000000000000009.snapshot.new"
    left.write_bytes(b"half")
    with open_journal(folder) as journal:
        store_of(journal)
    assert not left.exists()


def test_limits(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SnapshotStore(tmp_path, kept=0)

    class Large(bytes):
        def __len__(self) -> int:
            return SNAPSHOT_BYTES_MAX + 1

    with pytest.raises(ValueError, match="at most 1,073,741,824"):
        SnapshotStore(tmp_path).store(Snapshot(JOURNAL_ID, 1, bytes(16), 0, Large()))


def test_folder_without_snapshots_begins_at_the_first_event(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        last_seq = fill(journal, 3)
    assert resumed(tmp_path, last_seq) == (None, [])
    assert SnapshotStore(tmp_path / "nowhere").paths() == []
