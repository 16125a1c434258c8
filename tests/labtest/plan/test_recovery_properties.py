"""A run that fails, is cancelled or is killed, at any step: what its records say leads to its end, or back to where it came from."""

from __future__ import annotations

import random

from hypothesis import given, note
from hypothesis import strategies as st
from tests.labtest.plan.test_plan_examples import process, spec
from tests.labtest.plan.test_plan_properties import SEEDS, SETTINGS, assert_is, reach
from tests.labtest.plan.worlds import PATHS, SpecDraw, World, carry_out, new_world, observe, perform, specs

from labtest.core.ask import EVERYTHING, Ask
from labtest.core.choreography import Choreography, RunState
from labtest.core.environment import OnChange
from labtest.core.plan import index_of, make_plan
from labtest.core.run_records import (
    Began,
    Ended,
    Record,
    StepDone,
    StepFailed,
    StepLost,
    StepStarted,
    unfinished,
)
from labtest.core.steps import CheckHealth, Plan, PutFile, ReloadManager, Start, Step
from labtest.core.target import Target
from labtest.errors import ActionFailed


def began(before: Target, after: Target, plan: Plan, ask: Ask = EVERYTHING) -> Began:
    return Began(title="apply", who="ada@desk", at_ns=0, before=before, after=after, plan=plan, ask=ask)


class Trouble:
    """What befalls a run at its n-th event: a step fails (nothing done, or all of it), its host is lost, somebody cancels, the power goes."""

    def __init__(self, kind: str, at: int) -> None:
        self.kind = kind
        self.at = at


def run(world: World, first: Began, chance: random.Random, trouble: Trouble) -> list[Record]:
    """Carries a plan out as the pump does, until the trouble; gives what was written down."""
    records: list[Record] = [first]
    play = Choreography(first.plan, per_host=2, in_all=6)
    events = 0
    while play.verdict is None:
        for step in play.start():
            records.append(StepStarted(step=step.id, at_ns=0))
        step = chance.choice(play.under_way)
        is_now, events = events == trouble.at, events + 1
        if is_now and trouble.kind.startswith("kill"):
            for each in play.under_way:
                if chance.random() < 0.5:
                    perform(world, each)  # done, and nobody heard of it
            return records
        if is_now and trouble.kind == "cancel":
            play.cancel()
            for each in play.under_way:
                if chance.random() < 0.5:
                    perform(world, each)
                play.unsure(each, "cancelled")
                records.append(StepLost(step=each.id, at_ns=0, problem="cancelled"))
        elif is_now and trouble.kind == "lose":
            for lost in play.host_lost(step.host, "no route"):
                if chance.random() < 0.5:
                    perform(world, lost)
                records.append(StepLost(step=lost.id, at_ns=0, problem="no route"))
        else:
            _end(world, play, step, records, is_failing=is_now and trouble.kind == "fail")
    verdict = play.verdict
    records.append(Ended(state=verdict.state, at_ns=0))
    return records


def _end(world: World, play: Choreography, step: Step, records: list[Record], *, is_failing: bool) -> None:
    try:
        if is_failing:
            raise ActionFailed(step.host, "io", "a fault")
        perform(world, step)
    except ActionFailed as error:
        play.failed(step, error.problem)
        records.append(StepFailed(step=step.id, at_ns=0, problem=error.problem))
    else:
        play.done(step)
        records.append(StepDone(step=step.id, at_ns=0))


KINDS = st.sampled_from(("fail", "lose", "cancel", "kill"))


def broken_run(
    first: SpecDraw, second: SpecDraw, kind: str, seed: int
) -> tuple[World, random.Random, list[Record]]:
    chance = random.Random(seed)
    note(f"seed {seed}")
    world = new_world()
    reach(world, first, chance)
    before, after = first.target(), second.target()
    plan = make_plan(after, observe(world, after), before=before)
    trouble = Trouble(kind, chance.randrange(len(plan.steps) + 1))
    return world, chance, run(world, began(before, after, plan), chance, trouble)


@SETTINGS
@given(specs(), specs(), KINDS, SEEDS)
def test_an_unfinished_run_can_be_brought_to_its_end(
    first: SpecDraw, second: SpecDraw, kind: str, seed: int
) -> None:
    world, chance, records = broken_run(first, second, kind, seed)
    left = unfinished(records)
    if left is not None:
        after = left.began.after
        carry_out(
            world,
            make_plan(after, observe(world, after), ask=left.ask_again(), before=left.began.before),
            chance,
        )
    assert_is(world, second.target())


@SETTINGS
@given(specs(), specs(), KINDS, SEEDS)
def test_an_unfinished_run_can_be_gone_back_from(
    first: SpecDraw, second: SpecDraw, kind: str, seed: int
) -> None:
    world, chance, records = broken_run(first, second, kind, seed)
    left = unfinished(records)
    if left is None:
        assert_is(world, second.target())
        return
    before = left.began.before
    ask = Ask(unsure=left.unsure_actions())
    plan = make_plan(before, observe(world, before), ask=ask, before=left.began.after)
    carry_out(world, plan, chance)
    assert_is(world, before)


@SETTINGS
@given(specs(), specs(), KINDS, KINDS, SEEDS)
def test_a_rollback_can_be_interrupted_too(
    first: SpecDraw, second: SpecDraw, kind: str, again: str, seed: int
) -> None:
    world, chance, records = broken_run(first, second, kind, seed)
    left = unfinished(records)
    if left is None:
        return
    before, after = left.began.before, left.began.after
    ask = Ask(unsure=left.unsure_actions())
    plan = make_plan(before, observe(world, before), ask=ask, before=after)
    trouble = Trouble(again, chance.randrange(len(plan.steps) + 1))
    left = unfinished(run(world, began(after, before, plan, ask), chance, trouble))
    if left is not None:
        carry_out(
            world, make_plan(before, observe(world, before), ask=left.ask_again(), before=after), chance
        )
    assert_is(world, before)


@SETTINGS
@given(specs(), specs(), SEEDS)
def test_the_index_moves_when_anything_is_done_and_only_then(
    first: SpecDraw, second: SpecDraw, seed: int
) -> None:
    chance = random.Random(seed)
    note(f"seed {seed}")
    world = new_world()
    reach(world, first, chance)
    target = second.target()
    plan = make_plan(target, observe(world, target))
    assert plan.index == index_of(target, observe(world, target))
    for machine in world.values():
        for unit in machine.state.units.values():
            unit.main_pid += 7  # nothing that matters
    assert plan.index == index_of(target, observe(world, target))
    before = observe(world, target)
    for step in plan.steps:
        perform(world, step)
    assert (index_of(target, observe(world, target)) == plan.index) == (observe(world, target) == before)


def test_a_run_of_which_only_the_beginning_was_cut_says_nothing() -> None:
    assert unfinished([]) is None
    assert unfinished([StepStarted(step=0, at_ns=0)]) is None


def test_a_run_that_ended_well_is_not_unfinished() -> None:
    target = Target(environment="lab", hosts=())
    plan = Plan(environment="lab", steps=(), index="", minor=True)
    assert unfinished([began(target, target, plan), Ended(state=RunState.DONE, at_ns=0)]) is None
    left = unfinished([began(target, target, plan)])
    assert left is not None
    assert str(left) == "apply by ada@desk was killed after 0 of 0 steps"


def test_what_is_owed_after_a_kill_is_what_was_begun_and_what_was_not_checked() -> None:
    first = spec(process("web", "a", files={PATHS[0]: OnChange.RESTART}))
    target = first.target()
    plan = make_plan(target, observe(new_world(), target))
    kinds = [type(step.action) for step in plan.steps]
    assert kinds == [PutFile, PutFile, ReloadManager, Start, CheckHealth]
    records: list[Record] = [began(Target(environment="lab", hosts=()), target, plan)]

    def owed(*more: Record) -> list[type]:
        left = unfinished([*records, *more])
        assert left is not None
        return [type(one.action) for one in left.ask_again().unsure]

    def done(*steps: int) -> list[Record]:
        return [
            record
            for step in steps
            for record in (StepStarted(step=step, at_ns=0), StepDone(step=step, at_ns=0))
        ]

    assert owed() == []
    assert owed(StepStarted(step=0, at_ns=0)) == [PutFile]
    assert owed(StepStarted(step=0, at_ns=0), StepLost(step=0, at_ns=0, problem="lost")) == [PutFile]
    assert owed(StepStarted(step=0, at_ns=0), StepFailed(step=0, at_ns=0, problem="no space")) == [PutFile]
    assert owed(*done(0, 1)) == [ReloadManager]
    assert owed(*done(0, 1, 2)) == []
    assert owed(*done(0, 1, 2, 3)) == [CheckHealth]
    assert owed(*done(0, 1, 2, 3, 4)) == []


def test_a_process_that_was_started_and_never_checked_is_checked_by_whoever_goes_on() -> None:
    target = spec(process("web", "a")).target()
    world = new_world()
    plan = make_plan(target, observe(world, target))
    records: list[Record] = [began(Target(environment="lab", hosts=()), target, plan)]
    for step in plan.steps[:-1]:
        perform(world, step)
        records += [StepStarted(step=step.id, at_ns=0), StepDone(step=step.id, at_ns=0)]
    left = unfinished(records)
    assert left is not None
    again = make_plan(target, observe(world, target), ask=left.ask_again())
    assert [(type(step.action), step.reason) for step in again.steps] == [
        (CheckHealth, "a run was interrupted before it was known to be healthy")
    ]


def test_restarts_that_were_asked_for_and_done_are_not_done_again() -> None:
    target = spec(process("web", "ab")).target()
    world = new_world()
    for step in make_plan(target, observe(world, target)).steps:
        perform(world, step)
    ask = Ask(restart=frozenset({("web", "a"), ("web", "b")}))
    plan = make_plan(target, observe(world, target), ask=ask)
    first = StepStarted(step=0, at_ns=0), StepDone(step=0, at_ns=0)
    left = unfinished([began(target, target, plan, ask), *first])
    assert left is not None
    assert left.ask_again().restart == {("web", "b")}
