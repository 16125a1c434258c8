"""Programs of this machine that labs are made with (ip, mount, ssh-keygen), and the check that they, and the rights, are there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from labtest.namespaces.errors import LabsNotPossible
from labtest.namespaces.limits import COMMAND_TIMEOUT_S

__all__ = ["cgroup_root", "check_machine", "python_for_hosts", "run_program"]

#: Program to the Debian package that has it.
_PROGRAMS = {
    "/usr/lib/systemd/systemd": "systemd",
    "/usr/sbin/sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
}

#: Where Python is looked for when the one that runs this is not on the root file system, which is all that hosts see.
_OTHER_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")


def run_program(*argv: str, stdin: str = "") -> str:
    """Runs one, and returns what it says. Raises :class:`LabsNotPossible` with its own words when it fails."""
    done = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S
    )
    if done.returncode:
        words = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise LabsNotPossible(f"{' '.join(argv)}: {words}")
    return done.stdout


def cgroup_root() -> Path:
    """The cgroup2 hierarchy: the only one, or that beside those of version 1 (hybrid, systemd.io/CGROUP_DELEGATION)."""
    for path in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (path / "cgroup.controllers").exists():
            return path
    raise LabsNotPossible("no cgroup2 hierarchy at /sys/fs/cgroup or /sys/fs/cgroup/unified: mount one there")


def check_machine() -> None:
    """Raises :class:`LabsNotPossible` that names everything that is missing, and the cure of each."""
    if os.geteuid():
        raise LabsNotPossible(
            "booting hosts needs root (namespaces, mounts, network devices): run this as root"
        )
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [program for program in _PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        packages = " ".join(sorted({_PROGRAMS[program] for program in missing}))
        raise LabsNotPossible(f"missing: {', '.join(missing)}; please run  apt-get install {packages}")
    if "overlay" not in Path("/proc/filesystems").read_text():
        # It may be a module that is loaded at its first mount; only the mount can tell, and it names it.
        subprocess.run(["modprobe", "overlay"], capture_output=True, check=False)
    cgroup_root()


def python_for_hosts(candidates: Sequence[str]) -> str:
    """A Python that hosts see: they have the machine's root file system, and none that is mounted on it."""
    for candidate in (*candidates, *_OTHER_PYTHONS):
        path = os.path.realpath(candidate)
        if os.path.exists(path) and os.stat(path).st_dev == os.stat("/").st_dev:
            return path
    raise LabsNotPossible(
        "no Python on the root file system, which is what hosts see; please run  apt-get install python3"
    )
