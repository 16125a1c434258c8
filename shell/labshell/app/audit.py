"""Who gave which command, when, from where, and how it ended: JSON lines that are only ever appended to.

Of a command that changes something a record "began" is on the disk before it begins, and one that cannot be recorded is not begun; so what a
killed shell had under way can be seen: it has no "ended". Of others only the end is recorded.
"""

from __future__ import annotations

import getpass
import os
import socket
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import trio

from hostkit.log import REDACTED, is_secret_name, redact
from labshell.app.limits import AUDIT_ARGUMENT_CHARACTERS_MAX, AUDIT_WRITE_S
from labtest.errors import LabError

__all__ = ["Audit", "AuditFailed", "AuditFile", "Who", "who_is_here"]


class AuditFailed(LabError):
    """A change could not be recorded, so it was not begun."""


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """Who sits here. ``sudo_user`` is who became ``user`` by sudo; ``client`` is from where (ssh); each empty if there is none."""

    user: str
    sudo_user: str
    host: str
    tty: str
    client: str
    pid: int


def who_is_here() -> Who:
    """From this process and its environment."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    try:
        tty = os.ttyname(0)
    except OSError:
        tty = ""
    client = (os.environ.get("SSH_CONNECTION") or " ").split(" ")[0]
    sudo_user = os.environ.get("SUDO_USER", "")
    return Who(
        user=user, sudo_user=sudo_user, host=socket.gethostname(), tty=tty, client=client, pid=os.getpid()
    )


class Audit:
    """Where records go; this one keeps none."""

    async def write(self, record: Mapping[str, Any], *, durable: bool) -> None:
        """Takes one record; ``durable``: it is on the disk when this returns. Raises :class:`AuditFailed`."""


class AuditFile(Audit):
    """Appends to a file that only its owner can read. Several shells may write to the same."""

    def __init__(self, path: Path, *, environment: str = "", who: Who | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._constant = {"environment": environment, **msgspec.to_builtins(who or who_is_here())}

    async def write(self, record: Mapping[str, Any], *, durable: bool) -> None:
        """Writes in a thread, since a disk may take its time; cancelling does not leave half of it."""
        line = self._line(record)
        try:
            with trio.fail_after(AUDIT_WRITE_S):
                await trio.to_thread.run_sync(self._append, line, durable, abandon_on_cancel=True)
        except trio.TooSlowError:
            raise AuditFailed(
                f"{self._path}: not written within {AUDIT_WRITE_S:g} s; is its disk all right?"
            ) from None
        except OSError as error:
            raise AuditFailed(
                f"{self._path}: {error.strerror or error}; nothing is changed that is not recorded"
            ) from None

    def _line(self, record: Mapping[str, Any]) -> bytes:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        whole = {"at": now, "boot_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME), **self._constant, **record}
        return msgspec.json.encode(_short(redact(None, "", _without_value(whole))), enc_hook=str) + b"\n"

    def _append(self, line: bytes, durable: bool) -> None:
        with self._lock:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                # One write: what another shell appends at the same time comes before or after it.
                if os.write(descriptor, line) != len(line):
                    os.write(descriptor, b"\n")
                    raise OSError("written only in part; the disk may be full")
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _without_value(record: dict[str, Any]) -> dict[str, Any]:
    """Without what a variable is set to, in its argument and in the line that was typed, if the variable's name says that it is secret."""
    arguments = record.get("arguments")
    if not isinstance(arguments, Mapping) or not is_secret_name(str(arguments.get("variable", ""))):
        return record
    line = f"{record.get('command')} {arguments['variable']} {REDACTED}"
    return {**record, "line": line, "arguments": {**arguments, "value": REDACTED}}


def _short(value: Any) -> Any:
    if isinstance(value, str):
        text = value.encode("utf-8", "replace").decode()
        over = len(text) - AUDIT_ARGUMENT_CHARACTERS_MAX
        return f"{text[:AUDIT_ARGUMENT_CHARACTERS_MAX]}… ({over} more)" if over > 0 else text
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    return [_short(inner) for inner in value] if isinstance(value, (list, tuple)) else value
