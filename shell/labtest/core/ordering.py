"""What comes before what: the steps of a plan, and their needs.

Law: the rules are those of :mod:`labtest.core.plan`, a method for each. They cannot form a circle: what waits for health waits for a process
that comes before it, or for one of its own instances that is down already or on an earlier host; stops wait for stops, and for what itself waits
for nothing. What is ready early and harms nobody (an installation beside the version in use) waits for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from labtest.core.comparison import Doing, FileWork, HostWork, Instance, Retired, is_unit_path
from labtest.core.graph import Key, Rank, StepGraph
from labtest.core.release_work import ReleaseWork
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
    Step,
    Stop,
    SwitchRelease,
)
from labtest.core.turns import NOBODY, Turns

__all__ = ["STOP_TIMEOUT_S", "ordered_steps"]

#: For a unit of which no target says how long it may take: systemd's own DefaultTimeoutStopSec (systemd-system.conf(5)).
STOP_TIMEOUT_S = 90.0

#: Phases in the order in which people think of them; what a step needs goes before all the same.
_INSTALLING, _STOPPING, _HOST_WIDE, _PROCESSES, _CLEANING = range(5)
_ACTIONS: dict[Doing, type[Start | Restart | Reload]] = {
    Doing.START: Start,
    Doing.RESTART: Restart,
    Doing.RELOAD: Reload,
}


def ordered_steps(turns: Turns) -> tuple[Step, ...]:
    """All steps, in an order in which they could be done one by one."""
    return _Ordering(turns).steps()


class _Ordering:
    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._graph = StepGraph()

    def steps(self) -> tuple[Step, ...]:
        works = self._turns.works.values()
        for work in works:
            self._prepare(work)
        for acting in self._turns.acting.values():
            for one in acting.values():
                self._act(one)
        for one in self._turns.instances:
            if one.is_unsure:
                self._ask_health(one, "a run was interrupted before it was known to be healthy")
            if not one.target.running:
                self._stop_by_wish(one)
        for old in self._turns.retired:
            self._retire(old)
        self._order_stops()
        for work in works:
            self._clean_up(work)
        return self._graph.steps()

    def _add(self, key: Key, host: str, action: Action, rank: Rank, reason: str) -> None:
        self._graph.add(key, host, action, rank=rank, reason=reason)

    def _place(self, process: str, host: str, detail: str) -> Rank:
        """Where people expect a step: with its process, in the order in which processes start."""
        if process == NOBODY:
            return (_HOST_WIDE, 0, host, detail)
        return (_PROCESSES, self._turns.order.rank(process), host, detail)

    # ------------------------------------------------------------ what processes read

    def _prepare(self, work: HostWork) -> None:
        """Releases, files and units of one host, each in the group of the first process that needs it."""
        managers: dict[str, list[Key]] = {}
        for release in work.releases:
            group = self._turns.group(work, f"release:{release.target.name}")
            if group is not None:
                self._add_release(work.host, release, group)
        for file in work.files:
            group = self._turns.group(work, f"file:{file.target.path}")
            if group is not None:
                key = self._add_file(work, file, group)
                if file.target.is_unit:
                    managers.setdefault(group, []).append(key)
        if self._turns.ask.is_unsure(work.host, ReloadManager()):
            managers.setdefault(NOBODY, [])
        for group, keys in managers.items():
            self._add_manager(work.host, group, keys)

    def _add_release(self, host: str, work: ReleaseWork, group: str) -> None:
        release = work.target
        key = ("switch", host, release.name)
        if not work.is_installed:
            install = ("install", host, release.name)
            reason = f"release {release.name} {release.version} is not installed"
            self._add(install, host, InstallRelease(release), (_INSTALLING, 0, host, release.name), reason)
            self._graph.need(key, [install])
        action = SwitchRelease(release, work.replaces)
        self._add(key, host, action, self._place(group, host, f"0 {release.name}"), work.reason)
        self._graph.need(key, self._turns.gate(group, host))

    def _add_file(self, work: HostWork, file: FileWork, group: str) -> Key:
        host = work.host
        key = ("put", host, file.target.path)
        action = PutFile(file.target, file.replaces_sha256)
        self._add(key, host, action, self._place(group, host, f"1 {file.target.path}"), file.reason)
        self._graph.need(key, self._turns.gate(group, host))
        # What follows a switch may make the users that a file belongs to (systemd-sysusers(8)).
        one = self._turns.acting.get(group, {}).get(host)
        inputs = {each.name for each in one.target.inputs} if one else set()
        for release in work.releases:
            name = f"release:{release.target.name}"
            if name in inputs or self._turns.group(work, name) == NOBODY:
                self._graph.need(key, [("switch", host, release.target.name)])
        return key

    def _add_manager(self, host: str, group: str, after: Iterable[Key]) -> None:
        key = ("manager", host, group)
        self._add(key, host, ReloadManager(), self._place(group, host, "2"), "units changed")
        self._graph.need(key, [*after, *self._turns.gate(group, host)])

    # ------------------------------------------------------------ processes

    def _act(self, one: Instance) -> None:
        """One instance's start, restart or reload, and the check of its health."""
        process, host = one.process, one.host
        key, check = ("act", process, host), ("check", process, host)
        reason = self._reason(one)
        self._add(key, host, _ACTIONS[one.doing](one.target), self._place(process, host, "3"), reason)
        self._graph.need(key, self._what_it_reads(one) | self._turns.gate(process, host))
        if one.doing is not Doing.RELOAD:
            self._graph.need(key, self._turns.dependencies(one))
            for other in self._turns.depended_on(one):
                if self._turns.must_be_asked(other):
                    self._ask_health(other, f"{process} comes after it")
        for old in self._turns.old_units(one):
            self._graph.need(key, [("stop", old.host, old.unit), ("forget", old.host, old.unit)])
        if one.doing is Doing.START:
            self._graph.need(key, self._stops_by_wish(process))
        self._add(check, host, CheckHealth(one.target), self._place(process, host, "4"), "")
        self._graph.need(check, [key])

    def _reason(self, one: Instance) -> str:
        left = sorted({old.host for old in self._turns.old_units(one) if old.is_up and old.host != one.host})
        is_move = one.doing is Doing.START and bool(left) and not one.is_ours
        return f"it moves here from {', '.join(left)}" if is_move else one.reason

    def _what_it_reads(self, one: Instance) -> set[Key]:
        """Steps that put there what it reads, and those for its whole host."""
        host, work = one.host, self._turns.works[one.host]
        keys: set[Key] = {("manager", host, NOBODY), ("manager", host, one.process)}
        put = set()
        for release in work.releases:
            if self._is_before(one, work, f"release:{release.target.name}"):
                keys.add(("switch", host, release.target.name))
        for file in work.files:
            if self._is_before(one, work, f"file:{file.target.path}"):
                put.add(file.target.path)
                keys |= {("put", host, file.target.path)}
                keys |= {("manager", host, self._turns.group(work, f"file:{file.target.path}"))}
        if ("manager", host, one.process) not in self._graph and _has_unread_unit(one, put):
            self._add_manager(host, one.process, ())
        return keys

    def _is_before(self, one: Instance, work: HostWork, name: str) -> bool:
        is_read = any(name == f"{each.name}" for each in one.target.inputs)
        return is_read or self._turns.group(work, name) in (NOBODY, one.process)

    def _ask_health(self, one: Instance, reason: str) -> None:
        key = ("check", one.process, one.host)
        if key not in self._graph and one.host not in self._turns.acting.get(one.process, {}):
            self._add(key, one.host, CheckHealth(one.target), self._place(one.process, one.host, "4"), reason)

    # ------------------------------------------------------------ stops

    def _stops_by_wish(self, process: str) -> list[Key]:
        same = [one for one in self._turns.instances if one.process == process and one.doing is Doing.STOP]
        return [("stop", one.host, one.target.unit) for one in same]

    def _stop_by_wish(self, one: Instance) -> None:
        host, unit = one.host, one.target.unit
        if one.doing is Doing.STOP:
            action = Stop(one.process, unit, one.target.stop_timeout_s)
            self._add(
                ("stop", host, unit), host, action, self._stop_place(one.process, host, unit), one.reason
            )
        if one.other_label and self._turns.ask.has_instance(one.process, host):
            self._forget(host, unit, one.other_label)

    def _retire(self, old: Retired) -> None:
        """Stops a unit and forgets it. One that a process leaves for another unit on its host waits for its turn, like a restart."""
        host, unit = old.host, old.unit
        if old.is_up:
            order = self._turns.order
            action = Stop(old.process, unit, order.stop_timeout_s(old.process, unit, STOP_TIMEOUT_S))
            key = ("stop", host, unit)
            self._add(key, host, action, self._stop_place(old.process, host, unit), self._why_stopped(old))
            if self._turns.replaced(old):
                self._graph.need(key, self._turns.gate(old.process, host))
            self._graph.need(key, self._ready_elsewhere(old))
        self._forget(host, unit, old.process)

    def _stop_place(self, process: str, host: str, unit: str) -> Rank:
        return (_STOPPING, -self._turns.order.rank(process), host, unit)

    def _why_stopped(self, old: Retired) -> str:
        acting = self._turns.acting.get(old.process, {})
        if old.host in acting:
            return f"it becomes {acting[old.host].target.unit}"
        new = [host for host, one in acting.items() if one.doing is Doing.START and not one.is_ours]
        return f"it moves to {', '.join(new)}" if new else "it is not wanted here"

    def _ready_elsewhere(self, old: Retired) -> set[Key]:
        """What the process will need where it goes, as far as that waits for nothing itself."""
        ready: set[Key] = set()
        for host, one in self._turns.acting.get(old.process, {}).items():
            if one.doing is not Doing.START:
                continue
            names = [each.name.partition(":")[2] for each in one.target.inputs]
            keys = [(kind, host, name) for kind in ("install", "switch", "put") for name in names]
            for key in keys:
                if key in self._graph and self._graph.needs(key) <= ready:
                    ready.add(key)
        return ready

    def _forget(self, host: str, unit: str, process: str) -> None:
        key = ("forget", host, unit)
        rank = (_STOPPING, -self._turns.order.rank(process), host, f"{unit} forget")
        self._add(key, host, Forget(process, unit), rank, f"{process} is not wanted here")
        self._graph.need(key, [("stop", host, unit)])

    def _order_stops(self) -> None:
        """Who comes after a process is stopped before it. Those that wait for their turn are no stops of this kind."""
        stops: dict[str, list[Key]] = {}
        for old in self._turns.retired:
            if old.is_up and not self._turns.replaced(old):
                stops.setdefault(old.process, []).append(("stop", old.host, old.unit))
        for one in self._turns.instances:
            if one.doing is Doing.STOP:
                stops.setdefault(one.process, []).append(("stop", one.host, one.target.unit))
        for process, keys in stops.items():
            needed = [key for name in self._turns.order.dependants(process) for key in stops.get(name, ())]
            for key in keys:
                self._graph.need(key, needed)

    # ------------------------------------------------------------ what goes

    def _clean_up(self, work: HostWork) -> None:
        """Files and releases that nobody wants, when all else on this host is well. Where something is held back, they may still be read."""
        host = work.host
        if self._turns.holds_anything(host):
            return
        waits = [key for key in self._graph.all_keys() if self._graph.host(key) == host]
        moved = {old.process for old in self._turns.retired if old.host == host}
        waits += [
            ("check", process, other) for process in moved for other in self._turns.acting.get(process, {})
        ]
        for path in work.removed_files:
            key: Key = ("unput", host, path)
            is_unit = is_unit_path(path)
            self._add(
                key, host, RemoveFile(path, is_unit), (_CLEANING, 0, host, path), f"{path} is not wanted here"
            )
            self._graph.need(key, waits)
        units = [("unput", host, path) for path in work.removed_files if is_unit_path(path)]
        if units:
            key = ("unmanager", host)
            self._add(key, host, ReloadManager(), (_CLEANING, 1, host, ""), "units are gone")
            self._graph.need(key, units)
        for removal in work.removed_releases:
            key = ("unrelease", host, removal.folder, removal.version)
            action = RemoveRelease(removal.name, removal.folder, removal.version)
            self._add(
                key, host, action, (_CLEANING, 2, host, f"{removal.name} {removal.version}"), removal.reason
            )
            self._graph.need(key, waits)


def _has_unread_unit(one: Instance, put: set[str]) -> bool:
    """Whether a unit that it was not started from was there before: a run may have ended between the file and systemd's reading it."""
    if one.doing is Doing.RELOAD:
        return False
    is_put = any(path.endswith(f"/{one.target.unit}") for path in put)
    names = {each.name for each in one.changed}
    others = {name[5:] for name in names if name.startswith("file:") and is_unit_path(name[5:])}
    return ("unit" in names and not is_put) or not others <= put
