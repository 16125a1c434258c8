"""One host, in a test's hands: commands, files, its journal, and, where labtest booted it, its faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from labtest.core.environment import HostKind, HostSpec
from labtest.hosts.interface import LogLine
from labtest.live.faults import HostFaults
from labtest.live.limits import (
    ASK_TIMEOUT_S,
    COMMAND_TIMEOUT_S,
    FILE_BYTES_MAX,
    JOURNAL_LINES_MAX,
    LOG_LINES_MAX,
)
from labtest.live.ran import Ran
from labtest.live.session import Session
from labtest.live.trio_thread import TrioThread
from labtest.namespaces import Lab

__all__ = ["LiveHost", "Opened"]


class Opened(Protocol):
    """What hosts and processes need of the environment that they are part of."""

    @property
    def session(self) -> Session:
        """Connections and plans, for calls in trio."""

    @property
    def thread(self) -> TrioThread[Session]:
        """Where trio runs."""

    @property
    def lab(self) -> Lab | None:
        """The namespace hosts, if there are any."""

    @property
    def began_ns(self) -> int:
        """When the present test began; ns since the epoch."""


class LiveHost(HostFaults):
    """One host. ``env.hosts["a"]``."""

    def __init__(self, opened: Callable[[], Opened], spec: HostSpec) -> None:
        self.name = spec.name
        self.kind = spec.kind
        self._spec = spec
        self._opened = opened
        self._offset_ns: int | None = None

    def __repr__(self) -> str:
        return f"<host {self.name} at {self.address}>"

    @property
    def address(self) -> str:
        """Where other hosts of the environment reach it, and, if it is on this machine, this machine too."""
        lab = self._opened().lab
        if self.kind is HostKind.NAMESPACE and lab is not None:
            return lab.hosts[self.name].address
        return self._spec.address or self.name

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | str = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float = COMMAND_TIMEOUT_S,
        check: bool = False,
    ) -> Ran:
        """Runs a command as root (where the spec gives no sudo: as the user of ssh).

        On a namespace host it needs neither network nor sshd of the host, so it works also while that is cut off. Raises
        :class:`~labtest.errors.ActionFailed` with ``check`` and a status that is not 0, CallLate or ActionFailed when late.
        """
        words = tuple(argv)
        given = stdin.encode() if isinstance(stdin, str) else stdin
        if self.kind is HostKind.NAMESPACE:
            ran = self._run_inside(words, given, dict(env or {}), timeout_s)
        else:
            opened = self._opened()
            answer = opened.thread.call(
                lambda: opened.session.run(self.name, words, given, dict(env or {})),
                timeout_s=timeout_s,
                what=f"{self.name}: {' '.join(words)}",
            )
            ran = Ran(
                answer.status, answer.stdout.decode(errors="replace"), answer.stderr.decode(errors="replace")
            )
        return ran.checked(self.name, words) if check else ran

    def read_file(self, path: str, *, size_max: int = FILE_BYTES_MAX) -> bytes:
        """The contents of a file, over the host's connection. Raises ActionFailed with ``not-found`` or ``too-large``."""
        opened = self._opened()

        async def read() -> bytes:
            return await (await opened.session.agent(self.name)).read_file(path, size_max=size_max)

        return opened.thread.call(read, timeout_s=COMMAND_TIMEOUT_S, what=f"{self.name}: reading {path}")

    def journal(
        self,
        *units: str,
        since_ns: int | None = None,
        lines: int = JOURNAL_LINES_MAX,
        timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> str:
        """The last lines of its journal, of all units or of some, with times; by default those since the present test began."""
        argv = self._journalctl(units, since_ns, lines, "short-iso-precise")
        return self.run(argv, timeout_s=timeout_s, check=True).stdout

    def logs(self, *units: str, since_ns: int | None = None, lines: int = LOG_LINES_MAX) -> list[LogLine]:
        """The same as values, oldest first."""
        argv = self._journalctl(units, since_ns, lines, "json")
        return [_log_line(text) for text in self.run(argv, check=True).stdout.splitlines()]

    def _journalctl(self, units: Sequence[str], since_ns: int | None, lines: int, form: str) -> list[str]:
        wanted = self._opened().began_ns if since_ns is None else since_ns
        # Rounded down: what was logged at that very moment belongs to it.
        since = max(0, wanted + self._clock_offset_ns()) // 1000
        chosen = [f"--unit={unit}" for unit in units]
        return [
            "journalctl",
            "--no-pager",
            "--quiet",
            f"--output={form}",
            f"--lines={lines}",
            f"--since=@{since // 1_000_000}.{since % 1_000_000:06}",
            *chosen,
        ]

    def _clock_offset_ns(self) -> int:
        """How far its clock is ahead of this machine's. Hosts on this machine have the same."""
        if self.kind is not HostKind.SSH:
            return 0
        if self._offset_ns is None:
            before = time.time_ns()
            there = int(self.run(["date", "+%s%N"], timeout_s=ASK_TIMEOUT_S, check=True).stdout)
            self._offset_ns = there - (before + time.time_ns()) // 2
        return self._offset_ns

    def _run_inside(self, argv: tuple[str, ...], stdin: bytes, env: dict[str, str], timeout_s: float) -> Ran:
        words = ["env", *(f"{name}={value}" for name, value in env.items()), *argv] if env else list(argv)
        done = self._lab("run a command").hosts[self.name].run(words, stdin=stdin, timeout_s=timeout_s)
        return Ran(done.returncode, done.stdout, done.stderr)


class _Entry(msgspec.Struct):
    """systemd.journal-fields(7). What is not text comes as a list of bytes."""

    at_us: str = msgspec.field(name="__REALTIME_TIMESTAMP")
    message: str | list[int] | None = msgspec.field(name="MESSAGE", default=None)
    priority: str = msgspec.field(name="PRIORITY", default="6")
    pid: str = msgspec.field(name="_PID", default="0")
    unit: str = msgspec.field(name="_SYSTEMD_UNIT", default="")
    about: str = msgspec.field(name="UNIT", default="")


_ENTRY = msgspec.json.Decoder(_Entry)


def _log_line(text: str) -> LogLine:
    entry = _ENTRY.decode(text)
    said = entry.message
    return LogLine(
        at_ns=int(entry.at_us) * 1000,
        unit=entry.about or entry.unit,
        pid=int(entry.pid),
        priority=int(entry.priority),
        text=bytes(said).decode(errors="replace") if isinstance(said, list) else said or "",
    )
