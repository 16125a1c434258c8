"""What is asked of another host: reads of blocks, and questions with one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cashy.core.peer_frames import Kind, PeerProtocolError
from cashy.core.peer_wire import Frame
from cashy.errors import CashyError, VersionChanged
from cashy.origin.base import ObjectMeta
from cashy.peer.link import Request
from cashy.peer.messages import parse_block, parse_error, read_request_payload
from cashy.peer.service import PeerRead

__all__ = ["Question", "Reading"]


class Reading(Request):
    """A :class:`PeerRead` under way; ``over`` is called once with its outcome, before the read's own ``on_done``."""

    __slots__ = ("_has_begun", "_name", "_over", "read")

    kind = Kind.READ

    def __init__(
        self, read: PeerRead, name: str, now: float, over: Callable[[CashyError | None], None]
    ) -> None:
        super().__init__(now, read.deadline_s, read.silence_s)
        self.read = read
        self._name = name
        self._over = over
        self._has_begun = False

    def payload(self, left_s: float) -> bytes:
        """READ."""
        return read_request_payload(self.read, left_s)

    def answered(self, frame: Frame) -> None:
        """BLOCK or ERROR."""
        if frame.kind is Kind.ERROR:
            self.fail(parse_error(frame.payload, self._name))
            return
        meta, length, fresh_for_s, hot = parse_block(frame.payload)
        self._check_length(meta, length)
        self.read.fresh_for_s, self.read.hot = fresh_for_s, hot
        try:
            self._check_version(meta)
            buffer = self.read.sink.begin(meta, length)
        except CashyError as error:
            self._refuse_answer(length, error)
            return
        self._has_begun = True
        assert self.link is not None
        if self.is_over:  # given up from inside begin
            self.link.begin(self, length, None)
            self._detach()
            return
        self.link.begin(self, length, buffer)
        if not length:
            self._finish()

    def _check_length(self, meta: ObjectMeta, length: int) -> None:
        due = min(self.read.length, max(0, meta.size_bytes - self.read.offset))
        if length != due:
            raise PeerProtocolError(
                f"{length} bytes at {self.read.offset} of an object of {meta.size_bytes} are offered, {due} were due"
            )

    def _check_version(self, meta: ObjectMeta) -> None:
        expected = self.read.expected_version
        if expected is not None and meta.version != expected:
            raise VersionChanged(f"host {self._name!r} has version {meta.version}, {expected} was asked for")

    def _refuse_answer(self, length: int, error: CashyError) -> None:
        assert self.link is not None
        was_over = self.is_over
        self.link.begin(self, length, None)
        self.link.give_up(self)
        if not was_over:
            self.is_over = True
            self.failed(error)

    def grown(self) -> None:
        """DATA has come, and was verified."""
        incoming = self.incoming
        assert incoming is not None
        self.read.sink.advanced(incoming.received, incoming.crc)
        if incoming.is_over and not self.is_over:
            self._finish()

    def _finish(self) -> None:
        self.is_over = True
        self._detach()
        self._over(None)
        self.read.on_done(self.read, None)

    def failed(self, error: CashyError) -> None:
        """It did not come, or not all of it."""
        self._detach()
        self._over(error)
        self.read.on_done(self.read, error)

    def dropped(self) -> None:
        """Given up by the reader, and off its connection: nothing is called but ``detached``."""
        self.is_over = True
        self._detach()

    def _detach(self) -> None:
        if self._has_begun:
            self._has_begun = False
            self.read.sink.detached()


class Question(Request):
    """HEAD, STATUS, CHANGED or LEASE: one answer, whose payload becomes ``answer``'s result."""

    __slots__ = ("_make_payload", "_name", "answer", "kind")

    def __init__(
        self, kind: Kind, make_payload: Callable[[float], bytes], name: str, now: float, deadline_s: float
    ) -> None:
        super().__init__(now, deadline_s)
        self.kind = kind
        self._make_payload = make_payload
        self._name = name
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def payload(self, left_s: float) -> bytes:
        """As the kind has it."""
        return self._make_payload(left_s)

    def answered(self, frame: Frame) -> None:
        """The answer, or ERROR."""
        if frame.kind is Kind.ERROR:
            self.fail(parse_error(frame.payload, self._name))
        else:
            self.is_over = True
            if not self.answer.done():
                self.answer.set_result(frame.payload)

    def failed(self, error: CashyError) -> None:
        """There is none."""
        if not self.answer.done():
            self.answer.set_exception(error)
