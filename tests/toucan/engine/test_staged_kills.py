"""A release is an order or none, whatever happens to the engine between the decision and the venue: never twice, never lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.toucan.engine.desk_client import DeskClient, desk_client, limit_order, until
from tests.toucan.engine.rig import rig_in

from toucan.core import requests as rq
from toucan.core.order import OrderState
from toucan.core.outcomes import Accepted, Outcome, Proposed, Refusal, Refused
from toucan.core.values import OrdStatus, Side, StagedState
from toucan.engine.port import EngineAway
from toucan.engine.recovery import recover

pytestmark = pytest.mark.system

ROUNDS = 5
EACH = 10


async def staged(desk: DeskClient, **terms: object) -> int:
    outcome = await desk.ask(rq.Stage(limit_order(quantity=EACH, **terms), "an idea"))  # type: ignore[arg-type]
    assert isinstance(outcome, Proposed), outcome
    return outcome.staged_id


async def until_answered(desk: DeskClient, body: rq.Body, number: int) -> Outcome:
    """Sends the same request until there is an answer, over whatever engine is there."""
    while True:
        try:
            outcome = await desk.ask(body, number)
        except EngineAway:
            await desk.venue_ready()
            continue
        if isinstance(outcome, Refused) and outcome.code is Refusal.VENUE_NOT_READY:
            raise AssertionError(outcome)
        return outcome


def test_kill_9_between_a_release_and_the_venue(tmp_path: Path) -> None:
    async def run(socket: Path) -> tuple[int, str]:
        async with (
            desk_client(socket, "bot") as bot,
            desk_client(socket, "ann") as ann,
            desk_client(socket, "ben") as ben,
        ):
            await ben.venue_ready()
            state = ben.link.state
            resting = await ben.ask(rq.Submit(limit_order(side=Side.SELL, quantity=10_000, account="ACC2")))
            assert isinstance(resting, Accepted)
            await until(lambda: state.orders[resting.order_id].status is OrdStatus.NEW)
            for round_number in range(ROUNDS):
                await asyncio.gather(*(one.venue_ready() for one in (bot, ann, ben)))
                staged_id = await staged(bot)
                await asyncio.gather(*(one.link.wait_for(bot.link.state.seq, 20) for one in (ann, ben)))
                ann.number += 1
                ben.number += 1
                body = rq.ReleaseStaged(staged_id, 1)
                asking = [asyncio.create_task(until_answered(one, body, one.number)) for one in (ann, ben)]
                # At the first answer, before or while it goes to the venue; every other time before there is one.
                if round_number % 2 == 0:
                    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.to_thread(rig.kill, "engine")
                await asyncio.to_thread(rig.start, "engine")
                answers = await asyncio.gather(*asking)
                winners = [one for one in answers if isinstance(one, Accepted)]
                losers = [one for one in answers if isinstance(one, Refused)]
                assert (len(winners), len(losers)) == (1, 1), answers
                assert losers[0].code is Refusal.STAGED_ORDER_DECIDED
                assert f"as order {winners[0].order_id}" in losers[0].text
                found = ben.link.state.staged.orders[staged_id]
                assert found.state is StagedState.RELEASED
                assert found.decision is not None
                assert found.decision.order_id == winners[0].order_id
            return await settled(ben, resting.order_id)

    async def settled(desk: DeskClient, resting_id: int) -> tuple[int, str]:
        await desk.venue_ready()
        state = desk.link.state
        orders = [order for order in state.orders.values() if order.order_id != resting_id]
        await until(lambda: not any(order.requests or order.is_open for order in orders))
        assert len(orders) == ROUNDS
        filled = [order for order in orders if order.status is OrdStatus.FILLED]
        lost = [order for order in orders if order.state is OrderState.REJECTED]
        assert len(filled) + len(lost) == ROUNDS
        assert {order.reason for order in lost} <= {"not-received"}
        # What the venue has executed against the one that rests there, it has executed once for each.
        assert state.orders[resting_id].cum_quantity == EACH * len(filled)
        assert state.positions.quantity("ACC1", "AAPL", "bot") == EACH * len(filled)
        return state.seq, state.digest()

    with rig_in(tmp_path) as rig:
        seq, digest = asyncio.run(run(rig.socket))
        rig.kill("engine")
        replayed, follower = recover(rig.data, seq)
        follower.close()
        assert replayed.digest() == digest


def test_proposals_survive_a_kill_and_expire_all_the_same(tmp_path: Path) -> None:
    async def run(socket: Path) -> None:
        async with desk_client(socket, "bot") as bot:
            await bot.venue_ready()
            stays = await staged(bot)
            ends = await bot.ask(rq.Stage(limit_order(), "a short idea", 1_000_000_000))
            assert isinstance(ends, Proposed)
            await asyncio.to_thread(rig.kill, "engine")
            await asyncio.to_thread(rig.start, "engine")
            link = bot.link
            await until(lambda: link.state.staged.orders[ends.staged_id].state is StagedState.EXPIRED)
            assert link.state.staged.orders[stays].is_pending
            assert bot.link.state.orders == {}

    with rig_in(tmp_path) as rig:
        asyncio.run(run(rig.socket))
