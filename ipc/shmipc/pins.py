"""The reader's side of the pin protocol: a process's own pin table.

Law: only this process writes its table's client words; nothing here waits for anybody. To hold a slot, a reader

1. reads the slot's word and finds a pinnable state at generation g,
2. publishes ``slot | g`` in an entry of its own table (one store),
3. re-reads the slot's word: unchanged = the slot stays as it is until the entry is cleared; changed = clear the entry, it is a miss.

The owner marks, fences, scans (:mod:`shmipc.tables`, :mod:`shmipc.fence`). Step 3 is what makes it safe: without it a slot that was recycled between
1 and 2 would be read. A reader stopped anywhere harms nobody: before 2 it has published nothing, after 2 its slot merely stays.

Entries are cleared by finalizers, and the garbage collector runs those at any instruction of any thread, also while that thread is inside
:meth:`PinTable.pin`. So :meth:`PinTable.unpin` takes no lock: it stores one word and appends to a deque. A "first zero entry" search instead of the
free list loses pins under threads (two threads find the same one).

After a fork both processes share the table's open file description and its pins: whoever made an array before the fork may read it after, in
either process. So the table is *frozen*: nobody clears its entries any more, new pins go to a new table, and each process closes its
descriptor when its last view from before the fork is gone. With the last descriptor the flock goes, and the owner retires the table.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections import deque

from shmipc.errors import ArenaLayoutError, PinTableFull, QuotaExceeded
from shmipc.layout import (
    GENERATION_BITS,
    LAYOUT_VERSION,
    T_ARENA_ID,
    T_ENTRIES,
    T_HIGH_WATER,
    T_HIT_BYTES,
    T_HITS,
    T_LAYOUT_VERSION,
    T_MAGIC,
    T_TOUCH_HEAD,
    TABLE_BYTES,
    TABLE_ENTRIES,
    TABLE_HEADER_BYTES,
    TABLE_MAGIC,
    TABLE_TOUCHES,
    WORD_BYTES,
    pack_pin,
)

__all__ = ["PinTable"]

_ENTRIES_AT = TABLE_HEADER_BYTES // WORD_BYTES
_TOUCHES_AT = _ENTRIES_AT + TABLE_ENTRIES
_TOUCH_MASK = TABLE_TOUCHES - 1


def _check(words: memoryview, arena_id: int) -> None:
    found = (words[T_MAGIC], words[T_LAYOUT_VERSION], words[T_ENTRIES])
    if found != (TABLE_MAGIC, LAYOUT_VERSION, TABLE_ENTRIES):
        raise ArenaLayoutError(
            f"not a pin table of layout {LAYOUT_VERSION}: magic {found[0]:#x}, layout {found[1]}, {found[2]} entries; "
            "client library and daemon must be of the same version"
        )
    if words[T_ARENA_ID] != arena_id:
        raise ArenaLayoutError(f"pin table of arena {words[T_ARENA_ID]:016x}, not of {arena_id:016x}")


def _map(fd: int, arena_id: int) -> tuple[mmap.mmap, memoryview[int]]:
    if os.fstat(fd).st_size < TABLE_BYTES:
        raise ArenaLayoutError(
            f"pin table of {os.fstat(fd).st_size} bytes, {TABLE_BYTES} expected: truncated, or of another version; "
            "connect again"
        )
    memory = mmap.mmap(fd, TABLE_BYTES, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    words = memoryview(memory).cast("Q")
    _check(words, arena_id)
    return memory, words


class PinTable:
    """A process's pin table, received from the owner as ``fd`` (locked, read-write); takes over the descriptor, also when it raises.

    ``pin_bytes_max`` bounds what may be held at once, in slot capacities.
    """

    def __init__(self, fd: int, arena_id: int, *, pin_bytes_max: int) -> None:
        self._fd = fd
        try:
            self._memory, self._words = _map(fd, arena_id)
        except BaseException:
            os.close(fd)
            raise
        self.pin_bytes_max = pin_bytes_max
        self.frozen = False
        self._closing = False
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._free: deque[int] = deque(range(TABLE_ENTRIES - 1, -1, -1))
        self._done: deque[int] = deque()
        self._sizes = [0] * TABLE_ENTRIES
        self._bytes = 0
        self._high_water = self._words[T_HIGH_WATER]
        self._touch_head = self._words[T_TOUCH_HEAD]
        self._hits = self._words[T_HITS]
        self._hit_bytes = self._words[T_HIT_BYTES]
        self._closers = [self._close_now]  # popped by whoever closes: list.pop is atomic

    def pin(self, slot: int, generation: int, size_bytes: int, hit_bytes: int = -1) -> int:
        """Publishes a pin and a touch mark; returns the entry for :meth:`unpin`. The caller re-checks the slot's header next.

        With ``hit_bytes`` (how much of the slot will be read) it is counted as a hit at once, since the lock is held anyway; whoever then finds
        that it is none says :meth:`was_no_hit`. Raises ``PinTableFull``, or ``QuotaExceeded`` (of ``pin_bytes_max``); then nothing is published.
        """
        with self._lock:
            if self._done:
                self._settle()
            if self._bytes + size_bytes > self.pin_bytes_max:
                self._check_quota(size_bytes)
            if self._closing:
                raise PinTableFull(
                    "this pin table takes no new pins (closed, or frozen by a fork): connect again"
                )
            if not self._free:
                raise PinTableFull(
                    f"all {TABLE_ENTRIES} pins of this client are in use: drop views, or read in larger pieces"
                )
            entry = self._free.pop()
            self._sizes[entry] = size_bytes
            self._bytes += size_bytes
            if entry >= self._high_water:
                self._high_water = entry + 1
                self._words[T_HIGH_WATER] = entry + 1
            word = (
                slot << GENERATION_BITS | generation
            )  # pack_pin and _touch, written out: every hit comes through here
            words = self._words
            words[_ENTRIES_AT + entry] = word
            head = self._touch_head
            words[_TOUCHES_AT + (head & _TOUCH_MASK)] = word
            self._touch_head = words[T_TOUCH_HEAD] = head + 1
            if hit_bytes >= 0:
                self._hits = words[T_HITS] = self._hits + 1
                self._hit_bytes = words[T_HIT_BYTES] = self._hit_bytes + hit_bytes
        return entry

    def count_hit(self, hit_bytes: int) -> None:
        """Counts a hit that was pinned or copied without being counted."""
        self._count(1, hit_bytes)

    def was_no_hit(self, hit_bytes: int) -> None:
        """Takes back what :meth:`pin` has counted: the slot had changed."""
        self._count(-1, -hit_bytes)

    def _count(self, hits: int, hit_bytes: int) -> None:
        with self._lock:
            if not self._closing:  # a frozen table has two processes, and each word only one writer
                self._hits = self._words[T_HITS] = self._hits + hits
                self._hit_bytes = self._words[T_HIT_BYTES] = self._hit_bytes + hit_bytes

    def touch(self, slot: int, generation: int) -> None:
        """Marks a use without a pin (the owner cannot see hits)."""
        with self._lock:
            if not self._closing:
                self._touch(pack_pin(slot, generation))

    def _touch(self, word: int) -> None:
        head = self._touch_head
        self._words[_TOUCHES_AT + (head & _TOUCH_MASK)] = word
        self._touch_head = head + 1
        self._words[T_TOUCH_HEAD] = head + 1

    def unpin(self, entry: int) -> None:
        """Drops a pin. Takes no lock: finalizers call it at any instruction."""
        if not self.frozen:
            self._words[_ENTRIES_AT + entry] = 0
        self._done.append(entry)
        if self._closing:
            self._close_if_unused()

    def _settle(self) -> None:
        """Accounts for entries that were dropped since."""
        done = self._done
        while done:
            entry = done.popleft()
            self._bytes -= self._sizes[entry]
            self._sizes[entry] = 0
            self._free.append(entry)

    def _check_quota(self, size_bytes: int) -> None:
        self._bytes = sum(
            self._sizes
        )  # exact again, should a signal handler's pins have met an update half way
        if self._bytes + size_bytes > self.pin_bytes_max:
            raise QuotaExceeded(
                f"this client holds {self._bytes:,} bytes pinned and may hold {self.pin_bytes_max:,}; {size_bytes:,} more were asked for: "
                "drop views or arrays made from them, or copy what must be kept"
            )

    @property
    def pinned_bytes(self) -> int:
        """Bytes held at present (slot capacities)."""
        with self._lock:
            self._settle()
            if self._closing:
                self._close_if_unused()  # an unpin that met the settling half way did not see that it was the last
            return self._bytes

    @property
    def pinned_entries(self) -> int:
        """Pins held at present."""
        return TABLE_ENTRIES - len(self._free) - len(self._done)

    def freeze(self) -> None:
        """Entries are no longer cleared; the table closes with this process's last view.

        Call it before the fork in the parent (afterwards a finalizer of either process could already have cleared an entry that the other needs),
        and again in the child, which gets a lock of its own by it: another thread of the parent may have held it at the fork.
        """
        self.frozen = True
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock = threading.RLock()
        self.close_when_unused()

    def close_when_unused(self) -> None:
        """Takes no new pins, and closes when the last one is dropped (now, if there is none)."""
        with self._lock:  # no pin of another thread is half made
            self._closing = True
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if len(self._free) + len(self._done) == TABLE_ENTRIES and self._closers:
            try:
                close = self._closers.pop()
            except IndexError:
                return
            close()

    def _close_now(self) -> None:
        self._words.release()
        self._memory.close()
        os.close(self._fd)
