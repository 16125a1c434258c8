"""Reads inside one process: the client library's hit against the ways a program would otherwise share bytes with its neighbours."""

from __future__ import annotations

import mmap
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tests.system.harness import DevHost

import cashy

from .machine import LOAD_CORE, SERVER_CORE, pinned
from .objects import BUCKET, content, digest_of, make_files
from .peers import redis_socket
from .row import Bench, Measurement, Unavailable, alternate

__all__ = ["hit_against_files", "hit_against_lmdb", "hit_against_redis", "started_host", "view_against_pread"]

KIB = 1 << 10
MIB = 1 << 20
PAGE = 4 * KIB
HIT_BYTES = 64 * KIB
VIEW_BYTES = 64 * MIB

#: Cached metadata is used unasked for the whole run, as nginx's cached answers are (proxy_cache_valid).
CONFIG = '[freshness]\nrevalidate_after_s = 36000\n[log]\nlevel = "warning"\n'


@contextmanager
def started_host(
    bench: Bench, name: str, *origins: str, memory: str, workers: int = 0, block: str = "4MiB"
) -> Iterator[DevHost]:
    """A whole cashy host, all of whose processes are on the server's core."""
    folder = bench.folder / name
    folder.mkdir()
    with pinned(SERVER_CORE):
        host = DevHost(folder, *origins, memory=memory, workers=workers, block=block, config=CONFIG)
    with host:
        yield host


def p50_us(read: Callable[[str], object], keys: Sequence[str], count: int) -> float:
    """Median microseconds of one read, over random keys."""
    chosen = random.Random(1).choices(keys, k=count)
    clock = time.perf_counter_ns
    samples = []
    for key in chosen:
        started = clock()
        read(key)
        samples.append(clock() - started)
    return statistics.median(samples) / 1000


def touched(view: memoryview) -> bytes:
    """A byte of every page, as every contestant that hands out memory is made to do."""
    return bytes(view[::PAGE])


def _hit(bench: Bench, peer_of: Callable[[Path, dict[str, str]], Callable[[str], object]]) -> Measurement:
    root = bench.folder / "origin"
    digests = make_files(root, bench.scaled(512, 32), HIT_BYTES)
    count = bench.scaled(10_000, 500)
    with started_host(bench, "host", f"file={root}", memory="256MiB") as host, host.connect() as cache:
        urls = {key: f"file://{root}/{BUCKET}/{key}" for key in digests}
        _verify(cache, urls, digests)

        def ours(key: str) -> None:
            with cache.read(urls[key], 0, HIT_BYTES) as view:
                touched(view)

        theirs = peer_of(root / BUCKET, digests)
        keys = list(digests)
        with pinned(LOAD_CORE):
            return alternate(bench, lambda: p50_us(ours, keys, count), lambda: p50_us(theirs, keys, count))


def _verify(cache: cashy.Cache, urls: dict[str, str], digests: dict[str, str]) -> None:
    for key, url in urls.items():
        with cache.read(url) as view:
            if digest_of(bytes(view)) != digests[key]:
                raise Unavailable(f"wrong bytes for {key}")


def hit_against_files(bench: Bench) -> Measurement:
    """open + mmap + touch + close of a file in memory: what a program does without a cache daemon."""

    def peer_of(folder: Path, digests: dict[str, str]) -> Callable[[str], object]:
        paths = {key: str(folder / key) for key in digests}

        def read(key: str) -> None:
            fd = os.open(paths[key], os.O_RDONLY)
            with (
                mmap.mmap(fd, HIT_BYTES, mmap.MAP_SHARED, mmap.PROT_READ) as mapped,
                memoryview(mapped) as view,
            ):
                touched(view)
            os.close(fd)

        return read

    return _hit(bench, peer_of)


def hit_against_redis(bench: Bench) -> Measurement:
    """GET over a unix socket with redis-py."""
    try:
        import redis
    except ImportError:
        raise Unavailable("the Python package redis is not installed: pip install --group bench") from None
    with redis_socket(bench.folder) as path:

        def peer_of(folder: Path, digests: dict[str, str]) -> Callable[[str], object]:
            client: Any = redis.Redis(unix_socket_path=str(path))
            for key in digests:
                client.set(key, (folder / key).read_bytes())
                assert digest_of(bytes(client.get(key))) == digests[key]
            return lambda key: client.get(key)

        return _hit(bench, peer_of)


def hit_against_lmdb(bench: Bench) -> Measurement:
    """A get without copy in a read transaction: the limit, since lmdb has no pins, no eviction and no other process's word to check."""
    try:
        import lmdb
    except ImportError:
        raise Unavailable("the Python package lmdb is not installed: pip install --group bench") from None
    opened: Any = lmdb.open(str(bench.folder / "lmdb"), map_size=1 << 30, sync=False)
    with opened as store:

        def peer_of(folder: Path, digests: dict[str, str]) -> Callable[[str], object]:
            with store.begin(write=True) as transaction:
                for key in digests:
                    transaction.put(key.encode(), (folder / key).read_bytes())
            with store.begin() as transaction:
                assert all(digest_of(transaction.get(key.encode())) == digests[key] for key in digests)

            def read(key: str) -> None:
                with store.begin(buffers=True) as transaction:
                    touched(transaction.get(key.encode()))

            return read

        return _hit(bench, peer_of)


def view_against_pread(bench: Bench) -> Measurement:
    """Warm bytes into a numpy sum: as a view of the cache, or read into a fresh buffer."""
    root = bench.folder / "origin"
    (root / BUCKET).mkdir(parents=True)
    path = root / BUCKET / "large"
    path.write_bytes(content("large", VIEW_BYTES))
    url = f"file://{path}"
    with started_host(bench, "host", f"file={root}", memory="256MiB") as host, host.connect() as cache:

        def ours() -> float:
            started = time.perf_counter()
            with cache.open(url) as opened:
                array = np.frombuffer(opened.view(), np.uint64)
                total = array.sum()
                del array
            return _timed(started, total)

        def theirs() -> float:
            started = time.perf_counter()
            array: Any = np.empty(VIEW_BYTES // 8, np.uint64)
            fd = os.open(path, os.O_RDONLY)
            done = 0
            with memoryview(array.view(np.uint8)) as target:
                while done < VIEW_BYTES:
                    done += os.preadv(fd, [target[done:]], done)
            os.close(fd)
            return _timed(started, array.sum())

        expected = np.frombuffer(path.read_bytes(), np.uint64).sum()

        def _timed(started: float, total: np.uint64) -> float:
            elapsed_ms = (time.perf_counter() - started) * 1000
            assert total == expected, "wrong bytes"
            return elapsed_ms

        def first() -> float:
            """As in a process that has not had this view before."""
            assert cache._arena is not None
            cache._arena._spans.forget()
            return ours()

        with pinned(LOAD_CORE):
            measured = alternate(bench, ours, theirs, warm_ups=2)
            measured.notes["ms_of_a_first_view"] = round(
                statistics.median(first() for _ in range(bench.runs)), 2
            )
            return measured
