"""Readers: from any event, across segments, while another process writes, and never further than they were told."""

from __future__ import annotations

import mmap
import os
import signal
import traceback
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.journal.support import (
    JOURNAL_ID,
    SEGMENT_BYTES,
    check,
    check_journal,
    fill,
    open_journal,
    rest_of,
    segments_of,
    stage,
)

from toucan.journal.core.frame import Record
from toucan.journal.errors import JournalDamaged
from toucan.journal.limits import READ_WINDOW_BYTES
from toucan.journal.reader import Follower, committed_seq, read


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    folder = tmp_path_factory.mktemp("whole")
    with open_journal(folder) as journal:
        last_seq = fill(journal, 30)
    assert len(segments_of(folder)) > 2
    return folder, list(read(folder, 1, last_seq))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_range_is_what_a_slice_of_everything_is(
    whole: tuple[Path, list[Record]], data: st.DataObject
) -> None:
    folder, everything = whole
    last_seq = everything[-1].last_seq
    first = data.draw(st.integers(1, last_seq + 1))
    last = data.draw(st.integers(0, last_seq))
    expected = [record for record in everything if record.last_seq >= first and record.last_seq <= last]
    assert list(read(folder, first, last)) == expected


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_follower_gives_each_record_once_however_it_is_asked(
    whole: tuple[Path, list[Record]], data: st.DataObject
) -> None:
    folder, everything = whole
    last_seq = everything[-1].last_seq
    got: list[Record] = []
    with Follower(folder, 1) as follower:
        for up_to_seq in data.draw(st.lists(st.integers(0, last_seq), max_size=30)):
            some = follower.read(up_to_seq, bytes_max=data.draw(st.sampled_from([0, 1, 700, 10_000_000])))
            assert all(record.last_seq <= up_to_seq for record in some)
            got += some
        got += rest_of(follower, last_seq)
        assert follower.next_seq == last_seq + 1
        assert follower.read(last_seq) == []
    assert got == everything


def test_byte_limit_bounds_what_comes_at_a_time(whole: tuple[Path, list[Record]]) -> None:
    folder, everything = whole
    limit = len(everything[0].payload) + len(everything[1].payload)
    assert len(everything[1].payload) > 0
    with Follower(folder, 1) as follower:
        assert follower.read(everything[-1].last_seq, bytes_max=limit) == everything[:2]
    with Follower(folder, 1) as follower:
        assert follower.read(everything[-1].last_seq, bytes_max=limit + 1) == everything[:3]


@pytest.mark.parametrize("size", [READ_WINDOW_BYTES - 64, READ_WINDOW_BYTES, 3 * READ_WINDOW_BYTES + 1])
def test_record_larger_than_a_window_is_read(tmp_path: Path, size: int) -> None:
    payload = os.urandom(size)
    with open_journal(tmp_path) as journal:
        fill(journal, 1)
        first = journal.next_seq
        journal.append(first, 1, 0, payload)
        journal.append(first + 1, 1, 0, payload)
        journal.commit()
    assert [record.payload for record in read(tmp_path, first, first + 1)] == [payload, payload]


def test_nothing_is_read_that_is_not_known_to_be_committed(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal, Follower(tmp_path, 1) as follower:
        assert follower.read(0) == []
        first = fill(journal, 1)
        second = fill(journal, 1)
        check(follower.read(first), 1, first)
        assert follower.read(first) == []
        check(follower.read(second), first + 1, second)


def test_nothing_of_a_failed_commit_is_read(tmp_path: Path) -> None:
    """Its bytes were in the file for a moment, and others take their place."""
    with open_journal(tmp_path) as journal, Follower(tmp_path, 1) as follower:
        first = fill(journal, 1)
        (path,) = segments_of(tmp_path)
        stage(journal)
        journal.discard()
        with path.open("r+b") as file:
            file.seek(follower.read(first)[-1].end_offset)
            file.write(b"TJr1" + os.urandom(400))
        assert follower.read(first) == []
        second = fill(journal, 1)
        check(follower.read(second), first + 1, second)


def test_follower_opened_before_the_first_event_follows(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with Follower(folder, 1) as follower:
        assert follower.read(0) == []
        assert follower.journal_id is None
        with open_journal(folder) as journal:
            last_seq = fill(journal, 20)
        check(rest_of(follower, last_seq), 1, last_seq)
        assert follower.journal_id == JOURNAL_ID


def test_first_segment_made_anew_for_a_large_event_is_followed(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal, Follower(tmp_path, 1) as follower:
        assert follower.chain_before() == JOURNAL_ID  # this opens the empty segment
        payload = bytes(3 * SEGMENT_BYTES)
        journal.append(1, 1, 0, payload)
        journal.commit()
        assert [record.payload for record in follower.read(1)] == [payload]


def test_asking_for_events_that_are_not_there_is_damage(
    whole: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    folder, everything = whole
    last_seq = everything[-1].last_seq
    with pytest.raises(JournalDamaged) as caught:
        list(read(folder, 1, last_seq + 5))
    assert (caught.value.first_seq, caught.value.last_seq) == (last_seq + 1, last_seq + 5)
    with pytest.raises(JournalDamaged):
        list(read(tmp_path / "nowhere", 1, 5))


def test_chain_before_is_that_of_the_event_before(whole: tuple[Path, list[Record]]) -> None:
    folder, everything = whole
    for before, record in pairwise(everything):
        with Follower(folder, record.first_seq) as follower:
            assert follower.chain_before() == before.chain
            assert follower.next_seq == record.first_seq


def test_committed_events_are_known_from_the_files(tmp_path: Path) -> None:
    folder, witness = tmp_path / "journal", tmp_path / "witness"
    assert committed_seq(folder, witness) == 0
    with open_journal(folder, witness_path=witness) as journal:
        assert committed_seq(folder, witness) == 0
        before = 0
        for _ in range(20):
            last_seq = fill(journal, 1)
            assert committed_seq(folder) == before
            assert committed_seq(folder, witness) == last_seq
            before = last_seq


def _write(folder: Path, committed: memoryview[int], commits: int) -> None:
    with open_journal(folder, segment_bytes=16_384) as journal:
        for _ in range(commits):
            last_seq = stage(journal)
            journal.commit()
            committed[0] = last_seq
    committed[1] = 1


def test_readers_follow_a_living_writer(tmp_path: Path) -> None:
    committed = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")
    pid = os.fork()
    if pid == 0:
        try:
            _write(tmp_path, committed, 400)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    try:
        got: list[Record] = []
        reads = 0
        with Follower(tmp_path, 1) as follower:
            while not committed[1]:
                assert os.waitpid(pid, os.WNOHANG) == (0, 0) or committed[1], "the writer failed"
                up_to_seq = committed[0]
                some = follower.read(up_to_seq)
                assert follower.next_seq == up_to_seq + 1
                reads += bool(some)
                got += some
            got += rest_of(follower, committed[0])
        assert reads > 5
        check(got, 1, committed[0])
        check_journal(tmp_path, committed[0])
    finally:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
