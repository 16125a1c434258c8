"""The plot of docs/placement.svg. matplotlib is needed for it alone (dependency group ``plots``)."""

from __future__ import annotations

import math
from pathlib import Path

from .balance import Balance

__all__ = ["draw"]

COLOURS = ("#0072b2", "#d55e00", "#7f7f7f")  # told apart by colour-blind readers too (Okabe and Ito)
MARKERS = ("o", "s", "^")


def draw(balance: dict[str, list[Balance]], blocks: int, path: Path) -> None:
    """Loads, their spread and what moves, over the number of hosts, for each scheme; an SVG that is the same for the same figures."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "placement", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
    )
    from matplotlib import pyplot

    figure, (loads, spread, moved) = pyplot.subplots(1, 3, figsize=(12, 4), layout="constrained")
    for (name, results), colour, marker in zip(balance.items(), COLOURS, MARKERS, strict=True):
        hosts = [each.hosts for each in results]
        style = {"color": colour, "marker": marker, "markersize": 4, "label": name}
        loads.plot(hosts, [each.greatest for each in results], **style)
        loads.plot(hosts, [each.least for each in results], **{**style, "label": None, "linestyle": "--"})
        spread.plot(hosts, [each.deviation for each in results], **style)
        moved.plot(hosts, [each.moved_by_join for each in results], **style)
    any_results = next(iter(balance.values()))
    hosts = [each.hosts for each in any_results]
    chance = [math.sqrt((count - 1) / blocks) for count in hosts]
    spread.plot(hosts, chance, color="black", linestyle=":", label="chance alone")
    moved.plot(
        hosts, [each.ideal_join for each in any_results], color="black", linestyle=":", label="ideal: 1/(n+1)"
    )
    loads.set(title="most (—) and least (- -) loaded host", ylabel="load / mean", xlabel="hosts")
    spread.set(title="spread of the loads", ylabel="standard deviation / mean", xlabel="hosts", yscale="log")
    moved.set(title="moved when one host joins", ylabel="share of all blocks", xlabel="hosts", yscale="log")
    for axes in (loads, spread, moved):
        axes.set_xscale("log")
        axes.set_xticks(hosts, [f"{count:,}" for count in hosts])
        axes.minorticks_off()
        axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
