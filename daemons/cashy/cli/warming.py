"""Bringing objects into the host's memory, some at a time, and seeing that they are there.

Law: an object counts as warm when each of its blocks was seen in memory in one version, and not because the daemon was asked to load it. So the
daemon is asked ahead (prefetch), and the blocks are then taken in order, which waits for those on their way and says why one cannot come. What
fails is one object's outcome; only a daemon that is gone ends the whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from cashy.client.cache import Cache
from cashy.client.cached_object import NO_ROOM_AHEAD, CachedObject
from cashy.client.meta import IN_MEMORY
from cashy.core.globs import is_pattern, parse_pattern
from cashy.errors import CashyError, NoSuchObject, NotConnected, TooLarge, VersionChanged

__all__ = ["Outcome", "Pace", "Stopped", "Warmer", "names_of"]

#: How often an object is begun anew because it was replaced, or because there was no room for a moment.
TRIES_MAX = 4

#: The first pause for room; each further one is twice as long.
PAUSE_S = 0.25


class Stopped(Exception):
    """The run is to end; nothing is wrong with the object."""


@dataclass(frozen=True)
class Outcome:
    """What became of an object (or of a pattern: then only ``failed``). ``loaded_bytes``: what was not in memory before."""

    url: str
    kind: Literal["warmed", "here", "failed"]
    size_bytes: int = 0
    loaded_bytes: int = 0
    version: str = ""
    seconds: float = 0.0
    error: CashyError | None = None


def names_of(cache: Cache, patterns: Iterable[str], literal: Iterable[str]) -> Iterator[str | Outcome]:
    """The names that are meant, as they are found; patterns that mean nothing, or cannot be listed, are failures in their place."""
    for text in patterns:
        if is_pattern(text):
            yield from _listed(cache, text)
        else:
            yield text
    yield from literal


def _listed(cache: Cache, text: str) -> Iterator[str | Outcome]:
    pattern = parse_pattern(text)
    found = False
    try:
        for entry in cache.list(pattern.prefix, folds=pattern.is_flat):
            if not entry.is_prefix and not entry.name.endswith("/") and pattern.matches(entry.name):
                found = True
                yield entry.name
    except NotConnected:
        raise
    except CashyError as error:
        yield Outcome(text, "failed", error=error)
        return
    if not found:
        yield Outcome(text, "failed", error=NoSuchObject("no object's name matches this"))


class Pace:
    """At most ``bytes_per_s`` over all threads; None: no limit. Waits before what would be too much, or raises :class:`Stopped`."""

    def __init__(self, bytes_per_s: float | None, stopping: threading.Event) -> None:
        self._bytes_per_s = bytes_per_s
        self._stopping = stopping
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self._bytes_per_s is not None

    def take(self, size_bytes: int) -> None:
        """Waits until so many bytes may be loaded."""
        wait_s = 0.0
        if self._bytes_per_s is not None:
            with self._lock:
                now = time.monotonic()
                begin = max(now, self._free_at)
                self._free_at = begin + size_bytes / self._bytes_per_s
                wait_s = begin - now
        if self._stopping.wait(wait_s) if wait_s > 0 else self._stopping.is_set():
            raise Stopped


class Warmer:
    """Warms objects through one cache, ``parallel`` at a time."""

    def __init__(self, cache: Cache, *, parallel: int, bytes_per_s: float | None = None) -> None:
        self._cache = cache
        self._parallel = parallel
        self._memory_bytes = cache.status().arena_bytes
        self._stopping = threading.Event()
        self._pace = Pace(bytes_per_s, self._stopping)

    def run(self, names: Iterable[str | Outcome]) -> Generator[Outcome, None, None]:
        """The outcomes as they come. ``names`` are taken when there is a thread for them, so they may be many, and be found meanwhile."""
        pool = ThreadPoolExecutor(self._parallel, thread_name_prefix="warm")
        under_way: set[Future[Outcome]] = set()
        try:
            for name in names:
                if isinstance(name, Outcome):
                    yield name
                    continue
                under_way.add(pool.submit(self._one, name))
                while len(under_way) >= self._parallel:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    yield from (each.result() for each in done)
            while under_way:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
        finally:
            self._stopping.set()
            pool.shutdown(cancel_futures=True)

    def _one(self, url: str) -> Outcome:
        began = time.monotonic()
        pause_s = PAUSE_S
        for attempt in range(1, TRIES_MAX + 1):
            try:
                return self._load(url, began, gently=attempt > 1)
            except (NotConnected, Stopped):
                raise
            except CashyError as error:
                if not isinstance(error, (VersionChanged, *NO_ROOM_AHEAD)) or attempt == TRIES_MAX:
                    return Outcome(url, "failed", seconds=time.monotonic() - began, error=error)
            if self._stopping.wait(pause_s):
                raise Stopped
            pause_s *= 2
        raise AssertionError("the last attempt has an outcome")

    def _load(self, url: str, began: float, *, gently: bool) -> Outcome:
        """One attempt; ``gently``: one block at a time, since there was no room for several."""
        location = self._cache.locate(url)
        meta = location.meta
        if meta.size_bytes > self._memory_bytes:
            raise TooLarge(
                f"{meta.size_bytes:,} bytes do not fit the {self._memory_bytes:,} of this host's memory"
            )
        runs = _missing_runs(location.tiers)
        if not runs:
            return Outcome(url, "here", meta.size_bytes, 0, meta.version, time.monotonic() - began)
        gently = gently or self._pace.is_limited
        if not gently:
            self._cache.prefetch([url])
        loaded = 0
        with self._cache.open(url) as obj:
            for first, count in runs:
                begin, length = first * meta.block_bytes, count * meta.block_bytes
                load = self._load_singly if gently else self._load_run
                loaded += load(obj, begin, length)
        return Outcome(url, "warmed", meta.size_bytes, loaded, meta.version, time.monotonic() - began)

    def _load_run(self, obj: CachedObject, begin: int, length: int) -> int:
        """Waits for one block after the other, some of them on their way."""
        loaded = 0
        for block in obj.blocks(begin, length):
            loaded += block.nbytes
            self._pace.take(block.nbytes)
        return loaded

    def _load_singly(self, obj: CachedObject, begin: int, length: int) -> int:
        """The same, each block asked for when it may be: a byte of it is read, which brings all of it."""
        end = min(begin + length, obj.size)
        for at in range(begin, end, obj.meta.block_bytes):
            self._pace.take(min(obj.meta.block_bytes, end - at))
            obj.readinto(bytearray(1), at)
        return end - begin


def _missing_runs(tiers: Iterable[str]) -> list[tuple[int, int]]:
    """Neighbours among the blocks that are not in memory: first, and how many. What is on the SSD is brought into memory, too."""
    runs = []
    for is_missing, group in groupby(enumerate(tiers), key=lambda pair: pair[1] != IN_MEMORY):
        indices = [index for index, _ in group]
        if is_missing:
            runs.append((indices[0], len(indices)))
    return runs
