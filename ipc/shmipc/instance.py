"""The instance folder: which arena is the current one, who owns it, and where the pin tables are.

``/dev/shm/<family>.<uid>.<instance>/`` (0700, on the same tmpfs as the segments, so it vanishes with them at a reboot) holds

* ``lock``: flock'ed by the owner for its life; so two owners of one name cannot be, and a dead owner is one whose lock is free;
* ``arena``: the name of the current segment, replaced atomically;
* ``tables/``: the pin tables.

Law: who owns an instance is decided here, by the kernel (the lock dies with its holder), and never by a process id written somewhere.
Nothing here knows what an arena contains.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shmipc.errors import OutOfSharedMemory, OwnerAlive, ShmError, SquattedName
from shmipc.segment import SHM_FOLDER, unlink_segment

__all__ = ["Instance"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@contextmanager
def _clear_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OutOfSharedMemory(
            f"no room for a file in {folder}: remove what fills {folder.parent}, or enlarge it (mount -o remount,size=… {folder.parent})"
        ) from error


class Instance:
    """An instance of a daemon family that this process owns until :meth:`close` (or its death)."""

    def __init__(self, family: str, name: str, *, shm_folder: str = SHM_FOLDER) -> None:
        if not _NAME.fullmatch(name):
            raise ShmError(f"{name!r} is no instance name: 1 to 64 of A-Z a-z 0-9 _ -")
        self.prefix = f"{family}.{os.geteuid()}.{name}"
        self.name = name
        self.folder = Path(shm_folder) / self.prefix
        self.tables_folder = self.folder / "tables"
        self._lock_fd = -1

    def acquire(self) -> None:
        """Makes the folder if need be and takes the lock; raises ``OwnerAlive``, ``SquattedName`` or ``OutOfSharedMemory``."""
        while self._lock_fd < 0:
            self._make_folder()
            fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                self._lock(fd)
                if self._is_current_lock(fd):
                    self._lock_fd = fd
            finally:
                if self._lock_fd < 0:
                    os.close(fd)

    def _lock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            raise OwnerAlive(
                f"instance {self.name!r} is owned by the running process {owner}: stop it, or choose another instance name"
            ) from None
        os.ftruncate(fd, 0)
        with _clear_error(self.folder):
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    def _is_current_lock(self, fd: int) -> bool:
        """False if the file was removed (:meth:`remove`) between open and lock: then it locks nothing."""
        try:
            found = os.stat(self.folder / "lock", follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(fd))

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(mode=0o700)
        except FileExistsError:
            pass
        except OSError as error:
            raise ShmError(f"cannot make {self.folder}: {error.strerror}") from error
        found = os.lstat(self.folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise SquattedName(
                f"{self.folder} must be a folder of user {os.geteuid()} with mode 0700, but has owner {found.st_uid} and mode "
                f"{stat.S_IMODE(found.st_mode):04o}: remove it, or choose another instance name"
            )
        self.tables_folder.mkdir(mode=0o700, exist_ok=True)

    def segment_name(self, arena_id: int) -> str:
        """The name for a segment with this arena id; the random id makes it impossible to guess and squat."""
        return f"{self.prefix}.{arena_id:016x}"

    def current_segment(self) -> str | None:
        """The name of the current arena segment, if one was ever finished."""
        try:
            name = (self.folder / "arena").read_text().strip()
        except FileNotFoundError:
            return None
        return name if name.startswith(self.prefix + ".") else None

    def set_current_segment(self, name: str) -> None:
        """Makes ``name`` the current segment, atomically, and unlinks every other segment of the instance."""
        fresh = self.folder / "arena.new"
        with _clear_error(self.folder):
            fresh.write_text(name + "\n")
        fresh.replace(self.folder / "arena")
        self.unlink_segments(keep=name)

    def unlink_segments(self, keep: str | None = None) -> None:
        """Unlinks the instance's segments but ``keep``, also those that a killed owner had not finished; mappings stay valid."""
        for path in self.folder.parent.glob(f"{self.prefix}.*"):
            if (
                path.is_file()
                and path.name != keep
                and re.fullmatch(r"[0-9a-f]{16}", path.name[len(self.prefix) + 1 :])
            ):
                unlink_segment(path.name)

    def remove(self) -> None:
        """Removes the segments' names and the folder; mappings of clients stay valid. The lock must be held."""
        self.unlink_segments()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Lets go of the lock."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
