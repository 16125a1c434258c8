"""One HTTP/1.1 connection to a store: a request out, its answer in, the body straight into the reader's
buffer.

*Law.* Here are bytes, phases and deadlines of one connection; what an answer means is the exchange's
business, which connection serves whom the pool's. The parser sees the head and nothing else: after the head
``get_buffer`` gives exactly the part of the reader's buffer that is still due, so the kernel writes into
shared memory and no byte passes through Python. (Parsing bodies too costs 2 to 5 times the CPU [measured].)
Bodies that are chunked, or end with the connection, and error texts go through the parser, copied.

What was learned the hard way: ``get_buffer`` must never give an empty buffer, also between two requests;
httptools cannot be stopped at the end of a head, so the rest of that read (less than ``HEAD_BUFFER_BYTES``)
comes through ``on_body``; it has no limits of its own; its callbacks must not raise, nor call anybody, so
they only take notes that :meth:`StoreConnection._digest` acts on afterwards.

A connection that was told to close writes into no buffer any more: both loops read synchronously between
``get_buffer`` and ``buffer_updated``. So a reader's buffer is free as soon as the exchange has been taken off
its connection.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol, cast

from cashy.errors import CashyError, InternalError, OriginInvalid, OriginTimeout, OriginUnavailable
from cashy.origin.s3_answer import AnswerHead
from cashy.origin.s3_notes import AnswerNotes

if TYPE_CHECKING:
    from cashy.origin.s3_pool import PoolFigures, StorePool

__all__ = [
    "ConnectionOwner", "DRAIN_BYTES_MAX", "ERROR_BODY_BYTES_MAX", "Exchange", "HEAD_BUFFER_BYTES", "HEAD_BYTES_MAX",
    "IDLE_S", "Phase", "StoreConnection", "Timeouts",
]  # fmt: skip

HEAD_BUFFER_BYTES = 4096
"""Private buffer of a connection: a store's head is about 600 bytes; what of the body comes with it is
copied.
"""

HEAD_BYTES_MAX = 32 * 1024
"""Head of one answer. S3 allows 2 KiB of user metadata and 8 KiB of headers; the parser itself has no limit.
"""

ERROR_BODY_BYTES_MAX = 64 * 1024
"""Text kept of an error; S3's are under 1 KiB. A longer one is cut off and the connection closed."""

DRAIN_BYTES_MAX = 256 * 1024
"""After a cancel: so much is read and thrown away sooner than the connection closed (about one round trip's
worth).
"""

IDLE_S = 30.0
"""Unused connections are closed after this. S3 closes its side earlier, which costs nothing but a retry."""

INTERIM_ANSWERS_MAX = 4
"""1xx answers before the real one; nothing we send asks for any."""


class Timeouts(Protocol):
    """Limits in seconds: for the head after the request was sent, and between two arrivals of body bytes."""

    @property
    def head_s(self) -> float:
        """From the request to the end of the answer's head."""
        ...

    @property
    def read_s(self) -> float:
        """Between two arrivals of bytes of the body."""
        ...


class Exchange(ABC):
    """A request and what becomes of its answer. The pool and connection call; ``ended`` comes once unless it
    was cancelled.
    """

    __slots__ = ("connection", "is_broken", "is_over", "pool", "was_retried")

    what = ""
    """The object, for messages."""
    has_body = True
    """False for HEAD, whose answers have a length but no body."""
    body_bytes_max = 0
    """How much may come at most, as long as the head has not told: whether to drain after a cancel."""

    text_bytes_max = ERROR_BODY_BYTES_MAX
    """How much of a body for which there is no buffer is handed to ``ended``; a longer one is cut off."""

    def __init__(self) -> None:
        self.connection: StoreConnection | None = None
        self.pool: StorePool | None = None
        self.is_over = False
        self.was_retried = False
        self.is_broken = False
        """The connection ended before the answer: the same request may succeed on another one."""

    @abstractmethod
    def request(self) -> bytes:
        """The request's bytes, made (and signed) when it is about to be sent; once more for a retry."""

    @abstractmethod
    def head_arrived(self, head: AnswerHead) -> memoryview | None:
        """Gives the buffer that the body must fill exactly, or None to have up to ``text_bytes_max`` of
        it handed to ``ended``.

        May raise a CashyError, with which the exchange ends.
        """

    @abstractmethod
    def received(self, watermark: int) -> None:
        """So many bytes of the buffer have arrived."""

    @abstractmethod
    def ended(self, body: bytes, error: CashyError | None) -> None:
        """Nobody writes into the buffer any more: it is full, ``body`` is complete, or there is an error."""

    def end(self, body: bytes = b"", error: CashyError | None = None) -> None:
        """Calls ``ended``, the first time."""
        if not self.is_over:
            self.is_over = True
            self.connection = None
            self.ended(body, error)


class ConnectionOwner(Protocol):
    """The pool, as its connections see it."""

    figures: PoolFigures

    @property
    def timeouts(self) -> Timeouts:
        """Limits that hold for all its connections."""
        ...

    def is_free(self, connection: StoreConnection) -> None:
        """It can take another request."""
        ...

    def is_made(self, connection: StoreConnection) -> None:
        """It has a socket, until ``is_lost``."""
        ...

    def is_gone(self, connection: StoreConnection) -> None:
        """It can be used no more; called once."""
        ...

    def is_lost(self, connection: StoreConnection) -> None:
        """Its socket is closed; the last call."""
        ...

    def answered(self, status: int) -> None:
        """The head of an answer has come."""
        ...

    def timed_out(self) -> None:
        """The answer, or more of it, did not come in time."""
        ...

    def retry(self, exchange: Exchange) -> bool:
        """Takes an exchange back that a kept-alive connection lost unanswered; False if it had its retry."""
        ...


class Phase(IntEnum):
    """What arriving bytes are."""

    IDLE = 0  # unasked for: the connection is closed
    HEAD = 1  # the head, and the rest of that read
    DIRECT = 2  # body of known length, into the reader's buffer
    PARSED = 3  # body through the parser: into the buffer by copy, or collected
    DRAIN = 4  # the rest of a body nobody wants
    CLOSED = 5


_scratch = memoryview(bytearray(DRAIN_BYTES_MAX))  # what is drained is never looked at, so all share one


class StoreConnection(asyncio.BufferedProtocol):
    """One connection. ``send`` only when free; everything else follows from what arrives."""

    def __init__(self, owner: ConnectionOwner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._phase = Phase.IDLE
        self._exchange: Exchange | None = None
        self._buffer = memoryview(bytearray(HEAD_BUFFER_BYTES))
        self._served = 0
        self._due = 0
        self._filled = 0
        self._target: memoryview | None = None
        self._collected = bytearray()
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._notes = AnswerNotes()
        self._head_bytes = 0
        self._ends_with_connection = False

    # ------------------------------------------------------------ the pool's side

    @property
    def is_closed(self) -> bool:
        """Told to close, or lost."""
        return self._phase is Phase.CLOSED

    @property
    def exchange(self) -> Exchange | None:
        """The one it serves at the moment."""
        return self._exchange

    def send(self, exchange: Exchange) -> None:
        """Sends the exchange's request; the connection must be free."""
        assert self._phase is Phase.IDLE
        assert self._transport is not None
        try:
            request = exchange.request()
        except CashyError as error:
            self._loop.call_soon(exchange.end, b"", error)
            self._owner.is_free(self)
            return
        self._exchange = exchange
        exchange.connection = self
        self._notes = AnswerNotes()
        self._head_bytes = 0
        self._collected = bytearray()
        self._phase = Phase.HEAD
        self._arm(self._owner.timeouts.head_s)
        self._transport.write(request)

    def let_go(self) -> bool:
        """Takes the exchange off: its buffer is free when this returns. True if the connection survives
        (drains), False if closed.
        """
        exchange, self._exchange = self._exchange, None
        self._target = None
        if exchange is not None and self._phase is Phase.HEAD:
            if exchange.has_body and exchange.body_bytes_max <= DRAIN_BYTES_MAX:
                return True  # the head will say how much really comes
        elif self._phase is Phase.DIRECT and self._due - self._filled <= DRAIN_BYTES_MAX:
            self._phase = Phase.DRAIN
            return True
        self.close()
        return False

    def close(self) -> None:
        """Closes at once, without a word to the exchange."""
        if self._phase is not Phase.CLOSED:
            self.discard()
            self._owner.is_gone(self)

    def discard(self) -> None:
        """Closes at once, without a word to anybody: for one that the owner has not taken up yet."""
        self._phase = Phase.CLOSED
        self._exchange = self._target = None
        self._notes.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------ the loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop has a transport for us."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, without saying so
        self._owner.is_made(self)
        if self.is_closed:  # given up while it was being made
            self._transport.abort()
        else:
            self._arm(IDLE_S)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: never an empty buffer."""
        if self._phase is Phase.DIRECT:
            assert self._target is not None
            return self._target[self._filled :]
        if self._phase is Phase.DRAIN:
            return _scratch[: self._due - self._filled]
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have arrived in the buffer given last."""
        self._owner.figures.bytes_total += nbytes
        if self._phase is Phase.DIRECT or self._phase is Phase.DRAIN:
            self._deadline = self._loop.time() + self._owner.timeouts.read_s
            self._take(nbytes)
        elif self._phase is Phase.IDLE:
            self.close()  # bytes that nobody asked for: whatever they are, nothing after them can be trusted
        elif self._phase is not Phase.CLOSED:
            self._feed(nbytes)

    def eof_received(self) -> bool:
        """The store has finished sending; the loop closes the connection and calls connection_lost."""
        if self._phase is Phase.PARSED and self._ends_with_connection:
            self._complete()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Closed by the store, by the network, or by us."""
        self._owner.is_lost(self)
        if self._phase is Phase.CLOSED:
            return
        exchange, phase = self._exchange, self._phase
        was_unanswered = phase is Phase.HEAD and self._head_bytes == 0
        progress = f"after {self._filled} of {self._due} bytes"
        self.close()
        if exchange is None:
            return
        if was_unanswered and self._served > 0 and self._owner.retry(exchange):
            return
        exchange.is_broken = True
        why = f" ({error})" if error is not None else ""
        if phase is Phase.HEAD:
            exchange.end(
                error=OriginUnavailable(f"{exchange.what}: the store closed the connection unanswered{why}")
            )
        elif error is None:
            exchange.end(error=OriginInvalid(f"{exchange.what}: the store ended the body {progress}"))
        else:
            exchange.end(error=OriginUnavailable(f"{exchange.what}: the connection broke {progress}{why}"))

    # ------------------------------------------------------------ head and parsed bodies

    def _feed(self, nbytes: int) -> None:
        if self._phase is Phase.HEAD:
            self._head_bytes += nbytes
        else:
            self._deadline = self._loop.time() + self._owner.timeouts.read_s
        try:
            self._notes.feed(self._buffer[:nbytes])
        except ValueError as error:
            self._fail_invalid(f"does not speak HTTP/1.1 ({error})")
        else:
            self._digest()

    def _digest(self) -> None:
        """Acts on the notes of one read."""
        notes = self._notes
        if self._phase is Phase.HEAD:
            if not notes.head_done:
                if self._head_bytes > HEAD_BYTES_MAX or notes.interims > INTERIM_ANSWERS_MAX:
                    self._fail_invalid(f"sends a head of more than {HEAD_BYTES_MAX} bytes")
                return
            self._begin_body(notes)
        pieces, notes.pieces = notes.pieces, []
        for piece in pieces:
            if self._notes is notes:  # else the answer ended, and another has begun
                self._store(piece)
        if self._phase is Phase.PARSED and self._notes is notes and notes.message_done:
            self._complete()

    def _begin_body(self, notes: AnswerNotes) -> None:
        exchange = self._exchange
        head = AnswerHead(notes.status, notes.headers)
        length = head.content_length
        self._filled = 0
        self._owner.answered(head.status)
        if exchange is None:  # cancelled meanwhile
            self._begin_drain(length)
            return
        target: memoryview | None = None
        refusal: CashyError | None = None
        try:
            target = exchange.head_arrived(head)
        except CashyError as error:
            refusal = error
        if self._exchange is not exchange:  # it was cancelled from within
            if not self.is_closed:
                self._begin_drain(length)
            return
        if refusal is not None:
            self._refuse(exchange, length, refusal)
            return
        if not exchange.has_body or notes.status in (204, 304):
            notes.has_surplus = notes.has_surplus or bool(notes.pieces)
            notes.pieces = []
            self._complete()
            return
        self._ends_with_connection = length is None and "transfer-encoding" not in notes.headers
        self._target = target
        self._due = len(target) if target is not None else length or 0
        self._arm(self._owner.timeouts.read_s)
        self._enter_body(exchange, length)

    def _enter_body(self, exchange: Exchange, length: int | None) -> None:
        if self._target is None or length is None:
            self._phase = Phase.PARSED
        elif length != self._due:
            self._fail(InternalError(f"{exchange.what}: a buffer of {self._due} bytes for {length}"))
        elif length == 0:
            self._complete()
        else:
            self._phase = Phase.DIRECT

    def _refuse(self, exchange: Exchange, length: int | None, error: CashyError) -> None:
        """The exchange did not want this answer; the connection is kept if little of it is left."""
        self._exchange = None
        self._begin_drain(length)
        exchange.end(error=error)

    def _begin_drain(self, length: int | None) -> None:
        if length is None or length > DRAIN_BYTES_MAX or not self._notes.keep_alive:
            self.close()
        elif length == 0:
            self._become_free()
        else:
            self._due = length
            self._phase = Phase.DRAIN
            self._arm(self._owner.timeouts.read_s)

    def _store(self, piece: bytes) -> None:
        """Takes a piece of the body that came through the parser, in whatever phase that left us."""
        if self._phase is Phase.DRAIN:
            self._take(len(piece))
        elif self._phase is Phase.DIRECT or (self._phase is Phase.PARSED and self._target is not None):
            assert self._target is not None
            end = self._filled + len(piece)
            if end > self._due:
                self._fail_invalid(f"sends more than the {self._due} bytes it announced")
                return
            self._target[self._filled : end] = piece
            self._take(len(piece))
        elif self._phase is Phase.PARSED:
            self._collect(piece)

    def _collect(self, piece: bytes) -> None:
        self._collected += piece
        limit = self._exchange.text_bytes_max if self._exchange is not None else ERROR_BODY_BYTES_MAX
        if len(self._collected) > limit:
            del self._collected[limit:]
            self._notes.keep_alive = False
            self._complete()

    # ------------------------------------------------------------ progress and the end

    def _take(self, count: int) -> None:
        """So many further bytes of the body are where they belong."""
        self._filled += count
        if self._phase is Phase.PARSED:
            if self._exchange is not None and self._filled < self._due:
                self._exchange.received(self._filled)
        elif self._filled >= self._due:
            self._complete()
        elif self._exchange is not None:
            self._exchange.received(self._filled)

    def _complete(self) -> None:
        """The answer is complete: frees the connection, then tells the exchange."""
        exchange, self._exchange = self._exchange, None
        is_short = self._target is not None and self._filled != self._due
        body = bytes(self._collected)
        progress = f"{self._filled} of {self._due} bytes"
        self._become_free()
        if exchange is None:
            return
        if is_short:
            exchange.end(error=OriginInvalid(f"{exchange.what}: the store ended the body after {progress}"))
        else:
            exchange.end(body)

    def _become_free(self) -> None:
        self._target = None
        self._notes.stop()
        if not self._notes.keep_alive or self._notes.has_surplus:
            self.close()
            return
        self._phase = Phase.IDLE
        self._served += 1
        self._arm(IDLE_S)
        self._owner.is_free(self)

    def _fail_invalid(self, text: str) -> None:
        what = self._exchange.what if self._exchange is not None else ""
        self._fail(OriginInvalid(f"{what}: the store {text}"))

    def _fail(self, error: CashyError) -> None:
        exchange = self._exchange
        self.close()
        if exchange is not None:
            exchange.end(error=error)

    # ------------------------------------------------------------ time

    def _arm(self, timeout_s: float) -> None:
        """Moves the deadline. The timer itself is only moved when it would fire too late: most deadlines are
        moved on in time.
        """
        self._deadline = self._loop.time() + timeout_s
        if self._timer is not None:
            if self._timer.when() <= self._deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._ring)
            return
        if self._exchange is None:
            self.close()
            return
        self._owner.timed_out()
        limits = self._owner.timeouts
        if self._phase is Phase.HEAD:
            text = f"no answer within {limits.head_s:g} s"
        else:
            text = f"no further bytes within {limits.read_s:g} s, after {self._filled} of {self._due}"
        self._exchange.is_broken = True
        self._fail(OriginTimeout(f"{self._exchange.what}: {text}"))
