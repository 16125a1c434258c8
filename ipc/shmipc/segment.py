"""POSIX shared-memory segments: made whole or not at all, never by a squatter, always under a name of ours.

Law: the one place that makes, opens, maps and unlinks shared memory; it knows nothing of what lies in it. A mapping goes with the last object that
refers to it and is never closed by hand: views are made by address (:mod:`shmipc.view`), which the mmap object does not count as a user.

A segment is allocated with ``posix_fallocate``: growing it by ``ftruncate`` alone succeeds also where the file system is full and kills the
process with SIGBUS at the first touch.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import stat

import posix_ipc

from shmipc.errors import ArenaLayoutError, OutOfSharedMemory, ShmError, SquattedName

__all__ = ["SHM_FOLDER", "Segment", "allocate", "unlink_segment"]

#: Where Linux shows POSIX shared memory as files.
SHM_FOLDER = "/dev/shm"  # noqa: S108

_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ShmError(f"{name!r} is no segment name: 1 to 200 of A-Z a-z 0-9 . _ -")


def allocate(fd: int, size_bytes: int, name: str) -> None:
    """Gives a tmpfs file its memory now; raises ``OutOfSharedMemory`` (``name`` is for its message)."""
    while True:
        try:
            os.posix_fallocate(fd, 0, size_bytes)
            return
        except InterruptedError:
            continue  # PEP 475 does not cover posix_fallocate; what is allocated stays, so this ends
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.ENOMEM):
                raise
            room = os.statvfs(SHM_FOLDER)
            free = room.f_bavail * room.f_frsize
            raise OutOfSharedMemory(
                f"shared memory {name!r} needs {size_bytes:,} bytes but {SHM_FOLDER} has {free:,} free of "
                f"{room.f_blocks * room.f_frsize:,}: ask for less memory, or enlarge it (mount -o remount,size=… {SHM_FOLDER}; "
                "in a container --shm-size)"
            ) from error


class Segment:
    """One mapped POSIX shared-memory segment: ``fd``, ``memory`` (the mapping), ``size_bytes``, ``writable``."""

    def __init__(self, name: str, fd: int, *, writable: bool) -> None:
        self.name = name
        self.fd = fd
        self.writable = writable
        self.size_bytes = os.fstat(fd).st_size
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        if self.size_bytes == 0:
            raise ArenaLayoutError(
                f"shared memory {name!r} is empty: its owner has not finished making it, or died doing so; start the owner again"
            )
        self.memory = mmap.mmap(fd, self.size_bytes, mmap.MAP_SHARED, protection)

    @classmethod
    def create(cls, name: str, size_bytes: int, mode: int = 0o600) -> Segment:
        """Makes and maps a new zeroed segment, or raises and leaves nothing (``OutOfSharedMemory``, ``SquattedName``)."""
        _check_name(name)
        try:
            shm = posix_ipc.SharedMemory("/" + name, posix_ipc.O_CREX, mode=mode)
        except posix_ipc.ExistentialError as error:
            raise SquattedName(
                f"shared memory {name!r} exists already and was not made by this process"
            ) from error
        try:
            allocate(shm.fd, size_bytes, name)
            return cls(name, shm.fd, writable=True)
        except BaseException:
            os.close(shm.fd)
            unlink_segment(name)
            raise

    @classmethod
    def open(cls, name: str, *, writable: bool) -> Segment:
        """Maps an existing segment of this user; raises ``FileNotFoundError`` or ``SquattedName``."""
        _check_name(name)
        path = f"{SHM_FOLDER}/{name}"
        try:
            fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise SquattedName(
                    f"{path} is a symbolic link and was not opened: remove it or use another instance name"
                ) from error
            if error.errno == errno.EACCES:
                raise SquattedName(
                    f"user {os.geteuid()} may not open {path}: run as its owner, or use another instance name"
                ) from error
            raise
        try:
            found = os.fstat(fd)
            if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
                raise SquattedName(
                    f"{path} belongs to user {found.st_uid}, not to {os.geteuid()}: remove it or use another instance name"
                )
            return cls(name, fd, writable=writable)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def from_fd(cls, fd: int) -> Segment:
        """Maps a read-only descriptor received from the owner; takes over the descriptor, also when it raises."""
        try:
            return cls(f"descriptor {fd}", fd, writable=False)
        except BaseException:
            os.close(fd)
            raise

    def read_only_fd(self) -> int:
        """A new read-only descriptor, to be handed to a reader."""
        return os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Closes the descriptor. The memory stays mapped until the segment and all who refer to it or its mapping are gone."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def unlink_segment(name: str) -> bool:
    """Removes a segment's name (mappings stay valid); False if there was none."""
    _check_name(name)
    try:
        posix_ipc.unlink_shared_memory("/" + name)
    except posix_ipc.ExistentialError:
        return False
    return True
