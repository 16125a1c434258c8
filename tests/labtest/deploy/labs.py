"""An environment on hosts in memory, for tests of what carries plans out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from labtest.core.environment import (
    Environment,
    FileKind,
    FileSpec,
    FileUse,
    HostSpec,
    ProcessSpec,
    ReleaseSpec,
)
from labtest.core.folder import FolderContents
from labtest.core.resolve import Resolved, resolve
from labtest.core.target import Target
from labtest.deploy import Deployment, StateFolder, open_deployment
from labtest.deploy.events import DeployEvent
from labtest.hosts.interface import Agent
from labtest.hosts.memory import Fault, MemoryAgent, MemoryHost

HOSTS = ("a", "b", "c")

FOLDER = {
    "store.service.j2": b"[Service]\nExecStart=/opt/lab/current/store\n",
    "web.service.j2": b"[Service]\nExecStart=/opt/lab/current/web --port {{ port }}\n",
    "lab.toml.j2": b"port = {{ port }}\nlevel = '{{ level }}'\n",
    "keys.csv": b"ada,secret\n",
    "wheels/lab-1.0.whl": b"the first",
    "wheels/lab-1.1.whl": b"the second",
}


def environment() -> Environment:
    """A store on one host; a web server that comes after it on three; a worker that is moved about."""
    uses = (FileUse(file="config"), FileUse(file="keys"))
    return Environment(
        name="lab",
        hosts=tuple(HostSpec(name=name) for name in HOSTS),
        processes=(
            ProcessSpec(
                name="store",
                hosts=("a",),
                unit="store.service",
                template="store.service.j2",
                releases=("lab",),
            ),
            ProcessSpec(
                name="web",
                hosts=HOSTS,
                unit="web.service",
                template="web.service.j2",
                after=("store",),
                releases=("lab",),
                files=uses,
            ),
            ProcessSpec(
                name="worker",
                hosts=("b",),
                unit="worker.service",
                template="store.service.j2",
                after=("web",),
            ),
        ),
        files=(
            FileSpec(name="config", kind=FileKind.TEMPLATE, source="lab.toml.j2", path="/etc/lab/lab.toml"),
            FileSpec(name="keys", kind=FileKind.COPY, source="keys.csv", path="/etc/lab/keys", mode=0o600),
        ),
        releases=(
            ReleaseSpec(
                name="lab",
                version="{{ version }}",
                source=("wheels/lab-{{ release.version }}.whl",),
                folder="/opt/lab",
            ),
        ),
        variables={"version": "1.0", "port": 80, "level": "info"},
    )


class MadeUp:
    """An environment that is no file; tests edit it."""

    def __init__(self) -> None:
        self.base = environment()
        self.contents = dict(FOLDER)

    def read(self) -> Environment:
        return self.base

    def resolve(self, environment: Environment) -> Resolved:
        return resolve(environment, FolderContents(self.contents))

    def edit(self, **variables: str | int) -> None:
        """As somebody would edit the spec."""
        self.base = msgspec.structs.replace(self.base, variables={**self.base.variables, **variables})


class Bench:
    """Hosts in memory, and connections to them."""

    def __init__(self, path: Path, *, are_stored: bool = False) -> None:
        self.path = path
        self.folder = StateFolder(path / "lab.lab")
        self.source = MadeUp()
        self.hosts = {
            name: MemoryHost(name, store=path / f"{name}.json" if are_stored else None) for name in HOSTS
        }
        for host in self.hosts.values():
            host.is_strict = True
        self.faults: list[Fault] = []
        self.events: list[DeployEvent] = []
        self.delay_s = 0.0
        self.agents: dict[str, Agent | None] = {}
        self.connect()

    def connect(self, *names: str) -> None:
        """Connects (again) to hosts; to all, if none is named."""
        for name in names or HOSTS:
            self.agents[name] = MemoryAgent(self.hosts[name], faults=self.faults, delay_s=self.delay_s)

    def agent(self, name: str) -> MemoryAgent:
        agent = self.agents[name]
        assert isinstance(agent, MemoryAgent)
        return agent

    def living(self) -> Mapping[str, Agent | None]:
        """As links give their agents: None once they are lost."""
        return {
            name: None if isinstance(agent, MemoryAgent) and agent.lost.is_set() else agent
            for name, agent in self.agents.items()
        }

    @asynccontextmanager
    async def open(self, who: str = "ada@desk, pid 1") -> AsyncIterator[Deployment]:
        async with open_deployment(
            self.folder, self.source, self.living, who=who, on_event=self.events.append
        ) as deployment:
            yield deployment

    def target(self, **variables: str | int) -> Target:
        """What shall be with these variables."""
        other = MadeUp()
        other.edit(**variables)
        return other.resolve(other.base).target

    def is_at(self, target: Target) -> bool:
        """Whether the hosts really have what a target says, and run it."""
        for host in target.hosts:
            state = self.hosts[host.host].state
            for file in host.files:
                if file.path not in state.files or state.files[file.path].sha256 != file.sha256:
                    return False
            for process in host.processes:
                unit = state.units.get(process.unit)
                if (unit is not None and unit.active == "active") != process.running:
                    return False
                inputs = {each.name: each.fingerprint for each in process.inputs}
                if process.running and unit is not None and unit.running_from != inputs:
                    return False
        wanted = {(host.host, file.path) for host in target.hosts for file in host.files}
        there = {(name, path) for name, host in self.hosts.items() for path in host.manifest("lab").files}
        return there <= wanted

    def is_empty(self) -> bool:
        """Whether nothing of labtest is left."""
        return all(
            not host.state.files
            and not host.state.releases
            and all(unit.active != "active" for unit in host.state.units.values())
            for host in self.hosts.values()
        )

    def is_unlocked(self) -> bool:
        """Whether nobody holds any lock."""
        return not self.folder.holder() and all(not host.locks for host in self.hosts.values())
