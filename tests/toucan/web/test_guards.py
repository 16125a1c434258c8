"""Whom the gateway lets in: hosts, origins, sessions, CSRF tokens, rates; and what it says with every answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import urllib.parse
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import generate_latest
from tests.toucan.server.certificates import Authority
from tests.toucan.server.local_engine import LocalEngine
from tests.toucan.server.support import USERS, run, write_users
from tests.toucan.web.support import ORDERS, WebWorld, order_json

from toucan.errors import InvalidSettings
from toucan.web import limits as web_limits
from toucan.web import protocol, sessions
from toucan.web.gateway import make_gateway
from toucan.web.sessions import WebAuthority
from toucan.web.settings import WebSection

IDENTITY = f"{ORDERS}GetIdentity"


def _authority(world: WebWorld) -> WebAuthority:
    assert isinstance(world.front.authority, WebAuthority)
    return world.front.authority


# ---------------------------------------------------------------- origins


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "OWN", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1"}, 403),
        ({"origin": "OWN.evil.example"}, 403),
        ({"origin": "OWN, OWN"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "OWN", "sec-fetch-site": "cross-site"}, 403),
        ({"host": "evil.example"}, 421),
        ({"host": ""}, 421),
    ],
)
def test_only_its_own_page_may_call(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            browser = world.browser()
            own = f"http://{world.front.address}"
            sent = {name: value.replace("OWN", own) for name, value in headers.items()}
            assert (await browser.call(IDENTITY, {}, sent)).status == status
            assert (await browser.call(f"{ORDERS}SubmitOrder", order_json(1), sent)).status == status
            assert len(world.port.asked) == (status == 200)
            assert (await browser.call("/session", {}, sent)).status == status

    run(scenario())


def test_link_from_elsewhere_leads_to_the_page_and_a_preflight_to_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            browser = world.browser()
            assert (await browser.ask("GET", "/", headers={"sec-fetch-site": "cross-site"})).status == 200
            preflight = {"origin": "https://evil.example", "access-control-request-method": "POST"}
            answer = await browser.ask("OPTIONS", IDENTITY, headers=preflight)
            assert answer.status == 403
            assert not any(name.startswith("access-control-") for name in answer.headers)
            metrics = generate_latest(world.front.metrics.registry).decode()
            assert 'toucan_web_refused_total{reason="OTHER_ORIGIN"} 1.0' in metrics

    run(scenario())


def test_names_of_the_settings_are_its_own_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web", origins=("https://desk.example",)) as world:
            browser = world.browser(host="desk.example")
            answer = await browser.log_in()
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith("__Host-toucan-session-")
            assert "; Secure" in cookie
            assert "strict-transport-security" in answer.headers
            assert (await browser.call(IDENTITY, {}, {"origin": "https://desk.example"})).status == 200
            assert (await browser.call(IDENTITY, {}, {"origin": "http://desk.example"})).status == 403

    run(scenario())


# ---------------------------------------------------------------- sessions


def test_browser_logs_in_calls_and_logs_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web", write_users(tmp_path / "users.toml")) as world:
            browser = world.browser()
            assert (await browser.call(IDENTITY, {})).code == "unauthenticated"
            assert (await browser.ask("GET", "/session")).status == 401
            answer = await browser.log_in("token-of-alice")
            attributes = answer.headers["set-cookie"].split("; ")[1:]
            assert {"HttpOnly", "SameSite=Strict", "Path=/"} < set(attributes)
            assert "token-of-alice" not in urllib.parse.unquote(str(answer.header_list))
            assert (await browser.call(IDENTITY, {})).json()["user"] == "alice"
            assert (await browser.ask("GET", "/session")).json() == answer.json()
            stolen = dict(browser.headers)
            assert (await browser.ask("DELETE", "/session")).status == 204
            browser.headers = stolen
            ended = await browser.call(IDENTITY, {})
            assert (ended.status, ended.detail["code"]) == (401, "SESSION_ENDED")

    run(scenario())


def test_call_without_the_csrf_token_is_refused_and_does_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web", write_users(tmp_path / "users.toml")) as world:
            browser, other = await world.user("alice"), await world.user("bob")
            right = browser.headers.pop("x-toucan-csrf")
            for wrong in (
                {},
                {"x-toucan-csrf": ""},
                {"x-toucan-csrf": right[:-1]},
                {"x-toucan-csrf": other.headers["x-toucan-csrf"]},
            ):
                answer = await browser.call(f"{ORDERS}SubmitOrder", order_json(1), wrong)
                assert (answer.status, answer.detail["code"]) == (403, "CSRF_TOKEN_MISSING")
                assert (await browser.ask("DELETE", "/session", headers=wrong)).status == 403
            assert world.port.asked == []
            assert (await browser.call(IDENTITY, {}, {"x-toucan-csrf": right})).status == 200

    run(scenario())


def test_forged_and_foreign_cookies_are_nobodys(tmp_path: Path) -> None:
    async def scenario() -> None:
        file = write_users(tmp_path / "users.toml")
        async with (
            WebWorld.open(tmp_path / "web", file) as world,
            WebWorld.open(tmp_path / "other", file) as foreign,
        ):
            browser = await world.user("alice")
            name, _, value = browser.headers["cookie"].partition("=")
            theirs = (await foreign.user("alice")).headers["cookie"].partition("=")[2]
            body, _, mac = value.partition(".")
            for forged in (
                theirs,
                f"{body}.",
                f".{mac}",
                mac,
                "",
                value[:-1],
                "x" * 5000,
                f"{body[:-2]}AA.{mac}",
            ):
                browser.headers["cookie"] = f"{name}={forged}"
                assert (await browser.call(IDENTITY, {})).status == 401, forged
            browser.headers["cookie"] = f"{name}=é.é"
            assert (await browser.call(IDENTITY, {})).status == 400
            browser.headers["cookie"] = f"other=1; {name}={value}"
            assert (await browser.call(IDENTITY, {})).status == 200

    run(scenario())


def test_session_ends_with_its_time_and_its_streams_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LOOK_AT_SESSIONS_S", 0.01)

    async def scenario() -> None:
        async with WebWorld.open(
            tmp_path / "web", write_users(tmp_path / "users.toml"), session_s=60
        ) as world:
            authority, now_s = _authority(world), [1_700_000_000.0]
            monkeypatch.setattr(authority, "_clock", lambda: now_s[0])
            browser, watcher = await world.user("alice"), world.browser()
            watcher.headers.update(browser.headers)
            stream = await watcher.watch("WatchOrders", {})
            assert (await stream.read())["isSnapshotEnd"] is True
            now_s[0] += 59.9
            assert (await browser.call(IDENTITY, {})).status == 200
            now_s[0] += 0.1
            assert (await browser.call(IDENTITY, {})).detail["code"] == "SESSION_ENDED"
            error = (await stream.end())["error"]
            assert (error["code"], error["details"][0]["debug"]["code"]) == (
                "unauthenticated",
                "SESSION_ENDED",
            )

    run(scenario())


def test_logout_at_one_gateway_ends_streams_at_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LOOK_AT_SESSIONS_S", 0.01)

    async def scenario() -> None:
        file = write_users(tmp_path / "users.toml")
        async with (
            WebWorld.open(tmp_path / "web", file) as one,
            WebWorld.open(tmp_path / "web", file) as other,
        ):
            browser, there = await one.user("alice"), other.browser()
            there.headers |= {name: value for name, value in browser.headers.items() if name != "host"}
            stream = await there.watch("WatchOrders", {})
            await stream.read()
            assert (await browser.ask("DELETE", "/session")).status == 204
            assert (await stream.end())["error"]["code"] == "unauthenticated"
            await there.close()
            assert (await there.call(IDENTITY, {})).status == 401

    run(scenario())


def test_session_ends_when_its_token_leaves_the_users_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        file = write_users(tmp_path / "users.toml")
        async with WebWorld.open(tmp_path / "web", file) as world:
            browser, watcher = await world.user("alice"), world.browser()
            watcher.headers.update(browser.headers)
            stream = await watcher.watch("WatchOrders", {})
            await stream.read()
            write_users(file, {"alice": {**USERS["alice"], "token_sha256": "0" * 64}})
            await world.front.authority.reload(is_asked=True)
            assert (await browser.call(IDENTITY, {})).detail["code"] == "SESSION_ENDED"
            assert (await stream.end())["error"]["code"] == "unauthenticated"

    run(scenario())


def test_second_login_ends_the_first_session(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web", write_users(tmp_path / "users.toml")) as world:
            browser = await world.user("alice")
            first = dict(browser.headers)
            assert (await browser.log_in("token-of-bob")).status == 200
            assert (await browser.call(IDENTITY, {})).json()["user"] == "bob"
            browser.headers = first
            assert (await browser.call(IDENTITY, {})).status == 401

    run(scenario())


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{}", 401), (b'{"token": 5}', 400), (b'{"token": "x", "user": "alice"}', 400), (b'{"token": "wrong"}', 401),
     (b'{"token": "' + b"x" * 3000 + b'"}', 400), (b'{"token": "\xff"}', 400)],
)  # fmt: skip
def test_login_that_is_none(tmp_path: Path, body: bytes, status: int) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web", write_users(tmp_path / "users.toml")) as world:
            browser = world.browser()
            answer = await browser.ask("POST", "/session", body, {"content-type": "application/json"})
            assert answer.status == status
            assert "set-cookie" not in answer.headers
            plain = await browser.ask(
                "POST", "/session", b'{"token": "token-of-alice"}', {"content-type": "text/plain"}
            )
            assert plain.status == 415

    run(scenario())


def test_tokens_are_not_guessed_many_at_a_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web", write_users(tmp_path / "users.toml")) as world:
            browser = world.browser()
            for _ in range(web_limits.LOGINS_BURST):
                assert (await browser.call("/session", {"token": "guess"})).status == 401
            answer = await browser.call("/session", {"token": "token-of-alice"})
            assert (answer.status, answer.code) == (429, "resource_exhausted")
            assert 1 <= int(answer.headers["retry-after"]) <= 5

    run(scenario())


def test_state_folder_is_private_and_its_key_is_one(tmp_path: Path) -> None:
    folder = tmp_path / "web"
    made = [WebAuthority(WebSection(local_user="local", state=str(folder)), None) for _ in range(2)]
    assert made[0].cookie_names == made[1].cookie_names
    assert os.stat(folder / "key").st_mode & 0o777 == 0o600
    assert sorted(os.listdir(folder)) == ["ended", "key"]
    (folder / "key").write_bytes(b"short")
    with pytest.raises(InvalidSettings, match="is no key"):
        WebAuthority(WebSection(local_user="local", state=str(folder)), None)


# ---------------------------------------------------------------- rates


def test_user_and_address_have_a_rate(tmp_path: Path) -> None:
    async def scenario() -> None:
        file = write_users(tmp_path / "users.toml")
        settings: dict[str, Any] = {
            "user_requests_per_s": 1,
            "user_requests_burst": 3,
            "address_requests_per_s": 1,
            "address_requests_burst": 8,
        }
        async with WebWorld.open(tmp_path / "web", file, **settings) as world:
            browser = world.browser()

            async def ask(user: str) -> Any:
                return await browser.call(IDENTITY, {}, {"authorization": f"Bearer token-of-{user}"})

            assert [(await ask("alice")).status for _ in range(3)] == [200] * 3
            held_back = await ask("alice")
            assert (held_back.status, held_back.detail["code"]) == (429, "TOO_MANY_REQUESTS")
            # It is alice's limit and nobody else's; and then that of the address, whoever asks.
            assert [(await ask("bob")).status for _ in range(3)] == [200] * 3
            assert (await ask("carol")).status == 200
            assert (await ask("carol")).code == "resource_exhausted"
            assert (await browser.ask("GET", "/")).status == 429

    run(scenario())


# ---------------------------------------------------------------- what every answer says, files, connections


def test_answers_say_what_browsers_shall_not_do(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            browser = world.browser()
            page = await browser.ask("GET", "/")
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            for answer in (
                page,
                await browser.call(IDENTITY, {}),
                await browser.ask("GET", "/none"),
                await browser.call("/session", {"x": 1}),
            ):
                assert "content-security-policy" in answer.headers
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["referrer-policy"] == "no-referrer"
                assert "server" not in answer.headers
            assert (await browser.call(IDENTITY, {})).headers["cache-control"] == "no-store"

    run(scenario())


def test_files_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page"
    (page / "parts").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html>")
    (page / "parts" / "book.js").write_text("export {}")
    (page / ".secret.js").write_text("no")
    (page / "notes.py").write_text("no")

    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web", static=str(page)) as world:
            browser = world.browser()
            script = await browser.ask("GET", "/parts/book.js")
            assert (script.body, script.headers["content-type"]) == (
                b"export {}",
                "text/javascript; charset=utf-8",
            )
            etag = script.headers["etag"]
            assert (
                await browser.ask("GET", "/parts/book.js", headers={"if-none-match": f'"x", W/{etag}'})
            ).status == 304
            head = await browser.ask("HEAD", "/")
            assert (head.status, head.headers["content-length"]) == (200, "15")
            for path in (
                "/.secret.js",
                "/notes.py",
                "/parts/",
                "/../users.toml",
                "/parts/../../users.toml",
                "/%2e%2e/users.toml",
                "//etc/passwd",
            ):
                assert (await browser.ask("GET", path)).status == 404, path
            assert (await browser.ask("POST", "/index.html")).status == 405
            (page / "parts" / "book.js").write_text("export {new}")
            await world.front.authority.reload(is_asked=True)
            assert (await browser.ask("GET", "/parts/book.js")).body == b"export {new}"

    run(scenario())


@pytest.mark.parametrize("size", [web_limits.HEAD_BYTES_MAX - 500, web_limits.HEAD_BYTES_MAX + 1])
def test_head_has_a_limit(tmp_path: Path, size: int) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            answer = await world.browser().ask("GET", "/healthz", headers={"x-long": "x" * size})
            assert answer.status == (200 if size < web_limits.HEAD_BYTES_MAX else 431)
            # Also of one that never ends.
            reader, writer = await world.browser().connection()
            writer.write(b"GET / HTTP/1.1\r\nx-long: " + b"x" * size)
            if size > web_limits.HEAD_BYTES_MAX:
                assert b" 431 " in await reader.readline()

    run(scenario())


@pytest.mark.parametrize("piece", [7001, 1 << 20])
def test_many_requests_at_once_are_answered_in_turn(tmp_path: Path, piece: int) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web", address_requests_burst=10_000) as world:
            browser = world.browser()
            reader, writer = await browser.connection()
            one = f"GET /healthz HTTP/1.1\r\nhost: {browser.address}\r\nx-long: {'x' * 1000}\r\n\r\n".encode()
            count = 40 * web_limits.HEAD_BYTES_MAX // len(one)
            everything = one * count
            # In pieces that end anywhere in a head.
            for at in range(0, len(everything), piece):
                writer.write(everything[at : at + piece])
                await asyncio.sleep(0)
            for _ in range(count):
                status, headers = await browser.head(reader)
                assert status == 200
                await reader.readexactly(int(dict(headers)["content-length"]))

    run(scenario())


def test_head_and_body_that_do_not_arrive_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_WAIT_S", 0.1)
    monkeypatch.setattr(protocol, "BODY_WAIT_S", 0.1)
    monkeypatch.setattr(protocol, "LINGER_S", 0.05)

    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            head = f"POST {IDENTITY} HTTP/1.1\r\nhost: {world.front.address}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n".encode()
            reader, _ = await world.browser().connection()
            assert await reader.read() == b"", "who has asked nothing is answered nothing"
            for said in (b"GET / HT", head, head + b"\r\n", head + b"\r\n{"):
                reader, writer = await world.browser().connection()
                writer.write(said)
                assert b" 408 " in await reader.readline(), said
                assert await reader.read() != b""  # to its end
            assert (await world.browser().call(IDENTITY, {})).status == 200

    run(scenario())


def test_connections_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 3)

    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            browsers = [world.browser() for _ in range(3)]
            for one in browsers:
                assert (await one.call(IDENTITY, {})).status == 200
            refused = world.browser()
            reader, _ = await refused.connection()
            assert b" 503 " in await reader.readline()
            await browsers[0].close()
            await refused.close()

            async def is_served() -> bool:
                one = world.browser()
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    status = (await one.call(IDENTITY, {})).status
                    await one.close()
                    return status == 200
                await one.close()
                return False

            while not await is_served():
                await asyncio.sleep(0.05)

    run(scenario())


def test_machine_that_vanishes_is_noticed_by_what_it_does_not_acknowledge(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            browser = world.browser()
            assert (await browser.call(IDENTITY, {})).status == 200
            transport: Any = world.front._transport
            [connection] = transport._server.server_state.connections
            served = connection.transport.get_extra_info("socket")
            assert (
                served.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == web_limits.UNACKNOWLEDGED_MS
            )
            # Linux doubles it for its own bookkeeping (socket(7)).
            assert served.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * web_limits.SEND_BUFFER_BYTES

    run(scenario())


@pytest.mark.parametrize(
    "said",
    [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET http://[ HTTP/1.1\r\nhost: x\r\n\r\n",
     b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n", b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
     b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\nhost: x\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\n\r\n"],
)  # fmt: skip
def test_nonsense_harms_nobody(tmp_path: Path, said: bytes) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            bystander = world.browser()
            assert (await bystander.call(IDENTITY, {})).status == 200
            reader, writer = await world.browser().connection()
            writer.write(said)
            writer.write_eof()
            status = (await reader.readline())[9:12]
            assert status in (b"", b"400", b"404", b"405", b"421")
            assert (await bystander.call(IDENTITY, {})).status == 200

    run(scenario())


def test_tls_and_its_certificate_that_is_renewed(tmp_path: Path) -> None:
    authority = Authority()
    files: dict[str, Any] = {**authority.pair("gateway").write(tmp_path, "gateway")}
    trust = ssl.create_default_context(cadata=authority.root.decode())

    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web", **files) as world:
            browser = world.browser(trust)
            cookie = (await browser.log_in()).headers["set-cookie"]
            assert cookie.startswith("__Host-")
            assert (await browser.call(IDENTITY, {})).status == 200
            writer = (await browser.connection())[1]
            first = writer.get_extra_info("peercert")["serialNumber"]
            authority.pair("gateway").write(tmp_path, "gateway")
            await world.front.authority.reload(is_asked=True)
            assert (await browser.call(IDENTITY, {})).status == 200  # the connection goes on
            await browser.close()
            second = (await browser.connection())[1].get_extra_info("peercert")["serialNumber"]
            assert second != first
            # What cannot be used changes nothing.
            (tmp_path / "gateway.crt").write_text("nonsense")
            await world.front.authority.reload(is_asked=True)
            assert (await world.browser(trust).call(IDENTITY, {})).status == 200

    run(scenario())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"listen": "0.0.0.0:7080", "local_user": ""}, "web.origins"),
        ({"listen": "0.0.0.0:7080", "local_user": "", "origins": ["https://a.example"]}, "there is no TLS"),
        ({"listen": "0.0.0.0:7080", "origins": ["https://a.example"]}, "asks nobody who he is"),
        ({"listen": "nonsense"}, "is no address"),
        ({"origins": ["desk.example"]}, "is no origin"),
        ({"origins": ["https://desk.example/path"]}, "is no origin"),
        ({"origins": ["http://desk.example"]}, "not encrypted"),
        ({"tls_key": "x"}, "web.tls_certificate"),
        ({"session_s": 5}, "session_s"),
        ({"user_requests_burst": 0}, "user_requests_burst"),
        ({"proxies": ["proxy.example"]}, "is no address"),
        ({"local_user": "a/b"}, "cannot be the name of a user"),
    ],
)
def test_settings_that_let_in_whom_they_should_not_are_refused(settings: dict[str, Any], words: str) -> None:
    section = msgspec.convert({"local_user": "local", **settings}, WebSection)
    with pytest.raises(InvalidSettings, match=words):
        section.check()


def test_socket_of_a_supervisor_is_judged_as_the_setting_is() -> None:
    with socket.create_server(("0.0.0.0", 0)) as held, pytest.raises(InvalidSettings, match=r"web\.origins"):
        make_gateway(WebSection(local_user="local"), LocalEngine().port(), [held])


def test_log_has_no_token_and_no_cookie(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> list[str]:
        async with WebWorld.open(tmp_path / "web", write_users(tmp_path / "users.toml")) as world:
            browser = await world.user("alice")
            assert (await browser.call(f"{ORDERS}SubmitOrder", order_json(1, account="ACC9"))).status == 403
            assert (await browser.call("/session", {"token": "wrong-token-of-mine"})).status == 401
            return [
                browser.headers["cookie"].partition("=")[2],
                browser.headers["x-toucan-csrf"],
                "token-of-",
            ]

    secrets = run(scenario())
    told = capsys.readouterr()
    assert "NOT_ENTITLED" in told.out + told.err
    assert "a login failed" in told.out + told.err
    assert not any(secret in told.out + told.err for secret in [*secrets, "wrong-token-of-mine"])
