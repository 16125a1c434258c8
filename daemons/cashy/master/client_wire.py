"""One client's frames, in and out: over its socket, and through its channel once it has one.

Law: here is which way a frame goes and in which order frames are taken, never what one means (:mod:`cashy.master.server`). Nothing in here
waits for a client. What a client does not read is queued up to :data:`~cashy.limits.CLIENT_OUTGOING_BYTES_MAX`, then it is dropped; what it
writes is believed as little in a ring as on the socket, and what cannot be ends that client only.

Order. A client sends over the socket what found no room in its ring; so the ring is emptied before a frame of the socket is taken, and no
Release overtakes its Fetch. The other way the ring has the order, and OnSocket stands in it for a frame that goes over the socket (too large, or
with descriptors).

Batches. All answers of one turn of the loop are published together, and cost one wake-up; requests are taken as many as there are, up to
:data:`REQUESTS_PER_TURN`, before others have their turn.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from google.protobuf.message import DecodeError

from aviary.cashy.v1.control_pb2 import OnSocket, ServerFrame
from cashy.limits import CLIENT_OUTGOING_BYTES_MAX
from shmipc.channel import ServerChannel
from shmipc.errors import HandshakeError, ShmError
from shmipc.wire import FrameDecoder, encode_frame, receive, send_with_descriptors

__all__ = ["CHANNEL_RING_BYTES", "REQUESTS_PER_TURN", "ClientWire"]

#: Each of a channel's two rings: two thousand announced blocks, and no more memory than a client's socket buffers may have.
CHANNEL_RING_BYTES = 64 << 10

#: Requests taken out of one client's ring before others have their turn.
REQUESTS_PER_TURN = 64

#: The most messages a full ring can hold: each has a length of 4 bytes. Whoever empties it needs no more than this many.
_MESSAGES_MAX = CHANNEL_RING_BYTES // 4

_ON_SOCKET = ServerFrame(on_socket=OnSocket()).SerializeToString()


class ClientWire:
    """The ways to and from one client.

    ``on_frame`` is given each request, and may raise ``HandshakeError`` or ``DecodeError`` over it. ``on_end`` is told why the client must go, and
    which counter shall say so; it calls :meth:`close`.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_frame: Callable[[bytes], None],
        on_end: Callable[[str, str | None], None],
    ) -> None:
        self._socket = sock
        self._on_frame = on_frame
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._decoder = FrameDecoder()
        self._channel: ServerChannel | None = None
        self._to_socket: deque[tuple[bytes, Sequence[int]]] = deque()
        self._to_ring: deque[bytes] = deque()
        self._queued_bytes = 0
        self._is_writing = False
        self._is_publishing = False
        self._is_closed = False
        self._loop.add_reader(sock, self._on_readable)

    def use_channel(self, channel: ServerChannel) -> None:
        """From now on frames go through its rings where they fit. Call it once Welcome, which brings the channel, was sent."""
        if self._is_closed:
            channel.close()
            return
        self._channel = channel
        self._loop.add_reader(channel.fileno(), self._on_wake_up)

    # --- in ---

    def _on_readable(self) -> None:
        self._guarded(self._take_from_socket)

    def _take_from_socket(self) -> None:
        descriptors: deque[int] = deque()
        data = receive(self._socket, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        if descriptors:
            raise HandshakeError("clients send no descriptors")
        if not data:
            self._on_end("closed by the client", None)
            return
        frames = self._decoder.feed(data)
        if frames and self._channel is not None:
            self._handle(self._channel.receive(_MESSAGES_MAX))
        self._handle(frames)

    def _on_wake_up(self) -> None:
        if self._channel is not None:
            self._channel.drain()
            self._on_ring()

    def _on_ring(self) -> None:
        if self._is_closed:
            return
        self._guarded(self._take_from_ring)
        if self._to_ring:
            self._publish_soon()

    def _take_from_ring(self) -> None:
        assert self._channel is not None
        frames = self._channel.receive(REQUESTS_PER_TURN)
        if len(frames) == REQUESTS_PER_TURN:
            self._loop.call_soon(self._on_ring)  # no wake-up announces those that are left
        self._handle(frames)

    def _handle(self, frames: list[bytes]) -> None:
        for frame in frames:
            if self._is_closed:
                return
            self._on_frame(frame)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Does what the client may have spoilt; it is its own loss then."""
        try:
            work()
        except (BlockingIOError, InterruptedError):
            return
        except (ShmError, DecodeError) as error:
            self._on_end(f"protocol error: {error}", "protocol_errors")
        except OSError as error:
            self._on_end(str(error), None)

    # --- out ---

    def send(self, payload: bytes, descriptors: Sequence[int] = ()) -> None:
        """Sends a frame; its descriptors are closed once they are on their way. Does not block."""
        if self._is_closed:
            for descriptor in descriptors:
                os.close(descriptor)
            return
        channel = self._channel
        if channel is None or descriptors or len(payload) > channel.message_bytes_max:
            self._put_on_socket(encode_frame(payload), descriptors)
            payload = _ON_SOCKET
        if channel is not None and not self._is_closed:
            self._put_in_ring(channel, payload)
        if self._queued_bytes > CLIENT_OUTGOING_BYTES_MAX:
            self._on_end("it does not read its answers", "clients_dropped")

    def _put_in_ring(self, channel: ServerChannel, payload: bytes) -> None:
        def put() -> None:
            if self._to_ring or not channel.send(payload):
                self._to_ring.append(payload)
                self._queued_bytes += len(payload)

        self._guarded(put)
        self._publish_soon()

    def _publish_soon(self) -> None:
        if not self._is_publishing:
            self._is_publishing = True
            self._loop.call_soon(self._publish)

    def _publish(self) -> None:
        self._is_publishing = False
        if not self._is_closed:
            self._guarded(self._fill_ring)

    def _fill_ring(self) -> None:
        """Puts as much of the queue into the ring as it takes, and publishes it. The client wakes us when it has made room for the rest."""
        assert self._channel is not None
        while self._to_ring and self._channel.send(self._to_ring[0]):
            self._queued_bytes -= len(self._to_ring.popleft())
        self._channel.flush()
        if self._to_ring:
            self._channel.want_room()

    def _put_on_socket(self, data: bytes, descriptors: Sequence[int]) -> None:
        self._to_socket.append((data, descriptors))
        self._queued_bytes += len(data)
        if not self._is_writing:
            self._write()

    def _write(self) -> None:
        try:
            while self._to_socket:
                data, descriptors = self._to_socket[0]
                sent = (
                    send_with_descriptors(self._socket, data, list(descriptors))
                    if descriptors
                    else self._socket.send(data)
                )
                for descriptor in descriptors:
                    os.close(descriptor)
                self._queued_bytes -= sent
                if sent < len(data):
                    self._to_socket[0] = (data[sent:], ())
                    break
                self._to_socket.popleft()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._on_end(str(error), None)
            return
        self._want_writes(bool(self._to_socket))

    def _want_writes(self, wanted: bool) -> None:
        if wanted and not self._is_writing:
            self._loop.add_writer(self._socket, self._write)
        elif self._is_writing and not wanted:
            self._loop.remove_writer(self._socket)
        self._is_writing = wanted

    # --- end ---

    def close(self) -> None:
        """Ends both ways; what is queued is lost. Again: nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._socket)
        if self._is_writing:
            self._loop.remove_writer(self._socket)
        for _data, descriptors in self._to_socket:
            for descriptor in descriptors:
                os.close(descriptor)
        self._to_socket.clear()
        self._to_ring.clear()
        self._socket.close()
        if self._channel is not None:
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None  # and its memory with it
