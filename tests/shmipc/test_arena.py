"""The owner's calls one by one: who keeps a slot from being freed, and what readers see of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.shmipc.support import CellArena, Client, digest_of, pattern

from shmipc import layout
from shmipc.arena import ArenaOwner
from shmipc.errors import StateError, UnsupportedFence
from shmipc.layout import PAGE_BYTES, SLOT_WORDS, pack_pin
from shmipc.states import State

_KEEPERS = [(ArenaOwner.attach, ArenaOwner.detach), (ArenaOwner.hold, ArenaOwner.unhold)]
keepers = pytest.mark.parametrize(("take", "give"), _KEEPERS, ids=["attach", "hold"])
_Call = Callable[[ArenaOwner, int], None]


@keepers
def test_what_the_owners_process_has_is_not_evicted(arena: CellArena, take: _Call, give: _Call) -> None:
    slot = arena.fill(digest_of(1))
    take(arena.owner, slot)
    take(arena.owner, slot)
    for _ in range(2):
        assert arena.evict(slot) == [slot]
        assert arena.owner.state(slot) is State.READY
        give(arena.owner, slot)
    assert arena.evict(slot) == []


@keepers
def test_what_the_owners_process_has_is_not_reclaimed(arena: CellArena, take: _Call, give: _Call) -> None:
    """A cancelled transfer may still write: the slot is its own until it is detached."""
    slot = arena.lease(digest_of(1))
    take(arena.owner, slot)
    arena.owner.abort(slot)
    assert arena.reclaim_retired() == 0
    assert slot not in [arena.fill(digest_of(number)) for number in range(2, 9)]
    arena.write(slot)  # the late bytes meet nobody
    give(arena.owner, slot)
    assert arena.reclaim_retired() == 1
    assert arena.owner.retired_slots() == frozenset()


def test_an_invalidated_block_is_not_found_and_stays_for_who_has_it(arena: CellArena) -> None:
    slot = arena.fill(digest_of(1))
    client = Client(arena.owner)
    view = client.view(digest_of(1))
    arena.owner.invalidate(slot)
    assert client.pin(digest_of(1)) is None
    assert client.reader.copy(digest_of(1)) is None
    assert arena.owner.find(digest_of(1)) == -1
    again = arena.fill(digest_of(1))
    assert again != slot
    assert arena.reclaim_retired() == 0
    assert bytes(view) == pattern(digest_of(1), 1, PAGE_BYTES)
    del view
    assert arena.reclaim_retired() == 1
    assert arena.owner.find(digest_of(1)) == again, "the newer one is still found"


def test_a_slot_is_read_while_it_fills(arena: CellArena) -> None:
    slot = arena.lease(digest_of(1), 1000)
    client = Client(arena.owner)
    generation = arena.owner.generation(slot)

    def watermark() -> int:
        hit = client.reader.pin_slot(client.table, digest_of(1), slot, generation, filling=True)
        assert hit is not None
        client.table.unpin(hit.entry)
        return hit.fields.watermark

    assert client.pin(digest_of(1)) is None, "it is not READY"
    assert watermark() == 0
    arena.owner.advance(slot, 400)
    assert watermark() == 400
    arena.owner.publish(slot, crc=7, valid_until_ns=9)
    assert watermark() == 1000
    hit = client.pin(digest_of(1))
    assert hit is not None
    assert (hit.fields.crc, hit.fields.valid_until_ns, hit.fields.length) == (7, 9, 1000)


def test_what_others_may_change_is_believed_until_a_time_and_from_a_time(arena: CellArena) -> None:
    owner = arena.owner
    assert (owner.coherent_until, owner.doubted_before) == (layout.NEVER_ENDS, 0), (
        "nobody else is known at first"
    )
    owner.set_doubted_before(40)
    owner.set_coherent_until(50)
    reader = Client(owner).reader
    assert reader.header_word(layout.H_COHERENT_UNTIL_NS) == owner.coherent_until == 50
    assert reader.header_word(layout.H_DOUBTED_BEFORE_NS) == owner.doubted_before == 40


def test_freshness_and_when_it_was_asked_for_move_together(arena: CellArena) -> None:
    slot = arena.lease(digest_of(1))
    arena.owner.publish(slot, 0, valid_until_ns=9, validated_ns=3)
    assert arena.owner.fields(slot)[-2:] == (9, 3)
    arena.owner.set_valid_until(slot, 20, 15)
    assert arena.owner.fields(slot)[-2:] == (20, 15)
    arena.owner.set_valid_until(slot, 0)
    assert arena.owner.fields(slot)[-2:] == (0, 15)


def test_a_block_published_while_its_reader_pins_is_no_miss(arena: CellArena) -> None:
    slot = arena.lease(digest_of(1))
    client = Client(arena.owner)
    recheck, events = client.reader._recheck, list[int]()

    def publish_first(slot: int, word: int) -> bool:
        if not events:
            events.append(slot)
            arena.owner.publish(slot, 0)
        return recheck(slot, word)

    client.reader._recheck = publish_first  # type: ignore[method-assign]
    hit = client.reader.pin_slot(client.table, digest_of(1), slot, 1, filling=True)
    assert hit is not None
    assert client.table.pinned_entries == 1


@pytest.mark.parametrize("slot", [-1, 8, 1 << 30])
def test_an_announced_slot_that_cannot_be_is_a_miss(arena: CellArena, slot: int) -> None:
    client = Client(arena.owner)
    assert client.reader.pin_slot(client.table, digest_of(1), slot, 1) is None


def test_a_copy_needs_no_pin_and_may_leave_a_touch(arena: CellArena) -> None:
    slot = arena.fill(digest_of(1), 100)
    client = Client(arena.owner)
    copied = client.reader.copy(digest_of(1), client.table)
    assert copied is not None
    assert copied[0] == pattern(digest_of(1), 1, 100)
    assert client.table.pinned_entries == 0
    assert list(arena.owner.tables.harvest()) == [pack_pin(slot, 1)]
    assert client.reader.copy(digest_of(2)) is None


def test_a_copy_of_what_is_recycled_meanwhile_is_a_miss(arena: CellArena) -> None:
    arena.fill(digest_of(1))
    client = Client(arena.owner)
    words, looks = client.reader._words, list[int]()

    class Recycled:
        """The slots' words; before the second look the owner recycles everything."""

        def __getitem__(self, at: int) -> int:
            looks.append(at)
            if len(looks) == 2:
                arena.refill_everything(100)
            return words[at]

    client.reader._words = Recycled()  # type: ignore[assignment]
    assert client.reader.copy(digest_of(1)) is None
    assert len(looks) == 2
    client.reader._words = words


@keepers
def test_letting_go_of_what_was_not_taken_is_a_bug_that_shows(
    arena: CellArena, take: _Call, give: _Call
) -> None:
    slot = arena.fill(digest_of(1))
    take(arena.owner, slot)
    give(arena.owner, slot)
    with pytest.raises(StateError, match="more often than it was taken"):
        give(arena.owner, slot)


def test_where_there_is_no_fence_nobody_can_pin_and_the_owner_still_evicts(
    arena: CellArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise UnsupportedFence(38, "no membarrier here")

    monkeypatch.setattr("shmipc.arena.fence_readers", refuse)
    slot = arena.fill(digest_of(1))
    assert arena.evict(slot) == []
    client = Client(arena.owner)  # a table means that somebody can pin: then there is no way round the fence
    slot = arena.fill(digest_of(2))
    with pytest.raises(UnsupportedFence):
        arena.evict(slot)
    assert arena.owner.state(slot) is State.READY
    client.close()


def test_a_word_that_is_no_state_is_never_served_after_a_restart(
    make_arena: Callable[..., CellArena],
) -> None:
    arena = make_arena()
    slot = arena.fill(digest_of(1))
    arena.owner._words[slot * SLOT_WORDS] |= 0xFF
    arena.close()
    again = make_arena()
    assert again.owner.find(digest_of(1)) == -1
    assert again.owner.state(slot) is State.FREE
