"""``python -m tests.simulation.cluster``: the scenarios at full size; writes docs/cluster-simulation.md's tables and pictures.

Takes some minutes of two cores and starts real clusters to compare with. ``--only NAME`` plays one scenario and prints its figures.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import perf_counter

import click
from tests.simulation.placement import DOCS, with_tables

from .changing import CHANGINGS, play_changing
from .comparing import TRIALS, Compared, compare
from .plots import draw_faults, draw_jobs
from .report import tables
from .scenarios import NO_HEDGES, Figures, Scenario, play, scenarios

__all__ = ["main", "play_all"]


def play_all(chosen: list[Scenario], processes: int) -> dict[str, Figures]:
    """In processes of their own, which are given one after the other as they become free."""
    figures: dict[str, Figures] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        for scenario, found in zip(chosen, pool.map(play, chosen), strict=True):
            _say(
                f"{scenario.name}: {found.reads:,} reads, seed {scenario.seed}, digest {found.digest}, {found.wall_s:.0f} s"
            )
            figures[scenario.name] = found
    return figures


def _compared() -> list[Compared]:
    compared = []
    for trial in TRIALS:
        with tempfile.TemporaryDirectory(prefix="cashy-sim-") as folder:
            compared.append(compare(trial, Path(folder)))
        _say(f"compared with a real cluster: {trial.name}: {'agrees' if compared[-1].agrees else 'DIFFERS'}")
    return compared


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@click.command()
@click.option("--only", help="The scenarios whose names have this in them; prints, and writes nothing.")
@click.option("--processes", default=2, show_default=True, help="Scenarios played at once.")
@click.option("--hosts", default=1000, show_default=True, help="Hosts of the cluster.")
def main(only: str | None, processes: int, hosts: int) -> None:
    """Simulates clusters; writes the tables and pictures of docs/cluster-simulation.md."""
    began = perf_counter()
    chosen = [each for each in scenarios() if only is None or only in each.name]
    if hosts != chosen[0].shape.hosts:
        chosen = [each.at_size(hosts) for each in chosen]
    figures = play_all(chosen, processes)
    if only is not None:
        for each in figures.values():
            print(each)
        return
    changed = [play_changing(each) for each in CHANGINGS]
    made = tables(figures, chosen, _compared(), changed)
    draw_faults(
        [figures[each.name] for each in chosen if each.fault and not each.name.endswith(NO_HEDGES)],
        DOCS / "cluster-faults.svg",
    )
    draw_jobs([figures[each.name] for each in chosen if each.load.kind != "zipf"], DOCS / "cluster-jobs.svg")
    page = DOCS / "cluster-simulation.md"
    page.write_text(with_tables(page.read_text(encoding="utf-8"), made), encoding="utf-8")
    _say(f"wrote {page.name} and its pictures after {perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
