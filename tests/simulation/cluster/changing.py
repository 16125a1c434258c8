"""Clusters whose objects change while they are read: what leases cost, when writes are acknowledged, and whether anybody reads an old version."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from time import perf_counter

import numpy as np

from cashy.core.coherence import Grant, Leases, Promises
from cashy.limits import LEASE_NAMES_BYTES, LEASE_RENEWALS

from .coherent import Coherence
from .events import NS
from .model import Shape, Times
from .world import World

__all__ = ["CHANGINGS", "LEASE_COST_HOSTS", "Changed", "Changing", "lease_cost_ms", "play_changing"]

LEASE_S = 3.0
LEASE_COST_HOSTS = (10, 100, 300, 1000)


@dataclass(frozen=True)
class Changing:
    """``fault``: none, ``rack off`` (and on again), or ``partition``; in the middle third of the time, at one host in eight."""

    hosts: int
    fault: str = ""
    seconds: float = 18.0
    reads_s: float = 400.0
    writes_s: float = 10.0
    blocks: int = 8
    seed: int = 1


@dataclass(frozen=True)
class Changed:
    """What it gave. Milliseconds from a change to its acknowledgement: before the fault usual and 99th percentile, and the longest of all."""

    played: Changing
    lease_messages_s: float
    acknowledged: int
    unconfirmed: int
    usual_ms: float
    p99_ms: float
    longest_ms: float
    reads: int
    unfinished: int
    violations: tuple[str, ...]


CHANGINGS = (
    *(Changing(hosts, fault) for hosts in (8, 40) for fault in ("", "rack off", "partition")),
    Changing(200, "rack off", seconds=12.0),
)


def play_changing(played: Changing) -> Changed:
    """Runs it."""
    world = World(replace(Shape(), hosts=played.hosts), Times(), played.seed)
    coherence = Coherence(world, LEASE_S)
    random = Random(f"{played.seed} changes")
    for _ in range(int(played.seconds * played.reads_s)):
        world.events.at(
            _when(random, 0.0, played.seconds),
            coherence.read,
            random.randrange(played.hosts),
            random.randrange(played.blocks),
        )
    # Hosts count among those that note a change one lease's length after their start.
    for _ in range(int((played.seconds - LEASE_S) * played.writes_s)):
        when = _when(random, LEASE_S, played.seconds)
        world.events.at(
            when, coherence.write, random.randrange(played.hosts), random.randrange(played.blocks)
        )
    _befall(world, played)
    world.events.run(int(played.seconds * NS))
    messages = coherence.counts["lease_messages"]
    coherence.is_over = True
    world.settle()
    taken = np.array([took_ns for _, took_ns in coherence.acknowledged_after_ns]) / 1e6
    calm_ns = (played.seconds / 3 - 0.1 if played.fault else played.seconds) * NS
    calm = [took_ns / 1e6 for began_ns, took_ns in coherence.acknowledged_after_ns if began_ns < calm_ns]
    usual, p99 = np.percentile(calm, [50, 99])
    return Changed(
        played, messages / played.seconds / played.hosts, len(taken), coherence.counts["writes_unconfirmed"], float(usual), float(p99),
        float(taken.max()), coherence.counts["reads"], world.unfinished(), tuple(coherence.violations),
    )  # fmt: skip


def _when(random: Random, start_s: float, stop_s: float) -> int:
    return int((start_s + random.random() * (stop_s - start_s)) * NS)


def _befall(world: World, played: Changing) -> None:
    hosts = range(max(1, played.hosts // 8))
    at_ns, for_ns = int(played.seconds * NS / 3), int(played.seconds * NS / 3)
    if played.fault == "rack off":
        world.events.at(at_ns, world.power_off, hosts)
        world.events.at(at_ns + for_ns, world.power_on, hosts)
    elif played.fault == "partition":
        world.events.at(at_ns, world.cut_off, hosts, for_ns)
    else:
        assert not played.fault, f"there is no fault {played.fault!r} here"


def lease_cost_ms(hosts: int) -> float:
    """What one host's decisions about leases take in a second, of this machine: others' leases asked for and granted, and the terms worked out."""
    others = [str(number) for number in range(1, hosts)]
    lease_ns = int(LEASE_S * NS)
    leases = Leases(others, 0)
    promises = Promises(incarnation=1, started_ns=0, lease_ns=lease_ns, remembered_max=1024)
    for name in others:
        leases.granted(name, Grant(1, 0, lease_ns, True, ()), 1, 1)
    began = perf_counter()
    for name in others:
        leases.granted(name, promises.grant(name, *leases.question(name), 2, LEASE_NAMES_BYTES), 2, 2)
        leases.terms(2)
    return (perf_counter() - began) * 1e3 * LEASE_RENEWALS / LEASE_S
