"""Streams over HTTP: snapshot and updates, resuming, ends with a reason, slow readers, browsers that vanish, many at once."""

from __future__ import annotations

import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from tests.toucan.core.desk import terms
from tests.toucan.server.support import run, until, write_users
from tests.toucan.web.support import ORDERS, Browser, Stream, WebWorld, envelope, order_json

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.core.venue_messages import Quote
from toucan.server.limits import CUT_OFF_AFTER_S
from toucan.web import connect, protocol
from toucan.web import limits as web_limits

STREAMS = 200


def _open_streams(world: WebWorld) -> int:
    return len(world.front.pump.outlets)


def _connections(world: WebWorld) -> int:
    lines = generate_latest(world.front.metrics.registry).decode().splitlines()
    return int(float(next(line for line in lines if line.startswith("toucan_web_connections ")).split()[1]))


async def _read_until(stream: Stream, seq: int) -> list[dict[str, Any]]:
    """Updates until everything up to an event is told."""
    updates: list[dict[str, Any]] = []
    while True:
        message = await stream.read()
        updates += message.get("updates", ())
        if int(message.get("seq", 0)) >= seq:
            return updates


def test_snapshot_then_every_change_then_an_end_with_a_reason(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            order = world.engine.working(terms())
            stream = await world.browser().watch("WatchOrders", {"filter": {"accounts": ["ACC1"]}})
            assert stream.headers["content-type"] == "application/connect+json"
            first = await stream.read()
            assert (first["isSnapshot"], first["updates"][0]["order"]["orderId"]) == (
                True,
                str(order.order_id),
            )
            world.engine.fill(order, 40, 10_000, "e1")
            [update] = await _read_until(stream, world.engine.state.seq)
            assert (update["execution"]["quantity"], update["order"]["cumQuantity"]) == ("40", "40")
            world.front.book.stop()
            error = (await stream.end())["error"]
            assert (error["code"], error["details"][0]["debug"]["code"]) == ("unavailable", "STOPPING")

    run(scenario())


def test_other_streams(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            order = world.engine.working(terms())
            market = await world.browser().watch("WatchMarketData", {"symbols": ["AAPL"]})
            await market.read()
            positions = await world.browser().watch("WatchPositions", {})
            await positions.read()
            copies = await world.browser().watch("DropCopy", {})
            await copies.read()
            world.engine.quote(
                Quote("AAPL", 1, bid_price=9_990, bid_quantity=5, ask_price=10_010, ask_quantity=5)
            )
            assert (await market.read())["marketData"][0]["bidPrice"] == "9990"
            world.engine.fill(order, 40, 10_000, "e1")
            copied = (await copies.read())["events"][0]
            assert (copied["event"], json.loads(copied["json"])["report"]["exec_id"]) == ("Reported", "e1")
            assert (await positions.read())["positions"][0]["quantity"] == "40"

    run(scenario())


def test_stream_in_protobuf_and_in_grpc_web(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            world.engine.working(terms())
            body = envelope(pb.WatchOrdersRequest().SerializeToString())
            for kind, end in (("application/connect+proto", 2), ("application/grpc-web+proto", 0x80)):
                browser = world.browser()
                reader = await browser.send("POST", f"{ORDERS}WatchOrders", body, {"content-type": kind})
                assert (await browser.head(reader))[0] == 200
                stream = Stream(browser, reader, {})
                flags, data = await stream.envelope()
                assert (flags, len(pb.WatchOrdersResponse.FromString(data).updates)) == (0, 1)
                [outlet] = world.front.pump.outlets
                outlet.cut_off("a test")
                while (told := await stream.envelope())[0] == 0:
                    pass
                assert told[0] == end
                assert b"a test" in told[1] or b"a%20test" in told[1]
                await until(lambda: _open_streams(world) == 0)

    run(scenario())


@pytest.mark.parametrize("seed", range(2))
def test_browser_cut_off_at_random_hears_everything_once(tmp_path: Path, seed: int) -> None:
    """It goes from one gateway to the other and back, resuming each time with the seq that it was told last."""

    async def scenario() -> None:
        chance = random.Random(seed)
        async with (
            WebWorld.open(tmp_path / "web") as one,
            WebWorld.open(tmp_path / "web", engine=one.engine) as two,
        ):
            orders = [one.engine.working(terms(quantity=10_000)) for _ in range(3)]
            told = one.engine.state.seq
            is_over = asyncio.Event()

            async def trade() -> None:
                for number in range(400):
                    one.engine.fill(chance.choice(orders), 1, 10_000, f"e{number}")
                    await asyncio.sleep(chance.random() * 0.002)
                is_over.set()

            trading = asyncio.create_task(trade())
            heard: list[str] = []
            while not is_over.is_set() or told < one.engine.state.seq:
                browser = chance.choice((one, two)).browser()
                stream = await browser.watch("WatchOrders", {"afterSeq": str(told)})
                for _ in range(chance.randrange(1, 8)):
                    message = await stream.read()
                    assert "isSnapshot" not in message
                    heard += [update["execution"]["execId"] for update in message.get("updates", ())]
                    told = int(message["seq"])
                    if is_over.is_set() and told >= one.engine.state.seq:
                        break
                browser.vanish()
            await trading
            assert heard == [f"e{number}" for number in range(400)]
            await until(lambda: _open_streams(one) == _open_streams(two) == 0)

    run(scenario())


@pytest.mark.parametrize("how", ["close", "vanish"])
def test_browser_that_goes_frees_its_stream(tmp_path: Path, how: str) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            browser = world.browser()
            stream = await browser.watch("WatchOrders", {})
            await stream.read()
            assert _open_streams(world) == 1
            if how == "close":
                await browser.close()
            else:
                browser.vanish()
            await until(lambda: _open_streams(world) == 0)

    run(scenario())


def test_slow_reader_is_cut_off_and_nobody_waits_for_him(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "ABORT_GRACE_S", 0.05)
    monkeypatch.setattr(protocol, "UNACKNOWLEDGED_MS", 600_000)  # it is not the kernel that ends it

    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            order = world.engine.working(terms(quantity=1_000_000))
            stuck = await world.browser(receive_buffer_bytes=4096).watch("WatchOrders", {})
            await stuck.read()
            [outlet] = world.front.pump.outlets
            stream = await world.browser().watch("WatchOrders", {"withoutSnapshot": True})
            await stream.read()
            number, heard = 0, 0
            # Until more has happened than the kernel and all buffers take for one who does not read.
            while outlet._writing_since_s is None or number < 3000:
                for _ in range(50):
                    number += 1
                    world.engine.fill(order, 1, 10_000, f"e{number}")
                heard += len(await _read_until(stream, world.engine.state.seq))
            assert heard == number
            outlet.look_after(asyncio.get_running_loop().time() + CUT_OFF_AFTER_S + 1)
            await until(lambda: _open_streams(world) == 1)
            assert (await world.browser().call(f"{ORDERS}SubmitOrder", order_json(1))).status == 200
            # He does not take the reason either, so his connection is broken off in the middle of a message.
            await until(lambda: _connections(world) == 2)
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await stuck.end()

    run(scenario())


def test_users_see_their_own_accounts_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web", write_users(tmp_path / "users.toml")) as world:
            world.engine.working(terms())
            world.engine.working(terms(account="ACC3"))
            for name, account in (("alice", "ACC1"), ("carol", "ACC3")):
                stream = await (await world.user(name)).watch("WatchOrders", {})
                assert {one["order"]["terms"]["account"] for one in (await stream.read())["updates"]} == {
                    account
                }
            denied = await (await world.user("alice")).watch(
                "WatchOrders", {"filter": {"accounts": ["ACC3"]}}
            )
            assert (await denied.end())["error"]["code"] == "permission_denied"

    run(scenario())


def test_two_hundred_streams_hear_every_change(tmp_path: Path) -> None:
    """What an order takes meanwhile is told, not judged."""

    async def scenario() -> None:
        settings: dict[str, Any] = {"user_requests_per_s": 10_000, "user_requests_burst": 10_000}
        async with WebWorld.open(tmp_path / "web", **settings) as world:
            order = world.engine.working(terms(quantity=100_000))
            streams = await asyncio.gather(*(_begun(world.browser()) for _ in range(STREAMS)))
            watching = [asyncio.create_task(_executions(stream, "e99")) for stream in streams]
            trader, took_ms = world.browser(), []
            for number in range(100):
                world.engine.fill(order, 1, 10_000, f"e{number}")
                if number % 10 == 0:
                    began = time.perf_counter()
                    answer = await trader.call(f"{ORDERS}SubmitOrder", order_json(number + 1))
                    assert answer.status == 200
                    took_ms.append((time.perf_counter() - began) * 1e3)
                await asyncio.sleep(0.005)
            expected = [f"e{number}" for number in range(100)]
            assert all(heard == expected for heard in await asyncio.gather(*watching))
            took_ms.sort()
            print(
                f"an order beside {STREAMS} streams: median {took_ms[5]:.1f} ms, longest {took_ms[-1]:.1f} ms"
            )

    run(scenario())


async def _executions(stream: Stream, last: str) -> list[str]:
    heard: list[str] = []
    while not heard or heard[-1] != last:
        updates = (await stream.read()).get("updates", ())
        heard += [one["execution"]["execId"] for one in updates if "execution" in one]
    return heard


async def _begun(browser: Browser) -> Stream:
    stream = await browser.watch("WatchOrders", {"withoutSnapshot": True})
    await stream.read()
    return stream


def test_stop_ends_streams_with_a_reason_and_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WebWorld.open(tmp_path / "web") as world:
            streams = [await world.browser().watch("WatchOrders", {}) for _ in range(5)]
            ending = asyncio.gather(*(stream.end() for stream in streams))
            await world.front.stop()
            assert [one["error"]["code"] for one in await ending] == ["unavailable"] * 5
            assert _open_streams(world) == 0
            with pytest.raises(OSError):  # noqa: PT011 - whichever it is, nobody listens
                await world.browser().connection()

    run(scenario())


def test_limits_fit_together() -> None:
    assert web_limits.ABORT_GRACE_S < CUT_OFF_AFTER_S
    assert web_limits.UNACKNOWLEDGED_MS / 1000 < CUT_OFF_AFTER_S
