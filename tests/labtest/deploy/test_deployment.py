"""A deployment from the first apply to down: what is planned, carried out, remembered, refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import trio
from tests.labtest.deploy.labs import Bench

from labtest.core.ask import Ask
from labtest.core.changes import ChangeRefused, MoveProcess, SetVariable, StopInstance, SwapRelease
from labtest.core.choreography import RunState
from labtest.core.steps import CheckHealth, PutFile, Restart, Start, Stop
from labtest.deploy import Deployment, Ending, NothingToGoBackTo, observe_all
from labtest.deploy.events import RunBegan, RunEnded, StepBegan, StepEnded
from labtest.errors import EnvironmentLocked, PlanOutdated
from labtest.hosts.memory import Fault, FaultKind

TIMEOUT_S = 30


def play(body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        with trio.fail_after(TIMEOUT_S):
            await body()

    trio.run(main)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def brought_up(bench: Bench) -> None:
    async with bench.open() as d:
        assert (await d.apply(await d.plan())).ending is Ending.DONE
    bench.events.clear()


def test_what_was_applied_is_there_and_nothing_is_left_to_do(bench: Bench) -> None:
    async def body() -> None:
        async with bench.open() as d:
            outcome = await d.apply(await d.plan())
            assert (outcome.ending, outcome.exit_code, outcome.problems) == (Ending.DONE, 0, ())
            assert bench.is_at(bench.target())
            assert (await d.plan()).plan.steps == ()
            assert (await d.drift()).plan.steps == ()
        assert bench.is_unlocked()

    play(body)


def test_changes_outlive_the_shell(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        async with bench.open() as d:
            d.collect(SetVariable(name="level", value="debug"))
            d.collect(MoveProcess(process="worker", from_host="b", to_host="c"))
        async with bench.open() as d:
            assert [type(change) for change in d.desired.pending] == [SetVariable, MoveProcess]
            assert d.in_effect.variables["level"] == "info"
            assert d.environment.variables["level"] == "debug"
            await d.apply(await d.plan())
            assert not d.desired.pending
        async with bench.open() as d:
            assert d.in_effect.variables["level"] == "debug"
            assert (await d.plan()).plan.steps == ()
        assert bench.hosts["c"].state.units["worker.service"].active == "active"
        assert bench.hosts["b"].state.units["worker.service"].active == "inactive"

    play(body)


def test_what_is_dropped_is_not_applied(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        async with bench.open() as d:
            d.collect(SetVariable(name="level", value="debug"))
            d.discard()
            assert (await d.plan()).plan.steps == ()
            with pytest.raises(ChangeRefused):
                d.collect(SetVariable(name="no-such", value="debug"))
            assert d.desired.pending == ()

    play(body)


def test_a_small_change_acts_at_once_and_what_waits_goes_on_waiting(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        async with bench.open() as d:
            d.collect(SwapRelease(release="lab", version="1.1"))
            prepared = await d.plan(
                Ask(processes=frozenset({"web"})), changes=(StopInstance(process="web", host="c"),)
            )
            assert prepared.plan.minor
            assert len(prepared.plan.steps) == 1
            await d.apply(prepared)
            assert bench.hosts["c"].state.units["web.service"].active == "inactive"
            assert bench.hosts["a"].state.releases["/opt/lab"].current == "1.0"
            assert len(d.desired.pending) == 1
            assert (await d.drift()).plan.steps == ()

    play(body)


def test_a_restart_that_is_asked_for_touches_nothing_else(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        starts = {
            (name, unit): one.starts
            for name, host in bench.hosts.items()
            for unit, one in host.state.units.items()
        }
        async with bench.open() as d:
            ask = Ask(processes=frozenset({"web"}), restart=frozenset({("web", "a"), ("web", "b")}))
            prepared = await d.plan(ask, changes=())
            assert [type(step.action) for step in prepared.plan.steps] == [Restart, CheckHealth] * 2
            await d.apply(prepared)
        for name, host in bench.hosts.items():
            for unit, one in host.state.units.items():
                more = 1 if unit == "web.service" and name in ("a", "b") else 0
                assert one.starts == starts[name, unit] + more

    play(body)


def test_events_tell_each_step_once(bench: Bench) -> None:
    async def body() -> None:
        async with bench.open() as d:
            prepared = await d.plan()
            await d.apply(prepared)
        began = [event.step.id for event in bench.events if isinstance(event, StepBegan)]
        ended = [event.step.id for event in bench.events if isinstance(event, StepEnded)]
        assert sorted(began) == sorted(ended) == [step.id for step in prepared.plan.steps]
        assert isinstance(bench.events[0], RunBegan)
        assert bench.events[-1] == RunEnded(title="apply", state=RunState.DONE)

    play(body)


# ---------------------------------------------------------------- refused


def test_a_plan_is_refused_when_the_hosts_have_moved(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        async with bench.open() as d:
            prepared = await d.plan(changes=(SetVariable(name="level", value="debug"),))
            bench.hosts["b"].set_unit("web.service", active="failed", sub="failed", result="signal")
            with pytest.raises(PlanOutdated, match="b has changed"):
                await d.apply(prepared)
            assert bench.is_unlocked()
            await d.apply(await d.plan(changes=(SetVariable(name="level", value="debug"),)))
            assert bench.is_at(bench.target(level="debug"))

    play(body)


def test_a_crash_elsewhere_does_not_outdate_a_restart_here(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        async with bench.open() as d:
            prepared = await d.plan(
                Ask(processes=frozenset({"store"}), restart=frozenset({("store", "a")})), changes=()
            )
            bench.hosts["b"].set_unit("web.service", active="failed", sub="failed", result="signal")
            assert (await d.apply(prepared)).ending is Ending.DONE

    play(body)


def test_a_plan_is_refused_when_another_shell_has_changed_what_shall_be(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        async with bench.open() as mine, bench.open("bob@rack, pid 2") as other:
            prepared = await mine.plan(changes=(SetVariable(name="level", value="debug"),))
            other.collect(SetVariable(name="port", value=81))
            with pytest.raises(PlanOutdated, match="somebody else"):
                await mine.apply(prepared)
            await mine.reload()
            assert mine.environment.variables["port"] == 81

    play(body)


def test_two_shells_do_not_apply_at_once(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        bench.faults.append(Fault(kind=FaultKind.HANG, action=PutFile))
        async with (
            bench.open() as mine,
            bench.open("bob@rack, pid 2") as other,
            trio.open_nursery() as nursery,
        ):
            prepared = await mine.plan(changes=(SetVariable(name="level", value="debug"),))
            nursery.start_soon(mine.apply, prepared)
            while not any(isinstance(event, StepBegan) for event in bench.events):
                await trio.sleep(0.001)
            with pytest.raises(EnvironmentLocked) as locked:
                await other.apply(await other.plan(Ask(restart=frozenset({("store", "a")})), changes=()))
            assert locked.value.holder.startswith("ada@desk, pid 1, apply: ")
            with pytest.raises(EnvironmentLocked):
                other.collect(SetVariable(name="port", value=81))
            nursery.cancel_scope.cancel()
        assert bench.is_unlocked()

    play(body)


def test_a_host_that_somebody_else_has_locked_is_not_touched(bench: Bench) -> None:
    async def body() -> None:
        async with bench.open() as d, bench.agent("b").lock("lab", "eve elsewhere"):
            with pytest.raises(EnvironmentLocked) as locked:
                await d.apply(await d.plan())
            assert locked.value.holder == "eve elsewhere"
            assert bench.agent("a").asked == []
        assert bench.is_unlocked()

    play(body)


def test_a_host_that_was_lost_since_the_plan_is_not_left_out_in_silence(bench: Bench) -> None:
    async def body() -> None:
        async with bench.open() as d:
            prepared = await d.plan()
            bench.agent("c").lose()
            with pytest.raises(PlanOutdated, match="c answered when the plan was made"):
                await d.apply(prepared)

    play(body)


# ---------------------------------------------------------------- hosts that do not answer


def test_a_host_that_hangs_does_not_keep_the_others_waiting(bench: Bench) -> None:
    class Hanging:
        async def observe(self, environment: str, **_: object) -> None:
            await trio.sleep_forever()

    async def body() -> None:
        agents = {**bench.agents, "b": Hanging()}
        with trio.fail_after(5):
            actual = await observe_all(agents, bench.target(), timeout_s=0.1)  # type: ignore[arg-type]
        assert [name for name, found in actual.hosts.items() if found is None] == ["b"]

    play(body)


def test_hosts_that_do_not_answer_are_named_and_caught_up_with_later(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        async with bench.open() as d:
            bench.agent("c").lose()
            outcome = await d.apply(await d.plan(changes=(SetVariable(name="level", value="debug"),)))
            assert (outcome.ending, outcome.unreachable) == (Ending.DONE, ("c",))
            bench.connect("c")
            assert {step.host for step in (await d.drift()).plan.steps} == {"c"}
            await d.apply(await d.plan())
            assert bench.is_at(bench.target(level="debug"))

    play(body)


# ---------------------------------------------------------------- back and down


def test_rollback_goes_back_one_target_at_a_time(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        async with bench.open() as d:
            with pytest.raises(NothingToGoBackTo):
                await d.plan_rollback()
            for level in ("debug", "error"):
                await d.apply(await d.plan(changes=(SetVariable(name="level", value=level),)))
            for level in ("debug", "info"):
                outcome = await d.apply(await d.plan_rollback())
                assert outcome.ending is Ending.DONE
                assert bench.is_at(bench.target(level=level))
                assert d.in_effect.variables["level"] == level
                assert (await d.plan()).plan.steps == ()
            with pytest.raises(NothingToGoBackTo):
                await d.plan_rollback()

    play(body)


def test_going_back_behind_an_edited_spec_says_so(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        bench.source.edit(port=81)
        async with bench.open() as d:
            await d.apply(await d.plan())
            assert bench.is_at(bench.target(port=81))
            prepared = await d.plan_rollback()
            assert any("the spec was edited" in note for note in prepared.notes)
            await d.apply(prepared)
            assert bench.is_at(bench.target())
            assert (await d.plan()).plan.steps != ()

    play(body)


def test_a_version_is_swapped_and_the_one_before_is_kept(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        async with bench.open() as d:
            d.collect(SwapRelease(release="lab", version="1.1"))
            assert not (await d.plan()).plan.minor
            await d.apply(await d.plan())
            assert bench.is_at(bench.target(version="1.1"))
            assert set(bench.hosts["a"].state.releases["/opt/lab"].installed) == {"1.0", "1.1"}

    play(body)


def test_down_takes_away_what_labtest_put_there_and_can_be_undone(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        async with bench.open() as d:
            await d.apply(await d.plan_down())
            assert bench.is_empty()
            await d.apply(await d.plan_rollback())
            assert bench.is_at(bench.target())

    play(body)


def test_stops_of_what_is_not_wanted_any_more_are_in_order(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        async with bench.open() as d:
            plan = (await d.plan_down()).plan
            stops = [step.action.process for step in plan.steps if isinstance(step.action, Stop)]
            assert stops == ["worker", "web", "web", "web", "store"]

    play(body)


def test_changes_that_an_edited_spec_does_not_take_are_told(bench: Bench) -> None:
    async def body() -> None:
        await brought_up(bench)
        async with bench.open() as d:
            d.collect(SetVariable(name="level", value="debug"))
        bench.source.base = msgspec.structs.replace(
            bench.source.base, variables={"version": "1.0", "port": 80}
        )
        bench.source.contents["lab.toml.j2"] = b"port = {{ port }}\n"
        async with bench.open() as d:
            assert any("level" in note for note in d.notes)
            assert (await d.apply(await d.plan())).ending is Ending.DONE

    play(body)


def test_nothing_is_written_by_looking(bench: Bench) -> None:
    async def body() -> None:
        async with bench.open() as d:
            await d.plan()
        assert not bench.folder.path.exists()

    play(body)


def test_starts_come_after_the_checks_of_what_they_need(bench: Bench) -> None:
    async def body() -> None:
        async with bench.open() as d:
            plan = (await d.plan()).plan
        checks = {
            step.id
            for step in plan.steps
            if isinstance(step.action, CheckHealth) and step.action.process.process == "store"
        }
        for step in plan.steps:
            if isinstance(step.action, Start) and step.action.process.process == "web":
                assert checks <= set(step.needs)

    play(body)


def test_opening_is_of_one_environment(bench: Bench) -> None:
    async def body() -> None:
        async with bench.open() as d:
            assert isinstance(d, Deployment)
            assert d.in_effect == d.environment == bench.source.base

    play(body)
