"""What a benchmark row is, and what came out of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = [
    "Bench",
    "Measurement",
    "Result",
    "Row",
    "Unavailable",
    "alternate",
    "against_limit",
]

Better = Literal["higher", "lower"]

#: Fewer runs say nothing about the spread. A quick run only shows that the bench works.
RUNS = 7
RUNS_QUICK = 2


class Unavailable(Exception):
    """The row cannot be measured on this machine; the text says why and what would help."""


@dataclass
class Bench:
    """What rows are given: a folder in memory of their own, and how long to measure."""

    folder: Path
    quick: bool = False

    @property
    def runs(self) -> int:
        """How often ours and the peer are measured."""
        return RUNS_QUICK if self.quick else RUNS

    def scaled(self, full: int, quick: int) -> int:
        """A count of operations."""
        return quick if self.quick else full


@dataclass
class Measurement:
    """One figure per run of ours and of the peer, and what else should be said."""

    ours: list[float]
    peer: list[float]
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A named comparison. ``goal`` bounds the ratio ours / peer from the side that ``better`` says; None: it is only shown."""

    name: str
    unit: str
    peer_name: str
    better: Better
    goal: float | None
    run: Callable[[Bench], Measurement]
    #: A further goal of ours alone, in ``unit``, on the same side.
    ours_goal: float | None = None

    def is_met(self, value: float, goal: float) -> bool:
        """Whether a figure is on the good side of a bound."""
        return value <= goal if self.better == "lower" else value >= goal


@dataclass(frozen=True)
class Result:
    """A measured row."""

    row: Row
    measurement: Measurement

    @property
    def ours(self) -> float:
        """Median of our runs."""
        return statistics.median(self.measurement.ours)

    @property
    def peer(self) -> float:
        """Median of the peer's runs."""
        return statistics.median(self.measurement.peer)

    @property
    def ratio(self) -> float:
        """ours / peer."""
        return self.ours / self.peer if self.peer else float("inf")

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, or ``shown`` for a row without a goal."""
        row = self.row
        if row.goal is None:
            return "shown"
        is_met = row.is_met(self.ratio, row.goal)
        if row.ours_goal is not None:
            is_met = is_met and row.is_met(self.ours, row.ours_goal)
        return "met" if is_met else "missed"

    def as_json(self, *, quick: bool) -> dict[str, Any]:
        """The row as it stands in ``build/bench.json``."""
        return {
            "name": self.row.name,
            "ours": self.ours,
            "peer": self.peer,
            "peer_name": self.row.peer_name,
            "unit": self.row.unit,
            "ratio": self.ratio,
            "better": self.row.better,
            "goal": self.row.goal,
            "verdict": self.verdict,
            "ours_min": min(self.measurement.ours),
            "ours_max": max(self.measurement.ours),
            "peer_min": min(self.measurement.peer),
            "peer_max": max(self.measurement.peer),
            "runs": len(self.measurement.ours),
            "quick": quick,
            "notes": self.measurement.notes,
        }


def alternate(
    bench: Bench, ours: Callable[[], float], peer: Callable[[], float], *, warm_ups: int = 1
) -> Measurement:
    """A B A B …: both see the same state of the machine. The warm-ups' figures are dropped."""
    for _ in range(warm_ups):
        ours()
        peer()
    measurement = Measurement([], [])
    for _ in range(bench.runs):
        measurement.ours.append(ours())
        measurement.peer.append(peer())
    return measurement


def against_limit(ours: list[float], limit: float, **notes: Any) -> Measurement:
    """For a goal without a peer: the limit stands in its place."""
    return Measurement(ours, [limit] * len(ours), notes)
