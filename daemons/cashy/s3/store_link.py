"""One HTTP/1.1 connection to the store behind, for requests with bodies and answers of any size.

Law: bounded both ways, and honest about endings. What the store does not take pauses whoever writes, what is not sent on pauses the reading. An
answer ends only where its framing says so; a connection that is lost before that is an error, never a shorter answer. A link can be
used again only if its request was sent whole and its answer was read whole; in every other case it is aborted, which is also how a
request is taken back: a store forgets one whose body did not come to its end.

Answers are parsed by llhttp (httptools), as requests are: the packages that speak HTTP for clients (aiohttp, httpx) bring pools, cookies, decoding
and redirects that a proxy must switch off one by one, and h11, which would do, costs ten times the CPU.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

from cashy.errors import CashyError, OriginInvalid, OriginTimeout, OriginUnavailable
from cashy.origin.s3_notes import AnswerNotes
from cashy.s3.limits import (
    ANSWER_QUEUE_BYTES_MAX,
    STORE_HEAD_BYTES_MAX,
    STORE_INTERIMS_MAX,
    STORE_WRITE_BYTES_MAX,
)

__all__ = ["LinkOwner", "StoreLink"]

# A head is parsed in such steps, so that its limit can be kept.
_HEAD_STEP_BYTES = 8 << 10


class LinkOwner:
    """Who is told when a link is lost; does nothing by itself."""

    def link_lost(self, link: StoreLink) -> None:
        """Called once for each link that was connected."""


class StoreLink(asyncio.Protocol):
    """``begin`` a request, ``write`` it, read ``head`` and ``piece`` by piece; one request at a time."""

    transport: asyncio.Transport

    def __init__(self, owner: LinkOwner, name: str) -> None:
        self._owner = owner
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._notes: AnswerNotes | None = None
        self._error: CashyError | None = None
        self._is_head_request = False
        self._is_request_whole = True
        self._is_writing_paused = False
        self._is_reading_paused = False
        self._pieces: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._head_bytes = 0
        self._received = 0
        self._is_answer_whole = True
        self._is_connected = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        #: Requests begun on it.
        self.served = 0
        #: Loop time of its last return to the pool.
        self.idle_since = 0.0

    # ------------------------------------------------------------ the request

    def begin(self, *, is_head: bool) -> None:
        """A request follows; ``is_head``: its answer has no body."""
        self._notes = AnswerNotes()
        self._is_head_request = is_head
        self._is_request_whole = self._is_answer_whole = False
        self._head_bytes = self._received = 0
        self.served += 1

    def write(self, data: bytes) -> None:
        """Sends bytes of the request; :meth:`drained` bounds what waits."""
        if self._error is None:
            self.transport.write(data)

    async def drained(self, timeout_s: float) -> None:
        """Waits until the store takes more; raises OriginTimeout when it takes nothing for so long."""
        while self._is_writing_paused and self._error is None:
            unsent_bytes = self.transport.get_write_buffer_size()
            self._writer = self._loop.create_future()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._writer
            except TimeoutError:
                if self._is_writing_paused and self.transport.get_write_buffer_size() >= unsent_bytes:
                    raise OriginTimeout(
                        f"{self._name} took nothing of a request for {timeout_s:g} s"
                    ) from None
            finally:
                self._writer = None
        if self._error is not None:
            raise self._error

    def sent(self) -> None:
        """All of the request was written."""
        self._is_request_whole = True

    @property
    def is_request_whole(self) -> bool:
        """Whether all of the request was written."""
        return self._is_request_whole

    # ------------------------------------------------------------ the answer

    @property
    def is_unanswered(self) -> bool:
        """Not one byte of the answer has come."""
        return self._received == 0

    @property
    def is_reusable(self) -> bool:
        """Whether another request may follow."""
        notes = self._notes
        is_between = self._is_request_whole and self._is_answer_whole and not self._pieces
        return (
            self._error is None
            and is_between
            and (notes is None or (notes.keep_alive and not notes.has_surplus))
        )

    async def head(self, timeout_s: float | None) -> tuple[int, dict[str, str]]:
        """Waits for status and headers (names in lower case). Raises a CashyError."""
        notes = self._notes
        assert notes is not None
        try:
            async with asyncio.timeout(timeout_s):
                while not notes.head_done:
                    await self._more()
        except TimeoutError:
            raise OriginTimeout(f"{self._name} gave no answer within {timeout_s:g} s") from None
        return notes.status, notes.headers

    async def piece(self, timeout_s: float) -> bytes:
        """The next bytes of the body, empty at its end. Raises a CashyError if it does not come to its end."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self._pieces and not self._is_answer_whole:
                    await self._more()
        except TimeoutError:
            raise OriginTimeout(f"{self._name} sent nothing of an answer for {timeout_s:g} s") from None
        if not self._pieces:
            return b""
        piece = self._pieces.popleft()
        self._waiting_bytes -= len(piece)
        if self._is_reading_paused and self._waiting_bytes <= ANSWER_QUEUE_BYTES_MAX // 2:
            self._is_reading_paused = False
            self.transport.resume_reading()
        return piece

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def give_up(self) -> None:
        """Closes one that was never handed out, or not even connected."""
        self._error = self._error or OriginUnavailable(f"{self._name}: given up")
        if self._is_connected:
            self.transport.abort()

    def abort(self) -> None:
        """Closes at once; what the store has of a request is not complete."""
        self._fail(OriginUnavailable(f"{self._name}: given up"))

    # ------------------------------------------------------------ called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one, without saying so
        self._is_connected = True
        if self._error is not None:  # given up while it was being made
            self.transport.abort()
            return
        self.transport.set_write_buffer_limits(high=STORE_WRITE_BYTES_MAX)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        notes = self._notes
        if notes is None or self._is_answer_whole:  # unasked for
            self.abort()
            return
        self._received += len(data)
        view = memoryview(data)
        try:
            while view and not notes.head_done:
                self._head_bytes += min(len(view), _HEAD_STEP_BYTES)
                notes.feed(view[:_HEAD_STEP_BYTES])
                view = view[_HEAD_STEP_BYTES:]
                self._check_head(notes)
            if view:
                notes.feed(view)
        except ValueError as error:
            self._fail(OriginInvalid(f"{self._name} sends no HTTP answer: {error}"))
            return
        self._take_pieces(notes)

    def _check_head(self, notes: AnswerNotes) -> None:
        if self._head_bytes - _HEAD_STEP_BYTES > STORE_HEAD_BYTES_MAX and not notes.head_done:
            raise ValueError(f"its head is longer than {STORE_HEAD_BYTES_MAX} bytes")
        if notes.interims > STORE_INTERIMS_MAX:
            raise ValueError("too many interim answers")

    def _take_pieces(self, notes: AnswerNotes) -> None:
        if self._is_head_request:
            if notes.head_done:
                self._end_answer(notes)
        else:
            for piece in notes.pieces:
                self._pieces.append(piece)
                self._waiting_bytes += len(piece)
            notes.pieces.clear()
            if notes.message_done:
                self._end_answer(notes)
        if self._waiting_bytes > ANSWER_QUEUE_BYTES_MAX and not self._is_reading_paused:
            self._is_reading_paused = True
            self.transport.pause_reading()
        _wake(self._reader)

    def _end_answer(self, notes: AnswerNotes) -> None:
        self._is_answer_whole = True
        if self._is_head_request and notes.pieces:
            notes.has_surplus = True
        notes.stop()

    def eof_received(self) -> bool:  # noqa: D102
        notes = self._notes
        if notes is not None and notes.head_done and _ends_with_connection(notes):
            notes.keep_alive = False
            self._end_answer(notes)
        return False

    def pause_writing(self) -> None:  # noqa: D102
        self._is_writing_paused = True

    def resume_writing(self) -> None:  # noqa: D102
        self._is_writing_paused = False
        _wake(self._writer)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: D102
        self._fail(OriginUnavailable(f"{self._name} closed the connection before its answer was complete"))
        self._owner.link_lost(self)

    def _fail(self, error: CashyError) -> None:
        if self._error is None:
            self._error = error
            if self._notes is not None:
                self._notes.stop()
            self.transport.abort()
        _wake(self._reader)
        _wake(self._writer)


def _ends_with_connection(notes: AnswerNotes) -> bool:
    return "content-length" not in notes.headers and "transfer-encoding" not in notes.headers


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
