"""What is played: a cluster, what its clients read, and what befalls it; and the figures that come of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from .events import NS
from .measures import Measures, Tier
from .model import Shape, Times
from .plugs import HOT_BLOCKS
from .workloads import job_start, zipf
from .world import World

__all__ = [
    "FAULTS",
    "NO_HEDGES",
    "ONE_HOME",
    "WITHOUT_HEDGES",
    "Figures",
    "Load",
    "Scenario",
    "play",
    "recovery_s",
    "scenarios",
]

#: Figures are taken from here on.
WARM_S = 4.0
FAULT_AT_S = 12.0
#: Percentiles over time are those of the reads begun within so long.
BUCKET_NS = NS // 2
#: A bucket whose 99th percentile is this many times the usual one is not recovered.
RECOVERED_FACTOR = 1.5


@dataclass(frozen=True)
class Load:
    """``kind``: ``zipf`` (reads at random times at all hosts), ``job`` (all read the data set in order), ``shuffled job`` (each in its own)."""

    kind: str = "zipf"
    blocks_per_host: int = 32
    reads_s_per_host: float = 5.0
    seconds: float = 28.0
    job_blocks: int = 256
    is_warm: bool = True


@dataclass(frozen=True)
class Scenario:
    """``fault``: one of :data:`FAULTS`, at ``FAULT_AT_S``."""

    name: str
    about: str
    shape: Shape = Shape()  # noqa: RUF009 - immutable
    load: Load = Load()
    fault: str = ""
    times: Times = Times()  # noqa: RUF009
    seed: int = 1

    def at_size(
        self, hosts: int, seconds: float = Load.seconds, job_blocks: int = Load.job_blocks
    ) -> Scenario:
        """The same in small."""
        shape = replace(self.shape, hosts=hosts, hosts_per_rack=max(2, hosts // 25))
        return replace(self, shape=shape, load=replace(self.load, seconds=seconds, job_blocks=job_blocks))


@dataclass
class Figures:
    """What a scenario gave. Times in ms unless they say otherwise; ``moved``: of all blocks, what has another home after the change."""

    name: str
    reads: int
    counts: dict[str, int]
    tiers: dict[Tier, float]
    p50: float
    p99: float
    p999: float
    origin_reads_per_block: float
    origin_peak_s: float
    origin_under_way_max: int
    home_load_max: float
    home_load_deviation: float
    unfinished: int
    #: Of the host that has most: reads asked twice beyond its budget.
    hedges_unearned: float
    recovery_s: float | None = None
    moved: float | None = None
    moved_ideal: float | None = None
    job_ends_s: NDArray[np.float64] | None = None
    after: tuple[float, float, float] | None = None
    timeline: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    origin_timeline: NDArray[np.int64] | None = None
    digest: str = ""
    wall_s: float = field(default=0.0, compare=False)


def _middle(world: World) -> int:
    return world.shape.hosts // 2


def _rack(world: World) -> list[int]:
    first = world.shape.hosts // world.shape.hosts_per_rack // 2 * world.shape.hosts_per_rack
    return list(range(first, first + world.shape.hosts_per_rack))


def _power_cut(world: World) -> None:
    world.power_off([_middle(world)])


def _killed(world: World) -> None:
    world.kill_master(_middle(world))


def _rack_off(world: World) -> None:
    world.power_off(_rack(world))


def _rack_off_and_on(world: World) -> None:
    rack = _rack(world)
    world.power_off(rack)
    world.events.at(world.events.now_ns + 10 * NS, world.power_on, rack)


def _slow_loop(world: World) -> None:
    world.slow_loop(_middle(world), 5_000.0, 12 * NS)


def _slow_network(world: World) -> None:
    world.slow_network(_middle(world), 50.0, 12 * NS)


def _slow_disk(world: World) -> None:
    world.slow_disk(_middle(world), 100.0, 12 * NS)


def _partition(world: World) -> None:
    world.cut_off(_rack(world), 10 * NS)


def _hosts_added(world: World) -> None:
    count = max(1, world.shape.hosts // 100)
    world.change_list(range(world.shape.hosts + count))


def _hosts_removed(world: World) -> None:
    """They go on running: the list of the others has them no more."""
    count = max(1, world.shape.hosts // 100)
    gone = set(Random(f"{world.seed} removed").sample(range(world.shape.hosts), count))
    world.change_list([number for number in range(world.shape.hosts) if number not in gone])


FAULTS: dict[str, tuple[str, Callable[[World], None]]] = {
    "power cut": ("one host is off, and stays off", _power_cut),
    "kill -9": ("one master is killed; its arena stays, and it is back after 1.5 s", _killed),
    "rack off": ("one rack is off, and stays off", _rack_off),
    "rack off and on": ("one rack is off for 10 s, and comes back empty", _rack_off_and_on),
    "slow loop": (
        "the loop of one host takes 5,000 times as long for 12 s: 0.3 s for each block it is asked for",
        _slow_loop,
    ),
    "slow network": ("what one host sends takes 50 times as long for 12 s", _slow_network),
    "slow disk": ("one host's disk takes 100 times as long for 12 s", _slow_disk),
    "partition": (
        "one rack and all others do not reach each other for 10 s; all reach the origin",
        _partition,
    ),
    "hosts added": ("one host in a hundred is added to the list, which all read within 5 s", _hosts_added),
    "hosts removed": ("one host in a hundred is taken from the list", _hosts_removed),
}


#: Played without hedging, too.
WITHOUT_HEDGES = ("power cut", "rack off", "slow loop")
NO_HEDGES = ", no hedging"
ONE_HOME = ", no copies of hot blocks"


def scenarios() -> list[Scenario]:
    """Those of the report."""
    shape = Shape()
    half = replace(shape, memory_blocks=shape.memory_blocks // 2)
    with_disk = replace(half, disk_blocks=2 * shape.memory_blocks)
    load, cold, larger = Load(), Load(is_warm=False), Load(blocks_per_host=shape.memory_blocks)
    weak = replace(shape, origin_requests_max=64, origin_bytes_s=2e9)
    made = [
        Scenario("Zipf, cold", "the data set is half of all memory; nothing is cached at first", shape, cold),
        Scenario("Zipf, warm", "the same, all of it cached at its homes", shape, load),
        Scenario("Zipf, larger than memory", "the data set is twice all memory, no disk", half, larger),
        Scenario(
            "Zipf, disk",
            "the same, and each host has a disk for four times as much as its memory",
            with_disk,
            larger,
        ),
        Scenario(
            "job start",
            "all hosts read the same blocks in order, beginning within one second",
            shape,
            Load("job"),
        ),
        Scenario(
            "shuffled job start", "the same, each host in an order of its own", shape, Load("shuffled job")
        ),
        Scenario(
            "job start, weak origin",
            "shuffled; the origin takes 64 requests at a time and gives 2 GB/s",
            weak,
            Load("shuffled job"),
        ),
    ]
    if HOT_BLOCKS is not None:
        one_home = replace(shape, spreads_hot_blocks=False)
        made.append(
            Scenario(
                "job start" + ONE_HOME, "as the first, and no block is held by several", one_home, Load("job")
            )
        )
    for fault, (about, _) in FAULTS.items():
        on = replace(with_disk, memory_blocks=8) if fault == "slow disk" else shape
        made.append(Scenario(fault, about, on, fault=fault))
        if fault in WITHOUT_HEDGES:
            made.append(Scenario(fault + NO_HEDGES, about, replace(on, hedge_budget=0.0), fault=fault))
    return made


def play(scenario: Scenario) -> Figures:
    """Runs it; the same scenario gives the same figures, and the same digest of all that was measured."""
    began = perf_counter()
    world = World(scenario.shape, scenario.times, scenario.seed)
    load = scenario.load
    blocks = load.blocks_per_host * scenario.shape.hosts
    jobs: dict[int, int] | None = None
    if load.kind == "zipf":
        if load.is_warm:
            world.warm(range(blocks))
        reads_s = load.reads_s_per_host * scenario.shape.hosts
        ends_ns = zipf(world, blocks=blocks, reads=int(reads_s * load.seconds), reads_s=reads_s)
    else:
        jobs = job_start(world, blocks=load.job_blocks, is_shuffled=load.kind.startswith("shuffled"))
        ends_ns = NS
    before = world.list
    if scenario.fault:
        world.events.at(int(FAULT_AT_S * NS), FAULTS[scenario.fault][1], world)
    world.events.run(ends_ns)
    world.settle()
    figures = _figures(scenario, world, jobs)
    if world.list is not before:
        moved = sum(world.list.home(block) != before.home(block) for block in range(blocks))
        figures.moved = moved / blocks
        now, then = set(world.list.numbers), set(before.numbers)
        figures.moved_ideal = len(now - then) / len(now) + len(then - now) / len(then)
    figures.wall_s = perf_counter() - began
    return figures


def _figures(scenario: Scenario, world: World, jobs: dict[int, int] | None) -> Figures:
    measures, counts = world.measures, world.measures.counts
    from_ns = int(WARM_S * NS) if jobs is None and scenario.load.is_warm else 0
    p50, p99, p999 = measures.percentiles_ms((0.5, 0.99, 0.999), from_ns)
    served = np.array([host.serving.blocks for host in world.hosts], np.float64)
    figures = Figures(
        name=scenario.name, reads=counts["reads"], counts=dict(sorted(counts.items())),
        tiers=measures.tier_shares(from_ns), p50=p50, p99=p99, p999=p999,
        origin_reads_per_block=counts["origin_reads"] / max(1, len(measures.given)),
        origin_peak_s=measures.origin_peak_s(), origin_under_way_max=measures.origin_under_way_max,
        home_load_max=float(served.max() / max(1e-9, served.mean())), home_load_deviation=float(served.std() / max(1e-9, served.mean())),
        unfinished=world.unfinished(),
        hedges_unearned=max(host.asking.unearned for host in world.hosts), digest=digest(measures),
    )  # fmt: skip
    if jobs is not None and jobs:
        figures.job_ends_s = np.sort(np.array(list(jobs.values()), np.float64)) / NS
    if jobs is None:
        figures.timeline = measures.timeline(BUCKET_NS, 0.99)
    gave = np.frombuffer(measures.origin_gave_ns, np.int64)
    figures.origin_timeline = np.bincount(gave // BUCKET_NS)
    if scenario.fault:
        at_ns = int(FAULT_AT_S * NS)
        figures.recovery_s = recovery_s(measures, at_ns)
        after = measures.percentiles_ms((0.5, 0.99, 0.999), at_ns, at_ns + 10 * NS)
        figures.after = (after[0], after[1], after[2])
    return figures


def recovery_s(measures: Measures, at_ns: int) -> float:
    """From a fault to the end of the last half second whose 99th percentile was more than 1.5 times the usual one before; 0 if there was none."""
    seconds, values = measures.timeline(BUCKET_NS, 0.99)
    usual = float(np.median(values[(seconds >= WARM_S) & (seconds < at_ns / NS)]))
    bad = np.flatnonzero((seconds >= at_ns / NS) & (values > RECOVERED_FACTOR * usual))
    return float(seconds[bad[-1]] + BUCKET_NS / NS - at_ns / NS) if len(bad) else 0.0


def digest(measures: Measures) -> str:
    """Of all reads and counters."""
    found = hashlib.sha256()
    for column in (measures.started_ns, measures.took_ns, measures.tiers, measures.origin_gave_ns):
        found.update(column.tobytes())
    found.update(repr(sorted(measures.counts.items())).encode())
    return found.hexdigest()[:16]
