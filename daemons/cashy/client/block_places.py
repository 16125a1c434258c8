"""Which slots the blocks of large objects were found in: eight bytes for each block.

Law: a place is a hint, as everything that this process remembers of slots: it counts only while the slot's word is still that of the generation.
It is kept by content id and index, exactly, so a place of another block is never taken for this one's. Memory is the kernel's to give when a
page of places is first written, so an object of a million blocks of which few are read costs few pages; and it is bounded, since beyond
:data:`~cashy.client.limits.BLOCK_PLACES_MAX` everything is forgotten and learnt anew, without a search for what was used least.
"""

from __future__ import annotations

import mmap

from cashy.client.limits import BLOCK_PLACES_MAX, BLOCK_PLACES_MIN
from shmipc.layout import WORD_BYTES, pack_pin

__all__ = ["BlockPlaces"]


class BlockPlaces:
    """:attr:`tables` has for each content id a word per block, as a pin table has it (slot and generation); 0: unknown.

    May be used by several threads: what one forgets while another notes it is lost, and learnt anew.
    """

    def __init__(self, places_max: int = BLOCK_PLACES_MAX) -> None:
        self.tables: dict[bytes, memoryview] = {}
        self._places_max = places_max
        self._places = 0

    def note(self, content_id: bytes, block_count: int, index: int, slot: int, generation: int) -> bool:
        """A block was found; False: nothing is kept of objects that are too small to need it, or too large."""
        table = self.tables.get(content_id)
        if table is None:
            if not BLOCK_PLACES_MIN <= block_count <= self._places_max:
                return False
            table = self._new_table(content_id, block_count)
        if index >= len(table):  # a store has given one version two sizes
            return False
        table[index] = pack_pin(slot, generation)
        return True

    def _new_table(self, content_id: bytes, block_count: int) -> memoryview:
        if self._places + block_count > self._places_max:
            self.tables.clear()
            self._places = 0
        self._places += block_count
        memory = mmap.mmap(-1, block_count * WORD_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        table = self.tables[content_id] = memoryview(memory).cast("Q")
        return table
