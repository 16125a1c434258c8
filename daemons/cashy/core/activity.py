"""What a cluster is doing, out of snapshots of its counters: rates, shares, levels.

Law: values in, values out; who asks for the snapshots, how often, and how they are shown is somebody else's. A rate is a difference of
one host's counters over the difference of *that host's* uptime: so an answer that came late, or a clock of the observer, does not bend
it. Counters only rise; if one fell, or the uptime did, another process counts now, and the host has no rates until the next snapshot
(None, which is not 0). A host that does not answer has no figures at all; back again, it needs a new first snapshot too, since what
happened meanwhile says nothing about now.

Tiers: *memory* are blocks that clients found by themselves, *ssd*, *peer* and *origin* blocks that were brought into memory. Together they are what
this host's readers used, but for what was loaded ahead in vain and what several readers waited for together (one block).

Rejected: averaging rates over several snapshots. What jumps should be seen to jump; whoever wants it calmer asks less often.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = [
    "NO_FIGURES",
    "TIERS",
    "Activity",
    "ClusterActivity",
    "Figures",
    "Flow",
    "HostActivity",
    "HostSnapshot",
    "Shares",
]

#: Where a block was found: the tier's counters of blocks and of bytes.
TIERS: dict[str, tuple[str, str]] = {
    "memory": ("hits_memory", "hit_bytes_memory"),
    "ssd": ("blocks_from_ssd", "bytes_from_ssd"),
    "peer": ("blocks_from_peer", "bytes_from_peer"),
    "origin": ("blocks_from_origin", "bytes_from_origin"),
}

#: What counts as an error of an origin, summed over a host's origins.
_ORIGIN_ERRORS = ("timeouts_total", "connect_failures_total", "retries_total", "threads_stuck_total")


@dataclass(frozen=True, slots=True)
class HostSnapshot:
    """One host's answer, or why there is none (``error``)."""

    name: str
    address: str = ""
    is_self: bool = False
    error: str = ""
    uptime_s: float = 0.0
    arena_bytes: int = 0
    counters: Mapping[str, int] = field(default_factory=dict)


class Flow(NamedTuple):
    """Blocks and bytes, a second."""

    blocks: float
    bytes: float


class Shares(NamedTuple):
    """Parts of the blocks by tier; together 1."""

    memory: float
    ssd: float
    peer: float
    origin: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What a host, or all of them, are doing. Rates are None where there is nothing to compare with yet; shares also if nothing was read."""

    tiers: Mapping[str, Flow] | None = None
    served: Flow | None = None
    origin_load: Flow | None = None
    origin_waiting: int = 0
    origin_errors: int = 0
    failed: int = 0
    #: Errors and failures of the last interval.
    new_errors: int = 0
    new_failed: int = 0
    shares: Shares | None = None
    shares_since_start: Shares | None = None
    arena_used_bytes: int = 0
    arena_bytes: int = 0
    clients: int = 0
    stall_max_s: float = 0.0
    uptime_s: float = 0.0
    has_ssd: bool = False


#: Nothing is told of a shorter time: a rate of it would be as large as numbers go.
_INTERVAL_S_MIN = 0.001

#: Of a host that does not answer.
NO_FIGURES = Figures()


@dataclass(frozen=True, slots=True)
class HostActivity:
    """One host and its figures."""

    name: str
    address: str
    is_self: bool
    error: str
    figures: Figures

    @property
    def is_up(self) -> bool:
        """Whether it answered."""
        return not self.error


@dataclass(frozen=True, slots=True)
class ClusterActivity:
    """All hosts, and their sum over those that are up."""

    hosts: tuple[HostActivity, ...]
    total: Figures

    @property
    def hosts_up(self) -> int:
        """How many answered."""
        return sum(host.is_up for host in self.hosts)


class Activity:
    """Turns successive snapshots of one cluster into what happened between them."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, dict[str, int]]] = {}

    def update(self, snapshots: Iterable[HostSnapshot]) -> ClusterActivity:
        """Takes the next snapshot of all hosts."""
        before, self._before = self._before, {}
        hosts, since_start = [], dict.fromkeys(TIERS, 0)
        for snapshot in snapshots:
            figures = NO_FIGURES
            if not snapshot.error:
                totals = _totals(snapshot.counters)
                for tier in TIERS:
                    since_start[tier] += totals[TIERS[tier][0]]
                figures = _figures(snapshot, totals, before.get(snapshot.name))
                self._before[snapshot.name] = snapshot.uptime_s, totals
            hosts.append(
                HostActivity(snapshot.name, snapshot.address, snapshot.is_self, snapshot.error, figures)
            )
        total = _sum_of([host.figures for host in hosts if host.is_up], _shares(since_start))
        return ClusterActivity(tuple(hosts), total)


def _totals(counters: Mapping[str, int]) -> dict[str, int]:
    """What only rises, of all that is looked at here."""
    names = [name for pair in TIERS.values() for name in pair]
    names += ["peer_reads_served", "peer_bytes_served", "fills_failed"]
    totals = {name: counters.get(name, 0) for name in names}
    for name in ("reads_total", "bytes_total"):
        totals[f"origin.{name}"] = _of_origins(counters, name)
    totals["origin.errors"] = sum(_of_origins(counters, name) for name in _ORIGIN_ERRORS)
    return totals


def _of_origins(counters: Mapping[str, int], name: str) -> int:
    return sum(
        value for key, value in counters.items() if key.startswith("origin.") and key.endswith("." + name)
    )


def _figures(
    snapshot: HostSnapshot, totals: Mapping[str, int], before: tuple[float, Mapping[str, int]] | None
) -> Figures:
    counters = snapshot.counters
    risen, interval_s = _risen(snapshot.uptime_s, totals, before)
    flows = {} if risen is None else _flows(risen, interval_s)
    return Figures(
        tiers={tier: flows[tier] for tier in TIERS} if flows else None,
        served=flows.get("served"),
        origin_load=flows.get("load"),
        origin_waiting=_of_origins(counters, "queued") + counters.get("fills_waiting", 0),
        origin_errors=totals["origin.errors"],
        failed=totals["fills_failed"],
        new_errors=risen["origin.errors"] if risen else 0,
        new_failed=risen["fills_failed"] if risen else 0,
        shares=_shares({tier: risen[TIERS[tier][0]] for tier in TIERS}) if risen else None,
        shares_since_start=_shares({tier: totals[TIERS[tier][0]] for tier in TIERS}),
        arena_used_bytes=counters.get("arena_used_bytes", 0),
        arena_bytes=snapshot.arena_bytes,
        clients=counters.get("clients", 0),
        stall_max_s=counters.get("loop_stall_max_us", 0) / 1e6,
        uptime_s=snapshot.uptime_s,
        has_ssd=any(name.startswith("disk.") for name in counters),
    )


def _risen(
    uptime_s: float, totals: Mapping[str, int], before: tuple[float, Mapping[str, int]] | None
) -> tuple[dict[str, int] | None, float]:
    """By how much each counter rose, and in how many seconds; None if these are not the same process's counters."""
    if before is None or uptime_s - before[0] < _INTERVAL_S_MIN:
        return None, 0.0
    risen = {name: total - before[1][name] for name, total in totals.items()}
    if min(risen.values()) < 0:
        return None, 0.0
    return risen, uptime_s - before[0]


def _flows(risen: Mapping[str, int], interval_s: float) -> dict[str, Flow]:
    pairs = TIERS | {
        "served": ("peer_reads_served", "peer_bytes_served"),
        "load": ("origin.reads_total", "origin.bytes_total"),
    }
    return {
        name: Flow(risen[blocks] / interval_s, risen[size] / interval_s)
        for name, (blocks, size) in pairs.items()
    }


def _shares(blocks: Mapping[str, float]) -> Shares | None:
    whole = sum(blocks.values())
    return Shares(*(blocks[tier] / whole for tier in Shares._fields)) if whole else None


def _sum_of(figures: list[Figures], since_start: Shares | None) -> Figures:
    """Of all hosts; rates of those that have any."""
    known = [one.tiers for one in figures if one.tiers is not None]
    tiers = {tier: _added(flows[tier] for flows in known) for tier in TIERS} if known else None
    return Figures(
        tiers=tiers,
        served=_added(one.served for one in figures) if known else None,
        origin_load=_added(one.origin_load for one in figures) if known else None,
        origin_waiting=sum(one.origin_waiting for one in figures),
        origin_errors=sum(one.origin_errors for one in figures),
        failed=sum(one.failed for one in figures),
        new_errors=sum(one.new_errors for one in figures),
        new_failed=sum(one.new_failed for one in figures),
        shares=_shares({tier: flow.blocks for tier, flow in tiers.items()}) if tiers else None,
        shares_since_start=since_start,
        arena_used_bytes=sum(one.arena_used_bytes for one in figures),
        arena_bytes=sum(one.arena_bytes for one in figures),
        clients=sum(one.clients for one in figures),
        stall_max_s=max((one.stall_max_s for one in figures), default=0.0),
        has_ssd=any(one.has_ssd for one in figures),
    )


def _added(flows: Iterable[Flow | None]) -> Flow:
    known = [flow for flow in flows if flow is not None]
    return Flow(sum(flow.blocks for flow in known), sum(flow.bytes for flow in known))
