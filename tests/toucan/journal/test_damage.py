"""Wrong bits and cut files: always found, never a wrong payload, and always a way to go on that loses no evidence."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.journal.support import (
    AT_NS,
    JOURNAL_ID,
    SEGMENT_BYTES,
    FailingDisk,
    QuickDisk,
    check,
    check_journal,
    fill,
    flip,
    open_journal,
    payload_of,
    segments_of,
)

from toucan.journal.core.frame import SEGMENT_HEADER_BYTES, Record, SegmentHeader, decode_segment_header
from toucan.journal.disk import Disk
from toucan.journal.errors import (
    JournalDamaged,
    JournalError,
    JournalLocked,
    JournalTruncated,
    JournalUnavailable,
)
from toucan.journal.folder import list_segments, quarantine_folder, set_aside
from toucan.journal.losses import read_losses
from toucan.journal.reader import Follower, read
from toucan.journal.repair import repair
from toucan.journal.segments import walk
from toucan.journal.verify import verify
from toucan.journal.writer import Journal


class Made:
    """A journal of some segments and its witness, and what is where. Copies are cheap."""

    def __init__(self, root: Path, commits: int = 28) -> None:
        self.root = root
        self.folder, self.witness = root / "journal", root / "witness"
        with open_journal(self.folder, witness_path=self.witness) as journal:
            self.last_seq = fill(journal, commits)
        self.note()

    def note(self) -> None:
        """Remembers which records are where."""
        self.places = [(segment, item) for segment, item in walk(self.folder) if isinstance(item, Record)]

    def copy(self, to: Path) -> Made:
        shutil.copytree(self.root, to, dirs_exist_ok=True)
        other = object.__new__(Made)
        other.root, other.folder, other.witness = to, to / "journal", to / "witness"
        other.last_seq = self.last_seq
        other.note()
        return other

    def open(self, *, accept_loss: bool = False) -> int:
        """Opens it, goes on, and returns the last event that there was."""
        with open_journal(
            self.folder, witness_path=self.witness, accept_loss=accept_loss, disk=QuickDisk()
        ) as journal:
            found = journal.committed_seq
            fill(journal, 3)
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = Made(tmp_path_factory.mktemp("made"))
    assert len(segments_of(made.folder)) == 3
    return made


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder without a disk: for files that are cut and written anew a thousand times."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Made:
    return made.copy(tmp_path)


def readable(folder: Path, last_seq: int) -> list[Record]:
    """All that can be read; asserts that it is right."""
    records = list(read(folder, 1, last_seq, past_damage=True))
    for record in records:
        assert record.payload == payload_of(record.first_seq, record.count)
        assert record.at_ns == AT_NS + record.first_seq
    numbers = [seq for record in records for seq in range(record.first_seq, record.last_seq + 1)]
    assert numbers == sorted(set(numbers))
    return records


# ---------------------------------------------------------------- one wrong bit, anywhere


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_wrong_bit_is_found_and_no_wrong_payload_comes_out(made: Made, data: st.DataObject) -> None:
    paths = segments_of(made.folder)
    number = data.draw(st.integers(0, len(paths) - 1))
    offset = data.draw(st.integers(0, SEGMENT_BYTES - 1))
    bit = data.draw(st.integers(0, 7))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        copy = made.copy(Path(name))
        flip(copy.folder / paths[number].name, offset, bit)
        report = verify(copy.folder, copy.witness)
        assert [finding.segment for finding in report.findings] == [paths[number].name]
        hit = [
            record
            for segment, record in made.places
            if segment.path.name == paths[number].name and record.offset <= offset < record.end_offset
        ]
        lost = sum(record.count for record in hit)
        assert report.events == made.last_seq - lost
        got = readable(copy.folder, made.last_seq)
        assert sum(record.count for record in got) == made.last_seq - lost
        if hit:
            with pytest.raises(JournalDamaged) as caught:
                list(read(copy.folder, 1, made.last_seq))
            assert (caught.value.first_seq, caught.value.offset) == (hit[0].first_seq, hit[0].offset)
            assert caught.value.last_seq == hit[0].last_seq
        mended(copy, lost)


def mended(copy: Made, lost: int) -> None:
    """It can always be made usable, with what is lost noted and nothing else gone."""
    losses = repair(copy.folder, at_ns=AT_NS, witness_path=copy.witness, disk=QuickDisk())
    found = copy.open(accept_loss=True)
    assert found == copy.last_seq, "numbers of lost events are not used again"
    report = verify(copy.folder, copy.witness)
    assert report.is_whole
    assert report.lost_events == lost
    assert sum(loss.events for loss in losses) in (0, lost)
    records = list(read(copy.folder, 1, report.last_seq))
    assert sum(record.count for record in records) == report.last_seq - lost


def test_wrong_bit_in_the_last_segment_stops_the_engine_until_it_is_set_aside(copy: Made) -> None:
    segment, record = copy.places[-8]
    assert segment == list_segments(copy.folder)[-1]
    flip(segment.path, record.offset + 70)
    before = segment.path.read_bytes()
    with pytest.raises(JournalDamaged) as caught:
        copy.open()
    error = caught.value
    assert (error.path, error.offset) == (segment.path, record.offset)
    assert (error.first_seq, error.last_seq) == (record.first_seq, record.last_seq)
    assert "the checksum does not fit" in str(error)
    assert "set the place aside with repair" in str(error)
    assert segment.path.read_bytes() == before
    (loss,) = repair(copy.folder, at_ns=77, witness_path=copy.witness)
    assert (loss.first_seq, loss.last_seq, loss.at_ns) == (record.first_seq, record.last_seq, 77)
    assert segment.path.read_bytes() == before, "the evidence stays where it is"
    assert copy.open() == copy.last_seq
    check(read(copy.folder, 1, record.first_seq - 1), 1, record.first_seq - 1)
    check(read(copy.folder, record.last_seq + 1, copy.last_seq), record.last_seq + 1, copy.last_seq)
    assert repair(copy.folder, at_ns=78, witness_path=copy.witness) == []


def test_removed_acknowledgement_is_damage_again(copy: Made) -> None:
    segment, record = copy.places[-8]
    flip(segment.path, record.offset + 70)
    repair(copy.folder, at_ns=77)
    copy.open()
    for path in (copy.folder / "losses").iterdir():
        path.unlink()
    with pytest.raises(JournalDamaged):
        list(read(copy.folder, 1, copy.last_seq))


def test_acknowledged_loss_covers_no_more_than_was_acknowledged(copy: Made) -> None:
    (segment, record), (_, following) = copy.places[-8], copy.places[-7]
    flip(segment.path, record.offset + 20)
    repair(copy.folder, at_ns=77)
    flip(segment.path, following.offset + 20)
    with pytest.raises(JournalDamaged) as caught:
        copy.open()
    assert (caught.value.first_seq, caught.value.last_seq) == (record.first_seq, following.last_seq)
    repair(copy.folder, at_ns=78)
    assert copy.open() == copy.last_seq


def test_acknowledgement_that_is_no_json_is_named(copy: Made) -> None:
    segment, record = copy.places[-8]
    flip(segment.path, record.offset + 70)
    repair(copy.folder, at_ns=77)
    (path,) = (copy.folder / "losses").iterdir()
    path.write_text("{")
    with pytest.raises(JournalError, match=path.name):
        read_losses(copy.folder)


def test_damage_in_an_old_segment_does_not_keep_the_engine_from_starting(copy: Made) -> None:
    """Whether it needs the place depends on its snapshot; reading over it says so, verifying finds it."""
    segment, record = copy.places[2]
    flip(segment.path, record.offset + 8)
    assert copy.open() == copy.last_seq
    with pytest.raises(JournalDamaged):
        list(read(copy.folder, 1, copy.last_seq))
    following = record.last_seq + 1
    check(read(copy.folder, following, copy.last_seq), following, copy.last_seq)
    report = verify(copy.folder)
    assert not report.is_whole
    assert report.unreachable_events == report.last_seq - record.last_seq


def test_several_places_are_set_aside_in_one_go(copy: Made) -> None:
    hit = [copy.places[index] for index in (1, 5, 6, 20, len(copy.places) - 5)]
    for segment, record in hit:
        flip(segment.path, record.offset + 20)
    losses = repair(copy.folder, at_ns=AT_NS, witness_path=copy.witness)
    assert [(loss.first_seq, loss.last_seq) for loss in losses] == [
        (hit[0][1].first_seq, hit[0][1].last_seq),
        (hit[1][1].first_seq, hit[2][1].last_seq),
        (hit[3][1].first_seq, hit[3][1].last_seq),
        (hit[4][1].first_seq, hit[4][1].last_seq),
    ]
    assert copy.open() == copy.last_seq
    assert verify(copy.folder, copy.witness).is_whole


def test_repair_needs_the_journal_for_itself(copy: Made) -> None:
    with open_journal(copy.folder), pytest.raises(JournalLocked):
        repair(copy.folder, at_ns=AT_NS)


# ---------------------------------------------------------------- headers and whole segments


@pytest.mark.parametrize("number", [0, 1, 2])
def test_destroyed_header_is_made_again(copy: Made, number: int) -> None:
    path = segments_of(copy.folder)[number]
    good = path.read_bytes()
    flip(path, 50)
    bad = path.read_bytes()[:SEGMENT_HEADER_BYTES]
    with pytest.raises(JournalDamaged, match="header is destroyed"):
        list(read(copy.folder, 1, copy.last_seq))
    assert repair(copy.folder, at_ns=AT_NS) == []
    assert path.read_bytes() == good
    (kept,) = quarantine_folder(copy.folder).iterdir()
    assert kept.read_bytes() == bad
    check_journal(copy.folder, copy.last_seq)
    assert copy.open() == copy.last_seq


def test_header_behind_damage_is_made_again_without_inventing_a_hash(copy: Made) -> None:
    """The last record of one segment and the header of the next: the hash that stood there is nowhere else."""
    segment = list_segments(copy.folder)[1]
    _, before = next(place for place in reversed(copy.places) if place[1].last_seq == segment.first_seq - 1)
    flip(segments_of(copy.folder)[0], before.offset + 20)
    flip(segment.path, 50)
    losses = repair(copy.folder, at_ns=AT_NS, witness_path=copy.witness)
    assert sum(loss.events for loss in losses) == before.count
    header = decode_segment_header(segment.path.read_bytes())
    assert isinstance(header, SegmentHeader)
    assert header.chain_before == bytes(16)
    assert copy.open() == copy.last_seq
    assert verify(copy.folder, copy.witness).is_whole


def test_only_header_is_made_again_with_a_journal_id_from_elsewhere(tmp_path: Path) -> None:
    made = Made(tmp_path, commits=3)
    (path,) = segments_of(made.folder)
    good = path.read_bytes()
    flip(path, 20)
    with pytest.raises(JournalDamaged, match="header is destroyed"):
        made.open()
    with pytest.raises(JournalDamaged, match="give repair its journal_id"):
        repair(made.folder, at_ns=AT_NS)
    with pytest.raises(JournalDamaged, match="is that the right journal_id"):
        repair(made.folder, at_ns=AT_NS, journal_id=bytes(16))
    assert repair(made.folder, at_ns=AT_NS, journal_id=JOURNAL_ID) == []
    assert path.read_bytes() == good
    flip(path, 20)
    assert repair(made.folder, at_ns=AT_NS, witness_path=made.witness) == []
    assert path.read_bytes() == good


@pytest.mark.parametrize("number", [0, 1])
def test_missing_segment_is_damage(copy: Made, number: int) -> None:
    segments = list_segments(copy.folder)
    segments[number].path.rename(copy.root / "moved away")
    first, last = segments[number].first_seq, segments[number + 1].first_seq - 1
    assert copy.open() == copy.last_seq
    with pytest.raises(JournalDamaged) as caught:
        list(read(copy.folder, 1, copy.last_seq))
    assert (caught.value.first_seq, caught.value.last_seq) == (first, last)
    findings = verify(copy.folder).findings
    assert [(finding.kind, finding.first_seq, finding.last_seq) for finding in findings] == [
        ("damage", first, last)
    ]
    check(read(copy.folder, last + 1, copy.last_seq), last + 1, copy.last_seq)
    (loss,) = repair(copy.folder, at_ns=AT_NS)
    assert (loss.first_seq, loss.last_seq) == (first, last)
    assert sum(record.count for record in read(copy.folder, 1, copy.last_seq)) == copy.last_seq - loss.events


def test_segment_of_another_journal_is_damage(copy: Made, tmp_path: Path) -> None:
    victim = list_segments(copy.folder)[1]
    with tempfile.TemporaryDirectory() as name:
        other = Path(name)
        with Journal.open(other, new_journal_id=bytes(16), at_ns=0, segment_bytes=SEGMENT_BYTES) as journal:
            fill(journal, 28)
        shutil.copy(other / victim.path.name, victim.path)
    with pytest.raises(JournalDamaged, match="a segment of another journal"):
        list(read(copy.folder, 1, copy.last_seq))
    assert not verify(copy.folder).is_whole
    repair(copy.folder, at_ns=AT_NS)
    assert verify(copy.folder).is_whole
    lost = list_segments(copy.folder)[2].first_seq - victim.first_seq
    assert sum(record.count for record in read(copy.folder, 1, copy.last_seq)) == copy.last_seq - lost


def test_stray_bytes_far_behind_the_end_are_damage(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=32 << 20) as journal:
        last_seq = fill(journal, 2)
    (path,) = segments_of(tmp_path)
    flip(path, 30 << 20)
    with pytest.raises(JournalDamaged, match="space that was never written"):
        open_journal(tmp_path)
    assert repair(tmp_path, at_ns=AT_NS) == []
    (kept,) = quarantine_folder(tmp_path).iterdir()
    assert kept.read_bytes().strip(b"\0") == b"\x01"
    with open_journal(tmp_path) as journal:
        assert journal.committed_seq == last_seq


def test_stray_bytes_in_the_rest_of_an_old_segment_are_found(copy: Made) -> None:
    path = segments_of(copy.folder)[0]
    flip(path, SEGMENT_BYTES - 1)
    (finding,) = verify(copy.folder).findings
    assert (finding.kind, finding.text) == ("damage", "bytes in space that was never written")
    check_journal(copy.folder, copy.last_seq)


# ---------------------------------------------------------------- a torn tail


def test_commit_cut_off_at_every_byte_is_cut_and_kept_aside(memory: Path) -> None:
    """A process that was killed, or lost its power, while it wrote the last batch; the witness has not seen that one."""
    made = Made(memory, commits=2)
    (path,) = segments_of(made.folder)
    before, witness = path.read_bytes(), made.witness.read_bytes()
    with open_journal(made.folder, witness_path=made.witness, disk=QuickDisk()) as journal:
        last_seq = fill(journal, 1)
    after = path.read_bytes()
    begin = made.places[-1][1].end_offset
    made.note()
    ends = {record.end_offset: record.last_seq for _, record in made.places}
    end = max(ends)
    for cut in range(begin, end + 1):
        path.write_bytes(after[:cut] + before[cut:])
        made.witness.write_bytes(witness)
        shutil.rmtree(quarantine_folder(made.folder), ignore_errors=True)
        whole = max(offset for offset in ends if offset <= cut)
        torn = after[whole:cut].rstrip(b"\0")
        with open_journal(made.folder, witness_path=made.witness, disk=QuickDisk()) as journal:
            is_only_padding_missing = not any(after[cut : min(o for o in ends if o >= cut)])
            assert journal.committed_seq == ends[whole] or is_only_padding_missing
            if journal.committed_seq != ends[whole]:
                continue
            assert path.read_bytes() == after[:whole] + before[whole:]
            if torn:
                assert f"cut from byte {whole} on, behind event {ends[whole]}" in journal.notes[0]
                (kept,) = quarantine_folder(made.folder).iterdir()
                assert kept.read_bytes() == torn
            else:
                assert journal.notes == []
    assert made.open() == last_seq
    check_journal(made.folder, last_seq)


def test_whole_records_behind_a_torn_one_do_not_come_back(tmp_path: Path) -> None:
    """The disk wrote the second half of a batch and not the first; the same numbers are given again, to the same bytes."""
    with open_journal(tmp_path) as journal:
        fill(journal, 2)
        begin = SEGMENT_BYTES - journal.free_bytes
        before = journal.committed_seq
        for seq in (1, 2, 3):
            journal.append(before + seq, 1, 0, b"%d" % seq)
        journal.commit()
    (path,) = segments_of(tmp_path)
    data = bytearray(path.read_bytes())
    data[begin : begin + 8] = bytes(8)
    path.write_bytes(data)
    with open_journal(tmp_path) as journal:
        assert journal.committed_seq == before
        journal.append(before + 1, 1, 0, b"1")
        assert journal.commit() == before + 1
    with open_journal(tmp_path) as journal:
        assert journal.committed_seq == before + 1
    assert verify(tmp_path).last_seq == before + 1


# ---------------------------------------------------------------- a cut file


def test_cut_at_every_length_is_noticed_with_a_witness(memory: Path) -> None:
    made = Made(memory, commits=3)
    (path,) = segments_of(made.folder)
    good = path.read_bytes()
    end = made.places[-1][1].end_offset
    for length in [*range(end + 70), *range(end + 70, SEGMENT_BYTES, 101)]:
        path.write_bytes(good[:length])
        last = max([record.last_seq for _, record in made.places if record.end_offset <= length], default=0)
        if length < SEGMENT_HEADER_BYTES:
            with pytest.raises(JournalDamaged, match="header is destroyed"):
                made.open()
        elif last == made.last_seq:
            with open_journal(made.folder, witness_path=made.witness, disk=QuickDisk()) as journal:
                assert journal.committed_seq == made.last_seq
                assert "shorter than it was made" in journal.notes[0]
            assert path.read_bytes() == good
        else:
            with pytest.raises(JournalTruncated) as caught:
                made.open()
            assert caught.value.missing_events == made.last_seq - last
            assert f"{made.last_seq - last} events are missing at the end" in str(caught.value)
            assert path.read_bytes() == good[:length]


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_accepted_loss_of_the_end_leaves_its_numbers_unused(copy: Made, fraction: float) -> None:
    segment = list_segments(copy.folder)[-1]
    in_last = [record for other, record in copy.places if other == segment]
    cut = in_last[0].offset + int(fraction * (in_last[-1].end_offset - in_last[0].offset))
    with segment.path.open("r+b") as file:
        file.truncate(cut)
    left = segment.path.read_bytes()
    last = max([r.last_seq for r in in_last if r.end_offset <= cut], default=segment.first_seq - 1)
    assert copy.open(accept_loss=True) == copy.last_seq
    assert segment.path.read_bytes() == left
    (loss,) = read_losses(copy.folder)
    assert (loss.first_seq, loss.last_seq, loss.at_ns) == (last + 1, copy.last_seq, AT_NS)
    assert list_segments(copy.folder)[-1].first_seq == copy.last_seq + 1
    assert copy.open() > copy.last_seq, "accepted once, it is no matter any more"
    report = verify(copy.folder, copy.witness)
    assert report.lost_events == copy.last_seq - last
    with Follower(copy.folder, 1) as follower:
        records = follower.read(report.last_seq)
    assert sum(record.count for record in records) == report.last_seq - loss.events


def test_cut_without_a_witness_is_noticed_by_the_size(copy: Made) -> None:
    path = segments_of(copy.folder)[-1]
    with path.open("r+b") as file:
        file.truncate(copy.places[-1][1].end_offset)
    with pytest.raises(JournalTruncated, match="without a witness nobody can say what is gone") as caught:
        open_journal(copy.folder)
    assert caught.value.missing_events is None
    with open_journal(copy.folder, accept_loss=True) as journal:
        assert journal.committed_seq == copy.last_seq
        last_seq = fill(journal, 20)
    check_journal(copy.folder, last_seq)


def test_end_overwritten_with_zeros_is_noticed_by_the_witness(copy: Made) -> None:
    segment, record = copy.places[-3]
    data = bytearray(segment.path.read_bytes())
    data[record.offset :] = bytes(len(data) - record.offset)
    segment.path.write_bytes(data)
    with pytest.raises(JournalTruncated) as caught:
        copy.open()
    assert caught.value.missing_events == copy.last_seq - record.first_seq + 1


def test_accepted_loss_counts_even_if_the_witness_goes_next(copy: Made) -> None:
    """Killed between the acknowledgement and the new segment; numbers of lost events are not given to others."""
    segment, record = copy.places[-3]
    with segment.path.open("r+b") as file:
        file.seek(record.offset)
        file.write(bytes(SEGMENT_BYTES - record.offset))
    disk = FailingDisk()
    disk.fail("allocate")
    with pytest.raises(JournalUnavailable):
        open_journal(copy.folder, witness_path=copy.witness, accept_loss=True, disk=disk)
    assert len(read_losses(copy.folder)) == 1
    copy.witness.unlink()
    assert copy.open() == copy.last_seq


def test_lost_last_segment_is_noticed_by_the_witness(copy: Made) -> None:
    last = list_segments(copy.folder)[-1]
    last.path.unlink()
    with pytest.raises(JournalTruncated) as caught:
        copy.open()
    assert caught.value.missing_events == copy.last_seq - last.first_seq + 1
    assert copy.open(accept_loss=True) == copy.last_seq


def test_lost_journal_is_noticed_by_the_witness(copy: Made) -> None:
    for path in segments_of(copy.folder):
        path.unlink()
    with pytest.raises(JournalTruncated, match="holds no journal, but the witness") as caught:
        copy.open()
    assert caught.value.missing_events == copy.last_seq
    before = copy.witness.read_bytes()
    assert copy.open(accept_loss=True) == 0
    assert before in [path.read_bytes() for path in quarantine_folder(copy.folder).iterdir()]


def test_older_copy_of_the_journal_is_noticed_by_the_witness(made: Made, tmp_path: Path) -> None:
    """Somebody restored a backup, and went on with it elsewhere: the same numbers, other events."""
    old, new = made.copy(tmp_path / "old"), made.copy(tmp_path / "new")
    for copy, payload in ((old, b"one"), (new, b"two")):
        with open_journal(copy.folder, witness_path=copy.witness) as journal:
            for seq in (1, 2):
                journal.append(copy.last_seq + seq, 1, 0, payload)
                journal.commit()
    with pytest.raises(JournalTruncated, match="another history than the witness saw"):
        open_journal(old.folder, witness_path=new.witness)
    assert [finding.kind for finding in verify(old.folder, new.witness).findings] == ["witness"]
    with open_journal(old.folder, witness_path=new.witness, accept_loss=True) as journal:
        assert journal.committed_seq == made.last_seq + 2
    with open_journal(old.folder, witness_path=new.witness) as journal:
        assert journal.committed_seq == made.last_seq + 2


def test_witness_of_another_journal_is_refused(copy: Made, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with Journal.open(other, new_journal_id=bytes(16), at_ns=0, segment_bytes=SEGMENT_BYTES) as journal:
        fill(journal, 1)
    with pytest.raises(JournalTruncated, match="belongs to journal 000102"):
        open_journal(other, witness_path=copy.witness)
    (finding,) = verify(other, copy.witness).findings
    assert (finding.kind, finding.last_seq) == ("witness", copy.last_seq)


def test_destroyed_witness_is_noticed_and_half_of_one_will_do(copy: Made) -> None:
    flip(copy.witness, 40)
    assert copy.open() == copy.last_seq
    last_seq = verify(copy.folder).last_seq
    for at in (40, 104):
        flip(copy.witness, at)
    with pytest.raises(JournalTruncated, match="is unreadable"):
        copy.open()
    assert copy.open(accept_loss=True) == last_seq
    copy.witness.write_bytes(b"")
    assert copy.open() > last_seq, "a witness that never reached the disk says nothing"


def test_bytes_are_set_aside_once_under_one_name_and_never_written_over(tmp_path: Path) -> None:
    disk = Disk()
    paths = [set_aside(tmp_path, "name", data, disk) for data in (b"one", b"two", b"one", b"two", b"three")]
    assert [path.name for path in paths] == ["name", "name.2", "name", "name.2", "name.3"]
    assert [path.read_bytes() for path in paths] == [b"one", b"two", b"one", b"two", b"three"]


def test_damage_says_what_to_do() -> None:
    error = JournalDamaged(Path("/x"), 5, 7, 6, "reason", "Do this.")
    assert str(error) == (
        "/x is damaged at byte 5 (reason): no event is missing before 7, but what follows is not what was written. Do this."
    )
    assert "events from 7 on" in str(JournalDamaged(Path("/x"), 5, 7, None, "reason", "Do this."))
