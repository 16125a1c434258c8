"""The pictures of docs/cluster-simulation.md. matplotlib is needed for them alone (dependency group ``plots``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .events import NS
from .scenarios import BUCKET_NS, FAULT_AT_S, Figures

__all__ = ["draw_faults", "draw_jobs"]

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
)  # told apart by colour-blind readers too (Okabe and Ito)
#: Seconds before the fault that are shown.
_BEFORE_S = 5.0
_COLUMNS = 3


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "cluster", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
    )
    from matplotlib import pyplot

    return pyplot


def draw_faults(faults: Sequence[Figures], path: Path) -> None:
    """For each fault the 99th percentile of reads (ms, logarithmic) and what the origin gives (blocks a second), over time; the fault is at 0."""
    pyplot = _pyplot()
    rows = -(-len(faults) // _COLUMNS)
    figure, grid = pyplot.subplots(
        rows, _COLUMNS, figsize=(12, 2.6 * rows), layout="constrained", sharex=True
    )
    for axes, each in zip(grid.flat, faults, strict=False):
        assert each.timeline is not None
        seconds, values = each.timeline
        shown = seconds >= FAULT_AT_S - _BEFORE_S
        axes.plot(seconds[shown] - FAULT_AT_S, values[shown], color=COLOURS[0], label="p99, ms")
        axes.set(title=each.name, yscale="log", ylim=(1, 10_000))
        axes.axvline(0, color="black", linestyle=":")
        _draw_origin(axes.twinx(), each)
    for axes in grid.flat[len(faults) :]:
        axes.set_axis_off()
    for axes in grid[-1]:
        axes.set_xlabel("seconds after the fault")
    for row in grid:
        row[0].set_ylabel("p99, ms (line)")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _draw_origin(axes: Any, figures: Figures) -> None:
    assert figures.origin_timeline is not None
    seconds = np.arange(len(figures.origin_timeline)) * BUCKET_NS / NS
    shown = seconds >= FAULT_AT_S - _BEFORE_S
    blocks_s = figures.origin_timeline * NS / BUCKET_NS
    axes.fill_between(seconds[shown] - FAULT_AT_S, blocks_s[shown], step="post", color=COLOURS[1], alpha=0.3)
    axes.grid(visible=False)
    axes.set_ylim(0, None)
    axes.set_ylabel("origin, blocks/s (area)")


def draw_jobs(jobs: Sequence[Figures], path: Path) -> None:
    """What the origin gives while a job starts, and when its hosts are through."""
    pyplot = _pyplot()
    figure, (origin, ends) = pyplot.subplots(1, 2, figsize=(12, 3.6), layout="constrained")
    for each, colour in zip(jobs, COLOURS, strict=False):
        assert each.origin_timeline is not None
        assert each.job_ends_s is not None
        blocks_s = each.origin_timeline * NS / BUCKET_NS
        seconds = np.arange(len(blocks_s)) * BUCKET_NS / NS
        origin.step(seconds, blocks_s, where="post", color=colour, label=each.name)
        shares = np.arange(1, len(each.job_ends_s) + 1) / len(each.job_ends_s)
        ends.plot(each.job_ends_s, shares, color=colour, label=each.name)
    origin.set(title="what the origin gives", xlabel="seconds", ylabel="blocks/s")
    ends.set(
        title="hosts that have read all of it", xlabel="seconds", ylabel="share of the hosts", xlim=(0, None)
    )
    for axes in (origin, ends):
        axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
