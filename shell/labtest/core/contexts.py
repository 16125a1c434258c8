"""What a template sees: variables, the host and process it is rendered for, and how to find the others.

Law: a template asks for addresses by name, never by place in a list of its own, so a process that moves takes its address along everywhere. Of two
variables of one name the narrower counts: environment < host < process (a group's are among its hosts'). What is handed in are frozen views
that hold names and values only; nothing a template does reaches the environment.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from labtest.core.environment import Environment, HostSpec, ProcessSpec, ReleaseSpec, Value
from labtest.core.names import EVERY_HOST, nearest
from labtest.core.templates import TemplateLookup

__all__ = ["HostView", "InstanceView", "ProcessView", "ReleaseView", "World"]


class HostView(msgspec.Struct, frozen=True):
    """``host`` in a template, and what ``hosts(…)`` gives. As text it is its name."""

    name: str
    #: Where other hosts reach it.
    address: str
    groups: tuple[str, ...]
    #: Those of the environment, and its own before them.
    variables: dict[str, Value]

    def __str__(self) -> str:
        return self.name


class ProcessView(msgspec.Struct, frozen=True):
    """``process`` in a template. As text it is its name."""

    name: str
    #: Place of this host among the process's hosts, from 0.
    index: int
    hosts: tuple[HostView, ...]
    #: Those that count for it on this host.
    variables: dict[str, Value]

    def __str__(self) -> str:
        return self.name


class InstanceView(msgspec.Struct, frozen=True):
    """What ``instances(…)`` gives: a process on a host. As text it is ``PROCESS on HOST``."""

    process: str
    host: HostView
    address: str
    #: Those that count for it there.
    variables: dict[str, Value]

    def __str__(self) -> str:
        return f"{self.process} on {self.host.name}"


class ReleaseView(msgspec.Struct, frozen=True):
    """``release`` in a release's ``source`` and ``install``."""

    name: str
    version: str
    folder: str

    def __str__(self) -> str:
        return self.name


class World:
    """Makes the values for each template of an environment. ``addresses``: those of hosts that got one when they were booted."""

    def __init__(self, environment: Environment, addresses: Mapping[str, str]) -> None:
        self._environment = environment
        self._processes = {process.name: process for process in environment.processes}
        self.hosts = {
            host.name: HostView(
                name=host.name,
                address=addresses.get(host.name) or host.address or host.name,
                groups=host.groups,
                variables=environment.variables | host.variables,
            )
            for host in environment.hosts
        }
        self._shared: dict[str, object] = {
            "environment": environment.name,
            "hosts": self._find_hosts,
            "address": self._find_address,
            "instances": self._find_instances,
        }

    def anywhere(self) -> dict[str, object]:
        """For what belongs to no host."""
        return {**self._environment.variables, **self._shared}

    def on(self, host: HostSpec | str) -> dict[str, object]:
        """For what belongs to a host, and to no process."""
        view = self.hosts[host if isinstance(host, str) else host.name]
        return {**view.variables, **self._shared, "host": view}

    def of(self, process: ProcessSpec, host: HostSpec | str) -> dict[str, object]:
        """For what belongs to an instance."""
        view = self.hosts[host if isinstance(host, str) else host.name]
        variables = view.variables | process.variables
        shown = ProcessView(
            name=process.name,
            index=process.hosts.index(view.name),
            hosts=tuple(self.hosts[name] for name in process.hosts),
            variables=variables,
        )
        return {**variables, **self._shared, "host": view, "process": shown}

    def of_release(self, release: ReleaseSpec, version: str, host: HostSpec | str) -> dict[str, object]:
        """For a release on a host, once its version is known."""
        return {**self.on(host), "release": ReleaseView(release.name, version, release.folder)}

    def _find_hosts(self, name: str) -> list[HostView]:
        """``hosts('process')``, ``hosts('@group')``, ``hosts('@all')``."""
        groups = self._environment.groups
        if name == f"@{EVERY_HOST}":
            return list(self.hosts.values())
        group = name.removeprefix("@")
        if name.startswith("@") or (name in groups and name not in self._processes):
            if group not in groups:
                raise TemplateLookup(f"there is no group {group!r}{nearest(group, {*groups, EVERY_HOST})}")
            return [self.hosts[host] for host in groups[group]]
        if name in groups:
            raise TemplateLookup(
                f"{name!r} is a process and a group; say '@{name}' for the group, or take another name"
            )
        return [self.hosts[host] for host in self._process(name, groups).hosts]

    def _find_address(self, name: str) -> str:
        """``address('process')``: that of its first host; ``address('host')``."""
        if name in self.hosts and name not in self._processes:
            return self.hosts[name].address
        process = self._process(name, self.hosts)
        if not process.hosts:
            raise TemplateLookup(f"process {name!r} runs nowhere, so it has no address")
        return self.hosts[process.hosts[0]].address

    def _find_instances(self, name: str) -> list[InstanceView]:
        process = self._process(name, ())
        return [
            InstanceView(name, view, view.address, view.variables | process.variables)
            for view in map(self.hosts.__getitem__, process.hosts)
        ]

    def _process(self, name: str, others: Mapping[str, object] | tuple[()]) -> ProcessSpec:
        if name not in self._processes:
            raise TemplateLookup(f"there is no process {name!r}{nearest(name, {*self._processes, *others})}")
        return self._processes[name]
