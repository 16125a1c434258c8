"""A ring of messages in shared memory: one writer, one reader, no lock, no system call.

Law: a ring knows positions and lengths, never what a message means, who sleeps, or where its memory comes from (:mod:`shmipc.channel` joins those).
Positions count bytes since the ring was made and only grow; ``position % capacity`` is where a byte lies. There are two shared words, each
with one writer::

    writer   R_PUBLISHED      everything before it may be read         stored after the bytes
    reader   R_ACKNOWLEDGED   everything before it may be overwritten  stored after they were copied out

A message is its length (u32) and its bytes, and may run over the end of the data area to its beginning, so no room is lost to padding and a
message may be as large as the ring. x86-64 keeps stores in order, and loads too, so whoever sees a position sees what was stored before it (a
memcpy that goes around the cache is fenced by libc). Putting a batch is one copy and one store; taking it is one load, one copy, one store.

**Deaths.** What is staged and not published lives in the writer's private memory: a writer that dies leaves whole messages only, and a new one goes
on at R_PUBLISHED. What is taken and not acknowledged is still there: a new reader begins at R_ACKNOWLEDGED and gets it again.

**Trust.** The other side may store anything at any time. So each side keeps its own position privately, takes the capacity from the
mapping and never from the header, and looks at lengths only in its private copy, after checking that the copied range lies within the ring.
What cannot be raises :class:`~shmipc.errors.RingCorrupt`. Rejected: messages handed out as views of the ring (a hostile writer changes them after the
check), a shared count of messages (two writers), a flag "the reader sleeps" (a store followed by a load is not ordered on x86-64, so a
wake-up could be lost; wakers are told at every publication instead).
"""

from __future__ import annotations

import struct

from shmipc.errors import ArenaLayoutError, RingCorrupt
from shmipc.layout import (
    LAYOUT_VERSION,
    R_ACKNOWLEDGED,
    R_CAPACITY_BYTES,
    R_LAYOUT_VERSION,
    R_MAGIC,
    R_PUBLISHED,
    RING_HEADER_BYTES,
    RING_MAGIC,
)
from shmipc.limits import POSITION_MAX, RING_BYTES_MAX, RING_BYTES_MIN

__all__ = ["RingReader", "RingWriter", "check_header", "initialise", "write_header"]

_LENGTH = struct.Struct("<I")
_pack_length = _LENGTH.pack
_unpack_length = _LENGTH.unpack_from
_LENGTH_BYTES = _LENGTH.size


def _capacity_of(memory: memoryview) -> int:
    capacity = memory.nbytes - RING_HEADER_BYTES
    if not RING_BYTES_MIN <= capacity <= RING_BYTES_MAX or capacity & (capacity - 1):
        raise ArenaLayoutError(
            f"a ring of {capacity:,} bytes (after its header of {RING_HEADER_BYTES}): it must be a power of two between "
            f"{RING_BYTES_MIN:,} and {RING_BYTES_MAX:,}"
        )
    return capacity


def write_header(memory: memoryview, magic: int) -> None:
    """Makes an empty ring or log of ``memory``, whose data area (all after the header) must be a power of two; raises ``ArenaLayoutError``."""
    capacity = _capacity_of(memory)
    words = memory.cast("B")[:RING_HEADER_BYTES].cast("Q")
    words[:] = memoryview(bytes(RING_HEADER_BYTES)).cast("Q")
    words[R_LAYOUT_VERSION] = LAYOUT_VERSION
    words[R_CAPACITY_BYTES] = capacity
    words[R_MAGIC] = magic  # last: without it the ring is unfinished


def check_header(memory: memoryview, magic: int) -> tuple[memoryview[int], memoryview, int]:
    """Header words, data area and capacity of a ring or log that was made by :func:`write_header`; raises ``ArenaLayoutError``."""
    capacity = _capacity_of(memory)
    raw = memory.cast("B")
    words = raw[:RING_HEADER_BYTES].cast("Q")
    found = (words[R_MAGIC], words[R_LAYOUT_VERSION], words[R_CAPACITY_BYTES])
    if found != (magic, LAYOUT_VERSION, capacity):
        raise ArenaLayoutError(
            f"not a ring or log of layout {LAYOUT_VERSION} and {capacity:,} bytes: magic {found[0]:#x}, layout {found[1]}, "
            f"{found[2]:,} bytes; both sides must be of the same version"
        )
    return words, raw[RING_HEADER_BYTES:], capacity


def initialise(memory: memoryview) -> None:
    """Makes an empty ring of ``memory`` (RING_HEADER_BYTES and a power of two); the maker does it before anybody else has the memory."""
    write_header(memory, RING_MAGIC)


class RingWriter:
    """The writing side of an initialised ring; goes on where a former writer has published. One thread at a time."""

    def __init__(self, memory: memoryview) -> None:
        self._words, self._data, self._capacity = check_header(memory, RING_MAGIC)
        #: The largest message that ever fits.
        self.message_bytes_max = self._capacity - _LENGTH_BYTES
        self._published = self._words[R_PUBLISHED]
        self._parts: list[bytes] = []
        self._staged_bytes = 0
        self._acknowledged = self._words[R_ACKNOWLEDGED]
        if not 0 <= self._published - self._acknowledged <= self._capacity or self._published > POSITION_MAX:
            raise RingCorrupt(
                f"the ring is published up to {self._published} and acknowledged up to {self._acknowledged}, "
                f"which cannot be with {self._capacity} bytes: make a new one"
            )

    def put(self, payload: bytes | bytearray | memoryview) -> bool:
        """Stages a message; False, with nothing staged, where there is no room for it (or it is larger than ``message_bytes_max``).

        Raises ``RingCorrupt`` if the reader's position cannot be.
        """
        if type(payload) is not bytes:
            payload = bytes(payload)  # it may change before it is published
        size = _LENGTH_BYTES + len(payload)
        staged = self._staged_bytes + size
        if staged > self._capacity + self._acknowledged - self._published:
            self._look()
            if staged > self._capacity + self._acknowledged - self._published:
                return False
        self._parts += (_pack_length(size - _LENGTH_BYTES), payload)
        self._staged_bytes = staged
        return True

    def _look(self) -> None:
        """Takes over the reader's position, if it can be."""
        found = self._words[R_ACKNOWLEDGED]
        if not self._acknowledged <= found <= self._published:
            raise RingCorrupt(
                f"the reader acknowledges up to {found}; it had acknowledged {self._acknowledged}, "
                f"and {self._published} were published: it is broken, give it up"
            )
        self._acknowledged = found

    def publish(self) -> int:
        """Makes all staged messages visible with one store; returns how many they were."""
        parts = self._parts
        if not parts:
            return 0
        batch = b"".join(parts)
        begin = self._published & (self._capacity - 1)
        end = begin + len(batch)
        if end <= self._capacity:
            self._data[begin:end] = batch
        else:
            cut = self._capacity - begin
            self._data[begin:] = batch[:cut]
            self._data[: end - self._capacity] = batch[cut:]
        published = self._published + len(batch)
        # Should a signal handler raise before here, everything is still staged. No call, so no handler, comes between the store and the books.
        self._words[R_PUBLISHED] = published
        self._published = published
        self._parts, self._staged_bytes = [], 0
        return len(parts) // 2

    @property
    def staged_count(self) -> int:
        """Messages staged and not published."""
        return len(self._parts) // 2

    @property
    def free_bytes(self) -> int:
        """Room at this moment; a message needs its length and 4 bytes. Raises ``RingCorrupt``."""
        self._look()
        return self._capacity + self._acknowledged - self._published - self._staged_bytes


class RingReader:
    """The reading side of an initialised ring; begins at what was acknowledged last. One thread at a time."""

    def __init__(self, memory: memoryview) -> None:
        self._words, self._data, self._capacity = check_header(memory, RING_MAGIC)
        self._acknowledged = self._words[R_ACKNOWLEDGED]
        # A private copy of what was published, and how far it was given out.
        self._chunk = b""
        self._chunk_begin = self._acknowledged
        self._at = 0
        if self._acknowledged + self.lag_bytes > POSITION_MAX:
            raise RingCorrupt(f"the ring was acknowledged up to {self._acknowledged}: make a new one")

    def take(self, count_max: int) -> list[bytes]:
        """Up to ``count_max`` messages, published and not yet taken, in order. Raises ``RingCorrupt``."""
        messages: list[bytes] = []
        left = count_max
        while left > 0 and (self._at < len(self._chunk) or self._load()):
            chunk, at, end = self._chunk, self._at, len(self._chunk)
            while at < end and left:
                begin = at + _LENGTH_BYTES
                if begin > end:
                    raise self._cut(at)
                at = begin + _unpack_length(chunk, at)[0]
                if at > end:
                    raise self._cut(begin - _LENGTH_BYTES)
                messages.append(chunk[begin:at])
                left -= 1
            if at < end:
                self._at = at
            else:  # the copy is not kept; no call, so no signal handler, comes between these
                self._chunk_begin, self._chunk, self._at = self._chunk_begin + end, b"", 0
        return messages

    def _cut(self, at: int) -> RingCorrupt:
        return RingCorrupt(
            f"the message at {self._chunk_begin + at} runs past what was published ({self._chunk_begin + len(self._chunk)}): "
            "the writer is broken, give it up"
        )

    def _load(self) -> bool:
        """Copies all that is published; False if there is nothing new."""
        begin = self._chunk_begin + len(self._chunk)
        published = self._words[R_PUBLISHED]
        if published == begin:
            return False
        if not begin < published <= self._acknowledged + self._capacity:
            raise self._impossible(published)
        length = published - begin
        at = begin & (self._capacity - 1)
        chunk = self._data[at : at + length].tobytes()
        if len(chunk) < length:
            chunk += self._data[: length - len(chunk)].tobytes()
        self._chunk_begin, self._chunk, self._at = begin, chunk, 0
        return True

    def _impossible(self, published: int) -> RingCorrupt:
        return RingCorrupt(
            f"the writer has published up to {published}; {self._chunk_begin + len(self._chunk)} were taken, "
            f"{self._acknowledged} acknowledged, and the ring has {self._capacity} bytes: it is broken, give it up"
        )

    def acknowledge(self) -> None:
        """Gives the room of all taken messages back, with one store; from now on a successor does not get them."""
        position = self._chunk_begin + self._at
        self._acknowledged = position
        self._words[R_ACKNOWLEDGED] = position

    @property
    def lag_bytes(self) -> int:
        """What is published and not acknowledged. Raises ``RingCorrupt``."""
        published = self._words[R_PUBLISHED]
        if not self._chunk_begin + len(self._chunk) <= published <= self._acknowledged + self._capacity:
            raise self._impossible(published)
        return published - self._acknowledged
