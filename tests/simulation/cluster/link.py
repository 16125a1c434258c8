"""A host's way out to the network, which all that it sends share evenly, as TCP connections do (generalized processor sharing).

With k blocks under way each gets a k-th of the speed. A *virtual* clock runs a k-th as fast as the real one, so each block ends when that clock has
come to its own mark, whatever comes and goes meanwhile; the least mark is the next to end (Parekh and Gallager, IEEE/ACM Transactions on Networking
1(3), 1993).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from .events import Events
from .fill import Attempt

__all__ = ["SharedLink"]

#: Of a block, what one connection sends before another has its turn: 64 KiB of 4 MiB.
_TURN_SHARE = 64


class SharedLink:
    """``block_ns``: a block's time when it is alone. ``sent`` is told of each block whose last byte has left; ``slow`` is a factor on all times."""

    def __init__(self, events: Events, block_ns: int, sent: Callable[[Attempt], None]) -> None:
        self._events, self._block_ns, self._sent = events, block_ns, sent
        self.slow = 1.0
        self._virtual_ns = 0.0
        self._as_of_ns = 0
        self._marks: list[tuple[float, int, Attempt]] = []
        self._number = 0
        self._under_way: dict[Attempt, None] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def begin(self, attempt: Attempt, share: float) -> int:
        """``share`` of a block is still to be sent; gives when its first bytes will have left, as things are."""
        self._advance()
        self._number += 1
        self._under_way[attempt] = None
        heapq.heappush(self._marks, (self._virtual_ns + share * self._block_ns, self._number, attempt))
        self._plan()
        turn_ns = self._block_ns / _TURN_SHARE * self.slow
        return self._events.now_ns + int(turn_ns * len(self._under_way))

    def drop(self, attempt: Attempt) -> None:
        """Nobody wants it any more."""
        if attempt in self._under_way:
            self._advance()
            del self._under_way[attempt]
            self._plan()

    def drop_all(self) -> None:
        """The host is off."""
        self._under_way.clear()
        self._plan()

    def set_slow(self, factor: float) -> None:
        """From now on."""
        self._advance()
        self.slow = factor
        self._plan()

    def _advance(self) -> None:
        now_ns = self._events.now_ns
        if self._under_way:
            self._virtual_ns += (now_ns - self._as_of_ns) / (len(self._under_way) * self.slow)
        self._as_of_ns = now_ns

    def _plan(self) -> None:
        """The next end; earlier plans are void."""
        self._number += 1
        marks = self._marks
        while marks and marks[0][2] not in self._under_way:
            heapq.heappop(marks)
        if marks:
            left_ns = max(0.0, marks[0][0] - self._virtual_ns) * len(self._under_way) * self.slow
            self._events.at(self._events.now_ns + int(left_ns) + 1, self._end, self._number)

    def _end(self, number: int) -> None:
        if number != self._number:
            return
        self._advance()
        attempt = heapq.heappop(self._marks)[2]
        del self._under_way[attempt]
        self._plan()
        self._sent(attempt)
