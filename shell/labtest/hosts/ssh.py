"""Hosts over the system's ``ssh``: one process for each host, which is the agent's connection and the master of all other sessions.

The operator's own ssh is used, so what works at a prompt works here: ``ssh_config``, ``ProxyJump``, agents, hardware keys, certificates,
``known_hosts``. It never asks: it has no terminal, no askpass program, and ``BatchMode``. The master is the agent's own session rather than a
process beside it: it ends with this process, even one that is killed, since the pipe to it ends then; and it is one key exchange instead of two.
A master whose agent is lost while sessions of people may run through it is left to itself until ssh gives the host up too: a cut of six seconds
costs an agent, and no debugger.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import DEVNULL

import msgspec
import trio

from labtest.agent.client import AgentClient
from labtest.agent.connection import Ended, connection
from labtest.agent.limits import CLOSE_TIMEOUT_S
from labtest.agent.payload import AgentOptions, Payload, shell_script
from labtest.core.environment import HostSpec
from labtest.errors import HostKeyUnknown, LabError
from labtest.hosts.limits import (
    CONNECT_TIMEOUT_S,
    FINGERPRINT_TIMEOUT_S,
    SERVER_ALIVE_COUNT,
    SERVER_ALIVE_S,
    SOCKET_PATH_BYTES_MAX,
)
from labtest.hosts.ssh_words import explain_end, host_key_in, unknown_key

__all__ = ["Ssh", "SshSettings", "ssh_run_folder"]

_FOLDER_PREFIX = "labtest-ssh-"
_LOCK_NAME = "lock"
#: A control socket's name within the folder: of the host, and of how many have been there before.
_DIGEST_LENGTH = 12
_SOCKET_NAME_LENGTH = _DIGEST_LENGTH + len("-123456")


class SshSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How ssh is called."""

    #: ``ssh -F``; empty: the operator's own and the system's.
    config_file: str = ""
    connect_timeout_s: float = CONNECT_TIMEOUT_S


@contextmanager
def ssh_run_folder() -> Iterator[Path]:
    """A folder for the masters' sockets that only this user can enter, for as long as this process wants it.

    Those that killed processes have left are removed. It is ``$XDG_RUNTIME_DIR`` where there is one, and short: a socket's path must be.
    """
    base = _base_folder()
    _remove_stale(base)
    folder, lock = _make_folder(base)
    try:
        yield folder
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _make_folder(base: Path) -> tuple[Path, int]:
    """A folder, and its lock, held."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=base))
        lock = os.open(folder / _LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / _LOCK_NAME).exists():
            return folder, lock
        os.close(lock)  # another process took it for one that was left, in the instant before it was locked


def _base_folder() -> Path:
    wanted = Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp")  # noqa: S108 - a folder of our own is made in it
    length = len(os.fsencode(wanted)) + len(f"/{_FOLDER_PREFIX}12345678/") + _SOCKET_NAME_LENGTH
    return wanted if wanted.is_dir() and length <= SOCKET_PATH_BYTES_MAX else Path("/tmp")  # noqa: S108 - the same


def _remove_stale(base: Path) -> None:
    """A folder whose lock nobody holds is nobody's. One without a lock is being made."""
    for folder in base.glob(f"{_FOLDER_PREFIX}*"):
        try:
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)


class Ssh:
    """ssh to hosts, with its masters' sockets in ``folder`` (:func:`ssh_run_folder`)."""

    def __init__(self, folder: Path, settings: SshSettings | None = None) -> None:
        self.folder = folder
        self.settings = settings or SshSettings()
        self._connections: dict[str, int] = {}
        self._shared: set[str] = set()
        self._left: list[trio.Process] = []

    async def aclose(self) -> None:
        """Ends the masters that were left for the sessions of people."""
        for process in self._left:
            if process.returncode is None:
                process.terminate()
                with trio.move_on_after(CLOSE_TIMEOUT_S):
                    await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()

    def argv(self, host: HostSpec, command: Sequence[str] = (), *, tty: bool = False) -> list[str]:
        """A command line for a person's session, or for a command: through the host's master while that is up, else by a connection of its own.

        ``command`` is words, quoted here for the remote shell; empty: a login shell. With ``tty`` the session has a terminal, and ssh may
        ask questions where there is no master.
        """
        self._shared.add(host.name)
        argv = [
            *self._ssh(),
            *self._socket_option(host),
            "-o",
            "ControlMaster=no",
            *_options(LogLevel="ERROR"),
        ]
        argv += ["-tt"] if tty else ["-T", "-n", *_options(BatchMode="yes")]
        argv += ["--", _destination(host)]
        return [*argv, shlex.join(command)] if command else argv

    @asynccontextmanager
    async def connect(
        self, host: HostSpec, options: AgentOptions | None = None, *, payload: Payload | None = None
    ) -> AsyncIterator[AgentClient]:
        """A live agent on a host. Raises :class:`LabError`: :class:`HostUnreachable` and its kinds, or :class:`AgentFailed`."""
        self._socket(host).unlink(missing_ok=True)  # a master that was killed has left it
        # Another name each time: a master that is left to itself takes its socket away when it ends.
        self._connections[host.name] = self._connections.get(host.name, 0) + 1
        self._shared.discard(host.name)
        self._left = [process for process in self._left if process.returncode is None]

        def keep(process: trio.Process) -> bool:
            if host.name in self._shared:
                self._left.append(process)
            return host.name in self._shared

        async def explain(ended: Ended) -> LabError:
            error = explain_end(host.name, ended, sudo=host.sudo)
            if isinstance(error, HostKeyUnknown):
                return unknown_key(host.name, self._by_hand(host), await self._offered_key(host))
            return error

        async with connection(
            host.name,
            self.agent_argv(host),
            explain=explain,
            options=options,
            env=_quiet_environment(),
            connect_timeout_s=self.settings.connect_timeout_s,
            keep=keep,
            payload=payload,
        ) as made:
            yield AgentClient(made)

    def agent_argv(self, host: HostSpec) -> list[str]:
        """The command line whose standard input and output are a host's agent."""
        command = f"exec sh -c {shlex.quote(shell_script(sudo=host.sudo))}"
        mastering = _options(ControlMaster="yes", ControlPersist="no")
        return [
            *self._ssh(),
            *self._socket_option(host),
            *mastering,
            *self._unattended(),
            "--",
            _destination(host),
            command,
        ]

    def _ssh(self) -> list[str]:
        return ["ssh", *(["-F", self.settings.config_file] if self.settings.config_file else [])]

    def _unattended(self) -> list[str]:
        """What goes before the operator's configuration, and no more: what would ask, print, or take the session for something else."""
        return [
            "-T",
            *_options(
                BatchMode="yes",
                ConnectTimeout=str(max(1, round(self.settings.connect_timeout_s))),
                ServerAliveInterval=str(SERVER_ALIVE_S),
                ServerAliveCountMax=str(SERVER_ALIVE_COUNT),
                LogLevel="INFO",
                RemoteCommand="none",
                PermitLocalCommand="no",
                ClearAllForwardings="yes",
                EscapeChar="none",
            ),
        ]

    def _socket(self, host: HostSpec) -> Path:
        """By the spec's name and not by ssh's ``%C``: two names may lead to one machine, and each has an agent of its own."""
        digest = hashlib.sha256(host.name.encode()).hexdigest()[:_DIGEST_LENGTH]
        return self.folder / f"{digest}-{self._connections.get(host.name, 0)}"

    def _socket_option(self, host: HostSpec) -> list[str]:
        return _options(ControlPath=str(self._socket(host)))

    def _by_hand(self, host: HostSpec) -> str:
        return shlex.join([*self._ssh(), _destination(host)])

    async def _offered_key(self, host: HostSpec) -> tuple[str, str] | None:
        """Asks once more, for the key's fingerprint: ssh-keyscan knows neither the configuration nor jumps."""
        argv = [*self._ssh(), "-v", *_options(ControlMaster="no", ControlPath="none"), *self._unattended()]
        argv[argv.index("LogLevel=INFO")] = "LogLevel=DEBUG1"
        with trio.move_on_after(FINGERPRINT_TIMEOUT_S):
            ran = await trio.run_process(
                [*argv, "--", _destination(host), "exit"],
                stdin=DEVNULL,
                stdout=DEVNULL,
                capture_stderr=True,
                check=False,
                env=_quiet_environment(),
                start_new_session=True,
            )
            return host_key_in(ran.stderr.decode("utf-8", "replace"))
        return None


def _destination(host: HostSpec) -> str:
    return host.ssh or host.name


def _options(**settings: str) -> list[str]:
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _quiet_environment() -> dict[str, str]:
    """No program that could ask for a password."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("SSH_ASKPASS", "DISPLAY", "WAYLAND_DISPLAY")
    }
    return {**kept, "SSH_ASKPASS_REQUIRE": "never"}
