"""Writes to the SSD what memory is about to let go, while it is still there.

Law: the pump between the store, which says what goes next (:mod:`cashy.core.demotion` decides which of it is offered), and the SSD tier, which says
what it wants. A block that is written is held, a few at a time, and nobody waits for that: the store passes over it, and lets it go when it is
written. It works in turns of the loop, one for all that has happened since the last, and again when a write has ended.
"""

from __future__ import annotations

import asyncio

from cashy.disk.tier import DiskTier
from cashy.limits import DEMOTIONS_CLASS_SHARE, DEMOTIONS_PER_DISK, DEMOTIONS_PER_TURN
from cashy.master.counters import Counters
from cashy.master.store import BlockStore

__all__ = ["Demoter"]


class Demoter:
    """Of one host. Needs the running loop once the store is pressed."""

    def __init__(self, store: BlockStore, disk: DiskTier, counters: Counters) -> None:
        self._store = store
        self._disk = disk
        self._counters = counters
        self._pressed: set[int] = set()
        self._under_way = 0
        self._is_due = False
        store.pressed = self._on_pressed

    def _on_pressed(self, class_index: int) -> None:
        self._pressed.add(class_index)
        self._soon()

    def _soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_due = False
        if not any(disk.is_ready for disk in self._disk.disks):
            self._pressed.clear()  # each block is offered once: not to disks that take none
            return
        offers_left = DEMOTIONS_PER_TURN
        for class_index in sorted(self._pressed):
            may_begin = min(
                DEMOTIONS_PER_DISK * len(self._disk.disks) - self._under_way,
                self._store.tracked(class_index) // DEMOTIONS_CLASS_SHARE - self._under_way,
            )
            while may_begin > 0 and offers_left:
                slots = self._store.next_to_write(class_index, min(may_begin, offers_left))
                if not slots:
                    self._pressed.discard(class_index)  # until it is pressed again
                    break
                offers_left -= len(slots)
                may_begin -= sum(self._offer(slot) for slot in slots)
        if not offers_left:
            self._soon()

    def _offer(self, slot: int) -> bool:
        """Writes a block if the SSD wants it."""
        fields = self._store.arena.fields(slot)
        if not self._disk.wants(fields.digest, fields.length, uses=self._store.uses(slot)):
            return False
        self._under_way += 1
        self._store.write_begins(slot)

        def done(is_there: bool) -> None:
            self._under_way -= 1
            self._store.write_ended(slot)
            if is_there:
                self._counters.add("blocks_to_ssd")
                self._counters.add("bytes_to_ssd", fields.length)
            if self._pressed:
                self._soon()

        self._disk.write(fields.digest, fields.length, fields.crc, self._store.content(slot), done)
        return True

    @property
    def under_way(self) -> int:
        """Blocks that are being written."""
        return self._under_way
