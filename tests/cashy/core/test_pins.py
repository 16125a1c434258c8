"""Lists of pins: as a file keeps them, put together, and held to their share of memory."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.pins import PINS_MAX, Pin, check_share, decode_pins, encode_pins, merged
from cashy.errors import TooLarge

_keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)
_pins = st.builds(
    Pin, _keys.map("s3://bucket/{}".format), st.integers(0, 1 << 63), st.booleans(), st.binary(max_size=32), st.integers(0, 1 << 40)
)  # fmt: skip


@given(pins=st.lists(_pins, max_size=20))
def test_what_was_written_is_read(pins: list[Pin]) -> None:
    assert decode_pins(encode_pins(pins)) == pins


@given(data=st.binary(max_size=200))
def test_garbage_is_refused_as_a_whole(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_pins(data)


@pytest.mark.parametrize(
    "row",
    [
        ["s3://b/k", 0, True, "00"],
        ["nonsense", 0, True, "00", 1],
        [7, 0, True, "00", 1],
        ["s3://b/k", -1, True, "00", 1],
        ["s3://b/k", True, True, "00", 1],
        ["s3://b/k", 0, 1, "00", 1],
        ["s3://b/k", 0, True, "xx", 1],
        ["s3://b/k", 0, True, "00", 1.5],
        None,
    ],
)
def test_one_wrong_row_refuses_the_list(row: object) -> None:
    good = ["s3://b/k", 0, True, "00", 1]
    assert len(decode_pins(json.dumps({"format": 1, "pins": [good]}).encode())) == 1
    with pytest.raises(ValueError, match=r"."):
        decode_pins(json.dumps({"format": 1, "pins": [good, row]}).encode())


def test_another_format_and_too_long_a_list_are_refused() -> None:
    with pytest.raises(ValueError, match="format 2"):
        decode_pins(b'{"format": 2, "pins": []}')
    pins = [Pin(f"s3://b/{number}", 0, False) for number in range(PINS_MAX + 1)]
    assert len(decode_pins(encode_pins(pins[1:]))) == PINS_MAX
    with pytest.raises(ValueError, match="at most 1,000"):
        decode_pins(encode_pins(pins))


def test_time_ends_a_pin_unless_it_has_no_end() -> None:
    assert not Pin("s3://b/k", 0, False).is_over(1 << 62)
    pin = Pin("s3://b/k", 100, False)
    assert [pin.is_over(now) for now in (99, 100, 101)] == [False, True, True]


def test_pinned_anew_it_has_the_new_time_and_is_never_less() -> None:
    whole, homes = Pin("s3://b/k", 5, False, b"id", 3), Pin("s3://b/k", 9, True)
    assert merged(None, homes) == homes
    assert merged(whole, homes) == Pin("s3://b/k", 9, False, b"id", 3)
    assert merged(homes, whole._replace(until_ns=0)) == Pin("s3://b/k", 0, False)
    assert merged(homes, homes._replace(until_ns=1)).homes_only


def test_the_share_may_be_reached_and_not_passed() -> None:
    check_share("s3://b/k", 60, 40, 100)
    with pytest.raises(TooLarge, match=r"make 101, and 100 of .*memory\.pinned_max"):
        check_share("s3://b/k", 61, 40, 100)
