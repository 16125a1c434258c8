"""An environment under one's hands: what it shall be, what it is, and how it gets from one to the other.

A :class:`Deployment` is safe to use while others use theirs: whoever changes something holds the lock of the state folder and those of the
hosts, and finds out then whether the plan in hand was made from what is still so.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import msgspec
import trio

from labtest.core.actual import Actual
from labtest.core.ask import EVERYTHING, Ask
from labtest.core.change_values import Change
from labtest.core.changes import apply
from labtest.core.environment import Environment
from labtest.core.pending import Rebased, normalise, rebase
from labtest.core.plan import Planned, plan_in_full
from labtest.core.run_records import Began, Unfinished
from labtest.core.target import Blobs, Target
from labtest.deploy.applying import Applying
from labtest.deploy.errors import NothingToGoBackTo
from labtest.deploy.events import DeployEvent
from labtest.deploy.limits import OBSERVE_TIMEOUT_S
from labtest.deploy.observing import observe_all
from labtest.deploy.outcome import Outcome, Prepared
from labtest.deploy.source import Source, who_is_here
from labtest.deploy.state_folder import Desired, StateFolder
from labtest.deploy.threads import in_thread
from labtest.hosts.interface import Agent

__all__ = ["Deployment", "open_deployment"]

Agents = Callable[[], Mapping[str, Agent | None]]


def _nobody(_: DeployEvent) -> None:
    """Listens to nothing."""


@asynccontextmanager
async def open_deployment(
    folder: StateFolder,
    source: Source,
    agents: Agents,
    *,
    who: str = "",
    on_event: Callable[[DeployEvent], None] = _nobody,
    clock: Callable[[], int] = time.time_ns,
) -> AsyncIterator[Deployment]:
    """Opens an environment. ``agents`` gives the agents that answer now, by host; it is asked each time, since links come and go.

    Raises :class:`~labtest.errors.SpecError`, :class:`~labtest.deploy.errors.StateDamaged`, :class:`~labtest.deploy.errors.StateNewer`.
    """
    deployment = Deployment(folder, source, agents, who=who or who_is_here(), on_event=on_event, clock=clock)
    await deployment.reload()
    yield deployment


class Deployment:
    """See :func:`open_deployment`."""

    def __init__(
        self,
        folder: StateFolder,
        source: Source,
        agents: Agents,
        *,
        who: str,
        on_event: Callable[[DeployEvent], None],
        clock: Callable[[], int],
    ) -> None:
        self.folder = folder
        self.who = who
        self._source = source
        self._agents = agents
        self._tell = on_event
        self._clock = clock
        self.desired = Desired(environment="")
        self.unfinished: Unfinished | None = None
        self._base: Environment | None = None
        self._rebased = Rebased(Environment(name="", hosts=()), (), ())
        self._waiting = self._rebased

    # ------------------------------------------------------------ what shall be

    @property
    def in_effect(self) -> Environment:
        """The environment with all changes that were applied."""
        return self._rebased.environment

    @property
    def environment(self) -> Environment:
        """The environment with those that wait, too: what a plan leads to."""
        return self._waiting.environment

    @property
    def notes(self) -> tuple[str, ...]:
        """Changes of the state folder that the spec, as it is now, does not take."""
        refused = (*self._rebased.refused, *self._waiting.refused)
        return tuple(f"left out, since the spec was edited: {reason}" for _, reason in refused)

    async def reload(self) -> None:
        """Reads spec and state folder again: somebody else may have written them."""
        self._base = await trio.to_thread.run_sync(self._source.read)
        self._take(await trio.to_thread.run_sync(self.folder.read, self._base.name))
        self.unfinished = await trio.to_thread.run_sync(self.folder.unfinished)

    def _take(self, desired: Desired) -> None:
        assert self._base is not None
        self.desired = desired
        self._rebased = rebase(desired.changes, self._base)
        self._waiting = rebase(desired.pending, self._rebased.environment)

    def collect(self, *changes: Change) -> None:
        """Adds changes to those that wait. Raises :class:`~labtest.core.change_values.ChangeRefused`; then none was added."""
        self._rewrite(lambda: normalise(self.in_effect, (*self._waiting.changes, *changes)))

    def discard(self) -> None:
        """Drops all changes that wait."""
        self._rewrite(lambda: ())

    def _rewrite(self, pending: Callable[[], tuple[Change, ...]]) -> None:
        assert self._base is not None
        with self.folder.lock(self._holder("changing what shall be")):
            self._take(self.folder.read(self._base.name))
            self._take(self.folder.write(msgspec.structs.replace(self.desired, pending=pending())))

    def _holder(self, what: str) -> str:
        return f"{self.who}, {what} since {time.strftime('%H:%M:%S', time.localtime(self._clock() / 1e9))}"

    # ------------------------------------------------------------ what is

    async def observe(self, *, timeout_s: float = OBSERVE_TIMEOUT_S) -> Actual:
        """What is on all hosts, of what is in effect and of what labtest has put there."""
        target = await self._resolved_target(self.in_effect)
        return await observe_all(self._agents(), target, timeout_s=timeout_s)

    async def drift(self) -> Planned:
        """What differs from what is in effect."""
        target = await self._resolved_target(self.in_effect)
        actual = await observe_all(self._agents(), target)
        return await in_thread(plan_in_full, target, actual, before=self._before())

    async def _resolved_target(self, environment: Environment) -> Target:
        resolved = await trio.to_thread.run_sync(self._source.resolve, environment)
        return resolved.target

    def _before(self) -> Target | None:
        """The target that was reached last; of an unfinished run, where it was going."""
        if self.unfinished is not None:
            return self.unfinished.began.after
        return self.folder.target(self.desired.kept[-1].sha256) if self.desired.kept else None

    # ------------------------------------------------------------ plans

    async def plan(
        self, ask: Ask = EVERYTHING, *, changes: tuple[Change, ...] | None = None, title: str = "apply"
    ) -> Prepared:
        """A plan to what is in effect and what waits; with ``changes``, to what is in effect and those, and what waits goes on waiting.

        ``title`` is what its outcome and its journal call it.
        """
        no_changes: tuple[Change, ...] = ()
        if changes is None:
            environment, pending = self.environment, no_changes
            effective = (*self._rebased.changes, *self._waiting.changes)
        else:
            environment, pending = apply(self.in_effect, changes), self.desired.pending
            effective = (*self._rebased.changes, *changes)
        assert self._base is not None
        resolved = await trio.to_thread.run_sync(self._source.resolve, environment)
        return await self._prepare(
            title,
            resolved.target,
            ask,
            blobs=resolved.blobs,
            changes=normalise(self._base, effective),
            pending=pending,
        )

    async def plan_down(self) -> Prepared:
        """A plan that takes everything away that labtest has put there."""
        target = Target(environment=self.in_effect.name, hosts=())
        desired = self.desired
        return await self._prepare(
            "down", target, EVERYTHING, changes=desired.changes, pending=desired.pending
        )

    async def plan_resume(self) -> Prepared:
        """A plan that brings the unfinished run to its end. Raises :class:`~labtest.deploy.errors.NothingToGoBackTo` if there is none."""
        if self.unfinished is None:
            raise NothingToGoBackTo("the last run came to its end: there is nothing to resume")
        began = self.unfinished.began
        return await self._prepare(
            "resume",
            began.after,
            self.unfinished.ask_again(),
            changes=began.changes,
            pending=began.pending,
            back=began,
            order=began.before,
        )

    async def plan_rollback(self) -> Prepared:
        """A plan to where the unfinished run came from; if there is none, to the target before the present one."""
        if self.unfinished is not None:
            began = self.unfinished.began
            ask = began.ask.narrowed()
            return await self._prepare(
                "rollback", began.before, ask, changes=began.changes_before, pending=began.pending_before
            )
        if len(self.desired.kept) < 2:
            raise NothingToGoBackTo(
                "nothing was applied before what is there now: there is nothing to go back to"
            )
        kept = self.desired.kept[-2]
        notes: tuple[str, ...] = ()
        if kept.spec_sha256 != self._spec_sha256():
            notes = (
                "the spec was edited since: this goes back to what it was, and the next plan leads to what it is now",
            )
        target = self.folder.target(kept.sha256)
        return await self._prepare(
            "rollback", target, EVERYTHING, changes=kept.changes, pending=(), notes=notes
        )

    async def _prepare(
        self,
        title: str,
        target: Target,
        ask: Ask,
        *,
        changes: tuple[Change, ...],
        pending: tuple[Change, ...],
        blobs: Blobs | None = None,
        back: Began | None = None,
        order: Target | None = None,
        notes: tuple[str, ...] = (),
    ) -> Prepared:
        last = self._before()
        order = order or last
        if self.unfinished is not None and not ask.unsure:
            ask = msgspec.structs.replace(ask, unsure=self.unfinished.unsure_actions())
        actual = await observe_all(self._agents(), target)
        return Prepared(
            title=title,
            planned=await in_thread(plan_in_full, target, actual, ask=ask, before=order),
            target=target,
            blobs=blobs or {},
            before=back.before if back else self._way_back(),
            changes_before=back.changes_before if back else self.desired.changes,
            pending_before=back.pending_before if back else self.desired.pending,
            ask=ask,
            actual=actual,
            changes=changes,
            pending=pending,
            spec_sha256=self._spec_sha256(),
            serial=self.desired.serial,
            notes=(*self.notes, *notes),
        )

    def _way_back(self) -> Target:
        """The target that was reached last; nothing at all, if none ever was."""
        kept = self.desired.kept
        return (
            self.folder.target(kept[-1].sha256)
            if kept
            else Target(environment=self.desired.environment, hosts=())
        )

    def _spec_sha256(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self._base, order="deterministic")).hexdigest()

    # ------------------------------------------------------------ carrying out

    async def apply(self, prepared: Prepared, *, rollback: bool = True) -> Outcome:
        """Carries a plan out; if a step fails, leads back to where it came from, unless ``rollback`` is false.

        Raises :class:`~labtest.errors.PlanOutdated` if what it was made from is not so any more, :class:`~labtest.errors.EnvironmentLocked` if
        somebody else is at it, :class:`~labtest.deploy.errors.JournalFailed` if it cannot be written down. Cancelled, it begins nothing more,
        cancels what is under way, and :attr:`unfinished` says so.
        """
        applying = Applying(
            self.folder,
            prepared,
            self._agents,
            who=self.who,
            holder=self._holder(f"{prepared.title}: {len(prepared.plan.steps)} steps"),
            tell=self._tell,
            clock=self._clock,
        )
        try:
            return await applying.apply(rollback=rollback)
        finally:
            assert self._base is not None
            self._take(self.folder.read(self._base.name))
            self.unfinished = self.folder.unfinished()
