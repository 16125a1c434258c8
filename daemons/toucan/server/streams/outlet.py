"""One stream's way out to its client: its turns, its heartbeats, and its end.

A subclass says what the next message is (:meth:`Outlet.next_message`). Messages are made when it is the stream's turn and not before, so that what is
waiting can still be put together or thrown away. A stream whose client does not take what it is sent is ended with a reason, also in the middle of a
write; others never wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from toucan.server.calls import StreamContext
from toucan.server.errors import CallError, Conflict, Exhausted, FrontCode
from toucan.server.identity import Identity
from toucan.server.limits import CUT_OFF_AFTER_S, HEARTBEAT_S
from toucan.server.streams.pump import Pump

__all__ = ["Outlet"]


class Outlet:
    """A stream that is open. :meth:`drive` is its life; everything else is called by feeds and the pump."""

    def __init__(self, pump: Pump, identity: Identity) -> None:
        self.identity = identity
        self._pump = pump
        self._bell = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._end: CallError | None = None
        self._is_queued = False
        self._is_heartbeat_due = False
        #: Since when a message is being written; None: none is.
        self._writing_since_s: float | None = None
        self._wrote_at_s = asyncio.get_running_loop().time()

    # ------------------------------------------------------------ for subclasses

    def next_message(self, *, is_heartbeat: bool) -> bytes | None:
        """The next message; None: there is none to send now. ``is_heartbeat``: it has been silent for long, so an empty one is wanted."""
        raise NotImplementedError

    @property
    def has_more(self) -> bool:
        """Whether there is another message to be sent."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Whether the stream is at its end: nothing more will come."""
        return False

    def go_on(self) -> None:
        """A turn is over: asks for another one if there is more."""
        if self.has_more:
            self.poke()

    def on_identity(self, identity: Identity) -> None:
        """The user has other entitlements now. By default the stream ends; it can be opened again within the new ones."""
        text = f"the entitlements of {identity.user.name} have changed; open the stream again"
        self.end(Conflict(text, code=FrontCode.ENTITLEMENTS_CHANGED))

    # ------------------------------------------------------------ from feeds and the pump

    def poke(self) -> None:
        """There is something to send."""
        if not self._is_queued and self._writing_since_s is None:
            self._is_queued = True
            self._pump.queue(self)

    def run(self) -> None:
        """It is this stream's turn."""
        self._is_queued = False
        self._bell.set()

    def run_now(self) -> None:
        """Something is to be sent that waits for no turn."""
        self._bell.set()

    def end(self, error: CallError) -> None:
        """Ends the stream with a reason, even if its client takes nothing."""
        if self._end is not None:
            return
        self._end = error
        if self._task is not None and self._writing_since_s is not None:
            self._task.cancel()
        self._bell.set()

    def look_after(self, now_s: float) -> None:
        """Once a second: is it stuck, or has it been silent?"""
        if self._writing_since_s is not None:
            if now_s - self._writing_since_s > CUT_OFF_AFTER_S:
                self.cut_off(f"no message was taken for {CUT_OFF_AFTER_S:.0f} s")
        elif now_s - self._wrote_at_s >= HEARTBEAT_S:
            self._is_heartbeat_due = True
            self.poke()

    def cut_off(self, why: str) -> None:
        """Ends the stream since its client is too slow."""
        text = f"this stream was cut off, since its client is too slow: {why}"
        self.end(Exhausted(text, code=FrontCode.SLOW_CONSUMER))

    # ------------------------------------------------------------ its life

    async def drive(self, context: StreamContext) -> None:
        """Sends until the client goes (``CancelledError``) or the stream is ended (:class:`~toucan.server.errors.CallError`)."""
        with self._driven_by_this_task():
            # Before any message, so that a stream which is stuck in its first one can still be ended with a status.
            await context.send_initial_metadata(())
            self.poke()
            while True:
                await self._bell.wait()
                self._bell.clear()
                if self._end is not None:
                    raise self._end
                is_heartbeat, self._is_heartbeat_due = self._is_heartbeat_due, False
                message = self.next_message(is_heartbeat=is_heartbeat)
                if message is not None:
                    await self._write(context, message)
                elif self.is_over:
                    return
                self.go_on()

    async def _write(self, context: StreamContext, message: bytes) -> None:
        loop = asyncio.get_running_loop()
        self._writing_since_s = loop.time()
        try:
            await context.write(message)
        except asyncio.CancelledError:
            if self._end is None:
                raise
            # It was cancelled to get out of this write; the status goes out behind what is stuck.
            assert self._task is not None
            self._task.uncancel()
            raise self._end from None
        finally:
            self._writing_since_s = None
        self._wrote_at_s = loop.time()

    @contextlib.contextmanager
    def _driven_by_this_task(self) -> Iterator[None]:
        self._task = asyncio.current_task()
        self._pump.outlets.add(self)
        try:
            yield
        finally:
            self._pump.outlets.discard(self)
            self._task = None
