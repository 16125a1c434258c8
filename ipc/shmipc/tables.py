"""The owner's side of pin tables: a folder of locked files, scanned by ``pread``.

Law: what counts as held is decided here. A table is a tmpfs file whose client holds a ``flock`` through an open file description of its own; the
kernel drops the lock with the last descriptor of it, so a table whose lock is free has no client: it is *retired* (unlinked and forgotten, never
zeroed; a process that still has it mapped may go on writing to it). A new owner finds the tables of its predecessor in the folder, and the
pins in them count.

The owner never maps a client's file: whoever can write a file can also truncate it, and a mapping of what is gone is SIGBUS, while ``pread`` is a
short read. A truncated table is an error of that client (its own mapping faults): a scan sets its ``truncated``. Tables are read only up to
their high-water word: scanning all entries of 100 tables took 12.5 ms as a set, up to the high water it is microseconds.

Hits are counted by the clients, since nobody else sees them; the folder turns those words into totals of its own. They are what a client says: a
step back, or an impossible leap, adds nothing, and what a client counted stays in the totals when it is gone.
"""

from __future__ import annotations

import fcntl
import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from shmipc.errors import QuotaExceeded
from shmipc.layout import (
    LAYOUT_VERSION,
    T_ARENA_ID,
    T_HIGH_WATER,
    T_MAGIC,
    TABLE_BYTES,
    TABLE_ENTRIES,
    TABLE_HEADER_BYTES,
    TABLE_MAGIC,
    TABLE_TOUCHES,
    WORD_BYTES,
)
from shmipc.limits import TABLES_MAX
from shmipc.segment import allocate

__all__ = ["HITS_STEP_MAX", "HIT_BYTES_STEP_MAX", "Hits", "Table", "TableFolder"]

#: What one client may add between two readings (a few seconds, as long as the owner does its upkeep): days of hits at a million a second, and more
#: bytes than any memory can have given. Beyond it the words are not believed.
HITS_STEP_MAX, HIT_BYTES_STEP_MAX = 1 << 40, 1 << 60
#: Totals are 64-bit counters and wrap as such.
_TOTAL_MASK = (1 << 64) - 1

_OWNER_WORDS = Struct("=QQQQQQ")
_CLIENT_WORDS = Struct("=QQQQ")
_TOUCHES_OFFSET = TABLE_HEADER_BYTES + TABLE_ENTRIES * WORD_BYTES


class Hits(NamedTuple):
    """Blocks that clients found by themselves, and bytes they read in them."""

    blocks: int
    bytes: int


class Table:
    """The owner's read-only handle on one client's table. What was counted in it before is not this owner's."""

    def __init__(self, path: Path, serial: int) -> None:
        self.path = path
        self.serial = serial
        self.truncated = False
        self._touch_tail = 0
        self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._hits = self._hits_said()

    def is_abandoned(self) -> bool:
        """Whether no process holds the client's descriptor any more."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        return True

    def arena_id(self) -> int | None:
        """The arena the table belongs to, or None if it is no table of this layout."""
        head = os.pread(self._fd, _OWNER_WORDS.size, 0)
        if len(head) < _OWNER_WORDS.size:
            return None
        words = _OWNER_WORDS.unpack(head)
        return words[T_ARENA_ID] if words[T_MAGIC] == TABLE_MAGIC and words[1] == LAYOUT_VERSION else None

    def _client_words(self) -> tuple[int, int, int, int]:
        raw = os.pread(self._fd, _CLIENT_WORDS.size, T_HIGH_WATER * WORD_BYTES)
        if len(raw) < _CLIENT_WORDS.size:
            self.truncated = True
            return 0, 0, 0, 0
        high_water, touch_head, hits, hit_bytes = _CLIENT_WORDS.unpack(raw)
        return min(high_water, TABLE_ENTRIES), touch_head, hits, hit_bytes

    def _hits_said(self) -> Hits:
        return Hits(*self._client_words()[2:])

    def new_hits(self) -> Hits:
        """What was counted since the last call; nothing where the words went back or leapt (they are not trusted)."""
        said, before = self._hits_said(), self._hits
        blocks, size_bytes = said.blocks - before.blocks, said.bytes - before.bytes
        if not (0 <= blocks <= HITS_STEP_MAX and 0 <= size_bytes <= HIT_BYTES_STEP_MAX):
            return Hits(0, 0)
        self._hits = said
        return Hits(blocks, size_bytes)

    def pinned(self) -> array[int]:
        """The pin words up to the high water, zeros included; sets ``truncated`` where the file is too short."""
        high_water = self._client_words()[0]
        words = array("Q")
        raw = os.pread(self._fd, high_water * WORD_BYTES, TABLE_HEADER_BYTES)
        if len(raw) < high_water * WORD_BYTES:
            self.truncated = True
            raw = raw[: len(raw) // WORD_BYTES * WORD_BYTES]
        words.frombytes(raw)
        return words

    def harvest(self, marks_max: int = TABLE_TOUCHES) -> array[int]:
        """Touch marks not harvested yet, oldest first, at most ``marks_max``; a lapped ring has lost the oldest ones."""
        head = self._client_words()[1]
        tail = max(self._touch_tail, head - TABLE_TOUCHES)
        head = min(head, tail + marks_max)
        self._touch_tail = head
        words = array("Q")
        if head <= tail:
            return words
        first, last = tail % TABLE_TOUCHES, head % TABLE_TOUCHES
        pieces = [(first, last)] if first < last else [(first, TABLE_TOUCHES), (0, last)]
        for begin, end in pieces:
            raw = os.pread(self._fd, (end - begin) * WORD_BYTES, _TOUCHES_OFFSET + begin * WORD_BYTES)
            words.frombytes(raw[: len(raw) // WORD_BYTES * WORD_BYTES])
        return words

    def recent_marks(self) -> array[int]:
        """The last touch marks, oldest first, harvested or not."""
        tail, self._touch_tail = self._touch_tail, 0
        marks = self.harvest()
        self._touch_tail = tail
        return marks

    def close(self) -> None:
        """Closes the owner's descriptor."""
        os.close(self._fd)


class TableFolder:
    """All pin tables of one arena: ``folder`` is private to the owner's user."""

    def __init__(self, folder: Path, arena_id: int) -> None:
        self._folder = folder
        self._arena_id = arena_id
        self._tables: dict[int, Table] = {}
        self._serial = 0
        self._hits = Hits(0, 0)

    def __len__(self) -> int:
        return len(self._tables)

    def create(self) -> tuple[int, int]:
        """Makes a table that is scanned from now on; returns its serial and the client's locked descriptor, to be sent and closed.

        Raises ``QuotaExceeded`` when there are ``TABLES_MAX``, ``OutOfSharedMemory`` where there is no room for it.
        """
        if len(self._tables) >= TABLES_MAX and not self.retire_abandoned():
            raise QuotaExceeded(
                f"all {TABLES_MAX} pin tables are in use by clients that live: close some, or start another instance"
            )
        self._serial += 1
        serial = self._serial
        path = self._folder / f"{serial}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            allocate(fd, TABLE_BYTES, f"pin table {path}")
            words = _OWNER_WORDS.pack(
                TABLE_MAGIC, LAYOUT_VERSION, self._arena_id, TABLE_ENTRIES, TABLE_TOUCHES, serial
            )
            os.pwrite(fd, words, 0)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._tables[serial] = Table(path, serial)
        except BaseException:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return serial, fd

    def adopt(self) -> tuple[int, int]:
        """Takes over a predecessor's tables; returns how many live, and how many were retired."""
        live = retired = 0
        for path in sorted(self._folder.iterdir(), key=lambda p: p.name):
            if not path.name.isdigit():
                continue
            self._serial = max(self._serial, int(path.name))
            table = Table(path, int(path.name))
            if table.arena_id() != self._arena_id or table.is_abandoned():
                self._retire(table)
                retired += 1
            else:
                self._tables[table.serial] = table
                live += 1
        return live, retired

    def _retire(self, table: Table) -> None:
        self._add_hits(table)
        self._tables.pop(table.serial, None)
        table.path.unlink(missing_ok=True)
        table.close()

    def retire_abandoned(self) -> list[int]:
        """Forgets tables whose last descriptor is closed; returns their serials. To be called now and then: it also keeps count of the hits."""
        self.hits()
        gone = [table for table in self._tables.values() if table.is_abandoned()]
        for table in gone:
            self._retire(table)
        return [table.serial for table in gone]

    def tables(self) -> Iterator[Table]:
        """The tables that count."""
        return iter(self._tables.values())

    def _add_hits(self, table: Table) -> None:
        new = table.new_hits()
        self._hits = Hits(
            self._hits.blocks + new.blocks & _TOTAL_MASK, self._hits.bytes + new.bytes & _TOTAL_MASK
        )

    def hits(self) -> Hits:
        """What the clients have counted since this owner began, those included that are gone. Monotonic, but for the wrap at 2**64."""
        for table in self._tables.values():
            self._add_hits(table)
        return self._hits

    def scan(self) -> set[int]:
        """Every pin word published at this time (0 is among them, and means nothing)."""
        held: set[int] = set()
        for table in self._tables.values():
            held.update(table.pinned())
        return held

    def scan_of(self, serials: Iterable[int]) -> tuple[set[int], set[int]]:
        """Which of these tables still count, and the pin words published in them (0 among them, which means nothing)."""
        found = {serial: self._tables[serial] for serial in serials if serial in self._tables}
        held: set[int] = set()
        for table in found.values():
            held.update(table.pinned())
        return set(found), held

    def harvest(self, marks_max: int = TABLE_TOUCHES) -> Iterator[int]:
        """Touch marks of all clients, as pin words; at most ``marks_max`` of each client, the rest the next time."""
        for table in self._tables.values():
            yield from table.harvest(marks_max)

    def close(self) -> None:
        """Closes the owner's descriptors; the files stay for the next owner."""
        for table in self._tables.values():
            table.close()
        self._tables.clear()
