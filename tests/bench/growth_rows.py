"""Whether a hit and a miss cost the same with a thousand times as many blocks.

Both are measured on the parts that grow, inside this process: filling a million blocks through a daemon would take minutes and measure the
origin. A *hit* is the client library's own (``LocalArena.hit_range``: index or hint, pin, re-check, view, release) of a random block out of all that
are cached. A *miss* is the master's share that depends on what it holds (``BlockStore``: make room by evicting, lease, publish) with the arena full.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import crc32c

from aviary.cashy.v1 import control_pb2 as pb
from cashy.client.reader import LocalArena
from cashy.core import meta_record
from cashy.core.names import block_digest, meta_digest, parse_name
from cashy.master.counters import Counters
from cashy.master.store import BlockStore
from shmipc.fence import can_register
from shmipc.instance import Instance
from shmipc.segment import SHM_FOLDER

from .local_rows import KIB, MIB
from .machine import LOAD_CORE, pinned
from .row import Bench, Measurement, Unavailable, alternate

__all__ = ["hit_growth", "miss_growth"]

CELL_BYTES = 512
SLAB_BYTES = 64 * KIB
SMALL_BLOCKS = 1_000
LARGE_BLOCKS = 1_000_000
_URL = "s3://bench/many-blocks"
_NEVER_NS = 1 << 62


class Population:
    """A store full of blocks of one object; ``next_index`` is the first that it has not."""

    def __init__(self, store: BlockStore, blocks: int) -> None:
        self.store = store
        self.blocks = blocks
        self.next_index = 0
        self.content_id = blocks.to_bytes(32, "big")

    def add(self, count: int) -> None:
        """What the master does for ``count`` misses but for the transfers."""
        store, content_id = self.store, self.content_id
        for index in range(self.next_index, self.next_index + count):
            slot = store.lease_block(block_digest(content_id, index), CELL_BYTES, False)
            store.buffer(slot)[:4] = (index & 0xFFFF_FFFF).to_bytes(4, "little")
            store.publish(slot, 0)
        self.next_index += count

    def reader(self) -> LocalArena:
        """A client of this store, with the object's metadata in shared memory."""
        arena = self.store.arena
        info = pb.ObjectInfo(
            content_id=self.content_id, size=self.blocks * CELL_BYTES, block_bytes=CELL_BYTES, version='"1"'
        )
        record = meta_record.encode(info)
        self.store.put_meta(
            meta_digest(parse_name(_URL)), record, crc32c.crc32c(record), _NEVER_NS, _NEVER_NS
        )
        _, table_fd = arena.tables.create()
        arena_fd = os.open(os.path.join(SHM_FOLDER, arena.segment.name), os.O_RDONLY)
        welcome = pb.Welcome(
            arena_id=arena.arena_id, arena_bytes=arena.geometry.data_bytes, pin_bytes_max=64 * MIB,
            mappings_max=1024, private_bytes_max=MIB, block_bytes=SLAB_BYTES,
        )  # fmt: skip
        return LocalArena(arena_fd, table_fd, welcome)


@contextmanager
def _population(name: str, blocks: int, *, spare: int) -> Iterator[Population]:
    """``blocks`` cached blocks; ``spare`` bytes of the arena stay free."""
    instance = Instance("cashybench", f"{name}-{os.getpid()}")
    instance.acquire()
    try:
        arena_bytes = -(-blocks * CELL_BYTES // SLAB_BYTES) * SLAB_BYTES + spare
        store = BlockStore.open(
            instance,
            Counters(),
            arena_bytes=arena_bytes,
            block_bytes=SLAB_BYTES,
            policy="s3-fifo",
            slot_count=2 * blocks,
        )
        try:
            made = Population(store, blocks)
            made.add(blocks)
            yield made
        finally:
            store.close()
    finally:
        instance.remove()
        instance.close()


def _sizes(bench: Bench) -> tuple[int, int]:
    return (SMALL_BLOCKS, bench.scaled(LARGE_BLOCKS, 20_000))


def hit_growth(bench: Bench) -> Measurement:
    """Microseconds of a hit: ours at the large count, the peer is the same at the small one."""
    if not can_register():
        raise Unavailable("this kernel offers no membarrier(2): clients work on copies")
    small, large = _sizes(bench)
    with (
        pinned(LOAD_CORE),
        _population("small", small, spare=MIB) as few,
        _population("large", large, spare=MIB) as many,
    ):
        return _compared_hits(bench, many.reader(), few.reader(), large, small)


def _compared_hits(bench: Bench, many: LocalArena, few: LocalArena, large: int, small: int) -> Measurement:
    """Lets go of both readers in the end, before their arenas are removed."""
    count = bench.scaled(100_000, 2_000)
    measured = alternate(
        bench, lambda: _hit_us(many, large, large, count), lambda: _hit_us(few, small, small, count)
    )
    same_thousand = [_hit_us(many, large, small, count) for _ in range(1 + bench.runs)][1:]
    measured.notes["us_of_a_fixed_thousand_of_the_many"] = round(statistics.median(same_thousand), 3)
    return measured


def _hit_us(reader: LocalArena, blocks: int, used: int, count: int) -> float:
    """Mean microseconds of a hit of random blocks among ``used`` that are spread over all."""
    step = blocks // used
    indices = [index * step for index in random.Random(7).choices(range(used), k=count)]
    meta = reader.lookup(_URL)
    assert meta is not None
    for index in indices[:64]:
        view = reader.hit_range(meta, index * CELL_BYTES, CELL_BYTES)
        assert view is not None
        assert bytes(view[:4]) == index.to_bytes(4, "little"), "wrong bytes"
        view.release()
    started = time.perf_counter()
    for index in indices:
        found = reader.lookup(_URL)
        assert found is not None
        view = reader.hit_range(found, index * CELL_BYTES, CELL_BYTES)
        assert view is not None
        view.release()
    return (time.perf_counter() - started) / count * 1e6


def miss_growth(bench: Bench) -> Measurement:
    """Microseconds of the store's share of a miss with the arena full."""
    small, large = _sizes(bench)
    count = bench.scaled(50_000, 2_000)
    with (
        pinned(LOAD_CORE),
        _population("small", small, spare=0) as few,
        _population("large", large, spare=0) as many,
    ):
        # As the master does when it is up: what lives now is out of every collection.
        gc.collect()
        gc.freeze()
        try:
            return alternate(bench, lambda: _miss_us(many, count), lambda: _miss_us(few, count))
        finally:
            gc.unfreeze()


def _miss_us(population: Population, count: int) -> float:
    started = time.perf_counter()
    population.add(count)
    return (time.perf_counter() - started) / count * 1e6
