"""Which blocks lie on a disk, and which goes first when room is needed: a hash table and a clock over arrays.

Law. Places and bytes only: what a place holds on the disk, and when, the pump decides; it is told what to remove and says what was written.
No Python object per block: a place costs 16 bytes of digest, 8 of length and checksum, 1 of marks and 8 to 16 of table, and nothing for the garbage
collector to walk. Places that hold nothing cost their share of marks and table alone: a million blocks are 62 MB where four million have places.

Blocks go in the order in which they came, but who was read since gets a second round (the clock algorithm, Corbató 1968). A better order would
ask for more writes, and a flash disk is spared them: what is worth a place at all is decided before (:mod:`cashy.core.disk_admission`).

Rejected: a dict (170 bytes per block, and growing it stalls the loop for a tenth of a second); a table on the disk itself (a read for each miss).

Source: open addressing with backward shift deletion, Knuth, The Art of Computer Programming 3, 6.4, algorithm R.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from cashy.core.lazy_memory import zeros

__all__ = ["DISK_PAGE_BYTES", "DiskIndex", "Place", "cost_bytes"]

#: What a file system gives at least, and what the trailer of a block takes.
DISK_PAGE_BYTES = 4096

_KEY_BYTES = 16
_FREE, _USED, _READ = 0, 1, 3
_ROUND_LESS = bytes(_USED if mark == _READ else mark for mark in range(256))


class Place(NamedTuple):
    """One block. ``key``: the first 16 bytes of its digest."""

    slot: int
    key: bytes
    length: int
    crc: int


def cost_bytes(length: int) -> int:
    """What a block takes from the disk: its pages, and one for the trailer."""
    return -(-length // DISK_PAGE_BYTES) * DISK_PAGE_BYTES + DISK_PAGE_BYTES


class DiskIndex:
    """At most ``capacity`` blocks. Digests may be longer than 16 bytes: whoever reads a block compares the whole."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"{capacity} places hold nothing")
        size = 8
        while size < capacity * 2:
            size *= 2
        self.capacity = capacity
        self.count = 0
        #: What all blocks take from the disk.
        self.used_bytes = 0
        self._mask = size - 1
        self._table = zeros("I", size)  # slot + 1; 0: nothing
        self._keys = zeros("B", _KEY_BYTES * capacity)
        self._lengths = zeros("I", capacity)
        self._crcs = zeros("I", capacity)
        self._marks = bytearray(capacity)
        self._hand = 0
        self._free = array("I")
        self._fresh = 0  # slots from here on were never used

    def __len__(self) -> int:
        return self.count

    def find(self, digest: bytes) -> Place | None:
        """The block's place; counts as no use."""
        at = self._position(digest[:_KEY_BYTES])
        return None if at < 0 else self.place(self._table[at] - 1)

    def place(self, slot: int) -> Place:
        """What a used slot holds."""
        return Place(slot, self._key(slot), self._lengths[slot], self._crcs[slot])

    def touch(self, slot: int) -> None:
        """The block was read: it gets another round."""
        if self._marks[slot]:
            self._marks[slot] = _READ

    def holds(self, place: Place) -> bool:
        """Whether the place still holds this block."""
        return bool(self._marks[place.slot]) and self._key(place.slot) == place.key

    def add(self, digest: bytes, length: int, crc: int) -> Place:
        """Puts a block in, in the place of one of the same digest. Raises ValueError if it is full: remove a :meth:`victim` first."""
        key = bytes(digest[:_KEY_BYTES])
        at = self._position(key)
        if at >= 0:
            self.remove(self._table[at] - 1)
        if self._free:
            slot = self._free.pop()
        elif self._fresh < self.capacity:
            slot = self._fresh
            self._fresh += 1
        else:
            raise ValueError(f"all {self.capacity} places are used")
        self._keys[slot * _KEY_BYTES : (slot + 1) * _KEY_BYTES] = key
        self._lengths[slot], self._crcs[slot], self._marks[slot] = length, crc, _USED
        at = self._hash(key)
        while self._table[at]:
            at = (at + 1) & self._mask
        self._table[at] = slot + 1
        self.count += 1
        self.used_bytes += cost_bytes(length)
        return Place(slot, key, length, crc)

    def remove(self, slot: int) -> Place:
        """Takes a block out."""
        place = self.place(slot)
        at = self._position(place.key)
        assert at >= 0, "the slot is free"
        self._close_gap(at)
        self._marks[slot] = _FREE
        self._free.append(slot)
        self.count -= 1
        self.used_bytes -= cost_bytes(place.length)
        return place

    def victim(self) -> Place | None:
        """Who goes next; None if there is nobody. It stays until it is removed.

        The hand may pass a million blocks at once (all were read), so it moves over them as bytes and not one by one.
        """
        if not self.count:
            return None
        marks, first = self._marks, self._hand
        # To the end, then from the beginning; whoever was read counts as any other from the next time on that the hand comes by.
        for _ in range(3):
            slot = marks.find(_USED, first, self._fresh)
            last = slot if slot >= 0 else self._fresh
            marks[first:last] = marks[first:last].translate(_ROUND_LESS)
            if slot >= 0:
                self._hand = (slot + 1) % self._fresh
                return self.place(slot)
            first = 0
        raise AssertionError("a clock's hand passes nobody twice")

    def places(self) -> Iterator[Place]:
        """All blocks, from the one that goes first on. Nothing may be changed meanwhile."""
        for number in range(self._fresh):
            slot = (self._hand + number) % self._fresh
            if self._marks[slot]:
                yield self.place(slot)

    def dump(self) -> tuple[bytes, bytes, bytes]:
        """Keys, lengths and checksums of all blocks, from the one that goes first on: what :meth:`load` takes. Nothing may be changed meanwhile."""
        keys, lengths, crcs = bytearray(), array("I"), array("I")
        for first, last in ((self._hand, self._fresh), (0, self._hand)):
            if not self._free:
                keys += self._keys[first * _KEY_BYTES : last * _KEY_BYTES]
                lengths.frombytes(self._lengths[first:last].tobytes())
                crcs.frombytes(self._crcs[first:last].tobytes())
                continue
            for slot in range(first, last):
                if self._marks[slot]:
                    keys += self._key(slot)
                    lengths.append(self._lengths[slot])
                    crcs.append(self._crcs[slot])
        return bytes(keys), lengths.tobytes(), crcs.tobytes()

    def load(self, keys: bytes, lengths: bytes, crcs: bytes) -> None:
        """Takes up what :meth:`dump` gave, into an index that is empty; what has no place any more is left out, the first to go first."""
        assert not self._fresh
        count = min(self.capacity, len(keys) // _KEY_BYTES)
        self._keys[: count * _KEY_BYTES] = memoryview(keys)[len(keys) - count * _KEY_BYTES :]
        for stored, mine in ((lengths, self._lengths), (crcs, self._crcs)):
            mine[:count] = memoryview(stored).cast("I")[len(stored) // 4 - count :]
        self._marks[:count] = bytes([_USED]) * count
        table, mask = self._table, self._mask
        heads = array("Q", bytes(self._keys[: count * _KEY_BYTES]))[::2]
        for slot, head in enumerate(heads):
            at = head & mask
            while table[at]:
                at = (at + 1) & mask
            table[at] = slot + 1
        self._fresh = self.count = count
        self.used_bytes = sum(map(cost_bytes, self._lengths[:count]))

    def copied(self) -> DiskIndex:
        """As it is now, for a thread that writes it down while this one goes on: some milliseconds for a million blocks."""
        other = DiskIndex.__new__(DiskIndex)
        vars(other).update(vars(self))
        other._keys = memoryview(self._keys[: _KEY_BYTES * self._fresh].tobytes())
        other._lengths = memoryview(self._lengths[: self._fresh].tobytes()).cast("I")
        other._crcs = memoryview(self._crcs[: self._fresh].tobytes()).cast("I")
        other._marks = self._marks[: self._fresh]
        other._free = self._free[:]  # it says whether there are gaps
        return other

    def _key(self, slot: int) -> bytes:
        return bytes(self._keys[slot * _KEY_BYTES : (slot + 1) * _KEY_BYTES])

    def _hash(self, key: bytes) -> int:
        return int.from_bytes(key[:8], "little") & self._mask  # digests are random already

    def _position(self, key: bytes) -> int:
        table, keys = self._table, self._keys
        at = self._hash(key)
        while entry := table[at]:
            start = (entry - 1) * _KEY_BYTES
            if keys[start : start + _KEY_BYTES] == key:
                return at
            at = (at + 1) & self._mask
        return -1

    def _close_gap(self, gap: int) -> None:
        """Moves those back that had to stand further on because of the one that goes."""
        table, mask = self._table, self._mask
        at = gap
        while True:
            at = (at + 1) & mask
            entry = table[at]
            if not entry:
                break
            if (at - self._hash(self._key(entry - 1))) & mask >= (at - gap) & mask:
                table[gap] = entry
                gap = at
        table[gap] = 0
