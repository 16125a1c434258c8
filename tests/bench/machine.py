"""Cores, processes and memory as the kernel accounts for them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .row import Unavailable

__all__ = [
    "LOAD_CORE",
    "SERVER_CORE",
    "cpu_seconds",
    "end_descendants",
    "free_ports",
    "move_to_core",
    "pinned",
    "private_bytes",
    "process_tree",
    "program",
    "run_queue_seconds",
    "stopped_in_the_end",
    "wait_for",
]

_CORES = sorted(os.sched_getaffinity(0))
#: Where servers run, ours and the peers' alike, all their processes and threads.
SERVER_CORE = _CORES[0]
#: Where what asks them runs. On a machine of one core it is the same, and figures say little.
LOAD_CORE = _CORES[-1]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """This process, and what it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def move_to_core(pid: int, core: int) -> None:
    """Another process with all its threads, and what it starts from now on, to one core."""
    for task in _listed(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), {core})


def program(name: str, package: str) -> str:
    """Path of a program, also of those installed beside this Python; raises :class:`Unavailable`."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise Unavailable(f"{name} is not installed ({package})")
    return found


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, for programs that cannot choose one themselves."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Polls until the condition is true; raises :class:`Unavailable` when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise Unavailable(f"{what}: not ready within {timeout_s:.0f} s")
        time.sleep(0.05)


@contextmanager
def stopped_in_the_end(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Ends a server of ours when the block ends, however it ends."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def end_descendants() -> None:
    """Kills what this process started and did not end, because a signal came just when it was started."""
    for pid in process_tree(os.getpid())[1:]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def process_tree(pid: int) -> list[int]:
    """A process and all its living descendants."""
    found = [pid]
    for task in _listed(f"/proc/{pid}/task"):
        try:
            children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        except OSError:
            continue
        for child in children:
            found += process_tree(int(child))
    return found


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads and living descendants (proc(5), stat)."""
    return sum(_cpu_seconds_of_one(each) for each in process_tree(pid))


def _cpu_seconds_of_one(pid: int) -> float:
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(after_name[11]) + int(after_name[12])) / _TICKS_PER_S


def run_queue_seconds(pid: int) -> float:
    """How long a process's main thread was ready to run and did not (proc(5), schedstat); 0 where the kernel does not say."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def private_bytes(pid: int) -> int:
    """RssAnon + RssFile: resident memory without shared memory, so without the arena's pages (proc(5), status)."""
    total = 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(("RssAnon:", "RssFile:")):
            total += int(line.split()[1]) * 1024
    return total
