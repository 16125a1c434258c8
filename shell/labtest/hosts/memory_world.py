"""A host in memory: files, releases and units as they would be, with faults at will.

It does what an agent does on a real host, by the same rules, without the host. Two things are kept that a real host keeps in places nobody looks
at: what systemd has read of each unit (which is not what lies on the disk until it reads its units again), and what each running process was
really started from. So a test can tell a process that runs from what it should from one of which the manifest only says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from labtest.core.actual import FileActual, HostActual, ProcessActual, ReleaseActual, UnitState
from labtest.core.steps import (
    Action,
    CheckHealth,
    Forget,
    InstallRelease,
    PutFile,
    Reload,
    ReloadManager,
    RemoveFile,
    RemoveRelease,
    Restart,
    Start,
    Stop,
    SwitchRelease,
)
from labtest.core.target import ProcessTarget, ReleaseTarget
from labtest.errors import ActionFailed
from labtest.hosts.interface import LogLine

__all__ = ["MemoryFile", "MemoryHost", "MemoryManifest", "MemoryRelease", "MemoryState", "MemoryUnit"]

_UNIT_FOLDER = "/etc/systemd/system/"


class MemoryFile(msgspec.Struct):
    """A file."""

    content: bytes
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"

    @property
    def sha256(self) -> str:
        """Checksum of the contents."""
        return hashlib.sha256(self.content).hexdigest()


class MemoryRelease(msgspec.Struct):
    """What is in a release's folder."""

    installed: dict[str, str] = {}
    current: str = ""


class MemoryUnit(msgspec.Struct):
    """A unit. ``running_from`` is what the process was really started from: input name to what was there at that moment."""

    active: str = "inactive"
    sub: str = "dead"
    result: str = "success"
    status: str = ""
    main_pid: int = 0
    starts: int = 0
    is_healthy: bool = True
    running_from: dict[str, str] = {}


class MemoryManifest(msgspec.Struct):
    """What labtest knows it has put here, for one environment."""

    files: set[str] = set()
    #: Name to folder.
    releases: dict[str, str] = {}
    #: Unit to process, and to what it was started from.
    units: dict[str, tuple[str, dict[str, str]]] = {}
    starting: dict[str, dict[str, str]] = {}


class MemoryState(msgspec.Struct):
    """All of it."""

    files: dict[str, MemoryFile] = {}
    releases: dict[str, MemoryRelease] = {}
    units: dict[str, MemoryUnit] = {}
    manifests: dict[str, MemoryManifest] = {}
    #: Path of a unit's file to the checksum of what systemd has read.
    read_units: dict[str, str] = {}
    boot: int = 1
    last_pid: int = 1000


class MemoryHost:
    """One host. With ``store`` it is on disk after each action, and comes back from there."""

    def __init__(self, name: str, *, store: Path | None = None) -> None:
        self.name = name
        self._store = store
        self.state = MemoryState()
        #: Users and groups that files may belong to.
        self.users = {"root", "cashy", "toucan"}
        #: Units that do not exist, whatever is asked of them.
        self.unknown_units: set[str] = set()
        #: Whether a unit without a file does not exist either. False: releases bring units of which nothing is known here.
        self.is_strict = False
        #: Called with unit after each change of its state.
        self.on_change: list[Callable[[str], None]] = []
        #: What its units have said, in order.
        self.messages: list[LogLine] = []
        #: Called after each message.
        self.on_message: list[Callable[[], None]] = []
        #: Environment to who holds its lock: the agent, and its words.
        self.locks: dict[str, tuple[object, str]] = {}
        #: Bytes that files may take in all; None: as many as they like.
        self.disk_bytes: int | None = None
        if store is not None and store.exists():
            self.state = msgspec.json.decode(store.read_bytes(), type=MemoryState)

    # ------------------------------------------------------------ looking

    def observe(self, environment: str, files: list[str], units: dict[str, str]) -> HostActual:
        """As :meth:`labtest.hosts.interface.Agent.observe`."""
        manifest = self.manifest(environment)
        names = {(process, unit) for unit, (process, _) in manifest.units.items()}
        names |= {(process, unit) for process, unit in units.items() if unit not in manifest.units}
        return HostActual(
            host=self.name,
            boot_id=f"boot-{self.state.boot}",
            files=tuple(self._file(path, manifest) for path in sorted({*files, *manifest.files}) if path in self.state.files),
            releases=tuple(self._release(name, folder) for name, folder in sorted(manifest.releases.items())),
            processes=tuple(
                ProcessActual(
                    process=process,
                    state=self.unit_state(unit),
                    started_from=manifest.units.get(unit, ("", {}))[1],
                    managed=unit in manifest.units,
                )
                for process, unit in sorted(names)
            ),
        )  # fmt: skip

    def manifest(self, environment: str) -> MemoryManifest:
        """What labtest knows of an environment here."""
        return self.state.manifests.setdefault(environment, MemoryManifest())

    def _file(self, path: str, manifest: MemoryManifest) -> FileActual:
        file = self.state.files[path]
        return FileActual(
            path=path,
            sha256=file.sha256,
            mode=file.mode,
            owner=file.owner,
            group=file.group,
            managed=path in manifest.files,
        )

    def _release(self, name: str, folder: str) -> ReleaseActual:
        there = self.state.releases.get(folder, MemoryRelease())
        return ReleaseActual(name=name, folder=folder, installed=dict(sorted(there.installed.items())), current=there.current)  # fmt: skip

    def unit_state(self, unit: str) -> UnitState:
        """A unit as systemd would tell it."""
        one = self.state.units.get(unit, MemoryUnit())
        return UnitState(
            unit=unit,
            load="loaded" if self._is_known(unit) else "not-found",
            active=one.active,
            sub=one.sub,
            result=one.result,
            status=one.status,
            main_pid=one.main_pid,
            restarts=0,
            active_since_ns=one.starts if one.active == "active" else 0,
            invocation=f"{unit}-{one.starts}" if one.starts else "",
        )

    # ------------------------------------------------------------ talking

    def say(self, unit: str, text: str, *, at_ns: int = 0, priority: int = 6) -> None:
        """A message of a unit."""
        pid = self.unit_state(unit).main_pid
        self.messages.append(LogLine(at_ns=at_ns, unit=unit, pid=pid, priority=priority, text=text))
        for tell in self.on_message:
            tell()

    def release_locks(self, agent: object) -> None:
        """Locks end with who holds them."""
        self.locks = {name: held for name, held in self.locks.items() if held[0] is not agent}

    # ------------------------------------------------------------ acting

    def perform(self, environment: str, action: Action, content: Callable[[str], bytes]) -> str:
        """Carries an action out. Raises :class:`~labtest.errors.ActionFailed`; then nothing has changed but what its text says."""
        manifest = self.manifest(environment)
        said = self._perform(manifest, action, content)
        self.save()
        return said

    def save(self) -> None:
        """Writes all of it to the store, if there is one."""
        if self._store is not None:
            new = self._store.with_suffix(".new")
            new.write_bytes(msgspec.json.encode(self.state))
            new.replace(self._store)

    def fail(self, code: str, problem: str) -> ActionFailed:
        """The error that an agent would answer with."""
        return ActionFailed(self.name, code, problem)

    def _perform(self, manifest: MemoryManifest, action: Action, content: Callable[[str], bytes]) -> str:
        match action:
            case PutFile():
                return self._put(manifest, action, content)
            case RemoveFile(path):
                return self._remove_file(manifest, path)
            case InstallRelease(release):
                return self._install(manifest, release, content)
            case SwitchRelease(release, replaces):
                return self._switch(manifest, release, replaces)
            case RemoveRelease(name, folder, version):
                return self._remove_release(manifest, name, folder, version)
            case ReloadManager():
                self._read_units()
                return ""
            case Stop(_, unit):
                return self._stop(unit)
            case Start(process):
                return self._start(manifest, process)
            case Restart(process):
                return self._begin(manifest, process, "restarted")
            case Reload(process):
                return self._reload(manifest, process)
            case CheckHealth(process):
                return self._check(process)
            case Forget(_, unit):
                return "" if manifest.units.pop(unit, None) else f"{unit} was forgotten already"

    # ------------------------------------------------------------ files and releases

    def _put(self, manifest: MemoryManifest, action: PutFile, content: Callable[[str], bytes]) -> str:
        wanted = action.file
        for name in (wanted.owner, wanted.group):
            if not name.isdecimal() and name not in self.users:
                raise self.fail("not-found", f"there is no user or group {name} on this host")
        if any(path.startswith(f"{wanted.path}/") for path in self.state.files):
            raise self.fail("exists", f"{wanted.path} is a folder")
        there = self.state.files.get(wanted.path)
        found = there.sha256 if there else ""
        if found != wanted.sha256:
            if found != action.replaces_sha256:
                raise self.fail(
                    "checksum",
                    f"{wanted.path} is not what the plan was made for: somebody has changed it since; plan again",
                )
            self._reserve(wanted.size_bytes - (len(there.content) if there else 0))
            data = content(wanted.sha256)
            if hashlib.sha256(data).hexdigest() != wanted.sha256:
                raise self.fail("checksum", f"what came for {wanted.path} is not what was announced")
        else:
            assert there is not None
            data = there.content
        said = "" if found == wanted.sha256 else f"{wanted.path}: {'replaced' if found else 'written'}"
        self.state.files[wanted.path] = MemoryFile(data, wanted.mode, wanted.owner, wanted.group)
        manifest.files.add(wanted.path)
        return said

    def _reserve(self, more_bytes: int) -> None:
        used = sum(len(file.content) for file in self.state.files.values())
        if self.disk_bytes is not None and more_bytes > 0 and used + more_bytes > self.disk_bytes:
            raise self.fail("no-space", "no space left on device")

    def _remove_file(self, manifest: MemoryManifest, path: str) -> str:
        if path not in manifest.files:
            return f"{path} is left as it is: labtest did not put it there"
        is_there = self.state.files.pop(path, None) is not None
        manifest.files.discard(path)
        return f"{path} removed" if is_there else f"{path} is not there"

    def _install(
        self, manifest: MemoryManifest, release: ReleaseTarget, content: Callable[[str], bytes]
    ) -> str:
        there = self.state.releases.get(release.folder, MemoryRelease())
        found = there.installed.get(release.version)
        if found != release.fingerprint and there.current == release.version:
            raise self.fail(
                "exists",
                f"{release.folder}/{release.version} is in use and has another content: give this content another version",
            )
        manifest.releases[release.name] = release.folder
        if found == release.fingerprint:
            return f"{release.name} {release.version} is installed already"
        for file in release.source:
            if hashlib.sha256(content(file.sha256)).hexdigest() != file.sha256:
                raise self.fail("checksum", f"what came for {file.path} is not what was announced")
        there.installed[release.version] = release.fingerprint
        self.state.releases[release.folder] = there
        return f"{release.name} {release.version} installed in {release.folder}/{release.version}"

    def _switch(self, manifest: MemoryManifest, release: ReleaseTarget, replaces: str) -> str:
        there = self.state.releases.get(release.folder, MemoryRelease())
        if there.installed.get(release.version) != release.fingerprint:
            raise self.fail(
                "not-found",
                f"{release.name} {release.version} is not installed in {release.folder} as it should be",
            )
        before = there.current
        if before not in (release.version, replaces):
            raise self.fail(
                "checksum", f"{release.folder}/current leads to {before or 'nothing'}: plan again"
            )
        there.current = release.version
        manifest.releases[release.name] = release.folder
        if ("systemctl", "daemon-reload") in release.after_switch:
            self._read_units()
        return f"{release.name}: {before or 'nothing'} -> {release.version}"

    def _remove_release(self, manifest: MemoryManifest, name: str, folder: str, version: str) -> str:
        there = self.state.releases.get(folder, MemoryRelease())
        if version:
            if there.current == version:
                raise self.fail("exists", f"{name} {version} is in use: switch to another version first")
            is_there = there.installed.pop(version, None) is not None
            return f"{name} {version} {'removed' if is_there else 'is not there'}"
        self.state.releases.pop(folder, None)
        manifest.releases.pop(name, None)
        return f"{name} removed from {folder}"

    # ------------------------------------------------------------ units

    def _unit_path(self, unit: str) -> str:
        path = _UNIT_FOLDER + unit
        name, at, rest = unit.partition("@")
        template = f"{_UNIT_FOLDER}{name}@{rest[rest.rfind('.') :]}" if at else path
        return template if path not in self.state.files and template in self.state.files else path

    def _is_known(self, unit: str) -> bool:
        if unit in self.unknown_units:
            return False
        return not self.is_strict or self._unit_path(unit) in self.state.files

    def _read_units(self) -> None:
        files = self.state.files
        self.state.read_units = {path: files[path].sha256 for path in files if path.startswith(_UNIT_FOLDER)}

    def _read_unit(self, unit: str) -> str:
        """What systemd knows of a unit: a file that it has not seen before is read when it is wanted."""
        path = self._unit_path(unit)
        if path in self.state.files:
            self.state.read_units.setdefault(path, self.state.files[path].sha256)
        return self.state.read_units.get(path, "")

    def _really(self, process: ProcessTarget) -> dict[str, str]:
        """What a process started now is started from, whatever anybody believes."""
        found = {}
        for each in process.inputs:
            kind, _, name = each.name.partition(":")
            if kind == "unit":
                found[each.name] = self._read_unit(process.unit)
            elif kind == "file" and name in self.state.read_units:
                found[each.name] = self.state.read_units[name]
            elif kind == "file":
                found[each.name] = self.state.files[name].sha256 if name in self.state.files else ""
            else:
                found[each.name] = self._release_in_use(name)
        return found

    def _release_in_use(self, name: str) -> str:
        folders = [
            manifest.releases[name] for manifest in self.state.manifests.values() if name in manifest.releases
        ]
        there = self.state.releases.get(folders[0], MemoryRelease()) if folders else MemoryRelease()
        return there.installed.get(there.current, "")

    def _stop(self, unit: str) -> str:
        one = self.state.units.get(unit)
        if one is None or one.active == "inactive":
            return f"{unit} is not there"
        self.set_unit(unit, active="inactive", sub="dead")
        return f"{unit} stopped"

    def _start(self, manifest: MemoryManifest, process: ProcessTarget) -> str:
        unit = process.unit
        one = self.state.units.get(unit, MemoryUnit())
        if one.active not in ("active", "reloading"):
            return self._begin(manifest, process, "started")
        if manifest.starting.get(unit) == _inputs(process):
            manifest.units[unit] = (process.process, _inputs(process))
            return f"{unit} is running already"
        manifest.units.setdefault(unit, (process.process, {}))
        return f"{unit} is running already, and was not started from what it should be now"

    def _begin(self, manifest: MemoryManifest, process: ProcessTarget, said: str) -> str:
        unit = process.unit
        if not self._is_known(unit):
            raise self.fail("not-found", f"there is no unit {unit} on this host")
        manifest.units.setdefault(unit, (process.process, {}))
        manifest.starting[unit] = _inputs(process)
        self.set_unit(unit, active="active", sub="running", result="success", is_started=True)
        self.state.units[unit].running_from = self._really(process)
        self._note(manifest, process)
        return f"{unit} {said}"

    def _reload(self, manifest: MemoryManifest, process: ProcessTarget) -> str:
        one = self.state.units.get(process.unit, MemoryUnit())
        if one.active not in ("active", "reloading"):
            raise self.fail("unit-failed", f"{process.unit} does not run, so it cannot read anything again")
        really = self._really(process)
        for each in process.inputs:
            if each.on_change == "reload":
                one.running_from[each.name] = really[each.name]
        self._note(manifest, process)
        return f"{process.unit} reloaded"

    def _note(self, manifest: MemoryManifest, process: ProcessTarget) -> None:
        manifest.units[process.unit] = (process.process, _inputs(process))
        manifest.starting.pop(process.unit, None)

    def _check(self, process: ProcessTarget) -> str:
        one = self.state.units.get(process.unit, MemoryUnit())
        if not self._is_known(process.unit):
            raise self.fail("not-found", f"there is no unit {process.unit} on this host")
        if one.active in ("inactive", "failed"):
            raise self.fail("unit-failed", f"{process.unit} is not running: {one.active} ({one.result})")
        if one.active not in ("active", "reloading") or not one.is_healthy:
            raise self.fail(
                "timeout", f"{process.unit} was not healthy within {process.health.timeout_s:g} s"
            )
        return f"{process.unit} is healthy after 0.0 s"

    def set_unit(
        self, unit: str, *, active: str, sub: str, result: str = "success", is_started: bool = False
    ) -> None:
        """Changes a unit's state, as systemd or a fault would."""
        one = self.state.units.setdefault(unit, MemoryUnit())
        one.active, one.sub, one.result = active, sub, result
        if is_started:
            one.starts += 1
            self.state.last_pid += 1
            one.main_pid = self.state.last_pid
        elif active not in ("active", "reloading"):
            one.main_pid = 0
        for tell in self.on_change:
            tell(unit)


def _inputs(process: ProcessTarget) -> dict[str, str]:
    return {each.name: each.fingerprint for each in process.inputs}
