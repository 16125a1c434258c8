"""The state machine of a run: its tables, its limits, and how runs end."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtest.core.choreography import (
    RUN_TRANSITIONS,
    STEP_TRANSITIONS,
    Choreography,
    RunEvent,
    RunState,
    StepState,
    diagram,
)
from labtest.core.steps import Plan, ReloadManager, Step

DIAGRAM = Path(__file__).resolve().parents[3] / "docs" / "lab-run-states.md"
ENDS = {RunState.DONE, RunState.FAILED, RunState.CANCELLED}


def plan_of(*steps: tuple[str, tuple[int, ...]]) -> Plan:
    """Steps as (host, needs)."""
    made = tuple(
        Step(id=number, host=host, action=ReloadManager(), needs=needs)
        for number, (host, needs) in enumerate(steps)
    )
    return Plan(environment="lab", steps=made, index="", minor=True)


def choreography(*steps: tuple[str, tuple[int, ...]], per_host: int = 10, in_all: int = 100) -> Choreography:
    return Choreography(plan_of(*steps), per_host=per_host, in_all=in_all)


def ids(steps: tuple[Step, ...]) -> list[int]:
    return [step.id for step in steps]


def test_a_run_without_steps_is_done_at_once() -> None:
    run = choreography()
    assert run.start() == ()
    assert run.verdict is not None
    assert run.verdict.state is RunState.DONE


def test_steps_begin_when_what_they_need_is_done() -> None:
    run = choreography(("a", ()), ("b", ()), ("a", (0, 1)))
    first, second = run.start()
    assert run.start() == ()
    run.done(second)
    assert run.start() == ()
    run.done(first)
    assert ids(run.start()) == [2]


@pytest.mark.parametrize(
    ("per_host", "in_all", "begun"), [(1, 9, [0, 3]), (2, 9, [0, 1, 3, 4]), (9, 3, [0, 1, 2])]
)
def test_few_steps_are_under_way_at_a_time(per_host: int, in_all: int, begun: list[int]) -> None:
    nothing: tuple[int, ...] = ()
    run = choreography(*((host, nothing) for host in "aaabb"), per_host=per_host, in_all=in_all)
    assert ids(run.start()) == begun
    run.done(run.plan.steps[0])
    assert len(run.under_way) == len(begun) - 1
    assert len(run.start()) == 1


def test_after_a_failure_nothing_begins_and_what_is_under_way_ends() -> None:
    run = choreography(("a", ()), ("b", ()), ("a", (1,)), ("c", (0,)))
    first, second = run.start()
    run.failed(first, "it burns")
    assert run.state is RunState.FAILING
    run.done(second)
    assert run.start() == ()
    verdict = run.verdict
    assert verdict is not None
    assert (verdict.state, verdict.done, verdict.failed, verdict.left) == (
        RunState.FAILED,
        (1,),
        {0: "it burns"},
        (2, 3),
    )


def test_all_steps_of_a_lost_host_are_unsure() -> None:
    run = choreography(("a", ()), ("a", ()), ("b", ()))
    run.start()
    assert ids(run.host_lost("a", "no route")) == [0, 1]
    assert run.verdict is None
    run.done(run.plan.steps[2])
    verdict = run.verdict
    assert verdict is not None
    assert verdict.unsure == {0: "no route", 1: "no route"}
    assert verdict.state is RunState.FAILED


def test_a_cancelled_run_says_what_it_does_not_know() -> None:
    run = choreography(("a", ()), ("b", ()), ("c", (0,)))
    first, second = run.start()
    run.cancel()
    assert run.start() == ()
    run.done(second)
    run.unsure(first, "cancelled")
    verdict = run.verdict
    assert verdict is not None
    assert (verdict.state, verdict.done, verdict.unsure, verdict.left) == (
        RunState.CANCELLED, (1,), {0: "cancelled"}, (2,),
    )  # fmt: skip


def test_a_step_ends_once() -> None:
    run = choreography(("a", ()), ("a", ()))
    first, _ = run.start()
    run.done(first)
    with pytest.raises(AssertionError, match="step 0 is done and cannot fail"):
        run.failed(first, "too late")


@pytest.mark.parametrize(("state", "event"), list(itertools.product(RunState, RunEvent)))
def test_every_event_is_known_until_a_run_has_ended(state: RunState, event: RunEvent) -> None:
    assert ((state, event) in RUN_TRANSITIONS) == (state not in ENDS)


def test_nothing_leads_out_of_the_end_of_a_step() -> None:
    assert {before for before, _ in STEP_TRANSITIONS} == {StepState.WAITING, StepState.UNDER_WAY}


def test_the_diagram_in_the_documentation_is_that_of_the_tables() -> None:
    assert diagram() in DIAGRAM.read_text(encoding="utf-8"), "regenerate: python -m labtest.core.choreography"


def test_the_diagram_has_every_transition_that_changes_something() -> None:
    drawn = {line.strip() for line in diagram().splitlines() if "-->" in line and "[*]" not in line}
    runs = {f"{a.name} --> {b.name}: {event}" for (a, event), b in RUN_TRANSITIONS.items() if a is not b}
    steps = {f"{a.name} --> {b.name}: {event}" for (a, event), b in STEP_TRANSITIONS.items()}
    assert drawn == runs | steps


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 5))
def test_any_run_ends_and_accounts_for_every_step(seed: int, per_host: int, in_all: int) -> None:
    chance = random.Random(seed)
    steps = [
        (chance.choice("abc"), tuple(sorted(chance.sample(range(number), min(number, chance.randrange(3))))))
        for number in range(chance.randrange(12))
    ]
    run = choreography(*steps, per_host=per_host, in_all=in_all)
    done: set[int] = set()
    while run.verdict is None:
        for step in run.start():
            assert set(step.needs) <= done
        assert len(run.under_way) <= in_all
        hosts = [step.host for step in run.under_way]
        assert all(hosts.count(host) <= per_host for host in hosts)
        step = chance.choice(run.under_way)
        what = chance.random()
        if what < 0.85:
            run.done(step)
            done.add(step.id)
        elif what < 0.9:
            run.failed(step, "failed")
        elif what < 0.95:
            run.host_lost(step.host, "lost")
        else:
            run.cancel()
    verdict = run.verdict
    ended = [*verdict.done, *verdict.failed, *verdict.unsure, *verdict.left]
    assert sorted(ended) == list(range(len(steps)))
    assert set(verdict.done) == done
    if verdict.state is RunState.DONE:
        assert len(done) == len(steps)
