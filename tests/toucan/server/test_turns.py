"""Turns by themselves: whoever leaves while he waits holds up nobody, and no turn is lost."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.toucan.server.support import run

from toucan.core.order import Client
from toucan.server import turns as module
from toucan.server.errors import Exhausted, Expired
from toucan.server.limits import REQUESTS_WAITING_MAX
from toucan.server.turns import Turns

_ME = Client("alice", "desk")

_STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "release", "cancel", "turn"]), st.integers(0, 5)), max_size=40
)


@given(_STEPS)
def test_one_has_the_turn_and_the_lowest_that_waits_is_next(steps: list[tuple[str, int]]) -> None:
    async def scenario() -> None:
        turns, tasks, served = Turns(), {}, []
        holders: list[int] = []

        async def take(number: int) -> None:
            await turns.take(_ME, number, 100)
            holders.append(number)
            served.append(number)

        for count, (step, which) in enumerate(steps):
            if step == "take":
                tasks[count] = asyncio.ensure_future(take(count))
            elif step == "cancel" and tasks:
                list(tasks.values())[which % len(tasks)].cancel()
            elif step == "release" and holders:
                holders.pop()
                turns.release(_ME)
            await asyncio.sleep(0)
            if step == "turn":
                await asyncio.sleep(0)
            assert len(holders) <= 1
        for _ in range(len(tasks) + 2):  # everyone who is left gets his turn
            await asyncio.sleep(0)
            if holders:
                holders.pop()
                turns.release(_ME)
            await asyncio.sleep(0)
        assert turns.waiting_count == 0
        assert not turns._queues
        for number, task in tasks.items():
            assert task.done()
            assert task.cancelled() or number in served
        assert served == sorted(served)

    run(scenario())


def test_bounds_at_the_limit_and_one_past_it() -> None:
    async def scenario() -> None:
        turns = Turns()
        await turns.take(_ME, 0, 1)
        tasks = [asyncio.ensure_future(turns.take(_ME, n, 100)) for n in range(REQUESTS_WAITING_MAX)]
        await asyncio.sleep(0)
        assert turns.waiting_count == REQUESTS_WAITING_MAX
        with pytest.raises(Exhausted):
            await turns.take(_ME, 0, 1)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        turns.release(_ME)
        assert turns.waiting_count == 0

    run(scenario())


def test_time_is_up_while_it_waits() -> None:
    async def scenario() -> None:
        turns = Turns()
        await turns.take(_ME, 1, 1)
        with pytest.raises(Expired, match="it was not sent"):
            await turns.take(_ME, 2, 0)
        turns.release(_ME)
        await turns.take(_ME, 3, 1)

    run(scenario())


def test_number_of_clients_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLIENTS_WITH_REQUESTS_MAX", 3)

    async def scenario() -> None:
        turns = Turns()
        for number in range(3):
            await turns.take(Client("alice", str(number)), 1, 1)
        with pytest.raises(Exhausted, match="3 sessions"):
            await turns.take(Client("alice", "one more"), 1, 1)
        turns.release(Client("alice", "0"))
        await turns.take(Client("alice", "one more"), 1, 1)

    run(scenario())
