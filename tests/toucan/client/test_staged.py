"""The client and staged orders: for threads and for asyncio, over a real front end; and the stream's rules by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.toucan.server.served import Served, served
from tests.toucan.server.support import write_users

from aviary.toucan.v1 import staged_pb2 as sp
from aviary.toucan.v1 import types_pb2 as tp
from toucan.client import (
    Denied,
    InvalidRequest,
    NotEntitled,
    Refused,
    StagedState,
    StagedUpdate,
    Toucan,
    aio,
    connect,
)
from toucan.client.instruments import Instrument
from toucan.client.staged_calls import StagedStream, filter_to_wire
from toucan.core import requests as rq
from toucan.core.values import TradingLevel

USERS: dict[str, dict[str, Any]] = {
    "bot": {"accounts": ["ACC1"], "actions": ["stage"]},
    "ann": {"accounts": ["ACC1"], "actions": ["release", "stage"]},
    "ben": {"accounts": ["ACC1"], "actions": ["release"]},
}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    users: Path = write_users(tmp_path_factory.mktemp("users") / "users.toml", USERS)
    with served(users) as made:
        yield made


def client(front: Served, user: str, **more: Any) -> Toucan:
    # Not over TLS: it stays on this machine.
    return connect(front.address, token=f"token-of-{user}", tls=False, **more)


def test_a_program_proposes_and_a_person_decides(front: Served) -> None:
    with client(front, "bot") as bot, client(front, "ann") as ann, client(front, "ben") as ben:
        staged = bot.stage("buy", "AAPL", 100, price="100.00", why="cheap", time_to_live_s=60, note="n")
        assert (staged.revision, staged.denials) == (1, ())
        seen = ann.staged_order(staged.staged_id)
        assert (seen.proposer, seen.why, seen.price) == ("bot", "cheap", Decimal("100.00"))
        assert seen.quantity == Decimal(100)
        assert (seen.expires_ns - seen.proposed_ns) == 60 * 10**9
        assert (seen.is_pending, seen.order_id, seen.decided_ns, seen.terms.note) == (True, None, None, "n")
        assert ann.amend_staged(seen, why="less", quantity=60).revision == 2
        with pytest.raises(Refused) as changed:
            ben.release_staged(seen)
        assert changed.value.code == "STAGED_ORDER_CHANGED"
        seen = ben.staged_order(staged.staged_id)
        accepted = ben.release_staged(seen, price="99.90", why="well")
        order = ben.order(accepted.order_id)
        assert (order.owner, order.quantity, order.price) == ("bot", Decimal(60), Decimal("99.90"))
        with pytest.raises(Refused, match=f"released by ben as order {accepted.order_id}"):
            ann.release_staged(ann.staged_order(staged.staged_id))
        after = bot.staged_order(staged.staged_id)
        assert (after.status, after.order_id) == (StagedState.RELEASED, accepted.order_id)
        assert [one.by for one in after.revisions] == ["bot", "ann", "ben"]


def test_what_may_not_be_is_told_as_what_it_is(front: Served) -> None:
    with client(front, "bot") as bot, client(front, "ann") as ann:
        own = ann.stage("sell", "AAPL", 10, price="101", why="dear")
        with pytest.raises(NotEntitled) as eyes:
            ann.release_staged(ann.staged_order(own.staged_id))
        assert eyes.value.code == "FOUR_EYES"
        with pytest.raises(NotEntitled):
            bot.release_staged(bot.staged_order(own.staged_id))
        with pytest.raises(InvalidRequest):
            ann.amend_staged(ann.staged_order(own.staged_id), why="nothing")
        with pytest.raises(Refused) as reason:
            ann.reject_staged(own.staged_id, " ")
        assert reason.value.code == "REASON_MISSING"
        with pytest.raises(TypeError, match="cannot be changed"):
            ann.amend_staged(ann.staged_order(own.staged_id), why="x", side="buy")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="filter by"):
            ann.staged_orders(owner="bot")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=r"write \['bot'\]"):
            filter_to_wire({"proposers": "bot"})
        ann.reject_staged(own.staged_id, "no")
        assert ann.staged_order(own.staged_id).status is StagedState.WITHDRAWN


def test_a_denial_is_told_first_and_raised_later(front: Served) -> None:
    engine = front.world.engine
    with client(front, "bot") as bot, client(front, "ann") as ann:
        front.do(lambda: engine.ask(rq.SetLevel("firm", TradingLevel.BLOCK_NEW, "why")))
        try:
            staged = bot.stage("buy", "AAPL", 10, price="100", why="cheap")
            assert [one.code for one in staged.denials] == ["TRADING_BLOCKED"]
            with pytest.raises(Denied) as denied:
                ann.release_staged(ann.staged_order(staged.staged_id))
            assert denied.value.code == "TRADING_BLOCKED"
        finally:
            front.do(lambda: engine.ask(rq.SetLevel("firm", TradingLevel.NORMAL, "go on")))
        ann.reject_staged(staged.staged_id, "no")


def test_lists_and_watches_of_a_thread(front: Served) -> None:
    with client(front, "bot") as bot, client(front, "ann") as ann:
        before = {one.staged_id for one in ann.staged_orders()}
        one = bot.stage("buy", "AAPL", 10, price="100", why="cheap").staged_id
        with ann.watch_staged(is_pending=True, patience_s=20) as watch:
            updates: list[StagedUpdate] = [next(watch)]
            assert (updates[0].staged.staged_id, updates[0].is_snapshot) == (one, True)
            two = bot.stage("buy", "AAPL", 20, price="100", why="cheaper").staged_id
            ann.reject_staged(one, "no")
            updates = [next(watch), next(watch)]
        assert [(update.event, update.staged.staged_id) for update in updates] == [
            ("OrderStaged", two),
            ("StagedRejected", one),
        ]
        assert [found.staged_id for found in ann.staged_orders(is_pending=True)] == [two]
        assert [found.staged_id for found in ann.staged_orders(limit=2)] == [two, one]
        assert {found.staged_id for found in ann.staged_orders()} == {*before, one, two}
        with ann.watch_staged(after_seq=updates[0].seq, patience_s=20) as again:
            assert next(again) == updates[1]
        ann.reject_staged(two, "no")


def test_the_same_for_asyncio(front: Served) -> None:
    async def run() -> None:
        bot = aio.connect(front.address, token="token-of-bot", tls=False)
        ann = aio.connect(front.address, token="token-of-ann", tls=False)
        async with bot, ann:
            staged = await bot.stage("buy", "AAPL", 100, price="100.00", why="cheap")
            seen = await ann.staged_order(staged.staged_id)
            await ann.amend_staged(seen, why="less", quantity=50)
            accepted = await ann.release_staged(await ann.staged_order(staged.staged_id))
            other = await bot.stage("buy", "AAPL", 1, price="1", why="cheap")
            await bot.reject_staged(other.staged_id, "changed my mind")
            async with ann.watch_staged(after_seq=staged.seq - 2, patience_s=20) as watch:
                told = [(await anext(watch)).event for _ in range(5)]
            assert told == [
                "OrderStaged",
                "StagedAmended",
                "StagedReleased",
                "OrderStaged",
                "StagedWithdrawn",
            ]
            found = await ann.staged_orders(proposers=["bot"], limit=2)
            assert [(one.status.name, one.order_id) for one in found] == [
                ("WITHDRAWN", None),
                ("RELEASED", accepted.order_id),
            ]

    asyncio.run(asyncio.wait_for(run(), 60))


def test_the_two_clients_offer_the_same() -> None:
    names = {"stage", "release_staged", "amend_staged", "reject_staged", "staged_order", "staged_orders"}
    for name in (*names, "watch_staged"):
        assert getattr(Toucan, name).__doc__
        assert getattr(aio.Toucan, name).__doc__


# ---------------------------------------------------------------- the stream by itself

INSTRUMENT = Instrument.from_wire(tp.Instrument(symbol="AAPL", tick=1, lot=1, price_decimals=2, multiplier=1))


def message(*changes: tuple[int, int], seq: int = 0, **flags: bool) -> sp.WatchStagedOrdersResponse:
    """Updates as (staged id, the event that changed it)."""
    terms = tp.OrderTerms(account="ACC1", symbol="AAPL", side=1, type=2, time_in_force=1, quantity=1, price=1)  # type: ignore[arg-type]
    updates = [
        sp.StagedUpdate(
            seq=at,
            event="OrderStaged",
            staged=sp.StagedOrder(staged_id=staged_id, terms=terms, status=1, revision=1, updated_seq=at),  # type: ignore[arg-type]
        )
        for staged_id, at in changes
    ]
    return sp.WatchStagedOrdersResponse(updates=updates, seq=seq, **flags)


def news(stream: StagedStream, said: sp.WatchStagedOrdersResponse) -> list[tuple[int, int]]:
    batch = stream.take(said, lambda symbol: INSTRUMENT)
    return [(update.staged.staged_id, update.seq) for update in batch.news]


def test_what_was_told_is_not_told_again() -> None:
    stream = StagedStream(sp.StagedFilter())
    assert not stream.request().HasField("after_seq")
    assert news(stream, message((1, 3), is_snapshot=True)) == [(1, 3)]
    stream.request()  # it broke off within the snapshot: the next one is told from its beginning
    assert news(stream, message((1, 3), (2, 4), is_snapshot=True)) == [(2, 4)]
    assert news(stream, message(seq=5, is_snapshot=True, is_snapshot_end=True)) == []
    assert stream.request().after_seq == 5
    assert news(stream, message((2, 5), (2, 6), seq=6)) == [(2, 6)]
    assert news(stream, message(seq=4)) == [], "a front end that lags behind"
    assert stream.request().after_seq == 6
    assert news(stream, message((1, 3), (2, 8), seq=9, is_snapshot=True, is_snapshot_end=True)) == [(2, 8)]


def test_a_snapshot_of_another_history_is_all_news() -> None:
    stream = StagedStream(sp.StagedFilter(), after_seq=100)
    told = message((1, 3), (2, 4), seq=5, is_snapshot=True, is_snapshot_end=True)
    assert news(stream, told) == [(1, 3), (2, 4)]
    assert stream.request().after_seq == 5


def test_without_a_snapshot_only_until_something_was_told() -> None:
    stream = StagedStream(sp.StagedFilter(), with_snapshot=False)
    assert stream.request().without_snapshot
    news(stream, message(seq=7))
    assert (stream.request().after_seq, stream.request().without_snapshot) == (7, False)
