"""One question to a store, from its begin to its one outcome: whatever exchanges, regions and retries it takes.

*Law.* A call has a deadline, at which it ends wherever it is: waiting, connecting, pausing before a retry, receiving. Before it, three
kinds of answers are not yet the outcome: a redirect to another region, a refusal that may pass (``core/backoff.py``), and a connection that
broke or fell silent. A broken transfer goes on at the byte it had reached, with If-Match on the version it had; so the buffer is asked for once
and bytes that were announced stay. What cannot be reached (refused, no such host) is told at once: the caller has other hosts to ask.

A store answers 416 to any range of an empty object, and to one beyond the end; the size is then asked for by a second request (the whole object
when it must be empty, else HEAD), so both come out as reads of no bytes with the right metadata.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from cashy.core.backoff import RetryBudget, is_transient, retry_after_s, retry_delay_s
from cashy.core.s3_address import object_target
from cashy.core.s3_regions import REGION_HOPS_MAX, BucketPlace, BucketPlaces
from cashy.errors import CashyError, InternalError, OriginInvalid, OriginTimeout, VersionChanged
from cashy.origin.base import BlockRead, ObjectMeta
from cashy.origin.s3_answer import AnswerHead, Asked, accept_read, error_of, meta_of
from cashy.origin.s3_http import Exchange

__all__ = ["CallFigures", "CallOwner", "HeadCall", "ReadCall", "StoreCall"]


class CallFigures:
    """Totals of all calls to one store."""

    __slots__ = (
        "deadlines_total",
        "redirects_total",
        "resumed_total",
        "retries_refused_total",
        "retries_total",
    )

    def __init__(self) -> None:
        self.retries_total = self.retries_refused_total = self.resumed_total = 0
        self.redirects_total = self.deadlines_total = 0


class CallOwner(Protocol):
    """The origin, as its calls see it."""

    name: str
    places: BucketPlaces
    budget: RetryBudget
    figures: CallFigures
    block_timeout_s: float
    retries_max: int
    fraction: Callable[[], float]
    paused: set[StoreCall]
    """Calls that wait before a retry: nobody else knows of them."""

    def send(self, exchange: Exchange, place: BucketPlace) -> None:
        """To the pool, or to wait for credentials first; raises a CashyError."""
        ...

    def cancel_exchange(self, exchange: Exchange) -> None:
        """Gives it up: its buffer is free when this returns."""
        ...

    def request(self, method: str, path: str, headers: dict[str, str], place: BucketPlace) -> bytes:
        """A request's bytes, signed with the credentials of this moment."""
        ...


class StoreCall(ABC):
    """What reads and questions for metadata have in common. Raises InvalidName for a bad bucket or key."""

    __slots__ = (
        "_alarm", "_hops", "_loop", "_pause", "_retries", "bucket", "deadline_s", "exchange", "is_over", "key", "origin", "place", "what",
    )  # fmt: skip

    def __init__(self, origin: CallOwner, bucket: str, key: str | None, what: str) -> None:
        self.origin = origin
        self.bucket = bucket
        self.key = key
        self.what = what
        self.exchange: Exchange | None = None
        self.place: BucketPlace
        self.is_over = False
        self._retries = self._hops = 0
        self._loop = asyncio.get_running_loop()
        self.deadline_s = self._loop.time() + origin.block_timeout_s
        self._alarm: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None

    @abstractmethod
    def make_exchange(self, path: str) -> Exchange:
        """The request as it is to be sent now."""

    @abstractmethod
    def settle(self, error: CashyError | None) -> None:
        """The outcome; called once."""

    def start(self) -> None:
        """Sends the first request; raises a CashyError."""
        self._send()
        self._alarm = self._loop.call_at(self.deadline_s, self._expire)

    def go_on(self) -> None:
        """Sends a request, or ends with why it cannot be sent."""
        self._pause = None
        self.origin.paused.discard(self)
        try:
            self._send()
        except CashyError as error:
            self.finish(error)

    def _send(self) -> None:
        self.place = self.origin.places.of(self.bucket)
        try:
            path = object_target(self.place.address, self.key)
        except CashyError as error:
            raise type(error)(f"{self.what}: {error.message}") from None
        self.exchange = self.make_exchange(path)
        self.origin.send(self.exchange, self.place)

    # ------------------------------------------------------------ ends

    def give_up(self) -> None:
        """No outcome; the exchange's buffer is free when this returns."""
        self.is_over = True
        self.origin.paused.discard(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            self.origin.cancel_exchange(exchange)
        for timer in (self._alarm, self._pause):
            if timer is not None:
                timer.cancel()

    def finish(self, error: CashyError | None) -> None:
        """The outcome, once."""
        if self.is_over:
            return
        self.give_up()
        if error is not None and self._retries:
            error = type(error)(f"{error.message}; {self._retries} retries before")
        self.settle(error)

    def _expire(self) -> None:
        self.origin.figures.deadlines_total += 1
        text = f"not done within {self.origin.block_timeout_s:g} s"
        self.finish(OriginTimeout(f"{self.what}: {text}"))

    # ------------------------------------------------------------ answers that may not be the outcome

    def answered(self) -> None:
        """The store works: it may be sent more retries."""
        self.origin.budget.succeeded()

    def refused(self, head: AnswerHead, body: bytes) -> None:
        """An answer that is neither the bytes nor the metadata asked for."""
        if self._hops < REGION_HOPS_MAX and self.origin.places.moved(
            self.bucket, self.place, head.status, head.headers, body.decode("utf-8", "replace")
        ):
            self._hops += 1
            self.origin.figures.redirects_total += 1
            self.go_on()
            return
        error = error_of(head, body, self.what)
        if is_transient(head.status):
            self._try_again(error, retry_after_s(head.headers.get("retry-after", "")))
        else:
            self.answered()
            self.finish(error)

    def broke(self, error: CashyError) -> None:
        """The connection ended, or fell silent and was closed, before the answer was complete."""
        self._try_again(error, 0.0)

    def _try_again(self, error: CashyError, asked_s: float) -> None:
        origin, delay_s = self.origin, None
        if self._retries < origin.retries_max:
            delay_s = retry_delay_s(
                self._retries + 1,
                origin.fraction(),
                asked_s=asked_s,
                remaining_s=self.deadline_s - self._loop.time(),
            )
        if delay_s is None or not origin.budget.take():
            origin.figures.retries_refused_total += 1
            self.finish(error)
            return
        self._retries += 1
        origin.figures.retries_total += 1
        self.retried(error, delay_s)
        self.exchange = None
        origin.paused.add(self)
        self._pause = self._loop.call_later(delay_s, self.go_on)

    def retried(self, error: CashyError, delay_s: float) -> None:  # noqa: B027 - only reads have somebody to tell
        """It is begun anew after a pause."""


class HeadCall(StoreCall):
    """HEAD of an object, or of a bucket (``key`` None): :meth:`result` gives the head, whatever its status."""

    __slots__ = ("_answer", "_outcome")

    def __init__(self, origin: CallOwner, bucket: str, key: str | None, what: str) -> None:
        super().__init__(origin, bucket, key, what)
        self._outcome: asyncio.Future[None] = self._loop.create_future()
        self._answer: AnswerHead | None = None

    def make_exchange(self, path: str) -> Exchange:
        """A HEAD that asks for checksums too."""
        self._answer = None
        return _HeadExchange(self, path, self._tell)

    def settle(self, error: CashyError | None) -> None:
        """Wakes :meth:`result`."""
        if self._outcome.done():
            return
        if error is not None:
            self._outcome.set_exception(error)
        else:
            self._outcome.set_result(None)

    def _tell(self, head: AnswerHead) -> None:
        self._answer = head
        if head.status == 200:
            self.answered()
            self.finish(None)
        else:
            self.refused(head, b"")

    def finish(self, error: CashyError | None) -> None:
        """A final answer is not an error here: who asked reads its status."""
        is_final = self._answer is not None and not is_transient(self._answer.status)
        super().finish(None if is_final else error)

    async def result(self) -> AnswerHead:
        """Sends the question and waits for the answer's head. Raises a CashyError."""
        try:
            self.start()
            await self._outcome
        finally:
            self.give_up()
        assert self._answer is not None
        return self._answer


class _Asking(Enum):
    """What a read asks for next."""

    RANGE = 1
    WHOLE = 2  # after 416 to a range from the start: the object must be empty
    END = 3  # after 416 to another: HEAD, whether the range lies beyond the end


class ReadCall(StoreCall):
    """A read of a range into the reader's buffer."""

    __slots__ = ("_asking", "_began", "_buffer", "_done", "_length", "_version", "read")

    def __init__(self, origin: CallOwner, read: BlockRead, what: str) -> None:
        super().__init__(origin, read.bucket, read.key, what)
        self.read = read
        self._asking = _Asking.RANGE
        self._began = False
        self._buffer = memoryview(b"")
        self._length = read.length
        self._done = 0
        self._version = read.expected_version

    def make_exchange(self, path: str) -> Exchange:
        """GET of what is still missing, or of what says where the object ends."""
        if self._asking is _Asking.END:
            return _HeadExchange(self, path, self._found_end)
        read = self.read
        asked = Asked(self.what, read.offset + self._done, self._length - self._done, self._version)
        return _GetExchange(self, path, asked, is_ranged=self._asking is _Asking.RANGE)

    # ------------------------------------------------------------ the sink

    def begin(self, meta: ObjectMeta, length: int) -> memoryview:
        """Gets the part of the reader's buffer that is still due; raises a CashyError."""
        if self._began:
            if length != self._length - self._done:
                raise OriginInvalid(f"{self.what}: the store sends another length after a break")
            return self._buffer[self._done :]
        try:
            buffer = self.read.sink.begin(meta, length)
        except CashyError:
            raise
        except Exception as error:
            raise InternalError(f"{self.what}: no buffer: {error!r}") from error
        self._began = True
        self._buffer, self._length, self._version = buffer, length, meta.version
        if self.is_over:  # cancelled from inside begin
            self.detach()
            raise InternalError(f"{self.what}: cancelled")
        return buffer

    def received(self, watermark: int) -> None:
        """So many bytes of the buffer have arrived."""
        self._done = watermark
        self.read.sink.advanced(watermark)

    def detach(self) -> None:
        """Tells the sink, if it gave a buffer, that nobody writes into it any more."""
        if self._began:
            self._began = False
            self._buffer = memoryview(b"")
            self.read.sink.detached()

    def settle(self, error: CashyError | None) -> None:
        """Tells the reader."""
        self.read.state = None
        if error is None and self._length:
            self.read.sink.advanced(self._length)
        self.detach()
        self.read.on_done(self.read, error)

    # ------------------------------------------------------------ answers

    def retried(self, error: CashyError, delay_s: float) -> None:
        """Tells who wants to know."""
        if self.read.on_retry is not None:
            self.read.on_retry(error, delay_s)

    def arrived(self) -> None:
        """All bytes are in the buffer."""
        self.finish(None)

    def broke(self, error: CashyError) -> None:
        """Goes on where the connection broke."""
        if self._done:
            self.origin.figures.resumed_total += 1
        super().broke(error)

    def is_beyond(self) -> None:
        """416: asks for the object's size and version."""
        if self._began:
            self.finish(VersionChanged(f"{self.what}: became shorter while it was read; read again"))
            return
        self._asking = _Asking.WHOLE if self.read.offset == 0 else _Asking.END
        self.go_on()

    def _found_end(self, head: AnswerHead) -> None:
        """The answer to the HEAD that followed a 416: the read lies beyond the end, if the object is still the same."""
        if head.status != 200:
            self.refused(head, b"")
            return
        self.answered()
        try:
            if head.content_length is None:
                raise OriginInvalid(f"{self.what}: the store does not tell the object's size")
            meta = meta_of(head, head.content_length, self.what)
            if self._version not in (None, meta.version) or meta.size_bytes > self.read.offset:
                raise VersionChanged(f"{self.what}: replaced while its end was looked for; read again")
            self.begin(meta, 0)
        except CashyError as failure:
            self.finish(failure)
        else:
            self.finish(None)


class _GetExchange(Exchange):
    """GET of a range; not ranged: of the whole object, which is expected to be empty."""

    __slots__ = ("_asked", "_call", "_head", "_is_ranged", "_path", "body_bytes_max", "what")

    def __init__(self, call: ReadCall, path: str, asked: Asked, *, is_ranged: bool) -> None:
        super().__init__()
        self._call = call
        self._path = path
        self._asked = asked
        self._is_ranged = is_ranged
        self._head: AnswerHead | None = None
        self.body_bytes_max = asked.length
        self.what = call.what

    def request(self) -> bytes:
        asked, headers = self._asked, {}
        if self._is_ranged:
            headers["range"] = f"bytes={asked.offset}-{asked.offset + asked.length - 1}"
        if asked.expected_version is not None:
            headers["if-match"] = asked.expected_version
        return self._call.origin.request("GET", self._path, headers, self._call.place)

    def head_arrived(self, head: AnswerHead) -> memoryview | None:
        if head.status not in (200, 206):
            self._head = head
            return None
        self._call.answered()
        if not self._is_ranged and (head.content_length or 0) > self._asked.length:
            raise VersionChanged(f"{self.what}: was empty a moment ago and is no more; read again")
        meta, length = accept_read(head, self._asked)
        return self._call.begin(meta, length)

    def received(self, watermark: int) -> None:
        self._call.received(self._asked.offset - self._call.read.offset + watermark)

    def ended(self, body: bytes, error: CashyError | None) -> None:
        call, head = self._call, self._head
        if error is not None and self.is_broken:
            call.broke(error)
        elif error is not None:
            call.finish(error)
        elif head is None:
            call.arrived()
        elif head.status == 416 and self._is_ranged:
            call.answered()
            call.is_beyond()
        else:
            call.refused(head, body)


class _HeadExchange(Exchange):
    """HEAD of an object or bucket; whatever the status, ``tell`` gets the head."""

    __slots__ = ("_call", "_head", "_path", "_tell", "what")
    has_body = False

    def __init__(self, call: StoreCall, path: str, tell: Callable[[AnswerHead], None]) -> None:
        super().__init__()
        self._call = call
        self._path = path
        self._tell = tell
        self._head: AnswerHead | None = None
        self.what = call.what

    def request(self) -> bytes:
        # Without this header S3 leaves the checksums out.
        return self._call.origin.request(
            "HEAD", self._path, {"x-amz-checksum-mode": "ENABLED"}, self._call.place
        )

    def head_arrived(self, head: AnswerHead) -> memoryview | None:
        self._head = head
        return None

    def received(self, watermark: int) -> None:
        raise AssertionError("an answer to HEAD has no body")

    def ended(self, body: bytes, error: CashyError | None) -> None:
        if error is not None and self.is_broken:
            self._call.broke(error)
        elif error is not None or self._head is None:
            self._call.finish(error or InternalError(f"{self.what}: an answer without a head"))
        else:
            self._tell(self._head)
