"""One connected socket of the peer protocol: frames in and frames out, on the loop, without a copy in between.

Law. When bytes move, and how many at a time; not what they mean (the handler's business) nor how they are cut (the reader's and
writer's). Raw non-blocking sockets under ``add_reader`` and ``add_writer``, no transports: ``recvmsg_into`` takes the rest of a payload
and the next header in one call, straight into shared memory, and ``sendmsg`` sends from there; the kernel has copied when the call
returns. So no buffer is ever referenced beyond a call: it can be taken away at any moment, which a transport's queue would not allow.

Going out, control frames go first (an answer's head, a PONG must not wait behind blocks), then one DATA frame of each source in turn. A
frame that the kernel took in part must be completed, even if its source is withdrawn meanwhile: then the rest, at most a frame, is
copied.

A socket with TLS (:class:`~cashy.peer.tls_socket.TlsSocket`) has the same calls with the same meaning, and may hold bytes that the kernel
shows no more.

``sendfile`` was tried: from tmpfs over loopback it took more CPU than the copy [measured], and its pages must stay untouched until the
other side has read them.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from typing import Protocol

from cashy.core.peer_frames import Kind, PeerError
from cashy.core.peer_wire import Frame, FrameReader, FrameWriter, Incoming
from cashy.peer.errors import PeerUnavailable
from cashy.peer.limits import CONTROL_QUEUE_BYTES_MAX, NOT_SENT_BYTES, TURN_BYTES_MAX
from cashy.peer.tls_socket import TlsSocket, explain_broken

__all__ = ["DataSource", "FrameHandler", "FrameSocket", "prepare_socket"]


class FrameHandler(Protocol):
    """Whom frames are for. All calls come from the loop, none from inside a method of :class:`FrameSocket` but ``close``."""

    def frame_arrived(self, frame: Frame) -> None:
        """A control frame. A :class:`PeerError` raised here ends the connection."""

    def data_arrived(self, incoming: Incoming) -> None:
        """A read has grown by a verified frame."""

    def connection_ended(self, error: PeerError) -> None:
        """The socket is closed, for this reason. Called once."""


class DataSource(Protocol):
    """What DATA frames are cut from."""

    def cut(self) -> tuple[int, int, memoryview, int]:
        """The next frame: request id, offset, payload (1 to DATA_BYTES_MAX bytes), running checksum at its end."""

    def left(self) -> bool:
        """The frame that was cut last has left. True if there is another to cut now; otherwise it must be offered again."""


def prepare_socket(sock: socket.socket) -> None:
    """Non-blocking, no delay of small frames, and little in the kernel that can no longer be overtaken."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)


class FrameSocket:
    """Owns ``sock`` (prepared). Reading begins at once; the handler's first call comes in a later turn of the loop."""

    __slots__ = (
        "_control", "_control_bytes", "_handler", "_is_reading", "_is_scheduled", "_is_writing", "_loop", "_sending", "_sock", "_sources", "_tls",
        "_unsent", "_writer", "blocked_since", "bytes_in", "bytes_out", "heard_at", "is_closed", "reader",
    )  # fmt: skip

    def __init__(self, sock: socket.socket | TlsSocket, reader: FrameReader, handler: FrameHandler) -> None:
        self._sock = sock
        self._tls = sock if isinstance(sock, TlsSocket) else None
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._writer = FrameWriter()
        self.reader = reader
        self._control: deque[tuple[Kind, int, bytes]] = deque()
        self._control_bytes = 0
        self._sources: deque[DataSource] = deque()
        self._sending: DataSource | None = None  # whose frame is in _unsent
        self._unsent: list[memoryview | bytes] = []
        self._is_scheduled = False
        self._is_writing = False  # the loop tells when there is room
        self._is_reading = True
        self.is_closed = False
        self.bytes_in = 0
        self.bytes_out = 0
        #: When bytes came last (CLOCK_MONOTONIC).
        self.heard_at = time.monotonic()
        #: Since when the receiver takes nothing of what waits for it; None if it does, or nothing waits.
        self.blocked_since: float | None = None
        self._loop.add_reader(sock, self._readable)

    # ------------------------------------------------------------ out

    def send(self, kind: Kind, request_id: int = 0, payload: bytes = b"") -> None:
        """Queues a control frame. A receiver that lets these pile up is not listened to until it has read."""
        if self.is_closed:
            return
        self._control.append((kind, request_id, payload))
        self._control_bytes += len(payload) + 32
        if self._control_bytes > CONTROL_QUEUE_BYTES_MAX:
            self._listen(False)
        self._schedule()

    def offer(self, source: DataSource) -> None:
        """The source has something to cut. Once per time that ``left`` gave False (or for the first time)."""
        if not self.is_closed:
            self._sources.append(source)
            self._schedule()

    def withdraw(self, source: DataSource) -> bool:
        """The source is never asked again, and its memory not referenced, when this returns; True: the frame that it cut last will still leave."""
        if self._sending is source:
            self._sending = None
            self._unsent = [bytes(piece) for piece in self._unsent]
            return True
        if source in self._sources:
            self._sources.remove(source)
        return False

    def close(self, error: PeerError) -> None:
        """Closes at once; the handler hears of it from inside this call."""
        if self.is_closed:
            return
        self.is_closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._control.clear()
        self._sources.clear()
        self._sending = None
        self._unsent = []
        self._sock.close()
        self._handler.connection_ended(error)

    def close_with(self, kind: Kind, payload: bytes, error: PeerError) -> None:
        """A last frame, as far as it can be sent at once, then :meth:`close`."""
        if not self.is_closed:
            try:
                self._sock.send(self._writer.control(kind, 0, payload))
            except OSError:
                pass  # it would only have said why
            self.close(error)

    def _schedule(self) -> None:
        if not self._is_scheduled and not self._is_writing:
            self._is_scheduled = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._is_scheduled = False
        if not self.is_closed and not self._is_writing:
            self._writable()

    def _writable(self) -> None:
        budget = TURN_BYTES_MAX
        while budget > 0:
            if not self._unsent and not self._fill():
                self._wait_for_room(False)
                return
            unsent = self._unsent
            due = len(unsent[0]) + len(unsent[1]) if len(unsent) > 1 else len(unsent[0])
            try:
                sent = self._sock.sendmsg(unsent)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self.close(explain_broken(error))
                return
            budget -= sent
            self._took(sent, due)
            if sent < due:
                break
        if not self.is_closed:
            self._wait_for_room(True)

    def _fill(self) -> bool:
        """Puts the next frames into ``_unsent``: all control frames and one header in front, its payload behind."""
        front = self._take_control() if self._control else b""
        if self._sources:
            self._sending = source = self._sources.popleft()
            request_id, offset, piece, crc = source.cut()
            front += self._writer.data_header(request_id, offset, len(piece), crc)
            self._unsent = [front, piece]
        elif front:
            self._unsent = [front]
        return bool(front)

    def _take_control(self) -> bytes:
        frames = b"".join([self._writer.control(*frame) for frame in self._control])
        self._control.clear()
        self._control_bytes = 0
        self._listen(True)
        return frames

    def _took(self, sent: int, due: int) -> None:
        """The kernel has taken so many of ``due`` bytes."""
        self.bytes_out += sent
        if sent == due:
            self.blocked_since = None
            self._unsent = []
            source, self._sending = self._sending, None
            if source is not None and source.left() and not self.is_closed:
                self._sources.append(source)
            return
        if sent or self.blocked_since is None:
            self.blocked_since = time.monotonic()
        while sent:
            first = self._unsent[0]
            if sent < len(first):
                self._unsent[0] = memoryview(first)[sent:]
                return
            sent -= len(first)
            del self._unsent[0]

    def _wait_for_room(self, is_wanted: bool) -> None:
        if is_wanted and not self._is_writing:
            self._loop.add_writer(self._sock, self._writable)
        elif not is_wanted and self._is_writing:
            self._loop.remove_writer(self._sock)
        self._is_writing = is_wanted

    # ------------------------------------------------------------ in

    def _listen(self, is_wanted: bool) -> None:
        if is_wanted and not self._is_reading:
            self._loop.add_reader(self._sock, self._readable)
            self._read_on()
        elif not is_wanted and self._is_reading:
            self._loop.remove_reader(self._sock)
        self._is_reading = is_wanted

    def _read_on(self) -> None:
        """Comes back to what TLS has taken off the kernel: the loop would not tell of it."""
        if self._tls is not None and not self.is_closed and self._tls.pending():
            self._loop.call_soon(self._readable)

    def _readable(self) -> None:
        if self.is_closed:
            return
        budget = TURN_BYTES_MAX
        while budget > 0 and self._is_reading:
            buffers = self.reader.buffers()
            try:
                count = self._sock.recvmsg_into(buffers)[0]
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self.close(explain_broken(error))
                return
            if count == 0:
                self.close(PeerUnavailable("the other side closed the connection"))
                return
            self.heard_at = time.monotonic()
            self.bytes_in += count
            budget -= count
            room = len(buffers[0]) + len(buffers[1]) if len(buffers) > 1 else len(buffers[0])
            del buffers  # nothing of the arena is referenced while the handler may give it back
            self.reader.received(count)
            if not self._handle_events() or count < room:
                return
        self._read_on()

    def _handle_events(self) -> bool:
        """Gives out what has come; False if that ended the connection."""
        try:
            while True:
                event = self.reader.next_event()
                if event is None:
                    return not self.is_closed
                if isinstance(event, Frame):
                    self._handler.frame_arrived(event)
                else:
                    self._handler.data_arrived(event)
                if self.is_closed:
                    return False
        except PeerError as error:
            self.close(error)
            return False
        except BaseException:
            self.close(PeerUnavailable("this host failed at what came; its log says more"))
            raise
