"""The block store against a real arena: room, size classes, pins and restart."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import crc32c
import pytest

from cashy.errors import ArenaFull
from cashy.master.counters import Counters
from cashy.master.store import BlockStore
from shmipc import fence
from shmipc.arena import ArenaReader
from shmipc.instance import Instance
from shmipc.pins import PinTable
from shmipc.segment import Segment
from shmipc.states import State

BLOCK = 64 << 10


def digest_of(number: int) -> bytes:
    return hashlib.blake2b(number.to_bytes(8, "little"), digest_size=32).digest()


def content_of(number: int, length: int) -> bytes:
    return (number.to_bytes(8, "little") * (length // 8 + 1))[:length]


@dataclass
class Reader:
    store: BlockStore
    hits: list[tuple[PinTable, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        fence.register_reader()
        _, fd = self.store.arena.tables.create()
        self.table = PinTable(fd, self.store.arena.arena_id, pin_bytes_max=1 << 40)
        self.arena = ArenaReader(Segment.from_fd(self.store.arena.segment.read_only_fd()))

    def pin(self, number: int) -> bytes | None:
        hit = self.arena.pin(self.table, digest_of(number))
        if hit is None:
            return None
        self.hits.append((self.table, hit.entry))
        fields = hit.fields
        return bytes(self.arena.segment.memory[fields.offset : fields.offset + fields.length])

    def drop(self) -> None:
        while self.hits:
            table, entry = self.hits.pop()
            table.unpin(entry)

    def close(self) -> None:
        self.drop()
        self.table.close_when_unused()
        self.arena.close()


def make_store(
    instance: Instance, blocks: int = 16, policy: str = "s3-fifo", slot_count: int = 0
) -> BlockStore:
    return BlockStore.open(
        instance,
        Counters(),
        arena_bytes=blocks * BLOCK,
        block_bytes=BLOCK,
        policy=policy,
        slot_count=slot_count,
    )


@pytest.fixture
def store(instance: Instance) -> Iterator[BlockStore]:
    made = make_store(instance)
    yield made
    made.close()


def put(store: BlockStore, number: int, length: int = BLOCK, *, many: bool = False) -> int:
    slot = store.lease_block(digest_of(number), length, many)
    data = content_of(number, length)
    store.buffer(slot)[:] = data
    store.publish(slot, crc32c.crc32c(data))
    return slot


def test_more_blocks_than_room_evicts_and_keeps_every_found_block_right(store: BlockStore) -> None:
    for number in range(200):
        put(store, number)
    found = [number for number in range(200) if store.find(digest_of(number)) >= 0]
    assert 8 <= len(found) <= 16
    for number in found:
        assert bytes(store.content(store.find(digest_of(number)))) == content_of(number, BLOCK)


def test_pinned_blocks_stay_while_all_else_goes(store: BlockStore) -> None:
    reader = Reader(store)
    for number in range(8):
        put(store, number)
        assert reader.pin(number) == content_of(number, BLOCK)
    for number in range(100, 200):
        put(store, number)
    for number in range(8):
        assert bytes(store.content(store.find(digest_of(number)))) == content_of(number, BLOCK)
    reader.close()


def test_everything_pinned_is_arena_full_and_room_comes_back(store: BlockStore) -> None:
    reader = Reader(store)
    for number in range(16):
        put(store, number)
        assert reader.pin(number) is not None
    with pytest.raises(ArenaFull, match="pinned by 1 clients"):
        put(store, 99)
    reader.drop()
    put(store, 99)
    assert store.find(digest_of(99)) >= 0
    reader.close()


def test_a_size_class_without_memory_takes_over_a_colder_slab(store: BlockStore) -> None:
    for number in range(16):
        put(store, number)
    put(store, 1000, 700)
    assert store.find(digest_of(1000)) >= 0
    for number in range(2000, 2400):
        put(store, number, 3000)
    assert store.find(digest_of(2399)) >= 0
    for number in range(3000, 3040):
        put(store, number)
    assert store.find(digest_of(3039)) >= 0


def test_a_view_spanning_blocks_gets_page_aligned_cells(store: BlockStore) -> None:
    put(store, 1, 100)
    slot = put(store, 2, 100, many=True)
    assert store.arena.fields(slot).offset % 4096 == 0


def test_one_hundred_thousand_tiny_objects_in_little_memory(instance: Instance) -> None:
    store = make_store(instance, blocks=64)
    for number in range(100_000):
        put(store, number, 100)
    kept = [number for number in range(100_000) if store.find(digest_of(number)) >= 0]
    assert kept
    for number in random.Random(5).sample(kept, 200):
        assert bytes(store.content(store.find(digest_of(number)))) == content_of(number, 100)
    store._slabs.check_invariants()
    store.close()


def test_all_slot_headers_in_use_evicts_too(instance: Instance) -> None:
    store = make_store(instance, blocks=64, slot_count=100)
    for number in range(500):
        put(store, number, 512)
    assert store.find(digest_of(499)) >= 0
    store.close()


def test_a_restart_keeps_what_was_ready_and_honours_live_pins(instance: Instance) -> None:
    store = make_store(instance)
    reader = Reader(store)
    for number in range(12):
        put(store, number)
    assert reader.pin(3) == content_of(3, BLOCK)
    filling = store.lease_block(digest_of(50), BLOCK, False)
    store.close()  # as after a kill: nothing was told to anybody

    again = make_store(instance)
    assert all(again.find(digest_of(number)) >= 0 for number in range(12))
    assert again.find(digest_of(50)) == -1
    assert again.arena.state(filling) is State.FREE
    for number in range(100, 160):
        put(again, number)
    assert again.find(digest_of(3)) >= 0
    assert bytes(again.content(again.find(digest_of(3)))) == content_of(3, BLOCK)
    again._slabs.check_invariants()
    reader.close()
    again.close()


def test_an_aborted_fill_is_not_reused_while_its_transfer_is_attached(store: BlockStore) -> None:
    slot = store.lease_block(digest_of(1), BLOCK, False)
    store.attach(slot)
    offset = store.arena.fields(slot).offset
    store.abort(slot)
    for number in range(100, 200):
        assert store.arena.fields(put(store, number)).offset != offset
    store.detach(slot)
    store.maintain()
    offsets = {store.arena.fields(put(store, number)).offset for number in range(300, 340)}
    assert offset in offsets


def test_metadata_is_replaced_and_readers_of_the_old_record_keep_it(store: BlockStore) -> None:
    old = store.put_meta(digest_of(1), b"old", crc32c.crc32c(b"old"), 5, 1)
    reader = Reader(store)
    assert reader.pin(1) == b"old"
    store.put_meta(digest_of(1), b"new", crc32c.crc32c(b"new"), 6, 2)
    assert store.arena.state(old) is State.RETIRED
    assert bytes(store.content(old)) == b"old"
    assert bytes(store.content(store.find(digest_of(1)))) == b"new"
    reader.close()
    store.maintain()
    assert store.arena.state(old) is State.FREE


@pytest.mark.parametrize("policy", ["s3-fifo", "lru"])
def test_hits_that_only_readers_see_keep_a_block(instance: Instance, policy: str) -> None:
    store = make_store(instance, policy=policy)
    reader = Reader(store)
    put(store, 1)
    for number in range(100, 400):
        reader.pin(1)
        reader.drop()
        store.harvest()
        put(store, number)
    assert store.find(digest_of(1)) >= 0
    reader.close()
    store.close()


def test_blocks_read_again_while_there_was_room_stay_when_it_becomes_scarce(instance: Instance) -> None:
    """However late the owner hears of it: all marks of a block at once, and none of them early."""
    store = make_store(instance)
    reader = Reader(store)
    for number in range(8):
        slot = store.lease_block(digest_of(number), BLOCK, False)
        store.buffer(slot)[:] = content_of(number, BLOCK)
        store.publish(slot, crc32c.crc32c(content_of(number, BLOCK)), is_guest=True)
    for number in [*range(8)] * 3:
        assert reader.pin(number) is not None
        reader.drop()
    for number in range(100, 140):
        put(store, number)
    assert all(store.find(digest_of(number)) >= 0 for number in range(8))
    reader.close()
    store.close()


def test_a_block_that_is_being_read_when_its_turn_comes_costs_other_classes_nothing(
    store: BlockStore,
) -> None:
    """Its class has others that can go, so the small objects in the one slab of theirs stay."""
    reader = Reader(store)
    for number in range(15):
        put(store, number)
    for number in range(1000, 1100):
        put(store, number, 512)
    assert reader.pin(0) is not None
    put(store, 15)
    kept = [number for number in (*range(16), *range(1000, 1100)) if store.find(digest_of(number)) >= 0]
    # The second try asks for two.
    assert kept == [0, *range(3, 16), *range(1000, 1100)]
    reader.close()


def test_a_class_without_memory_takes_a_slab_whose_blocks_were_not_used_again(instance: Instance) -> None:
    store = make_store(instance)
    reader = Reader(store)
    for number in range(16):
        put(store, number)
    for number in [*range(12)] * 3:
        assert reader.pin(number) is not None
        reader.drop()
    store.harvest()
    put(store, 1000, 512)
    kept = [number for number in range(16) if store.find(digest_of(number)) >= 0]
    assert kept[:12] == list(range(12))
    assert len(kept) == 15
    reader.close()
    store.close()


def test_memory_moves_from_small_objects_that_cooled_down_to_large_ones(instance: Instance) -> None:
    store = make_store(instance, blocks=64)
    for number in range(9000):
        put(store, number, 512)
    for number in range(10_000, 10_600):
        put(store, number)
    kept = sum(store.find(digest_of(number)) >= 0 for number in range(10_000, 10_600))
    assert kept > 48, "at most a few slabs are still the small ones'"
    store._slabs.check_invariants()
    store.close()


def test_small_objects_in_use_keep_their_memory(instance: Instance) -> None:
    store = make_store(instance, blocks=64)
    reader = Reader(store)
    for number in range(1000):
        put(store, number, 512)
    for number in range(10_000, 10_300):
        for small in range(number % 10, 1000, 10):
            reader.pin(small)
            reader.drop()
        put(store, number)
    assert sum(store.find(digest_of(number)) >= 0 for number in range(1000)) > 900
    reader.close()
    store.close()


def test_what_is_being_written_to_an_ssd_holds_up_nobody_and_goes_when_it_is_written(
    instance: Instance,
) -> None:
    store = make_store(instance, blocks=16)
    pressed: list[int] = []
    store.pressed = pressed.append
    for number in range(16):
        put(store, number)
    class_index = pressed[-1]
    written = store.next_to_write(class_index, 2)
    assert len(written) == 2
    assert store.next_to_write(class_index, 16) != written
    for slot in written:
        store.write_begins(slot)
    kept = [store.arena.fields(slot).digest for slot in written]
    for number in range(16, 80):
        put(store, number)  # no ArenaFull, and nobody waits
    assert all(store.find(digest) >= 0 for digest in kept)
    store.touch(written[1])
    for slot in written:
        store.write_ended(slot)
    assert store.find(kept[0]) < 0  # it should have gone long ago
    assert store.find(kept[1]) >= 0  # used meanwhile
    store.close()


def test_guests_and_metadata_are_not_offered_to_an_ssd(instance: Instance) -> None:
    store = make_store(instance, blocks=8)
    pressed: list[int] = []
    store.pressed = pressed.append
    for number in range(8):
        slot = store.lease_block(digest_of(number), BLOCK, True)
        store.publish(slot, 0, is_guest=True)
    assert store.next_to_write(pressed[-1], 8) == []
    store.close()
