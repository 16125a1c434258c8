"""The faults of one host: what :class:`labtest.namespaces.Lab` does to it, without its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from labtest.core.environment import HostKind
from labtest.namespaces import FaultNotPossible, Lab
from labtest.namespaces.limits import COMMAND_TIMEOUT_S, UP_TIMEOUT_S

if TYPE_CHECKING:
    from labtest.live.host import Opened

__all__ = ["HostFaults"]

_DISK = "/"


class HostFaults:
    """See :mod:`labtest.namespaces.faults` for what each does exactly. All are undone after the test.

    Raises FaultNotPossible for a host that labtest did not boot.
    """

    name: str
    kind: HostKind
    _opened: Callable[[], Opened]

    def partition(self) -> None:
        """Cuts it off from all others and from this machine."""
        self._lab("cut off").partition(self.name)

    def partition_from(self, other: str) -> None:
        """Cuts it off from one other, and from nobody else."""
        self._lab("cut off").partition_between(self.name, other)

    def heal(self) -> None:
        """Undoes :meth:`partition` and :meth:`partition_from`."""
        self._lab("heal").heal(self.name)

    def delay(self, delay_ms: float, jitter_ms: float = 0.0) -> None:
        """Delays each packet to and from it; 0 undoes it."""
        self._lab("delay").delay(self.name, delay_ms, jitter_ms)

    def loss(self, percent: float) -> None:
        """Loses so many of a hundred packets, in each direction; 0 undoes it."""
        self._lab("lose packets of").loss(self.name, percent)

    def rate(self, mbit: float) -> None:
        """Lets so many megabits a second (10^6 bit) pass, in each direction; 0 undoes it."""
        self._lab("slow down").rate(self.name, mbit)

    def clear(self) -> None:
        """Makes its cable a good one again: no partition, delay, loss or rate."""
        self._lab("heal").clear(self.name)

    def freeze(self) -> None:
        """Stops all its processes in mid-step."""
        self._lab("freeze").freeze(self.name)

    def thaw(self) -> None:
        """Undoes :meth:`freeze`."""
        self._lab("thaw").thaw(self.name)

    def power_cut(self) -> None:
        """Takes its power away: silence, and /run, /tmp and /dev/shm are lost."""
        self._lab("cut the power of").power_cut(self.name)

    def shut_down(self, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        """Has its systemd stop all units and power off."""
        self._lab("shut down").shut_down(self.name, timeout_s)

    def boot(self, timeout_s: float = UP_TIMEOUT_S) -> None:
        """Gives it power again, and waits until its sshd answers."""
        self._lab("boot").boot(self.name, timeout_s)

    def fill_disk(self, path: str = _DISK) -> None:
        """Leaves no room on the file system that ``path`` is on."""
        self._lab("fill").fill_disk(self.name, path)

    def free_disk(self, path: str = _DISK) -> None:
        """Undoes :meth:`fill_disk`."""
        self._lab("free").free_disk(self.name, path)

    def fill_shared_memory(self) -> None:
        """Leaves no room in /dev/shm."""
        self._lab("fill").fill_shared_memory(self.name)

    def free_shared_memory(self) -> None:
        """Undoes :meth:`fill_shared_memory`."""
        self._lab("free").free_shared_memory(self.name)

    def _lab(self, what: str) -> Lab:
        lab = self._opened().lab
        if self.kind is not HostKind.NAMESPACE or lab is None:
            raise FaultNotPossible(
                f'cannot {what} {self.name}: it is a host of kind "{self.kind}", and only those that labtest boots (kind = "namespace") can be hurt'
            )
        return lab
