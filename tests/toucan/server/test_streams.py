"""WatchOrders over the wire: resuming, heartbeats, slow clients, the engine away; and bounds on how many streams there are."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import generate_latest
from tests.toucan.core.desk import terms
from tests.toucan.server.support import (
    Failure,
    World,
    end_of,
    failing,
    key,
    limit_order,
    run,
    until,
    write_users,
)

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.core import requests as rq
from toucan.server.limits import CUT_OFF_AFTER_S, HEARTBEAT_S
from toucan.server.streams import book, outlet, pump
from toucan.server.streams.updates import order_id_of

#: A client that takes little ahead of what is read: what is sent beyond that waits in the server.
_NARROW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 16 * 1024))


def _look_after(world: World, seconds: float) -> None:
    """So much time passes for those who look after streams."""
    now_s = asyncio.get_running_loop().time() + seconds
    for one in [*world.front.pump.outlets]:
        one.look_after(now_s)


def test_silent_stream_has_a_heartbeat() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = world.client().orders.WatchOrders(pb.WatchOrdersRequest(without_snapshot=True))
            first = await stream.read()
            world.engine.ask(rq.OpenSession(None), number=0)  # an event that is about no order
            _look_after(world, HEARTBEAT_S - 0.5)
            _look_after(world, HEARTBEAT_S + 0.1)
            assert await stream.read() == pb.WatchOrdersResponse(seq=first.seq + 1)

    run(scenario())


def test_heartbeats_come_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(pump, "HOUSEKEEPING_S", 0.02)

    async def scenario() -> None:
        async with World.open() as world:
            stream = world.client().orders.WatchOrders(pb.WatchOrdersRequest(without_snapshot=True))
            for _ in range(3):
                assert (await stream.read()).seq == world.engine.state.seq

    run(scenario())


@pytest.mark.parametrize("seed", range(3))
def test_client_that_is_cut_off_at_random_hears_everything_once(seed: int) -> None:
    async def scenario() -> None:
        chance = random.Random(seed)
        async with World.open() as world:
            seqs: list[int] = []
            told: int | None = None
            orders = [world.engine.working(terms(quantity=10_000)) for _ in range(3)]
            began = world.engine.state.seq
            is_over = asyncio.Event()

            async def trade() -> None:
                for number in range(300):
                    world.engine.fill(chance.choice(orders), 1, 10_000, f"e{number}")
                    await asyncio.sleep(0)
                is_over.set()

            trading = asyncio.ensure_future(trade())
            while not (is_over.is_set() and told == world.engine.state.seq):
                stream = world.client().orders.WatchOrders(pb.WatchOrdersRequest(after_seq=told or began))
                for _ in range(chance.randint(1, 4)):
                    message = await stream.read()
                    assert not message.is_snapshot
                    seqs += [update.seq for update in message.updates]
                    told = message.seq
                    if is_over.is_set() and told == world.engine.state.seq:
                        break
                stream.cancel()
            await trading
            assert seqs == [
                seq for seq, _, event in world.engine.events if seq > began and order_id_of(event)
            ]

    run(scenario())


def test_engine_away_is_told_at_once_and_streams_go_on_when_it_is_back() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = world.client().orders.WatchOrders(pb.WatchOrdersRequest())
            await stream.read()
            order = world.engine.working(terms())
            before = await stream.read()
            while before.seq < world.engine.state.seq:
                before = await stream.read()
            world.port.go_away()
            assert (await stream.read()).is_stale
            world.engine.fill(order, 1, 10_000, "while away")
            world.port.come_back()
            message = await stream.read()
            updates = [*message.updates]
            while message.is_stale or not updates:
                message = await stream.read()
                updates += message.updates
            assert [update.execution.exec_id for update in updates] == ["while away"]
            assert updates[0].seq == before.seq + 1

    run(scenario())


def test_client_ahead_of_this_front_end_is_waited_for() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            world.port.is_lagging = True
            world.engine.working(terms())
            told = world.engine.state.seq
            stream = world.client().orders.WatchOrders(pb.WatchOrdersRequest(after_seq=told))
            reading = asyncio.ensure_future(stream.read())
            await asyncio.sleep(0)
            world.port.catch_up()
            first = await reading
            assert (first.seq, len(first.updates), first.is_snapshot) == (told, 0, False)

    run(scenario())


# ---------------------------------------------------------------- slow clients


async def _flood(world: World, orders: int, updates: int) -> None:
    """Many changes, with long words in them, and turns for the streams to write between."""
    known = [world.engine.working(terms(quantity=1_000_000, text="x" * 200)) for _ in range(orders)]
    for number in range(updates):
        world.engine.fill(known[number % orders], 1, 10_000, f"{world.engine.state.seq}-{number}")
        if number % 50 == 0:
            await asyncio.sleep(0.001)


def _writing(world: World) -> bool:
    return any(one._writing_since_s is not None for one in world.front.pump.outlets)


def test_slow_client_is_spared_what_is_outdated_and_told_how_much() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = world.client(options=_NARROW).orders.WatchOrders(pb.WatchOrdersRequest())
            await stream.read()
            while not _writing(world):
                await _flood(world, 5, 200)
            await _flood(world, 5, 3000)
            conflated, orders = 0, dict[int, int]()
            message = await stream.read()
            while True:
                conflated += message.conflated
                orders |= {update.order.order_id: update.order.cum_quantity for update in message.updates}
                if message.seq == world.engine.state.seq:
                    break
                message = await stream.read()
            assert conflated > 0
            assert orders == {one.order_id: one.cum_quantity for one in world.engine.state.orders.values()}
            assert b"toucan_server_conflated_total" in _scraped(world)

    run(scenario())


def _scraped(world: World) -> bytes:
    page: bytes = generate_latest(world.front.metrics.registry)
    return page


def test_client_that_takes_nothing_is_cut_off_with_a_reason_and_can_resume() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = world.client(options=_NARROW).orders.WatchOrders(pb.WatchOrdersRequest())
            await stream.read()
            while not _writing(world):
                await _flood(world, 5, 200)
            _look_after(world, CUT_OFF_AFTER_S - 1)
            assert _writing(world)
            _look_after(world, CUT_OFF_AFTER_S + 1)
            told = 0
            try:
                while True:
                    told = (await stream.read()).seq
            except grpc.aio.AioRpcError as error:
                failure = Failure(error)
            assert (failure.status, failure.code) == ("RESOURCE_EXHAUSTED", "SLOW_CONSUMER")
            assert "too slow" in failure.text
            await until(lambda: not world.front.pump.outlets)
            resumed = await world.client().orders.WatchOrders(pb.WatchOrdersRequest(after_seq=told)).read()
            assert not resumed.is_snapshot

    run(scenario())


def test_client_that_does_not_even_take_the_first_message_is_cut_off_too() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            for _ in range(300):
                world.engine.submit(terms(text="x" * 200))
            # Its window is too small for the snapshot's first message, and nothing is read.
            stream = world.client(options=_NARROW).orders.WatchOrders(pb.WatchOrdersRequest())
            await until(lambda: _writing(world))
            _look_after(world, CUT_OFF_AFTER_S + 1)
            assert (await end_of(stream)).code == "SLOW_CONSUMER"

    run(scenario())


def test_client_with_too_many_changed_orders_is_cut_off_in_the_middle_of_a_write() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = world.client(options=_NARROW).orders.WatchOrders(pb.WatchOrdersRequest())
            await stream.read()
            while not _writing(world):
                await _flood(world, 5, 200)
            await _flood(world, 600, 1200)
            assert (await end_of(stream)).code == "SLOW_CONSUMER"

    run(scenario())


def test_slow_client_holds_up_no_other_and_no_request() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            slow = world.client(options=_NARROW).orders.WatchOrders(pb.WatchOrdersRequest())
            await slow.read()
            quick = world.client().orders.WatchOrders(pb.WatchOrdersRequest(without_snapshot=True))
            await quick.read()
            while not _writing(world):
                await _flood(world, 1, 200)
            client = world.client()
            entered = await client.submit()
            message = await quick.read()
            while message.seq < entered.seq:
                message = await quick.read()
            await client.orders.CancelOrder(
                pb.CancelOrderRequest(key=client.next_key(), order_id=entered.order_id)
            )

    run(scenario())


# ---------------------------------------------------------------- bounds


def test_a_thousand_streams_and_one_cancel() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            channels = [world.client() for _ in range(4)]
            streams = [
                channels[number % 4].orders.WatchOrders(pb.WatchOrdersRequest(without_snapshot=True))
                for number in range(1000)
            ]
            await asyncio.gather(*(stream.read() for stream in streams))
            assert len(world.front.pump.outlets) == 1000
            client = world.client()
            entered = await client.submit()
            await client.orders.CancelOrder(
                pb.CancelOrderRequest(key=client.next_key(), order_id=entered.order_id)
            )
            last = world.engine.state.seq
            for stream in (streams[0], streams[999]):
                while (await stream.read()).seq < last:
                    pass
            for stream in streams:
                stream.cancel()
            await until(lambda: not world.front.pump.outlets)

    run(scenario())


def test_streams_of_a_user_and_of_all_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "STREAMS_PER_USER_MAX", 3)
    monkeypatch.setattr(book, "STREAMS_MAX", 5)

    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:

            async def watch(user: str) -> Any:
                stream = world.client(user).orders.WatchOrders(pb.WatchOrdersRequest())
                await stream.read()
                return stream

            mine = [await watch("alice") for _ in range(3)]
            over = await failing(watch("alice"))
            assert (over.status, over.code) == ("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS")
            assert "alice has 3 streams" in over.text
            others = [await watch("bob"), await watch("carol")]
            full = await failing(watch("viewer"))
            assert (full.status, full.code) == ("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS")
            mine[0].cancel()
            await until(lambda: len(world.front.pump.outlets) == 4)
            await watch("alice")
            assert len(others) == 2
            assert (await world.client("alice").submit()).order_id == 1  # requests are none of it

    run(scenario())


def test_accounts_that_may_not_be_seen_are_refused_by_name_and_left_out_otherwise(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            client = world.client("bob")
            for account in ("ACC2", "NONE"):
                named = pb.WatchOrdersRequest(filter=pb.OrderFilter(accounts=[account]))
                assert (await failing(client.orders.WatchOrders(named).read())).status == "PERMISSION_DENIED"
            stream = client.orders.WatchOrders(pb.WatchOrdersRequest())
            await stream.read()
            for account in ("ACC3", "ACC2", "ACC1"):
                world.engine.submit(terms(account=account))
            message = await stream.read()
            while not message.updates:
                message = await stream.read()
            assert [update.order.terms.account for update in message.updates] == ["ACC1"]
            nobody = world.client("nobody").orders.WatchOrders(pb.WatchOrdersRequest())
            assert (await failing(nobody.read())).status == "PERMISSION_DENIED"

    run(scenario())


def test_stopping_ends_streams_with_a_reason_and_lets_requests_end() -> None:
    async def scenario() -> None:
        async with World.open() as world:
            stream = world.client().orders.WatchOrders(pb.WatchOrdersRequest())
            await stream.read()
            world.port.answers_flow.clear()
            request = pb.SubmitOrderRequest(key=key(1), terms=limit_order())
            entering = asyncio.ensure_future(world.client().orders.SubmitOrder(request))
            await until(lambda: len(world.port.asked) == 1)
            stopping = asyncio.ensure_future(world.front.stop())
            ended = await end_of(stream)
            assert (ended.status, ended.code) == ("UNAVAILABLE", "STOPPING")
            world.port.answers_flow.set()
            assert (await entering).order_id == 1
            await stopping
            refused = await failing(world.client().orders.SubmitOrder(request))
            assert refused.status == "UNAVAILABLE"

    run(scenario())
