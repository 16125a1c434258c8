"""The client's side of the control protocol, sans-I/O: bytes and descriptors in, answers out.

Law: what a frame means on a connection is decided here: request numbers, which answer ends a request, which frames bring descriptors, in which
order answers of the two ways (ring and socket) belong, which way a request goes, what to do with answers that nobody waits for any more. It
knows no socket, channel, thread, loop or clock; the pumps (threads, asyncio) share it. It closes a descriptor only when nobody will ever get it.

Order. With a channel, the ring says it: where a frame does not fit or brings descriptors, OnSocket stands in its place, and what comes
after it in the ring waits here until the socket has brought the frame. So a pump may read both ways in any order. The other way, a
frame that finds no room in the ring goes over the socket, and so does the Release of a fetch that did, for it must not overtake it.

An answer to a request that was released is dropped in silence, since it may have been on its way; anything else unexpected (no Welcome first, another
protocol version, a frame without its descriptors, bytes that are no frame) raises :class:`~shmipc.errors.HandshakeError`, and the connection is
of no further use.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from google.protobuf.message import DecodeError, Message

from aviary.cashy.v1 import control_pb2 as pb
from aviary.cashy.v1 import operate_pb2 as ops
from cashy.errors import CashyError, InternalError, error_for_code
from cashy.limits import PROTOCOL_VERSION
from shmipc.errors import HandshakeError
from shmipc.limits import FRAME_BYTES_MAX
from shmipc.wire import FrameDecoder, encode_frame

__all__ = ["CHANNEL_DESCRIPTORS", "Answer", "SessionCore", "error_of"]

#: Which field of ClientFrame a request goes into.
_FIELDS: dict[type[Message], str] = {
    pb.Hello: "hello", pb.Stat: "stat", pb.Fetch: "fetch", pb.Prefetch: "prefetch", pb.NewTable: "new_table",
    pb.Status: "status", pb.Locate: "locate", pb.ClusterStatus: "cluster_status", pb.Change: "change",
    pb.List: "list", ops.Evict: "evict", ops.Pin: "pin", ops.Unpin: "unpin", ops.ListPins: "list_pins", ops.Trace: "trace",
}  # fmt: skip

#: How many descriptors a channel has: see shmipc.channel.
CHANNEL_DESCRIPTORS = 3

#: No descriptors come through a ring.
_NONE: deque[int] = deque()

#: Answers after which a fetch goes on; every other answer is the last one of its request.
_FETCH_GOES_ON = frozenset(("object", "block_ready", "block_progress"))


class Answer(NamedTuple):
    """One frame from the daemon, for the request ``request_id``; ``kind`` is the field's name in ServerFrame."""

    request_id: int
    kind: str
    body: Message
    is_last: bool
    descriptors: tuple[int, ...] = ()
    #: How many of them, the last ones, are a channel's.
    channel_descriptors: int = 0


def error_of(failure: pb.Failure) -> CashyError:
    """The error that a Failure stands for."""
    try:
        code = pb.Failure.Code.Name(failure.code)
    except ValueError:  # of a newer daemon
        return InternalError(failure.message)
    return error_for_code(code, failure.message)


def _parse(payload: bytes) -> pb.ServerFrame:
    try:
        return pb.ServerFrame.FromString(payload)
    except DecodeError as error:
        raise HandshakeError(f"the daemon sent a frame that does not parse: {error}") from error


class SessionCore:
    """Protocol state of one connection."""

    def __init__(self, *, can_pin: bool, program: str, wants_channel: bool = False) -> None:
        self.can_pin = can_pin
        self._program = program
        self._wants_channel = wants_channel
        self._decoder = FrameDecoder()
        self._next_id = 1
        self._open: dict[int, str] = {}
        self._welcomed = False
        self._has_channel = False
        self._has_table = can_pin
        # Fetches whose request went over the socket though there is a channel.
        self._by_socket: set[int] = set()
        # Frames of each way that are not answers yet: those of the ring wait for the socket, those of the socket for their place in the ring.
        self._of_ring: deque[bytes] = deque()
        self._of_socket: deque[bytes] = deque()
        self._descriptors: deque[int] = deque()

    # --- out ---

    def hello(self) -> bytes:
        """The first frame of a connection, encoded for the socket; answered by Welcome."""
        greeting = pb.Hello(
            protocol_version=PROTOCOL_VERSION,
            can_pin=self.can_pin,
            program=self._program,
            wants_channel=self._wants_channel,
        )
        return encode_frame(self.request(greeting)[1])

    def request(self, body: Message) -> tuple[int, bytes]:
        """Numbers a request; returns ``(request_id, frame)``. Raises :class:`HandshakeError` if it is too large."""
        field = _FIELDS[type(body)]
        request_id = self._next_id
        frame = pb.ClientFrame(request_id=request_id)
        getattr(frame, field).CopyFrom(body)
        getattr(frame, field).SetInParent()
        payload = frame.SerializeToString()
        if len(payload) > FRAME_BYTES_MAX:
            raise HandshakeError(f"a frame has at most {FRAME_BYTES_MAX:,} bytes, this one {len(payload):,}")
        self._next_id += 1
        self._open[request_id] = field
        return request_id, payload

    def release(self, request_id: int) -> bytes:
        """The frame that drops what the daemon holds for a fetch; its further answers are not delivered."""
        self._open.pop(request_id, None)
        frame = pb.ClientFrame(request_id=request_id)
        frame.release.SetInParent()
        return frame.SerializeToString()

    def unsent(self, frames: Iterable[tuple[int, bytes]], into_ring: Callable[[bytes], bool] | None) -> bytes:
        """Puts frames (with their request numbers) into the ring; returns what must go over the socket instead, encoded for it."""
        left: list[bytes] = []
        for request_id, payload in frames:
            if into_ring is None:
                left.append(encode_frame(payload))
            elif request_id in self._by_socket:  # its release
                self._by_socket.discard(request_id)
                left.append(encode_frame(payload))
            elif not into_ring(payload):
                if self._open.get(request_id) == "fetch":
                    self._by_socket.add(request_id)
                left.append(encode_frame(payload))
        return b"".join(left)

    @property
    def open_requests(self) -> list[int]:
        """Numbers of the requests whose last answer has not come."""
        return list(self._open)

    # --- in ---

    def feed(self, data: bytes, descriptors: deque[int]) -> list[Answer]:
        """Turns bytes of the socket (and the descriptors received so far) into answers; raises :class:`HandshakeError`.

        Descriptors that belong to no answer yet stay in ``descriptors``, and are the caller's to close at the end.
        """
        self._descriptors = descriptors
        self._of_socket.extend(self._decoder.feed(data))
        return self._in_order()

    def take(self, messages: Iterable[bytes]) -> list[Answer]:
        """Turns messages of the ring into answers; raises :class:`HandshakeError`."""
        self._of_ring.extend(messages)
        return self._in_order()

    def _in_order(self) -> list[Answer]:
        answers: list[Answer] = []
        while self._of_socket and not self._has_channel:
            self._accept(_parse(self._of_socket.popleft()), self._descriptors, answers)
        while self._of_ring:
            frame = _parse(self._of_ring[0])
            if frame.HasField("on_socket"):
                if not self._of_socket:
                    break
                self._of_ring.popleft()
                self._accept(_parse(self._of_socket.popleft()), self._descriptors, answers)
            else:
                self._of_ring.popleft()
                self._accept(frame, _NONE, answers)
        return answers

    def _accept(self, frame: pb.ServerFrame, descriptors: deque[int], answers: list[Answer]) -> None:
        kind = frame.WhichOneof("body")
        if kind is None or kind == "on_socket":
            raise HandshakeError(
                "the daemon sent a frame of a kind that this client does not know, or in the wrong place: use the same version of both"
            )
        if not self._welcomed:
            self._check_first(kind, frame)
        elif kind == "welcome":
            raise HandshakeError("the daemon greeted twice")
        taken = self._take_descriptors(kind, frame, descriptors)
        request = self._open.get(frame.request_id)
        if request is None and kind != "welcome":
            for fd in taken:
                os.close(fd)
            return
        is_last = not (request == "fetch" and kind in _FETCH_GOES_ON)
        if is_last:
            self._open.pop(frame.request_id, None)
        of_channel = self._channel_descriptors if kind == "welcome" else 0
        answers.append(Answer(frame.request_id, kind, getattr(frame, kind), is_last, taken, of_channel))

    def _check_first(self, kind: str, frame: pb.ServerFrame) -> None:
        if kind == "failure":
            raise error_of(frame.failure)
        if kind != "welcome":
            raise HandshakeError(
                f"the daemon began with {kind!r} instead of a welcome: is this cashy's socket?"
            )
        if frame.welcome.protocol_version != PROTOCOL_VERSION:
            raise HandshakeError(
                f"the daemon speaks protocol {frame.welcome.protocol_version}, this client {PROTOCOL_VERSION}: use the same version of both"
            )
        self._welcomed = True
        self._has_channel = frame.welcome.has_channel
        self._has_table = self.can_pin and not frame.welcome.has_no_table
        if self._has_channel and not self._wants_channel:
            raise HandshakeError("the daemon brought a channel that was not asked for")

    @property
    def _channel_descriptors(self) -> int:
        return CHANNEL_DESCRIPTORS if self._has_channel else 0

    def _take_descriptors(self, kind: str, frame: pb.ServerFrame, descriptors: deque[int]) -> tuple[int, ...]:
        count = 1 if kind == "table_granted" or (kind == "block_ready" and frame.block_ready.mapped) else 0
        if kind == "welcome":
            count = 1 + self._has_table + self._channel_descriptors
        if len(descriptors) < count:
            raise HandshakeError(f"{kind!r} should bring {count} descriptors and brought {len(descriptors)}")
        return tuple(descriptors.popleft() for _ in range(count))
