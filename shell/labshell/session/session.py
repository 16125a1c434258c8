"""The session: everything of a live environment that commands work with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import trio

from labshell.core.events import (
    EnvironmentChanged,
    InterruptedChanged,
    LockChanged,
    PlanEnded,
    PlanStarted,
    StepEnded,
    StepStarted,
)
from labshell.core.state import PendingChange, View
from labshell.session.store import Store
from labshell.session.touching import touched
from labshell.session.watching import HostWatcher
from labtest.core.ask import Ask
from labtest.core.change_values import Change
from labtest.core.changes import apply, describe
from labtest.core.choreography import RunState
from labtest.core.environment import Environment, HostSpec, ProcessSpec
from labtest.core.resolve import Resolved, ToolTarget
from labtest.deploy import Deployment, Source
from labtest.deploy.events import DeployEvent, RunBegan, StepBegan
from labtest.deploy.events import StepEnded as DeployStepEnded
from labtest.errors import LabError
from labtest.hosts.interface import Agent, LinkState
from labtest.hosts.link import Links

__all__ = ["Session"]

#: How often it is looked whether another shell has written something.
OTHERS_INTERVAL_S = 1.0


class Session:
    """A live environment. Made by :func:`labshell.session.opening.open_session`; lives as long as its nursery."""

    def __init__(
        self, source: Source, *, links: Links, store: Store, nursery: trio.Nursery, audit_path: Path
    ) -> None:
        self._source = source
        self.links = links
        self.audit_path = audit_path
        self.store = store
        self._nursery = nursery
        self._watchers: dict[str, HostWatcher] = {}
        self._deployment: Deployment | None = None
        self._resolved: tuple[Environment, Resolved] | None = None
        #: Host to process to unit.
        self._units: dict[str, dict[str, str]] = {}
        self._tools: tuple[ToolTarget, ...] = ()

    async def begin(self, deployment: Deployment) -> None:
        """Follows what is wanted, from now on."""
        self._deployment = deployment
        mark = deployment.folder.mark()
        await self.follow()
        self._nursery.start_soon(self._follow_others, mark)

    @property
    def deployment(self) -> Deployment:
        """Plans, and carries them out."""
        assert self._deployment is not None, "a session begins before it is given to anybody"
        return self._deployment

    # --- what is wanted ---

    @property
    def environment(self) -> Environment:
        """As it is wanted, with all pending changes."""
        return self.deployment.environment

    @property
    def view(self) -> View:
        """What is known, held against what is in effect: what is pending runs nowhere yet, and is missed nowhere."""
        return msgspec.structs.replace(self.store.view, environment=self.deployment.in_effect)

    @property
    def resolved(self) -> Resolved:
        """The same, rendered, as of the last :meth:`follow`."""
        assert self._resolved is not None, "a session follows before it is given to anybody"
        return self._resolved[1]

    async def refresh(self) -> None:
        """Reads again what is wanted: the spec may have been edited, and another shell may have changed something."""
        await self.deployment.reload()
        await self.follow()

    async def collect(self, change: Change) -> None:
        """Adds a change to those that wait, or raises :class:`~labtest.core.change_values.ChangeRefused`, with what it would lead to as it is now."""
        await self.deployment.reload()
        try:
            await trio.to_thread.run_sync(self.deployment.collect, change)
        finally:
            await self.follow()

    async def discard(self) -> None:
        """Drops all changes that wait."""
        await trio.to_thread.run_sync(self.deployment.discard)
        await self.follow()

    async def spec(self) -> Environment:
        """As the file says, without changes."""
        return await trio.to_thread.run_sync(self._source.read)

    def host_spec(self, name: str) -> HostSpec:
        """A host by its name."""
        return next(one for one in self.environment.hosts if one.name == name)

    def process_spec(self, name: str) -> ProcessSpec:
        """A process by its name."""
        return next(one for one in self.environment.processes if one.name == name)

    def tool(self, name: str) -> ToolTarget:
        """A tool by its name, with the addresses of what runs now filled in."""
        return next(one for one in self._tools if one.name == name)

    def units_of(self, instances: Sequence[str] = ()) -> dict[str, dict[str, str]]:
        """Host to process to unit, of ``process@host`` each; without any, of all. What is pending counts as well as what is in effect."""
        chosen = set(instances)
        found: dict[str, dict[str, str]] = {}
        for host, units in self._units.items():
            some = {
                process: unit
                for process, unit in units.items()
                if not chosen or f"{process}@{host}" in chosen
            }
            if some:
                found[host] = some
        return found

    async def touched_by(self, changes: Sequence[Change]) -> Ask:
        """The part of the environment that changes make different, if they act at once. Raises ChangeRefused."""
        now = self.deployment.in_effect
        return touched((await self._rendered(now)).target, (await self._rendered(apply(now, changes))).target)

    async def _rendered(self, environment: Environment) -> Resolved:
        # In a thread: it reads all that is beside the spec.
        return await trio.to_thread.run_sync(self._source.resolve, environment)

    # --- hosts ---

    async def agent(self, host: str) -> Agent:
        """The live agent of a host. Raises :class:`~labtest.errors.HostUnreachable` and its kinds."""
        return await self.links[host].agent()

    def agents(self) -> Mapping[str, Agent | None]:
        """Of all hosts, those that are up at this moment."""
        return {host: link.current() for host, link in self.links.items()}

    async def wait_for_first_word(self, timeout_s: float) -> None:
        """Waits until each host has said how its units are, or why it cannot; at most so long."""
        with trio.move_on_after(timeout_s):
            await self.store.wait_until(
                lambda: (
                    not any(
                        self._is_on_its_way(host) and not watcher.reported.is_set()
                        for host, watcher in self._watchers.items()
                    )
                )
            )

    async def wait_for_links(self, timeout_s: float) -> None:
        """Waits until no host is on its way; at most so long."""
        with trio.move_on_after(timeout_s):
            await self.store.wait_until(
                lambda: all(link.state is not LinkState.CONNECTING for link in self.links.values())
            )

    def _is_on_its_way(self, host: str) -> bool:
        return host in self.links and self.links[host].state in (LinkState.CONNECTING, LinkState.UP)

    # --- following what is wanted ---

    async def follow(self) -> None:
        """Brings links, watchers and the view in line with what is wanted now. Call after each change."""
        environment = self.environment
        in_effect = self.deployment.in_effect
        if self._resolved is None or self._resolved[0] != environment:
            self._resolved = (environment, await self._rendered(environment))
        rendered = self.resolved if in_effect == environment else await self._rendered(in_effect)
        pending = tuple(PendingChange(describe(change)) for change in self.deployment.desired.pending)
        self.store.feed(EnvironmentChanged(environment, pending, self.store.now_s()))
        await self._tell_of_runs()
        await self._keep_links({spec.name: spec for spec in (*in_effect.hosts, *environment.hosts)})
        units: dict[str, dict[str, str]] = {}
        # What is in effect has the last word on what a process's unit is.
        for target in (*self.resolved.target.hosts, *rendered.target.hosts):
            units.setdefault(target.host, {}).update({one.process: one.unit for one in target.processes})
        for host, watcher in self._watchers.items():
            watcher.look_at(units.get(host, {}))
        self._units = units
        self._tools = rendered.tools

    async def _follow_others(self, mark: tuple[object, ...]) -> None:
        """Takes in what other shells do to the environment: what they have changed, that they are at it, and that they were killed."""
        while True:
            await trio.sleep(OTHERS_INTERVAL_S)
            view = self.store.view
            if view.plan is not None and view.plan.ended_s is None:
                continue  # this shell's own run, which nobody else can disturb
            before, mark = mark, self.deployment.folder.mark()
            if mark == before and not view.locked_by:
                continue
            try:
                await self.refresh()
            except LabError:
                pass  # the spec is being edited, say; a command that needs it will tell

    async def _tell_of_runs(self) -> None:
        """A run whose journal has no end was killed, or somebody is at it now."""
        unfinished, holder = self.deployment.unfinished, ""
        if unfinished is not None and unfinished.state is RunState.RUNNING:
            holder = await trio.to_thread.run_sync(self.deployment.folder.holder)
        interrupted = str(unfinished) if unfinished is not None and not holder else ""
        is_other = f"pid {os.getpid()}," not in f"{holder},"
        self.store.feed(InterruptedChanged(interrupted, self.store.now_s()))
        self.store.feed(LockChanged(holder if is_other else "", self.store.now_s()))

    async def _keep_links(self, hosts: Mapping[str, HostSpec]) -> None:
        """Connects to hosts that have come, and lets go of those that nobody wants any more."""
        for name, spec in hosts.items():
            if name not in self.links:
                self.links.add(spec)
            if name not in self._watchers:
                watcher = self._watchers[name] = HostWatcher(
                    self.links[name], self.environment.name, self.store
                )
                self._nursery.start_soon(watcher.run)
        if self.deployment.unfinished is not None:
            return  # going on, or back, may need them
        for name in [name for name in self.links if name not in hosts]:
            if name in self._watchers:
                self._watchers.pop(name).end()
            await self.links.remove(name)

    def tell_progress(self, event: DeployEvent) -> None:
        """What a plan is doing, into the view."""
        now_s = self.store.now_s()
        if isinstance(event, RunBegan):
            self.store.feed(PlanStarted(event.title, len(event.steps), now_s))
        elif isinstance(event, StepBegan):
            self.store.feed(StepStarted(event.step.id, event.step.host, event.title, now_s))
        elif isinstance(event, DeployStepEnded):
            problem = "" if event.is_ok else event.said
            self.store.feed(StepEnded(event.step.id, event.is_ok, problem, now_s))
        else:
            self.store.feed(PlanEnded(event.state is RunState.DONE, event.text or event.state.value, now_s))
