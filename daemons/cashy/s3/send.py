"""The send rule: a pin of bytes that were written is dropped when they have *left*, never when ``write`` returned.

Law. Every pinned byte leaves through here. uvloop's ``write`` keeps a memoryview *by reference* until the kernel has taken it [measured: 4.4 MB of
another object reached a slow reader when the pin was dropped at once], so a pin handed to :class:`PinnedSender` belongs to it until the
transport's buffer is empty or the connection is lost. Nobody else releases it: not the coroutine that asked for it, not an error
path, not a timeout (which aborts the connection, and then the loss releases).

Both water marks are 0: uvloop then writes at once, pauses the protocol if the kernel has not taken everything, and ``resume_writing``
says exactly "the buffer is empty". Nothing rests on the first: if a write was only queued for the end of the loop's turn, the check
is made again one turn later. ``sendfile`` and ``MSG_ZEROCOPY`` are not used, though ``sendfile`` sends 1.2 to 1.6 times the bytes per
CPU-second [measured, loopback]: there the kernel itself keeps references to the pages. That the peer has acknowledged everything (``SIOCOUTQ``
is 0) is not their end where the receiver is on the same host: the pages then lie in *its* queue, and a slot that is filled anew reaches it as
another object's bytes [a test shows it].
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from cashy.errors import NotConnected
from cashy.s3.session import Pin

__all__ = ["PinnedSender"]


class PinnedSender:
    """Writes to one transport and holds pins until what they protect has left.

    The protocol passes ``pause_writing``, ``resume_writing`` and ``connection_lost`` on to :meth:`paused`, :meth:`resumed`, :meth:`lost`.
    """

    __slots__ = (
        "_finished",
        "_held",
        "_is_checking",
        "_is_lost",
        "_is_paused",
        "_loop",
        "_on_drained",
        "_transport",
    )

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        transport.set_write_buffer_limits(high=0, low=0)
        self._transport = transport
        self._loop = loop
        self._held: list[Pin] = []
        self._finished: list[Pin] = []
        self._on_drained: Callable[[], None] | None = None
        self._is_paused = self._is_lost = self._is_checking = False

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return 0 if self._is_lost else self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Writes bytes of our own, which nobody will change."""
        if not self._is_lost:
            self._transport.write(data)

    def adopt(self, pin: Pin) -> None:
        """Takes a pin over; bytes under it may be written until :meth:`finish`."""
        if self._is_lost:
            pin.release()
        else:
            self._held.append(pin)

    def write_pinned(self, head: bytes, view: memoryview) -> None:
        """Writes a head (may be empty) and bytes under an adopted pin, without copying the latter."""
        if self._is_lost:
            return
        if head:
            self._transport.writelines((head, view))  # one writev
        else:
            self._transport.write(view)

    def finish(self, pin: Pin) -> None:
        """Nothing more will be written under this pin: it is released when what was written has left."""
        if pin not in self._held:
            return  # the connection was lost meanwhile
        self._held.remove(pin)
        if self._transport.get_write_buffer_size():
            self._finished.append(pin)
            self._check_soon()
        else:
            pin.release()

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Calls back once, not at once, when everything written has left; never if the connection is lost."""
        assert self._on_drained is None, "one waiter at a time"
        self._on_drained = callback
        self._check_soon()

    async def drained(self) -> None:
        """Waits until everything written has left; raises :class:`~cashy.errors.NotConnected` if the connection is lost."""
        if self._is_lost:
            raise NotConnected("the S3 client has closed the connection")
        future: asyncio.Future[None] = self._loop.create_future()
        self.when_drained(partial(_wake, future))
        try:
            await future
        finally:
            self._on_drained = None

    # ------------------------------------------------------------ what the protocol is told

    def paused(self) -> None:
        """``pause_writing``: the kernel has not taken everything."""
        self._is_paused = True

    def resumed(self) -> None:
        """``resume_writing``: it has now."""
        self._is_paused = False
        self._check()

    def lost(self) -> None:
        """``connection_lost``: the descriptor is closed, nothing can leave any more."""
        self._is_lost = True
        self._on_drained = None
        pins = [*self._held, *self._finished]
        self._held.clear()
        self._finished.clear()
        for pin in pins:
            pin.release()

    # ------------------------------------------------------------ when has it left

    def _check_soon(self) -> None:
        if not self._is_checking and not self._is_lost:
            self._is_checking = True
            self._loop.call_soon(self._check_now)

    def _check_now(self) -> None:
        self._is_checking = False
        self._check()

    def _check(self) -> None:
        if self._is_lost:
            return
        if self._transport.get_write_buffer_size():
            if not self._is_paused:
                self._check_soon()  # written in this turn: the loop has not come to it yet
            return
        finished, self._finished = self._finished, []
        for pin in finished:
            pin.release()
        callback, self._on_drained = self._on_drained, None
        if callback is not None:
            callback()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
