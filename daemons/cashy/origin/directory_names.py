"""The names in one folder, in order, a window at a time; and those of the folders listed last, kept for the next page.

Law: no folder costs more memory than a window (two while it is read), however many entries it has. A window is the first
:data:`WINDOW_NAMES_MAX` names from some name on. A folder that has more is read again for each of its windows (a million files: about 120
times in a whole listing) instead of being kept, or sorted, whole. Names only: sizes and times are looked up for what is on the page.

A folder's own names end in ``/``, so that names sort as the keys do that begin with them: ``a.txt``, ``a/b``, ``a0``. A symbolic link stands as a
file and as a folder, and what it is gets looked up when the walk comes by.

A window is kept with the folder's identity and times and is good while these are the same. It is not kept if the folder was changed just
before it was read, for then a further change may leave the same time. The threads that read give way to the event loop every
:data:`YIELD_ENTRIES` entries: they hold the interpreter, and it would take it back only after 5 ms.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

__all__ = [
    "KEPT_NAMES_MAX",
    "Identity",
    "WINDOW_NAMES_MAX",
    "YIELD_ENTRIES",
    "NameCache",
    "Window",
    "read_window",
]

#: About 0.5 MiB of names of 20 bytes. Twice as many are sorted in one call that holds the interpreter: about 4 ms, of runs sorted before.
WINDOW_NAMES_MAX = 8_192

#: Names sorted while they come: about 1 ms.
_RUN_NAMES = 2048

#: Names kept for further pages, in all folders of a directory together: about 12 MiB.
KEPT_NAMES_MAX = 200_000

#: Entries read between two times of giving way, about 0.3 ms.
YIELD_ENTRIES = 256

#: A folder changed within this time is not kept: file systems' clocks tick in up to 2 s (FAT), and servers' clocks differ.
_SETTLED_NS = 3_000_000_000


#: What a window itself counts as, or empty folders would be kept without end.
_OWN_NAMES = 16


class Identity(NamedTuple):
    """Which folder, in which state."""

    device: int
    inode: int
    modified_ns: int
    changed_ns: int


class Window(NamedTuple):
    """Names of a folder from ``low`` on, sorted; ``is_last``: there are none behind them. ``links`` may be files or folders."""

    low: bytes
    names: list[bytes]
    links: frozenset[bytes]
    is_last: bool

    def covers(self, low: bytes) -> bool:
        """Whether it holds what comes at ``low`` and behind."""
        return self.low <= low and (self.is_last or (bool(self.names) and low <= self.names[-1]))

    def index_from(self, low: bytes) -> int:
        """Index of the first name that is not before ``low``, or is a folder that ``low`` lies in."""
        at = bisect_left(self.names, low)
        if at and self.names[at - 1].endswith(b"/") and low.startswith(self.names[at - 1]):
            return at - 1
        return at


class NameCache:
    """Windows of the folders listed last; used by several threads."""

    def __init__(self, names_max: int = KEPT_NAMES_MAX) -> None:
        self._names_max = names_max
        self._windows: OrderedDict[tuple[Identity, bytes], Window] = OrderedDict()
        self._by_folder: dict[Identity, list[bytes]] = {}
        self._count = 0
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """Names kept, with something for each window."""
        return self._count

    def find(self, folder: Identity, low: bytes) -> Window | None:
        """A kept window that holds what comes at ``low`` and behind."""
        with self._lock:
            for begin in self._by_folder.get(folder, ()):
                window = self._windows[folder, begin]
                if window.covers(low):
                    self._windows.move_to_end((folder, begin))
                    return window
        return None

    def keep(self, folder: Identity, window: Window) -> None:
        """Keeps a window, and forgets those used least lately."""
        with self._lock:
            if (folder, window.low) in self._windows:
                return
            self._windows[folder, window.low] = window
            self._by_folder.setdefault(folder, []).append(window.low)
            self._count += len(window.names) + _OWN_NAMES
            while self._count > self._names_max:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        (folder, low), window = self._windows.popitem(last=False)
        self._count -= len(window.names) + _OWN_NAMES
        begins = self._by_folder[folder]
        begins.remove(low)
        if not begins:
            del self._by_folder[folder]


def read_window(
    fd: int,
    low: bytes,
    cache: NameCache,
    check: Callable[[], None],
    *,
    names_max: int = WINDOW_NAMES_MAX,
    now_ns: Callable[[], int] = time.time_ns,
) -> Window:
    """The window of the folder open at ``fd`` that begins at ``low``; raises OSError, and whatever ``check`` does, which is called now and then."""
    status = os.fstat(fd)
    folder = Identity(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
    known = cache.find(folder, low)
    if known is not None:
        return known
    window = _read(fd, low, check, names_max)
    if abs(now_ns() - max(folder.modified_ns, folder.changed_ns)) > _SETTLED_NS:
        cache.keep(folder, window)
    return window


def _read(fd: int, low: bytes, check: Callable[[], None], names_max: int) -> Window:
    names: list[bytes] = []
    links: set[bytes] = set()
    high: bytes | None = None  # names from here on are in a later window
    seen = sorted_count = 0
    with os.scandir(fd) as entries:
        for entry in entries:
            seen += 1
            if not seen % YIELD_ENTRIES:
                check()
                time.sleep(0)
            name = entry.name.encode("utf-8", "surrogateescape")
            # Most entries of a large folder end here, before anything else is asked of them.
            if (high is not None and name >= high) or (name < low and not low.startswith(name)):
                continue
            names += [one for one in _meanings(entry, name, links) if one >= low or _lies_in(low, one)]
            if len(names) - sorted_count >= _RUN_NAMES:
                names[sorted_count:] = sorted(names[sorted_count:])
                sorted_count = len(names)
            if len(names) >= 2 * names_max:
                high = _cut(names, names_max) or high
                links.intersection_update([one.rstrip(b"/") for one in names] if links else ())
                sorted_count = len(names)
    is_last = high is None and len(names) <= names_max
    _cut(names, names_max)
    kept = frozenset(links.intersection(name.rstrip(b"/") for name in names)) if links else frozenset()
    return Window(low, names, kept, is_last)


def _cut(names: list[bytes], names_max: int) -> bytes | None:
    """Sorts, and keeps the first ``names_max``; gives the first that is not kept."""
    names.sort()
    high = names[names_max] if len(names) > names_max else None
    del names[names_max:]
    return high


def _lies_in(low: bytes, name: bytes) -> bool:
    return name[-1] == 0x2F and low.startswith(name)


def _meanings(entry: os.DirEntry[str], name: bytes, links: set[bytes]) -> tuple[bytes, ...]:
    """What an entry may be; nothing for sockets, FIFOs and devices, and for what vanished while it was looked at."""
    try:
        if entry.is_file(follow_symlinks=False):
            return (name,)
        if entry.is_dir(follow_symlinks=False):
            return (name + b"/",)
        if not entry.is_symlink():
            return ()
    except OSError:
        return ()
    links.add(name)
    return (name, name + b"/")
