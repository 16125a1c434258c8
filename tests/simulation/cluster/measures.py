"""What is noted of each read, and what is made of it."""

from __future__ import annotations

import enum
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .events import NS

__all__ = ["Measures", "Tier"]


class Tier(enum.IntEnum):
    """Where a read found its block."""

    MEMORY = 0
    DISK = 1
    PEER_MEMORY = 2
    PEER_DISK = 3
    #: Read from the origin by the block's home, on behalf of another host.
    PEER_ORIGIN = 4
    ORIGIN = 5


@dataclass
class Measures:
    """One row for each read that has ended, in the order of their ends; counters are the daemon's where it has them."""

    counts: Counter[str] = field(default_factory=Counter)
    started_ns: array[int] = field(default_factory=lambda: array("q"))
    took_ns: array[int] = field(default_factory=lambda: array("q"))
    tiers: array[int] = field(default_factory=lambda: array("b"))
    #: When the origin gave whole blocks, and when it was asked.
    origin_gave_ns: array[int] = field(default_factory=lambda: array("q"))
    origin_asked_ns: array[int] = field(default_factory=lambda: array("q"))
    origin_under_way_max: int = 0
    #: Different contents that the origin has given.
    given: Counter[int] = field(default_factory=Counter)

    def read(self, started_ns: int, ended_ns: int, tier: Tier) -> None:
        """A read has its block."""
        self.started_ns.append(started_ns)
        self.took_ns.append(ended_ns - started_ns)
        self.tiers.append(tier)

    def taken(self, from_ns: int = 0, until_ns: int = 1 << 62) -> NDArray[np.int64]:
        """Nanoseconds of the reads that started within a time."""
        started = np.frombuffer(self.started_ns, np.int64)
        taken = np.frombuffer(self.took_ns, np.int64)
        return taken[(started >= from_ns) & (started < until_ns)]

    def percentiles_ms(
        self, shares: Iterable[float], from_ns: int = 0, until_ns: int = 1 << 62
    ) -> list[float]:
        """Milliseconds; zeros if there was no read."""
        taken = self.taken(from_ns, until_ns)
        if not len(taken):
            return [0.0 for _ in shares]
        return [float(each) / 1e6 for each in np.percentile(taken, [100 * share for share in shares])]

    def tier_shares(self, from_ns: int = 0, until_ns: int = 1 << 62) -> dict[Tier, float]:
        """Parts of the reads that started within a time."""
        started = np.frombuffer(self.started_ns, np.int64)
        tiers = np.frombuffer(self.tiers, np.int8)[(started >= from_ns) & (started < until_ns)]
        total = max(1, len(tiers))
        return {tier: int((tiers == tier).sum()) / total for tier in Tier}

    def origin_peak_s(self, bucket_ns: int = NS // 10) -> float:
        """Most requests that came to the origin in a second, counted over tenths."""
        asked = np.frombuffer(self.origin_asked_ns, np.int64)
        return float(np.bincount(asked // bucket_ns).max()) * NS / bucket_ns if len(asked) else 0.0

    def timeline(self, bucket_ns: int, share: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Seconds, and the share's percentile (ms) of the reads started in each bucket; NaN where there were none."""
        started = np.frombuffer(self.started_ns, np.int64) // bucket_ns
        taken = np.frombuffer(self.took_ns, np.int64)
        order = np.lexsort((taken, started))
        started, taken = started[order], taken[order]
        count = int(started[-1]) + 1 if len(started) else 0
        edges = np.searchsorted(started, np.arange(count + 1))
        values = np.full(count, np.nan)
        for bucket in range(count):
            first, stop = edges[bucket], edges[bucket + 1]
            if stop > first:
                values[bucket] = taken[first + min(stop - first - 1, int(share * (stop - first)))] / 1e6
        return np.arange(count) * bucket_ns / NS, values
