"""Connections between simulated masters: what :class:`cashy.peer.client.Peer` is to a master, with the network drawn from the seed.

Messages are the real ones, as bytes, and answered by the real :class:`~cashy.peer.service.PeerService`. A connection keeps their order, as TCP does;
a partition holds them back (one way or both), and what is held comes after it, if the connection has not been given up for dead meanwhile. A
connection that is cut loses its answers, while requests may still be worked on. Requests may be worked on twice, as after a repetition.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import crc32c

from cashy.core.coherence import Change, Grant
from cashy.core.hot_blocks import NOT_HOT, Hot
from cashy.core.peer_frames import Kind
from cashy.errors import CashyError, InternalError, VersionChanged
from cashy.origin.base import ObjectMeta
from cashy.peer.errors import PeerElsewhere, PeerTimeout, PeerUnavailable
from cashy.peer.messages import (
    changed_payload,
    error_payload,
    head_request_payload,
    lease_payload,
    lease_request_payload,
    meta_payload,
    noted_payload,
    parse_changed,
    parse_error,
    parse_head_request,
    parse_lease,
    parse_lease_request,
    parse_meta,
    parse_noted,
    parse_read_request,
    read_request_payload,
)
from cashy.peer.service import HeadAnswer, Noted, PeerRead, PeerService

from .loop import SimulatedLoop
from .process import NS, Process

if TYPE_CHECKING:
    from .host import SimulatedHost

__all__ = ["Network", "SimulatedPeer"]

_SILENT_AFTER_S = 1.25
_DEAD_AFTER_S = 2.5
_SWEEP_S = 0.25
_IDLE_SWEEP_S = 1.5
_CONNECT_S_MAX = 1.0
_BACKOFF_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0)
_PIECE_BYTES = 32_768
_SLOW_S = 0.6


class Network:
    """All links between hosts."""

    def __init__(self, loop: SimulatedLoop, seed: int, say: Callable[[str, str], None]) -> None:
        self.loop = loop
        self.say = say
        self.latency_ms = 0.3
        self.spike_share = 0.01
        self.spike_s = 0.3
        self.twice_share = 0.02
        #: Links on which messages take long.
        self.slow_links: Counter[tuple[str, str]] = Counter()
        self.hosts: dict[str, SimulatedHost] = {}
        self.connections: list[Connection] = []
        self._blocked: dict[tuple[str, str], int] = {}
        self._seed = seed
        self._draws: dict[tuple[str, str], random.Random] = {}

    def draw(self, source: str, target: str) -> random.Random:
        """Chance on one link: what happens on one does not change what happens on another."""
        if (source, target) not in self._draws:
            self._draws[source, target] = random.Random(f"link {source} {target} {self._seed}")
        return self._draws[source, target]

    def delay_ns(self, source: str, target: str) -> int:
        draw = self.draw(source, target)
        seconds = self.latency_ms / 1000 * (0.3 + draw.random() * 1.4)
        if draw.random() < self.spike_share:
            seconds += draw.random() * self.spike_s
        if self.slow_links[source, target]:
            seconds += draw.random() * _SLOW_S
        return int(seconds * NS)

    def is_blocked(self, source: str, target: str) -> bool:
        return self._blocked.get((source, target), 0) > 0

    def block(self, source: str, target: str) -> None:
        self._blocked[source, target] = self._blocked.get((source, target), 0) + 1

    def unblock(self, source: str, target: str) -> None:
        self._blocked[source, target] -= 1
        if not self.is_blocked(source, target):
            for connection in list(self.connections):
                connection.unblocked(source)

    def cut(self, one: str, other: str) -> None:
        """Breaks the connections between two hosts."""
        for connection in list(self.connections):
            if {connection.client.own_name, connection.client.name} == {one, other}:
                connection.cut()

    def process_gone(self, process: Process) -> None:
        """Its kernel closes its connections."""
        for connection in list(self.connections):
            if process in (connection.client.process, connection.server_process):
                connection.cut()


class Connection:
    """One connection: the client's requests and the server's answers, in order each."""

    def __init__(
        self, network: Network, client: SimulatedPeer, server: SimulatedHost, service: PeerService
    ) -> None:
        self.network = network
        self.client = client
        self.service = service
        assert server.master is not None
        self.server_process = server.master
        self.is_open = True
        self.replies: dict[int, _Reply] = {}
        self.headings: dict[int, asyncio.Task[None]] = {}
        self.heard_ns = network.loop.true_ns
        self._due_ns = {True: 0, False: 0}
        self._held: dict[bool, list[tuple[Callable[..., object], tuple[Any, ...]]]] = {True: [], False: []}
        network.connections.append(self)

    def _ends(self, to_server: bool) -> tuple[str, str, Process]:
        own, other = self.client.own_name, self.client.name
        return (own, other, self.server_process) if to_server else (other, own, self.client.process)

    def post(self, to_server: bool, callback: Callable[..., object], *args: Any) -> None:
        """A message on its way; ``callback`` is what happens at the other end."""
        if not self.is_open:
            return
        source, target, process = self._ends(to_server)
        if self.network.is_blocked(source, target):
            self._held[to_server].append((callback, args))
            return
        loop = self.network.loop
        due_ns = max(self._due_ns[to_server], loop.true_ns + self.network.delay_ns(source, target)) + 1
        self._due_ns[to_server] = due_ns
        loop.call_in(process, due_ns - loop.true_ns, self._deliver, to_server, callback, args)

    def _deliver(self, to_server: bool, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        if not to_server:
            if not self.is_open or self.client.connection is not self:
                return
            self.heard_ns = self.network.loop.true_ns
        elif not self.is_open:
            draw = self.network.draw(self.client.own_name, self.client.name)
            if callback != self.requested or args[0] is Kind.HEAD or draw.random() < 0.5:
                return  # it had not arrived when the connection was cut
        callback(*args)

    def unblocked(self, source: str) -> None:
        """What was held is sent again, when TCP gets round to it."""
        to_server = source == self.client.own_name
        if source not in (self.client.own_name, self.client.name):
            return
        held, self._held[to_server] = self._held[to_server], []
        if held:
            pause_ns = int(self.network.draw(source, "again").random() * NS)
            self._due_ns[to_server] = max(self._due_ns[to_server], self.network.loop.true_ns + pause_ns)
        for callback, args in held:
            self.post(to_server, callback, *args)

    def cut(self) -> None:
        """Both ends notice, each when word reaches it."""
        if not self.is_open:
            return
        self.is_open = False
        self.network.connections.remove(self)
        for to_server in (True, False):
            source, target, process = self._ends(to_server)
            delay_ns = self.network.delay_ns(source, target)
            if self.network.is_blocked(source, target):
                delay_ns += int(5 * NS)
            end = self._server_lost if to_server else self.client.lost
            self.network.loop.call_in(process, delay_ns, end, *(() if to_server else (self,)))

    def _server_lost(self) -> None:
        for reply in list(self.replies.values()):
            reply.cancel()
        for task in self.headings.values():
            task.cancel()
        self.headings.clear()

    # --- what the server does with requests, as cashy.peer.serving ---

    def requested(self, kind: Kind, number: int, payload: bytes) -> None:
        """A request has arrived."""
        try:
            if kind is Kind.HEAD:
                request = parse_head_request(payload, self.client.own_name)
                self.headings[number] = asyncio.get_running_loop().create_task(self._head(number, request))
            elif kind is Kind.CHANGED:
                self._answer(number, noted_payload(self.service.changed(parse_changed(payload))))
            else:
                assert kind is Kind.LEASE
                grant = self.service.lease(self.client.own_name, *parse_lease_request(payload))
                self._answer(number, lease_payload(grant))
        except CashyError as error:
            self._fail(number, error)

    async def _head(self, number: int, request: Any) -> None:
        try:
            self._answer(number, meta_payload(await self.service.head(request)))
        except CashyError as error:
            self._fail(number, error)
        finally:
            self.headings.pop(number, None)

    def _answer(self, number: int, payload: bytes) -> None:
        self.post(False, self.client.answered, number, payload)

    def _fail(self, number: int, error: CashyError) -> None:
        payload = error_payload(error.code, error.message)
        self.post(False, self.client.refused, number, payload)

    def read_requested(self, number: int, payload: bytes) -> None:
        request = parse_read_request(payload, self.client.own_name, self.client.block_bytes)
        reply = self.replies[number] = _Reply(self, number)
        try:
            self.service.read(request, reply)
        except CashyError as error:
            reply.fail(error)

    def cancelled(self, number: int) -> None:
        if number in self.replies:
            self.replies[number].cancel()
        elif number in self.headings:
            self.headings.pop(number).cancel()

    def pinged(self) -> None:
        self.post(False, lambda: None)


class _Reply:
    """An answer to a read, as :class:`cashy.peer.replies.Reply`: bytes leave one piece at a time, and the memory is held until then."""

    def __init__(self, connection: Connection, number: int) -> None:
        self._connection = connection
        self._number = number
        self._loop = connection.network.loop
        self.on_cancel: Callable[[], None] | None = None
        self.is_at_origin: Callable[[], bool] | None = None
        self.hot = NOT_HOT
        self.is_gone = False
        self._buffer: memoryview | None = None
        self._available = self._sent = self._crc = 0
        self._is_leaving = False
        self._when_gone: Callable[[], None] | None = None

    def begin(
        self, meta: ObjectMeta, length: int, fresh_for_s: float, buffer: memoryview, available: int,
        when_gone: Callable[[], None], known_as: Hashable = None,
    ) -> None:  # fmt: skip
        assert self._when_gone is None
        assert len(buffer) == length >= available
        if self.is_gone:
            self._loop.call_soon(when_gone)
            return
        self._when_gone = when_gone
        milliseconds_s = max(0, int(fresh_for_s * 1000)) / 1000  # as the message has it
        self._connection.post(
            False, self._connection.client.read_begun, self._number, meta, length, milliseconds_s, self.hot
        )
        if not length:
            self._end()
            self._release_soon()
            return
        self._buffer = buffer
        self.advance(available)

    def advance(self, available: int) -> None:
        if self.is_gone:
            return
        assert self._available <= available
        self._available = available
        if not self._is_leaving and self._sent < available:
            self._is_leaving = True
            self._loop.call_later(0.0001, self._leave)

    def _leave(self) -> None:
        self._is_leaving = False
        if self.is_gone or self._buffer is None:
            return
        end = min(self._available, self._sent + _PIECE_BYTES)
        piece = bytes(self._buffer[self._sent : end])
        self._sent = end
        self._crc = crc32c.crc32c(piece, self._crc)
        self._connection.post(False, self._connection.client.read_grown, self._number, piece, self._crc)
        if end == len(self._buffer):
            self._end()
            when_gone, self._when_gone = self._when_gone, None
            if when_gone is not None:
                when_gone()
        else:
            self.advance(self._available)

    def fail(self, error: CashyError) -> None:
        if self.is_gone:
            return
        self._end()
        hot = error.hot if isinstance(error, PeerElsewhere) else NOT_HOT
        payload = error_payload(error.code, error.message, hot)
        self._connection.post(False, self._connection.client.read_refused, self._number, payload)
        self._release_soon()

    def cancel(self) -> None:
        if self.is_gone:
            return
        self._end()
        when_gone, self._when_gone = self._when_gone, None
        if when_gone is not None:
            when_gone()
        on_cancel, self.on_cancel = self.on_cancel, None
        if on_cancel is not None:
            on_cancel()

    def _end(self) -> None:
        self.is_gone = True
        self._buffer = None
        self._connection.replies.pop(self._number, None)

    def _release_soon(self) -> None:
        when_gone, self._when_gone = self._when_gone, None
        if when_gone is not None:
            self._loop.call_soon(when_gone)


class _Reading:
    """A read at the asking side, as :class:`cashy.peer.requests.Reading`."""

    def __init__(self, read: PeerRead, due_ns: int) -> None:
        self.read = read
        self.due_ns = due_ns
        self.number = 0
        self.is_over = False
        self.buffer: memoryview | None = None
        self.received = 0

    def detach(self) -> None:
        if self.buffer is not None:
            self.buffer = None
            self.read.sink.detached()

    def end(self, error: CashyError | None) -> None:
        if not self.is_over:
            self.is_over = True
            self.detach()
            self.read.on_done(self.read, error)


class SimulatedPeer:
    """One other host, as :class:`cashy.peer.client.Peer`: the same methods and the same errors."""

    def __init__(
        self, network: Network, own_name: str, name: str, process: Process, block_bytes: int
    ) -> None:
        self.network = network
        self.own_name = own_name
        self.name = name
        self.process = process
        self.block_bytes = block_bytes
        self.address = ("", 0)
        self.last_error = ""
        self.connection: Connection | None = None
        self._loop = network.loop
        self._failures = 0
        self._is_started = False
        self._is_closed = False
        self._numbers = 0
        self._questions: dict[int, asyncio.Future[bytes]] = {}
        self._heads: set[int] = set()
        self._reads: dict[int, _Reading] = {}
        self._waiting: list[Callable[[], None]] = []
        self._keeper: asyncio.Task[None] | None = None

    # --- state ---

    def start(self) -> None:
        self._is_started = True
        self._keeper = self._loop.create_task(self._keep())

    @property
    def is_up(self) -> bool:
        return self.connection is not None

    @property
    def requests_under_way(self) -> int:
        return len(self._questions) + len(self._reads) + len(self._waiting)

    async def finish(self, within_s: float) -> None:
        while self.requests_under_way and within_s > 0:
            await asyncio.sleep(_SWEEP_S)
            within_s -= _SWEEP_S
        await self.close()

    def is_worth_trying(self) -> bool:
        return self.connection is not None or (
            self._failures == 0 and self._is_started and not self._is_closed
        )

    def is_sending(self) -> bool:
        return False

    @property
    def is_silent(self) -> bool:
        connection = self.connection
        if connection is None or not self.requests_under_way:
            return False
        return self._loop.true_ns - connection.heard_ns > _SILENT_AFTER_S * NS

    def counters(self) -> dict[str, int]:
        return {}

    async def close(self) -> None:
        self._is_closed = True
        if self._keeper is not None:
            self._keeper.cancel()
        if self.connection is not None:
            self.connection.cut()

    async def _keep(self) -> None:
        while True:
            if self.connection is None:
                await self._connect()
            else:
                self._sweep()
            if self.connection is None:
                pause_s = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
            else:
                pause_s = _SWEEP_S if self._questions or self._reads else _IDLE_SWEEP_S
            await asyncio.sleep(pause_s * (0.5 + self.network.draw(self.own_name, self.name).random() / 2))

    async def _connect(self) -> None:
        """A round trip, if both ways are open and somebody listens."""
        own, name, network = self.own_name, self.name, self.network
        trip_ns = network.delay_ns(own, name) + network.delay_ns(name, own)
        await asyncio.sleep(trip_ns / NS)
        host = network.hosts[name]
        if self._is_closed:
            return
        if (
            network.is_blocked(own, name)
            or network.is_blocked(name, own)
            or (host.master and host.master.is_frozen)
        ):
            await asyncio.sleep(_CONNECT_S_MAX)
            self._failed_to_connect("no connection in time")
        elif host.master is None or host.service is None or not host.lets_in(own):
            self._failed_to_connect("refused")
        else:
            self.connection = Connection(network, self, host, host.service)
            self._failures = 0
            waiting, self._waiting = self._waiting, []
            for submit in waiting:
                submit()

    def _failed_to_connect(self, why: str) -> None:
        self._failures += 1
        self.last_error = why
        waiting, self._waiting = self._waiting, []
        for submit in waiting:
            submit()

    def _sweep(self) -> None:
        connection = self.connection
        assert connection is not None
        if self._questions or self._reads:
            connection.post(True, connection.pinged)
            if self._loop.true_ns - connection.heard_ns > _DEAD_AFTER_S * NS:
                connection.cut()
                self.lost(connection)
            elif self.is_silent:
                for number in [*self._heads]:
                    self._too_late(self._questions[number])
        else:
            connection.heard_ns = self._loop.true_ns

    def lost(self, connection: Connection) -> None:
        """The connection is gone: what is under way on it fails."""
        if self.connection is not connection:
            return
        self.connection = None
        self._failures = max(1, self._failures)
        error = self._down()
        questions, self._questions = self._questions, {}
        reads, self._reads = self._reads, {}
        for answer in questions.values():
            if not answer.done():
                answer.set_exception(error)
        for reading in reads.values():
            reading.end(error)

    def _down(self) -> PeerUnavailable:
        return PeerUnavailable(f"host {self.name!r} is down: {self.last_error}")

    # --- questions ---

    async def head(
        self, origin: str, url: str, bucket: str, key: str, *, revalidate: bool, deadline_s: float
    ) -> HeadAnswer:
        payload = head_request_payload(origin, url, bucket, key, revalidate, deadline_s)
        return parse_meta(await self._ask(Kind.HEAD, payload, deadline_s))

    async def changed(self, changes: Sequence[Change], deadline_s: float) -> Noted:
        return parse_noted(await self._ask(Kind.CHANGED, changed_payload(changes, deadline_s), deadline_s))

    async def lease(self, incarnation: int, number: int, deadline_s: float) -> Grant:
        payload = lease_request_payload(incarnation, number, deadline_s)
        return parse_lease(await self._ask(Kind.LEASE, payload, deadline_s))

    async def status(self, deadline_s: float) -> bytes:
        raise InternalError("nobody asks for the status here")

    async def _ask(self, kind: Kind, payload: bytes, deadline_s: float) -> bytes:
        answer: asyncio.Future[bytes] = self._loop.create_future()
        timer = self._loop.call_later(deadline_s, self._too_late, answer)
        number = self._next_number()
        self._submit(lambda: self._send(kind, number, payload, answer))
        try:
            return await answer
        finally:
            timer.cancel()
            if self._questions.pop(number, None) is not None and self.connection is not None:
                self.connection.post(True, self.connection.cancelled, number)

    def _too_late(self, answer: asyncio.Future[bytes]) -> None:
        if not answer.done():
            answer.set_exception(PeerTimeout(f"host {self.name!r} did not answer in time"))

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _submit(self, send: Callable[[], None]) -> None:
        if self.connection is None and self.is_worth_trying():
            self._waiting.append(send)
        else:
            send()

    def _send(self, kind: Kind, number: int, payload: bytes, answer: asyncio.Future[bytes]) -> None:
        if answer.done():
            return
        connection = self.connection
        if connection is None:
            self._loop.call_soon(_fail, answer, self._down())
            return
        self._questions[number] = answer
        if kind is Kind.HEAD:
            self._heads.add(number)
            answer.add_done_callback(lambda _: self._heads.discard(number))
        connection.post(True, connection.requested, kind, number, payload)
        if (
            kind is not Kind.HEAD
            and self.network.draw(self.own_name, self.name).random() < self.network.twice_share
        ):
            connection.post(True, connection.requested, kind, number, payload)

    def answered(self, number: int, payload: bytes) -> None:
        answer = self._questions.pop(number, None)
        if answer is not None and not answer.done():
            answer.set_result(payload)

    def refused(self, number: int, payload: bytes) -> None:
        answer = self._questions.pop(number, None)
        if answer is not None and not answer.done():
            answer.set_exception(parse_error(payload, self.name))

    # --- reads ---

    def begin_read_block(self, read: PeerRead) -> None:
        reading = read.state = _Reading(read, 0)
        self._loop.call_later(read.silence_s, self._read_too_late, reading)  # no host says WAITING here
        self._loop.call_soon(self._submit, lambda: self._send_read(reading))

    def _send_read(self, reading: _Reading) -> None:
        if reading.is_over:
            return
        connection = self.connection
        if connection is None:
            reading.end(self._down())
            return
        reading.number = self._next_number()
        self._reads[reading.number] = reading
        payload = read_request_payload(reading.read, reading.read.deadline_s)
        connection.post(True, connection.read_requested, reading.number, payload)

    def _read_too_late(self, reading: _Reading) -> None:
        if not reading.is_over:
            self._drop(reading)
            reading.end(PeerTimeout(f"host {self.name!r} did not answer in time"))

    def cancel_read_block(self, read: PeerRead) -> None:
        reading = read.state
        if isinstance(reading, _Reading) and not reading.is_over:
            self._drop(reading)
            reading.is_over = True
            reading.detach()

    def _drop(self, reading: _Reading) -> None:
        if self._reads.pop(reading.number, None) is not None and self.connection is not None:
            self.connection.post(True, self.connection.cancelled, reading.number)

    def read_begun(self, number: int, meta: ObjectMeta, length: int, fresh_for_s: float, hot: Hot) -> None:
        reading = self._reads.get(number)
        if reading is None:
            return
        read = reading.read
        read.fresh_for_s, read.hot = fresh_for_s, hot
        try:
            if read.expected_version not in (None, meta.version):
                raise VersionChanged(f"host {self.name!r} has version {meta.version}")
            reading.buffer = read.sink.begin(meta, length)
        except CashyError as error:
            self._drop(reading)
            reading.end(error)
            return
        if reading.is_over:
            reading.detach()
        elif not length:
            del self._reads[number]
            reading.end(None)

    def read_grown(self, number: int, piece: bytes, crc: int) -> None:
        reading = self._reads.get(number)
        if reading is None or reading.buffer is None:
            return
        start, reading.received = reading.received, reading.received + len(piece)
        reading.buffer[start : reading.received] = piece
        is_all = reading.received == len(reading.buffer)
        reading.read.sink.advanced(reading.received, crc)
        if is_all and not reading.is_over:
            self._reads.pop(number, None)
            reading.end(None)

    def read_refused(self, number: int, payload: bytes) -> None:
        reading = self._reads.pop(number, None)
        if reading is not None:
            reading.end(parse_error(payload, self.name))


def _fail(answer: asyncio.Future[bytes], error: CashyError) -> None:
    if not answer.done():
        answer.set_exception(error)
