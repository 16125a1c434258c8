"""The hit path: a host's arena as one client process sees it.

Law: everything here works on shared memory alone; it sends nothing and waits for nobody, so threads, asyncio and the S3 worker share it.
What is not here (or no longer, or not fresh) is ``None``, and asking the daemon is the caller's business. Correctness stands on the pin
protocol (:mod:`shmipc.pins`) and on one rule of this module: a cached answer about a slot is used only if the slot's *word* is still the
one under which it was learnt. A generation never comes back, so an unchanged word means unchanged bytes; that makes caching names and
slots in the process safe without any invalidation message.

Metadata is used without asking the daemon until the slot header's ``valid_until_ns``, which is read before the word is compared: so it belongs to
this record. What can be changed through other hosts (``s3://``) needs two words of the arena's header too: the daemon is *coherent*, that is, will
have heard of every change, and has not lost that since the record was validated. Blocks are keyed by content and need no freshness.

Without the asymmetric fence (:mod:`shmipc.fence`) there is no pin table; the client then works on private copies, each verified (the word
is the same after as before; where the processor does not keep loads in order, the crc32c of the whole block) and all of them bounded.

Hits are counted here, in the process's own table, because nobody else sees them: a hit is a block found READY without asking the daemon; what the
daemon announced after a miss is none. A process that cannot pin has no table and is not counted.

An exporter (:mod:`shmipc.view`) keeps the mapping alive, so the arena of a daemon that went away is unmapped when its last view is gone.
"""

from __future__ import annotations

import platform
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic_ns

import crc32c

from aviary.cashy.v1 import control_pb2 as pb
from cashy.client import forking
from cashy.client.block_places import BlockPlaces
from cashy.client.limits import BLOCK_HINTS, FETCH_BLOCKS_MAX, META_CACHE_MAX, META_TOUCH_NS
from cashy.client.meta import Meta
from cashy.core.meta_record import KIND_BLOCK, KIND_META
from cashy.core.names import block_digest, meta_digest, parse_name
from cashy.errors import PinQuotaExceeded, ViewTooLarge
from shmipc.arena import ArenaReader, Hit
from shmipc.errors import PinTableFull, QuotaExceeded
from shmipc.index import IndexReader
from shmipc.kept_spans import KeptSpans
from shmipc.layout import (
    DIGEST_BYTES,
    GENERATION_BITS,
    GENERATION_MAX,
    H_COHERENT_UNTIL_NS,
    H_DOUBTED_BEFORE_NS,
    NEVER_ENDS,
    S_CAPACITY,
    S_CRC,
    S_DIGEST,
    S_KIND,
    S_LENGTH,
    S_OFFSET,
    S_VALID_UNTIL_NS,
    S_VALIDATED_NS,
    S_WATERMARK,
    SLOT_BYTES,
    SLOT_WORDS,
    STATE_BITS,
    STATE_MASK,
    WORD_BYTES,
)  # fmt: skip
from shmipc.pins import PinTable
from shmipc.segment import Segment
from shmipc.states import State
from shmipc.view import Piece, PlacedSpan, slot_view

__all__ = ["NOT_COUNTED", "AnyPin", "CopiedPin", "LocalArena", "Pin", "PrivateBytes", "TableLost"]

#: A block is pinned to see whether it is here: that is no hit.
NOT_COUNTED = -1

_READY = int(State.READY)
_LOADS_IN_ORDER = platform.machine() == "x86_64"


class TableLost(Exception):
    """The pin table was frozen by a fork, or replaced after a reconnect: get the new one and try again."""


class _Mapping:
    """The mapped segment; unmapped when the last view, pin and arena that use it are gone."""

    def __init__(self, segment: Segment, arena_id: int) -> None:
        self.reader = ArenaReader(segment, arena_id)
        self.bytes = memoryview(segment.memory)
        geometry = self.reader.geometry
        slots_end = geometry.slots_offset + geometry.slot_count * SLOT_BYTES
        self.words = self.bytes[geometry.slots_offset : slots_end].cast("Q")
        self.terms = self.bytes[
            H_COHERENT_UNTIL_NS * WORD_BYTES : (H_DOUBTED_BEFORE_NS + 1) * WORD_BYTES
        ].cast("Q")
        self.address = self.reader.address

    def __del__(self) -> None:
        if hasattr(self, "terms"):
            self.terms.release()
        if hasattr(self, "words"):
            self.words.release()
            self.bytes.release()
            self.reader.close()


class PrivateBytes(bytearray):
    """Bytes of this process that count against its quota until the last view of them is gone."""

    release: Callable[[], object] | None = None

    def __del__(self) -> None:
        if self.release is not None:
            self.release()


#: slot, generation, the slot's word while READY, then what stays the same for that generation: offset, capacity, length; and which block it is:
#: content id and index. A plain tuple, because it is taken apart on the hit path.
_KnownBlock = tuple[int, int, int, int, int, int, bytes, int]

#: Blocks that were found are remembered in a table with one place for each hash: bounded, and replaced without a search.
_HINTS_MASK = BLOCK_HINTS - 1
assert BLOCK_HINTS & _HINTS_MASK == 0

assert (S_OFFSET, S_CAPACITY) == (S_LENGTH + 1, S_LENGTH + 2)


#: Until when the daemon is coherent, and from when on what was validated counts: as words of the arena's header, or for ever.
_Terms = memoryview | tuple[int, int]

_UNCHANGED_BY_OTHERS: _Terms = (NEVER_ENDS, 0)
assert H_DOUBTED_BEFORE_NS == H_COHERENT_UNTIL_NS + 1


class _KnownMeta:
    """Decoded metadata, where its slot's words begin, under which word it was read, and on which terms it counts."""

    __slots__ = ("at", "doubted_before_ns", "meta", "terms", "touch_after_ns", "word")

    def __init__(self, meta: Meta, at: int, word: int, terms: _Terms, doubted_before_ns: int) -> None:
        self.meta = meta
        self.at = at
        self.word = word
        self.terms = terms
        self.doubted_before_ns = doubted_before_ns
        self.touch_after_ns = 0


class Pin:
    """A pinned block. ``length`` is its final size, and its bytes stay as they are until :meth:`release`."""

    __slots__ = ("_entry", "_mapping", "_table", "capacity", "generation", "length", "offset", "slot")

    def __init__(self, mapping: _Mapping, table: PinTable, entry: int, known: _KnownBlock) -> None:
        self._mapping = mapping
        self._table = table
        self._entry = entry
        self.slot, self.generation, _, self.offset, self.capacity, self.length, _, _ = known

    @property
    def available(self) -> int:
        """How many bytes have arrived; all of them unless the block is being filled."""
        return self._mapping.words[self.slot * SLOT_WORDS + S_WATERMARK]

    @property
    def view(self) -> memoryview:
        """The bytes available so far, read-only. Not to be used after :meth:`release`; :meth:`LocalArena.export` makes views that hold."""
        return self._mapping.bytes[self.offset : self.offset + min(self.available, self.length)]

    def release(self) -> None:
        """Drops the pin; again does nothing."""
        entry, self._entry = self._entry, -1
        if entry >= 0:
            self._table.unpin(entry)

    def __del__(self) -> None:
        self.release()


class CopiedPin:
    """Stands in for :class:`Pin` where nothing can be pinned: a private copy."""

    __slots__ = ("_data", "available", "length", "view")

    def __init__(self, data: PrivateBytes) -> None:
        self._data = data
        self.length = self.available = len(data)
        self.view = memoryview(data).toreadonly()

    def release(self) -> None:
        """Lets go of the copy."""
        self.view = memoryview(b"")
        self._data = PrivateBytes()


AnyPin = Pin | CopiedPin


class LocalArena:
    """An arena as this process sees it: mapping, pin table, quotas, and what was learnt of names and slots. Thread-safe.

    Takes over the descriptors. ``table_fd`` is None where this process cannot pin.
    """

    def __init__(self, arena_fd: int, table_fd: int | None, welcome: pb.Welcome) -> None:
        self._mapping = _Mapping(Segment.from_fd(arena_fd), welcome.arena_id)
        self.arena_id = welcome.arena_id
        self.can_pin = table_fd is not None
        self.pin_bytes_max = min(welcome.pin_bytes_max, welcome.arena_bytes)
        self.mappings_max = welcome.mappings_max
        self.private_bytes_max = welcome.private_bytes_max
        #: Of blocks on this host's SSDs; 0: there is none.
        self.mapped_bytes_max = welcome.mapped_bytes_max
        self.block_bytes = welcome.block_bytes
        # The daemon holds what it announced for a client up to that client's pin quota; half of it leaves room for reads at the same time.
        self.fetch_blocks_max = max(1, min(FETCH_BLOCKS_MAX, self.pin_bytes_max // welcome.block_bytes // 2))
        segment, geometry = self._mapping.reader.segment, self._mapping.reader.geometry
        self._words = self._mapping.words
        self._address = self._mapping.address
        self._digests_at = geometry.slots_offset + S_DIGEST * WORD_BYTES
        self._slot_count = geometry.slot_count
        self._index = IndexReader(segment.memory, geometry)
        self.table: PinTable | None = None
        self._metas: dict[str, _KnownMeta] = {}
        self._older_metas: dict[str, _KnownMeta] = {}
        self._hints: list[_KnownBlock | None] = [None] * BLOCK_HINTS
        self._places = BlockPlaces()
        self._spans = KeptSpans(segment.fd)
        self._make_accounts()
        if table_fd is not None:
            self.replace_table(table_fd)
        forking.watch(self)

    def _make_accounts(self) -> None:
        self._lock = threading.Lock()
        self._mappings = self._private_bytes = self._mapped_bytes = 0
        self._returned: deque[tuple[int, int, int]] = deque()

    # --- the pin table ---

    def replace_table(self, table_fd: int) -> None:
        """New pins go to this table; the old one closes with its last pin."""
        table = PinTable(table_fd, self.arena_id, pin_bytes_max=self.pin_bytes_max)
        forking.watch_table(table)
        old, self.table = self.table, table
        if old is not None:
            old.close_when_unused()

    def before_fork(self) -> None:
        """Both processes will share the pins of now (the registry freezes the table); new ones go to a new table."""
        self.table = None

    def after_fork_in_child(self) -> None:
        """The lock may be held by a thread that is not here; the child's accounts begin anew."""
        self._make_accounts()
        self._spans.after_fork_in_child()

    def drop_table(self) -> None:
        """No further pins; those that live stay valid, and the table closes with the last of them."""
        table, self.table = self.table, None
        if table is not None:
            table.close_when_unused()

    def __del__(self) -> None:
        if getattr(self, "table", None) is not None:
            self.drop_table()

    # --- metadata ---

    def lookup(self, name: str) -> Meta | None:
        """Metadata that may be used without asking the daemon; raises :class:`~cashy.errors.InvalidName`.

        While nothing changes it is the same object, so that others may keep what they derive from it.
        """
        known = self._metas.get(name)
        if known is None and (known := self._older_metas.get(name)) is not None:
            self._remember_meta(name, known)
        if known is not None:
            now_ns = monotonic_ns()
            at = known.at
            if (
                self._words[at + S_VALID_UNTIL_NS] > now_ns
                and known.terms[0] > now_ns
                and known.terms[1] == known.doubted_before_ns
                and self._words[at] == known.word
            ):
                if now_ns > known.touch_after_ns:
                    self._touch_meta(known, now_ns)
                return known.meta
        return self._learn(name)

    def _learn(self, name: str) -> Meta | None:
        parsed = parse_name(name)
        digest = meta_digest(parsed)
        slot = self._index.find(digest)
        if not 0 <= slot < self._slot_count:
            return None
        at = slot * SLOT_WORDS
        word = self._words[at]
        now_ns = monotonic_ns()
        if self._words[at + S_VALID_UNTIL_NS] <= now_ns or self._words[at + S_KIND] != KIND_META:
            return None
        terms = self._mapping.terms if parsed.url.startswith("s3://") else _UNCHANGED_BY_OTHERS
        # In this order: a daemon that is coherent anew has said before from when on it believes what it knows.
        is_coherent = terms[0] > now_ns
        doubted_before_ns = terms[1]
        if not is_coherent or self._words[at + S_VALIDATED_NS] < doubted_before_ns:
            return None
        length = self._words[at + S_LENGTH]
        record = PrivateBytes(min(length, len(self._mapping.bytes)))
        if not self._copy(slot, word, digest, 0, memoryview(record)):
            return None
        meta = Meta(parsed.url, bytes(record))
        self._remember_meta(name, _KnownMeta(meta, at, word, terms, doubted_before_ns))
        return meta

    def _remember_meta(self, name: str, known: _KnownMeta) -> None:
        """In two generations: a full younger one becomes the older one, whose unused half is forgotten with it, without a search."""
        if len(self._metas) >= META_CACHE_MAX // 2:
            self._metas, self._older_metas = {}, self._metas
        self._metas[name] = known

    def _touch_meta(self, known: _KnownMeta, now_ns: int) -> None:
        known.touch_after_ns = now_ns + META_TOUCH_NS
        if (table := self.table) is not None:
            table.touch(known.at // SLOT_WORDS, known.word >> STATE_BITS)

    # --- pins ---

    def read_hit(self, name: str, offset: int, length: int | None) -> memoryview | None:
        """``lookup`` and ``hit_range`` in one: a read by name that needs no message; None where it does.

        The common case (known name, known block, range inside it) is written out here without calls, which are a third of its cost; whatever is
        unusual goes the long way.
        """
        known = self._metas.get(name)
        table = self.table
        words = self._words
        if known is not None and length and table is not None:
            now_ns = monotonic_ns()
            if (
                words[known.at + S_VALID_UNTIL_NS] > now_ns
                and known.terms[0] > now_ns
                and known.terms[1] == known.doubted_before_ns
                and words[known.at] == known.word
                and now_ns <= known.touch_after_ns
            ):
                meta = known.meta
                index, start = divmod(offset, meta.block_bytes)
                content_id = meta.content_id
                stop = start + length
                places = self._places.tables.get(content_id)
                if places is not None:
                    if 0 <= offset <= meta.size_bytes - length and stop <= meta.block_bytes:
                        view = self._placed_view(table, places, index, length)
                        if view is not None:
                            return view if length == len(view) else view[start:stop]
                    return self.hit_range(meta, offset, length)
                block = self._hints[(hash(content_id) + index) & _HINTS_MASK]
                if (
                    block is not None
                    and block[7] == index
                    and block[6] == content_id
                    and start < stop <= block[5]
                ):
                    slot, generation, word, at, capacity, filled, _, _ = block
                    try:
                        entry = table.pin(slot, generation, capacity, length)
                    except (QuotaExceeded, PinTableFull):
                        return None  # the long way says why
                    if words[slot * SLOT_WORDS] == word:  # step 3 of the pin protocol
                        view = slot_view(
                            self._address + at, capacity, filled, partial(table.unpin, entry), self._mapping
                        )
                        return view if length == filled else view[start:stop]
                    table.unpin(entry)
                    table.was_no_hit(length)
        found = self.lookup(name)
        return None if found is None else self.hit_range(found, offset, length)

    def hit_range(self, meta: Meta, offset: int, length: int | None) -> memoryview | None:
        """The bytes ``[offset, offset + length)`` (cut at the end) if they lie in one block that is here; the view holds its pin.

        Raises :class:`~cashy.errors.PinQuotaExceeded`.
        """
        size = meta.size_bytes
        stop = size if length is None or length > size - offset else offset + length
        if not 0 <= offset < stop:
            return None
        index = offset // meta.block_bytes
        start = index * meta.block_bytes
        table = self.table
        if stop - start > meta.block_bytes or table is None:
            return None
        places = self._places.tables.get(meta.content_id)
        view = None if places is None else self._placed_view(table, places, index, stop - offset)
        if view is None:
            try:
                known, entry = self._hit(table, meta, index, stop - offset)
            except TableLost:
                return None
            if known is None:
                return None
            at, capacity, filled = known[3:6]
            view = slot_view(self._address + at, capacity, filled, partial(table.unpin, entry), self._mapping)
        return view if stop - offset == len(view) else view[offset - start : stop - start]

    def _placed_view(
        self, table: PinTable, places: memoryview, index: int, wanted_bytes: int
    ) -> memoryview | None:
        """A view of a whole block at its place, counted as a hit; None: the place is unknown or another's by now, or it cannot be pinned."""
        try:
            place = places[index]
        except IndexError:  # a store has given one version two sizes
            return None
        slot = place >> GENERATION_BITS
        generation = place & GENERATION_MAX
        word = generation << STATE_BITS | _READY
        words = self._words
        header = slot * SLOT_WORDS
        if words[header] != word:  # an unknown place is generation 0, which no slot has
            return None
        capacity = words[header + S_CAPACITY]
        try:
            entry = table.pin(slot, generation, capacity, wanted_bytes)
        except (QuotaExceeded, PinTableFull):
            return None  # the long way says why
        at, filled = words[header + S_OFFSET], words[header + S_LENGTH]
        if words[header] == word:  # step 3 of the pin protocol
            return slot_view(self._address + at, capacity, filled, partial(table.unpin, entry), self._mapping)
        table.unpin(entry)
        table.was_no_hit(wanted_bytes)
        return None

    def pin_block(self, meta: Meta, index: int, wanted_bytes: int | None = None) -> AnyPin | None:
        """Pins a block that is here and READY (or copies it, where this process cannot pin); None is a miss.

        ``wanted_bytes`` is how many of its bytes are wanted, for the count of hits: all unless given, :data:`NOT_COUNTED` if it is not for
        reading. Raises :class:`~cashy.errors.PinQuotaExceeded`, and :class:`TableLost` when a new table is needed.
        """
        if not self.can_pin:
            return self._copied(meta, index)
        table = self._table()
        known, entry = self._hit(table, meta, index, wanted_bytes)
        return None if known is None else Pin(self._mapping, table, entry, known)

    def pin_announced(
        self, meta: Meta, index: int, slot: int, generation: int, *, filling: bool = False
    ) -> AnyPin | None:
        """Pins a block that the daemon announced in ``slot``, also one that is still filling; None: it is no longer there."""
        if not self.can_pin:
            return self._copied(meta, index)
        table = self._table()
        digest = block_digest(meta.content_id, index)
        try:
            hit = self._mapping.reader.pin_slot(table, digest, slot, generation, filling=filling)
        except (QuotaExceeded, PinTableFull) as error:
            raise self._translated(error, table) from error
        return None if hit is None else Pin(self._mapping, table, hit.entry, self._remember(meta, index, hit))

    def _table(self) -> PinTable:
        table = self.table
        if table is None:
            raise TableLost
        return table

    def _hit(
        self, table: PinTable, meta: Meta, index: int, wanted_bytes: int | None
    ) -> tuple[_KnownBlock, int] | tuple[None, int]:
        """Pins a READY block and counts the hit; returns what is known of it and the table's entry."""
        content_id = meta.content_id
        places = self._places.tables.get(content_id)
        known = (
            self._hints[(hash(content_id) + index) & _HINTS_MASK]
            if places is None
            else self._placed(places, content_id, index)
        )
        try:
            if known is not None and known[7] == index and known[6] == content_id:
                slot, generation, word, _, capacity = known[:5]
                if self._words[slot * SLOT_WORDS] == word:
                    if wanted_bytes is None:
                        wanted_bytes = known[5]
                    entry = table.pin(slot, generation, capacity, wanted_bytes)
                    # Step 3 of the pin protocol. The same word: the same generation, and what is known of it holds.
                    if self._words[slot * SLOT_WORDS] == word:
                        return known, entry
                    table.unpin(entry)
                    if wanted_bytes != NOT_COUNTED:
                        table.was_no_hit(wanted_bytes)
            hit = self._mapping.reader.pin(table, block_digest(content_id, index))
        except (QuotaExceeded, PinTableFull) as error:
            raise self._translated(error, table) from error
        if hit is None:
            return None, -1
        if wanted_bytes != NOT_COUNTED:
            table.count_hit(hit.fields.length if wanted_bytes is None else wanted_bytes)
        return self._remember(meta, index, hit), hit.entry

    def _placed(self, places: memoryview, content_id: bytes, index: int) -> _KnownBlock | None:
        """What a block's slot says of it, if its place is remembered. It holds if the slot's word is still the same when it is pinned."""
        if index >= len(places) or not (place := places[index]):
            return None
        slot, generation = place >> GENERATION_BITS, place & GENERATION_MAX
        fields = self._words[slot * SLOT_WORDS + S_LENGTH : slot * SLOT_WORDS + S_CAPACITY + 1]
        length, offset, capacity = fields
        return (
            slot,
            generation,
            generation << STATE_BITS | _READY,
            offset,
            capacity,
            length,
            content_id,
            index,
        )

    def _remember(self, meta: Meta, index: int, hit: Hit) -> _KnownBlock:
        word = hit.generation << STATE_BITS | _READY
        fields = hit.fields
        content_id = meta.content_id
        known = (
            hit.slot,
            hit.generation,
            word,
            fields.offset,
            fields.capacity,
            fields.length,
            content_id,
            index,
        )
        if not self._places.note(content_id, meta.block_count, index, hit.slot, hit.generation):
            self._hints[(hash(content_id) + index) & _HINTS_MASK] = known
        return known

    def _translated(self, error: Exception, table: PinTable) -> Exception:
        if isinstance(error, QuotaExceeded):
            return PinQuotaExceeded(str(error))
        if self.table is not table:
            return TableLost()  # frozen by a fork, or replaced
        return PinQuotaExceeded(str(error))

    # --- views of several blocks ---

    def export(self, pins: list[Pin]) -> memoryview:
        """One contiguous view over whole blocks, in order; it takes over the pins and drops them when its last user is gone.

        Raises :class:`~cashy.errors.ViewTooLarge` (the pins are then still the caller's) where there are too many mappings.
        """
        if len(pins) == 1:
            pin = pins[0]
            return slot_view(self._address + pin.offset, pin.capacity, pin.length, pin.release, self._mapping)

        def release() -> None:
            for pin in pins:
                pin.release()

        try:
            pieces = [Piece(pin.offset, pin.length) for pin in pins]
            return self._spans.view(pieces, release, lambda mappings: self.reserve(mappings=mappings))
        except QuotaExceeded as error:
            raise ViewTooLarge(f"{error}. Use blocks(), or read() in windows") from error

    def place(self, span: PlacedSpan, at: int, pin: Pin) -> None:
        """Puts a pinned block into a span; the pin must last as long. Raises ``QuotaExceeded``."""
        span.place(at, self._mapping.reader.segment.fd, Piece(pin.offset, pin.length))

    def reserve(
        self, *, mappings: int = 0, private_bytes: int = 0, mapped_bytes: int = 0
    ) -> Callable[[], object]:
        """Counts mappings, private bytes and bytes mapped from SSDs against this client's quota; the result gives them back (call it once; it takes
        no lock).

        Raises :class:`~cashy.errors.ViewTooLarge`.
        """
        returned = self._returned
        with self._lock:
            self._take_back()
            if self._mappings + mappings > self.mappings_max:
                self._spans.forget()
                self._take_back()
            if self._mappings + mappings > self.mappings_max:
                raise ViewTooLarge(
                    f"views of this client have {self._mappings:,} memory mappings of {self.mappings_max:,}, and this one needs "
                    f"{mappings:,} more: drop other views, or use blocks(), or read() in windows"
                )
            if self._private_bytes + private_bytes > self.private_bytes_max:
                raise ViewTooLarge(
                    f"this view needs a private copy of {private_bytes:,} bytes, and the client holds {self._private_bytes:,} of "
                    f"{self.private_bytes_max:,} already: drop other views, or use blocks(), or read() in windows"
                )
            if self._mapped_bytes + mapped_bytes > self.mapped_bytes_max:
                raise ViewTooLarge(
                    f"this view needs {mapped_bytes:,} bytes mapped from the host's SSD, and this client has {self._mapped_bytes:,} of "
                    f"{self.mapped_bytes_max:,} mapped already: drop other views, or use blocks(), or read() in windows"
                )
            self._mappings += mappings
            self._private_bytes += private_bytes
            self._mapped_bytes += mapped_bytes
        return partial(returned.append, (mappings, private_bytes, mapped_bytes))

    def _take_back(self) -> None:
        while self._returned:
            mappings, private_bytes, mapped_bytes = self._returned.popleft()
            self._mappings -= mappings
            self._private_bytes -= private_bytes
            self._mapped_bytes -= mapped_bytes

    def private_bytes(self, size_bytes: int) -> PrivateBytes:
        """Zeroed private memory that counts against the quota while it lives; raises :class:`~cashy.errors.ViewTooLarge`."""
        give_back = self.reserve(private_bytes=size_bytes)
        data = PrivateBytes(size_bytes)
        data.release = give_back
        return data

    # --- copies ---

    def copy_block(self, meta: Meta, index: int, start: int, target: memoryview) -> bool:
        """Copies ``len(target)`` bytes from ``start`` of a block that is here, verified; False is a miss (``target`` is then undefined)."""
        digest = block_digest(meta.content_id, index)
        slot = self._index.find(digest)
        if not 0 <= slot < self._slot_count or self._words[slot * SLOT_WORDS + S_KIND] != KIND_BLOCK:
            return False
        if not self._copy(slot, self._words[slot * SLOT_WORDS], digest, start, target):
            return False
        if (table := self.table) is not None:
            table.count_hit(len(target))
        return True

    def copy_announced(
        self, meta: Meta, index: int, slot: int, generation: int, start: int, target: memoryview
    ) -> bool:
        """Copies from a block that the daemon announced in ``slot``."""
        return self._copy(
            slot, generation << STATE_BITS | _READY, block_digest(meta.content_id, index), start, target
        )

    def _copied(self, meta: Meta, index: int) -> CopiedPin | None:
        length = min(meta.block_bytes, meta.size_bytes - index * meta.block_bytes)
        data = self.private_bytes(length)
        with memoryview(data) as target:
            found = self.copy_block(meta, index, 0, target)
        return CopiedPin(data) if found else None

    def _copy(self, slot: int, word: int, digest: bytes, start: int, target: memoryview) -> bool:
        """Copies from a slot whose word is ``word`` and verifies the copy."""
        at = slot * SLOT_WORDS
        words, memory = self._words, self._mapping.bytes
        if not 0 <= slot < self._slot_count or word & STATE_MASK != _READY or words[at] != word:
            return False
        offset, length, crc = words[at + S_OFFSET], words[at + S_LENGTH], words[at + S_CRC]
        digest_at = self._digests_at + slot * SLOT_BYTES
        if (
            start + len(target) > length
            or offset + length > len(memory)
            or memory[digest_at : digest_at + DIGEST_BYTES] != digest
        ):
            return False
        if _LOADS_IN_ORDER:
            target[:] = memory[offset + start : offset + start + len(target)]
        else:
            whole = bytes(memory[offset : offset + length])
            if crc32c.crc32c(whole) != crc:
                return False
            target[:] = whole[start : start + len(target)]
        if words[at] != word:
            return False
        if (table := self.table) is not None:
            table.touch(slot, word >> STATE_BITS)
        return True
