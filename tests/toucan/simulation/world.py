"""Virtual time: what happens when, and the one source of chance."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable
from itertools import count
from random import Random

__all__ = ["MS", "S", "EngineDied", "Violation", "World"]

MS = 1_000_000
S = 1_000_000_000
#: Lines of a run that are kept to be shown when something is violated.
TRACE_LINES = 400


class Violation(AssertionError):
    """What must never be."""


class EngineDied(BaseException):
    """kill -9, at this point of the engine's code. Nothing may catch it but whoever runs the engine."""


class World:
    """``now_ns`` is the true time, ns since the epoch."""

    def __init__(self, seed: int, start_ns: int) -> None:
        self.chance = Random(seed)
        self.start_ns = self.now_ns = start_ns
        self.counts: Counter[str] = Counter()
        self.trace: deque[str] = deque(maxlen=TRACE_LINES)
        #: How many of the points at which the engine can die are still passed; None: as many as there are.
        self.dies_in: int | None = None
        self.points: Counter[str] = Counter()
        self._heap: list[tuple[int, int, Callable[[], object]]] = []
        self._order = count()

    def say(self, what: str) -> None:
        """Something happened."""
        self.trace.append(f"{(self.now_ns - self.start_ns) / S:10.6f}  {what}")

    def happens(self, probability: float) -> bool:
        """Whether something of this probability does."""
        return self.chance.random() < probability

    def after(self, delay_ns: int, call: Callable[[], object]) -> None:
        """Calls back in virtual time; at the same time in the order in which it was asked for."""
        heapq.heappush(self._heap, (self.now_ns + delay_ns, next(self._order), call))

    def between(self, least_ns: int, most_ns: int) -> int:
        """Some time."""
        return self.chance.randint(least_ns, most_ns)

    def run(self, until_ns: int) -> None:
        """Lets everything happen up to then."""
        while self._heap and self._heap[0][0] <= until_ns:
            self.now_ns, _, call = heapq.heappop(self._heap)
            call()
        self.now_ns = until_ns

    def point(self, name: str) -> None:
        """The engine passes a point at which it can die."""
        self.points[name] += 1
        if self.dies_in is None:
            return
        self.dies_in -= 1
        if self.dies_in < 0:
            self.dies_in = None
            self.counts[f"died at: {name}"] += 1
            raise EngineDied(name)
