"""What a segment's bytes mean: the end, a torn tail, damage; compared with what is known of how the bytes were made."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.journal.support import JOURNAL_ID, batch_of, payload_of

from toucan.journal.core.frame import SEGMENT_HEADER_BYTES, Flaw, Record, SegmentHeader, encode_record
from toucan.journal.core.scan import Damage, End, Item, SegmentParser, TornTail
from toucan.journal.limits import COMMIT_BYTES_MAX, SEGMENT_BYTES_MIN

SALT = SegmentHeader(JOURNAL_ID, 1, SEGMENT_BYTES_MIN, JOURNAL_ID).salt
START = SEGMENT_HEADER_BYTES


class Made:
    """The bytes behind the header of a segment of some commits, and what is where."""

    def __init__(self, commits: int, empty_bytes: int = 1000) -> None:
        self.records: list[Record] = []
        self.commit_ends: list[int] = []  # offsets
        parts, offset, seq, chain = [], START, 1, JOURNAL_ID
        for _ in range(commits):
            durable_seq = seq - 1
            for first_seq, count in batch_of(seq):
                payload = payload_of(first_seq, count)
                data, after = encode_record(
                    first_seq, count, first_seq, payload,
                    durable_seq=durable_seq, offset=offset, salt=SALT, chain_before=chain,
                )  # fmt: skip
                self.records.append(Record(first_seq, count, first_seq, payload, after, durable_seq, offset))
                parts.append(data)
                offset, seq, chain = offset + len(data), first_seq + count, after
            self.commit_ends.append(offset)
        self.last_seq = seq - 1
        self.end = offset
        self.data = bytearray(b"".join(parts) + bytes(empty_bytes))

    @property
    def last_commit_begin(self) -> int:
        return ([START, *self.commit_ends])[-2]

    def overwrite(self, offset: int, data: bytes) -> None:
        self.data[offset - START : offset - START + len(data)] = data

    def parse(self, committed_seq: int = 0, cuts: list[int] | None = None) -> list[Item]:
        parser = SegmentParser(SALT, START, 1, JOURNAL_ID, committed_seq)
        items: list[Item] = []
        bounds = [0, *sorted(cuts or []), len(self.data)]
        for begin, end in pairwise(bounds):
            items += parser.feed(bytes(self.data[begin:end]))
        return items + parser.finish()


def records_in(items: list[Item]) -> list[Record]:
    return [item for item in items if isinstance(item, Record)]


@given(st.integers(0, 6), st.integers(0, 200))
def test_whole_segment_gives_its_records_and_its_end(commits: int, empty_bytes: int) -> None:
    made = Made(commits, empty_bytes)
    assert made.parse() == [*made.records, End(made.end)]
    assert made.parse(made.last_seq) == [*made.records, End(made.end)]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), st.data())
def test_it_does_not_matter_how_the_bytes_come(commits: int, data: st.DataObject) -> None:
    made = Made(commits)
    place = data.draw(st.integers(START, made.end))
    made.overwrite(place, data.draw(st.sampled_from([b"\xff", bytes(64), b"TJr1" * 20])))
    cuts = data.draw(st.lists(st.integers(0, len(made.data)), max_size=20))
    committed_seq = data.draw(st.integers(0, made.last_seq + 3))
    assert made.parse(committed_seq, cuts) == made.parse(committed_seq)


def expected_with_hole(made: Made, hit: set[int]) -> list[Item]:
    """What must come out when these records (by index) are destroyed, and it is proven that all was durable."""
    items: list[Item] = []
    index = 0
    while index < len(made.records):
        if index not in hit:
            items.append(made.records[index])
            index += 1
            continue
        first = made.records[index]
        while index in hit:
            index += 1
        is_last = index == len(made.records)
        end = made.end if is_last else made.records[index].offset
        last_seq = made.last_seq if is_last else made.records[index].first_seq - 1
        items.append(
            Damage(first.offset, end - first.offset, first.first_seq, last_seq, Flaw.CHECKSUM, is_last)
        )
    if not isinstance(items[-1], Damage):
        items.append(End(made.end))
    return items


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 6), st.data())
def test_what_was_committed_and_destroyed_is_damage_and_all_else_is_read(
    commits: int, data: st.DataObject
) -> None:
    made = Made(commits)
    indices = st.integers(0, len(made.records) - 1)
    hit = data.draw(st.sets(indices, min_size=1, max_size=len(made.records)))
    for index in hit:
        record = made.records[index]
        end = record.end_offset
        made.data[end - 1 - START] ^= (
            1  # of the payload, the padding or the chain hash: of what only the checksum covers
        )
    assert made.parse(made.last_seq) == expected_with_hole(made, hit)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 5), st.booleans(), st.data())
def test_torn_commit_is_cut_and_nothing_else(commits: int, is_garbage: bool, data: st.DataObject) -> None:
    """Any sectors of the last commit may be lost; what was committed before comes out, and of the rest a beginning at most."""
    made = Made(commits)
    seed = data.draw(st.integers(0, 2**32))
    choose = random.Random(seed)
    for sector in range(made.last_commit_begin // 512, made.end // 512 + 1):
        begin, end = max(sector * 512, made.last_commit_begin), min(sector * 512 + 512, made.end)
        if end > begin and choose.random() < 0.5:
            made.overwrite(begin, choose.randbytes(end - begin) if is_garbage else bytes(end - begin))
    items = made.parse()
    found = records_in(items)
    safe = [record for record in made.records if record.end_offset <= made.last_commit_begin]
    assert found == made.records[: len(found)]
    assert len(found) >= len(safe)
    end = found[-1].end_offset if found else START
    last = items[-1]
    assert items == [*found, last]
    if isinstance(last, TornTail):
        assert last.offset == end
        assert not any(made.data[last.offset + last.size_bytes - START :])
    else:
        assert last == End(end)
        assert not any(made.data[end - START :])


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), st.data())
def test_torn_commit_that_is_known_to_have_ended_is_damage(commits: int, data: st.DataObject) -> None:
    made = Made(commits)
    begin = data.draw(st.integers(made.last_commit_begin, made.end - 1))
    made.overwrite(begin, bytes(made.end - begin))
    items = made.parse(made.last_seq)
    found = records_in(items)
    last = items[-1]
    if made.end == (found[-1].end_offset if found else START):
        assert last == End(made.end)  # only padding was hit, which is zero anyway
        return
    assert isinstance(last, Damage)
    assert last.is_last
    assert (last.first_seq, last.last_seq) == (found[-1].last_seq + 1 if found else 1, made.last_seq)
    assert TornTail not in map(type, items)
    torn = made.parse(found[-1].last_seq if found else 0)[-1]
    assert isinstance(torn, (TornTail, End))
    assert torn.offset == last.offset


def test_damage_in_the_last_but_one_commit_is_proven_by_the_last() -> None:
    made = Made(3)
    first = next(record for record in made.records if record.offset == made.commit_ends[0])
    made.overwrite(first.offset, b"\0" * 8)
    following = made.records[made.records.index(first) + 1]
    damage = Damage(
        first.offset, following.offset - first.offset, first.first_seq, first.last_seq, Flaw.UNKNOWN
    )
    assert damage in made.parse()
    # Without the last commit nothing proves that the one before ever ended.
    made.overwrite(made.commit_ends[1], bytes(made.end - made.commit_ends[1]))
    assert isinstance(made.parse()[-1], TornTail)


def test_second_bad_place_may_be_torn_where_the_first_is_damaged() -> None:
    made = Made(4)
    in_last = [record for record in made.records if record.offset >= made.last_commit_begin]
    assert len(in_last) >= 2, "the seed of the batches gives the last commit several records"
    made.overwrite(START + 8, b"\xff" * 8)
    made.overwrite(in_last[0].offset + 8, b"\xff" * 8)
    items = made.parse()
    assert isinstance(items[0], Damage)
    assert items[0].first_seq == 1
    assert items[-1] == TornTail(in_last[0].offset, made.end - in_last[0].offset - _padding(made))
    assert records_in(items) == [record for record in made.records[1:] if record.offset < in_last[0].offset]


def _padding(made: Made) -> int:
    data = bytes(made.data[: made.end - START])
    return len(data) - len(data.rstrip(b"\0"))


def test_record_inside_a_payload_is_not_taken_for_one() -> None:
    """Whoever can put bytes into the journal cannot make events that come out when the record around them is damaged."""
    fake, _ = encode_record(
        2,
        1,
        0,
        b"fake",
        durable_seq=1,
        offset=START + 64,
        salt=SegmentHeader(bytes(16), 1, 0, b"").salt,
        chain_before=JOURNAL_ID,
    )
    misplaced, _ = encode_record(
        2, 1, 0, b"fake", durable_seq=1, offset=START, salt=SALT, chain_before=JOURNAL_ID
    )
    good, chain = encode_record(
        1, 1, 0, fake + misplaced, durable_seq=0, offset=START, salt=SALT, chain_before=JOURNAL_ID
    )
    behind, _ = encode_record(
        2, 1, 0, b"real", durable_seq=1, offset=START + len(good), salt=SALT, chain_before=chain
    )
    data = bytearray(good + behind)
    data[9] ^= 1
    parser = SegmentParser(SALT, START, 1, JOURNAL_ID)
    items = parser.feed(bytes(data)) + parser.finish()
    assert items[0] == Damage(START, len(good), 1, 1, Flaw.CHECKSUM)
    assert [record.payload for record in records_in(items)] == [b"real"]


def test_replaced_record_breaks_the_chain() -> None:
    """A record with a good checksum that was not written there: all events are there, and it is damage all the same."""
    made = Made(3)
    victim = made.records[1]
    payload = bytes(len(victim.payload)) or b""
    forged, chain = encode_record(
        victim.first_seq, victim.count, 1, payload,
        durable_seq=victim.durable_seq, offset=victim.offset, salt=SALT, chain_before=bytes(16),
    )  # fmt: skip
    made.overwrite(victim.offset, forged)
    items = made.parse()
    seq = victim.first_seq
    assert items[1] == Damage(victim.offset, 0, seq, seq - 1, Flaw.CHAIN)
    following = made.records[2]
    assert items[3] == Damage(following.offset, 0, following.first_seq, following.first_seq - 1, Flaw.CHAIN)
    assert chain != victim.chain
    assert len(records_in(items)) == len(made.records)


@pytest.mark.parametrize("extent", [COMMIT_BYTES_MAX, COMMIT_BYTES_MAX + 1])
def test_no_torn_tail_is_larger_than_a_commit(extent: int) -> None:
    made = Made(1, empty_bytes=COMMIT_BYTES_MAX + 1000)
    made.overwrite(made.end + extent - 1, b"\x01")
    expected: Item = TornTail(made.end, extent)
    if extent > COMMIT_BYTES_MAX:
        seq = made.last_seq + 1
        expected = Damage(made.end, extent, seq, seq - 1, Flaw.STRAY, is_last=True)
    assert made.parse() == [*made.records, expected]


def test_missing_events_behind_a_whole_end_are_damage() -> None:
    made = Made(2)
    first = made.last_seq + 1
    assert made.parse(first + 9)[-1] == Damage(made.end, 0, first, first + 9, Flaw.EMPTY, is_last=True)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), st.data())
def test_any_wrong_bit_is_noticed_and_gives_no_wrong_payload(commits: int, data: st.DataObject) -> None:
    made = Made(commits)
    bit = data.draw(st.integers(0, 8 * len(made.data) - 1))
    made.data[bit // 8] ^= 1 << bit % 8
    for committed_seq in (0, made.last_seq):
        items = made.parse(committed_seq)
        assert items != [*made.records, End(made.end)]
        assert all(record in made.records for record in records_in(items))


def test_it_does_not_matter_where_the_bytes_are_divided() -> None:
    made = Made(3)
    made.overwrite(START + 8, b"\xff" * 8)
    whole = made.parse()
    assert isinstance(whole[0], Damage)
    for cut in range(len(made.data)):
        assert made.parse(cuts=[cut]) == whole


def test_old_record_behind_a_bad_place_is_not_taken_for_a_new_one() -> None:
    """What a disk returns that did not do a later write: good in itself, and of the past."""
    made = Made(3)
    stale, _ = encode_record(
        1, 1, 0, b"stale", durable_seq=0, offset=made.end, salt=SALT, chain_before=JOURNAL_ID
    )
    made.overwrite(made.end, stale)
    for committed_seq in (0, made.last_seq):
        items = made.parse(committed_seq)
        assert records_in(items) == made.records
        seq = made.last_seq + 1
        assert items[-1] == Damage(made.end, len(stale) - 3, seq, seq - 1, Flaw.SEQUENCE, is_last=True)


def test_forged_last_record_is_damage_and_no_torn_tail() -> None:
    """Tearing leaves no good checksum."""
    made = Made(2)
    victim = made.records[-1]
    forged, _ = encode_record(
        victim.first_seq, victim.count, 1, victim.payload,
        durable_seq=victim.durable_seq, offset=victim.offset, salt=SALT, chain_before=bytes(16),
    )  # fmt: skip
    made.overwrite(victim.offset, forged)
    items = made.parse()
    assert Damage(victim.offset, 0, victim.first_seq, victim.first_seq - 1, Flaw.CHAIN) in items
    assert items[-1] == End(made.end)


def test_records_farther_behind_than_a_commit_prove_damage() -> None:
    parts, offset, chain = [], START, JOURNAL_ID
    for seq in range(1, 20):
        data, chain = encode_record(
            seq, 1, 0, bytes(1 << 20), durable_seq=0, offset=offset, salt=SALT, chain_before=chain
        )
        parts.append(data)
        offset += len(data)
    first_bytes = len(parts[0])
    data = b"\0" + b"".join(parts)[1:]
    parser = SegmentParser(SALT, START, 1, JOURNAL_ID)
    items = parser.feed(data) + parser.finish()
    assert items[0] == Damage(START, first_bytes, 1, 1, Flaw.UNKNOWN)
    assert [record.first_seq for record in records_in(items)] == list(range(2, 20))
    parser = SegmentParser(SALT, START, 1, JOURNAL_ID)
    few = parser.feed(data[: 10 * first_bytes]) + parser.finish()
    assert [type(item) for item in few] == [TornTail]
