"""Layout, limits and the fence: numbers that two processes must agree on."""

from __future__ import annotations

import os
import platform
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.shmipc.support import CellArena

from shmipc import arena, fence, layout, limits
from shmipc.errors import ArenaLayoutError, UnsupportedFence
from shmipc.layout import (
    GENERATION_MAX,
    PAGE_BYTES,
    SLOTS_MAX,
    STATE_BITS,
    STATE_MASK,
    geometry_for,
    pack_pin,
    pack_word,
    unpack_pin,
)
from shmipc.states import State


@given(slot=st.integers(0, SLOTS_MAX - 1), generation=st.integers(1, GENERATION_MAX))
def test_a_pin_is_one_word_that_is_never_zero(slot: int, generation: int) -> None:
    word = pack_pin(slot, generation)
    assert 0 < word < 1 << 64
    assert unpack_pin(word) == (slot, generation)


@given(generation=st.integers(0, GENERATION_MAX), state=st.sampled_from(State))
def test_a_slots_word_holds_generation_and_state(generation: int, state: State) -> None:
    word = pack_word(generation, state)
    assert word < 1 << 64
    assert (word >> STATE_BITS, word & STATE_MASK) == (generation, state)


@given(data=st.integers(1, 1 << 34), slab_pages=st.integers(1, 4096), slots=st.integers(1, 1 << 16))
def test_parts_of_a_segment_follow_each_other_without_overlap(data: int, slab_pages: int, slots: int) -> None:
    slab = slab_pages * PAGE_BYTES
    found = geometry_for(max(data, slab), slab, slots)
    index_bytes = found.index_buckets * layout.INDEX_WAYS * (layout.WORD_BYTES + 4)
    assert found.index_offset >= layout.HEADER_BYTES
    assert found.index_offset + index_bytes <= found.slots_offset
    assert found.slots_offset + slots * layout.SLOT_BYTES <= found.data_offset
    assert found.data_offset + found.data_bytes == found.total_bytes
    assert found.slots_offset % PAGE_BYTES == found.data_offset % PAGE_BYTES == found.data_bytes % slab == 0
    assert found.data_bytes >= data
    buckets = found.index_buckets
    assert buckets & (buckets - 1) == 0, "a mask selects the bucket"
    assert buckets * layout.INDEX_WAYS >= 2 * slots, "at most half full"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((PAGE_BYTES, PAGE_BYTES, 0), "1 to 16777216 slots, not 0"),
        ((PAGE_BYTES, PAGE_BYTES, SLOTS_MAX + 1), "slots, not 16777217"),
        ((PAGE_BYTES, PAGE_BYTES + 1, 1), "multiple of the page size"),
        ((PAGE_BYTES, 0, 1), "multiple of the page size"),
        ((PAGE_BYTES, 2 * PAGE_BYTES, 1), "must hold at least one block"),
    ],
)
def test_impossible_geometries(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ArenaLayoutError, match=message):
        geometry_for(*arguments)


def test_the_largest_arena_is_possible() -> None:
    assert geometry_for(1 << 40, 1 << 22, SLOTS_MAX).slot_count == SLOTS_MAX


def test_fields_are_where_their_names_say(arena: CellArena) -> None:
    slot = arena.owner.lease(b"\7" * 32, arena.free_cells.pop(), PAGE_BYTES, 100, kind=3)
    arena.owner.advance(slot, 60)
    arena.owner.set_valid_until(slot, 77)
    at = arena.owner.geometry.slots_offset + slot * layout.SLOT_BYTES
    raw = arena.owner.segment.memory[at : at + layout.SLOT_BYTES]
    words = struct.unpack("@16Q", raw)
    assert raw[layout.S_DIGEST * 8 : layout.S_DIGEST * 8 + 32] == b"\7" * 32
    assert words[layout.S_WORD] == pack_word(1, State.FILLING)
    fields = arena.owner.fields(slot)
    names = ("LENGTH", "OFFSET", "CAPACITY", "CRC", "KIND", "WATERMARK", "VALID_UNTIL_NS", "VALIDATED_NS")
    values = {name: words[getattr(layout, f"S_{name}")] for name in names}
    assert values == {name: getattr(fields, name.lower()) for name in names}
    assert (fields.length, fields.kind, fields.watermark, fields.valid_until_ns) == (100, 3, 60, 77)


def test_no_two_words_share_a_place() -> None:
    for prefix in ("H_", "S_", "T_"):
        places = [value for name, value in vars(layout).items() if name.startswith(prefix)]
        assert len(set(places)) == len(places), prefix
    assert arena._FIELDS.size == 96


def test_an_edit_that_breaks_the_layout_stops_the_import() -> None:
    source = Path(str(layout.__file__)).read_text()
    for was, becomes in (
        ("SLOT_BITS = 24", "SLOT_BITS = 25"),
        ("SLOT_BYTES = 128", "SLOT_BYTES = 100"),
        ("S_LENGTH = 5", "S_LENGTH = 4"),
    ):
        assert was in source
        with pytest.raises(AssertionError):
            exec(
                compile(source.replace(was, becomes, 1), "layout.py", "exec"), {"__name__": "shmipc.layout_x"}
            )


def test_every_limit_is_named_and_positive() -> None:
    assert set(limits.__all__) == {name for name in vars(limits) if name.isupper()}
    assert all(getattr(limits, name) > 0 for name in limits.__all__)


def test_the_machine_offers_the_fence_or_pins_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fence.is_supported()
    assert fence.can_register()
    fence.fence_readers()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert not fence.can_register()
    with pytest.raises(UnsupportedFence, match="pins need x86-64 and membarrier"):
        fence.register_reader()


def test_an_unknown_membarrier_command_is_a_clear_error() -> None:
    with pytest.raises(UnsupportedFence, match="membarrier command") as caught:
        fence._membarrier(1 << 30)
    assert caught.value.errno == 22
    assert os.strerror(22) in str(caught.value)
