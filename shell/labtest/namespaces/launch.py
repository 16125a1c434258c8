"""Boots hosts: one launcher for each, all at the same time, and the wait until they answer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from labtest.namespaces.errors import BootFailed
from labtest.namespaces.inside import host_argv
from labtest.namespaces.limits import JOURNAL_LINES_TOLD, LAUNCH_TIMEOUT_S, RUN_BYTES
from labtest.namespaces.readable import wait_readable
from labtest.namespaces.state import Folder, HostState, LabState, start_ticks
from labtest.namespaces.wiring import host_commands, plug_in

__all__ = ["launch_hosts", "wait_until_booted", "wait_until_reachable"]

_LAUNCHER = Path(__file__).with_name("launcher.py")
_POLL_S = 0.02
_CONNECT_TIMEOUT_S = 0.5
#: Of questions about a boot that has failed already.
_ASK_TIMEOUT_S = 5.0
_SSH_PORT = 22
_SSHD_UNIT = "ssh.service"
#: How often hosts that do not answer are asked why.
_LOOK_EVERY_S = 1.0
_LINE_BYTES_MAX = 4096


class _Launcher:
    """The process that becomes a host."""

    def __init__(self, state: LabState, host: HostState, folder: Folder) -> None:
        self.host = host
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LAUNCHER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the maker's terminal is not meant for hosts
            cwd="/",
        )
        disk = folder.disk(host.name)
        plan = {
            "name": host.name,
            "cgroup": f"{state.cgroup}/{host.name}",
            "upper": str(disk / "upper"),
            "work": str(disk / "work"),
            "root": str(disk / "root"),
            "network": host_commands(state, host),
            "boot_id": str(uuid4()),
            "run_bytes": str(RUN_BYTES),
            "temporary_bytes": str(state.temporary_bytes),
            "shared_memory_bytes": str(state.shared_memory_bytes),
        }
        os.makedirs(plan["cgroup"], exist_ok=True)
        self.say(json.dumps(plan))

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            os.write(self.process.stdin.fileno(), f"{line}\n".encode())
        except BrokenPipeError:
            pass  # what it says, or does not say, is told by hear()

    def hear(self, expected: str) -> str:
        """The rest of a line that begins with ``expected``; raises :class:`BootFailed` with anything else that it says."""
        assert self.process.stdout is not None
        descriptor, deadline, heard = self.process.stdout.fileno(), time.monotonic() + LAUNCH_TIMEOUT_S, b""
        while not heard.endswith(b"\n") and len(heard) < _LINE_BYTES_MAX:
            is_ready = wait_readable(descriptor, deadline - time.monotonic())
            part = os.read(descriptor, _LINE_BYTES_MAX) if is_ready else b""
            if not part:
                heard = heard or f"not {expected!r} after {LAUNCH_TIMEOUT_S:.0f} s".encode()
                break
            heard += part
        line = heard.decode(errors="replace").strip()
        if line.startswith(expected):
            return line.removeprefix(expected).strip()
        raise BootFailed(self.host.name, f"the host could not be launched: {line.removeprefix('failed: ')}")

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def launch_hosts(folder: Folder, state: LabState, hosts: Sequence[HostState]) -> None:
    """Starts their systemds and notes them in ``state``, which the caller writes down. Raises :class:`BootFailed`."""
    launchers: list[_Launcher] = []
    try:
        launchers.extend(_Launcher(state, host, folder) for host in hosts)
        for each in launchers:
            each.hear("unshared")
        plug_in(folder.switch, [(each.host, each.process.pid) for each in launchers])
        for each in launchers:
            each.say("go")
        for each in launchers:
            each.host.pid = int(each.hear("booted"))
            each.host.pid_started = start_ticks(each.host.pid)
    finally:
        for each in launchers:
            each.end()


def wait_until_reachable(hosts: Sequence[HostState], deadline: float) -> None:
    """Until the sshd of each answers. ``deadline`` is one of ``time.monotonic()``. Raises :class:`BootFailed`."""
    waiting, look_at = list(hosts), time.monotonic() + _LOOK_EVERY_S
    while waiting := [host for host in waiting if not _answers(host.address)]:
        is_late = time.monotonic() > deadline
        for host in waiting if is_late or time.monotonic() > look_at else ():
            _raise_if_failed(host, is_late=is_late)
            look_at = time.monotonic() + _LOOK_EVERY_S
        time.sleep(_POLL_S)


def _raise_if_failed(host: HostState, *, is_late: bool) -> None:
    """Tells why a host does not answer, if that is known."""
    if not host.is_up():
        raise BootFailed(host.name, "its systemd has ended")
    failed = _failed_names(host)
    if _SSHD_UNIT in failed:
        raise BootFailed(host.name, f"its sshd did not start{_failed_units(host)}")
    if is_late:
        raise BootFailed(host.name, f"no answer from its sshd in time; {_unfinished(host)}{_journal(host)}")


def wait_until_booted(hosts: Sequence[HostState], deadline: float) -> None:
    """Until nothing is left to start on each. Raises :class:`BootFailed` when a unit has failed, naming it with its last words."""
    waits = [(host, _process(host, "systemctl", "is-system-running", "--wait")) for host in hosts]
    try:
        for host, process in waits:
            try:
                answer = (
                    process.communicate(timeout=max(0.1, deadline - time.monotonic()))[0].decode().strip()
                )
            except subprocess.TimeoutExpired:
                raise BootFailed(
                    host.name, f"not booted in time; {_unfinished(host)}{_journal(host)}"
                ) from None
            if answer != "running":
                raise BootFailed(host.name, f"its systemd is {answer or 'gone'}{_failed_units(host)}")
    finally:
        for _, process in waits:
            _end(process)


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, _SSH_PORT), _CONNECT_TIMEOUT_S) as connection:
            return connection.recv(_LINE_BYTES_MAX).startswith(b"SSH-")
    except OSError:
        return False


def _process(host: HostState, *argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        host_argv(host.pid, argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _ask(host: HostState, *argv: str) -> str:
    if not host.is_up():
        return ""
    process = _process(host, *argv)
    try:
        return process.communicate(timeout=_ASK_TIMEOUT_S)[0].decode(errors="replace").strip()
    except subprocess.TimeoutExpired:
        return ""
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _journal(host: HostState, *more: str) -> str:
    lines = _ask(
        host,
        "journalctl",
        "--no-pager",
        "--boot",
        "--output=short-monotonic",
        f"--lines={JOURNAL_LINES_TOLD}",
        *more,
    )
    return f"; its journal ends with:\n{lines}" if lines else ""


def _unfinished(host: HostState) -> str:
    jobs = [
        line.split()[1]
        for line in _ask(host, "systemctl", "list-jobs", "--no-legend", "--plain").splitlines()
    ]
    failed = _failed_names(host)
    parts = [f"still to do: {', '.join(jobs)}"] if jobs else []
    parts += [f"failed: {', '.join(failed)}"] if failed else []
    return "; ".join(parts) or "no unit is waiting and none has failed"


def _failed_names(host: HostState) -> list[str]:
    listed = _ask(host, "systemctl", "list-units", "--state=failed", "--no-legend", "--plain")
    return [line.split()[0] for line in listed.splitlines() if line.strip()]


def _failed_units(host: HostState) -> str:
    names = _failed_names(host)
    return f"; failed: {', '.join(names)}{_journal(host, *(f'--unit={name}' for name in names))}"
