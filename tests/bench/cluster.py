"""Masters of one cluster as separate processes with configuration files, each where and on the core it is told."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cashy.cluster_certificates import certified

import cashy

from .machine import cpu_seconds, pinned, stopped_in_the_end, wait_for

__all__ = ["MEMORY_ROOT", "Master", "Member", "started_masters"]

#: Where the kernel keeps shared memory by name.
MEMORY_ROOT = Path("/dev/shm")


@dataclass(frozen=True)
class Member:
    """One host of the cluster to be started."""

    name: str
    #: HOST:PORT where the others reach it.
    address: str
    weight: float
    memory: str
    core: int
    #: Starts its process elsewhere (in a network namespace).
    prefix: Sequence[str] = ()
    #: HOST:PORT where it listens, if that is not where the others reach it.
    listen: str = ""


@dataclass(frozen=True)
class Master:
    """A running one. Its socket is a path, and so reached from every network namespace."""

    name: str
    socket: Path
    pid: int

    def connect(self) -> cashy.Cache:
        """A client."""
        return cashy.connect(self.socket, timeout_s=60)

    def counters(self) -> dict[str, int]:
        """Its counters."""
        with self.connect() as cache:
            return dict(cache.status().counters)

    def cpu_s(self) -> float:
        """CPU-seconds so far, kernel time included."""
        return cpu_seconds(self.pid)


def _config(
    folder: Path,
    member: Member,
    members: Sequence[Member],
    instance: str,
    root: Path,
    limits: str,
    security: str,
) -> str:
    peers = "".join(
        f'[[peer]]\nname = "{each.name}"\naddress = "{each.address}"\nweight = {each.weight}\n'
        for each in members
    )
    listen = f'listen = "{member.listen}"\n' if member.listen else ""
    return (
        f'[instance]\nname = "{instance}"\nsocket = "{folder / member.name}.sock"\nremove_on_exit = true\n'
        f'[memory]\nsize = "{member.memory}"\nblock_size = "4MiB"\neviction = "lru"\n'
        f"[limits]\n{limits}\n"
        "[freshness]\nrevalidate_after_s = 36000\n"
        f'[log]\nlevel = "warning"\n'
        f'[cluster]\nhost = "{member.name}"\n{security}{listen}'
        f'[[origin]]\nkind = "directory"\nname = "data"\npath = "{root}"\n'
        f"{peers}"
    )


@contextmanager
def started_masters(
    folder: Path, root: Path, members: Sequence[Member], *, limits: str = "", is_secured: bool = False
) -> Iterator[list[Master]]:
    """All of them, each connected to each; the directory ``root`` is the origin of all. ``limits`` are lines of that table."""
    folder.mkdir()
    key = folder / "cluster.key"
    key.touch(0o600)
    key.write_text(secrets.token_hex(32))
    security = dict.fromkeys((member.name for member in members), f'key_file = "{key}"\ninsecure = true\n')
    if is_secured:
        security = certified(folder / "ca", security)
    with ExitStack() as stack:
        masters = []
        for member in members:
            instance = f"bench{os.getpid()}-{member.name}"
            path = folder / f"{member.name}.toml"
            path.write_text(_config(folder, member, members, instance, root, limits, security[member.name]))
            stack.callback(_remove_memory, instance)
            command = [*member.prefix, sys.executable, "-m", "cashy", "master", "--config", str(path)]
            with pinned(member.core):
                process = subprocess.Popen(command)
            stack.enter_context(stopped_in_the_end(process))
            masters.append(Master(member.name, folder / f"{member.name}.sock", process.pid))
        wait_for(lambda: all(map(_is_joined, masters)), "the cluster's hosts", timeout_s=90)
        yield masters


def _remove_memory(instance: str) -> None:
    """What a master leaves behind if it was killed."""
    for left in MEMORY_ROOT.glob(f"cashy.{os.geteuid()}.{instance}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _is_joined(master: Master) -> bool:
    try:
        with cashy.connect(master.socket, timeout_s=2) as cache:
            return not any(host.error for host in cache.cluster().hosts)
    except cashy.CashyError:
        return False
