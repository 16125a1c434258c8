"""Places of blocks: kept exactly, bounded, and believed only as long as the slot is still of that generation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.cashy.client.mini_master import BLOCK, MiniMaster

import cashy
from cashy.client import limits
from cashy.client.block_places import BlockPlaces
from cashy.client.limits import BLOCK_PLACES_MIN
from cashy.client.reader import LocalArena
from shmipc.layout import pack_pin

NAME = "s3://bucket/large"
BLOCKS = BLOCK_PLACES_MIN


def test_places_are_kept_by_content_and_index() -> None:
    places = BlockPlaces()
    places.note(b"a", 1000, 999, slot=7, generation=3)
    places.note(b"b", 1000, 999, slot=8, generation=3)
    assert {name: table[999] for name, table in places.tables.items()} == {
        b"a": pack_pin(7, 3),
        b"b": pack_pin(8, 3),
    }
    assert (len(places.tables[b"a"]), places.tables[b"a"][998]) == (1000, 0)


@pytest.mark.parametrize("block_count", [1, BLOCK_PLACES_MIN - 1, 4097])
def test_nothing_is_kept_of_objects_that_are_too_small_or_too_large(block_count: int) -> None:
    places = BlockPlaces(places_max=4096)
    places.note(b"a", block_count, 0, slot=7, generation=3)
    assert places.tables == {}


def test_beyond_the_bound_everything_is_learnt_anew() -> None:
    places = BlockPlaces(places_max=3 * BLOCKS)
    for number in range(10):
        places.note(bytes([number]), BLOCKS, 1, slot=number, generation=1)
        assert sum(len(table) for table in places.tables.values()) <= 3 * BLOCKS
        assert places.tables[bytes([number])][1] == pack_pin(number, 1)


def test_a_version_that_has_grown_is_kept_as_far_as_it_was() -> None:
    places = BlockPlaces()
    assert places.note(b"a", BLOCKS, 0, slot=7, generation=3)
    assert not places.note(b"a", BLOCKS + 1, BLOCKS, slot=8, generation=3)


def _without_hints(cache: cashy.Cache) -> LocalArena:
    """Nothing else is remembered of slots."""
    arena = cache._arena
    assert arena is not None
    arena._hints[:] = [None] * limits.BLOCK_HINTS
    return arena


def test_a_block_is_found_by_its_place_and_not_after_it_has_gone(
    make_master: Callable[..., MiniMaster], monkeypatch: pytest.MonkeyPatch
) -> None:
    master = make_master(blocks=2 * BLOCKS, pin_blocks=BLOCKS)
    data = master.put(NAME, BLOCKS * BLOCK - 5)
    with cashy.connect(master.socket_path) as cache:
        for index in range(BLOCKS):
            cache.read(NAME, index * BLOCK, BLOCK).release()
        arena = _without_hints(cache)
        monkeypatch.setattr(arena._mapping.reader, "pin", lambda *_: None)  # no index
        for index in (*range(BLOCKS), 0):
            view = arena.read_hit(NAME, index * BLOCK, BLOCK)
            assert view is not None
            assert bytes(view) == data[index * BLOCK : (index + 1) * BLOCK]
            del view
        meta = arena.lookup(NAME)
        assert meta is not None
        assert arena.pin_block(meta, BLOCKS) is None, "there is no such block"
        cache.status()  # all releases were read
        assert master.evict_all() == 0
        assert arena.read_hit(NAME, 0, BLOCK) is None
        monkeypatch.undo()
        _without_hints(cache)
        # In other slots, or in the same ones under another generation.
        for index in [*reversed(range(BLOCKS))] * 2:
            assert cache.read(NAME, index * BLOCK, BLOCK) == data[index * BLOCK : (index + 1) * BLOCK]


def test_a_slot_that_is_recycled_while_it_is_pinned_is_no_hit(
    make_master: Callable[..., MiniMaster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at its word and the pin: it was pinned and counted, and is neither."""
    master = make_master(blocks=2 * BLOCKS, pin_blocks=BLOCKS)
    master.put(NAME, BLOCKS * BLOCK)
    with cashy.connect(master.socket_path) as cache:
        cache.read(NAME, 0, BLOCK).release()
        cache.read(NAME, 0, BLOCK).release()
        arena = _without_hints(cache)
        assert arena.table is not None
        real_pin = arena.table.pin
        cache.status()  # the daemon has read all releases and holds nothing itself
        before = master.arena.tables.hits()

        def pin_too_late(*arguments: int) -> int:
            monkeypatch.undo()
            assert master.evict_all() == 0
            return real_pin(*arguments)

        monkeypatch.setattr(arena.table, "pin", pin_too_late)
        assert arena.read_hit(NAME, 0, BLOCK) is None
        assert master.arena.tables.hits() == before
