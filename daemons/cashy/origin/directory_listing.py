"""The keys of a bucket that is a directory, walked in order and only as far as a page needs.

Law: a page costs what is on it, not what is in the bucket. The walk goes down only into folders that the page's range of keys touches; what a
delimiter folds away is skipped whole, and of a folder that becomes a common prefix nothing is learnt but that it has a key. Every folder and file
is opened below the origin's directory (:mod:`cashy.origin.beneath`), so nothing outside is ever listed; at most three
descriptors are open at a time.

*A listing tells what GetObject would serve.* Not in it: what is no regular file, names that are not UTF-8, keys over 1,024 bytes, links that
are broken or lead outside or to what may not be opened, empty folders, what vanishes meanwhile. Links that stay inside are followed, as
GetObject follows them; a folder that the path goes through already is not entered again, or the listing would have no end. Files that may
not be read are listed: S3, too, lists what one may not get.

*A folder that may not be read ends the listing with AccessDenied.* Left out, its keys would be missing from a listing that claims to be whole,
and ``sync --delete`` would delete the copies. As a common prefix it is shown, since nothing is claimed of what is in it.

*Not a snapshot.* As in S3, a page tells of the time it was made.

Runs in threads and blocks; nothing here knows an event loop.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from typing import NamedTuple

from cashy.core.names import S3_KEY_BYTES_MAX
from cashy.core.s3_listing import Found, ListingQuery, Page, PageBuilder, after_all_with_prefix
from cashy.core.s3_response import etag_of
from cashy.errors import AccessDenied, CashyError, NoSuchBucket, OriginTimeout, OriginUnavailable
from cashy.origin.beneath import error_of_os, open_beneath, relative_path
from cashy.origin.directory_names import WINDOW_NAMES_MAX, NameCache, Window, read_window
from cashy.origin.file_version import version_of

__all__ = ["Walk", "folder_exists", "list_folders", "list_page", "open_root"]

# What it means that something is not there (any more), or is nothing that is served.
_MISSING = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.EXDEV, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO)
)
_DENIED = frozenset((errno.EACCES, errno.EPERM))
_YIELD_FILES = 64  # looked up between two times of giving way to the event loop: about 0.3 ms


class _Node(NamedTuple):
    """A folder on the path, by identity, with those above it: so a link that leads back is noticed."""

    device: int
    inode: int
    above: _Node | None

    def has(self, device: int, inode: int) -> bool:
        """Whether the path goes through this folder."""
        node: _Node | None = self
        while node is not None:
            if (node.device, node.inode) == (device, inode):
                return True
            node = node.above
        return False


class _Frame:
    """One folder of the path that the walk is in; ``base`` is the beginning of its keys."""

    __slots__ = ("base", "node", "window")

    def __init__(self, base: bytes, node: _Node, window: Window) -> None:
        self.base = base
        self.node = node
        self.window = window


class Walk:
    """All keys of ``bucket`` (empty: the directory itself) below the directory open at ``root_fd``, by :meth:`seek`; close it.

    ``prefix`` and ``stop`` bound what is looked for. ``folds``: keys with a ``/`` behind the prefix are wanted as one for each folder.
    ``check`` is called now and then and may raise, to end the walk.
    """

    def __init__(
        self,
        root_fd: int,
        bucket: str,
        prefix: bytes,
        stop: bytes | None,
        *,
        folds: bool,
        cache: NameCache,
        check: Callable[[], None],
        names_max: int = WINDOW_NAMES_MAX,
    ) -> None:
        self._root_fd = root_fd
        self._bucket = relative_path("", bucket) if bucket else b""
        self._prefix = prefix
        self._stop = stop
        self._folds = folds
        self._cache = cache
        self._check = check
        self._names_max = names_max
        self._frames: list[_Frame] | None = None
        self._fd = -1  # of the folder at self._fd_base, for looking up its files
        self._fd_base = b""
        self._looked_up = 0
        #: Folders that were read, or found to be as they were.
        self.folders_read = 0

    def close(self) -> None:
        """Closes what it holds open."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def seek(self, bound: bytes) -> Found | None:
        """The least key from ``bound`` on, None if there is none; bounds must rise. Raises a CashyError."""
        if self._frames is None:
            self._frames = self._first_frames(bound)
        while self._frames:
            self._check()
            frame = self._frames[-1]
            name = self._name_from(frame, bound)
            if name is None:
                self._frames.pop()
                bound = max(bound, _beyond(frame.base))  # or it would still lie in that folder
                continue
            path = frame.base + name
            if self._stop is not None and path >= self._stop:
                self._frames.clear()
                return None
            found = self._visit(frame, name, path, bound)
            if found is not None:
                return found
            if self._frames[-1] is frame:  # not gone into: nothing for us there
                bound = _beyond(path)
        return None

    def _visit(self, frame: _Frame, name: bytes, path: bytes, bound: bytes) -> Found | None:
        """What ``name`` is: a file, or a folder that is gone into (a new frame) or folded."""
        if not _can_be_key(path):
            return None
        if not name.endswith(b"/"):
            return self._file(frame, name, path, name in frame.window.links)
        if self._folds and len(path) > len(self._prefix):
            return Found(path) if self._has_key(path, frame.node) else None
        fd = self._open_folder(path, frame.node)
        if fd is not None:
            assert self._frames is not None
            self._frames.append(self._frame(fd, path, frame.node, bound))
        return None

    # ------------------------------------------------------------ folders

    def _first_frames(self, bound: bytes) -> list[_Frame]:
        """The folder that the prefix leads into; what is above it need not be read."""
        base = self._prefix[: self._prefix.rfind(b"/") + 1]
        if any(part in (b"", b".", b"..") for part in base.split(b"/")[:-1]) or b"\0" in base:
            return []
        try:
            fd = self._open(base)
        except OSError as error:
            if error.errno in _MISSING and base:
                return []
            raise self._failure(error, base) from None
        return [self._frame(fd, base, None, bound)]

    def _frame(self, fd: int, base: bytes, above: _Node | None, bound: bytes) -> _Frame:
        """A frame of the folder open at ``fd``, which is the walk's from here on."""
        self.close()
        self._fd, self._fd_base = fd, base
        status = os.fstat(fd)
        low = bound[len(base) :] if bound.startswith(base) else b""
        node = _Node(status.st_dev, status.st_ino, above)
        return _Frame(base, node, self._window(fd, base, low))

    def _window(self, fd: int, base: bytes, low: bytes) -> Window:
        self.folders_read += 1
        try:
            return read_window(fd, low, self._cache, self._check, names_max=self._names_max)
        except OSError as error:
            if error.errno in _MISSING:
                return Window(low, [], frozenset(), True)
            raise self._failure(error, base) from None

    def _name_from(self, frame: _Frame, bound: bytes) -> bytes | None:
        """The folder's first name from ``bound`` on, or the one that ``bound`` lies in."""
        base = frame.base
        if bound.startswith(base):
            low = bound[len(base) :]
        elif bound < base:
            low = b""
        else:
            return None
        if not frame.window.covers(low):
            if not self._hold(base):
                return None
            frame.window = self._window(self._fd, base, low)
        at = frame.window.index_from(low)
        return frame.window.names[at] if at < len(frame.window.names) else None

    def _hold(self, base: bytes) -> bool:
        """Has the folder ``base`` open; False if it is gone."""
        if self._fd >= 0 and self._fd_base == base:
            return True
        self.close()
        try:
            self._fd, self._fd_base = self._open(base), base
        except OSError as error:
            if error.errno in _MISSING:
                return False
            raise self._failure(error, base) from None
        return True

    def _open_folder(self, path: bytes, above: _Node) -> int | None:
        """A descriptor of a folder; None if it is not there, is no folder, or is one that the path goes through already."""
        try:
            fd = self._open(path)
        except OSError as error:
            if error.errno in _MISSING:
                return None
            raise self._failure(error, path) from None
        status = os.fstat(fd)
        if not stat.S_ISDIR(status.st_mode) or above.has(status.st_dev, status.st_ino):
            os.close(fd)
            return None
        return fd

    def _has_key(self, path: bytes, above: _Node) -> bool:
        """Whether there is any key below the folder ``path``; what may not be looked into counts as having one."""
        try:
            fd = self._open_folder(path, above)
        except AccessDenied:
            return True
        if fd is None:
            return False
        self.folders_read += 1
        status = os.fstat(fd)
        node = _Node(status.st_dev, status.st_ino, above)
        folders: list[bytes] = []
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    self._check()
                    below = path + os.fsencode(entry.name)
                    if not _can_be_key(below):
                        continue
                    if entry.is_file(follow_symlinks=False):
                        return True
                    is_linked = entry.is_symlink()
                    if is_linked and self._linked_file(below) is not None:
                        return True
                    if is_linked or entry.is_dir(follow_symlinks=False):
                        folders.append(below + b"/")
        except OSError as error:
            if error.errno not in _MISSING:
                raise self._failure(error, path) from None
        finally:
            os.close(fd)
        for below in folders:  # noqa: SIM110 - a generator would double the depth, up to 512 as keys are
            if _can_be_key(below) and self._has_key(below, node):
                return True
        return False

    # ------------------------------------------------------------ files

    def _file(self, frame: _Frame, name: bytes, path: bytes, is_link: bool) -> Found | None:
        self._looked_up += 1
        if not self._looked_up % _YIELD_FILES:
            time.sleep(0)
        status = self._linked_file(path) if is_link else self._status(frame, name, path)
        if status is None:
            return None
        return Found(path, status.st_size, int(status.st_mtime_ns / 1e9), etag_of(version_of(status)))

    def _status(self, frame: _Frame, name: bytes, path: bytes) -> os.stat_result | None:
        if not self._hold(frame.base):
            return None
        try:
            status = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in _MISSING:
                return None
            raise self._failure(error, path) from None
        return status if stat.S_ISREG(status.st_mode) else None

    def _linked_file(self, path: bytes) -> os.stat_result | None:
        """Of the regular file that a link leads to; None if it leads to nothing that is served."""
        try:
            fd = self._open(path)
        except OSError as error:
            if error.errno in _MISSING or error.errno in _DENIED:
                return None
            raise self._failure(error, path) from None
        try:
            status = os.fstat(fd)
        finally:
            os.close(fd)
        return status if stat.S_ISREG(status.st_mode) else None

    # ------------------------------------------------------------ both

    def _open(self, path: bytes) -> int:
        below = path.rstrip(b"/")
        parts = [part for part in (self._bucket, below) if part]
        return open_beneath(self._root_fd, b"/".join(parts) or b".")

    def _failure(self, error: OSError, path: bytes) -> CashyError:
        return error_of_os(error, f"listing {os.fsdecode(self._bucket)}/{os.fsdecode(path)}")


def _beyond(path: bytes) -> bytes:
    """The least key behind a file, or behind all that a folder has."""
    beyond = after_all_with_prefix(path) if path.endswith(b"/") else None
    return path + b"\0" if beyond is None else beyond


def _can_be_key(path: bytes) -> bool:
    """Whether S3 could name it: GetObject would refuse it otherwise."""
    if len(path) > S3_KEY_BYTES_MAX:
        return False
    if path.isascii():
        return True
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


# ---------------------------------------------------------------- whole answers


def open_root(root: str) -> int:
    """A descriptor of an origin's directory. Raises OriginUnavailable."""
    try:
        return os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OriginUnavailable(f"the directory {root} cannot be opened: {error.strerror}") from None


def folder_exists(root: str, bucket: str) -> bool:
    """Whether reads of ``bucket`` end at this directory: it has such a folder, or something that hides whether it has. Raises OriginUnavailable."""
    root_fd = open_root(root)
    try:
        os.close(open_beneath(root_fd, relative_path("", bucket), folder=True))
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
    finally:
        os.close(root_fd)
    return True


def list_page(
    root: str,
    query: ListingQuery,
    cache: NameCache,
    check: Callable[[], None],
    *,
    names_max: int = WINDOW_NAMES_MAX,
) -> tuple[Page, int]:
    """One page of a bucket (empty: the directory itself), and how many folders were read for it. Raises a CashyError.

    When ``check`` raises OriginTimeout the page ends where it is, if there is anything on it.
    """
    root_fd = open_root(root)
    try:
        if query.bucket:
            _check_bucket(root_fd, query.bucket)
        builder = PageBuilder(query)
        walk = Walk(
            root_fd, query.bucket, query.prefix.encode(), builder.stop,
            folds=query.delimiter == "/", cache=cache, check=check, names_max=names_max,
        )  # fmt: skip
        try:
            _fill(builder, walk)
        except OriginTimeout:
            if not builder.end_early():
                raise
        finally:
            walk.close()
        return builder.page, walk.folders_read
    finally:
        os.close(root_fd)


def _fill(builder: PageBuilder, walk: Walk) -> None:
    while builder.wants_more:
        found = walk.seek(builder.bound)
        if found is None:
            return
        builder.add(found)


def _check_bucket(root_fd: int, bucket: str) -> None:
    try:
        os.close(open_beneath(root_fd, relative_path("", bucket), folder=True))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise NoSuchBucket(f"there is no folder {bucket!r}") from None
        if error.errno in _MISSING:  # a link that leads outside: it is there, and nobody gets in
            raise AccessDenied(f"{bucket!r} is a link that is not followed: {error.strerror}") from None
        raise error_of_os(error, f"bucket {bucket!r}") from None


def list_folders(root: str, check: Callable[[], None], is_wanted: Callable[[str], bool]) -> dict[str, int]:
    """The folders directly below ``root`` that can be opened, with their times of change in whole seconds since the epoch. Raises a CashyError."""
    root_fd = open_root(root)
    found: dict[str, int] = {}
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                check()
                if not is_wanted(entry.name) or not (entry.is_symlink() or entry.is_dir()):
                    continue
                modified_s = _folder_time(root_fd, entry.name)
                if modified_s is not None:
                    found[entry.name] = modified_s
    except OSError as error:
        raise error_of_os(error, f"listing {root}") from None
    finally:
        os.close(root_fd)
    return found


def _folder_time(root_fd: int, name: str) -> int | None:
    try:
        fd = open_beneath(root_fd, os.fsencode(name), folder=True)
    except OSError:
        return None
    try:
        return int(os.fstat(fd).st_mtime)
    finally:
        os.close(fd)
