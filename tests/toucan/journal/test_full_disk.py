"""A disk that is really full: cancels pass on the reserve, other commits are refused, and all is well when there is room again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.toucan.journal.support import check_journal, fill, open_journal, segments_of, stage

from toucan.journal.errors import JournalUnavailable
from toucan.journal.verify import verify
from toucan.journal.writer import Journal

DISK_BYTES = 4 << 20
RESERVE_BYTES = 512 << 10
SEGMENT_BYTES = 256 << 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    options = f"size={DISK_BYTES},mode=700"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def eat(disk: Path) -> Path:
    """Fills a disk to its last byte; removing what is returned makes room again."""
    glutton = disk / "glutton"
    fd = os.open(glutton, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(fd, bytes(4096))
    except OSError:
        pass
    finally:
        os.close(fd)
    return glutton


def until_refused(journal: Journal, *, is_urgent: bool) -> tuple[int, JournalUnavailable]:
    """Commits as long as that passes; how often it did, and the refusal."""
    count = 0
    while True:
        stage(journal)
        try:
            journal.commit(is_urgent=is_urgent)
        except JournalUnavailable as error:
            return count, error
        count += 1


def test_urgent_commits_pass_on_a_full_disk_and_others_do_not(small_disk: Path) -> None:
    folder, witness = small_disk / "journal", small_disk / "witness"
    with open_journal(
        folder, witness_path=witness, segment_bytes=SEGMENT_BYTES, reserve_bytes=RESERVE_BYTES
    ) as journal:
        fill(journal, 5)
        glutton = eat(small_disk)
        assert journal.has_reserve
        # What was allocated before is still there to be used, by anybody.
        before = segments_of(folder)
        _, error = until_refused(journal, is_urgent=False)
        assert "the disk is full" in str(error)
        assert not error.may_reappear
        assert segments_of(folder) == before
        last_seq = journal.committed_seq
        assert journal.has_reserve, "only urgent commits use it"

        # Cancels pass, and take the whole reserve before they are refused, too.
        urgent, error = until_refused(journal, is_urgent=True)
        assert "the disk is full" in str(error)
        assert not journal.has_reserve
        used = sum(path.stat().st_size for path in segments_of(folder)[len(before) :])
        assert RESERVE_BYTES - (64 << 10) <= used <= RESERVE_BYTES
        assert urgent > 400
        assert journal.committed_seq > last_seq
        stage(journal)
        with pytest.raises(JournalUnavailable):
            journal.commit()

        # Room again: the reserve is taken first, then everything passes.
        glutton.unlink()
        last_seq = fill(journal, 100)
        assert journal.has_reserve
        assert not journal.witness_failure
    check_journal(folder, last_seq)
    assert verify(folder, witness).findings == []


def test_other_commits_do_not_use_what_little_room_is_left_to_the_urgent_ones(small_disk: Path) -> None:
    folder = small_disk / "journal"
    with open_journal(folder, segment_bytes=SEGMENT_BYTES, reserve_bytes=RESERVE_BYTES) as journal:
        eat(small_disk)
        until_refused(journal, is_urgent=False)
        stage(journal)
        journal.commit(is_urgent=True)
        assert journal.free_bytes > 10_000
        last_seq = journal.committed_seq
        stage(journal)
        with pytest.raises(JournalUnavailable):
            journal.commit()
        assert not journal.prepare()
        assert not journal.is_next_segment_ready
        stage(journal)
        assert journal.commit(is_urgent=True) > last_seq


def test_engine_starts_on_a_full_disk_and_cuts_a_torn_tail(small_disk: Path) -> None:
    folder = small_disk / "journal"
    with open_journal(folder, segment_bytes=SEGMENT_BYTES, reserve_bytes=RESERVE_BYTES) as journal:
        last_seq = fill(journal, 3)
        end = SEGMENT_BYTES - journal.free_bytes
    with segments_of(folder)[0].open("r+b") as file:
        file.seek(end)
        file.write(b"TJr1" + b"torn" * 50)
    eat(small_disk)
    with open_journal(folder, segment_bytes=SEGMENT_BYTES, reserve_bytes=RESERVE_BYTES) as journal:
        assert journal.committed_seq == last_seq
        assert "a commit that never ended was cut" in journal.notes[0]
        stage(journal)
        last_seq = journal.commit(is_urgent=True)
    check_journal(folder, last_seq)


def test_engine_that_finds_no_room_for_a_reserve_lets_only_urgent_commits_pass(small_disk: Path) -> None:
    folder = small_disk / "journal"
    with open_journal(folder, segment_bytes=SEGMENT_BYTES, reserve_bytes=RESERVE_BYTES) as journal:
        last_seq = fill(journal, 3)
    (folder / "reserve").unlink()
    glutton = eat(small_disk)
    with open_journal(folder, segment_bytes=SEGMENT_BYTES, reserve_bytes=RESERVE_BYTES) as journal:
        assert "no room for the reserve" in journal.notes[0]
        stage(journal)
        with pytest.raises(JournalUnavailable):
            journal.commit()
        stage(journal)
        assert journal.commit(is_urgent=True) > last_seq
        glutton.unlink()
        assert not journal.prepare(), "one step is enough for so small a segment"
        assert journal.has_reserve
        assert journal.is_next_segment_ready
        last_seq = fill(journal, 1)
    check_journal(folder, last_seq)


def test_new_journal_on_a_full_disk_is_unavailable(small_disk: Path) -> None:
    eat(small_disk)
    with pytest.raises(JournalUnavailable):
        open_journal(small_disk / "journal", segment_bytes=SEGMENT_BYTES)
