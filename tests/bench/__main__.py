"""``python -m tests.bench``: runs the rows that were asked for, prints a table, writes build/bench.json."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import click
from rich.console import Console

from .generator import REPOSITORY
from .machine import end_descendants
from .row import Bench, Result, Row, Unavailable
from .table import ROWS, show, write_json

__all__ = ["main"]

#: Everything that is read lies here, so that no disk is measured.
MEMORY_FOLDER = "/dev/shm"


def _measured(row: Row, *, quick: bool) -> Result:
    with tempfile.TemporaryDirectory(prefix="cashy-bench-", dir=MEMORY_FOLDER) as folder:
        gc.collect()
        return Result(row, row.run(Bench(Path(folder), quick)))


def _chosen(only: str) -> list[Row]:
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = {row.name: row for row in ROWS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"unknown: {', '.join(unknown)}; rows are {', '.join(known)}")
    return [known[name] for name in names] or list(ROWS)


@click.command()
@click.option("--only", default="", help="Names of rows, separated by commas.")
@click.option("--quick", is_flag=True, help="Few and short runs: shows that it works, not how fast it is.")
@click.option("--output", type=click.Path(path_type=Path), default=REPOSITORY / "build" / "bench.json")
def main(only: str, quick: bool, output: Path) -> None:
    """Measures cashy against real programs. Figures never fail the run; a row that breaks is reported and left out."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and namespaces go with us
    console = Console(width=None if sys.stdout.isatty() else 180)
    progress = Console(stderr=True)
    results: list[Result] = []
    skipped: dict[str, str] = {}
    atexit.register(end_descendants)
    for row in _chosen(only):
        progress.print(f"measuring {row.name} …", highlight=False)
        try:
            results.append(_measured(row, quick=quick))
        except Unavailable as error:
            skipped[row.name] = str(error)
        except Exception as error:
            traceback.print_exc()
            skipped[row.name] = f"it broke: {type(error).__name__}: {error}"
        write_json(output, results, quick=quick)
    show(console, results, skipped, quick=quick)


if __name__ == "__main__":
    main()
