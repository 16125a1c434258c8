"""``cashy stat``: what is known of an object, and where each of its blocks lies."""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from cashy.cli.pin_report import pin_as_dict, pin_text

__all__ = ["block_runs", "home_counts", "stat_command"]


@click.command(name="stat")
@click.argument("url")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of a table (sizes in bytes)."
)
@click.option("--socket", "socket_path", metavar="PATH", help="The master's socket. [default: $CASHY_SOCKET]")
def stat_command(url: str, as_json: bool, socket_path: str | None) -> int:
    """Show size (bytes), version, time (UTC), type and user metadata of URL, and where its blocks lie.

    That is asked of the host whose socket it is: which blocks are in its memory, which on its SSD, and in a cluster, of those that are neither, which
    hosts are their homes and where these have them: in memory, on their SSD, or not there (then they read them from the origin). A home that does not
    answer within 1.5 s has them "unknown".
    """
    import cashy

    with cashy.connect(socket_path) as cache:
        location = cache.locate(url)
    if as_json:
        print(json.dumps(_as_dict(location)))
    else:
        _print_table(location)
    return 0


def block_runs(tiers: Sequence[str]) -> list[tuple[int, int, str]]:
    """Joins neighbours in the same tier: ``(first block, last block, tier)``."""
    runs = []
    for tier, group in itertools.groupby(enumerate(tiers), key=lambda pair: pair[1]):
        indices = [index for index, _ in group]
        runs.append((indices[0], indices[-1], tier))
    return runs


def home_counts(homes: Sequence[str], own: str, at_home: Sequence[str] = ()) -> str:
    """The homes of some blocks in words: ``at home on host2 (3: 2 memory, 1 SSD), this host (1)``; with one block ``at home on host2 (memory)``."""
    by_home: dict[str, Counter[str]] = {}
    for home, where in itertools.zip_longest(homes, at_home[: len(homes)], fillvalue=""):
        by_home.setdefault("this host" if home == own else home, Counter())[where] += 1
    return "at home on " + ", ".join(
        _home_text(name, counts, is_one=len(homes) == 1) for name, counts in sorted(by_home.items())
    )


def _home_text(name: str, counts: Counter[str], *, is_one: bool) -> str:
    wheres = [where for where in ("memory", "SSD", "not there", "unknown") if counts[where]]
    if is_one:
        return f"{name} ({wheres[0]})" if wheres else name
    return f"{name} ({counts.total()}{': ' * bool(wheres)}{', '.join(f'{counts[where]} {where}' for where in wheres)})"


def _block_lines(location: Any) -> Iterator[tuple[str, str]]:
    from cashy.client.meta import NOT_HERE

    for first, last, tier in block_runs(location.tiers):
        name = f"  {first}" if first == last else f"  {first} to {last}"
        is_elsewhere = bool(location.homes) and tier == NOT_HERE
        part = slice(first, last + 1)
        homes = (
            home_counts(location.homes[part], location.host, location.at_home[part]) if is_elsewhere else ""
        )
        yield name, f"{tier}; {homes}" if homes else tier


def _as_dict(location: Any) -> dict[str, Any]:
    meta = location.meta
    return {
        "name": meta.name,
        "size": meta.size_bytes,
        "version": meta.version,
        "last_modified": meta.last_modified,
        "content_type": meta.content_type,
        "headers": dict(meta.headers),
        "user_metadata": dict(meta.user_metadata),
        "block_size": meta.block_bytes,
        "blocks": list(location.tiers),
        "homes": list(location.homes),
        "pinned": pin_as_dict(location.pin) if location.pin is not None else None,
        "at_home": list(location.at_home),
    }


def _print_table(location: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cashy.setting_values import format_size

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    meta = location.meta
    modified = datetime.fromtimestamp(meta.last_modified, UTC)
    rows = [
        ("name", meta.name),
        ("size", f"{meta.size_bytes:,} bytes"),
        ("version", meta.version),
        ("last modified", modified.isoformat(sep=" ", timespec="seconds")),
        ("content type", meta.content_type),
        *((f"header {name}", value) for name, value in meta.headers),
        *((f"metadata {name}", value) for name, value in meta.user_metadata),
        ("blocks", f"{len(location.tiers)} of up to {format_size(meta.block_bytes)}"),
        *_block_lines(location),
        *((("pinned", pin_text(location.pin)),) if location.pin is not None else ()),
    ]
    for name, value in rows:
        table.add_row(name, Text(str(value)))  # Text: nothing in a value is markup
    # Piped output is not folded at a terminal's width.
    Console(width=None if sys.stdout.isatty() else 10_000, highlight=False).print(table)
