"""What the hosts of a simulated cluster read: seeded, endless or not, each item (host, block)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.cashy import traces

from .copies import Request

__all__ = ["WORKLOADS", "Workload"]


@dataclass(frozen=True)
class Workload:
    """A named kind of load; ``requests`` are for a cluster of ``hosts`` that has room for ``room`` different blocks in all."""

    name: str
    meaning: str

    def requests(self, rng: random.Random, *, hosts: int, room: int, count: int) -> Iterator[Request]:
        """``count`` reads."""
        return itertools.islice(_MAKERS[self.name](rng, hosts, room, count), count)


def _zipf(rng: random.Random, hosts: int, room: int, count: int) -> Iterator[Request]:
    for block in traces.zipf(rng, keys=5 * room, requests=count):
        yield rng.randrange(hosts), block


def _zipf_and_scans(rng: random.Random, hosts: int, room: int, count: int) -> Iterator[Request]:
    """Half of the reads are scans, each as long as half a host's memory, of what nobody reads again."""
    length = room // hosts // 2
    fresh = itertools.count(5 * room)
    for number, request in enumerate(_zipf(rng, hosts, room, count)):
        yield request
        if number % length == 0:
            scanner = rng.randrange(hosts)
            for block in itertools.islice(fresh, length):
                yield scanner, block


def _epochs(rng: random.Random, hosts: int, room: int, count: int) -> Iterator[Request]:
    """A data set of 0.9 of all memory, read once an epoch in an order that is new every time, each block by any host."""
    blocks = list(range(room * 9 // 10))
    for _ in range(-(-count // len(blocks))):
        rng.shuffle(blocks)
        for block in blocks:
            yield rng.randrange(hosts), block


def _epochs_and_hot(rng: random.Random, hosts: int, room: int, count: int) -> Iterator[Request]:
    """As ``epochs`` with 0.8 of all memory; every second read is of one of few blocks that all hosts want."""
    hot = max(1, room // hosts // 20)
    blocks = list(range(hot, hot + room * 8 // 10))
    for _ in range(-(-count // len(blocks))):
        rng.shuffle(blocks)
        for block in blocks:
            yield rng.randrange(hosts), block
            yield rng.randrange(hosts), rng.randrange(hot)


def _together(rng: random.Random, hosts: int, room: int, count: int) -> Iterator[Request]:
    """All hosts read the same data set, four times all memory, one after the other and a little apart."""
    lag = [rng.randrange(max(1, room // hosts // 4)) for _ in range(hosts)]
    for step in itertools.count():
        for host in range(hosts):
            if step >= lag[host]:
                yield host, (step - lag[host]) % (4 * room)


_MAKERS = {
    "zipf": _zipf,
    "zipf and scans": _zipf_and_scans,
    "epochs": _epochs,
    "epochs and hot": _epochs_and_hot,
    "together": _together,
}

WORKLOADS = (
    Workload("zipf", "Zipf (1.0) over five times all memory, the same for every host"),
    Workload(
        "zipf and scans",
        "the same, and as many reads of blocks nobody reads again, in scans of half a host's memory",
    ),
    Workload(
        "epochs",
        "a data set of 0.9 of all memory, shuffled anew every epoch, each block read by one host an epoch",
    ),
    Workload(
        "epochs and hot",
        "the same with 0.8, and every second read of a few blocks that all hosts want (0.05 of a host's memory)",
    ),
    Workload(
        "together",
        "all hosts read the same data set of four times all memory in order, up to a quarter of a host's memory apart",
    ),
)
