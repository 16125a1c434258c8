"""Lists of changes: the shortest that has the same end, and what is left of one after the spec was edited.

Law: what is pending is the difference between two environments, not the history of how somebody got there. So a list is not shortened by rules
about pairs of changes (there are some hundred pairs), but by comparing its two ends, and the result is applied once more before it is believed.
A list whose end no other list is found for, such as one that takes a host out and puts another of that name in, stays as it is.
"""

from __future__ import annotations

import bisect
import graphlib
from collections.abc import Iterable, Sequence

import msgspec

from labtest.core.change_values import (
    AddHost,
    AddInstance,
    Change,
    ChangeRefused,
    MoveProcess,
    RemoveHost,
    RemoveInstance,
    SetVariable,
    StartInstance,
    StopInstance,
    SwapRelease,
    UnsetVariable,
)
from labtest.core.changes import apply
from labtest.core.environment import Environment, ProcessSpec
from labtest.core.lookup import find_process, next_of
from labtest.core.variables import variables_of

__all__ = ["Rebased", "difference", "normalise", "rebase"]


class Rebased(msgspec.Struct, frozen=True):
    """What became of a list of changes on another environment."""

    #: With all changes that apply.
    environment: Environment
    #: Those that apply, in their order. Missing here and below are those that the environment has in it already.
    changes: tuple[Change, ...]
    #: Those that do not, each with the reason.
    refused: tuple[tuple[Change, str], ...]


def rebase(changes: Iterable[Change], environment: Environment) -> Rebased:
    """Applies to another environment what can be applied."""
    applied: list[Change] = []
    refused: list[tuple[Change, str]] = []
    for change in changes:
        try:
            environment = apply(environment, (change,))
            applied.append(change)
        except ChangeRefused as problem:
            if not problem.already:
                refused.append((change, str(problem)))
    return Rebased(environment, tuple(applied), tuple(refused))


def normalise(environment: Environment, changes: Sequence[Change]) -> tuple[Change, ...]:
    """The shortest list known that leads to the same: of what was changed twice the last counts, and what was undone is not there.

    Raises :class:`ChangeRefused` where the changes do not apply to the environment.
    """
    short = difference(environment, apply(environment, changes))
    return short if short is not None and len(short) < len(changes) else tuple(changes)


def difference(before: Environment, after: Environment) -> tuple[Change, ...] | None:
    """Changes that lead from one environment to the other; None: they differ in what changes cannot change."""
    work = _Difference(before, after)
    try:
        work.find()
    except ChangeRefused:
        return None
    return tuple(work.changes) if work.now == after else None


class _Difference:
    """``now`` is what ``before`` has become by ``changes``."""

    def __init__(self, before: Environment, after: Environment) -> None:
        self.before = before
        self.after = after
        self.now = before
        self.changes: list[Change] = []

    def find(self) -> None:
        """Changes come in an order in which each is possible."""
        self._add_hosts()
        self._set_variables()
        self._swap_releases()
        order = self._processes_in_order()
        for name in order:
            if find_process(self.after, name).hosts:
                self._move(name)
        for name in reversed(order):
            if not find_process(self.after, name).hosts:
                self._move(name)
            self._stop_and_start(name)
        self._remove_hosts()

    def do(self, change: Change) -> None:
        self.now = apply(self.now, (change,))
        self.changes.append(change)

    def _processes_in_order(self) -> list[str]:
        """Names of all, each behind those it starts after, that both have."""
        after = {process.name: process.after for process in self.before.processes}
        known = {process.name for process in self.after.processes}
        try:
            return [
                name
                for name in graphlib.TopologicalSorter(after).static_order()
                if name in known and name in after
            ]
        except graphlib.CycleError:
            return []

    def _add_hosts(self) -> None:
        known = {host.name for host in self.before.hosts}
        names = [host.name for host in self.after.hosts]
        for host in reversed(self.after.hosts):
            if host.name in known:
                continue
            files = tuple(file.name for file in self.after.files if host.name in file.hosts)
            releases = tuple(release.name for release in self.after.releases if host.name in release.hosts)
            self.do(AddHost(host, next_of(names, host.name), files, releases))

    def _remove_hosts(self) -> None:
        known = {host.name for host in self.after.hosts}
        for host in self.before.hosts:
            if host.name not in known:
                self.do(RemoveHost(host.name))

    def _set_variables(self) -> None:
        hosts = {host.name for host in self.now.hosts} & {host.name for host in self.after.hosts}
        processes = {process.name for process in self.before.processes} & {
            process.name for process in self.after.processes
        }
        scopes = [
            "",
            *(f"host:{name}" for name in sorted(hosts)),
            *(f"process:{name}" for name in sorted(processes)),
        ]
        for scope in scopes:
            old, new = variables_of(self.now, scope), variables_of(self.after, scope)
            for name, value in new.items():
                if name not in old or old[name] != value:
                    self.do(SetVariable(name, value, scope))
            for name in old:
                if name not in new:
                    self.do(UnsetVariable(name, scope))

    def _swap_releases(self) -> None:
        versions = {release.name: release.version for release in self.after.releases}
        for release in self.before.releases:
            version = versions.get(release.name, release.version)
            if version != release.version:
                self.do(SwapRelease(release.name, version))

    def _move(self, name: str) -> None:
        """Gives a process its hosts: what kept its order stays, what came where something went has moved, the rest is taken out and added."""
        before, after = find_process(self.before, name).hosts, find_process(self.after, name).hosts
        kept = _common_order(before, after)
        stays = set(kept)
        for gap_before, gap_after in zip(_gaps(before, kept), _gaps(after, kept), strict=True):
            gone = [host for host in gap_before if host not in after]
            new = [host for host in gap_after if host not in before]
            for from_host, to_host in zip(gone, new, strict=False):
                self.do(MoveProcess(name, from_host, to_host))
                stays.add(to_host)
        for host in find_process(self.now, name).hosts:
            if host not in stays:
                self.do(RemoveInstance(name, host))
        for host in reversed(after):
            if host not in stays:
                self.do(AddInstance(name, host, next_of(after, host)))

    def _stop_and_start(self, name: str) -> None:
        now, after = self._stopped(self.now, name), self._stopped(self.after, name)
        for host in find_process(self.after, name).hosts:
            if host in after and host not in now:
                self.do(StopInstance(name, host))
            if host in now and host not in after:
                self.do(StartInstance(name, host))

    @staticmethod
    def _stopped(environment: Environment, name: str) -> tuple[str, ...]:
        process: ProcessSpec = find_process(environment, name)
        return process.stopped_on


def _common_order(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The longest list of names that both have in the same order: the longest rising row of the places in ``after`` (patience sorting)."""
    place = {name: index for index, name in enumerate(after)}
    ends: list[int] = []  # smallest last place of a rising row of each length
    last: list[str] = []
    previous: dict[str, str | None] = {}
    for name in before:
        if name not in place:
            continue
        at = bisect.bisect_left(ends, place[name])
        previous[name] = last[at - 1] if at else None
        ends[at : at + 1] = [place[name]]
        last[at : at + 1] = [name]
    row: list[str] = []
    at_name = last[-1] if last else None
    while at_name is not None:
        row.append(at_name)
        at_name = previous[at_name]
    return row[::-1]


def _gaps(names: Sequence[str], kept: Sequence[str]) -> list[list[str]]:
    """What stands before, between and behind the names that are kept."""
    gaps: list[list[str]] = [[]]
    stays = set(kept)
    for name in names:
        if name in stays:
            gaps.append([])
        else:
            gaps[-1].append(name)
    return gaps
