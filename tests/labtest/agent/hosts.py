"""Hosts that tests of agents and links use: an sshd of their own, with keys and a configuration of their own."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Sshd", "ends", "key", "sshd"]

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
_START_TIMEOUT_S = 10.0


def key(path: Path) -> Path:
    """Makes a pair of keys."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def _held_port() -> socket.socket:
    """A port that nobody else has while sshd is down, neither a server nor a connection by chance: those get theirs from 32768 on
    (ip_local_port_range). What is bound and does not listen refuses, and leaves sshd the port (SO_REUSEADDR).
    """
    while True:
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", random.randrange(15_000, 32_000)))
            return holder
        except OSError:
            holder.close()


def public(path: Path) -> str:
    """The public half of a key, type and key."""
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


class Sshd:
    """An sshd on a free port of 127.0.0.1, in a folder of its own; :meth:`start` and :meth:`stop` as often as one likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o755)
        self.host_key = key(folder / "host_key")
        self.user_key = key(folder / "user_key")
        self.known_hosts = folder / "known_hosts"
        holder = _held_port()
        weakref.finalize(self, holder.close)
        self.port = holder.getsockname()[1]
        self.authorized = folder / "authorized_keys"
        self.authorized.write_text(f"{public(self.user_key)}\n")
        self.trust(self.host_key)
        self.ssh_config = folder / "ssh_config"
        self.configure_client()
        self._process: subprocess.Popen[bytes] | None = None

    def trust(self, host_key: Path) -> None:
        """Makes ``host_key`` the one that the client knows."""
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public(host_key)}\n")

    def configure_client(self, *, user: str = "root", identity: Path | None = None, more: str = "") -> None:
        """Writes the client's configuration: host ``target`` is this sshd."""
        self.ssh_config.write_text(
            f"Host target\n HostName 127.0.0.1\n Port {self.port}\n User {user}\n IdentityFile {identity or self.user_key}\n"
            f" IdentitiesOnly yes\n IdentityAgent none\n UserKnownHostsFile {self.known_hosts}\n GlobalKnownHostsFile /dev/null\n{more}"
        )

    def start(self, *options: str) -> None:
        """Starts it and waits until it listens. ``options`` are lines of sshd_config."""
        Path("/run/sshd").mkdir(exist_ok=True)
        config = self.folder / "sshd_config"
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.host_key}",
            "PidFile none",
            f"AuthorizedKeysFile {self.authorized}",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "StrictModes no",
            "PermitRootLogin yes",
            "MaxStartups 100:30:200",
            *options,
        ]
        config.write_text("\n".join(lines) + "\n")
        assert SSHD is not None
        self._process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", config], stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, "sshd did not start"
                assert time.monotonic() < deadline, "sshd does not listen"
                time.sleep(0.01)

    def stop(self) -> None:
        """Ends it with all its sessions, as a power cut would."""
        if self._process is None:
            return
        for process_id in self.process_ids():
            try:
                os.kill(process_id, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._process.wait()
        self._process = None

    def process_ids(self) -> list[int]:
        """sshd, and its sessions; not what those have started."""
        assert self._process is not None
        found, look_at = [], [self._process.pid]
        while look_at:
            process_id = look_at.pop()
            found.append(process_id)
            look_at += [child for child in children(process_id) if name(child) == "sshd"]
        return found


def name(process_id: int) -> str:
    """A process's name; empty if it has ended."""
    try:
        return Path(f"/proc/{process_id}/comm").read_text().strip()
    except OSError:
        return ""


def children(process_id: int) -> list[int]:
    """Processes that a process has started, from whichever thread."""
    try:
        threads = list(Path(f"/proc/{process_id}/task").iterdir())
        return [int(word) for thread in threads for word in (thread / "children").read_text().split()]
    except OSError:
        return []


def ends(process_id: int, timeout_s: float = 10.0) -> bool:
    """Whether a process ends in time; a zombie has ended."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            status = Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if status == "Z":
            return True
        time.sleep(0.01)
    return False


@contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """A running one, ended at the end."""
    server = Sshd(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
