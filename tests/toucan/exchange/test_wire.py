"""Frames: any cut gives the same messages, whatever else comes is refused, and nothing large is kept."""

from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toucan.core.values import ExecType, OrderType, OrdStatus, Side, TimeInForce
from toucan.core.venue_messages import (
    Book,
    CancelOrder,
    FromVenue,
    Level,
    MassStatusRequest,
    NewOrder,
    Quote,
    ReplaceOrder,
    Report,
    Resume,
    ResumeEnd,
    StatusRequest,
    ToVenue,
    Welcome,
)
from toucan.exchange.core.wire import FRAME_BYTES_MAX, WireError, encode_all, firm_reader, venue_reader

RELAXED = settings(deadline=None)

TO_VENUE: list[ToVenue] = [
    Resume("firm", "life", 7),
    NewOrder("x", "a", "ABC", Side.BUY, OrderType.LIMIT, TimeInForce.GTD, 10, 50, expire_at_ns=2**62),
    CancelOrder("c", "x", "ABC", Side.SELL),
    ReplaceOrder("r", "x", "ABC", Side.BUY, OrderType.STOP_LIMIT, 2**53 - 1, 50, 49),
    StatusRequest("x"),
    MassStatusRequest("ü"),
]
FROM_VENUE: list[FromVenue] = [
    Welcome("life", 0),
    Report(
        ExecType.TRADE, "x", 1, last_quantity=5, last_price=0, ord_status=OrdStatus.FILLED, cum_quantity=0
    ),
    ResumeEnd(),
    ResumeEnd("q"),
    Quote("ABC", 1, bid_price=0, is_halted=True),
    Book("ABC", 1, bids=(Level(50, 1), Level(49, 2))),
]


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(st.lists(st.integers(0, 10_000), max_size=20))
@RELAXED
def test_any_cut_gives_the_same_messages(cuts: list[int]) -> None:
    firm, venue = firm_reader(), venue_reader()
    assert [m for piece in _cut(encode_all(TO_VENUE), cuts) for m in firm.feed(piece)] == TO_VENUE
    assert [m for piece in _cut(encode_all(FROM_VENUE), cuts) for m in venue.feed(piece)] == FROM_VENUE


def _read_until_refused(pieces: list[bytes]) -> list[ToVenue]:
    """Nothing else than WireError may come of wrong bytes."""
    reader = firm_reader()
    messages = []
    try:
        for piece in pieces:
            messages += [*reader.feed(piece)]
    except WireError:
        pass
    return messages


@given(st.binary(max_size=400), st.lists(st.integers(0, 10_000), max_size=5))
@RELAXED
def test_garbage_is_refused_or_waits_for_more(data: bytes, cuts: list[int]) -> None:
    for message in _read_until_refused(_cut(data, cuts)):
        assert encode_all([message])


@given(st.integers(0, 5), st.integers(0, 10_000), st.integers(1, 255))
@RELAXED
def test_a_damaged_frame_gives_a_message_of_the_protocol_or_an_error(
    which: int, place: int, change: int
) -> None:
    frame = bytearray(encode_all([TO_VENUE[which]]))
    frame[place % len(frame)] ^= change
    for message in _read_until_refused([bytes(frame)]):
        assert isinstance(message, tuple(type(known) for known in TO_VENUE))


def test_what_comes_before_a_wrong_frame_is_still_given() -> None:
    reader = firm_reader()
    messages = reader.feed(encode_all(TO_VENUE) + struct.pack(">I", 0))
    assert [next(messages) for _ in TO_VENUE] == TO_VENUE
    with pytest.raises(WireError):
        next(messages)


@pytest.mark.parametrize("length", [0, FRAME_BYTES_MAX + 1, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_before_anything_is_kept(length: int) -> None:
    with pytest.raises(WireError, match="it may have"):
        list(firm_reader().feed(struct.pack(">I", length)))


def test_a_frame_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    overhead = len(encode_all([StatusRequest("x" * 70_000)])) - 70_000 - 4
    largest = StatusRequest("x" * (FRAME_BYTES_MAX - overhead))
    assert list(firm_reader().feed(encode_all([largest]))) == [largest]
    with pytest.raises(WireError, match="holds"):
        encode_all([StatusRequest(largest.cl_ord_id + "x")])


@pytest.mark.parametrize(
    "payload",
    [
        msgspec.msgpack.encode({"message": "NewOrder"}),
        msgspec.msgpack.encode({"message": "Nonsense"}),
        msgspec.msgpack.encode({"message": "StatusRequest", "cl_ord_id": 5}),
        msgspec.msgpack.encode(["StatusRequest", "x"]),
        msgspec.msgpack.encode({"message": "CancelOrder", "cl_ord_id": "c", "orig_cl_ord_id": "x", "symbol": "s", "side": 9}),
        msgspec.msgpack.encode({"message": "Resume", "firm": "f", "life": "l", "venue_seq": 1.5}),
        b"\x81\xa7message\xad" + b"StatusRequest",
        b"\x82\xa7message\xadStatusRequest\xa9cl_ord_id\xa1\xff",
        b"\x91" * 5000,
        b"\xc1",
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(payload: bytes) -> None:
    with pytest.raises(WireError, match="no message"):
        list(firm_reader().feed(struct.pack(">I", len(payload)) + payload))


def test_fields_that_are_not_known_yet_are_ignored() -> None:
    payload = msgspec.msgpack.encode({"message": "StatusRequest", "cl_ord_id": "x", "colour": "blue"})
    assert list(firm_reader().feed(struct.pack(">I", len(payload)) + payload)) == [StatusRequest("x")]


def test_a_frame_that_comes_byte_by_byte_costs_no_more_than_its_bytes() -> None:
    reader = firm_reader()
    data = encode_all([StatusRequest("x" * 20_000)])
    messages = [message for at in range(len(data)) for message in reader.feed(data[at : at + 1])]
    assert messages == [StatusRequest("x" * 20_000)]
