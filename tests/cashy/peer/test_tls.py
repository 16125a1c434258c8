"""Hosts with certificates: who is let in, who is not and what both sides are told, and that reads are over TLS what they are without."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cashy.peer.certificates import Authority, first_flight, secure_pair, secure_peer, secure_server
from tests.cashy.peer.hosts import (
    ANNA,
    BLOCK_BYTES,
    PATIENCE_S,
    Ask,
    MemoryService,
    on_both_loops,
    pattern,
    raw_client,
    serving,
    until,
)

from aviary.cashy.v1.peer_pb2 import PeerObject, PeerReadRequest
from cashy.core.peer_frames import HEADER_BYTES, Kind, unpack_header
from cashy.core.peer_greeting import NONCE_BYTES, ConnectingGreeting
from cashy.core.peer_wire import FrameWriter
from cashy.peer import tls_socket
from cashy.peer.client import Peer
from cashy.peer.errors import PeerUnavailable
from cashy.peer.limits import GREETINGS_MAX, HANDSHAKE_BYTES_MAX
from cashy.peer.server import PeerServer
from cashy.peer.tls import PEER_ALPN, PeerTls


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def run(scene: Any) -> None:
    """Runs a coroutine in a bounded time."""

    async def bounded() -> None:
        async with asyncio.timeout(3 * PATIENCE_S):
            await scene

    asyncio.run(bounded())


# ------------------------------------------------------------ reads


def test_bytes_come_as_they_are(authority: Authority) -> None:
    data = pattern(3, BLOCK_BYTES)

    async def scene() -> None:
        service = MemoryService({"o": data, "small": b"x"})
        async with secure_pair(service, authority) as (peer, server):
            reads = [Ask(peer, "o", offset, BLOCK_BYTES - offset) for offset in (0, 1, 4095, BLOCK_BYTES - 1)]
            reads += [Ask(peer, "small", 0, 1), Ask(peer, "o", 17, 300_000)]
            assert [await read.data() for read in reads] == [
                data, data[1:], data[4095:], data[-1:], b"x", data[17 : 17 + 300_000],
            ]  # fmt: skip
            assert await peer.status(PATIENCE_S) == b"all is well"
            await until(lambda: [served.gone for served in service.reads] == [1] * 6)
            assert server.counters()["greeted_total"] == 1
            assert peer.counters()["bytes_received_total"] >= 3 * (BLOCK_BYTES - 4096)

    run(scene())


def test_a_cancelled_read_is_not_written_into_and_others_go_on(authority: Authority) -> None:
    data = pattern(5, BLOCK_BYTES)

    async def scene() -> None:
        service = MemoryService({"o": data})
        async with secure_pair(service, authority) as (peer, _):
            given_up, kept = Ask(peer, "o"), Ask(peer, "o")
            await until(lambda: given_up.sink.watermark > 0)
            given_up.cancel()
            at_cancel = bytes(given_up.sink.memory)
            assert given_up.sink.calls[-1] == "detached"
            assert await kept.data() == data
            assert bytes(given_up.sink.memory) == at_cancel
            await until(lambda: [served.gone for served in service.reads] == [1, 1])
            assert peer.is_up

    run(scene())


def test_a_host_that_does_not_read_holds_no_more_than_a_frame(authority: Authority) -> None:
    """A block is given back at a cancel though the socket is full; the frame that was begun is completed from a copy."""
    data = pattern(5, BLOCK_BYTES)
    service = MemoryService({"o": data})
    frozen, may_read = threading.Event(), threading.Event()
    kinds: list[Kind] = []

    def ask(server: PeerServer, tls: PeerTls) -> None:
        with greeted_socket(server, tls) as sock:
            sock.ask_for_a_block("o")
            frozen.set()
            assert may_read.wait(PATIENCE_S)
            kinds.extend(sock.kinds_until(Kind.ERROR))

    async def scene() -> None:
        async with secure_server(service, authority.tls("bert")) as server:
            asking = asyncio.create_task(asyncio.to_thread(ask, server, authority.tls("anna")))
            await asyncio.to_thread(frozen.wait, PATIENCE_S)
            await until(lambda: any(one.socket.blocked_since for one in server._connections()))
            connection = server._connections()[0]
            assert service.reads[0].gone == 0
            connection._cancel(1, "CANCELLED", "by the test")
            await until(lambda: service.reads[0].gone == 1)
            assert connection.socket.bytes_out < len(data)
            may_read.set()
            await asking

    run(scene())
    assert kinds[0] is Kind.BLOCK
    assert set(kinds[1:-1]) == {Kind.DATA}


def test_one_damaged_byte_ends_the_connection_and_reaches_nobody(authority: Authority) -> None:
    data = pattern(9, BLOCK_BYTES)

    async def scene() -> None:
        async with (
            secure_server(MemoryService({"o": data}), authority.tls("bert")) as server,
            damaging_relay(server.address, after=1_000_000) as address,
            secure_peer(address, authority.tls("anna")) as peer,
        ):
            await until(lambda: peer.is_up)
            read = Ask(peer, "o")
            error = await read.error()
            assert isinstance(error, PeerUnavailable)
            assert "TLS" in error.message
            assert bytes(read.sink.memory[: read.sink.watermark]) == data[: read.sink.watermark]
            # And the next connection, which nobody damages, gives all of it.
            await until(lambda: peer.is_up)
            assert await Ask(peer, "o").data() == data

    run(scene())


def test_what_tls_took_off_the_kernel_is_come_back_to(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns so short that each ends in the middle of a record: the loop does not tell of the rest, since the socket is empty."""
    monkeypatch.setattr("cashy.peer.frame_socket.TURN_BYTES_MAX", 1)
    for name in (
        "link.PING_S",
        "link.IDLE_PING_S",
        "serving.CLIENT_SILENT_S_MAX",
    ):  # a PONG or an end would wake it up, too
        monkeypatch.setattr(f"cashy.peer.{name}", 1000.0)

    async def scene() -> None:
        async with secure_pair(MemoryService(), authority) as (peer, _):
            # So many answers leave together, in one record.
            answers = await asyncio.gather(*(peer.status(PATIENCE_S) for _ in range(100)))
            assert answers == [b"all is well"] * 100

    run(scene())


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=2),
    st.lists(st.integers(0, 3), min_size=1, max_size=30),
)
@settings(max_examples=200, deadline=None)
def test_a_record_that_is_offered_again_is_cut_the_same(lengths: list[int], taken: list[int]) -> None:
    """OpenSSL refuses another length than the one it has begun with. ``taken``: how many records leave in each call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tls_socket, "_RECORD_BYTES", 16)
        text = bytes(number & 0xFF for number in range(sum(lengths)))
        pieces, at = [], 0
        for length in lengths:
            pieces.append(memoryview(text)[at : at + length])
            at += length
        due = [bytes(record) for record in tls_socket._records(pieces)]
        assert b"".join(due) == text
        assert {len(record) for record in due[:-1]} <= {16}
        for count in taken:
            assert [bytes(record) for record in tls_socket._records(pieces)] == due
            for record in due[:count]:
                pieces = _without(pieces, len(record))
            due = due[count:]


def _without(pieces: list[memoryview], count: int) -> list[memoryview]:
    """What a frame socket has left after so many bytes."""
    left = list(pieces)
    while count:
        took = min(count, len(left[0]))
        count -= took
        left[0] = left[0][took:]
        if not left[0]:
            del left[0]
    return left


# ------------------------------------------------------------ who is not let in


@asynccontextmanager
async def refused(
    authority: Authority,
    client: PeerTls | None,
    server: PeerTls | None = None,
    identity: Any = ANNA,
    name: str = "bert",
) -> AsyncIterator[tuple[Peer, PeerServer]]:
    async with (
        secure_server(MemoryService(), server or authority.tls("bert")) as at,
        secure_peer(at.address, client, identity, name) as peer,
    ):
        await until(lambda: peer.counters()["connect_failures_total"] >= 2)
        assert not peer.is_up
        assert not peer.is_worth_trying()
        assert at.counters()["greeted_total"] == at.counters()["connections"] == 0
        yield peer, at


CASES: dict[str, tuple[Callable[[Authority, Authority], PeerTls], str, str]] = {
    "of another authority": (
        lambda own, other: other.tls("anna", trusted=[own, other]),
        "it is of an authority that is not in cluster.tls_ca there",
        "(no authority in cluster.tls_ca has signed it)",
    ),
    "of another host": (
        lambda own, _: stolen(own, "carl"),
        "the certificate shown is for cashy://floor/carl, not for cashy://floor/anna: install the one of `cashy ca issue anna`",
        "the certificate shown is for cashy://floor/carl, not for cashy://floor/anna",
    ),
    "of another cluster, by the same authority": (
        lambda own, _: stolen(own, "anna", cluster="other"),
        "the certificate shown is for cashy://other/anna, not for cashy://floor/anna",
        "the certificate shown is for cashy://other/anna, not for cashy://floor/anna",
    ),
    "expired": (
        lambda own, _: own.tls("anna", own.issue("anna", days=1, ago=timedelta(days=2))),
        "it has expired (or the clock there is wrong): issue another one",
        "its certificate is not accepted: certificate has expired",
    ),
    "not yet in force": (
        lambda own, _: own.tls("anna", own.issue("anna", days=9, ago=timedelta(days=-2))),
        "the other side does not accept this host's certificate",
        "its certificate is not accepted: certificate is not yet valid",
    ),
    "none": (
        lambda own, _: without_certificate(own),
        "it wants a certificate and got none",
        "it shows no certificate: every host of the cluster needs one",
    ),
    "TLS 1.2": (lambda own, _: old(own), "", "it speaks no TLS 1.3, and nothing older is spoken here"),
    "of another program": (
        lambda own, _: of_another_program(own),
        "",
        "",
    ),
}


def stolen(authority: Authority, host: str, cluster: str | None = None) -> PeerTls:
    """Anna's connections with somebody else's certificate: what her own files would not be loaded as."""
    tls, theirs = authority.tls("anna"), authority.issue(host, cluster=cluster)
    files = authority.files("thief", theirs)
    tls.loaded.client.load_cert_chain(files.certificate, files.key)
    return tls


def without_certificate(authority: Authority) -> PeerTls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=authority.pair.certificate.decode())
    context.set_alpn_protocols([PEER_ALPN])
    return PeerTls(replace(authority.load("anna"), client=context))


def old(authority: Authority) -> PeerTls:
    tls = authority.tls("anna")
    tls.loaded.client.minimum_version = tls.loaded.client.maximum_version = ssl.TLSVersion.TLSv1_2
    return tls


def of_another_program(authority: Authority) -> PeerTls:
    tls = authority.tls("anna")
    tls.loaded.client.set_alpn_protocols(["h2"])
    return tls


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_host_with_a_wrong_certificate_is_not_let_in_and_both_are_told(
    authority: Authority, tmp_path: Path, case: str
) -> None:
    make, told_to_the_client, told_to_the_server = CASES[case]
    other = Authority(tmp_path / "other")
    other.folder.mkdir()

    async def scene() -> None:
        with structlog.testing.capture_logs() as logs:
            async with refused(authority, make(authority, other)) as (peer, server):
                assert told_to_the_client in peer.last_error
                await until(lambda: said(logs, "stranger_not_let_in") or said(logs, "peer_not_let_in"))
                reasons = said(logs, "stranger_not_let_in") + said(logs, "peer_not_let_in")
                assert any(told_to_the_server in reason for reason in reasons), reasons
                figures = server.counters()
                assert figures["refused_certificate_total"] + figures["handshakes_failed_total"] >= 1
            if told_to_the_client:
                assert any(told_to_the_client in reason for reason in said(logs, "peer_refused"))

    run(scene())


def said(logs: list[Any], event: str) -> list[str]:
    return [str(entry.get("reason")) for entry in logs if entry["event"] == event]


def test_a_server_with_another_hosts_certificate_is_not_believed(authority: Authority) -> None:
    thief = authority.tls("bert")
    files = authority.files("thief", authority.issue("carl"))
    thief.loaded.server.load_cert_chain(files.certificate, files.key)

    async def scene() -> None:
        with structlog.testing.capture_logs() as logs:
            async with refused(authority, authority.tls("anna"), thief) as (peer, _):
                assert "is for cashy://floor/carl, not for cashy://floor/bert" in peer.last_error
                await until(lambda: said(logs, "peer_left_greeting"))
                assert "its certificate is for cashy://floor/anna" in said(logs, "peer_left_greeting")[0]
            assert "not for cashy://floor/bert" in said(logs, "peer_refused")[0]

    run(scene())


def test_a_self_signed_certificate_with_the_right_name_proves_nothing(
    authority: Authority, tmp_path: Path
) -> None:
    """Made by openssl, as somebody would who knows the names but not the authority's key."""
    key, certificate = tmp_path / "own.key", tmp_path / "own.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=anna", "-addext", "subjectAltName=URI:cashy://floor/anna"],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = authority.tls("anna")
    tls.loaded.client.load_cert_chain(certificate, key)

    async def scene() -> None:
        with structlog.testing.capture_logs() as logs:
            async with refused(authority, tls):
                await until(lambda: said(logs, "stranger_not_let_in"))
            assert (
                "self-signed certificate (no authority in cluster.tls_ca has signed it)"
                in said(logs, "stranger_not_let_in")[0]
            )

    run(scene())


def test_the_key_is_one_more_lock_where_both_have_it(authority: Authority) -> None:
    async def scene() -> None:
        async with refused(authority, authority.tls("anna"), identity=replace(ANNA, key=b"")) as (peer, _):
            assert "does not have this cluster's key" in peer.last_error

    run(scene())


@on_both_loops
async def test_without_tls_to_a_host_with_it() -> None:
    with tempfile.TemporaryDirectory() as folder, structlog.testing.capture_logs() as logs:
        async with refused(Authority(Path(folder)), None) as (peer, _):
            assert (
                "it speaks without TLS, and this host only with: give it tls_certificate" in peer.last_error
            )
        assert "it speaks without TLS" in said(logs, "stranger_not_let_in")[0]


def test_with_tls_to_a_host_without_it(authority: Authority) -> None:
    async def scene() -> None:
        with structlog.testing.capture_logs() as logs:
            async with (
                serving(MemoryService()) as server,
                secure_peer(server.address, authority.tls("anna")) as peer,
            ):
                await until(lambda: peer.counters()["connect_failures_total"] >= 2)
                assert (
                    "closed in the TLS handshake: perhaps it runs with cluster.insecure = true"
                    in peer.last_error
                )
            assert (
                "the other side speaks TLS, and this host runs with cluster.insecure"
                in said(logs, "stranger_broke_protocol")[0]
            )

    run(scene())


# ------------------------------------------------------------ strangers and their handshakes


def test_half_a_handshake_garbage_and_silence_cost_nothing_lasting(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cashy.peer.tls_handshake.HANDSHAKE_S_MAX", 0.5)
    hello = first_flight(authority.tls("anna").loaded.client)
    openings = [
        b"",
        hello[:3],
        hello[: len(hello) // 2],
        hello[:-1],
        hello,
        b"GET / HTTP/1.1\r\n\r\n",
        os.urandom(512),
        b"\x16\x03\x01\xff\xff" * 9,
    ]

    async def scene() -> None:
        service = MemoryService({"o": b"x"})
        with structlog.testing.capture_logs() as logs:
            async with secure_server(service, authority.tls("bert")) as server:
                for opening in openings:
                    for is_closed_then in (True, False):
                        await stranger(server, opening, is_closed_then=is_closed_then)
                await until(lambda: server.counters()["greetings_under_way"] == 0)
                assert server.counters()["handshakes_failed_total"] == 2 * len(openings)
                assert server.counters()["greeted_total"] == 0
                async with secure_peer(server.address, authority.tls("anna")) as peer:
                    assert await Ask(peer, "o", 0, 1).data() == b"x"
        # One line in the log and not one for each; how many there were is in the counters.
        assert len(said(logs, "stranger_not_let_in")) == 1

    run(scene())


def test_a_handshake_without_end_is_cut_off_by_its_size(authority: Authority) -> None:
    """Records of a ClientHello that announces 128 KiB, which OpenSSL alone would wait for."""
    size = 2 * HANDSHAKE_BYTES_MAX - 64
    body = b"\x01" + size.to_bytes(3, "big") + bytes(HANDSHAKE_BYTES_MAX)

    async def scene() -> None:
        with structlog.testing.capture_logs() as logs:
            async with secure_server(MemoryService(), authority.tls("bert")) as server:
                async with raw_client(server) as raw:
                    for at in range(0, len(body), 1 << 14):
                        piece = body[at : at + (1 << 14)]
                        try:
                            await raw.send(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece)
                        except ConnectionError:
                            break
                    assert await raw.take(1) == b"", "it ends its half, and reads on for a moment"
                await until(lambda: server.counters()["handshakes_failed_total"] == 1)
            assert said(logs, "stranger_not_let_in") == [
                f"more than {HANDSHAKE_BYTES_MAX} bytes, and no end of the handshake"
            ]

    run(scene())


def test_handshakes_have_a_number(authority: Authority) -> None:
    async def scene() -> None:
        async with secure_server(MemoryService(), authority.tls("bert")) as server:
            socks = [socket.create_connection(server.address) for _ in range(GREETINGS_MAX + 1)]
            try:
                await until(lambda: server.counters()["turned_away_total"] == 1)
                assert server.counters()["greetings_under_way"] == GREETINGS_MAX
            finally:
                for sock in socks:
                    sock.close()
            await until(lambda: server.counters()["greetings_under_way"] == 0)

    run(scene())


# ------------------------------------------------------------ renewal and revocation


def test_renewal_takes_effect_for_new_connections_and_ends_none(authority: Authority) -> None:
    data = pattern(1, BLOCK_BYTES)

    async def scene() -> None:
        bert, anna = authority.tls("bert"), authority.tls("anna")
        async with (
            secure_server(MemoryService({"o": data}), bert) as server,
            secure_peer(server.address, anna) as peer,
        ):
            read = Ask(peer, "o")
            await until(lambda: read.sink.watermark > 0)
            for tls, host in ((bert, "bert"), (anna, "anna")):
                before = tls.loaded.serial
                assert tls.adopt(authority.load(host), ()) is False
                assert tls.loaded.serial != before
            server.trust_changed(is_all=False)
            peer.trust_changed(is_all=False)
            assert await read.data() == data
            assert peer.counters()["connects_total"] == 1
            assert peer.is_up

    run(scene())


def test_two_authorities_during_a_change(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    new = Authority(tmp_path / "new")

    async def scene() -> None:
        both = [new, authority]
        bert, anna = authority.tls("bert", trusted=both), authority.tls("anna", trusted=both)
        async with (
            secure_server(MemoryService({"o": b"x"}), bert) as server,
            secure_peer(server.address, anna) as peer,
        ):
            await until(lambda: peer.is_up)
            bert.adopt(
                new.load("bert", trusted=both), ()
            )  # one host after the other gets its new certificate
            peer._link.close(PeerUnavailable("by the test"))  # type: ignore[union-attr]
            await until(lambda: peer.is_up)
            anna.adopt(new.load("anna", trusted=both), ())
            # The end: the old authority is not trusted any more, and connections prove themselves anew.
            assert anna.adopt(new.load("anna", trusted=[new]), ()) is True
            assert bert.adopt(new.load("bert", trusted=[new]), ()) is True
            server.trust_changed(is_all=True)
            await until(lambda: peer.counters()["connects_total"] == 3 and peer.is_up)
            assert await Ask(peer, "o", 0, 1).data() == b"x"
        async with refused(authority, authority.tls("anna", trusted=both), new.tls("bert", trusted=[new])):
            pass

    run(scene())


def test_a_refused_serial_number_ends_what_it_has_and_lets_nothing_in(authority: Authority) -> None:
    async def scene() -> None:
        bert, anna = authority.tls("bert"), authority.tls("anna")
        with structlog.testing.capture_logs() as logs:
            async with (
                secure_server(MemoryService(), bert) as server,
                secure_peer(server.address, anna) as peer,
            ):
                await until(lambda: peer.is_up)
                bert.adopt(bert.loaded, [anna.loaded.serial])
                server.trust_changed(is_all=False)
                await until(lambda: peer.counters()["refused_total"] > 0)
                assert f"serial number {anna.loaded.serial:x} is refused" in peer.last_error
                assert server.counters()["connections"] == 0
                anna.adopt(authority.load("anna"), ())  # another one, which is not stolen
                await until(lambda: peer.is_up)
            assert any(
                "is refused (cluster.tls_refused)" in reason for reason in said(logs, "peer_not_let_in")
            )

    run(scene())


def test_the_asking_side_refuses_a_serial_number_too(authority: Authority) -> None:
    async def scene() -> None:
        bert, anna = authority.tls("bert"), authority.tls("anna")
        async with secure_server(MemoryService(), bert) as server, secure_peer(server.address, anna) as peer:
            await until(lambda: peer.is_up)
            anna.adopt(anna.loaded, [bert.loaded.serial])
            peer.trust_changed(is_all=False)
            await until(lambda: "is refused" in peer.last_error)
            assert not peer.is_up

    run(scene())


def test_nothing_is_resumed(authority: Authority) -> None:
    """No ticket leads past the certificates."""

    async def scene() -> None:
        async with secure_server(MemoryService(), authority.tls("bert")) as server:
            context = authority.tls("anna").loaded.client

            def connect() -> tuple[bool, str | None]:
                with socket.create_connection(server.address) as plain, context.wrap_socket(plain) as tls:
                    tls.settimeout(0.2)
                    try:
                        tls.recv(1)
                    except TimeoutError:
                        pass
                    return tls.session.has_ticket if tls.session is not None else False, tls.version()

            assert await asyncio.to_thread(connect) == (False, "TLSv1.3")

    run(scene())


# ------------------------------------------------------------ helpers


class GreetedSocket:
    """An asking host that takes as little as it is told to: a blocking socket with TLS, used on a thread."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self._writer = FrameWriter()
        greeting = ConnectingGreeting(ANNA, "bert", bytes(NONCE_BYTES))
        sock.sendall(self._writer.control(Kind.HELLO, 0, greeting.hello))
        sock.sendall(self._writer.control(Kind.PROOF, 0, greeting.challenged(self._frame()[1])))
        assert self._frame()[0] is Kind.WELCOME

    def _frame(self) -> tuple[Kind, bytes]:
        kind, _, _, length, _, _ = unpack_header(self._take(HEADER_BYTES))
        return kind, self._take(length)

    def _take(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            piece = self._sock.recv(count - len(taken))
            assert piece, "the stream has ended"
            taken += piece
        return taken

    def ask_for_a_block(self, key: str) -> None:
        """READ; the answer stays where it is."""
        request = PeerReadRequest(
            object=PeerObject(origin="store", bucket="bucket", key=key, url=f"s3://bucket/{key}"),
            length=BLOCK_BYTES, deadline_ms=60_000, silence_ms=60_000,
        )  # fmt: skip
        self._sock.sendall(self._writer.control(Kind.READ, 1, request.SerializeToString()))

    def kinds_until(self, last: Kind) -> list[Kind]:
        """Reads on, and checks each header, up to a frame of this kind."""
        kinds: list[Kind] = []
        while not kinds or kinds[-1] is not last:
            kinds.append(self._frame()[0])
        return kinds


@contextmanager
def greeted_socket(server: PeerServer, tls: PeerTls) -> Iterator[GreetedSocket]:
    with (
        socket.create_connection(server.address, PATIENCE_S) as plain,
        tls.loaded.client.wrap_socket(plain) as sock,
    ):
        yield GreetedSocket(sock)


@asynccontextmanager
async def damaging_relay(target: tuple[str, int], after: int) -> AsyncIterator[tuple[str, int]]:
    """Between two hosts; changes one bit in what comes from ``target``, after so many bytes of the first connection."""
    left = [after]

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_damaged: bool) -> None:
        try:
            while piece := bytearray(await reader.read(1 << 16)):
                if is_damaged and left[0] >= 0:
                    left[0] -= len(piece)
                    if left[0] < 0:
                        piece[0] ^= 1
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*target)
        await asyncio.gather(pass_on(reader, back, False), pass_on(there, writer, True))

    relay = await asyncio.start_server(between, "127.0.0.1", 0)
    try:
        yield relay.sockets[0].getsockname()
    finally:
        relay.close()


async def stranger(server: PeerServer, opening: bytes, *, is_closed_then: bool) -> None:
    """Says something; then leaves, or stays until it is thrown out."""
    failed = server.counters()["handshakes_failed_total"]
    async with raw_client(server) as raw:
        if opening:
            await raw.send(opening)
        if not is_closed_then:
            assert await raw.is_closed_by_the_other()
            return
    await until(lambda: server.counters()["handshakes_failed_total"] > failed)
