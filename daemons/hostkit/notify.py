"""The readiness protocol of systemd: a daemon says that it serves, its supervisor hears it.

Law: a notification is a datagram of ``NAME=value`` lines to the socket in ``$NOTIFY_SOCKET``
(sd_notify(3)), and means nothing to the work: without a supervisor :func:`notify` does nothing, and a full
or vanished socket never fails a daemon. The same protocol is spoken under systemd and under ``cashy dev``,
so there is one way of being ready. Names beginning with ``X_CASHY_`` are ours: ``X_CASHY_S3`` is the
address an S3 worker listens on. The receiver believes the kernel, not the message, about who sent it
(SCM_CREDENTIALS).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "LISTEN_DESCRIPTORS_START",
    "Notification",
    "NotifyReceiver",
    "listen_sockets",
    "notify",
    "notify_reloaded",
    "notify_reloading",
    "watchdog_s",
]

#: A notification of ours has a few short lines; systemd itself reads no more than this.
NOTIFICATION_BYTES_MAX = 4096

#: The first descriptor that a supervisor passes (sd_listen_fds(3)).
LISTEN_DESCRIPTORS_START = 3

_DATAGRAM = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


def notify(**fields: str) -> bool:
    """Sends e.g. ``notify(READY="1", STATUS="serving")`` to the supervisor; False if there is none that hears.

    Values must not contain newlines. Never raises OSError and never blocks.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or address[0] not in "/@":
        return False
    if address[0] == "@":  # the abstract name space
        address = "\0" + address[1:]
    message = "\n".join(f"{name}={value}" for name, value in fields.items()).encode()
    with socket.socket(socket.AF_UNIX, _DATAGRAM) as sender:
        try:
            sender.sendto(message, address)
        except OSError:
            return False
    return True


def notify_reloading() -> bool:
    """Says that settings are being read again; READY=1 says that it is over (sd_notify(3)).

    The time tells a supervisor (systemd 253 and newer) that this is the answer to its signal and not to an earlier one.
    """
    return notify(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))


def notify_reloaded(*, is_refused: bool = False) -> bool:
    """Says that settings were read again; ``is_refused``: they are wrong, and those before stay in force (sd_notify(3), ERRNO).

    ``systemctl reload`` itself ends well either way: systemd 252 has no other word for it, so who asked looks at ``StatusErrno``.
    """
    return notify(READY="1", ERRNO=str(errno.EINVAL if is_refused else 0))


def watchdog_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """Within which time, in seconds, the supervisor wants to hear WATCHDOG=1 each time (sd_watchdog_enabled(3)); None: it does not."""
    wanted = environ.get("WATCHDOG_USEC", "")
    meant = environ.get("WATCHDOG_PID", str(os.getpid()))
    if not wanted.isdigit() or int(wanted) == 0 or meant != str(os.getpid()):
        return None
    return int(wanted) / 1e6


def listen_sockets(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Takes over the listening sockets that a supervisor passed (socket activation, sd_listen_fds(3)).

    Empty when none were passed to this process. The variables are removed, so that children do not believe
    themselves meant.
    """
    pid = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "0")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    sockets = []
    for descriptor in range(LISTEN_DESCRIPTORS_START, LISTEN_DESCRIPTORS_START + int(count)):
        os.set_inheritable(descriptor, False)
        sockets.append(socket.socket(fileno=descriptor))
    return sockets


@dataclass(frozen=True, slots=True)
class Notification:
    """What one process said; ``pid`` is vouched for by the kernel."""

    pid: int
    fields: dict[str, str]


class NotifyReceiver:
    """The supervisor's end: a datagram socket in a folder that only this user can enter.

    Give :attr:`path` to children as ``$NOTIFY_SOCKET``; select on :meth:`fileno`, then call :meth:`receive`.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, _DATAGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(self.path))
        self.path.chmod(0o600)

    def fileno(self) -> int:
        """The descriptor, for selectors."""
        return self._socket.fileno()

    def receive(self) -> list[Notification]:
        """Gives all notifications that have arrived; does not wait. Garbage lines are left out."""
        arrived: list[Notification] = []
        while True:
            try:
                message, ancillary, _, _ = self._socket.recvmsg(
                    NOTIFICATION_BYTES_MAX, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except BlockingIOError:
                return arrived
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    arrived.append(Notification(_CREDENTIALS.unpack(data)[0], _parse(message)))

    def close(self) -> None:
        """Closes and removes the socket."""
        self._socket.close()
        self.path.unlink(missing_ok=True)


def _parse(message: bytes) -> dict[str, str]:
    lines = message.decode("utf-8", "replace").split("\n")
    return {name: value for name, separator, value in (line.partition("=") for line in lines) if separator}
