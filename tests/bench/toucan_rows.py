"""toucan over gRPC: one client, sixteen clients, fifty watchers, a thousand streams; against an empty handler on the same kind of server."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from toucan.core.requests import Cancel

from .generator import Commanded, commanded_process
from .machine import LOAD_CORE, cpu_seconds, move_to_core, pinned
from .row import Bench, Measurement, Unavailable, against_limit, alternate
from .toucan_host import Toucan, disk_folder, journal_bytes_per_order, started_toucan
from .toucan_peer import Peer, started_peer
from .toucan_ring import PATIENCE_S, RingClient, ring_client

__all__ = ["cancel_under_streams", "submit_p50", "submit_p50_raw", "submit_rate", "watch_cpu", "web_latency"]

CLIENTS = 16
STREAMS = 1000
#: A hundred windows with ten streams each.
STREAM_CONNECTIONS = 100
WATCHERS = 50
UPDATES_PER_S = 200
#: An order that is entered, acknowledged, cancelled and confirmed.
UPDATES_PER_ORDER = 4
CORE_LIMIT = 0.4
#: Between two calls of which each shall be seen by itself, as those of a person.
PAUSE_S = 0.005


class OrderLoad(Commanded):
    """The load process (:mod:`tests.bench.toucan_load`)."""

    def submit_p50_us(self, target: str, count: int, *, pause_s: float = 0.0) -> float:
        """Of single calls by one client, each sent when the one before is answered and the pause is over."""
        return float(self._ask(do="submits", target=target, count=count, pause_s=pause_s)["p50_us"])

    def cancel_p50_us(self, target: str, count: int) -> float:
        """Of single calls by one client."""
        return float(self._ask(do="cancels", target=target, count=count, pause_s=PAUSE_S)["p50_us"])

    def web_submit_p50_us(self, target: str, count: int) -> float:
        """The same as :meth:`submit_p50_us`, in JSON over one connection to a gateway."""
        return float(self._ask(do="web_submits", target=target, count=count)["p50_us"])

    def submits_per_s(self, target: str, count: int) -> float:
        """Of sixteen clients."""
        answer = self._ask(do="rate", target=target, clients=CLIENTS, count=count)
        return float(answer["count"] / answer["seconds"])


class Watchers(Commanded):
    """The process with the streams (:mod:`tests.bench.toucan_watchers`)."""

    def open(self, target: str, streams: int, connections: int, *, is_kept: bool = True) -> None:
        """Opens streams; each has begun when this returns."""
        self._ask(do="open", target=target, streams=streams, connections=connections, is_kept=is_kept)

    def count(self) -> dict[str, Any]:
        """least, most (updates of one watcher) and messages (of all)."""
        return self._ask(do="count")

    def close(self) -> int:
        """Closes all; gives the messages that came."""
        return int(self._ask(do="close")["messages"])


@contextmanager
def _order_load() -> Iterator[OrderLoad]:
    with commanded_process("toucan_load") as process:
        yield OrderLoad(process)


# --- one client ---


def submit_p50(bench: Bench) -> Measurement:
    """SubmitOrder, one client with a real stub, against an empty handler that writes and syncs the same number of bytes.

    Bytes are those of one order's record in the journal; the peer's file lies beside the journal and has its full size before.
    """
    with disk_folder() as folder, started_toucan(folder / "data") as toucan:
        size_bytes = journal_bytes_per_order(toucan.engine)
        with started_peer((folder / "synced", size_bytes)) as peer:
            measured = _p50(bench, toucan, peer)
    measured.notes["bytes_synced_per_order"] = size_bytes
    return measured


def submit_p50_raw(bench: Bench) -> Measurement:
    """The same against an empty handler that syncs nothing."""
    with disk_folder() as folder, started_toucan(folder / "data") as toucan, started_peer() as peer:
        return _p50(bench, toucan, peer)


def _p50(bench: Bench, toucan: Toucan, peer: Peer) -> Measurement:
    """Calls back to back are the row. What it is when the exchange has answered to one order before the next is sent stands beside it."""
    count, paced = bench.scaled(1000, 100), bench.scaled(200, 50)
    with _order_load() as load:

        def ours(calls: int, pause_s: float) -> float:
            return _then_cancelled(toucan, lambda: load.submit_p50_us(toucan.address, calls, pause_s=pause_s))

        def theirs(calls: int, pause_s: float) -> float:
            return load.submit_p50_us(peer.address, calls, pause_s=pause_s)

        measured = alternate(bench, lambda: ours(count, 0), lambda: theirs(count, 0))
        apart = alternate(bench, lambda: ours(paced, PAUSE_S), lambda: theirs(paced, PAUSE_S), warm_ups=0)
    ours_us, peer_us = statistics.median(apart.ours), statistics.median(apart.peer)
    measured.notes |= {
        "ours_with_a_pause_between_calls": round(ours_us),
        "peer_with_a_pause_between_calls": round(peer_us),
        "ratio_with_a_pause_between_calls": round(ours_us / peer_us, 2),
    }
    return measured


def web_latency(bench: Bench) -> Measurement:
    """SubmitOrder in JSON over HTTP by the gateway, one client, against the same order by gRPC; calls back to back.

    Gateway, gRPC front end and engine run on the server's core, so both front ends follow every order, whoever took it. A browser's own part is in
    neither figure: the client is Python's ``http.client`` with a JSON text, as gRPC's is a Python stub with a message.
    """
    count = bench.scaled(1000, 100)
    with (
        disk_folder() as folder,
        started_toucan(folder / "data", "--web", "127.0.0.1:0") as toucan,
        _order_load() as load,
    ):

        def ours() -> float:
            return _then_cancelled(toucan, lambda: load.web_submit_p50_us(toucan.web, count))

        def theirs() -> float:
            return _then_cancelled(toucan, lambda: load.submit_p50_us(toucan.address, count))

        return alternate(bench, ours, theirs)


def _then_cancelled(toucan: Toucan, measure: Callable[[], float]) -> float:
    """Measures, and takes the orders away again, so that every run finds an empty book. Meanwhile the engine has one front end, as it is run."""
    measured = measure()
    with ring_client(toucan.engine.socket) as ring:
        ring.cancel_all()
    return measured


# --- many clients ---


def submit_rate(bench: Bench) -> Measurement:
    """SubmitOrder per second of sixteen clients, one call each under way, against an empty handler that syncs nothing.

    Front end and engine share one core. What it is with the engine on the load's core, as on a host that has cores to spare, stands beside it.
    """
    count = bench.scaled(4000, 320)
    cpu: dict[str, list[float]] = {"server": [], "engine": [], "peer": []}
    with (
        disk_folder() as folder,
        started_toucan(folder / "data") as toucan,
        started_peer() as peer,
        _order_load() as load,
    ):

        def of(target: str, pids: dict[str, int]) -> float:
            before = {name: cpu_seconds(pid) for name, pid in pids.items()}
            rate = load.submits_per_s(target, count)
            for name, pid in pids.items():
                cpu[name].append((cpu_seconds(pid) - before[name]) / count * 1e6)
            return rate

        def ours() -> float:
            pids = {"server": toucan.server_pid, "engine": toucan.engine.pid}
            return _then_cancelled(toucan, lambda: of(toucan.address, pids))

        measured = alternate(bench, ours, lambda: of(peer.address, {"peer": peer.pid}))
        for name, values in cpu.items():
            measured.notes[f"{name}_cpu_us_per_order"] = round(statistics.median(values[1:]))
        move_to_core(toucan.engine.pid, LOAD_CORE)
        apart = statistics.median(ours() for _ in range(bench.runs))
    measured.notes["ours_with_the_engine_on_the_other_core"] = round(apart)
    return measured


# --- streams ---


def watch_cpu(bench: Bench) -> Measurement:
    """Share of a core of the front end's process while fifty watchers are told of 200 updates a second each.

    The orders come in by another front end, so that no request is in the figure. Every watcher is told of every update, each once and in order.
    """
    orders = bench.scaled(250, 25)
    found: list[float] = []
    messages: list[float] = []
    with (
        disk_folder() as folder,
        started_toucan(folder / "data") as toucan,
        commanded_process("toucan_watchers") as process,
    ):
        watchers = Watchers(process)
        watchers.open(toucan.address, WATCHERS, WATCHERS)
        with ring_client(toucan.engine.socket) as ring, pinned(LOAD_CORE):
            before = watchers.count()
            for _ in range(bench.runs + 1):
                cpu_before, began = cpu_seconds(toucan.server_pid), time.perf_counter()
                _paced_orders(ring, orders)
                elapsed = time.perf_counter() - began
                found.append((cpu_seconds(toucan.server_pid) - cpu_before) / elapsed)
                after = _told(watchers, before["least"] + UPDATES_PER_ORDER * orders)
                messages.append((after["messages"] - before["messages"]) / elapsed)
                before = after
    return against_limit(found[1:], CORE_LIMIT, messages_per_s=round(statistics.median(messages[1:])))


def _paced_orders(ring: RingClient, count: int) -> None:
    """Orders that are entered and cancelled again, as many as make the updates."""
    interval_s = UPDATES_PER_ORDER / UPDATES_PER_S
    began = time.perf_counter()
    for number in range(count):
        order_id = ring.submit(number)
        time.sleep(max(0.0, began + (number + 0.5) * interval_s - time.perf_counter()))
        ring.ask(Cancel(order_id))
        time.sleep(max(0.0, began + (number + 1) * interval_s - time.perf_counter()))


def _told(watchers: Watchers, updates: int) -> dict[str, Any]:
    """Waits until every watcher was told of exactly so many updates."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        counted = watchers.count()
        if counted["least"] == counted["most"] == updates:
            return counted
        if counted["most"] > updates or time.monotonic() > deadline:
            raise Unavailable(f"watchers were told of {counted}, and there were {updates} updates")
        time.sleep(0.05)


def cancel_under_streams(bench: Bench) -> Measurement:
    """CancelOrder, one client, with a thousand open streams that are told of everything, against none."""
    count = bench.scaled(300, 50)
    streams = bench.scaled(STREAMS, 100)
    messages: list[int] = []
    with (
        disk_folder() as folder,
        started_toucan(folder / "data") as toucan,
        commanded_process("toucan_watchers") as process,
    ):
        watchers = Watchers(process)
        with _order_load() as load:

            def without() -> float:
                return load.cancel_p50_us(toucan.address, count)

            def ours() -> float:
                watchers.open(toucan.address, streams, min(streams, STREAM_CONNECTIONS), is_kept=False)
                measured = without()
                messages.append(watchers.close())
                return measured

            measured = alternate(bench, ours, without)
    measured.notes["messages_to_streams_per_run"] = round(statistics.median(messages))
    return measured
