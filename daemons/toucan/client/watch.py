"""A stream for threads: iterate over it, and it goes on by itself over lost connections, restarts of the server and silences."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

import grpc

from toucan.client.connection import Connection, Link, NotReached
from toucan.client.errors import ServerUnavailable
from toucan.client.failures import Failure, failure_of_error, is_final_for_stream
from toucan.client.interrupts import uninterrupted
from toucan.client.resending import pause_s
from toucan.client.streams import Batch, Stream

__all__ = ["Watch"]

_Item = TypeVar("_Item")
_Batch = TypeVar("_Batch", bound=Batch[Any])


class Watch(Generic[_Batch, _Item]):
    """Iterate over it for what is new, or over :meth:`batches` for all that the server says; one thread at a time.

    It ends by itself only after ``timeout_s``; :meth:`close` from any thread, or leaving its ``with`` block, ends it. While the server cannot be
    reached it tries on, for ever or as long as ``patience_s`` says; then, and when the server refuses, iterating raises. The attributes tell other
    threads how it is.
    """

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
        self._is_silent = False
        #: Since when the next message is waited for; None while the caller is at work.
        self._waiting_since_s: float | None = None
        self._lost_at_s = time.monotonic()
        self._attempts = 0
        #: Messages come; False while a connection is being made.
        self.is_connected = False
        #: The front end says that it does not follow the engine.
        self.is_stale = False
        #: When the last message came, by time.monotonic().
        self.last_heard_s = time.monotonic()
        #: Why there is no connection.
        self.trouble = ""
        #: Called by the iterating thread when the connection, or the front end's with the engine, is lost or back.
        self.on_state: Callable[[], None] | None = None
        connection.watch_over(self)

    # --- iterating ---

    def __iter__(self) -> Watch[_Batch, _Item]:
        return self

    def __next__(self) -> _Item:
        while not self._news:
            batch = self.next_batch()
            if batch is None:
                raise StopIteration
            self._news.extend(batch.news)
        return self._news.popleft()

    def batches(self) -> Iterator[_Batch]:
        """All messages, those too that bring nothing new."""
        while (batch := self.next_batch()) is not None:
            yield batch

    def next_batch(self) -> _Batch | None:
        """The next message; None: it is closed or its time is over."""
        while not self._is_over():
            response: Any
            try:
                if self._call is None:
                    self._begin()
                self._waiting_since_s = time.monotonic()
                response = next(self._call)
            except StopIteration:
                self._ended(Failure("ABORTED", "the server ended the stream"))
            except NotReached as error:
                self._ended(Failure("UNAVAILABLE", str(error)))
            except grpc.RpcError as error:
                self._ended(failure_of_error(error))
            except ValueError:  # gRPC's, for a channel that is closed
                self._ended(Failure("CANCELLED", "the connection was closed"))
            else:
                self._waiting_since_s = None
                batch = self._heard(response)
                if batch is not None:
                    return batch
            finally:
                self._waiting_since_s = None
        self.close()
        return None

    def _heard(self, response: Any) -> _Batch | None:
        try:
            batch = self._connection.decoded(lambda table: self._stream.take(response, table.find))
        except ServerUnavailable as error:
            # The instrument table cannot be had; the message was not taken, so it comes again.
            self._call.cancel()
            self._ended(Failure("UNAVAILABLE", error.message))
            return None
        before = self.is_connected, self.is_stale
        self.is_connected, self.is_stale = True, batch.is_stale
        self.last_heard_s, self.trouble, self._attempts = time.monotonic(), "", 0
        if before != (self.is_connected, self.is_stale):
            self._tell_state()
        return batch

    def _tell_state(self) -> None:
        if self.on_state is not None:
            self.on_state()

    # --- connections ---

    def _begin(self) -> None:
        self._link = self._connection.link(self._connection.connect_timeout_s)
        method: Any = self._link.channel.unary_stream(
            self._stream.method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self._stream.response_type.FromString,
        )
        self._is_silent = False
        remaining_s = None if self._deadline_s is None else self._deadline_s - time.monotonic()
        request = self._stream.request()
        with uninterrupted():
            call = method(request, timeout=remaining_s, metadata=self._connection.access.metadata)
            self._call = call
        if self._is_closed:  # meanwhile
            call.cancel()

    def _ended(self, failure: Failure) -> None:
        link, self._link, self._call = self._link, None, None
        if (
            failure.status == "DEADLINE_EXCEEDED"
            and self._deadline_s is not None
            and not failure.refusal_code
        ):
            self._is_closed = True  # its own time is over
        if self._is_over():
            return
        was_connected, self.is_connected = self.is_connected, False
        if was_connected:
            self._lost_at_s = time.monotonic()
        if self._is_silent:
            failure = Failure("CANCELLED", f"silent for {self._connection.stream_silence_s:g} s")
        # Where another request has found the connection broken, that one knows why.
        self.trouble = (link.trouble if link is not None else "") or failure.text
        if is_final_for_stream(failure):
            raise failure.error()
        if was_connected:
            self._tell_state()
        if link is not None and failure.doubts_connection:
            self._connection.drop(link, failure.text)
        waited_s = time.monotonic() - self._lost_at_s
        if self._patience_s is not None and waited_s >= self._patience_s:
            raise ServerUnavailable(f"no connection for {waited_s:.1f} s: {self.trouble}")
        self._connection.pause(pause_s(self._attempts, random.random()))  # noqa: S311
        self._attempts += 1

    def _is_over(self) -> bool:
        is_late = self._deadline_s is not None and time.monotonic() >= self._deadline_s
        return is_late or self._is_closed or self._connection.is_closed

    def check(self, now_s: float) -> None:
        """For the watchdog: a connection on which nothing comes is given up."""
        since_s, call = self._waiting_since_s, self._call
        if call is not None and since_s is not None and now_s - since_s > self._connection.stream_silence_s:
            self._is_silent = True
            call.cancel()

    def close(self) -> None:
        """Ends it; who iterates gets no more."""
        self._is_closed = True
        self.is_connected = False
        call = self._call
        if call is not None:
            with uninterrupted():
                call.cancel()

    def __enter__(self) -> Watch[_Batch, _Item]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
