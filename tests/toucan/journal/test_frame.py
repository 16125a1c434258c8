"""The bytes of segments, records, marks and snapshots, and that no single wrong bit of them passes."""

from __future__ import annotations

from hashlib import blake2b

import crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toucan.journal.core.frame import (
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Flaw,
    Record,
    SegmentHeader,
    decode_record,
    decode_segment_header,
    encode_record,
    encode_segment_header,
    flaw_in_order,
    record_bytes,
    record_bytes_at,
)
from toucan.journal.core.mark import MARK_BYTES, MARKS_BYTES, Mark, decode_marks, encode_mark
from toucan.journal.core.snapshot_frame import Snapshot, decode_snapshot, encode_snapshot
from toucan.journal.limits import RECORD_PAYLOAD_BYTES_MAX, SEGMENT_BYTES_MIN, SEQ_MAX

ID = bytes(range(16))
CHAIN = bytes(range(100, 116))
SALT = SegmentHeader(ID, 1, SEGMENT_BYTES_MIN, ID).salt

sequence_numbers = st.integers(1, SEQ_MAX - 10)
times = st.integers(-(2**63), 2**63 - 1)
sixteen = st.binary(min_size=16, max_size=16)


def little(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little", signed=True)


def test_record_lies_as_documented() -> None:
    data, chain = encode_record(
        7, 3, -5, b"payload", durable_seq=6, offset=128, salt=SALT, chain_before=CHAIN
    )
    fields = little(7, 8) + little(6, 8) + little(-5, 8) + little(3, 4) + little(7, 4) + little(128, 8)
    assert chain == blake2b(CHAIN + fields + b"payload", digest_size=16).digest()
    body = fields + chain + b"payload\0"
    crc = crc32c.crc32c(body, crc32c.crc32c(ID + little(1, 8)))
    assert data == b"TJr1" + crc.to_bytes(4, "little") + body
    assert decode_record(data, 0, 128, SALT) == Record(7, 3, -5, b"payload", chain, 6, 128)


def test_segment_header_lies_as_documented() -> None:
    data = encode_segment_header(SegmentHeader(ID, 9, 65_536, CHAIN))
    body = little(1, 4) + little(0, 4) + ID + little(9, 8) + little(65_536, 8) + CHAIN
    assert data == b"TJs1" + crc32c.crc32c(body).to_bytes(4, "little") + body
    assert decode_segment_header(data) == SegmentHeader(ID, 9, 65_536, CHAIN)


def test_mark_lies_as_documented() -> None:
    data, offset = encode_mark(Mark(3, ID, 77, CHAIN))
    body = little(3, 8) + ID + little(77, 8) + CHAIN + little(0, 8)
    assert data == b"TJw1" + crc32c.crc32c(body).to_bytes(4, "little") + body
    assert offset == MARK_BYTES


def test_snapshot_lies_as_documented() -> None:
    data = encode_snapshot(Snapshot(ID, 77, CHAIN, -9, b"state"))
    body = little(1, 4) + little(0, 4) + ID + little(77, 8) + CHAIN + little(-9, 8) + b"state"
    assert data == b"TJp1" + crc32c.crc32c(body).to_bytes(4, "little") + body


@given(sequence_numbers, st.integers(1, 10), times, st.binary(max_size=100), sixteen, st.integers(0, 99))
def test_record_comes_back(
    first_seq: int, count: int, at_ns: int, payload: bytes, chain_before: bytes, place: int
) -> None:
    offset = 8 * place
    data, chain = encode_record(
        first_seq, count, at_ns, payload,
        durable_seq=first_seq - 1, offset=offset, salt=SALT, chain_before=chain_before,
    )  # fmt: skip
    assert len(data) == record_bytes(len(payload)) == record_bytes_at(data, 0)
    assert len(data) % 8 == 0
    record = decode_record(b"junk" + data + b"junk", 4, offset, SALT)
    assert record == Record(first_seq, count, at_ns, payload, chain, first_seq - 1, offset)
    assert record.end_offset == offset + len(data)
    assert flaw_in_order(record, first_seq, chain_before) is None
    assert flaw_in_order(record, first_seq, None) is None
    assert flaw_in_order(record, first_seq + 1, chain_before) is Flaw.SEQUENCE
    assert flaw_in_order(record, first_seq, bytes(16)) is (Flaw.CHAIN if chain_before != bytes(16) else None)


@given(st.binary(max_size=60), st.data())
def test_record_with_a_wrong_bit_is_none(payload: bytes, data: st.DataObject) -> None:
    good, _ = encode_record(5, 2, 1, payload, durable_seq=4, offset=64, salt=SALT, chain_before=CHAIN)
    bit = data.draw(st.integers(0, 8 * len(good) - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    assert isinstance(
        decode_record(bytes(bad) + bytes(5_000_000 if bit // 8 in range(36, 40) else 0), 0, 64, SALT), Flaw
    )


@given(st.binary(max_size=60), st.data())
def test_record_of_another_place_is_none(payload: bytes, data: st.DataObject) -> None:
    good, _ = encode_record(5, 2, 1, payload, durable_seq=4, offset=64, salt=SALT, chain_before=CHAIN)
    assert decode_record(good, 0, 72, SALT) is Flaw.PLACE
    other = SegmentHeader(data.draw(sixteen.filter(lambda drawn: drawn != ID)), 1, SEGMENT_BYTES_MIN, ID).salt
    assert decode_record(good, 0, 64, other) is Flaw.CHECKSUM
    assert decode_record(good, 0, 64, SegmentHeader(ID, 2, SEGMENT_BYTES_MIN, ID).salt) is Flaw.CHECKSUM


def test_every_beginning_of_a_record_asks_for_more() -> None:
    good, _ = encode_record(
        5, 2, 1, bytes(range(50)), durable_seq=4, offset=64, salt=SALT, chain_before=CHAIN
    )
    for size in range(len(good)):
        assert decode_record(good[:size], 0, 64, SALT) is Flaw.SHORT
        assert size < record_bytes_at(good[:size], 0) <= len(good)


def test_payload_may_have_its_limit_and_no_more() -> None:
    payload = bytes(RECORD_PAYLOAD_BYTES_MAX)
    largest, _ = encode_record(1, 1, 0, payload, durable_seq=0, offset=64, salt=SALT, chain_before=CHAIN)
    assert isinstance(decode_record(largest, 0, 64, SALT), Record)
    larger, _ = encode_record(
        1, 1, 0, payload + b"x", durable_seq=0, offset=64, salt=SALT, chain_before=CHAIN
    )
    assert decode_record(larger, 0, 64, SALT) is Flaw.LENGTH


@pytest.mark.parametrize(
    ("first_seq", "count", "durable_seq"),
    [(0, 1, 0), (5, 0, 4), (5, 1, 5), (SEQ_MAX, 1, 0), (SEQ_MAX + 1, 1, 0)],
)
def test_numbers_that_cannot_be_are_refused(first_seq: int, count: int, durable_seq: int) -> None:
    data, _ = encode_record(
        first_seq, count, 0, b"", durable_seq=durable_seq, offset=64, salt=SALT, chain_before=CHAIN
    )
    assert decode_record(data, 0, 64, SALT) is Flaw.SEQUENCE


def test_zeros_are_told_from_what_is_unknown() -> None:
    assert decode_record(bytes(RECORD_HEADER_BYTES), 0, 64, SALT) is Flaw.EMPTY
    assert decode_record(bytes(RECORD_HEADER_BYTES - 1) + b"x", 0, 64, SALT) is Flaw.UNKNOWN
    assert decode_record(b"x" * RECORD_HEADER_BYTES, 0, 64, SALT) is Flaw.UNKNOWN


@given(sequence_numbers, sixteen, sixteen, st.integers(0, 8 * SEGMENT_HEADER_BYTES - 1))
def test_segment_header_with_a_wrong_bit_is_none(seq: int, journal_id: bytes, chain: bytes, bit: int) -> None:
    header = SegmentHeader(journal_id, seq, SEGMENT_BYTES_MIN, chain)
    data = bytearray(encode_segment_header(header))
    assert decode_segment_header(bytes(data)) == header
    assert decode_segment_header(bytes(data[:-1])) is None
    data[bit // 8] ^= 1 << bit % 8
    assert decode_segment_header(bytes(data)) is None


def test_whole_header_of_another_version_says_which() -> None:
    body = little(2, 4) + little(0, 4) + ID + little(9, 8) + little(65_536, 8) + CHAIN
    assert decode_segment_header(b"TJs1" + crc32c.crc32c(body).to_bytes(4, "little") + body) == 2
    body = little(2, 4) + little(0, 4) + ID + little(9, 8) + CHAIN + little(0, 8)
    assert decode_snapshot(b"TJp1" + crc32c.crc32c(body).to_bytes(4, "little") + body) == 2


@pytest.mark.parametrize(
    ("seq", "size"), [(0, 65_536), (SEQ_MAX + 1, 65_536), (1, SEGMENT_BYTES_MIN - 1), (1, 1 << 31)]
)
def test_header_that_cannot_be_is_none(seq: int, size: int) -> None:
    assert decode_segment_header(encode_segment_header(SegmentHeader(ID, seq, size, CHAIN))) is None


@given(st.integers(1, 1000), st.integers(0, 8 * MARKS_BYTES - 1))
def test_destroyed_mark_leaves_the_other_one(turn: int, bit: int) -> None:
    older, newer = Mark(turn, ID, 10, CHAIN), Mark(turn + 1, ID, 20, ID)
    slots = bytearray(MARKS_BYTES)
    for mark in (older, newer):
        data, offset = encode_mark(mark)
        slots[offset : offset + MARK_BYTES] = data
    assert decode_marks(bytes(slots)) == newer
    slots[bit // 8] ^= 1 << bit % 8
    is_newer_hit = bit // 8 // MARK_BYTES == newer.turn % 2
    assert decode_marks(bytes(slots)) == (older if is_newer_hit else newer)
    assert decode_marks(bytes(MARKS_BYTES)) is None
    assert decode_marks(b"") is None


@given(sequence_numbers, times, st.binary(max_size=80), st.data())
def test_snapshot_comes_back_unless_a_bit_is_wrong(
    seq: int, at_ns: int, payload: bytes, data: st.DataObject
) -> None:
    snapshot = Snapshot(ID, seq, CHAIN, at_ns, payload)
    good = encode_snapshot(snapshot)
    assert decode_snapshot(good) == snapshot
    assert decode_snapshot(good[: data.draw(st.integers(0, len(good) - 1))]) is None
    bit = data.draw(st.integers(0, 8 * len(good) - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    assert decode_snapshot(bytes(bad)) is None
