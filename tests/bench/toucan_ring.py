"""The bench's way to an engine: requests over the rings, prepared beforehand, and as little else as can be.

The product's own front end (:class:`toucan.engine.link.EngineLink`) keeps a copy of the engine's state, which costs about what the engine's own
costs: on the core that the load has, it would be the front end that is measured. This one sends bytes and looks at answers.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from shmipc.broadcast import Gap
from shmipc.channel import ClientChannel
from shmipc.wire import FrameDecoder, encode_frame, receive
from toucan.core.order import Client
from toucan.core.outcomes import Accepted, MassCanceled, Outcome, Refused
from toucan.core.requests import Body, MassCancel, Preview, Reply, Request, Submit
from toucan.core.terms import OrderTerms
from toucan.core.values import OrderType, Side, TimeInForce
from toucan.engine.handshake import EVENT_HEAD, Greeting, Hello
from toucan.engine.shared import attach_doorbell, attach_log
from toucan.limits import PROTOCOL_VERSION

from .row import Unavailable

__all__ = ["PATIENCE_S", "RingClient", "order_id_of", "resting_order", "ring_client"]

#: Nothing for so long means that something is broken.
PATIENCE_S = 30.0
#: Different prices of resting orders: a deep book, all of it far below any market.
PRICES = 500
_RECEIVE_COUNT = 512
_CHANNEL_DESCRIPTORS = 3
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reply).decode
_names = itertools.count(1)


def resting_order(number: int) -> OrderTerms:
    """A purchase that stays in the book; its price varies with ``number``."""
    return OrderTerms(
        account="ACC1", symbol="AAPL", side=Side.BUY, type=OrderType.LIMIT, time_in_force=TimeInForce.GTC,
        quantity=1, price=1000 + number % PRICES,
    )  # fmt: skip


class RingClient:
    """A front end that keeps no state; made by :func:`ring_client`."""

    def __init__(self, sock: socket.socket, descriptors: list[int], greeting: Greeting) -> None:
        doorbell = attach_doorbell(descriptors[_CHANNEL_DESCRIPTORS])
        self._events = attach_log(descriptors[_CHANNEL_DESCRIPTORS + 1])
        os.close(descriptors[_CHANNEL_DESCRIPTORS + 2])  # market data
        self._channel = ClientChannel.attach(descriptors[:_CHANNEL_DESCRIPTORS], wake_server=doorbell.wake)
        self._sock = sock
        self._numbers = itertools.count(1)
        self._tags = itertools.count(1)
        self._client = self.new_client()
        #: The newest event that was heard of.
        self.seq = greeting.committed_seq

    def new_client(self) -> Client:
        """A session that nobody has used."""
        return Client("local", f"ring-{os.getpid()}-{next(_names)}")

    def close(self) -> None:
        """Leaves the engine."""
        self._channel.close()
        self._sock.close()

    # ------------------------------------------------------------ one at a time

    def ask(self, body: Body) -> Reply:
        """One request of this front end's own session, and its answer."""
        request = Request(next(self._tags), self._client, next(self._numbers), body)
        return _decode(self.pipeline([_encode(request)], 1)[0])

    def submit(self, number: int) -> int:
        """A resting order; gives its id."""
        return order_id_of(self.ask(Submit(resting_order(number))).outcome)

    def ask_seq(self) -> int:
        """The newest event at this moment; the question itself makes none."""
        return self.ask(Preview(resting_order(0))).seq

    def cancel_all(self) -> None:
        """Cancels everything, and waits until the venue has confirmed all of it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            outcome = self.ask(MassCancel()).outcome
            if not isinstance(outcome, MassCanceled) or time.monotonic() > deadline:
                raise Unavailable(f"orders are not cancelled: {outcome!r}"[:200])
            if not outcome.order_ids and not outcome.skipped:
                return
            time.sleep(0.02)

    def await_venue(self) -> None:
        """Waits until orders are taken, and cancels the one that was."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            outcome = self.ask(Submit(resting_order(0))).outcome
            if not isinstance(outcome, Refused):
                order_id_of(outcome)
                self.cancel_all()
                return
            if time.monotonic() > deadline:
                raise Unavailable(f"the engine takes no orders: {outcome}")
            time.sleep(0.02)

    # ------------------------------------------------------------ many at a time

    def prepare(self, count: int, sessions: int) -> list[bytes]:
        """Requests for resting orders, dealt out to so many new sessions, as bytes."""
        clients = [self.new_client() for _ in range(sessions)]
        return [
            _encode(
                Request(
                    next(self._tags), clients[number % sessions], number // sessions + 1, Submit(resting_order(number))
                )
            )
            for number in range(count)
        ]  # fmt: skip

    def pipeline(self, requests: Sequence[bytes], window: int) -> list[bytes]:
        """Sends all of them, at most ``window`` unanswered at a time; gives the answers as they came."""
        channel, waiting = self._channel, deque(requests)
        answers: list[bytes] = []
        sent = 0
        while len(answers) < len(requests):
            while waiting and sent - len(answers) < window and channel.send(waiting[0]):
                waiting.popleft()
                sent += 1
            channel.flush()
            taken = channel.receive(_RECEIVE_COUNT)
            answers += taken
            if not taken:
                self._wait()
        return answers

    def await_seq(self, seq: int) -> None:
        """Waits until this event is durable and told. Only heads of the log's messages are read."""
        while True:
            messages = self._events.take(_RECEIVE_COUNT)
            for message in messages:
                if not isinstance(message, Gap):
                    first_seq, count, _ = EVENT_HEAD.unpack_from(message.payload)
                    self.seq = first_seq + count - 1
            if self.seq >= seq:
                return
            if not messages:
                self._wait()

    def _wait(self) -> None:
        if not select.select([self._channel], [], [], PATIENCE_S)[0]:
            raise Unavailable("the engine stands still")
        self._channel.drain()


def order_id_of(outcome: Outcome) -> int:
    """Of an order that was accepted."""
    if not isinstance(outcome, Accepted):
        raise Unavailable(f"an order was not accepted: {outcome}"[:300])
    return outcome.order_id


@contextmanager
def ring_client(path: Path) -> Iterator[RingClient]:
    """Connects to the engine's socket."""
    descriptors: deque[int] = deque()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(str(path))
        sock.sendall(encode_frame(_encode(Hello(PROTOCOL_VERSION, "bench"))))
        decoder = FrameDecoder()
        frames: list[bytes] = []
        while not frames:
            frames = list(decoder.feed(receive(sock, descriptors)))
        greeting = msgspec.msgpack.decode(frames[0], type=Greeting)
        if greeting.error:
            raise Unavailable(greeting.error)
        client = RingClient(sock, list(descriptors), greeting)
        try:
            yield client
        finally:
            client.close()
