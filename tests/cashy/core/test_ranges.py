"""Range headers: S3's answers by example, and the arithmetic by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.ranges import (
    RANGE_HEADER_CHARACTERS_MAX,
    ByteRange,
    InvalidRange,
    parse_range,
    unsatisfied_content_range,
)

SIZE = 1000


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-499", 0, 500),
        ("bytes=0-0", 0, 1),
        ("bytes=999-999", 999, 1000),
        ("bytes=500-", 500, 1000),
        ("bytes=0-", 0, 1000),
        ("bytes=0-999", 0, 1000),
        ("bytes=0-1000", 0, 1000),
        ("bytes=900-99999999999999999999999999", 900, 1000),
        ("bytes=-1", 999, 1000),
        ("bytes=-1000", 0, 1000),
        ("bytes=-1001", 0, 1000),
        ("bytes=-99999999999999999999999999", 0, 1000),
        ("bytes=007-09", 7, 10),
        ("Bytes=1-2", 1, 3),
        ("bytes= 1-2 ", 1, 3),
        ("bytes=,1-2,", 1, 3),
    ],
)
def test_single_ranges_are_served_and_clipped(header: str, start: int, stop: int) -> None:
    found = parse_range(header, SIZE)
    assert found == ByteRange(start, stop, SIZE)
    assert found.length == stop - start


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=,",
        "bytes=abc",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1_0-20",
        "bytes=0x1-0x2",
        "bytes=\u0661-\u0662",
        "bytes=1 - 2",
        "bytes =1-2",
        "bytes:1-2",
        "items=1-2",
        "1-2",
        "bytes=5-2",
        "bytes=5000-2",
        "bytes=0-0,2-2",
        "bytes=0-0,5000-",
        "bytes=-1,-2",
        "bytes=1-2\n",
        "bytes=1-2;",
        "bytes=" + "9" * 5000 + "-",
        "bytes=" + "," * 100_000 + "-1",
    ],
)
@pytest.mark.parametrize("size", [0, SIZE])
def test_what_is_malformed_or_multiple_is_ignored(header: str | None, size: int) -> None:
    assert parse_range(header, size) is None


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=1000-", SIZE),
        ("bytes=1000-1000", SIZE),
        ("bytes=99999999999999999999999999-", SIZE),
        ("bytes=-0", SIZE),
        ("bytes=-0", 0),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
        ("bytes=-1", 0),
    ],
)
def test_what_no_byte_satisfies_is_refused_with_the_size(header: str, size: int) -> None:
    with pytest.raises(InvalidRange, match=f"{size} bytes") as caught:
        parse_range(header, size)
    assert unsatisfied_content_range(caught.value.size_bytes) == f"bytes */{size}"


def test_a_header_at_the_limit_of_its_length_is_read_and_one_above_ignored() -> None:
    zeros = "0" * (RANGE_HEADER_CHARACTERS_MAX - len("bytes=1-"))
    assert parse_range(f"bytes={zeros}1-", SIZE) == ByteRange(1, SIZE, SIZE)
    assert parse_range(f"bytes={zeros}01-", SIZE) is None


def test_content_range_is_inclusive() -> None:
    assert ByteRange(0, 1, SIZE).content_range == "bytes 0-0/1000"
    assert ByteRange(10, 1000, SIZE).content_range == "bytes 10-999/1000"


POSITIONS = st.integers(0, 30) | st.integers(0, 2**70)


@given(first=st.none() | POSITIONS, last=st.none() | POSITIONS, size=st.integers(0, 25))
def test_the_bytes_are_those_that_a_slice_gives(first: int | None, last: int | None, size: int) -> None:
    body = bytes(range(size))
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    from_start = body[first : None if last is None else last + 1]
    expected = body[max(0, size - (last or 0)) :] if first is None else from_start
    ignored = (first is None and last is None) or (first is not None and last is not None and last < first)
    try:
        found = parse_range(header, size)
    except InvalidRange:
        assert not ignored
        assert not expected
        return
    if ignored:
        assert found is None
    else:
        assert found is not None
        assert body[found.start : found.stop] == expected != b""
        assert 0 <= found.start < found.stop <= size == found.size_bytes


@given(st.text(max_size=30), st.integers(0, 10))
def test_no_header_does_more_than_be_ignored_served_or_refused(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        try:
            found = parse_range(header, size)
        except InvalidRange:
            continue
        assert found is None or 0 <= found.start < found.stop <= size
