"""Renders an environment into what shall be on each host.

Law: a :class:`~labtest.core.target.Target` follows from three values: the environment, the contents of the spec's folder, and the addresses of its
hosts. The same three give the same target, byte by byte, so a second plan of an unchanged environment is empty. A file is rendered for each
instance that uses it; two instances on a host may share one only if it comes out the same for both. Everything that can be wrong is found at
once, and nothing is a half result: one problem anywhere, and there is no target.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from labtest.core.contexts import World
from labtest.core.environment import (
    Environment,
    FileKind,
    FileSpec,
    Health,
    HostSpec,
    OnChange,
    ProcessSpec,
    ToolSpec,
)
from labtest.core.folder import Folder, SourceProblem
from labtest.core.problems import Place, Problem, ResolveError
from labtest.core.releases import Releases
from labtest.core.rendered_checks import bad_file_path, bad_health_target, bad_unit_name
from labtest.core.target import Blobs, FileTarget, HostTarget, Input, ProcessTarget, Target
from labtest.core.templates import TemplateProblem, render

__all__ = ["Resolved", "ToolTarget", "problems_of", "resolve"]

#: Where systemd looks for units of the machine's administrator (systemd.unit(5)).
UNIT_FOLDER = "/etc/systemd/system"

#: A configuration file that is larger is a mistake; what is large belongs into a release.
FILE_BYTES_MAX = 16 << 20


class ToolTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A tool, with everything filled in; what the user types comes after ``argv``."""

    name: str
    argv: tuple[str, ...]
    #: Name of the host where it runs; empty: on this machine.
    host: str
    env: dict[str, str]
    help: str


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """An environment, rendered."""

    target: Target
    #: All contents that the target names.
    blobs: Blobs
    #: In the order of the spec.
    tools: tuple[ToolTarget, ...]
    #: Host to address, of all hosts.
    addresses: dict[str, str]


def resolve(environment: Environment, folder: Folder, addresses: Mapping[str, str] | None = None) -> Resolved:
    """What shall be on each host. ``addresses``: those of hosts that got one when they were booted. Raises :class:`ResolveError`."""
    work = _Work(environment, folder, addresses or {}, reads_releases=True)
    hosts = tuple(work.host(host) for host in sorted(environment.hosts, key=lambda host: host.name))
    tools = tuple(work.tool(tool) for tool in environment.tools)
    if work.problems:
        raise ResolveError(work.problems)
    return Resolved(
        target=Target(environment=environment.name, hosts=hosts),
        blobs=work.blobs,
        tools=tools,
        addresses={name: view.address for name, view in work.world.hosts.items()},
    )


def problems_of(environment: Environment, folder: Folder) -> tuple[Problem, ...]:
    """Why :func:`resolve` would fail, without reading what releases consist of (which can be large)."""
    work = _Work(environment, folder, {}, reads_releases=False)
    for host in environment.hosts:
        work.host(host)
    for tool in environment.tools:
        work.tool(tool)
    return work.problems


class _Placed(msgspec.Struct, frozen=True):
    """A file on a host, and who wanted it."""

    target: FileTarget
    #: Name of the file in the spec; empty: a unit's.
    file: str
    #: Empty: the file's own list of hosts.
    process: str


class _Work:
    """One resolving. A part that cannot be rendered leaves a problem and an empty text; the result is then not used."""

    def __init__(
        self, environment: Environment, folder: Folder, addresses: Mapping[str, str], *, reads_releases: bool
    ) -> None:
        self.environment = environment
        self.folder = folder
        self.world = World(environment, addresses)
        self.blobs: Blobs = {}
        self._problems: dict[tuple[Place, str, int | None], Problem] = {}
        self.files = {file.name: file for file in environment.files}
        self._contents: dict[str, bytes | None] = {}
        self._releases = Releases(self.world, folder, self.blobs, self.problem, reads=reads_releases)

    def problem(self, place: Place, text: str, source: str = "", line: int | None = None) -> None:
        """Notes a problem; of those that many hosts have in one place, the first."""
        self._problems.setdefault((place, source, line), Problem(place, text, source, line))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All, in the order in which they were found."""
        return tuple(self._problems.values())

    def text(self, template: str, context: Mapping[str, object], place: Place) -> str:
        try:
            return render(template, context)
        except TemplateProblem as problem:
            self.problem(place, str(problem))
            return ""

    def texts(self, templates: Iterable[str], context: Mapping[str, object], place: Place) -> tuple[str, ...]:
        return tuple(self.text(one, context, (*place, index)) for index, one in enumerate(templates))

    # Hosts

    def host(self, host: HostSpec) -> HostTarget:
        """All of one host."""
        placed: dict[str, _Placed] = {}
        here = [process for process in self.environment.processes if host.name in process.hosts]
        wanted = {name for process in here for name in process.releases}
        releases = {
            release.name: self._releases.on(release, host)
            for release in self.environment.releases
            if release.name in wanted or host.name in release.hosts
        }
        prints = {name: release.fingerprint for name, release in releases.items()}
        processes = [self.process(process, host, placed, prints) for process in here]
        self._one_unit_each(processes, host)
        for file in self.environment.files:
            if host.name in file.hosts and not any(one.file == file.name for one in placed.values()):
                self._place(placed, file, "", host, self.world.on(host))
        return HostTarget(
            host=host.name,
            files=tuple(one.target for _, one in sorted(placed.items())),
            releases=tuple(release for _, release in sorted(releases.items())),
            processes=tuple(sorted(processes, key=lambda process: process.process)),
        )

    def _one_unit_each(self, processes: Iterable[ProcessTarget], host: HostSpec) -> None:
        taken: dict[str, str] = {}
        for process in processes:
            other = taken.setdefault(process.unit, process.process)
            if other != process.process and process.unit:
                self.problem(
                    ("processes", process.process, "unit"),
                    f"it is {process.unit} on host {host.name!r}, and so is that of process {other!r}; "
                    "each process of a host has a unit of its own",
                )

    # Processes

    def process(
        self, process: ProcessSpec, host: HostSpec, placed: dict[str, _Placed], releases: Mapping[str, str]
    ) -> ProcessTarget:
        """One instance; its files go to ``placed``. ``releases``: name to fingerprint."""
        place: Place = ("processes", process.name)
        context = self.world.of(process, host)
        unit = self.text(process.unit, context, (*place, "unit"))
        if unit and (wrong := bad_unit_name(unit)):
            self.problem((*place, "unit"), wrong)
        inputs = [
            Input(name=f"release:{name}", fingerprint=releases[name], on_change=OnChange.RESTART)
            for name in process.releases
            if name in releases
        ]
        if process.template:
            inputs.append(self._unit_file(process, unit, host, placed, context))
        for use in process.files:
            if use.file in self.files:
                target = self._place(placed, self.files[use.file], process.name, host, context)
                name = f"file:{target.path}"
                inputs.append(Input(name=name, fingerprint=target.sha256, on_change=use.on_change))
        return ProcessTarget(
            process=process.name,
            unit=unit,
            after=process.after,
            inputs=tuple(sorted(inputs)),
            health=self._health(process.health, context, (*place, "health")),
            start_timeout_s=process.start_timeout_s,
            stop_timeout_s=process.stop_timeout_s,
            batch_size=process.batch_size,
            running=host.name not in process.stopped_on,
        )

    def _unit_file(
        self,
        process: ProcessSpec,
        unit: str,
        host: HostSpec,
        placed: dict[str, _Placed],
        context: Mapping[str, object],
    ) -> Input:
        place: Place = ("processes", process.name, "template")
        content = self._rendered_file(process.template, context, place)
        target = self._file_target(content or b"", f"{UNIT_FOLDER}/{unit}", is_unit=True)
        if unit and content is not None:
            self._claim(placed, _Placed(target, "", process.name), host, place)
        return Input(name="unit", fingerprint=target.sha256, on_change=OnChange.RESTART)

    def _health(self, health: Health, context: Mapping[str, object], place: Place) -> Health:
        target = self.text(health.target, context, (*place, "target"))
        if target and (wrong := bad_health_target(health.kind, target)):
            self.problem((*place, "target"), wrong)
        command = self.texts(health.command, context, (*place, "command"))
        return msgspec.structs.replace(health, target=target, command=command)

    # Files

    def _place(
        self,
        placed: dict[str, _Placed],
        file: FileSpec,
        process: str,
        host: HostSpec,
        context: Mapping[str, object],
    ) -> FileTarget:
        place: Place = ("files", file.name)
        path = self.text(file.path, context, (*place, "path"))
        if path and (wrong := bad_file_path(path)):
            self.problem((*place, "path"), wrong)
        self._check_sum(file, place)
        if file.kind is FileKind.TEMPLATE:
            content = self._rendered_file(file.source, context, (*place, "template"))
        else:
            content = self._read(file.source, (*place, "copy"))
        is_unit = path.startswith(f"{UNIT_FOLDER}/")
        target = self._file_target(content or b"", path, file.mode, file.owner, file.group, is_unit=is_unit)
        if path and content is not None:
            self._claim(placed, _Placed(target, file.name, process), host, (*place, "path"))
        return target

    def _claim(self, placed: dict[str, _Placed], one: _Placed, host: HostSpec, place: Place) -> None:
        """Puts a file where nothing else is yet, or the very same."""
        path = one.target.path
        other = placed.setdefault(path, one)
        if other.file and other.file == one.file:
            if other.target != one.target:
                self.problem(
                    place,
                    f"{path} on host {host.name!r} comes out differently for processes {other.process!r} and {one.process!r}; "
                    "give each its own path (such as one with {{ process.name }}), or make the file the same for both",
                )
        elif other is not one:
            self.problem(
                place,
                f"{path} on host {host.name!r} would be two things: {_title(other)} and {_title(one)}",
            )

    def _file_target(
        self,
        content: bytes,
        path: str,
        mode: int = 0o644,
        owner: str = "root",
        group: str = "root",
        *,
        is_unit: bool,
    ) -> FileTarget:
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return FileTarget(
            path=path, sha256=digest, size_bytes=len(content), mode=mode, owner=owner, group=group, is_unit=is_unit
        )  # fmt: skip

    def _rendered_file(self, source: str, context: Mapping[str, object], place: Place) -> bytes | None:
        content = self._read(source, place)
        if content is None:
            return None
        try:
            return render(content.decode("utf-8"), context).encode("utf-8")
        except UnicodeDecodeError:
            self.problem(place, f"{source!r} is not UTF-8 text, so it can be no template; copy it instead")
        except TemplateProblem as problem:
            self.problem(place, str(problem), source, problem.line)
        return None

    def _read(self, source: str, place: Place) -> bytes | None:
        if source not in self._contents:
            self._contents[source] = None
            try:
                content = self.folder.read(source)
            except SourceProblem as problem:
                self.problem(place, str(problem))
                return None
            if len(content) > FILE_BYTES_MAX:
                self.problem(place, f"{source!r} has {len(content):,} bytes; {FILE_BYTES_MAX:,} are possible")
                return None
            self._contents[source] = content
        return self._contents[source]

    def _check_sum(self, file: FileSpec, place: Place) -> None:
        content = self._read(file.source, (*place, file.kind.value)) if file.sha256 else None
        if content is not None and (digest := hashlib.sha256(content).hexdigest()) != file.sha256:
            self.problem((*place, "sha256"), f"{file.source!r} has the checksum {digest}, and not this one")

    # Tools

    def tool(self, tool: ToolSpec) -> ToolTarget:
        """One tool."""
        place: Place = ("tools", tool.name)
        context = self.world.on(tool.host) if tool.host in self.world.hosts else self.world.anywhere()
        argv = self.texts(tool.run, context, (*place, "run"))
        env = {key: self.text(text, context, (*place, "env", key)) for key, text in tool.env.items()}
        return ToolTarget(name=tool.name, argv=argv, host=tool.host, env=env, help=tool.help)


def _title(placed: _Placed) -> str:
    return f"file {placed.file!r}" if placed.file else f"the unit of process {placed.process!r}"
