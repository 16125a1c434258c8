"""The shared index: digest -> slot, written by the owner only, read by everybody without a lock.

Law: the index is a hint. A reader that finds a slot here pins it and then believes only the slot's own header (generation, state, full
digest), so a torn, stale or lost entry costs a miss and never a wrong answer. Nothing here waits, fences or checks.

A digest has two buckets of eight ways (two-choice hashing); an entry is the digest's first eight bytes (the tag) and, in a second array, the slot
number. With at most half of the ways in use, a digest whose two buckets are both full is a curiosity; the entry then displaces another one, whose
slot is merely no longer found (it will be evicted like any other). Chains and probing with deletion marks were rejected: they degrade with age,
and a reader could be sent round while the owner repairs them.
"""

from __future__ import annotations

import mmap
from struct import Struct

from shmipc.layout import INDEX_WAYS, WORD_BYTES, Geometry

__all__ = ["IndexReader", "IndexWriter"]

_BUCKET_BYTES = INDEX_WAYS * WORD_BYTES
_CHOICES = Struct("=QQII")  # tag, (unused), first choice, second choice


class IndexReader:
    """Looks digests up in a mapped arena."""

    def __init__(self, memory: mmap.mmap, geometry: Geometry) -> None:
        self._memory = memory
        self._tags_offset = geometry.index_offset
        self._slots_offset = geometry.index_offset + geometry.index_buckets * _BUCKET_BYTES
        self._mask = geometry.index_buckets - 1

    def buckets(self, digest: bytes) -> tuple[int, int]:
        """The digest's two buckets (they may be the same)."""
        _, _, first, second = _CHOICES.unpack_from(digest)
        return first & self._mask, second & self._mask

    def _position(self, tag: bytes, bucket: int) -> int:
        """Index of the way that holds ``tag``, counted over all buckets, or -1."""
        start = self._tags_offset + bucket * _BUCKET_BYTES
        at = start
        while True:
            at = self._memory.find(tag, at, start + _BUCKET_BYTES)
            if at < 0:
                return -1
            if not (at - start) % WORD_BYTES:
                return (at - self._tags_offset) // WORD_BYTES
            at += 1  # eight bytes that straddle two tags: not an entry

    def find(self, digest: bytes) -> int:
        """The slot that probably holds ``digest``, or -1."""
        tag = digest[:WORD_BYTES]
        for bucket in self.buckets(digest):
            position = self._position(tag, bucket)
            if position >= 0:
                at = self._slots_offset + position * 4
                return int.from_bytes(self._memory[at : at + 4], "little")
        return -1


class IndexWriter(IndexReader):
    """The owner's side."""

    def __init__(self, memory: mmap.mmap, geometry: Geometry) -> None:
        super().__init__(memory, geometry)
        self._tags = memoryview(memory)[self._tags_offset : self._slots_offset].cast("Q")
        slots_end = self._slots_offset + geometry.index_buckets * INDEX_WAYS * 4
        self._slots = memoryview(memory)[self._slots_offset : slots_end].cast("I")

    def insert(self, digest: bytes, slot: int) -> int:
        """Enters or moves ``digest``; returns the slot whose entry was displaced, or -1."""
        tag = int.from_bytes(digest[:WORD_BYTES], "little")
        first, second = self.buckets(digest)
        rows = {bucket: self._row(bucket) for bucket in (first, second)}
        for bucket, row in rows.items():
            if tag in row:
                self._slots[bucket * INDEX_WAYS + row.index(tag)] = slot
                return -1
        bucket = max(rows, key=lambda b: rows[b].count(0))
        displaced = -1
        if 0 in rows[bucket]:
            position = bucket * INDEX_WAYS + rows[bucket].index(0)
        else:
            position = bucket * INDEX_WAYS + slot % INDEX_WAYS
            displaced = self._slots[position]
            self._tags[position] = 0
        self._slots[position] = slot
        self._tags[position] = tag
        return displaced

    def remove(self, digest: bytes, slot: int) -> bool:
        """Removes the entry of ``digest`` if it points to ``slot``."""
        tag = digest[:WORD_BYTES]
        for bucket in self.buckets(digest):
            position = self._position(tag, bucket)
            if position >= 0 and self._slots[position] == slot:
                self._tags[position] = 0
                return True
        return False

    def clear(self) -> None:
        """Forgets every entry."""
        for position in range(len(self._tags)):
            self._tags[position] = 0

    def _row(self, bucket: int) -> list[int]:
        return self._tags[bucket * INDEX_WAYS : (bucket + 1) * INDEX_WAYS].tolist()

    def release(self) -> None:
        """Drops the views of the mapping, so that it can be closed."""
        self._tags.release()
        self._slots.release()
