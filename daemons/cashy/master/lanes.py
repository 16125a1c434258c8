"""A lane: at most so many reads under way at once, demand before prefetch.

Places at the origins and places at peers are two lanes. With one, two hosts whose every place waits for the other would wait for ever: each
read that a peer asks for needs a place here to end.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from cashy.errors import SlowDown
from cashy.limits import FILLS_WAITING_MAX

__all__ = ["Lane", "LaneUser"]


class LaneUser(Protocol):
    """A read that needs a place."""

    is_demand: bool

    def start(self) -> None:
        """A place is free, and the read's until it leaves. May leave from inside."""


class Lane:
    """Places, and who waits for one."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._active: set[LaneUser] = set()
        self._demand: deque[LaneUser] = deque()
        self._wishes: deque[LaneUser] = deque()

    @property
    def active(self) -> int:
        """Reads under way."""
        return len(self._active)

    @property
    def waiting(self) -> int:
        """Reads waiting for a place."""
        return len(self._demand) + len(self._wishes)

    @property
    def takes_wishes(self) -> bool:
        """Whether one more prefetch may be queued."""
        return len(self._wishes) < self._places

    def check_room(self) -> None:
        """Raises ``SlowDown`` when the queue is at its limit."""
        if self.waiting >= FILLS_WAITING_MAX:
            raise SlowDown(f"{FILLS_WAITING_MAX} block reads are waiting already: try again later")

    def enter(self, user: LaneUser, *, first: bool = False) -> None:
        """Starts ``user`` now or when a place is free; ``first``: before all who wait, since it has waited elsewhere."""
        queue = self._demand if user.is_demand else self._wishes
        if first:
            queue.appendleft(user)
        else:
            queue.append(user)
        self._pump()

    def leave(self, user: LaneUser) -> None:
        """Gives the place back, or the wait up."""
        if user in self._active:
            self._active.discard(user)
            self._pump()
            return
        for queue in (self._demand, self._wishes):
            if user in queue:
                queue.remove(user)

    def _pump(self) -> None:
        while len(self._active) < self._places and (self._demand or self._wishes):
            # Wishes may fill half of the places, so that demand never finds all taken.
            if not self._demand and len(self._active) >= max(1, self._places // 2):
                return
            user = (self._demand or self._wishes).popleft()
            self._active.add(user)
            user.start()
