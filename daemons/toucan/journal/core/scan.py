"""Reads a segment from some record on to its end: bytes in, records and findings out.

Law: this decides what every byte of a segment means, and knows no file. Fed with the bytes in order (:meth:`SegmentParser.feed`) and told when
they end (:meth:`SegmentParser.finish`), it gives records until the first place where none is, and then has to tell three things apart:

* the *end*: nothing but zeros follows;
* a *torn tail*: what a commit left that never ended. A crash may have kept any part of it. Nobody was told of it, so it may be cut;
* *damage*: what was there was durable. It is never cut; what lies behind is looked for and given out, too.

It is damage if anything proves that the events there were durable: ``committed_seq`` (the caller knows it: from the witness, from the next
segment, from the engine), a valid record further on whose ``durable_seq`` says so, or an extent larger than one commit may have. A record that is
whole but does not follow the one before is damage in any case: tearing makes no valid checksums. While that is open, what was found behind is
kept back; it is a part of the torn tail if no proof comes. So memory is bounded by one commit.

The search behind a bad place takes any multiple of 8 where a whole record of this segment stands (:func:`~toucan.journal.core.frame.decode_record`);
its chain hash cannot be checked and is taken at its word, those behind it are checked again.

Rejected: to believe the first bad place to be the end (what SQLite's WAL does: one flipped bit and every later commit is gone, silently).
"""

from __future__ import annotations

import msgspec

from toucan.journal.core.frame import (
    ALIGNMENT_BYTES,
    RECORD_HEADER_BYTES,
    RECORD_MAGIC,
    Flaw,
    Record,
    decode_record,
    flaw_in_order,
)
from toucan.journal.limits import COMMIT_BYTES_MAX

__all__ = ["Damage", "End", "Item", "SegmentParser", "TornTail"]

#: What a commit that was cut off may leave.
_TEARABLE = frozenset({Flaw.SHORT, Flaw.EMPTY, Flaw.UNKNOWN, Flaw.LENGTH, Flaw.CHECKSUM})


class End(msgspec.Struct, frozen=True, gc=False):
    """Only zeros are left from ``offset`` on: the next record goes there."""

    offset: int


class TornTail(msgspec.Struct, frozen=True, gc=False):
    """``size_bytes`` from ``offset`` on belong to a commit that never ended; zeros behind it. The next record goes to ``offset``."""

    offset: int
    size_bytes: int


class Damage(msgspec.Struct, frozen=True, gc=False):
    """Durable events ``first_seq`` to ``last_seq`` are not readable at ``offset``.

    ``last_seq`` is ``first_seq - 1`` where no event is missing (a broken chain, or ``STRAY`` bytes behind the end). ``size_bytes``: up to the next
    record, or to the last byte that is not zero where no record follows (``is_last``).
    """

    offset: int
    size_bytes: int
    first_seq: int
    last_seq: int
    reason: Flaw
    is_last: bool = False


Item = Record | Damage | TornTail | End


class SegmentParser:
    """Takes one segment apart; see the module.

    ``offset``: of the first byte that is fed, where a record begins. ``next_seq`` and ``chain``: what is due there (a chain of None: unknown).
    ``committed_seq``: every event up to it is known to have been durable.
    """

    def __init__(
        self, salt: int, offset: int, next_seq: int, chain: bytes | None, committed_seq: int = 0
    ) -> None:
        self.next_seq = next_seq
        self.chain = chain
        self._salt = salt
        self._committed_seq = committed_seq
        self._durable_seq = committed_seq  # proven so far
        self._data = b""
        self._base = offset  # where _data begins in the segment
        self._at = 0  # index in _data of the first byte whose meaning is open
        self._nonzero_end = offset  # behind the last byte fed that is not zero
        # A bad place whose end is looked for: where, and what was due there.
        self._bad: tuple[int, int, Flaw] | None = None
        # Begins with damage that is not proven yet.
        self._open: list[Item] = []
        self._items: list[Item] = []

    # ------------------------------------------------------------ bytes in

    def feed(self, data: bytes) -> list[Item]:
        """The next bytes of the segment; returns what has become clear."""
        begin = self._base + len(self._data)
        if data and data != bytes(len(data)):
            self._nonzero_end = begin + len(data.rstrip(b"\0"))
        self._data = self._data[self._at :] + data
        self._base += self._at
        self._at = 0
        while self._advance(is_final=False):
            pass
        return self._take()

    def finish(self) -> list[Item]:
        """There are no more bytes; returns what is left. Its last item is an :class:`End`, a :class:`TornTail`, or damage with ``is_last``."""
        while self._advance(is_final=True):
            pass
        if self._bad is None:
            self._bad = (self._base + self._at, self.next_seq, Flaw.EMPTY)
        if not self._close_open():
            self._close_bad(*self._bad)
        return self._take()

    def _take(self) -> list[Item]:
        items, self._items = self._items, []
        return items

    # ------------------------------------------------------------ one place

    def _advance(self, *, is_final: bool) -> bool:
        """Looks at one place; False when more bytes are needed (or, finally, there are none)."""
        if self._bad is not None:
            return self._search(is_final=is_final)
        offset = self._base + self._at
        found = decode_record(self._data, self._at, offset, self._salt)
        if found is Flaw.SHORT:
            if not is_final or self._at == len(self._data):
                return False
            if not any(self._data[self._at :]):
                found = Flaw.EMPTY
        if isinstance(found, Record):
            flaw = flaw_in_order(found, self.next_seq, self.chain)
            if flaw is None:
                self._accept(found)
                return True
            found = flaw
        self._bad = (offset, self.next_seq, found)
        return True

    def _search(self, *, is_final: bool) -> bool:
        """Looks for the next record that begins at a multiple of 8, from here on; True when it was found and taken."""
        assert self._bad is not None
        data = self._data
        while True:
            at = data.find(RECORD_MAGIC, self._at)
            if at < 0:  # the end of the data may be the beginning of a magic
                self._at = max(self._at, len(data) - len(RECORD_MAGIC) + 1)
                return False
            self._at = at
            offset = self._base + at
            found: Record | Flaw = Flaw.PLACE
            if offset % ALIGNMENT_BYTES == 0:
                found = decode_record(data, at, offset, self._salt)
            if isinstance(found, Record) and found.first_seq >= self.next_seq:
                self._end_bad(found)
                return True
            if found is Flaw.SHORT and not is_final:
                return False
            self._at += 1

    def _end_bad(self, record: Record) -> None:
        """Behind a bad place a record was found: what lies before it is damage, if it is not torn."""
        assert self._bad is not None
        offset, seq, reason = self._bad
        self._bad = None
        self._put(Damage(offset, record.offset - offset, seq, record.first_seq - 1, reason))
        self._accept(record)

    def _accept(self, record: Record) -> None:
        self._durable_seq = max(self._durable_seq, record.durable_seq)
        if self._open:
            self._settle(record.offset)
        self._put(record)
        self.next_seq = record.first_seq + record.count
        self.chain = record.chain
        self._at = record.end_offset - self._base

    # ------------------------------------------------------------ torn or damaged

    def _is_doubtful(self, item: Item, end_offset: int) -> bool:
        """Whether this is damage that may as well be (the beginning of) a torn tail, if what is not zero reaches to ``end_offset``."""
        return (
            isinstance(item, Damage)
            and item.reason in _TEARABLE
            and item.first_seq > self._durable_seq
            and end_offset - item.offset <= COMMIT_BYTES_MAX
        )

    def _put(self, item: Item) -> None:
        if self._open or self._is_doubtful(item, self._base + self._at):
            self._open.append(item)
        else:
            self._items.append(item)

    def _settle(self, end_offset: int) -> None:
        """Lets go what is no longer in doubt."""
        count = 0
        while count < len(self._open) and not self._is_doubtful(self._open[count], end_offset):
            count += 1
        self._items += self._open[:count]
        del self._open[:count]

    def _close_open(self) -> bool:
        """At the end: True if a torn tail begins before the last bad place."""
        self._settle(self._nonzero_end)
        if not self._open:
            return False
        first = self._open[0]
        assert isinstance(first, Damage)
        self._open = []
        self._items.append(TornTail(first.offset, self._nonzero_end - first.offset))
        return True

    def _close_bad(self, offset: int, seq: int, reason: Flaw) -> None:
        """At the end: what the last place without a record is."""
        size = max(0, self._nonzero_end - offset)
        if seq <= self._committed_seq:
            self._items.append(Damage(offset, size, seq, self._committed_seq, reason, is_last=True))
        elif size == 0:
            self._items.append(End(offset))
        elif reason in _TEARABLE and size <= COMMIT_BYTES_MAX:
            self._items.append(TornTail(offset, size))
        else:
            stray = Flaw.STRAY if reason is Flaw.EMPTY else reason
            self._items.append(Damage(offset, size, seq, seq - 1, stray, is_last=True))


assert RECORD_HEADER_BYTES % ALIGNMENT_BYTES == 0
