"""What a client may send, or not read, without harm to others."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from tests.cashy.s3.conftest import Running, receive_all, receive_answer
from tests.cashy.s3.memory_session import MemorySession

from cashy.s3.limits import OUTGOING_BYTES_MAX, PARSE_STEP_BYTES, REFUSED_MAX

GET = b"GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /b/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


@pytest.fixture
def session() -> MemorySession:
    session = MemorySession(block_bytes=1 << 20, refills=False)
    session.put("s3://b/k", b"hello", warm=True)
    session.put("s3://b/middle", b"m" * 20_000, warm=True)
    session.put("s3://b/large", b"l" * 3_000_000, warm=True)
    session.put("s3://b/cold", b"c" * 100_000)
    return session


@pytest.fixture
def running(start: Callable[..., Running], session: MemorySession) -> Running:
    return start(session, head_timeout_s=1.0, idle_timeout_s=30.0)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 6000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(6000, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def is_well(running: Running) -> bool:
    return running.exchange(LAST).endswith(b"hello")


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"\x00\xff" * 5000, 400, b"BadRequest"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 50, 400, b"BadRequest"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 400, b"BadRequest"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, b"BadRequest"),
        (b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: h\r\n\r\n", 400, b"InvalidURI"),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n",
            400,
            b"RequestHeaderSectionTooLarge",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: a\r\n" * 200_000 + b"\r\n",
            400,
            b"RequestHeaderSectionTooLarge",
        ),
        (b"GET /b/%ff HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 400, b"InvalidURI"),
        (
            b"GET /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            b"BadRequest",
        ),
    ],
    ids=["binary", "tls", "ssh", "no-host", "1M-url", "1M-header", "200k-headers", "not-utf-8", "smuggling"],
)
def test_bad_requests_get_an_answer_and_an_end(
    running: Running, data: bytes, status: int, code: bytes
) -> None:
    answer = running.exchange(data)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close\r\n" in answer
    assert b"<Code>%b</Code>" % code in answer
    assert is_well(running)


def test_good_requests_before_garbage_are_answered(running: Running) -> None:
    answer = running.exchange(GET + GET + b"garbage\r\n\r\n")
    assert answer.count(b"\r\n\r\nhello") == 2
    assert answer.count(b"HTTP/1.1 400 ") == 1
    assert answer.rindex(b"HTTP/1.1 400 ") > answer.rindex(b"hello")


def test_a_client_that_never_stops_sending_after_an_error_is_cut_off(running: Running) -> None:
    with running.connect() as raw:
        raw.sendall(b"garbage\r\n\r\n")
        with pytest.raises(ConnectionError):
            raw.sendall(b"x" * 65_536_000)
    assert is_well(running)


@pytest.mark.parametrize("first", [b"G", b"GET /b/k HTTP/1.1\r\nHost: h\r\nX: ", b"\r\n"])
def test_slowloris(running: Running, first: bytes) -> None:
    """A byte every tenth of a second does not keep a request alive beyond the time for a head."""
    with running.connect() as raw:
        raw.sendall(first)
        raw.settimeout(0.1)
        began = time.monotonic()
        answer = b""
        while time.monotonic() - began < 15:
            try:
                if not (chunk := raw.recv(65536)):
                    break
                answer += chunk
            except TimeoutError:
                try:
                    raw.sendall(b"\n" if first == b"\r\n" else b"x")
                except ConnectionError:
                    break
            except ConnectionResetError:
                break
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"RequestTimeout" in answer or b"BadRequest" in answer
    assert is_well(running)


def test_idle_connections_end(start: Callable[..., Running], session: MemorySession) -> None:
    running = start(session, idle_timeout_s=0.3)
    with running.connect() as fresh, running.connect() as used:
        used.sendall(GET)
        assert receive_answer(used)[2] == b"hello"
        assert receive_all(used) == b""
        assert receive_all(fresh) == b""


def test_two_thousand_idle_connections(running: Running, many_descriptors: None) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(running.connect()) for _ in range(2000)]
        assert is_well(running)
        for raw in idle[::100]:
            raw.sendall(GET)
            assert receive_answer(raw)[2] == b"hello"


def test_over_the_limit_of_connections(start: Callable[..., Running], session: MemorySession) -> None:
    running = start(session, connections_max=3)
    with ExitStack() as stack:
        served = [stack.enter_context(running.connect()) for _ in range(3)]
        for raw in served:
            raw.sendall(GET)
            assert receive_answer(raw)[0] == 200
        refused = stack.enter_context(running.connect())
        answer = receive_all(refused)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"<Code>SlowDown</Code>" in answer
        served[0].sendall(GET)
        assert receive_answer(served[0])[0] == 200
    deadline = time.monotonic() + 10
    while not is_well(running):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_far_over_the_limit_nothing_is_said(
    start: Callable[..., Running], session: MemorySession, many_descriptors: None
) -> None:
    running = start(session, connections_max=1)
    with ExitStack() as stack:
        first = stack.enter_context(running.connect())
        first.sendall(GET)
        assert receive_answer(first)[0] == 200
        others = [stack.enter_context(running.connect()) for _ in range(REFUSED_MAX + 20)]
        ends = []
        for raw in others:
            try:
                ends.append(receive_all(raw))
            except ConnectionResetError:
                ends.append(b"")
        assert b"" in ends
        first.sendall(GET)
        assert receive_answer(first)[2] == b"hello"


@pytest.mark.parametrize("path", [b"/b/k", b"/b/middle", b"/b/large", b"/b/cold", b"/b/missing"])
def test_pipelined_requests_are_answered_in_order(running: Running, path: bytes) -> None:
    request = b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path
    count = 5
    answer = running.exchange((request + GET) * count + LAST)
    lengths = {b"/b/k": 5, b"/b/middle": 20_000, b"/b/large": 3_000_000, b"/b/cold": 100_000}
    for _ in range(count):
        head, _, answer = answer.partition(b"\r\n\r\n")
        status = b"404" if path == b"/b/missing" else b"200"
        assert head.startswith(b"HTTP/1.1 " + status)
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
        assert length == lengths.get(path, length)
        head, _, answer = answer[length:].partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert answer[:5] == b"hello"
        answer = answer[5:]
    assert answer.endswith(b"hello")


def test_a_thousand_pipelined_requests_and_a_reader_that_waits(running: Running) -> None:
    """What is not read is not answered further: memory stays bounded, and everything comes in the end."""
    count = 1000
    request = b"GET /b/middle HTTP/1.1\r\nHost: h\r\n\r\n"
    with running.connect(receive_buffer_bytes=16_384) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        raw.settimeout(0.5)
        sent = 0
        data = request * count
        while sent < len(data):
            try:
                sent += raw.send(data[sent:])
            except TimeoutError:
                break
        time.sleep(0.3)
        served = running.counters["requests_total"]
        (connection,) = running.on_loop(lambda: list(running.worker.connections))  # type: ignore[union-attr]
        unsent = running.on_loop(lambda: connection.sender.unsent_bytes)
        assert served < count
        assert unsent < OUTGOING_BYTES_MAX + 30_000
        assert len(connection._pending) <= PARSE_STEP_BYTES * 8
        raw.settimeout(20)
        raw.setblocking(True)
        received = 0
        expected = None
        while sent or received:
            chunk = raw.recv(1 << 20)
            received += len(chunk)
            if expected is None:
                head = chunk.partition(b"\r\n\r\n")[0]
                expected = (len(head) + 4 + 20_000) * (sent // len(request))
            if received >= expected:
                break
        assert received == expected


@pytest.mark.parametrize(
    ("head", "is_kept"),
    [(b"GET /b/k HTTP/1.0\r\n\r\n", False), (LAST, False), (GET, True)],
)
def test_keep_alive(running: Running, head: bytes, is_kept: bool) -> None:
    with running.connect() as raw:
        raw.sendall(head)
        status, headers, body = receive_answer(raw)
        assert (status, body) == (200, b"hello")
        assert ("connection" in headers) is not is_kept
        if is_kept:
            raw.sendall(head)
            assert receive_answer(raw)[2] == b"hello"
        else:
            assert raw.recv(1) == b""


@pytest.mark.parametrize("path", [b"/b/k", b"/b/large", b"/b/cold"])
def test_a_client_may_close_its_half_and_still_read(running: Running, path: bytes) -> None:
    with running.connect() as raw:
        raw.sendall(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)
        raw.shutdown(socket.SHUT_WR)
        head, _, body = receive_all(raw).partition(b"\r\n\r\n")
        assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"


def test_clients_that_leave_at_any_point(running: Running) -> None:
    for data in (
        b"",
        b"G",
        GET[:20],
        GET,
        b"GET /b/large HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /b/cold HTTP/1.1\r\nHost: h\r\n\r\n",
    ):
        for _ in range(5):
            with running.connect() as raw:
                raw.sendall(data)
    assert is_well(running)


def test_stopping_ends_idle_connections_and_finishes_answers(
    start: Callable[..., Running], session: MemorySession
) -> None:
    session.gates = {("s3://b/cold", 0): 10}
    running = start(session)
    with running.connect() as idle, running.connect() as busy:
        busy.sendall(b"GET /b/cold HTTP/1.1\r\nHost: h\r\n\r\n")
        received = busy.recv(65536)
        running._loop.call_soon_threadsafe(running._stop.set)
        assert receive_all(idle) == b""
        running.on_loop(session.let_through, "s3://b/cold", 0)
        received += receive_all(busy)
    assert received.endswith(b"c" * 99_000)
    running.stop()
    with pytest.raises(ConnectionRefusedError):
        running.connect()


def test_stopping_does_not_wait_for_ever(start: Callable[..., Running], session: MemorySession) -> None:
    session.gates = {("s3://b/cold", 0): 10}
    running = start(session)
    with running.connect() as busy:
        busy.sendall(b"GET /b/cold HTTP/1.1\r\nHost: h\r\n\r\n")
        assert busy.recv(65536)
        running.stop()
        assert session.pinned == 0
