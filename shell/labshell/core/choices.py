"""What parameters can be, from a view.

Law: everything comes from the one snapshot in memory; no host, file or clock is asked, so completion cannot wait for anything. Details say how
things are (running, version, last value), the order is that of the environment, and only what would make no sense is moved to the end by its
weight: a version that is in use already, a host that cannot be reached. What the snapshot shows may change between two keys; the order does not
depend on more of it than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from labshell.core.candidates import Candidate
from labshell.core.commands import COMMANDS, Command
from labshell.core.declare import ParameterKind
from labshell.core.nodeset import ALL_GROUP, KnownHosts
from labshell.core.state import JobState, View, condition
from labtest.core.environment import Environment, ProcessSpec, Value
from labtest.hosts.interface import LinkState

__all__ = ["ViewChoices"]

#: Of what can be chosen and makes little sense.
_LAST = -1.0


class ViewChoices:
    """A :class:`~labshell.core.candidates.Choices` over one view; cheap to make, so make one for each line."""

    def __init__(self, view: View, commands: Mapping[str, Command] = COMMANDS) -> None:
        self._view = view
        self._commands = commands

    @property
    def _environment(self) -> Environment:
        return self._view.environment

    def candidates(self, kind: ParameterKind, before: Mapping[str, str]) -> Sequence[Candidate]:
        """What a parameter can be; ``process``, ``release`` and ``variable`` of ``before`` are looked at."""
        find = _FINDERS.get(kind)
        return () if find is None else tuple(find(self, before))

    def hosts(self) -> KnownHosts:
        """All hosts and groups of the environment."""
        return KnownHosts(tuple(one.name for one in self._environment.hosts), self._environment.groups)

    def instances(self) -> Mapping[str, tuple[str, ...]]:
        """Each process and its hosts."""
        return {one.name: one.hosts for one in self._environment.processes}

    def _process(self, before: Mapping[str, str]) -> ProcessSpec | None:
        name = before.get("process", "")
        return next((one for one in self._environment.processes if one.name == name), None)

    def _host(self, name: str) -> Candidate:
        host = self._view.hosts.get(name)
        link = LinkState.CONNECTING if host is None else host.link
        groups = next((one.groups for one in self._environment.hosts if one.name == name), ())
        words = [*(f"@{group}" for group in groups), *([] if link is LinkState.UP else [link.value])]
        return Candidate(name, " ".join(words), 0.0 if link is LinkState.UP else _LAST)

    def _all_hosts(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        links = {name: host.link for name, host in self._view.hosts.items()}
        for host in self._environment.hosts:
            link = links.get(host.name, LinkState.CONNECTING)
            words = " ".join(f"@{group}" for group in host.groups)
            yield Candidate(host.name, words if link is LinkState.UP else f"{words} {link.value}".lstrip())

    def _host_sets(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        yield from self._all_hosts(before)
        for group, hosts in self._environment.groups.items():
            yield Candidate(f"@{group}", _count(len(hosts), "host"))
        if ALL_GROUP not in self._environment.groups:
            yield Candidate(f"@{ALL_GROUP}", _count(len(self._environment.hosts), "host"))

    def _hosts_with(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        process = self._process(before)
        for host in process.hosts if process else ():
            assert process is not None
            what = condition(self._view, process.name, host, wanted=host not in process.stopped_on)
            yield Candidate(host, what.value)

    def _hosts_without(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        process = self._process(before)
        has = frozenset(process.hosts if process else ())
        return (self._host(one.name) for one in self._environment.hosts if one.name not in has)

    def _processes(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        for process in self._environment.processes:
            hosts = process.hosts
            yield Candidate(
                process.name, f"on {hosts[0]}" if len(hosts) == 1 else f"on {_count(len(hosts), 'host')}"
            )

    def _running_processes(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        """Those with instances, and how the instance is, if it is one."""
        for process in self._environment.processes:
            hosts = process.hosts
            if len(hosts) == 1:
                wanted = hosts[0] not in process.stopped_on
                what = condition(self._view, process.name, hosts[0], wanted=wanted)
                yield Candidate(process.name, f"on {hosts[0]}, {what.value}")
            elif hosts:
                yield Candidate(process.name, f"on {_count(len(hosts), 'host')}")

    def _variables(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        for name, value in self._values_in_scope(before).items():
            yield Candidate(name, _spelled(value))

    def _values_in_scope(self, before: Mapping[str, str]) -> Mapping[str, Value]:
        """All variables, with the value that counts for what ``--host`` or ``--process`` names."""
        values: dict[str, Value] = {}
        hosts = sorted(self._environment.hosts, key=lambda one: one.name == before.get("host"))
        processes = sorted(self._environment.processes, key=lambda one: one.name == before.get("process"))
        for others in (hosts, processes):
            for one in others:
                values |= {name: value for name, value in one.variables.items() if name not in values}
        values |= self._environment.variables
        for kind, named in (("host", hosts), ("process", processes)):
            if before.get(kind) and named:
                values |= named[-1].variables
        return values

    def _values(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        value = self._values_in_scope(before).get(before.get("variable", ""))
        if isinstance(value, bool):
            yield Candidate(_spelled(not value), "not as it is")
        if value is not None:
            yield Candidate(_spelled(value), "as it is", _LAST)

    def _releases(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        return (Candidate(one.name, one.version) for one in self._environment.releases)

    def _versions(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        release = before.get("release", "")
        wanted = next((one.version for one in self._environment.releases if one.name == release), "")
        on: dict[str, int] = {}
        for host in self._view.hosts.values():
            for version in host.versions.get(release, ()):
                on[version] = on.get(version, 0) + 1
        for version, count in on.items():
            in_use = version == wanted
            yield Candidate(
                version, f"on {_count(count, 'host')}{', in use' if in_use else ''}", _LAST if in_use else 0.0
            )

    def _tools(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        return (Candidate(one.name, one.help) for one in self._environment.tools)

    def _files(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        return (Candidate(one.name, one.path) for one in self._environment.files)

    def _units(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        found = {
            unit.unit: process for host in self._view.hosts.values() for process, unit in host.units.items()
        }
        return (Candidate(unit, process) for unit, process in found.items())

    def _jobs(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        running = (pair for pair in self._view.jobs.items() if pair[1].state is JobState.RUNNING)
        return (Candidate(str(number), job.title) for number, job in running)

    def _command_names(self, before: Mapping[str, str]) -> Iterator[Candidate]:
        for one in self._commands.values():
            yield Candidate(one.name, one.help)
        for one in self._commands.values():
            yield from (Candidate(alias, f"as {one.name}", _LAST) for alias in one.aliases)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _spelled(value: Value) -> str:
    """As one types it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


_FINDERS: Mapping[ParameterKind, Callable[[ViewChoices, Mapping[str, str]], Iterator[Candidate]]] = {
    ParameterKind.HOST: ViewChoices._all_hosts,
    ParameterKind.HOST_WITH: ViewChoices._hosts_with,
    ParameterKind.HOST_WITHOUT: ViewChoices._hosts_without,
    ParameterKind.HOSTS: ViewChoices._host_sets,
    ParameterKind.PROCESS: ViewChoices._processes,
    ParameterKind.INSTANCE: ViewChoices._running_processes,
    ParameterKind.INSTANCES: ViewChoices._running_processes,
    ParameterKind.VARIABLE: ViewChoices._variables,
    ParameterKind.VALUE: ViewChoices._values,
    ParameterKind.RELEASE: ViewChoices._releases,
    ParameterKind.VERSION: ViewChoices._versions,
    ParameterKind.TOOL: ViewChoices._tools,
    ParameterKind.FILE: ViewChoices._files,
    ParameterKind.UNIT: ViewChoices._units,
    ParameterKind.JOB: ViewChoices._jobs,
    ParameterKind.COMMAND: ViewChoices._command_names,
}
