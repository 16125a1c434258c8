"""The arena: slots of shared memory that one owner fills and evicts while many readers hold them without a message.

Law: the owner's and the reader's half of the pin protocol meet here. Every state change of a slot goes through the table in
:mod:`shmipc.states`. Memory is reused only by :meth:`ArenaOwner.lease`, only from FREE; a slot becomes FREE only in
:meth:`ArenaOwner._reclaim_unheld`: after its state was changed to one that no reader accepts, *then* :func:`~shmipc.fence.fence_readers`,
*then* a scan of all pin tables, and only if neither a table, nor the owner itself (``hold``), nor a transfer that still receives
(``attach``) has it. What is stored, under which policy, and where in the data area is the caller's.

Order of stores when a slot is leased: the fields while it is FREE (nobody accepts it), then the word with the new generation. When it is published:
content, crc and validity first, the word last. x86-64 keeps stores in order, and so do readers' loads.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

from shmipc.errors import ArenaLayoutError, StateError
from shmipc.fence import fence_readers
from shmipc.index import IndexReader, IndexWriter
from shmipc.instance import Instance
from shmipc.layout import (
    ARENA_MAGIC,
    DIGEST_BYTES,
    H_ARENA_ID,
    H_COHERENT_UNTIL_NS,
    H_DATA_BYTES,
    H_DATA_OFFSET,
    H_DOUBTED_BEFORE_NS,
    H_INDEX_BUCKETS,
    H_INDEX_OFFSET,
    H_LAYOUT_VERSION,
    H_MAGIC,
    H_OWNER_EPOCH,
    H_OWNER_PID,
    H_SLAB_BYTES,
    H_SLOT_COUNT,
    H_SLOTS_OFFSET,
    H_TOTAL_BYTES,
    HEADER_BYTES,
    LAYOUT_VERSION,
    NEVER_ENDS,
    S_CAPACITY,
    S_CRC,
    S_DIGEST,
    S_LENGTH,
    S_VALID_UNTIL_NS,
    S_VALIDATED_NS,
    S_WATERMARK,
    S_WORD,
    SLOT_BYTES,
    SLOT_WORDS,
    STATE_BITS,
    STATE_MASK,
    WORD_BYTES,
    Geometry,
    geometry_for,
    pack_pin,
    pack_word,
)  # fmt: skip
from shmipc.pins import PinTable
from shmipc.segment import Segment
from shmipc.states import Event, State, after
from shmipc.tables import TableFolder
from shmipc.view import address_of

__all__ = ["ArenaOwner", "ArenaReader", "Hit", "SlotFields"]

_FIELDS = Struct("@32sQQQQQQQQ")
_READY = int(State.READY)
_FILLING = int(State.FILLING)
_ADOPTED = int(State.ADOPTED)

assert _FIELDS.size == (S_VALIDATED_NS + 1 - S_DIGEST) * WORD_BYTES


class SlotFields(NamedTuple):
    """A slot header's fields behind its word."""

    digest: bytes
    length: int
    offset: int
    capacity: int
    crc: int
    kind: int
    watermark: int
    valid_until_ns: int
    validated_ns: int


class Hit(NamedTuple):
    """A pinned slot: drop it with ``table.unpin(entry)``."""

    entry: int
    slot: int
    generation: int
    fields: SlotFields


def _read_geometry(segment: Segment, arena_id: int | None) -> tuple[Geometry, int]:
    if segment.size_bytes < HEADER_BYTES:
        raise ArenaLayoutError(f"{segment.name} has {segment.size_bytes} bytes: no arena")
    with memoryview(segment.memory)[:HEADER_BYTES] as head, head.cast("Q") as words:
        if words[H_MAGIC] != ARENA_MAGIC:
            raise ArenaLayoutError(f"{segment.name} is no finished arena (magic {words[H_MAGIC]:#x})")
        if words[H_LAYOUT_VERSION] != LAYOUT_VERSION:
            raise ArenaLayoutError(
                f"{segment.name} has layout {words[H_LAYOUT_VERSION]}, this program knows layout {LAYOUT_VERSION}: "
                "client library and daemon must be of the same version"
            )
        if arena_id is not None and words[H_ARENA_ID] != arena_id:
            raise ArenaLayoutError(f"{segment.name} is arena {words[H_ARENA_ID]:016x}, not {arena_id:016x}")
        if words[H_TOTAL_BYTES] != segment.size_bytes:
            raise ArenaLayoutError(
                f"{segment.name} has {segment.size_bytes} bytes, its header says {words[H_TOTAL_BYTES]}: truncated"
            )
        geometry = Geometry(
            total_bytes=words[H_TOTAL_BYTES], slot_count=words[H_SLOT_COUNT], index_buckets=words[H_INDEX_BUCKETS],
            index_offset=words[H_INDEX_OFFSET], slots_offset=words[H_SLOTS_OFFSET], data_offset=words[H_DATA_OFFSET],
            data_bytes=words[H_DATA_BYTES], slab_bytes=words[H_SLAB_BYTES],
        )  # fmt: skip
        return geometry, words[H_ARENA_ID]


class _Slots:
    """Access to the slot headers of a mapped arena."""

    def __init__(self, segment: Segment, geometry: Geometry) -> None:
        self._memory = segment.memory
        self._offset = geometry.slots_offset
        whole = memoryview(segment.memory)
        self.words = whole[
            geometry.slots_offset : geometry.slots_offset + geometry.slot_count * SLOT_BYTES
        ].cast("Q")

    def state(self, slot: int) -> State:
        return State(self.words[slot * SLOT_WORDS] & STATE_MASK)

    def generation(self, slot: int) -> int:
        return self.words[slot * SLOT_WORDS] >> STATE_BITS

    def fields(self, slot: int) -> SlotFields:
        return SlotFields._make(
            _FIELDS.unpack_from(self._memory, self._offset + slot * SLOT_BYTES + S_DIGEST * WORD_BYTES)
        )

    def digest(self, slot: int) -> bytes:
        at = self._offset + slot * SLOT_BYTES + S_DIGEST * WORD_BYTES
        return self._memory[at : at + DIGEST_BYTES]


class ArenaReader:
    """A reader's mapping of an arena: finds, pins and copies slots. Thread-safe; holds no lock of its own."""

    def __init__(self, segment: Segment, arena_id: int | None = None) -> None:
        self.segment = segment
        self.geometry, self.arena_id = _read_geometry(segment, arena_id)
        self._slots = _Slots(segment, self.geometry)
        self._words = self._slots.words
        self._memory = segment.memory
        self._fields_at = self.geometry.slots_offset + S_DIGEST * WORD_BYTES
        self._index = IndexReader(segment.memory, self.geometry)
        self.address = address_of(segment.memory)

    def pin(self, table: PinTable, digest: bytes) -> Hit | None:
        """Finds and pins the READY slot of ``digest``; None is a miss. Raises ``PinTableFull`` or ``QuotaExceeded``."""
        slot = self._index.find(digest)
        if slot < 0 or slot >= self.geometry.slot_count:
            return None
        word = self._words[slot * SLOT_WORDS]
        if word & STATE_MASK != _READY:
            return None
        return self._pin(table, digest, slot, word)

    def pin_slot(
        self, table: PinTable, digest: bytes, slot: int, generation: int, *, filling: bool = False
    ) -> Hit | None:
        """Pins a slot the owner has announced; with ``filling`` also one that is still being filled. None: it is not that any more."""
        if not 0 <= slot < self.geometry.slot_count:
            return None
        word = self._words[slot * SLOT_WORDS]
        state = word & STATE_MASK
        if word >> STATE_BITS != generation or not (state == _READY or (filling and state == _FILLING)):
            return None
        hit = self._pin(table, digest, slot, word)
        if (
            hit is None and filling
        ):  # it may have become READY between the two reads of its word: same generation, same bytes
            word = self._words[slot * SLOT_WORDS]
            if word == pack_word(generation, _READY):
                hit = self._pin(table, digest, slot, word)
        return hit

    def _pin(self, table: PinTable, digest: bytes, slot: int, word: int) -> Hit | None:
        generation = word >> STATE_BITS
        capacity = self._words[slot * SLOT_WORDS + S_CAPACITY]
        entry = table.pin(slot, generation, capacity)
        if self._recheck(slot, word):
            fields = SlotFields._make(_FIELDS.unpack_from(self._memory, self._fields_at + slot * SLOT_BYTES))
            if fields.digest == digest:
                return Hit(entry, slot, generation, fields)
        table.unpin(entry)
        return None

    def _recheck(self, slot: int, word: int) -> bool:
        """Step 3 of the pin protocol. A method, so that a test can leave it out and see wrong bytes."""
        return self._words[slot * SLOT_WORDS] == word

    def copy(self, digest: bytes, table: PinTable | None = None) -> tuple[bytes, SlotFields] | None:
        """A private copy of a READY slot's bytes without a pin: valid if the slot's word is the same after as before.

        For small content (metadata), and for clients that cannot pin. Needs loads in order, as on x86-64; elsewhere compare the copy's crc32c
        with ``fields.crc``. ``table``: where to leave a touch mark.
        """
        slot = self._index.find(digest)
        if slot < 0 or slot >= self.geometry.slot_count:
            return None
        at = slot * SLOT_WORDS
        word = self._words[at]
        if word & STATE_MASK != _READY:
            return None
        fields = SlotFields._make(_FIELDS.unpack_from(self._memory, self._fields_at + slot * SLOT_BYTES))
        data = self._memory[fields.offset : fields.offset + fields.length]
        if self._words[at] != word or fields.digest != digest:
            return None
        if table is not None:
            table.touch(slot, word >> STATE_BITS)
        return data, fields

    def header_word(self, index: int) -> int:
        """A word of the arena's header (``layout.H_*``)."""
        return int.from_bytes(self._memory[index * WORD_BYTES : (index + 1) * WORD_BYTES], "little")

    def close(self) -> None:
        """Closes the descriptor. The mapping goes with this object, which views have as their ``keep``."""
        self._words.release()
        self.segment.close()


class ArenaOwner:
    """The one writer of an arena. Not thread-safe: one thread owns it.

    Made by :meth:`open`, which adopts the instance's arena if it has the wanted geometry and else makes a new one.
    """

    def __init__(self, instance: Instance, segment: Segment) -> None:
        self.instance = instance
        self.segment = segment
        self.geometry, self.arena_id = _read_geometry(segment, None)
        self.tables = TableFolder(instance.tables_folder, self.arena_id)
        self._slots = _Slots(segment, self.geometry)
        self._words = self._slots.words
        self._memory = memoryview(segment.memory)
        self._index = IndexWriter(segment.memory, self.geometry)
        self._free = array(
            "I"
        )  # slots that were used before; those from _fresh on never were, and need no list
        self._fresh = self.geometry.slot_count
        self._retired: set[int] = set()
        self._held: Counter[int] = Counter()
        self._attached: Counter[int] = Counter()

    # --- start ---

    @classmethod
    def open(
        cls, instance: Instance, *, data_bytes: int, slab_bytes: int, slot_count: int, verifies: bool = False
    ) -> tuple[ArenaOwner, bool]:
        """The instance's arena and whether it was adopted. The instance's lock must be held.

        ``verifies``: the caller looks at what was READY before anybody may have it (:meth:`adopted_slots`, :meth:`confirm`, :meth:`invalidate`).

        Raises ``OutOfSharedMemory``, ``SquattedName``. An arena of another layout or size is left to its clients and replaced by a new one.
        """
        geometry = geometry_for(data_bytes, slab_bytes, slot_count)
        owner = cls._adopt(instance, geometry, verifies)
        if owner is not None:
            return owner, True
        arena_id = int.from_bytes(os.urandom(8), "little")
        instance.unlink_segments()  # what cannot be adopted would only take room: clients keep their mappings
        segment = Segment.create(instance.segment_name(arena_id), geometry.total_bytes)
        try:
            _write_header(segment, geometry, arena_id)
            instance.set_current_segment(segment.name)
        except BaseException:
            segment.close()
            instance.unlink_segments()
            raise
        owner = cls(instance, segment)
        owner._take_over()
        owner._fresh = 0
        return owner, False

    @classmethod
    def _adopt(cls, instance: Instance, geometry: Geometry, verifies: bool) -> ArenaOwner | None:
        name = instance.current_segment()
        if name is None:
            return None
        try:
            segment = Segment.open(name, writable=True)
        except (FileNotFoundError, ArenaLayoutError):
            return None
        try:
            found, _ = _read_geometry(segment, None)
            if found != geometry:
                raise ArenaLayoutError("another geometry")
        except ArenaLayoutError:
            segment.close()
            return None
        owner = cls(instance, segment)
        owner._take_over()
        owner._walk(verifies)
        return owner

    def _take_over(self) -> None:
        with self._memory[:HEADER_BYTES].cast("Q") as header:
            header[H_OWNER_EPOCH] += 1
            header[H_OWNER_PID] = os.getpid()
        self.tables.adopt()

    def _walk(self, verifies: bool) -> None:
        """Restores what a dead owner left: READY stays or is to be verified, what was in motion is retired, the index is made consistent."""
        free: list[int] = []
        ready: list[int] = []
        adopted = after(State.READY, Event.ADOPT)
        for slot, word in enumerate(self._words[::SLOT_WORDS].tolist()):
            state = word & STATE_MASK
            if state == State.FREE:
                free.append(slot)
            elif state == _READY or (state == _ADOPTED and verifies):
                ready.append(slot)
                if verifies:
                    self._words[slot * SLOT_WORDS] = word & ~STATE_MASK | adopted
            else:
                if state in (State.FILLING, State.EVICTING):
                    self._change(slot, Event.ADOPT)
                elif state == _ADOPTED:  # its owner died before it was verified, and this one does not
                    self._change(slot, Event.INVALIDATE)
                elif (
                    state != State.RETIRED
                ):  # no state at all: somebody else wrote here; its content is nobody's
                    self._words[slot * SLOT_WORDS] = word & ~STATE_MASK | State.RETIRED
                self._retired.add(slot)
        self._index.clear()
        for slot in ready:
            self._index.insert(self._slots.digest(slot), slot)
        while free and free[-1] == self._fresh - 1 and not self._words[free[-1] * SLOT_WORDS]:
            self._fresh = free.pop()
        self._free.extend(reversed(free))
        self.reclaim_retired()

    # --- looking ---

    def state(self, slot: int) -> State:
        """State of a slot."""
        return self._slots.state(slot)

    def generation(self, slot: int) -> int:
        """Generation of a slot."""
        return self._slots.generation(slot)

    def fields(self, slot: int) -> SlotFields:
        """Header fields of a slot."""
        return self._slots.fields(slot)

    def find(self, digest: bytes) -> int:
        """The READY slot of ``digest``, or -1."""
        slot = self._index.find(digest)
        if slot < 0 or self._slots.state(slot) != State.READY or self._slots.digest(slot) != digest:
            return -1
        return slot

    def find_adopted(self, digest: bytes) -> int:
        """The ADOPTED slot of ``digest``, or -1."""
        slot = self._index.find(digest)
        if slot < 0 or self._slots.state(slot) != State.ADOPTED or self._slots.digest(slot) != digest:
            return -1
        return slot

    def confirm(self, slot: int) -> bool:
        """ADOPTED becomes READY: its bytes are those that were published. One that the index does not lead to is RETIRED instead, and False given:
        another slot has its digest by now.
        """
        if self.find_adopted(self._slots.digest(slot)) != slot:
            self.invalidate(slot)
            return False
        self._change(slot, Event.CONFIRM)
        return True

    def word(self, slot: int) -> int:
        """A slot's word: generation and state. While it is the same, so are READY and ADOPTED bytes, as far as anybody of this program writes."""
        return self._words[slot * SLOT_WORDS]

    def adopted_slots(self) -> list[int]:
        """All ADOPTED slots."""
        return self._in_state(_ADOPTED)

    def ready_slots(self) -> list[int]:
        """All READY slots, for rebuilding after a restart."""
        return self._in_state(_READY)

    def _in_state(self, state: int) -> list[int]:
        return [
            slot for slot, word in enumerate(self._words[::SLOT_WORDS].tolist()) if word & STATE_MASK == state
        ]

    def retired_slots(self) -> frozenset[int]:
        """Slots that wait for their last holder."""
        return frozenset(self._retired)

    @property
    def free_slots(self) -> int:
        """How many slots may be leased now."""
        return len(self._free) + self.geometry.slot_count - self._fresh

    def content(self, slot: int) -> memoryview:
        """The slot's ``length`` bytes."""
        fields = self.fields(slot)
        return self._memory[fields.offset : fields.offset + fields.length]

    # --- filling ---

    def lease(self, digest: bytes, offset: int, capacity: int, length: int, kind: int = 0) -> int:
        """Takes a FREE slot for a transfer into ``[offset, offset + length)`` of the segment; returns it (state FILLING).

        The caller answers for the range being free. Raises ``StateError`` if no slot is free.
        """
        if not self.free_slots:
            raise StateError("no slot is FREE: evict first")
        if (
            not self.geometry.data_offset <= offset <= offset + capacity <= self.geometry.total_bytes
            or length > capacity
        ):
            raise StateError(f"{length} bytes at {offset} with capacity {capacity} lie outside the data area")
        slot = self._free.pop() if self._free else self._next_fresh()
        generation = self._slots.generation(slot) + 1
        at = self.geometry.slots_offset + slot * SLOT_BYTES + S_DIGEST * WORD_BYTES
        _FIELDS.pack_into(self._memory, at, digest, length, offset, capacity, 0, kind, 0, 0, 0)
        state = after(self._slots.state(slot), Event.LEASE)
        self._words[slot * SLOT_WORDS + S_WORD] = pack_word(generation, state)
        return slot

    def _next_fresh(self) -> int:
        self._fresh += 1
        return self._fresh - 1

    def advance(self, slot: int, watermark: int) -> None:
        """Bytes ``[0, watermark)`` of a FILLING slot have arrived and may be read."""
        self._words[slot * SLOT_WORDS + S_WATERMARK] = watermark

    def publish(self, slot: int, crc: int, valid_until_ns: int = 0, validated_ns: int = 0) -> None:
        """FILLING becomes READY: everybody may pin it."""
        at = slot * SLOT_WORDS
        self._words[at + S_CRC] = crc
        self._words[at + S_VALIDATED_NS] = validated_ns
        self._words[at + S_VALID_UNTIL_NS] = valid_until_ns
        self._words[at + S_WATERMARK] = self._words[at + S_LENGTH]
        self._change(slot, Event.PUBLISH)
        self._index.insert(self._slots.digest(slot), slot)

    def set_valid_until(self, slot: int, valid_until_ns: int, validated_ns: int | None = None) -> None:
        """Moves the application's freshness of a slot, and with it when it was validated."""
        at = slot * SLOT_WORDS
        if validated_ns is not None:
            self._words[at + S_VALIDATED_NS] = validated_ns
        self._words[at + S_VALID_UNTIL_NS] = valid_until_ns

    # --- what others may change ---

    @property
    def coherent_until(self) -> int:
        """Until when (CLOCK_MONOTONIC, ns) readers may rely on hearing of every change; :data:`~shmipc.layout.NEVER_ENDS` in a new arena."""
        return self._header_word(H_COHERENT_UNTIL_NS)

    def set_coherent_until(self, until_ns: int) -> None:
        """Moves it. After a gap, :meth:`set_doubted_before` comes first: readers look at the two in the other order."""
        self._set_header_word(H_COHERENT_UNTIL_NS, until_ns)

    @property
    def doubted_before(self) -> int:
        """What others may change and was validated before then (CLOCK_MONOTONIC, ns) is not current."""
        return self._header_word(H_DOUBTED_BEFORE_NS)

    def set_doubted_before(self, before_ns: int) -> None:
        """Doubts everything that was validated earlier."""
        self._set_header_word(H_DOUBTED_BEFORE_NS, before_ns)

    def _header_word(self, index: int) -> int:
        with self._memory[:HEADER_BYTES].cast("Q") as header:
            return header[index]

    def _set_header_word(self, index: int, value: int) -> None:
        with self._memory[:HEADER_BYTES].cast("Q") as header:
            header[index] = value

    def abort(self, slot: int) -> None:
        """FILLING becomes RETIRED; it is reclaimed when nobody reads it and its transfer is detached."""
        self._change(slot, Event.ABORT)
        self._retired.add(slot)

    def invalidate(self, slot: int) -> None:
        """READY or ADOPTED becomes RETIRED: no new reader; those who hold it keep it."""
        self._change(slot, Event.INVALIDATE)
        self._index.remove(self._slots.digest(slot), slot)
        self._retired.add(slot)

    # --- holding, by the owner's own process ---

    def attach(self, slot: int) -> None:
        """A transfer writes into the slot from now on (a fill-pin), whatever becomes of the slot."""
        self._attached[slot] += 1

    def detach(self, slot: int) -> None:
        """The transfer will never write into the slot again."""
        _count_down(self._attached, slot)

    def hold(self, slot: int) -> None:
        """The owner keeps the slot for a reader who is told of it and has not pinned it yet."""
        self._held[slot] += 1

    def unhold(self, slot: int) -> None:
        """Undoes one :meth:`hold`."""
        _count_down(self._held, slot)

    # --- evicting ---

    def evict(self, slots: Iterable[int]) -> tuple[list[SlotFields], list[int]]:
        """Tries to free READY slots (several at once share one fence and scan).

        Returns the freed ones' former fields (their memory may be used again) and the slots that are held and stay READY.
        Raises ``StateError`` for one that is not READY; then, as after any error, none is left EVICTING.
        """
        marked: list[int] = []
        try:
            for slot in slots:
                self._change(slot, Event.MARK)
                marked.append(slot)
            return self._reclaim_unheld(marked)
        finally:
            for slot in marked:
                if self._slots.state(slot) == State.EVICTING:
                    self._change(slot, Event.SPARE)

    def reclaim_retired(self) -> list[SlotFields]:
        """Frees RETIRED slots that nobody holds any more; returns their former fields."""
        if not self._retired:
            return []
        freed, held = self._reclaim_unheld(sorted(self._retired))
        self._retired = set(held)
        return freed

    def _reclaim_unheld(self, slots: list[int]) -> tuple[list[SlotFields], list[int]]:
        if not slots:
            return [], []
        # Without a table nobody can pin: so it is where there is no fence, and no client gets a table.
        if len(self.tables):
            fence_readers()
        pinned = self.tables.scan()
        freed: list[SlotFields] = []
        held: list[int] = []
        for slot in slots:
            if (
                slot in self._attached
                or slot in self._held
                or pack_pin(slot, self._slots.generation(slot)) in pinned
            ):
                held.append(slot)
                continue
            fields = self._slots.fields(slot)
            self._index.remove(fields.digest, slot)
            self._change(slot, Event.RECLAIM)
            self._free.append(slot)
            freed.append(fields)
        return freed, held

    def _change(self, slot: int, event: Event) -> None:
        at = slot * SLOT_WORDS
        word = self._words[at]
        self._words[at] = word & ~STATE_MASK | after(State(word & STATE_MASK), event)

    # --- end ---

    def close(self) -> None:
        """Lets go of everything; the arena stays for the next owner."""
        self.tables.close()
        self._index.release()
        self._words.release()
        self._memory.release()
        self.segment.close()


def _count_down(counter: Counter[int], slot: int) -> None:
    if slot not in counter:
        raise StateError(f"slot {slot} is let go of more often than it was taken")
    if counter[slot] <= 1:
        del counter[slot]
    else:
        counter[slot] -= 1


def _write_header(segment: Segment, geometry: Geometry, arena_id: int) -> None:
    with memoryview(segment.memory)[:HEADER_BYTES] as head, head.cast("Q") as words:
        words[H_LAYOUT_VERSION] = LAYOUT_VERSION
        words[H_ARENA_ID] = arena_id
        words[H_TOTAL_BYTES] = geometry.total_bytes
        words[H_SLOT_COUNT] = geometry.slot_count
        words[H_INDEX_BUCKETS] = geometry.index_buckets
        words[H_INDEX_OFFSET] = geometry.index_offset
        words[H_SLOTS_OFFSET] = geometry.slots_offset
        words[H_DATA_OFFSET] = geometry.data_offset
        words[H_DATA_BYTES] = geometry.data_bytes
        words[H_SLAB_BYTES] = geometry.slab_bytes
        words[H_COHERENT_UNTIL_NS] = NEVER_ENDS
        words[H_MAGIC] = ARENA_MAGIC
