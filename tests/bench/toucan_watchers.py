"""Clients that watch orders, many of them in one process: ``python -m tests.bench.toucan_watchers CORE``.

Commands are JSON lines on standard input, answers JSON lines on standard output; messages are taken in all the time, and read when they are counted.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from typing import Any

from aviary.toucan.v1 import toucan_pb2 as pb

from .toucan_http2 import SILENCE_S, Http2Connection, Http2Error

__all__ = ["main"]

_WATCH = "/aviary.toucan.v1.OrderEntryService/WatchOrders"


class _Watcher:
    """One stream; its messages are the bytes that came, or, if nobody reads them, only counted."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.message_count = 0
        self.updates = 0
        self.seq = 0

    def read(self) -> None:
        """Counts what has come since this was last called. Raises :class:`Http2Error` if something was left out or came out of order."""
        messages, self.messages = self.messages, []
        for message in messages:
            answer = pb.WatchOrdersResponse.FromString(message)
            seqs = [update.seq for update in answer.updates]
            if (
                answer.conflated
                or answer.is_stale
                or seqs != sorted(set(seqs))
                or (seqs and seqs[0] <= self.seq)
            ):
                raise Http2Error(f"a watcher was told {str(answer)[:300]}")
            self.updates += len(seqs)
            self.seq = max([self.seq, *seqs[-1:]])


class _Watchers:
    """All of them, on some connections."""

    def __init__(self, poll: select.epoll) -> None:
        self._poll = poll
        self._connections: dict[int, Http2Connection] = {}
        self._watchers: list[_Watcher] = []
        self._is_kept = True

    def open(self, target: str, streams: int, connections: int, is_kept: bool) -> dict[str, Any]:
        """Opens so many streams, dealt out to so many connections, from now on; each has heard something when this returns.

        ``is_kept``: messages are kept to be counted by :meth:`count`.
        """
        self._is_kept = is_kept
        request = pb.WatchOrdersRequest(without_snapshot=True).SerializeToString()
        for number in range(connections):
            connection = Http2Connection(target)
            self._connections[connection.socket.fileno()] = connection
            self._poll.register(connection.socket, select.EPOLLIN)
            share = streams // connections + (number < streams % connections)
            self._watch(connection, request, share)
        deadline = time.monotonic() + SILENCE_S
        while not all(watcher.message_count for watcher in self._watchers):
            if time.monotonic() > deadline:
                raise Http2Error("not every stream has begun")
            self.take_in(self._poll.poll(SILENCE_S))
        return {}

    def _watch(self, connection: Http2Connection, request: bytes, count: int) -> None:
        by_stream: dict[int, _Watcher] = {}

        def on_message(stream: int, message: bytes) -> None:
            watcher = by_stream[stream]
            watcher.message_count += 1
            if self._is_kept:
                watcher.messages.append(message)

        def on_end(stream: int) -> None:
            raise Http2Error("a stream was ended by the server")

        connection.on_message, connection.on_end = on_message, on_end
        for _ in range(count):
            stream, call = connection.call(_WATCH, request)
            by_stream[stream] = watcher = _Watcher()
            self._watchers.append(watcher)
            connection.send(call)

    def take_in(self, events: list[tuple[int, int]]) -> bool:
        """What has come; True: a command has, too."""
        is_command = False
        for fd, _ in events:
            connection = self._connections.get(fd)
            if connection is None:
                is_command = is_command or fd == 0
            else:
                connection.receive()
        return is_command

    def count(self) -> dict[str, Any]:
        """Updates that each watcher has been told of (the least and the most), and messages in all, since they were opened."""
        for watcher in self._watchers:
            watcher.read()
        updates = [watcher.updates for watcher in self._watchers]
        messages = sum(watcher.message_count for watcher in self._watchers)
        return {"least": min(updates), "most": max(updates), "messages": messages}

    def close(self) -> dict[str, Any]:
        """All of them at once; messages that came."""
        messages = sum(watcher.message_count for watcher in self._watchers)
        for connection in self._connections.values():
            self._poll.unregister(connection.socket)
            connection.close()
        self._connections.clear()
        self._watchers.clear()
        return {"messages": messages}


def main() -> None:
    """Serves commands until standard input ends."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    with select.epoll() as poll:
        poll.register(0, select.EPOLLIN)
        watchers = _Watchers(poll)
        failure = ""
        while True:
            try:
                is_command = watchers.take_in(poll.poll())
            except (Http2Error, OSError) as error:
                failure = failure or f"{type(error).__name__}: {error}"
                watchers.close()
                continue
            if not is_command:
                continue
            line = os.read(0, 1 << 16)  # one command at a time: each is answered before the next is sent
            if not line:
                return
            print(json.dumps(_answered(watchers, line, failure)), flush=True)
            failure = ""


def _answered(watchers: _Watchers, line: bytes, failure: str) -> dict[str, Any]:
    if failure:
        return {"error": failure}
    command = json.loads(line)
    try:
        answer: dict[str, Any] = getattr(watchers, command.pop("do"))(**command)
    except (Http2Error, OSError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return answer


if __name__ == "__main__":
    main()
