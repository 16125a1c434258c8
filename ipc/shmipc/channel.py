"""A channel: two rings and their wakers between one server, which has a loop, and one client, which waits with a thread or with a loop.

Law: a channel carries opaque messages in order, both ways; it knows no protocol, no socket and no event loop. The server makes it, and sends its
:attr:`ServerChannel.descriptors` to the client by some other way (``SCM_RIGHTS``), which is also what tells each side that the other has died.

**Memory.** One memfd, sealed against shrinking and growing before anybody else has it: whoever could truncate a file that the server maps could kill
the server with SIGBUS. It has no name, and goes when both sides are gone, whatever they died of.

**Waking.** ``flush`` publishes and then wakes, every time. Woken, drain first (:meth:`ServerChannel.drain`; :meth:`ClientChannel.wait` does it), then
``receive`` until it gives fewer than were asked for; also if nothing is expected, see below. Wake-ups without a message are normal. A
wake-up that was not taken goes with the side that gave it: who learns that the other side is gone looks once more, if that matters.

**Room.** A side whose ``send`` said False may call ``want_room``: it counts its word up and wakes the other side, which looks at that word
in every ``receive``, and wakes back when it has changed. After that ``send`` is worth another try; if it fails again, so is ``want_room``. That
the request wakes is what makes it safe: "set the word, then look at the room" against "give room, then look at the word" is a store before a load
on both sides, which x86-64 may turn round, and then nobody would wake anybody.

**Threads.** One thread at a time may send and flush, one at a time receive; they may be different ones. ``wake_self`` and ``wait`` may be called
by any thread at any time, also during ``close``.

**Trust.** Nothing the other side stores is believed (:mod:`shmipc.ring`); what it can do is waste its own messages and wake this side for
nothing. The server reads no header word that it has written itself.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable
from typing import Literal

from shmipc.errors import ArenaLayoutError, HandshakeError
from shmipc.layout import (
    C_CLIENT_WAITS,
    C_CLIENT_WANTS_ROOM,
    C_LAYOUT_VERSION,
    C_MAGIC,
    C_RING_BYTES,
    C_SERVER_WANTS_ROOM,
    CHANNEL_HEADER_BYTES,
    CHANNEL_MAGIC,
    CLIENT_WAITS_LOOP,
    CLIENT_WAITS_THREAD,
    LAYOUT_VERSION,
    RING_HEADER_BYTES,
)
from shmipc.limits import RING_BYTES_MAX, RING_BYTES_MIN
from shmipc.ring import RingReader, RingWriter, initialise
from shmipc.segment import allocate
from shmipc.waker import EventfdWaker

__all__ = ["RECEIVE_COUNT_MAX", "ClientChannel", "ClientWaits", "ServerChannel"]

ClientWaits = Literal["thread", "loop"]

#: Messages given out by one ``receive`` where nothing is said: a batch that pays, and a turn of the loop that stays short.
RECEIVE_COUNT_MAX = 64

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_WAITS: dict[ClientWaits, int] = {"thread": CLIENT_WAITS_THREAD, "loop": CLIENT_WAITS_LOOP}
_WAYS: dict[int, ClientWaits] = {way: name for name, way in _WAITS.items()}
#: The memfd, the server's waking end, the client's waiting end.
_DESCRIPTORS = 3


def _total_bytes(ring_bytes: int) -> int:
    return CHANNEL_HEADER_BYTES + 2 * (RING_HEADER_BYTES + ring_bytes)


def _is_ring_size(ring_bytes: int) -> bool:
    return RING_BYTES_MIN <= ring_bytes <= RING_BYTES_MAX and not ring_bytes & (ring_bytes - 1)


class _Parts:
    """The pieces of a channel's memory."""

    def __init__(self, memory: mmap.mmap, ring_bytes: int) -> None:
        whole = memoryview(memory)
        first = CHANNEL_HEADER_BYTES
        second = first + RING_HEADER_BYTES + ring_bytes
        self.words = whole[:CHANNEL_HEADER_BYTES].cast("Q")
        self.to_server = whole[first:second]
        self.to_client = whole[second : second + RING_HEADER_BYTES + ring_bytes]


def _wake_nobody() -> None:
    """What a closed side does instead of waking."""


class _Side:
    """What both sides do. ``own_word`` and ``other_word`` are the words by which they ask for room."""

    def __init__(
        self, words: memoryview[int], writer: RingWriter, reader: RingReader, own_word: int, other_word: int,
        wake_other: Callable[[], None],
    ) -> None:  # fmt: skip
        self._wake_other = wake_other
        self._words = words
        self._writer = writer
        self._reader = reader
        self._own_word = own_word
        self._other_word = other_word
        self._asked = 0
        self._answered = 0
        self._is_closed = False
        #: The largest message that ever fits; others go another way.
        self.message_bytes_max = writer.message_bytes_max

    def send(self, payload: bytes | bytearray | memoryview) -> bool:
        """Stages a message; it goes with the next :meth:`flush`. False: no room, or larger than ``message_bytes_max``, or closed.

        Raises ``RingCorrupt`` if the other side has broken the ring.
        """
        return not self._is_closed and self._writer.put(payload)

    def flush(self) -> None:
        """Publishes what is staged and wakes the other side once; nothing if nothing is."""
        if not self._is_closed and self._writer.publish():
            self._wake_other()

    def receive(self, count_max: int = RECEIVE_COUNT_MAX) -> list[bytes]:
        """Up to ``count_max`` messages; as many as that: there may be more, which no further wake-up announces. Raises ``RingCorrupt``."""
        if self._is_closed:
            return []
        messages = self._reader.take(count_max)
        if messages:
            self._reader.acknowledge()
        asked = self._words[self._other_word]
        if asked != self._answered:
            self._answered = asked
            self._wake_other()
        return messages

    def want_room(self) -> None:
        """Asks to be woken when the other side has taken messages (or looked, and had none to take): then send again."""
        if not self._is_closed:
            self._asked += 1
            self._words[self._own_word] = self._asked
            self._wake_other()

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called here; the other side's end is seen on the socket."""
        return self._is_closed

    @property
    def has_staged(self) -> bool:
        """Whether :meth:`flush` has something to do."""
        return self._writer.staged_count > 0


class ServerChannel(_Side):
    """The server's side; see :meth:`create`."""

    def __init__(self, memfd: int, memory: mmap.mmap, ring_bytes: int, client_waits: int) -> None:
        parts = _Parts(memory, ring_bytes)
        initialise(parts.to_server)
        initialise(parts.to_client)
        self._client = EventfdWaker.create()
        self._waker = EventfdWaker.create()
        super().__init__(
            parts.words, RingWriter(parts.to_client), RingReader(parts.to_server), C_SERVER_WANTS_ROOM, C_CLIENT_WANTS_ROOM,
            self._client.wake,
        )  # fmt: skip
        self._memfd = memfd
        words = parts.words
        words[C_LAYOUT_VERSION] = LAYOUT_VERSION
        words[C_RING_BYTES] = ring_bytes
        words[C_CLIENT_WAITS] = client_waits
        words[C_MAGIC] = CHANNEL_MAGIC  # last: without it the channel is unfinished

    @classmethod
    def create(cls, *, ring_bytes: int, client_waits: ClientWaits) -> ServerChannel:
        """Makes a channel with two rings of ``ring_bytes`` (a power of two). Raises ``OutOfSharedMemory``, ``ArenaLayoutError`` and ``OSError``."""
        if not _is_ring_size(ring_bytes):
            raise ArenaLayoutError(
                f"a ring has a power of two between {RING_BYTES_MIN:,} and {RING_BYTES_MAX:,} bytes, not {ring_bytes:,}"
            )
        memfd = os.memfd_create("shmipc-channel", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            size_bytes = _total_bytes(ring_bytes)
            allocate(memfd, size_bytes, "channel")
            fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, _SEALS)
            return cls(memfd, mmap.mmap(memfd, size_bytes), ring_bytes, _WAITS[client_waits])
        except BaseException:
            os.close(memfd)
            raise

    @property
    def descriptors(self) -> list[int]:
        """What the client needs, in this order, for :meth:`ClientChannel.attach`; still this side's, until :meth:`descriptors_sent`."""
        return [self._memfd, self._waker.waking_fd, self._client.waiting_fd]

    def descriptors_sent(self) -> None:
        """Closes what only the client needs; the channel itself stays."""
        if self._memfd >= 0:
            memfd, self._memfd = self._memfd, -1
            os.close(memfd)
        self._waker.close_waking_end()
        self._client.close_waiting_end()

    def fileno(self) -> int:
        """Readable when the client has sent something or wants room; for ``loop.add_reader``."""
        return self._waker.fileno()

    def drain(self) -> None:
        """Takes the wake-ups so far; then :meth:`receive`."""
        self._waker.drain()

    def wake(self) -> None:
        """Wakes the client without a message: there is something for it elsewhere."""
        self._wake_other()

    def close(self) -> None:
        """Closes this side; take ``fileno()`` out of the loop before. Again: nothing."""
        self._is_closed = True
        self._wake_other = _wake_nobody
        self.descriptors_sent()
        self._waker.close()
        self._client.close()


def _mapped(memfd: int) -> tuple[mmap.mmap, int]:
    """The channel's memory and the size of its rings, if it is one; raises ``ArenaLayoutError``."""
    size_bytes = os.fstat(memfd).st_size
    try:
        seals = fcntl.fcntl(memfd, fcntl.F_GET_SEALS)
    except OSError as error:
        raise ArenaLayoutError(
            "a channel's memory must be a sealed memfd; this descriptor is none"
        ) from error
    if seals & _SEALS != _SEALS or size_bytes < CHANNEL_HEADER_BYTES:
        raise ArenaLayoutError(
            f"a channel's memory must be sealed (has {seals:#x}, needs {_SEALS:#x}) and has at least "
            f"{CHANNEL_HEADER_BYTES} bytes (has {size_bytes:,}): client library and daemon must be of the same version"
        )
    memory = mmap.mmap(memfd, size_bytes)
    with memoryview(memory) as whole, whole[:CHANNEL_HEADER_BYTES] as head, head.cast("Q") as words:
        found = (words[C_MAGIC], words[C_LAYOUT_VERSION])
        ring_bytes = words[C_RING_BYTES]
    if found != (CHANNEL_MAGIC, LAYOUT_VERSION):
        raise ArenaLayoutError(
            f"not a channel of layout {LAYOUT_VERSION}: magic {found[0]:#x}, layout {found[1]}; "
            "client library and daemon must be of the same version"
        )
    if not _is_ring_size(ring_bytes) or _total_bytes(ring_bytes) != size_bytes:
        raise ArenaLayoutError(f"a channel of {size_bytes:,} bytes cannot have rings of {ring_bytes:,}")
    return memory, ring_bytes


class ClientChannel(_Side):
    """The client's side; see :meth:`attach`."""

    def __init__(
        self, parts: _Parts, wake_server: Callable[[], None], own: EventfdWaker, waits: ClientWaits
    ) -> None:
        super().__init__(
            parts.words, RingWriter(parts.to_server), RingReader(parts.to_client), C_CLIENT_WANTS_ROOM, C_SERVER_WANTS_ROOM,
            wake_server,
        )  # fmt: skip
        self._own = own
        #: How this client waits: "thread" by :meth:`wait`, "loop" by :meth:`fileno` and :meth:`drain`.
        self.waits = waits
        if waits == "thread":
            own.watch_self()

    @classmethod
    def attach(
        cls, descriptors: list[int], *, wake_server: Callable[[], None] | None = None
    ) -> ClientChannel:
        """Takes over what the server has sent (:attr:`ServerChannel.descriptors`), also when it raises.

        ``wake_server``: how a server wants to be woken that waits for all its channels in one place of its own, instead of by this channel's eventfd.
        Raises ``HandshakeError`` for a wrong number of descriptors, ``ArenaLayoutError`` for anything else than a channel of this layout.
        """
        left = list(descriptors)
        try:
            if len(left) != _DESCRIPTORS:
                raise HandshakeError(f"a channel comes with {_DESCRIPTORS} descriptors, not {len(left)}")
            memory, ring_bytes = _mapped(left[0])
            parts = _Parts(memory, ring_bytes)
            waits = _WAYS.get(parts.words[C_CLIENT_WAITS])
            if waits is None:
                raise ArenaLayoutError(
                    f"a channel whose client waits by way {parts.words[C_CLIENT_WAITS]}: of another version"
                )
            os.close(left.pop(0))  # the mapping stays
            server = EventfdWaker(waking_fd=left.pop(0))  # closes it when it goes
            # The only reference to the waker, where it is used: its descriptor goes with that.
            return cls(parts, wake_server or server.wake, EventfdWaker(waiting_fd=left.pop(0)), waits)
        except BaseException:
            for fd in left:
                os.close(fd)
            raise

    def fileno(self) -> int:
        """Readable when the server has sent something or wants room; for ``loop.add_reader``."""
        return self._own.fileno()

    def drain(self) -> None:
        """Takes the wake-ups so far; then :meth:`receive`."""
        self._own.drain()

    def wait(self, timeout_s: float | None, is_alive: Callable[[], bool] | None = None) -> bool:
        """Client "thread": waits for a wake-up and takes it; then :meth:`receive`. False when the time is up.

        Raises ``OwnerDied`` once ``is_alive`` (asked every LIVENESS_CHECK_S) says no. Signal handlers run meanwhile and may raise.
        """
        own = self._own  # before the look at is_closed: close() sets that first
        return self._is_closed or own.wait(timeout_s, is_alive=is_alive)

    def wake_self(self) -> None:
        """Client "thread": makes :meth:`wait` of another thread of this process return, now or the next time."""
        self._own.wake_self()

    def close(self) -> None:
        """Closes this side, and wakes its waiting thread; take ``fileno()`` out of the loop before. Again: nothing."""
        self._is_closed = True
        self.wake_self()
        self._wake_other = _wake_nobody
        self._own = EventfdWaker()  # the descriptors go with the last thread that waits or wakes
