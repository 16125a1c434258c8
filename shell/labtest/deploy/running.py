"""The pump: takes a plan's steps to the hosts as the choreography lets them begin, and writes down what becomes of each.

It decides nothing. A step is written down before it begins and after it has ended. When the run is cancelled, steps under way are cancelled on
their hosts, and are written down as ones of which nobody knows. Writing goes through a thread: a disk that takes its time must not hold up a
prompt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import trio

from labtest.core.choreography import Choreography, RunState, Verdict
from labtest.core.describe import action_title
from labtest.core.run_records import Ended, Record, StepDone, StepFailed, StepLost, StepStarted
from labtest.core.steps import (
    CheckHealth,
    InstallRelease,
    Plan,
    Reload,
    Restart,
    Start,
    Step,
    Stop,
    SwitchRelease,
)
from labtest.deploy.errors import JournalFailed
from labtest.deploy.events import DeployEvent, RunBegan, RunEnded, StepBegan, StepEnded
from labtest.deploy.journal import JournalFile
from labtest.deploy.limits import AGENT_STEPS_MAX, STEP_TIMEOUT_S, STEPS_MAX
from labtest.errors import ActionFailed, AgentFailed, HostUnreachable
from labtest.hosts.interface import Agent

__all__ = ["Running", "step_timeout_s"]


def step_timeout_s(step: Step) -> float:
    """How long a step may take in all: what its action allows, and what it takes to get there and back."""
    own = 0.0
    match step.action:
        case Start(process) | Restart(process) | Reload(process):
            own = process.start_timeout_s + process.stop_timeout_s
        case CheckHealth(process):
            own = process.health.timeout_s + process.health.stable_s
        case Stop():
            own = step.action.timeout_s
        case InstallRelease(release):
            own = release.install_timeout_s
        case SwitchRelease(release):
            own = release.install_timeout_s * max(1, len(release.after_switch))
    return own + STEP_TIMEOUT_S


class Running:
    """One run of a plan. The journal has its ``Began`` already."""

    def __init__(
        self,
        plan: Plan,
        agents: Mapping[str, Agent | None],
        journal: JournalFile,
        *,
        title: str,
        content: Callable[[str], bytes],
        tell: Callable[[DeployEvent], None],
        settle: Callable[[], None],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """``settle`` is called in a thread when all steps are done, before the journal says that the run has ended: a kill between the two is
        a run that is to be resumed, never one that was forgotten.
        """
        self._settle = settle
        self._plan = plan
        self._agents = agents
        self._journal = journal
        self._title = title
        self._content = content
        self._tell = tell
        self._clock = clock
        self._choreography = Choreography(plan, per_host=AGENT_STEPS_MAX, in_all=STEPS_MAX)
        self._writing = trio.Lock()

    async def run(self) -> Verdict:
        """Carries the plan out as far as it goes. A failed step is part of the verdict; only cancelling raises."""
        self._tell(RunBegan(title=self._title, steps=self._plan.steps))
        try:
            async with trio.open_nursery() as nursery:
                self._begin_more(nursery)
        except BaseException:
            self._abandon()
            raise
        verdict = self._choreography.verdict
        assert verdict is not None, "nothing is under way, so it has ended"
        with trio.CancelScope(shield=True):
            if verdict.state is RunState.DONE:
                await trio.to_thread.run_sync(self._settle)
            await self._note(Ended(state=verdict.state, at_ns=self._clock()))
        self._tell(RunEnded(title=self._title, state=verdict.state))
        return verdict

    def _begin_more(self, nursery: trio.Nursery) -> None:
        for step in self._choreography.start():
            nursery.start_soon(self._step, step, nursery)

    async def _step(self, step: Step, nursery: trio.Nursery) -> None:
        title = action_title(step.action)
        try:
            await self._write(StepStarted(step=step.id, at_ns=self._clock()))
            self._tell(StepBegan(step=step, title=title))
            said = await self._do(step)
            await self._write(StepDone(step=step.id, at_ns=self._clock(), said=said))
        except (HostUnreachable, AgentFailed) as error:
            await self._lost(step.host, str(error))
        except (ActionFailed, JournalFailed) as error:
            await self._failed(step, title, error.problem if isinstance(error, ActionFailed) else str(error))
        else:
            if step in self._choreography.under_way:
                self._choreography.done(step)
                self._tell(StepEnded(step=step, title=title, is_ok=True, said=said))
                self._begin_more(nursery)

    async def _do(self, step: Step) -> str:
        agent = self._agents.get(step.host)
        if agent is None:
            raise HostUnreachable(step.host, "it does not answer")
        limit_s = step_timeout_s(step)
        with trio.move_on_after(limit_s):
            return await agent.do(self._plan.environment, step.action, content=self._content)
        raise ActionFailed(step.host, "timeout", f"it was not done within {limit_s:g} s")

    async def _failed(self, step: Step, title: str, problem: str) -> None:
        if step not in self._choreography.under_way:
            return
        self._choreography.failed(step, problem)
        self._tell(StepEnded(step=step, title=title, is_ok=False, said=problem))
        await self._note(StepFailed(step=step.id, at_ns=self._clock(), problem=problem))

    async def _lost(self, host: str, problem: str) -> None:
        """All steps of that host are lost with it; each of them comes here, the first one speaks for all."""
        if not any(step.host == host for step in self._choreography.under_way):
            return
        for step in self._choreography.host_lost(host, problem):
            self._tell(StepEnded(step=step, title=action_title(step.action), is_ok=False, said=problem))
            await self._note(StepLost(step=step.id, at_ns=self._clock(), problem=problem))

    async def _note(self, record: Record) -> None:
        try:
            await self._write(record)
        except JournalFailed:
            pass  # the run ends anyhow, and what is missing here reads as not known

    async def _write(self, record: Record) -> None:
        """On the disk when this returns. A record of what has happened is written also while the run is being cancelled."""
        with trio.CancelScope(shield=not isinstance(record, StepStarted)):
            async with self._writing:
                await trio.to_thread.run_sync(self._journal.write, record)

    def _abandon(self) -> None:
        """The run is cancelled, or the pump is broken: what was under way is not known."""
        if self._choreography.verdict is None:
            self._choreography.cancel()
        records: list[Record] = []
        for step in self._choreography.under_way:
            self._choreography.unsure(step, "it was cancelled while it was under way")
            self._tell(StepEnded(step=step, title=action_title(step.action), is_ok=False, said="cancelled"))
            records.append(StepLost(step=step.id, at_ns=self._clock(), problem="cancelled"))
        verdict = self._choreography.verdict
        state = verdict.state if verdict else RunState.CANCELLED
        try:
            for record in (*records, Ended(state=state, at_ns=self._clock())):
                self._journal.write(record)
        except JournalFailed:
            pass  # it then reads like a kill
        self._tell(RunEnded(title=self._title, state=state))
