"""What one host has, held against what it shall have: what is to be done there, without any order yet.

Law: each difference is found here, once, with the reason that people will read. On one host a *unit* is what a process is known by: the
process's name is a label in the manifest, and one that has changed is another process. Fingerprints decide; who changed what when is not asked.
A unit that runs and that labtest did not start runs from something unknown, so it is restarted; a file that is as wanted and was not put there
by labtest is left alone, and is not labtest's to remove either.

A unit runs in two of systemd's states only (``active``, ``reloading``). One that is ``activating`` as labtest wanted it is started, which waits
for it; any other is restarted, since a start would join in whatever it is trying.
"""

from __future__ import annotations

import enum

import msgspec

from labtest.core.actual import FileActual, HostActual, ProcessActual
from labtest.core.ask import Ask
from labtest.core.environment import OnChange
from labtest.core.release_work import ReleaseWork, Removal, compare_releases
from labtest.core.steps import CheckHealth, PutFile
from labtest.core.target import FileTarget, HostTarget, Input, ProcessTarget

__all__ = ["Doing", "FileWork", "HostWork", "Instance", "Retired", "compare", "is_unit_path", "is_up"]

#: Folders whose files systemd reads as units, or as parts of them (systemd.unit(5)).
_UNIT_FOLDERS = ("/etc/systemd/system/", "/run/systemd/system/", "/usr/local/lib/systemd/system/")


class Doing(enum.StrEnum):
    """What an instance needs."""

    NOTHING = "nothing"
    START = "start"
    RESTART = "restart"
    RELOAD = "reload"
    STOP = "stop"


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A process that shall be on a host."""

    host: str
    target: ProcessTarget
    doing: Doing
    reason: str = ""
    #: It runs now.
    is_up: bool
    #: Its unit is in the manifest, under its name.
    is_ours: bool
    #: The process under whose name the unit is in the manifest, if that is another.
    other_label: str = ""
    #: Inputs that it was not started from.
    changed: tuple[Input, ...] = ()
    #: It was started by a run that was interrupted before its health was known.
    is_unsure: bool = False

    @property
    def process(self) -> str:
        """Its process's name."""
        return self.target.process


class Retired(msgspec.Struct, frozen=True, kw_only=True):
    """A unit that labtest runs on a host and that is no longer wanted there."""

    host: str
    process: str
    unit: str
    is_up: bool


class FileWork(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is not as it should be."""

    target: FileTarget
    replaces_sha256: str
    reason: str
    #: Something is lost that labtest did not put there.
    is_takeover: bool


class HostWork(msgspec.Struct, frozen=True, kw_only=True):
    """All that is to be done on one host."""

    host: str
    instances: tuple[Instance, ...]
    retired: tuple[Retired, ...]
    files: tuple[FileWork, ...]
    releases: tuple[ReleaseWork, ...]
    removed_files: tuple[str, ...]
    removed_releases: tuple[Removal, ...]


def is_up(active: str) -> bool:
    """Whether a unit runs, by systemd's word for its state."""
    return active in ("active", "reloading")


def is_unit_path(path: str) -> bool:
    """Whether systemd must read its units again after a change of this file."""
    return path.startswith(_UNIT_FOLDERS)


def compare(wanted: HostTarget, found: HostActual, ask: Ask) -> HostWork:
    """What is to be done. Outside of what is asked for, instances are told as they are, with nothing to do.

    Raises :class:`~labtest.errors.SpecError` for a release that cannot become what it shall be.
    """
    is_whole = ask.has_host(wanted.host) and ask.is_of_everything
    names = _names_asked(wanted, ask)
    by_unit = {process.state.unit: process for process in found.processes}
    instances = tuple(
        _instance(process, by_unit.get(process.unit), wanted.host, ask) for process in wanted.processes
    )
    releases, outdated = compare_releases(wanted, found, ask, names)
    paths = {file.path for file in wanted.files}
    return HostWork(
        host=wanted.host,
        instances=instances,
        retired=_retired(wanted, found),
        files=tuple(_file_work(wanted, found, ask, names)),
        releases=releases,
        removed_files=tuple(file.path for file in found.files if file.managed and file.path not in paths)
        if is_whole
        else (),
        removed_releases=outdated if is_whole else (),
    )  # fmt: skip


def _names_asked(wanted: HostTarget, ask: Ask) -> frozenset[str] | None:
    """Names of the inputs that may be touched; None: all, and what is no input."""
    if not ask.has_host(wanted.host):
        return frozenset()
    if ask.is_of_everything:
        return None
    names = {
        one.name
        for process in wanted.processes
        if ask.has_instance(process.process, wanted.host)
        for one in process.inputs
    }
    units = {
        f"/{process.unit}" for process in wanted.processes if ask.has_instance(process.process, wanted.host)
    }
    own = {f"file:{file.path}" for file in wanted.files if file.is_unit and file.path.endswith(tuple(units))}
    return frozenset(names | own) if units else frozenset(names)


# ---------------------------------------------------------------- processes


def _instance(target: ProcessTarget, found: ProcessActual | None, host: str, ask: Ask) -> Instance:
    active = found.state.active if found else "inactive"
    is_label_right = found is not None and found.process == target.process
    is_ours = found is not None and found.managed and is_label_right
    started_from = found.started_from if found and is_ours else {}
    changed = tuple(one for one in target.inputs if started_from.get(one.name) != one.fingerprint)
    doing, reason = _doing(target, found, changed)
    if ask.has_instance(target.process, host):
        doing, reason = _asked_for(target, host, ask, doing, reason, is_up(active))
    else:
        doing, reason = Doing.NOTHING, ""
    return Instance(
        host=host,
        target=target,
        doing=doing,
        reason=reason,
        is_up=is_up(active),
        is_ours=is_ours,
        other_label=found.process if found and found.managed and not is_label_right else "",
        changed=changed,
        is_unsure=is_up(active) and ask.is_unsure(host, CheckHealth(target)),
    )


def _doing(
    target: ProcessTarget, found: ProcessActual | None, changed: tuple[Input, ...]
) -> tuple[Doing, str]:
    state = found.state if found else None
    active = state.active if state else "inactive"
    if not target.running:
        return (
            (Doing.NOTHING, "") if active in ("inactive", "failed") else (Doing.STOP, "it shall be stopped")
        )
    if found is None or not found.managed or found.process != target.process:
        return _doing_of_others(target, found, active)
    if active == "activating":
        is_same = not changed and found.state.sub != "auto-restart"
        return (Doing.START, "it is still starting") if is_same else (Doing.RESTART, "it does not come up")
    if active == "failed":
        return Doing.START, f"it has failed ({found.state.result or 'no reason given'})"
    if not is_up(active):
        return Doing.START, "it is not running"
    return _doing_by_inputs(changed, found.started_from)


def _doing_of_others(target: ProcessTarget, found: ProcessActual | None, active: str) -> tuple[Doing, str]:
    if found is None or active in ("inactive", "failed", "deactivating"):
        return Doing.START, "it is new here"
    if found.managed:
        return Doing.RESTART, f"its unit was process {found.process}'s"
    return Doing.RESTART, "it runs, and labtest did not start it: from what is not known"


def _doing_by_inputs(changed: tuple[Input, ...], started_from: dict[str, str]) -> tuple[Doing, str]:
    if changed and not started_from:
        return Doing.RESTART, "it runs, and what it was started from is not known"
    for on_change, doing in ((OnChange.RESTART, Doing.RESTART), (OnChange.RELOAD, Doing.RELOAD)):
        names = [_title(one.name) for one in changed if one.on_change is on_change]
        if names:
            return doing, f"{', '.join(names)} changed"
    return Doing.NOTHING, ""


def _title(name: str) -> str:
    """An input as people say it."""
    if name == "unit":
        return "its unit"
    kind, _, rest = name.partition(":")
    return rest if kind == "file" else f"{kind} {rest}"


def _asked_for(
    target: ProcessTarget, host: str, ask: Ask, doing: Doing, reason: str, is_running: bool
) -> tuple[Doing, str]:
    """What somebody wants done though it need not be."""
    if not (target.running and is_running) or doing is Doing.RESTART:
        return doing, reason
    if (target.process, host) in ask.restart:
        return Doing.RESTART, "asked for"
    if (target.process, host) in ask.reload and doing is Doing.NOTHING:
        return Doing.RELOAD, "asked for"
    return doing, reason


def _retired(wanted: HostTarget, found: HostActual) -> tuple[Retired, ...]:
    units = {process.unit for process in wanted.processes}
    return tuple(
        Retired(
            host=wanted.host,
            process=process.process,
            unit=process.state.unit,
            is_up=process.state.active not in ("inactive", "failed"),
        )
        for process in found.processes
        if process.managed and process.state.unit not in units
    )


# ---------------------------------------------------------------- files


def _file_work(
    wanted: HostTarget, found: HostActual, ask: Ask, names: frozenset[str] | None
) -> list[FileWork]:
    there = {file.path: file for file in found.files}
    work = []
    for file in wanted.files:
        if names is not None and f"file:{file.path}" not in names:
            continue
        actual = there.get(file.path)
        reason = _file_reason(file, actual)
        if not reason and ask.is_unsure(wanted.host, PutFile(file)):
            reason = f"{file.path} was being written when a run was interrupted"
        if reason:
            is_takeover = actual is not None and not actual.managed
            sha256 = actual.sha256 if actual else ""
            work.append(FileWork(target=file, replaces_sha256=sha256, reason=reason, is_takeover=is_takeover))
    return work


def _file_reason(file: FileTarget, actual: FileActual | None) -> str:
    """What is wrong with a file; empty: nothing."""
    if actual is None:
        return f"{file.path} is not there"
    if actual.sha256 != file.sha256:
        is_changed = f"{file.path} changed"
        return (
            is_changed
            if actual.managed
            else f"{is_changed}; what is there was not put there by labtest, and is replaced"
        )
    if actual.mode != file.mode:
        return f"{file.path} has mode {actual.mode:04o} instead of {file.mode:04o}"
    if (actual.owner, actual.group) != (file.owner, file.group):
        return f"{file.path} belongs to {actual.owner}:{actual.group} instead of {file.owner}:{file.group}"
    return ""
