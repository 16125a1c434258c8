"""Full file systems, without using memory for it: their size is lowered to what is used, and raised again."""

from __future__ import annotations

import os

from labtest.errors import ActionFailed
from labtest.namespaces.errors import FaultNotPossible
from labtest.namespaces.inside import run_inside
from labtest.namespaces.programs import run_program
from labtest.namespaces.state import Folder, HostState

__all__ = ["DISK", "empty", "fill"]

#: Where the disk is mounted in a host.
DISK = "/"
#: Lowered while something is being written, the size may be below what is used by then, which the kernel refuses.
_TRIES = 20
#: The smallest size there is: 0 means no limit.
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def fill(folder: Folder, host: HostState, path: str) -> None:
    """Fills the file system that ``path`` (absolute, in the host) is on. Raises :class:`FaultNotPossible` if it is not one of the host's own."""
    target = _mount_of(host, path)
    if target in host.filled:
        return
    size, _ = _size_and_used(folder, host, target)
    problem = ""
    for _ in range(_TRIES):
        used = _size_and_used(folder, host, target)[1]
        try:
            _resize(folder, host, target, max(used, _PAGE_BYTES))
        except (FaultNotPossible, ActionFailed) as error:
            problem = str(error)
            continue
        host.filled[target] = size
        if not used:
            run_inside(
                host.name,
                host.pid,
                ["sh", "-c", 'head -c "$1" /dev/zero > "$2"', "sh", str(_PAGE_BYTES), _page_of(target)],
            )
        return
    raise FaultNotPossible(f"{host.name}: {target} could not be filled: {problem}")


def empty(folder: Folder, host: HostState, path: str) -> None:
    """Undoes :func:`fill`; nothing if it is not full."""
    target = _mount_of(host, path)
    size = host.filled.pop(target, 0)
    if size:
        _resize(folder, host, target, size)
        run_inside(host.name, host.pid, ["rm", "-f", _page_of(target)], check=True)


def _page_of(target: str) -> str:
    return f"{target.rstrip('/')}/.lab-full"


def _mount_of(host: HostState, path: str) -> str:
    done = run_inside(host.name, host.pid, ["findmnt", "-nro", "FSTYPE,TARGET", "--target", path], check=True)
    kind, _, target = done.stdout.strip().partition(" ")
    if (kind, target) == ("overlay", DISK) or kind == "tmpfs":
        return target
    raise FaultNotPossible(
        f"{host.name}: {path} is on a file system of kind {kind}; the disk, /dev/shm, /run and /tmp can be filled"
    )


def _size_and_used(folder: Folder, host: HostState, target: str) -> tuple[int, int]:
    if target == DISK:
        found = os.statvfs(folder.disk(host.name))
        return found.f_blocks * found.f_frsize, (found.f_blocks - found.f_bfree) * found.f_frsize
    asked = run_inside(host.name, host.pid, ["stat", "-f", "-c", "%S %b %f", target], check=True)
    unit, blocks, free = map(int, asked.stdout.split())
    return blocks * unit, (blocks - free) * unit


def _resize(folder: Folder, host: HostState, target: str, size_bytes: int) -> None:
    if target == DISK:
        run_program("mount", "-o", f"remount,size={size_bytes}", str(folder.disk(host.name)))
    else:
        run_inside(host.name, host.pid, ["mount", "-o", f"remount,size={size_bytes}", target], check=True)
