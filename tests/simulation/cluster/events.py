"""Virtual time: what happens next, and numbers drawn in advance. The same seed gives the same run."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["MS", "NS", "US", "Draws", "Events"]

NS = 1_000_000_000
MS = 1_000_000
US = 1_000

_DRAWN_AT_ONCE = 4096


class Events:
    """A queue by time; events of one time keep the order in which they were added."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.count = 0
        self._heap: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._number = 0

    def at(self, when_ns: int, act: Callable[..., object], *arguments: Any) -> None:
        """Calls ``act`` at ``when_ns``, or now if that is past."""
        self._number += 1
        heapq.heappush(self._heap, (max(when_ns, self.now_ns), self._number, act, arguments))

    def run(self, until_ns: int) -> None:
        """Lets everything happen up to ``until_ns``, which is the time then."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= until_ns:
            self.now_ns, _, act, arguments = pop(heap)
            self.count += 1
            act(*arguments)
        self.now_ns = until_ns

    @property
    def is_empty(self) -> bool:
        """Nothing will happen any more."""
        return not self._heap


class Draws:
    """Times of a log-normal distribution with a rare pause: ``pause_share`` of them are longer by 0 … ``pause_ns``. All from one generator."""

    def __init__(
        self,
        seed: tuple[int, int],
        median_ns: int,
        sigma: float,
        *,
        pause_share: float = 0.0,
        pause_ns: int = 0,
    ) -> None:
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._median_ns, self._sigma = median_ns, sigma
        self._pause_share, self._pause_ns = pause_share, pause_ns
        self._left: list[int] = []

    def next(self) -> int:
        """Nanoseconds."""
        if not self._left:
            self._left = self._draw()
        return self._left.pop()

    def _draw(self) -> list[int]:
        random = self._random
        times = self._median_ns * np.exp(self._sigma * random.standard_normal(_DRAWN_AT_ONCE))
        paused = random.random(_DRAWN_AT_ONCE) < self._pause_share
        times += paused * random.random(_DRAWN_AT_ONCE) * self._pause_ns
        drawn: list[int] = times.astype(np.int64).tolist()
        return drawn
