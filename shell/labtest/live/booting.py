"""Which namespace hosts an environment runs on: those that were left up for it, or new ones.

Hosts that are used are locked (``flock`` of a file in the lab's folder) for as long as they are: of two test processes that want the same ones, the
second boots its own. A lock of a dead process is free.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass

from labtest.core.environment import Environment, HostKind
from labtest.namespaces import Lab, LabNotFound, LabsNotPossible, all_labs, find, status_of
from labtest.namespaces.limits import UP_TIMEOUT_S

__all__ = ["UsedLab", "heal", "power_up", "use_lab"]

_LOCK_NAME = "used.lock"


@dataclass
class UsedLab:
    """Namespace hosts that this process uses alone."""

    lab: Lab
    #: Whether this process booted them, so that they are its to take down.
    is_own: bool
    #: A descriptor; None: it was unlocked.
    lock: int | None

    def unlock(self) -> None:
        """Lets another process use them, too."""
        lock, self.lock = self.lock, None
        if lock is not None:
            os.close(lock)

    def leave(self, *, keep: bool = False) -> None:
        """Takes down what was booted for this, unless it shall stay; the rest is only unlocked."""
        try:
            if self.is_own and keep:
                self.lab.detach()
            elif self.is_own:
                self.lab.down()
        finally:
            self.unlock()


def use_lab(
    environment: Environment, lab_id: str = "", *, fresh: bool = False, timeout_s: float = UP_TIMEOUT_S
) -> UsedLab | None:
    """The hosts for an environment, all with power; None if it has no namespace hosts.

    Those of ``lab_id``; if that is empty, those that `labtest up` left up under the environment's name and that nobody tests with, unless ``fresh``;
    else new ones. Raises LabNotFound, LabsNotPossible, BootFailed.
    """
    names = [host.name for host in environment.hosts if host.kind is HostKind.NAMESPACE]
    if not names:
        return None
    if lab_id:
        used = _try_to_use(find(lab_id), names)
        return used or _boot(environment.name, names, timeout_s)
    for lab in () if fresh else all_labs():
        if lab.name == environment.name and _is_left_up(lab):
            used = _try_to_use(lab, names)
            if used is not None:
                power_up(lab, timeout_s)
                return used
    return _boot(environment.name, names, timeout_s)


def power_up(lab: Lab, timeout_s: float = UP_TIMEOUT_S) -> None:
    """Boots those hosts that have no power."""
    for host in lab.hosts.values():
        if not host.pid:
            lab.boot(host.name, timeout_s)


def heal(lab: Lab) -> list[str]:
    """Undoes all faults: frozen processes, the network, no power, full file systems. Gives the names of the hosts that had one."""
    hurt = [host.name for host in status_of(lab).hosts if host.state != "up" or host.faults]
    if not hurt:
        return []
    for host in lab.state().hosts:
        if host.is_up():
            lab.thaw(host.name)
        if host.is_cut_off or not host.impairment.is_none():
            lab.clear(host.name)
    power_up(lab)
    for host in lab.state().hosts:
        for path in tuple(host.filled):
            lab.free_disk(host.name, path)
    return hurt


def _is_left_up(lab: Lab) -> bool:
    try:
        return lab.state().is_detached
    except LabNotFound:
        return False  # it has just been taken down


def _boot(name: str, hosts: Sequence[str], timeout_s: float) -> UsedLab:
    lab = Lab(name, hosts)
    lab.up(timeout_s)
    try:
        lock = _lock(lab)
        assert lock is not None, "nobody else knows of it"
        return UsedLab(lab, is_own=True, lock=lock)
    except BaseException:
        lab.down()
        raise


def _try_to_use(lab: Lab, hosts: Sequence[str]) -> UsedLab | None:
    lock = _lock(lab)
    if lock is None:
        return None
    if set(lab.hosts) != set(hosts):
        os.close(lock)
        raise LabsNotPossible(
            f"lab {lab.id} is up with {', '.join(lab.hosts)}, and the spec wants {', '.join(hosts)}: labtest down {lab.id}  first"
        )
    return UsedLab(lab, is_own=False, lock=lock)


def _lock(lab: Lab) -> int | None:
    """A descriptor that holds the lab's lock; None: another process holds it, or the lab has just gone."""
    try:
        descriptor = os.open(lab.folder.path / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
