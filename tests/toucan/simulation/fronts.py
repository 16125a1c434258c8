"""Front ends: they pass requests on, keep session streams, lose everything when they die; and the shared memory between them and the engine."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

import msgspec

from toucan.core import requests as rq
from toucan.core.order import Client
from toucan.core.outcomes import Done
from toucan.core.requests import Reply, Request

from .world import MS, World

if TYPE_CHECKING:
    from .engines import SimulatedEngine

__all__ = ["MemoryChannel", "SimulatedFront"]

#: Messages that fit a ring; few, so that it is full now and then.
RING_MESSAGES_MAX = 30
_encode = msgspec.msgpack.Encoder().encode
_replies = msgspec.msgpack.Decoder(Reply)
#: Called with the reply; never, if it is lost.
OnReply = Callable[[Reply], None]


class MemoryChannel:
    """The engine's side of a :class:`~shmipc.channel.ServerChannel`, without memory that is shared."""

    def __init__(self, world: World, front: SimulatedFront) -> None:
        self.requests: list[bytes] = []
        self.is_closed = False
        self._world = world
        self._front = front
        self._staged: list[bytes] = []
        self._in_ring = 0

    @property
    def has_staged(self) -> bool:
        """Whether something waits for a flush."""
        return bool(self._staged)

    def receive(self, count_max: int) -> list[bytes]:
        """Requests."""
        taken, self.requests = self.requests[:count_max], self.requests[count_max:]
        return taken

    def send(self, payload: bytes) -> bool:
        """Stages an answer; False: the ring is full."""
        self._world.point("reply")
        if len(self._staged) + self._in_ring >= RING_MESSAGES_MAX:
            self._world.counts["full rings"] += 1
            return False
        self._staged.append(payload)
        return True

    def flush(self) -> None:
        """What is staged can be read; it stays readable if the engine dies."""
        self._world.point("flush")
        staged, self._staged = self._staged, []
        self._in_ring += len(staged)
        delay_ns = self._world.between(20_000, 500_000) + self._front.stall_ns

        def read() -> None:
            self._in_ring -= len(staged)
            self._front.take(self, staged)

        self._world.after(delay_ns, read)

    def wake(self) -> None:
        """There is other news."""

    def want_room(self) -> None:
        """The next turn tries again."""
        self._front.ring_later()

    def close(self) -> None:
        """Nothing goes over it any more."""
        self.is_closed = True


class SimulatedFront:
    """One front end."""

    def __init__(self, world: World, number: int) -> None:
        self.number = number
        self.is_alive = True
        #: How long it does not read what it is told.
        self.stall_ns = 0
        self.channel: MemoryChannel | None = None
        self._world = world
        self._engine: SimulatedEngine | None = None
        self._tags = count(1)
        self._waiting: dict[int, OnReply] = {}
        #: Session streams: of whom, and the event that opened each.
        self.streams: dict[Client, tuple[rq.OpenSession, int, Callable[[], None]]] = {}
        self._broken: dict[Client, int] = {}

    # ------------------------------------------------------------ the engine

    def connected(self, engine: SimulatedEngine) -> MemoryChannel:
        """Another engine, or the same one again: requests that were under way are lost; streams are opened again."""
        self._engine = engine
        self.channel = MemoryChannel(self._world, self)
        self._waiting = {}
        for client, (body, _, on_open) in list(self.streams.items()):
            self.open_stream(client, body, on_open)
        return self.channel

    def engine_is_gone(self) -> None:
        """Its socket has ended."""
        self.channel = None

    def ring_later(self) -> None:
        if self._engine is not None:
            self._world.after(MS, self._engine.ring)

    def ask(
        self, client: Client, number: int, body: rq.Body, on_reply: OnReply, deadline_ns: int | None = None
    ) -> None:
        """Passes a request on; if the engine is away, it is lost, and whoever asked will ask again."""
        if not self.is_alive or self.channel is None or self._engine is None:
            return
        tag = next(self._tags)
        self._waiting[tag] = on_reply
        self.channel.requests.append(_encode(Request(tag, client, number, body, deadline_ns)))
        self._engine.ring()

    def take(self, channel: MemoryChannel, messages: list[bytes]) -> None:
        """Answers come, also those that an engine gave just before it died."""
        if not self.is_alive:
            return
        if channel is not self.channel and self.channel is not None:
            return  # of a ring that was given back
        for message in messages:
            reply = _replies.decode(message)
            on_reply = self._waiting.pop(reply.tag, None)
            if on_reply is not None:
                on_reply(reply)

    # ------------------------------------------------------------ session streams

    def open_stream(self, client: Client, body: rq.OpenSession, on_open: Callable[[], None]) -> None:
        """A client's session stream begins, and is taken up again with each engine."""
        self.streams[client] = (body, 0, on_open)

        def opened(reply: Reply) -> None:
            if client in self.streams and isinstance(reply.outcome, Done):
                self.streams[client] = (body, reply.seq, on_open)
                on_open()

        self.ask(client, 0, body, opened)

    def close_stream(self, client: Client) -> None:
        """An orderly logout."""
        stream = self.streams.pop(client, None)
        if stream is not None:
            self.ask(client, 0, rq.CloseSession(stream[1]), lambda reply: None)

    def lose_stream(self, client: Client) -> None:
        """The client is gone."""
        stream = self.streams.pop(client, None)
        if stream is not None:
            self._broken[client] = stream[1]
            self._tell_broken(client)

    def _tell_broken(self, client: Client) -> None:
        """Until the engine has heard it."""
        if client not in self._broken or not self.is_alive or client in self.streams:
            return

        def heard(reply: Reply) -> None:
            self._broken.pop(client, None)

        self.ask(client, 0, rq.SessionBroken(self._broken[client]), heard)
        self._world.after(200 * MS, lambda: self._tell_broken(client))

    def die(self) -> None:
        """kill -9; it tells nobody anything."""
        self.is_alive = False
        if self._engine is not None:
            self._engine.left(self)
