"""The part of a live environment that runs in trio: connections, plans, and carrying them out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec
import trio

from labtest.core.actual import Actual, HostActual, UnitState
from labtest.core.ask import EVERYTHING, Ask
from labtest.core.change_values import Change
from labtest.core.environment import Environment, HealthKind, HostKind
from labtest.core.plan import Planned, plan_in_full
from labtest.core.resolve import Resolved
from labtest.core.steps import CheckHealth
from labtest.core.target import ProcessTarget
from labtest.deploy import (
    Deployment,
    Ending,
    Outcome,
    Prepared,
    SpecSource,
    StateFolder,
    observe_all,
    open_deployment,
)
from labtest.errors import AgentFailed, HostUnreachable, LabError, PlanOutdated
from labtest.hosts.interface import Agent, LinkState
from labtest.hosts.interface import Ran as RanBytes
from labtest.hosts.link import Links, open_links
from labtest.hosts.ssh import ssh_run_folder
from labtest.live.errors import ApplyFailed
from labtest.live.limits import (
    ASK_TIMEOUT_S,
    COMMAND_TIMEOUT_MAX_S,
    CONNECT_TIMEOUT_S,
    PING_TIMEOUT_S,
    PLAN_TRIES_MAX,
    POLL_S,
)

__all__ = ["Session", "has_hosts_of_others", "is_empty", "open_session"]


@asynccontextmanager
async def open_session(
    source: SpecSource, *, lab_config: str = "", ssh_config: str = ""
) -> AsyncIterator[Session]:
    """Connects to the hosts of a spec. What was wanted of it elsewhere is not read: here it begins as the spec says.

    Its state folder is private and goes with it; one that a killed process left, the next one removes.
    """
    environment = await trio.to_thread.run_sync(source.read)
    links_of = open_links(environment.hosts, lab_config=lab_config, ssh_config=ssh_config)
    with ssh_run_folder() as folder:
        async with links_of as links:
            state = StateFolder(folder / "state")
            async with open_deployment(state, source, lambda: _agents(links)) as deployment:
                yield Session(source, links, deployment)


def _agents(links: Links) -> Mapping[str, Agent | None]:
    return {host: link.current() for host, link in links.items()}


class Session:
    """See :func:`open_session`. Its methods are called in trio."""

    def __init__(self, source: SpecSource, links: Links, deployment: Deployment) -> None:
        self.deployment = deployment
        self._source = source
        self._links = links
        self._resolved: tuple[Environment, Resolved] | None = None

    # ------------------------------------------------------------ what shall be

    @property
    def environment(self) -> Environment:
        """With all changes that were applied."""
        return self.deployment.in_effect

    async def resolved(self) -> Resolved:
        """The same, rendered."""
        environment = self.environment
        if self._resolved is None or self._resolved[0] is not environment:
            found = await trio.to_thread.run_sync(self._source.resolve, environment)
            self._resolved = (environment, found)
        return self._resolved[1]

    async def instance(self, process: str, host: str) -> ProcessTarget | None:
        """An instance of a process; None if it is not to be there."""
        for one in (await self.resolved()).target.hosts:
            if one.host == host:
                return next((each for each in one.processes if each.process == process), None)
        return None

    async def forget_changes(self) -> None:
        """What shall be is what the spec says, again."""
        deployment = self.deployment
        with deployment.folder.lock(deployment.who):
            desired = deployment.folder.read(self.environment.name)
            deployment.folder.write(msgspec.structs.replace(desired, changes=(), pending=()))
        await deployment.reload()

    # ------------------------------------------------------------ hosts

    async def agent(self, host: str) -> Agent:
        """The live agent of a host. Raises :class:`~labtest.errors.HostUnreachable` and its kinds."""
        return await self._links[host].agent()

    async def connect(self, timeout_s: float = CONNECT_TIMEOUT_S, suspects: Collection[str] = ()) -> None:
        """Waits until all hosts answer. Raises what keeps one of them from it.

        A connection to one of ``suspects`` that is on its way began before its faults were healed: it is not waited for.
        """
        self._follow()
        for suspect in suspects:
            if suspect in self._links and self._links[suspect].state is LinkState.CONNECTING:
                await self._connect_anew(suspect)
        problems: list[Exception] = []

        async def reach(host: str) -> None:
            try:
                await self._reach(host, timeout_s)
            except (HostUnreachable, AgentFailed) as error:
                problems.append(error)

        async with trio.open_nursery() as nursery:
            for host in self.deployment.environment.hosts:
                nursery.start_soon(reach, host.name)
        if problems:
            raise problems[0]

    async def run(self, host: str, argv: Sequence[str], stdin: bytes, env: dict[str, str]) -> RanBytes:
        """Runs a command; when it is cancelled here, it is on the host."""
        agent = await self.agent(host)
        return await agent.run(argv, stdin=stdin, env=env, timeout_s=COMMAND_TIMEOUT_MAX_S)

    async def unit_state(self, host: str, unit: str) -> UnitState:
        """How systemd sees a unit at this moment."""
        agent = await self.agent(host)
        # Not units(): that follows states, and takes its time to begin.
        found = await agent.observe(self.environment.name, files=(), units={unit: unit})
        for one in found.processes:
            if one.state.unit == unit:
                return one.state
        raise AgentFailed(host, f"said nothing about {unit}")

    async def check_health(self, host: str, process: ProcessTarget) -> None:
        """Waits until an instance is healthy. Raises :class:`~labtest.errors.ActionFailed`."""
        agent = await self.agent(host)
        await agent.do(self.environment.name, CheckHealth(process), content=_nothing)

    async def check_all_health(self) -> None:
        """Waits until every instance that shall run is healthy. Raises the first :class:`~labtest.errors.ActionFailed`."""
        problems: list[Exception] = []

        async def check(host: str, process: ProcessTarget) -> None:
            try:
                await self.check_health(host, process)
            except LabError as error:
                problems.append(error)

        async with trio.open_nursery() as nursery:
            for one in (await self.resolved()).target.hosts:
                for process in one.processes:
                    if process.running and process.health.kind is not HealthKind.UNIT:
                        nursery.start_soon(check, one.host, process)
        if problems:
            raise problems[0]

    def _follow(self) -> None:
        """Hosts that were added are connected to. Those that were taken out stay, so that they can be cleaned up."""
        for host in self.deployment.environment.hosts:
            if host.name not in self._links:
                self._links.add(host)

    async def _reach(self, host: str, timeout_s: float) -> None:
        with trio.move_on_after(timeout_s):
            while not await self._answers(host):
                link = self._links[host]
                if link.state is LinkState.REFUSED:
                    break
                if link.state is LinkState.UP:
                    await self._connect_anew(host)
                else:
                    link.retry()
                    await trio.sleep(POLL_S)
            else:
                return
        link = self._links[host]
        if link.error is not None:
            raise type(link.error)(host, link.error.problem)
        raise HostUnreachable(host, f"no answer after {timeout_s:g} s")

    async def _answers(self, host: str) -> bool:
        try:
            agent = await self.agent(host)
            with trio.fail_after(PING_TIMEOUT_S):
                await agent.run(["true"])
            return True
        except (HostUnreachable, AgentFailed, trio.TooSlowError):
            return False

    async def _connect_anew(self, host: str) -> None:
        """A connection over which nothing comes, though nobody has noticed yet."""
        spec = next(one for one in self.deployment.environment.hosts if one.name == host)
        await self._links.remove(host)
        self._links.add(spec)

    # ------------------------------------------------------------ what is, and plans

    async def observe(self, timeout_s: float = ASK_TIMEOUT_S, without: Collection[str] = ()) -> Actual:
        """What is on all hosts; None for one that has not answered in time, and for those of ``without``, which are not asked."""
        agents = {name: None if name in without else agent for name, agent in _agents(self._links).items()}
        return await observe_all(agents, (await self.resolved()).target, timeout_s=timeout_s)

    async def differences(self, actual: Actual) -> Planned:
        """What differs from what is in effect, as the plan that would put it right."""
        return plan_in_full((await self.resolved()).target, actual)

    async def apply(self, ask: Ask = EVERYTHING, changes: tuple[Change, ...] | None = None) -> Outcome:
        """Plans and carries it out at once. Raises :class:`ApplyFailed`."""
        for tries_left in reversed(range(PLAN_TRIES_MAX)):
            try:
                prepared = await self.deployment.plan(ask, changes=changes)
                return _checked(await self.deployment.apply(prepared))
            except PlanOutdated:
                if not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")

    async def carry_out(self, prepared: Prepared) -> Outcome:
        """Carries out a plan that was looked at. Raises PlanOutdated, :class:`ApplyFailed`."""
        return _checked(await self.deployment.apply(prepared))

    async def take_down(self) -> None:
        """Takes away all that was put on hosts. Raises :class:`ApplyFailed`."""
        _checked(await self.deployment.apply(await self.deployment.plan_down(), rollback=False))


def has_hosts_of_others(environment: Environment) -> bool:
    """Whether some hosts are not booted by labtest, so that what is put there stays."""
    return any(host.kind is not HostKind.NAMESPACE for host in environment.hosts)


def is_empty(actual: Actual) -> bool:
    """Whether nothing of an environment is on its hosts."""
    return not any(host is not None and _has_anything(host) for host in actual.hosts.values())


def _has_anything(host: HostActual) -> bool:
    managed = [*(file.managed for file in host.files), *(process.managed for process in host.processes)]
    return bool(host.releases) or any(managed)


def _checked(outcome: Outcome) -> Outcome:
    if outcome.ending is not Ending.DONE:
        raise ApplyFailed(outcome)
    return outcome


def _nothing(sha256: str) -> bytes:
    raise AssertionError(f"a health check needs no content, and {sha256} was asked for")
