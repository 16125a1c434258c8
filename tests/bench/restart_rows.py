"""What a killed master's memory is worth to its successor."""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path

from tests.system.lone import LoneMaster

import cashy

from .local_rows import KIB
from .machine import LOAD_CORE, pinned
from .objects import BUCKET
from .row import Bench, Measurement

__all__ = ["hit_ratio_after_restart"]

BLOCK_BYTES = 64 * KIB


def hit_ratio_after_restart(bench: Bench) -> Measurement:
    """Share of reads served out of memory, in random order over all cached blocks: the last before a kill -9 (the peer), the first after the restart.

    A client that outlives the master reads each block once, from the moment at which the new master answers; each block says which one it is.
    What was brought from the origin again is no hit. Beside it: how long after the new process was started it answered (the goal is a second),
    and which part of the reads found their block without asking the master, since it had been verified by then.
    """
    count = bench.scaled(10_000, 300)
    path = _marked_file(bench.folder / "origin" / BUCKET / "large", count)
    config = f'[freshness]\nrevalidate_after_s = 3600.0\n[[origin]]\nkind = "directory"\npath = "{bench.folder / "origin"}"\n'
    folder = bench.folder / "host"
    folder.mkdir()
    before, after, serving_ms, alone = [], [], [], []
    with (
        LoneMaster(folder, config, memory=f"{count * BLOCK_BYTES * 5 // 4}", block="64KiB") as master,
        master.connect() as cache,
        pinned(LOAD_CORE),
    ):
        _read_all(cache, path, range(count))
        for number in range(bench.runs):
            order = random.Random(number).sample(range(count), count)
            before.append(_hit_ratio(cache, path, order)[0])
            master.kill()
            began = time.perf_counter()
            master.start()
            serving_ms.append((time.perf_counter() - began) * 1000)
            ratio, unasked = _hit_ratio(cache, path, order)
            after.append(ratio)
            alone.append(unasked)
    return Measurement(
        after,
        before,
        {
            "serving_after_ms": round(statistics.median(serving_ms)),
            "serving_after_ms_worst": round(max(serving_ms)),
            "found_without_asking": round(statistics.median(alone), 3),
            "blocks": count,
        },
    )


def _marked_file(path: Path, count: int) -> Path:
    """Each block begins with its number; the rest are holes."""
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        for number in range(count):
            file.seek(number * BLOCK_BYTES)
            file.write(number.to_bytes(8, "little"))
        file.truncate(count * BLOCK_BYTES)
    return path


def _read_all(cache: cashy.Cache, path: Path, order: list[int] | range) -> None:
    for number in order:
        with cache.read(f"file://{path}", number * BLOCK_BYTES, BLOCK_BYTES) as view:
            assert int.from_bytes(view[:8], "little") == number


def _hit_ratio(cache: cashy.Cache, path: Path, order: list[int]) -> tuple[float, float]:
    """What was served out of memory, and what of it without asking the master."""
    first = cache.status().counters
    _read_all(cache, path, order)
    last = cache.status().counters
    filled = last.get("blocks_filled", 0) - first.get("blocks_filled", 0)
    found = last["hits_memory"] - first["hits_memory"]
    return 1 - filled / len(order), min(1.0, found / len(order))
