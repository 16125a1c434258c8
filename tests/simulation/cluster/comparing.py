"""The same reads by real hosts and by simulated ones, for sizes that one machine has room for: what either counts must be the same, or nearly.

Compared are counts, since times belong to machines: hits in the reader's own memory, blocks from other hosts, blocks from the origin. Real are whole
daemons (``cashy dev --hosts N``) with a directory as their origin, and clients that read one block after the other.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.cashy import traces
from tests.system.harness import DevCluster
from tests.system.reading import wait_until_joined

from cashy.core.placement import place_key

from .model import Shape, Times
from .placing import Naming
from .workloads import SequentialReader
from .world import World

__all__ = ["TRIALS", "Compared", "Trial", "compare", "real", "simulated", "trial_of"]

BLOCK_BYTES = 64 << 10
BLOCKS_PER_OBJECT = 32
#: Compared are these, by the daemon's names of them. What a reader finds read ahead for it depends on times, so hits are not compared there.
COUNTED = {
    "zipf": ("hits_memory", "blocks_from_peer", "blocks_from_origin"),
    "job": ("blocks_from_peer", "blocks_from_origin"),
}
#: Two slabs of the arena are for metadata and not for blocks.
META_BLOCKS = 2
ORIGIN = "data"

#: Reads by host and block; to be done one after the other.
Trace = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Trial:
    """``kind``: ``zipf``, or ``job`` (every host reads all blocks in order, at once). ``tolerance``: largest difference, a part of all reads."""

    name: str
    kind: str
    hosts: int
    memory_blocks: int
    blocks: int
    reads: int
    tolerance: float


@dataclass(frozen=True)
class Compared:
    """Counts of both."""

    trial: Trial
    real: dict[str, int]
    simulated: dict[str, int]

    @property
    def differences(self) -> dict[str, float]:
        """By count, as parts of all reads."""
        return {
            name: (self.simulated[name] - self.real[name]) / self.real["reads"]
            for name in COUNTED[self.trial.kind]
        }

    @property
    def agrees(self) -> bool:
        """Whether no difference is larger than stated."""
        return all(abs(each) <= self.trial.tolerance for each in self.differences.values())


TRIALS = (
    Trial("Zipf, all of it fits", "zipf", 3, 256, 320, 6_000, 0.01),
    Trial("Zipf, five times all memory", "zipf", 3, 128, 1_920, 12_000, 0.02),
    Trial("Zipf, five hosts", "zipf", 5, 96, 1_280, 12_000, 0.02),
    Trial("job start, all of it fits", "job", 4, 256, 192, 0, 0.0),
    Trial("job start, twice one memory", "job", 4, 256, 512, 0, 0.0),
)


def trial_of(trial: Trial) -> Trace:
    """Who reads what."""
    random = Random(11)
    blocks = traces.zipf(random, keys=trial.blocks, requests=trial.reads)
    return [(random.randrange(trial.hosts), block) for block in blocks]


def _key(block: int) -> int:
    number, index = divmod(block, BLOCKS_PER_OBJECT)
    return place_key(ORIGIN, f"bucket/object-{number}", index)


def _host(number: int) -> str:
    return f"host{number + 1}"


def simulated(trial: Trial) -> dict[str, int]:
    """What simulated hosts count."""
    shape = Shape(
        hosts=trial.hosts, memory_blocks=trial.memory_blocks - META_BLOCKS, block_bytes=BLOCK_BYTES, fetch_window_blocks=8 * trial.hosts,
        hedge_budget=0.0,
    )  # fmt: skip
    world = World(shape, Times(), 1, Naming(_host, _key))
    if trial.kind == "zipf":
        left = iter(trial_of(trial))

        def following(_: int = 0, has_it: bool = True) -> None:
            assert has_it
            request = next(left, None)
            if request is not None:
                world.read(*request, following)

        world.events.at(0, following)
    else:
        for host in range(trial.hosts):
            reader = SequentialReader(world, host, range(trial.blocks), blocks_per_read=1)
            world.events.at(0, reader.begin)
    world.settle()
    counts = world.measures.counts
    assert world.unfinished() == 0
    return {"reads": counts["reads"], **{name: counts[name] for name in COUNTED[trial.kind]}}


def real(trial: Trial, folder: Path) -> dict[str, int]:
    """What real hosts count."""
    bucket = folder / "files" / "bucket"
    bucket.mkdir(parents=True)
    for number in range(-(-trial.blocks // BLOCKS_PER_OBJECT)):
        data = b"".join(_content(number * BLOCKS_PER_OBJECT + index) for index in range(BLOCKS_PER_OBJECT))
        (bucket / f"object-{number}").write_bytes(data)
    # What is late, and so asked twice, depends on the machine.
    config = f"""
[cluster]
hedge = false
[freshness]
revalidate_after_s = 3600.0
[[origin]]
kind = "directory"
name = "{ORIGIN}"
path = "{bucket.parent}"
"""
    memory = str(trial.memory_blocks * BLOCK_BYTES)
    with DevCluster(trial.hosts, folder, memory=memory, block="64KiB", workers=0, config=config) as cluster:
        wait_until_joined(cluster)
        reads = _read_trace(cluster, trial) if trial.kind == "zipf" else _read_job(cluster, trial)
        counts: Counter[str] = Counter(cluster.counters())
    return {"reads": reads, **{name: counts[name] for name in COUNTED[trial.kind]}}


def _content(block: int) -> bytes:
    return block.to_bytes(8, "big") * (BLOCK_BYTES // 8)


def _read_trace(cluster: DevCluster, trial: Trial) -> int:
    trace = trial_of(trial)
    with ExitStack() as stack:
        caches = [stack.enter_context(host.connect()) for host in cluster.hosts]
        for host, block in trace:
            number, index = divmod(block, BLOCKS_PER_OBJECT)
            with caches[host].read(f"s3://bucket/object-{number}", index * BLOCK_BYTES, BLOCK_BYTES) as view:
                assert int.from_bytes(view[-8:], "big") == block
    return len(trace)


def _read_job(cluster: DevCluster, trial: Trial) -> int:
    def one(number: int) -> int:
        blocks = 0
        with cluster.hosts[number].connect() as cache:
            for each in range(trial.blocks // BLOCKS_PER_OBJECT):
                with cache.open(f"s3://bucket/object-{each}") as item:
                    for index in range(BLOCKS_PER_OBJECT):
                        with item.view(index * BLOCK_BYTES, BLOCK_BYTES) as view:
                            assert int.from_bytes(view[:8], "big") == blocks
                        blocks += 1
        return blocks

    with ThreadPoolExecutor(trial.hosts) as threads:
        return sum(threads.map(one, range(trial.hosts)))


def compare(trial: Trial, folder: Path) -> Compared:
    """Both, in a folder for the real one."""
    folder.mkdir(exist_ok=True)
    os.chmod(folder, 0o700)
    return Compared(trial, real(trial, folder), simulated(trial))
