"""One connection to the daemon, watched by an asyncio loop.

Law: the asyncio pump around :mod:`cashy.client.session_core`, as :mod:`cashy.client.connection` is the one for threads. It neither reconnects nor
knows what answers mean: it hands each to the queue of its request, and when the connection ends it tells all who wait. With a channel, the loop
watches its descriptor as well as the socket's.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable

from google.protobuf.message import Message

from cashy.client.limits import OUTPUT_BYTES_MAX
from cashy.client.session_core import Answer, SessionCore
from cashy.errors import CashyError, NotConnected, SlowDown
from shmipc.channel import ClientChannel
from shmipc.errors import ShmError
from shmipc.wire import receive

__all__ = ["AnswerQueue", "Link"]

#: Answers taken out of the ring before others of the loop have their turn.
_ANSWERS_PER_TURN = 64

AnswerQueue = asyncio.Queue[Answer | CashyError]


class Link:
    """One connection: socket, protocol state, and whom its answers go to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, core: SessionCore) -> None:
        self.core = core
        self.sinks: dict[int, AnswerQueue] = {}
        self.lost: asyncio.Future[str] = loop.create_future()
        self._loop = loop
        self._socket = sock
        self._channel: ClientChannel | None = None
        self._descriptors: deque[int] = deque()
        self._output = bytearray()
        loop.add_reader(sock.fileno(), self._on_readable)

    def use_channel(self, channel: ClientChannel) -> None:
        """From now on requests go through its ring where they fit; it ends with the connection."""
        if self.lost.done():
            channel.close()
            return
        self._channel = channel
        self._loop.add_reader(channel.fileno(), self._on_wake_up)

    def hello(self) -> AnswerQueue:
        """Sends the greeting; returns where its answer comes."""
        queue: AnswerQueue = asyncio.Queue()
        self.sinks[1] = queue
        self._send_over_socket(self.core.hello())
        return queue

    def request(self, body: Message) -> tuple[int, AnswerQueue]:
        """Sends a request; returns its number and where its answers come.

        Raises :class:`NotConnected`, and :class:`SlowDown` where the daemon does not read.
        """
        request_id, frame = self.core.request(body)
        queue: AnswerQueue = asyncio.Queue()
        self.sinks[request_id] = (
            queue  # first: sending may find that the daemon is gone, and tell all who wait
        )
        try:
            self._send(request_id, frame)
        except CashyError:
            self.sinks.pop(request_id, None)
            raise
        return request_id, queue

    def release(self, request_id: int) -> None:
        """Lets the daemon drop what it holds for a fetch."""
        queue = self.sinks.pop(request_id, None)
        while queue is not None and not queue.empty():  # nobody will take what is left
            answer = queue.get_nowait()
            for fd in answer.descriptors if isinstance(answer, Answer) else ():
                os.close(fd)
        if not self.lost.done():
            try:
                self._send(request_id, self.core.release(request_id))
            except CashyError:
                self.close("the daemon does not read")

    # --- out ---

    def _send(self, request_id: int, frame: bytes) -> None:
        if self.lost.done():
            raise NotConnected(self.lost.result())
        channel = self._channel
        try:
            data = self.core.unsent([(request_id, frame)], channel.send if channel is not None else None)
            if channel is not None:
                channel.flush()
        except ShmError as error:
            self.close(str(error))
            raise NotConnected(str(error)) from error
        if data:
            self._send_over_socket(data)

    def _send_over_socket(self, data: bytes) -> None:
        if len(self._output) + len(data) > OUTPUT_BYTES_MAX:
            raise SlowDown("the cashy daemon does not read its requests: it is overloaded or stopped")
        if not self._output:
            self._loop.add_writer(self._socket.fileno(), self._on_writable)
        self._output += data
        self._on_writable()

    def _on_writable(self) -> None:
        if not self._output:
            return
        try:
            sent = self._socket.send(self._output)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.close(error.strerror or str(error))
            return
        del self._output[:sent]
        if not self._output:
            self._loop.remove_writer(self._socket.fileno())

    # --- in ---

    def _on_readable(self) -> None:
        self._hand_out(self._take_from_socket)

    def _take_from_socket(self) -> list[Answer]:
        try:
            data = receive(self._socket, self._descriptors)
        except (BlockingIOError, InterruptedError):
            return []
        if not data:
            while self._take_from_ring():
                pass  # what the daemon had put there before it went
            raise NotConnected("the daemon closed the connection")
        return self.core.feed(data, self._descriptors)

    def _on_wake_up(self) -> None:
        if self._channel is not None:
            self._channel.drain()
            self._on_ring()

    def _on_ring(self) -> None:
        if self._take_from_ring():
            self._loop.call_soon(self._on_ring)

    def _take_from_ring(self) -> bool:
        """Hands a batch of answers out; True if there may be more, which no wake-up announces."""
        channel = self._channel
        if channel is None or self.lost.done():
            return False
        messages: list[bytes] = []

        def take() -> list[Answer]:
            messages.extend(channel.receive(_ANSWERS_PER_TURN))
            return self.core.take(messages)

        self._hand_out(take)
        return len(messages) == _ANSWERS_PER_TURN

    def _hand_out(self, take: Callable[[], list[Answer]]) -> None:
        try:
            for answer in take():
                self._deliver(answer)
        except (OSError, ShmError, CashyError) as error:
            self.close(str(error))

    def _deliver(self, answer: Answer) -> None:
        queue = self.sinks.get(answer.request_id)
        if queue is None:
            for fd in answer.descriptors:
                os.close(fd)
            return
        queue.put_nowait(answer)
        if answer.is_last:
            self.sinks.pop(answer.request_id, None)

    def close(self, reason: str) -> None:
        """Ends the connection; who waits is told."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        if self._channel is not None:
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None
        while self._descriptors:
            os.close(self._descriptors.popleft())
        for queue in self.sinks.values():
            queue.put_nowait(NotConnected(f"the connection to the cashy daemon was lost: {reason}"))
        self.sinks.clear()

    def forget_in_child(self) -> None:
        """In a forked child: only the descriptors are ours (the loop and its poll set are the parent's)."""
        self._socket.close()
        if self._channel is not None:
            self._channel.close()
