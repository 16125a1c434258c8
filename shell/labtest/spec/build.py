"""Makes an :class:`~labtest.core.environment.Environment` of a spec's tables: groups are spelt out, defaults filled in.

Whether the names in it fit together is not asked here (:mod:`labtest.core.checks`), only what an environment cannot express any more: patterns of
hosts, texts that stand for something else, keys that exclude or need each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from labtest.core.environment import (
    Environment,
    FileKind,
    FileSpec,
    FileUse,
    Health,
    HealthKind,
    HostSpec,
    ProcessSpec,
    ReleaseSpec,
    ToolSpec,
)
from labtest.core.names import EVERY_HOST, NameProblem, select_hosts
from labtest.core.problems import Place
from labtest.spec.limits import TIMEOUT_S_MAX
from labtest.spec.sections import (
    FileSection,
    FileUseSection,
    HealthSection,
    HostSection,
    ProcessSection,
    ReleaseSection,
    Spec,
    ToolSection,
)

__all__ = ["build_environment"]

_MODE = re.compile(r"0?[0-7]{3}|[0-7]{4}")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NEEDS = {
    HealthKind.UNIT: (),
    HealthKind.TCP: ("target",),
    HealthKind.HTTP: ("target",),
    HealthKind.COMMAND: ("command",),
}

_Tell = Callable[[Place, str], None]


def build_environment(spec: Spec, tell: _Tell) -> Environment:
    """The environment that a spec describes; ``tell`` is called with each problem, and with one the result is not to be used."""
    return _Builder(spec, tell).build()


class _Builder:
    def __init__(self, spec: Spec, tell: _Tell) -> None:
        self.spec = spec
        self.tell = tell
        self.host_names = list(spec.hosts)
        self.groups = self._groups()

    def build(self) -> Environment:
        spec = self.spec
        return Environment(
            name=spec.name,
            description=spec.description,
            hosts=tuple(self._host(name, section) for name, section in spec.hosts.items()),
            processes=tuple(self._process(name, section) for name, section in spec.processes.items()),
            files=tuple(self._file(name, section) for name, section in spec.files.items()),
            releases=tuple(self._release(name, section) for name, section in spec.releases.items()),
            tools=tuple(self._tool(name, section) for name, section in spec.tools.items()),
            variables=spec.variables,
            groups=self.groups,
        )

    # Hosts and groups

    def _groups(self) -> dict[str, tuple[str, ...]]:
        """Group to its hosts, both in the order of the spec; what hosts say and what groups say."""
        members: dict[str, set[str]] = {name: set() for name in self.spec.groups}
        for host, section in self.spec.hosts.items():
            for index, group in enumerate(section.groups):
                if group in section.groups[:index]:
                    self.tell(("hosts", host, "groups", index), f"{group!r} is there twice")
                members.setdefault(group, set()).add(host)
        for group, words in self.spec.groups.items():
            members[group].update(self._members(words, ("groups", group)))
            if not words and not members[group]:
                self.tell(("groups", group), "no host is in it")
        return {group: self._in_order(hosts) for group, hosts in members.items()}

    def _members(self, words: tuple[str, ...], place: Place) -> tuple[str, ...]:
        for index, word in enumerate(words):
            if "@" in word and word != f"@{EVERY_HOST}":
                self.tell((*place, index), f"{word!r} is a group; a group is made of hosts")
                return ()
        return self._select(words, place, groups={})

    def _host(self, name: str, section: HostSection) -> HostSpec:
        groups = tuple(group for group, hosts in self.groups.items() if name in hosts)
        return HostSpec(
            name=name,
            kind=section.kind,
            ssh=section.ssh,
            address=section.address,
            groups=groups,
            variables=section.variables,
            sudo=section.sudo,
        )

    def _select(
        self, words: Sequence[str], place: Place, *, groups: dict[str, tuple[str, ...]] | None = None
    ) -> tuple[str, ...]:
        try:
            return select_hosts(words, self.host_names, self.groups if groups is None else groups)
        except NameProblem as problem:
            self.tell((*place, problem.index), str(problem))
            return ()

    def _in_order(self, hosts: Iterable[str]) -> tuple[str, ...]:
        wanted = set(hosts)
        return tuple(name for name in self.host_names if name in wanted)

    # Processes

    def _process(self, name: str, section: ProcessSection) -> ProcessSpec:
        place: Place = ("processes", name)
        hosts = self._select(section.hosts, (*place, "hosts"))
        if not section.hosts:
            self.tell((*place, "hosts"), f"it names no host; all are '@{EVERY_HOST}'")
        elif not hosts and not self._has_failed(section.hosts):
            self.tell((*place, "hosts"), "no host is left")
        if section.batch_size < 1:
            self.tell((*place, "batch_size"), f"it must be at least 1, and is {section.batch_size}")
        self._check_time(section.start_timeout_s, (*place, "start_timeout_s"))
        self._check_time(section.stop_timeout_s, (*place, "stop_timeout_s"))
        return ProcessSpec(
            name=name,
            hosts=hosts,
            unit=section.unit or f"{name}.service",
            template=section.template,
            after=section.after,
            releases=section.releases,
            files=tuple(map(_file_use, section.files)),
            health=self._health(section.health, (*place, "health")),
            variables=section.variables,
            start_timeout_s=section.start_timeout_s,
            stop_timeout_s=section.stop_timeout_s,
            batch_size=section.batch_size,
            debug=section.debug,
        )

    def _has_failed(self, words: Sequence[str]) -> bool:
        try:
            select_hosts(words, self.host_names, self.groups)
        except NameProblem:
            return True
        return False

    def _health(self, section: HealthSection, place: Place) -> Health:
        needs = _NEEDS[section.kind]
        for key, given in (("target", bool(section.target)), ("command", bool(section.command))):
            if key in needs and not given:
                self.tell(place, f"a check of kind {section.kind.value!r} needs the key {key!r}")
            elif given and key not in needs:
                self.tell((*place, key), f"a check of kind {section.kind.value!r} has no {key!r}")
        self._check_time(section.timeout_s, (*place, "timeout_s"))
        self._check_time(section.interval_s, (*place, "interval_s"))
        self._check_time(section.stable_s, (*place, "stable_s"), least="at least 0")
        return Health(
            kind=section.kind,
            target=section.target,
            command=section.command,
            timeout_s=section.timeout_s,
            interval_s=section.interval_s,
            stable_s=section.stable_s,
        )

    def _check_time(self, value: float, place: Place, *, least: str = "more than 0") -> None:
        enough = value >= 0 if least == "at least 0" else value > 0
        if not (enough and value <= TIMEOUT_S_MAX):  # also for nan
            self.tell(place, f"it must be {least}, at most {TIMEOUT_S_MAX} seconds, and is {value:g}")

    # Files, releases, tools

    def _file(self, name: str, section: FileSection) -> FileSpec:
        place: Place = ("files", name)
        if bool(section.template) == bool(section.copy):
            both = "has both; one says what is in it" if section.template else "has neither"
            self.tell(place, f"either 'template' or 'copy' says where its contents come from, and it {both}")
        if not _MODE.fullmatch(section.mode):
            self.tell((*place, "mode"), f"{section.mode!r} is not a mode such as '0640' (octal digits)")
        if section.sha256 and not _SHA256.fullmatch(section.sha256):
            self.tell(
                (*place, "sha256"), "a checksum has 64 digits and letters a to f, as sha256sum writes them"
            )
        return FileSpec(
            name=name,
            kind=FileKind.TEMPLATE if section.template else FileKind.COPY,
            source=section.template or section.copy,
            path=section.path,
            sha256=section.sha256,
            mode=int(section.mode, 8) if _MODE.fullmatch(section.mode) else 0,
            owner=section.owner,
            group=section.group,
            hosts=self._in_order(self._select(section.hosts, (*place, "hosts"))),
        )

    def _release(self, name: str, section: ReleaseSection) -> ReleaseSpec:
        place: Place = ("releases", name)
        if not section.source:
            self.tell((*place, "source"), "it names no file; a release consists of files beside the spec")
        for index, command in enumerate(section.after_switch):
            if not command:
                self.tell((*place, "after_switch", index), "it is empty; name a program and its arguments")
        self._check_time(section.install_timeout_s, (*place, "install_timeout_s"))
        return ReleaseSpec(
            name=name,
            version=section.version,
            source=section.source,
            install=section.install,
            folder=section.folder or f"/opt/{name}",
            after_switch=section.after_switch,
            hosts=self._in_order(self._select(section.hosts, (*place, "hosts"))),
            install_timeout_s=section.install_timeout_s,
        )

    def _tool(self, name: str, section: ToolSection) -> ToolSpec:
        if not section.run:
            self.tell(("tools", name, "run"), "it is empty; name a program and its arguments")
        for key in section.env:
            if not _ENVIRONMENT_NAME.fullmatch(key):
                self.tell(("tools", name, "env", key), f"{key!r} is not the name of an environment variable")
        return ToolSpec(name=name, run=section.run, host=section.host, env=section.env, help=section.help)


def _file_use(entry: str | FileUseSection) -> FileUse:
    if isinstance(entry, str):
        return FileUse(file=entry)
    return FileUse(file=entry.file, on_change=entry.on_change)
