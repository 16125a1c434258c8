"""A connection to the daemon that many threads share.

Law: no thread of its own. Whoever waits for an answer while nobody receives becomes the *leader* and receives for all; the others sleep until their
answer is there or the leader leaves (leader/follower). So an idle client costs nothing, and a fork has no thread to lose.

Two ways. Where the daemon has given a channel (:mod:`shmipc.channel`), frames go through its rings, and the leader sleeps until it is woken there or
something comes over the socket, whose end is the daemon's death. It looks at both every :data:`~shmipc.limits.LIVENESS_CHECK_S` anyhow, since its
descriptors may have been closed under it. Which frames take which way, and in which order answers belong, :mod:`cashy.client.session_core` knows.

Anything that ends half-way through a frame (a signal handler's exception between receiving and decoding, a send cut short) leaves the stream in
an unknown state: the connection is then *broken*, all who wait get :class:`ConnectionLost`, and the cache connects anew. Waiting itself
may be interrupted at will.

Finalizers may end a call (a generator collected at any instruction), so :meth:`Call.close` never waits for a lock: the release is queued and sent
by whoever sends next, at once if nobody is sending.
"""

from __future__ import annotations

import errno
import os
import platform
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import NamedTuple

from google.protobuf.message import Message

from aviary.cashy.v1 import control_pb2 as pb
from cashy.client.limits import SOCKET_PATH_BYTES_MAX
from cashy.client.reader import LocalArena
from cashy.client.session_core import Answer, SessionCore
from cashy.errors import CashyError, NotConnected
from shmipc.channel import ClientChannel
from shmipc.errors import ShmError
from shmipc.limits import LIVENESS_CHECK_S
from shmipc.wire import receive

__all__ = [
    "Call",
    "Connection",
    "ConnectionLost",
    "Greeted",
    "adopt_welcome",
    "cannot_connect",
    "may_have_channel",
]

#: Answers taken out of the ring at a time, so that whoever waits for the first need not wait for the last.
_ANSWERS_PER_TURN = 256


class ConnectionLost(NotConnected):
    """The connection broke while something was under way; a new one may be had."""


def cannot_connect(path: str, reason: str) -> NotConnected:
    """The error for a daemon that cannot be reached, with what to do."""
    if reason == os.strerror(errno.EACCES):
        return NotConnected(
            f"this user may not open {path} ({reason}): whoever runs the daemon must let you into the group of the socket and its folder"
        )
    return NotConnected(
        f"no cashy daemon answers on {path} ({reason}): is it running (cashy dev, or cashy master)? "
        "Another socket can be named by socket_path= or $CASHY_SOCKET"
    )


def may_have_channel() -> bool:
    """Whether this process may use rings: the processor keeps stores in order, and ``CASHY_NO_CHANNEL=1`` does not forbid it."""
    return platform.machine() == "x86_64" and os.environ.get("CASHY_NO_CHANNEL") != "1"


def _reason(error: Exception) -> str:
    """What a connection was lost of."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class Greeted(NamedTuple):
    """What a Welcome brings."""

    arena: LocalArena
    channel: ClientChannel | None


def adopt_welcome(answer: Answer, known: LocalArena | None) -> Greeted:
    """The arena of a Welcome (``known`` with a new pin table if it is the same one, else a new mapping), and its channel."""
    welcome = answer.body
    assert isinstance(welcome, pb.Welcome)
    descriptors = list(answer.descriptors)
    channel_fds = [descriptors.pop() for _ in range(answer.channel_descriptors)][::-1]
    arena_fd, *table_fds = descriptors
    table_fd = table_fds[0] if table_fds else None
    try:
        channel = ClientChannel.attach(channel_fds) if channel_fds else None
    except BaseException:
        for fd in descriptors:
            socket.close(fd)
        raise
    try:
        return Greeted(_adopt_arena(arena_fd, table_fd, welcome, known), channel)
    except BaseException:
        if channel is not None:
            channel.close()
        raise


def _adopt_arena(
    arena_fd: int, table_fd: int | None, welcome: pb.Welcome, known: LocalArena | None
) -> LocalArena:
    if known is None or known.arena_id != welcome.arena_id or known.can_pin != (table_fd is not None):
        return LocalArena(arena_fd, table_fd, welcome)
    socket.close(arena_fd)
    if table_fd is not None:
        known.replace_table(table_fd)
    return known


class Call:
    """A request under way and the answers that have come; a context manager that releases what the daemon holds for it."""

    def __init__(self, connection: Connection, request_id: int, *, is_fetch: bool) -> None:
        self._connection = connection
        self._is_fetch = is_fetch
        self.request_id = request_id
        self.answers: deque[Answer] = deque()

    def next(self, timeout_s: float) -> Answer:
        """Waits for the next answer; raises :class:`ConnectionLost`, or :class:`~cashy.errors.NotConnected` after ``timeout_s``."""
        return self._connection.wait(self, timeout_s)

    def close(self) -> None:
        """Ends the call; takes no lock for longer than it is free."""
        self._connection.end(self.request_id, is_fetch=self._is_fetch)
        self.drop_answers()

    def drop_answers(self) -> None:
        """Nobody will take the answers that are left: closes what they brought."""
        while self.answers:
            for fd in self.answers.popleft().descriptors:
                os.close(fd)

    def __enter__(self) -> Call:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Connection:
    """One connection, greeted; ``arena`` is what it reads from."""

    def __init__(
        self, path: str, *, program: str, can_pin: bool, timeout_s: float, known: LocalArena | None
    ) -> None:
        if len(path.encode()) > SOCKET_PATH_BYTES_MAX:
            raise cannot_connect(path, f"a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes")
        self.path = path
        self._core = SessionCore(can_pin=can_pin, program=program, wants_channel=may_have_channel())
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        self._channel: ClientChannel | None = None
        self._poll = select.poll()  # of the leader
        self._socket_fd = self._socket.fileno()
        self._poll.register(self._socket_fd, select.POLLIN)
        self._descriptors: deque[int] = deque()
        self._calls: dict[int, Call] = {}
        self._turn = threading.Condition(threading.Lock())
        self._is_led = False
        self._send_lock = threading.Lock()
        self._ended: deque[int] = deque()
        self._lost: str | None = None
        try:
            self.arena, self._channel = self._greet(timeout_s, known)
            if self._channel is not None:
                self._poll.register(self._channel.fileno(), select.POLLIN)
        except BaseException:
            self.break_off("it was not greeted")
            raise

    def _greet(self, timeout_s: float, known: LocalArena | None) -> Greeted:
        try:
            self._socket.connect(self.path)
            with Call(self, 1, is_fetch=False) as hello:
                self._calls[1] = hello
                self._socket.sendall(self._core.hello())
                return adopt_welcome(hello.next(timeout_s), known)
        except ConnectionLost as error:
            raise cannot_connect(self.path, str(error)) from error
        except OSError as error:
            if isinstance(error, CashyError):
                raise
            raise cannot_connect(self.path, error.strerror or str(error)) from error
        except ShmError as error:
            raise NotConnected(f"the daemon on {self.path} cannot be used: {error}") from error

    @property
    def is_broken(self) -> bool:
        """Whether it is of no further use."""
        return self._lost is not None

    # --- requests ---

    def start(self, body: Message) -> Call:
        """Sends a request. Raises :class:`ConnectionLost`."""
        with self._send_lock:
            self._check()
            request_id, frame = self._core.request(body)
            call = Call(self, request_id, is_fetch=isinstance(body, pb.Fetch))
            self._calls[request_id] = call
            self._send([*self._drain_ended(), (request_id, frame)])
        self._flush_ended()
        return call

    def ask(self, body: Message, timeout_s: float) -> Answer:
        """Sends a request that has one answer, and waits for it; a Failure is returned like any other."""
        with self.start(body) as call:
            return call.next(timeout_s)

    def end(self, request_id: int, *, is_fetch: bool) -> None:
        """Forgets a call; a fetch is released. May be called by a finalizer."""
        self._calls.pop(request_id, None)
        if is_fetch and self._lost is None:
            self._ended.append(request_id)
            self._flush_ended()

    def _flush_ended(self) -> None:
        while self._ended and self._send_lock.acquire(blocking=False):
            try:
                frames = self._drain_ended()
                if frames and self._lost is None:
                    self._send(frames)
            except ConnectionLost:
                return  # the daemon drops what it held with the connection
            finally:
                self._send_lock.release()

    def _drain_ended(self) -> list[tuple[int, bytes]]:
        frames = []
        while self._ended:
            request_id = self._ended.popleft()
            frames.append((request_id, self._core.release(request_id)))
        return frames

    def _send(self, frames: list[tuple[int, bytes]]) -> None:
        """With the send lock held."""
        channel = self._channel
        try:
            data = self._core.unsent(frames, channel.send if channel is not None else None)
            if channel is not None:
                channel.flush()
            if data:
                self._socket.sendall(data)
        except (OSError, ShmError) as error:
            self.break_off(_reason(error))
            raise self._loss() from error
        except BaseException:
            self.break_off("a request was interrupted")
            raise

    # --- answers ---

    def wait(self, call: Call, timeout_s: float) -> Answer:
        """The next answer of ``call``, received by this thread or by another that waits."""
        deadline = monotonic() + timeout_s
        while True:
            with self._turn:
                while not call.answers and self._is_led and self._lost is None:
                    left = deadline - monotonic()
                    if left <= 0:
                        raise self._timed_out(timeout_s)
                    self._turn.wait(left)
                if call.answers:
                    return call.answers.popleft()
                self._check()
                self._is_led = True
            try:
                if not self._receive(deadline):
                    raise self._timed_out(timeout_s)
            finally:
                with self._turn:
                    self._is_led = False
                    self._turn.notify_all()

    def _receive(self, deadline: float) -> bool:
        """As the leader: takes in and hands out what comes first; False if nothing came by ``deadline``."""
        while not self._take_from_ring():
            self._check()
            left = deadline - monotonic()
            ready = self._poll.poll(max(0.0, min(left, LIVENESS_CHECK_S)) * 1000)
            if self._channel is not None:
                self._channel.drain()  # before the look at the ring
            if any(fd == self._socket_fd for fd, _ in ready):
                if not self._take_from_ring():  # what the daemon sent before it went comes first
                    self._hand_out(self._take_from_socket)
                return True
            if not ready and left <= 0:
                return False
        return True

    def _take_from_ring(self) -> bool:
        channel = self._channel
        return channel is not None and self._hand_out(
            lambda: self._core.take(channel.receive(_ANSWERS_PER_TURN))
        )

    def _take_from_socket(self) -> list[Answer]:
        data = receive(self._socket, self._descriptors)
        if not data:
            self.break_off("it closed the connection")
            raise self._loss()
        return self._core.feed(data, self._descriptors)

    def _hand_out(self, take: Callable[[], list[Answer]]) -> bool:
        """Takes answers in; False if there were none. They are lost if anything breaks in here, and then so is the connection."""
        try:
            answers = take()
            for answer in answers:
                self._deliver(answer)
        except (OSError, ShmError, CashyError) as error:
            if not isinstance(error, ConnectionLost):
                self.break_off(_reason(error))
            if isinstance(error, CashyError):
                raise
            raise self._loss() from error
        except BaseException:
            self.break_off("receiving was interrupted")
            raise
        return bool(answers)

    def _deliver(self, answer: Answer) -> None:
        call = self._calls.get(answer.request_id)
        if call is None:
            for fd in answer.descriptors:
                socket.close(fd)
            return
        call.answers.append(answer)
        if answer.request_id not in self._calls:  # ended meanwhile by its thread
            call.drop_answers()

    def _timed_out(self, timeout_s: float) -> NotConnected:
        return NotConnected(
            f"the cashy daemon on {self.path} has not answered for {timeout_s:g} s: see its log, or give a longer timeout_s"
        )

    # --- end ---

    def _check(self) -> None:
        if self._lost is not None:
            raise self._loss()

    def _loss(self) -> ConnectionLost:
        return ConnectionLost(f"the connection to the cashy daemon on {self.path} was lost: {self._lost}")

    def break_off(self, reason: str) -> None:
        """Ends the connection, also for others who use it."""
        if self._lost is None:
            self._lost = reason
            try:
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes a leader of another thread
            except OSError:
                pass
            self._close()

    def forget_in_child(self) -> None:
        """In a forked child, whose parent goes on using the connection; its locks may be held by threads that are not here."""
        self._turn = threading.Condition(threading.Lock())
        self._send_lock = threading.Lock()
        self._is_led = False
        self._ended.clear()
        self._lost = self._lost or "it belongs to the parent process"
        self._close()

    def _close(self) -> None:
        self._socket.close()
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        while self._descriptors:
            socket.close(self._descriptors.popleft())
