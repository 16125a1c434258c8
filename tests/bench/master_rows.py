"""What a master costs per cached block, and how long its loop stands still at worst."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.system.harness import DevHost

from .local_rows import KIB, MIB, started_host
from .machine import LOAD_CORE, pinned, private_bytes, run_queue_seconds
from .objects import BUCKET, make_files
from .row import Bench, Measurement, against_limit

__all__ = ["bytes_per_block", "loop_stall"]

BLOCK_BYTES = 64 * KIB
BYTES_PER_BLOCK_LIMIT = 300.0
STALL_LIMIT_MS = 10.0


def bytes_per_block(bench: Bench) -> Measurement:
    """Private memory (RssAnon + RssFile, so without the arena) that the master grows by per cached block.

    From the first object read until all are, in the same master; once with small objects (each brings a metadata slot besides its block,
    not counted as a block), once with the blocks of a large one; the row is the larger figure. Beside it stands what the arrays cost
    that a master sets up at its start for all slots of its arena, used or not.
    """
    root = bench.folder / "origin"
    count = bench.scaled(20_000, 500)
    keys = list(make_files(root, count, 3 * KIB))
    small = [root / BUCKET / key for key in keys]
    large = root / BUCKET / "large"
    with large.open("wb") as file:
        file.truncate(
            bench.scaled(1024, 16) * MIB
        )  # holes cost nothing; the arena's pages are what is filled
    blocks = large.stat().st_size // BLOCK_BYTES
    found: list[float] = []
    notes: dict[str, int] = {}
    least, _ = _before_and_after(bench, "least", root, "4MiB", small[0], lambda host: None)
    for number in range(1 if bench.quick else 3):
        first, full = _before_and_after(
            bench, f"small{number}", root, "256MiB", small[0], lambda host: _read(host, small)
        )
        first_large, full_large = _before_and_after(
            bench, f"large{number}", root, "1056MiB", small[0], lambda host: _read_blocks(host, large)
        )
        per_small, per_large = (full - first) / count, (full_large - first_large) / blocks
        found.append(max(per_small, per_large))
        notes = {
            f"growth_with_{count}_objects_of_3_kib": round(per_small),
            f"growth_with_{blocks}_blocks_of_64_kib": round(per_large),
            "set_up_for_65536_slots_bytes": first - least,
            "set_up_for_270336_slots_bytes": first_large - least,
        }
    return against_limit(found, BYTES_PER_BLOCK_LIMIT, **notes)


def _before_and_after(
    bench: Bench, name: str, root: Path, memory: str, first: Path, work: Callable[[DevHost], None]
) -> tuple[int, int]:
    """The master's private bytes after one object, and after ``work``."""
    with started_host(bench, name, f"file={root}", memory=memory, block="64KiB") as host, pinned(LOAD_CORE):
        pid = host.master_pid()
        _read(host, [first])
        before = private_bytes(pid)
        work(host)
        return before, private_bytes(pid)


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
    blocks. The figure is the whole life of that master, its start included; what it was before the storm, and how long in all the master was ready
    but other programs had its core (noise of the machine), stand beside it.
    """
    root = bench.folder / "origin"
    keys = list(make_files(root, bench.scaled(8000, 200), 16 * KIB))
    large = root / BUCKET / "large"
    with large.open("wb") as file:
        file.truncate(bench.scaled(512, 32) * MIB)
    found, before, waited = [], [], []
    evicted = 0
    for number in range(bench.runs):
        with started_host(bench, f"host{number}", f"file={root}", memory="64MiB") as host, pinned(LOAD_CORE):
            pid = host.master_pid()
            before.append(host.counters()["loop_stall_max_us"] / 1000)
            waited_before = run_queue_seconds(pid)
            _storm(host, [root / BUCKET / key for key in keys], large)
            counters = host.counters()
            waited.append((run_queue_seconds(pid) - waited_before) * 1000)
            found.append(counters["loop_stall_max_us"] / 1000)
            evicted = counters.get("slots_evicted", 0)
    return against_limit(
        found,
        STALL_LIMIT_MS,
        worst_ms=round(max(found), 1),
        before_the_storm_ms=round(statistics.median(before), 1),
        all_waits_for_the_core_ms=round(statistics.median(waited), 1),
        slots_evicted=evicted,
    )


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
