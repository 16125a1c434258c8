"""The way to an exchange behind a socket: one thread that connects, reads, writes, and connects again.

The thread sleeps in a selector on the socket and on a doorbell. ``send`` writes to the socket itself, which never waits: to wake the thread for it
costs more than the write, and the interpreter's lock twice. What the socket does not take goes into a bounded buffer, and from there on everything
that follows; the thread writes that. Everything else is the thread's own, so there is one lock, for the buffer and the right to write.
"""

from __future__ import annotations

import os
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from toucan.core.venue_messages import FromVenue, Resume, ToVenue
from toucan.exchange.core.wire import WireError, encode_all, venue_reader
from toucan.venue.events import Connected, Disconnected, VenueEvent
from toucan.venue.limits import (
    BACKOFF_FIRST_S,
    BACKOFF_MAX_S,
    CONNECT_S_MAX,
    KEEPALIVE_S,
    OUT_BYTES_MAX,
    RECEIVE_BYTES,
    STABLE_S,
    UNACKNOWLEDGED_S_MAX,
)
from toucan.venue.link import Deliver

__all__ = ["SocketVenueLink"]

Address = Path | str | tuple[str, int]


_NOT_LET_IN = "the venue closes each connection at once"


class _Lost(Exception):
    """There is no connection any more; says why."""


class SocketVenueLink:
    """A :class:`~toucan.venue.link.VenueLink` to an exchange's socket. ``address`` is the path of a unix socket, or host and port.

    ``without_depth``: of the market only quotes are wanted.
    """

    def __init__(
        self,
        address: Address,
        firm: str,
        *,
        chance: random.Random | None = None,
        without_depth: bool = False,
    ) -> None:
        self._address = address if isinstance(address, tuple) else str(address)
        self._firm = firm
        self._without_depth = without_depth
        self._chance = chance or random.Random()  # noqa: S311 - when to try again is no secret
        self._known = ("", 0)
        self._deliver: Deliver | None = None
        self._thread: threading.Thread | None = None
        self._doorbell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._out = bytearray()
        #: Where frames can be written; None: there is no connection.
        self._socket: socket.socket | None = None
        self._is_dropped = False
        self._is_stopped = False
        self._told_reason: str | None = None
        #: Whether something was heard on this connection.
        self._is_welcome = False

    # ------------------------------------------------------------ any thread

    def resume_from(self, life: str, venue_seq: int) -> None:
        """See :class:`~toucan.venue.link.VenueLink`."""
        self._known = (life, venue_seq)

    def start(self, deliver: Deliver) -> None:
        """See :class:`~toucan.venue.link.VenueLink`. The thread is called "venue-" and the firm's name."""
        if self._thread is not None:
            raise ValueError("this way to the venue was started before; make another one")
        self._deliver = deliver
        self._thread = threading.Thread(target=self._run, name=f"venue-{self._firm}", daemon=True)
        self._thread.start()

    def send(self, messages: Sequence[ToVenue]) -> bool:
        """See :class:`~toucan.venue.link.VenueLink`. Raises :class:`WireError` for a message that fits no frame."""
        frames = encode_all(messages)
        with self._lock:
            if self._socket is None or len(self._out) + len(frames) > OUT_BYTES_MAX:
                return False
            if self._out:  # the thread is at it
                self._out += frames
                return True
            written = _written(self._socket, frames)
            self._out += frames[written:]
        if written < len(frames):
            self._ring()
        return True

    def reconnect(self) -> None:
        """See :class:`~toucan.venue.link.VenueLink`."""
        with self._lock:
            self._is_dropped = True
            self._socket = None
        self._ring()

    def stop(self) -> None:
        """See :class:`~toucan.venue.link.VenueLink`. May be called more than once, and not from ``deliver``."""
        self._is_stopped = True
        self._ring()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            if self._doorbell >= 0:
                os.close(self._doorbell)
                self._doorbell = -1

    def _ring(self) -> None:
        with self._lock:  # or the number could be another file's already
            if self._doorbell >= 0:
                os.eventfd_write(self._doorbell, 1)

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        failures = 0
        with selectors.DefaultSelector() as selector:
            selector.register(self._doorbell, selectors.EVENT_READ)
            while not self._is_stopped:
                began = time.monotonic()
                reason = self._connection(selector)
                was_stable = time.monotonic() - began > STABLE_S
                # Who wants a connection anew gets it soon, however often he wants one.
                failures = 0 if was_stable else 1 if self._is_dropped else failures + 1
                self._tell_lost(selector, reason)
                self._pause(selector, failures)

    def _connection(self, selector: selectors.BaseSelector) -> str:
        """One connection, from the attempt to its end; gives the reason."""
        try:
            connection = self._connect()
        except OSError as error:
            return f"cannot connect to {self._shown_address}: {error.strerror or error}"
        with connection:
            selector.register(connection, selectors.EVENT_READ)
            try:
                self._begin(connection)
                self._pump(selector, connection)
            except (_Lost, WireError) as error:
                return str(error)
            except OSError as error:
                # Which of the errors it is, is chance where the venue lets nobody in.
                return (
                    f"the connection is broken: {error.strerror or error}"
                    if self._is_welcome
                    else _NOT_LET_IN
                )
            finally:
                selector.unregister(connection)
                with self._lock:
                    self._socket = None
        return "stopped"

    def _connect(self) -> socket.socket:
        if isinstance(self._address, tuple):
            connection = socket.create_connection(self._address, timeout=CONNECT_S_MAX)
            for level, name, value in (
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S),
                (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S),
                (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNACKNOWLEDGED_S_MAX * 1000)),
            ):
                connection.setsockopt(level, name, value)
        else:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(CONNECT_S_MAX)
            try:
                connection.connect(self._address)
            except BaseException:
                connection.close()
                raise
        connection.setblocking(False)
        return connection

    def _begin(self, connection: socket.socket) -> None:
        """The first message is Resume; from here on others can be sent."""
        with self._lock:
            # Read here: who sets other values and then drops the connection gets one that begins with them.
            life, venue_seq = self._known
            resume = Resume(self._firm, life, venue_seq, self._without_depth)
            self._out[:] = encode_all([resume])
            self._is_dropped = False
            self._socket = connection
        self._told_reason = None
        self._is_welcome = False
        self._hand_over([Connected()])

    def _pump(self, selector: selectors.BaseSelector, connection: socket.socket) -> None:
        reader = venue_reader()
        events = selectors.EVENT_READ
        while True:
            wanted = selectors.EVENT_READ | (0 if self._write(connection) else selectors.EVENT_WRITE)
            if wanted != events:
                selector.modify(connection, wanted)
                events = wanted
            for key, ready in selector.select():
                if key.fd == self._doorbell:
                    self._heed_doorbell()
                elif ready & selectors.EVENT_READ:
                    self._read(connection, reader.feed)
            if self._is_stopped:
                return
            if self._is_dropped:
                raise _Lost("dropped here, to connect anew")

    def _write(self, connection: socket.socket) -> bool:
        """Writes what waits; False if some of it still does."""
        with self._lock:
            if not self._out:
                return True
            try:
                sent = connection.send(self._out)
            except BlockingIOError:
                return False
            del self._out[:sent]
            return not self._out

    def _read(self, connection: socket.socket, feed: Callable[[bytes], Iterator[FromVenue]]) -> None:
        try:
            data = connection.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise _Lost("the venue has closed the connection" if self._is_welcome else _NOT_LET_IN)
        self._is_welcome = True
        messages: list[VenueEvent] = []
        try:
            messages.extend(feed(data))
        finally:
            if messages:
                self._hand_over(messages)

    def _hand_over(self, messages: list[VenueEvent]) -> None:
        assert self._deliver is not None
        if not self._is_stopped and not self._deliver(messages):
            raise _Lost("the engine takes no more: it has too much waiting")

    def _tell_lost(self, selector: selectors.BaseSelector, reason: str) -> None:
        """Not before this is taken is there another connection. That it still cannot be made for the same reason is no news."""
        assert self._deliver is not None
        if reason == self._told_reason:
            return
        refusals = 0
        while not self._is_stopped and not self._deliver([Disconnected(reason)]):
            refusals += 1
            self._pause(selector, refusals)
        self._told_reason = reason

    def _pause(self, selector: selectors.BaseSelector, failures: int) -> None:
        """Waits before the next attempt, longer each time; :meth:`stop` and :meth:`reconnect` end it."""
        bound_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 30)) if failures else 0.0
        if not self._is_stopped and selector.select(self._chance.uniform(0, bound_s)):
            self._heed_doorbell()

    def _heed_doorbell(self) -> None:
        try:
            os.eventfd_read(self._doorbell)
        except BlockingIOError:
            pass

    @property
    def _shown_address(self) -> str:
        return f"{self._address[0]}:{self._address[1]}" if isinstance(self._address, tuple) else self._address


def _written(connection: socket.socket, frames: bytes) -> int:
    """How much of them the socket has taken. A connection that is broken takes nothing: the thread finds out why."""
    try:
        return connection.send(frames)
    except OSError:
        return 0
