"""Carrying a plan out: which steps may begin, and how it ends.

Law: this is what the Choreographer decides by; whoever pumps steps to hosts asks it what may begin, and tells it what became of each. A step
that fails, or whose host is lost, keeps all others from beginning; those under way are waited for, since a host that is told to stop halfway is
in a state that nobody planned. What a run ends with is said of each step: done, failed, left alone, or unsure, which is one that was under way
when its host was lost or the run was cancelled: nobody knows, and nobody guesses. Going back is no state of a run: it is another run, of another
plan.

The two tables are all of it: what is not in them cannot happen, and is an error of the pump. The diagram in the docs is drawn from them.
"""

from __future__ import annotations

import enum

import msgspec

from labtest.core.steps import Plan, Step

__all__ = [
    "RUN_TRANSITIONS",
    "STEP_TRANSITIONS",
    "Choreography",
    "RunEvent",
    "RunState",
    "StepEvent",
    "StepState",
    "Verdict",
    "diagram",
]


class StepState(enum.StrEnum):
    """How far a step is."""

    WAITING = "waiting"
    UNDER_WAY = "under way"
    DONE = "done"
    FAILED = "failed"
    #: It was under way, and what became of it is not known.
    UNSURE = "unsure"
    #: It was never begun, and will not be.
    LEFT = "left"


class StepEvent(enum.StrEnum):
    """What happens to a step."""

    BEGIN = "begin"
    DONE = "done"
    FAIL = "fail"
    LOSE = "lose"
    LEAVE = "leave"


class RunState(enum.StrEnum):
    """How a run is."""

    RUNNING = "running"
    #: A step has failed, or its host was lost: what is under way comes to its end.
    FAILING = "failing"
    #: Somebody wants it to end: what is under way is cancelled.
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunEvent(enum.StrEnum):
    """What happens to a run."""

    STEP_DONE = "step done"
    STEP_FAILED = "step failed"
    HOST_LOST = "host lost"
    CANCEL = "cancel"
    #: Nothing is under way, and nothing may begin.
    QUIET = "quiet"


STEP_TRANSITIONS: dict[tuple[StepState, StepEvent], StepState] = {
    (StepState.WAITING, StepEvent.BEGIN): StepState.UNDER_WAY,
    (StepState.WAITING, StepEvent.LEAVE): StepState.LEFT,
    (StepState.UNDER_WAY, StepEvent.DONE): StepState.DONE,
    (StepState.UNDER_WAY, StepEvent.FAIL): StepState.FAILED,
    (StepState.UNDER_WAY, StepEvent.LOSE): StepState.UNSURE,
}

RUN_TRANSITIONS: dict[tuple[RunState, RunEvent], RunState] = {
    (RunState.RUNNING, RunEvent.STEP_DONE): RunState.RUNNING,
    (RunState.RUNNING, RunEvent.STEP_FAILED): RunState.FAILING,
    (RunState.RUNNING, RunEvent.HOST_LOST): RunState.FAILING,
    (RunState.RUNNING, RunEvent.CANCEL): RunState.CANCELLING,
    (RunState.RUNNING, RunEvent.QUIET): RunState.DONE,
    (RunState.FAILING, RunEvent.STEP_DONE): RunState.FAILING,
    (RunState.FAILING, RunEvent.STEP_FAILED): RunState.FAILING,
    (RunState.FAILING, RunEvent.HOST_LOST): RunState.FAILING,
    (RunState.FAILING, RunEvent.CANCEL): RunState.CANCELLING,
    (RunState.FAILING, RunEvent.QUIET): RunState.FAILED,
    (RunState.CANCELLING, RunEvent.STEP_DONE): RunState.CANCELLING,
    (RunState.CANCELLING, RunEvent.STEP_FAILED): RunState.CANCELLING,
    (RunState.CANCELLING, RunEvent.HOST_LOST): RunState.CANCELLING,
    (RunState.CANCELLING, RunEvent.CANCEL): RunState.CANCELLING,
    (RunState.CANCELLING, RunEvent.QUIET): RunState.CANCELLED,
}

_ENDS = (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a run has ended. Steps are named by their ids."""

    state: RunState
    done: tuple[int, ...] = ()
    #: With what was wrong.
    failed: dict[int, str] = {}
    #: Begun, and nobody knows what became of them; with the reason.
    unsure: dict[int, str] = {}
    left: tuple[int, ...] = ()


class Choreography:
    """One run of a plan. ``per_host`` and ``in_all`` steps are under way at a time, at most."""

    def __init__(self, plan: Plan, *, per_host: int, in_all: int) -> None:
        self.plan = plan
        self.state = RunState.RUNNING
        self._per_host = per_host
        self._in_all = in_all
        self._states = {step.id: StepState.WAITING for step in plan.steps}
        self._open_needs = {step.id: len(step.needs) for step in plan.steps}
        self._followers: dict[int, list[int]] = {}
        for step in plan.steps:
            for needed in step.needs:
                self._followers.setdefault(needed, []).append(step.id)
        self._ready = [step.id for step in plan.steps if not step.needs]
        self._busy: dict[str, int] = {}
        self._under_way: set[int] = set()
        self._problems: dict[int, str] = {}
        self._settle()

    @property
    def under_way(self) -> tuple[Step, ...]:
        """Steps that have begun and not ended."""
        return tuple(self.plan.steps[number] for number in sorted(self._under_way))

    @property
    def verdict(self) -> Verdict | None:
        """How it has ended; None: it has not."""
        if self.state not in _ENDS:
            return None
        by_state = {state: tuple(n for n, one in self._states.items() if one is state) for state in StepState}
        return Verdict(
            state=self.state,
            done=by_state[StepState.DONE],
            failed={number: self._problems[number] for number in by_state[StepState.FAILED]},
            unsure={number: self._problems[number] for number in by_state[StepState.UNSURE]},
            left=by_state[StepState.LEFT],
        )

    def start(self) -> tuple[Step, ...]:
        """Steps that begin now: whoever calls this must begin them. None once something has failed."""
        begun: list[Step] = []
        if self.state is not RunState.RUNNING:
            return ()
        for number in list(self._ready):
            step = self.plan.steps[number]
            if len(self._under_way) >= self._in_all:
                break
            if self._busy.get(step.host, 0) < self._per_host:
                self._ready.remove(number)
                self._move(step, StepEvent.BEGIN)
                self._under_way.add(number)
                self._busy[step.host] = self._busy.get(step.host, 0) + 1
                begun.append(step)
        return tuple(begun)

    def done(self, step: Step) -> None:
        """A step has been done."""
        self._end(step, StepEvent.DONE)
        for follower in self._followers.get(step.id, ()):
            self._open_needs[follower] -= 1
            if not self._open_needs[follower]:
                self._ready.append(follower)
        self._ready.sort()
        self._happen(RunEvent.STEP_DONE)

    def failed(self, step: Step, problem: str) -> None:
        """A step could not be done."""
        self._problems[step.id] = problem
        self._end(step, StepEvent.FAIL)
        self._happen(RunEvent.STEP_FAILED)

    def host_lost(self, host: str, problem: str) -> tuple[Step, ...]:
        """A host does not answer any more. Gives its steps that were under way: nobody knows what became of them."""
        lost = tuple(step for step in self.under_way if step.host == host)
        for step in lost:
            self._problems[step.id] = problem
            self._end(step, StepEvent.LOSE)
        self._happen(RunEvent.HOST_LOST)
        return lost

    def cancel(self) -> None:
        """Nothing begins any more. Steps under way end with :meth:`done`, :meth:`failed` or :meth:`unsure`."""
        self._happen(RunEvent.CANCEL)

    def unsure(self, step: Step, problem: str) -> None:
        """A step was cancelled while it was under way."""
        self._problems[step.id] = problem
        self._end(step, StepEvent.LOSE)
        self._settle()

    def _end(self, step: Step, event: StepEvent) -> None:
        self._move(step, event)
        self._under_way.discard(step.id)
        self._busy[step.host] -= 1

    def _move(self, step: Step, event: StepEvent) -> None:
        before = self._states[step.id]
        after = STEP_TRANSITIONS.get((before, event))
        if after is None:
            raise AssertionError(f"step {step.id} is {before} and cannot {event}")
        self._states[step.id] = after

    def _happen(self, event: RunEvent) -> None:
        after = RUN_TRANSITIONS.get((self.state, event))
        if after is None:
            raise AssertionError(f"a run that is {self.state} knows no {event}")
        self.state = after
        self._settle()

    def _settle(self) -> None:
        """Ends the run when nothing is under way and nothing will be."""
        if self._under_way or self.state in _ENDS or (self.state is RunState.RUNNING and self._ready):
            return
        self.state = RUN_TRANSITIONS[self.state, RunEvent.QUIET]
        for step in self.plan.steps:
            if self._states[step.id] is StepState.WAITING:
                self._move(step, StepEvent.LEAVE)


def diagram() -> str:
    """Both tables as Mermaid state diagrams; what leaves a state as it is is not drawn."""
    runs = ["stateDiagram-v2", f"    [*] --> {RunState.RUNNING.name}"]
    for (run, run_event), then in RUN_TRANSITIONS.items():
        if run is not then:
            runs.append(f"    {run.name} --> {then.name}: {run_event}")
    runs += [f"    {run.name} --> [*]" for run in _ENDS]
    steps = ["stateDiagram-v2", f"    [*] --> {StepState.WAITING.name}"]
    for (step, step_event), after in STEP_TRANSITIONS.items():
        steps.append(f"    {step.name} --> {after.name}: {step_event}")
    return (
        "".join(f"```mermaid\n{chr(10).join(lines)}\n```\n\n" for lines in (runs, steps)).rstrip("\n") + "\n"
    )


if __name__ == "__main__":
    print(diagram(), end="")
