"""Seeded request traces for judging caches: each yields integer keys, one per request.

The generator of random numbers is passed in, so that a test's trace is the same on every run and on every machine.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator

__all__ = ["hit_ratio_of_optimal", "loop", "scan_polluted", "zipf"]


def zipf(rng: random.Random, *, keys: int, requests: int, skew: float = 1.0) -> Iterator[int]:
    """Independent requests; the key of rank r comes with a probability proportional to 1 / r**skew. Ranks are dealt out at random."""
    shuffled = list(range(keys))
    rng.shuffle(shuffled)
    weights = list(itertools.accumulate(1.0 / rank**skew for rank in range(1, keys + 1)))
    yield from rng.choices(shuffled, cum_weights=weights, k=requests)


def scan_polluted(
    rng: random.Random, *, keys: int, requests: int, scan_every: int, scan_length: int, skew: float = 1.0
) -> Iterator[int]:
    """A Zipf trace; every ``scan_every`` requests come ``scan_length`` keys that are never seen before or after."""
    fresh = itertools.count(keys)
    for number, key in enumerate(zipf(rng, keys=keys, requests=requests, skew=skew), start=1):
        yield key
        if number % scan_every == 0:
            yield from itertools.islice(fresh, scan_length)


def loop(*, keys: int, rounds: int) -> Iterator[int]:
    """The same keys in the same order, again and again: what an epoch-wise training job does."""
    for _ in range(rounds):
        yield from range(keys)


def hit_ratio_of_optimal(trace: list[int], capacity: int) -> float:
    """Share of hits of the policy that knows the future (Belady's MIN), the bound for every other."""
    never = len(trace)
    next_use = [never] * len(trace)
    seen: dict[int, int] = {}
    for position in range(len(trace) - 1, -1, -1):
        next_use[position] = seen.get(trace[position], never)
        seen[trace[position]] = position
    return _hits_of_optimal(trace, next_use, capacity) / len(trace)


def _hits_of_optimal(trace: list[int], next_use: list[int], capacity: int) -> int:
    cached: dict[int, int] = {}  # key: its next use
    by_next_use: list[tuple[int, int]] = []  # (-next use, key); entries that are out of date are skipped
    hits = 0
    for key, following in zip(trace, next_use, strict=True):
        hits += key in cached
        if key not in cached and len(cached) >= capacity:
            while True:
                negated, candidate = heapq.heappop(by_next_use)
                if cached.get(candidate) == -negated:
                    del cached[candidate]
                    break
        cached[key] = following
        heapq.heappush(by_next_use, (-following, key))
    return hits
