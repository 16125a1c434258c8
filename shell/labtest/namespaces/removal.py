"""Removes labs, whatever state they are in, and finds those that have lost their maker.

All that a lab is on this machine follows from its id: the folder, the cgroup, the interface. So it can be removed by somebody else, and also
when it was only half made. Nothing here fails because something is gone already.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from labtest.namespaces.errors import LabsNotPossible
from labtest.namespaces.limits import REMOVAL_TIMEOUT_S
from labtest.namespaces.programs import cgroup_root
from labtest.namespaces.state import BASE, Folder, boot_id

__all__ = [
    "cgroup_of",
    "clean_up",
    "end_processes",
    "is_abandoned",
    "lab_folders",
    "link_of",
    "number_of",
    "registry",
    "remove",
    "remove_cgroup",
]

_POLL_S = 0.005


@contextmanager
def registry() -> Iterator[None]:
    """While labs are listed, made known, or judged to be dead, nobody else does so."""
    BASE.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(BASE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def lab_folders() -> list[Folder]:
    """Of all labs of this machine, dead ones included."""
    return [Folder(path) for path in sorted(BASE.iterdir()) if path.is_dir()] if BASE.is_dir() else []


def number_of(lab_id: str) -> int:
    """The number of a lab's network, which its id ends with."""
    return int(lab_id.rpartition(".")[2])


def link_of(lab_id: str) -> str:
    """The machine's interface to a lab."""
    return f"avlab{number_of(lab_id)}"


def cgroup_of(lab_id: str) -> Path:
    """The cgroup of all processes of a lab."""
    return cgroup_root() / "aviary-lab" / lab_id


def clean_up() -> list[str]:
    """Removes all labs of this machine that have lost their maker. Returns their ids."""
    if not BASE.is_dir():
        return []
    with registry():
        abandoned = [folder for folder in lab_folders() if is_abandoned(folder)]
        for folder in abandoned:
            remove(folder)
    return [folder.path.name for folder in abandoned]


def is_abandoned(folder: Folder) -> bool:
    """Whether nobody has the lab any more: its maker is dead, and it was not left up on purpose. The caller holds :func:`registry`."""
    try:
        descriptor = os.open(folder.owner_lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        state = msgspec.json.decode(folder.state.read_bytes())
        return not (state["is_detached"] and state["boot_id"] == boot_id())
    except BlockingIOError:
        return False
    except (FileNotFoundError, msgspec.MsgspecError, KeyError, TypeError):
        return True  # its maker died while it wrote this down, or was of another version
    finally:
        os.close(descriptor)


def remove(folder: Folder) -> None:
    """Takes a lab down: ends its processes, and removes its network, its mounts, its cgroups and its folder."""
    lab_id = folder.path.name
    cgroup = cgroup_of(lab_id)
    end_processes(cgroup)
    if Path(f"/sys/class/net/{link_of(lab_id)}").exists():
        subprocess.run(["ip", "link", "del", link_of(lab_id)], capture_output=True, check=False)
    for mount_point in _mounts_below(folder.path):
        # Lazily: a process that looks at it keeps it for as long as it looks, and does not keep the lab.
        subprocess.run(["umount", "--lazy", mount_point], capture_output=True, check=False)
    remove_cgroup(cgroup)
    shutil.rmtree(folder.path, ignore_errors=True)
    try:
        cgroup.parent.rmdir()
    except OSError:
        pass  # other labs are there
    if folder.path.exists():
        raise LabsNotPossible(
            f"{folder.path} could not be removed: look what is mounted or open there, and try again"
        )


def _mounts_below(path: Path) -> list[str]:
    """The innermost first (proc_pid_mountinfo(5): the fifth field, with octal escapes)."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount_point = line.split()[4].encode().decode("unicode_escape")
        if mount_point.startswith(f"{path}/"):
            found.append(mount_point)
    return found[::-1]


def end_processes(cgroup: Path) -> None:
    """Kills all processes of a cgroup and of those below at once, frozen ones too, and waits until they are gone."""
    deadline = time.monotonic() + REMOVAL_TIMEOUT_S
    while _is_populated(cgroup):
        _kill_all(cgroup)
        if time.monotonic() > deadline:
            raise LabsNotPossible(
                f"{cgroup}: processes do not end {REMOVAL_TIMEOUT_S:.0f} s after SIGKILL (in an uninterruptible sleep?)"
            )
        time.sleep(_POLL_S)


def _is_populated(cgroup: Path) -> bool:
    try:
        return "populated 1" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def _kill_all(cgroup: Path) -> None:
    try:
        (cgroup / "cgroup.kill").write_text("1")
    except OSError:
        pass  # it is being removed by somebody else


def remove_cgroup(cgroup: Path) -> None:
    """Removes a cgroup without processes, and all below."""
    for folder, _, _ in os.walk(cgroup, topdown=False):
        try:
            os.rmdir(folder)
        except OSError:
            pass  # a cgroup's files cannot be removed and need not be; one that is still in use stays
