"""A request under way, as the thread that carries it out sees it: what it may send, what comes for it, whether it is still wanted."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from . import frames
from .failures import Cancelled, Failed
from .limits import ASK_BYTES, BATCHES_UNDER_WAY

__all__ = ["Request", "Waker", "encode"]


def encode(value: dict[str, Any]) -> bytes:
    """JSON in UTF-8. Names of files that are not UTF-8 lose what cannot be said."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


class Request:
    """One request. The main thread calls :meth:`cancel`, :meth:`blob` and :meth:`acknowledge`; its own thread calls the rest."""

    def __init__(
        self, number: int, arguments: dict[str, Any], send: Callable[[int, int, bytes], None]
    ) -> None:
        self.number = number
        self.arguments = arguments
        self._send = send
        self._changed = threading.Condition()
        self._blobs: deque[bytes] = deque()
        self._under_way = 0
        self._is_cancelled = False
        #: Called once when the request is cancelled, from another thread: wakes whoever waits elsewhere than here.
        self._wakers: list[Callable[[], None]] = []

    # ------------------------------------------------------------ from the main thread

    def cancel(self) -> None:
        """It is not wanted any more."""
        with self._changed:
            self._is_cancelled = True
            wakers = list(self._wakers)
            self._changed.notify_all()
        for wake in wakers:
            wake()

    def blob(self, payload: bytes) -> None:
        """Bytes that were asked for have come."""
        with self._changed:
            self._blobs.append(payload)
            self._changed.notify_all()

    def acknowledge(self) -> None:
        """One event has been consumed."""
        with self._changed:
            self._under_way -= 1
            wakers = list(self._wakers)
            self._changed.notify_all()
        for wake in wakers:
            wake()

    # ------------------------------------------------------------ from its own thread

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody wants it any more."""
        return self._is_cancelled

    @property
    def may_send(self) -> bool:
        """Whether another event may be sent now."""
        return self._under_way < BATCHES_UNDER_WAY

    def check(self) -> None:
        """Raises :class:`Cancelled` if nobody wants it any more."""
        if self._is_cancelled:
            raise Cancelled

    def wake_with(self, waker: Callable[[], None]) -> None:
        """Has ``waker`` called whenever the request is cancelled or an event is acknowledged."""
        with self._changed:
            self._wakers.append(waker)
        if self._is_cancelled:
            waker()

    def sleep(self, duration_s: float) -> None:
        """Waits; raises :class:`Cancelled` at once when the request is cancelled."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_cancelled, duration_s)
        self.check()

    def wait_until_it_may_send(self, timeout_s: float) -> bool:
        """Waits until another event may be sent; False if that is not so in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_cancelled or self.may_send, timeout_s)
        self.check()
        return self.may_send

    def event(self, value: dict[str, Any]) -> None:
        """Sends one item of the answer; it will be acknowledged."""
        with self._changed:
            self._under_way += 1
        self._send(frames.EVENT, self.number, encode(value))

    def send_blob(self, payload: bytes) -> None:
        """Sends bytes of the answer; they are not acknowledged, so there is a bound on all of them together."""
        self._send(frames.BLOB, self.number, payload)

    def content(self, sha256: str, size_bytes: int) -> Iterator[bytes]:
        """Asks for a blob and gives its bytes as they come: exactly ``size_bytes`` of them."""
        offset = 0
        while offset < size_bytes:
            asked = min(ASK_BYTES, size_bytes - offset)
            self._send(
                frames.EVENT,
                self.number,
                encode({"need": sha256, "offset": offset, "length": asked}),
            )
            end = offset + asked
            while offset < end:
                chunk = self._next_blob()
                offset += len(chunk)
                if not chunk or offset > end:
                    raise Failed(
                        "checksum", f"of {sha256[:12]} {size_bytes} bytes were expected, and others came"
                    )
                yield chunk

    def _next_blob(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._is_cancelled or bool(self._blobs))
            self.check()
            return self._blobs.popleft()


class Waker:
    """A descriptor that becomes readable when :meth:`wake` is called, by any thread: for those who wait in ``select``."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._lock = (
            threading.Lock()
        )  # a number that was closed may be somebody else's by the time it is written to
        self._is_open = True

    def fileno(self) -> int:
        """For selectors."""
        return self._reader

    def wake(self) -> None:
        """Makes it readable. Does nothing after :meth:`close`."""
        with self._lock:
            if self._is_open:
                try:
                    os.write(self._writer, b"x")
                except BlockingIOError:
                    pass  # it is readable already

    def drain(self) -> None:
        """Makes it unreadable."""
        try:
            while os.read(self._reader, 4096):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Ends it."""
        with self._lock:
            self._is_open = False
            os.close(self._reader)
            os.close(self._writer)
