"""``cashy top``: what the hosts of a cluster are doing, live in a terminal or once as a table or JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cashy.core.activity import Activity, ClusterActivity, Figures, HostSnapshot

if TYPE_CHECKING:
    from aviary.cashy.v1 import control_pb2 as pb

__all__ = ["as_dict", "snapshots_of", "top_command"]

#: Asking costs every host a message and a little work: no person reads faster than this.
INTERVAL_S_MIN = 0.1
#: For an answer: the master asks the other hosts for theirs, and gives up sooner than this.
ANSWER_TIMEOUT_S = 10.0


@click.command(name="top")
@click.option("--socket", "socket_path", metavar="PATH", help="The master's socket. [default: $CASHY_SOCKET]")
@click.option(
    "--interval", "interval_s", type=click.FloatRange(min=INTERVAL_S_MIN), default=1.0, show_default=True, metavar="SECONDS",
    help="Time between two looks; rates are over it.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Look twice, one interval apart, print and end.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line per look, instead of a table.")
def top_command(socket_path: str | None, interval_s: float, once: bool, as_json: bool) -> int:
    """Show what the hosts of the cluster are doing, asked through one of them.

    Reads and bytes (powers of 1000) a second by where the blocks were found: in the host's own memory, at
    other hosts (peers), at the origin. Shares of these over the last interval and since the masters' start.
    Load on the origin, memory, clients, what a host sent to others, the longest stall of its master's loop.
    Quit with q or Ctrl-C. Where standard output is no terminal, one table is printed as with --once.

    Example: cashy top --once --json | jq .total.reads_per_s
    """
    import cashy

    with cashy.connect(socket_path, timeout_s=ANSWER_TIMEOUT_S) as cache:

        def look() -> list[HostSnapshot]:
            return snapshots_of(cache.cluster())

        try:
            if as_json:
                _print_json(look, interval_s, once=once)
            elif once or not sys.stdout.isatty():
                _print_table(look, interval_s)
            else:
                from cashy.cli.top_live import run_live

                run_live(look, interval_s)
        except KeyboardInterrupt:
            pass  # the usual way to leave
    return 0


def snapshots_of(report: pb.ClusterReport) -> list[HostSnapshot]:
    """A cluster's report as values."""
    return [
        HostSnapshot(
            name=host.name,
            address=host.address,
            is_self=host.is_self,
            error=host.error,
            uptime_s=host.status.uptime_s,
            arena_bytes=host.status.arena_bytes,
            counters=dict(host.status.counters),
        )
        for host in report.hosts
    ]


def _first_look(look: Callable[[], list[HostSnapshot]], interval_s: float) -> Activity:
    activity = Activity()
    activity.update(look())
    time.sleep(interval_s)
    return activity


def _print_table(look: Callable[[], list[HostSnapshot]], interval_s: float) -> None:
    from cashy.cli.top_table import print_once

    print_once(_first_look(look, interval_s).update(look()))


def _print_json(look: Callable[[], list[HostSnapshot]], interval_s: float, *, once: bool) -> None:
    activity = _first_look(look, interval_s)
    while True:
        print(json.dumps(as_dict(activity.update(look()))), flush=True)
        if once:
            return
        time.sleep(interval_s)


def as_dict(activity: ClusterActivity) -> dict[str, Any]:
    """For JSON: rates a second, sizes in bytes, shares from 0 to 1; null where there is nothing to say yet."""
    hosts = [
        {"name": host.name, "address": host.address or None, "is_self": host.is_self, "up": host.is_up}
        | ({"error": host.error} if host.error else _figures_as_dict(host.figures))
        for host in activity.hosts
    ]
    return {
        "hosts_up": activity.hosts_up,
        "hosts": hosts,
        "total": _figures_as_dict(activity.total, without=("uptime_s",)),
    }


def _figures_as_dict(figures: Figures, without: tuple[str, ...] = ()) -> dict[str, Any]:
    made: dict[str, Any] = {
        "reads_per_s": None if figures.tiers is None else {tier: flow.blocks for tier, flow in figures.tiers.items()},
        "bytes_per_s": None if figures.tiers is None else {tier: flow.bytes for tier, flow in figures.tiers.items()},
    }  # fmt: skip
    for field in dataclasses.fields(figures):
        value = getattr(figures, field.name)
        if field.name == "tiers" or field.name in without:
            continue
        if field.name in ("served", "origin_load"):
            value = value and {"reads_per_s": value.blocks, "bytes_per_s": value.bytes}
        made[field.name] = value._asdict() if hasattr(value, "_asdict") else value
    return made
