"""The block store: arena, slab allocator and eviction policy as one, on the master's thread.

What is where: the arena (shared) says which slot holds which digest; the slabs (private arrays) say which memory is in use; a cell map
(private, four bytes a cell) leads from memory back to slots; the policy (private arrays) ranks. There is no object per block.

Room is made in batches, since fence and scan are paid per batch, and in this order: retired slots whose last reader has gone; the victims of the
wanted size class, and beside them, a step at a time, a slab of another class that has been colder than those; or, where the class has nothing
that could go, a whole slab of another one at once. What is pinned is spared and asked again later; so is what is being written to the SSD, but as one
that should go: it goes as soon as it is written (:mod:`cashy.master.demoter`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import crc32c
import structlog

from cashy.core.admission import make_admission
from cashy.core.demotion import EDGE_SHARE, Demotion, edge
from cashy.core.eviction import Policy, make_policy
from cashy.core.meta_record import KIND_BLOCK, KIND_META
from cashy.core.slabs import SlabAllocator
from cashy.core.uses import uses
from cashy.errors import ArenaFull
from cashy.limits import HARVEST_MARKS_MAX, SLOT_SHARE_BYTES, SLOTS_MAX_DEFAULT
from cashy.master.counters import Counters
from shmipc.arena import ArenaOwner, SlotFields
from shmipc.instance import Instance
from shmipc.layout import PAGE_BYTES, unpack_pin
from shmipc.limits import EVICTION_BATCH_SLOTS
from shmipc.states import State

__all__ = ["BlockStore", "default_slot_count"]

_NO_SLOT = 0xFFFF_FFFF
#: Of a class's cells at most this part is evicted at once: a small class must not be emptied for one block.
_BATCH_SHARE = 16
#: Slabs looked at, clockwise, for one that is colder than a victim, and how many of its cells.
_SLABS_COMPARED, _SAMPLE_CELLS = 4, 16
#: Slots of a colder slab evicted at a time.
_SLOTS_EMPTIED = 128
#: Slabs of other classes among which a class without anything of its own chooses; more, up to so many slots, while all hold what was used again.
_SLABS_WEIGHED, _SLOTS_WEIGHED = 4, 256
#: Victims of its own, each held by somebody, after which a class takes from others: one block that is being read must not cost them a slab.
_OWN_TRIED = 512
#: Slabs of other classes that are tried for a class which has nothing of its own to evict; what is pinned ranks as new after the first try.
_SLABS_TRIED = 16
#: Tries to have a little memory empty: some of what should go is pinned.
_SPARE_STEPS = 4
#: Bytes verified before the loop gets its turn again: half a millisecond.
_VERIFIED_PER_TURN_BYTES = 8 << 20

_log = structlog.get_logger("cashy.master")


def default_slot_count(arena_bytes: int) -> int:
    """Slot headers for an arena of this size."""
    return max(1024, min(arena_bytes // SLOT_SHARE_BYTES, SLOTS_MAX_DEFAULT))


class BlockStore:
    """Slots by digest, with room made as needed. Raises ``ArenaFull`` where none can be made."""

    def __init__(
        self, arena: ArenaOwner, counters: Counters, *, policy: str, local_copies: str = "second-read"
    ) -> None:  # fmt: skip
        self.arena = arena
        self._admission = make_admission(local_copies)
        self._counters = counters
        geometry = arena.geometry
        self._base = geometry.data_offset
        self._slab_bytes = geometry.slab_bytes
        self._slabs = SlabAllocator(geometry.data_bytes, geometry.slab_bytes)
        self._class_sizes = self._slabs.class_sizes
        self._policy: Policy = make_policy(
            policy.replace("-", ""), geometry.slot_count, len(self._class_sizes)
        )
        self._cells: dict[int, array[int]] = {}
        self._hand = 0
        self._emptied = -1
        #: Slots of a predecessor's whose bytes nobody has looked at yet.
        self.unverified = 0
        self._verified_bytes = 0  # by :meth:`find`, since the loop had its turn
        self._demotion = Demotion(geometry.slot_count)
        #: Told of a size class that will have to let blocks go; set by who writes them to the SSD.
        self.pressed: Callable[[int], None] | None = None
        #: Slots whose block is being written to the SSD; True: it would have gone meanwhile.
        self._being_written: dict[int, bool] = {}

    @classmethod
    def open(
        cls,
        instance: Instance,
        counters: Counters,
        *,
        arena_bytes: int,
        block_bytes: int,
        policy: str,
        local_copies: str = "second-read",
        slot_count: int = 0,
    ) -> BlockStore:
        """The instance's store, with what a predecessor left in it. The instance must be acquired."""
        slots = slot_count or default_slot_count(arena_bytes)
        arena, adopted = ArenaOwner.open(
            instance, data_bytes=arena_bytes, slab_bytes=block_bytes, slot_count=slots, verifies=True
        )
        store = cls(arena, counters, policy=policy, local_copies=local_copies)
        if adopted:
            store._restore()
        return store

    def _restore(self) -> None:
        """Rebuilds the private side from the slot headers."""
        adopted = self.arena.adopted_slots()
        self.unverified = len(adopted)
        for slot in (*adopted, *self.arena.retired_slots()):
            fields = self.arena.fields(slot)
            class_index = self._slabs.class_for(fields.capacity)
            self._slabs.adopt(fields.offset - self._base, class_index)
            self._set_cell(fields.offset, class_index, slot)
            if self.arena.state(slot) is State.ADOPTED:
                self._policy.inserted(slot, _fingerprint(fields.digest), class_index)
                self._demotion.came(slot, is_wanted=fields.kind == KIND_BLOCK)
                self._counters.add("slots_restored")

    # --- looking ---

    def find(self, digest: bytes) -> int:
        """The READY slot of a digest, or -1. What a predecessor has left is verified when it is first looked for."""
        slot = self.arena.find(digest)
        if slot >= 0 or not self.unverified:
            return slot
        slot = self.arena.find_adopted(digest)
        if slot < 0:
            return -1
        self._verified_bytes += self.arena.fields(slot).length
        return slot if self.judge(slot, self.is_intact(slot)) else -1

    def turn_is_over(self) -> bool:
        """Whether so much was verified by :meth:`find` that the loop should have its turn; says so once."""
        is_over = self._verified_bytes >= _VERIFIED_PER_TURN_BYTES
        if is_over:
            self._verified_bytes = 0
        return is_over

    # --- verifying ---

    def is_intact(self, slot: int) -> bool:
        """Whether the bytes of a READY or ADOPTED slot have the checksum under which they were published."""
        return crc32c.crc32c(self.arena.content(slot)) == self.arena.fields(slot).crc

    def judge(self, slot: int, is_intact: bool) -> bool:
        """Does with a slot what follows from that; True if it is READY then."""
        is_adopted = self.arena.state(slot) is State.ADOPTED
        if not is_intact:
            self._counters.add("slots_corrupt")
            _log.error(
                "corrupt_memory", slot=slot, kind=self.arena.fields(slot).kind, since="restart" if is_adopted else "it was filled"
            )  # fmt: skip
            self._retire(slot)
            return False
        if not is_adopted:
            return True
        self.unverified -= 1
        if self.arena.confirm(slot):
            return True
        self._policy.removed(slot)
        return False

    def content(self, slot: int) -> memoryview:
        """The slot's bytes."""
        return self.arena.content(slot)

    def touch(self, slot: int) -> None:
        """The master itself used the slot."""
        self._policy.touched(slot)

    # --- filling ---

    def lease_block(self, digest: bytes, length: int, is_one_of_many: bool) -> int:
        """A FILLING slot for a block. Blocks of many-block objects start on a page, so that views can span them."""
        return self._lease(digest, length, KIND_BLOCK, PAGE_BYTES if is_one_of_many else 1)

    def put_meta(self, digest: bytes, record: bytes, crc: int, valid_until_ns: int, validated_ns: int) -> int:
        """Replaces the metadata record of a digest; returns its slot."""
        slot = self._lease(digest, len(record), KIND_META, 1)
        self.arena.content(slot)[:] = record
        old = self.find(digest)
        self.arena.publish(slot, crc, valid_until_ns, validated_ns)
        self._policy.inserted(slot, _fingerprint(digest), self._class_of(slot))
        self._demotion.came(slot, is_wanted=False)
        if old >= 0:
            self._retire(old)
        return slot

    def buffer(self, slot: int) -> memoryview:
        """The writable bytes of a FILLING slot."""
        return self.arena.content(slot)

    def advance(self, slot: int, watermark: int) -> None:
        """Bytes up to ``watermark`` may be read."""
        self.arena.advance(slot, watermark)

    def publish(self, slot: int, crc: int, *, is_guest: bool = False) -> None:
        """The block is complete. ``is_guest``: its home is another host."""
        self.arena.publish(slot, crc)
        fingerprint = _fingerprint(self.arena.fields(slot).digest)
        entry = self._admission.entry(fingerprint, is_guest=is_guest, has_room=self._slabs.free_bytes > 0)
        class_index = self._class_of(slot)
        self._policy.inserted(slot, fingerprint, class_index, *entry)
        self._demotion.came(slot, is_wanted=not is_guest)
        if self.pressed is not None and self._slabs.free_bytes * EDGE_SHARE < self.arena.geometry.data_bytes:
            self.pressed(class_index)

    def abort(self, slot: int) -> None:
        """The block will not come; its memory is used again when nobody reads it or writes into it."""
        self.arena.abort(slot)

    def attach(self, slot: int) -> None:
        """A transfer writes into the slot from now on."""
        self.arena.attach(slot)

    def detach(self, slot: int) -> None:
        """It never will again."""
        self.arena.detach(slot)

    def invalidate(self, digest: bytes) -> bool:
        """Forgets what is READY under a digest; readers who hold it keep it."""
        slot = self.find(digest)
        if slot < 0:
            return False
        self._retire(slot)
        return True

    def retire(self, slot: int) -> None:
        """Nobody finds this READY slot any more; who holds it keeps it, and its memory is free after a :meth:`reclaim` when nobody does."""
        self._retire(slot)

    def _retire(self, slot: int) -> None:
        if self.arena.state(slot) is State.ADOPTED:
            self.unverified -= 1
        self.arena.invalidate(slot)
        self._policy.removed(slot)
        self._demotion.went(slot)

    # --- to the SSD ---

    def next_to_write(self, class_index: int, count: int) -> list[int]:
        """Up to ``count`` slots of the class that go next and have yet to be offered to the SSD; each is given once."""
        slots = self._policy.victims(class_index, edge(self._policy.tracked(class_index)))
        ready = (slot for slot in slots if self.arena.state(slot) is State.READY)
        return self._demotion.due(ready, count)

    def tracked(self, class_index: int) -> int:
        """How many slots of a size class could go."""
        return self._policy.tracked(class_index)

    def uses(self, slot: int) -> int:
        """How often a block was read since it came, the first time left out, as far as that is remembered."""
        return self._policy.uses(slot)

    def write_begins(self, slot: int) -> None:
        """The slot's bytes are read by a thread that writes them: it stays until :meth:`write_ended`."""
        self.arena.hold(slot)
        self._being_written[slot] = False

    def write_ended(self, slot: int) -> None:
        """They are not read any more. A block that would have gone meanwhile goes, unless it was used since."""
        self.arena.unhold(slot)
        is_overdue = self._being_written.pop(slot)
        if is_overdue and self.arena.state(slot) is State.READY:
            class_index = self._class_of(slot)
            if slot in self._policy.victims(class_index, len(self._being_written) + 1):
                self._evict([slot])

    def reclaim(self) -> None:
        """Frees retired slots that nobody holds."""
        self._free_cells(self.arena.reclaim_retired())

    def ready_slots(self) -> Iterator[int]:
        """All READY slots, slab after slab; slots may come and go meanwhile."""
        for slab in list(self._cells):
            yield from self._ready_in(slab)

    # --- room ---

    def has_spare(self, block_count: int) -> bool:
        """Whether there is room for so many whole blocks; lets blocks go for that, a few for each call."""
        for _ in range(_SPARE_STEPS):
            if self._slabs.free_slab_count >= block_count:
                return True
            self._make_room(self._slabs.class_for(self._slab_bytes), block_count, may_take_from_others=True)
        return self._slabs.free_slab_count >= block_count

    def _lease(self, digest: bytes, length: int, kind: int, min_bytes: int) -> int:
        class_index = self._slabs.class_for(length, min_bytes)
        offset = self._take(class_index)
        slot = self.arena.lease(digest, self._base + offset, self._class_sizes[class_index], length, kind)
        self._set_cell(self._base + offset, class_index, slot)
        return slot

    def _take(self, class_index: int) -> int:
        """A free cell of the class, with a free slot to go with it."""
        if not self.arena.free_slots and not self._make_slots():
            raise self._full()
        offset = self._slabs.take(class_index)
        batch = max(1, min(EVICTION_BATCH_SLOTS, self._policy.tracked(class_index) // _BATCH_SHARE))
        # Twice round, since the policy may name some of the class again before it has named all; and some slabs of other classes.
        tracked = self._policy.tracked(class_index)
        named, slabs_left = 0, _SLABS_TRIED
        while offset is None:
            named += batch
            may_take = named >= min(tracked, _OWN_TRIED)
            is_over = named - batch >= 2 * tracked and slabs_left <= 0
            if is_over or not self._make_room(class_index, batch, may_take_from_others=may_take):
                raise self._full()
            slabs_left -= 1 if may_take else 0
            batch = min(2 * batch, EVICTION_BATCH_SLOTS)
            offset = self._slabs.take(class_index)
        return offset

    def _full(self) -> ArenaFull:
        self._counters.add("arena_full")
        return ArenaFull(
            f"no room can be made in the arena ({self.arena.geometry.data_bytes:,} bytes): all of it is pinned by {len(self.arena.tables)} "
            "clients or being filled; close views that are no longer needed, or give the daemon more memory"
        )

    def _make_room(self, class_index: int, batch: int, *, may_take_from_others: bool) -> bool:
        """Frees cells of the class, or a whole slab where it has none or may take from others; False if there was nothing to try."""
        if self._free_cells(self.arena.reclaim_retired()) and self._slabs.free_cells_of(class_index):
            return True
        self.harvest()
        victims = self._victims(class_index, batch)
        if victims:
            self._empty_a_colder_slab(class_index, victims[0])
        freed = self._evict(victims)
        is_poor = not freed and (may_take_from_others or not victims)
        others = self._any_slab(class_index) if is_poor else []
        if self.pressed is not None:
            self.pressed(class_index)
        return freed + self._evict(others) > 0 or bool(victims) or bool(others)

    def _victims(self, class_index: int, count: int) -> list[int]:
        """The next of the class to go, past those that are being written: they go when that is done."""
        if not self._being_written:
            return self._policy.victims(class_index, count)
        victims: list[int] = []
        for slot in self._policy.victims(class_index, count + len(self._being_written)):
            if slot in self._being_written:
                self._being_written[slot] = True
            elif len(victims) < count:
                victims.append(slot)
        return victims

    def _make_slots(self) -> bool:
        """All slot headers are in use: evicts from the class that has the most."""
        if self._free_cells(self.arena.reclaim_retired()):
            return True
        self.harvest()
        largest = max(range(len(self._class_sizes)), key=self._policy.tracked)
        for _ in range(2 + self._policy.tracked(largest) // EVICTION_BATCH_SLOTS):
            if self._evict(self._victims(largest, EVICTION_BATCH_SLOTS)):
                return True
        return False

    def _evict(self, slots: Iterable[int]) -> int:
        slots = list(slots)
        adopted = (
            [slot for slot in slots if self.arena.state(slot) is State.ADOPTED] if self.unverified else []
        )
        for slot in adopted:
            self._retire(slot)  # nobody accepts it anyway; who holds it from before keeps it
            slots.remove(slot)
        freed, held = self.arena.evict(slots)
        if adopted:
            freed += self.arena.reclaim_retired()
        for slot in held:
            self._policy.touched(slot)  # somebody is using it: its slab is not cold
            self._policy.spared(slot)
        self._counters.add("slots_evicted", len(freed))
        self._counters.add("slots_spared", len(held))
        return self._free_cells(freed)

    def _free_cells(self, freed: list[SlotFields]) -> int:
        for fields in freed:
            slot = self._clear_cell(fields.offset)
            self._policy.removed(slot)
            if self._demotion.went(slot) and self.pressed is not None:
                self._counters.add("blocks_not_offered")
            self._slabs.give(fields.offset - self._base)
        return len(freed)

    def _empty_a_colder_slab(self, class_index: int, victim: int) -> None:
        """Moves memory between classes, a step at a time: a slab whose blocks were all used before ``victim`` is emptied over several calls.

        Looked at is a sample of each slab, and evicted a batch: a slab can have thousands of cells, and the loop must not stand still for them.
        """
        if self._emptied < 0 or self._slabs.class_of(self._emptied) in (None, class_index):
            self._emptied = next(
                (slab for slab in self._sweep(class_index, _SLABS_COMPARED) if self._is_colder(slab, victim)),
                -1,
            )
        if self._emptied < 0:
            return
        slots = list(islice(self._ready_in(self._emptied), _SLOTS_EMPTIED))
        if not slots or not self._policy.is_slab_colder(slots, victim) or not self._evict(slots):
            self._emptied = -1  # in use again, or what is left is pinned or being filled

    def _is_colder(self, slab: int, victim: int) -> bool:
        cells = self._cells[slab]
        sample = [slot for slot in cells[:: max(1, len(cells) // _SAMPLE_CELLS)] if slot != _NO_SLOT]
        return bool(sample) and self._policy.is_slab_colder(sample, victim)

    def _any_slab(self, class_index: int) -> list[int]:
        """All slots of a slab of another class that could be emptied; none if there is no such slab.

        Of some it is the one with the fewest that were used again, and of such the one with the fewest.
        """
        best: list[int] = []
        best_worth = (0, 0)
        weighed = looked_at = 0
        for slab in self._sweep(class_index, self._slabs.slab_count):
            used = self._slabs.used_in_slab(slab)
            slots = list(self._ready_in(slab))
            weighed, looked_at = weighed + 1, looked_at + len(slots)
            worth = (sum(self._policy.uses(slot) > 0 for slot in slots), used)
            if len(slots) == used and (not best or worth < best_worth):
                best, best_worth = slots, worth
            if best and weighed >= _SLABS_WEIGHED and (not best_worth[0] or looked_at >= _SLOTS_WEIGHED):
                break
        return best

    def _sweep(self, class_index: int, count: int) -> Iterator[int]:
        """The next ``count`` slabs of other classes, from where the last sweep stopped."""
        total = self._slabs.slab_count
        for _ in range(min(count, total)):
            slab = self._hand
            self._hand = (slab + 1) % total
            if self._slabs.class_of(slab) not in (None, class_index):
                yield slab

    def _ready_in(self, slab: int) -> Iterator[int]:
        """The READY and ADOPTED slots of a slab; others are being filled, or retired."""
        for slot in self._cells.get(slab, ()):
            if slot != _NO_SLOT and self.arena.state(slot) in (State.READY, State.ADOPTED):
                yield slot

    # --- cells ---

    def _cell(self, offset: int) -> tuple[int, int]:
        slab, inside = divmod(offset - self._base, self._slab_bytes)
        class_index = self._slabs.class_of(slab)
        assert class_index is not None
        return slab, inside // self._class_sizes[class_index]

    def _set_cell(self, offset: int, class_index: int, slot: int) -> None:
        slab, cell = self._cell(offset)
        cells = self._cells.get(slab)
        size = self._slab_bytes // self._class_sizes[class_index]
        if cells is None or len(cells) != size:
            cells = self._cells[slab] = array("I", [_NO_SLOT]) * size
        cells[cell] = slot

    def _clear_cell(self, offset: int) -> int:
        slab, cell = self._cell(offset)
        slot = self._cells[slab][cell]
        self._cells[slab][cell] = _NO_SLOT
        return slot

    def _class_of(self, slot: int) -> int:
        return self._slabs.class_for(self.arena.fields(slot).capacity)

    # --- upkeep ---

    def harvest(self) -> int:
        """Tells the policy what readers have used, a bounded number of marks of each; returns how many there were."""
        touched = self._policy.touched
        words = list(self.arena.tables.harvest(HARVEST_MARKS_MAX))
        for word in uses(words):
            slot, generation = unpack_pin(word)
            if slot < self.arena.geometry.slot_count and self.arena.generation(slot) == generation:
                touched(slot)
        return len(words)

    def maintain(self) -> None:
        """Retires tables of dead clients and frees retired slots: to be called now and then, as is :meth:`harvest`."""
        self._counters.add("tables_retired", len(self.arena.tables.retire_abandoned()))
        self._free_cells(self.arena.reclaim_retired())

    @property
    def levels(self) -> dict[str, int]:
        """Figures of the moment, and what the clients have counted (:meth:`~shmipc.tables.TableFolder.hits`)."""
        hits = self.arena.tables.hits()
        return {
            "hits_memory": hits.blocks,
            "hit_bytes_memory": hits.bytes,
            "arena_used_bytes": self._slabs.used_bytes,
            "arena_free_bytes": self._slabs.free_bytes,
            "slots_in_use": self._slabs.used_cells,
            "slots_unverified": self.unverified,
            "slots_retired": len(self.arena.retired_slots()),
            "pin_tables": len(self.arena.tables),
        }

    def close(self) -> None:
        """Lets go of the arena; it stays."""
        self.arena.close()


def _fingerprint(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "little")
