"""What tests of labs share: whether this machine can have them, what a lab has left behind, and what one host sees of another."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labtest.namespaces import Lab, LabsNotPossible
from labtest.namespaces.programs import check_machine
from labtest.namespaces.removal import cgroup_of, link_of
from labtest.namespaces.state import BASE

__all__ = ["can_connect", "left_of", "need_labs", "read_or", "round_trip_ms", "until"]

#: Longer than anything here takes on a machine that is busy with other things.
DEADLINE_S = 60.0

_CONNECT = """
import socket, sys, time
started = time.perf_counter()
socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])).close()
print((time.perf_counter() - started) * 1e3)
"""


def need_labs() -> None:
    """Skips a test, loudly, where labs cannot be had."""
    try:
        check_machine()
    except LabsNotPossible as error:
        pytest.skip(f"namespace hosts: {error}")


def until(is_so: Callable[[], bool], what: str) -> None:
    """Waits for something, and fails with ``what`` it was if it never comes."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.01)


def read_or(path: Path, otherwise: str) -> str:
    """A file's text; ``otherwise`` while there is no such file."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text()
    return otherwise


def left_of(lab_id: str) -> list[str]:
    """What is still on this machine of a lab."""
    places = [BASE / lab_id, cgroup_of(lab_id)]
    # A link is named by the lab's number, which is somebody else's as soon as it is free.
    number = lab_id.rpartition(".")[2]
    if not any(other.name != lab_id for other in BASE.glob(f"*.{number}")):
        places.append(Path("/sys/class/net") / link_of(lab_id))
    left = [str(place) for place in places if place.exists()]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    left += [line for line in mounts if f"{BASE / lab_id}/" in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            has_ended = (process / "stat").read_text().rpartition(")")[2].split()[
                0
            ] == "Z"  # init has not looked yet
            if not has_ended and lab_id in (process / "cgroup").read_text():
                left.append(f"{process}: {(process / 'cmdline').read_text()}")
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has just ended
    return left


def round_trip_ms(lab: Lab, host: str, other: str) -> float:
    """The best of a few tries to connect from one host to another's sshd."""
    command = [lab.python, "-c", _CONNECT, other, "22", "10"]
    return min(float(lab.hosts[host].run(command, check=True).stdout) for _ in range(3))


def can_connect(lab: Lab, host: str, other: str, *, port: int = 22, patience_s: float = 1.0) -> bool:
    """Whether a connection from one host to another comes about. Refused is an answer too, and raises."""
    done = lab.hosts[host].run([lab.python, "-c", _CONNECT, other, str(port), str(patience_s)])
    assert done.returncode == 0 or "TimeoutError" in done.stderr or "timed out" in done.stderr, done.stderr
    return done.returncode == 0
