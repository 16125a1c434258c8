"""What was recorded is read again, whatever was cut off or damaged; and how fast it is played."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toucan.core.values import Side
from toucan.core.venue_messages import Book, Level, Quote
from toucan.market.core.messages import FeedBeat, FeedWelcome, LineKind, TapeLine
from toucan.market.core.pace import Pace
from toucan.market.core.recording import (
    HEAD_BYTES,
    Ending,
    Kind,
    NotARecording,
    Record,
    RecordReader,
    encode_head,
    encode_record,
)
from toucan.market.recording_files import UnusableRecording, next_segment, read_recording, recording_files

from .feed import INSTRUMENTS

_NUMBERS = st.integers(0, 2**53 - 1)
_SYMBOLS = st.sampled_from(("AAPL", "MSFT"))
_LEVELS = st.lists(st.builds(Level, _NUMBERS, _NUMBERS, st.integers(0, 99)), max_size=5).map(tuple)
_MESSAGES = st.one_of(
    st.builds(FeedWelcome, st.text(max_size=5), st.just(INSTRUMENTS)),
    st.builds(Quote, _SYMBOLS, _NUMBERS, st.none() | _NUMBERS, _NUMBERS, is_halted=st.booleans()),
    st.builds(Book, _SYMBOLS, _NUMBERS, _LEVELS, _LEVELS),
    st.builds(
        TapeLine, _SYMBOLS, _NUMBERS, st.sampled_from(LineKind), _NUMBERS, _NUMBERS, _NUMBERS,
        st.integers(0, 2**63 - 1), st.none() | st.sampled_from(Side), _NUMBERS,
    ),
    st.builds(FeedBeat, _NUMBERS, st.booleans()),
)  # fmt: skip
_RECORDS = st.lists(st.builds(Record, st.integers(0, 2**62), st.sampled_from(Kind), _MESSAGES), max_size=12)


def _file_of(records: list[Record]) -> bytes:
    return encode_head() + b"".join(map(encode_record, records))


def _read(data: bytes) -> tuple[list[Record], Ending]:
    reader = RecordReader(io.BytesIO(data))
    records = [*reader.records()]
    assert reader.ending is not None
    return records, reader.ending


@given(_RECORDS)
def test_what_was_written_is_read(records: list[Record]) -> None:
    data = _file_of(records)
    assert _read(data) == (records, Ending(len(data)))


@given(_RECORDS, st.data())
def test_a_cut_file_is_read_up_to_the_cut_and_says_so(records: list[Record], data: st.DataObject) -> None:
    whole = _file_of(records)
    cut = data.draw(st.integers(0, len(whole)))
    zeros = data.draw(st.sampled_from((0, 0, 5, 100)))
    found, ending = _read(whole[:cut] + bytes(zeros) if cut >= HEAD_BYTES else whole[:cut])
    assert found == records[: len(found)]
    sizes = [HEAD_BYTES]
    for record in records:
        sizes.append(sizes[-1] + len(encode_record(record)))
    expected = max((size for size in sizes if size <= cut), default=0)
    assert ending.read_bytes == expected
    assert found == records[: max(0, sizes.index(expected))] if expected else found == []
    assert ending.is_whole is (cut == expected and not (zeros and cut >= HEAD_BYTES))
    if not zeros:
        assert not ending.is_damage


@given(_RECORDS.filter(bool), st.data())
def test_a_flipped_bit_is_never_taken_for_data(records: list[Record], data: st.DataObject) -> None:
    whole = bytearray(_file_of(records))
    place = data.draw(st.integers(HEAD_BYTES, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    found, ending = _read(bytes(whole))
    assert found == records[: len(found)]
    assert len(found) < len(records)
    assert not ending.is_whole
    assert ending.read_bytes <= place


def test_damage_in_the_middle_is_told_from_a_cut() -> None:
    records = [Record(at, Kind.NEWS, FeedBeat(at)) for at in range(100)]
    whole = bytearray(_file_of(records))
    whole[HEAD_BYTES + len(encode_record(records[0])) + 20] ^= 1
    found, ending = _read(bytes(whole))
    assert (found, ending.is_damage) == (records[:1], True)


@pytest.mark.parametrize(
    "data", [b"id,price\n1,2\n", bytes(64), b"TJmarket" + bytes(60), encode_head()[:9] + b"x" * 20]
)
def test_another_file_is_no_recording(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(NotARecording):
        _read(data)
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(UnusableRecording, match="file"):
        list(read_recording(tmp_path / "file", lambda file, ending: None))


def test_files_are_read_in_order_and_a_cut_one_does_not_end_it(tmp_path: Path) -> None:
    path = tmp_path / "rec"
    records = [Record(at, Kind.NEWS, FeedBeat(at)) for at in range(6)]
    for number in range(2):
        (tmp_path / f"rec.00000{number + 1}").write_bytes(_file_of(records[2 * number : 2 * number + 2])[:-1])
    path.write_bytes(_file_of(records[4:]))
    (tmp_path / "rec.1").write_bytes(b"not of it")
    (tmp_path / "rec.000001.gz").write_bytes(b"not of it")
    assert [one.name for one in recording_files(path)] == ["rec.000001", "rec.000002", "rec"]
    assert next_segment(path).name == "rec.000003"
    told: list[str] = []
    found = [*read_recording(path, lambda file, ending: told.append(f"{file.name} {ending.is_damage}"))]
    assert [record.at_ns for record in found] == [0, 2, 4, 5]
    assert told == ["rec.000001 False", "rec.000002 False"]
    with pytest.raises(UnusableRecording, match="toucan record"):
        recording_files(tmp_path / "none")


# ---------------------------------------------------------------- pace


@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=20),
    st.floats(0.01, 1000),
    st.integers(0, 10**15),
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_records_are_due_at_the_recorded_distance_times_the_speed(
    steps: list[int], speed: float, begin_ns: int
) -> None:
    pace, at_ns, now_ns = Pace(speed), begin_ns, 7
    first_ns = at_ns
    for step in steps:
        due = pace.due_ns(at_ns, now_ns)
        assert due is not None
        assert abs((due - 7) - (at_ns - first_ns) / speed) <= 1 + (at_ns - first_ns) * 1e-9
        now_ns = max(now_ns, due)
        pace.played()
        at_ns += step


def test_a_held_replay_goes_by_steps_and_goes_on_from_where_it_is() -> None:
    pace = Pace(1.0, is_held=True)
    assert pace.due_ns(100, 5) is None
    pace.step(2)
    for at_ns in (100, 10**12):
        assert pace.due_ns(at_ns, 5) == 5
        pace.played()
    assert pace.due_ns(2 * 10**12, 5) is None
    pace.go_on()
    assert pace.due_ns(2 * 10**12, 1000) == 1000, "the pause is not made up for"
    assert pace.due_ns(2 * 10**12 + 50, 1001) == 1050
    pace.hold()
    assert pace.due_ns(2 * 10**12 + 50, 1001) is None


def test_a_replay_that_begins_anew_takes_as_long_again() -> None:
    pace = Pace(2.0)
    assert [pace.due_ns(at_ns, 100) for at_ns in (5000, 7000)] == [100, 1100]
    pace.begin_anew()
    assert [pace.due_ns(at_ns, 1200) for at_ns in (5000, 7000)] == [1200, 2200]


def test_a_recorded_clock_that_went_back_delays_nothing() -> None:
    pace = Pace(1.0)
    assert pace.due_ns(10**12, 100) == 100
    assert pace.due_ns(5, 300) == 100


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
def test_a_speed_is_more_than_nothing(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Pace(speed)
