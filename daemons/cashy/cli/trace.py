"""``cashy trace``: what happened to a read, and how long each part took."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from aviary.cashy.v1.operate_pb2 import TraceReport

__all__ = ["EXIT_READ_FAILED", "parse_range", "trace_as_dict", "trace_command"]

#: The read failed; the trace says where.
EXIT_READ_FAILED = 3

#: A read waits for a slow origin, through another host.
_ANSWER_TIMEOUT_S = 300.0

_RANGE = re.compile(r"(\d{1,18})-(\d{1,18})?")


@click.command(name="trace")
@click.argument("url")
@click.option(
    "--range",
    "byte_range",
    metavar="A-B",
    help="Bytes A to B, both included, from 0, as HTTP has them; A-: sixteen blocks from A. [default: 0-]",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object (times in milliseconds, sizes in bytes)."
)
@click.option("--socket", "socket_path", metavar="PATH", help="The master's socket. [default: $CASHY_SOCKET]")
def trace_command(url: str, byte_range: str | None, as_json: bool, socket_path: str | None) -> int:
    """Read the object URL through the daemon, and show what happened to each block, and when.

    A line for the metadata and for each block: in memory already, or from whom it was read: another host, the origin; how long it waited for
    a place, for the first byte, for the rest; who was asked in vain before, and why. Below a block that another host brought, what that
    host says of it, drawn from the moment at which it was asked. The read is a real one: what was not in memory is afterwards.

    Exit code 0: the read came to its end. 3: it failed; the reason is on standard error.

    Example: cashy trace s3://research/2024.parquet --range 0-16777215
    """
    import cashy

    try:
        offset, length = parse_range(byte_range)
    except ValueError as error:
        raise click.UsageError(f"--range: {error}") from None
    with cashy.connect(socket_path, timeout_s=_ANSWER_TIMEOUT_S) as cache:
        began = time.monotonic()
        report = cache.trace(url, offset, length)
        asked_ms = (time.monotonic() - began) * 1000
    if as_json:
        print(json.dumps(trace_as_dict(url, report, asked_ms)))
    else:
        from cashy.cli.trace_picture import print_trace

        print_trace(url, report)
    if report.failure_code:
        print(f"cashy: failed: {report.failure_code}: {' '.join(report.failure.split())}", file=sys.stderr)
        return EXIT_READ_FAILED
    return 0


def parse_range(text: str | None) -> tuple[int, int]:
    """Offset and length (0: not said) of ``0-99``; raises ``ValueError``."""
    match = _RANGE.fullmatch("0-" if text is None else text)
    if match is None:
        raise ValueError(f"{text!r} is no range: write 0-1048575, the first and the last byte")
    first = int(match[1])
    if match[2] is None:
        return first, 0
    if int(match[2]) < first:
        raise ValueError(f"{text!r} ends before it begins")
    return first, int(match[2]) - first + 1


def trace_as_dict(url: str, report: TraceReport, asked_ms: float) -> dict[str, Any]:
    """For JSON. Times are since the trace began on the host that they are of."""
    from cashy.core.trace import Event, spans_of

    hosts = []
    for host in report.hosts:
        events = [
            Event(event.at_us, event.block, event.what, event.where, event.detail) for event in host.events
        ]
        until_us = max((event.at_us for event in events), default=0)
        hosts.append(
            {
                "host": host.host,
                "error": host.error or None,
                "is_cut": host.is_cut,
                "events": [_without(event._asdict(), "at_us") | {"at_ms": event.at_us / 1000} for event in events],
                "spans": [
                    {
                        "block": span.block, "kind": span.kind, "where": span.where, "begin_ms": span.begin_us / 1000, "end_ms": span.end_us / 1000,
                        "failure": span.failure or None,
                        "notes": span.notes,
                    }
                    for span in spans_of(events, until_us)
                ],
            }
        )  # fmt: skip
    return {
        "url": url,
        "trace_id": report.trace_id.hex(),
        "version": report.version or None,
        "size": report.size,
        "block_size": report.block_bytes,
        "first_block": report.first_block,
        "blocks": report.block_count,
        "took_ms": report.took_us / 1000,
        "asked_ms": asked_ms,
        "failure": {"code": report.failure_code, "message": report.failure} if report.failure_code else None,
        "hosts": hosts,
    }


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}
