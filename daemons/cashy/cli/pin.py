"""``cashy pin`` and ``cashy unpin``: keep objects in memory, whatever else is read."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from cashy.cli.pin_report import (
    is_settled,
    parse_duration,
    pins_as_dict,
    print_failures,
    print_pins,
)

if TYPE_CHECKING:
    from aviary.cashy.v1.operate_pb2 import PinReport
    from cashy.client.cache import Cache

__all__ = ["EXIT_SOME_FAILED", "pin_command", "unpin_command"]

#: Some objects, or some hosts, are not known to be done; the others are.
EXIT_SOME_FAILED = 3

#: How often it is looked whether all is loaded.
_LOOK_S = 0.2

#: Other hosts look objects up at their origins before they answer.
_ANSWER_TIMEOUT_S = 120.0


@click.command(name="pin")
@click.argument("urls", nargs=-1, metavar="[URL]...")
@click.option(
    "--for", "duration", metavar="TIME", help="For so long: 90s, 15m, 2h, 1d. [default: until unpinned]"
)
@click.option(
    "--cluster", is_flag=True, help="Each block at its home in the cluster, not all of them on this host."
)
@click.option(
    "--list", "is_list", is_flag=True, help="Show what is pinned (of URL..., or all), and pin nothing."
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until all is loaded.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (sizes in bytes).")
@click.option("--socket", "socket_path", metavar="PATH", help="The master's socket. [default: $CASHY_SOCKET]")
def pin_command(
    urls: tuple[str, ...], duration: str | None, cluster: bool, is_list: bool, wait: bool, as_json: bool, socket_path: str | None
) -> int:  # fmt: skip
    """Load the objects URL... (s3://BUCKET/KEY or file:///PATH), and keep them in this host's memory.

    They are not evicted until they are unpinned or the time is over, and stay over a restart of the daemon (not over a reboot, which ends the
    memory, too). When an object is replaced, its pin follows: within a minute, or as soon as somebody reads it, the blocks of the new version are
    loaded and the old ones let go. All of URL... are pinned, or none. At most `memory.pinned_max` of the memory may be pinned.

    Only root, the daemon's own user and members of the group in `instance.operators` may pin.

    Exit code 0: all are there. 3: some could not be loaded, or some hosts did not answer; each is named on standard error.

    Example: cashy pin s3://research/reference.parquet --for 8h
    """
    import cashy

    if not urls and not is_list:
        raise click.UsageError("name something to pin: URL..., or --list to see what is pinned")
    try:
        for_s = parse_duration(duration) if duration is not None else 0.0
    except ValueError as error:
        raise click.UsageError(f"--for: {error}") from None
    with cashy.connect(socket_path, timeout_s=_ANSWER_TIMEOUT_S) as cache:
        if is_list:
            report = cache.pins(urls, cluster=cluster)
        else:
            report = cache.pin(urls, for_s=for_s, cluster=cluster)
            if wait:
                report = _when_loaded(
                    cache, urls, report, cluster=cluster, show=sys.stderr.isatty() and not as_json
                )
    return _tell(report, as_json=as_json)


@click.command(name="unpin")
@click.argument("urls", nargs=-1, metavar="[URL]...")
@click.option("--all", "everything", is_flag=True, help="All that is pinned.")
@click.option("--cluster", is_flag=True, help="On every host of the cluster.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (sizes in bytes).")
@click.option("--socket", "socket_path", metavar="PATH", help="The master's socket. [default: $CASHY_SOCKET]")
def unpin_command(
    urls: tuple[str, ...], everything: bool, cluster: bool, as_json: bool, socket_path: str | None
) -> int:
    """Let go of the pinned objects URL...; they stay in memory until something else needs the room.

    Exit code 0: done. 3: some hosts did not answer; each is named on standard error.
    """
    import cashy

    if bool(urls) == everything:
        raise click.UsageError("name what to unpin: URL..., or --all")
    with cashy.connect(socket_path, timeout_s=_ANSWER_TIMEOUT_S) as cache:
        report = cache.unpin(urls, everything=everything, cluster=cluster)
    if as_json:
        hosts = [
            {"host": host.host, "unpinned": host.changed, "error": host.error or None}
            for host in report.hosts
        ]
        print(json.dumps({"hosts": hosts}))
    else:
        for host in report.hosts:
            if not host.error:
                print(f"{host.host}: {host.changed:,} objects unpinned")
        print_failures(report)
    return EXIT_SOME_FAILED if _has_silent(report) else 0


def _has_silent(report: PinReport) -> bool:
    return any(host.error for host in report.hosts)


def _tell(report: PinReport, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(pins_as_dict(report)))
    else:
        print_pins(report.hosts)
        print_failures(report)
    has_failures = _has_silent(report) or any(pin.error for host in report.hosts for pin in host.objects)
    return EXIT_SOME_FAILED if has_failures else 0


def _when_loaded(
    cache: Cache, urls: tuple[str, ...], report: PinReport, *, cluster: bool, show: bool
) -> PinReport:
    """Waits until all is there, or is known not to come; the last report."""
    refused = {host.host: host for host in report.hosts if host.error}
    with _line(show) as tell:
        while not is_settled(report):
            tell(report)
            time.sleep(_LOOK_S)
            report = cache.pins(urls, cluster=cluster)
            for host in report.hosts:  # what it said to the pin itself stands
                if host.host in refused and not host.error:
                    host.error = refused[host.host].error
    return report


@contextlib.contextmanager
def _line(show: bool) -> Iterator[Callable[[PinReport], None]]:
    """A bar on standard error; gives what is told of each look."""
    if not show:
        yield lambda report: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("pinning"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("pinning", total=None)

        def tell(report: PinReport) -> None:
            pins = [pin for host in report.hosts for pin in host.objects]
            bar.update(
                task, total=sum(pin.bytes for pin in pins), completed=sum(pin.bytes_here for pin in pins)
            )

        yield tell
