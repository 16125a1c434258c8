"""Releases of one host: which are installed, switched to, and removed.

Law: a version is what its fingerprint says. It is never written over while ``current`` leads to it, since what runs would change under its own
feet: the same version with other contents is refused here, before anything is done. Of the versions that are not wanted one is kept to go back
to: the one in use now or, once nobody can tell which that was, the highest. Numbers in versions are compared as numbers.
"""

from __future__ import annotations

import re

import msgspec

from labtest.core.actual import HostActual, ReleaseActual
from labtest.core.ask import Ask
from labtest.core.environment import OnChange
from labtest.core.steps import SwitchRelease
from labtest.core.target import HostTarget, ReleaseTarget
from labtest.errors import SpecError

__all__ = ["VERSIONS_KEPT", "ReleaseWork", "Removal", "compare_releases"]

#: The one in use and the one before, which a rollback needs no installation for. Each may be hundreds of megabytes.
VERSIONS_KEPT = 2


class ReleaseWork(msgspec.Struct, frozen=True, kw_only=True):
    """A release that is not as it should be."""

    target: ReleaseTarget
    is_installed: bool
    #: Whether ``current`` must be led to it, or what comes after a switch must be run again.
    is_switched: bool
    replaces: str
    reason: str


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """A version that goes, or a whole release."""

    name: str
    folder: str
    version: str
    reason: str


def compare_releases(
    wanted: HostTarget, found: HostActual, ask: Ask, names: frozenset[str] | None
) -> tuple[tuple[ReleaseWork, ...], tuple[Removal, ...]]:
    """What is to be installed or switched (of inputs called ``names``; None: all), and what may be removed.

    Raises :class:`~labtest.errors.SpecError` for a version in use that shall have other contents.
    """
    there = {(release.name, release.folder): release for release in found.releases}
    work, removals = [], []
    for release in wanted.releases:
        actual = there.pop((release.name, release.folder), None) or _nothing(release)
        if names is None or f"release:{release.name}" in names:
            _refuse_other_contents(release, actual, wanted.host)
            one = _work(release, actual, wanted, found, ask)
            work += [one] if one else []
        removals += _outdated(release, actual)
    removals += [
        Removal(
            name=release.name,
            folder=release.folder,
            version="",
            reason=f"release {release.name} is not wanted here",
        )
        for release in there.values()
    ]
    return tuple(work), tuple(removals)


def _nothing(release: ReleaseTarget) -> ReleaseActual:
    return ReleaseActual(name=release.name, folder=release.folder, installed={}, current="")


def _refuse_other_contents(release: ReleaseTarget, actual: ReleaseActual, host: str) -> None:
    there = actual.installed.get(release.version, release.fingerprint)
    if actual.current == release.version and there != release.fingerprint:
        raise SpecError(
            f"release {release.name}",
            None,
            f"version {release.version} is in use on host {host} with other contents; "
            "what runs is never written over: give these a version of their own",
        )


def _work(
    release: ReleaseTarget, actual: ReleaseActual, wanted: HostTarget, found: HostActual, ask: Ask
) -> ReleaseWork | None:
    is_installed = actual.installed.get(release.version) == release.fingerprint
    is_current = is_installed and actual.current == release.version
    is_done = is_current and _is_followed_up(release, wanted, found, ask)
    if is_done:
        return None
    if is_current:
        reason = f"what follows a switch of release {release.name} may not have been done"
    elif actual.current:
        reason = f"release {release.name} {actual.current} becomes {release.version}"
    else:
        reason = f"release {release.name} {release.version} is new here"
    return ReleaseWork(
        target=release, is_installed=is_installed, is_switched=is_current, replaces=actual.current, reason=reason
    )  # fmt: skip


def _is_followed_up(release: ReleaseTarget, wanted: HostTarget, found: HostActual, ask: Ask) -> bool:
    """Whether ``after_switch`` was run, as far as can be known: somebody was started from the release since, or nobody has to be of whom
    the plan is.
    """
    if ask.is_unsure(wanted.host, SwitchRelease(release)):
        return False
    if not release.after_switch:
        return True
    name = f"release:{release.name}"
    is_used = any(
        process.running
        and ask.has_instance(process.process, wanted.host)
        and any(one.name == name and one.on_change is not OnChange.NOTHING for one in process.inputs)
        for process in wanted.processes
    )
    started = [process.started_from.get(name) for process in found.processes if process.managed]
    return not is_used or release.fingerprint in started


def _outdated(release: ReleaseTarget, actual: ReleaseActual) -> list[Removal]:
    """Versions beyond those that are kept."""
    others = [version for version in actual.installed if version not in (release.version, actual.current)]
    is_before_known = actual.current not in ("", release.version)
    kept = VERSIONS_KEPT - 1 - is_before_known
    by_age = sorted(others, key=_natural, reverse=True)
    return [
        Removal(
            name=release.name,
            folder=release.folder,
            version=version,
            reason=f"release {release.name} {version} is older than the one before",
        )
        for version in sorted(by_age[kept:])
    ]


def _natural(version: str) -> list[tuple[int, str]]:
    """A key by which 1.10 comes after 1.9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", version)]
