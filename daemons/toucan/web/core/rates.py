"""How often somebody may do something: a bucket of tokens for each, in bounded memory.

Law: a bucket fills at a steady rate up to its burst; who finds it empty is refused and told when to come back. A bucket that is full says no more
than none, so it is forgotten; when there are as many as there may be the fullest are. So a flood of made-up names costs memory for a bounded number,
and never forgets who is being held back while others are not. Time is an argument, in seconds of a clock that is never set back.

Rejected: windows of a fixed length (twice the rate at their edges), one bucket for all (one user's loop would be everybody's).
"""

from __future__ import annotations

import heapq

__all__ = ["Rates"]


class Rates:
    """Buckets by name. ``per_s`` and ``burst`` are in what is counted, ``buckets_max`` in names."""

    def __init__(self, per_s: float, burst: float, buckets_max: int) -> None:
        assert per_s > 0
        assert burst >= 1
        assert buckets_max >= 2
        self._per_s = per_s
        self._burst = burst
        self._buckets_max = buckets_max
        #: By name: what was in it, and when.
        self._buckets: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str, now_s: float) -> float:
        """Takes one; 0: it was there. Else nothing was taken, and it is how many seconds until there is one."""
        level = self._level(name, now_s)
        if level < 1:
            return (1 - level) / self._per_s
        if name not in self._buckets and len(self._buckets) >= self._buckets_max:
            self._make_room(now_s)
        self._buckets[name] = (level - 1, now_s)
        return 0.0

    def _level(self, name: str, now_s: float) -> float:
        held = self._buckets.get(name)
        if held is None:
            return self._burst
        level, at_s = held
        return min(self._burst, level + max(0.0, now_s - at_s) * self._per_s)

    def _make_room(self, now_s: float) -> None:
        """Forgets who is least held back: half of them at a time, since it looks at all."""
        levels = {name: self._level(name, now_s) for name in self._buckets}
        for name in heapq.nlargest(self._buckets_max // 2, levels, key=levels.__getitem__):
            del self._buckets[name]
