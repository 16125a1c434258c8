"""How long another host takes to answer what it can answer at once: leases, three times in each lease's length, and whatever else has one answer.

A short memory of the latest, so that what is shown is of the last minutes; percentiles are computed when somebody asks.
"""

from __future__ import annotations

from collections import deque

__all__ = ["ROUND_TRIPS_KEPT", "RoundTrips"]

#: Of one host: some minutes of leases, in two kilobytes.
ROUND_TRIPS_KEPT = 256


class RoundTrips:
    """The latest round trips to one host."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=ROUND_TRIPS_KEPT)

    def add(self, seconds: float) -> None:
        """One more."""
        self._seconds.append(seconds)

    def percentile_us(self, percent: int) -> int:
        """So many of a hundred took no longer, in microseconds; 0: none was measured."""
        if not self._seconds:
            return 0
        ordered = sorted(self._seconds)
        return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1e6)
