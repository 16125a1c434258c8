"""The pump for asyncio: as :mod:`toucan.client.connection`, for the tasks of one event loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from toucan.client.calls import NO_TABLE, Call, identity, instruments, unknown_outcome
from toucan.client.connection import NO_KEY, NotReached, keyed, only_account, random_session
from toucan.client.endpoints import Access, Address, channel_options
from toucan.client.errors import ServerFault, ServerUnavailable, UnknownInstrument
from toucan.client.failures import Failure, failure_of_error
from toucan.client.instruments import InstrumentTable
from toucan.client.keys import Keys
from toucan.client.limits import (
    ATTEMPT_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    REFRESH_S_MIN,
    STREAM_SILENCE_S,
    TIMEOUT_S,
)
from toucan.client.resending import Again, GiveUp, Renumber, Resending, Unknown
from toucan.client.values import Identity, RequestKey

__all__ = ["Connection", "Link"]

_Answer = TypeVar("_Answer")
_Used = TypeVar("_Used")


class Link:
    """One channel to one front end, with its methods."""

    def __init__(self, access: Access, index: int) -> None:
        self.address = access.addresses[index % len(access.addresses)]
        target, options = access.target(index), channel_options()
        self.channel: grpc.aio.Channel = (
            grpc.aio.insecure_channel(target, options)
            if access.credentials is None
            else grpc.aio.secure_channel(target, access.credentials, options)
        )
        #: Why it was given up; empty while it is in use.
        self.trouble = ""
        self._unary: dict[str, Any] = {}

    def unary(self, call: Call[Any]) -> Any:
        """The method of a request with one answer."""
        found = self._unary.get(call.method)
        if found is None:
            found = self._unary[call.method] = self.channel.unary_unary(
                call.method,
                request_serializer=type(call.request).SerializeToString,
                response_deserializer=call.response_type.FromString,
            )
        return found


class Connection:
    """Addresses, keys and the instrument table of one client; of the loop that uses it first."""

    def __init__(
        self,
        access: Access,
        keys: Keys,
        *,
        timeout_s: float = TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        stream_silence_s: float = STREAM_SILENCE_S,
        account: str | None = None,
    ) -> None:
        self.access = access
        self.timeout_s = timeout_s
        self.connect_timeout_s = connect_timeout_s
        self.stream_silence_s = stream_silence_s
        self._keys = keys
        self.last_key: RequestKey | None = None
        self._account = account
        self._identity: Identity | None = None
        #: Held from a number's making to its answer.
        self._in_order = asyncio.Lock()
        self._link: Link | None = None
        self._index = 0
        self._seen_seq = 0
        self._table: InstrumentTable | None = None
        self._table_lock = asyncio.Lock()
        self._table_at_s = 0.0
        self.is_closed = False
        self._closing: set[asyncio.Task[None]] = set()

    # --- requests ---

    @property
    def session(self) -> str:
        """The session of this client's keys."""
        return self._keys.session

    async def ask(
        self, call: Call[_Answer], *, timeout_s: float | None = None, key: RequestKey | None = None
    ) -> _Answer:
        """As :meth:`toucan.client.connection.Connection.ask`."""
        deadline_s = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        if not call.is_mutating:
            return await self._exchange(call, NO_KEY, deadline_s)
        try:
            async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())):
                await self._in_order.acquire()
        except TimeoutError:
            raise ServerUnavailable(
                f"not sent: another request of this client is still waiting for its answer, and they go one after the other; "
                f"to {call.what}, try again, or use another client"
            ) from None
        try:
            return await self._exchange(call, key, deadline_s)
        finally:
            self._in_order.release()

    async def _exchange(
        self, call: Call[_Answer], given_key: RequestKey | None, deadline_s: float
    ) -> _Answer:
        resending = Resending(
            is_mutating=call.is_mutating,
            deadline_s=deadline_s,
            connect_deadline_s=min(deadline_s, time.monotonic() + self.connect_timeout_s),
            may_renumber=given_key is None,
        )
        key = self._keys.next() if given_key is None else given_key
        while True:
            if call.is_mutating:
                self.last_key = key
            response = await self._attempt(call, keyed(call, key, self._seen_seq), deadline_s)
            if not isinstance(response, Failure):
                return await self._read(call, response, key, deadline_s)
            match resending.after(response, time.monotonic(), random.random()):  # noqa: S311
                case GiveUp(error):
                    raise error
                case Unknown(text):
                    raise unknown_outcome(call, key, text)
                case Renumber():
                    self._keys.renew(random_session())
                    key = self._keys.next()
                case Again(pause):
                    await asyncio.sleep(pause)

    async def _attempt(self, call: Call[Any], request: Message, deadline_s: float) -> Message | Failure:
        remaining_s = deadline_s - time.monotonic()
        try:
            link = await self.link(remaining_s)
            rpc = link.unary(call)(request, timeout=remaining_s, metadata=self.access.metadata)
        except NotReached as error:
            return Failure("UNAVAILABLE", str(error), is_unsent=True)
        except grpc.aio.UsageError:
            return Failure("CANCELLED", "the connection was closed", is_unsent=True)
        try:
            async with asyncio.timeout(min(remaining_s, ATTEMPT_TIMEOUT_S)):
                return await rpc  # type: ignore[no-any-return]
        except grpc.RpcError as error:
            failure = failure_of_error(error)
        except TimeoutError:
            failure = Failure("DEADLINE_EXCEEDED", f"{link.address} has not answered in time")
        except asyncio.CancelledError:
            # Ours, or the channel's that another task has closed.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure = Failure("CANCELLED", "the connection was closed")
        if failure.doubts_connection:
            self.drop(link, failure.text)
        return failure

    async def _read(self, call: Call[_Answer], response: Any, key: RequestKey, deadline_s: float) -> _Answer:
        seq = getattr(response, "seq", 0)
        if seq:
            self._seen_seq = seq if call.is_mutating else max(seq, self._seen_seq)
        if not call.needs_table:
            return call.read(response, NO_TABLE, key)
        return await self.decoded(
            lambda table: call.read(response, table, key), deadline_s - time.monotonic()
        )

    # --- the instrument table ---

    async def with_table(
        self, use: Callable[[InstrumentTable], _Used], timeout_s: float | None = None
    ) -> _Used:
        """As :meth:`toucan.client.connection.Connection.with_table`."""
        try:
            return use(self._table or await self.table(timeout_s))
        except UnknownInstrument:
            return use(await self.table(timeout_s))

    async def decoded(
        self, decode: Callable[[InstrumentTable], _Used], timeout_s: float | None = None
    ) -> _Used:
        """As :meth:`toucan.client.connection.Connection.decoded`."""
        try:
            return await self.with_table(decode, timeout_s)
        except UnknownInstrument as error:
            raise ServerFault(
                f"the server speaks of an instrument that it does not list: {error.message}"
            ) from None

    async def table(self, timeout_s: float | None = None) -> InstrumentTable:
        """The table as it is now; one that was asked for just before is taken."""
        async with self._table_lock:
            if self._table is None or time.monotonic() - self._table_at_s >= REFRESH_S_MIN:
                self._table = await self.ask(instruments(), timeout_s=timeout_s)
                self._table_at_s = time.monotonic()
            return self._table

    async def identity(self, timeout_s: float | None = None) -> Identity:
        """Who the caller is; asked for once."""
        if self._identity is None:
            self._identity = await self.ask(identity(), timeout_s=timeout_s)
        return self._identity

    async def account(self, given: str | None, timeout_s: float | None = None) -> str:
        """As :meth:`toucan.client.connection.Connection.account`."""
        return given or self._account or only_account(await self.identity(timeout_s))

    # --- the link ---

    async def link(self, timeout_s: float) -> Link:
        """A connection that stands, as far as is known; raises :class:`~toucan.client.connection.NotReached`."""
        if self.is_closed:
            raise NotReached("the client is closed")
        if self._link is not None:
            return self._link
        index = self._index
        address = self.access.addresses[index % len(self.access.addresses)]
        try:
            async with asyncio.timeout(max(0.001, min(timeout_s, self.connect_timeout_s))):
                await _probe(address)
        except OSError as error:  # TimeoutError, too
            self._index = index + 1
            why = error.strerror or str(error) or "timed out"
            raise NotReached(f"nothing answers at {address}: {why}") from None
        if self._link is None:
            self._link = Link(self.access, index)
        return self._link

    def drop(self, link: Link, why: str) -> None:
        """Gives a connection up; the next request makes a new one, to the next address if there are several."""
        if self._link is link:
            self._link = None
            self._index += 1
            link.trouble = why
            task = asyncio.ensure_future(link.channel.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Ends the connection and what runs over it."""
        self.is_closed = True
        link, self._link = self._link, None
        if link is not None:
            await link.channel.close()
        if self._closing:
            await asyncio.wait(self._closing)


async def _probe(address: Address) -> None:
    """As :meth:`toucan.client.endpoints.Address.probe`."""
    if address.path:
        _, writer = await asyncio.open_unix_connection(address.path)
    else:
        _, writer = await asyncio.open_connection(address.host, address.port)
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        pass  # it was reached
