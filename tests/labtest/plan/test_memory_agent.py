"""Agents of hosts in memory: the conformance tests of real ones, as far as they claim to be one, and their faults."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from tests.labtest.agent.conformance import CASES, Case, World

from labtest.core.steps import PutFile, ReloadManager, Stop
from labtest.errors import ActionFailed, HostUnreachable
from labtest.hosts.interface import Agent
from labtest.hosts.memory import Fault, FaultKind, MemoryAgent, MemoryHost

#: Cases that need no command to be run, though real hosts need what runs commands for them.
ALSO = {
    "a_unit_is_started_noted_stopped_and_forgotten",
    "a_restart_is_another_invocation_and_a_reload_is_not",
    "starting_what_runs_from_something_else_does_not_pretend",
    "a_unit_that_is_not_there_is_not_found",
    "a_switch_from_what_the_plan_did_not_see_is_refused",
}
CLAIMED = [case for case in CASES if not case.needs or case.name in ALSO]


def test_all_cases_that_are_claimed_are_there() -> None:
    assert {case.name for case in CLAIMED} >= ALSO


@pytest.mark.parametrize("case", CLAIMED, ids=lambda case: case.name)
def test_a_host_in_memory_is_like_any_other(case: Case) -> None:
    host = MemoryHost("memory")
    host.is_strict = True

    @asynccontextmanager
    async def connect() -> AsyncIterator[Agent]:
        yield MemoryAgent(host)

    async def main() -> None:
        with trio.fail_after(10):
            world = World(agent=MemoryAgent(host), other=connect, environment="kit", folder="/srv/kit")
            await case.run(world)

    trio.run(main)


STOP = Stop("p", "p.service", 1.0)


def nothing(sha256: str) -> bytes:
    raise AssertionError(sha256)


def test_a_fault_happens_as_often_as_it_should() -> None:
    async def main() -> None:
        agent = MemoryAgent(
            MemoryHost("a"), faults=[Fault(action=Stop, times=2, after=1, code="timeout", problem="late")]
        )
        await agent.do("lab", STOP, content=nothing)
        await agent.do("lab", ReloadManager(), content=nothing)
        for _ in range(2):
            with pytest.raises(ActionFailed, match="late") as failed:
                await agent.do("lab", STOP, content=nothing)
            assert failed.value.code == "timeout"
        await agent.do("lab", STOP, content=nothing)

    trio.run(main)


def test_a_lost_host_answers_nobody_any_more() -> None:
    async def main() -> None:
        host = MemoryHost("a")
        agent = MemoryAgent(
            host, faults=[Fault(kind=FaultKind.HANG, action=Stop), Fault(kind=FaultKind.LOSE, action=PutFile)]
        )

        async def hangs() -> None:
            with pytest.raises(HostUnreachable):
                await agent.do("lab", STOP, content=nothing)

        async with agent.lock("lab", "me"), trio.open_nursery() as nursery:
            nursery.start_soon(hangs)
            await trio.testing.wait_all_tasks_blocked()
            agent.lose()
            assert not host.locks
        with pytest.raises(HostUnreachable):
            await agent.observe("lab", files=(), units={})

    trio.run(main)


def test_changes_of_units_and_messages_are_told() -> None:
    async def main() -> None:
        host = MemoryHost("a")
        agent = MemoryAgent(host)
        with trio.fail_after(5):
            async with agent.units(["web*"]) as states, agent.logs(["web*"], follow=True) as batches:
                assert await anext(states) == ()
                assert (await anext(batches)).lines == ()
                host.set_unit("web@1.service", active="failed", sub="failed")
                host.set_unit("other.service", active="failed", sub="failed")
                assert [(one.unit, one.active) for one in await anext(states)] == [
                    ("web@1.service", "failed")
                ]
                host.say("other.service", "no")
                host.say("web@1.service", "yes")
                batch = await anext(batches)
                assert [line.text for line in batch.lines] == ["yes"]
            host.say("web@1.service", "more")
            async with agent.logs(["web*"], cursor=batch.cursor) as batches:
                assert [line.text for line in (await anext(batches)).lines] == ["more"]

    trio.run(main)
