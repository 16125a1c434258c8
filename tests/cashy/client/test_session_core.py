"""The sans-I/O protocol state and the metadata record."""

from __future__ import annotations

import os
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aviary.cashy.v1 import control_pb2 as pb
from cashy.client.session_core import CHANNEL_DESCRIPTORS, Answer, SessionCore
from cashy.core import meta_record
from cashy.errors import InternalError, InvalidRequest, OriginInvalid
from shmipc.errors import HandshakeError
from shmipc.limits import FRAME_BYTES_MAX
from shmipc.wire import FrameDecoder, encode_frame


def frame(request_id: int, **body: object) -> bytes:
    return encode_frame(pb.ServerFrame(request_id=request_id, **body).SerializeToString())  # type: ignore[arg-type]


WELCOME = frame(1, welcome=pb.Welcome(protocol_version=1, arena_id=7))


def descriptor() -> int:
    return os.open("/dev/null", os.O_RDONLY)


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def welcomed() -> SessionCore:
    core = SessionCore(can_pin=False, program="test")
    core.hello()
    fd = descriptor()
    assert core.feed(WELCOME, deque([fd]))[0].descriptors == (fd,)
    os.close(fd)
    return core


@given(cuts=st.lists(st.integers(0, 400), max_size=20))
def test_answers_do_not_depend_on_how_bytes_arrive(cuts: list[int]) -> None:
    core = welcomed()
    fetch, _ = core.request(pb.Fetch(name="s3://b/k", block_count=2))
    stat, _ = core.request(pb.Stat(name="s3://b/k"))
    stream = (
        frame(fetch, object=pb.ObjectInfo(size=5))
        + frame(stat, object=pb.ObjectInfo(size=5))
        + frame(fetch, block_ready=pb.BlockReady(block=1))
        + frame(fetch, fetch_done=pb.FetchDone())
    )
    answers: list[Answer] = []
    at = 0
    for cut in sorted(cuts):
        answers += core.feed(stream[at : max(at, cut)], deque())
        at = max(at, min(cut, len(stream)))
    answers += core.feed(stream[at:], deque())
    assert [(a.request_id, a.kind, a.is_last) for a in answers] == [
        (fetch, "object", False), (stat, "object", True), (fetch, "block_ready", False), (fetch, "fetch_done", True),
    ]  # fmt: skip
    assert core.open_requests == [1] or core.open_requests == []


def test_answers_to_a_released_fetch_are_dropped() -> None:
    core = welcomed()
    request_id, _ = core.request(pb.Fetch(name="s3://b/k", block_count=1))
    core.release(request_id)
    assert core.feed(frame(request_id, object=pb.ObjectInfo()), deque()) == []


def test_a_table_nobody_waits_for_is_closed() -> None:
    core = welcomed()
    fd = descriptor()
    assert core.feed(frame(99, table_granted=pb.TableGranted()), deque([fd])) == []
    assert not is_open(fd)


def test_descriptors_belong_to_the_frame_that_announces_them() -> None:
    core = SessionCore(can_pin=True, program="test")
    core.hello()
    fds = [descriptor(), descriptor(), descriptor()]
    (welcome,) = core.feed(WELCOME, received := deque(fds))
    assert welcome.descriptors == tuple(fds[:2])
    request_id, _ = core.request(pb.NewTable())
    (granted,) = core.feed(frame(request_id, table_granted=pb.TableGranted()), received)
    assert granted.descriptors == (fds[2],)
    for fd in fds:
        os.close(fd)


def test_what_is_no_daemon_is_refused() -> None:
    newer = pb.Welcome(protocol_version=2)
    cases = {
        frame(1, welcome=newer): "protocol 2",
        frame(1, fetch_done=pb.FetchDone()): "instead of a welcome",
        frame(1): "kind that this client does not know",
        WELCOME: "should bring 1 descriptors",
        encode_frame(b"\xff\xff\xff"): "does not parse",
        (FRAME_BYTES_MAX + 1).to_bytes(4, "little"): "does not speak this protocol",
    }
    for data, message in cases.items():
        core = SessionCore(can_pin=False, program="test")
        core.hello()
        with pytest.raises(HandshakeError, match=message):
            core.feed(data, deque())
    core = SessionCore(can_pin=False, program="test")
    core.hello()
    refusal = pb.Failure(code=pb.Failure.INVALID_REQUEST, message="other version")
    with pytest.raises(InvalidRequest, match="other version"):
        core.feed(frame(1, failure=refusal), deque())


# --- with a channel ---


def with_channel() -> SessionCore:
    core = SessionCore(can_pin=False, program="test", wants_channel=True)
    core.hello()
    fds = [descriptor() for _ in range(1 + CHANNEL_DESCRIPTORS)]
    welcome = pb.Welcome(protocol_version=1, arena_id=7, has_channel=True)
    (answer,) = core.feed(frame(1, welcome=welcome), deque(fds))
    assert answer.descriptors == tuple(fds)
    assert answer.channel_descriptors == CHANNEL_DESCRIPTORS
    for fd in fds:
        os.close(fd)
    return core


def message(request_id: int, **body: object) -> bytes:
    return pb.ServerFrame(request_id=request_id, **body).SerializeToString()  # type: ignore[arg-type]


ON_SOCKET = message(0, on_socket=pb.OnSocket())


@given(
    over_socket=st.lists(st.booleans(), min_size=1, max_size=12),
    steps=st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=40),
)
def test_the_ring_has_the_order_whichever_way_is_read_first(
    over_socket: list[bool], steps: list[tuple[bool, int]]
) -> None:
    core = with_channel()
    fetch, _ = core.request(pb.Fetch(name="s3://b/k", block_count=20))
    ring: list[bytes] = []
    stream = b""
    for number, is_over_socket in enumerate(over_socket):
        answer = {"block_ready": pb.BlockReady(block=number, length=99)}
        ring.append(ON_SOCKET if is_over_socket else message(fetch, **answer))
        stream += frame(fetch, **answer) if is_over_socket else b""
    got: list[Answer] = []
    for reads_socket, count in [*steps, (False, len(ring)), (True, len(stream))]:
        if reads_socket:
            got += core.feed(stream[:count], deque())
            stream = stream[count:]
        else:
            got += core.take(ring[:count])
            ring = ring[count:]
        numbers = [answer.body.block for answer in got if isinstance(answer.body, pb.BlockReady)]
        assert numbers == list(range(len(numbers)))
    assert len(got) == len(over_socket)


def test_a_table_comes_over_the_socket_in_its_place_in_the_ring() -> None:
    core = with_channel()
    fd = descriptor()
    received = deque([fd])
    table, _ = core.request(pb.NewTable())
    stat, _ = core.request(pb.Stat(name="s3://b/k"))
    assert core.feed(frame(table, table_granted=pb.TableGranted()), received) == []
    assert list(received) == [fd]
    granted, info = core.take([ON_SOCKET, message(stat, object=pb.ObjectInfo())])
    assert (granted.kind, granted.descriptors, info.kind) == ("table_granted", (fd,), "object")
    os.close(fd)


def test_what_does_not_belong_in_a_ring_is_refused() -> None:
    core = with_channel()
    request_id, _ = core.request(pb.NewTable())
    cases = {
        message(request_id, table_granted=pb.TableGranted()): "should bring 1 descriptors",
        message(1, welcome=pb.Welcome(protocol_version=1)): "greeted twice",
        b"": "kind that this client does not know",
        b"\xff\xff\xff": "does not parse",
    }
    for data, problem in cases.items():
        core = with_channel()
        core.request(pb.NewTable())
        with pytest.raises(HandshakeError, match=problem):
            core.take([data])
    core = with_channel()
    core.take([ON_SOCKET])
    with pytest.raises(HandshakeError, match="wrong place"):
        core.feed(encode_frame(ON_SOCKET), deque())


def test_a_channel_that_was_not_asked_for_is_refused() -> None:
    core = SessionCore(can_pin=False, program="test")
    core.hello()
    with pytest.raises(HandshakeError, match="not asked for"):
        core.feed(frame(1, welcome=pb.Welcome(protocol_version=1, has_channel=True)), deque())


class Ring:
    """A ring with room for so many frames."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.frames: list[bytes] = []

    def put(self, payload: bytes) -> bool:
        if len(self.frames) >= self.room:
            return False
        self.frames.append(payload)
        return True


@given(
    rooms=st.lists(st.integers(0, 2), min_size=1, max_size=30),
    releases=st.lists(st.integers(0, 29), unique=True),
)
def test_a_release_never_overtakes_its_fetch(rooms: list[int], releases: list[int]) -> None:
    """The daemon empties the ring before it takes a frame of the socket; so only "ring after socket" is out of order."""
    core = with_channel()
    where: dict[int, str] = {}
    sent: list[int] = []
    for number, room in enumerate(rooms):
        ring = Ring(room)
        request_id, payload = core.request(pb.Fetch(name="s3://b/k", block_count=1))
        frames = [(request_id, payload)]
        sent.append(request_id)
        if number in releases:
            other = sent.pop(0)
            frames.append((other, core.release(other)))
        left = FrameDecoder().feed(core.unsent(frames, ring.put))
        assert len(left) + len(ring.frames) == len(frames)
        ways = {
            "ring": map(pb.ClientFrame.FromString, ring.frames),
            "socket": map(pb.ClientFrame.FromString, left),
        }
        releases_by: list[tuple[int, str]] = []
        for way, sent_frames in ways.items():
            for sent_frame in sent_frames:
                if sent_frame.HasField("fetch"):
                    where[sent_frame.request_id] = way
                else:
                    releases_by.append((sent_frame.request_id, way))
        assert not [number for number, way in releases_by if (where[number], way) == ("socket", "ring")]


def test_a_request_too_large_for_a_frame_is_refused_and_nothing_is_left_of_it() -> None:
    core = with_channel()
    with pytest.raises(HandshakeError, match="at most"):
        core.request(pb.Prefetch(names=["x" * FRAME_BYTES_MAX]))
    assert core.open_requests == []


# --- the record ---

text = st.text(max_size=30)


@given(
    content_id=st.binary(min_size=32, max_size=32), size=st.integers(0, 2**63), block_bytes=st.integers(1, 2**40),
    version=text, pairs=st.lists(st.tuples(text, text), max_size=5), padding=st.binary(max_size=9),
)  # fmt: skip
def test_a_record_gives_back_what_went_in(
    content_id: bytes, size: int, block_bytes: int, version: str, pairs: list[tuple[str, str]], padding: bytes
) -> None:
    info = pb.ObjectInfo(content_id=content_id, size=size, block_bytes=block_bytes, version=version)
    for name, value in pairs:
        info.headers.add(name=name, value=value)
    record = meta_record.encode(info)
    assert meta_record.decode_prefix(record) == (content_id, size, block_bytes)
    assert meta_record.decode(memoryview(record + padding)) == info


def test_the_record_has_a_limit() -> None:
    info = pb.ObjectInfo(content_id=b"x" * 32, size=1, block_bytes=1)
    room = meta_record.META_RECORD_BYTES_MAX - len(meta_record.encode(info)) - 4
    info.version = "v" * room
    assert len(meta_record.encode(info)) == meta_record.META_RECORD_BYTES_MAX
    info.version += "v"
    with pytest.raises(OriginInvalid, match="are kept"):
        meta_record.encode(info)


def test_a_damaged_record_is_no_record() -> None:
    with pytest.raises(InternalError):
        meta_record.encode(pb.ObjectInfo(size=1, block_bytes=1))
    record = meta_record.encode(pb.ObjectInfo(content_id=b"x" * 32, size=5, block_bytes=1, version="abc"))
    for damaged in (record[:10], record[:-1], b"y" + record[1:], record[:56] + b"\xff" * 60):
        with pytest.raises(InternalError):
            meta_record.decode(damaged)
    with pytest.raises(InternalError):
        meta_record.decode_prefix(record[:10])
