"""``cashy hosts``: the hosts of the cluster, each in a line: who is there, who is not and why, and how they do."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cashy.core.activity import Activity, HostActivity

if TYPE_CHECKING:
    from aviary.cashy.v1.control_pb2 import ClusterReport, HostStatus

__all__ = ["EXIT_SOME_DOWN", "host_rows", "hosts_command", "print_rows"]

#: Some hosts did not answer.
EXIT_SOME_DOWN = 3

#: The master gives up on a silent host after a second and a half.
_ANSWER_TIMEOUT_S = 10.0


@click.command(name="hosts")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object (sizes in bytes, shares from 0 to 1)."
)
@click.option("--socket", "socket_path", metavar="PATH", help="The master's socket. [default: $CASHY_SOCKET]")
def hosts_command(as_json: bool, socket_path: str | None) -> int:
    """Show the hosts of the cluster, as the one whose socket it is sees them; a host without a cluster shows itself.

    For each: its address, weight and the share of blocks whose home it is; whether it answers, and if not why; version and uptime; memory in use;
    the share of blocks that its readers found in memory, since its start; how long it takes to answer this host (half of the answers, and 99 of
    100, come within); errors of origins. A host that is down costs a second and a half at most, however many there are.

    Exit code 0: all answered. 3: some did not.

    Example: cashy hosts --json | jq -r '.hosts[] | select(.up | not) | .name'
    """
    import cashy

    with cashy.connect(socket_path, timeout_s=_ANSWER_TIMEOUT_S) as cache:
        rows = host_rows(cache.cluster())
    if as_json:
        print(json.dumps({"hosts_up": sum(row["up"] for row in rows), "hosts": rows}))
    else:
        print_rows(rows)
    return 0 if all(row["up"] for row in rows) else EXIT_SOME_DOWN


#: Behind "up" and "down": how a host stands in the list of hosts, as the one that was asked sees it (docs/membership.md).
_IN_THE_LIST = {"joining": ", joining", "draining": ", leaving"}


def host_rows(report: ClusterReport) -> list[dict[str, Any]]:
    """One row for each host, this one first; what is not known is None."""
    from cashy.cli.top import snapshots_of

    activity = Activity().update(snapshots_of(report))
    weights = sum(host.weight for host in report.hosts)
    own = next((host for host in report.hosts if host.is_self), None)
    return [
        _row(host, figures, host.weight / weights if weights else 1.0, own)
        for host, figures in zip(report.hosts, activity.hosts, strict=True)
    ]


def _row(host: HostStatus, activity: HostActivity, share: float, own: HostStatus | None) -> dict[str, Any]:
    figures = activity.figures
    row: dict[str, Any] = {
        "name": host.name,
        "address": host.address or None,
        "is_self": host.is_self,
        "weight": host.weight if host.address else None,
        "share": share,
        "up": activity.is_up,
        "error": host.error or None,
        "state": _state(host),
        "list": host.membership_version or None,
        "has_list": host.has_list if host.membership_version else None,
        "version": host.status.version or None,
        "latency_p50_s": _latency(own, host, "p50"),
        "latency_p99_s": _latency(own, host, "p99"),
    }
    shares = figures.shares_since_start
    return row | {
        "uptime_s": figures.uptime_s if activity.is_up else None,
        "arena_used_bytes": figures.arena_used_bytes if activity.is_up else None,
        "arena_bytes": figures.arena_bytes if activity.is_up else None,
        "hit_ratio": shares.memory if shares is not None else None,
        "origin_errors": figures.origin_errors if activity.is_up else None,
        "pinned_bytes": host.status.counters.get("pinned_bytes", 0) if activity.is_up else None,
    }


def _state(host: HostStatus) -> str | None:
    """joining, up, down or draining; None where there is no cluster."""
    from aviary.cashy.v1.control_pb2 import HostState

    return HostState.Name(host.state).removeprefix("HOST_").lower() if host.state else None


def _latency(own: HostStatus | None, host: HostStatus, which: str) -> float | None:
    """As the host that was asked has measured it."""
    if own is None or host.is_self:
        return None
    value = own.status.counters.get(f"peer.{host.name}.latency_{which}_us", 0)
    return value / 1e6 if value else None


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """The table; piped output is not folded at a terminal's width."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cashy.cli.top_table import percent, size

    table = Table(box=None, pad_edge=False, header_style="dim")
    names = (
        "host",
        "address",
        "weight",
        "share",
        "state",
        "version",
        "up for",
        "memory",
        "hits",
        "p50",
        "p99",
        "errors",
    )
    for name in names:
        is_text = name in ("host", "address", "state", "version")
        table.add_column(
            name, justify="left" if is_text else "right", overflow="fold", no_wrap=name != "state"
        )
    for row in rows:
        is_up = row["up"]
        figures = [
            _up_for(row["uptime_s"]),
            f"{size(row['arena_used_bytes'])} of {size(row['arena_bytes'])}",
            "-" if row["hit_ratio"] is None else f"{percent(row['hit_ratio'])} %",
            _milliseconds(row["latency_p50_s"]),
            _milliseconds(row["latency_p99_s"]),
            f"{row['origin_errors']:,}",
        ] if is_up else [""] * 6  # fmt: skip
        where = ", this host" * row["is_self"] + _IN_THE_LIST.get(row["state"], "")
        state = Text(f"up{where}") if is_up else Text(f"down{where}: {_one_line(row)}", style="red")
        weight = "-" if row["weight"] is None else f"{row['weight']:g}"
        share = f"{percent(row['share'])} %"
        # Text: nothing in a value is markup
        cells = [row["name"], row["address"] or "-", weight, share, state, row["version"] or "-", *figures]
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
    Console(width=None if sys.stdout.isatty() else 10_000, highlight=False).print(table)


def _one_line(row: dict[str, Any]) -> str:
    return " ".join(row["error"].split())


def _up_for(seconds: float) -> str:
    from cashy.cli.pin_report import time_text

    return time_text(seconds)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f}ms"
