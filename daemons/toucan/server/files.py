"""Files that say whom to trust: read in one piece, bounded, and not if everyone on the host may open what should be private."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from toucan.errors import InvalidSettings

__all__ = ["read_trusted", "stamp"]


def read_trusted(path: Path, what: str, bytes_max: int, *, is_private: bool) -> bytes:
    """A file's content; ``what`` names it in errors. Raises :class:`~toucan.errors.InvalidSettings`."""
    try:
        # Not blocking: a pipe named by mistake must not hang the start.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InvalidSettings(f"{what} {path} is no regular file")
            if is_private and status.st_mode & stat.S_IRWXO:
                raise InvalidSettings(
                    f"everyone on this host may open {what} {path} (mode {status.st_mode & 0o777:o}): run  chmod 600 {path}"
                )
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise InvalidSettings(f"cannot read {what} {path}: {error.strerror}") from None
    if len(content) > bytes_max:
        raise InvalidSettings(f"{what} {path} is larger than {bytes_max:,} bytes: it must be another file")
    return content


def stamp(*paths: Path | None) -> tuple[tuple[int, int, int], ...]:
    """Changes when one of the files does; a missing one has a stamp, too."""
    return tuple(_stamp(path) for path in paths if path is not None)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0, 0
    return status.st_ino, status.st_size, status.st_mtime_ns
