"""Keys of a lab: one for each host, one to log in with, and the ssh configuration that knows all of them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from labtest.namespaces.errors import LabsNotPossible
from labtest.namespaces.limits import COMMAND_TIMEOUT_S
from labtest.namespaces.state import Folder, LabState

__all__ = ["known_hosts_text", "make_keys", "public_part", "ssh_config_text"]


def make_keys(folder: Folder, hosts: Sequence[str]) -> None:
    """Makes all of them at the same time."""
    (folder.path / "keys").mkdir(mode=0o700)
    paths = {folder.key: "aviary-lab"} | {folder.host_key(host): host for host in hosts}
    makers = [
        subprocess.Popen(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for path, comment in paths.items()
    ]
    statuses = [each.wait(COMMAND_TIMEOUT_S) for each in makers]
    if any(statuses):
        raise LabsNotPossible(
            f"ssh-keygen in {folder.path} ended with {max(statuses, key=abs)}: is /run full?"
        )


def public_part(key: Path) -> str:
    """Algorithm and key, without the comment."""
    return " ".join(key.with_name(f"{key.name}.pub").read_text().split()[:2])


def known_hosts_text(folder: Folder, state: LabState) -> str:
    """sshd(8), SSH_KNOWN_HOSTS FILE FORMAT: names and addresses of hosts, and their keys."""
    return "".join(
        f"{host.name},{host.address} {public_part(folder.host_key(host.name))}\n" for host in state.hosts
    )


def ssh_config_text(folder: Folder, state: LabState) -> str:
    """ssh_config(5) in which each host is known by its name."""
    common = f"""\
    User root
    IdentityFile {folder.key}
    IdentitiesOnly yes
    UserKnownHostsFile {folder.known_hosts}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    CheckHostIP no
    BatchMode yes
    ConnectTimeout 10
    LogLevel ERROR
"""
    return "".join(f"Host {host.name}\n    HostName {host.address}\n{common}" for host in state.hosts)
