"""Running commands in a host, by entering its namespaces: that needs no sshd, no network, and no running systemd."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence

from labtest.errors import ActionFailed
from labtest.namespaces.limits import COMMAND_TIMEOUT_S

__all__ = ["HOST_ENVIRONMENT", "host_argv", "run_inside"]

#: What a login of root would have, and nothing of the maker's.
HOST_ENVIRONMENT = {
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}


def host_argv(pid: int, argv: Sequence[str]) -> list[str]:
    """Arguments that run a command in the namespaces of a host's systemd (nsenter(1)), with :data:`HOST_ENVIRONMENT`."""
    clock = ["--time"] if os.path.exists(f"/proc/{pid}/ns/time") else []
    enter = [
        "nsenter",
        *clock,
        f"--target={pid}",
        "--mount",
        "--uts",
        "--ipc",
        "--net",
        "--pid",
        "--cgroup",
        "--root",
        "--wd",
    ]
    return [
        *enter,
        "--",
        "env",
        "-i",
        *(f"{name}={value}" for name, value in HOST_ENVIRONMENT.items()),
        *argv,
    ]


def run_inside(
    host: str,
    pid: int,
    argv: Sequence[str],
    *,
    stdin: bytes | str = b"",
    timeout_s: float = COMMAND_TIMEOUT_S,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Runs a command as root and returns its exit status and output (UTF-8; what is not is replaced).

    Raises :class:`ActionFailed` with code ``timeout`` after ending it with all that it started, or, with ``check``, ``command-failed`` when it fails.
    """
    process = subprocess.Popen(
        host_argv(pid, argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    text = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        outputs = process.communicate(text, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise ActionFailed(host, "timeout", f"{' '.join(argv)} took longer than {timeout_s:g} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # nsenter waits for the command, and would leave it alone
            process.communicate()
    stdout, stderr = (output.decode(errors="replace") for output in outputs)
    if check and process.returncode:
        problem = f"{' '.join(argv)} ended with {process.returncode}: {stderr.strip() or stdout.strip()}"
        raise ActionFailed(host, "command-failed", problem)
    return subprocess.CompletedProcess(list(argv), process.returncode, stdout, stderr)
