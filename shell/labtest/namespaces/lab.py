"""Labs: hosts with a systemd of their own, booted on this machine, and what can be done to them.

All calls block, and may be made from several threads and, for a lab that was left up, from several processes. A lab belongs to the process that
called :meth:`Lab.up` and goes when that ends, however it ends; :meth:`Lab.detach` leaves it up on purpose.
"""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from labtest.namespaces.building import LabOptions, build, first_state
from labtest.namespaces.errors import FaultNotPossible, LabNotFound, LabsNotPossible
from labtest.namespaces.faults import Faults
from labtest.namespaces.host import NamespaceHost
from labtest.namespaces.launch import launch_hosts, wait_until_booted, wait_until_reachable
from labtest.namespaces.limits import (
    HOST_NAME_LENGTH_MAX,
    HOSTS_MAX,
    UP_TIMEOUT_S,
)
from labtest.namespaces.programs import check_machine
from labtest.namespaces.removal import clean_up, lab_folders, number_of, registry, remove
from labtest.namespaces.state import BASE, Folder, LabState
from labtest.namespaces.wiring import free_network

__all__ = ["Lab", "addresses", "all_labs", "find"]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


class Lab(Faults):
    """Hosts on one switch. ``name`` and those of ``hosts`` match ``[a-z0-9][a-z0-9-]*``; a lab can be had twice under one name."""

    def __init__(self, name: str, hosts: Sequence[str], options: LabOptions | None = None) -> None:
        _check_names(name, hosts)
        self.name = name
        self.hosts: dict[str, NamespaceHost] = {}
        self._host_names = tuple(hosts)
        self._options = options or LabOptions()
        self._folder: Folder | None = None
        self._owner_lock: BinaryIO | None = None
        self._heir: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def folder(self) -> Folder:
        """Where the lab's parts are. Raises :class:`LabNotFound` while it is not up."""
        if self._folder is None:
            raise LabNotFound(f"lab {self.name} is not up")
        return self._folder

    @property
    def id(self) -> str:
        """Unmistakable among the labs of this machine, e.g. ``trading.7``."""
        return self.folder.path.name

    @property
    def ssh_config(self) -> Path:
        """ssh_config(5) for ``ssh -F`` with a block for each host; ssh never asks anything with it."""
        return self.folder.ssh_config

    @property
    def python(self) -> str:
        """Absolute path of a Python 3.9 or newer that is on all hosts and that all users of them may run."""
        return self.state().python

    @property
    def machine_address(self) -> str:
        """Where hosts reach this machine, which they also know by the name ``machine``."""
        return self.state().machine_address

    def state(self) -> LabState:
        """What is written down about the lab at this moment."""
        return self.folder.read()

    def up(self, timeout_s: float = UP_TIMEOUT_S) -> None:
        """Boots all hosts, until each answers ssh and has nothing left to start. Leaves nothing behind when it fails or is interrupted.

        Raises :class:`LabsNotPossible` or :class:`BootFailed`.
        """
        if self._folder is not None:
            return
        check_machine()
        clean_up()
        deadline = time.monotonic() + timeout_s
        try:
            self._register()
            build(self.folder, self._options)
            with self.folder.changing() as state:
                launch_hosts(self.folder, state, state.hosts)
            wait_until_reachable(state.hosts, deadline)
            wait_until_booted(state.hosts, deadline)
            self._adopt(state)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Ends all hosts at once, without asking them, and removes all that the lab is on this machine."""
        folder = self._folder
        if folder is not None and folder.path.exists():
            remove(folder)
        self._folder, self.hosts = None, {}
        self._let_go()  # only now: if this was interrupted, the heir goes on with it

    def detach(self) -> None:
        """Leaves the lab up when this process ends; :func:`find` gives it to another one, and :meth:`down` ends it."""
        with self.folder.changing() as state:
            state.is_detached = True
        self._let_go()

    def boot(self, host: str, timeout_s: float = UP_TIMEOUT_S) -> None:
        """Gives power to a host that has none. It has the name, the address, the keys and the disk that it had; its faults are still there.

        Returns when its sshd answers, or at once if the host is cut off; units may still be starting, or have failed. Raises :class:`BootFailed`.
        """
        deadline = time.monotonic() + timeout_s
        with self.folder.changing() as state:
            found = state.host(host)
            if found.is_up():
                raise FaultNotPossible(f"{host} is up already")
            self._end_host(state, found)
            launch_hosts(self.folder, state, [found])
        if not found.is_cut_off:
            wait_until_reachable([found], deadline)

    def _register(self) -> None:
        """Chooses an id and a network, and makes them known, owned by this process."""
        with registry():
            number, subnet, link = free_network(number_of(each.path.name) for each in lab_folders())
            folder = Folder(BASE / f"{self.name}.{number}")
            self._folder = folder
            folder.path.mkdir(mode=0o700)
            self._owner_lock = folder.owner_lock.open("wb")
            fcntl.flock(self._owner_lock, fcntl.LOCK_EX)
            folder.change_lock.touch()
            folder.write(
                first_state(folder, self.name, self._host_names, self._options, subnet=subnet, link=link)
            )
        self._heir = subprocess.Popen(
            # It waits for the end of this process, which closes the pipe, before it is a Python at all.
            ["sh", "-c", 'read -r nothing; exec "$@"', "sh", sys.executable, "-m", "labtest.namespaces.heir"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def _adopt(self, state: LabState) -> None:
        self.hosts = {host.name: NamespaceHost(self.folder, host) for host in state.hosts}

    def _let_go(self) -> None:
        """Gives up what makes the lab this process's own."""
        heir, self._heir = self._heir, None
        if heir is not None:
            heir.kill()
            heir.communicate()
        if self._owner_lock is not None:
            self._owner_lock.close()
            self._owner_lock = None

    @classmethod
    def _of_folder(cls, folder: Folder) -> Lab:
        state = folder.read()
        lab = cls(state.name, [host.name for host in state.hosts])
        lab._folder = folder
        lab._adopt(state)
        return lab


def _check_names(lab: str, hosts: Sequence[str]) -> None:
    if not 0 < len(hosts) <= HOSTS_MAX:
        raise LabsNotPossible(f"a lab has 1 to {HOSTS_MAX} hosts, and this one would have {len(hosts)}")
    for name in (lab, *hosts):
        if not _NAME.fullmatch(name) or len(name) > HOST_NAME_LENGTH_MAX:
            raise LabsNotPossible(
                f"{name!r} is no name: at most {HOST_NAME_LENGTH_MAX} of a-z, 0-9 and '-', not beginning with '-'"
            )
    if len(set(hosts)) < len(hosts):
        raise LabsNotPossible(f"a host is named twice: {', '.join(hosts)}")


def all_labs() -> list[Lab]:
    """All labs that are up on this machine, whoever made them; those that lost their maker are removed first."""
    clean_up()
    labs = []
    for folder in lab_folders():
        try:
            labs.append(Lab._of_folder(folder))
        except (LabNotFound, msgspec.MsgspecError):
            pass  # it has just been taken down, or is not written down yet
    return labs


def find(name: str) -> Lab:
    """The lab of that name (of the environment, or its id) that is up. Raises :class:`LabNotFound` if there is none, or more than one."""
    labs = all_labs()
    found = [lab for lab in labs if name in (lab.name, lab.id)]
    if len(found) == 1:
        return found[0]
    if found:
        raise LabNotFound(
            f"{name} is up {len(found)} times: choose one of {', '.join(lab.id for lab in found)}"
        )
    others = f"; up are {', '.join(lab.id for lab in labs)}" if labs else "; no lab is up"
    raise LabNotFound(f"lab {name} is not up{others}")


def addresses(lab: Lab) -> dict[str, str]:
    """Host to the address where others reach it."""
    return {host.name: host.address for host in lab.hosts.values()}
