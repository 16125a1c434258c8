"""How ``cashy warm`` tells what it does: JSON lines, a live line in a terminal, or the end only."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from cashy.cli.warming import Outcome

__all__ = ["WarmTotals", "failure_line", "live_line", "print_failures", "print_json", "print_outcome"]


class WarmTotals:
    """What has become of the objects so far; ``skipped`` were done by an earlier run."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.loaded_bytes = 0
        self.failed: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        """Counts one."""
        self.counts[outcome.kind] += 1
        self.loaded_bytes += outcome.loaded_bytes
        if outcome.kind == "failed":
            self.failed.append(outcome)

    def as_dict(self) -> dict[str, Any]:
        """For the last line of JSON."""
        kinds = ("warmed", "here", "skipped", "failed")
        return {kind: self.counts[kind] for kind in kinds} | {"loaded_bytes": self.loaded_bytes}

    def __str__(self) -> str:
        parts = [f"{self.counts['warmed']:,} warmed ({self.loaded_bytes:,} bytes loaded)"]
        parts.append(f"{self.counts['here']:,} were in memory already")
        if self.counts["skipped"]:
            parts.append(f"{self.counts['skipped']:,} were done before")
        if self.failed:
            parts.append(f"{len(self.failed):,} failed")
        return ", ".join(parts)


def print_json(kind: str, **fields: Any) -> None:
    """One line, at once."""
    print(json.dumps({"event": kind, **fields}), flush=True)


def print_outcome(outcome: Outcome) -> None:
    """The line of one object."""
    fields: dict[str, Any] = {"url": outcome.url, "seconds": round(outcome.seconds, 3)}
    if outcome.error is not None:
        fields |= {"code": outcome.error.code, "error": outcome.error.message}
    else:
        fields |= {"size": outcome.size_bytes, "loaded": outcome.loaded_bytes, "version": outcome.version}
    print_json(outcome.kind, **fields)


@contextlib.contextmanager
def live_line(totals: WarmTotals, show: bool) -> Iterator[Callable[[Outcome], None]]:
    """Gives what is told of each outcome; ``show``: a line on standard error that says how it goes."""
    if not show:
        yield lambda outcome: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as line:
        task = line.add_task("warming", total=None)

        def tell(outcome: Outcome) -> None:
            line.update(task, description=str(totals), completed=totals.loaded_bytes)
            if outcome.error is not None:
                line.console.print(failure_line(outcome), markup=False, highlight=False)

        yield tell


def failure_line(outcome: Outcome) -> str:
    """Which object failed, and why, in one line."""
    assert outcome.error is not None
    return f"cashy: failed: {outcome.url}: {' '.join(outcome.error.message.split())}"


def print_failures(totals: WarmTotals) -> None:
    """All of them, on standard error."""
    for outcome in totals.failed:
        print(failure_line(outcome), file=sys.stderr)
