"""``cashy warm``: brings objects into the host's memory before somebody needs them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from cashy.cli.warm_report import WarmTotals
    from cashy.cli.warm_state import WarmState
    from cashy.cli.warming import Outcome, Warmer
    from cashy.client.cache import Cache

__all__ = ["EXIT_SOME_FAILED", "PARALLEL_DEFAULT", "PARALLEL_MAX", "warm_command"]

#: Some objects could not be warmed; the others are.
EXIT_SOME_FAILED = 3

#: Objects at a time: enough to keep an origin busy with small ones.
PARALLEL_DEFAULT = 8

#: Each has up to five blocks pinned or under way; a client may have a hundred requests open.
PARALLEL_MAX = 64


@click.command(name="warm")
@click.argument("urls", nargs=-1, metavar="[URL]...")
@click.option(
    "--from", "lists", multiple=True, metavar="FILE", type=click.File("r", encoding="utf-8"),
    help="Names too, one on each line, taken literally; - is standard input. May be given again.",
)  # fmt: skip
@click.option(
    "--state", "state_path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
    help="Remember what is done here, and do not do it again in a further run, whatever ended this one.",
)  # fmt: skip
@click.option(
    "--parallel", type=click.IntRange(1, PARALLEL_MAX), default=PARALLEL_DEFAULT, show_default=True, metavar="N",
    help=f"Objects at a time, at most {PARALLEL_MAX}.",
)  # fmt: skip
@click.option(
    "--rate", metavar="SIZE", help="Load at most so much in a second, e.g. 200MiB. [default: no limit]"
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print a line of JSON for each object, and one at the end."
)
@click.option("--socket", "socket_path", metavar="PATH", help="The master's socket. [default: $CASHY_SOCKET]")
def warm_command(
    urls: tuple[str, ...], lists: tuple[TextIO, ...], state_path: Path | None, parallel: int, rate: str | None, as_json: bool,
    socket_path: str | None,
) -> int:  # fmt: skip
    """Load the objects URL... (s3://BUCKET/KEY or file:///PATH) into this host's memory, and wait until they are there.

    In a URL, `*` and `?` stand for characters but `/`, `**` for any, `[...]` for one of a set; one that ends in `/` means all below it. Quote
    them. Names of a list are literal. What is in memory already is not loaded again; an object larger than the memory fails.

    Exit code 0: all are there. 3: some failed; each is named with its reason on standard error (with --json, in its line), and
    the others are there. 1: it could not go on, as without a daemon; a further run with the same --state goes on from there.

    Example: cashy warm 's3://research/2024-*/**.parquet' --state warm.state --rate 500MiB
    """
    if not urls and not lists:
        raise click.UsageError("name something to warm: URL..., or --from FILE")
    import cashy
    from cashy.cli.warm_report import WarmTotals
    from cashy.cli.warm_state import WarmState
    from cashy.cli.warming import Warmer

    bytes_per_s = _bytes_of(rate)
    totals = WarmTotals()
    with (
        cashy.connect(socket_path) as cache,
        WarmState(state_path, cache.status().arena_id) as state,
    ):
        if state.outdated and not as_json:
            print(
                f"cashy: {state.outdated:,} objects in {state_path} were loaded into memory that is gone",
                file=sys.stderr,
            )
        warmer = Warmer(cache, parallel=parallel, bytes_per_s=bytes_per_s)
        _run(warmer, _wanted(cache, urls, lists, state, totals), state, totals, as_json)
    return EXIT_SOME_FAILED if totals.failed else 0


def _bytes_of(rate: str | None) -> float | None:
    from cashy.setting_values import parse_size

    if rate is None:
        return None
    try:
        size = parse_size(rate)
    except ValueError as error:
        raise click.UsageError(f"--rate: {error}") from None
    if size <= 0:
        raise click.UsageError("--rate: at least one byte a second")
    return float(size)


def _wanted(
    cache: Cache, urls: Iterable[str], lists: Iterable[TextIO], state: WarmState, totals: WarmTotals
) -> Iterator[str | Outcome]:
    """What there is to do, each name once, without what is done."""
    from cashy.cli.warming import names_of

    literal = (line.rstrip("\n") for file in lists for line in file)
    seen: set[str] = set()
    for name in names_of(cache, urls, (line for line in literal if line)):
        if isinstance(name, str):
            if name in seen:
                continue
            seen.add(name)
            if name in state.done:
                totals.counts["skipped"] += 1
                continue
        yield name


def _run(
    warmer: Warmer, names: Iterator[str | Outcome], state: WarmState, totals: WarmTotals, as_json: bool
) -> None:
    from cashy.cli.warm_report import live_line, print_failures, print_json, print_outcome

    show = sys.stderr.isatty() and not as_json
    with live_line(totals, show) as tell, contextlib.closing(warmer.run(names)) as outcomes:
        for outcome in outcomes:
            totals.add(outcome)
            if outcome.error is None:
                state.add(outcome.url, outcome.version, outcome.size_bytes)
            if as_json:
                print_outcome(outcome)
            tell(outcome)
    if as_json:
        print_json("end", **totals.as_dict())
        return
    if not show:
        print_failures(totals)
    print(totals)
