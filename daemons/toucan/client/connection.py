"""The pump for threads: one client's connection to a front end, requests with one answer, and what they share.

Thread safety: everything here may be called from any thread. Requests that change something go one after the other, in the order in which they got
their number (a higher number that overtook a lower one would make the engine refuse the lower one); reads and streams run beside them. A process
that forks afterwards must not use the client in the child: that is gRPC's rule.
"""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from toucan.client.calls import NO_TABLE, Call, identity, instruments, unknown_outcome
from toucan.client.endpoints import Access, channel_options
from toucan.client.errors import InvalidRequest, ServerFault, ServerUnavailable, UnknownInstrument
from toucan.client.failures import Failure, failure_of_error
from toucan.client.instruments import InstrumentTable
from toucan.client.interrupts import uninterrupted
from toucan.client.keys import Keys
from toucan.client.limits import (
    ATTEMPT_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    REFRESH_S_MIN,
    STREAM_SILENCE_S,
    TIMEOUT_S,
    WATCHDOG_INTERVAL_S,
)
from toucan.client.resending import Again, GiveUp, Renumber, Resending, Unknown
from toucan.client.values import Identity, RequestKey

__all__ = ["NO_KEY", "Connection", "Link", "NotReached", "Watched", "keyed", "only_account", "random_session"]

_Answer = TypeVar("_Answer")
_Used = TypeVar("_Used")
#: Stands where a read has no key.
NO_KEY = RequestKey("", 0)


def only_account(identity: Identity) -> str:
    """The one account of a user; raises :class:`~toucan.client.errors.InvalidRequest` if he has none or several."""
    if len(identity.accounts) == 1:
        return identity.accounts[0]
    if not identity.accounts:
        raise InvalidRequest(f"the user {identity.user} has no account to trade on", "NO_ACCOUNT")
    raise InvalidRequest(
        f"which account? {identity.user} has {len(identity.accounts)}: {', '.join(identity.accounts)}",
        "WHICH_ACCOUNT",
    )


def keyed(call: Call[Any], key: RequestKey, min_seq: int) -> Message:
    """The message to send: with its key, or with what a read must see at least."""
    request: Any = type(call.request)()
    request.CopyFrom(call.request)
    if call.is_mutating:
        request.key.session, request.key.number = key.session, key.number
    elif "min_seq" in request.DESCRIPTOR.fields_by_name:
        request.min_seq = min_seq
    return request  # type: ignore[no-any-return]


class NotReached(Exception):
    """No connection could be made; nothing was sent."""


class Watched(Protocol):
    """Something that the watchdog looks after."""

    def check(self, now_s: float) -> None:
        """Looks whether something is overdue; must not block."""


def random_session(prefix: str = "py") -> str:
    """A session's name that nobody had before."""
    return f"{prefix}-{os.urandom(8).hex()}"


class Link:
    """One channel to one front end, with its methods."""

    def __init__(self, access: Access, index: int) -> None:
        self.address = access.addresses[index % len(access.addresses)]
        target, options = access.target(index), channel_options()
        self.channel: grpc.Channel = (
            grpc.insecure_channel(target, options)
            if access.credentials is None
            else grpc.secure_channel(target, access.credentials, options)
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
    """Addresses, keys and the instrument table of one client. ``stream_silence_s``: see :data:`~toucan.client.limits.STREAM_SILENCE_S`."""

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
        #: Of the last request that changes something, answered or not.
        self.last_key: RequestKey | None = None
        self._account = account
        self._identity: Identity | None = None
        #: Held from a number's making to its answer.
        self._in_order = threading.Lock()
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._index = 0
        self._seen_seq = 0
        self._table: InstrumentTable | None = None
        self._table_lock = threading.Lock()
        self._table_at_s = 0.0
        self._closed = threading.Event()
        self._watched: weakref.WeakSet[Watched] = weakref.WeakSet()
        self._watchdog: threading.Thread | None = None

    # --- requests ---

    @property
    def session(self) -> str:
        """The session of this client's keys."""
        return self._keys.session

    def ask(
        self, call: Call[_Answer], *, timeout_s: float | None = None, key: RequestKey | None = None
    ) -> _Answer:
        """Sends a request until it is answered; raises what :mod:`toucan.client.errors` lists. ``key``: of a request that was sent before."""
        deadline_s = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        if not call.is_mutating:
            return self._exchange(call, NO_KEY, deadline_s)
        if not self._in_order.acquire(timeout=max(0.0, deadline_s - time.monotonic())):
            raise ServerUnavailable(
                f"not sent: another request of this client is still waiting for its answer, and they go one after the other; "
                f"to {call.what}, try again, or use another client"
            )
        try:
            return self._exchange(call, key, deadline_s)
        finally:
            self._in_order.release()

    def _exchange(self, call: Call[_Answer], given_key: RequestKey | None, deadline_s: float) -> _Answer:
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
            response = self._attempt(call, keyed(call, key, self._seen_seq), deadline_s)
            if not isinstance(response, Failure):
                return self._read(call, response, key, deadline_s)
            match resending.after(response, time.monotonic(), random.random()):  # noqa: S311  # spreads clients, no secret
                case GiveUp(error):
                    raise error
                case Unknown(text):
                    raise unknown_outcome(call, key, text)
                case Renumber():
                    self._keys.renew(random_session())
                    key = self._keys.next()
                case Again(pause):
                    self.pause(pause)

    def _attempt(self, call: Call[Any], request: Message, deadline_s: float) -> Message | Failure:
        remaining_s = deadline_s - time.monotonic()
        try:
            link = self.link(remaining_s)
            with uninterrupted():
                future = link.unary(call).future(request, timeout=remaining_s, metadata=self.access.metadata)
        except NotReached as error:
            return Failure("UNAVAILABLE", str(error), is_unsent=True)
        except ValueError:
            return Failure("CANCELLED", "the connection was closed", is_unsent=True)
        try:
            return future.result(timeout=min(remaining_s, ATTEMPT_TIMEOUT_S))  # type: ignore[no-any-return]
        except grpc.RpcError as error:
            failure = failure_of_error(error)
        except grpc.FutureTimeoutError:
            failure = Failure("DEADLINE_EXCEEDED", f"{link.address} has not answered in time")
        except grpc.FutureCancelledError:
            failure = Failure("CANCELLED", "the connection was closed")
        finally:
            with uninterrupted():
                future.cancel()  # nobody listens any more, also after an interrupt
        if failure.doubts_connection:
            self.drop(link, failure.text)
        return failure

    def _read(self, call: Call[_Answer], response: Any, key: RequestKey, deadline_s: float) -> _Answer:
        seq = getattr(response, "seq", 0)
        if seq:
            # What a change was answered is the newest there is; reads may come from a front end that lags.
            self._seen_seq = seq if call.is_mutating else max(seq, self._seen_seq)
        if not call.needs_table:
            return call.read(response, NO_TABLE, key)
        return self.decoded(lambda table: call.read(response, table, key), deadline_s - time.monotonic())

    # --- the instrument table ---

    def with_table(self, use: Callable[[InstrumentTable], _Used], timeout_s: float | None = None) -> _Used:
        """Calls ``use`` with the table, and once more with a newer one if it raises :class:`~toucan.client.errors.UnknownInstrument`."""
        table = self._table or self.table(timeout_s)
        try:
            return use(table)
        except UnknownInstrument:
            return use(self.table(timeout_s))

    def decoded(self, decode: Callable[[InstrumentTable], _Used], timeout_s: float | None = None) -> _Used:
        """As :meth:`with_table`, for what the server has said: an instrument that it does not list itself is its fault."""
        try:
            return self.with_table(decode, timeout_s)
        except UnknownInstrument as error:
            raise ServerFault(
                f"the server speaks of an instrument that it does not list: {error.message}"
            ) from None

    def table(self, timeout_s: float | None = None) -> InstrumentTable:
        """The table as it is now; one that was asked for just before is taken."""
        with self._table_lock:
            if self._table is None or time.monotonic() - self._table_at_s >= REFRESH_S_MIN:
                self._table = self.ask(instruments(), timeout_s=timeout_s)
                self._table_at_s = time.monotonic()
            return self._table

    @property
    def cached_table(self) -> InstrumentTable:
        """The table; asked for once."""
        return self._table or self.table()

    def identity(self, timeout_s: float | None = None) -> Identity:
        """Who the caller is; asked for once."""
        if self._identity is None:
            self._identity = self.ask(identity(), timeout_s=timeout_s)
        return self._identity

    def account(self, given: str | None, timeout_s: float | None = None) -> str:
        """The account that is meant; raises :class:`~toucan.client.errors.InvalidRequest` where that is not clear."""
        return given or self._account or only_account(self.identity(timeout_s))

    # --- the link ---

    def link(self, timeout_s: float) -> Link:
        """A connection that stands, as far as is known; raises :class:`NotReached`."""
        with self._lock:
            if self._closed.is_set():
                raise NotReached("the client is closed")
            if self._link is not None:
                return self._link
            index = self._index
        address = self.access.addresses[index % len(self.access.addresses)]
        try:
            address.probe(max(0.001, min(timeout_s, self.connect_timeout_s)))
        except OSError as error:
            with self._lock:
                self._index = index + 1
            raise NotReached(f"nothing answers at {address}: {error.strerror or error}") from None
        with self._lock:
            if self._link is None:
                self._link = Link(self.access, index)
            return self._link

    def drop(self, link: Link, why: str) -> None:
        """Gives a connection up; the next request makes a new one, to the next address if there are several."""
        with self._lock:
            if self._link is not link:
                return
            link.trouble = why
            self._link = None
            self._index += 1
        link.channel.close()

    def pause(self, pause_s: float) -> None:
        """Waits, or until the client is closed."""
        self._closed.wait(pause_s)

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed.is_set()

    def close(self) -> None:
        """Ends the connection and what runs over it."""
        with self._lock:
            link, self._link = self._link, None
            self._closed.set()
        if link is not None:
            link.channel.close()
        watchdog = self._watchdog
        if watchdog is not None and watchdog is not threading.current_thread():
            watchdog.join()

    # --- the watchdog ---

    def watch_over(self, watched: Watched) -> None:
        """Has :meth:`Watched.check` called now and then, for as long as somebody else holds it."""
        with self._lock:
            self._watched.add(watched)
            if self._watchdog is None and not self._closed.is_set():
                self._watchdog = threading.Thread(
                    target=self._run_watchdog, name="toucan-watchdog", daemon=True
                )
                self._watchdog.start()

    def _run_watchdog(self) -> None:
        while not self._closed.wait(WATCHDOG_INTERVAL_S):
            with self._lock:
                watched = list(self._watched)
            for one in watched:
                one.check(time.monotonic())
