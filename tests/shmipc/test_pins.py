"""A process's pin table: quotas, threads, finalizers at the worst moment, bad tables."""

from __future__ import annotations

import faulthandler
import gc
import os
import random
import threading
from collections import deque
from collections.abc import Callable

import pytest
from tests.shmipc.support import CellArena, Client, descriptor_count, digest_of, in_child, pattern

from shmipc.errors import ArenaLayoutError, PinTableFull, QuotaExceeded
from shmipc.layout import (
    H_LAYOUT_VERSION,
    LAYOUT_VERSION,
    PAGE_BYTES,
    T_ARENA_ID,
    T_LAYOUT_VERSION,
    TABLE_BYTES,
    TABLE_ENTRIES,
    WORD_BYTES,
    pack_pin,
)
from shmipc.pins import PinTable
from shmipc.states import State


def test_a_pin_keeps_its_slot_and_dropping_it_gives_it_back(arena: CellArena) -> None:
    slot = arena.fill(digest_of(1))
    client = Client(arena.owner)
    hit = client.pin(digest_of(1))
    assert hit is not None
    assert arena.evict(slot) == [slot]
    assert arena.owner.state(slot) is State.READY
    client.table.unpin(hit.entry)
    assert arena.evict(slot) == []
    assert client.table.pinned_bytes == 0
    assert client.pin(digest_of(1)) is None


def test_two_pins_of_one_slot_count_twice(arena: CellArena) -> None:
    slot = arena.fill(digest_of(1))
    client = Client(arena.owner)
    hits = [client.pin(digest_of(1)) for _ in range(2)]
    for hit in hits:
        assert arena.evict(slot) == [slot]
        assert hit is not None
        client.table.unpin(hit.entry)
    assert arena.evict(slot) == []


def test_the_quota_admits_its_limit_and_not_a_byte_more(arena: CellArena) -> None:
    client = Client(arena.owner, pin_bytes_max=3 * PAGE_BYTES)
    for _ in range(2):  # after dropping all, the same again
        entries = [client.table.pin(0, 1, PAGE_BYTES) for _ in range(3)]
        with pytest.raises(QuotaExceeded, match=r"holds 12,288 bytes pinned and may hold 12,288.*drop views"):
            client.table.pin(0, 1, 1)
        assert client.table.pinned_entries == 3
        for entry in entries:
            client.table.unpin(entry)
        assert client.table.pinned_bytes == 0


def test_a_full_table_is_a_clear_error_and_not_a_lost_pin(arena: CellArena) -> None:
    client = Client(arena.owner)
    entries = [client.table.pin(slot, 1, 1) for slot in range(TABLE_ENTRIES)]
    assert sorted(entries) == list(range(TABLE_ENTRIES))
    with pytest.raises(PinTableFull, match=f"all {TABLE_ENTRIES} pins .* drop views"):
        client.table.pin(1, 1, 1)
    expected = {pack_pin(slot, 1) for slot in range(TABLE_ENTRIES)}
    assert arena.owner.tables.scan() - {0} == expected
    client.table.unpin(entries[5])
    assert client.table.pin(7, 1, 1) == entries[5]


def test_a_job_that_pins_everything_stops_eviction_and_nothing_else(arena: CellArena) -> None:
    slots = [arena.fill(digest_of(number)) for number in range(8)]
    client = Client(arena.owner)
    views = [client.view(digest_of(number)) for number in range(8)]
    assert arena.evict(*slots) == slots
    assert {arena.owner.state(slot) for slot in slots} == {State.READY}
    assert arena.free_cells == []
    assert all(bytes(view) == pattern(digest_of(n), 1, PAGE_BYTES) for n, view in enumerate(views))
    views.clear()
    assert arena.evict(*slots) == []


def test_a_closed_table_takes_no_pins_and_says_so(arena: CellArena) -> None:
    client = Client(arena.owner)
    entry = client.table.pin(0, 1, 1)
    client.table.close_when_unused()
    with pytest.raises(PinTableFull, match="connect again"):
        client.table.pin(0, 1, 1)
    assert arena.owner.tables.retire_abandoned() == [], "it lives with its last pin"
    client.table.touch(0, 1)
    client.table.unpin(entry)
    assert arena.owner.tables.retire_abandoned() == [client.serial]


def test_closing_twice_and_unused(arena: CellArena) -> None:
    before = descriptor_count()
    client = Client(arena.owner)
    client.close()
    client.table.close_when_unused()
    assert arena.owner.tables.retire_abandoned() == [client.serial]
    del client  # the mapping, which has a descriptor of its own in CPython, goes with the reader
    assert descriptor_count() == before


def test_touches_are_harvested_once_in_order(arena: CellArena) -> None:
    client = Client(arena.owner)
    client.table.unpin(client.table.pin(3, 1, 1))
    client.table.touch(5, 2)
    assert list(arena.owner.tables.harvest()) == [pack_pin(3, 1), pack_pin(5, 2)]
    assert list(arena.owner.tables.harvest()) == []


# --- many threads ---


def test_many_threads_lose_no_pin(arena: CellArena) -> None:
    numbers = range(8)
    slots = [arena.fill(digest_of(number)) for number in numbers]
    client = Client(arena.owner)
    failures: list[str] = []
    kept: list[list[memoryview]] = [[] for _ in range(6)]

    def work(mine: list[memoryview], seed: int) -> None:
        choose = random.Random(seed)
        for _ in range(3000):
            number = choose.choice(numbers)
            view = client.view(digest_of(number))
            if view[:64] != pattern(digest_of(number), 1, 64):
                failures.append("wrong bytes")
            mine.append(view)
            if len(mine) > 4:
                mine.pop(choose.randrange(len(mine)))
            del view

    threads = [threading.Thread(target=work, args=(mine, seed)) for seed, mine in enumerate(kept)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert client.table.pinned_entries == 6 * 4
    assert client.table.pinned_bytes == 6 * 4 * PAGE_BYTES
    published = [word for table in arena.owner.tables.tables() for word in table.pinned() if word]
    assert len(published) == 6 * 4, "each held view has an entry of its own"
    assert max(client.table._high_water, 0) <= 6 * 5 + 6, "entries are used again"
    kept.clear()
    assert client.table.pinned_bytes == 0
    assert arena.owner.tables.scan() <= {0}
    assert arena.evict(*slots) == []


# --- the collector at the worst moment ---


class _Cycle:
    """Cyclic garbage that holds a view: only the collector drops it."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.myself = self


def _collect_inside_pin(arena: CellArena) -> None:
    slot = arena.fill(digest_of(1))
    client = Client(arena.owner)
    collected: list[int] = []

    class CollectingList(deque[int]):
        def pop(self) -> int:  # type: ignore[override]  # runs inside the lock
            collected.append(gc.collect())
            return super().pop()

    gc.collect()
    gc.freeze()  # so that a collection is quick
    client.table._free = CollectingList(client.table._free)
    for _ in range(50):
        _Cycle(client.view(digest_of(1)))
    assert sum(collected) > 50, "garbage was collected inside the lock"
    gc.collect()
    assert client.table.pinned_entries == 0
    assert arena.evict(slot) == []


def _collect_all_the_time(arena: CellArena) -> None:
    slot = arena.fill(digest_of(1))
    client = Client(arena.owner)

    def work() -> None:
        for _ in range(300):
            _Cycle(client.view(digest_of(1)))

    gc.collect()
    gc.freeze()  # so that a collection is quick
    gc.set_threshold(1)
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert client.table.pinned_entries == 0
    assert client.table.pinned_bytes == 0
    assert arena.evict(slot) == []


def test_a_collection_inside_pin_does_not_deadlock(arena: CellArena) -> None:
    """The collector runs while the thread holds the table's lock, and runs finalizers that drop pins. In a child: a deadlock is -9."""
    assert in_child(lambda: _collect_inside_pin(arena)) == 0


def test_a_collection_at_every_allocation_under_threads(arena: CellArena) -> None:
    """The same wherever the collector likes to run, with threads that wait for the lock."""
    assert in_child(lambda: _collect_all_the_time(arena)) == 0


# --- tables that are not what they should be ---


def _overwrite(fd: int, word: int, value: int) -> None:
    os.pwrite(fd, value.to_bytes(WORD_BYTES, "little"), word * WORD_BYTES)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda fd: os.ftruncate(fd, TABLE_BYTES - 1), r"pin table of \d+ bytes, .* connect again"),
        (lambda fd: os.ftruncate(fd, 0), r"pin table of 0 bytes"),
        (lambda fd: _overwrite(fd, 0, 1), rf"not a pin table of layout {LAYOUT_VERSION}: magic 0x1"),
        (lambda fd: _overwrite(fd, T_LAYOUT_VERSION, 9), "layout 9.*must be of the same version"),
        (lambda fd: _overwrite(fd, T_ARENA_ID, 9), "pin table of arena 0000000000000009, not of"),
    ],
)
def test_a_wrong_table_is_refused_and_its_descriptor_closed(
    arena: CellArena, spoil: Callable[[int], None], message: str
) -> None:
    _, fd = arena.owner.tables.create()
    spoil(fd)
    before = descriptor_count()
    with pytest.raises(ArenaLayoutError, match=message):
        PinTable(fd, arena.owner.arena_id, pin_bytes_max=1)
    assert descriptor_count() == before - 1


def test_a_truncated_table_harms_its_client_only(arena: CellArena) -> None:
    slots = [arena.fill(digest_of(number)) for number in range(2)]
    honest, vandal = Client(arena.owner), Client(arena.owner)
    held = honest.view(digest_of(0))
    lost = vandal.pin(digest_of(1))
    assert lost is not None
    for size in (PAGE_BYTES + 3, 8, 0):  # inside the entries, inside the header, empty
        os.ftruncate(vandal.table._fd, size)
        assert arena.evict(*arena.owner.ready_slots())[:1] == [slots[0]]
        assert list(arena.owner.tables.harvest()) is not None
        flagged = {table.serial: table.truncated for table in arena.owner.tables.tables()}
        assert flagged == {honest.serial: False, vandal.serial: True}
    assert bytes(held) == pattern(digest_of(0), 1, PAGE_BYTES)
    # its own mapping would fault now: in a child, to see that it is a signal there and nothing here
    pid = os.fork()
    if pid == 0:
        import signal

        faulthandler.disable()
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        vandal.table.unpin(lost.entry)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -7
    os.ftruncate(vandal.table._fd, TABLE_BYTES)  # so that this process may close it


def test_a_lying_high_water_and_touch_head_are_bounded(arena: CellArena) -> None:
    from shmipc.layout import T_HIGH_WATER, T_TOUCH_HEAD, TABLE_TOUCHES

    client = Client(arena.owner)
    client.table._words[T_HIGH_WATER] = (1 << 64) - 1
    client.table._words[T_TOUCH_HEAD] = (1 << 64) - 1
    (table,) = arena.owner.tables.tables()
    assert len(table.pinned()) == TABLE_ENTRIES
    assert len(table.harvest()) == TABLE_TOUCHES
    client.table._words[T_TOUCH_HEAD] = 3  # back again
    assert len(table.harvest()) == 0
    assert not table.truncated


def test_the_readers_mapping_is_read_only(arena: CellArena) -> None:
    client = Client(arena.owner)
    with pytest.raises(TypeError):
        client.reader._words[0] = 1
    with pytest.raises(TypeError):
        client.reader.segment.memory[H_LAYOUT_VERSION] = 0
    assert in_child(lambda: os.ftruncate(client.reader.segment.fd, 0)) == 1, "EINVAL: not open for writing"
