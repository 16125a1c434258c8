"""Plans for a part of an environment: what they may touch, what they lead to, and plans without their health checks."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.labtest.plan import worlds

from labtest.core.actual import Actual
from labtest.core.ask import EVERYTHING, Ask
from labtest.core.plan import plan_in_full
from labtest.core.reached import reached
from labtest.core.steps import CheckHealth, Reload, Restart, Start, Step
from labtest.core.target import HostTarget, Target
from labtest.core.unchecked import without_checks

TARGETS = worlds.specs().map(lambda spec: spec.target())
PAIRS = st.frozensets(st.tuples(st.sampled_from(worlds.PROCESSES), st.sampled_from(worlds.HOSTS)), min_size=1)


def empty(target: Target) -> Actual:
    """Hosts on which nothing is yet."""
    return worlds.observe(worlds.new_world(), target)


def part(pairs: frozenset[tuple[str, str]]) -> Ask:
    return Ask(
        hosts=frozenset(host for _, host in pairs),
        processes=frozenset(process for process, _ in pairs),
        instances=pairs,
    )


def acts_on(step: Step) -> tuple[str, str] | None:
    if isinstance(step.action, (Start, Restart, Reload)):
        return step.action.process.process, step.host
    return None


@given(TARGETS, PAIRS)
def test_only_instances_that_were_asked_for_are_started(
    target: Target, pairs: frozenset[tuple[str, str]]
) -> None:
    steps = plan_in_full(target, empty(target), ask=part(pairs)).plan.steps
    assert {acts_on(step) for step in steps} - {None} <= pairs


@given(TARGETS)
def test_a_plan_without_checks_keeps_the_order_of_all_else(target: Target) -> None:
    planned = plan_in_full(target, empty(target))
    bare = without_checks(planned).plan
    assert not any(isinstance(step.action, CheckHealth) for step in bare.steps)
    assert [step.id for step in bare.steps] == list(range(len(bare.steps)))
    kept = [step for step in planned.plan.steps if not isinstance(step.action, CheckHealth)]
    assert [(step.host, step.action) for step in kept] == [(step.host, step.action) for step in bare.steps]

    def before(steps: tuple[Step, ...], of: int) -> set[int]:
        return {of}.union(*(before(steps, needed) for needed in steps[of].needs))

    numbers = {old.id: new.id for old, new in zip(kept, bare.steps, strict=True)}
    for old, new in zip(kept, bare.steps, strict=True):
        wanted = {numbers[one] for one in before(planned.plan.steps, old.id) if one in numbers}
        assert before(bare.steps, new.id) == wanted


@given(TARGETS, TARGETS, PAIRS)
def test_a_part_leads_what_was_asked_for_and_leaves_the_rest(
    before: Target, after: Target, pairs: frozenset[tuple[str, str]]
) -> None:
    assert reached(before, after, EVERYTHING) == after
    assert reached(after, after, part(pairs)) == without_empty_hosts(after)
    found = {host.host: host for host in reached(before, after, part(pairs)).hosts}
    for name in worlds.HOSTS:
        for process in worlds.PROCESSES:
            source = after if (process, name) in pairs else before
            assert process_of(found.get(name), process) == process_of(host_of(source, name), process)


def host_of(target: Target, name: str) -> HostTarget | None:
    return next((host for host in target.hosts if host.host == name), None)


def process_of(host: HostTarget | None, process: str) -> object:
    return next((one for one in host.processes if one.process == process), None) if host else None


def without_empty_hosts(target: Target) -> Target:
    hosts = tuple(host for host in target.hosts if host.files or host.releases or host.processes)
    return msgspec.structs.replace(target, hosts=hosts)
