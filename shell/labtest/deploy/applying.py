"""Carries one prepared plan out under all locks, and goes back if it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

import msgspec
import trio

from labtest.core.actual import Actual
from labtest.core.ask import Ask
from labtest.core.choreography import RunState, Verdict
from labtest.core.describe import action_title
from labtest.core.plan import Planned, index_of, plan_in_full
from labtest.core.reached import reached
from labtest.core.run_records import Began
from labtest.core.steps import Plan
from labtest.core.target import Target
from labtest.deploy.events import DeployEvent
from labtest.deploy.observing import observe_all
from labtest.deploy.outcome import Ending, Outcome, Prepared, Problem
from labtest.deploy.running import Running
from labtest.deploy.state_folder import KeptTarget, StateFolder
from labtest.deploy.threads import in_thread
from labtest.errors import AgentFailed, EnvironmentLocked, HostUnreachable, PlanOutdated
from labtest.hosts.interface import Agent

__all__ = ["Applying"]


class Applying:
    """One carrying out."""

    def __init__(
        self,
        folder: StateFolder,
        prepared: Prepared,
        agents: Callable[[], Mapping[str, Agent | None]],
        *,
        who: str,
        holder: str,
        tell: Callable[[DeployEvent], None],
        clock: Callable[[], int],
    ) -> None:
        self._folder = folder
        self._prepared = prepared
        self._agents = agents
        self._who = who
        self._holder = holder
        self._tell = tell
        self._clock = clock
        self._locked: dict[str, Agent] = {}
        self._problems: list[Problem] = []
        self._steps_done = 0

    async def apply(self, *, rollback: bool) -> Outcome:
        """See :meth:`labtest.deploy.deployment.Deployment.apply`."""
        prepared = self._prepared
        async with AsyncExitStack() as stack:
            stack.enter_context(self._folder.lock(self._holder))
            desired = self._folder.read(prepared.target.environment)
            if desired.serial != prepared.serial:
                raise PlanOutdated(
                    "what shall be was changed by somebody else since the plan was made: plan again"
                )
            await self._lock_hosts(stack)
            await self._check_index()
            if not prepared.plan.steps and self._folder.unfinished() is None:
                await trio.to_thread.run_sync(self._settle)
                return self._outcome(Ending.DONE, prepared.planned)
            await trio.to_thread.run_sync(self._folder.keep, prepared.target, prepared.blobs)
            verdict = await self._run(prepared.title, prepared.planned, prepared.target, prepared.ask)
            if verdict.state is RunState.DONE:
                return self._outcome(Ending.DONE, prepared.planned)
            return await (self._go_back(stack) if rollback else self._stay())

    # ------------------------------------------------------------ before

    async def _lock_hosts(self, stack: AsyncExitStack) -> None:
        """In order of name, so that of two who want the same hosts one gets them all."""
        agents = self._agents()
        answered = {name for name, found in self._prepared.actual.hosts.items() if found is not None}
        for name in sorted(name for name in answered if self._prepared.ask.has_host(name)):
            agent = agents.get(name)
            if agent is None:
                raise PlanOutdated(f"{name} answered when the plan was made, and does not now: plan again")
            await stack.enter_async_context(agent.lock(self._prepared.target.environment, self._holder))
            self._locked[name] = agent

    async def _check_index(self) -> None:
        prepared = self._prepared
        actual = await self._observe(prepared.target)
        now = await in_thread(index_of, prepared.target, actual, ask=prepared.ask)
        if now != prepared.plan.index:
            changed = [name for name in actual.hosts if _differs(prepared, actual, name)]
            raise PlanOutdated(
                f"{', '.join(changed) or 'something'} has changed since the plan was made: plan again"
            )

    async def _observe(self, target: Target) -> Actual:
        return await observe_all(self._agents(), target)

    # ------------------------------------------------------------ a run

    async def _run(self, title: str, planned: Planned, target: Target, ask: Ask) -> Verdict:
        prepared = self._prepared
        is_forward = target is prepared.target
        began = Began(
            title=title,
            who=self._who,
            at_ns=self._clock(),
            before=prepared.before if is_forward else prepared.target,
            after=target,
            plan=planned.plan,
            ask=ask,
            changes=prepared.changes if is_forward else prepared.changes_before,
            pending=prepared.pending if is_forward else prepared.pending_before,
            changes_before=prepared.changes_before if is_forward else prepared.changes,
            pending_before=prepared.pending_before if is_forward else prepared.pending,
            spec_sha256=prepared.spec_sha256,
            serial=prepared.serial,
        )
        journal = self._folder.new_journal()
        try:
            await trio.to_thread.run_sync(journal.write, began)
            running = Running(
                planned.plan,
                dict(self._locked),
                journal,
                title=title,
                content=self._content,
                tell=self._tell,
                settle=self._settle if is_forward else _nothing,
                clock=self._clock,
            )
            verdict = await running.run()
        finally:
            journal.close()
        self._note(planned.plan, verdict)
        return verdict

    def _content(self, sha256: str) -> bytes:
        content = self._prepared.blobs.get(sha256)
        return content if content is not None else self._folder.blob(sha256)

    def _note(self, plan: Plan, verdict: Verdict) -> None:
        self._steps_done += len(verdict.done)
        for number, error in sorted({**verdict.failed, **verdict.unsure}.items()):
            step = plan.steps[number]
            self._problems.append(Problem(host=step.host, title=action_title(step.action), error=error))

    # ------------------------------------------------------------ after

    def _settle(self) -> None:
        """What was planned is what shall be from now on."""
        prepared = self._prepared
        desired = self._folder.read(prepared.target.environment)
        digest = self._folder.keep(reached(prepared.before, prepared.target, prepared.ask), prepared.blobs)
        following_target = KeptTarget(
            sha256=digest,
            changes=prepared.changes,
            spec_sha256=prepared.spec_sha256,
            at_ns=self._clock(),
            who=self._who,
        )
        kept = desired.kept
        places = [place for place, one in enumerate(kept) if one.sha256 == digest]
        if prepared.title == "rollback" and places:
            kept = kept[: places[-1] + 1]
        elif not kept or kept[-1].sha256 != digest:
            kept = (*kept, following_target)
        following = msgspec.structs.replace(
            desired, changes=prepared.changes, pending=prepared.pending, kept=kept
        )
        if following != desired:
            following = self._folder.write(following)
        self._folder.forget_others(following)

    async def _stay(self) -> Outcome:
        failed = self._folder.unfinished()
        ask = failed.ask_again() if failed else self._prepared.ask
        return self._outcome(Ending.FAILED, await self._what_is_left(self._prepared.target, ask))

    async def _go_back(self, stack: AsyncExitStack) -> Outcome:
        """Leads from whatever is there now to the target before, and says what that came to."""
        prepared = self._prepared
        await self._lock_again(stack)
        failed = self._folder.unfinished()
        unsure = failed.unsure_actions() if failed else ()
        ask = msgspec.structs.replace(prepared.ask.narrowed(), unsure=unsure)
        actual = await observe_all(self._locked, prepared.before)
        planned = await in_thread(plan_in_full, prepared.before, actual, ask=ask, before=prepared.target)
        verdict = await self._run("rollback", planned, prepared.before, ask)
        left = await self._what_is_left(prepared.before, ask.narrowed())
        touched = {step.host for step in prepared.plan.steps}
        is_back = (
            verdict.state is RunState.DONE
            and not left.plan.steps
            and not touched & set(left.plan.unreachable)
        )
        return self._outcome(Ending.ROLLED_BACK if is_back else Ending.FAILED, left)

    async def _lock_again(self, stack: AsyncExitStack) -> None:
        """Hosts that were lost may be back, with an agent that holds no lock. Those of which somebody else has taken hold are left alone."""
        for name, agent in sorted(self._agents().items()):
            if name not in self._locked or agent is self._locked[name]:
                continue
            del self._locked[name]
            if agent is not None:
                try:
                    await stack.enter_async_context(
                        agent.lock(self._prepared.target.environment, self._holder)
                    )
                    self._locked[name] = agent
                except (EnvironmentLocked, HostUnreachable, AgentFailed) as error:
                    self._problems.append(Problem(host=name, title="lock", error=str(error)))

    async def _what_is_left(self, target: Target, ask: Ask) -> Planned:
        actual = await observe_all(self._locked, target)
        hosts = {**dict.fromkeys(self._prepared.actual.hosts), **actual.hosts}
        actual = msgspec.structs.replace(actual, hosts=hosts)
        return await in_thread(plan_in_full, target, actual, ask=ask, before=self._prepared.target)

    def _outcome(self, ending: Ending, left: Planned) -> Outcome:
        steps = () if ending is Ending.DONE else left.plan.steps
        lines = [f"{step.host}: {step.reason or action_title(step.action)}" for step in steps]
        lines += [f"{host}: {unit}: {why}" for (host, unit), why in sorted(left.held.items())]
        return Outcome(
            title=self._prepared.title,
            ending=ending,
            steps_done=self._steps_done,
            problems=tuple(self._problems),
            left=tuple(dict.fromkeys(lines)),
            unreachable=left.plan.unreachable,
        )


def _differs(prepared: Prepared, actual: Actual, host: str) -> bool:
    """Whether a host, by itself, is not what the plan was made from."""
    only = msgspec.structs.replace(prepared.ask.narrowed(), hosts=frozenset({host}))
    return index_of(prepared.target, actual, ask=only) != index_of(prepared.target, prepared.actual, ask=only)


def _nothing() -> None:
    """What shall be is what it was before."""
