"""A broadcast log in shared memory: one writer that never waits, any number of readers that may fall behind.

Law: the writer knows no reader, and readers store nothing (they map read-only), so no reader can hold anybody up. A reader that is lapped learns it:
it gets a :class:`Gap` and goes on with the oldest message that is still there. What is delivered was never torn or half overwritten.

Messages are numbered from 1 without gaps; a message is its sequence number (u64), its length (u32) and its bytes, and may run over the end of the
data area. Three words, all the writer's, are kept in this order, on which all else rests::

    1. L_OLDEST          what lies before it is, or may be, overwritten    stored before the first byte is
    2. L_PUBLISHED       everything before it is whole                     stored after the last byte was
    3. L_NEXT_SEQUENCE   the next message's number

A reader loads L_PUBLISHED, copies up to there, and *then* loads L_OLDEST: x86-64 keeps stores in order, and loads too, so if any copied byte was an
overwriting one, the reader now sees an L_OLDEST past what that byte replaced, and drops everything before it. L_OLDEST always is the
beginning of a message, so the rest of the copy is good.

**Deaths.** A writer killed anywhere leaves messages that are whole, between L_OLDEST and L_PUBLISHED; a successor finds the next number behind the
last of them. There is none only when everything was about to be overwritten, and then L_NEXT_SEQUENCE is right: it was stored before that began.
Readers have nothing to leave.

**Trust.** Readers trust the writer's *numbers* no more than a ring does: lengths are looked at in the private copy only, and what cannot be raises
:class:`~shmipc.errors.RingCorrupt`. Rejected: a checksum per message (finds torn ones by luck and costs each reader a pass), a list of readers
that the writer waits for (one that is stopped stops all).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from shmipc.errors import RingCorrupt
from shmipc.layout import L_NEXT_SEQUENCE, L_OLDEST, L_PUBLISHED, LOG_MAGIC
from shmipc.limits import LOG_ATTEMPTS_MAX, POSITION_MAX
from shmipc.ring import check_header, write_header

__all__ = ["Gap", "LogReader", "LogWriter", "Message", "initialise_log"]

_HEAD = struct.Struct("<QI")
_HEAD_BYTES = _HEAD.size


def _unpack_head(buffer: bytes | memoryview, at: int) -> tuple[int, int]:
    """Sequence number and length."""
    sequence, length = _HEAD.unpack_from(buffer, at)
    return sequence, length


#: A message takes at most this part of the log, so that there is always something between the oldest and the newest.
_MESSAGE_SHARE = 4


class Message(NamedTuple):
    """One message and its sequence number."""

    sequence: int
    payload: bytes


class Gap(NamedTuple):
    """Messages ``first_missing`` up to ``next_sequence`` (excluded) were overwritten before this reader came to them."""

    first_missing: int
    next_sequence: int


def initialise_log(memory: memoryview) -> None:
    """Makes an empty log of ``memory`` (RING_HEADER_BYTES and a power of two), before anybody else has it. Raises ``ArenaLayoutError``."""
    write_header(memory, LOG_MAGIC)
    memory.cast("B").cast("Q")[L_NEXT_SEQUENCE] = 1


def _copied(data: memoryview, begin: int, length: int) -> bytes:
    """``length`` bytes from position ``begin``, over the end if need be."""
    at = begin & (len(data) - 1)
    copy = data[at : at + length].tobytes()
    return copy if len(copy) == length else copy + data[: length - len(copy)].tobytes()


class LogWriter:
    """The writing side of an initialised log; goes on where a former writer has published. One thread at a time."""

    def __init__(self, memory: memoryview) -> None:
        self._words, self._data, self._capacity = check_header(memory, LOG_MAGIC)
        #: The largest message.
        self.message_bytes_max = self._capacity // _MESSAGE_SHARE - _HEAD_BYTES
        self._oldest, self._published = self._words[L_OLDEST], self._words[L_PUBLISHED]
        if (
            not self._oldest <= self._published <= self._oldest + self._capacity
            or self._published > POSITION_MAX
        ):
            raise RingCorrupt(
                f"the log begins at {self._oldest} and is published up to {self._published}, "
                f"which cannot be with {self._capacity} bytes: make a new one"
            )
        #: Sequence number of the next message to be put.
        self.next_sequence = self._found_sequence()
        self._words[L_NEXT_SEQUENCE] = self.next_sequence
        self._parts: list[bytes] = []
        self._staged_bytes = 0

    def _found_sequence(self) -> int:
        """Behind the last whole message, or as it was noted before everything was given up to be overwritten."""
        found = self._words[L_NEXT_SEQUENCE]
        at = self._oldest
        while at < self._published:
            sequence, length = self._head(at)
            found, at = sequence + 1, at + _HEAD_BYTES + length
        if at != self._published:
            raise RingCorrupt(f"the log's last message runs past {self._published}: make a new one")
        return found

    def _head(self, at: int) -> tuple[int, int]:
        begin = at & (self._capacity - 1)
        if begin + _HEAD_BYTES <= self._capacity:
            return _unpack_head(self._data, begin)
        return _unpack_head(_copied(self._data, at, _HEAD_BYTES), 0)

    def put(self, payload: bytes | bytearray | memoryview) -> int:
        """Stages a message; returns its sequence number. Raises ``ValueError`` if it is larger than ``message_bytes_max``.

        What is staged is published by itself when it becomes large.
        """
        payload = bytes(payload)
        if len(payload) > self.message_bytes_max:
            raise ValueError(
                f"a message of this log has at most {self.message_bytes_max:,} bytes, this one {len(payload):,}"
            )
        size = _HEAD_BYTES + len(payload)
        if self._staged_bytes + size > self._capacity // _MESSAGE_SHARE:
            self.publish()
        sequence = self.next_sequence
        self._parts += (_HEAD.pack(sequence, len(payload)), payload)
        self._staged_bytes += size
        self.next_sequence = sequence + 1
        return sequence

    def publish(self) -> int:
        """Makes all staged messages visible with one store; returns how many they were. Never waits."""
        batch = b"".join(self._parts)
        count = len(self._parts) // 2
        if not count:
            return 0
        end = self._published + len(batch)
        self._make_room(end - self._capacity)
        begin = self._published & (self._capacity - 1)
        cut = min(len(batch), self._capacity - begin)
        self._data[begin : begin + cut] = batch[:cut]
        self._data[: len(batch) - cut] = batch[cut:]
        # No call, so no signal handler, between the store and the books.
        self._words[L_PUBLISHED] = end
        self._published = end
        self._parts, self._staged_bytes = [], 0
        self._words[L_NEXT_SEQUENCE] = self.next_sequence
        return count

    def _make_room(self, position: int) -> None:
        """Gives up whole messages until everything before ``position`` may be overwritten, and says so first."""
        if position <= self._oldest:
            return
        oldest = self._oldest
        while oldest < position:
            oldest += _HEAD_BYTES + self._head(oldest)[1]
        self._words[L_OLDEST] = oldest
        self._oldest = oldest


class LogReader:
    """A reading side of an initialised log; ``memory`` may be read-only. One thread at a time.

    Begins with message ``next_sequence`` (of what is no longer there, a :class:`Gap` is told), or, without it, with the oldest that is there.
    """

    def __init__(self, memory: memoryview, *, next_sequence: int | None = None) -> None:
        self._words, self._data, self._capacity = check_header(memory, LOG_MAGIC)
        #: Sequence number of the next message to be taken; None until the first one, if none was asked for.
        self.next_sequence = next_sequence
        # Older messages than the one it is to begin with are passed over; later on they cannot be.
        self._is_searching = next_sequence is not None
        self._chunk = b""
        self._chunk_begin = self._words[L_OLDEST]
        self._at = 0

    def take(self, count_max: int) -> list[Message | Gap]:
        """Up to ``count_max`` messages not yet taken, in order, each ``Gap`` where it belongs (and counted as one). Raises ``RingCorrupt``."""
        taken: list[Message | Gap] = []
        while len(taken) < count_max and (self._at < len(self._chunk) or self._load()):
            sequence, begin, end = self._parsed()
            expected = self.next_sequence
            if expected is None or sequence == expected:
                taken.append(Message(sequence, self._chunk[begin:end]))
                self.next_sequence = sequence + 1
                self._at = end
                self._is_searching = False
            elif sequence > expected:
                taken.append(Gap(expected, sequence))
                self.next_sequence = sequence  # the message itself is next
            elif self._is_searching:
                self._at = end
            else:
                raise RingCorrupt(f"message {sequence} comes where {expected} should: give the log up")
        return taken

    def _parsed(self) -> tuple[int, int, int]:
        """Number, begin and end (in the chunk) of the message that is next."""
        begin = self._at + _HEAD_BYTES
        if begin <= len(self._chunk):
            sequence, length = _unpack_head(self._chunk, self._at)
            if begin + length <= len(self._chunk):
                return sequence, begin, begin + length
        raise RingCorrupt(
            f"the message at {self._chunk_begin + self._at} runs past what was published "
            f"({self._chunk_begin + len(self._chunk)}): give the log up"
        )

    def _load(self) -> bool:
        """Copies what is published and whole; False if there is nothing new, or the writer was faster each time."""
        position = self._chunk_begin + len(self._chunk)
        for _ in range(LOG_ATTEMPTS_MAX):
            published = self._words[L_PUBLISHED]
            if published == position:
                return False
            if published < position:
                raise RingCorrupt(f"the log went back from {position} to {published}: give it up")
            begin = max(position, self._words[L_OLDEST])
            if published - begin > self._capacity:
                raise RingCorrupt(
                    f"the log claims {published - begin} bytes from {begin} and has {self._capacity}: give it up"
                )
            chunk = _copied(self._data, begin, published - begin) if begin < published else b""
            oldest = self._words[L_OLDEST]  # after the copy: see the law
            if oldest < published:
                skipped = max(0, oldest - begin)
                self._chunk, self._chunk_begin, self._at = chunk[skipped:], begin + skipped, 0
                return True
        return False
