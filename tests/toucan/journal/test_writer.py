"""Append, commit, open again: what is committed is there, with one write and one sync, and limits hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import crc32c
import pytest
from tests.toucan.journal.support import (
    AT_NS,
    JOURNAL_ID,
    SEGMENT_BYTES,
    FailingDisk,
    check_journal,
    fill,
    open_journal,
    segments_of,
    stage,
)

from toucan.journal.core.frame import SEGMENT_HEADER_BYTES, decode_segment_header, record_bytes
from toucan.journal.errors import (
    CommitTooLarge,
    JournalError,
    JournalLocked,
    JournalUnavailable,
    JournalUnsupported,
)
from toucan.journal.limits import (
    COMMIT_BYTES_MAX,
    EVENTS_PER_RECORD_MAX,
    RECORD_PAYLOAD_BYTES_MAX,
    SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN,
)
from toucan.journal.reader import read
from toucan.journal.verify import verify
from toucan.journal.witness import read_witness
from toucan.journal.writer import Journal


def test_committed_events_are_there_after_reopening(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        assert (journal.committed_seq, journal.next_seq, journal.journal_id) == (0, 1, JOURNAL_ID)
        last_seq = fill(journal, 3)
        chain = journal.chain
    check_journal(tmp_path, last_seq)
    with Journal.open(tmp_path, new_journal_id=bytes(16), at_ns=0) as journal:
        assert journal.journal_id == JOURNAL_ID
        assert (journal.committed_seq, journal.next_seq, journal.chain) == (last_seq, last_seq + 1, chain)
        last_seq = fill(journal, 3)
    check_journal(tmp_path, last_seq)


def test_commit_is_one_write_and_one_sync(tmp_path: Path) -> None:
    disk = FailingDisk()
    with open_journal(tmp_path, disk=disk, segment_bytes=1 << 20) as journal:
        for _ in range(20):
            stage(journal)
            disk.calls.clear()
            journal.commit()
            assert disk.calls == ["write", "sync"]
        disk.calls.clear()
        journal.commit()
        assert disk.calls == [], "nothing is staged"


def test_what_is_staged_is_not_written_and_can_be_dropped(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        last_seq = fill(journal, 1)
        before = segments_of(tmp_path)[0].read_bytes()
        stage(journal)
        assert journal.next_seq > last_seq + 1
        assert journal.staged_bytes > 0
        assert segments_of(tmp_path)[0].read_bytes() == before
        journal.discard()
        assert (journal.next_seq, journal.staged_bytes) == (last_seq + 1, 0)
        last_seq = fill(journal, 1)
    check_journal(tmp_path, last_seq)


def test_segments_follow_each_other(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        last_seq = fill(journal, 60)
    paths = segments_of(tmp_path)
    assert len(paths) > 4
    assert all(path.stat().st_size == SEGMENT_BYTES for path in paths)
    headers = [decode_segment_header(path.read_bytes()) for path in paths]
    assert [f"segment-{header.first_seq:020d}.journal" for header in headers] == [path.name for path in paths]  # type: ignore[union-attr]
    check_journal(tmp_path, last_seq)
    assert verify(tmp_path).is_whole


def test_preparing_makes_the_next_segment_before_it_is_needed(tmp_path: Path) -> None:
    disk = FailingDisk()
    with open_journal(tmp_path, disk=disk, segment_bytes=1 << 20) as journal:
        assert not journal.is_next_segment_ready
        steps = 1
        while journal.prepare():
            steps += 1
        assert steps == 4
        assert journal.is_next_segment_ready
        assert not journal.prepare()
        disk.calls.clear()
        first = segments_of(tmp_path)
        while segments_of(tmp_path) == first:
            disk.calls.clear()
            fill(journal, 1)
        assert "allocate" not in disk.calls
        assert disk.calls == ["write", "sync", "sync_folder", "write", "sync"]
    check_journal(tmp_path, journal.committed_seq)


def test_full_disk_is_not_tried_at_every_call(tmp_path: Path) -> None:
    disk = FailingDisk()
    with open_journal(tmp_path, disk=disk) as journal:
        disk.fail("allocate")
        disk.calls.clear()
        assert not any(journal.prepare() for _ in range(257))
        assert disk.calls == ["allocate"]
        disk.heal()
        journal.prepare()
        assert journal.is_next_segment_ready


def test_unused_next_segment_is_made_again_after_a_crash(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        while journal.prepare():
            pass
        prepared = (tmp_path / "next-segment").read_bytes()
        assert prepared == bytes(SEGMENT_BYTES)
        last_seq = fill(journal, 1)
    (tmp_path / "next-segment").write_bytes(b"half of something")
    with open_journal(tmp_path) as journal:
        last_seq = fill(journal, 40)
    check_journal(tmp_path, last_seq)


def test_commit_larger_than_a_segment_gets_its_own(tmp_path: Path) -> None:
    payload = os.urandom(3 * SEGMENT_BYTES)
    with open_journal(tmp_path) as journal:
        journal.append(1, 1, 0, payload)  # the first event: its segment replaces the empty one
        journal.commit()
        journal.append(2, 1, 0, b"small")
        journal.commit()
        journal.append(3, 1, 0, payload)
        journal.commit()
    assert [record.payload for record in read(tmp_path, 1, 3)] == [payload, b"small", payload]
    with open_journal(tmp_path) as journal:
        assert journal.committed_seq == 3
    assert verify(tmp_path).is_whole


def test_record_may_fill_its_segment_exactly(tmp_path: Path) -> None:
    room = SEGMENT_BYTES - SEGMENT_HEADER_BYTES
    with open_journal(tmp_path) as journal:
        journal.append(1, 1, 0, bytes(room - record_bytes(0)))
        journal.commit()
        assert journal.free_bytes == 0
    with open_journal(tmp_path) as journal:
        journal.append(2, 1, 0, b"")
        journal.commit()
    assert len(segments_of(tmp_path)) == 2
    assert [record.first_seq for record in read(tmp_path, 1, 2)] == [1, 2]


def test_limits_of_a_record(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        with pytest.raises(ValueError, match="at most 4,194,304"):
            journal.append(1, 1, 0, bytes(RECORD_PAYLOAD_BYTES_MAX + 1))
        with pytest.raises(ValueError, match="0 events"):
            journal.append(1, 0, 0, b"")
        with pytest.raises(ValueError, match="4294967296 events"):
            journal.append(1, EVENTS_PER_RECORD_MAX + 1, 0, b"")
        with pytest.raises(ValueError, match="event 2 appended where 1 is due"):
            journal.append(2, 1, 0, b"")
        journal.append(1, EVENTS_PER_RECORD_MAX, 0, bytes(RECORD_PAYLOAD_BYTES_MAX))
        assert journal.commit() == EVENTS_PER_RECORD_MAX
        assert journal.next_seq == EVENTS_PER_RECORD_MAX + 1


def test_commit_may_have_its_limit_and_no_more(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        largest = bytes(RECORD_PAYLOAD_BYTES_MAX)
        for seq in (1, 2, 3):
            journal.append(seq, 1, 0, largest)
        rest = COMMIT_BYTES_MAX - journal.staged_bytes - record_bytes(0)
        with pytest.raises(CommitTooLarge, match="commit first"):
            journal.append(4, 1, 0, bytes(rest + 1))
        journal.append(4, 1, 0, bytes(rest))
        assert journal.staged_bytes == COMMIT_BYTES_MAX
        assert journal.commit() == 4
        journal.append(5, 1, 0, bytes(rest + 1))
        assert journal.commit() == 5
    assert sum(record.count for record in read(tmp_path, 1, 5)) == 5


@pytest.mark.parametrize("size", [SEGMENT_BYTES_MIN - 4096, SEGMENT_BYTES_MAX + 4096, SEGMENT_BYTES_MIN + 1])
def test_segments_of_impossible_sizes_are_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 4096"):
        open_journal(tmp_path, segment_bytes=size)


def test_smallest_segment_works(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=SEGMENT_BYTES_MIN) as journal:
        last_seq = fill(journal, 20)
    check_journal(tmp_path, last_seq)


def test_journal_id_has_sixteen_bytes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="16 bytes, not 15"):
        Journal.open(tmp_path, new_journal_id=bytes(15), at_ns=AT_NS)


def test_second_writer_is_told_who_holds_the_journal(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        last_seq = fill(journal, 1)
        with pytest.raises(JournalLocked, match=f"in use by process {os.getpid()}:") as caught:
            open_journal(tmp_path)
        assert caught.value.pid == os.getpid()
        last_seq = fill(journal, 1)
    with open_journal(tmp_path) as journal:
        assert journal.committed_seq == last_seq


def test_writer_in_another_process_holds_the_journal_until_it_dies(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from toucan.journal.writer import Journal\n"
        f"journal = Journal.open(pathlib.Path({str(tmp_path)!r}), new_journal_id=bytes(16), at_ns=0, segment_bytes=8192)\n"
        "journal.append(1, 1, 0, b'x'); journal.commit(); print(flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"\n"
            with pytest.raises(JournalLocked, match="stop that one, or use another data folder") as caught:
                open_journal(tmp_path)
            assert caught.value.pid == child.pid
        finally:
            child.kill()
    with open_journal(tmp_path) as journal:
        assert journal.committed_seq == 1


def test_failed_opening_gives_the_lock_back(tmp_path: Path) -> None:
    disk = FailingDisk()
    disk.fail("allocate")
    with pytest.raises(JournalUnavailable):
        open_journal(tmp_path, disk=disk)
    disk.heal()
    with open_journal(tmp_path, disk=disk) as journal:
        fill(journal, 1)


def test_closed_journal_writes_no_more(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    stage(journal)
    journal.close()
    journal.close()
    stage(journal)
    with pytest.raises(JournalError):
        journal.commit()
    with open_journal(tmp_path) as journal:
        assert journal.committed_seq == 0


def test_segment_of_a_later_format_is_left_alone(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        fill(journal, 1)
    (path,) = segments_of(tmp_path)
    data = bytearray(path.read_bytes())
    data[8] = 2
    data[4:8] = crc32c.crc32c(bytes(data[8:64])).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(JournalUnsupported, match="format version 2, this program reads 1"):
        open_journal(tmp_path)
    with pytest.raises(JournalUnsupported):
        list(read(tmp_path, 1, 1))
    with pytest.raises(JournalUnsupported):
        verify(tmp_path)
    assert path.read_bytes() == data


def test_the_witness_may_be_told_behind_the_commit(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    with open_journal(tmp_path / "journal", witness_path=witness) as journal:
        fill(journal, 1)
        before = read_witness(witness)
        stage(journal)
        committed = journal.commit(is_noted=False)
        assert read_witness(witness) == before
        journal.note()
        noted = read_witness(witness)
    assert before is not None
    assert noted is not None
    assert (noted.seq, noted.chain) == (committed, journal.chain)
