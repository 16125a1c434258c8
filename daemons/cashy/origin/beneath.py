"""Opening a file below a directory, and nothing that lies outside of it.

*Law.* Every file a directory origin reads is opened here and nowhere else, from a path relative to the root.
Links that stay inside are followed; one that is absolute, climbs out, or is a magic link of ``/proc`` is
refused, also when somebody swaps folders for links while the path is being walked. So paths are never checked
first and opened later (``realpath`` and a prefix test lose that race): the kernel resolves them under
``openat2(RESOLVE_BENEATH)``, and where there is no ``openat2`` (before Linux 5.6, or forbidden by a
container's seccomp profile) a walk goes down component by component with ``O_NOFOLLOW``.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
from collections import deque

from cashy.errors import AccessDenied, CashyError, InvalidName, NoSuchObject, OriginUnavailable, SlowDown

__all__ = [
    "LINKS_MAX",
    "PATH_BYTES_MAX",
    "can_openat2",
    "error_of_os",
    "open_beneath",
    "relative_path",
    "walk_beneath",
]

PATH_BYTES_MAX = 4095
"""The kernel's own limit (PATH_MAX less the closing NUL)."""

LINKS_MAX = 40
"""Links followed on one path, as the kernel itself does (MAXSYMLINKS)."""

DEPTH_MAX = 128
"""Folders held open by the walk at a time: a bound on its descriptors, well above any real tree."""

_RETRIES_MAX = 8  # openat2 gives EAGAIN while somebody renames along the path
_SYS_OPENAT2 = 437  # the same number on all architectures that Linux got since 5.1
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
# O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused by its type after.
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_PATH_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class _OpenHow(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@functools.cache
def _syscall() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    function.argtypes = [
        ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t,
    ]  # fmt: skip
    return function


def _openat2(root_fd: int, path: bytes, flags: int) -> int:
    how = _OpenHow(flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    for _ in range(_RETRIES_MAX):
        fd: int = _syscall()(_SYS_OPENAT2, root_fd, path, ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(number, os.strerror(number))


@functools.cache
def can_openat2() -> bool:
    """Tells whether this kernel (and the sandbox around this process) has ``openat2``; asked once."""
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(_openat2(root_fd, b".", os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return False
    finally:
        os.close(root_fd)
    return True


def relative_path(bucket: str, key: str) -> bytes:
    """The path of an object relative to the root; ``bucket`` may be empty. Raises InvalidName.

    Keys are taken literally, so names that a file system cannot hold, or that would mean another place, are
    refused: components that are empty, ``.`` or ``..``, and NUL.
    """
    if bucket and ("/" in bucket or bucket in (".", "..")):
        raise InvalidName(
            f"{bucket!r} is no folder's name; a bucket is one folder directly below the directory"
        )
    text = f"{bucket}/{key}" if bucket else key
    for component in text.split("/"):
        if component in ("", ".", ".."):
            raise InvalidName(
                f'{text!r} has the component "{component}", which no file of a directory can have'
            )
    if "\0" in text:
        raise InvalidName(f"{text!r} contains a NUL character")
    try:
        path = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidName(f"{text!r} is not valid Unicode: {error}") from None
    if len(path) > PATH_BYTES_MAX:
        raise InvalidName(f"the name is {len(path)} bytes long; at most {PATH_BYTES_MAX} can be opened")
    return path


def open_beneath(root_fd: int, path: bytes, *, folder: bool = False) -> int:
    """Opens ``path`` below ``root_fd`` for reading (``folder``: just to see that the folder is there); raises
    OSError.

    ``EXDEV`` means the path leads outside.
    """
    if can_openat2():
        return _openat2(root_fd, path, (os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if folder else _READ_FLAGS)
    return walk_beneath(root_fd, path, folder=folder)


def walk_beneath(root_fd: int, path: bytes, *, folder: bool = False) -> int:
    """What :func:`open_beneath` does, without ``openat2``: ``..`` of a link's target goes back to the folder
    we came from.
    """
    folders = [os.dup(root_fd)]
    todo = deque(path.split(b"/"))
    links = 0
    try:
        while todo:
            component = todo.popleft()
            if component in (b"", b"."):
                continue
            if component == b"..":
                _climb(folders)
                continue
            target = _descend(folders, component, last=not todo and not folder)
            if isinstance(target, int):
                return target
            if target is not None:
                links += 1
                if links > LINKS_MAX:
                    raise OSError(errno.ELOOP, "too many links")
                todo.extendleft(reversed(target))
        return _reopen(folders, folder)
    finally:
        for fd in folders:
            os.close(fd)


def _climb(folders: list[int]) -> None:
    if len(folders) == 1:
        raise OSError(errno.EXDEV, "the path leads outside")
    os.close(folders.pop())


def _descend(folders: list[int], component: bytes, *, last: bool) -> int | list[bytes] | None:
    """Goes one component down. Gives the file's descriptor at the end, a link's target split up, or None
    within a folder.
    """
    fd = os.open(component, _PATH_FLAGS, dir_fd=folders[-1])
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISLNK(mode):
            target = os.readlink(b"", dir_fd=fd)
            if target.startswith(b"/"):
                raise OSError(errno.EXDEV, "an absolute link")
            return target.split(b"/")
        if stat.S_ISDIR(mode):
            if len(folders) >= DEPTH_MAX:
                raise OSError(errno.ENAMETOOLONG, f"more than {DEPTH_MAX} folders deep")
            folders.append(fd)
            fd = -1
            return None
    finally:
        if fd >= 0:
            os.close(fd)
    if not last:
        raise OSError(errno.ENOTDIR, "not a folder")
    return os.open(component, _READ_FLAGS | os.O_NOFOLLOW, dir_fd=folders[-1])


def _reopen(folders: list[int], folder: bool) -> int:
    """The path ended in a folder: gives a descriptor of it that outlives the walk."""
    if folder:
        return os.dup(folders[-1])
    return os.open(b".", _READ_FLAGS | os.O_DIRECTORY, dir_fd=folders[-1])


_BY_ERRNO: dict[int, tuple[type[CashyError], str]] = {
    errno.ENOENT: (NoSuchObject, "there is no such file"),
    errno.ENOTDIR: (NoSuchObject, "there is no such file (a part of its path is a file)"),
    errno.EISDIR: (NoSuchObject, "this is a folder"),
    errno.EXDEV: (InvalidName, "a link on the path is absolute or leads outside of the configured directory"),
    errno.ELOOP: (InvalidName, "too many links, or a link that may not be followed, on the path"),
    errno.ENAMETOOLONG: (InvalidName, "the name is too long for the file system"),
    errno.EINVAL: (InvalidName, "the file system cannot hold such a name"),
    errno.EACCES: (AccessDenied, "the daemon's user may not read this file; check its permissions"),
    errno.EPERM: (AccessDenied, "the daemon's user may not read this file; check its permissions"),
    errno.ENXIO: (AccessDenied, "this is a socket or device; only regular files are served"),
    errno.EMFILE: (SlowDown, "too many open files in this daemon; raise its limit (LimitNOFILE)"),
    errno.ENFILE: (SlowDown, "too many open files on this host"),
    errno.ENOMEM: (SlowDown, "the host is out of memory"),
}


def error_of_os(error: OSError, what: str) -> CashyError:
    """Translates what the system said about opening or reading ``what``; whatever is unknown is the origin's
    fault.
    """
    unknown = (OriginUnavailable, f"the file system failed: {error.strerror}")
    kind, text = _BY_ERRNO.get(error.errno or 0, unknown)
    return kind(f"{what}: {text}")
