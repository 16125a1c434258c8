"""Calls over the wire: JSON, protobuf, gRPC-Web; their errors; and that who may do what is as over gRPC."""

from __future__ import annotations

import base64
import itertools
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from tests.toucan.server.support import World, key, limit_order, run, write_users
from tests.toucan.web.support import ORDERS, RISK, Browser, WebWorld, envelope, order_json

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from toucan.core.order import Client
from toucan.server.limits import REQUEST_BYTES_MAX
from toucan.web.limits import BODY_BYTES_MAX

_PROTO = {"content-type": "application/proto"}


def _bearer(user: str) -> dict[str, str]:
    return {"authorization": f"Bearer token-of-{user}"}


def test_order_goes_in_by_json_and_is_seen_by_protobuf(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            browser = world.browser()
            answer = await browser.call(f"{ORDERS}SubmitOrder", order_json(1))
            assert answer.status == 200
            assert answer.json() == {"orderId": "1", "seq": str(world.engine.state.seq)}
            assert world.port.asked[-1][:2] == (Client("local", "page"), 1)
            got = await browser.ask(
                "POST", f"{ORDERS}GetOrder", pb.GetOrderRequest(order_id=1).SerializeToString(), _PROTO
            )
            order = pb.GetOrderResponse.FromString(got.body).order
            assert (order.order_id, order.owner, order.terms.quantity) == (1, "local", 100)
            # Sent again, with the same key: the same answer, and one order.
            assert (await browser.call(f"{ORDERS}SubmitOrder", order_json(1))).json()["orderId"] == "1"
            assert len(world.engine.state.orders) == 1

    run(scenario())


def test_field_that_is_not_known_is_refused_and_nothing_is_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            browser = world.browser()
            request = order_json(1)
            request["terms"]["quantiy"] = request["terms"].pop("quantity")
            answer = await browser.call(f"{ORDERS}SubmitOrder", request)
            assert (answer.status, answer.code) == (400, "invalid_argument")
            assert "quantiy" in answer.json()["message"]
            stream = await browser.watch("WatchOrders", {"fliter": {}})
            assert "fliter" in (await stream.end())["error"]["message"]
            assert world.port.asked == []

    run(scenario())


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 5000, b'{"key":' * 1000, b'{"key": {"number": 1e400}}', b'{"key": 1}',
     b'{"key": {"number": 1}, "key": {"number": 2}}'],
)  # fmt: skip
def test_what_is_no_request_is_refused_by_words(tmp_path: Path, body: bytes) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            answer = await world.browser().ask(
                "POST", f"{ORDERS}SubmitOrder", body, {"content-type": "application/json"}
            )
            assert (answer.status, answer.code) == (400, "invalid_argument"), answer.body
            assert 0 < len(answer.json()["message"]) < 500
            assert world.port.asked == []

    run(scenario())


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_what_a_form_of_another_page_could_send_is_no_call(tmp_path: Path, content_type: str) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            browser = world.browser()
            headers = {"content-type": content_type} if content_type else {}
            body = json.dumps(order_json(1)).encode()
            assert (await browser.ask("POST", f"{ORDERS}SubmitOrder", body, headers)).status == 415
            assert (
                await browser.ask("GET", f"{ORDERS}GetIdentity?encoding=json&message=%7B%7D")
            ).status == 405
            assert world.port.asked == []

    run(scenario())


def test_refusals_and_denials_have_code_and_readable_detail(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            browser = world.browser()
            unknown = await browser.call(
                f"{ORDERS}CancelOrder", {"key": {"session": "page", "number": 1}, "orderId": 99}
            )
            assert (unknown.status, unknown.code) == (404, "not_found")
            assert unknown.detail["code"] == "UNKNOWN_ORDER"
            packed = base64.b64decode(unknown.json()["details"][0]["value"] + "==")
            assert tp.Refusal.FromString(packed).code == "UNKNOWN_ORDER"
            level = {
                "key": {"session": "page", "number": 2},
                "node": "firm",
                "level": "TRADING_LEVEL_BLOCK_NEW",
                "reason": "test",
            }
            assert (await browser.call(f"{RISK}SetTradingState", level)).status == 200
            denied = await browser.call(f"{ORDERS}SubmitOrder", order_json(3))
            assert (denied.status, denied.code) == (400, "failed_precondition")
            assert denied.json()["details"][0]["type"] == "aviary.toucan.v1.Denial"
            assert denied.detail["code"]
            wrong = await browser.call(f"{ORDERS}SubmitOrder", order_json(4, side="SIDE_UNSPECIFIED"))
            assert (wrong.status, wrong.code) == (400, "invalid_argument")
            fields = [
                one["debug"] for one in wrong.json()["details"] if one["type"] == "google.rpc.BadRequest"
            ]
            assert fields[0]["fieldViolations"][0]["field"] == "terms.side"

    run(scenario())


def test_deadline_of_a_call_is_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            world.port.answers_flow.clear()
            answer = await world.browser().call(
                f"{ORDERS}SubmitOrder", order_json(1), {"connect-timeout-ms": "80"}
            )
            assert (answer.status, answer.code) == (504, "deadline_exceeded")

    run(scenario())


def test_engine_that_is_away_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            browser = world.browser()
            assert (await browser.ask("GET", "/healthz")).json()["serving"] is True
            world.port.go_away()
            answer = await browser.call(f"{ORDERS}SubmitOrder", order_json(1))
            assert (answer.status, answer.code, answer.detail["code"]) == (503, "unavailable", "ENGINE_AWAY")
            assert (await browser.ask("GET", "/healthz")).status == 503

    run(scenario())


def test_who_may_do_what_is_as_over_grpc(tmp_path: Path) -> None:
    """The same requests by the same users, by both ways, on two engines that are alike: the same answers."""
    requests = [
        ("SubmitOrder", pb.SubmitOrderRequest(key=key(1), terms=limit_order())),
        ("SubmitOrder", pb.SubmitOrderRequest(key=key(2), terms=limit_order(account="ACC3"))),
        ("SubmitOrder", pb.SubmitOrderRequest(key=key(3), terms=limit_order(symbol="MSFT"))),
        ("CancelOrder", pb.CancelOrderRequest(key=key(4), order_id=1)),
        ("MassCancel", pb.MassCancelRequest(key=key(5), account="ACC1", owner="alice")),
        ("GetOrder", pb.GetOrderRequest(order_id=1)),
        ("ListOrders", pb.ListOrdersRequest()),
        ("ListPositions", pb.ListPositionsRequest(accounts=["ACC3"])),
        ("GetIdentity", pb.GetIdentityRequest()),
    ]
    users = ["alice", "bob", "carol", "viewer", "supervisor", "desk-risk", "firm-risk", "nobody", "stranger"]
    file = write_users(tmp_path / "users.toml")

    async def by_grpc() -> list[Any]:
        async with World.open(file) as world:
            return [
                await _grpc_outcome(world, user, *one) for user, one in itertools.product(users, requests)
            ]

    async def by_http(content_type: str) -> list[Any]:
        async with WebWorld.open(tmp_path / "web", file) as world:
            browser = world.browser()
            return [
                await _http_outcome(browser, user, *one, content_type)
                for user, one in itertools.product(users, requests)
            ]

    over_grpc = run(by_grpc())
    assert len({str(one) for one in over_grpc}) > 10
    assert run(by_http("application/proto")) == over_grpc
    assert run(by_http("application/grpc-web+proto")) == over_grpc


async def _grpc_outcome(world: World, user: str, method: str, request: Any) -> Any:
    try:
        answer = await getattr(world.client(user).orders, method)(request)
    except Exception as error:
        return error.code().name.lower(), error.details()  # type: ignore[attr-defined]
    return _without_times(answer)


def _without_times(answer: Any) -> Any:
    for order in [getattr(answer, "order", None), *getattr(answer, "orders", ())]:
        if order is not None:
            order.ClearField("cl_ord_id")
    return answer


async def _http_outcome(browser: Browser, user: str, method: str, request: Any, content_type: str) -> Any:
    kind = type(request).DESCRIPTOR.file.message_types_by_name[f"{method}Response"]._concrete_class
    data = request.SerializeToString()
    is_grpc_web = content_type.startswith("application/grpc-web")
    body = envelope(data) if is_grpc_web else data
    answer = await browser.ask("POST", ORDERS + method, body, {"content-type": content_type, **_bearer(user)})
    if not is_grpc_web:
        if answer.status != 200:
            return answer.code, answer.json()["message"]
        return _without_times(kind.FromString(answer.body))
    assert answer.status == 200
    message, trailers = _grpc_web(answer.body)
    if trailers["grpc-status"] != "0":
        codes = {
            "3": "invalid_argument",
            "5": "not_found",
            "7": "permission_denied",
            "16": "unauthenticated",
            "9": "failed_precondition",
        }
        return codes[trailers["grpc-status"]], unquote(trailers["grpc-message"])
    assert message is not None
    return _without_times(kind.FromString(message))


def _grpc_web(body: bytes) -> tuple[bytes | None, dict[str, str]]:
    """The message, if there is one, and the trailers (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md)."""
    message = None
    while body:
        flags, size = struct.unpack(">BI", body[:5])
        content, body = body[5 : 5 + size], body[5 + size :]
        if flags == 0x80:
            assert not body
            lines = content.decode().strip().split("\r\n")
            return message, {
                name: value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
        assert (flags, message) == (0, None)
        message = content
    raise AssertionError("there are no trailers")


def test_native_grpc_is_told_where_it_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            body = envelope(pb.GetIdentityRequest().SerializeToString())
            answer = await world.browser().ask(
                "POST", f"{ORDERS}GetIdentity", body, {"content-type": "application/grpc+proto"}
            )
            assert (answer.status, answer.code) == (415, "unimplemented")

    run(scenario())


@pytest.mark.parametrize("size", [BODY_BYTES_MAX, BODY_BYTES_MAX + 1])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_body_has_a_limit(tmp_path: Path, size: int, is_chunked: bool) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            browser = world.browser()
            text = json.dumps(order_json(1)).encode()
            body = text + b" " * (size - len(text))
            if is_chunked:
                reader, writer = await browser.connection()
                head = f"POST {ORDERS}SubmitOrder HTTP/1.1\r\nhost: {browser.address}\r\ncontent-type: application/json\r\n"
                writer.write(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
                for at in range(0, size, 10_000):
                    piece = body[at : at + 10_000]
                    writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                writer.write(b"0\r\n\r\n")
                status, _ = await browser.head(reader)
            else:
                status = (
                    await browser.ask(
                        "POST", f"{ORDERS}SubmitOrder", body, {"content-type": "application/json"}
                    )
                ).status
            assert status == (200 if size == BODY_BYTES_MAX else 413)
            assert len(world.port.asked) == (size == BODY_BYTES_MAX)

    run(scenario())


def test_message_is_not_larger_than_grpc_takes_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            request = pb.ListOrdersRequest(filter=pb.OrderFilter(symbols=["A" * 64] * 999))
            data = request.SerializeToString()
            assert REQUEST_BYTES_MAX < len(data) < BODY_BYTES_MAX
            answer = await world.browser().ask("POST", f"{ORDERS}ListOrders", data, _PROTO)
            assert (answer.status, answer.code) == (429, "resource_exhausted")

    run(scenario())
