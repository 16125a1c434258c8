"""What the client counts as a hit: a block found without asking, once, with the bytes that were wanted; and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from tests.cashy.client.mini_master import BLOCK, MiniMaster

import cashy
from cashy.client.reader import NOT_COUNTED
from cashy.client.session import AsyncSession
from shmipc.tables import Hits

ONE = "s3://bucket/one"
BIG = "s3://bucket/big"
BLOCKS, TAIL = 5, 123
BIG_BYTES = (BLOCKS - 1) * BLOCK + TAIL


@pytest.fixture
def hits(master: MiniMaster) -> Callable[[], Hits]:
    """What the owner has counted since the last call."""
    before = Hits(0, 0)

    def new() -> Hits:
        nonlocal before
        now = master.arena.tables.hits()
        risen = Hits(now.blocks - before.blocks, now.bytes - before.bytes)
        before = now
        return risen

    return new


def test_a_miss_is_none_and_then_every_read_is_one(
    cache: cashy.Cache, master: MiniMaster, hits: Callable[[], Hits]
) -> None:
    master.put(ONE, 5000)
    assert len(cache.read(ONE)) == 5000
    assert hits() == (0, 0)
    cache.read(ONE)
    assert hits() == (1, 5000)
    cache.read(ONE, 10, 100)
    assert hits() == (1, 100)
    cache.read(ONE, 4990, 100)
    assert hits() == (1, 10)
    cache.read(ONE, 4990, None)
    assert hits() == (1, 10)
    cache.read(ONE, 5000)
    assert hits() == (0, 0), "nothing was read"


def test_a_view_of_many_blocks_counts_each_with_its_part(
    cache: cashy.Cache, master: MiniMaster, hits: Callable[[], Hits]
) -> None:
    data = master.put(BIG, BIG_BYTES)
    assert cache.read(BIG) == data
    assert hits() == (0, 0), "all of it was announced"
    assert cache.read(BIG) == data
    assert hits() == (BLOCKS, BIG_BYTES)
    assert cache.read(BIG, BLOCK - 1, BLOCK + 2) == data[BLOCK - 1 : 2 * BLOCK + 1]
    assert hits() == (3, BLOCK + 2)
    with cache.open(BIG) as handle:
        assert sum(len(view) for view in handle.blocks()) == BIG_BYTES
    assert hits() == (BLOCKS, BIG_BYTES)


def test_what_is_here_in_part_is_counted_in_part(
    cache: cashy.Cache, master: MiniMaster, hits: Callable[[], Hits]
) -> None:
    master.put(BIG, BIG_BYTES)
    cache.read(BIG, BLOCK, BLOCK)
    assert hits() == (0, 0)
    cache.read(BIG)
    assert hits() == (1, BLOCK)


def test_a_copy_counts_what_was_copied(
    cache: cashy.Cache, master: MiniMaster, hits: Callable[[], Hits]
) -> None:
    master.put(BIG, BIG_BYTES)
    buffer = bytearray(BLOCK)
    cache.readinto(BIG, buffer, BLOCK // 2)
    assert hits() == (0, 0)
    cache.readinto(BIG, buffer, BLOCK // 2)
    assert hits() == (2, BLOCK)


def test_metadata_is_no_block(cache: cashy.Cache, master: MiniMaster, hits: Callable[[], Hits]) -> None:
    master.put(ONE, 5000)
    cache.read(ONE)
    cache.stat(ONE)
    cache.open(ONE)
    with cashy.connect(master.socket_path) as other:
        other.stat(ONE)
    assert hits() == (0, 0)


def test_a_block_that_changed_meanwhile_is_none(
    cache: cashy.Cache, master: MiniMaster, hits: Callable[[], Hits]
) -> None:
    """The client remembers where it was; what is there now is another's, and it asks."""
    master.put(ONE, 5000)
    cache.read(ONE).release()
    cache.read(ONE).release()
    assert hits() == (1, 5000)
    master.put(ONE, 4000, version=2)
    cache.status()  # all releases were read
    master.evict_all()
    assert len(cache.read(ONE)) == 4000
    assert hits() == (0, 0)


def test_step_three_of_the_pin_takes_the_count_back(
    cache: cashy.Cache, master: MiniMaster, hits: Callable[[], Hits], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slot is recycled between the look at its word and the pin: it was pinned and counted, and is neither."""
    master.put(ONE, 5000)
    cache.read(ONE).release()
    cache.read(ONE).release()
    hits()
    arena = cache._arena
    assert arena is not None
    assert arena.table is not None
    real_pin = arena.table.pin

    def pin_too_late(*arguments: int) -> int:
        monkeypatch.undo()
        master.evict_all()
        return real_pin(*arguments)

    meta = arena.lookup(ONE)
    assert meta is not None
    cache.status()  # the daemon has read all releases and holds nothing itself
    monkeypatch.setattr(arena.table, "pin", pin_too_late)
    assert arena.pin_block(meta, 0) is None
    assert hits() == (0, 0)
    cache.read(ONE).release()
    cache.read(ONE).release()
    assert hits() == (1, 5000)
    cache.status()
    monkeypatch.setattr(arena.table, "pin", pin_too_late)
    assert arena.read_hit(ONE, 0, 5000) is None
    assert hits() == (0, 0)


def test_a_pin_to_see_whether_it_is_here_is_none(master: MiniMaster, hits: Callable[[], Hits]) -> None:
    master.put(ONE, 5000)

    async def main() -> None:
        session = await AsyncSession.connect(master.socket_path, program="test")
        try:
            async with session.fetch(ONE, 0, 1, content_id=None, streaming=False) as fetch:
                meta = await fetch.meta()
                async for block in fetch:
                    block.pin.release()
            assert hits() == (0, 0)
            for wanted, expected in ((None, (1, 5000)), (10, (1, 10)), (0, (1, 0)), (NOT_COUNTED, (0, 0))):
                pin = session.pin(meta, 0, wanted)
                assert pin is not None
                pin.release()
                assert hits() == expected
        finally:
            await session.close()

    asyncio.run(main())


def test_threads_and_clients_add_up(cache: cashy.Cache, master: MiniMaster, hits: Callable[[], Hits]) -> None:
    master.put(ONE, 1000)
    cache.read(ONE).release()

    def work(mine: cashy.Cache) -> None:
        for _ in range(500):
            mine.read(ONE, 0, 1000).release()

    with cashy.connect(master.socket_path) as other:
        other.read(ONE).release()
        hits()
        threads = [threading.Thread(target=work, args=(mine,)) for mine in (cache, cache, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert hits() == (1500, 1_500_000)


def test_a_client_that_cannot_pin_is_not_counted(
    master: MiniMaster, hits: Callable[[], Hits], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASHY_NO_PINS", "1")
    master.put(ONE, 5000)
    with cashy.connect(master.socket_path) as copying:
        for _ in range(3):
            assert len(copying.read(ONE)) == 5000
    assert hits() == (0, 0)
