"""Room in memory by user: what one user's reads and views keep there can never be all of it.

Law. A block can go unless somebody keeps it: it is on its way for a reader, is held until its reader has pinned it, or is pinned in a view. Pins
cannot be taken back, and last as long as their views. So no block is brought for, or given to, a user who keeps
:data:`~cashy.limits.USER_ROOM_SHARE` of the arena (or what one client may pin, if that is more) already: his fetch waits, as where no room can be
made at all, and whoever keeps little finds room.

What is kept by fetches is counted exactly. Pins are made by clients without asking anybody, so a user's pin tables are looked at now and then, and
what his fetches have let go since counts as pinned until then. A client that finds a block in memory pins it without a question. So who keeps more
than a little also leaves a little memory empty, which nobody can pin. Tables that were there before this master are nobody's here.

Rejected: a quota for each user's clients at their greeting (500 clients would get a 500th each); waiting for all of a read's room at once (a
view's pins outlive the fetches that brought it); taking turns for room (a view that is kept for an hour is no turn).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from cashy.errors import ArenaFull
from cashy.limits import (
    USER_ROOM_LOOK_S,
    USER_ROOM_LOOK_SHARE,
    USER_ROOM_SHARE,
    USER_ROOM_SMALL,
    USER_ROOM_SPARE_BLOCKS,
    USER_ROOM_SPARE_SHARE,
)
from cashy.master.store import BlockStore
from shmipc.layout import unpack_pin

__all__ = ["Room", "Rooms"]


class Rooms:
    """All users' rooms in one store. ``pin_bytes_max`` gives what one client may pin; ``now`` is a clock in seconds that does not go back."""

    def __init__(
        self, store: BlockStore, *, pin_bytes_max: Callable[[], int], now: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self.store = store
        self.arena = store.arena
        self.pin_bytes_max = pin_bytes_max
        self.now = now
        self._rooms: dict[str, Room] = {}

    def of(self, owner: str) -> Room:
        """A user's, for a fetch or a table that is about to begin."""
        room = self._rooms.get(owner)
        if room is None:
            # Users come and go, and their names are cheap.
            for name in [name for name, each in self._rooms.items() if each.is_idle]:
                del self._rooms[name]
            room = self._rooms[owner] = Room(self)
        return room

    @property
    def bytes_max(self) -> int:
        """What one user's reads and views may keep."""
        return max(int(self.arena.geometry.data_bytes * USER_ROOM_SHARE), self.pin_bytes_max())

    def has_spare(self) -> bool:
        """Whether a little is empty, for those who keep little; sees to it."""
        blocks = self.arena.geometry.data_bytes // self.arena.geometry.slab_bytes
        return self.store.has_spare(min(USER_ROOM_SPARE_BLOCKS, blocks // USER_ROOM_SPARE_SHARE))


class Room:
    """One user's."""

    __slots__ = (
        "_coming_bytes", "_held", "_held_bytes", "_let_go_bytes", "_look_again_at", "_pinned_bytes", "_rooms", "_tables", "users",
    )  # fmt: skip

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        #: Fetches that have it in hand.
        self.users = 0
        self._tables: set[int] = set()
        self._held: Counter[int] = Counter()  # by slot
        self._held_bytes = 0
        self._coming_bytes = 0
        self._pinned_bytes = 0  # at the last look, without what was held then
        self._let_go_bytes = 0  # since
        self._look_again_at = float("-inf")

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be forgotten with it."""
        return not (self.users or self._tables or self._held or self._coming_bytes)

    @property
    def kept_bytes(self) -> int:
        """What cannot go because of this user, as far as it is known."""
        return self._coming_bytes + self._held_bytes + self._pinned_bytes + self._let_go_bytes

    def has_table(self, serial: int) -> None:
        """One of this user's clients has got a pin table."""
        self._tables.add(serial)

    def has_room(self, size_bytes: int) -> bool:
        """Whether so many bytes more may be kept."""
        free_bytes = self._rooms.bytes_max - size_bytes
        pinned_max = len(self._tables) * self._rooms.pin_bytes_max()
        if self._coming_bytes + self._held_bytes + pinned_max <= free_bytes:
            return True
        now = self._rooms.now()
        if now >= self._look_again_at:
            self._look()
            took_s = self._rooms.now() - now
            self._look_again_at = now + max(USER_ROOM_LOOK_S, took_s / USER_ROOM_LOOK_SHARE)
        kept_bytes = self.kept_bytes
        if kept_bytes > free_bytes:
            return False
        return kept_bytes < USER_ROOM_SMALL * self._rooms.bytes_max or self._rooms.has_spare()

    def keeps(self, slot: int) -> bool:
        """Whether a fetch holds the slot already, so that one more costs nothing."""
        return slot in self._held

    def full(self) -> ArenaFull:
        """Why there is none."""
        return ArenaFull(
            f"this user's views, and the reads under way for him, keep {self.kept_bytes:,} bytes of the arena, where one user may keep "
            f"{self._rooms.bytes_max:,}: close views that are no longer needed, read less at a time, or give the daemon more memory"
        )

    def comes(self, size_bytes: int) -> None:
        """A block is on its way; ``-size_bytes``: not any more."""
        self._coming_bytes += size_bytes

    def hold(self, slot: int) -> None:
        """A fetch holds a slot."""
        if not self._held[slot]:
            self._held_bytes += self._size_of(slot)
        self._held[slot] += 1

    def let_go(self, slot: int) -> None:
        """It holds it no more; its reader may have pinned it."""
        self._held[slot] -= 1
        if not self._held[slot]:
            del self._held[slot]
            size_bytes = self._size_of(slot)
            self._held_bytes -= size_bytes
            self._let_go_bytes += size_bytes

    def _size_of(self, slot: int) -> int:
        return self._rooms.arena.fields(slot).length

    def _look(self) -> None:
        """Counts what this user's clients have pinned, but for what is held too."""
        arena = self._rooms.arena
        self._tables, words = arena.tables.scan_of(self._tables)
        pinned = 0
        for word in words:
            slot, generation = unpack_pin(word)
            # Clients write what they like.
            if word and slot < arena.geometry.slot_count and slot not in self._held:
                pinned += self._size_of(slot) if arena.generation(slot) == generation else 0
        self._pinned_bytes, self._let_go_bytes = pinned, 0
