"""Cold reads through the S3 endpoint against the same reads from the store itself.

The store is SeaweedFS in a network namespace behind a link of 1 Gbit/s and 5 ms (round trip), so that the link and not the shared cores of
one machine is what limits both. It needs root; see ``link.py``. The store and the load share
a core in both cases, cashy has the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from tests.system.harness import KEY, SECRET, s3_client

from .generator import Generator, generator
from .link import shaped_link
from .local_rows import MIB, started_host
from .machine import LOAD_CORE, cpu_seconds
from .objects import BUCKET, content, digest_of
from .peers import Peer, seaweedfs
from .row import Bench, Measurement, alternate

__all__ = ["cold_cpu", "cold_transfer", "first_byte"]

#: There before every measurement, so that connections are open on both sides.
WARM_KEY = "first"


class _Reader:
    """One contestant: reads keys nobody has read through it, one after the other, and checks their bytes."""

    def __init__(self, load: Generator, digests: dict[str, str], pid: int) -> None:
        self._load = load
        self._digests = digests
        self._keys = iter(digests)
        self._pid = pid

    def _next(self) -> dict[str, float]:
        key = next(self._keys)
        found = self._load.fetch([key], warm_key=WARM_KEY)[0]
        assert found["digest"] == self._digests[key], "wrong bytes"
        return found

    def first_byte_ms(self) -> float:
        return self._next()["first_s"] * 1000

    def megabytes_per_s(self) -> float:
        found = self._next()
        return found["bytes"] / 1e6 / found["total_s"]

    def cpu_s_per_gigabyte(self) -> float:
        before = cpu_seconds(self._pid)
        found = self._next()
        return (cpu_seconds(self._pid) - before) / (found["bytes"] / 1e9)


def _upload(store: Peer, count: int, size_bytes: int) -> dict[str, str]:
    client = s3_client(store.url)
    digests = {}
    for number in range(count):
        data = content(f"cold{number}", size_bytes)
        client.put_object(Bucket=BUCKET, Key=f"cold{number}", Body=data)
        digests[f"cold{number}"] = digest_of(data)
    return digests


@contextmanager
def _contestants(
    bench: Bench,
    size_bytes: int,
    *,
    host: str = "127.0.0.1",
    prefix: Sequence[str] = (),
) -> Iterator[tuple[_Reader, _Reader]]:
    folder = bench.folder / "weed"
    folder.mkdir()
    with ExitStack() as stack:
        store = stack.enter_context(seaweedfs(folder, host=host, prefix=prefix, core=LOAD_CORE))
        digests = _upload(store, bench.runs + 1, size_bytes)
        cashy = stack.enter_context(
            started_host(
                bench, "host", f"s3={store.url}", memory="128MiB" if bench.quick else "768MiB", workers=1
            )
        )
        ours, theirs = stack.enter_context(generator()), stack.enter_context(generator())
        address = urlsplit(cashy.url)
        ours.aim(str(address.hostname), address.port or 80, BUCKET, KEY, SECRET)
        theirs.aim(store.host, store.port, BUCKET, KEY, SECRET)
        yield _Reader(ours, digests, cashy.process.pid), _Reader(theirs, digests, store.pid)


def first_byte(bench: Bench) -> Measurement:
    """Milliseconds from a request on an open connection to the first byte of a 64 MiB object."""
    with shaped_link() as link:
        size = bench.scaled(64, 8) * MIB
        with _contestants(bench, size, host=link.address, prefix=link.prefix) as (ours, theirs):
            measured = alternate(bench, ours.first_byte_ms, theirs.first_byte_ms)
            measured.notes["link"] = link.kind
            return measured


def cold_transfer(bench: Bench) -> Measurement:
    """Megabytes (10^6) per second of a whole cold object of 256 MiB."""
    with shaped_link() as link:
        size = bench.scaled(256, 16) * MIB
        with _contestants(bench, size, host=link.address, prefix=link.prefix) as (ours, theirs):
            measured = alternate(bench, ours.megabytes_per_s, theirs.megabytes_per_s)
            measured.notes["link"] = link.kind
            return measured


def cold_cpu(bench: Bench) -> Measurement:
    """CPU-seconds of all processes of cashy per gigabyte that it fetched and served, over loopback."""
    with _contestants(bench, bench.scaled(256, 16) * MIB) as (ours, theirs):
        return alternate(bench, ours.cpu_s_per_gigabyte, theirs.cpu_s_per_gigabyte)
