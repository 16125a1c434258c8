"""A stream for asyncio: as :mod:`toucan.client.watch`."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio

from toucan.client.aio.connection import Connection, Link
from toucan.client.connection import NotReached
from toucan.client.errors import ServerUnavailable
from toucan.client.failures import Failure, failure_of_error, is_final_for_stream
from toucan.client.resending import pause_s
from toucan.client.streams import Batch, Stream

__all__ = ["Watch"]

_Item = TypeVar("_Item")
_Batch = TypeVar("_Batch", bound=Batch[Any])


class Watch(Generic[_Batch, _Item]):
    """Iterate over it with ``async for`` for what is new, or over :meth:`batches` for all; as :class:`toucan.client.watch.Watch`."""

    def __init__(
        self,
        connection: Connection,
        stream: Stream[_Batch],
        *,
        timeout_s: float | None = None,
        patience_s: float | None = None,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._patience_s = patience_s
        self._news: deque[_Item] = deque()
        self._link: Link | None = None
        self._call: Any = None
        self._is_closed = False
        self._lost_at_s = time.monotonic()
        self._attempts = 0
        #: As those of :class:`toucan.client.watch.Watch`.
        self.is_connected = False
        self.is_stale = False
        self.last_heard_s = time.monotonic()
        self.trouble = ""

    def __aiter__(self) -> Watch[_Batch, _Item]:
        return self

    async def __anext__(self) -> _Item:
        while not self._news:
            batch = await self.next_batch()
            if batch is None:
                raise StopAsyncIteration
            self._news.extend(batch.news)
        return self._news.popleft()

    async def batches(self) -> AsyncIterator[_Batch]:
        """All messages, those too that bring nothing new."""
        while (batch := await self.next_batch()) is not None:
            yield batch

    async def next_batch(self) -> _Batch | None:
        """The next message; None: it is closed or its time is over."""
        while not self._is_over():
            try:
                if self._call is None:
                    await self._begin()
                response = await self._next_response()
            except NotReached as error:
                failure = Failure("UNAVAILABLE", str(error))
            except grpc.RpcError as error:
                failure = failure_of_error(error)
            except grpc.aio.UsageError:
                failure = Failure("CANCELLED", "the connection was closed")
            else:
                try:
                    if response is not grpc.aio.EOF:
                        return await self._heard(response)
                    failure = Failure("ABORTED", "the server ended the stream")
                except ServerUnavailable as error:
                    # The instrument table cannot be had; the message was not taken, so it comes again.
                    self._call.cancel()
                    failure = Failure("UNAVAILABLE", error.message)
            await self._ended(failure)
        self.close()
        return None

    async def _next_response(self) -> Any:
        wait_s = self._connection.stream_silence_s
        if self._deadline_s is not None:
            wait_s = min(wait_s, max(0.0, self._deadline_s - time.monotonic()))
        try:
            async with asyncio.timeout(wait_s):
                return await self._call.read()
        except TimeoutError:
            self._call.cancel()
            raise NotReached(f"silent for {self._connection.stream_silence_s:g} s") from None
        except asyncio.CancelledError:
            # Ours, or the channel's that another task has closed.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                self._call.cancel()
                raise
            raise NotReached("the connection was closed") from None

    async def _heard(self, response: Any) -> _Batch:
        batch = await self._connection.decoded(lambda table: self._stream.take(response, table.find))
        self.is_connected, self.is_stale = True, batch.is_stale
        self.last_heard_s, self.trouble, self._attempts = time.monotonic(), "", 0
        return batch

    async def _begin(self) -> None:
        self._link = await self._connection.link(self._connection.connect_timeout_s)
        method: Any = self._link.channel.unary_stream(
            self._stream.method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self._stream.response_type.FromString,
        )
        self._call = method(self._stream.request(), metadata=self._connection.access.metadata)

    async def _ended(self, failure: Failure) -> None:
        link, self._link, self._call = self._link, None, None
        if self._is_over():
            return
        if self.is_connected:
            self.is_connected, self._lost_at_s = False, time.monotonic()
        self.trouble = (link.trouble if link is not None else "") or failure.text
        if is_final_for_stream(failure):
            raise failure.error()
        if link is not None and failure.doubts_connection:
            self._connection.drop(link, failure.text)
        waited_s = time.monotonic() - self._lost_at_s
        if self._patience_s is not None and waited_s >= self._patience_s:
            raise ServerUnavailable(f"no connection for {waited_s:.1f} s: {self.trouble}")
        await asyncio.sleep(pause_s(self._attempts, random.random()))  # noqa: S311
        self._attempts += 1

    def _is_over(self) -> bool:
        is_late = self._deadline_s is not None and time.monotonic() >= self._deadline_s
        return is_late or self._is_closed or self._connection.is_closed

    def close(self) -> None:
        """Ends it; who iterates gets no more."""
        self._is_closed = True
        self.is_connected = False
        if self._call is not None:
            self._call.cancel()

    async def __aenter__(self) -> Watch[_Batch, _Item]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
