"""What a master costs per cached block, and how long its loop stands still at worst."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.system.harness import DevHost

from .local_rows import KIB, MIB, started_host
from .machine import LOAD_CORE, pinned, private_bytes
from .objects import BUCKET, make_files
from .row import Bench, Measurement, against_limit

__all__ = ["bytes_per_block", "loop_stall"]

BLOCK_BYTES = 64 * KIB
BYTES_PER_BLOCK_LIMIT = 300.0
STALL_LIMIT_MS = 10.0


def bytes_per_block(bench: Bench) -> Measurement:
    """Private memory (RssAnon + RssFile, so without the arena) per cached block, for small objects and for blocks of a large one.

    Counted is what a master with full memory has more than one of the least memory that has served one object: the arrays it sets
    up for its arena at the start are in it, the interpreter and its libraries are not. Each small object brings a metadata slot besides its
    block, which is not counted as a block. The larger of the two figures is the row's.
    """
    root = bench.folder / "origin"
    count = bench.scaled(20_000, 500)
    small = make_files(root, count, 3 * KIB)
    large = root / BUCKET / "large"
    with large.open("wb") as file:
        file.truncate(
            bench.scaled(1024, 16) * MIB
        )  # holes cost nothing; the arena's pages are what is filled
    found: list[float] = []
    notes = {}
    for number in range(1 if bench.quick else 3):
        base = _private_after(
            bench, f"base{number}", root, "4MiB", lambda host: _read(host, [root / BUCKET / "000000"])
        )
        by_small = _private_after(
            bench,
            f"small{number}",
            root,
            "128MiB",
            lambda host: _read(host, [root / BUCKET / key for key in small]),
        )
        by_large = _private_after(
            bench, f"large{number}", root, "1056MiB", lambda host: _read_blocks(host, large)
        )
        blocks = large.stat().st_size // BLOCK_BYTES
        per_small, per_large = (by_small - base) / count, (by_large - base) / blocks
        notes = {
            f"with_{count}_objects_of_3_kib": round(per_small),
            f"with_{blocks}_blocks_of_64_kib": round(per_large),
        }
        found.append(max(per_small, per_large))
    return against_limit(found, BYTES_PER_BLOCK_LIMIT, **notes)


def _private_after(bench: Bench, name: str, root: Path, memory: str, work: Callable[[DevHost], None]) -> int:
    with started_host(bench, name, f"file={root}", memory=memory, block="64KiB") as host:
        with pinned(LOAD_CORE):
            work(host)
        return private_bytes(host.master_pid())


def _read(host: DevHost, paths: Sequence[Path]) -> None:
    buffer = bytearray(4 * KIB)
    with host.connect() as cache:
        for path in paths:
            cache.readinto(f"file://{path}", buffer)
        counters = cache.status().counters
    assert counters["slots_in_use"] >= 2 * len(paths), "not all of it is cached"


def _read_blocks(host: DevHost, path: Path) -> None:
    with host.connect() as cache:
        with cache.open(f"file://{path}") as opened:
            for block in opened.blocks():
                del block
        counters = cache.status().counters
    assert counters["slots_in_use"] > path.stat().st_size // BLOCK_BYTES, "not all of it is cached"


def loop_stall(bench: Bench) -> Measurement:
    """The master's own measure (how late its loop came to a timer, at most) after a storm of misses with eviction.

    Eight threads of one client read objects that nobody has read, more than the arena holds, beside a stream of large
    blocks. The figure is the whole life of that master, its start included.
    """
    root = bench.folder / "origin"
    keys = list(make_files(root, bench.scaled(8000, 200), 16 * KIB))
    large = root / BUCKET / "large"
    with large.open("wb") as file:
        file.truncate(bench.scaled(512, 32) * MIB)
    found = []
    misses = 0
    for number in range(bench.runs):
        with started_host(bench, f"host{number}", f"file={root}", memory="64MiB") as host, pinned(LOAD_CORE):
            _storm(host, [root / BUCKET / key for key in keys], large)
            counters = host.counters()
            found.append(counters["loop_stall_max_us"] / 1000)
            misses = counters.get("slots_evicted", 0)
    return against_limit(found, STALL_LIMIT_MS, slots_evicted=misses, worst_ms=round(max(found), 1))


def _storm(host: DevHost, paths: Sequence[Path], large: Path, threads: int = 8) -> None:
    errors: list[BaseException] = []

    def read_small(part: Sequence[Path]) -> None:
        buffer = bytearray(16 * KIB)
        try:
            for path in part:
                cache.readinto(f"file://{path}", buffer)
        except BaseException as error:
            errors.append(error)

    def read_large() -> None:
        try:
            with cache.open(f"file://{large}") as opened:
                for block in opened.blocks():
                    del block
        except BaseException as error:
            errors.append(error)

    with host.connect() as cache:
        running = [
            threading.Thread(target=read_small, args=(paths[part::threads],)) for part in range(threads)
        ]
        running.append(threading.Thread(target=read_large))
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    if errors:
        raise errors[0]
    time.sleep(0.05)  # the watch looks every 10 ms
