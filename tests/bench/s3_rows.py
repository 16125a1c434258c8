"""Hits of the S3 endpoint, signed and authorised, against nginx's proxy_cache (unsigned) and SeaweedFS (signed)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.system.harness import KEY, SECRET, s3_client

from .generator import CONNECTIONS, Generator, ceiling_requests_per_s, generator
from .local_rows import KIB, MIB, started_host
from .machine import cpu_seconds
from .objects import BUCKET, content, make_files
from .peers import Peer, nginx_cache, seaweedfs
from .row import Bench, Measurement, alternate

__all__ = ["small_against_nginx", "small_against_seaweedfs", "transfer_against_nginx"]

SMALL_BYTES = 4 * KIB


@dataclass
class Side:
    """One contestant with the load that is aimed at it."""

    load: Generator
    keys: list[str]
    pid: int

    #: Share of its core that the server used in each run; well below 1 means that the generator was what limited.
    busy: list[float] = field(default_factory=list)
    #: Requests per CPU-second, which other work on the machine hardly changes.
    per_cpu_s: list[float] = field(default_factory=list)

    def requests_per_s(self, count: int) -> float:
        """Requests answered per second, each a different one."""
        self.load.prepare(self.keys, count)
        before = cpu_seconds(self.pid)
        seconds, _ = self.load.run()
        spent = cpu_seconds(self.pid) - before
        self.busy.append(spent / seconds)
        self.per_cpu_s.append(count / max(spent, 1e-9))
        return count / seconds

    def megabytes_per_cpu_s(self, count: int, connections: int) -> float:
        """Body bytes (10^6) per CPU-second of all the server's processes, kernel time included."""
        self.load.prepare(self.keys, count)
        before = cpu_seconds(self.pid)
        _, received = self.load.run(connections=connections, buffer_bytes=MIB)
        return received / 1e6 / max(cpu_seconds(self.pid) - before, 1e-9)


@contextmanager
def _ours(bench: Bench, digests: dict[str, str], memory: str) -> Iterator[Side]:
    root = bench.folder / "origin"
    with started_host(bench, "host", f"file={root}", memory=memory, workers=1) as host, generator() as load:
        address = urlsplit(host.url)
        load.aim(str(address.hostname), address.port or 80, BUCKET, KEY, SECRET)
        load.verify(digests)  # all is cached after this
        yield Side(load, list(digests), host.process.pid)


@contextmanager
def _theirs(peer: Peer, digests: dict[str, str], *, signed: bool) -> Iterator[Side]:
    with generator() as load:
        load.aim(peer.host, peer.port, BUCKET, *((KEY, SECRET) if signed else ()))
        load.verify(digests)
        yield Side(load, list(digests), peer.pid)


def _small(
    bench: Bench, started: Callable[[dict[str, str]], Iterator[Side]], memory: str = "64MiB"
) -> Measurement:
    digests = make_files(bench.folder / "origin", bench.scaled(1000, 50), SMALL_BYTES)
    count = bench.scaled(20_000, 500)
    with ExitStack() as stack:
        ours = stack.enter_context(_ours(bench, digests, memory))
        theirs = stack.enter_context(contextmanager(started)(digests))
        measured = alternate(bench, lambda: ours.requests_per_s(count), lambda: theirs.requests_per_s(count))
    measured.notes["core_used_ours"] = round(statistics.median(ours.busy[1:]), 2)
    measured.notes["core_used_peer"] = round(statistics.median(theirs.busy[1:]), 2)
    measured.notes["requests_per_cpu_s_ours"] = round(statistics.median(ours.per_cpu_s[1:]))
    measured.notes["requests_per_cpu_s_peer"] = round(statistics.median(theirs.per_cpu_s[1:]))
    measured.notes["generator_ceiling_requests_per_s"] = round(ceiling_requests_per_s(count))
    return measured


def small_against_nginx(bench: Bench) -> Measurement:
    """4 KiB objects, requests per second of one core."""

    def started(digests: dict[str, str]) -> Iterator[Side]:
        with (
            nginx_cache(bench.folder / "nginx", bench.folder / "origin") as peer,
            _theirs(peer, digests, signed=False) as side,
        ):
            yield side

    return _small(bench, started)


def small_against_seaweedfs(bench: Bench) -> Measurement:
    """The same against a whole S3 server."""

    def started(digests: dict[str, str]) -> Iterator[Side]:
        folder = bench.folder / "weed"
        folder.mkdir()
        with seaweedfs(folder) as peer:
            client = s3_client(peer.url)
            for key in digests:
                client.put_object(Bucket=BUCKET, Key=key, Body=content(key, SMALL_BYTES))
            with _theirs(peer, digests, signed=True) as side:
                yield side

    return _small(bench, started)


def transfer_against_nginx(size_bytes: int, connections: int = CONNECTIONS) -> Callable[[Bench], Measurement]:
    """Bytes per CPU-second of the server for objects of this size."""

    def run(bench: Bench) -> Measurement:
        objects = max(2, min(256, 256 * MIB // size_bytes))
        digests = make_files(bench.folder / "origin", bench.scaled(objects, 2), size_bytes)
        count = max(connections, bench.scaled(4 << 30, 64 * MIB) // size_bytes)
        with (
            _ours(bench, digests, "768MiB") as ours,
            nginx_cache(bench.folder / "nginx", bench.folder / "origin") as peer,
            _theirs(peer, digests, signed=False) as theirs,
        ):
            return alternate(
                bench,
                lambda: ours.megabytes_per_cpu_s(count, connections),
                lambda: theirs.megabytes_per_cpu_s(count, connections),
            )

    return run
