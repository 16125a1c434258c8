"""``cashy evict``: drops objects from memory before their turn comes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from aviary.cashy.v1.operate_pb2 import EvictReport
    from cashy.cli.warming import Outcome

__all__ = ["EXIT_SOME_FAILED", "EvictTotals", "evict_command"]

#: Some objects, or some hosts, are not known to be done; the others are.
EXIT_SOME_FAILED = 3

#: Names in one question: an object that is not known has to be looked up at its origin first, and an answer is to come within a minute.
_NAMES_PER_QUESTION = 100

#: For one question: the other hosts have half a minute, and a hundred look-ups may come before.
_ANSWER_TIMEOUT_S = 300.0


@click.command(name="evict")
@click.argument("urls", nargs=-1, metavar="[URL]...")
@click.option(
    "--from", "--list", "lists", multiple=True, metavar="FILE", type=click.File("r", encoding="utf-8"),
    help="Names too, one on each line, taken literally; - is standard input. May be given again.",
)  # fmt: skip
@click.option("--cluster", is_flag=True, help="From every host of the cluster, not from this one alone.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Everything that is in memory, and nothing on an SSD; asks whether that is meant.",
)
@click.option("--yes", is_flag=True, help="With --all: do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (sizes in bytes).")
@click.option("--socket", "socket_path", metavar="PATH", help="The master's socket. [default: $CASHY_SOCKET]")
def evict_command(
    urls: tuple[str, ...], lists: tuple[TextIO, ...], cluster: bool, everything: bool, yes: bool, as_json: bool, socket_path: str | None
) -> int:  # fmt: skip
    """Drop the objects URL... (s3://BUCKET/KEY or file:///PATH), metadata and blocks, from this host's memory and SSD.

    In a URL, `*` and `?` stand for characters but `/`, `**` for any, `[...]` for one of a set; one that ends in `/` means all below it. Quote
    them. Names of a list are literal. The next reader gets what the origin has then. Bytes that somebody holds a view of stay for them, and
    take up room until they let go; how many is said. What is pinned stays: `cashy unpin` comes first.

    Only root, the daemon's own user and members of the group in `instance.operators` may evict: others have to bear what it does.

    Exit code 0: done. 3: some objects could not be looked up, or some hosts did not answer; each is named on standard error. 1: nothing was done.

    Example: cashy evict --cluster 's3://research/2023-**'
    """
    import cashy
    from cashy.cli.warming import names_of

    if bool(urls or lists) == everything:
        raise click.UsageError("name what to evict: URL..., --from FILE, or --all for everything")
    if everything and not yes:
        where = "every host of the cluster" if cluster else "this host"
        click.confirm(f"Drop everything from the memory of {where}?", abort=True, err=True)
    totals = EvictTotals()
    with cashy.connect(socket_path, timeout_s=_ANSWER_TIMEOUT_S) as cache:
        if everything:
            totals.add(cache.evict(everything=True, cluster=cluster))
        literal = (line.rstrip("\n") for file in lists for line in file)
        found = names_of(cache, urls, (line for line in literal if line))
        for names in _in_parts(_names_only(found, totals)):
            totals.add(cache.evict(names, cluster=cluster))
    if as_json:
        print(json.dumps(totals.as_dict()))
    else:
        totals.show(is_all=everything)
    return EXIT_SOME_FAILED if totals.has_failures else 0


def _names_only(found: Iterable[str | Outcome], totals: EvictTotals) -> Iterator[str]:
    """The names, each once; what a pattern fails with is noted."""
    seen: set[str] = set()
    for name in found:
        if not isinstance(name, str):
            assert name.error is not None
            totals.failed.append({"url": name.url, "code": name.error.code, "error": name.error.message})
        elif name not in seen:
            seen.add(name)
            yield name


def _in_parts(names: Iterator[str]) -> Iterator[list[str]]:
    while part := list(islice(names, _NAMES_PER_QUESTION)):
        yield part


class EvictTotals:
    """The answers' sum, host by host in the order of the first answer."""

    def __init__(self) -> None:
        self.hosts: dict[str, dict[str, Any]] = {}
        self.failed: list[dict[str, str]] = []

    def add(self, report: EvictReport) -> None:
        """Takes one answer in. A host that failed once is not known to have done all."""
        for host in report.hosts:
            there = self.hosts.setdefault(host.host, {"host": host.host, "error": ""})
            for name in (
                "objects",
                "blocks",
                "bytes",
                "held_blocks",
                "held_bytes",
                "pinned_blocks",
                "ssd_blocks",
                "ssd_bytes",
            ):
                there[name] = there.get(name, 0) + getattr(host, name)
            there["error"] = there["error"] or host.error
        self.failed += [
            {"url": each.name, "code": each.code, "error": each.message} for each in report.failed
        ]

    @property
    def has_failures(self) -> bool:
        """Whether something is not known to be done."""
        return bool(self.failed) or any(host["error"] for host in self.hosts.values())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"hosts": list(self.hosts.values()), "failed": self.failed}

    def show(self, *, is_all: bool) -> None:
        """A line for each host on standard output, failures on standard error."""
        for each in self.failed:
            print(f"cashy: failed: {each['url']}: {' '.join(each['error'].split())}", file=sys.stderr)
        for host in self.hosts.values():
            if host["error"]:
                print(
                    f"cashy: failed: host {host['host']}: {' '.join(host['error'].split())}", file=sys.stderr
                )
            if not host["error"] or host["blocks"] or host["ssd_blocks"]:
                print(_line(host, is_all=is_all))


def _line(host: dict[str, Any], *, is_all: bool) -> str:
    of = "" if is_all else f" of {host['objects']:,} objects"
    parts = [f"{host['host']}: {host['blocks']:,} blocks, {host['bytes']:,} bytes{of} evicted"]
    if host["held_blocks"]:
        parts.append(
            f"{host['held_blocks']:,} of them ({host['held_bytes']:,} bytes) are in use, and go when their readers let go"
        )
    if host["ssd_blocks"]:
        parts.append(f"{host['ssd_blocks']:,} blocks, {host['ssd_bytes']:,} bytes from its SSD")
    if host["pinned_blocks"]:
        parts.append(f"{host['pinned_blocks']:,} blocks are pinned and stay")
    return "; ".join(parts)
