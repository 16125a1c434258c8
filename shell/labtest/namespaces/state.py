"""What is written down about a lab, in its folder, so that any process can go on with it, and remove it.

``/run/aviary-lab/<id>/`` holds ``lab.json`` (:class:`LabState`), two locks, the keys, ``ssh_config``, and what is mounted: the switch's network
namespace and each host's disk. ``owner.lock`` is held (flock) by the process that made the lab for as long as it lives, and by nothing else: a lab
whose lock is free and which is not detached has lost its maker, and whoever finds it removes it. ``change.lock`` is held for the moment of a change.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from labtest.namespaces.errors import LabNotFound

__all__ = [
    "BASE",
    "Folder",
    "HostState",
    "Impairment",
    "LabState",
    "boot_id",
    "is_running",
    "locked",
    "start_ticks",
]

#: Of all labs of this machine. Gone with a restart of the machine where /run is in memory; where it is not, ``boot_id`` tells.
BASE = Path("/run/aviary-lab")


class Impairment(msgspec.Struct, kw_only=True):
    """What is wrong with a host's link, in each direction. All zero: it is a plain cable."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_percent: float = 0.0
    #: 0: as fast as it goes.
    rate_mbit: float = 0.0
    #: Hosts that it neither hears nor reaches.
    cut_from: list[str] = []

    def is_none(self) -> bool:
        """Whether the cable is a good one."""
        return self == Impairment()


class HostState(msgspec.Struct, kw_only=True):
    """One host. Its port on the switch is named by ``index``, since its own name may be longer than a device's can be."""

    name: str
    index: int
    address: str
    mac: str
    machine_id: str
    #: Of its systemd, as this machine sees it, with the start time that makes it unmistakable; 0: it has none.
    pid: int = 0
    pid_started: int = 0
    is_cut_off: bool = False
    impairment: Impairment = msgspec.field(default_factory=Impairment)
    #: Of the process that impairs the link; 0: none is needed.
    relay_pid: int = 0
    relay_started: int = 0
    #: Sizes (bytes) to go back to of file systems that were filled, by their mount point.
    filled: dict[str, int] = {}

    def is_up(self) -> bool:
        """Whether it has power."""
        return is_running(self.pid, self.pid_started)


class LabState(msgspec.Struct, kw_only=True):
    """One lab."""

    id: str
    name: str
    #: The machine's own end of the cable to the lab's switch, e.g. ``avlab7``.
    link: str
    #: First three bytes of all addresses, e.g. ``10.213.7``.
    subnet: str
    #: Of the whole lab, in the cgroup2 hierarchy; each host and each relay has one below.
    cgroup: str
    hosts: list[HostState]
    python: str
    boot_id: str
    maker_pid: int
    created_at_s: int
    is_detached: bool = False
    disk_bytes: int
    shared_memory_bytes: int
    temporary_bytes: int

    def host(self, name: str) -> HostState:
        """Raises :class:`LabNotFound` with the names there are."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabNotFound(
            f"lab {self.name} has no host {name!r}; it has {', '.join(each.name for each in self.hosts)}"
        )

    @property
    def machine_address(self) -> str:
        """This machine's address on the lab's network."""
        return f"{self.subnet}.1"


@dataclass(frozen=True)
class Folder:
    """Where the parts of one lab are."""

    path: Path

    @property
    def state(self) -> Path:
        """A :class:`LabState`."""
        return self.path / "lab.json"

    @property
    def owner_lock(self) -> Path:
        """Held for as long as its maker lives."""
        return self.path / "owner.lock"

    @property
    def change_lock(self) -> Path:
        """Held for the moment of a change."""
        return self.path / "change.lock"

    @property
    def ssh_config(self) -> Path:
        """For ``ssh -F``."""
        return self.path / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        """The hosts' public keys."""
        return self.path / "known_hosts"

    @property
    def key(self) -> Path:
        """The private key to log in with; its public one is beside it."""
        return self.path / "key"

    @property
    def switch(self) -> Path:
        """The switch's network namespace, mounted."""
        return self.path / "switch"

    def disk(self, host: str) -> Path:
        """A host's disk, mounted."""
        return self.path / "disks" / host

    def host_key(self, host: str) -> Path:
        """A host's private key."""
        return self.path / "keys" / host

    def relay_socket(self, index: int) -> Path:
        """Where a host's relay takes orders."""
        return self.path / f"relay{index}.sock"

    def read(self) -> LabState:
        """Raises :class:`LabNotFound` when the lab has been removed."""
        try:
            return msgspec.json.decode(self.state.read_bytes(), type=LabState)
        except FileNotFoundError:
            raise LabNotFound(f"{self.path}: this lab has been taken down") from None

    def write(self, state: LabState) -> None:
        """At one instant: a reader finds the old state or the new one."""
        new = self.state.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(state))
        new.rename(self.state)

    @contextmanager
    def changing(self) -> Iterator[LabState]:
        """The state, to be changed by this process alone. What was done is written down also when the change fails in the middle."""
        with locked(self.change_lock):
            state = self.read()
            try:
                yield state
            finally:
                self.write(state)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of a file that exists, against other processes and other threads. Raises LabNotFound if it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise LabNotFound(f"{path.parent}: this lab has been taken down") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def boot_id() -> str:
    """Another one after each start of the machine (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int:
    """When a process was started (proc_pid_stat(5), field 22), so that a number used again is not mistaken for it; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def is_running(pid: int, started: int) -> bool:
    """Whether a process is the one that was started then, and has not ended."""
    return pid > 0 and started > 0 and start_ticks(pid) == started
