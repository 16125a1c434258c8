"""An S3 store as an origin: ranged GETs, each received straight into the reader's buffer.

*Law.* Here a store is put together and asked: addresses, credentials and connections of one ``[[origin]]``. How a question comes to its outcome
is :mod:`~cashy.origin.s3_calls`'s business; connections, signing and the meaning of answers are the neighbours' (:mod:`~cashy.origin.s3_pool`,
:mod:`~cashy.origin.s3_sign`, :mod:`~cashy.origin.s3_answer`). Each read asks for exactly its range, with
If-Match once the version is known, and with ``accept-encoding: identity`` so that nobody on the way repacks
it. Nothing blocks: a refresh of credentials runs in a thread, and reads that cannot be signed meanwhile wait
for it.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable

from cashy.core.backoff import RetryBudget
from cashy.core.s3_address import Addressing, parse_endpoint
from cashy.core.s3_list_answer import list_query
from cashy.core.s3_regions import BucketPlace, BucketPlaces
from cashy.errors import (
    CashyError,
    InternalError,
    NoSuchBucket,
    NoSuchObject,
    OriginInvalid,
    OriginUnavailable,
    SlowDown,
)
from cashy.origin.base import BlockRead, Listed, ListedPage, ObjectMeta, Origin
from cashy.origin.credentials import Credentials, CredentialSource
from cashy.origin.s3_answer import AnswerHead, error_of, meta_of
from cashy.origin.s3_calls import CallFigures, HeadCall, ReadCall, StoreCall
from cashy.origin.s3_hosts import StoreHosts
from cashy.origin.s3_http import Exchange
from cashy.origin.s3_list_call import ListCall
from cashy.origin.s3_pool import PoolLimits
from cashy.origin.s3_sign import request_bytes

__all__ = ["S3Origin"]

USER_AGENT = "aviary-cashy"


class S3Origin(Origin):
    """The buckets of one S3 endpoint. ``credentials``: botocore's, or None to send unsigned requests. Limits of
    connections and waiting requests are per host; times in seconds, ``block_timeout_s`` of a whole read with its
    retries. ``fraction`` gives random numbers in [0, 1).

    Raises ConfigError for a malformed ``endpoint_url``. ``ssl_context`` is for https endpoints with a
    certificate of their own.
    """

    def __init__(
        self,
        name: str,
        endpoint_url: str,
        *,
        region: str = "us-east-1",
        addressing: Addressing = "path",
        credentials: Credentials | None = None,
        connections_max: int = 32,
        queue_max: int = 1024,
        connect_timeout_s: float = 5.0,
        head_timeout_s: float = 10.0,
        read_timeout_s: float = 15.0,
        block_timeout_s: float = 60.0,
        retries_max: int = 4,
        fraction: Callable[[], float] = random.random,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        endpoint = parse_endpoint(endpoint_url)
        if endpoint.is_tls and ssl_context is None:
            ssl_context = ssl.create_default_context()
        limits = PoolLimits(connections_max, queue_max, connect_timeout_s, head_timeout_s, read_timeout_s)
        self._hosts = StoreHosts(name, limits, ssl_context if endpoint.is_tls else None)
        self._keys = CredentialSource(credentials)
        self.places = BucketPlaces(endpoint, addressing, region)
        self.budget = RetryBudget()
        self.figures = CallFigures()
        self.block_timeout_s = block_timeout_s
        self.retries_max = retries_max
        self.fraction = fraction
        self.paused: set[StoreCall] = set()
        self._reads_total = 0
        self._heads_total = 0
        self._lists_total = 0
        self._cancels_total = 0

    # ------------------------------------------------------------ the interface

    def begin_read_block(self, read: BlockRead) -> None:
        """Sends or queues a ranged GET; see :meth:`Origin.begin_read_block`."""
        self._reads_total += 1
        what = self._what(read.bucket, read.key)
        call = read.state = ReadCall(self, read, what)
        try:
            if read.offset < 0 or read.length <= 0:
                raise InternalError(f"{what}: a range of {read.length} bytes at {read.offset} was asked")
            call.start()
        except CashyError as error:
            asyncio.get_running_loop().call_soon(call.finish, error)

    def cancel_read_block(self, read: BlockRead) -> None:
        """Gives the read up; its buffer is detached before this returns."""
        call = read.state
        if isinstance(call, ReadCall) and not call.is_over:
            self._cancels_total += 1
            read.state = None
            call.give_up()
            call.detach()

    async def head(self, bucket: str, key: str) -> ObjectMeta:
        """HEAD of the object; a second one of the bucket if it is missing, to say which of the two is."""
        self._heads_total += 1
        what = self._what(bucket, key)
        answer = await HeadCall(self, bucket, key, what).result()
        if answer.status == 200:
            return _head_meta(answer, what)
        error = error_of(answer, b"", what)
        if isinstance(error, NoSuchObject):
            about_bucket = await HeadCall(self, bucket, None, what).result()
            if about_bucket.status == 404:
                raise NoSuchBucket(f"{what}: the store has no bucket {bucket!r}")
        raise error

    async def list_page(
        self, bucket: str, prefix: str, *, folds: bool, token: str, entries_max: int
    ) -> ListedPage:
        """ListObjectsV2; see :meth:`Origin.list_page`."""
        self._lists_total += 1
        query = list_query(prefix, folds=folds, token=token, keys_max=entries_max)
        what = f"{self.name}: listing of {bucket}/{prefix}"
        try:
            answer = await ListCall(self, bucket, query, what, keys_max=entries_max).result()
        except NoSuchObject:  # 404 without S3's own code
            raise NoSuchBucket(f"{what}: the store has no bucket {bucket!r}") from None
        return ListedPage(tuple(Listed(*key) for key in answer.keys), answer.token)

    async def close(self) -> None:
        """Closes all connections; reads under way end with OriginUnavailable."""
        await self._keys.close()
        await self._hosts.close()
        for call in tuple(self.paused):
            call.finish(OriginUnavailable(f"{call.what}: closed"))

    def counters(self) -> dict[str, int]:
        """Figures of reads and of the connection pools."""
        connections, calls = self._hosts.counters(), self.figures
        return {
            **connections,
            "reads_total": self._reads_total,
            "heads_total": self._heads_total,
            "lists_total": self._lists_total,
            "cancels_total": self._cancels_total,
            "retries_total": connections["retries_total"] + calls.retries_total,
            "retries_refused_total": calls.retries_refused_total,
            "reads_resumed_total": calls.resumed_total,
            "redirects_total": calls.redirects_total,
            "timeouts_total": connections["timeouts_total"] + calls.deadlines_total,
            "credential_refreshes_total": self._keys.refreshes_total,
            "credential_failures_total": self._keys.failures_total,
        }

    # ------------------------------------------------------------ for the calls

    def request(self, method: str, path: str, headers: dict[str, str], place: BucketPlace) -> bytes:
        """A request's bytes, signed with the credentials of this moment."""
        fixed = {"accept-encoding": "identity", "user-agent": USER_AGENT}
        return request_bytes(
            place.address.authority, method, path, fixed | headers,
            region=place.region, secrets=self._keys.secrets, epoch_s=time.time(),
        )  # fmt: skip

    def send(self, exchange: Exchange, place: BucketPlace) -> None:
        """To the pool, or to wait for credentials first."""
        if self._keys.is_ready():
            self._hosts.submit(place.address, exchange)
            return
        if self._keys.waiting >= self._hosts.limits.queue_max:
            raise SlowDown(f"{self.name}: too many requests wait for credentials; try again later")
        self._keys.when_ready(lambda error: self._go_on(exchange, place, error))

    def cancel_exchange(self, exchange: Exchange) -> None:
        """Gives it up: its buffer is free when this returns."""
        self._hosts.cancel(exchange)

    def _go_on(self, exchange: Exchange, place: BucketPlace, error: CashyError | None) -> None:
        if exchange.is_over:
            return
        if error is None:
            self._hosts.submit(place.address, exchange)
        else:
            exchange.end(error=type(error)(f"{exchange.what}: {error.message}"))

    def _what(self, bucket: str, key: str) -> str:
        return f"{self.name}: {bucket}/{key}"


def _head_meta(answer: AnswerHead, what: str) -> ObjectMeta:
    """The metadata of a good answer to HEAD; raises OriginInvalid if it tells no size."""
    if answer.content_length is None:
        raise OriginInvalid(f"{what}: the store does not tell the object's size")
    return meta_of(answer, answer.content_length, what)
