"""What of an environment a plan is asked for: all of it, some hosts, some processes, or once more what looks right already.

Law: a plan follows from a target, what is there, and an :class:`Ask`, and from nothing else. A part of a plan is asked for by naming what it may
touch; what it may not touch is still looked at, so that a part never breaks what the whole would keep (a dependency that is down elsewhere holds a
start back). An interrupted run is continued by an ask too: it names the actions of which nobody knows whether they were done in full.
"""

from __future__ import annotations

import msgspec

from labtest.core.steps import Action

__all__ = ["EVERYTHING", "Ask", "UnsureAction"]


class UnsureAction(msgspec.Struct, frozen=True, kw_only=True):
    """An action of an interrupted run that may have been done, in part or whole."""

    host: str
    action: Action


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. Instances are pairs of process and host."""

    #: Hosts that may be touched; None: all.
    hosts: frozenset[str] | None = None
    #: Processes that may be touched, with the files and releases that they are started from; None: all, and what belongs to no process.
    processes: frozenset[str] | None = None
    #: Of those, the only instances that may be touched; None: all.
    instances: frozenset[tuple[str, str]] | None = None
    #: Instances that are restarted though nothing about them has changed.
    restart: frozenset[tuple[str, str]] = frozenset()
    #: Instances that read their configuration again though nothing about it has changed.
    reload: frozenset[tuple[str, str]] = frozenset()
    #: How many instances of a process may be down at a time, instead of what the process says.
    batch_size: int | None = None
    unsure: tuple[UnsureAction, ...] = ()

    @property
    def is_of_everything(self) -> bool:
        """Whether what belongs to no process may be touched, too."""
        return self.processes is None and self.instances is None

    def has_host(self, host: str) -> bool:
        """Whether a host may be touched."""
        return self.hosts is None or host in self.hosts

    def has_process(self, process: str) -> bool:
        """Whether a process may be touched."""
        return self.processes is None or process in self.processes

    def has_instance(self, process: str, host: str) -> bool:
        """Whether a process may be touched on a host."""
        is_named = self.instances is None or (process, host) in self.instances
        return is_named and self.has_host(host) and self.has_process(process)

    def narrowed(self) -> Ask:
        """What may be touched, and nothing that is to be done without need."""
        return Ask(hosts=self.hosts, processes=self.processes, instances=self.instances)

    def is_unsure(self, host: str, action: Action) -> bool:
        """Whether an action that looks done must be done again."""
        return any(one.host == host and _are_same(one.action, action) for one in self.unsure)


def _are_same(before: Action, now: Action) -> bool:
    """What is replaced may have changed since: it is then what the interrupted action put there."""
    plain = []
    for action in (before, now):
        fields = {name: "" for name in ("replaces", "replaces_sha256") if hasattr(action, name)}
        plain.append(msgspec.structs.replace(action, **fields))
    return plain[0] == plain[1]


#: All of it, and nothing twice.
EVERYTHING = Ask()
