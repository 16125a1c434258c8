"""A front end's way to the engine: :class:`EngineLink`, the real :class:`toucan.engine.port.EnginePort`.

It finds the engine by its unix socket, follows its log of events with a copy of its state, reads from the journal what the log no longer holds, and
looks for the next engine when one has died. The copy stays: events have numbers, and a new engine goes on with the next one.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog

from shmipc.broadcast import Gap, LogReader
from shmipc.channel import ClientChannel
from shmipc.errors import ShmError
from shmipc.wire import FrameDecoder, encode_frame, receive
from toucan.core.events import Event
from toucan.core.instruments import Instrument
from toucan.core.order import Client
from toucan.core.outcomes import Refusal, Refused
from toucan.core.records import decode
from toucan.core.requests import Body, Reply, Request
from toucan.core.risk import reference_price
from toucan.core.state import Change, EngineState
from toucan.core.venue_messages import Book, Quote
from toucan.engine.handshake import EVENT_HEAD, Greeting, Hello, decode_market
from toucan.engine.history import History
from toucan.engine.port import Applied, EngineAway, EventListener, Listener
from toucan.engine.recovery import apply_records, recover
from toucan.engine.shared import attach_doorbell, attach_log
from toucan.errors import HandshakeFailed, ToucanError
from toucan.journal.errors import JournalError
from toucan.journal.reader import Follower
from toucan.limits import (
    HANDSHAKE_TIMEOUT_S,
    LINK_RETRY_S,
    LINK_RETRY_S_MAX,
    PROTOCOL_VERSION,
    REQUEST_BYTES_MAX,
    REQUESTS_UNDER_WAY_MAX,
)

__all__ = ["EngineLink"]

_log = structlog.get_logger(__name__)
_encode = msgspec.msgpack.Encoder().encode
_replies = msgspec.msgpack.Decoder(Reply)
_greetings = msgspec.msgpack.Decoder(Greeting)
#: Messages of a log taken in one turn of the loop.
_LOG_MESSAGES_MAX = 256
_CHANNEL_DESCRIPTORS = 3


class _Connection:
    """What holds as long as one engine lives."""

    def __init__(self, sock: socket.socket, greeting: Greeting, descriptors: list[int]) -> None:
        self.sock = sock
        self.greeting = greeting
        doorbell = attach_doorbell(descriptors[_CHANNEL_DESCRIPTORS])
        self.events: LogReader = attach_log(descriptors[_CHANNEL_DESCRIPTORS + 1])
        self.market: LogReader = attach_log(descriptors[_CHANNEL_DESCRIPTORS + 2])
        self.channel = ClientChannel.attach(descriptors[:_CHANNEL_DESCRIPTORS], wake_server=doorbell.wake)

    def close(self) -> None:
        self.channel.close()
        self.sock.close()


class EngineLink:
    """See :class:`toucan.engine.port.EnginePort`. Begin with :meth:`start`, end with :meth:`stop`; one event loop."""

    def __init__(self, socket_path: Path, name: str) -> None:
        self.state = EngineState()
        self.instruments: dict[str, Instrument] = {}
        self.quotes: dict[str, Quote] = {}
        self.books: dict[str, Book] = {}
        self.is_stale = True
        self.base_currency = ""
        self._path = socket_path
        self._name = name
        self._journal_id = ""
        self._journal = Path()
        self._follower: Follower | None = None
        self._history = History()
        self._listeners: dict[int, Listener] = {}
        # The same, as a tuple that stays as it is while it is gone through.
        self._telling: tuple[Listener, ...] = ()
        self._following: tuple[Callable[[Applied], None], ...] = ()
        self._next_listener = 0
        self._connection: _Connection | None = None
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._unsent: collections.deque[bytes] = collections.deque()
        self._is_sending_due = False
        self._is_news_due = False
        self._next_tag = 1
        self._seq_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._is_catching_up = False
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._ready = asyncio.Event()

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Looks for the engine from now on."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="engine link")

    async def ready(self, timeout_s: float | None = None) -> bool:
        """Waits until the copy follows an engine; False: it does not in time."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), timeout_s)
        return not self.is_stale

    async def stop(self) -> None:
        """Lets go of the engine."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._disconnect("the front end is stopping")

    async def _run(self) -> None:
        pause_s = LINK_RETRY_S
        while True:
            try:
                await self._connect()
                pause_s = LINK_RETRY_S
                await self._lost.wait()
                _log.warning("the engine is away", front=self._name)
            except (OSError, ShmError, ToucanError, JournalError, msgspec.MsgspecError) as error:
                _log.debug("no engine yet", error=str(error))
            finally:
                self._disconnect("the engine is away")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LINK_RETRY_S_MAX)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._lost.clear()
        connection = await _greeted_in_thread(self._path, self._name)
        self._connection = connection
        greeting = connection.greeting
        self.instruments = {one.symbol: one for one in greeting.instruments}
        self.base_currency = greeting.base_currency
        self._journal = Path(greeting.journal)
        loop.add_reader(connection.sock.fileno(), self._on_socket)
        if greeting.journal_id != self._journal_id:
            await self._recover(greeting)
        else:
            await self._catch_up(greeting.committed_seq)
        self.state.risk.use_instruments(self.instruments)
        loop.add_reader(connection.channel.fileno(), self._on_wake)
        self._set_stale(False)
        self._ready.set()
        self._on_wake()

    def _disconnect(self, why: str) -> None:
        connection, self._connection = self._connection, None
        self._set_stale(True)
        self._ready.clear()
        if connection is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(connection.sock.fileno())
            if not connection.channel.is_closed:
                loop.remove_reader(connection.channel.fileno())
            connection.close()
        self._unsent.clear()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(
                    EngineAway(f"{why}: whether this was executed is told when it is sent again")
                )

    def _on_socket(self) -> None:
        assert self._connection is not None
        try:
            data = self._connection.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()

    def _lose(self) -> None:
        if self._connection is not None:
            asyncio.get_running_loop().remove_reader(self._connection.sock.fileno())
        self._lost.set()

    # ------------------------------------------------------------ the copy

    async def _recover(self, greeting: Greeting) -> None:
        history = History()
        self.state, self._follower = await asyncio.to_thread(
            recover,
            self._journal,
            greeting.committed_seq,
            lambda seq, at_ns, event, _: history.put(seq, at_ns, event),
        )
        if not history.seq:
            history.restart(self.state.seq)
        self._history, self._journal_id = history, greeting.journal_id
        for quote in self.quotes.values():
            self._mark(quote)
        for listener in self._telling:
            listener.on_resync()
        self._wake_seq_waiters()

    async def _catch_up(self, up_to_seq: int) -> None:
        """Reads from the journal what was missed. Only what is committed is asked for."""
        if up_to_seq <= self.state.seq:
            return
        follower = self._follower
        assert follower is not None
        while records := await asyncio.to_thread(follower.read, up_to_seq):
            apply_records(self.state, records, self._applied)
            self._wake_seq_waiters()

    def _applied(self, seq: int, at_ns: int, event: Event, change: Change) -> None:
        """Each event is told before the next one is applied: listeners see the order as it was after this one."""
        self._history.put(seq, at_ns, event)
        applied = Applied(seq, at_ns, event, change)
        for tell in self._following:
            tell(applied)

    def _wake_seq_waiters(self) -> None:
        if not self._seq_waiters:
            return
        still = []
        for seq, future in self._seq_waiters:
            if future.done():
                continue
            if seq <= self.state.seq:
                future.set_result(None)
            else:
                still.append((seq, future))
        self._seq_waiters = still

    def _set_stale(self, is_stale: bool) -> None:
        if is_stale is not self.is_stale:
            self.is_stale = is_stale
            for listener in self._telling:
                listener.on_staleness(is_stale)

    def _on_wake(self) -> None:
        """Answers first; the copy follows behind those who wait for them, so that no answer is held up by what came of it."""
        if self._connection is not None:
            self._connection.channel.drain()
            self._guarded(self._take_replies, self._send_unsent)
            self._take_news_soon()

    def _take_news_soon(self) -> None:
        if not self._is_news_due:
            self._is_news_due = True
            asyncio.get_running_loop().call_soon(self._take_news)

    def _take_news(self) -> None:
        self._is_news_due = False
        self._guarded(self._take_events, self._take_market)

    def _guarded(self, *steps: Callable[[_Connection], None]) -> None:
        """Does something with the engine's memory, if there is an engine."""
        connection = self._connection
        if connection is None:
            return
        try:
            for step in steps:
                step(connection)
        except (ShmError, msgspec.MsgspecError, ValueError) as error:
            _log.error("the engine's memory is broken; connecting anew", error=str(error))
            self._lose()

    def _take_events(self, connection: _Connection) -> None:
        if self._is_catching_up:
            return  # it takes them when it is done
        messages = connection.events.take(_LOG_MESSAGES_MAX)
        for message in messages:
            if isinstance(message, Gap):
                continue  # seen by the numbers of the events
            first_seq, count, at_ns = EVENT_HEAD.unpack_from(message.payload)
            if first_seq > self.state.seq + 1:
                self._wake_seq_waiters()
                self._start_catching_up(first_seq + count - 1)
                return
            if first_seq + count - 1 <= self.state.seq:
                continue
            for seq, event in enumerate(decode(message.payload[EVENT_HEAD.size :]), first_seq):
                self._applied(seq, at_ns, event, self.state.apply(seq, at_ns, event))
        self._wake_seq_waiters()
        if len(messages) == _LOG_MESSAGES_MAX:
            self._take_news_soon()

    def _start_catching_up(self, up_to_seq: int) -> None:
        """The log's writer was faster: the journal has what is missing, including the message just taken."""
        self._is_catching_up = True
        self._set_stale(True)
        task = asyncio.get_running_loop().create_task(self._catch_up(up_to_seq))

        def done(task: asyncio.Task[None]) -> None:
            self._is_catching_up = False
            if task.cancelled() or task.exception() is not None:
                self._lose()
                return
            if self._connection is not None:
                self._set_stale(False)
                self._on_wake()

        task.add_done_callback(done)

    def _take_market(self, connection: _Connection) -> None:
        changed: dict[str, None] = {}
        messages = connection.market.take(_LOG_MESSAGES_MAX)
        for message in messages:
            if isinstance(message, Gap):
                continue  # only the newest counts
            item = decode_market(message.payload)
            if isinstance(item, Quote):
                self.quotes[item.symbol] = item
                self._mark(item)
            else:
                self.books[item.symbol] = item
            changed[item.symbol] = None
        if changed:
            for listener in self._telling:
                listener.on_market([*changed])
        if len(messages) == _LOG_MESSAGES_MAX:
            self._take_news_soon()

    def _mark(self, quote: Quote) -> None:
        price = reference_price(quote)
        if price is not None:
            self.state.risk.mark(quote.symbol, price)

    # ------------------------------------------------------------ asking

    def _take_replies(self, connection: _Connection) -> None:
        messages = connection.channel.receive()
        while messages:
            for message in messages:
                reply = _replies.decode(message)
                future = self._waiting.pop(reply.tag, None)
                if future is not None and not future.done():
                    future.set_result(reply)
            messages = connection.channel.receive()

    async def ask(self, client: Client, number: int, body: Body, timeout_s: float | None = None) -> Reply:
        """See the protocol."""
        connection = self._connection
        if connection is None or self.is_stale:
            raise EngineAway("the engine is away; nothing was sent")
        if len(self._waiting) >= REQUESTS_UNDER_WAY_MAX:
            text = f"{REQUESTS_UNDER_WAY_MAX} requests of this front end are unanswered; send it again"
            return Reply(0, self.state.seq, Refused(Refusal.ENGINE_OVERLOADED, text))
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        deadline_ns = None if timeout_s is None else _monotonic_ns() + int(timeout_s * 1e9)
        message = _encode(Request(tag, client, number, body, deadline_ns))
        if len(message) > REQUEST_BYTES_MAX:
            text = f"the request has {len(message):,} bytes; {REQUEST_BYTES_MAX:,} are the most"
            return Reply(tag, self.state.seq, Refused(Refusal.INVALID_ORDER, text))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        self._waiting[tag] = future
        self._unsent.append(message)
        self._send_soon(loop)
        timer = None if timeout_s is None else loop.call_later(timeout_s, _time_out, future)
        try:
            return await future
        finally:
            self._waiting.pop(tag, None)
            if timer is not None:
                timer.cancel()

    def _send_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Behind what is ready to run now: what that asks for goes with it, and the engine is woken once."""
        if not self._is_sending_due:
            self._is_sending_due = True
            loop.call_soon(self._send_due)

    def _send_due(self) -> None:
        self._is_sending_due = False
        self._guarded(self._send_unsent)

    def _send_unsent(self, connection: _Connection) -> None:
        channel = connection.channel
        while self._unsent and channel.send(self._unsent[0]):
            self._unsent.popleft()
        channel.flush()
        if self._unsent:
            channel.want_room()

    # ------------------------------------------------------------ for listeners

    async def wait_for(self, seq: int, timeout_s: float) -> bool:
        """See the protocol."""
        if seq <= self.state.seq:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._seq_waiters.append((seq, future))
        try:
            await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return False
        return True

    def history(self, after_seq: int) -> list[tuple[int, int, Event]] | None:
        """See the protocol."""
        return self._history.after(after_seq)

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """See the protocol."""
        number, self._next_listener = self._next_listener, self._next_listener + 1
        self._listeners[number] = listener
        self._list_listeners()

        def remove() -> None:
            self._listeners.pop(number, None)
            self._list_listeners()

        return remove

    def _list_listeners(self) -> None:
        self._telling = tuple(self._listeners.values())
        self._following = tuple(one.on_applied for one in self._telling if isinstance(one, EventListener))


def _time_out(future: asyncio.Future[Reply]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())


def _monotonic_ns() -> int:
    return int(asyncio.get_running_loop().time() * 1e9)


async def _greeted_in_thread(path: Path, name: str) -> _Connection:
    """As :func:`_greeted`. A connection that nobody waits for any more is closed, by whoever learns of that last."""
    lock = threading.Lock()
    made: list[_Connection] = []
    is_wanted = True

    def greet() -> None:
        connection = _greeted(path, name)
        with lock:
            if is_wanted:
                made.append(connection)
                return
        connection.close()

    try:
        await asyncio.to_thread(greet)
    except asyncio.CancelledError:
        with lock:
            is_wanted = False
        for connection in made:
            connection.close()
        raise
    return made[0]


def _greeted(path: Path, name: str) -> _Connection:
    """Connects and says hello; blocks, so in a thread. Raises ``OSError``, :class:`HandshakeFailed` and shmipc's errors."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    descriptors: collections.deque[int] = collections.deque()
    try:
        sock.settimeout(HANDSHAKE_TIMEOUT_S)
        sock.connect(str(path))
        sock.sendall(encode_frame(_encode(Hello(PROTOCOL_VERSION, name))))
        decoder = FrameDecoder()
        frames: list[Any] = []
        while not frames:
            data = receive(sock, descriptors)
            if not data:
                raise HandshakeFailed("the engine closed the connection instead of greeting")
            frames = decoder.feed(data)
        greeting = _greetings.decode(frames[0])
        if greeting.error:
            raise HandshakeFailed(greeting.error)
        sock.setblocking(False)
        taken, descriptors = list(descriptors), collections.deque()
        return _Connection(sock, greeting, taken)
    except BaseException:
        sock.close()
        for fd in descriptors:
            os.close(fd)
        raise
