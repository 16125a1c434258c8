"""Command lines for what has the whole terminal: a shell on a host, a debugger, a tool."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from labtest.core.environment import HostKind, HostSpec
from labtest.hosts.link import Links

__all__ = ["as_user", "on_host"]


def on_host(
    links: Links, host: HostSpec, argv: Sequence[str], *, env: Mapping[str, str] | None = None
) -> list[str]:
    """Runs ``argv`` as root on a host, with a terminal, over the connection that is there already."""
    command = [*_environment(env), *argv]
    if host.kind is HostKind.LOCAL:
        return command if os.geteuid() == 0 else ["sudo", "--", *command]
    if host.sudo:
        command = ["sudo", "-n", "--", *command]
    return _ssh(links, host, command)


def as_user(links: Links, host: HostSpec, argv: Sequence[str]) -> list[str]:
    """An ssh session as whoever ssh logs in as; a login shell without ``argv``."""
    return _ssh(links, host, argv)


def _ssh(links: Links, host: HostSpec, argv: Sequence[str]) -> list[str]:
    ssh = links.ssh(host.name)
    assert ssh is not None, "this machine is not reached by ssh"
    return ssh.argv(host, argv, tty=True)


def _environment(env: Mapping[str, str] | None) -> list[str]:
    return ["env", *(f"{name}={value}" for name, value in env.items())] if env else []
