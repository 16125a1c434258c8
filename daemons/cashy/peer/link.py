"""One connection to another host, from the asking side: its greeting, the requests on it, and whether the host lives."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from cashy.core.peer_frames import Kind, PeerError, PeerProtocolError, State
from cashy.core.peer_greeting import NONCE_BYTES, ConnectingGreeting, PeerIdentity
from cashy.core.peer_wire import Frame, FrameReader, Incoming
from cashy.errors import CashyError
from cashy.peer.errors import PeerBusy, PeerCorrupt, PeerTimeout, PeerUnavailable
from cashy.peer.frame_socket import FrameSocket
from cashy.peer.limits import (
    CANCEL_ANSWER_S_MAX,
    DEAD_AFTER_S,
    FRAME_S_MAX,
    IDLE_PING_S,
    LOOKAHEAD_ASKING_BYTES,
    PING_S,
    REQUESTS_MAX,
    SENDING_S,
    SILENT_AFTER_S,
)
from cashy.peer.messages import parse_block
from cashy.peer.tls_socket import TlsSocket

__all__ = ["PeerLink", "Request"]


class Request(ABC):
    """Something asked of another host. ``failed`` or the request's own end comes once, unless it is given up; never from inside ``PeerLink.send``.

    It is given up ``deadline_s`` after ``now`` (CLOCK_MONOTONIC), and when the other host has given no sign of it for ``silence_s``.
    """

    __slots__ = ("deadline_at", "heard_at", "incoming", "is_over", "link", "silence_s", "waiting_since")

    kind: Kind

    def __init__(self, now: float, deadline_s: float, silence_s: float = math.inf) -> None:
        self.deadline_at = now + deadline_s
        self.silence_s = silence_s
        self.heard_at = now
        #: When the other host said first that it is at the origin for it; 0.0: it has not.
        self.waiting_since = 0.0
        self.link: PeerLink | None = None
        self.incoming: Incoming | None = None
        self.is_over = False

    @abstractmethod
    def payload(self, left_s: float) -> bytes:
        """The request frame's payload; ``left_s`` to the deadline. May raise a CashyError."""

    @abstractmethod
    def answered(self, frame: Frame) -> None:
        """A control frame that answers it. A PeerProtocolError raised here ends the connection."""

    def grown(self) -> None:
        """Bytes have come; only the answer to a READ has any."""
        raise NotImplementedError

    @abstractmethod
    def failed(self, error: CashyError) -> None:
        """There will be no answer, or not all of it."""

    def lateness(self, now: float, is_late: bool) -> str:
        """Why it is to be given up; empty: it is not. ``is_late``: this host has not listened meanwhile, so silence says nothing."""
        if self.deadline_at <= now:
            return "did not answer completely by the deadline"
        if now - self.heard_at >= self.silence_s and not is_late:
            return f"gave no sign of this read for {self.silence_s:g} s"
        return ""

    def fail(self, error: CashyError) -> None:
        """Ends it with an error, if it is not over."""
        if not self.is_over:
            self.is_over = True
            self.failed(error)


class PeerLink:
    """One connection. ``greeted`` is done when requests may be sent; ``ended`` is called once, with the reason, when no more can."""

    def __init__(
        self,
        sock: socket.socket | TlsSocket,
        identity: PeerIdentity,
        to_host: str,
        ended: Callable[[PeerLink, PeerError], None],
    ) -> None:
        self.to_host = to_host
        self._ended = ended
        self._greeting = ConnectingGreeting(identity, to_host, os.urandom(NONCE_BYTES))
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_up = False
        self.requests_max = 0
        #: How often the other side said that a read waits.
        self.waits_heard = 0
        self._requests: dict[int, Request] = {}
        self._given_up: list[tuple[float, Incoming]] = []  # until when the other side must have ended it
        self._last_id = 0
        self._pinged_at: float | None = None
        self._silent_at = 0.0  # when that was last seen to be without an answer for too long
        #: How often it was.
        self.silences = 0
        self._frame: int | None = None  # the one that was arriving at the last look, and since when
        self._frame_since = 0.0
        #: What the other side has shown, over TLS.
        self.certificate = sock.certificate if isinstance(sock, TlsSocket) else None
        self.socket = FrameSocket(sock, FrameReader(State.AWAIT_CHALLENGE, LOOKAHEAD_ASKING_BYTES), self)
        self.socket.send(Kind.HELLO, 0, self._greeting.hello)

    # ------------------------------------------------------------ requests

    @property
    def version(self) -> int:
        """The protocol's version on this connection; 0 before the greeting."""
        return self._greeting.version

    @property
    def requests_under_way(self) -> int:
        """Requests on the connection, the cancelled ones whose end has not come included."""
        return self.socket.reader.requests_under_way

    def send(self, request: Request, now: float) -> None:
        """Sends a request; raises a CashyError (nothing was sent)."""
        if not self.is_up:
            raise PeerUnavailable(f"host {self.to_host!r}: the connection has ended")
        if self.requests_under_way >= self.requests_max:
            raise PeerBusy(
                f"{self.requests_max} requests are under way to host {self.to_host!r} already: try again later"
            )
        payload = request.payload(max(0.0, request.deadline_at - now))
        self._last_id += 1
        request.link = self
        request.heard_at = now
        request.incoming = self.socket.reader.expect(self._last_id, request.kind)
        self._requests[self._last_id] = request
        self.socket.send(request.kind, self._last_id, payload)

    def is_sending(self, now: float) -> bool:
        """Whether bytes of answers are coming: what is asked now stands behind them."""
        return now - self.socket.heard_at < SENDING_S and any(
            request.incoming is not None and request.incoming.length > 0
            for request in self._requests.values()
        )

    def give_up(self, request: Request) -> None:
        """Nobody wants the answer: when this returns nothing is written into its buffer any more."""
        incoming = request.incoming
        if incoming is None or self._requests.pop(incoming.request_id, None) is None:
            return
        request.is_over = True
        if not incoming.is_over and not self.socket.is_closed:
            self.socket.reader.discard(incoming)
            self._given_up.append((time.monotonic() + CANCEL_ANSWER_S_MAX, incoming))
            self.socket.send(Kind.CANCEL, incoming.request_id)

    def close(self, error: PeerError) -> None:
        """Ends the connection and all that is under way on it."""
        self.socket.close(error)

    # ------------------------------------------------------------ the socket's side

    def frame_arrived(self, frame: Frame) -> None:
        """A control frame has come."""
        incoming = frame.incoming
        if incoming is None:
            self._connection_frame(frame)
            return
        request = self._requests.get(incoming.request_id)
        if request is None:
            if frame.kind is Kind.BLOCK:
                self._skip_block(frame, incoming)
            return
        request.heard_at = self.socket.heard_at
        if frame.kind is Kind.WAITING:
            self.waits_heard += 1
            request.waiting_since = request.waiting_since or request.heard_at
            return
        if incoming.is_over:
            del self._requests[incoming.request_id]
        try:
            request.answered(frame)
        except PeerError as error:
            request.fail(error)
            raise

    def _skip_block(self, frame: Frame, incoming: Incoming) -> None:
        """The head of an answer that nobody wants any more: how much of it is to be thrown away."""
        self.socket.reader.begin(incoming, parse_block(frame.payload)[1], None)

    def begin(self, request: Request, length: int, buffer: memoryview | None) -> None:
        """Says where the bytes of a read go (None: nowhere), from inside ``answered``."""
        incoming = request.incoming
        assert incoming is not None
        self.socket.reader.begin(incoming, length, buffer)
        if incoming.is_over:
            self._requests.pop(incoming.request_id, None)

    def data_arrived(self, incoming: Incoming) -> None:
        """A read has grown, or is lost."""
        request = self._requests.get(incoming.request_id)
        if request is None:
            return
        if incoming.is_corrupt:
            self.give_up(request)
            request.failed(
                PeerCorrupt(
                    f"host {self.to_host!r}: bytes up to {incoming.received} of {incoming.length} are corrupt: their checksum is wrong"
                )
            )
            return
        request.heard_at = self.socket.heard_at
        if incoming.is_over:
            del self._requests[incoming.request_id]
        request.grown()

    def connection_ended(self, error: PeerError) -> None:
        """The socket is closed."""
        self.is_up = False
        named = type(error)(f"host {self.to_host!r}: {error.message}") if type(error) in _PLAIN else error
        requests, self._requests = self._requests, {}
        if not self.greeted.done():
            self.greeted.set_exception(error)
        self._ended(self, error)
        for request in requests.values():
            request.fail(named)

    def _connection_frame(self, frame: Frame) -> None:
        if frame.kind is Kind.CHALLENGE:
            self.socket.send(Kind.PROOF, 0, self._greeting.challenged(frame.payload))
        elif frame.kind is Kind.WELCOME:
            self.requests_max = min(REQUESTS_MAX, self._greeting.welcomed(frame.payload))
            self.is_up = True
            if not self.greeted.done():
                self.greeted.set_result(None)
        elif frame.kind is Kind.REFUSED:
            raise self._greeting.refused(frame.payload)
        else:
            assert frame.kind is Kind.PONG
            if self._pinged_at is None:
                raise PeerProtocolError("PONG without PING")
            self._pinged_at = None

    # ------------------------------------------------------------ time

    @property
    def is_quiet(self) -> bool:
        """Nothing is awaited from the other side, so nobody needs to look often."""
        return not self.requests_under_way and self._pinged_at is None

    @property
    def is_silent(self) -> bool:
        """Whether the other side gives no answer to PING either, and nobody knows yet whether it is dead."""
        return self._silent_at > self.socket.heard_at

    def sweep(self, now: float, is_late: bool) -> None:
        """Looks at deadlines and silence. ``is_late``: this host's loop stood still, which says nothing about the other host."""
        self._watch_frame(now, is_late)
        for request in list(self._requests.values()):
            lateness = request.lateness(now, is_late)
            if lateness:
                self.give_up(request)
                request.failed(PeerTimeout(f"host {self.to_host!r} {lateness}"))
        self._given_up = [each for each in self._given_up if not each[1].is_over]
        if self._given_up and self._given_up[0][0] <= now:
            self.close(PeerUnavailable("a cancelled request was not ended in time"))
        elif not self.socket.is_closed:
            self._look_for_life(now, is_late)

    def _watch_frame(self, now: float, is_late: bool) -> None:
        """While one frame takes long nothing else can come, so all requests count as heard of; but not for ever."""
        frame = self.socket.reader.frame_under_way
        if frame is None or frame != self._frame or is_late:
            self._frame, self._frame_since = frame, now
        elif now - self._frame_since >= FRAME_S_MAX:
            self.close(PeerTimeout(f"a frame was not complete within {FRAME_S_MAX:g} s"))
        else:
            for request in self._requests.values():
                request.heard_at = max(request.heard_at, self.socket.heard_at)

    def _look_for_life(self, now: float, is_late: bool) -> None:
        heard_at = self.socket.heard_at
        if self._pinged_at is None or self._pinged_at < heard_at:
            if now - heard_at >= (PING_S if self.requests_under_way else IDLE_PING_S):
                self._ping(now)
        elif is_late:
            self._pinged_at = now  # what the other side sent meanwhile may not have been read yet
        elif now - self._pinged_at >= DEAD_AFTER_S:
            self.close(PeerUnavailable(f"no byte for {now - heard_at:.1f} s, not even the answer to PING"))
        elif now - self._pinged_at >= SILENT_AFTER_S:
            self._is_silent(now, heard_at)

    def _is_silent(self, now: float, heard_at: float) -> None:
        """Metadata is asked of somebody else; what becomes of a block's read, its reader decides (:attr:`is_silent`)."""
        self.silences += not self.is_silent
        self._silent_at = now
        for request in [each for each in self._requests.values() if each.kind is Kind.HEAD]:
            self.give_up(request)
            request.failed(
                PeerTimeout(
                    f"host {self.to_host!r} has not answered PING, nothing for {now - heard_at:.1f} s"
                )
            )

    def _ping(self, now: float) -> None:
        if self._pinged_at is None:
            self.socket.send(Kind.PING)
        self._pinged_at = now


_PLAIN = (PeerUnavailable, PeerProtocolError, PeerTimeout)
