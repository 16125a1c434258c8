"""StagedOrderService over the wire: who may what, who sees what, and streams that go on where they were."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.toucan.core.desk import START_NS
from tests.toucan.server.local_engine import LocalEngine
from tests.toucan.server.support import (
    Client,
    World,
    end_of,
    failing,
    key,
    limit_order,
    run,
    until,
    write_users,
)

from aviary.toucan.v1 import staged_pb2 as sp
from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.core import requests as rq
from toucan.core.order import Client as Who
from toucan.core.values import TradingLevel
from toucan.server import identity
from toucan.server.streams import outlet, pump
from toucan.server.streams import staged as staged_streams

USERS: dict[str, dict[str, Any]] = {
    "bot": {"accounts": ["ACC1", "ACC2"], "actions": ["stage"], "symbols": ["AAPL"]},
    "otherbot": {"accounts": ["ACC1"], "actions": ["stage"]},
    "betabot": {"accounts": ["ACC3"], "actions": ["stage"]},
    "ann": {"accounts": ["ACC1"], "actions": ["release", "stage"]},
    "ben": {"accounts": ["ACC1", "ACC2", "ACC3"], "actions": ["release"]},
    "chief": {"accounts": "*", "actions": ["release-own", "stage", "kill", "drop-copy"]},
    "msft": {"accounts": ["ACC1"], "actions": ["release"], "symbols": ["MSFT"]},
    "viewer": {"accounts": ["ACC1"], "actions": ["view"]},
    "trader": {"accounts": ["ACC1"], "actions": ["trade"]},
}


async def propose(client: Client, why: str = "an idea", **fields: Any) -> int:
    request = sp.StageOrderRequest(key=client.next_key(), terms=limit_order(**fields), why=why)
    answer: sp.StageOrderResponse = await client.staged.StageOrder(request)
    return answer.staged_id


def release(client: Client, staged_id: int, revision: int = 1, **more: Any) -> Any:
    return client.staged.ReleaseStagedOrder(
        sp.ReleaseStagedOrderRequest(key=client.next_key(), staged_id=staged_id, revision=revision, **more)
    )


def amend(client: Client, staged_id: int, revision: int = 1, why: str = "better", **more: Any) -> Any:
    return client.staged.AmendStagedOrder(
        sp.AmendStagedOrderRequest(
            key=client.next_key(), staged_id=staged_id, revision=revision, why=why, **more
        )
    )


def reject(client: Client, staged_id: int, why: str = "no") -> Any:
    return client.staged.RejectStagedOrder(
        sp.RejectStagedOrderRequest(key=client.next_key(), staged_id=staged_id, why=why)
    )


async def get(client: Client, staged_id: int) -> sp.StagedOrder:
    answer: sp.GetStagedOrderResponse = await client.staged.GetStagedOrder(
        sp.GetStagedOrderRequest(staged_id=staged_id)
    )
    return answer.staged


@pytest.fixture
def users(tmp_path: Path) -> Path:
    return write_users(tmp_path / "users.toml", USERS)


def test_a_strategy_proposes_and_a_person_releases(users: Path) -> None:
    async def test() -> None:
        async with World.open(users) as world:
            bot, ann = world.client("bot"), world.client("ann")
            staged_id = await propose(bot, "below its mean")
            found = await get(ann, staged_id)
            assert (found.proposer, found.session, found.why) == ("bot", "desk", "below its mean")
            assert (found.status, found.revision) == (sp.STAGED_STATUS_PROPOSED, 1)
            assert not found.HasField("order_id")
            assert not found.HasField("decided_ns")
            assert found.expires_ns == START_NS + 900 * 10**9
            answer = await release(ann, staged_id, quantity=40, why="half of it")
            order = world.engine.state.orders[answer.order_id]
            assert (order.owner, order.terms.quantity) == (Who("bot", "desk"), 40)
            found = await get(bot, staged_id)
            assert (found.status, found.order_id) == (sp.STAGED_STATUS_RELEASED, answer.order_id)
            assert (found.decided_by, found.decided_why) == ("ann", "half of it")
            assert [(one.revision, one.terms.quantity, one.by) for one in found.revisions] == [
                (1, 100, "bot"),
                (2, 40, "ann"),
            ]

    run(test())


def test_who_may_what(users: Path) -> None:
    async def test() -> None:
        async with World.open(users) as world:
            client = {name: world.client(name) for name in USERS}
            for name in ("viewer", "ben", "trader"):
                assert (await failing(propose(client[name]))).status == "PERMISSION_DENIED"
            assert (await failing(propose(client["bot"], symbol="MSFT"))).status == "PERMISSION_DENIED"
            assert (await failing(propose(client["bot"], account="ACC3"))).status == "PERMISSION_DENIED"
            one = await propose(client["bot"])
            for name in ("viewer", "bot", "otherbot", "trader"):
                assert (await failing(release(client[name], one))).status == "PERMISSION_DENIED"
            assert (await failing(release(client["msft"], one))).status == "PERMISSION_DENIED"
            for name in ("viewer", "otherbot", "trader", "msft"):
                for decide in (amend(client[name], one, quantity=5), reject(client[name], one)):
                    failure = await failing(decide)
                    assert (failure.status, failure.code) == ("PERMISSION_DENIED", "NOT_ENTITLED")
            assert (await amend(client["bot"], one, quantity=5)).revision == 2
            assert (await amend(client["ben"], one, 2, quantity=6)).revision == 3
            await reject(client["ben"], one)
            await reject(client["bot"], await propose(client["bot"]))
            assert (await get(client["viewer"], one)).decided_by == "ben"
            assert world.engine.state.orders == {}

    run(test())


def test_four_eyes_unless_entitled(users: Path) -> None:
    async def test() -> None:
        async with World.open(users) as world:
            ann, chief = world.client("ann"), world.client("chief")
            own = await propose(ann)
            failure = await failing(release(ann, own))
            assert (failure.status, failure.code) == ("PERMISSION_DENIED", "FOUR_EYES")
            assert (await release(chief, await propose(chief))).order_id == 1
            await release(chief, own)

    run(test())


def test_what_is_not_ones_own_is_not_found(users: Path) -> None:
    async def test() -> None:
        async with World.open(users) as world:
            ann, beta, ben = world.client("ann"), world.client("betabot"), world.client("ben")
            hidden = await propose(beta, account="ACC3")
            unknown = 99
            for staged_id in (hidden, unknown):
                for call in (
                    get(ann, staged_id), release(ann, staged_id), amend(ann, staged_id, quantity=5), reject(ann, staged_id)
                ):  # fmt: skip
                    failure = await failing(call)
                    assert (failure.status, failure.code) == ("NOT_FOUND", "UNKNOWN_STAGED_ORDER")
                    assert failure.text == f"there is no staged order {staged_id}"
            found = await ann.staged.ListStagedOrders(sp.ListStagedOrdersRequest())
            assert [*found.staged] == []
            named = sp.ListStagedOrdersRequest(filter=sp.StagedFilter(accounts=["ACC3"]))
            assert (await failing(ann.staged.ListStagedOrders(named))).status == "PERMISSION_DENIED"
            assert (await release(ben, hidden)).order_id == 1

    run(test())


def test_two_people_at_once_and_the_second_is_told_who(users: Path) -> None:
    async def test() -> None:
        async with World.open(users) as world:
            ann, ben = world.client("ann"), world.client("ben")
            staged_id = await propose(world.client("bot"))
            answers = await asyncio.gather(
                release(ann, staged_id), release(ben, staged_id), return_exceptions=True
            )
            (failed,) = [one for one in answers if isinstance(one, BaseException)]
            assert "STAGED_ORDER_DECIDED" in str(getattr(failed, "trailing_metadata", lambda: "")())
            winner = (await get(ann, staged_id)).decided_by
            assert f"was released by {winner} as order 1" in str(failed)
            assert len(world.engine.state.orders) == 1

    run(test())


def test_a_request_that_is_sent_again_is_answered_again(users: Path) -> None:
    async def test() -> None:
        async with World.open(users) as world:
            bot, ann = world.client("bot"), world.client("ann")
            stage = sp.StageOrderRequest(key=key(1), terms=limit_order(), why="an idea")
            first, second = await bot.staged.StageOrder(stage), await bot.staged.StageOrder(stage)
            assert first.staged_id == second.staged_id == 1
            requests: list[tuple[str, Any]] = [
                (
                    "AmendStagedOrder",
                    sp.AmendStagedOrderRequest(key=key(1), staged_id=1, revision=1, quantity=7, why="less"),
                ),
                ("ReleaseStagedOrder", sp.ReleaseStagedOrderRequest(key=key(2), staged_id=1, revision=2)),
            ]
            for method, request in requests:
                answers = [await getattr(ann.staged, method)(request) for _ in range(2)]
                for answer in answers:
                    answer.seq = 0
                assert answers[0] == answers[1]
            assert len(world.engine.state.orders) == 1
            reused = sp.ReleaseStagedOrderRequest(key=key(2), staged_id=1, revision=1)
            assert (await failing(ann.staged.ReleaseStagedOrder(reused))).code == "KEY_REUSED"

    run(test())


def test_limits_are_told_at_the_proposal_and_hold_at_the_release(users: Path) -> None:
    async def test() -> None:
        async with World.open(users) as world:
            bot, ann = world.client("bot"), world.client("ann")
            world.engine.ask(rq.SetLevel("firm/alpha", TradingLevel.BLOCK_NEW, "why"))
            request = sp.StageOrderRequest(key=bot.next_key(), terms=limit_order(), why="an idea")
            answer = await bot.staged.StageOrder(request)
            assert [denial.code for denial in answer.denials] == ["TRADING_BLOCKED"]
            failure = await failing(release(ann, answer.staged_id))
            assert failure.status == "FAILED_PRECONDITION"
            assert failure.denial is not None
            assert failure.denial.code == "TRADING_BLOCKED"
            assert (await get(bot, answer.staged_id)).status == sp.STAGED_STATUS_PROPOSED

    run(test())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"time_to_live_ms": 999}, "time_to_live_ms"),
        ({"time_to_live_ms": 24 * 3600 * 1000 + 1}, "time_to_live_ms"),
        ({"why": "x" * 401}, "why"),
        ({"why": "two\nlines"}, "why"),
    ],
)
def test_nonsense_is_named(changes: dict[str, Any], field: str) -> None:
    async def test() -> None:
        async with World.open() as world:
            client = world.client()
            values = {"key": key(1), "terms": limit_order(), "why": "an idea", **changes}
            failure = await failing(client.staged.StageOrder(sp.StageOrderRequest(**values)))
            assert (failure.status, failure.field) == ("INVALID_ARGUMENT", field)
            for staged_id, revision in ((0, 1), (1, 0)):
                assert (await failing(release(client, staged_id, revision))).status == "INVALID_ARGUMENT"

    run(test())


def test_lists_page_by_page_the_newest_first() -> None:
    async def test() -> None:
        async with World.open() as world:
            client = world.client()
            ids = [await propose(client, symbol=["AAPL", "MSFT"][number % 2]) for number in range(7)]
            await reject(client, ids[3])
            found: list[int] = []
            token = ""
            while True:
                page = await client.staged.ListStagedOrders(
                    sp.ListStagedOrdersRequest(page_size=2, page_token=token)
                )
                found += [one.staged_id for one in page.staged]
                token = page.next_page_token
                if not token:
                    break
            assert found == ids[::-1]
            wanted = sp.StagedFilter(
                is_pending=True, symbols=["MSFT"], proposers=["local"], accounts=["ACC1"]
            )
            page = await client.staged.ListStagedOrders(sp.ListStagedOrdersRequest(filter=wanted))
            assert [one.staged_id for one in page.staged] == [ids[5], ids[1]]

    run(test())


# ---------------------------------------------------------------- streams


def watch(client: Client, after_seq: int | None = None, **more: Any) -> Any:
    return client.staged.WatchStagedOrders(sp.WatchStagedOrdersRequest(after_seq=after_seq, **more))


async def read(stream: Any, count: int) -> list[sp.StagedUpdate]:
    """So many updates, whatever the messages."""
    found: list[sp.StagedUpdate] = []
    while len(found) < count:
        found += (await stream.read()).updates
    assert len(found) == count
    return found


async def snapshot(stream: Any) -> tuple[list[sp.StagedUpdate], int]:
    found: list[sp.StagedUpdate] = []
    while True:
        message = await stream.read()
        assert message.is_snapshot
        found += message.updates
        if message.is_snapshot_end:
            return found, message.seq
        assert message.seq == 0


def test_a_stream_begins_with_a_snapshot_and_tells_every_change(users: Path) -> None:
    async def test() -> None:
        async with World.open(users) as world:
            bot, ann, beta = world.client("bot"), world.client("ann"), world.client("betabot")
            one = await propose(bot)
            await propose(beta, account="ACC3")
            stream = watch(ann)
            updates, seq = await snapshot(stream)
            assert [(update.event, update.staged.staged_id) for update in updates] == [("Snapshot", one)]
            two = await propose(bot)
            await amend(bot, two, quantity=7)
            await propose(beta, account="ACC3")
            await release(ann, two, 2)
            await reject(ann, one)
            told = await read(stream, 4)
            assert [(update.event, update.staged.staged_id) for update in told] == [
                ("OrderStaged", two), ("StagedAmended", two), ("StagedReleased", two), ("StagedRejected", one)
            ]  # fmt: skip
            assert all(seq < update.seq for update in told)
            again = watch(ann, after_seq=told[1].seq)
            assert [update.event for update in await read(again, 2)] == ["StagedReleased", "StagedRejected"]
            pending, _ = await snapshot(watch(world.client("chief"), filter=sp.StagedFilter(is_pending=True)))
            assert {update.staged.terms.account for update in pending} == {"ACC3"}

    run(test())


def test_who_watches_what_waits_hears_how_it_ends_and_that_a_release_was_denied() -> None:
    async def test() -> None:
        async with World.open() as world:
            client = world.client()
            one = await propose(client)
            stream = watch(client, filter=sp.StagedFilter(is_pending=True))
            await snapshot(stream)
            world.engine.ask(rq.SetLevel("firm", TradingLevel.BLOCK_NEW, "why"))
            await failing(release(client, one))
            (denied,) = await read(stream, 1)
            assert (denied.event, denied.staged.denials[0].code) == ("OrderDenied", "TRADING_BLOCKED")
            world.engine.pass_time(900)
            (expired,) = await read(stream, 1)
            assert (expired.event, expired.staged.status) == ("StagedExpired", sp.STAGED_STATUS_EXPIRED)
            assert (expired.staged.decided_by, expired.staged.decided_why) == ("engine", "time-to-live")

    run(test())


def test_a_snapshot_is_as_of_one_event_whatever_happens_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged_streams, "STAGED_PER_MESSAGE_MAX", 1)

    async def test() -> None:
        async with World.open() as world:
            client = world.client()
            ids = [await propose(client) for _ in range(4)]
            stream = watch(client)
            first = await stream.read()
            assert first.is_snapshot
            await reject(client, ids[3])
            rest, seq = await snapshot(stream)
            told = [*first.updates, *rest]
            assert [update.staged.staged_id for update in told] == ids
            later: list[sp.StagedUpdate] = []
            if told[-1].staged.status == sp.STAGED_STATUS_PROPOSED:
                later = await read(stream, 1)
                assert later[0].seq > seq
            last = [*told, *later][-1].staged
            assert (last.staged_id, last.status) == (ids[3], sp.STAGED_STATUS_WITHDRAWN)

    run(test())


def test_another_front_end_goes_on_where_the_first_one_was() -> None:
    async def test() -> None:
        engine = LocalEngine()
        async with World.open(engine=engine) as first:
            one = await propose(first.client())
            seq = engine.state.seq
        engine.ask(rq.RejectStaged(one, "no"), Who("ann", "desk"))
        async with World.open(engine=engine) as second:
            (update,) = await read(watch(second.client(), after_seq=seq), 1)
            assert (update.event, update.staged.decided_by) == ("StagedRejected", "ann")

    run(test())


@pytest.mark.parametrize("keeps_history", [True, False])
def test_a_copy_that_is_replaced_leaves_no_stream_behind(keeps_history: bool) -> None:
    async def test() -> None:
        async with World.open() as world:
            client = world.client()
            one = await propose(client)
            stream = watch(client)
            await snapshot(stream)
            world.port.is_lagging = True
            world.engine.ask(rq.RejectStaged(one, "no"), Who("ann", "desk"))
            world.port.replace_copy(keeps_history=keeps_history)
            if keeps_history:
                (update,) = await read(stream, 1)
                assert update.event == "StagedRejected"
            else:
                (update,), seq = await snapshot(stream)
                assert seq == world.engine.state.seq
            assert update.staged.decided_by == "ann"

    run(test())


def test_a_stream_that_falls_out_of_what_is_kept_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged_streams, "STAGED_KEPT_MAX", 8)

    async def test() -> None:
        async with World.open() as world:
            client = world.client()
            one = await propose(client)
            seq = world.engine.state.seq
            for number in range(1, 14):
                await amend(client, one, number, quantity=100 + number)
            updates, now = await snapshot(watch(client, after_seq=seq))
            assert [update.staged.revision for update in updates] == [14]
            assert now == world.engine.state.seq

    run(test())


def test_staleness_heartbeats_and_new_entitlements_reach_a_stream(
    users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(pump, "HOUSEKEEPING_S", 0.05)
    monkeypatch.setattr(identity, "USERS_CHECK_S", 0.05)

    async def test() -> None:
        async with World.open(users) as world:
            stream = watch(world.client("viewer"))
            await snapshot(stream)
            world.port.go_away()
            assert (await stream.read()).is_stale
            world.port.come_back()
            assert not (await stream.read()).is_stale
            world.engine.ask(rq.SetLevel("firm", TradingLevel.BLOCK_NEW, "an event that is nobody's"))
            heartbeat = await stream.read()
            assert (heartbeat.seq, [*heartbeat.updates]) == (world.engine.state.seq, [])
            write_users(users, {**USERS, "viewer": {"accounts": ["ACC2"], "actions": ["view"]}})
            assert (await end_of(stream)).code == "ENTITLEMENTS_CHANGED"

    run(test())


def test_a_drop_copy_tells_who_did_what_to_whom_it_concerns(users: Path) -> None:
    async def test() -> None:
        async with World.open(users) as world:
            bot, ben, chief = world.client("bot"), world.client("ben"), world.client("chief")
            stream = chief.orders.DropCopy(pb.DropCopyRequest(after_seq=world.engine.state.seq))
            one, two = await propose(bot), await propose(bot)
            await amend(ben, one, quantity=7)
            await release(ben, one, 2)
            await reject(ben, two)
            found: list[tuple[str, str, str]] = []
            while not found or found[-1][0] != "StagedRejected":
                message = await stream.read()
                found += [
                    (event.event, event.user, event.account)
                    for event in message.events
                    if "Staged" in event.event
                ]
            assert found == [
                ("OrderStaged", "bot", "ACC1"), ("OrderStaged", "bot", "ACC1"), ("StagedAmended", "ben", "ACC1"),
                ("StagedReleased", "ben", "ACC1"), ("StagedRejected", "ben", "ACC1"),
            ]  # fmt: skip

    run(test())


def test_a_strategy_whose_stream_breaks_off_takes_its_proposals_with_it(users: Path) -> None:
    async def test() -> None:
        async with World.open(users) as world:
            bot = world.client("bot")
            session = bot.orders.Session()
            opening = pb.OpenSession(session="desk", cancel_on_disconnect_ms=0)
            await session.write(pb.SessionRequest(tag=1, open=opening))
            await session.read()
            one = await propose(bot)
            session.cancel()
            lost = world.engine.state.client(Who("bot", "desk"))
            await until(lambda: lost.session is not None and lost.session.lost_at_ns is not None)
            world.engine.pass_time(0.1)
            found = await get(world.client("ann"), one)
            assert (found.status, found.decided_by) == (sp.STAGED_STATUS_WITHDRAWN, "engine")

    run(test())
