"""Any two specs, any world: the plan leads from one to the other, in any order it allows, and touches nothing else."""

from __future__ import annotations

import os
import random

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from tests.labtest.plan.worlds import (
    ENVIRONMENT,
    HOSTS,
    PROCESSES,
    STRANGE_PATH,
    STRANGE_UNIT,
    SpecDraw,
    Watch,
    World,
    carry_out,
    drift,
    new_world,
    observe,
    specs,
)

from labtest.core.ask import Ask
from labtest.core.environment import OnChange
from labtest.core.plan import make_plan
from labtest.core.release_work import VERSIONS_KEPT
from labtest.core.steps import CheckHealth
from labtest.core.target import HostTarget, Target

SETTINGS = settings(
    max_examples=int(os.environ.get("LABTEST_PLAN_EXAMPLES", "50")),  # more by hand
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
SEEDS = st.integers(0, 2**32)


def reach(world: World, spec: SpecDraw, chance: random.Random, before: Target | None = None) -> None:
    target = spec.target()
    actual = observe(world, target)
    plan = make_plan(target, actual, before=before)
    carry_out(world, plan, chance, Watch(world, plan, target, actual, before))


def assert_is(world: World, target: Target, *, silent: frozenset[str] = frozenset()) -> None:
    """Nothing is left to do, and that is the truth, not only what the manifest says."""
    assert make_plan(target, observe(world, target, silent=silent)).steps == ()
    for host in target.hosts:
        if host.host in silent:
            continue
        for process in host.processes:
            one = world[host.host].state.units.get(process.unit)
            if not process.running:
                assert one is None or one.active != "active"
                continue
            assert one is not None
            assert one.active == "active"
            really = {
                each.name: each.fingerprint
                for each in process.inputs
                if each.on_change is not OnChange.NOTHING
            }
            assert {name: one.running_from.get(name) for name in really} == really, (
                host.host,
                process.process,
            )
        for file in host.files:
            assert world[host.host].state.files[file.path].sha256 == file.sha256
    wanted = {host.host: host for host in target.hosts}
    for name, machine in world.items():
        mine = wanted.get(name, HostTarget(host=name))
        manifest = machine.manifest(ENVIRONMENT)
        if name not in silent:
            assert manifest.files & set(machine.state.files) <= {file.path for file in mine.files}
            assert set(manifest.units) <= {process.unit for process in mine.processes}
            assert set(manifest.releases) <= {release.name for release in mine.releases}
            assert all(len(release.installed) <= VERSIONS_KEPT for release in machine.state.releases.values())
        assert machine.state.files[STRANGE_PATH].content == b"not yours"
        assert machine.state.units[STRANGE_UNIT].active == "active"


@SETTINGS
@given(specs(), specs(), SEEDS)
def test_a_plan_leads_from_any_spec_to_any_other(first: SpecDraw, second: SpecDraw, seed: int) -> None:
    chance = random.Random(seed)
    note(f"seed {seed}")
    world = new_world()
    reach(world, first, chance)
    assert_is(world, first.target())
    reach(world, second, chance, first.target())
    assert_is(world, second.target())


@SETTINGS
@given(specs(), specs(), SEEDS)
def test_a_plan_leads_there_from_any_world(first: SpecDraw, second: SpecDraw, seed: int) -> None:
    """From a run that ended in the middle, with files edited, units killed, manifests lost and hosts booted anew."""
    chance = random.Random(seed)
    note(f"seed {seed}")
    world = new_world()
    plan = make_plan(first.target(), observe(world, first.target()))
    carry_out(world, plan, chance, steps_max=chance.randrange(len(plan.steps) + 1))
    drift(world, first.target(), chance)
    reach(world, second, chance, first.target())
    assert_is(world, second.target())


SILENT = st.frozensets(st.sampled_from(HOSTS), max_size=2)


@SETTINGS
@given(specs(), specs(), SILENT, SEEDS)
def test_hosts_that_do_not_answer_are_left_alone_and_caught_up_with(
    first: SpecDraw, second: SpecDraw, silent: frozenset[str], seed: int
) -> None:
    chance = random.Random(seed)
    note(f"seed {seed}")
    world = new_world()
    reach(world, first, chance)
    target = second.target()
    actual = observe(world, target, silent=silent)
    plan = make_plan(target, actual, before=first.target())
    assert not silent & {step.host for step in plan.steps}
    assert set(plan.unreachable) == silent
    carry_out(world, plan, chance, Watch(world, plan, target, actual, first.target()))
    assert make_plan(target, observe(world, target, silent=silent)).steps == ()
    reach(world, second, chance, first.target())
    assert_is(world, target)


INSTANCES = st.frozensets(st.tuples(st.sampled_from(PROCESSES), st.sampled_from(HOSTS)), max_size=4)
ASKS = st.builds(
    Ask,
    hosts=st.none() | st.frozensets(st.sampled_from(HOSTS)),
    processes=st.none() | st.frozensets(st.sampled_from(PROCESSES)),
    instances=st.none() | INSTANCES,
    restart=INSTANCES,
    reload=INSTANCES,
)


@SETTINGS
@given(specs(), specs(), ASKS, SEEDS)
def test_a_part_of_a_plan_breaks_nothing_that_the_whole_would_keep(
    first: SpecDraw, second: SpecDraw, ask: Ask, seed: int
) -> None:
    chance = random.Random(seed)
    note(f"seed {seed}")
    world = new_world()
    reach(world, first, chance)
    drift(world, first.target(), chance)
    target = second.target()
    actual = observe(world, target)
    plan = make_plan(target, actual, ask=ask, before=first.target())
    assert all(ask.has_host(step.host) for step in plan.steps)
    for step in plan.steps:
        process = getattr(step.action, "process", "")
        name = process if isinstance(process, str) else process.process
        assert not name or ask.has_instance(name, step.host) or isinstance(step.action, CheckHealth)
    carry_out(world, plan, chance, Watch(world, plan, target, actual, first.target(), ask))
    again = make_plan(target, observe(world, target), ask=ask.narrowed())
    assert again.steps == ()
    reach(world, second, chance, first.target())
    assert_is(world, target)


@SETTINGS
@given(specs(), SEEDS)
def test_nothing_that_runs_as_it_should_is_touched(first: SpecDraw, seed: int) -> None:
    """Whatever else drifts."""
    chance = random.Random(seed)
    note(f"seed {seed}")
    world = new_world()
    reach(world, first, chance)
    drift(world, first.target(), chance)
    target = first.target()
    fine = {}
    for host in observe(world, target).hosts.values():
        assert host is not None
        wanted = {
            process.unit: process
            for one in target.hosts
            if one.host == host.host
            for process in one.processes
        }
        for seen in host.processes:
            process = wanted.get(seen.state.unit)
            if process is None or not process.running or seen.state.active != "active" or not seen.managed:
                continue
            if all(seen.started_from.get(each.name) == each.fingerprint for each in process.inputs):
                fine[host.host, seen.state.unit] = seen.state.invocation
    reach(world, first, chance)
    for (name, unit), invocation in fine.items():
        assert world[name].unit_state(unit).invocation == invocation
