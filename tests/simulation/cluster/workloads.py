"""Who reads what, when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

import numpy as np

from cashy.core.planner import ReadAhead, ReadPlan

from .events import NS
from .world import World

__all__ = ["SequentialReader", "job_start", "zipf"]

_CHUNK = 50_000


def zipf(
    world: World, *, blocks: int, reads: int, reads_s: float, skew: float = 1.0, start_ns: int = 0,
    content_of: Callable[[int], int] = lambda block: block,
) -> int:  # fmt: skip
    """Independent reads of Zipf's law, at all hosts alike, at ``reads_s`` a second in all (a Poisson process); gives when the last one is."""
    random = np.random.Generator(np.random.PCG64((world.seed, 2)))
    weights = np.arange(1, blocks + 1, dtype=np.float64) ** -skew
    bounds = np.cumsum(weights) / weights.sum()
    ranked = random.permutation(blocks)
    hosts = len(world.hosts)

    def arrivals() -> Iterator[tuple[int, int, int]]:
        at_ns, left = start_ns, reads
        while left:
            count = min(_CHUNK, left)
            left -= count
            times = at_ns + np.cumsum(random.exponential(NS / reads_s, count)).astype(np.int64)
            at_ns = int(times[-1])
            chosen = ranked[np.searchsorted(bounds, random.random(count))]
            yield from zip(
                times.tolist(), random.integers(hosts, size=count).tolist(), chosen.tolist(), strict=True
            )

    _play(world, arrivals(), content_of)
    return start_ns + int(reads / reads_s * NS)


def _play(world: World, arrivals: Iterator[tuple[int, int, int]], content_of: Callable[[int], int]) -> None:
    def one(host: int, block: int) -> None:
        world.read(host, content_of(block))
        following = next(arrivals, None)
        if following is not None:
            world.events.at(following[0], one, following[1], following[2])

    first = next(arrivals, None)
    if first is not None:
        world.events.at(first[0], one, first[1], first[2])


class SequentialReader:
    """A client that reads blocks ``order`` one request of ``blocks_per_read`` after the other, planned and read ahead as the daemon does."""

    def __init__(
        self, world: World, host: int, order: Sequence[int], *, blocks_per_read: int = 4,
        on_end: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        self._world, self._host, self._order = world, host, order
        self._step = blocks_per_read
        self._on_end = on_end
        shape = world.shape
        self._window = shape.fetch_window_blocks
        self._size = len(order) * shape.block_bytes
        self._ahead = ReadAhead(shape.prefetch_window_blocks, block_bytes=shape.block_bytes)
        self._position = {block: place for place, block in enumerate(order)}
        self._at = 0
        self._plan: ReadPlan | None = None
        self.failed = 0

    def begin(self) -> None:
        """The next request."""
        block_bytes = self._world.shape.block_bytes
        if self._at >= len(self._order):
            if self._on_end is not None:
                self._on_end(self._host)
            return
        plan = self._plan = ReadPlan(self._at, self._step, self._window, block_bytes=block_bytes)
        if self._at:  # the first block of an object goes alone: its answer brings the size
            plan.on_size(self._size)
        self._issue(plan)
        reading = range(self._at, min(self._at + self._step, len(self._order)))
        self._at = reading.stop
        for place in self._ahead.prefetch(reading, self._size):
            self._world.hosts[self._host].wish(self._order[place])

    def _issue(self, plan: ReadPlan) -> None:
        for place in plan.next_blocks():
            self._world.read(self._host, self._order[place], self._done)

    def _done(self, content: int, has_it: bool) -> None:
        plan = self._plan
        assert plan is not None
        self.failed += not has_it
        plan.on_done(self._position[content])
        if plan.size_bytes is None:
            plan.on_size(self._size)
        self._issue(plan)
        if plan.finished:
            self.begin()


def job_start(
    world: World, *, blocks: int, first_block: int = 0, spread_ns: int = NS, is_shuffled: bool = False, hosts: Sequence[int] | None = None
) -> dict[int, int]:  # fmt: skip
    """Every host reads the same data set, beginning within ``spread_ns``; shuffled: each in an order of its own. Gives when each was through (ns)."""
    random = Random(f"{world.seed} job")
    ended: dict[int, int] = {}

    def on_end(host: int) -> None:
        ended[host] = world.events.now_ns

    for host in range(len(world.hosts)) if hosts is None else hosts:
        order = list(range(first_block, first_block + blocks))
        if is_shuffled:
            random.shuffle(order)
        reader = SequentialReader(world, host, order, on_end=on_end)
        world.events.at(world.events.now_ns + int(random.random() * spread_ns), reader.begin)
    return ended
