"""A front end as a whole: settings, methods, health, reflection, metrics, logs, and the program itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.toucan.server.local_engine import LocalEngine
from tests.toucan.server.support import World, failing, key, limit_order, run, until, write_users

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.errors import InvalidSettings
from toucan.server import limits
from toucan.server.front_end import FrontEnd
from toucan.server.limits import ANONYMOUS_STREAMS_MAX
from toucan.server.main import run as run_server
from toucan.server.settings import ServerSection, is_loopback
from toucan.server.users import hash_token
from toucan.settings import load_settings

# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"listen": "7070"}, "server.listen = '7070' is no address"),
        ({"listen": "host:70700"}, "is no address"),
        ({"listen": ""}, "is no address"),
        ({"metrics": "here"}, "server.metrics = 'here' is no address"),
        ({"tls_key": "/k"}, "server.tls_key needs server.tls_certificate"),
        ({"tls_certificate": "/c"}, "server.tls_certificate needs server.tls_key"),
        ({"tls_client_ca": "/ca"}, "server.tls_client_ca needs"),
        ({"listen": "0.0.0.0:1"}, "there is no TLS"),
        ({"listen": "[::]:1"}, "there is no TLS"),
        ({"listen": "example.com:1"}, "there is no TLS"),
        ({"listen": "0.0.0.0:1", "local_user": "me"}, "asks nobody who he is"),
        (
            {"listen": "0.0.0.0:1", "local_user": "me", "tls_key": "/k", "tls_certificate": "/c"},
            "asks nobody who he is",
        ),
        ({"local_user": "a b"}, "cannot be the name of a user"),
        ({"local_user": "engine"}, "cannot be the name of a user"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        ServerSection(**settings).check()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"listen": "[::1]:0"},
        {"listen": "localhost:1", "local_user": "me"},
        {"listen": "0.0.0.0:1", "insecure": True},
        {"listen": "0.0.0.0:1", "insecure": True, "local_user": "me"},
        {"listen": "0.0.0.0:1", "tls_key": "/k", "tls_certificate": "/c", "tls_client_ca": "/ca"},
    ],
)
def test_settings_that_fit(settings: dict[str, Any]) -> None:
    ServerSection(**settings).check()


def test_loopback_is_told_from_elsewhere() -> None:
    assert all(map(is_loopback, ("127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1")))
    assert not any(map(is_loopback, ("0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example:1")))


def test_settings_file_is_strict_and_the_other_sections_are_let_be(tmp_path: Path) -> None:
    path = tmp_path / "toucan.toml"
    path.write_text(
        '[engine]\nsocket = "/run/x"\n[venue.SIM]\naddress = "/run/y"\n[server]\nlisten = "127.0.0.1:1"\n'
    )
    file = load_settings(path)
    assert (file.server.listen, file.engine.socket) == ("127.0.0.1:1", "/run/x")
    path.write_text('[server]\nlistn = "127.0.0.1:1"\n')
    with pytest.raises(InvalidSettings, match=r"toucan.toml:2: unknown key.*listn.*listen"):
        load_settings(path)
    path.write_text("[server]\nlisten = 7\n")
    with pytest.raises(InvalidSettings, match=r"toucan.toml:2: server.listen"):
        load_settings(path)
    path.write_text('[server]\nlisten = "0.0.0.0:1"\n')
    with pytest.raises(InvalidSettings, match="there is no TLS"):
        load_settings(path)


# ---------------------------------------------------------------- the whole


async def _word(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


def test_every_method_of_the_api_is_there() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            for service in pb.DESCRIPTOR.services_by_name.values():
                channel: Any = world.client().channel
                for method in service.methods:
                    path = f"/{service.full_name}/{method.name}"
                    if method.client_streaming:
                        call = channel.stream_stream(path)()
                        await call.done_writing()
                        reading = call.read()
                    elif method.server_streaming:
                        reading = channel.unary_stream(path)(b"").read()
                    else:
                        reading = channel.unary_unary(path)(b"")
                    assert await _word(reading) in ("OK", "INVALID_ARGUMENT"), path

    run(scenario())


def test_address_that_is_taken_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(InvalidSettings, match=f"cannot listen on server.listen = '{listen}'"):
                async with World.open(listen=listen):
                    pass
        with pytest.raises(InvalidSettings, match="cannot read the users file"):
            FrontEnd(ServerSection(users=str(tmp_path / "none")), LocalEngine().port())

    run(scenario())


def test_several_front_ends_share_an_address() -> None:
    async def scenario() -> None:
        engine = LocalEngine()
        async with contextlib.AsyncExitStack() as stack:
            first = await stack.enter_async_context(World.open(engine=engine, share_port=True))
            listen = first.front.address
            second = await stack.enter_async_context(
                World.open(engine=engine, share_port=True, listen=listen)
            )
            assert first.front.address == second.front.address
            assert (await second.client().submit()).order_id == 1

    run(scenario())


def test_named_limits_are_all_listed() -> None:
    constants = {name for name in vars(limits) if name.isupper()}
    assert constants - {"DEPTH_LEVELS", "TAPE_LINES_KEPT"} == set(limits.__all__), "two are the market's"


# ---------------------------------------------------------------- health, reflection


def _reflection(world: World) -> Any:
    make: Any = reflection_pb2_grpc.ServerReflectionStub
    return make(world.client().channel)


def test_health_follows_the_engine() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stub: Any = health_pb2_grpc.HealthStub(world.client().channel)
            check, watch = health_pb2.HealthCheckRequest, stub.Watch(health_pb2.HealthCheckRequest())
            status = health_pb2.HealthCheckResponse
            assert (await watch.read()).status == status.SERVING
            for service in ("", "aviary.toucan.v1.OrderEntryService", "aviary.toucan.v1.RiskService"):
                assert (await stub.Check(check(service=service))).status == status.SERVING
            world.port.go_away()
            assert (await watch.read()).status == status.NOT_SERVING
            world.port.come_back()
            assert (await watch.read()).status == status.SERVING
            assert (await failing(stub.Check(check(service="none")))).status == "NOT_FOUND"
            stopping = asyncio.ensure_future(world.front.stop())
            assert (await watch.read()).status == status.NOT_SERVING
            watch.cancel()
            await stopping

    run(scenario())


def test_reflection_describes_the_api_to_anybody(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            stub: Any = _reflection(world)
            call = stub.ServerReflectionInfo()
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            names = {service.name for service in (await call.read()).list_services_response.service}
            assert {
                "aviary.toucan.v1.OrderEntryService",
                "aviary.toucan.v1.RiskService",
                "grpc.health.v1.Health",
            } <= names
            symbol = "aviary.toucan.v1.OrderEntryService"
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
            assert (await call.read()).file_descriptor_response.file_descriptor_proto
            call.cancel()

    run(scenario())


def test_streams_of_nobody_are_few(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            health: Any = health_pb2_grpc.HealthStub(world.client().channel)
            watches = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(ANONYMOUS_STREAMS_MAX)]
            for watch in watches:
                await watch.read()
            over = await failing(health.Watch(health_pb2.HealthCheckRequest()).read())
            assert (over.status, over.code) == ("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS")
            reflection: Any = _reflection(world)
            assert (await failing(reflection.ServerReflectionInfo().read())).code == "TOO_MANY_STREAMS"
            await world.client("alice").orders.WatchOrders(pb.WatchOrdersRequest()).read()
            watches[0].cancel()
            await until(lambda: world.front.book._anonymous < ANONYMOUS_STREAMS_MAX)
            await health.Watch(health_pb2.HealthCheckRequest()).read()
            for watch in watches:
                watch.cancel()

    run(scenario())


# ---------------------------------------------------------------- metrics, logs


def test_metrics_count_requests_and_streams() -> None:
    async def scenario() -> str:
        async with World.open(metrics="127.0.0.1:0") as world:
            client = world.client()
            await client.submit()
            await failing(client.orders.SubmitOrder(pb.SubmitOrderRequest()))
            await failing(client.orders.GetOrder(pb.GetOrderRequest(order_id=9)))
            stream = client.orders.WatchOrders(pb.WatchOrdersRequest())
            await stream.read()

            def scrape() -> str:
                with urllib.request.urlopen(
                    f"http://{world.front.metrics_address}/metrics", timeout=10
                ) as page:
                    text: str = page.read().decode()
                    return text

            return await asyncio.to_thread(scrape)

    page = run(scenario())
    for line in (
        'toucan_server_requests_total{method="SubmitOrder",outcome="OK"} 1.0',
        'toucan_server_requests_total{method="SubmitOrder",outcome="INVALID_REQUEST"} 1.0',
        'toucan_server_requests_total{method="GetOrder",outcome="UNKNOWN_ORDER"} 1.0',
        'toucan_server_request_seconds_count{method="SubmitOrder"} 2.0',
        'toucan_server_streams{method="WatchOrders"} 1.0',
        "toucan_server_requests_waiting 0.0",
        "toucan_server_stale 0.0",
        "toucan_server_seq 6.0",
        "toucan_server_loop_stall_seconds ",
        "process_cpu_seconds_total ",
    ):
        assert line in page, line


def test_metrics_address_that_is_taken_is_told() -> None:
    async def scenario() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(InvalidSettings, match="metrics cannot be served"):
                async with World.open(metrics=f"127.0.0.1:{taken.getsockname()[1]}"):
                    pass

    run(scenario())


def test_log_says_who_asked_what_and_how_it_ended_and_no_token(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            await world.client("alice").submit(note="private words")
            await failing(
                world.client("bob").orders.SubmitOrder(
                    pb.SubmitOrderRequest(key=key(1), terms=limit_order(account="ACC2"))
                )
            )
            await failing(world.client("stranger").orders.SubmitOrder(pb.SubmitOrderRequest(key=key(1))))
            await world.client("alice").orders.GetIdentity(pb.GetIdentityRequest())

    with structlog.testing.capture_logs() as lines:
        run(scenario())
    requests = [line for line in lines if line["event"] == "SubmitOrder"]
    said = [
        {name: line.get(name) for name in ("user", "session", "number", "order_id", "outcome")}
        for line in requests
    ]
    assert said == [
        {"user": "alice", "session": "desk", "number": 1, "order_id": 1, "outcome": "OK"},
        {"user": "bob", "session": "desk", "number": 1, "order_id": None, "outcome": "NOT_ENTITLED"},
        {"user": None, "session": None, "number": None, "order_id": None, "outcome": "UNAUTHENTICATED"},
    ]
    assert [line["log_level"] for line in requests] == ["debug", "info", "info"], (
        "the journal has what was carried out"
    )
    assert all(line["latency_ms"] >= 0 for line in requests)
    assert not any("GetIdentity" in line["event"] for line in lines)
    assert "token" not in str(lines)
    assert "private words" not in str(lines)


# ---------------------------------------------------------------- the program


def test_runs_until_it_is_told_and_reads_users_again_at_sighup(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = write_users(tmp_path / "users")
        section = ServerSection(listen="127.0.0.1:0", users=str(path))
        fronts: list[FrontEnd] = []
        running = asyncio.ensure_future(run_server(section, LocalEngine().port(), ready=fronts.append))
        await until(lambda: bool(fronts))
        write_users(path, {"only": {"accounts": [], "actions": []}})
        changed = asyncio.Event()
        fronts[0].authority.on_change = changed.set
        os.kill(os.getpid(), signal.SIGHUP)
        await changed.wait()
        assert len(fronts[0].authority.users) == 1
        os.kill(os.getpid(), signal.SIGTERM)
        await running

    run(scenario())


def test_stops_by_an_event_and_leaves_signals_alone() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        section = ServerSection(listen="127.0.0.1:0", local_user="me")
        await run_server(section, LocalEngine().port(), ready=lambda _: stop.set(), stop=stop)

    before = signal.getsignal(signal.SIGTERM)
    run(scenario())
    assert signal.getsignal(signal.SIGTERM) is before


def _command(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "toucan.server", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)


def test_command_hashes_a_token_and_makes_one() -> None:
    assert _command("hash-token", text="secret\n").stdout == f'token_sha256 = "{hash_token("secret")}"\n'
    token, digest = _command("hash-token", "--new").stdout.splitlines()
    assert digest == f'token_sha256 = "{hash_token(token.removeprefix("token: "))}"'
    assert _command("hash-token", text="\n").returncode == 1


def test_command_tells_what_is_wrong_with_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "toucan.toml"
    path.write_text('[server]\nlisten = "0.0.0.0:1"\n')
    done = _command("--config", str(path))
    assert done.returncode == 78
    assert "there is no TLS" in done.stderr
    assert "Traceback" not in done.stderr
