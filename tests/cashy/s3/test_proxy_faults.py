"""Clients and stores that stop, dawdle or lie in the middle of a request that is passed on."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cashy.s3.conftest import Running, receive_all, receive_answer
from tests.cashy.s3.memory_session import MemorySession
from tests.cashy.s3.scripted_store import OK, Received, ScriptedStore, answer, read_body
from tests.cashy.s3.signed_requests import signed, wait_for_end

from cashy.s3.limits import (
    ANSWER_QUEUE_BYTES_MAX,
    BODY_QUEUE_BYTES_MAX,
    STORE_HEAD_BYTES_MAX,
    STORE_JOIN_BYTES_MAX,
)
from cashy.setting_values import HttpUrl
from cashy.settings import S3OriginSettings


@pytest.fixture
def session() -> MemorySession:
    session = MemorySession()
    session.put("s3://b/k", b"hello", warm=True)
    return session


@pytest.fixture
def store() -> Iterator[ScriptedStore]:
    with ScriptedStore(answer()) as store:
        yield store


@pytest.fixture
def running(start: Callable[..., Running], session: MemorySession, store: ScriptedStore) -> Running:
    return start(
        session, rights="here", origins=[store.settings], body_timeout_s=0.6, send_timeout_s=0.6, store_head_s=0.6, store_progress_s=0.6,
        head_timeout_s=1.0,
    )  # fmt: skip


@pytest.fixture
def patient(start: Callable[..., Running], session: MemorySession, store: ScriptedStore) -> Running:
    return start(session, rights="here", origins=[store.settings])


def put(running: Running, length: int, *more: bytes, target: str = "/b/new") -> bytes:
    head, _ = signed(running, "PUT", target, {}, "UNSIGNED-PAYLOAD")
    return head + b"".join(more) + b"Content-Length: %d\r\n\r\n" % length


def get(running: Running, *more: bytes) -> bytes:
    head, _ = signed(running, "GET", "/b/new?versionId=v", {}, "UNSIGNED-PAYLOAD")
    return head + b"".join(more) + b"\r\n"


def is_well(running: Running) -> bool:
    last = b"GET /b/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    return running.exchange(last).endswith(b"hello")


def code_of(got: bytes) -> bytes:
    return got.partition(b"<Code>")[2].partition(b"</Code>")[0]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---------------------------------------------------------------- clients


@pytest.mark.parametrize("sent_bytes", [0, 1, 5000, 3_000_000])
def test_a_client_that_leaves_within_its_body_leaves_nothing(
    running: Running, store: ScriptedStore, sent_bytes: int
) -> None:
    with running.connect() as raw:
        raw.sendall(put(running, 3_000_001) + b"x" * sent_bytes)
        if sent_bytes > STORE_JOIN_BYTES_MAX:
            wait_until(lambda: any(request.body for request in store.requests))
    wait_for_end(running)
    assert not any(request.is_whole for request in store.requests)
    assert is_well(running)


@pytest.mark.parametrize("sent_bytes", [0, 5, 100_000])
def test_a_client_that_closes_its_half_within_its_body(
    running: Running, store: ScriptedStore, sent_bytes: int
) -> None:
    with running.connect() as raw:
        raw.sendall(put(running, 100_001) + b"x" * sent_bytes)
        raw.shutdown(socket.SHUT_WR)
        got = receive_all(raw)
    assert code_of(got) == b"IncompleteBody"
    wait_for_end(running)
    assert not any(request.is_whole for request in store.requests)


@pytest.mark.parametrize("step", [0, 1, 200])
def test_slow_writers_are_cut_off(running: Running, store: ScriptedStore, step: int) -> None:
    """A byte now and then is no progress."""
    began = time.monotonic()
    with running.connect() as raw:
        raw.sendall(put(running, 1_000_000))
        raw.settimeout(0.05)
        got = b""
        while time.monotonic() - began < 20:
            try:
                chunk = raw.recv(65_536)
                got += chunk
                if not chunk:
                    break
            except TimeoutError:
                try:
                    raw.sendall(b"x" * step)
                except OSError:
                    break
            except ConnectionError:
                break
            if not is_well(running):
                pytest.fail("others suffer")
    assert code_of(got) == b"RequestTimeout"
    assert b"Connection: close\r\n" in got
    assert running.counters["timeouts_body_total"] == 1
    wait_for_end(running)
    assert not any(request.is_whole for request in store.requests)


def test_a_writer_that_goes_on_is_not(running: Running, store: ScriptedStore) -> None:
    with running.connect() as raw:
        raw.sendall(put(running, 100_000))
        for _ in range(10):
            raw.sendall(b"x" * 10_000)
            time.sleep(0.15)
        assert receive_answer(raw)[0] == 200
    assert store.requests[0].is_whole


def test_slow_readers_are_cut_off(running: Running, store: ScriptedStore) -> None:
    sent = threading.Event()

    def behave(request: Received) -> None:
        request.peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        try:
            request.peer.sendall(bytes(100_000_000))
        finally:
            sent.set()

    store.behave = behave
    with running.connect(receive_buffer_bytes=8192) as raw:
        raw.sendall(get(running))
        assert raw.recv(10).startswith(b"HTTP/1.1 2")
        assert is_well(running)
        assert sent.wait(20)
        wait_for_end(running)
    assert running.counters["timeouts_send_total"] == 1
    assert is_well(running)


def held_by_sockets(*ports: int) -> int:
    """Bytes that the kernel holds for connections to these ports, sent and not acknowledged or not read: it decides how many."""
    held = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, own, other, _, queues, *_ = line.split()
        if {int(address.rpartition(":")[2], 16) for address in (own, other)} & set(ports):
            held += sum(int(queue, 16) for queue in queues.split(":"))
    return held


def test_what_the_store_does_not_take_is_not_read(patient: Running, store: ScriptedStore) -> None:
    """Memory stays bounded: a client can send no more than sockets hold, and the queues: two on either side, each with a buffer on top."""
    go = threading.Event()

    def behave(request: Received) -> None:
        go.wait(20)
        read_body(request)
        request.peer.sendall(OK)

    store.behave = behave
    length = 60_000_000
    with patient.connect() as raw:
        raw.sendall(put(patient, length))
        raw.settimeout(1)
        sent = 0
        try:
            while sent < length:
                sent += raw.send(bytes(min(1 << 20, length - sent)))
        except TimeoutError:
            pass
        in_sockets = held_by_sockets(patient.port, store.port)
        assert sent < in_sockets + 8 * BODY_QUEUE_BYTES_MAX
        assert is_well(patient)
        go.set()
        raw.settimeout(20)
        raw.sendall(bytes(length - sent))
        assert receive_answer(raw)[0] == 200
    assert store.requests[0].is_whole


def test_what_the_client_does_not_take_is_not_read(patient: Running, store: ScriptedStore) -> None:
    sent = 0

    def behave(request: Received) -> None:
        nonlocal sent
        request.peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\n")
        while sent < 60_000_000:
            sent += request.peer.send(bytes(min(1 << 20, 60_000_000 - sent)))

    store.behave = behave
    with patient.connect() as raw:
        raw.sendall(get(patient))
        before = -1
        while sent != before:
            before = sent
            time.sleep(0.3)
        in_sockets = held_by_sockets(patient.port, store.port)
        assert sent < in_sockets + 8 * ANSWER_QUEUE_BYTES_MAX
        assert len(receive_answer(raw)[2]) == 60_000_000


# ---------------------------------------------------------------- smuggling


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Content-Length: 5, 5\r\n\r\nhello",
        b"Content-Length: +5\r\n\r\nhello",
        b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: xchunked\r\n\r\nhello",
        b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        b"Content-Length: 5\r\n X: folded\r\n\r\nhello",
        b"Content-Length: 5\n\nhello",
    ],
)
def test_requests_that_two_readers_could_read_differently(
    running: Running, store: ScriptedStore, framing: bytes
) -> None:
    head, _ = signed(running, "PUT", "/b/new", {}, "UNSIGNED-PAYLOAD")
    got = running.exchange(head + framing + b"DELETE /b/k HTTP/1.1\r\nHost: h\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 400 ")
    assert got.count(b"HTTP/1.1 4") == 1
    assert not store.requests
    assert is_well(running)


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nhello\r\n",
        b"-1\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\nhello\n",
        b"ffffffffffffffffff\r\n",
        b"5;" + b"a" * 100_000,
    ],
)
def test_bad_chunks(running: Running, store: ScriptedStore, body: bytes) -> None:
    headers = {"x-amz-decoded-content-length": "5", "x-amz-trailer": "x-amz-checksum-crc32"}
    head, _ = signed(running, "PUT", "/b/new", headers, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    got = running.exchange(head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert got.startswith(b"HTTP/1.1 400 ")
    wait_for_end(running)
    assert not any(request.is_whole for request in store.requests)
    assert is_well(running)


def test_a_body_of_unknown_length_goes_on_in_chunks(running: Running, store: ScriptedStore) -> None:
    head, _ = signed(running, "PUT", "/b/new", {}, "UNSIGNED-PAYLOAD")
    head += b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    long = b"x" * 300_000
    got = running.exchange(head + b"5\r\nhello\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(long), long))
    assert got.startswith(b"HTTP/1.1 200 ")
    (request,) = store.requests
    assert "content-length" not in request.headers
    content, rest = b"", bytes(request.body)
    while rest != b"0\r\n\r\n":
        size, _, rest = rest.partition(b"\r\n")
        content, rest = content + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    assert content == b"hello" + long


def test_a_body_of_unknown_length_that_is_another_has_no_end(running: Running, store: ScriptedStore) -> None:
    head, _ = signed(running, "PUT", "/b/new", {}, "0" * 64)
    head += b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    got = running.exchange(head + b"5\r\nhello\r\n0\r\n\r\n")
    assert code_of(got) == b"XAmzContentSHA256Mismatch"
    wait_for_end(running)
    assert not any(request.is_whole for request in store.requests)
    head, _ = signed(running, "POST", "/b?delete", {}, "UNSIGNED-PAYLOAD")
    got = running.exchange(head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n")
    assert code_of(got) == b"MissingContentLength"


def test_a_refused_body_is_no_request(running: Running, store: ScriptedStore) -> None:
    """What follows a refused head is its body, however much it looks like a request."""
    smuggled = b"DELETE /b/k HTTP/1.1\r\nHost: h\r\n\r\n"
    head = b"PUT /b/new HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (len(smuggled) + 1)
    got = running.exchange(head + smuggled)
    assert got.startswith(b"HTTP/1.1 403 ")
    assert got.count(b"HTTP/1.1") == 1
    kept = running.exchange(
        head + smuggled + b"X" + b"GET /b/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    assert kept.count(b"HTTP/1.1 403 ") == 1
    assert kept.endswith(b"hello") or b"Connection: close" in kept
    assert not store.requests


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=120),
    framing=st.sampled_from(
        [
            b"Content-Length: 60\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Length: 60\r\nExpect: 100-continue\r\n",
            b"",
        ]
    ),
    payload=st.sampled_from(
        [
            "UNSIGNED-PAYLOAD",
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "0" * 64,
            "x",
        ]
    ),
    step=st.sampled_from([1, 1000]),
)
def test_any_body_is_answered(running: Running, data: bytes, framing: bytes, payload: str, step: int) -> None:
    headers = {"x-amz-decoded-content-length": "9", "x-amz-trailer": "x-amz-checksum-crc32"}
    head, _ = signed(running, "PUT", "/b/new", headers, payload)
    with running.connect() as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.sendall(head + framing + b"\r\n")
        try:
            for at in range(0, len(data), step):
                raw.sendall(data[at : at + step])
            raw.shutdown(socket.SHUT_WR)
            got = receive_all(raw)
        except ConnectionError:
            return  # it had enough of us, which is a right answer too
    assert got.startswith(b"HTTP/1.1 ")
    assert b" 500 " not in got.partition(b"\r\n")[0]


# ---------------------------------------------------------------- stores


def test_a_store_that_refuses_early(patient: Running, store: ScriptedStore) -> None:
    body = b"<Error><Code>EntityTooLarge</Code></Error>"

    def behave(request: Received) -> None:
        request.peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        request.peer.recv(1)
        time.sleep(0.2)

    store.behave = behave
    with patient.connect() as raw:
        raw.sendall(put(patient, 50_000_000) + b"x" * 100_000)
        got = receive_all(raw)
    assert got.startswith(b"HTTP/1.1 400 ")
    assert code_of(got) == b"EntityTooLarge"
    assert b"Connection: close\r\n" in got
    wait_for_end(patient)


def test_a_store_that_claims_success_early_is_not_believed(patient: Running, store: ScriptedStore) -> None:
    def behave(request: Received) -> None:
        request.peer.sendall(OK)
        time.sleep(0.2)

    store.behave = behave
    with patient.connect() as raw:
        raw.sendall(put(patient, 200_000) + b"x" * 100_000)
        assert receive_all(raw).startswith(b"HTTP/1.1 500 ")
    wait_for_end(patient)


def test_a_store_that_is_not_there(start: Callable[..., Running], session: MemorySession) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    running = start(
        session, rights="here", origins=[S3OriginSettings(url=HttpUrl(f"http://127.0.0.1:{port}"))]
    )
    got = running.exchange(put(running, 5, b"Connection: close\r\n") + b"hello")
    assert got.startswith(b"HTTP/1.1 503 ")
    assert code_of(got) == b"ServiceUnavailable"
    assert str(port).encode() not in got
    assert is_well(running)


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_a_store_that_never_answers(running: Running, store: ScriptedStore, method: str) -> None:
    store.behave = read_body
    close = b"Connection: close\r\n"
    got = running.exchange(get(running, close) if method == "GET" else put(running, 5, close) + b"hello")
    assert got.startswith(b"HTTP/1.1 503 ")
    wait_for_end(running)


def test_a_store_that_takes_nothing(running: Running, store: ScriptedStore) -> None:
    def behave(request: Received) -> None:
        time.sleep(3)

    store.behave = behave
    with running.connect() as raw:
        raw.sendall(put(running, 60_000_000))
        try:
            raw.sendall(bytes(60_000_000))
        except OSError:
            pass
        try:
            got = receive_all(raw)
        except ConnectionError:
            got = b""
    assert got == b"" or got.startswith(b"HTTP/1.1 503 ")
    wait_for_end(running)
    assert is_well(running)


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * (STORE_HEAD_BYTES_MAX + 20_000) + b"\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 10 + OK,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)  # fmt: skip
def test_a_store_that_speaks_no_http(running: Running, store: ScriptedStore, said: bytes) -> None:
    store.behave = answer(said)
    got = running.exchange(get(running, b"Connection: close\r\n"))
    assert got.split(b" ")[1] in (b"500", b"503")
    wait_for_end(running)
    assert is_well(running)


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 501\r\n\r\nhello", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"],
)  # fmt: skip
def test_a_store_that_ends_too_early_is_noticed_by_the_client(
    running: Running, store: ScriptedStore, said: bytes
) -> None:
    def behave(request: Received) -> None:
        request.peer.sendall(said)
        time.sleep(0.1)
        request.peer.close()

    store.behave = behave
    with running.connect() as raw:
        raw.sendall(get(running))
        try:
            got = receive_all(raw)
        except ConnectionResetError:
            got = b""
    assert not got.endswith(b"0\r\n\r\n")
    assert len(got.partition(b"\r\n\r\n")[2]) < 500
    assert is_well(running)


def test_a_kept_connection_that_the_store_closed(patient: Running, store: ScriptedStore) -> None:
    """It shows only when it is used: reads are sent again, and find a new one."""

    def behave(request: Received) -> None:
        if len(store.requests) == 2:
            request.peer.close()  # instead of an answer
        else:
            request.peer.sendall(OK)

    store.behave = behave
    got = patient.exchange(get(patient) + get(patient) + get(patient, b"Connection: close\r\n"))
    assert got.count(b"HTTP/1.1 200 ") == 3
    assert store.connections == 2


def test_a_store_that_closed_all_its_kept_connections(patient: Running, store: ScriptedStore) -> None:
    """As at its restart: one retry is enough, since it goes over a new one."""
    both = threading.Barrier(2)

    def behave(request: Received) -> None:
        if len(store.requests) <= 2:
            both.wait(10)
            request.peer.sendall(OK)
        elif request.connection <= 2:
            request.peer.close()
        else:
            request.peer.sendall(OK)

    store.behave = behave
    with patient.connect() as first, patient.connect() as second:
        for raw in (first, second):
            raw.sendall(get(patient))
        for raw in (first, second):
            assert receive_answer(raw)[0] == 200
        first.sendall(get(patient))
        assert receive_answer(first)[0] == 200


def test_a_change_is_never_sent_again(patient: Running, store: ScriptedStore) -> None:
    def behave(request: Received) -> None:
        read_body(request)
        if len(store.requests) == 2:
            request.peer.close()
        else:
            request.peer.sendall(OK)

    store.behave = behave
    got = patient.exchange(
        (put(patient, 5) + b"hello") * 2 + put(patient, 5, b"Connection: close\r\n") + b"hello"
    )
    assert [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]] == [b"200", b"503", b"200"]
    assert len(store.requests) == 3


# ---------------------------------------------------------------- limits


def test_over_the_limit_of_connections_is_slow_down(
    start: Callable[..., Running], session: MemorySession, store: ScriptedStore
) -> None:
    origin = S3OriginSettings(url=store.settings.url, connections_max=2, queue_max=1)
    running = start(session, origins=[origin])
    go = threading.Event()

    def behave(request: Received) -> None:
        go.wait(20)
        request.peer.sendall(OK)

    store.behave = behave
    waiting = [running.connect() for _ in range(3)]
    try:
        for number, raw in enumerate(waiting):
            raw.sendall(get(running))
            wait_until(lambda number=number: len(store.requests) == min(2, number + 1))  # type: ignore[misc]
        time.sleep(0.1)
        got = running.exchange(put(running, 5, b"Connection: close\r\n") + b"hello")
        assert code_of(got) == b"SlowDown"
        go.set()
        for raw in waiting:
            assert receive_answer(raw)[0] == 200
    finally:
        for raw in waiting:
            raw.close()
    assert store.connections == 2


def test_a_waiting_request_whose_client_leaves_takes_no_place(
    start: Callable[..., Running], session: MemorySession, store: ScriptedStore
) -> None:
    origin = S3OriginSettings(url=store.settings.url, connections_max=1, queue_max=5)
    running = start(session, origins=[origin])
    go = threading.Event()

    def behave(request: Received) -> None:
        go.wait(20)
        request.peer.sendall(OK)

    store.behave = behave
    with running.connect() as first, running.connect() as last:
        first.sendall(get(running))
        wait_until(lambda: len(store.requests) == 1)
        with running.connect() as leaving:
            leaving.sendall(get(running))
            time.sleep(0.1)
            # A reset: a mere end could be a client that still reads.
            leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(0.1)
        last.sendall(get(running))
        go.set()
        assert receive_answer(first)[0] == 200
        assert receive_answer(last)[0] == 200
    assert len(store.requests) == 2
