"""Eviction judged where it counts: by what real clients find, whose hits the master never sees but for the touch marks it harvests."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.cashy import traces

from .harness import DevHost

pytestmark = pytest.mark.system

KEYS = 1200
BLOCK = 64 << 10
ARENA_BLOCKS = 128


def _objects(folder: Path, keys: int) -> None:
    bucket = folder / "bucket"
    bucket.mkdir(parents=True)
    for key in range(keys):
        with (bucket / f"{key}").open("wb") as file:
            file.write(key.to_bytes(8, "big"))
            file.truncate(BLOCK - 16)


def _hit_ratio(tmp_path: Path, files: Path, policy: str, trace: Iterable[int]) -> float:
    home = tmp_path / policy
    home.mkdir()
    config = f'[memory]\neviction = "{policy}"\n[freshness]\nrevalidate_after_s = 3600.0\n'
    memory = f"{ARENA_BLOCKS * BLOCK}"
    with (
        DevHost(home, f"file={files}", memory=memory, block="64KiB", workers=0, config=config) as host,
        host.connect() as cache,
    ):
        requests = 0
        for key in trace:
            with cache.read(f"s3://bucket/{key}", 0, 8) as view:
                assert int.from_bytes(view, "big") == key
            requests += 1
        return 1 - cache.status().counters["blocks_filled"] / requests


def test_scans_by_real_clients_push_out_less_than_under_lru(tmp_path: Path) -> None:
    trace = list(
        traces.scan_polluted(random.Random(7), keys=KEYS, requests=6000, scan_every=600, scan_length=200)
    )
    files = tmp_path / "files"
    _objects(files, max(trace) + 1)
    ours = _hit_ratio(tmp_path, files, "s3-fifo", trace)
    lru = _hit_ratio(tmp_path, files, "lru", trace)
    print(f"hit ratio: s3-fifo {ours:.3f}, lru {lru:.3f}")
    assert ours > lru + 0.01
    assert ours > 0.3
