"""Files: what is there, by checksum, and writing them whole or not at all.

A file is written beside its place, under a name that the next try at the same file removes, so a kill at any moment leaves the old file or the
new one and at most one leftover that goes away by itself. Its room is reserved first: a full disk is found before anything is sent.
"""

from __future__ import annotations

import errno
import grp
import hashlib
import os
import pwd
import stat
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .failures import Failed, naming
from .limits import CHUNK_BYTES, READ_BYTES_MAX
from .requests import Request

__all__ = ["Digests", "apply_owner", "facts_of", "put_file", "read_file", "sync_folder", "write_whole"]

#: Of a folder, a device, a socket: whatever was wanted there, it is not this.
NOT_A_FILE = hashlib.sha256(b"not a file").hexdigest()
NEW_SUFFIX = ".labtest-new"


class Digests:
    """sha256 of files; those that have not been touched since are not read again."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, ...], str]] = {}
        self._lock = threading.Lock()

    def of(self, path: str) -> str:
        """Checksum of what is at ``path``, empty if nothing is. Links are not followed: one counts as the text ``symlink to TARGET``."""
        with naming(f"reading {path}"):
            try:
                status = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                return ""
            if stat.S_ISLNK(status.st_mode):
                return hashlib.sha256(
                    f"symlink to {os.readlink(path)}".encode("utf-8", "surrogateescape")
                ).hexdigest()
            if not stat.S_ISREG(status.st_mode):
                return NOT_A_FILE
            # ctime cannot be set back: whatever was written, this is another value.
            mark = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            with self._lock:
                known = self._known.get(path)
            if known is not None and known[0] == mark:
                return known[1]
            digest = _sha256_of(path)
        with self._lock:
            self._known[path] = (mark, digest)
        return digest


def _sha256_of(path: str) -> str:
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while True:
            chunk = os.read(descriptor, CHUNK_BYTES)
            if not chunk:
                return digest.hexdigest()
            digest.update(chunk)
    finally:
        os.close(descriptor)


def facts_of(path: str, digests: Digests) -> dict[str, Any] | None:
    """A file as ``FileActual`` tells it, without ``managed``; None if nothing is there."""
    sha256 = digests.of(path)
    if not sha256:
        return None
    with naming(f"reading {path}"):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return None
    return {
        "path": path,
        "sha256": sha256,
        "mode": stat.S_IMODE(status.st_mode),
        "owner": _name_of_user(status.st_uid),
        "group": _name_of_group(status.st_gid),
    }


def _name_of_user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _name_of_group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _user_of(name: str) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise Failed(
            "not-found",
            f"there is no user {name} on this host: a release's systemd-sysusers may have to run first",
        ) from None


def _group_of(name: str) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise Failed(
            "not-found",
            f"there is no group {name} on this host: a release's systemd-sysusers may have to run first",
        ) from None


def apply_owner(path: str, *, mode: int, owner: str, group: str) -> bool:
    """Gives a file its mode and owner; whether anything was different."""
    user_id, group_id = _user_of(owner), _group_of(group)
    with naming(f"setting the mode and owner of {path}"):
        status = os.lstat(path)
        if (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (user_id, group_id, mode):
            return False
        os.chown(path, user_id, group_id, follow_symlinks=False)
        os.chmod(path, mode)  # after chown, which takes set-user-ID away
    return True


def sync_folder(folder: str) -> None:
    """Makes renames in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(
    path: str,
    chunks: Iterable[bytes],
    size_bytes: int,
    *,
    mode: int = 0o600,
    sha256: str = "",
    owner: tuple[int, int] | None = None,
    before: Callable[[], None] | None = None,
) -> None:
    """Writes a file beside its place, checks it, and renames it there. ``before`` is called last, and may refuse by raising.

    Raises :class:`Failed`; then nothing has changed.
    """
    new = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}{NEW_SUFFIX}")
    with naming(f"writing {path}"):
        if os.path.isdir(path) and not os.path.islink(path):
            raise Failed("exists", f"{path} is a folder")
        _remove_leftover(new)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                _fill(descriptor, chunks, size_bytes, sha256, path)
                if owner is not None:
                    os.fchown(descriptor, *owner)
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if before is not None:
                before()
            os.rename(new, path)
        except BaseException:
            _remove_leftover(new)
            raise
        sync_folder(os.path.dirname(path))


def _remove_leftover(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _fill(descriptor: int, chunks: Iterable[bytes], size_bytes: int, sha256: str, path: str) -> None:
    if size_bytes:
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
    digest = hashlib.sha256()
    written = 0
    for chunk in chunks:
        digest.update(chunk)
        written += len(chunk)
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    if written != size_bytes or (sha256 and digest.hexdigest() != sha256):
        raise Failed(
            "checksum",
            f"what came for {path} is not what was announced: {written} bytes, sha256 {digest.hexdigest()}",
        )


def put_file(request: Request, file: dict[str, Any], replaces_sha256: str, digests: Digests) -> str:
    """Carries out ``PutFile``; gives a line for people."""
    path, sha256 = str(file["path"]), str(file["sha256"])
    owner = (_user_of(file["owner"]), _group_of(file["group"]))
    if digests.of(path) == sha256:
        changed = apply_owner(path, mode=file["mode"], owner=file["owner"], group=file["group"])
        return f"{path}: mode and owner set" if changed else ""

    def check() -> None:
        found = digests.of(path)
        if found != replaces_sha256:
            raise Failed("checksum", _other(path, found, replaces_sha256))

    check()
    with naming(f"making the folder of {path}"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    content = request.content(sha256, file["size_bytes"])
    write_whole(
        path, content, file["size_bytes"], mode=file["mode"], sha256=sha256, owner=owner, before=check
    )
    return f"{path}: {'replaced' if replaces_sha256 else 'written'}, {file['size_bytes']} bytes"


def _other(path: str, found: str, expected: str) -> str:
    is_there = f"has sha256 {found[:12]}…" if found else "is not there"
    was = f"sha256 {expected[:12]}…" if expected else "nothing there"
    return f"{path} {is_there}, and the plan was made for {was}: somebody has changed it since; plan again"


def _open_file(path: str, flags: int) -> int:
    """Never waits, as opening a pipe would."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Failed("io", f"{path} is no file")
    return descriptor


def read_file(request: Request, path: str, size_max: int) -> None:
    """Sends a file's bytes as blobs."""
    size_max = min(size_max, READ_BYTES_MAX)
    with naming(f"reading {path}"), open(path, "rb", buffering=0, opener=_open_file) as stream:
        sent = 0
        while True:
            chunk = stream.read(CHUNK_BYTES)
            if not chunk:
                return
            sent += len(chunk)
            if sent > size_max:
                raise Failed("too-large", f"{path} has more than {size_max} bytes")
            request.check()
            request.send_blob(chunk)
