"""Answers to reads, on their way out: what may be sent, what was, and until when the block's memory is needed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Protocol

from cashy.core.hot_blocks import NOT_HOT
from cashy.core.peer_frames import Kind, checksum, full_frame_end
from cashy.errors import CashyError
from cashy.origin.base import ObjectMeta
from cashy.peer.errors import PeerElsewhere
from cashy.peer.frame_socket import FrameSocket
from cashy.peer.limits import CHECKSUMS_REMEMBERED_MAX, DEADLINE_GRACE_S, SIGNS_PER_SILENCE
from cashy.peer.messages import block_payload, error_payload
from cashy.peer.service import ReadRequest

__all__ = ["ChecksumMemory", "Reply", "ReplyOwner"]


class ChecksumMemory:
    """Running checksums at the ends of full frames, of ranges that were sent or came in before; the longest unused are forgotten.

    A block is sent to many hosts: checksumming it each time cost a third of sending it [measured]. Those of a block that this host reads from the
    origin are known from then, so that what is damaged in memory afterwards is noticed by whoever it is sent to.
    """

    def __init__(self, ranges_max: int = CHECKSUMS_REMEMBERED_MAX) -> None:
        self._ranges_max = ranges_max
        self._known: OrderedDict[Hashable, dict[int, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def of(self, name: Hashable) -> dict[int, int]:
        """The checksums of the range with this name by where they end, as far as they are known: whoever computes another one adds it."""
        sums = self._known.get(name)
        if sums is None:
            sums = self._known[name] = {}
            if len(self._known) > self._ranges_max:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(name)
        return sums


class ReplyOwner(Protocol):
    """The connection a reply belongs to."""

    socket: FrameSocket
    checksums: ChecksumMemory

    def reply_ended(self, reply: Reply, outcome: str) -> None:
        """Nothing more will be sent for it: it is "completed", has "failed", or was "cancelled"."""


class Reply:
    """Implements :class:`~cashy.peer.service.BlockReply`, and is the :class:`~cashy.peer.frame_socket.DataSource` of its frames."""

    __slots__ = (
        "_available", "_buffer", "_crc", "_cut_end", "_is_offered", "_length", "_owner", "_said", "_said_at", "_sent", "_silence_s", "_sums",
        "_when_gone", "asked_length", "deadline_at", "hot", "is_at_origin", "is_gone", "offset", "on_cancel", "request_id",
    )  # fmt: skip

    def __init__(self, owner: ReplyOwner, request_id: int, request: ReadRequest, now: float) -> None:
        self._owner = owner
        self.request_id = request_id
        self.offset = request.offset
        self.asked_length = request.length
        self.deadline_at = now + request.deadline_s + DEADLINE_GRACE_S
        self._silence_s = request.silence_s / SIGNS_PER_SILENCE
        self._said_at = now
        self._said = 0
        self.is_at_origin: Callable[[], bool] | None = None
        self.on_cancel: Callable[[], None] | None = None
        self.is_gone = False
        self.hot = NOT_HOT
        self._buffer: memoryview | None = None
        self._length = 0
        self._available = 0
        self._sent = 0
        self._cut_end = 0
        self._crc = 0
        self._is_offered = False
        self._sums: dict[int, int] | None = None
        self._when_gone: Callable[[], None] | None = None

    # ------------------------------------------------------------ the service's side

    def begin(
        self,
        meta: ObjectMeta,
        length: int,
        fresh_for_s: float,
        buffer: memoryview,
        available: int,
        when_gone: Callable[[], None],
        known_as: Hashable = None,
    ) -> None:
        """Starts the answer."""
        if (
            self._when_gone is not None
            or len(buffer) != length
            or not 0 <= available <= length <= self.asked_length
        ):
            raise ValueError(
                f"an answer of {length} bytes, {available} available, in a buffer of {len(buffer)}, to a read of {self.asked_length}"
            )
        if self.is_gone:
            asyncio.get_running_loop().call_soon(when_gone)
            return
        self._when_gone = when_gone
        try:
            payload = block_payload(meta, length, fresh_for_s, self.hot)
        except CashyError as error:
            self.fail(error)
            return
        self._owner.socket.send(Kind.BLOCK, self.request_id, payload)
        if not length:
            self._end("completed")
            self._release_soon()
            return
        self._buffer = buffer
        self._length = length
        if known_as is not None:
            self._sums = self._owner.checksums.of((known_as, self.offset, length))
        self.advance(available)

    def advance(self, available: int) -> None:
        """The first ``available`` bytes may be sent."""
        if self.is_gone:
            return
        if not self._available <= available <= self._length:
            raise ValueError(f"{available} bytes available after {self._available}, of {self._length}")
        self._available = available
        if available > self._sent and not self._is_offered:
            self._is_offered = True
            self._owner.socket.offer(self)

    def fail(self, error: CashyError) -> None:
        """Ends the answer."""
        if not self.is_gone:
            hot = error.hot if isinstance(error, PeerElsewhere) else NOT_HOT
            self._withdraw("failed", error_payload(error.code, error.message, hot))
            self._release_soon()

    # ------------------------------------------------------------ the connection's side

    def cancel(self, code: str, message: str) -> None:
        """Nobody wants the answer any more, or nobody is there; the service is told from inside."""
        if self.is_gone:
            return
        self._withdraw("cancelled", error_payload(code, message))
        when_gone, self._when_gone = self._when_gone, None
        if when_gone is not None:
            when_gone()
        on_cancel, self.on_cancel = self.on_cancel, None
        if on_cancel is not None:
            on_cancel()

    def is_sign_due(self, now: float) -> bool:
        """Whether the other host should be told to wait on: nothing has left for long enough, and this host is at the origin for it, or has bytes
        that wait behind others.
        """
        said = self._sent + (self._buffer is not None)
        if said != self._said:
            self._said, self._said_at = said, now
        elif now - self._said_at >= self._silence_s and self._is_worth_waiting_for():
            self._said_at = now
            return True
        return False

    def says_at_once(self, now: float) -> bool:
        """Whether the other host should be told now that this one is at the origin: it would ask somebody else soon who gives no sign."""
        if self.is_gone or self._when_gone is not None or not self._is_worth_waiting_for():
            return False
        self._said_at = now
        return True

    def _is_worth_waiting_for(self) -> bool:
        return self._available > self._sent or (self.is_at_origin is not None and self.is_at_origin())

    def cut(self) -> tuple[int, int, memoryview, int]:
        """The next frame: a short first one, then up to multiples of ``DATA_BYTES_MAX``, as far as the bytes are there."""
        assert self._buffer is not None
        start = self._sent
        full_end = full_frame_end(start)
        end = min(self._available, full_end)
        piece = self._buffer[start:end]
        sums = self._sums if end in (full_end, self._length) else None
        known = sums.get(end) if sums is not None else None
        self._crc = checksum(piece, self._crc) if known is None else known
        if sums is not None:
            sums[end] = self._crc
        self._cut_end = end
        return self.request_id, start, piece, self._crc

    def left(self) -> bool:
        """The frame that was cut last is with the kernel."""
        self._sent = self._cut_end
        if self._sent == self._length:
            self._is_offered = False
            self._end("completed")
            when_gone, self._when_gone = self._when_gone, None
            if when_gone is not None:
                when_gone()
            return False
        self._is_offered = self._available > self._sent
        return self._is_offered

    def _withdraw(self, outcome: str, error: bytes) -> None:
        socket = self._owner.socket
        is_leaving = self._buffer is not None and socket.withdraw(self)
        # Behind its last frame there is no request any more that ERROR could be about.
        if not (is_leaving and self._cut_end == self._length):
            socket.send(Kind.ERROR, self.request_id, error)
        self._end(outcome)

    def _end(self, outcome: str) -> None:
        self.is_gone = True
        self._buffer = None
        self._owner.reply_ended(self, outcome)

    def _release_soon(self) -> None:
        when_gone, self._when_gone = self._when_gone, None
        if when_gone is not None:
            asyncio.get_running_loop().call_soon(when_gone)
