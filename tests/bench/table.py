"""The table of rows, and how results are shown and kept."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import (
    cluster_rows,
    cold_rows,
    growth_rows,
    hedge_rows,
    lab_rows,
    local_rows,
    master_rows,
    put_rows,
    restart_rows,
    ring_rows,
    s3_rows,
    toucan_engine_rows,
    toucan_rows,
)
from .local_rows import MIB
from .row import Result, Row

__all__ = ["ROWS", "show", "write_json"]

_NGINX = "nginx proxy_cache, unsigned"

ROWS: tuple[Row, ...] = (
    Row("shm_hit_64k", "us", "open+mmap+touch+close", "lower", 0.5, local_rows.hit_against_files, ours_goal=10.0),
    Row("shm_hit_64k_redis", "us", "redis GET, unix socket", "lower", 0.1, local_rows.hit_against_redis),
    Row("shm_hit_64k_lmdb", "us", "lmdb get", "lower", None, local_rows.hit_against_lmdb),
    Row("view_64m", "ms", "pread + sum", "lower", 0.5, local_rows.view_against_pread),
    Row("s3_hit_4k_nginx", "req/s", _NGINX, "higher", 1.0, s3_rows.small_against_nginx),
    Row("s3_hit_4k_seaweedfs", "req/s", "SeaweedFS S3, signed", "higher", 4.0, s3_rows.small_against_seaweedfs),
    Row("s3_hit_1m_nginx", "MB/CPU-s", _NGINX, "higher", 1.0, s3_rows.transfer_against_nginx(MIB)),
    Row("s3_hit_64m_nginx", "MB/CPU-s", _NGINX, "higher", 1.0, s3_rows.transfer_against_nginx(64 * MIB, 4)),
    Row("s3_send_sendfile", "MB/CPU-s", "sendfile", "higher", None, s3_rows.sending),
    Row("s3_cold_first_byte", "ms", "SeaweedFS, same link", "lower", 1.3, cold_rows.first_byte),
    Row("s3_cold_256m", "MB/s", "SeaweedFS, same link", "higher", 0.9, cold_rows.cold_transfer),
    Row("s3_cold_cpu", "CPU-s/GB", "SeaweedFS directly", "lower", None, cold_rows.cold_cpu),
    Row("s3_put_256m", "MB/s", "SeaweedFS directly", "higher", 0.8, put_rows.upload),
    Row("fanout_links", "MB/s", "sum of the links", "higher", 0.9, cluster_rows.fanout),
    Row("peer_bytes_per_cpu", "MB/CPU-s", "nginx files, raw receiver", "higher", 0.8, cluster_rows.bytes_per_cpu),
    Row("restart_hit_ratio", "of reads", "before the kill", "higher", 0.99, restart_rows.hit_ratio_after_restart),
    Row("hedge_p99", "ms", "the same, all well", "lower", 1.3, hedge_rows.hedge_p99),
    Row("peer_tls_cpu", "MB/CPU-s", "the same without TLS", "higher", None, cluster_rows.tls_cpu),
    Row("master_rss_per_block", "bytes", "limit", "lower", 1.0, master_rows.bytes_per_block),
    Row("loop_stall", "ms", "limit", "lower", 1.0, master_rows.loop_stall),
    Row("growth_hit", "us", "the same with 10^3 blocks", "lower", 1.3, growth_rows.hit_growth),
    Row("growth_miss", "us", "the same with 10^3 blocks", "lower", 1.3, growth_rows.miss_growth),
    Row("submit_p50", "us", "empty handler + fdatasync", "lower", 1.3, toucan_rows.submit_p50),
    Row("submit_p50_raw", "us", "empty handler", "lower", None, toucan_rows.submit_p50_raw),
    Row("submit_rate", "orders/s", "empty handler", "higher", 0.6, toucan_rows.submit_rate),
    Row("engine_rate", "orders/s", "limit", "higher", 1.0, toucan_engine_rows.engine_rate),
    Row("replay_rate", "events/s", "limit", "higher", 1.0, toucan_engine_rows.replay_rate),
    Row("watch_cpu", "cores", "limit", "lower", 1.0, toucan_rows.watch_cpu),
    Row("web_latency", "us", "the same order by gRPC", "lower", 1.5, toucan_rows.web_latency),
    Row("cancel_under_streams", "us", "the same without streams", "lower", 1.5, toucan_rows.cancel_under_streams),
    Row("status_3_hosts", "ms", "ansible ad hoc, the same", "lower", 0.05, lab_rows.status_of_three_hosts),
    Row("key_to_screen", "ms", "limit", "lower", 1.0, lab_rows.key_to_screen),
    Row("run_20_hosts", "ms", "the slowest single host", "lower", 2.0, lab_rows.run_on_many_hosts),
    Row("ring_rate_queue", "msg/s", "multiprocessing.Queue", "higher", 5.0, ring_rows.throughput_against_queue),
    Row("ring_rate_socket", "msg/s", "unix socket, frames", "higher", None, ring_rows.throughput_against_socket),
    Row("ring_round_trip_queue", "us", "multiprocessing.Queue, two", "lower", 0.5, ring_rows.round_trip_against_queue),
    Row("ring_round_trip_socket", "us", "unix socket, blocking", "lower", None, ring_rows.round_trip_against_socket),
)  # fmt: skip


def write_json(path: Path, results: Sequence[Result], *, quick: bool) -> None:
    """Keeps the measured rows; a skipped one is not among them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([result.as_json(quick=quick) for result in results], indent=1) + "\n")


def show(console: Console, results: Sequence[Result], skipped: Mapping[str, str], *, quick: bool) -> None:
    """Prints the table, the notes, and what was skipped."""
    cores = len(os.sched_getaffinity(0))
    title = f"aviary against real programs ({cores} cores, {platform.machine()}, Linux {platform.release()})"
    if quick:
        title += ": quick run, figures mean nothing"
    table = Table(title=title)
    for heading in (
        "row",
        "ours",
        "peer",
        "unit",
        "ratio",
        "goal",
        "verdict",
        "spread ours / peer",
        "peer is",
    ):
        table.add_column(heading, justify="right" if heading in ("ours", "peer", "ratio", "goal") else "left")
    for result in results:
        table.add_row(*_cells(result))
    console.print(table)
    for result in results:
        for name, value in result.measurement.notes.items():
            console.print(f"  {result.row.name}: {name} = {value}", highlight=False)
    for name, reason in skipped.items():
        console.print(f"[bold yellow]SKIPPED[/] {name}: {reason}", highlight=False)


def _cells(result: Result) -> list[str]:
    row = result.row
    sign = "≤" if row.better == "lower" else "≥"
    goal = "" if row.goal is None else f"{sign} {row.goal:g}"
    if row.ours_goal is not None:
        goal += f", {sign} {row.ours_goal:g} {row.unit}"
    colour = {"met": "green", "missed": "red", "shown": "default"}[result.verdict]
    spread = f"±{_half_range(result.measurement.ours):.0%} / ±{_half_range(result.measurement.peer):.0%}"
    return [
        row.name, f"{result.ours:,.4g}", f"{result.peer:,.4g}", row.unit, f"{result.ratio:.3g}", goal,
        f"[{colour}]{result.verdict}[/]", spread, row.peer_name,
    ]  # fmt: skip


def _half_range(values: list[float]) -> float:
    """Half of the distance of best and worst run, as part of their middle."""
    middle = (max(values) + min(values)) / 2
    return (max(values) - min(values)) / 2 / middle if middle else 0.0
