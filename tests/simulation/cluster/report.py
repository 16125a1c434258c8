"""The tables of docs/cluster-simulation.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .changing import LEASE_COST_HOSTS, Changed, lease_cost_ms
from .comparing import Compared
from .measures import Tier
from .model import Shape, Times
from .scenarios import FAULTS, NO_HEDGES, WITHOUT_HEDGES, Figures, Scenario

__all__ = ["tables"]

_TIERS = {
    Tier.MEMORY: "own memory",
    Tier.DISK: "own disk",
    Tier.PEER_MEMORY: "home's memory",
    Tier.PEER_DISK: "home's disk",
    Tier.PEER_ORIGIN: "origin, by the home",
    Tier.ORIGIN: "origin, itself",
}


def tables(
    figures: Mapping[str, Figures], chosen: Sequence[Scenario], compared: Sequence[Compared], changed: Sequence[Changed]
) -> dict[str, str]:  # fmt: skip
    """By the names of their places."""
    of = {scenario.name: scenario for scenario in chosen}
    steady = [
        each for each in figures.values() if of[each.name].load.kind == "zipf" and not of[each.name].fault
    ]
    jobs = [each for each in figures.values() if of[each.name].load.kind != "zipf"]
    faults = [each for each in figures.values() if of[each.name].fault]
    return {
        "scenarios": _table(
            ["scenario", "what it is"], [[each.name, each.about] for each in chosen if not each.fault]
        ),
        "assumed": _assumed(),
        "tiers": _tiers(steady + jobs),
        "latency": _latency(steady),
        "jobs": _jobs(jobs),
        "faults": _faults([each for each in faults if not each.name.endswith(NO_HEDGES)], of),
        "hedging": _hedging(figures),
        "moved": _moved(faults),
        "writes": _writes(changed),
        "leases": _table(
            ["hosts", "ms a second"],
            [[f"{hosts:,}", f"{lease_cost_ms(hosts):.1f}"] for hosts in LEASE_COST_HOSTS],
        ),
        "compared": _compared(compared),
    }


def _assumed() -> str:
    shape, times = Shape(), Times()
    rows = [[f"`{name}`", value] for name, value in shape.described()]
    rows += [[f"`{name}`", str(getattr(times, name))] for name in times.__dataclass_fields__]
    return _table(["parameter", "value"], rows)


def _tiers(chosen: Sequence[Figures]) -> str:
    rows = [[each.name, f"{each.reads:,}", *(_share(each.tiers[tier]) for tier in _TIERS)] for each in chosen]
    return _table(["scenario", "reads", *_TIERS.values()], rows)


def _latency(chosen: Sequence[Figures]) -> str:
    rows = [
        [each.name, _ms(each.p50), _ms(each.p99), _ms(each.p999), _ratio(each), f"{each.origin_peak_s:,.0f}",
         f"{each.home_load_max:.2f}", f"{each.home_load_deviation:.2f}"]
        for each in chosen
    ]  # fmt: skip
    heads = [
        "scenario",
        "p50, ms",
        "p99, ms",
        "p999, ms",
        "origin reads per block",
        "origin, requests/s at most",
    ]
    return _table([*heads, "most loaded home / mean", "deviation / mean"], rows)


def _ratio(figures: Figures) -> str:
    return f"{figures.origin_reads_per_block:.3f}" if figures.counts.get("origin_reads") else "none"


def _jobs(chosen: Sequence[Figures]) -> str:
    rows = []
    for each in chosen:
        assert each.job_ends_s is not None
        ends = each.job_ends_s
        rows.append(
            [each.name, _ratio(each), f"{each.counts.get('origin_reads', 0):,}", f"{each.origin_peak_s:,.0f}", f"{each.origin_under_way_max:,}",
             f"{each.counts.get('origin_refusals', 0):,}", f"{ends[len(ends) // 2]:.1f}", f"{ends[-1]:.1f}", _ms(each.p99)]
        )  # fmt: skip
    heads = [
        "scenario",
        "origin reads per block",
        "origin reads",
        "requests/s at most",
        "under way at most",
        "SlowDown",
    ]
    return _table([*heads, "median host, s", "last host, s", "p99 of a block, ms"], rows)


def _faults(chosen: Sequence[Figures], of: Mapping[str, Scenario]) -> str:
    rows = []
    for each in chosen:
        assert each.after is not None
        counts = each.counts
        rows.append(
            [each.name, FAULTS[of[each.name].fault][0], *(_ms(value) for value in each.after), f"{each.recovery_s:.1f}",
             f"{counts.get('origin_reads', 0):,}", _ratio(each), f"{counts.get('reads_failed', 0):,}", f"{each.unfinished:,}"]
        )  # fmt: skip
    heads = ["fault", "what happens", "p50, ms", "p99, ms", "p999, ms", "recovered after, s", "origin reads"]
    return _table([*heads, "per block", "reads that failed", "reads lost"], rows)


def _hedging(figures: Mapping[str, Figures]) -> str:
    rows = []
    for name in WITHOUT_HEDGES:
        if name not in figures or name + NO_HEDGES not in figures:
            continue
        without, with_them = figures[name + NO_HEDGES], figures[name]
        assert without.after is not None
        assert with_them.after is not None
        counts = with_them.counts
        rows.append(
            [name, _ms(without.after[1]), _ms(with_them.after[1]), _ms(without.after[2]), _ms(with_them.after[2]),
             f"{counts.get('hedges', 0):,}", f"{counts.get('hedges', 0) / counts['peer_reads']:.3%}", f"{counts.get('hedges_won', 0):,}",
             f"{counts.get('origin_reads', 0) - without.counts.get('origin_reads', 0):+,}"]
        )  # fmt: skip
    heads = [
        "fault",
        "p99 without, ms",
        "p99 with",
        "p999 without",
        "p999 with",
        "hedges",
        "of all peers' reads",
        "won",
    ]
    return _table([*heads, "blocks of the origin"], rows)


def _writes(changed: Sequence[Changed]) -> str:
    rows = [
        [f"{each.played.hosts:,}", each.played.fault or "none", f"{each.lease_messages_s:,.0f}", f"{each.acknowledged:,}", f"{each.unconfirmed:,}",
         _ms(each.usual_ms), _ms(each.p99_ms), _ms(each.longest_ms), f"{each.reads:,}", f"{len(each.violations)}"]
        for each in changed
    ]  # fmt: skip
    heads = [
        "hosts",
        "fault",
        "lease messages a second and host",
        "writes",
        "not confirmed",
        "usual, ms",
        "p99 before the fault",
        "longest",
    ]
    return _table([*heads, "reads", "of an old version"], rows)


def _moved(chosen: Sequence[Figures]) -> str:
    rows = [
        [each.name, f"{each.moved:.3%}", f"{each.moved_ideal:.3%}", f"{each.counts.get('origin_reads', 0):,}"]
        for each in chosen
        if each.moved is not None
    ]
    return _table(
        [
            "change",
            "blocks that have another home",
            "share of the hosts that came or went",
            "blocks read anew",
        ],
        rows,
    )


def _compared(compared: Sequence[Compared]) -> str:
    rows = []
    for each in compared:
        for name, difference in each.differences.items():
            rows.append(
                [each.trial.name, f"{each.trial.hosts}", f"`{name}`", f"{each.real[name]:,}", f"{each.simulated[name]:,}",
                 f"{difference:+.2%}", f"{each.trial.tolerance:.0%}"]
            )  # fmt: skip
    return _table(
        ["reads", "hosts", "count", "real", "simulated", "difference, of all reads", "tolerated"], rows
    )


def _share(share: float) -> str:
    return f"{share:.2%}" if share else "0"


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
