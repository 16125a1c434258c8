"""What a predecessor has left in memory is nobody's until its bytes were looked at; and memory that rots later is noticed, too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import crc32c
import pytest

from cashy.core.meta_record import KIND_META
from cashy.master.counters import Counters
from cashy.master.store import BlockStore
from cashy.master.verifying import Verifier
from shmipc.instance import Instance
from shmipc.states import State

from .test_store import BLOCK, Reader, content_of, digest_of, make_store, put

PATIENCE_S = 30.0
COUNT = 12


def counters_of(store: BlockStore) -> dict[str, int]:
    return store._counters.totals()


def damage(store: BlockStore, slot: int, at: int = 12_345) -> None:
    """Flips a bit, as nobody of this program would."""
    store.content(slot)[at % len(store.content(slot))] ^= 4


@contextmanager
def filled(instance: Instance, count: int = COUNT) -> Iterator[BlockStore]:
    store = make_store(instance)
    for number in range(count):
        put(store, number)
    yield store
    store.close()


@contextmanager
def restarted(instance: Instance) -> Iterator[BlockStore]:
    store = make_store(instance)
    yield store
    store.close()


def slots_of(store: BlockStore) -> dict[int, int]:
    return {number: store.arena._index.find(digest_of(number)) for number in range(COUNT)}


def verify(store: BlockStore, until: Callable[[], bool]) -> None:
    async def main() -> None:
        verifier = Verifier(store, store._counters)
        task = asyncio.create_task(verifier.run())
        async with asyncio.timeout(PATIENCE_S):
            while not until():
                assert not task.done(), task.exception()
                await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        verifier.close()

    asyncio.run(main())


def test_what_was_left_is_found_by_whoever_looks_for_it_and_by_no_reader_before(instance: Instance) -> None:
    with filled(instance):
        pass
    with restarted(instance) as store:
        assert store.unverified == store.levels["slots_unverified"] == COUNT
        reader = Reader(store)
        assert all(reader.pin(number) is None for number in range(COUNT))
        for number in range(COUNT):
            slot = store.find(digest_of(number))
            assert bytes(store.content(slot)) == content_of(number, BLOCK)
            assert store.unverified == COUNT - number - 1
            assert reader.pin(number) == content_of(number, BLOCK)
        reader.close()


def test_the_verifier_makes_all_of_it_hits_again_under_the_words_that_readers_remember(
    instance: Instance,
) -> None:
    with filled(instance) as store:
        words = {number: store.arena.word(slot) for number, slot in slots_of(store).items()}
    with restarted(instance) as store:
        assert all(store.arena.word(slot) != words[number] for number, slot in slots_of(store).items())
        verify(store, lambda: not store.unverified)
        assert {number: store.arena.word(slot) for number, slot in slots_of(store).items()} == words
        reader = Reader(store)
        assert all(reader.pin(number) == content_of(number, BLOCK) for number in range(COUNT))
        assert counters_of(store)["slots_restored"] == counters_of(store)["slots_scrubbed"] == COUNT
        reader.close()


@pytest.mark.parametrize("by", ["look-up", "verifier"])
def test_a_block_damaged_meanwhile_is_gone_and_all_others_are_there(instance: Instance, by: str) -> None:
    with filled(instance) as store:
        damage(store, slots_of(store)[5])
    with restarted(instance) as store:
        if by == "verifier":
            verify(store, lambda: not store.unverified)
        found = [number for number in range(COUNT) if store.find(digest_of(number)) >= 0]
        assert found == [number for number in range(COUNT) if number != 5]
        assert counters_of(store)["slots_corrupt"] == 1
        assert store.unverified == 0
        put(store, 5)
        assert bytes(store.content(store.find(digest_of(5)))) == content_of(5, BLOCK)


def test_a_reader_that_outlives_the_master_gets_no_damaged_block_either(instance: Instance) -> None:
    store = make_store(instance)
    for number in range(COUNT):
        put(store, number)
    reader = Reader(store)
    slots = slots_of(store)
    kept = reader.pin(3)
    store.close()
    with restarted(instance) as after:
        damage(after, slots[7])
        assert all(reader.pin(number) is None for number in range(COUNT)), "of all it knew nothing counts yet"
        verify(after, lambda: not after.unverified)
        assert reader.pin(7) is None
        assert reader.pin(8) == content_of(8, BLOCK)
        for number in range(100, 130):
            put(after, number)
        at = after.arena.fields(slots[3]).offset
        assert bytes(reader.arena.segment.memory[at : at + BLOCK]) == kept, (
            "what it holds stays, whoever owns it"
        )
        reader.close()


def test_room_is_made_out_of_what_nobody_has_looked_at(instance: Instance) -> None:
    with filled(instance, 16):
        pass
    with restarted(instance) as store:
        for number in range(100, 164):
            put(store, number)
            assert bytes(store.content(store.find(digest_of(number)))) == content_of(number, BLOCK)
        assert store.unverified == 0
        assert store.levels["slots_in_use"] <= 16


def test_a_master_that_dies_before_it_has_looked_leaves_it_to_the_next(instance: Instance) -> None:
    with filled(instance):
        pass
    for _ in range(3):
        with restarted(instance) as store:
            assert store.unverified == COUNT
            assert store.find(digest_of(0)) >= 0
    with restarted(instance) as store:
        verify(store, lambda: not store.unverified)
        assert all(store.find(digest_of(number)) >= 0 for number in range(COUNT))


def test_a_record_that_was_replaced_does_not_come_back(instance: Instance) -> None:
    def record(text: bytes, store: BlockStore) -> int:
        return store.put_meta(digest_of(0), text, crc32c.crc32c(text), 1 << 62, 1)

    store = make_store(instance)
    old = record(b"old", store)
    reader = Reader(store)
    store.close()
    with restarted(instance) as store:
        new = record(b"new", store)
        verify(store, lambda: not store.unverified)
        assert store.find(digest_of(0)) == new
        assert store.arena.state(old) is not State.READY
        assert store.arena.fields(new).kind == KIND_META
        reader.close()


def test_a_record_that_was_invalidated_does_not_come_back_either(instance: Instance) -> None:
    with filled(instance):
        pass
    with restarted(instance) as store:
        assert store.invalidate(digest_of(2))
        verify(store, lambda: not store.unverified)
        assert store.find(digest_of(2)) == -1


def test_a_duplicate_that_the_index_does_not_lead_to_is_not_confirmed(instance: Instance) -> None:
    with filled(instance) as store:
        second = store.lease_block(digest_of(0), BLOCK, False)
        store.buffer(second)[:] = content_of(0, BLOCK)
        store.publish(second, crc32c.crc32c(content_of(0, BLOCK)))  # as a lost entry of the index would allow
    with restarted(instance) as store:
        verify(store, lambda: not store.unverified)
        ready = [
            slot for slot in store.arena.ready_slots() if store.arena.fields(slot).digest == digest_of(0)
        ]
        assert len(ready) == 1
        assert store.find(digest_of(0)) == ready[0]


def test_memory_that_rots_while_it_is_served_is_noticed(instance: Instance) -> None:
    with filled(instance) as store:
        damage(store, slots_of(store)[4])
        verify(store, lambda: counters_of(store).get("slots_corrupt", 0) == 1)
        assert store.find(digest_of(4)) == -1
        assert store.find(digest_of(3)) >= 0


def test_a_slot_given_up_while_it_is_looked_at_is_not_judged(instance: Instance) -> None:
    with filled(instance):
        pass
    with restarted(instance) as store:
        verifier = Verifier(store, Counters())
        batch = next(verifier._batches(store.arena.adopted_slots()))
        for case in batch:
            store.invalidate(store.arena.fields(case.slot).digest)
        for number in range(100, 100 + COUNT):
            put(store, number)
        before = [number for number in range(100, 100 + COUNT) if store.find(digest_of(number)) >= 0]
        verifier._judge(batch, [False] * len(batch))
        assert [number for number in range(100, 100 + COUNT) if store.find(digest_of(number)) >= 0] == before
        assert len(before) > COUNT // 2
        verifier.close()


def test_what_was_used_last_is_looked_at_before_the_rest_and_metadata_before_all(instance: Instance) -> None:
    store = make_store(instance)
    for number in range(COUNT):
        put(store, number)
    record = store.put_meta(digest_of(99), b"meta", crc32c.crc32c(b"meta"), 1, 1)
    reader = Reader(store)
    for number in (2, 9):
        assert reader.pin(number) is not None
    slots = slots_of(store)
    store.close()
    with restarted(instance) as store:
        verifier = Verifier(store, Counters())
        order = verifier._by_heat()
        assert order[:3] == [record, slots[9], slots[2]]
        assert sorted(order) == sorted([record, *slots.values()])
        verifier.close()
        reader.close()
