"""``python -m tests.simulation.placement``: the simulations at full size; writes docs/placement.svg and the tables of docs/placement.md.

It takes some twenty minutes of one core (a thousand hosts, a million blocks, three lists of hosts) and needs ``pip install --group plots``.
"""

from __future__ import annotations

import math
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import click

from cashy.core.placement import Member, Ranking, place_key

from .balance import SCHEMES, Balance, host_names, measure, shares_by_weight
from .copies import Cluster, Outcome, play
from .plot import draw
from .workloads import WORKLOADS

__all__ = ["Figures", "Size", "main", "simulate", "tables", "with_tables"]

DOCS = Path(__file__).resolve().parents[2] / "docs"

RULES = ("always", "second-read", "never")
WEIGHTS = (1.0, 1.0, 2.0, 2.0, 4.0, 0.5)


@dataclass(frozen=True)
class Size:
    """How much is simulated. ``room``: different blocks that all hosts together can hold; ``reads`` of each workload."""

    blocks: int = 1_000_000
    host_counts: tuple[int, ...] = (3, 10, 30, 100, 300, 1000)
    cluster_sizes: tuple[int, ...] = (3, 10)
    room: int = 6_000
    reads: int = 200_000
    timed_keys: int = 2_000


@dataclass(frozen=True)
class Figures:
    """All that the page shows."""

    size: Size
    balance: dict[str, list[Balance]]
    cost_us: dict[int, float]
    by_weight: list[float]
    clusters: dict[tuple[int, str, str], Outcome]


def simulate(size: Size) -> Figures:
    """Runs everything; says on stderr how far it is."""
    keys = [place_key("store", f"bucket/object-{number // 16}", number % 16) for number in range(size.blocks)]
    balance: dict[str, list[Balance]] = {name: [] for name in SCHEMES}
    for count in size.host_counts:
        for name, scheme in SCHEMES.items():
            _say(f"{count} hosts, {name}")
            balance[name].append(measure(scheme, count, keys))
    return Figures(
        size,
        balance,
        {count: _cost_us(count, keys[: size.timed_keys]) for count in size.host_counts},
        shares_by_weight(WEIGHTS, keys),
        _clusters(size),
    )


def _cost_us(hosts: int, keys: list[int]) -> float:
    """Time of one ranking of which the first is asked, the best of five rounds; it belongs to the machine."""
    first = Ranking(Member(name) for name in host_names(hosts)).first
    best = math.inf
    for _ in range(5):
        started = perf_counter()
        for key in keys:
            first(key, 1)
        best = min(best, perf_counter() - started)
    return best / len(keys) * 1e6


def _clusters(size: Size) -> dict[tuple[int, str, str], Outcome]:
    outcomes = {}
    for hosts in size.cluster_sizes:
        for workload in WORKLOADS:
            for rule in RULES:
                _say(f"{hosts} hosts, {workload.name}, local copies: {rule}")
                requests = workload.requests(random.Random(1), hosts=hosts, room=size.room, count=size.reads)
                cluster = Cluster(hosts, size.room // hosts, local_copies=rule)
                outcomes[hosts, workload.name, rule] = play(cluster, requests, warm_up=size.reads // 3)
    return outcomes


def _say(text: str) -> None:
    print(text, "…", file=sys.stderr, flush=True)


def tables(figures: Figures) -> dict[str, str]:
    """The page's tables, by the names of their places."""
    return {
        "balance": _balance_table(figures),
        "moved": _moved_table(figures),
        "weights": _weights_table(figures),
        "cost": _table(
            ["hosts", "µs"], [[f"{hosts:,}", f"{cost:.1f}"] for hosts, cost in figures.cost_us.items()]
        ),
        "workloads": _table(["workload", "what is read"], [[each.name, each.meaning] for each in WORKLOADS]),
        "copies": _copies_table(figures),
    }


def _balance_table(figures: Figures) -> str:
    rows = []
    for position, hosts in enumerate(figures.size.host_counts):
        chance = math.sqrt((hosts - 1) / figures.size.blocks)
        row = [f"{hosts:,}", f"{chance:.2%}"]
        for results in figures.balance.values():
            each = results[position]
            row.append(f"{each.least:.3f} … {each.greatest:.3f}, {each.deviation:.2%}")
        rows.append(row)
    return _table(["hosts", "chance alone", *figures.balance], rows)


def _moved_table(figures: Figures) -> str:
    rows = []
    for position, hosts in enumerate(figures.size.host_counts):
        of_scheme = [results[position] for results in figures.balance.values()]
        row = [f"{hosts:,}", f"{of_scheme[0].ideal_join:.3%}", f"{of_scheme[0].ideal_leave:.3%}"]
        row += [
            f"{each.moved_by_join:.3%}, {each.moved_by_leave:.3%}, {each.moved_between_others:.1%}"
            for each in of_scheme
        ]
        rows.append(row)
    return _table(["hosts", "ideal, one joins", "ideal, one leaves", *figures.balance], rows)


def _weights_table(figures: Figures) -> str:
    total = sum(WEIGHTS)
    rows = [
        [f"{weight:g}", f"{weight / total:.3%}", f"{weight / total * share:.3%}"]
        for weight, share in zip(WEIGHTS, figures.by_weight, strict=True)
    ]
    return _table(["weight", "share it should have", "share it has"], rows)


def _copies_table(figures: Figures) -> str:
    rows = [
        [str(hosts), workload.name, *(_shown(figures.clusters[hosts, workload.name, rule]) for rule in RULES)]
        for hosts in figures.size.cluster_sizes
        for workload in WORKLOADS
    ]
    return _table(["hosts", "workload", *RULES], rows)


def _shown(outcome: Outcome) -> str:
    return f"{outcome.local:.3f} / {outcome.cluster:.3f} / {outcome.origin:.3f}"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_tables(page: str, new: dict[str, str]) -> str:
    """The page with its tables replaced: what stands between ``<!-- NAME -->`` and ``<!-- end -->``. ValueError if a place is missing."""
    for name, table in new.items():
        before, start, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("\n<!-- end -->")
        if not start or not end:
            raise ValueError(f"the page has no place for the table {name!r}")
        page = f"{before}{start}{table}{end}{after}"
    return page


@click.command()
@click.option("--blocks", default=Size.blocks, show_default=True, help="Blocks that are placed.")
def main(blocks: int) -> None:
    """Simulates placement and local copies; writes docs/placement.svg and the tables of docs/placement.md."""
    figures = simulate(Size(blocks=blocks))
    draw(figures.balance, blocks, DOCS / "placement.svg")
    page = DOCS / "placement.md"
    page.write_text(with_tables(page.read_text(encoding="utf-8"), tables(figures)), encoding="utf-8")
    _say(f"wrote {page.name} and placement.svg")


if __name__ == "__main__":
    main()
