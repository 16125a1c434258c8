"""What is assumed: sizes, speeds and times of hosts, network, disks and origin. Everything here is a parameter, and stands in the report."""

from __future__ import annotations

from dataclasses import dataclass, fields

from .events import MS, NS, US

__all__ = ["Shape", "Times"]


@dataclass(frozen=True)
class Shape:
    """A cluster's sizes and speeds. Blocks are what hosts hold; a host holds fewer than a real one, and so does the data set."""

    hosts: int = 1000
    hosts_per_rack: int = 40
    memory_blocks: int = 64
    #: 0: no disk tier.
    disk_blocks: int = 0
    block_bytes: int = 4 << 20
    nic_bytes_s: float = 3.125e9  # 25 Gbit/s each way
    disk_bytes_s: float = 2.0e9
    origin_bytes_s: float = 25e9
    origin_connection_bytes_s: float = 100e6
    origin_requests_max: int = 20_000
    # What is configured, with the daemon's defaults.
    local_copies: str = "second-read"
    eviction: str = "s3fifo"
    peers_tried: int = 2
    fills_max: int = 64
    origin_connections_max: int = 32
    fetch_window_blocks: int = 64
    prefetch_window_blocks: int = 8
    hedge_budget: float = 0.05
    #: Blocks that very many hosts want are held by several, where this version of cashy does so.
    spreads_hot_blocks: bool = True

    def block_ns(self, bytes_s: float) -> int:
        """Time of one block at a speed."""
        return int(self.block_bytes * NS / bytes_s)

    def described(self) -> list[tuple[str, str]]:
        """Names and values, for a report."""
        return [(each.name, f"{getattr(self, each.name):,}" if not isinstance(getattr(self, each.name), str)
                 else getattr(self, each.name)) for each in fields(self)]  # fmt: skip


@dataclass(frozen=True)
class Times:
    """How long things take beside the transfer of bytes; ``…_sigma`` are those of log-normal distributions around the median."""

    hit_ns: int = 15 * US
    #: A miss: the client's message, the master's turn, and the answer.
    ask_master_ns: int = 80 * US
    network_ns: int = 40 * US
    #: A host's loop for one block that another host asks for; they queue there.
    serve_ns: int = 60 * US
    serve_sigma: float = 0.5
    #: Now and then a loop, or the kernel, stands still.
    pause_share: float = 0.001
    pause_ns: int = 40 * MS
    disk_ns: int = 150 * US
    disk_sigma: float = 0.6
    origin_ns: int = 30 * MS
    origin_sigma: float = 0.6
    origin_pause_share: float = 0.002
    origin_pause_ns: int = 1 * NS
    refusal_ns: int = 10 * MS
    #: From a killed master to one that serves again.
    restart_ns: int = 1500 * MS
    #: Within so long after a change of the host list all hosts have read it.
    list_spread_ns: int = 5 * NS
