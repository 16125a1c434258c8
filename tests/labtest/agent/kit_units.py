"""Conformance: units and their journal, where there is systemd."""

from __future__ import annotations

import pytest
import trio
from tests.labtest.agent.kit import Need, World, case, refused, sha

from labtest.core.environment import Health, HealthKind, OnChange
from labtest.core.steps import (
    CheckHealth,
    Forget,
    PutFile,
    Reload,
    ReloadManager,
    RemoveFile,
    Restart,
    Start,
    Stop,
)
from labtest.core.target import Input, ProcessTarget
from labtest.errors import HostUnreachable
from labtest.hosts.interface import Agent, LogBatch

__all__: list[str] = []


_UNIT = """[Unit]
Description=a daemon of the conformance tests
StartLimitIntervalSec=0
[Service]
Type={type}
ExecStart=/bin/sh -c '{script}'
NotifyAccess=all
ExecReload=/bin/sh -c '{reload}'
TimeoutStartSec={timeout_s}
KillMode=control-group
"""
_SERVES = "echo it serves; exec sleep 6100"


async def _unit(
    world: World,
    script: str = _SERVES,
    *,
    type_: str = "exec",
    timeout_s: float = 10.0,
    reload: str = "echo reloaded",
) -> str:
    """Installs a unit of the case's own, and gives its name."""
    name = f"conformance-{sha(world.folder.encode())[:12]}.service"
    path = f"/etc/systemd/system/{name}"
    text = _UNIT.format(type=type_, script=script, timeout_s=timeout_s, reload=reload).encode()
    before = await world.seen(path)
    file = world.file(path, text, mode=0o644, is_unit=True)
    await world.do(PutFile(file=file, replaces_sha256=before.sha256 if before else ""))
    await world.do(ReloadManager())
    return name


def _process(
    unit: str, /, *, health: Health | None = None, start_timeout_s: float = 10.0, **inputs: str
) -> ProcessTarget:
    return ProcessTarget(
        process="daemon",
        unit=unit,
        after=(),
        inputs=tuple(
            Input(name=name, fingerprint=inputs[name], on_change=OnChange.RESTART) for name in sorted(inputs)
        ),
        health=health or Health(),
        start_timeout_s=start_timeout_s,
        stop_timeout_s=10.0,
    )


async def _gone(world: World, unit: str) -> None:
    await world.do(Stop(process="daemon", unit=unit, timeout_s=10.0))
    await world.do(Forget(process="daemon", unit=unit))
    await world.do(RemoveFile(path=f"/etc/systemd/system/{unit}", is_unit=True))
    await world.do(ReloadManager())


@case(Need.UNITS)
async def a_unit_is_started_noted_stopped_and_forgotten(world: World) -> None:
    unit = await _unit(world)
    await world.do(Start(process=_process(unit, unit="1", config="a")))
    (seen,) = (await world.observe()).processes
    assert (seen.process, seen.managed, seen.started_from) == ("daemon", True, {"unit": "1", "config": "a"})
    assert (seen.state.unit, seen.state.load, seen.state.active, seen.state.sub) == (
        unit,
        "loaded",
        "active",
        "running",
    )
    assert seen.state.main_pid > 0
    assert seen.state.active_since_ns > 0
    assert seen.state.invocation
    await world.do(Stop(process="daemon", unit=unit, timeout_s=10.0))
    (seen,) = (await world.observe()).processes
    assert (seen.state.active, seen.state.main_pid, seen.managed) == ("inactive", 0, True)
    await _gone(world, unit)
    assert (await world.observe()).processes == ()
    await world.do(Stop(process="daemon", unit=unit, timeout_s=10.0))


@case(Need.UNITS)
async def a_restart_is_another_invocation_and_a_reload_is_not(world: World) -> None:
    unit = await _unit(world)
    await world.do(Start(process=_process(unit, config="a")))
    first = await world.state(unit)
    await world.do(Reload(process=_process(unit, config="b")))
    assert (await world.state(unit)).invocation == first.invocation
    assert (await world.observe()).processes[0].started_from == {"config": "b"}
    await world.do(Restart(process=_process(unit, config="c")))
    assert (await world.state(unit)).invocation != first.invocation
    assert (await world.observe()).processes[0].started_from == {"config": "c"}
    await _gone(world, unit)


@case(Need.UNITS)
async def a_reload_that_the_daemon_refuses_is_no_reload(world: World) -> None:
    """It says so by ERRNO= (sd_notify(3)); ``systemctl reload`` alone says that all is well."""
    says = "echo this setting is wrong; systemd-notify ERRNO=22"
    unit = await _unit(world, "systemd-notify --ready; exec sleep 6100", type_="notify", reload=says)
    await world.do(Start(process=_process(unit, config="a")))
    failed = await refused("unit-failed", world.do(Reload(process=_process(unit, config="b"))))
    assert "has refused what it was to read again (Invalid argument), and goes on as before" in failed.problem
    assert "this setting is wrong" in failed.problem
    (seen,) = (await world.observe()).processes
    assert (seen.state.active, seen.started_from) == ("active", {"config": "a"})
    await _gone(world, unit)


@case(Need.UNITS)
async def starting_what_runs_from_something_else_does_not_pretend(world: World) -> None:
    unit = await _unit(world)
    await world.do(Start(process=_process(unit, config="a")))
    invocation = (await world.state(unit)).invocation
    await world.do(Start(process=_process(unit, config="b")))
    (seen,) = (await world.observe()).processes
    assert (seen.state.invocation, seen.started_from) == (invocation, {"config": "a"})
    await _gone(world, unit)


@case(Need.UNITS)
async def a_start_whose_agent_was_lost_in_the_middle_is_noted_when_it_is_done_again(world: World) -> None:
    unit = await _unit(
        world, "sleep 0.5; systemd-notify --ready; sleep 6106", type_="notify\nNotifyAccess=all"
    )
    with trio.fail_after(20):
        async with world.other() as other, trio.open_nursery() as nursery:
            nursery.start_soon(_lost, other, world, unit)
            while (await world.state(unit)).active != "activating":
                await trio.sleep(0.02)
            await other.aclose()
        while (await world.state(unit)).active != "active":
            await trio.sleep(0.02)
    assert (await world.observe()).processes[0].started_from == {}
    before = await world.state(unit)
    await world.do(Start(process=_process(unit, config="a")))
    (seen,) = (await world.observe()).processes
    assert (seen.state.invocation, seen.started_from) == (before.invocation, {"config": "a"})
    await _gone(world, unit)


async def _lost(agent: Agent, world: World, unit: str) -> None:
    with pytest.raises(HostUnreachable):
        await agent.do(world.environment, Start(process=_process(unit, config="a")), content=world.content)


@case(Need.UNITS)
async def a_unit_that_is_not_there_is_not_found(world: World) -> None:
    unit = "conformance-nothing.service"
    await refused("not-found", world.do(Start(process=_process(unit))))
    await refused("not-found", world.do(CheckHealth(process=_process(unit))))
    await world.do(Stop(process="daemon", unit=unit, timeout_s=1.0))
    assert (await world.state(unit)).load == "not-found"


@case(Need.UNITS)
async def a_unit_that_fails_says_why_with_its_last_lines(world: World) -> None:
    unit = await _unit(world, "echo no such shared memory >&2; exit 9", type_="notify")
    error = await refused("unit-failed", world.do(Start(process=_process(unit))))
    assert "result exit-code" in error.problem
    assert "no such shared memory" in error.problem
    assert (await world.state(unit)).active == "failed"
    await _unit(world)
    await world.do(Start(process=_process(unit)))  # what has failed is forgotten
    assert (await world.state(unit)).active == "active"
    await _gone(world, unit)


@case(Need.UNITS)
async def a_start_that_takes_too_long_is_late(world: World) -> None:
    unit = await _unit(world, "echo still loading; exec sleep 6101", type_="notify", timeout_s=60)
    error = await refused("timeout", world.do(Start(process=_process(unit, start_timeout_s=0.5))))
    assert "activating" in error.problem
    await _gone(world, unit)


@case(Need.UNITS)
async def health_waits_until_a_command_passes(world: World) -> None:
    ready = f"{world.folder}/ready"
    unit = await _unit(world, f"sleep 0.4; mkdir -p {world.folder}; touch {ready}; exec sleep 6102")
    health = Health(kind=HealthKind.COMMAND, command=("test", "-e", ready), timeout_s=10.0, interval_s=0.05)
    await world.do(Start(process=_process(unit)))
    said = await world.do(CheckHealth(process=_process(unit, health=health)))
    assert "healthy" in said
    await _gone(world, unit)


@case(Need.UNITS)
async def health_that_never_comes_is_late_with_the_last_reason(world: World) -> None:
    unit = await _unit(world)
    await world.do(Start(process=_process(unit)))
    for kind, target in ((HealthKind.TCP, "127.0.0.1:1"), (HealthKind.HTTP, "http://127.0.0.1:1/health")):
        health = Health(kind=kind, target=target, timeout_s=0.3, interval_s=0.05)
        error = await refused("timeout", world.do(CheckHealth(process=_process(unit, health=health))))
        assert "refused" in error.problem
    await _gone(world, unit)


@case(Need.UNITS)
async def a_process_that_does_not_stay_up_is_not_healthy(world: World) -> None:
    unit = await _unit(world, "sleep 0.3; echo out of luck; exit 4")
    await world.do(Start(process=_process(unit)))
    health = Health(timeout_s=5.0, interval_s=0.05, stable_s=3.0)
    error = await refused("unit-failed", world.do(CheckHealth(process=_process(unit, health=health))))
    assert "out of luck" in error.problem
    await _gone(world, unit)


@case(Need.UNITS)
async def a_watcher_sees_all_units_and_then_what_changes(world: World) -> None:
    unit = await _unit(world)
    with trio.fail_after(10):
        async with world.agent.units([unit]) as changes:
            (state,) = await anext(changes)
            assert (state.unit, state.active) == (unit, "inactive")
            await world.do(Start(process=_process(unit)))
            while state.active != "active":
                (state,) = await anext(changes)
            await world.agent.run(["kill", "-9", str(state.main_pid)])
            while state.active != "failed":
                (state,) = await anext(changes)
            assert state.result == "signal"
    await _gone(world, unit)


async def _texts(world: World, unit: str, *, until: str = "", **how: object) -> list[str]:
    """Messages of a unit's own processes; with ``until``, follows until a line has that text."""
    texts: list[str] = []
    with trio.fail_after(15):
        async with world.agent.logs([unit], follow=bool(until), **how) as batches:  # type: ignore[arg-type]
            async for batch in batches:
                assert batch.cursor
                texts += [line.text for line in batch.lines if line.unit == unit and line.pid != 1]
                if until and until in texts:
                    break
    return texts


async def _all_texts(world: World, unit: str, lines: int) -> list[str]:
    async with world.agent.logs([unit], lines=lines) as batches:
        return [line.text async for batch in batches for line in batch.lines]


async def _logged(world: World, unit: str, text: str) -> None:
    """The journal is written a moment after the fact."""
    with trio.fail_after(15):
        while text not in await _texts(world, unit, lines=1000):
            await trio.sleep(0.02)


@case(Need.UNITS)
async def the_last_lines_of_a_unit_come_in_order(world: World) -> None:
    unit = await _unit(world, "for n in 1 2 3 4 5; do echo line $n; done; exec sleep 6103")
    await world.do(Start(process=_process(unit)))
    await _logged(world, unit, "line 5")
    assert (await _texts(world, unit, lines=1000)) == [f"line {n}" for n in range(1, 6)]
    everything = await _all_texts(world, unit, 1000)  # systemd's own lines too
    assert (await _all_texts(world, unit, 3)) == everything[-3:]
    await _gone(world, unit)


@case(Need.UNITS)
async def lines_are_searched_at_the_source(world: World) -> None:
    unit = await _unit(world, "for n in 1 2 3 4 5; do echo line $n; done; exec sleep 6104")
    await world.do(Start(process=_process(unit)))
    await _logged(world, unit, "line 5")
    assert (await _texts(world, unit, lines=2, grep="line [124]$")) == ["line 2", "line 4"]
    await refused("io", _texts(world, unit, grep="("))
    await _gone(world, unit)


@case(Need.UNITS)
async def new_lines_follow_and_a_cursor_goes_on_where_it_was(world: World) -> None:
    unit = await _unit(world, "n=1; while true; do echo line $n; n=$((n+1)); sleep 0.05; done")
    await world.do(Start(process=_process(unit)))
    first = await _texts(world, unit, until="line 3", lines=1000)
    assert first[:3] == ["line 1", "line 2", "line 3"]
    batch = await _batch_with_a_line(world, unit)
    last = int(batch.lines[-1].text.split()[1])
    rest = await _texts(world, unit, until=f"line {last + 3}", cursor=batch.cursor)
    assert rest[:3] == [f"line {last + n}" for n in (1, 2, 3)]
    await _gone(world, unit)


async def _batch_with_a_line(world: World, unit: str) -> LogBatch:
    with trio.fail_after(15):
        async with world.agent.logs([unit], follow=True, lines=0) as batches:
            async for batch in batches:
                if batch.lines and batch.lines[-1].text.startswith("line "):
                    return batch
    raise AssertionError("the journal ended")
