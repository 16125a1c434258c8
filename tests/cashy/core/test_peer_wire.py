"""The peer protocol's two streams: any cut gives the same events; whatever else is done to them is refused, or harmless."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cashy.core.peer_frames import (
    DATA_BYTES_MAX,
    HEADER_BYTES,
    NEXT_STATE,
    PAYLOAD_BYTES_MAX,
    PIECE_BYTES,
    WITH_REQUEST_ID,
    Kind,
    PeerProtocolError,
    State,
    checksum,
    pack_header,
    unpack_header,
)
from cashy.core.peer_wire import Frame, FrameReader, FrameWriter, Incoming

#: What BLOCK's payload means is not the wire's business; here it is a length.
LENGTH = struct.Struct("<Q")

#: How long an example takes says nothing here.
RELAXED = settings(deadline=None)
RELAXED_300 = settings(deadline=None, max_examples=300)

#: An observed event: (kind, request id, payload or bytes received).
Seen = tuple[Kind, int, bytes | int]


@dataclass
class Asking:
    """An asking side that takes what comes, as a pump would, and keeps what it saw."""

    reader: FrameReader
    wanted: dict[int, Incoming] = field(default_factory=dict)
    memory: dict[int, bytearray] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    watermark: dict[int, int] = field(default_factory=dict)
    corrupt: list[int] = field(default_factory=list)
    stops_at_corrupt: bool = True

    def feed(self, data: bytes) -> None:
        """As much at a time as the reader has room for."""
        rest = memoryview(data)
        while rest:
            count = 0
            for buffer in self.reader.buffers():
                assert len(buffer)
                take = min(len(buffer), len(rest) - count)
                buffer[:take] = rest[count : count + take]
                count += take
            self.reader.received(count)
            rest = rest[count:]
            self._take_events()

    def _take_events(self) -> None:
        while (event := self.reader.next_event()) is not None:
            if isinstance(event, Frame):
                self.seen.append((event.kind, event.request_id, event.payload))
                if event.kind is Kind.BLOCK:
                    self._begin(event)
            elif event.is_corrupt:
                self.corrupt.append(event.request_id)
                if self.stops_at_corrupt:
                    raise PeerProtocolError("a payload is corrupt")
            else:
                self.seen.append((Kind.DATA, event.request_id, event.received))
                self.watermark[event.request_id] = event.received

    def _begin(self, frame: Frame) -> None:
        assert frame.incoming is not None
        (length,) = LENGTH.unpack(frame.payload)
        self.memory[frame.request_id] = bytearray(length)
        self.reader.begin(frame.incoming, length, memoryview(self.memory[frame.request_id]))

    def verified(self, request_id: int) -> bytes:
        """What a user of the read may have looked at."""
        return bytes(self.memory[request_id][: self.watermark.get(request_id, 0)])


def asking(requests: dict[int, Kind], lookahead: int = HEADER_BYTES) -> Asking:
    side = Asking(FrameReader(State.ASKING, lookahead))
    for request_id, kind in requests.items():
        side.wanted[request_id] = side.reader.expect(request_id, kind)
    return side


def content(request_id: int, length: int) -> bytes:
    return bytes((request_id * 31 + index * 7) & 0xFF for index in range(length))


@dataclass(frozen=True)
class Talk:
    """What an answering side says: frames, and what a receiver must have in the end."""

    requests: dict[int, Kind]
    frames: tuple[bytes, ...]
    data: dict[int, bytes]

    @property
    def stream(self) -> bytes:
        return b"".join(self.frames)


@st.composite
def talks(draw: st.DrawFn) -> Talk:
    """Several requests, answered frame by frame in a drawn order, with PONGs between."""
    kinds = draw(
        st.lists(st.sampled_from([Kind.READ, Kind.READ, Kind.HEAD, Kind.STATUS]), min_size=1, max_size=4)
    )
    requests = dict(enumerate(kinds, start=1))
    data = {
        key: content(key, draw(st.integers(0, 90))) for key, kind in requests.items() if kind is Kind.READ
    }
    steps = {key: _steps(draw, key, kind, data.get(key, b"")) for key, kind in requests.items()}
    writer, frames = FrameWriter(), []
    while steps:
        key = draw(st.sampled_from(sorted(steps)))
        frames.append(_frame(writer, next(steps[key])))
        if draw(st.integers(0, 5)) == 0:
            frames.append(writer.control(Kind.PONG))
        steps[key], rest = _peeked(steps[key])
        if not rest:
            del steps[key]
    return Talk(requests, tuple(frames), data)


Step = tuple[Kind, int, bytes, int, int]


def _steps(draw: st.DrawFn, key: int, kind: Kind, data: bytes) -> Iterator[Step]:
    if kind is Kind.HEAD:
        return iter([(Kind.META, key, draw(st.binary(max_size=50)), 0, 0)])
    if kind is Kind.STATUS:
        return iter([(draw(st.sampled_from([Kind.STATUS_REPORT, Kind.ERROR])), key, b"report", 0, 0)])
    steps: list[Step] = [(Kind.BLOCK, key, LENGTH.pack(len(data)), 0, 0)]
    start = 0
    while start < len(data):
        end = start + draw(st.integers(1, len(data) - start))
        steps.append((Kind.DATA, key, data[start:end], start, checksum(data[:end])))
        start = end
    return iter(steps)


def _peeked(steps: Iterator[Step]) -> tuple[Iterator[Step], bool]:
    rest = list(steps)
    return iter(rest), bool(rest)


def _frame(writer: FrameWriter, step: Step) -> bytes:
    kind, key, payload, offset, crc = step
    if kind is Kind.DATA:
        return writer.data_header(key, offset, len(payload), crc) + payload
    return writer.control(kind, key, payload)


def taken(
    talk: Talk, stream: bytes, lookahead: int = HEADER_BYTES
) -> tuple[Asking, PeerProtocolError | None]:
    side = asking(talk.requests, lookahead)
    try:
        side.feed(stream)
    except PeerProtocolError as error:
        return side, error
    return side, None


def assert_only_right_bytes(talk: Talk, side: Asking, right: list[Seen]) -> None:
    """Whatever was done to the stream: what was seen is a beginning of what was said, and not one wrong byte counts."""
    assert side.seen == right[: len(side.seen)]
    for key in side.memory:
        assert talk.data[key].startswith(side.verified(key))


# ------------------------------------------------------------ the stream, as it should be


@RELAXED
@given(
    talks(),
    st.lists(st.integers(1, 120), min_size=1, max_size=12),
    st.sampled_from([HEADER_BYTES, 33, 100, 1000]),
)
def test_any_cut_of_the_stream_gives_the_same_events(talk: Talk, cuts: list[int], lookahead: int) -> None:
    whole, error = taken(talk, talk.stream)
    assert error is None
    side = asking(talk.requests, lookahead)
    rest = talk.stream
    for count in cycle(cuts):
        side.feed(rest[:count])
        rest = rest[count:]
        if not rest:
            break
    assert side.seen == whole.seen
    assert {key: bytes(memory) for key, memory in side.memory.items()} == talk.data
    assert all(incoming.is_over for incoming in side.wanted.values())
    assert side.reader.requests_under_way == 0
    for key, expected in talk.data.items():
        assert side.wanted[key].crc == checksum(expected)


@RELAXED
@given(talks(), st.data())
def test_truncated_stream_gives_a_beginning_and_no_error(talk: Talk, data: st.DataObject) -> None:
    right = taken(talk, talk.stream)[0].seen
    side, error = taken(talk, talk.stream[: data.draw(st.integers(0, len(talk.stream) - 1))])
    assert error is None
    assert_only_right_bytes(talk, side, right)


# ------------------------------------------------------------ damage


@RELAXED_300
@given(talks(), st.data(), st.sampled_from([HEADER_BYTES, 300]))
def test_any_flipped_bit_is_noticed(talk: Talk, data: st.DataObject, lookahead: int) -> None:
    right = taken(talk, talk.stream)[0].seen
    damaged = bytearray(talk.stream)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    side, error = taken(talk, bytes(damaged), lookahead)
    assert error is not None
    assert_only_right_bytes(talk, side, right)


@RELAXED
@given(talks(), st.data(), st.sampled_from(["swap", "drop", "repeat", "move"]))
def test_frames_out_of_order_are_refused(talk: Talk, data: st.DataObject, how: str) -> None:
    right = taken(talk, talk.stream)[0].seen
    frames = list(talk.frames)
    place = data.draw(st.integers(0, len(frames) - 1))
    if how == "drop":
        del frames[place]
        if place == len(frames):
            return  # the last one did not come (yet): that is truncation
    elif how == "repeat":
        frames.insert(place, frames[place])
    elif len(frames) > 1:
        other = data.draw(st.integers(0, len(frames) - 1).filter(lambda index: index != place))
        frames.insert(other, frames.pop(place)) if how == "move" else _swap(frames, place, other)
    else:
        return
    side, error = taken(talk, b"".join(frames))
    assert error is not None
    assert_only_right_bytes(talk, side, right)


def _swap(frames: list[bytes], first: int, second: int) -> None:
    frames[first], frames[second] = frames[second], frames[first]


@RELAXED
@given(st.binary(min_size=HEADER_BYTES, max_size=400), st.sampled_from(list(State)))
def test_noise_is_refused_at_its_first_header(noise: bytes, state: State) -> None:
    reader = FrameReader(state, 512)
    reader.buffers()[0][: len(noise)] = noise
    reader.received(len(noise))
    with pytest.raises(PeerProtocolError):
        reader.next_event()


# ------------------------------------------------------------ single violations

READ_1 = {1: Kind.READ}


def block(writer: FrameWriter, length: int, key: int = 1) -> bytes:
    return writer.control(Kind.BLOCK, key, LENGTH.pack(length))


def data_frame(writer: FrameWriter, offset: int, payload: bytes, whole: bytes, key: int = 1) -> bytes:
    return writer.data_header(key, offset, len(payload), checksum(whole)) + payload


def refused(requests: dict[int, Kind], stream: bytes, pattern: str) -> Asking:
    side = asking(requests)
    with pytest.raises(PeerProtocolError, match=pattern):
        side.feed(stream)
    return side


def test_data_must_be_where_the_read_stands() -> None:
    for offset, payload in ((2, b"cd"), (0, b""), (0, b"abcdefghi"), (2**32 - 2, b"ab")):
        writer = FrameWriter()
        stream = block(writer, 8) + data_frame(writer, offset, payload, payload)
        refused(READ_1, stream, r"DATA \[.*stands at 0 of 8")


def test_data_needs_its_block_and_its_request() -> None:
    refused(READ_1, data_frame(FrameWriter(), 0, b"ab", b"ab"), "DATA before BLOCK")
    refused(READ_1, data_frame(FrameWriter(), 0, b"ab", b"ab", key=2), "request 2, which is not under way")
    refused({1: Kind.HEAD}, data_frame(FrameWriter(), 0, b"ab", b"ab"), "DATA before BLOCK")
    writer = FrameWriter()
    refused(READ_1, block(writer, 8) + block(writer, 8), "a second BLOCK")
    writer = FrameWriter()
    stream = block(writer, 2) + data_frame(writer, 0, b"ab", b"ab") + data_frame(writer, 2, b"c", b"abc")
    refused(READ_1, stream, "not under way")


@pytest.mark.parametrize("lookahead", [HEADER_BYTES, 1000])
def test_corrupt_payload_costs_only_its_read(lookahead: int) -> None:
    """Data of another read, say: the frame is right by itself, and at its place; only the running checksum knows that it belongs elsewhere."""
    writer = FrameWriter()
    side = asking({1: Kind.READ, 2: Kind.READ}, lookahead)
    side.stops_at_corrupt = False
    side.feed(block(writer, 6) + block(writer, 2, key=2) + data_frame(writer, 0, b"ab", b"ab"))
    side.feed(data_frame(writer, 2, b"zz", b"yyzz"))
    assert side.corrupt == [1]
    assert side.verified(1) == b"ab"
    side.memory[1][:] = b"------"
    side.feed(data_frame(writer, 4, b"ef", b"abcdef") + data_frame(writer, 0, b"gh", b"gh", key=2))
    assert side.memory[1] == b"------"  # nothing more is written there
    assert side.verified(2) == b"gh"
    assert side.corrupt == [1]
    assert side.reader.requests_under_way == 0
    last = asking(READ_1)
    last.stops_at_corrupt = False
    writer = FrameWriter()
    last.feed(block(writer, 2) + data_frame(writer, 0, b"zz", b"ab"))
    assert (last.corrupt, last.reader.requests_under_way) == ([1], 0)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (Kind.READ, Kind.META),
        (Kind.READ, Kind.STATUS_REPORT),
        (Kind.HEAD, Kind.BLOCK),
        (Kind.STATUS, Kind.META),
    ],
)
def test_answer_must_fit_the_request(asked: Kind, answer: Kind) -> None:
    refused({1: asked}, FrameWriter().control(answer, 1), f"{answer.name} as the answer to {asked.name} 1")


@pytest.mark.parametrize("kind", list(Kind))
def test_payload_limit_of_each_kind(kind: Kind) -> None:
    request_id = 1 if kind in WITH_REQUEST_ID else 0
    limit = PAYLOAD_BYTES_MAX[kind]
    assert unpack_header(pack_header(kind, 0, request_id, limit, 0, 0))[3] == limit
    with pytest.raises(PeerProtocolError, match=f"at most {limit} are allowed"):
        unpack_header(pack_header(kind, 0, request_id, limit + 1, 0, 0))


def test_oversize_length_is_refused_before_anything_is_allocated() -> None:
    reader = FrameReader(State.AWAIT_HELLO)
    reader.buffers()[0][:] = pack_header(Kind.HELLO, 0, 0, 2**32 - 1, 0, 0)
    reader.received(HEADER_BYTES)
    with pytest.raises(PeerProtocolError):
        reader.next_event()
    assert sum(map(len, reader.buffers())) <= HEADER_BYTES


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("kind", list(Kind))
def test_every_pair_of_state_and_kind_is_as_the_table_says(state: State, kind: Kind) -> None:
    reader = FrameReader(state)
    request_id = 7 if kind in WITH_REQUEST_ID else 0
    asked = {
        Kind.META: Kind.HEAD,
        Kind.STATUS_REPORT: Kind.STATUS,
        Kind.NOTED: Kind.CHANGED,
        Kind.LEASED: Kind.LEASE,
        Kind.OPERATED: Kind.OPERATE,
    }.get(kind, Kind.READ)
    if state is State.ASKING:
        incoming = reader.expect(7, asked)
        if kind is Kind.DATA:
            reader.begin(incoming, 1, memoryview(bytearray(1)))
    frame = FrameWriter().control(kind, request_id, b"x" if kind is Kind.DATA else b"")
    side = Asking(reader)
    following = NEXT_STATE[state].get(kind)
    if following is None:
        with pytest.raises(PeerProtocolError, match="has no place in state"):
            side.feed(frame)
        return
    rest = memoryview(frame)
    for buffer in (b for _ in range(2) for b in reader.buffers()[:1]):
        count = min(len(buffer), len(rest))
        buffer[:count] = rest[:count]
        reader.received(count)
        rest = rest[count:]
        event = reader.next_event()
        if not rest:
            break
    assert event is not None
    assert reader.state is following


@pytest.mark.parametrize(
    ("header", "pattern"),
    [
        (pack_header(Kind.READ, 0, 0, 0, 0, 0), "READ with request id 0"),
        (pack_header(Kind.PING, 0, 3, 0, 0, 0), "PING with request id 3"),
        (pack_header(Kind.READ, 0, 1, 0, 9, 0), "READ with offset 9"),
        (b"GET / HTTP/1.1\r\nHost: nowhere\r\n\r\n"[:32], "no frame of the peer protocol"),
    ],
)
def test_headers_no_sender_writes(header: bytes, pattern: str) -> None:
    with pytest.raises(PeerProtocolError, match=pattern):
        unpack_header(header)


def test_unknown_kinds_and_flags_are_refused() -> None:
    for position, value in ((4, 99), (5, 1)):
        raw = bytearray(pack_header(Kind.PING, 0, 0, 0, 0, 0))
        raw[position] = value
        raw[28:] = struct.pack("<I", checksum(raw[:28]))
        with pytest.raises(PeerProtocolError, match="unknown kind"):
            unpack_header(bytes(raw))


def test_sequence_numbers_wrap() -> None:
    writer, reader = FrameWriter(), FrameReader(State.SERVING, 32 * 1024)
    side = Asking(reader)
    for _ in range(70):
        side.feed(b"".join(writer.control(Kind.PING) for _ in range(1000)))
    assert len(side.seen) == 70_000


# ------------------------------------------------------------ giving up


@pytest.mark.parametrize("received", [0, 1, 31, 40, 60])
def test_given_up_read_is_written_no_more_and_ends(received: int) -> None:
    """At any point of a DATA frame: what was there stays, nothing more comes, the stream goes on."""
    writer = FrameWriter()
    side = asking({1: Kind.READ, 2: Kind.HEAD})
    side.feed(block(writer, 60))
    stream = data_frame(writer, 0, b"a" * 40, b"a" * 40) + data_frame(
        writer, 40, b"b" * 20, b"a" * 40 + b"b" * 20
    )
    side.feed(stream[:received])
    before = bytes(side.memory[1])
    side.reader.discard(side.wanted[1])
    side.feed(stream[received:])
    assert bytes(side.memory[1]) == before
    assert side.wanted[1].is_over
    side.feed(writer.control(Kind.META, 2, b"meta"))
    assert side.seen[-1] == (Kind.META, 2, b"meta")
    assert side.reader.requests_under_way == 0


def test_given_up_before_its_block_or_ended_by_an_error() -> None:
    writer = FrameWriter()
    side = asking({1: Kind.READ, 2: Kind.READ})
    side.reader.discard(side.wanted[1])
    side.reader.discard(side.wanted[2])
    side.feed(
        block(writer, 3) + data_frame(writer, 0, b"abc", b"abc") + writer.control(Kind.ERROR, 2, b"cancelled")
    )
    assert side.memory[1] == bytearray(3)
    assert side.reader.requests_under_way == 0


def test_a_block_begins_nowhere() -> None:
    """``begin`` without a buffer: the answer was not wanted after all."""
    writer, reader = FrameWriter(), FrameReader(State.ASKING, 500)
    incoming = reader.expect(1, Kind.READ)
    stream = block(writer, 6) + data_frame(writer, 0, b"abcdef", b"abcdef")
    reader.buffers()[0][: len(stream)] = stream
    reader.received(len(stream))
    assert reader.next_event() is not None
    reader.begin(incoming, 6, None)
    assert reader.next_event() is None
    assert incoming.is_over


def test_wrong_buffer_is_our_own_bug() -> None:
    reader = FrameReader(State.ASKING)
    with pytest.raises(ValueError, match="a buffer of 3 bytes for an answer of 4"):
        reader.begin(reader.expect(1, Kind.READ), 4, memoryview(bytearray(3)))


def test_largest_frame_goes_straight_into_its_place() -> None:
    """The reader offers slices of the read's own buffer, to be filled by the kernel, and behind the last one the next header."""
    writer = FrameWriter()
    side = asking(READ_1)
    side.feed(block(writer, DATA_BYTES_MAX + 5))
    side.feed(writer.data_header(1, 0, DATA_BYTES_MAX, checksum(bytes(DATA_BYTES_MAX))))
    (piece,) = side.reader.buffers()
    assert [len(buffer) for buffer in side.reader.buffers()] == [len(piece)] == [PIECE_BYTES]
    piece[0] = 77
    assert side.memory[1][0] == 77
    side.feed(bytes(DATA_BYTES_MAX - PIECE_BYTES))
    rest, ahead = side.reader.buffers()
    assert (len(rest), len(ahead)) == (PIECE_BYTES, HEADER_BYTES)
    assert side.watermark == {}
    rest[-1] = 78
    assert side.memory[1][DATA_BYTES_MAX - 1] == 78
