"""The conformance kit on real agents: here as a child, and over ssh on a host with systemd."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
from tests.labtest.agent.conformance import CASES, Case, Need, World

from labtest.agent.payload import AgentOptions
from labtest.core.environment import HostKind, HostSpec
from labtest.hosts.interface import Agent
from labtest.hosts.local import connect_local
from labtest.hosts.ssh import Ssh, SshSettings, ssh_run_folder
from labtest.namespaces import Lab

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="an agent is root"),
]

_TIMEOUT_S = 60.0

Connect = Callable[[], AbstractAsyncContextManager[Agent]]


def _play(case: Case, connect: Connect, environment: str, folder: str) -> None:
    async def main() -> None:
        with trio.fail_after(_TIMEOUT_S):
            async with connect() as agent:
                await case.run(World(agent=agent, other=connect, environment=environment, folder=folder))

    trio.run(main)


def _cases(*offered: Need) -> pytest.MarkDecorator:
    fitting = [case for case in CASES if case.needs <= set(offered)]
    return pytest.mark.parametrize("case", fitting, ids=lambda case: case.name)


def _options(folder: Path) -> AgentOptions:
    return AgentOptions(state_folder=str(folder / "state"), run_folder=str(folder / "run"))


@_cases(Need.COMMANDS, Need.RELEASES)
def test_an_agent_on_this_machine(case: Case, tmp_path: Path) -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Agent]:
        async with connect_local("here", _options(tmp_path)) as agent:
            yield agent

    _play(case, connect, "kit", str(tmp_path / "files"))


@pytest.fixture(scope="module")
def lab() -> Iterator[tuple[Lab, Ssh]]:
    with ExitStack() as stack:
        made = stack.enter_context(Lab("agent-kit", ["a"]))
        folder = stack.enter_context(ssh_run_folder())
        yield made, Ssh(folder, SshSettings(config_file=str(made.ssh_config)))


@_cases(Need.COMMANDS, Need.RELEASES, Need.UNITS)
def test_an_agent_on_a_host_with_systemd(case: Case, lab: tuple[Lab, Ssh]) -> None:
    ssh = lab[1]
    made = 0

    @asynccontextmanager
    async def connect() -> AsyncIterator[Agent]:
        nonlocal made
        made += 1
        host = HostSpec(name="a" if made == 1 else f"a-{made}", ssh="a", kind=HostKind.NAMESPACE)
        async with ssh.connect(host) as agent:
            yield agent

    _play(case, connect, case.name.replace("_", "-"), f"/srv/kit/{case.name}")
