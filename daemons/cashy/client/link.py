"""One connection to the daemon, watched by an asyncio loop.

Law: the asyncio pump around :mod:`cashy.client.session_core`, as :mod:`cashy.client.connection` is the one for threads. It neither reconnects nor
knows what answers mean: it hands each to the queue of its request, and when the connection ends it tells all who wait.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque

from google.protobuf.message import Message

from cashy.client.limits import OUTPUT_BYTES_MAX
from cashy.client.session_core import Answer, SessionCore
from cashy.errors import CashyError, NotConnected, SlowDown
from shmipc.errors import HandshakeError
from shmipc.wire import receive

__all__ = ["AnswerQueue", "Link"]

AnswerQueue = asyncio.Queue[Answer | CashyError]


class Link:
    """One connection: socket, protocol state, and whom its answers go to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, core: SessionCore) -> None:
        self.core = core
        self.sinks: dict[int, AnswerQueue] = {}
        self.lost: asyncio.Future[str] = loop.create_future()
        self._loop = loop
        self._socket = sock
        self._descriptors: deque[int] = deque()
        self._output = bytearray()
        loop.add_reader(sock.fileno(), self._on_readable)

    def send(self, data: bytes) -> None:
        """Sends, or queues; raises :class:`SlowDown` where the daemon does not read."""
        if self.lost.done():
            raise NotConnected(self.lost.result())
        if len(self._output) + len(data) > OUTPUT_BYTES_MAX:
            raise SlowDown("the cashy daemon does not read its requests: it is overloaded or stopped")
        if not self._output:
            self._loop.add_writer(self._socket.fileno(), self._on_writable)
        self._output += data
        self._on_writable()

    def request(self, body: Message) -> tuple[int, AnswerQueue]:
        """Sends a request; returns its number and where its answers come."""
        request_id, data = self.core.request(body)
        queue: AnswerQueue = asyncio.Queue()
        self.sinks[request_id] = (
            queue  # first: sending may find that the daemon is gone, and tell all who wait
        )
        try:
            self.send(data)
        except CashyError:
            self.sinks.pop(request_id, None)
            raise
        return request_id, queue

    def release(self, request_id: int) -> None:
        """Lets the daemon drop what it holds for a fetch."""
        self.sinks.pop(request_id, None)
        if not self.lost.done():
            try:
                self.send(self.core.release(request_id))
            except SlowDown:
                self.close("the daemon does not read")

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

    def _on_readable(self) -> None:
        try:
            data = receive(self._socket, self._descriptors)
            if not data:
                self.close("the daemon closed the connection")
                return
            for answer in self.core.feed(data, self._descriptors):
                self._deliver(answer)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, HandshakeError, CashyError) as error:
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
        while self._descriptors:
            os.close(self._descriptors.popleft())
        for queue in self.sinks.values():
            queue.put_nowait(NotConnected(f"the connection to the cashy daemon was lost: {reason}"))
        self.sinks.clear()

    def forget_in_child(self) -> None:
        """In a forked child: only the descriptor is ours (the loop and its poll set are the parent's)."""
        self._socket.close()
