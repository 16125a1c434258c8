"""The tail with one slow host of three: what readers of a fourth wait while it answers 200 ms late, against while it does not."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.system.slow_relay import SlowRelay, slow_relay

from cashy.core.placement import Member as Home
from cashy.core.placement import Ranking, place_key

from .cluster import Master, Member, started_masters
from .machine import LOAD_CORE, SERVER_CORE, free_ports
from .objects import BUCKET
from .row import Bench, Measurement, Unavailable, alternate

__all__ = ["hedge_p99"]

#: Answers of the slow host come so much later, half of it each way.
SLOW_BY_S = 0.200
OBJECT_BYTES = 64 << 10
MEMORY = "256MiB"
#: Reads after the host has become slow (or well) that are timed apart: those in which it is found out.
SETTLING_READS = 100
#: Reads beyond one for each block that the goal allows.
EXTRA_MAX = 0.05
PEERS = ("slow", "one", "two")


@dataclass
class _Floor:
    """The running hosts, and objects that nobody but their homes have."""

    root: Path
    reader: Master
    peers: dict[str, Master]
    relay: SlowRelay
    made: int = 0

    def fresh(self, count: int) -> dict[str, bytes]:
        """Objects of one block each, in the memory of their homes."""
        ranking = Ranking(Home(name) for name in PEERS)
        by_home: dict[str, dict[str, bytes]] = {name: {} for name in PEERS}
        for _ in range(count):
            key = f"object{self.made}"
            self.made += 1
            data = os.urandom(OBJECT_BYTES)
            (self.root / BUCKET / key).write_bytes(data)
            home = ranking.first(place_key("data", f"{BUCKET}/{key}", 0), 1)[0]
            by_home[home][f"file://{self.root}/{BUCKET}/{key}"] = data
        for name, objects in by_home.items():
            with self.peers[name].connect() as cache:
                for url in objects:
                    with cache.read(url):
                        pass
        mixed = [item for objects in by_home.values() for item in objects.items()]
        return dict(sorted(mixed, key=lambda item: item[1][:8]))

    def read(self, objects: dict[str, bytes]) -> list[float]:
        """Through the reader, one after the other; milliseconds of each."""
        took_ms = []
        with self.reader.connect() as cache:
            for url, data in objects.items():
                began = time.perf_counter()
                view = cache.read(url)
                took_ms.append(1000 * (time.perf_counter() - began))
                with view:
                    if bytes(view) != data:
                        raise Unavailable("not a valid measurement: wrong bytes")
        return took_ms


def _members(folder: Path, ports: Sequence[int], relayed: str) -> list[Member]:
    own = dict(zip(PEERS, (f"127.0.0.1:{port}" for port in ports), strict=False))
    peers = [
        Member(name, relayed if name == "slow" else own[name], 1.0, MEMORY, LOAD_CORE, listen=own[name])
        for name in PEERS
    ]
    return [Member("reader", f"127.0.0.1:{ports[-1]}", 0.0, MEMORY, SERVER_CORE), *peers]


def hedge_p99(bench: Bench) -> Measurement:
    """Milliseconds within which 99 of 100 blocks that another host has are read, one host of three being slow, or none."""
    count = bench.scaled(1000, 150)
    root = bench.folder / "origin"
    (root / BUCKET).mkdir(parents=True)
    ports = free_ports(len(PEERS) + 1)
    settling: list[float] = []
    with (
        slow_relay(f"127.0.0.1:{ports[0]}") as relay,
        started_masters(
            bench.folder / "cluster", root, _members(bench.folder, ports, relay.address)
        ) as masters,
    ):
        reader, *peers = masters
        floor = _Floor(root, reader, dict(zip(PEERS, peers, strict=True)), relay)

        def run(delay_s: float) -> float:
            relay.delay(0.0)
            objects = list(floor.fresh(count + SETTLING_READS).items())
            relay.delay(delay_s / 2)
            before = floor.read(dict(objects[:SETTLING_READS]))
            if delay_s:
                settling.extend(before)
            return _p99(floor.read(dict(objects[SETTLING_READS:])))

        measured = alternate(bench, lambda: run(SLOW_BY_S), lambda: run(0.0))
        counters = reader.counters()
    extra = counters.get("hedges", 0) / counters["peer_reads"]
    if extra > EXTRA_MAX:
        raise Unavailable(f"the goal allows {EXTRA_MAX:.0%} extra reads, there were {extra:.1%}")
    measured.notes["extra_reads"] = f"{extra:.2%}"
    measured.notes["second_reads_won"] = counters.get("hedges_won", 0)
    measured.notes["blocks_not_asked_of_the_slow_host"] = counters.get("slow_peers_avoided", 0)
    measured.notes[f"p99_of_the_first_{SETTLING_READS}_reads_ms"] = round(_p99(settling), 1)
    return measured


def _p99(took_ms: Sequence[float]) -> float:
    return sorted(took_ms)[int(0.99 * len(took_ms))]
