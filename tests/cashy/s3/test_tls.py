"""The endpoint over TLS: everything that holds without it, and what TLS adds."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cashy.s3.certificates import Authority
from tests.cashy.s3.conftest import Running, receive_all, receive_answer
from tests.cashy.s3.memory_session import REFILL, MemorySession
from tests.cashy.s3.test_send import HastySender

from cashy.errors import ConfigError
from cashy.s3 import connection
from cashy.s3.limits import TLS_PIECE_BYTES
from cashy.s3.tls import PEM_BYTES_MAX, ServerTls, load_tls

BLOCK_BYTES = 4 << 20
DATA = bytes(range(251)) * (2 * BLOCK_BYTES // 251)
GET = b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /b/small HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls(authority: Authority) -> ServerTls:
    return ServerTls(*authority.issue("localhost", suffix="-endpoint"))


@pytest.fixture
def session() -> MemorySession:
    session = MemorySession(block_bytes=BLOCK_BYTES, refills=True)
    session.put("s3://b/k", DATA, warm=True)
    session.put("s3://b/one-block", DATA[:BLOCK_BYTES], warm=True)
    session.put("s3://b/small", b"hello")
    return session


def connect(running: Running, authority: Authority, **options: int) -> ssl.SSLSocket:
    context = authority.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    raw = running.connect(**options)
    try:
        return context.wrap_socket(raw, server_hostname=running.host)
    except BaseException:
        raw.close()
        raise


def is_well(running: Running, authority: Authority) -> bool:
    with connect(running, authority) as secure:
        secure.sendall(LAST)
        return receive_all(secure).endswith(b"hello")  # an end without close_notify would raise


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---------------------------------------------------------------- requests and answers


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_many_requests_on_one_connection(
    start: Callable[..., Running],
    session: MemorySession,
    tls: ServerTls,
    authority: Authority,
    version: ssl.TLSVersion,
) -> None:
    running = start(session, serving=tls)
    context = authority.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.maximum_version = version
    with context.wrap_socket(running.connect(), server_hostname=running.host) as secure:
        assert (
            secure.version()
            == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
        )
        assert secure.selected_alpn_protocol() == "http/1.1"
        for path, body in ((b"/b/k", DATA), (b"/b/small", b"hello"), (b"/b/one-block", DATA[:BLOCK_BYTES])):
            secure.sendall(GET % path)
            assert receive_answer(secure)[2] == body
        secure.sendall(GET % b"/b/small" * 50 + LAST)
        assert receive_all(secure).count(b"\r\n\r\nhello") == 51


def test_byte_by_byte(
    start: Callable[..., Running], session: MemorySession, tls: ServerTls, authority: Authority
) -> None:
    """Also the handshake: every record comes in pieces of one byte."""
    running = start(session, serving=tls)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.client().wrap_bio(incoming, outgoing, server_hostname=running.host)
    with running.connect() as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def until_done(step: Callable[[], Any]) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    send()
                    incoming.write(raw.recv(65536))

        def send() -> None:
            for byte in outgoing.read():
                raw.send(bytes([byte]))

        until_done(client.do_handshake)
        client.write(GET % b"/b/small")
        send()
        assert until_done(lambda: client.read(65536)).startswith(b"HTTP/1.1 200")


def test_older_versions_are_refused(
    start: Callable[..., Running], session: MemorySession, tls: ServerTls, authority: Authority
) -> None:
    running = start(session, serving=tls)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with running.connect() as raw, pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
        context.wrap_socket(raw)
    assert running.counters["tls_handshakes_failed_total"] == 1
    assert is_well(running, authority)


def test_plain_http_is_told_so(
    start: Callable[..., Running], session: MemorySession, tls: ServerTls, authority: Authority
) -> None:
    running = start(session, serving=tls)
    answer = running.exchange(LAST)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"https only" in answer
    assert is_well(running, authority)


@pytest.mark.parametrize(
    "data", [b"\0" * 3000, b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01\x00\x05hello", b""]
)
def test_no_handshake(
    start: Callable[..., Running], session: MemorySession, tls: ServerTls, authority: Authority, data: bytes
) -> None:
    running = start(session, serving=tls)
    with running.connect() as raw:
        raw.sendall(data)
        raw.shutdown(socket.SHUT_WR)
        assert len(receive_all(raw)) < 100  # at most an alert
    assert is_well(running, authority)


def test_a_handshake_has_its_time(
    start: Callable[..., Running], session: MemorySession, tls: ServerTls, authority: Authority
) -> None:
    running = start(session, serving=tls, head_timeout_s=0.5)
    with running.connect() as silent, running.connect() as slow:
        slow.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert is_well(running, authority)
        for raw in (silent, slow):
            try:
                assert receive_all(raw) == b""
            except ConnectionResetError:
                pass
    assert running.counters["timeouts_handshake_total"] == 2


def test_clients_that_leave_at_any_point(
    start: Callable[..., Running], session: MemorySession, tls: ServerTls, authority: Authority
) -> None:
    running = start(session, serving=tls)
    for data in (b"", b"G", GET % b"/b/small", GET % b"/b/k", GET % b"/b/k" * 100):
        for is_orderly in (True, False):
            with connect(running, authority) as secure:
                secure.sendall(data)
                if not is_orderly:
                    secure.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_for(lambda: running.on_loop(lambda: len(running.worker.connections)) == 0)  # type: ignore[union-attr]
    assert is_well(running, authority)


def test_a_client_may_close_its_half_and_still_read(
    start: Callable[..., Running], session: MemorySession, tls: ServerTls, authority: Authority
) -> None:
    running = start(session, serving=tls)
    with connect(running, authority) as secure:
        secure.sendall(GET % b"/b/k")
        secure.shutdown(socket.SHUT_WR)  # TCP's half, as HTTP clients do it
        received = bytearray()
        while chunk := socket.socket.recv(secure, 1 << 20):
            received += chunk  # still encrypted
    assert len(received) > len(DATA)


def test_an_error_is_read_though_a_body_is_still_being_sent(
    start: Callable[..., Running], session: MemorySession, tls: ServerTls, authority: Authority
) -> None:
    running = start(session, serving=tls)
    with connect(running, authority) as secure:
        secure.sendall(b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 400_000)
        answer = receive_all(secure)
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert answer.endswith(b"</Error>")


def test_over_the_limit_of_connections(
    start: Callable[..., Running], session: MemorySession, tls: ServerTls, authority: Authority
) -> None:
    running = start(session, serving=tls, connections_max=1)
    with connect(running, authority) as served, connect(running, authority) as refused:
        assert b"<Code>SlowDown</Code>" in receive_all(refused)
        served.sendall(GET % b"/b/small")
        assert receive_answer(served)[2] == b"hello"


def test_stopping_does_not_wait_for_idle_clients(
    start: Callable[..., Running], session: MemorySession, tls: ServerTls, authority: Authority
) -> None:
    """They never say close_notify themselves, and have not read ours."""
    running = start(session, serving=tls)
    with connect(running, authority) as idle, running.connect():
        idle.sendall(GET % b"/b/small")
        receive_answer(idle)
        running._loop.call_soon_threadsafe(running._stop.set)
        assert receive_all(idle) == b""
        running.stop()


# ---------------------------------------------------------------- the send rule


def read_stalled(running: Running, authority: Authority, path: bytes) -> bytes:
    with connect(running, authority, receive_buffer_bytes=16_384) as secure:
        secure.sendall(GET % path)
        wait_for(lambda: running.session.pinned_max > 0)
        time.sleep(0.3)  # the owner refills whatever it can meanwhile
        status, _, body = receive_answer(secure)
    assert status == 200
    return body


@pytest.mark.parametrize("path", [b"/b/k", b"/b/one-block"])
def test_a_stalled_reader_gets_the_objects_bytes(
    start: Callable[..., Running], session: MemorySession, tls: ServerTls, authority: Authority, path: bytes
) -> None:
    running = start(session, serving=tls)
    expected = DATA[: BLOCK_BYTES if path == b"/b/one-block" else None]
    assert read_stalled(running, authority, path) == expected


@pytest.mark.parametrize("path", [b"/b/k", b"/b/one-block"])
def test_without_the_rule_it_gets_other_bytes(
    start: Callable[..., Running],
    session: MemorySession,
    tls: ServerTls,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    path: bytes,
) -> None:
    monkeypatch.setattr(connection, "PinnedSender", HastySender)
    running = start(session, serving=tls)
    body = read_stalled(running, authority, path)
    expected = DATA[: BLOCK_BYTES if path == b"/b/one-block" else None]
    assert len(body) == len(expected)
    assert body != expected
    assert body.count(REFILL) > 65_536


def test_a_stalled_reader_costs_one_piece(
    start: Callable[..., Running], session: MemorySession, tls: ServerTls, authority: Authority
) -> None:
    """What is encrypted for it and has not left is bounded, and the rest still lies in shared memory, pinned."""
    running = start(session, serving=tls)
    with connect(running, authority, receive_buffer_bytes=16_384) as secure:
        secure.sendall(GET % b"/b/one-block")
        wait_for(lambda: session.pinned_max > 0)
        time.sleep(0.3)
        (one,) = running.on_loop(lambda: list(running.worker.connections))  # type: ignore[union-attr]
        unsent = running.on_loop(lambda: one.sender.unsent_bytes)
        encrypted = running.on_loop(lambda: one.transport._raw.get_write_buffer_size())
        assert unsent > 2 * TLS_PIECE_BYTES
        assert 0 < encrypted <= TLS_PIECE_BYTES + 4 * 64  # and the records' heads
        assert running.on_loop(lambda: session.pinned) == 1
        assert receive_answer(secure)[2] == DATA[:BLOCK_BYTES]
    wait_for(lambda: running.on_loop(lambda: session.pinned) == 0)


def test_a_stalled_reader_is_cut_off_and_others_are_not(
    start: Callable[..., Running], session: MemorySession, tls: ServerTls, authority: Authority
) -> None:
    running = start(session, serving=tls, send_timeout_s=0.6)
    stalled = connect(running, authority, receive_buffer_bytes=16_384)
    with stalled, connect(running, authority) as other:
        stalled.sendall(GET % b"/b/k")
        deadline = time.monotonic() + 20
        while session.pinned or not session.pinned_max:
            assert time.monotonic() < deadline, "its block is still pinned"
            other.sendall(GET % b"/b/small")
            assert receive_answer(other)[2] == b"hello"
            time.sleep(0.05)
        with pytest.raises((OSError, AssertionError)):
            receive_answer(stalled)
    assert running.counters["timeouts_send_total"] == 1


def test_a_slow_reader_that_makes_progress_is_not_cut_off(
    start: Callable[..., Running], session: MemorySession, tls: ServerTls, authority: Authority
) -> None:
    running = start(session, serving=tls, send_timeout_s=2.0)
    received = bytearray()
    with connect(running, authority, receive_buffer_bytes=65_536) as secure:
        secure.sendall(b"GET /b/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        began = time.monotonic()
        while chunk := secure.recv(262_144):
            received += chunk
            if time.monotonic() - began < 4:
                time.sleep(0.01)
    assert received.partition(b"\r\n\r\n")[2] == DATA


# ---------------------------------------------------------------- certificates


def test_a_reload_is_for_new_connections(
    start: Callable[..., Running], session: MemorySession, authority: Authority
) -> None:
    files = authority.issue(suffix="-reloaded")
    tls = ServerTls(*files)
    running = start(session, serving=tls)
    with connect(running, authority) as before:
        authority.issue(suffix="-reloaded")
        running.on_loop(tls.reload)
        with connect(running, authority) as after:
            assert before.getpeercert() != after.getpeercert()
            files[1].write_text("nonsense")
            with pytest.raises(ConfigError, match="tls_key"):
                running.on_loop(tls.reload)
            with connect(running, authority) as later:
                assert later.getpeercert() == after.getpeercert()
                for secure in (before, after, later):
                    secure.sendall(GET % b"/b/small")
                    assert receive_answer(secure)[2] == b"hello"


def broken(text: str) -> str:
    lines = text.splitlines()
    return "\n".join([lines[0], lines[1][::-1], *lines[2:]])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda certificate, key: certificate.unlink(), "cannot read tls_certificate .*certificate.pem: No such file"),
        (lambda certificate, key: key.unlink(), "cannot read tls_key .*key.pem: No such file"),
        (lambda certificate, key: key.chmod(0o644), r"everyone on this host may open it \(mode 644\): run  chmod 600 .*key.pem"),
        (lambda certificate, key: key.write_text(""), "tls_key .* holds no private key"),
        (lambda certificate, key: certificate.write_text(key.read_text()), "tls_certificate .* holds no certificate"),
        (lambda certificate, key: certificate.write_text(broken(certificate.read_text())), "certificate.pem has a certificate that cannot be read"),
        (lambda certificate, key: key.write_text(broken(key.read_text())), "tls_key .*key.pem cannot be used"),
        (lambda certificate, key: key.write_text("#" * (PEM_BYTES_MAX + 1)), "tls_key .* is larger than"),
        (lambda certificate, key: (key.unlink(), key.mkdir()), "tls_key .*(no regular file|Is a directory)"),
        (lambda certificate, key: Authority(key.parent).issue(passphrase=b"secret"), "is encrypted"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_files(
    tmp_path: Path, spoil: Callable[[Path, Path], object], message: str
) -> None:
    certificate, key = Authority(tmp_path).issue()
    load_tls(certificate, key)
    spoil(certificate, key)
    with pytest.raises(ConfigError, match=message):
        load_tls(certificate, key)


def test_another_certificates_key(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, _ = authority.issue()
    _, key = authority.issue(suffix="-other")
    with pytest.raises(ConfigError, match=r"key-other\.pem is not the key of"):
        load_tls(certificate, key)


def test_one_file_for_both_is_a_secret(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue()
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    both.chmod(0o600)
    load_tls(both, both)
    both.chmod(0o604)
    with pytest.raises(ConfigError, match="everyone"):
        load_tls(both, both)
