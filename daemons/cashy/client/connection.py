"""A connection to the daemon that many threads share.

Law: no thread of its own. Whoever waits for an answer while nobody receives becomes the *leader* and receives for all; the others sleep until their
answer is there or the leader leaves (leader/follower). So an idle client costs nothing, and a fork has no thread to lose.

Anything that ends half-way through a frame (a signal handler's exception between receiving and decoding, a send cut short) leaves the stream in
an unknown state: the connection is then *broken*, all who wait get :class:`ConnectionLost`, and the cache connects anew. Waiting itself
may be interrupted at will.

Finalizers may end a call (a generator collected at any instruction), so :meth:`Call.close` never waits for a lock: the release is queued and sent
by whoever sends next, at once if nobody is sending.
"""

from __future__ import annotations

import select
import socket
import threading
from collections import deque
from time import monotonic
from types import TracebackType

from google.protobuf.message import Message

from aviary.cashy.v1 import control_pb2 as pb
from cashy.client.limits import SOCKET_PATH_BYTES_MAX
from cashy.client.reader import LocalArena
from cashy.client.session_core import Answer, SessionCore
from cashy.errors import CashyError, NotConnected
from shmipc.errors import HandshakeError, ShmError
from shmipc.wire import receive

__all__ = ["Call", "Connection", "ConnectionLost", "adopt_welcome", "cannot_connect"]


class ConnectionLost(NotConnected):
    """The connection broke while something was under way; a new one may be had."""


def cannot_connect(path: str, reason: str) -> NotConnected:
    """The error for a daemon that cannot be reached, with what to do."""
    return NotConnected(
        f"no cashy daemon answers on {path} ({reason}): is it running (cashy dev, or cashy master)? "
        "Another socket can be named by socket_path= or $CASHY_SOCKET"
    )


def adopt_welcome(answer: Answer, known: LocalArena | None) -> LocalArena:
    """The arena that a Welcome brings: ``known`` with a new pin table if it is the same one, else a new mapping."""
    welcome = answer.body
    assert isinstance(welcome, pb.Welcome)
    arena_fd, *table_fds = answer.descriptors
    table_fd = table_fds[0] if table_fds else None
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
        self._core = SessionCore(can_pin=can_pin, program=program)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        self._descriptors: deque[int] = deque()
        self._calls: dict[int, Call] = {}
        self._turn = threading.Condition(threading.Lock())
        self._is_led = False
        self._send_lock = threading.Lock()
        self._ended: deque[tuple[int, bool]] = deque()
        self._lost: str | None = None
        try:
            self.arena = self._greet(timeout_s, known)
        except BaseException:
            self.break_off("it was not greeted")
            raise

    def _greet(self, timeout_s: float, known: LocalArena | None) -> LocalArena:
        try:
            self._socket.connect(self.path)
            hello = Call(self, 1, is_fetch=False)
            self._calls[1] = hello
            self._socket.sendall(self._core.hello())
            return adopt_welcome(self.wait(hello, timeout_s), known)
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
            request_id, data = self._core.request(body)
            call = Call(self, request_id, is_fetch=isinstance(body, pb.Fetch))
            self._calls[request_id] = call
            self._send(self._drain_ended() + data)
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
            self._ended.append((request_id, is_fetch))
            self._flush_ended()

    def _flush_ended(self) -> None:
        while self._ended and self._send_lock.acquire(blocking=False):
            try:
                data = self._drain_ended()
                if data and self._lost is None:
                    self._send(data)
            except ConnectionLost:
                return  # the daemon drops what it held with the connection
            finally:
                self._send_lock.release()

    def _drain_ended(self) -> bytes:
        frames = []
        while self._ended:
            request_id, _ = self._ended.popleft()
            frames.append(self._core.release(request_id))
        return b"".join(frames)

    def _send(self, data: bytes) -> None:
        """With the send lock held."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            self.break_off(error.strerror or str(error))
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
        """As the leader: receives once and hands the answers out; False if nothing came by ``deadline``."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(max(0.0, deadline - monotonic()) * 1000):
            return False
        try:
            data = receive(self._socket, self._descriptors)
            if not data:
                self.break_off("it closed the connection")
                raise self._loss()
            for answer in self._core.feed(data, self._descriptors):
                self._deliver(answer)
        except (OSError, HandshakeError, CashyError) as error:
            if not isinstance(error, ConnectionLost):
                self.break_off(str(error))
            if isinstance(error, CashyError):
                raise
            raise self._loss() from error
        except BaseException:
            self.break_off("receiving was interrupted")
            raise
        return True

    def _deliver(self, answer: Answer) -> None:
        call = self._calls.get(answer.request_id)
        if call is None:
            for fd in answer.descriptors:
                socket.close(fd)
            return
        call.answers.append(answer)

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
        while self._descriptors:
            socket.close(self._descriptors.popleft())
