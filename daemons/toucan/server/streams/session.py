"""Session: a strategy's stream. Requests in, one after the other; answers out; and what happens to the session's own orders on the same stream.

Requests are read one at a time, so what a client sends ahead waits in the connection's window and its own memory. Answers do not wait for a turn of
the pump, updates do. Between the last answer and its update there may be either order: the answer has a ``seq``, and so has the update.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import msgspec
import structlog

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.core.order import Client
from toucan.core.requests import CloseSession, OpenSession
from toucan.server.asking import Asking
from toucan.server.calls import Call, Calls
from toucan.server.entitlements import User
from toucan.server.errors import CallError, InvalidRequest
from toucan.server.identity import Identity
from toucan.server.limits import ASK_TIMEOUT_S, SESSION_ANSWERS_MAX
from toucan.server.order_entry import OrderEntry
from toucan.server.order_filter import OrderFilter
from toucan.server.streams.book import StreamBook
from toucan.server.streams.order_view import OrderView
from toucan.server.streams.orders import OrderFeed
from toucan.server.streams.outlet import Outlet
from toucan.server.streams.resume import resume_point
from toucan.server.streams.session_book import SessionBook
from toucan.server.translate import from_wire
from toucan.server.translate.from_wire import Key
from toucan.server.translate.pieces import session_updates
from toucan.server.translate.statuses import session_error

__all__ = ["Session", "SessionStream"]

_log = structlog.get_logger("toucan.server")


class SessionStream(Outlet):
    """One session's stream: its answers, and a view of its orders."""

    def __init__(
        self, book: StreamBook, identity: Identity, feed: OrderFeed, client: Client, body: OpenSession
    ) -> None:
        super().__init__(book.pump, identity)
        self.client = client
        self.body = body
        self.opened_seq: int | None = None
        self._feed = feed
        self._view: OrderView | None = None
        self._answers: deque[bytes] = deque()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_over = False

    def watch(self, after_seq: int | None) -> None:
        """Tells of the session's own orders from now on."""
        wanted = OrderFilter(accounts=self.identity.user.accounts, client=self.client)
        self._view = OrderView(
            self._feed,
            wanted,
            after_seq=after_seq,
            has_snapshot=after_seq is not None,
            poke=self.poke,
            cut_off=self.cut_off,
        )
        self._feed.add(self._view)

    def stop_watching(self) -> None:
        """The stream is over."""
        if self._view is not None:
            self._feed.remove(self._view)

    def on_identity(self, identity: Identity) -> None:
        """Each request is judged by what the user may then; and he sees no more of accounts that are no longer his."""
        self.identity = identity
        if self._view is not None:
            self._view.wanted = msgspec.structs.replace(self._view.wanted, accounts=identity.user.accounts)

    # ------------------------------------------------------------ out

    async def answer(self, response: pb.SessionResponse) -> None:
        """Sends an answer; waits if the client does not take them."""
        self._answers.append(response.SerializeToString())
        self.run_now()
        if len(self._answers) >= SESSION_ANSWERS_MAX:
            self._has_room.clear()
            await self._has_room.wait()

    def finish(self) -> None:
        """Ends the stream with OK after the answers that wait."""
        self._is_over = True
        self.run_now()

    @property
    def is_over(self) -> bool:
        """See :class:`Outlet`."""
        return self._is_over and not self._answers

    @property
    def has_more(self) -> bool:
        """See :class:`Outlet`."""
        return self._view is not None and self._view.has_more

    def go_on(self) -> None:
        """See :class:`Outlet`. Answers go at once."""
        if self._answers or self._is_over:
            self.run_now()
        elif self.has_more:
            self.poke()

    def next_message(self, *, is_heartbeat: bool) -> bytes | None:
        """See :class:`Outlet`."""
        if self._answers:
            answer = self._answers.popleft()
            self._has_room.set()
            return answer
        if self._view is None or self._is_over:
            return None
        updates = self._view.next_message(is_heartbeat=is_heartbeat)
        return None if updates is None else session_updates(updates)


class _SessionAsker:
    """Who asks with one request on a session's stream; see :class:`toucan.server.order_entry.Asker`."""

    def __init__(self, stream: SessionStream) -> None:
        self._stream = stream
        self.facts: dict[str, object] = {}
        self._ends_at = asyncio.get_running_loop().time() + ASK_TIMEOUT_S

    @property
    def user(self) -> User:
        """The user as he is now."""
        return self._stream.identity.user

    @property
    def timeout_s(self) -> float:
        """A stream's requests have no deadlines of their own."""
        return max(0.0, self._ends_at - asyncio.get_running_loop().time())

    def client(self, key: Key) -> Client:
        """The stream's; a key must name it."""
        client = self._stream.client
        if key.session != client.session:
            raise InvalidRequest(
                f"key.session is {key.session!r}; on this stream it is {client.session!r}",
                field="key.session",
            )
        self.facts["session"], self.facts["number"] = key.session, key.number
        return client


class Session:
    """The method."""

    def __init__(
        self,
        calls: Calls,
        asking: Asking,
        entry: OrderEntry,
        feed: OrderFeed,
        book: StreamBook,
        sessions: SessionBook,
    ) -> None:
        self._calls = calls
        self._asking = asking
        self._feed = feed
        self._book = book
        self._sessions = sessions
        #: By the request's field: what it is called in logs and metrics, and who answers it.
        self._methods: dict[str, tuple[str, Callable[[Any, Any], Awaitable[Any]]]] = {
            "submit": ("SubmitOrder", entry.submit),
            "cancel": ("CancelOrder", entry.cancel),
            "replace": ("ReplaceOrder", entry.replace),
            "mass_cancel": ("MassCancel", entry.mass_cancel),
        }

    async def run(self, call: Call) -> None:
        """Session: from its OpenSession to its end."""
        data = await call.context.read()
        if data is grpc.aio.EOF:
            raise InvalidRequest(
                "the stream ended before it had begun; the first message is `open`", field="open"
            )
        first = from_wire.parse(pb.SessionRequest, data)
        if first.WhichOneof("body") != "open":
            raise InvalidRequest("the first message of a session's stream is `open`", field="open")
        if not call.user.may("stage"):  # who may only propose has proposals that go with his session
            call.user.require("cancel")
        name, body = from_wire.open_session(first.open)
        call.facts["session"] = name
        with self._book.place(call):
            stream = SessionStream(self._book, call.identity, self._feed, Client(call.user.name, name), body)
            is_orderly = False
            try:
                await self._open(stream, first)
                is_orderly = await self._serve(call, stream)
            finally:
                stream.stop_watching()
                self._sessions.close(stream, is_orderly=is_orderly)

    async def _open(self, stream: SessionStream, first: pb.SessionRequest) -> None:
        after_seq = await resume_point(self._feed.port, first.open)
        await self._sessions.open(stream, ASK_TIMEOUT_S)
        stream.watch(after_seq)
        record = self._feed.port.state.client(stream.client)
        opened = pb.SessionOpened(last_number=record.last_number, seq=self._feed.seq)
        await stream.answer(pb.SessionResponse(tag=first.tag, opened=opened))

    async def _serve(self, call: Call, stream: SessionStream) -> bool:
        """Until either side ends it; True: the client has closed it in an orderly way."""
        reading = asyncio.get_running_loop().create_task(self._answer_all(call, stream))
        reading.add_done_callback(lambda task: _end_with(stream, task))
        try:
            await stream.drive(call.context)
            return await reading
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _answer_all(self, call: Call, stream: SessionStream) -> bool:
        while True:
            data = await call.context.read()
            if data is grpc.aio.EOF:
                return False
            request = from_wire.parse(pb.SessionRequest, data)
            if request.WhichOneof("body") == "close":
                body = CloseSession(stream.opened_seq or 0)
                await self._asking.ask(stream.client, 0, body, ASK_TIMEOUT_S)
                await stream.answer(pb.SessionResponse(tag=request.tag, closed=pb.CloseSessionDone()))
                return True
            await stream.answer(await self._answer(stream, request))

    async def _answer(self, stream: SessionStream, request: pb.SessionRequest) -> pb.SessionResponse:
        field = request.WhichOneof("body")
        if field not in self._methods:
            text = "the session is open already" if field == "open" else "the message asks for nothing"
            return _refused(request.tag, InvalidRequest(text, field="body"))
        method, handle = self._methods[field]
        loop = asyncio.get_running_loop()
        began, outcome, asker = loop.time(), "OK", _SessionAsker(stream)
        try:
            answer = await handle(asker, getattr(request, field))
            return pb.SessionResponse(tag=request.tag, **{field: answer})
        except CallError as error:
            outcome = error.outcome
            return _refused(request.tag, error)
        finally:
            facts = {"user": stream.identity.user.name, **asker.facts}
            self._calls.note(f"Session.{method}", facts, outcome, loop.time() - began)


def _refused(tag: int, error: CallError) -> pb.SessionResponse:
    return pb.SessionResponse(tag=tag, error=session_error(error))


def _end_with(stream: SessionStream, reading: asyncio.Task[bool]) -> None:
    """What ended the reading ends the stream."""
    if reading.cancelled():
        return
    error = reading.exception()
    if error is None:
        stream.finish()
    elif isinstance(error, CallError):
        stream.end(error)
    else:
        _log.error("a session failed", exc_info=error)
        stream.end(CallError("a bug in this front end; its log says more"))
