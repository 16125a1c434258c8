"""Hits: counted by each client in its own table, added up by the owner, who believes little."""

from __future__ import annotations

import os
import struct
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.shmipc.support import CellArena, Client

from shmipc.errors import PinTableFull
from shmipc.instance import Instance
from shmipc.layout import T_HIT_BYTES, T_HITS, TABLE_BYTES, WORD_BYTES
from shmipc.tables import HIT_BYTES_STEP_MAX, HITS_STEP_MAX, Hits, Table, TableFolder


def _say(client: Client, blocks: int, size_bytes: int) -> None:
    """What a client's words say, whatever it has done."""
    client.table._words[T_HITS] = blocks
    client.table._words[T_HIT_BYTES] = size_bytes


def test_hits_are_counted_with_the_pin(arena: CellArena) -> None:
    client = Client(arena.owner)
    client.table.pin(0, 1, 4096, 100)
    client.table.pin(0, 1, 4096, 0)  # an empty range of a block is a hit too
    client.table.pin(0, 1, 4096)  # announced after a miss: none
    client.table.count_hit(7)
    assert arena.owner.tables.hits() == Hits(3, 107)
    assert arena.owner.tables.hits() == Hits(3, 107), "counted once"


def test_a_pin_that_was_none_is_taken_back(arena: CellArena) -> None:
    client = Client(arena.owner)
    client.table.unpin(client.table.pin(0, 1, 4096, 100))
    assert arena.owner.tables.hits() == Hits(1, 100)
    client.table.unpin(client.table.pin(0, 1, 4096, 50))
    client.table.was_no_hit(50)
    assert arena.owner.tables.hits() == Hits(1, 100)
    client.table.count_hit(1)
    assert arena.owner.tables.hits() == Hits(2, 101)


def test_a_pin_refused_is_no_hit(arena: CellArena) -> None:
    client = Client(arena.owner)
    client.table.close_when_unused()
    with pytest.raises(PinTableFull):
        client.table.pin(0, 1, 1, 1)
    client.table.count_hit(1)  # and a closed table is not written to
    assert arena.owner.tables.hits() == Hits(0, 0)


def test_threads_lose_no_hit(arena: CellArena) -> None:
    client = Client(arena.owner)

    def work() -> None:
        for _ in range(5000):
            client.table.unpin(client.table.pin(0, 1, 1, 3))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert arena.owner.tables.hits() == Hits(20_000, 60_000)


def test_a_frozen_table_counts_no_more(arena: CellArena) -> None:
    """After a fork it has two processes; each word has one writer."""
    client = Client(arena.owner)
    client.table.pin(0, 1, 1, 5)
    client.table.freeze()
    client.table.count_hit(5)
    client.table.was_no_hit(5)
    assert arena.owner.tables.hits() == Hits(1, 5)


def test_what_a_client_counted_outlives_it(arena: CellArena) -> None:
    first, second = Client(arena.owner), Client(arena.owner)
    first.table.count_hit(10)
    second.table.count_hit(20)
    assert arena.owner.tables.hits() == Hits(2, 30)
    first.table.count_hit(1)  # after the last look at it
    first.close()
    assert arena.owner.tables.retire_abandoned() == [first.serial]
    assert arena.owner.tables.hits() == Hits(3, 31)
    second.table.count_hit(1)
    assert arena.owner.tables.hits() == Hits(4, 32)


def test_a_new_owner_begins_at_nothing_and_goes_on(arena: CellArena, instance: Instance) -> None:
    """Its totals are those since its start, as all its counters are; a client that lived through the change is counted on."""
    client = Client(arena.owner)
    client.table.count_hit(10)
    folder = TableFolder(instance.tables_folder, arena.owner.arena_id)
    try:
        assert folder.adopt() == (1, 0)
        assert folder.hits() == Hits(0, 0)
        client.table.count_hit(5)
        assert folder.hits() == Hits(1, 5)
    finally:
        folder.close()


@pytest.mark.parametrize(
    ("blocks", "size_bytes", "added"),
    [
        (9, 90, Hits(0, 0)),  # back
        (10, 100, Hits(0, 0)),
        (11, 99, Hits(0, 0)),  # half of it back
        (10 + HITS_STEP_MAX, 100, Hits(HITS_STEP_MAX, 0)),
        (11 + HITS_STEP_MAX, 100, Hits(0, 0)),
        (10, 100 + HIT_BYTES_STEP_MAX, Hits(0, HIT_BYTES_STEP_MAX)),
        (10, 101 + HIT_BYTES_STEP_MAX, Hits(0, 0)),
        ((1 << 64) - 1, (1 << 64) - 1, Hits(0, 0)),
    ],
)
def test_words_that_cannot_be_add_nothing(
    arena: CellArena, blocks: int, size_bytes: int, added: Hits
) -> None:
    liar, honest = Client(arena.owner), Client(arena.owner)
    _say(liar, 10, 100)
    assert arena.owner.tables.hits() == Hits(10, 100)
    _say(liar, blocks, size_bytes)
    assert arena.owner.tables.hits() == Hits(10 + added.blocks, 100 + added.bytes)
    honest.table.count_hit(1)
    assert arena.owner.tables.hits() == Hits(11 + added.blocks, 101 + added.bytes), (
        "others are counted as ever"
    )
    _say(liar, 12 + HITS_STEP_MAX, 102 + HIT_BYTES_STEP_MAX)
    _say(liar, blocks if added.blocks else 10, size_bytes if added.bytes else 100)
    assert arena.owner.tables.hits() == Hits(11 + added.blocks, 101 + added.bytes)


def test_a_truncated_table_adds_nothing(arena: CellArena) -> None:
    client = Client(arena.owner)
    client.table.count_hit(10)
    assert arena.owner.tables.hits() == Hits(1, 10)
    for size in (T_HIT_BYTES * WORD_BYTES, 8, 0):
        os.ftruncate(client.table._fd, size)
        assert arena.owner.tables.hits() == Hits(1, 10)
    os.ftruncate(client.table._fd, TABLE_BYTES)  # so that this process may close it
    assert arena.owner.tables.hits() == Hits(1, 10)


_WORD = st.one_of(st.integers(0, 1000), st.integers(0, (1 << 64) - 1))


@settings(max_examples=50, deadline=None)
@given(said=st.lists(st.tuples(_WORD, _WORD), max_size=20))
def test_totals_are_64_bit_and_a_step_is_never_too_large(said: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = TableFolder(Path(place), 1)
        _, fd = folder.create()
        try:
            before = Hits(0, 0)
            for blocks, size_bytes in said:
                os.pwrite(fd, struct.pack("=QQ", blocks, size_bytes), T_HITS * WORD_BYTES)
                now = folder.hits()
                assert 0 <= (now.blocks - before.blocks) % (1 << 64) <= HITS_STEP_MAX
                assert 0 <= (now.bytes - before.bytes) % (1 << 64) <= HIT_BYTES_STEP_MAX
                assert max(now) < 1 << 64
                before = now
        finally:
            os.close(fd)
            folder.close()


def test_one_read_of_the_file_gives_all_client_words(arena: CellArena) -> None:
    """Scan and upkeep read it anyway; hits must not cost the owner another call."""
    client = Client(arena.owner)
    client.table.count_hit(9)
    (table,) = arena.owner.tables.tables()
    assert isinstance(table, Table)
    assert table._client_words() == (0, 0, 1, 9)
