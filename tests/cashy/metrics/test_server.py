"""/metrics over real sockets, on both kinds of loop: answers, limits, and clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
import uvloop

from cashy.errors import ConfigError
from cashy.metrics import server as server_module
from cashy.metrics.server import CONNECTIONS_MAX, HEAD_BYTES_MAX, MetricsServer, serve

Run = Callable[[Callable[[], Awaitable[None]]], None]
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    def run(test: Callable[[], Awaitable[None]]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(_awaited(test), 30))

    yield run
    gc.collect()  # a transport that was left open would warn here


async def _awaited(test: Callable[[], Awaitable[None]]) -> None:
    await test()


async def ask(
    server: MetricsServer, *pieces: bytes, pause_s: float = 0.0
) -> tuple[int, dict[str, str], bytes]:
    """Sends the pieces and reads until the server closes: status, headers, body."""
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause_s)
        answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), body


async def serve_page(page: bytes = b"metric 1\n") -> MetricsServer:
    return await serve(("127.0.0.1", 0), lambda: page)


def test_a_scrape(run: Run) -> None:
    async def test() -> None:
        server = await serve_page(b"metric 1\n" * 20_000)
        try:
            assert server.url == f"http://{server.address}/metrics"
            status, headers, body = await ask(server, GET)
            assert (status, len(body)) == (200, 180_000)
            assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert headers["content-length"] == "180000"
            assert headers["connection"] == "close"
            status, _, body = await ask(server, b"GET /metrics?a=b HTTP/1.0\r\n\r\n")
            assert (status, len(body)) == (200, 180_000)
        finally:
            await server.close()
        assert not server.connections

    run(test)


def test_a_request_in_single_bytes(run: Run) -> None:
    async def test() -> None:
        server = await serve_page()
        try:
            assert await ask(server, *(GET[at : at + 1] for at in range(len(GET)))) == (
                200,
                {
                    "content-type": "text/plain; version=0.0.4; charset=utf-8",
                    "content-length": "9",
                    "connection": "close",
                },
                b"metric 1\n",
            )
        finally:
            await server.close()

    run(test)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/ HTTP/1.1\r\n\r\n", 404),
        (b"GET http://x/metrics HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc", 405),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", 405),
        (b"get /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics HTTP/2.0\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nx: " + b"a" * HEAD_BYTES_MAX, 431),
    ],
)
def test_what_is_no_scrape_is_refused(run: Run, request_bytes: bytes, status: int) -> None:
    async def test() -> None:
        server = await serve_page()
        try:
            assert (await ask(server, request_bytes))[0] == status
            assert (await ask(server, GET))[0] == 200, "nobody else is harmed"
        finally:
            await server.close()

    run(test)


def test_a_head_at_the_limit_is_taken(run: Run) -> None:
    async def test() -> None:
        start, end = b"GET /metrics HTTP/1.1\r\nx: ", b"\r\n\r\n"
        for over, status in ((0, 200), (1, 431)):
            filler = b"a" * (HEAD_BYTES_MAX + over - len(start) - len(end))
            server = await serve_page()
            try:
                # Its end comes alone, so that what was there before counts.
                assert (await ask(server, start + filler + end[:-1], end[-1:], pause_s=0.05))[0] == status
            finally:
                await server.close()

    run(test)


def test_silence_is_cut_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEAD_TIMEOUT_S", 0.1)

    async def test() -> None:
        server = await serve_page()
        try:
            for sent in (b"", b"GET /metrics HTTP/1.1\r\n"):
                host, _, port = server.address.rpartition(":")
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(sent)
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
                writer.close()
            assert (await ask(server, GET))[0] == 200
        finally:
            await server.close()

    run(test)


def test_a_reader_that_does_not_read_is_cut_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "SEND_TIMEOUT_S", 0.1)

    async def test() -> None:
        server = await serve_page(b"m" * (32 << 20))  # more than sockets hold
        try:
            host, _, port = server.address.rpartition(":")
            with socket.create_connection((host, int(port))) as lazy:
                lazy.sendall(GET)
                while not server.connections:
                    await asyncio.sleep(0.01)
                while server.connections:
                    await asyncio.sleep(0.01)
        finally:
            await server.close()

    run(test)


def test_connections_over_the_limit_are_told_to_come_back(run: Run) -> None:
    async def test() -> None:
        server = await serve_page()
        host, _, port = server.address.rpartition(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(CONNECTIONS_MAX)]
        try:
            while len(server.connections) < CONNECTIONS_MAX:
                await asyncio.sleep(0.01)
            status, headers, _ = await ask(server, GET)
            assert (status, headers["retry-after"]) == (503, "1")
            held.pop()[1].close()
            while len(server.connections) > CONNECTIONS_MAX - 1:
                await asyncio.sleep(0.01)
            assert (await ask(server, GET))[0] == 200
        finally:
            for _, writer in held:
                writer.close()
            await server.close()
        assert not server.connections

    run(test)


def test_a_page_is_made_once_for_many_who_ask_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def render() -> bytes:
        made.append(1)
        return b"%d\n" % len(made)

    async def test() -> None:
        monkeypatch.setattr(server_module, "PAGE_AGE_MAX_S", 3600.0)
        server = await serve(("127.0.0.1", 0), render)
        try:
            answers = await asyncio.gather(*(ask(server, GET) for _ in range(10)))
            assert {body for _, _, body in answers} == {b"1\n"}
            monkeypatch.setattr(server_module, "PAGE_AGE_MAX_S", 0.0)
            assert (await ask(server, GET))[2] == b"2\n"
        finally:
            await server.close()

    run(test)


def test_a_bug_in_the_page_is_an_answer(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    made: list[int] = []

    def render() -> bytes:
        made.append(1)
        if len(made) == 1:
            raise ValueError("broken")
        return b"fine\n"

    async def test() -> None:
        server = await serve(("127.0.0.1", 0), render)
        try:
            assert (await ask(server, GET))[0] == 500
            assert (await ask(server, GET))[2] == b"fine\n"
        finally:
            await server.close()

    run(test)


def test_a_taken_port_is_an_error_that_names_it() -> None:
    async def test() -> None:
        first = await serve_page()
        host, _, port = first.address.rpartition(":")
        try:
            with pytest.raises(
                ConfigError, match=rf"cannot listen for /metrics on {first.address}: .*--metrics"
            ):
                await serve((host, int(port)), lambda: b"")
            with pytest.raises(ConfigError, match="cannot listen"):
                await serve(("192.0.2.1", 0), lambda: b"")
            with pytest.raises(ConfigError, match="cannot listen"):
                await serve(("no.such.host.invalid", 0), lambda: b"", further_ports=3)
        finally:
            await first.close()

    asyncio.run(test())


def test_a_taken_port_leads_to_the_next_free_one() -> None:
    async def test() -> None:
        servers: list[MetricsServer] = []
        try:
            servers.append(await serve_page())
            host, _, port = servers[0].address.rpartition(":")
            for _ in range(3):
                servers.append(await serve((host, int(port)), lambda: b"next\n", further_ports=64))
            ports = [int(server.address.rpartition(":")[2]) for server in servers]
            assert ports == sorted(set(ports)), "each its own, further on"
            assert (await ask(servers[-1], GET))[2] == b"next\n"
            with contextlib.ExitStack() as stack:
                with contextlib.suppress(OSError):  # somebody has it already, which is as good
                    stack.enter_context(socket.create_server((host, int(port) + 1)))
                with pytest.raises(ConfigError, match=f"ports {port} to {int(port) + 1}"):
                    await serve((host, int(port)), lambda: b"", further_ports=1)
        finally:
            for server in servers:
                await server.close()

    asyncio.run(test())


def test_ipv6_addresses_stand_in_brackets() -> None:
    async def test() -> None:
        try:
            server = await serve(("::1", 0), lambda: b"6\n")
        except ConfigError:
            pytest.skip("this machine has no IPv6")
        try:
            assert server.address.startswith("[::1]:")
            assert (await ask(server, GET))[2] == b"6\n"
        finally:
            await server.close()

    asyncio.run(test())
