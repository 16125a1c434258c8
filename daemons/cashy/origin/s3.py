"""An S3 store as an origin: ranged GETs, each received straight into the reader's buffer.

*Law.* Here a read becomes one exchange (sometimes two) with the store, and an answer becomes a read's
outcome; connections, signing and the meaning of answers are the neighbours' (:mod:`~cashy.origin.s3_pool`,
:mod:`~cashy.origin.s3_sign`, :mod:`~cashy.origin.s3_answer`). Each read asks for exactly its range, with
If-Match once the version is known, and with ``accept-encoding: identity`` so that nobody on the way repacks
it. Nothing blocks: a refresh of credentials runs in a thread, and reads that cannot be signed meanwhile wait
for it. Retries are the caller's, except the one after a stale kept-alive connection, which is nobody's error.

A store answers 416 to any range of an empty object, and to one beyond the end; the size is then asked for by
a second request (the whole object when it must be empty, else HEAD), so both come out as reads of no bytes
with the right metadata.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import TypeAlias

from cashy.errors import (
    CashyError,
    InternalError,
    NoSuchBucket,
    NoSuchObject,
    OriginInvalid,
    SlowDown,
    VersionChanged,
)
from cashy.origin.base import BlockRead, ObjectMeta, Origin
from cashy.origin.credentials import Credentials, CredentialSource
from cashy.origin.s3_answer import AnswerHead, Asked, accept_read, error_of, meta_of
from cashy.origin.s3_http import Exchange
from cashy.origin.s3_pool import PoolLimits, StorePool
from cashy.origin.s3_sign import object_path, parse_endpoint, request_bytes

__all__ = ["S3Origin"]

USER_AGENT = "aviary-cashy"

_TellHead: TypeAlias = Callable[[AnswerHead | None, CashyError | None], None]


class S3Origin(Origin):
    """The buckets of one S3 endpoint, addressed path-style. ``credentials``: botocore's, or None to send
    unsigned requests.

    Raises ConfigError for a malformed ``endpoint_url``. ``ssl_context`` is for https endpoints with a
    certificate of their own.
    """

    def __init__(
        self,
        name: str,
        endpoint_url: str,
        *,
        region: str = "us-east-1",
        credentials: Credentials | None = None,
        connections_max: int = 32,
        queue_max: int = 1024,
        connect_timeout_s: float = 5.0,
        head_timeout_s: float = 10.0,
        read_timeout_s: float = 15.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self._region = region
        self._endpoint = parse_endpoint(endpoint_url)
        if self._endpoint.is_tls and ssl_context is None:
            ssl_context = ssl.create_default_context()
        limits = PoolLimits(connections_max, queue_max, connect_timeout_s, head_timeout_s, read_timeout_s)
        self._pool = StorePool(name, self._endpoint, limits, ssl_context if self._endpoint.is_tls else None)
        self._keys = CredentialSource(credentials)
        self._reads_total = 0
        self._heads_total = 0
        self._cancels_total = 0

    # ------------------------------------------------------------ the interface

    def begin_read_block(self, read: BlockRead) -> None:
        """Sends or queues a ranged GET; see :meth:`Origin.begin_read_block`."""
        self._reads_total += 1
        call = _ReadCall(self, read)
        read.state = call
        try:
            if read.offset < 0 or read.length <= 0:
                raise InternalError(f"{call.what}: a range of {read.length} bytes at {read.offset} was asked")
            path = object_path(self._endpoint, read.bucket, read.key)
            self._submit(call.use(_GetExchange(call, path, is_ranged=True)))
        except CashyError as error:
            asyncio.get_running_loop().call_soon(call.finish, error)

    def cancel_read_block(self, read: BlockRead) -> None:
        """Gives the read up; its buffer is detached before this returns."""
        call = read.state
        if isinstance(call, _ReadCall) and not call.is_over:
            self._cancels_total += 1
            call.is_over = True
            read.state = None
            if call.exchange is not None:
                self._pool.cancel(call.exchange)
                call.exchange = None
            call.detach()

    async def head(self, bucket: str, key: str) -> ObjectMeta:
        """HEAD of the object; a second one of the bucket if it is missing, to say which of the two is."""
        self._heads_total += 1
        what = f"{self.name}: {bucket}/{key}"
        answer = await self._ask_head(object_path(self._endpoint, bucket, key), what)
        if answer.status == 200:
            return _head_meta(answer, what)
        error = error_of(answer, b"", what)
        if isinstance(error, NoSuchObject):
            about_bucket = await self._ask_head(object_path(self._endpoint, bucket, None), what)
            if about_bucket.status == 404:
                raise NoSuchBucket(f"{what}: the store has no bucket {bucket!r}")
        raise error

    async def close(self) -> None:
        """Closes all connections; reads under way end with OriginUnavailable."""
        await self._keys.close()
        await self._pool.close()

    def counters(self) -> dict[str, int]:
        """Figures of reads and of the connection pool."""
        return {
            "reads_total": self._reads_total,
            "heads_total": self._heads_total,
            "cancels_total": self._cancels_total,
            "credential_refreshes_total": self._keys.refreshes_total,
            **self._pool.counters(),
        }

    # ------------------------------------------------------------ for the exchanges

    def request(self, method: str, path: str, headers: dict[str, str]) -> bytes:
        """A request's bytes, signed with the credentials of this moment."""
        fixed = {"accept-encoding": "identity", "user-agent": USER_AGENT}
        return request_bytes(
            self._endpoint, method, path, fixed | headers,
            region=self._region, secrets=self._keys.secrets, epoch_s=time.time(),
        )  # fmt: skip

    def look_beyond(self, call: _ReadCall) -> None:
        """Asks for the object's size and version after a 416."""
        path = object_path(self._endpoint, call.read.bucket, call.read.key)
        if call.read.offset == 0:
            self._submit(call.use(_GetExchange(call, path, is_ranged=False)))
        else:
            self._submit(call.use(_HeadExchange(self, path, call.what, call.found_end)))

    def _submit(self, exchange: Exchange) -> None:
        """To the pool, or to wait for credentials first."""
        if self._keys.is_ready():
            self._pool.submit(exchange)
            return
        if self._keys.waiting >= self._pool.limits.queue_max:
            raise SlowDown(f"{self.name}: too many requests wait for credentials; try again later")
        self._keys.when_ready(lambda error: self._go_on(exchange, error))

    def _go_on(self, exchange: Exchange, error: CashyError | None) -> None:
        if exchange.is_over:
            return
        if error is None:
            self._pool.submit(exchange)
        else:
            exchange.end(error=type(error)(f"{exchange.what}: {error.message}"))

    async def _ask_head(self, path: str, what: str) -> AnswerHead:
        answer: asyncio.Future[AnswerHead] = asyncio.get_running_loop().create_future()

        def settle(head: AnswerHead | None, error: CashyError | None) -> None:
            if error is not None:
                answer.set_exception(error)
            elif head is not None:
                answer.set_result(head)

        exchange = _HeadExchange(self, path, what, settle)
        self._submit(exchange)
        try:
            return await answer
        finally:
            self._pool.cancel(exchange)


def _head_meta(answer: AnswerHead, what: str) -> ObjectMeta:
    """The metadata of a good answer to HEAD; raises OriginInvalid if it tells no size."""
    if answer.content_length is None:
        raise OriginInvalid(f"{what}: the store does not tell the object's size")
    return meta_of(answer, answer.content_length, what)


class _ReadCall:
    """A read under way: its one outcome, whatever exchanges it takes."""

    __slots__ = ("began", "exchange", "is_over", "length", "origin", "read", "what")

    def __init__(self, origin: S3Origin, read: BlockRead) -> None:
        self.origin = origin
        self.read = read
        self.exchange: Exchange | None = None
        self.is_over = False
        self.began = False
        self.length = 0
        self.what = f"{origin.name}: {read.bucket}/{read.key}"

    def use(self, exchange: Exchange) -> Exchange:
        """Makes this the exchange that a cancel would have to stop."""
        self.exchange = exchange
        return exchange

    def begin(self, meta: ObjectMeta, length: int) -> memoryview:
        """Gets the reader's buffer; raises a CashyError."""
        try:
            buffer = self.read.sink.begin(meta, length)
        except CashyError:
            raise
        except Exception as error:
            raise InternalError(f"{self.what}: no buffer: {error!r}") from error
        self.began = True
        self.length = length
        if self.is_over:  # cancelled from inside begin
            self.detach()
            raise InternalError(f"{self.what}: cancelled")
        return buffer

    def detach(self) -> None:
        """Tells the sink, if it gave a buffer, that nobody writes into it any more."""
        if self.began:
            self.began = False
            self.read.sink.detached()

    def finish(self, error: CashyError | None) -> None:
        """The outcome, once."""
        if self.is_over:
            return
        self.is_over = True
        self.exchange = None
        self.read.state = None
        if error is None and self.length:
            self.read.sink.advanced(self.length)
        self.detach()
        self.read.on_done(self.read, error)

    def found_end(self, head: AnswerHead | None, error: CashyError | None) -> None:
        """The answer to the HEAD that followed a 416: the read lies beyond the end, if the object is still
        the same.
        """
        try:
            if error is not None or head is None:
                raise error or InternalError(f"{self.what}: an answer without a head")
            if head.status != 200:
                raise error_of(head, b"", self.what)
            meta = _head_meta(head, self.what)
            if self.read.expected_version not in (None, meta.version) or meta.size_bytes > self.read.offset:
                raise VersionChanged(f"{self.what}: replaced while its end was looked for; read again")
            self.begin(meta, 0)
        except CashyError as failure:
            self.finish(failure)
        else:
            self.finish(None)


class _GetExchange(Exchange):
    """GET of a read's range; not ranged: of the whole object, which is expected to be empty."""

    __slots__ = ("_call", "_head", "_is_ranged", "_path", "body_bytes_max", "what")

    def __init__(self, call: _ReadCall, path: str, *, is_ranged: bool) -> None:
        super().__init__()
        self._call = call
        self._path = path
        self._is_ranged = is_ranged
        self._head: AnswerHead | None = None
        self.body_bytes_max = call.read.length
        self.what = call.what

    def request(self) -> bytes:
        read = self._call.read
        headers: dict[str, str] = {}
        if self._is_ranged:
            headers["range"] = f"bytes={read.offset}-{read.offset + read.length - 1}"
        if read.expected_version is not None:
            headers["if-match"] = read.expected_version
        return self._call.origin.request("GET", self._path, headers)

    def head_arrived(self, head: AnswerHead) -> memoryview | None:
        if head.status not in (200, 206):
            self._head = head
            return None
        read = self._call.read
        if not self._is_ranged and (head.content_length or 0) > read.length:
            raise VersionChanged(f"{self.what}: was empty a moment ago and is no more; read again")
        meta, length = accept_read(head, Asked(self.what, read.offset, read.length, read.expected_version))
        return self._call.begin(meta, length)

    def received(self, watermark: int) -> None:
        self._call.read.sink.advanced(watermark)

    def ended(self, body: bytes, error: CashyError | None) -> None:
        call, head = self._call, self._head
        if error is not None or head is None:
            call.finish(error)
        elif head.status == 416 and self._is_ranged:
            try:
                call.origin.look_beyond(call)
            except CashyError as failure:
                call.finish(failure)
        else:
            call.finish(error_of(head, body, self.what))


class _HeadExchange(Exchange):
    """HEAD of an object or bucket; whatever the status, ``tell`` gets the head."""

    __slots__ = ("_head", "_origin", "_path", "_tell", "what")
    has_body = False

    def __init__(self, origin: S3Origin, path: str, what: str, tell: _TellHead) -> None:
        super().__init__()
        self._origin = origin
        self._path = path
        self._tell = tell
        self._head: AnswerHead | None = None
        self.what = what

    def request(self) -> bytes:
        return self._origin.request("HEAD", self._path, {"x-amz-checksum-mode": "ENABLED"})

    def head_arrived(self, head: AnswerHead) -> memoryview | None:
        self._head = head
        return None

    def received(self, watermark: int) -> None:
        raise AssertionError("an answer to HEAD has no body")

    def ended(self, body: bytes, error: CashyError | None) -> None:
        self._tell(self._head, error)
