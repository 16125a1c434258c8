"""Asks all hosts what they have, at the same time."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from labtest.core.actual import Actual, HostActual
from labtest.core.target import HostTarget, Target
from labtest.deploy.limits import OBSERVE_TIMEOUT_S
from labtest.errors import ActionFailed, AgentFailed, HostUnreachable
from labtest.hosts.interface import Agent

__all__ = ["observe_all"]


async def observe_all(
    agents: Mapping[str, Agent | None],
    target: Target,
    *,
    timeout_s: float = OBSERVE_TIMEOUT_S,
) -> Actual:
    """What each host has of what ``target`` names, and of what its manifest names.

    A host without an agent, that fails, or that has not answered within ``timeout_s``, is None; it does not keep the others waiting.
    A host that answers with an error (its manifest is damaged) raises :class:`~labtest.errors.ActionFailed`: going on would take nothing
    there for labtest's own.
    """
    wanted = {host.host: host for host in target.hosts}
    hosts: dict[str, HostActual | None] = dict.fromkeys(sorted({*wanted, *agents}))
    errors: list[ActionFailed] = []

    async def ask(name: str, agent: Agent) -> None:
        mine = wanted.get(name, HostTarget(host=name))
        files = [file.path for file in mine.files]
        units = {process.process: process.unit for process in mine.processes}
        with trio.move_on_after(timeout_s):
            try:
                hosts[name] = await agent.observe(target.environment, files=files, units=units)
            except (HostUnreachable, AgentFailed):
                pass
            except ActionFailed as error:
                errors.append(error)

    async with trio.open_nursery() as nursery:
        for name in hosts:
            agent = agents.get(name)
            if agent is not None:
                nursery.start_soon(ask, name, agent)
    if errors:
        raise errors[0]
    return Actual(environment=target.environment, hosts=hosts)
