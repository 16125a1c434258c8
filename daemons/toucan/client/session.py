"""A strategy's session for threads: many requests in flight, a future for each, its orders' updates on the same stream, cancel on disconnect."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar, Unpack

import grpc

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.client import calls
from toucan.client.calls import Call, ReplaceOptions
from toucan.client.connection import Connection, Link, NotReached
from toucan.client.errors import Refused, ServerUnavailable, ToucanError
from toucan.client.exact import Number
from toucan.client.failures import Failure, failure_of_error, is_final_for_stream
from toucan.client.interrupts import uninterrupted
from toucan.client.limits import SESSION_UPDATES_MAX
from toucan.client.resending import pause_s
from toucan.client.session_core import Result, SessionCore
from toucan.client.streams import OrderBatch
from toucan.client.terms import OrderOptions
from toucan.client.values import Accepted, Done, MassCanceled, OrderUpdate
from toucan.core.values import Side

__all__ = ["SESSION_METHOD", "SESSION_TAKEN_OVER", "Session", "UpdateQueue"]

_Answer = TypeVar("_Answer")
#: How long the end waits for the session's thread, which may be connecting to a host that does not answer; it ends by itself.
_JOIN_S = 1.0
#: Another stream of the same session is in this one's place; making it anew would only take turns with that.
SESSION_TAKEN_OVER = "SESSION_TAKEN_OVER"
SESSION_METHOD = "/aviary.toucan.v1.OrderEntryService/Session"


class UpdateQueue:
    """Updates that nobody has taken yet; over the limit only the newest of each order is kept, and :attr:`conflated` counts the others."""

    def __init__(self) -> None:
        self._updates: deque[OrderUpdate] = deque()
        self.conflated = 0

    def __len__(self) -> int:
        return len(self._updates)

    def put(self, updates: Iterable[OrderUpdate]) -> None:
        """Appends."""
        self._updates.extend(updates)
        if len(self._updates) > SESSION_UPDATES_MAX:
            newest = {update.order.order_id: update for update in self._updates}
            kept = deque(sorted(newest.values(), key=lambda update: update.seq))
            self.conflated += len(self._updates) - len(kept)
            self._updates = kept

    def take(self) -> OrderUpdate:
        """The oldest; raises IndexError."""
        return self._updates.popleft()


class Session:
    """Made by :meth:`toucan.client.Toucan.session`; may be used from any thread.

    Each request returns at once, with a future of its answer; the futures' callbacks run in the session's own thread and must be short. A stream
    that breaks off is made anew, and what is unanswered is sent again under its key. Left by an exception, the ``with`` block breaks the stream off,
    so that the server cancels the session's orders if it was told to; left in order, they stay.
    """

    def __init__(self, connection: Connection, core: SessionCore, *, timeout_s: float) -> None:
        self._connection = connection
        self._core = core
        self._timeout_s = timeout_s
        #: Guards the core and all below, and tells of every change.
        self._changed = threading.Condition()
        self._futures: dict[int, Future[Any]] = {}
        self._updates = UpdateQueue()
        self._call: Any = None
        self._stream_number = 0
        self._is_closing = False
        self._is_aborted = False
        #: Nothing follows any more; with the reason if neither side wanted it.
        self._is_over = False
        self._error: ToucanError | None = None
        self._last_heard_s = time.monotonic()
        #: Why there is no stream at present; empty if there is.
        self.trouble = ""
        self._thread = threading.Thread(target=self._run, name=f"toucan-session-{core.name}", daemon=True)
        connection.watch_over(self)
        self._thread.start()

    def wait_until_open(self, timeout_s: float) -> None:
        """Raises why the server does not take it, or :class:`~toucan.client.errors.ServerUnavailable`."""
        with self._changed:
            self._changed.wait_for(lambda: self._core.is_open or self._error is not None, timeout_s)
            error = self._error
            if error is None and not self._core.is_open:
                why = self.trouble or "no answer"
                error = ServerUnavailable(f"the session was not opened within {timeout_s:g} s: {why}")
        if error is not None:
            self.abort()
            raise error

    @property
    def name(self) -> str:
        """The session's name."""
        return self._core.name

    # --- requests ---

    def buy(
        self, symbol: str, quantity: Number, *, is_confirmed: bool = False, **options: Unpack[OrderOptions]
    ) -> Future[Accepted]:
        """As :meth:`toucan.client.Toucan.buy`."""
        return self.submit(Side.BUY, symbol, quantity, is_confirmed=is_confirmed, **options)

    def sell(
        self, symbol: str, quantity: Number, *, is_confirmed: bool = False, **options: Unpack[OrderOptions]
    ) -> Future[Accepted]:
        """As :meth:`toucan.client.Toucan.sell`."""
        return self.submit(Side.SELL, symbol, quantity, is_confirmed=is_confirmed, **options)

    def submit(
        self,
        side: Side | str,
        symbol: str,
        quantity: Number,
        *,
        is_confirmed: bool = False,
        **options: Unpack[OrderOptions],
    ) -> Future[Accepted]:
        """A new order. Raises what is found here at once; what the server says comes with the future."""
        account = self._connection.account(options.get("account"))
        request = self._connection.with_table(
            lambda table: calls.order_message(
                table, account, side, symbol, quantity, options, is_confirmed=is_confirmed
            )
        )
        return self._send(calls.submit(request))

    def cancel(self, order_id: int) -> Future[Done]:
        """Cancels what is left of an order."""
        return self._send(calls.cancel(order_id))

    def replace(
        self, order_id: int, symbol: str, *, is_confirmed: bool = False, **options: Unpack[ReplaceOptions]
    ) -> Future[Done]:
        """Changes ``quantity``, ``price`` or ``stop_price`` of an open order in ``symbol``."""
        instrument = self._connection.with_table(lambda table: table.find(symbol))
        return self._send(
            calls.replace(calls.replace_message(instrument, order_id, options, is_confirmed=is_confirmed))
        )

    def mass_cancel(
        self, *, account: str = "", symbol: str = "", side: Side | str | None = None, owner: str = ""
    ) -> Future[MassCanceled]:
        """Cancels every open order that matches, also those of other sessions."""
        return self._send(calls.mass_cancel(account, symbol, side, owner))

    def _send(self, call: Call[_Answer]) -> Future[_Answer]:
        future: Future[_Answer] = Future()
        future.set_running_or_notify_cancel()  # what is under way cannot be taken back
        with self._changed:
            if self._error is not None:
                raise self._error
            if self._is_closing or self._is_over or self._is_aborted:
                raise Refused("the session is closed; nothing was done", "SESSION_CLOSED")
            ticket = self._core.add(call, time.monotonic() + self._timeout_s)
            self._futures[ticket.number] = future
            self._changed.notify_all()
        return future

    # --- updates ---

    def updates(self, timeout_s: float | None = None) -> Iterator[OrderUpdate]:
        """What happens to the session's orders, from its opening on; ends when the session does, or when nothing comes for ``timeout_s``."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: len(self._updates) or self._is_over, timeout_s)
                if not len(self._updates):
                    if self._error is not None:
                        raise self._error
                    return
                update = self._updates.take()
            yield update

    @property
    def conflated(self) -> int:
        """Updates that were left out since nobody took them: of each order the newest was kept."""
        return self._updates.conflated

    # --- the end ---

    def close(self, timeout_s: float | None = None) -> None:
        """The orderly end: waits for what is unanswered; orders stay.

        Raises :class:`~toucan.client.errors.ServerUnavailable` if the server could not be told: it then sees a break.
        """
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._is_over or self._core.is_closed,
                self._timeout_s if timeout_s is None else timeout_s,
            )
            is_told = self._core.is_closed
            error = self._error
        self.abort()
        if not is_told:
            raise error or ServerUnavailable(
                "the server could not be told that the session ends in order: it may cancel the session's orders"
            )

    def abort(self) -> None:
        """Breaks the stream off: if the session was opened with ``cancel_on_disconnect_s``, its orders are cancelled after that time."""
        with self._changed:
            self._is_aborted = True
            call = self._call
            self._changed.notify_all()
        if call is not None:
            with uninterrupted():
                call.cancel()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._is_aborted:
            self.close()
        else:
            self.abort()

    # --- the session's thread ---

    def _run(self) -> None:
        attempts = 0
        while not self._is_finished():
            link: Link | None = None
            heard_s = self._last_heard_s
            try:
                link = self._connection.link(self._connection.connect_timeout_s)
                self._run_stream(link)
                failure = Failure("ABORTED", "the server ended the stream")
            except (NotReached, ServerUnavailable) as error:
                # Also where the instrument table cannot be had: what was not taken comes again.
                failure = Failure("UNAVAILABLE", str(error))
            except grpc.RpcError as error:
                failure = failure_of_error(error)
            except ToucanError as error:
                self._give_up(error)
                return
            except ValueError:  # gRPC's, for a channel that is closed
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
            self._connection.pause(pause_s(attempts, random.random()))  # noqa: S311
        self._give_up(ServerUnavailable("the session is over"))

    def _is_finished(self) -> bool:
        return self._is_aborted or self._core.is_closed or self._connection.is_closed

    def _run_stream(self, link: Link) -> None:
        with self._changed:
            opening, results = self._core.begin(time.monotonic(), random.random())  # noqa: S311
            self._stream_number += 1
            outbox = self._outbox(self._stream_number, opening)
        self._deliver(results)
        method: Any = link.channel.stream_stream(
            SESSION_METHOD,
            request_serializer=pb.SessionRequest.SerializeToString,
            response_deserializer=pb.SessionResponse.FromString,
        )
        self._last_heard_s = time.monotonic()
        call = method(outbox, metadata=self._connection.access.metadata)
        with self._changed:
            self._call = call
            if self._is_aborted:
                call.cancel()
        try:
            for response in call:
                self._heard(response)
                if self._core.is_closed:
                    return
        finally:
            with self._changed:
                self._call = None
                self._stream_number += 1  # ends the outbox
                self._core.is_open = False
                self._changed.notify_all()
            call.cancel()

    def _heard(self, response: pb.SessionResponse) -> None:
        self._last_heard_s = time.monotonic()

        def take(table: Any) -> list[Result | OrderBatch]:
            with self._changed:
                return self._core.take(response, table.find, time.monotonic(), random.random())  # noqa: S311

        # The table is asked for outside the lock, if it is needed at all.
        events = self._connection.decoded(take) if response.HasField("updates") else take(calls.NO_TABLE)
        self.trouble = ""
        with self._changed:
            for event in events:
                if isinstance(event, OrderBatch):
                    self._updates.put(event.news)
            self._changed.notify_all()
        self._deliver([event for event in events if isinstance(event, Result)])

    def _outbox(self, stream_number: int, opening: pb.SessionRequest) -> Iterator[pb.SessionRequest]:
        """What gRPC's own thread sends; ends with its stream."""
        yield opening
        while (message := self._next_outgoing(stream_number)) is not None:
            yield message

    def _next_outgoing(self, stream_number: int) -> pb.SessionRequest | None:
        with self._changed:
            while self._stream_number == stream_number:
                message = self._core.next_message(time.monotonic())
                if message is not None:
                    return message
                if self._is_closing and self._core.is_open and not self._core.unanswered:
                    self._core.is_open = False  # said once
                    return self._core.closing()
                wakes_at_s = self._core.wakes_at_s()
                self._changed.wait(None if wakes_at_s is None else max(wakes_at_s - time.monotonic(), 0.0))
            return None

    def _deliver(self, results: list[Result]) -> None:
        for result in results:
            with self._changed:
                future = self._futures.pop(result.ticket.number, None)
            if future is None:
                continue
            if result.error is not None:
                future.set_exception(result.error)
            else:
                future.set_result(result.value)

    def _give_up(self, error: ToucanError) -> None:
        with self._changed:
            results = self._core.end(error)
            self._is_over = True
            if not self._is_finished():
                self._error = error
            self._changed.notify_all()
        self._deliver(results)

    def check(self, now_s: float) -> None:
        """For the watchdog: requests whose time is over, and a stream on which nothing comes."""
        with self._changed:
            results = self._core.expire(now_s, random.random())  # noqa: S311
            call = self._call
            is_silent = call is not None and now_s - self._last_heard_s > self._connection.stream_silence_s
            if results:
                self._changed.notify_all()
        if is_silent:
            self.trouble = f"silent for {self._connection.stream_silence_s:g} s"
            call.cancel()
        self._deliver(results)
