"""Bytes from host to host: what three shaped links carry into one host, and what a byte costs the two that it goes between."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .cluster import Master, Member, started_masters
from .generator import REPOSITORY
from .link import GIGABIT, Star, shaped_star
from .local_rows import MIB
from .machine import LOAD_CORE, SERVER_CORE, cpu_seconds, free_ports, stopped_in_the_end
from .objects import BUCKET, digest_of, make_file, make_files
from .peers import nginx_files
from .row import Bench, Measurement, Unavailable, alternate

__all__ = ["bytes_per_cpu", "fanout", "tls_cpu"]

BLOCK_BYTES = 4 * MIB

#: The links of ``fanout_links``: as many as peers, each with this rate and round trip.
PEERS = 3
RATE_BITS_PER_S = GIGABIT
ROUND_TRIP_S = 0.010
PORT = 7400

#: Room for an object of a GiB held whole by one client, and for what earlier runs have left.
READER_MEMORY = "2560MiB"
PEER_MEMORY = "1536MiB"
_LIMITS = "client_pin_fraction = 0.9"
#: Blocks of one read under way at most, W: their homes are random, so that three links are used W / (W + 2) of the time. The row is what the
#: default settings reach; beside it stands what this many do.
WIDEST_WINDOW_BLOCKS = 64
#: Reads with the widest window: enough for a median.
WIDEST_READS = 3
#: Reads until the reader's whole arena has been written once: until then the kernel maps every page as it is touched.
FIRST_TOUCH_READS = 3


def _wrong(what: str) -> Unavailable:
    return Unavailable(f"not a valid measurement: {what}")


class _Objects:
    """Fresh objects of one size, each in its homes' memory and not yet in the reader's."""

    def __init__(
        self, root: Path, size_bytes: int, reader: Master, peers: Sequence[Master], **others: int
    ) -> None:
        self._root = root
        self._size_bytes = size_bytes
        self._reader = reader
        self._peers = peers
        self._made = 0
        self._processes = {master.name: master.pid for master in (reader, *peers)} | others
        #: CPU-seconds of the masters and of ``others`` in each read, by name.
        self.cpu_s: list[dict[str, float]] = []

    def read_next(self) -> float:
        """Reads one through the reader; returns the seconds. Whatever else than all of it from peers and right raises ``Unavailable``."""
        key = f"object{self._made}"
        digest = make_file(self._root, key, self._size_bytes)
        url = f"file://{self._root}/{BUCKET}/{key}"
        self._warm(url)
        before = self._counters()
        seconds = self._timed_read(url, digest)
        self._check(before, self._counters())
        (self._root / BUCKET / key).unlink()
        self._made += 1
        return seconds

    def _warm(self, url: str) -> None:
        """Into the homes' memory, by a read through one of them."""
        with self._peers[self._made % len(self._peers)].connect() as cache, cache.open(url) as opened:
            for block in opened.blocks():
                block.release()

    def _timed_read(self, url: str, digest: str) -> float:
        with self._reader.connect() as cache:
            before = self._spent()
            started = time.perf_counter()
            view = cache.read(url)
            seconds = time.perf_counter() - started
            self.cpu_s.append({name: spent - before[name] for name, spent in self._spent().items()})
            with view:
                if digest_of(view) != digest:
                    raise _wrong("wrong bytes")
        return seconds

    def _spent(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._processes.items()}

    def _counters(self) -> dict[str, int]:
        counters = self._reader.counters()
        found = {
            name: counters.get(name, 0)
            for name in ("blocks_from_peer", "bytes_from_peer", "peer_reads_failed")
        }
        everybody = [counters, *(peer.counters() for peer in self._peers)]
        return found | {"origin_reads_of_all": sum(each.get("origin_reads", 0) for each in everybody)}

    def _check(self, before: dict[str, int], after: dict[str, int]) -> None:
        blocks = -(-self._size_bytes // BLOCK_BYTES)
        found = {name: after[name] - before[name] for name in after}
        due = {"blocks_from_peer": blocks, "bytes_from_peer": self._size_bytes}
        if found != dict.fromkeys(found, 0) | due:
            raise _wrong(f"the masters count {found}, {due} was due")


# --- fanout_links ---


def _star_members(star: Star) -> list[Member]:
    """The reader in the middle, home to nothing, and a peer at the end of each link."""
    peers = [
        Member(f"peer{number}", f"{leaf.address}:{PORT}", 1.0, PEER_MEMORY, LOAD_CORE, leaf.prefix)
        for number, leaf in enumerate(star.leaves)
    ]
    return [Member("reader", f"{star.address}:{PORT}", 0.0, READER_MEMORY, SERVER_CORE, star.prefix), *peers]


@contextmanager
def _star_objects(
    bench: Bench, name: str, root: Path, star: Star, size_bytes: int, limits: str
) -> Iterator[_Objects]:
    """Objects read over the star by masters with these limits."""
    with started_masters(bench.folder / name, root, _star_members(star), limits=limits) as (reader, *peers):
        others = {"relay": star.relay_pid} if star.relay_pid else {}
        yield _Objects(root, size_bytes, reader, peers, **others)


def fanout(bench: Bench) -> Measurement:
    """Megabytes (10^6) per second of a cold object, from the call to the view of all its bytes, against the sum of the links."""
    size_bytes = bench.scaled(1024, 64) * MIB
    megabytes = size_bytes / 1e6
    root = bench.folder / "origin"
    root.mkdir()
    with shaped_star(PEERS, RATE_BITS_PER_S, ROUND_TRIP_S) as star:
        seconds: list[float] = []
        with _star_objects(bench, "default", root, star, size_bytes, _LIMITS) as objects:

            def ours() -> float:
                seconds.append(objects.read_next())
                return megabytes / seconds[-1]

            limit = PEERS * RATE_BITS_PER_S / 8e6
            measured = alternate(bench, ours, lambda: limit)
        wide = f"{_LIMITS}\nfetch_window_blocks = {WIDEST_WINDOW_BLOCKS}"
        with _star_objects(bench, "widest", root, star, size_bytes, wide) as widest:
            rates = [megabytes / widest.read_next() for _ in range(1 + min(bench.runs, WIDEST_READS))]
    measured.notes["link"] = star.kind
    measured.notes[f"megabytes_per_s_with_{WIDEST_WINDOW_BLOCKS}_under_way"] = round(
        statistics.median(rates[1:])
    )
    measured.notes["blocks"] = (
        f"{size_bytes // BLOCK_BYTES} of 4 MiB, at random homes; the fullest link decides"
    )
    for name in objects.cpu_s[0]:
        shares = [cpu_s[name] / took for cpu_s, took in zip(objects.cpu_s, seconds, strict=True)]
        measured.notes[f"core_used_{name}"] = round(statistics.median(shares[1:]), 2)
    return measured


# --- peer_bytes_per_cpu ---


class _RawReceiver:
    """A program that receives nginx's files and does nothing else, with the CPU that both take."""

    def __init__(self, stack: ExitStack, port: int, pid: int, keys: Sequence[str]) -> None:
        command = [sys.executable, "-m", "tests.bench.raw_receiver", str(LOAD_CORE), str(port)]
        self._process = subprocess.Popen(
            [*command, str(BLOCK_BYTES), str(len(keys) * BLOCK_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        stack.enter_context(stopped_in_the_end(self._process))
        self._server_pid = pid
        self._keys = keys
        #: CPU-seconds of server and receiver in each run.
        self.cpu_s: list[tuple[float, float]] = []

    def run(self) -> float:
        """Receives all files once; returns megabytes per CPU-second of both sides."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        server, receiver = cpu_seconds(self._server_pid), cpu_seconds(self._process.pid)
        self._process.stdin.write(" ".join(f"/{BUCKET}/{key}" for key in self._keys).encode() + b"\n")
        self._process.stdin.flush()
        received = int(self._process.stdout.readline() or 0)
        spent = cpu_seconds(self._server_pid) - server, cpu_seconds(self._process.pid) - receiver
        if received != len(self._keys) * BLOCK_BYTES:
            raise _wrong(f"{received} bytes were received of {len(self._keys)} files")
        self.cpu_s.append(spent)
        return received / 1e6 / sum(spent)


@contextmanager
def _two_hosts(
    bench: Bench,
    size_bytes: int,
    name: str = "cluster",
    memory: tuple[str, str] = (READER_MEMORY, PEER_MEMORY),
    *,
    is_secured: bool = False,
) -> Iterator[_Objects]:
    """A sender that is home to everything, a reader that is home to nothing, on loopback."""
    root = bench.folder / f"origin-{name}"
    root.mkdir()
    ports = free_ports(2)
    members = [
        Member(f"reader-{name}", f"127.0.0.1:{ports[0]}", 0.0, memory[0], LOAD_CORE),
        Member(f"sender-{name}", f"127.0.0.1:{ports[1]}", 1.0, memory[1], SERVER_CORE),
    ]
    with started_masters(bench.folder / name, root, members, limits=_LIMITS, is_secured=is_secured) as (
        reader,
        sender,
    ):
        yield _Objects(root, size_bytes, reader, [sender])


def bytes_per_cpu(bench: Bench) -> Measurement:
    """Megabytes (10^6) per CPU-second of sender and receiver together: a peer's warm blocks into the arena, or nginx's files into a buffer."""
    count = bench.scaled(256, 16)
    size_bytes = count * BLOCK_BYTES
    files = list(make_files(bench.folder / "files", count, BLOCK_BYTES))
    with ExitStack() as stack:
        objects = stack.enter_context(_two_hosts(bench, size_bytes))
        nginx = stack.enter_context(nginx_files(bench.folder / "nginx", bench.folder / "files"))
        raw = _RawReceiver(stack, nginx.port, nginx.pid, files)

        def ours() -> float:
            objects.read_next()
            return size_bytes / 1e6 / sum(objects.cpu_s[-1].values())

        measured = alternate(bench, ours, raw.run, warm_ups=FIRST_TOUCH_READS)
    megabytes = size_bytes / 1e6

    def per_cpu_s(cpu_s: list[float]) -> int:
        return round(megabytes / max(statistics.median(cpu_s[FIRST_TOUCH_READS:]), 1e-9))

    measured.notes["sender_alone_ours"] = per_cpu_s([each["sender-cluster"] for each in objects.cpu_s])
    measured.notes["sender_alone_nginx"] = per_cpu_s([server for server, _ in raw.cpu_s])
    measured.notes["receiver_alone_ours"] = per_cpu_s([each["reader-cluster"] for each in objects.cpu_s])
    measured.notes["both_ours_into_memory_never_touched"] = round(megabytes / sum(objects.cpu_s[0].values()))
    measured.notes["receiver_alone_raw"] = per_cpu_s([receiver for _, receiver in raw.cpu_s])
    return measured


# --- peer_tls_cpu ---

#: Of reader and sender: two clusters stand side by side.
_TLS_MEMORY = ("768MiB", "512MiB")


def tls_cpu(bench: Bench) -> Measurement:
    """Megabytes (10^6) per CPU-second of sender and receiver together, with certificates and encrypted, against the same without."""
    size_bytes = bench.scaled(64, 16) * BLOCK_BYTES
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(
                _two_hosts(bench, size_bytes, name, _TLS_MEMORY, is_secured=name == "tls")
            )
            for name in ("tls", "plain")
        }

        def measure(name: str) -> float:
            sides[name].read_next()
            return size_bytes / 1e6 / sum(sides[name].cpu_s[-1].values())

        measured = alternate(
            bench, lambda: measure("tls"), lambda: measure("plain"), warm_ups=FIRST_TOUCH_READS
        )
    for name, objects in sides.items():
        for host in ("sender", "reader"):
            spent = [each[f"{host}-{name}"] for each in objects.cpu_s[FIRST_TOUCH_READS:]]
            measured.notes[f"{host}_alone_{name}"] = round(
                size_bytes / 1e6 / max(statistics.median(spent), 1e-9)
            )
    return measured
