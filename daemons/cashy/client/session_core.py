"""The client's side of the control protocol, sans-I/O: bytes and descriptors in, answers out.

Law: what a frame means on a connection is decided here: request numbers, which answer ends a request, which frames bring descriptors, what to
do with answers that nobody waits for any more. It knows no socket, thread, loop or clock; the pumps (threads, asyncio) share it. It closes a
descriptor only when nobody will ever get it.

An answer to a request that was released is dropped in silence, since it may have been on its way; anything else unexpected (no Welcome first, another
protocol version, a frame without its descriptors, bytes that are no frame) raises :class:`~shmipc.errors.HandshakeError`, and the connection is
of no further use.
"""

from __future__ import annotations

import os
from collections import deque
from typing import NamedTuple

from google.protobuf.message import DecodeError, Message

from aviary.cashy.v1 import control_pb2 as pb
from cashy.errors import CashyError, InternalError, error_for_code
from cashy.limits import PROTOCOL_VERSION
from shmipc.errors import HandshakeError
from shmipc.wire import FrameDecoder, encode_frame

__all__ = ["Answer", "SessionCore", "error_of"]

#: Which field of ClientFrame a request goes into.
_FIELDS: dict[type[Message], str] = {
    pb.Hello: "hello", pb.Stat: "stat", pb.Fetch: "fetch", pb.Prefetch: "prefetch", pb.NewTable: "new_table",
    pb.Status: "status", pb.Locate: "locate", pb.ClusterStatus: "cluster_status",
}  # fmt: skip

#: Answers after which a fetch goes on; every other answer is the last one of its request.
_FETCH_GOES_ON = frozenset(("object", "block_ready", "block_progress"))


class Answer(NamedTuple):
    """One frame from the daemon, for the request ``request_id``; ``kind`` is the field's name in ServerFrame."""

    request_id: int
    kind: str
    body: Message
    is_last: bool
    descriptors: tuple[int, ...] = ()


def error_of(failure: pb.Failure) -> CashyError:
    """The error that a Failure stands for."""
    try:
        code = pb.Failure.Code.Name(failure.code)
    except ValueError:  # of a newer daemon
        return InternalError(failure.message)
    return error_for_code(code, failure.message)


class SessionCore:
    """Protocol state of one connection."""

    def __init__(self, *, can_pin: bool, program: str) -> None:
        self.can_pin = can_pin
        self._program = program
        self._decoder = FrameDecoder()
        self._next_id = 1
        self._open: dict[int, str] = {}
        self._welcomed = False

    # --- out ---

    def hello(self) -> bytes:
        """The first frame of a connection; answered by Welcome."""
        greeting = pb.Hello(protocol_version=PROTOCOL_VERSION, can_pin=self.can_pin, program=self._program)
        return self.request(greeting)[1]

    def request(self, body: Message) -> tuple[int, bytes]:
        """Numbers a request and encodes it; returns ``(request_id, bytes to send)``."""
        field = _FIELDS[type(body)]
        request_id = self._next_id
        self._next_id += 1
        frame = pb.ClientFrame(request_id=request_id)
        getattr(frame, field).CopyFrom(body)
        getattr(frame, field).SetInParent()
        data = encode_frame(frame.SerializeToString())
        self._open[request_id] = field
        return request_id, data

    def release(self, request_id: int) -> bytes:
        """Drops what the daemon holds for a fetch; its further answers are not delivered."""
        self._open.pop(request_id, None)
        frame = pb.ClientFrame(request_id=request_id)
        frame.release.SetInParent()
        return encode_frame(frame.SerializeToString())

    @property
    def open_requests(self) -> list[int]:
        """Numbers of the requests whose last answer has not come."""
        return list(self._open)

    # --- in ---

    def feed(self, data: bytes, descriptors: deque[int]) -> list[Answer]:
        """Turns received bytes (and the descriptors received so far) into answers; raises :class:`HandshakeError`."""
        answers: list[Answer] = []
        for payload in self._decoder.feed(data):
            try:
                frame = pb.ServerFrame.FromString(payload)
            except DecodeError as error:
                raise HandshakeError(f"the daemon sent a frame that does not parse: {error}") from error
            answer = self._accept(frame, descriptors)
            if answer is not None:
                answers.append(answer)
        return answers

    def _accept(self, frame: pb.ServerFrame, descriptors: deque[int]) -> Answer | None:
        kind = frame.WhichOneof("body")
        if kind is None:
            raise HandshakeError(
                "the daemon sent a frame of a kind that this client does not know: use the same version of both"
            )
        if not self._welcomed:
            self._check_first(kind, frame)
        taken = self._take_descriptors(kind, descriptors)
        request = self._open.get(frame.request_id)
        if request is None and kind != "welcome":
            for fd in taken:
                os.close(fd)
            return None
        is_last = not (request == "fetch" and kind in _FETCH_GOES_ON)
        if is_last:
            self._open.pop(frame.request_id, None)
        return Answer(frame.request_id, kind, getattr(frame, kind), is_last, taken)

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

    def _take_descriptors(self, kind: str, descriptors: deque[int]) -> tuple[int, ...]:
        count = {"welcome": 1 + self.can_pin, "table_granted": 1}.get(kind, 0)
        if len(descriptors) < count:
            raise HandshakeError(f"{kind!r} should bring {count} descriptors and brought {len(descriptors)}")
        return tuple(descriptors.popleft() for _ in range(count))
