"""A strategy's session for asyncio: as :mod:`toucan.client.session`, with asyncio's futures."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Generator
from types import TracebackType
from typing import Any, TypeVar, Unpack

import grpc
import grpc.aio

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.client import calls
from toucan.client.aio.connection import Connection, Link
from toucan.client.calls import Call, ReplaceOptions
from toucan.client.connection import NotReached
from toucan.client.errors import Refused, ServerUnavailable, ToucanError
from toucan.client.exact import Number
from toucan.client.failures import Failure, failure_of_error, is_final_for_stream
from toucan.client.limits import WATCHDOG_INTERVAL_S
from toucan.client.resending import pause_s
from toucan.client.session import SESSION_METHOD, SESSION_TAKEN_OVER, UpdateQueue
from toucan.client.session_core import Result, SessionCore
from toucan.client.streams import OrderBatch
from toucan.client.terms import OrderOptions
from toucan.client.values import Accepted, Done, MassCanceled, OrderUpdate
from toucan.core.values import Side

__all__ = ["Opening", "Session"]

_Answer = TypeVar("_Answer")


class Opening:
    """A session that is about to be opened: ``await`` it, or use it with ``async with``."""

    def __init__(self, connection: Connection, core: SessionCore, *, timeout_s: float) -> None:
        self._connection = connection
        self._core = core
        self._timeout_s = timeout_s
        self._session: Session | None = None

    def __await__(self) -> Generator[Any, None, Session]:
        return self._open().__await__()

    async def _open(self) -> Session:
        session = Session(self._connection, self._core, timeout_s=self._timeout_s)
        await session.wait_until_open(self._timeout_s)
        return session

    async def __aenter__(self) -> Session:
        self._session = await self._open()
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.__aexit__(kind, error, trace)


class Session:
    """Made by :meth:`toucan.client.aio.Toucan.session`, of the loop that made it; as :class:`toucan.client.session.Session`.

    ``buy`` and the others are coroutines that send the request and return a future of its answer.
    """

    def __init__(self, connection: Connection, core: SessionCore, *, timeout_s: float) -> None:
        self._connection = connection
        self._core = core
        self._timeout_s = timeout_s
        self._changed = asyncio.Event()
        self._futures: dict[int, asyncio.Future[Any]] = {}
        self._updates = UpdateQueue()
        self._call: Any = None
        self._is_closing = False
        self._is_aborted = False
        self._is_over = False
        self._error: ToucanError | None = None
        self._last_heard_s = time.monotonic()
        self.trouble = ""
        self._task = asyncio.create_task(self._run(), name=f"toucan-session-{core.name}")

    async def wait_until_open(self, timeout_s: float) -> None:
        """As :meth:`toucan.client.session.Session.wait_until_open`."""
        is_settled = await self._wait_for(lambda: self._core.is_open or self._error is not None, timeout_s)
        error = self._error
        if error is None and not is_settled:
            why = self.trouble or "no answer"
            error = ServerUnavailable(f"the session was not opened within {timeout_s:g} s: {why}")
        if error is not None:
            await self.abort()
            raise error

    async def _wait_for(self, is_true: Any, timeout_s: float | None) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while not is_true():
                    await self._changed.wait()
        except TimeoutError:
            return bool(is_true())
        return True

    def _tell(self) -> None:
        """Wakes all who wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def name(self) -> str:
        """The session's name."""
        return self._core.name

    # --- requests ---

    async def buy(
        self, symbol: str, quantity: Number, *, is_confirmed: bool = False, **options: Unpack[OrderOptions]
    ) -> asyncio.Future[Accepted]:
        """As :meth:`toucan.client.Toucan.buy`."""
        return await self.submit(Side.BUY, symbol, quantity, is_confirmed=is_confirmed, **options)

    async def sell(
        self, symbol: str, quantity: Number, *, is_confirmed: bool = False, **options: Unpack[OrderOptions]
    ) -> asyncio.Future[Accepted]:
        """As :meth:`toucan.client.Toucan.sell`."""
        return await self.submit(Side.SELL, symbol, quantity, is_confirmed=is_confirmed, **options)

    async def submit(
        self,
        side: Side | str,
        symbol: str,
        quantity: Number,
        *,
        is_confirmed: bool = False,
        **options: Unpack[OrderOptions],
    ) -> asyncio.Future[Accepted]:
        """As :meth:`toucan.client.session.Session.submit`."""
        account = await self._connection.account(options.get("account"))
        request = await self._connection.with_table(
            lambda table: calls.order_message(
                table, account, side, symbol, quantity, options, is_confirmed=is_confirmed
            )
        )
        return self._send(calls.submit(request))

    async def cancel(self, order_id: int) -> asyncio.Future[Done]:
        """Cancels what is left of an order."""
        return self._send(calls.cancel(order_id))

    async def replace(
        self, order_id: int, symbol: str, *, is_confirmed: bool = False, **options: Unpack[ReplaceOptions]
    ) -> asyncio.Future[Done]:
        """As :meth:`toucan.client.session.Session.replace`."""
        instrument = await self._connection.with_table(lambda table: table.find(symbol))
        request = calls.replace_message(instrument, order_id, options, is_confirmed=is_confirmed)
        return self._send(calls.replace(request))

    async def mass_cancel(
        self, *, account: str = "", symbol: str = "", side: Side | str | None = None, owner: str = ""
    ) -> asyncio.Future[MassCanceled]:
        """Cancels every open order that matches, also those of other sessions."""
        return self._send(calls.mass_cancel(account, symbol, side, owner))

    def _send(self, call: Call[_Answer]) -> asyncio.Future[_Answer]:
        if self._error is not None:
            raise self._error
        if self._is_closing or self._is_over or self._is_aborted:
            raise Refused("the session is closed; nothing was done", "SESSION_CLOSED")
        ticket = self._core.add(call, time.monotonic() + self._timeout_s)
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._futures[ticket.number] = future
        self._tell()
        return future

    # --- updates ---

    async def updates(self, timeout_s: float | None = None) -> AsyncIterator[OrderUpdate]:
        """As :meth:`toucan.client.session.Session.updates`."""
        while True:
            await self._wait_for(lambda: len(self._updates) or self._is_over, timeout_s)
            if not len(self._updates):
                if self._error is not None:
                    raise self._error
                return
            yield self._updates.take()

    @property
    def conflated(self) -> int:
        """As :attr:`toucan.client.session.Session.conflated`."""
        return self._updates.conflated

    # --- the end ---

    async def close(self, timeout_s: float | None = None) -> None:
        """As :meth:`toucan.client.session.Session.close`."""
        self._is_closing = True
        self._tell()
        await self._wait_for(
            lambda: self._is_over or self._core.is_closed,
            self._timeout_s if timeout_s is None else timeout_s,
        )
        is_told, error = self._core.is_closed, self._error
        await self.abort()
        if not is_told:
            raise error or ServerUnavailable(
                "the server could not be told that the session ends in order: it may cancel the session's orders"
            )

    async def abort(self) -> None:
        """As :meth:`toucan.client.session.Session.abort`."""
        self._is_aborted = True
        if self._call is not None:
            self._call.cancel()
        self._task.cancel()
        await asyncio.wait([self._task])
        self._give_up(ServerUnavailable("the session is over"))

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._is_aborted:
            await self.close()
        else:
            await self.abort()

    # --- the session's task ---

    async def _run(self) -> None:
        attempts = 0
        while not self._is_finished():
            link: Link | None = None
            heard_s = self._last_heard_s
            try:
                link = await self._connection.link(self._connection.connect_timeout_s)
                await self._run_stream(link)
                failure = Failure("ABORTED", "the server ended the stream")
            except (NotReached, ServerUnavailable) as error:
                # Also where the instrument table cannot be had: what was not taken comes again.
                failure = Failure("UNAVAILABLE", str(error))
            except grpc.RpcError as error:
                failure = failure_of_error(error)
            except ToucanError as error:
                self._give_up(error)
                return
            except grpc.aio.UsageError:
                failure = Failure("CANCELLED", "the connection was closed")
            attempts = 0 if self._last_heard_s != heard_s else attempts + 1
            if self._is_finished():
                break
            if is_final_for_stream(failure) or failure.refusal_code == SESSION_TAKEN_OVER:
                self._give_up(failure.error())
                return
            self.trouble = self.trouble or (link.trouble if link is not None else "") or failure.text
            if link is not None and failure.doubts_connection:
                self._connection.drop(link, self.trouble)
            await self._pause(pause_s(attempts, random.random()))  # noqa: S311
        self._give_up(ServerUnavailable("the session is over"))

    async def _pause(self, pause: float) -> None:
        self._deliver(self._core.expire(time.monotonic(), random.random()))  # noqa: S311
        await asyncio.sleep(pause)

    def _is_finished(self) -> bool:
        return self._is_aborted or self._core.is_closed or self._connection.is_closed

    async def _run_stream(self, link: Link) -> None:
        opening, results = self._core.begin(time.monotonic(), random.random())  # noqa: S311
        self._deliver(results)
        method: Any = link.channel.stream_stream(
            SESSION_METHOD,
            request_serializer=pb.SessionRequest.SerializeToString,
            response_deserializer=pb.SessionResponse.FromString,
        )
        self._call = call = method(metadata=self._connection.access.metadata)
        self._last_heard_s = time.monotonic()
        sender = asyncio.create_task(self._send_all(call, opening))
        watchdog = asyncio.create_task(self._watch_over(call))
        try:
            while (response := await self._read(call)) is not grpc.aio.EOF:
                await self._heard(response)
                if self._core.is_closed:
                    return
        finally:
            self._call = None
            self._core.is_open = False
            call.cancel()
            sender.cancel()
            watchdog.cancel()
            await asyncio.wait([sender, watchdog])
            self._tell()

    async def _read(self, call: Any) -> Any:
        try:
            return await call.read()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise NotReached("the connection was closed") from None

    async def _heard(self, response: pb.SessionResponse) -> None:
        self._last_heard_s = time.monotonic()

        def take(table: Any) -> list[Result | OrderBatch]:
            return self._core.take(response, table.find, time.monotonic(), random.random())  # noqa: S311

        events = (
            await self._connection.decoded(take) if response.HasField("updates") else take(calls.NO_TABLE)
        )
        self.trouble = ""
        for event in events:
            if isinstance(event, OrderBatch):
                self._updates.put(event.news)
        self._deliver([event for event in events if isinstance(event, Result)])
        self._tell()

    async def _send_all(self, call: Any, opening: pb.SessionRequest) -> None:
        try:
            await call.write(opening)
            while True:
                message = self._core.next_message(time.monotonic())
                if message is None and self._is_closing and self._core.is_open and not self._core.unanswered:
                    self._core.is_open = False  # said once
                    message = self._core.closing()
                if message is not None:
                    await call.write(message)
                    continue
                wakes_at_s = self._core.wakes_at_s()
                pause = None if wakes_at_s is None else max(wakes_at_s - time.monotonic(), 0.0)
                try:
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
                except TimeoutError:
                    pass
        except (grpc.RpcError, asyncio.InvalidStateError):
            pass  # the reader is told why

    async def _watch_over(self, call: Any) -> None:
        while True:
            await asyncio.sleep(WATCHDOG_INTERVAL_S)
            now_s = time.monotonic()
            self._deliver(self._core.expire(now_s, random.random()))  # noqa: S311
            if now_s - self._last_heard_s > self._connection.stream_silence_s:
                self.trouble = f"silent for {self._connection.stream_silence_s:g} s"
                call.cancel()
                return

    def _deliver(self, results: list[Result]) -> None:
        for result in results:
            future = self._futures.pop(result.ticket.number, None)
            if future is None or future.done():
                continue
            if result.error is not None:
                future.set_exception(result.error)
            else:
                future.set_result(result.value)
        if results:
            self._tell()

    def _give_up(self, error: ToucanError) -> None:
        if self._is_over:
            return
        results = self._core.end(error)
        self._is_over = True
        if not self._is_finished():
            self._error = error
        self._deliver(results)
        self._tell()
