"""How evenly blocks lie, and how many move when hosts come and go: rendezvous (ours) beside a hash ring and modulo.

Every scheme gets the same keys. What moves is counted over all blocks, by placing each with both lists of hosts: nothing is assumed.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate

from cashy.core.placement import Member, Ranking

__all__ = [
    "SCHEMES",
    "VIRTUAL_NODES",
    "Balance",
    "Placer",
    "host_names",
    "measure",
    "modulo",
    "rendezvous",
    "ring",
    "shares_by_weight",
]

#: Gives the number of a block's home, for a key.
Placer = Callable[[int], int]

VIRTUAL_NODES = 100  # points a host has on the ring


def host_names(count: int) -> list[str]:
    """Names as a cluster would have them; a longer list begins with the shorter one."""
    return [f"cache-{number:04}.example" for number in range(count)]


def rendezvous(names: Sequence[str], weights: Sequence[float] | None = None) -> Placer:
    """The real placement."""
    ranking = Ranking(Member(*each) for each in zip(names, weights or [1.0] * len(names), strict=True))
    number_of = {name: number for number, name in enumerate(names)}
    first = ranking.first
    return lambda key: number_of[first(key, 1)[0]]


def ring(names: Sequence[str]) -> Placer:
    """A hash ring (Karger et al., 1997): the home is the host of the next point."""
    points = sorted(
        (int.from_bytes(blake2b(f"{name}#{point}".encode(), digest_size=8).digest(), "little"), number)
        for number, name in enumerate(names)
        for point in range(VIRTUAL_NODES)
    )
    where = array("Q", (point for point, _ in points))
    whose = array("H", (number for _, number in points))
    return lambda key: whose[bisect(where, key) % len(whose)]


def modulo(names: Sequence[str]) -> Placer:
    """The key modulo the number of hosts."""
    count = len(names)
    return lambda key: key % count


SCHEMES: dict[str, Callable[[Sequence[str]], Placer]] = {
    "rendezvous": rendezvous,
    f"ring, {VIRTUAL_NODES} points a host": ring,
    "modulo": modulo,
}


@dataclass(frozen=True)
class Balance:
    """One scheme over ``hosts`` equal hosts. Loads are parts of the mean; ``moved`` are shares of all blocks."""

    hosts: int
    greatest: float
    least: float
    deviation: float
    moved_by_join: float
    moved_by_leave: float
    moved_between_others: float

    @property
    def ideal_join(self) -> float:
        """What a new host must get."""
        return 1 / (self.hosts + 1)

    @property
    def ideal_leave(self) -> float:
        """What the others must get, on average over who leaves."""
        return 1 / self.hosts


def measure(scheme: Callable[[Sequence[str]], Placer], hosts: int, keys: Sequence[int]) -> Balance:
    """Places all keys with ``hosts`` hosts, with one more, and with one less (one in the middle of the list leaves)."""
    names = host_names(hosts + 1)
    now, joined = scheme(names[:hosts]), scheme(names)
    leaver = hosts // 2
    left = scheme(names[:leaver] + names[leaver + 1 : hosts])
    loads = array("Q", bytes(8 * hosts))
    by_join = by_leave = needless = 0
    for key in keys:
        home = now(key)
        loads[home] += 1
        new_home = joined(key)
        by_join += new_home != home
        needless += new_home not in (home, hosts)
        heir = left(key)
        heir += heir >= leaver  # numbers after the leaver's have moved up
        by_leave += heir != home
        needless += heir != home != leaver
    mean = len(keys) / hosts
    deviation = math.sqrt(sum((load - mean) ** 2 for load in loads) / hosts) / mean
    total = len(keys)
    return Balance(
        hosts,
        max(loads) / mean,
        min(loads) / mean,
        deviation,
        by_join / total,
        by_leave / total,
        needless / (2 * total),
    )


def shares_by_weight(weights: Sequence[float], keys: Sequence[int]) -> list[float]:
    """Share of the blocks of each host, as a part of what its weight says."""
    place = rendezvous(host_names(len(weights)), weights)
    loads = [0] * len(weights)
    for key in keys:
        loads[place(key)] += 1
    *_, total = accumulate(weights)
    return [load / len(keys) / (weight / total) for load, weight in zip(loads, weights, strict=True)]
