"""The sans-I/O protocol state and the metadata record."""

from __future__ import annotations

import os
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aviary.cashy.v1 import control_pb2 as pb
from cashy.client.session_core import Answer, SessionCore
from cashy.core import meta_record
from cashy.errors import InternalError, InvalidRequest, OriginInvalid
from shmipc.errors import HandshakeError
from shmipc.limits import FRAME_BYTES_MAX
from shmipc.wire import encode_frame


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
