"""toucan's engine by itself: orders through its rings into its journal, and how fast it is back after a restart."""

from __future__ import annotations

import gc
import time

import msgspec

from toucan.core.requests import Reply
from toucan.engine.recovery import recover

from .machine import LOAD_CORE, SERVER_CORE, cpu_seconds, pinned, process_tree, wait_for
from .row import Bench, Measurement, Unavailable, against_limit
from .toucan_host import Engine, disk_folder, started_engine
from .toucan_ring import RingClient, order_id_of, ring_client

__all__ = ["engine_rate", "replay_rate"]

ORDERS_PER_S_LIMIT = 20_000.0
EVENTS_PER_S_LIMIT = 100_000.0
#: Requests under way at a time: some full turns of the loop, and less than the ring holds.
WINDOW = 2048
SESSIONS = 16
#: Of an order that is accepted, answered, and acknowledged by the venue.
EVENTS_PER_ORDER = 3
_decode = msgspec.msgpack.Decoder(Reply).decode


def engine_rate(bench: Bench) -> Measurement:
    """Orders per second: sent through the ring, checked, journalled, answered, sent to the exchange, and its acknowledgement journalled as well.

    The clock runs from the first request to when the last acknowledgement is durable and told. Orders rest, so the exchange's part is small; it and
    the load share the other core. Between the runs all orders are cancelled, and the snapshot is waited for that the engine has another process make:
    here it would have the same core, which no host of more than two cores does to it.
    """
    count = bench.scaled(10_000, 500)
    found: list[float] = []
    cpu_us: list[float] = []
    with (
        disk_folder() as folder,
        started_engine(folder) as engine,
        ring_client(engine.socket) as ring,
        pinned(LOAD_CORE),
    ):
        for _ in range(bench.runs + 1):
            seconds, cpu_s = _orders(engine, ring, count)
            found.append(count / seconds)
            cpu_us.append(cpu_s / count * 1e6)
            ring.cancel_all()
            wait_for(lambda: len(process_tree(engine.pid)) == 1, "the engine's snapshot")
    notes = {
        "engine_cpu_us_per_order": round(min(cpu_us[1:]), 1),
        "core_used_by_engine": round(
            max(cpu * rate for cpu, rate in zip(cpu_us[1:], found[1:], strict=True)) / 1e6, 2
        ),
    }
    return against_limit(found[1:], ORDERS_PER_S_LIMIT, **notes)


def _orders(engine: Engine, ring: RingClient, count: int) -> tuple[float, float]:
    """Seconds, and CPU-seconds of the engine, for so many orders; each was accepted, and none twice."""
    requests = ring.prepare(count, SESSIONS)
    ring.await_seq(ring.ask_seq())
    first_seq, cpu_before = ring.seq, cpu_seconds(engine.pid)
    gc.collect()
    began = time.perf_counter()
    answers = ring.pipeline(requests, WINDOW)
    ring.await_seq(first_seq + EVENTS_PER_ORDER * count)
    seconds = time.perf_counter() - began
    cpu_s = cpu_seconds(engine.pid) - cpu_before
    if len({order_id_of(_decode(answer).outcome) for answer in answers}) != count:
        raise Unavailable("two orders have the same id")
    return seconds, cpu_s


def replay_rate(bench: Bench) -> Measurement:
    """Events per second from the journal's files to the state, as at every start: read, verified, decoded, applied; without a snapshot.

    There are as many as can come to be before a snapshot is made: orders that were accepted, acknowledged, cancelled, and confirmed.
    """
    count = bench.scaled(9_000, 300)
    found: list[float] = []
    digests: set[str] = set()
    with disk_folder() as folder:
        with started_engine(folder) as engine, ring_client(engine.socket) as ring, pinned(LOAD_CORE):
            _orders(engine, ring, count)
            ring.cancel_all()
            seq = ring.ask_seq()
            ring.await_seq(seq)
        with pinned(SERVER_CORE):
            for _ in range(bench.runs + 1):
                gc.collect()
                began = time.perf_counter()
                state, follower = recover(engine.data, seq)
                found.append(seq / (time.perf_counter() - began))
                follower.close()
                if state.seq != seq or state.live or len(state.orders) < count:
                    raise Unavailable(
                        f"the replay has {len(state.orders)} orders, {len(state.live)} of them live"
                    )
                digests.add(state.digest())
                del state
    if len(digests) != 1:
        raise Unavailable("two replays gave two states")
    return against_limit(found[1:], EVENTS_PER_S_LIMIT, events=seq)
