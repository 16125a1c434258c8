"""Which part of an environment a change makes different: what acts at once touches that, and nothing else."""

from __future__ import annotations

from labtest.core.ask import Ask
from labtest.core.target import HostTarget, Target

__all__ = ["touched"]


def touched(before: Target, after: Target) -> Ask:
    """Hosts and processes that differ between two targets."""
    old = {host.host: host for host in before.hosts}
    new = {host.host: host for host in after.hosts}
    hosts = {name for name in {*old, *new} if old.get(name) != new.get(name)}
    processes: set[str] = set()
    for name in hosts:
        processes |= _different(old.get(name, HostTarget(host=name)), new.get(name, HostTarget(host=name)))
    return Ask(hosts=frozenset(hosts), processes=frozenset(processes))


def _different(old: HostTarget, new: HostTarget) -> set[str]:
    before = {one.process: one for one in old.processes}
    after = {one.process: one for one in new.processes}
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    # Whose files differ in their owner or mode alone: no process is started from those, and they are put right all the same.
    paths = {f"file:{file.path}" for file in {*old.files} ^ {*new.files}}
    readers = {
        name for name, one in {**before, **after}.items() if any(each.name in paths for each in one.inputs)
    }
    return changed | readers
