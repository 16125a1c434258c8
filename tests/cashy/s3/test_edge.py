"""HTTP/1.1 at the edge of the endpoint: the forms of a request, and the ends of a connection; and the edge's settings."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cashy.s3.conftest import Running, receive_all, receive_answer
from tests.cashy.s3.memory_session import MemorySession

from cashy.errors import ConfigError
from cashy.s3.limits import LINGER_S
from cashy.settings import load_settings

GET = b"GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /b/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


@pytest.fixture
def running(start: Callable[..., Running]) -> Running:
    session = MemorySession(block_bytes=1 << 20)
    session.put("s3://b/k", b"hello", warm=True)
    session.put("s3://b/cold", b"cold")
    session.put("s3://b/large", b"l" * 3_000_000, warm=True)
    return start(session, domains=("s3.cashy.test",))


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /b/k HTTP/1.1\r\nHost: h\r\n",
        b"GET /k HTTP/1.1\r\nHost: b.s3.cashy.test\r\n",
        b"GET /k HTTP/1.1\r\nHost: B.S3.Cashy.Test:9000\r\n",
        b"GET http://h/b/k HTTP/1.1\r\nHost: other\r\n",
        b"GET http://b.s3.cashy.test/k HTTP/1.1\r\nHost: other.s3.cashy.test\r\n",
        b"GET http://b.s3.cashy.test/k HTTP/1.0\r\n",
        b"GET /k HTTP/1.0\r\nHost: b.s3.cashy.test\r\n",
        b"GET /b/k HTTP/1.0\r\n",
    ],
)
def test_forms_of_one_request(running: Running, request_head: bytes) -> None:
    answer = running.exchange(request_head + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nhello")


def test_errors_name_the_resource_in_path_style(running: Running) -> None:
    answer = running.exchange(
        b"GET /mis%20sing HTTP/1.1\r\nHost: b.s3.cashy.test\r\nConnection: close\r\n\r\n"
    )
    assert b"<Code>NoSuchKey</Code>" in answer
    assert b"<Resource>/b/mis%20sing</Resource>" in answer


@pytest.mark.parametrize(
    "body", [b"\r\n", b"Content-Length: 5\r\n\r\nhello", b"Content-Length: 5\r\n\r\nhel"]
)
def test_options_for_the_server_as_a_whole(running: Running, body: bytes) -> None:
    with running.connect() as raw:
        raw.sendall(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n" + body)
        status, headers, content = receive_answer(raw)
        assert (status, content) == (200, b"")
        assert "GET" in headers["allow"]
        if not body.endswith(b"hel"):
            raw.sendall(GET)
            assert receive_answer(raw)[2] == b"hello"
    assert running.exchange(LAST).endswith(b"hello")


def test_http_1_0_asks_for_more_and_gets_one_answer_and_the_end(running: Running) -> None:
    """Without "Connection: keep-alive" in an answer such a client reads to the end (RFC 9112 9.3), so there must be one."""
    with running.connect() as raw:
        raw.sendall(b"GET /b/k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
        answer = receive_all(raw)
    assert answer.count(b"hello") == 1
    assert b"Connection: close\r\n" in answer


@pytest.mark.parametrize("path", [b"/b/k", b"/b/cold", b"/b/large"])
@pytest.mark.parametrize("count", [1, 5])
def test_half_closed_behind_pipelined_requests(running: Running, path: bytes, count: int) -> None:
    """All of them are answered, as ``printf … | nc -N`` expects it."""
    with running.connect() as raw:
        raw.sendall(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path * count)
        raw.shutdown(socket.SHUT_WR)
        assert receive_all(raw).count(b"HTTP/1.1 200 ") == count


@pytest.mark.parametrize(
    "head",
    [
        b"GET /b/k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 400000\r\n\r\n",
        b"GET /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 400000\r\n\r\n",
        b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 400000\r\n\r\n",
        LAST,
        b"GET /b/k HTTP/1.0\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_a_last_answer_is_not_destroyed_by_what_the_client_still_sends(running: Running, head: bytes) -> None:
    for _ in range(20):
        with running.connect() as raw:
            raw.sendall(head + b"x" * 400_000)
            assert receive_all(raw).startswith(b"HTTP/1.1 ")  # a reset would raise


def test_a_client_that_does_not_close_after_the_last_answer_is_cut_off(running: Running) -> None:
    with running.connect() as raw:
        raw.sendall(LAST)
        assert receive_all(raw).endswith(b"hello")
        with pytest.raises(ConnectionError):
            send_until_reset(raw)


def send_until_reset(raw: socket.socket) -> None:
    deadline = time.monotonic() + LINGER_S + 10
    while time.monotonic() < deadline:
        raw.sendall(b"x")
        time.sleep(0.01)


# ---------------------------------------------------------------- settings


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "cashy.toml"
    path.write_text(f"[s3]\n{text}\n")
    return path


def test_domains_in_the_file(tmp_path: Path) -> None:
    settings = load_settings(
        settings_file(tmp_path, 'domains = ["S3.Example.COM.", "localhost"]'), environ={}
    )
    assert settings.s3.domains == ("s3.example.com", "localhost")


@pytest.mark.parametrize(
    "domain", ["", "s3.example.com:9000", "10.0.0.1", "a..b", ".a", "-a.b", "a/b", "a b", "a" * 64]
)
def test_what_is_no_domain(tmp_path: Path, domain: str) -> None:
    with pytest.raises(ConfigError, match=r"cashy\.toml:2: .*is no domain"):
        load_settings(settings_file(tmp_path, f'domains = ["{domain}"]'), environ={})


@pytest.mark.parametrize(
    ("given", "missing"), [("tls_key", "tls_certificate"), ("tls_certificate", "tls_key")]
)
def test_a_certificate_and_its_key_go_together(tmp_path: Path, given: str, missing: str) -> None:
    with pytest.raises(ConfigError, match=rf"cashy\.toml:2: s3\.{given} needs s3\.{missing}"):
        load_settings(settings_file(tmp_path, f'{given} = "/etc/x.pem"'), environ={})
