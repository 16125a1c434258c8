"""The pump: which streams may write when.

A message costs some 70 us whatever is in it, so a stream that wrote at each event would cost a core at a few thousand events a second. Here streams
queue for a turn. There are :data:`~toucan.server.limits.WRITES_PER_S_MAX` turns a second, a few at a time, first come first served: one stream
alone writes at once, fifty write fifty times a second each, and what has happened meanwhile goes into one message. Requests are answered between
the turns. There is one timer for all streams, and one more that looks every second for those that have been silent or stuck for too long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from toucan.server.limits import HOUSEKEEPING_S, WRITES_PER_S_MAX, WRITES_PER_TURN_MAX

if TYPE_CHECKING:
    from toucan.server.streams.outlet import Outlet

__all__ = ["Pump"]


class Pump:
    """Gives turns to :class:`~toucan.server.streams.outlet.Outlet` objects; one event loop."""

    def __init__(self) -> None:
        self.outlets: set[Outlet] = set()
        self._queue: deque[Outlet] = deque()
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._next_at_s = 0.0

    @property
    def queued_count(self) -> int:
        """Streams that wait for a turn."""
        return len(self._queue)

    def queue(self, outlet: Outlet) -> None:
        """The outlet wants a turn; each is in the queue once."""
        self._queue.append(outlet)
        if self._timer is None:
            self._schedule()

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = self._next_at_s - loop.time()
        self._timer = loop.call_later(wait_s, self._turn) if wait_s > 0 else loop.call_soon(self._turn)

    def _turn(self) -> None:
        count = min(len(self._queue), WRITES_PER_TURN_MAX)
        for _ in range(count):
            self._queue.popleft().run()
        self._next_at_s = asyncio.get_running_loop().time() + count / WRITES_PER_S_MAX
        self._timer = None
        if self._queue:
            self._schedule()

    async def keep_house(self) -> None:
        """Looks after all outlets; for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            now_s = loop.time()
            for outlet in [*self.outlets]:
                outlet.look_after(now_s)
