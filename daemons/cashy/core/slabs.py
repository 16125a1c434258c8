"""Where in the arena a block goes: slabs of one block each, cut into cells of one size class.

Law. This module alone decides which bytes of the data area are in use. It hands out offsets and takes them back; it knows no slot, no
key and no state, and it never touches the memory itself. Whoever holds a cell gives it back exactly once; anything else is a bug and
raises. After a restart the owner walks its slot headers and *adopts* the cells it finds: an allocator and its own rebuilt copy are equal
in everything but the order in which they hand out cells.

Why slabs: all free space is either a whole slab, which fits any class, or a cell of a class, which fits that class. So there is no
external fragmentation inside a class, a large block is always contiguous and page-aligned, and "make room for a large one" has a plain
meaning: empty one slab. What is lost is the rounding to a class (at most a third from 8 KiB to half a slab, at most half outside) and the
leftover of slabs that the class does not divide.

Why these arrays: there may be 10^6 blocks, and an object per cell would cost hundreds of bytes and a long stop in each full garbage
collection. A slab costs 13 bytes here; a slab of more than one cell costs another byte per cell, in a ``bytearray``, which the collector
does not visit (nor the dict that holds them: its keys and values cannot contain references).

Rejected: a buddy allocator (rounds to powers of two and moves coalescing into the owner's loop); one free list for all sizes (external
fragmentation, then copying of pinned, hence immovable, blocks).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator

__all__ = ["CELL_BYTES_MIN", "SLAB_BYTES_DEFAULT", "SLAB_BYTES_MIN", "SlabAllocator", "size_classes"]

CELL_BYTES_MIN = 512  # below this, a slot's header and index entry cost as much as its data
SLAB_BYTES_DEFAULT = 4 * 1024 * 1024  # the default block size
SLAB_BYTES_MIN = 64 * 1024  # smaller blocks cost a request each for next to no data

_PAGE_BYTES = 4096  # cells above it are whole pages, so that they can be mapped one by one
_HALF_STEPS_FROM = 8192  # the first size whose one and a half is a whole number of pages
_FREE = 255  # in the class array: the slab belongs to no class


def size_classes(slab_bytes: int) -> tuple[int, ...]:
    """The cell sizes, ascending: 512, 1024, 2048, 4096, 8192, then steps of 1.5 and 2, up to ``slab_bytes``.

    There is no class strictly between half a slab and a slab: it would put one cell in a slab all the same. ``slab_bytes`` is a power
    of two, at least 64 KiB; :class:`ValueError` otherwise.
    """
    if slab_bytes < SLAB_BYTES_MIN or slab_bytes & (slab_bytes - 1):
        raise ValueError(
            f"slab_bytes is {slab_bytes}: it must be a power of two of at least {SLAB_BYTES_MIN}"
        )
    classes = []
    size = CELL_BYTES_MIN
    while size < slab_bytes:
        classes.append(size)
        if size >= _HALF_STEPS_FROM and size * 3 // 2 <= slab_bytes // 2:
            classes.append(size * 3 // 2)
        size *= 2
    return (*classes, slab_bytes)


class SlabAllocator:
    """Allocator of cells in a data area of ``arena_bytes``, of which ``arena_bytes // slab_bytes`` whole slabs are used.

    Offsets are bytes from the start of the data area; classes are indices into :attr:`class_sizes`. All calls are O(1), except
    :meth:`take` and the iterators, which look through the byte map of one slab, or of all slabs, with ``bytes.find``.
    """

    def __init__(self, arena_bytes: int, slab_bytes: int = SLAB_BYTES_DEFAULT) -> None:
        self.class_sizes = size_classes(slab_bytes)
        self.slab_bytes = slab_bytes
        self.slab_count = arena_bytes // slab_bytes
        if self.slab_count < 1:
            raise ValueError(f"the data area of {arena_bytes} bytes holds no slab of {slab_bytes} bytes")
        self._cells_per_slab = tuple(slab_bytes // size for size in self.class_sizes)
        self._class_of = bytearray([_FREE]) * self.slab_count
        self._used = array("I", bytes(4 * self.slab_count))  # cells in use, by slab
        self._maps: dict[int, bytearray] = {}  # slab of more than one cell: a byte per cell, 1 = in use
        # Circular doubly linked lists over slab numbers: one of free slabs, then one per class of slabs with both used and free
        # cells. The nodes after the slabs are the lists' own heads. Full slabs are in no list.
        nodes = self.slab_count + 1 + len(self.class_sizes)
        self._next = array("I", range(nodes))
        self._previous = array("I", range(nodes))
        self._free_head = self.slab_count
        for slab in range(self.slab_count):
            self._link_last(self._free_head, slab)
        self.free_slab_count = self.slab_count
        self._slabs_in_class = array("I", bytes(4 * len(self.class_sizes)))
        self._used_in_class = array("Q", bytes(8 * len(self.class_sizes)))

    # --- what the owner calls ---

    def class_for(self, size_bytes: int, min_bytes: int = CELL_BYTES_MIN) -> int:
        """The smallest class whose cells hold ``size_bytes``, and have at least ``min_bytes``; ValueError above a slab."""
        needed = max(size_bytes, min_bytes)
        if needed > self.slab_bytes:
            raise ValueError(f"{needed} bytes do not fit in a slab of {self.slab_bytes} bytes")
        return bisect_left(self.class_sizes, needed)

    def take(self, class_index: int) -> int | None:
        """Takes a cell: a free one of the class, else the first of a free slab; its offset, or None if there is neither."""
        head = self._partial_head(class_index)
        slab = self._next[head]
        if slab != head:
            cell = self._maps[slab].find(0)
        elif self.free_slab_count:
            slab, cell = self._next[self._free_head], 0
            self._open(slab, class_index)
        else:
            return None
        self._mark_used(slab, cell, class_index)
        return slab * self.slab_bytes + cell * self.class_sizes[class_index]

    def give(self, offset: int) -> None:
        """Takes a cell back; a slab without used cells is a free slab again. ValueError if the cell is not in use."""
        slab, cell, class_index = self._locate(offset)
        cells = self._cells_per_slab[class_index]
        if cells > 1:
            self._maps[slab][cell] = 0
        was_full = self._used[slab] == cells
        self._used[slab] -= 1
        self._used_in_class[class_index] -= 1
        if not self._used[slab]:
            if not was_full:
                self._unlink(slab)
            self._close(slab, class_index)
        elif was_full:
            self._link_last(self._partial_head(class_index), slab)

    def adopt(self, offset: int, class_index: int) -> None:
        """Marks one certain cell as used, when an allocator is rebuilt from the slots of an existing arena.

        ValueError, and no change, if that contradicts what is known: an unknown class, an offset that is no cell of it or outside the data
        area, a slab of another class, a cell adopted twice. The owner then drops that slot.
        """
        if not 0 <= class_index < len(self.class_sizes):
            raise ValueError(f"there is no size class {class_index}")
        slab, rest = divmod(offset, self.slab_bytes)
        cell, misalignment = divmod(rest, self.class_sizes[class_index])
        if not 0 <= slab < self.slab_count or misalignment or cell >= self._cells_per_slab[class_index]:
            raise ValueError(f"offset {offset} is no cell of {self.class_sizes[class_index]} bytes")
        owner = self._class_of[slab]
        if owner not in (_FREE, class_index):
            raise ValueError(f"slab {slab} has cells of {self.class_sizes[owner]} bytes already")
        if owner == class_index and self._is_used(slab, cell, class_index):
            raise ValueError(f"the cell at offset {offset} is in use already")
        if owner == _FREE:
            self._open(slab, class_index)
        self._mark_used(slab, cell, class_index)

    # --- what the owner asks ---

    def slab_of(self, offset: int) -> int:
        """Number of the slab that ``offset`` lies in."""
        return offset // self.slab_bytes

    def class_of(self, slab: int) -> int | None:
        """Size class of a slab; None if it is free."""
        class_index = self._class_of[slab]
        return None if class_index == _FREE else class_index

    def cells_of(self, slab: int) -> Iterator[int]:
        """Offsets of the cells in use in a slab, ascending. Do not take or give cells of this slab meanwhile."""
        class_index = self._class_of[slab]
        if class_index == _FREE:
            return
        base, size = slab * self.slab_bytes, self.class_sizes[class_index]
        if self._cells_per_slab[class_index] == 1:
            yield base
            return
        for cell in _positions(self._maps[slab], 1):
            yield base + cell * size

    def slabs_of(self, class_index: int) -> Iterator[int]:
        """Numbers of the slabs that belong to a class, ascending."""
        return _positions(self._class_of, class_index)

    def used_in_slab(self, slab: int) -> int:
        """Number of cells in use in a slab."""
        return self._used[slab]

    def slab_count_of(self, class_index: int) -> int:
        """Number of slabs that belong to a class."""
        return self._slabs_in_class[class_index]

    def used_cells_of(self, class_index: int) -> int:
        """Number of cells in use in a class."""
        return self._used_in_class[class_index]

    def free_cells_of(self, class_index: int) -> int:
        """Number of cells of a class that can be taken without opening another slab."""
        return (
            self._slabs_in_class[class_index] * self._cells_per_slab[class_index]
            - self._used_in_class[class_index]
        )

    @property
    def used_cells(self) -> int:
        """Number of cells in use."""
        return sum(self._used_in_class)

    @property
    def used_bytes(self) -> int:
        """Bytes of all cells in use, each counted with its class's size."""
        return sum(count * size for count, size in zip(self._used_in_class, self.class_sizes, strict=True))

    @property
    def free_bytes(self) -> int:
        """Bytes that can still be taken: free slabs, and free cells of slabs that belong to a class."""
        in_classes = sum(self.free_cells_of(index) * size for index, size in enumerate(self.class_sizes))
        return self.free_slab_count * self.slab_bytes + in_classes

    @property
    def leftover_bytes(self) -> int:
        """Bytes at the ends of slabs that their class does not divide; used + free + leftover are all slabs."""
        return self.slab_count * self.slab_bytes - self.used_bytes - self.free_bytes

    def check_invariants(self) -> None:
        """Recounts everything; AssertionError if something is inconsistent. For tests: it visits every slab and cell."""
        free = list(self._members(self._free_head))
        assert len(free) == len(set(free)) == self.free_slab_count
        assert set(free) == {slab for slab in range(self.slab_count) if self._class_of[slab] == _FREE}
        assert all(self._used[slab] == 0 and slab not in self._maps for slab in free)
        for class_index, cells in enumerate(self._cells_per_slab):
            slabs = list(self.slabs_of(class_index))
            partial = list(self._members(self._partial_head(class_index)))
            assert len(slabs) == self._slabs_in_class[class_index]
            assert sorted(partial) == [slab for slab in slabs if self._used[slab] < cells]
            for slab in slabs:
                assert 1 <= self._used[slab] == sum(1 for _ in self.cells_of(slab)) <= cells
                assert (slab in self._maps) == (cells > 1)
                assert cells == 1 or len(self._maps[slab]) == cells
            assert sum(self._used[slab] for slab in slabs) == self._used_in_class[class_index]

    # --- slabs and cells ---

    def _partial_head(self, class_index: int) -> int:
        return self.slab_count + 1 + class_index

    def _is_used(self, slab: int, cell: int, class_index: int) -> bool:
        # The only cell of a slab that belongs to a class is in use, or the slab would be free.
        return self._cells_per_slab[class_index] == 1 or self._maps[slab][cell] == 1

    def _locate(self, offset: int) -> tuple[int, int, int]:
        slab, rest = divmod(offset, self.slab_bytes)
        if 0 <= slab < self.slab_count and (class_index := self._class_of[slab]) != _FREE:
            cell, misalignment = divmod(rest, self.class_sizes[class_index])
            in_slab = not misalignment and cell < self._cells_per_slab[class_index]
            if in_slab and self._is_used(slab, cell, class_index):
                return slab, cell, class_index
        raise ValueError(f"offset {offset} is not that of a cell in use: given back twice, or never taken")

    def _open(self, slab: int, class_index: int) -> None:
        """Makes a free slab one of the class, with no used cell yet: the caller uses one at once."""
        self._unlink(slab)
        self.free_slab_count -= 1
        self._class_of[slab] = class_index
        self._slabs_in_class[class_index] += 1
        if self._cells_per_slab[class_index] > 1:
            self._maps[slab] = bytearray(self._cells_per_slab[class_index])
            self._link_last(self._partial_head(class_index), slab)

    def _mark_used(self, slab: int, cell: int, class_index: int) -> None:
        cells = self._cells_per_slab[class_index]
        self._used[slab] += 1
        self._used_in_class[class_index] += 1
        if cells == 1:
            return
        self._maps[slab][cell] = 1
        if self._used[slab] == cells:
            self._unlink(slab)

    def _close(self, slab: int, class_index: int) -> None:
        self._maps.pop(slab, None)
        self._class_of[slab] = _FREE
        self._slabs_in_class[class_index] -= 1
        self.free_slab_count += 1
        self._link_last(self._free_head, slab)

    # --- linked lists of slabs ---

    def _link_last(self, head: int, slab: int) -> None:
        last = self._previous[head]
        self._next[last] = self._previous[head] = slab
        self._previous[slab], self._next[slab] = last, head

    def _unlink(self, slab: int) -> None:
        before, after = self._previous[slab], self._next[slab]
        self._next[before], self._previous[after] = after, before

    def _members(self, head: int) -> Iterator[int]:
        slab = self._next[head]
        while slab != head:
            yield slab
            slab = self._next[slab]


def _positions(states: bytearray, wanted: int) -> Iterator[int]:
    position = states.find(wanted)
    while position >= 0:
        yield position
        position = states.find(wanted, position + 1)
