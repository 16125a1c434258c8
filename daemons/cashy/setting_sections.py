"""The table of settings: every setting of cashy's daemons, declared once.

Law: a setting is a field of the struct of its TOML section; its type, limits, unit, help text, option and the
commands that take it stand in the field's annotation. This module declares and does nothing else:
``cashy.settings`` reads the table and loads by it, ``cashy.cli.options`` makes the command line of it,
``cashy.cli.reference`` the reference page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from cashy.core.s3_address import aws_endpoint_url
from cashy.errors import ConfigError
from cashy.setting_about import ALL, HOST_NAME, MASTER, NAME, S3, Section, about
from cashy.setting_security import ClientLists, ClusterSecurity
from cashy.setting_values import Address, BlockSize, ByteSize, DomainName, HttpUrl

__all__ = [
    "DEFAULT_SOCKET_PATH",
    "ClusterSettings",
    "DirectoryOriginSettings",
    "DiskSettings",
    "FreshnessSettings",
    "InstanceSettings",
    "LimitsSettings",
    "LogSettings",
    "MemorySettings",
    "MetricsSettings",
    "OriginSettings",
    "PeerSettings",
    "S3OriginSettings",
    "S3Settings",
    "Settings",
]

DEFAULT_SOCKET_PATH = "/run/cashy/cashy.sock"

_MODE = "^0?[0-7]{3}$"
#: It becomes a part of host names and signatures; empty: the default.
_REGION = r"^([a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?)?$"


class InstanceSettings(ClientLists, frozen=True, kw_only=True):
    """Which instance this is: one host may run several, each its own trust domain."""

    name: Annotated[
        str,
        about("Name of the instance, part of its shared memory's names.", "--instance", ALL, pattern=NAME),
    ] = "default"
    socket: Annotated[
        Path,
        about(
            "Unix socket that clients and S3 workers connect to; $CASHY_SOCKET replaces the default.",
            "--socket",
            ALL,
        ),
    ] = Path(DEFAULT_SOCKET_PATH)
    socket_mode: Annotated[
        str,
        about(
            "Permissions of the socket, octal; whoever may connect can read all that is cached.",
            pattern=_MODE,
        ),
    ] = "0660"
    operators: Annotated[
        str,
        about(
            "Unix group whose members may evict and pin, beside root and the daemon's own user; empty: these alone.",
        ),
    ] = ""
    remove_on_exit: Annotated[
        bool,
        about(
            "Remove the instance's shared memory at an orderly end; otherwise the next master takes it over.",
            "--remove-on-exit",
            ("master",),
        ),
    ] = False


class MemorySettings(Section, frozen=True, kw_only=True):
    """The arena in shared memory."""

    size_bytes: Annotated[
        ByteSize,
        about("Size of the arena, allocated in /dev/shm at the start.", "--memory", MASTER, unit="size"),
    ] = msgspec.field(default=ByteSize(256 << 20), name="size")
    block_bytes: Annotated[
        BlockSize,
        about(
            "Size in which objects are fetched and kept: a power of two, 64KiB to 64MiB.",
            "--block-size",
            MASTER,
            unit="size",
        ),
    ] = msgspec.field(default=BlockSize(4 << 20), name="block_size")
    eviction: Annotated[
        Literal["s3-fifo", "lru"],
        about(
            "Which blocks give way: s3-fifo withstands scans, lru is there to compare.", "--eviction", MASTER
        ),
    ] = "s3-fifo"
    pinned_max: Annotated[
        float,
        about(
            "Part of the arena that may be pinned (`cashy pin`); the rest is for everything else that is read.",
            unit="of the arena",
            ge=0,
            le=0.9,
            live=True,
        ),
    ] = 0.25


class DiskSettings(Section, frozen=True, kw_only=True):
    """A folder on a local SSD, for blocks that leave memory; what it holds is there again after a restart, also one of the machine."""

    path: Annotated[
        Path,
        about("Absolute path of the folder, on a disk of this host; made if only its last part is missing."),
    ]
    size_bytes: Annotated[
        ByteSize,
        about("Bytes that cashy may have there; the oldest blocks give way.", unit="size"),
    ] = msgspec.field(name="size")
    write_bytes_per_s: Annotated[
        ByteSize,
        about(
            "Bytes written in a second at most, since writing wears an SSD out and slows its reads; 0: as many as it takes. "
            "What finds no place in it is not kept.",
            unit="size per second",
        ),
    ] = ByteSize(200 << 20)


class LimitsSettings(Section, frozen=True, kw_only=True):
    """What one client, and all of them, may take of the master."""

    clients_max: Annotated[
        int,
        about(
            "Connections to the socket; further ones are refused.", unit="clients", ge=1, le=1024, live=True
        ),
    ] = 1000
    clients_per_user_max: Annotated[
        int,
        about(
            "Connections of one user's processes; further ones are refused, so that there is room for the others'.",
            unit="clients",
            ge=1,
            le=1024,
            live=True,
        ),
    ] = 512
    client_pin_fraction: Annotated[
        float,
        about(
            "Part of the arena that one client may hold pinned.",
            unit="of the arena",
            ge=0.01,
            le=1,
            live=True,
        ),
    ] = 0.5
    client_pin_bytes: Annotated[
        ByteSize, about("The same as a size; 0 leaves it to client_pin_fraction.", unit="size", live=True)
    ] = ByteSize(0)
    client_mappings_max: Annotated[
        int,
        about(
            "Mappings one client may make for views; the kernel allows 65530 per process.",
            unit="mappings",
            ge=1,
            le=32768,
            live=True,
        ),
    ] = 8192
    client_private_bytes: Annotated[
        ByteSize,
        about("Bytes of private copies one client may make where it cannot pin.", unit="size", live=True),
    ] = ByteSize(256 << 20)
    client_requests_max: Annotated[
        int,
        about(
            "Requests one client may have under way; further ones get SlowDown.",
            unit="requests",
            ge=1,
            live=True,
        ),
    ] = 256
    fills_max: Annotated[
        int,
        about(
            "Blocks that may be under way from origins at a time; further ones wait.",
            unit="blocks",
            ge=1,
            live=True,
        ),
    ] = 64
    fetch_window_blocks: Annotated[
        int,
        about(
            "Blocks of one asked range fetched in parallel, for each host of the cluster that is home to blocks; at most 64.",
            unit="blocks",
            ge=1,
            le=64,
            live=True,
        ),
    ] = 8
    prefetch_window_blocks: Annotated[
        int,
        about(
            "Blocks read ahead of a reader at most; 0 turns read-ahead off.",
            unit="blocks",
            ge=0,
            le=256,
            live=True,
        ),
    ] = 8


class FreshnessSettings(Section, frozen=True, kw_only=True):
    """How long what is cached counts as current."""

    revalidate_after_s: Annotated[
        float,
        about(
            "Age from which an object's version is checked at the origin; writes made there show by then.",
            "--revalidate-after",
            MASTER,
            unit="s",
            ge=0,
            live=True,
        ),
    ] = 5.0
    grace_s: Annotated[
        float,
        about(
            "While an origin cannot be reached, what is cached is served for so long past its time, marked as stale; 0: never. "
            "An origin may have its own.",
            "--grace",
            MASTER,
            unit="s",
            ge=0,
            live=True,
        ),
    ] = 60.0
    grace_when_doubted: Annotated[
        bool,
        about(
            "The same where this host may not have heard of a change that was made through another host of its cluster.",
            live=True,
        ),
    ] = False


_OwnGrace = Annotated[
    Annotated[float, msgspec.Meta(ge=0)] | None,
    about("The same as freshness.grace_s, for this origin; default: that.", unit="s"),
]


class S3OriginSettings(Section, frozen=True, kw_only=True, tag_field="kind", tag="s3"):
    """An S3 store; its buckets keep their names. Credentials come from the usual AWS chain."""

    url: Annotated[
        HttpUrl,
        about("Endpoint of the store; default: Amazon's own of the region, which must then be given."),
    ] = HttpUrl("")
    name: Annotated[
        str, about("Name in logs and counters, part of the cached blocks' identity; default: the url.")
    ] = ""
    region: Annotated[
        str,
        about(
            "Region that requests are signed for, until the store names another one of a bucket; default: us-east-1.",
            pattern=_REGION,
        ),
    ] = ""
    addressing: Annotated[
        Literal["path", "virtual-host"],
        about(
            "Where the bucket stands: in the path, or before the endpoint's name if it can stand in a host name.",
        ),
    ] = "path"
    buckets: Annotated[
        tuple[str, ...], about("Buckets read from here; empty: all that no other origin names.")
    ] = ()
    anonymous: Annotated[bool, about("Send requests unsigned, for public buckets.")] = False
    connections_max: Annotated[
        int, about("Connections to each host of the store.", unit="connections", ge=1, le=4096)
    ] = 32
    queue_max: Annotated[
        int,
        about(
            "Requests waiting for a connection to a host; further ones get SlowDown.", unit="requests", ge=0
        ),
    ] = 1024
    connect_timeout_s: Annotated[float, about("Limit for making a connection.", unit="s", ge=0.01)] = 5.0
    head_timeout_s: Annotated[
        float, about("Limit from request to the head of its answer.", unit="s", ge=0.01)
    ] = 10.0
    read_timeout_s: Annotated[float, about("Limit between two arrivals of bytes.", unit="s", ge=0.01)] = 15.0
    block_timeout_s: Annotated[
        float,
        about("Limit for one block, waiting and retries included.", unit="s", ge=0.01, le=100),
    ] = 60.0
    retries_max: Annotated[
        int,
        about(
            "How often a request is sent again within block_timeout_s after a refusal that may pass (503, 429, 500 …) or a broken connection.",
            unit="retries",
            ge=0,
            le=16,
        ),
    ] = 4
    grace_s: _OwnGrace = None

    bandwidth_bytes_per_s: Annotated[
        ByteSize,
        about(
            "Bytes per second that this host reads from the store for its cache, over some seconds; reads wait for their turn. 0: no limit.",
            unit="size",
        ),
    ] = ByteSize(0)

    def __post_init__(self) -> None:
        if not self.url and not self.region:
            raise ValueError("an s3 origin needs its url, or its region if it is Amazon's own store")
        if not self.url:
            msgspec.structs.force_setattr(self, "url", HttpUrl(aws_endpoint_url(self.region)))
        if not self.region:
            msgspec.structs.force_setattr(self, "region", "us-east-1")
        if not self.name:
            msgspec.structs.force_setattr(self, "name", str(self.url))


class DirectoryOriginSettings(Section, frozen=True, kw_only=True, tag_field="kind", tag="directory"):
    """A directory, local or mounted; its first-level folders are the buckets of the S3 side."""

    path: Annotated[Path, about("Absolute path of the directory; nothing outside it is ever served.")]
    name: Annotated[
        str, about("Name in logs and counters, part of the cached blocks' identity; default: the path.")
    ] = ""
    threads: Annotated[
        int,
        about("Threads that read files; one stuck in a dead mount is counted.", unit="threads", ge=1, le=256),
    ] = 16
    read_timeout_s: Annotated[float, about("Limit for one read of a file.", unit="s", ge=0.01)] = 30.0
    grace_s: _OwnGrace = None
    bandwidth_bytes_per_s: Annotated[
        ByteSize,
        about(
            "Bytes per second that this host reads from the directory, over some seconds; reads wait for their turn. 0: no limit.",
            unit="size",
        ),
    ] = ByteSize(0)

    def __post_init__(self) -> None:
        if not self.name:
            msgspec.structs.force_setattr(self, "name", str(self.path))


OriginSettings = S3OriginSettings | DirectoryOriginSettings


class S3Settings(Section, frozen=True, kw_only=True):
    """The S3 endpoint."""

    listen: Annotated[Address, about("Address of the endpoint; port 0: any free one.", "--s3", S3)] = Address(
        "127.0.0.1:9000"
    )
    workers: Annotated[
        int,
        about(
            "Worker processes `cashy dev` starts on the address (0: none); `cashy s3` is always one worker.",
            "--s3-workers",
            ("dev",),
            unit="processes",
            ge=0,
            le=64,
        ),
    ] = 1
    credentials: Annotated[
        Path | None,
        about(
            "TOML file of the keys that may sign requests; a world-readable file is refused.",
            "--credentials",
            S3,
            live=True,
        ),
    ] = None
    anonymous: Annotated[
        bool,
        about(
            "Allow unsigned reads: of directories, and of what the store gives unsigned or, with rights here, of all that the daemon reads.",
            "--anonymous",
            S3,
            live=True,
        ),
    ] = False
    rights: Annotated[
        Literal["store", "here"],
        about(
            "Who decides what a caller may read: the credentials file and the S3 store behind, which is asked with the key's credentials "
            "there (unsigned for unsigned callers), or the credentials file alone.",
            "--rights",
            S3,
        ),
    ] = "store"
    rights_valid_s: Annotated[
        float,
        about("How long a store's permission to read an object is remembered.", unit="s", ge=0, live=True),
    ] = 60.0
    rights_grace_s: Annotated[
        float,
        about(
            "For how long beyond that it counts while the store cannot be reached; nobody is let in whom the store has not let in before.",
            unit="s",
            ge=0,
            live=True,
        ),
    ] = 60.0
    region: Annotated[str, about("Region that signatures must name; empty: any.", live=True)] = ""
    domains: Annotated[
        tuple[DomainName, ...],
        about(
            "Names under which buckets are hosts, as in bucket.s3.example.com for s3.example.com; empty: "
            "buckets are in paths only.",
            live=True,
        ),
    ] = ()
    tls_certificate: Annotated[
        Path | None,
        about(
            "PEM file of the endpoint's certificate, then those it is signed by; with it the endpoint speaks "
            "https only. Read again at SIGHUP.",
            "--tls-certificate",
            S3,
        ),
    ] = None
    tls_key: Annotated[
        Path | None,
        about(
            "PEM file of the certificate's private key; a world-readable file is refused.",
            "--tls-key",
            S3,
        ),
    ] = None
    connections_max: Annotated[
        int,
        about(
            "Connections of one worker; further ones are answered SlowDown and closed.",
            unit="connections",
            ge=1,
            live=True,
        ),
    ] = 8192
    head_timeout_s: Annotated[
        float,
        about("Limit from the first byte of a request to the end of its head.", unit="s", ge=0.01, live=True),
    ] = 10.0
    idle_timeout_s: Annotated[
        float, about("Age at which a connection without a request is closed.", unit="s", ge=0.01, live=True)
    ] = 75.0
    send_timeout_s: Annotated[
        float,
        about(
            "Limit without progress of a reader; then it is cut off and its blocks unpinned.",
            unit="s",
            ge=0.01,
            live=True,
        ),
    ] = 30.0
    body_timeout_s: Annotated[
        float,
        about(
            "Limit without progress of a writer; then its request is given up.", unit="s", ge=0.01, live=True
        ),
    ] = 30.0


class ClusterSettings(ClusterSecurity, frozen=True, kw_only=True):
    """This host's part in a cluster: many hosts, each the home of a share of the blocks."""

    host: Annotated[
        str | None,
        about(
            "Name of this host among the [[peer]] hosts; none: it works alone. Workers label metrics with it.",
            "--cluster-host",
            ALL,
        ),
    ] = None
    name: Annotated[str, about("Name of the cluster; hosts of another one are refused.", pattern=NAME)] = (
        "default"
    )
    listen: Annotated[
        Address | None,
        about("Address for the other hosts; default: this host's of [[peer]].", "--cluster-listen", MASTER),
    ] = None
    key_file: Annotated[
        Path | None,
        about(
            "File of the secret that all hosts share, 16 bytes or more; a world-readable one is refused. One more lock beside "
            "certificates, the only one without.",
            "--cluster-key",
            MASTER,
        ),
    ] = None
    hedge: Annotated[
        bool,
        about(
            "Ask the next host, or the origin, too for a block whose home gives no sign in its usual time (the first to answer wins), and "
            "alone while the home is clearly slower than reading the block there anew.",
            live=True,
        ),
    ] = True
    hedge_budget: Annotated[
        float,
        about(
            "Reads that may be asked twice, for each that another host has answered; none while anybody is overloaded.",
            unit="of the reads",
            ge=0,
            le=1,
            live=True,
        ),
    ] = 0.05
    peer_bandwidth_bytes_per_s: Annotated[
        ByteSize,
        about(
            "Bytes per second that this host asks of each other host, over some seconds; reads wait for their turn. 0: no limit.",
            unit="size",
        ),
    ] = ByteSize(0)
    hosts_file: Annotated[
        Path | None,
        about(
            "File of the cluster's hosts instead of [[peer]]; changes of it are applied while running (docs/membership.md).",
            "--cluster-hosts",
            MASTER,
        ),
    ] = None
    handover_s: Annotated[
        float,
        about(
            "For how long after a change of the hosts a block's new home asks its old one before the origin; 0: never.",
            unit="s",
            ge=0,
            le=86_400,
        ),
    ] = 600.0
    drain_s: Annotated[
        float,
        about(
            "How long a host that has left the list is still let in, and may be read from.",
            unit="s",
            ge=0,
            le=86_400,
        ),
    ] = 600.0
    local_copies: Annotated[
        Literal["second-read", "always", "never"],
        about("Which blocks of other hosts' stay in this host's memory too."),
    ] = "second-read"
    read_timeout_s: Annotated[
        float,
        about(
            "Limit without a sign of a block that another host was asked for: bytes, or its word that it is at the origin for it. Then "
            "the next host is asked, at last the origin.",
            unit="s",
            ge=1,
        ),
    ] = 10.0
    lease_s: Annotated[
        float,
        about(
            "How long a host believes what it knows of objects without hearing of another; a write waits so long for a silent one.",
            unit="s",
            ge=1,
            le=30,
        ),
    ] = 3.0
    peers_tried: Annotated[
        int, about("Hosts asked for a block before the origin is.", unit="hosts", ge=1, le=16)
    ] = 2


class PeerSettings(Section, frozen=True, kw_only=True):
    """One host of the cluster; all of them stand in the list, this one too, and the list is the same everywhere."""

    name: Annotated[str, about("Name of the host; blocks are placed by it, so keep it.", pattern=HOST_NAME)]
    address: Annotated[Address, about("Where the other hosts reach it.")]
    weight: Annotated[
        float,
        about(
            "Its share of the blocks in proportion to the others'; 0: it is home to none.", ge=0, le=1_000_000
        ),
    ] = 1.0


class MetricsSettings(Section, frozen=True, kw_only=True):
    """Counters over HTTP at /metrics, as Prometheus reads them."""

    master: Annotated[
        Address | None,
        about("Address of the master's /metrics; port 0: any free one.", "--metrics", ("master",)),
    ] = None
    s3: Annotated[
        Address | None,
        about(
            "Address of an S3 worker's /metrics; further workers take the next free ports.",
            "--metrics",
            ("s3",),
        ),
    ] = None


class LogSettings(Section, frozen=True, kw_only=True):
    """The log, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        about("Least level that is written.", "--log-level", ALL, live=True),
    ] = "info"
    format: Annotated[
        Literal["console", "json"], about("Lines for people or JSON lines.", "--log-format", ALL, live=True)
    ] = "console"


class Settings(Section, frozen=True, kw_only=True):
    """All settings of a host's daemons; what :func:`load_settings` gives is complete and checked."""

    instance: InstanceSettings = InstanceSettings()
    memory: MemorySettings = MemorySettings()
    disks: Annotated[
        tuple[DiskSettings, ...],
        about("Folders on local SSDs, for blocks that leave memory; repeatable.", "--disk", MASTER),
    ] = msgspec.field(default=(), name="disk")
    limits: LimitsSettings = LimitsSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    origins: Annotated[
        tuple[OriginSettings, ...], about("Where objects come from; repeatable.", "--origin", ALL)
    ] = msgspec.field(default=(), name="origin")
    s3: S3Settings = S3Settings()
    cluster: ClusterSettings = ClusterSettings()
    peers: Annotated[
        tuple[PeerSettings, ...],
        about("All hosts of the cluster, this one too; repeatable.", "--peer", MASTER),
    ] = msgspec.field(default=(), name="peer")
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    @property
    def client_pin_bytes_max(self) -> int:
        """Bytes that one client may hold pinned, whichever of the two settings says so."""
        return self.limits.client_pin_bytes or int(self.memory.size_bytes * self.limits.client_pin_fraction)

    def this_host(self) -> PeerSettings | None:
        """This host's entry among the peers; None if it works alone, or if the hosts stand in a file of their own.

        Raises ConfigError if the peers or the host's own name are missing: an S3 worker needs neither, and may
        be told only one of them; a master needs both.
        """
        host, names = self.cluster.host, ", ".join(peer.name for peer in self.peers)
        if (self.peers or self.cluster.hosts_file is not None) and host is None:
            raise ConfigError(
                "there are [[peer]] hosts, but which of them is this one? Give cluster.host or --cluster-host, "
                f"one of: {names or f'those in {self.cluster.hosts_file}'}"
            )
        if host is not None and not self.peers and self.cluster.hosts_file is None:
            raise ConfigError(
                f'this host is "{host}" of a cluster, but there are no peers: add a [[peer]] (or --peer) for every '
                "host of the cluster, this one too, or name a cluster.hosts_file"
            )
        return next((peer for peer in self.peers if peer.name == host), None)
