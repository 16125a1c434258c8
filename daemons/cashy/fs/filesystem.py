"""The file system: fsspec's questions answered by the host's cache.

Law: read-only, and nothing is remembered here. Metadata and bytes come from shared memory or the daemon, and are as current as any read
through cashy; listings are the origin's own word at each call. Errors are cashy's own: of missing objects FileNotFoundError, of refusals
PermissionError. What fsspec's callers know to handle is made of what they do not: a folder that is opened is IsADirectoryError, a name that no
origin can have is FileNotFoundError.

A folder is what some object lies in: there are no empty ones. fsspec keeps one instance for each socket (and set of options), also of $CASHY_SOCKET
when it changes; all of a process's instances of a socket share one connection. An instance that is pickled connects where it is unpickled, to
the socket it was told of, or else to that of the host it is on then.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NoReturn

from fsspec.spec import AbstractFileSystem

from cashy.client.cache import Cache, socket_path_or_default
from cashy.client.listing import Listed
from cashy.client.meta import Meta
from cashy.client.reader import TableLost
from cashy.client.shared import shared_cache
from cashy.errors import CashyError, InvalidName, NoSuchBucket, NoSuchObject, VersionChanged, ViewTooLarge
from cashy.fs.file import CashyFile
from cashy.fs.limits import RANGES_UNDER_WAY_MAX
from cashy.fs.paths import name_of, parent_of, path_of, prefix_of, strip

__all__ = ["CashyFileSystem"]

_Details = dict[str, Any]
_WRITE_ELSEWHERE = (
    "cashy:// only reads: write to the store itself (for example with s3fs, or through this host's S3 endpoint, where others see it at once), "
    "or to the directory"
)


class _KeyedBySocket(type(AbstractFileSystem)):  # type: ignore[misc]
    """Has fsspec keep one instance for each socket, also where the environment says which one."""

    @property
    def _default_socket(cls) -> str:
        return socket_path_or_default(None)


class CashyFileSystem(AbstractFileSystem, metaclass=_KeyedBySocket):  # type: ignore[misc]
    """Objects of the host's cache under ``cashy://bucket/key`` and ``cashy:///absolute/path``; ``socket`` as of :func:`cashy.connect`."""

    protocol = "cashy"
    root_marker = ""
    cachable = True
    _extra_tokenize_attributes = ("_default_socket",)

    def __init__(self, socket: str | None = None, **storage_options: Any) -> None:
        super().__init__(socket=socket, **storage_options)
        self.socket = socket_path_or_default(socket)

    @property
    def cache(self) -> Cache:
        """The cache beneath, as of :func:`cashy.connect`; it is the process's, and not to be closed."""
        return shared_cache(self.socket)

    # --- paths ---

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return strip(str(path))

    def unstrip_protocol(self, name: str) -> str:
        """The URL of a path."""
        return f"cashy://{self._strip_protocol(name)}"

    @classmethod
    def _parent(cls, path: str) -> str:
        return parent_of(strip(path))

    # --- metadata ---

    def info(self, path: str, **_: Any) -> _Details:
        """``name``, ``size`` (None for a folder), ``type``; of objects also ``version``, ``mtime`` (s), ``LastModified``, ``ContentType``."""
        path = strip(path)
        try:
            return self._object_info(path)
        except (NoSuchObject, InvalidName) as error:
            if self._is_folder(path):
                return {"name": path, "size": None, "type": "directory"}
            raise _as_missing(error) from None

    def _object_info(self, path: str) -> _Details:
        return _details_of_meta(path, self.cache.stat(name_of(path)))

    def _is_folder(self, path: str) -> bool:
        """Whether there is anything in it; a bucket needs nothing in it."""
        try:
            found = next(self.cache.list(prefix_of(path), folds=True, page_entries=1), None)
        except (InvalidName, NoSuchBucket, NoSuchObject):
            return False
        return found is not None or _is_bucket(path)

    def exists(self, path: str, **_: Any) -> bool:
        """Whether there is such an object or folder; other errors than that it is missing are raised."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def isfile(self, path: str) -> bool:
        """Whether there is such an object."""
        try:
            return bool(self.info(path)["type"] == "file")
        except FileNotFoundError:
            return False

    def isdir(self, path: str) -> bool:
        """Whether there is such a folder."""
        try:
            return bool(self.info(path)["type"] == "directory")
        except FileNotFoundError:
            return False

    def modified(self, path: str) -> datetime:
        """When the object was last modified, in UTC."""
        return datetime.fromtimestamp(self._object_info(strip(path))["mtime"], UTC)

    def ukey(self, path: str) -> str:
        """Names exactly this version."""
        return self.cache.stat(name_of(strip(path))).content_id.hex()

    def checksum(self, path: str) -> int:
        """A number that changes with the version."""
        return int(self.ukey(path)[:15], 16)

    # --- listings ---

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        """What lies directly in a folder, asked of the origin now; of an object, itself."""
        path = strip(path)
        found = self._listed(path, folds=True)
        if not found:
            info = self.info(path)  # raises FileNotFoundError
            found = [info] if info["type"] == "file" else []
        return found if detail else [each["name"] for each in found]

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **_: Any
    ) -> Any:
        """All objects below a folder, in one listing however deep they lie (``maxdepth`` given: folder by folder)."""
        path = strip(path)
        if maxdepth is not None:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail)
        found = {each["name"]: each for each in self._listed(path, folds=False)}
        if withdirs:
            found |= {folder["name"]: folder for folder in _folders_of(found, path)}
        if not found and (info := self._info_or_none(path)) is not None and info["type"] == "file":
            found = {path: info}
        return {name: found[name] for name in sorted(found)} if detail else sorted(found)

    def _info_or_none(self, path: str) -> _Details | None:
        try:
            return self.info(path)
        except FileNotFoundError:
            return None

    def _listed(self, path: str, *, folds: bool) -> list[_Details]:
        try:
            entries = list(self.cache.list(prefix_of(path), folds=folds))
        except (InvalidName, NoSuchBucket, NoSuchObject) as error:
            raise _as_missing(error) from None
        return [_details_of_entry(entry) for entry in entries if entry.is_prefix or entry.name[-1] != "/"]

    # --- reads ---

    def _open(self, path: str, mode: str = "rb", **_: Any) -> CashyFile:
        if mode != "rb":
            _refuse(path)
        path = strip(path)
        try:
            return CashyFile(self, path, self.cache, self._object_info(path))
        except (NoSuchObject, InvalidName) as error:
            raise self._as_unreadable(path, error) from None

    def reopen(self, path: str, version: str, at: int = 0) -> CashyFile:
        """Opens exactly the version given, at a position in bytes; raises :class:`~cashy.errors.VersionChanged` if it is not the present one."""
        file = self._open(path)
        if file.details["version"] != version:
            file.close()
            raise VersionChanged(f"{path} was replaced since it was opened: open it again")
        file.seek(at)
        return file

    def view(self, path: str, start: int | None = None, end: int | None = None) -> memoryview:
        """The bytes ``[start, end)`` as ONE read-only view in shared memory, without a copy; see :meth:`cashy.Cache.read`."""
        path = strip(path)
        try:
            offset, length = self._range(path, start, end)
            return self.cache.read(name_of(path), offset, length)
        except (NoSuchObject, InvalidName) as error:
            raise self._as_unreadable(path, error) from None

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The bytes ``[start, end)``, copied once; negative ones count from the end."""
        try:
            return bytes(self.view(path, start, end))
        except (ViewTooLarge, MemoryError):
            with self._open(path) as file:
                first, last, _step = slice(start, end).indices(file.size)
                file.seek(first)
                return file.read(max(0, last - first))

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[bytes | Exception]:
        """The bytes of many ranges; those that are not here yet are under way together. Errors are in their places, unless ``on_error`` is
        ``raise``.
        """
        firsts = starts if isinstance(starts, Iterable) else [starts] * len(paths)
        lasts = ends if isinstance(ends, Iterable) else [ends] * len(paths)
        wanted = list(zip(paths, firsts, lasts, strict=True))
        results: list[bytes | Exception] = []
        under_way: deque[_RangeRead] = deque()
        try:
            for number, (path, start, end) in enumerate(wanted):
                under_way.append(_RangeRead(self, strip(path), start, end))
                if len(under_way) >= RANGES_UNDER_WAY_MAX or number == len(wanted) - 1:
                    _take(under_way, results, on_error, keep=0 if number == len(wanted) - 1 else None)
        finally:
            for read in under_way:
                read.drop()
        return results

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **_: Any) -> Any:
        """The bytes of one object, or of many as a dictionary; many are read together. ``on_error``: ``raise``, ``omit`` or ``return``."""
        paths = self.expand_path(path, recursive=recursive)
        if isinstance(path, str) and len(paths) == 1 and strip(path) == paths[0]:
            return self.cat_file(paths[0])
        paths = [each for each in paths if not (recursive and self.isdir(each))]
        how = "raise" if on_error == "raise" else "return"
        found = dict(zip(paths, self.cat_ranges(paths, None, None, on_error=how), strict=True))
        if on_error == "omit":
            return {key: value for key, value in found.items() if not isinstance(value, Exception)}
        return found

    def get_file(self, rpath: str, lpath: Any, callback: Any = None, outfile: Any = None, **_: Any) -> None:
        """Copies an object into a local file, block by block out of shared memory."""
        if outfile is None and self.isdir(rpath):
            os.makedirs(lpath, exist_ok=True)
            return
        with self._open(rpath) as file:
            if callback is not None:
                callback.set_size(file.size)
            if outfile is not None:
                file.copy_into(outfile, callback)
                return
            with open(lpath, "wb") as target:
                file.copy_into(target, callback)

    def _range(self, path: str, start: int | None, end: int | None) -> tuple[int, int | None]:
        """Offset and length of a range, whose size is asked for only if it counts from the end."""
        first = start or 0
        if first < 0 or (end is not None and end < 0):
            size = self.cache.stat(name_of(path)).size_bytes
            first, last, _step = slice(start, end).indices(size)
            return first, max(0, last - first)
        return first, None if end is None else max(0, end - first)

    def _as_unreadable(self, path: str, error: NoSuchObject | InvalidName) -> OSError:
        if self._is_folder(path):
            return IsADirectoryError(f"{path!r} is a folder: list it with ls(), or name an object in it")
        return _as_missing(error)

    # --- writes ---

    def _refuse_write(self, path: Any = "", *_: Any, **__: Any) -> NoReturn:
        """Raises PermissionError, which says what to use."""
        _refuse(path)

    pipe_file = put_file = rm_file = _rm = cp_file = mkdir = makedirs = rmdir = touch = _refuse_write
    rm = mv = pipe = put = copy = created = _refuse_write


class _RangeRead:
    """One range of ``cat_ranges``, begun when it is made."""

    def __init__(self, fs: CashyFileSystem, path: str, start: int | None, end: int | None) -> None:
        self._fs, self._path, self._start, self._end = fs, path, start, end
        self._read: Any = None
        self._call: Any = None
        self._early: bytes | None = None
        try:
            self._begin()
        except (CashyError, OSError, TableLost):
            self.drop()  # it is read when it is its turn, and those before it have been given back; an error comes again then

    def _begin(self) -> None:
        cache = self._fs.cache
        offset, length = self._fs._range(self._path, self._start, self._end)
        self._read = cache.new_read(name_of(self._path), offset, length)
        self._call = cache.start_ahead(self._read)
        if self._call is None:  # all of it is here: copied at once, so that nothing stays pinned for it
            self._early = bytes(self._read.view())
            self._read = None

    def bytes(self) -> bytes:
        """Waits for it; raises its error."""
        if self._early is not None:
            return self._early
        read, call, self._read, self._call = self._read, self._call, None, None
        if call is None:  # not begun, or failed before an answer: the plain way has the same error, or none
            return self._fs.cat_file(self._path, self._start, self._end)
        try:
            self._fs.cache.finish(read, call)
            return bytes(read.view())
        except (ViewTooLarge, MemoryError, FileNotFoundError, InvalidName):
            return self._fs.cat_file(self._path, self._start, self._end)
        finally:
            read.drop()

    def drop(self) -> None:
        """Gives it up."""
        read, call, self._read, self._call = self._read, self._call, None, None
        if read is not None:
            read.drop()
        if call is not None:
            call.close()


def _take(
    under_way: deque[_RangeRead], results: list[bytes | Exception], on_error: str, keep: int | None
) -> None:
    """Takes the results of the oldest ranges: of one, or of all but ``keep``."""
    stop = len(under_way) - 1 if keep is None else keep
    while len(under_way) > stop:
        read = under_way.popleft()
        try:
            results.append(read.bytes())
        except Exception as error:
            if on_error == "raise":
                raise
            results.append(error)


def _details_of_meta(path: str, meta: Meta) -> _Details:
    return {
        "name": path,
        "size": meta.size_bytes,
        "type": "file",
        "version": meta.version,
        "ETag": meta.version,
        "mtime": meta.last_modified,
        "LastModified": datetime.fromtimestamp(meta.last_modified, UTC),
        "ContentType": meta.content_type,
        "cashy_name": meta.name,
    }


def _details_of_entry(entry: Listed) -> _Details:
    path = path_of(entry.name)
    if entry.is_prefix:
        return {"name": path, "size": None, "type": "directory"}
    return {
        "name": path,
        "size": entry.size_bytes,
        "type": "file",
        "version": entry.version,
        "ETag": entry.version,
        "mtime": entry.last_modified,
        "LastModified": datetime.fromtimestamp(entry.last_modified, UTC),
    }


def _folders_of(names: Iterable[str], top: str) -> Iterator[_Details]:
    """The folders that objects below ``top`` lie in, and ``top`` itself."""
    seen = {top} if names else set()
    for name in names:
        folder = parent_of(name)
        while len(folder) > len(top) and folder not in seen:
            seen.add(folder)
            folder = parent_of(folder)
    for folder in seen:
        yield {"name": folder, "size": None, "type": "directory"}


def _is_bucket(path: str) -> bool:
    return bool(path) and "/" not in path


def _as_missing(error: NoSuchObject | NoSuchBucket | InvalidName) -> OSError:
    return error if isinstance(error, FileNotFoundError) else FileNotFoundError(error.message)


def _refuse(path: Any) -> NoReturn:
    raise PermissionError(f"{path!r} cannot be written, {_WRITE_ELSEWHERE}")
