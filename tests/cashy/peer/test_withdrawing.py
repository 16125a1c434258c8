"""Answers that are withdrawn in the middle of a frame: whoever gets them must be able to tell what they belong to."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from cashy.core.peer_frames import HEADER_BYTES, Kind, State, unpack_header
from cashy.core.peer_wire import FrameReader
from cashy.origin.base import ObjectMeta
from cashy.peer.errors import PeerError
from cashy.peer.frame_socket import FrameSocket
from cashy.peer.replies import ChecksumMemory, Reply
from cashy.peer.service import ReadRequest

from .hosts import pattern, until

#: One frame holds it.
LAST = 200_000


class Connection:
    """Of a reply, and nothing else. Is its owner, and its socket's handler."""

    def __init__(self, sock: socket.socket) -> None:
        self.checksums = ChecksumMemory()
        self.outcomes: list[str] = []
        self.socket = FrameSocket(sock, FrameReader(State.AWAIT_HELLO, 4096), self)

    def reply_ended(self, reply: Reply, outcome: str) -> None:
        self.outcomes.append(outcome)

    def frame_arrived(self, frame: object) -> None:
        raise AssertionError("nobody sends anything")

    data_arrived = frame_arrived

    def connection_ended(self, error: PeerError) -> None:
        pass


def frames(data: bytes) -> list[tuple[Kind, int, int]]:
    """Kind, offset and length of each; what is cut off is an error."""
    found: list[tuple[Kind, int, int]] = []
    at = 0
    while at < len(data):
        kind, _, _, length, offset, _ = unpack_header(data, at)
        at += HEADER_BYTES + length
        assert at <= len(data)
        if kind is not Kind.BLOCK:
            found.append((kind, offset, length))
    return found


@pytest.mark.parametrize(
    ("length", "rest"),
    [
        (LAST, [(Kind.DATA, 0, LAST)]),
        (LAST + (256 << 10), [(Kind.DATA, 0, 256 << 10), (Kind.ERROR, 0, None)]),
    ],
    ids=["the last frame: its end is the request's", "an earlier frame: an error ends the request"],
)
def test_a_request_that_is_cancelled_while_a_frame_leaves_is_ended_once(
    length: int, rest: list[tuple[Kind, int, int | None]]
) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            for each in (ours, theirs):
                each.setblocking(False)
                each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            connection = Connection(ours)
            request = ReadRequest("anna", "o", "b", "k", "", 0, length, None, None, 60.0, 60.0)
            reply = Reply(connection, 1, request, time.monotonic())
            data = memoryview(pattern(1, length))
            gone: list[int] = []
            reply.begin(ObjectMeta('"v"', length, 0.0), length, 0.0, data, length, lambda: gone.append(1))
            await until(lambda: connection.socket.blocked_since is not None)
            assert not gone
            reply.cancel("CANCELLED", "cancelled")
            assert gone == [1]
            data.release()  # nothing of it is referenced any more
            loop, received = asyncio.get_running_loop(), b""
            connection.socket.send(Kind.PONG)
            while not received or frames_end(received) != Kind.PONG:
                received += await loop.sock_recv(theirs, 65536)
            *told, _ = frames(received)
            assert [(kind, offset) for kind, offset, _ in told] == [
                (kind, offset) for kind, offset, _ in rest
            ]
            assert connection.outcomes == ["cancelled"]
            connection.socket.close(PeerError("over"))

    asyncio.run(asyncio.wait_for(main(), 30))


def frames_end(data: bytes) -> Kind | None:
    """The kind of the last frame, if it is complete."""
    at, kind = 0, None
    while at + HEADER_BYTES <= len(data):
        kind, _, _, length, _, _ = unpack_header(data, at)
        at += HEADER_BYTES + length
    return kind if at == len(data) else None
