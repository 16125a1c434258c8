"""What can go wrong with a host, on demand, and be put right again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from labtest.errors import ActionFailed
from labtest.namespaces import filling
from labtest.namespaces.errors import FaultNotPossible
from labtest.namespaces.impairing import apply_impairment, relay_counts
from labtest.namespaces.inside import run_inside
from labtest.namespaces.limits import COMMAND_TIMEOUT_S, REMOVAL_TIMEOUT_S
from labtest.namespaces.removal import end_processes, remove_cgroup
from labtest.namespaces.state import Folder, HostState, Impairment, LabState
from labtest.namespaces.wiring import in_switch, master_of, port_of, unplug

__all__ = ["Faults", "is_cgroup_frozen"]

_POLL_S = 0.005
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a mount point of the host
#: systemd(1): SIGRTMIN+4 starts poweroff.target.
_POWER_OFF = signal.SIGRTMIN + 4


class Faults:
    """The faults of a :class:`~labtest.namespaces.Lab`. The first argument of each is a host's name; LabNotFound is raised for one that is not there.

    Faults of the network and of the disk stay while a host has no power. A fault that is there already is no error, nor is putting right what
    is right.
    """

    @property
    def folder(self) -> Folder:
        """Where the lab's parts are."""
        raise NotImplementedError

    # The network.

    def partition(self, host: str) -> None:
        """Cuts a host off from all others and from this machine. Nothing is refused: what is sent is not heard, and :meth:`heal` ends it."""
        with self.folder.changing() as state:
            found = state.host(host)
            if not found.is_cut_off and found.is_up():
                in_switch(self.folder.switch, f"link set dev {port_of(found)} nomaster\n")
            found.is_cut_off = True

    def partition_between(self, host: str, other: str) -> None:
        """Cuts two hosts off from each other, and from nobody else (IPv4; broadcasts pass)."""
        with self.folder.changing() as state:
            found, peer = state.host(host), state.host(other)
            if found is peer:
                raise FaultNotPossible(f"{host} cannot be cut off from itself")
            if other not in found.impairment.cut_from:
                self._impair(state, found, cut_from=[*found.impairment.cut_from, other])

    def heal(self, host: str) -> None:
        """Undoes :meth:`partition`, and :meth:`partition_between` with whatever other host."""
        with self.folder.changing() as state:
            found = state.host(host)
            found.is_cut_off = False
            if found.is_up():
                in_switch(self.folder.switch, f"link set dev {port_of(found)} master {master_of(found)}\n")
            if found.impairment.cut_from:
                self._impair(state, found, cut_from=[])
            for peer in state.hosts:
                if host in peer.impairment.cut_from:
                    self._impair(
                        state, peer, cut_from=[each for each in peer.impairment.cut_from if each != host]
                    )

    def delay(self, host: str, delay_ms: float, jitter_ms: float = 0.0) -> None:
        """Delays each packet to and from a host, so that a round trip takes twice ``delay_ms`` longer; 0 undoes it.

        ``jitter_ms``: up to so much more or less. Packets keep their order.
        """
        _check_range("delay_ms", delay_ms, 60_000)
        _check_range("jitter_ms", jitter_ms, 60_000)
        with self.folder.changing() as state:
            self._impair(state, state.host(host), delay_ms=delay_ms, jitter_ms=jitter_ms)

    def loss(self, host: str, percent: float) -> None:
        """Loses so many of a hundred packets to it, and of those from it; 0 undoes it."""
        _check_range("percent", percent, 100)
        with self.folder.changing() as state:
            self._impair(state, state.host(host), loss_percent=percent)

    def rate(self, host: str, mbit: float) -> None:
        """Lets so many megabits a second (10^6 bit) to it, and as many from it; 0 undoes it."""
        _check_range("mbit", mbit, 100_000)
        with self.folder.changing() as state:
            self._impair(state, state.host(host), rate_mbit=mbit)

    def clear(self, host: str) -> None:
        """Makes the host's cable a good one again: no partition, delay, loss or rate."""
        self.heal(host)
        with self.folder.changing() as state:
            found = state.host(host)
            found.impairment = Impairment()
            apply_impairment(self.folder, state, found)

    def frames(self, host: str) -> dict[str, int]:
        """How many frames were ``lost`` and ``passed`` since the cable became a bad one; empty while it is a good one."""
        with self.folder.changing() as state:
            return relay_counts(self.folder, state, state.host(host))

    # Processes.

    def freeze(self, host: str) -> None:
        """Stops all processes of a host in mid-step (cgroup freezer). Its kernel still answers pings and acknowledges TCP: it hangs."""
        self._set_frozen(host, is_frozen=True)

    def thaw(self, host: str) -> None:
        """Undoes :meth:`freeze`."""
        self._set_frozen(host, is_frozen=False)

    def kill(self, host: str, unit: str, signal_name: str = "KILL") -> None:
        """Sends a signal to the main process of a unit. Raises ActionFailed if it has none."""
        argv = ["systemctl", "kill", "--kill-whom=main", f"--signal={signal_name}", unit]
        with self._powered(host) as found:
            run_inside(found.name, found.pid, argv, check=True)

    # Power.

    def power_cut(self, host: str) -> None:
        """Takes a host's power away: nothing that it would still say leaves it, and all of it ends at once. /run, /tmp and /dev/shm are lost.

        Its disk keeps all that was written, also what was not synced yet: that is kinder than a real one. Lab.boot() brings it back.
        """
        with self.folder.changing() as state:
            self._end_host(state, state.host(host))

    def shut_down(self, host: str, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        """Asks a host's systemd to stop all units and power off, and waits for that. Raises ActionFailed with code ``timeout``."""
        with self.folder.changing() as state:
            found = state.host(host)
            if found.is_up():
                os.kill(found.pid, _POWER_OFF)
                _wait(host, lambda: not found.is_up(), timeout_s, "is still shutting down")
            self._end_host(state, found)

    # File systems.

    def fill_disk(self, host: str, path: str = filling.DISK) -> None:
        """Leaves no room on the file system that ``path`` is on: writes fail with ENOSPC. Empty files can still be made."""
        with self._powered(host) as found:
            filling.fill(self.folder, found, path)

    def free_disk(self, host: str, path: str = filling.DISK) -> None:
        """Undoes :meth:`fill_disk`."""
        with self._powered(host) as found:
            filling.empty(self.folder, found, path)

    def fill_shared_memory(self, host: str) -> None:
        """Leaves no room in /dev/shm."""
        self.fill_disk(host, _SHARED_MEMORY)

    def free_shared_memory(self, host: str) -> None:
        """Undoes :meth:`fill_shared_memory`."""
        self.free_disk(host, _SHARED_MEMORY)

    # How.

    @contextmanager
    def _powered(self, host: str) -> Iterator[HostState]:
        with self.folder.changing() as state:
            found = state.host(host)
            if not found.is_up():
                raise FaultNotPossible(f"{host} has no power: boot it first")
            yield found

    def _impair(self, state: LabState, host: HostState, **changes: float | list[str]) -> None:
        """Changes some of what is wrong with a link; what was wrong before is still so when that is not possible."""
        before, host.impairment = host.impairment, msgspec.structs.replace(host.impairment, **changes)
        try:
            apply_impairment(self.folder, state, host)
        except BaseException:
            host.impairment = before
            raise

    def _set_frozen(self, host: str, *, is_frozen: bool) -> None:
        with self.folder.changing() as state:
            cgroup = _cgroup_of_host(state, state.host(host))
            if not state.host(host).is_up():
                raise FaultNotPossible(f"{host} has no power: boot it first")
            (cgroup / "cgroup.freeze").write_text(str(int(is_frozen)))
            _wait(host, lambda: is_cgroup_frozen(cgroup) == is_frozen, REMOVAL_TIMEOUT_S, "does not freeze")

    def _end_host(self, state: LabState, host: HostState) -> None:
        """Unplugs it first, so that connections are not closed but silent. Whatever is left of a host that ended by itself goes too."""
        unplug(self.folder.switch, host)
        cgroup = _cgroup_of_host(state, host)
        end_processes(cgroup)
        remove_cgroup(cgroup)
        host.pid = host.pid_started = 0
        host.filled = {target: size for target, size in host.filled.items() if target == filling.DISK}


def _cgroup_of_host(state: LabState, host: HostState) -> Path:
    return Path(state.cgroup) / host.name


def is_cgroup_frozen(cgroup: Path) -> bool:
    """Whether all processes of a cgroup have stopped (cgroups(7), cgroup.events)."""
    try:
        return "frozen 1" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def _wait(host: str, is_done: Callable[[], bool], timeout_s: float, problem: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_done():
        if time.monotonic() > deadline:
            raise ActionFailed(host, "timeout", f"{problem} after {timeout_s:g} s")
        time.sleep(_POLL_S)


def _check_range(name: str, value: float, limit: float) -> None:
    if not 0 <= value <= limit:
        raise FaultNotPossible(f"{name} is {value:g}; it must be from 0 to {limit:g}")
