"""Hits of the S3 endpoint, signed, and authorised at the store behind, against nginx's proxy_cache (unsigned) and SeaweedFS (signed)."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.system.harness import KEY, SECRET, s3_client

from .generator import CONNECTIONS, REPOSITORY, Generator, ceiling_requests_per_s, generator
from .local_rows import KIB, MIB, started_host
from .machine import LOAD_CORE, cpu_seconds
from .objects import BUCKET, content, make_files
from .peers import Peer, nginx_cache, seaweedfs
from .row import Bench, Measurement, alternate

__all__ = ["sending", "small_against_nginx", "small_against_seaweedfs", "transfer_against_nginx"]

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
    #: Of the workers, if it is ours.
    metrics: list[str] = field(default_factory=list)

    def rights_asked(self) -> int:
        """How often the store was asked whether the caller may read."""
        pages = [urllib.request.urlopen(url).read().decode() for url in self.metrics]
        found = re.findall(r"^cashy_s3_rights_asked_total\S* (\S+)$", "\n".join(pages), re.MULTILINE)
        return round(sum(map(float, found)))

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
def _ours(bench: Bench, digests: dict[str, str], size_bytes: int, memory: str) -> Iterator[Side]:
    """Before a store, which decides who may read what is cached; it is on the load's core, and has nothing to do while it is not asked."""
    folder = bench.folder / "store"
    folder.mkdir()
    with ExitStack() as stack:
        store = stack.enter_context(seaweedfs(folder, core=LOAD_CORE))
        _upload(store, digests, size_bytes)
        origin = f"s3={store.url}"
        host = stack.enter_context(started_host(bench, "host", origin, memory=memory, workers=1))
        load = stack.enter_context(generator())
        address = urlsplit(host.url)
        load.aim(str(address.hostname), address.port or 80, BUCKET, KEY, SECRET)
        load.verify(digests)  # all is cached after this
        yield Side(load, list(digests), host.process.pid, metrics=host.metrics["s3"])


def _upload(store: Peer, digests: dict[str, str], size_bytes: int) -> None:
    client = s3_client(store.url)
    for key in digests:
        client.put_object(Bucket=BUCKET, Key=key, Body=content(key, size_bytes))
    client.close()


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
        ours = stack.enter_context(_ours(bench, digests, SMALL_BYTES, memory))
        theirs = stack.enter_context(contextmanager(started)(digests))
        measured = alternate(bench, lambda: ours.requests_per_s(count), lambda: theirs.requests_per_s(count))
        measured.notes["rights_asked_at_the_store"] = ours.rights_asked()
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
            _upload(peer, digests, SMALL_BYTES)
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
            _ours(bench, digests, size_bytes, "768MiB") as ours,
            nginx_cache(bench.folder / "nginx", bench.folder / "origin") as peer,
            _theirs(peer, digests, signed=False) as theirs,
        ):
            measured = alternate(
                bench,
                lambda: ours.megabytes_per_cpu_s(count, connections),
                lambda: theirs.megabytes_per_cpu_s(count, connections),
            )
            measured.notes["rights_asked_at_the_store"] = ours.rights_asked()
            return measured

    return run


def sending(bench: Bench) -> Measurement:
    """Bytes (10^6) per CPU-second of a sender of blocks of shared memory: written, as here, against ``sendfile``."""
    total_bytes = bench.scaled(4 << 30, 64 * MIB)

    def sent(way: str) -> float:
        command = [sys.executable, "-m", "tests.bench.sending", way, str(total_bytes)]
        done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
        return total_bytes / 1e6 / max(float(done.stdout), 1e-9)

    return alternate(bench, lambda: sent("write"), lambda: sent("sendfile"))
