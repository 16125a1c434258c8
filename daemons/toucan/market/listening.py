"""A unix socket to listen on, of a process that may have been killed before."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from toucan.errors import CannotListen, InvalidSettings

__all__ = ["unix_listener"]


@contextlib.contextmanager
def unix_listener(path: Path) -> Iterator[socket.socket]:
    """A bound socket that only this user can open; what a killed process has left at the path is removed."""
    _remove_left_over(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        old_mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(old_mask)
        own = path.stat().st_ino
    except OSError as error:
        listener.close()
        raise CannotListen(
            f"cannot listen on {path}: {error.strerror or error}; choose another path"
        ) from error
    try:
        yield listener
    finally:
        listener.close()
        with contextlib.suppress(OSError):
            if path.stat().st_ino == own:
                path.unlink()


def _remove_left_over(path: Path) -> None:
    try:
        is_socket = stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return
    if not is_socket:
        raise InvalidSettings(f"{path} exists and is no socket; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor:
        try:
            visitor.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise CannotListen(f"another process answers on {path} already: stop it, or choose another path")
