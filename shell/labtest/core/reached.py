"""The target that hosts are at when a part of a plan has been carried out.

Law: a target that is kept to be gone back to must be one that was there. A plan that was asked for some instances only leads those to the new target,
and leaves the others at the one before; to keep the new one whole was rejected, since a later rollback would then lead to what nobody has ever
run, such as a spec that was edited in between and is broken.
"""

from __future__ import annotations

from collections.abc import Iterable

from labtest.core.ask import Ask
from labtest.core.target import FileTarget, HostTarget, ProcessTarget, ReleaseTarget, Target

__all__ = ["reached"]


def reached(before: Target, after: Target, ask: Ask) -> Target:
    """``after`` for what was asked for, ``before`` for what was not."""
    if ask.hosts is None and ask.processes is None:
        return after
    old = {host.host: host for host in before.hosts}
    new = {host.host: host for host in after.hosts}
    hosts = []
    for name in sorted({*old, *new}):
        was, shall = old.get(name, HostTarget(host=name)), new.get(name, HostTarget(host=name))
        hosts.append(_reached_on(was, shall, ask) if ask.has_host(name) else was)
    return Target(environment=after.environment, hosts=tuple(host for host in hosts if _has_anything(host)))


def _has_anything(host: HostTarget) -> bool:
    return bool(host.files or host.releases or host.processes)


def _reached_on(was: HostTarget, shall: HostTarget, ask: Ask) -> HostTarget:
    if ask.processes is None:
        return shall
    asked = {
        one.process for one in (*was.processes, *shall.processes) if ask.has_instance(one.process, was.host)
    }
    names = {each.name for one in shall.processes if one.process in asked for each in one.inputs}
    units = tuple(f"/{one.unit}" for one in shall.processes if one.process in asked)
    paths = (
        {file.path for file in shall.files if file.is_unit and file.path.endswith(units)} if units else set()
    )
    paths |= {name.removeprefix("file:") for name in names if name.startswith("file:")}
    releases = {name.removeprefix("release:") for name in names if name.startswith("release:")}
    return HostTarget(
        host=was.host,
        files=_files(was.files, shall.files, paths),
        releases=_releases(was.releases, shall.releases, releases),
        processes=_processes(was.processes, shall.processes, asked),
    )


def _files(was: Iterable[FileTarget], shall: Iterable[FileTarget], new: set[str]) -> tuple[FileTarget, ...]:
    kept = [one for one in was if one.path not in new] + [one for one in shall if one.path in new]
    return tuple(sorted(kept, key=lambda one: one.path))


def _releases(
    was: Iterable[ReleaseTarget], shall: Iterable[ReleaseTarget], new: set[str]
) -> tuple[ReleaseTarget, ...]:
    kept = [one for one in was if one.name not in new] + [one for one in shall if one.name in new]
    return tuple(sorted(kept, key=lambda one: one.name))


def _processes(
    was: tuple[ProcessTarget, ...], shall: tuple[ProcessTarget, ...], new: set[str]
) -> tuple[ProcessTarget, ...]:
    """In the order of the new target, which is that of the environment."""
    after = {one.process: one for one in shall if one.process in new}
    before = {one.process: one for one in was if one.process not in new}
    names = dict.fromkeys([one.process for one in shall] + [one.process for one in was])
    return tuple({**before, **after}[name] for name in names if name in before or name in after)
