"""All that there is of a lab before its hosts have power: its first state, its network, its keys, and the disks."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import msgspec

from labtest.namespaces.disk import look_at_machine, make_disk, open_path_to, write_entries
from labtest.namespaces.errors import LabsNotPossible
from labtest.namespaces.keys import known_hosts_text, make_keys, public_part, ssh_config_text
from labtest.namespaces.limits import DISK_BYTES, SHARED_MEMORY_BYTES, TEMPORARY_BYTES
from labtest.namespaces.programs import python_for_hosts
from labtest.namespaces.removal import cgroup_of, number_of
from labtest.namespaces.root_files import Neighbour, entries_of_host
from labtest.namespaces.state import Folder, HostState, LabState, boot_id
from labtest.namespaces.wiring import address_of, mac_of, make_switch

__all__ = ["LabOptions", "build", "first_state", "hand_down_controllers", "make_cgroup"]

#: The name by which hosts know this machine, unless one of them has it.
_MACHINE = "machine"


class LabOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes, and what is on all hosts from the start."""

    #: What a host can write, /run, /tmp and /dev/shm apart. It is memory of this machine once it is written.
    disk_bytes: int = DISK_BYTES
    #: Of /dev/shm.
    shared_memory_bytes: int = SHARED_MEMORY_BYTES
    #: Of /tmp.
    temporary_bytes: int = TEMPORARY_BYTES
    #: Absolute path to content: files that are there, readable by all, before the host's systemd starts.
    files: Mapping[str, bytes] = msgspec.field(default_factory=dict)


def first_state(
    folder: Folder, name: str, hosts: Sequence[str], options: LabOptions, *, subnet: str, link: str
) -> LabState:
    """What is written down about a lab that is just being made by this process. None of its hosts has power."""
    lab_id = folder.path.name
    number = number_of(lab_id)
    states = [
        HostState(
            name=host,
            index=index,
            address=address_of(subnet, index),
            mac=mac_of(number, index),
            machine_id=uuid4().hex,
        )
        for index, host in enumerate(hosts)
    ]
    return LabState(
        id=lab_id,
        name=name,
        link=link,
        subnet=subnet,
        cgroup=str(cgroup_of(lab_id)),
        hosts=states,
        python=python_for_hosts([sys.executable]),
        boot_id=boot_id(),
        maker_pid=os.getpid(),
        created_at_s=int(time.time()),
        disk_bytes=options.disk_bytes,
        shared_memory_bytes=options.shared_memory_bytes,
        temporary_bytes=options.temporary_bytes,
    )


def make_cgroup(cgroup: Path) -> None:
    """Makes a lab's cgroup. Raises :class:`LabsNotPossible` where the kernel cannot end one at once."""
    cgroup.mkdir(parents=True)
    if not (cgroup / "cgroup.kill").exists():
        raise LabsNotPossible(f"Linux 5.14 or newer is needed (cgroup.kill); this is {os.uname().release}")
    for each in (cgroup.parent, cgroup):
        hand_down_controllers(each)


def hand_down_controllers(cgroup: Path) -> None:
    """Gives all that a cgroup may limit to those below, so that limits of units (``MemoryMax=``) hold in hosts where the machine lets them.

    It lets none where they belong to hierarchies of version 1 (hybrid): there units' limits are accepted, and hold nothing.
    """
    for name in (cgroup / "cgroup.controllers").read_text().split():
        try:
            (cgroup / "cgroup.subtree_control").write_text(f"+{name}")
        except OSError:
            pass  # one that this machine does not let, e.g. cpu while it has real-time processes


def build(folder: Folder, options: LabOptions) -> None:
    """Makes cgroup, switch, keys and disks of a lab that is written down."""
    state = folder.read()
    make_cgroup(Path(state.cgroup))
    make_switch(folder.switch, state.link, state.subnet)
    make_keys(folder, [host.name for host in state.hosts])
    folder.known_hosts.write_text(known_hosts_text(folder, state))
    folder.ssh_config.write_text(ssh_config_text(folder, state))
    neighbours = [Neighbour(host.name, host.address) for host in state.hosts]
    if _MACHINE not in {host.name for host in state.hosts}:
        neighbours.append(Neighbour(_MACHINE, state.machine_address))
    machine = look_at_machine()
    for host in state.hosts:
        entries = entries_of_host(
            name=host.name,
            machine_id=host.machine_id,
            neighbours=neighbours,
            host_key=folder.host_key(host.name).read_bytes(),
            authorized_key=f"{public_part(folder.key)} lab\n".encode(),
            machine=machine,
            files=options.files,
        )
        upper = make_disk(folder.disk(host.name), state.disk_bytes)
        write_entries(upper, entries)
        open_path_to(upper, state.python)
