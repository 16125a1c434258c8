"""One host of a lab: who it is, and commands in it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from labtest.errors import ActionFailed
from labtest.namespaces.inside import run_inside
from labtest.namespaces.limits import COMMAND_TIMEOUT_S
from labtest.namespaces.state import Folder, HostState

__all__ = ["NamespaceHost"]


class NamespaceHost:
    """One host of a lab that is up."""

    def __init__(self, folder: Folder, state: HostState) -> None:
        self._folder = folder
        self.name = state.name
        #: Where other hosts, and this machine, reach it: IPv4.
        self.address = state.address

    @property
    def pid(self) -> int:
        """Of its systemd, as this machine sees it; 0 if it has no power."""
        state = self._folder.read().host(self.name)
        return state.pid if state.is_up() else 0

    @property
    def disk(self) -> Path:
        """What the host has written, seen from this machine (the upper layer of its overlayfs)."""
        return self._folder.disk(self.name) / "upper"

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | str = b"",
        timeout_s: float = COMMAND_TIMEOUT_S,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command as root in the host's namespaces, past its network and its sshd.

        Raises :class:`~labtest.errors.ActionFailed` with code ``timeout``; with ``check`` also with ``command-failed``.
        """
        pid = self.pid
        if not pid:
            raise ActionFailed(self.name, "command-failed", f"has no power: boot it before {' '.join(argv)}")
        return run_inside(self.name, pid, argv, stdin=stdin, timeout_s=timeout_s, check=check)

    def ssh_argv(self, *options: str) -> list[str]:
        """Arguments that log in to it; ``options`` go before its name, a command may be added."""
        return ["ssh", "-F", str(self._folder.ssh_config), *options, self.name]

    def journal(self, *units: str, lines: int = 200) -> str:
        """The last lines of its journal, of all units or of some."""
        chosen = [f"--unit={unit}" for unit in units]
        return self.run(["journalctl", "--no-pager", f"--lines={lines}", *chosen], check=True).stdout
