"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import os
from pathlib import Path

from labtest.deploy.errors import JournalFailed

__all__ = ["append", "make_folder", "open_own", "write_whole"]


def make_folder(path: Path) -> None:
    """A folder that only its owner can look into: targets hold what configuration files hold.

    Raises :class:`~labtest.deploy.errors.JournalFailed`.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JournalFailed(
            f"{path}: {error.strerror}: nothing could be written down, so nothing is done"
        ) from error


def open_own(path: Path, flags: int) -> int:
    """Opens a file that only its owner can read; gives the descriptor. Raises :class:`~labtest.deploy.errors.JournalFailed`."""
    try:
        return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalFailed(
            f"{path}: {error.strerror}: nothing could be written down, so nothing is done"
        ) from error


def write_whole(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Writes a file beside its place and renames it there; it is on the disk when this returns.

    Raises :class:`~labtest.deploy.errors.JournalFailed`, and then nothing has changed.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            _write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(new, path)
        _sync(path.parent)
    except OSError as error:
        raise JournalFailed(f"{path}: {error.strerror}: what is done could not be written down") from error


def append(descriptor: int, content: bytes) -> None:
    """Adds to a file; it is on the disk when this returns."""
    _write(descriptor, content)
    os.fdatasync(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
