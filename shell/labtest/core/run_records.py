"""What a run leaves behind: its journal's records, and what they say of a run that did not come to its end.

Law: a record is written before what it tells of begins (``Began``, ``StepStarted``) or after it has ended, so a journal never claims what was
not; of a step that was started and not ended nobody knows whether it was done. A journal holds both targets whole: whoever finds it needs
nothing else to know where the run came from and where it was going. Records of a run that ended as it should say nothing that a later plan
needs.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from labtest.core.ask import Ask, UnsureAction
from labtest.core.change_values import Change
from labtest.core.choreography import RunState
from labtest.core.steps import CheckHealth, Plan, Reload, ReloadManager, Restart, Start, Step
from labtest.core.target import Target

__all__ = [
    "Began",
    "Ended",
    "Record",
    "StepDone",
    "StepFailed",
    "StepLost",
    "StepStarted",
    "Unfinished",
    "unfinished",
]


class Began(msgspec.Struct, frozen=True, kw_only=True, tag="began"):
    """The first record: what is going to be done, from where to where."""

    #: ``apply``, ``rollback``, ``resume``, ``down``.
    title: str
    who: str
    #: ns since the epoch, on the machine of whoever did it.
    at_ns: int
    before: Target
    after: Target
    plan: Plan
    ask: Ask
    #: Changes of the spec that are in effect when the run ends well.
    changes: tuple[Change, ...] = ()
    #: Changes that still wait then.
    pending: tuple[Change, ...] = ()
    #: Both, as they were before.
    changes_before: tuple[Change, ...] = ()
    pending_before: tuple[Change, ...] = ()
    spec_sha256: str = ""
    #: Serial of the desired state that it was planned from.
    serial: int = 0


class StepStarted(msgspec.Struct, frozen=True, kw_only=True, tag="step-started"):
    """Is about to begin."""

    step: int
    at_ns: int


class StepDone(msgspec.Struct, frozen=True, kw_only=True, tag="step-done"):
    """Has been done; ``said`` is the agent's line."""

    step: int
    at_ns: int
    said: str = ""


class StepFailed(msgspec.Struct, frozen=True, kw_only=True, tag="step-failed"):
    """Could not be done."""

    step: int
    at_ns: int
    problem: str


class StepLost(msgspec.Struct, frozen=True, kw_only=True, tag="step-lost"):
    """Its host was lost, or it was cancelled: nobody knows."""

    step: int
    at_ns: int
    problem: str


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """The last record."""

    state: RunState
    at_ns: int


Record = Began | StepStarted | StepDone | StepFailed | StepLost | Ended


class Unfinished(msgspec.Struct, frozen=True, kw_only=True):
    """A run that did not do all that it was begun for. Steps are named by their ids."""

    began: Began
    #: ``failed`` or ``cancelled``; ``running``: it was killed.
    state: RunState
    done: frozenset[int]
    failed: dict[int, str]
    #: Started, and nobody knows whether they were done.
    unsure: frozenset[int]

    def __str__(self) -> str:
        """A line for people."""
        how = {RunState.FAILED: "failed", RunState.CANCELLED: "was cancelled"}.get(self.state, "was killed")
        text = f"{self.began.title} by {self.began.who} {how} after {len(self.done)} of {len(self.began.plan.steps)} steps"
        return f"{text}; of {len(self.unsure)} nobody knows whether they were done" if self.unsure else text

    def ask_again(self) -> Ask:
        """What to ask for to bring it to its end: the same, without restarts that were done, and with all that nobody is sure of."""
        steps = self.began.plan.steps
        done = {
            (step.action.process.process, step.host)
            for step in steps
            if step.id in self.done and isinstance(step.action, (Restart, Reload))
        }
        ask = self.began.ask
        return msgspec.structs.replace(
            ask, restart=ask.restart - done, reload=ask.reload - done, unsure=self.unsure_actions()
        )  # fmt: skip

    def unsure_actions(self) -> tuple[UnsureAction, ...]:
        """What may have been done in part, and what is owed: systemd's reading of units that were put there, checks of what was started."""
        steps = self.began.plan.steps
        doubtful = self.unsure | set(self.failed)  # what failed may have been done in part
        doubtful |= {
            step.id
            for step in steps
            if isinstance(step.action, ReloadManager)
            and step.id not in self.done
            and self.done & set(step.needs)
        }
        unsure = [UnsureAction(host=step.host, action=step.action) for step in steps if step.id in doubtful]
        checked = {
            step.needs for step in steps if isinstance(step.action, CheckHealth) and step.id in self.done
        }
        owed = [
            UnsureAction(host=step.host, action=CheckHealth(step.action.process))
            for step in steps
            if step.id in self.done
            and isinstance(step.action, (Start, Restart, Reload))
            and (step.id,) not in checked
        ]
        earlier = [one for one in self.began.ask.unsure if not self._is_settled(one)]
        return (*unsure, *owed, *(one for one in earlier if one not in unsure and one not in owed))

    def _is_settled(self, one: UnsureAction) -> bool:
        """Whether this run did what an earlier one was unsure of."""
        steps = self.began.plan.steps
        same = [step.id for step in steps if step.host == one.host and _kind(step) == _kind_of(one)]
        return bool(same) and set(same) <= self.done


def _kind(step: Step) -> tuple[object, ...]:
    return _kind_of(UnsureAction(host=step.host, action=step.action))


def _kind_of(one: UnsureAction) -> tuple[object, ...]:
    """What an action is about, whatever it replaces."""
    fields = msgspec.structs.asdict(one.action)
    about = {name: value for name, value in fields.items() if not name.startswith("replaces")}
    return (type(one.action), *about.values())


def unfinished(records: Iterable[Record]) -> Unfinished | None:
    """What the records of one run say of it; None: it ended well, or it never began."""
    began: Began | None = None
    state = RunState.RUNNING
    done: set[int] = set()
    failed: dict[int, str] = {}
    started: set[int] = set()
    for record in records:
        match record:
            case Began():
                began = record
            case StepStarted(step=step):
                started.add(step)
            case StepDone(step=step):
                done.add(step)
            case StepFailed(step=step, problem=problem):
                failed[step] = problem
            case StepLost():
                pass  # as if its end had never been written
            case Ended(state=state):
                pass
    if began is None or state is RunState.DONE:
        return None
    unsure = frozenset(started - done - set(failed))
    return Unfinished(began=began, state=state, done=frozenset(done), failed=failed, unsure=unsure)
