"""The table of settings: every setting of cashy's daemons, declared once.

Law: a setting is a field of the struct of its TOML section; its type, limits, unit, help text, option and the
commands that take it stand in the field's annotation. This module declares and does nothing else:
``cashy.settings`` reads the table and loads by it, ``cashy.cli.options`` makes the command line of it,
``cashy.cli.reference`` the reference page.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from cashy.core.s3_address import aws_endpoint_url
from cashy.errors import ConfigError
from cashy.setting_values import Address, BlockSize, ByteSize, DomainName, HttpUrl

__all__ = [
    "DEFAULT_SOCKET_PATH",
    "ClusterSettings",
    "DirectoryOriginSettings",
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
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$"
#: What host names are made of, up to the 64 bytes that Linux allows one; no "=" and ",", which end it in an option.
_HOST_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

_ALL = ("master", "s3", "dev")
_MASTER = ("master", "dev")
_S3 = ("s3", "dev")


def _about(
    help_text: str,
    option: str = "",
    commands: tuple[str, ...] = (),
    *,
    unit: str = "",
    ge: float | None = None,
    le: float | None = None,
    pattern: str | None = None,
) -> msgspec.Meta:
    """Metadata of one setting; without ``option`` it can only be given in the file."""
    limits = {
        name: value for name, value in (("ge", ge), ("le", le), ("pattern", pattern)) if value is not None
    }
    extra = {"unit": unit, "option": option, "commands": commands}
    make_meta: Callable[..., msgspec.Meta] = msgspec.Meta  # its overloads take no mapping of limits
    return make_meta(description=help_text, extra=extra, **limits)


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table."""


class InstanceSettings(_Section, frozen=True, kw_only=True):
    """Which instance this is: one host may run several, each its own trust domain."""

    name: Annotated[
        str,
        _about("Name of the instance, part of its shared memory's names.", "--instance", _ALL, pattern=_NAME),
    ] = "default"
    socket: Annotated[
        Path,
        _about(
            "Unix socket that clients and S3 workers connect to; $CASHY_SOCKET replaces the default.",
            "--socket",
            _ALL,
        ),
    ] = Path(DEFAULT_SOCKET_PATH)
    socket_mode: Annotated[
        str,
        _about(
            "Permissions of the socket, octal; whoever may connect can read all that is cached.",
            pattern=_MODE,
        ),
    ] = "0660"
    remove_on_exit: Annotated[
        bool,
        _about(
            "Remove the instance's shared memory at an orderly end; otherwise the next master takes it over.",
            "--remove-on-exit",
            ("master",),
        ),
    ] = False


class MemorySettings(_Section, frozen=True, kw_only=True):
    """The arena in shared memory."""

    size_bytes: Annotated[
        ByteSize,
        _about("Size of the arena, allocated in /dev/shm at the start.", "--memory", _MASTER, unit="size"),
    ] = msgspec.field(default=ByteSize(256 << 20), name="size")
    block_bytes: Annotated[
        BlockSize,
        _about(
            "Size in which objects are fetched and kept: a power of two, 64KiB to 64MiB.",
            "--block-size",
            _MASTER,
            unit="size",
        ),
    ] = msgspec.field(default=BlockSize(4 << 20), name="block_size")
    eviction: Annotated[
        Literal["s3-fifo", "lru"],
        _about(
            "Which blocks give way: s3-fifo withstands scans, lru is there to compare.", "--eviction", _MASTER
        ),
    ] = "s3-fifo"


class LimitsSettings(_Section, frozen=True, kw_only=True):
    """What one client, and all of them, may take of the master."""

    clients_max: Annotated[
        int, _about("Connections to the socket; further ones are refused.", unit="clients", ge=1, le=1024)
    ] = 1000
    client_pin_fraction: Annotated[
        float,
        _about("Part of the arena that one client may hold pinned.", unit="of the arena", ge=0.01, le=1),
    ] = 0.5
    client_pin_bytes: Annotated[
        ByteSize, _about("The same as a size; 0 leaves it to client_pin_fraction.", unit="size")
    ] = ByteSize(0)
    client_mappings_max: Annotated[
        int,
        _about(
            "Mappings one client may make for views; the kernel allows 65530 per process.",
            unit="mappings",
            ge=1,
            le=32768,
        ),
    ] = 8192
    client_private_bytes: Annotated[
        ByteSize, _about("Bytes of private copies one client may make where it cannot pin.", unit="size")
    ] = ByteSize(256 << 20)
    client_requests_max: Annotated[
        int,
        _about("Requests one client may have under way; further ones get SlowDown.", unit="requests", ge=1),
    ] = 256
    fills_max: Annotated[
        int,
        _about(
            "Blocks that may be under way from origins at a time; further ones wait.", unit="blocks", ge=1
        ),
    ] = 64
    fetch_window_blocks: Annotated[
        int,
        _about(
            "Blocks of one asked range fetched in parallel, for each host of the cluster that is home to blocks; at most 64.",
            unit="blocks",
            ge=1,
            le=64,
        ),
    ] = 8
    prefetch_window_blocks: Annotated[
        int,
        _about("Blocks read ahead of a reader at most; 0 turns read-ahead off.", unit="blocks", ge=0, le=256),
    ] = 8


class FreshnessSettings(_Section, frozen=True, kw_only=True):
    """How long what is cached counts as current."""

    revalidate_after_s: Annotated[
        float,
        _about(
            "Age from which an object's version is checked at the origin; writes made there show by then.",
            "--revalidate-after",
            _MASTER,
            unit="s",
            ge=0,
        ),
    ] = 5.0


class S3OriginSettings(_Section, frozen=True, kw_only=True, tag_field="kind", tag="s3"):
    """An S3 store; its buckets keep their names. Credentials come from the usual AWS chain."""

    url: Annotated[
        HttpUrl,
        _about("Endpoint of the store; default: Amazon's own of the region, which must then be given."),
    ] = HttpUrl("")
    name: Annotated[
        str, _about("Name in logs and counters, part of the cached blocks' identity; default: the url.")
    ] = ""
    region: Annotated[
        str,
        _about(
            "Region that requests are signed for, until the store names another one of a bucket; default: us-east-1.",
            pattern=_REGION,
        ),
    ] = ""
    addressing: Annotated[
        Literal["path", "virtual-host"],
        _about(
            "Where the bucket stands: in the path, or before the endpoint's name if it can stand in a host name.",
        ),
    ] = "path"
    buckets: Annotated[
        tuple[str, ...], _about("Buckets read from here; empty: all that no other origin names.")
    ] = ()
    anonymous: Annotated[bool, _about("Send requests unsigned, for public buckets.")] = False
    connections_max: Annotated[
        int, _about("Connections to each host of the store.", unit="connections", ge=1, le=4096)
    ] = 32
    queue_max: Annotated[
        int,
        _about(
            "Requests waiting for a connection to a host; further ones get SlowDown.", unit="requests", ge=0
        ),
    ] = 1024
    connect_timeout_s: Annotated[float, _about("Limit for making a connection.", unit="s", ge=0.01)] = 5.0
    head_timeout_s: Annotated[
        float, _about("Limit from request to the head of its answer.", unit="s", ge=0.01)
    ] = 10.0
    read_timeout_s: Annotated[float, _about("Limit between two arrivals of bytes.", unit="s", ge=0.01)] = 15.0
    block_timeout_s: Annotated[
        float,
        _about("Limit for one block, waiting and retries included.", unit="s", ge=0.01, le=100),
    ] = 60.0
    retries_max: Annotated[
        int,
        _about(
            "How often a request is sent again within block_timeout_s after a refusal that may pass (503, 429, 500 …) or a broken connection.",
            unit="retries",
            ge=0,
            le=16,
        ),
    ] = 4

    def __post_init__(self) -> None:
        if not self.url and not self.region:
            raise ValueError("an s3 origin needs its url, or its region if it is Amazon's own store")
        if not self.url:
            msgspec.structs.force_setattr(self, "url", HttpUrl(aws_endpoint_url(self.region)))
        if not self.region:
            msgspec.structs.force_setattr(self, "region", "us-east-1")
        if not self.name:
            msgspec.structs.force_setattr(self, "name", str(self.url))


class DirectoryOriginSettings(_Section, frozen=True, kw_only=True, tag_field="kind", tag="directory"):
    """A directory, local or mounted; its first-level folders are the buckets of the S3 side."""

    path: Annotated[Path, _about("Absolute path of the directory; nothing outside it is ever served.")]
    name: Annotated[
        str, _about("Name in logs and counters, part of the cached blocks' identity; default: the path.")
    ] = ""
    threads: Annotated[
        int,
        _about(
            "Threads that read files; one stuck in a dead mount is counted.", unit="threads", ge=1, le=256
        ),
    ] = 16
    read_timeout_s: Annotated[float, _about("Limit for one read of a file.", unit="s", ge=0.01)] = 30.0

    def __post_init__(self) -> None:
        if not self.name:
            msgspec.structs.force_setattr(self, "name", str(self.path))


OriginSettings = S3OriginSettings | DirectoryOriginSettings


class S3Settings(_Section, frozen=True, kw_only=True):
    """The S3 endpoint."""

    listen: Annotated[Address, _about("Address of the endpoint; port 0: any free one.", "--s3", _S3)] = (
        Address("127.0.0.1:9000")
    )
    workers: Annotated[
        int,
        _about(
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
        _about(
            "TOML file of the keys that may sign requests; a world-readable file is refused.",
            "--credentials",
            _S3,
        ),
    ] = None
    anonymous: Annotated[
        bool,
        _about(
            "Allow unsigned reads: of directories, and of what the store gives unsigned or, with rights here, of all that the daemon reads.",
            "--anonymous",
            _S3,
        ),
    ] = False
    rights: Annotated[
        Literal["store", "here"],
        _about(
            "Who decides what a caller may read: the credentials file and the S3 store behind, which is asked with the key's credentials "
            "there (unsigned for unsigned callers), or the credentials file alone.",
            "--rights",
            _S3,
        ),
    ] = "store"
    rights_valid_s: Annotated[
        float, _about("How long a store's permission to read an object is remembered.", unit="s", ge=0)
    ] = 60.0
    region: Annotated[str, _about("Region that signatures must name; empty: any.")] = ""
    domains: Annotated[
        tuple[DomainName, ...],
        _about(
            "Names under which buckets are hosts, as in bucket.s3.example.com for s3.example.com; empty: "
            "buckets are in paths only."
        ),
    ] = ()
    tls_certificate: Annotated[
        Path | None,
        _about(
            "PEM file of the endpoint's certificate, then those it is signed by; with it the endpoint speaks "
            "https only. Read again at SIGHUP.",
            "--tls-certificate",
            _S3,
        ),
    ] = None
    tls_key: Annotated[
        Path | None,
        _about(
            "PEM file of the certificate's private key; a world-readable file is refused.",
            "--tls-key",
            _S3,
        ),
    ] = None
    connections_max: Annotated[
        int,
        _about(
            "Connections of one worker; further ones are answered SlowDown and closed.",
            unit="connections",
            ge=1,
        ),
    ] = 8192
    head_timeout_s: Annotated[
        float, _about("Limit from the first byte of a request to the end of its head.", unit="s", ge=0.01)
    ] = 10.0
    idle_timeout_s: Annotated[
        float, _about("Age at which a connection without a request is closed.", unit="s", ge=0.01)
    ] = 75.0
    send_timeout_s: Annotated[
        float,
        _about(
            "Limit without progress of a reader; then it is cut off and its blocks unpinned.",
            unit="s",
            ge=0.01,
        ),
    ] = 30.0
    body_timeout_s: Annotated[
        float,
        _about("Limit without progress of a writer; then its request is given up.", unit="s", ge=0.01),
    ] = 30.0


class ClusterSettings(_Section, frozen=True, kw_only=True):
    """This host's part in a cluster: many hosts, each the home of a share of the blocks."""

    host: Annotated[
        str | None,
        _about(
            "Name of this host among the [[peer]] hosts; none: it works alone. Workers label metrics with it.",
            "--cluster-host",
            _ALL,
        ),
    ] = None
    name: Annotated[str, _about("Name of the cluster; hosts of another one are refused.", pattern=_NAME)] = (
        "default"
    )
    listen: Annotated[
        Address | None,
        _about("Address for the other hosts; default: this host's of [[peer]].", "--cluster-listen", _MASTER),
    ] = None
    key_file: Annotated[
        Path | None,
        _about(
            "File of the secret that all hosts share, 16 bytes or more; a world-readable one is refused.",
            "--cluster-key",
            _MASTER,
        ),
    ] = None
    local_copies: Annotated[
        Literal["second-read", "always", "never"],
        _about("Which blocks of other hosts' stay in this host's memory too."),
    ] = "second-read"
    read_timeout_s: Annotated[
        float,
        _about(
            "Limit without a sign of a block that another host was asked for: bytes, or its word that it is at the origin for it. Then "
            "the next host is asked, at last the origin.",
            unit="s",
            ge=1,
        ),
    ] = 10.0
    lease_s: Annotated[
        float,
        _about(
            "How long a host believes what it knows of objects without hearing of another; a write waits so long for a silent one.",
            unit="s",
            ge=1,
            le=30,
        ),
    ] = 3.0
    peers_tried: Annotated[
        int, _about("Hosts asked for a block before the origin is.", unit="hosts", ge=1, le=16)
    ] = 2


class PeerSettings(_Section, frozen=True, kw_only=True):
    """One host of the cluster; all of them stand in the list, this one too, and the list is the same everywhere."""

    name: Annotated[str, _about("Name of the host; blocks are placed by it, so keep it.", pattern=_HOST_NAME)]
    address: Annotated[Address, _about("Where the other hosts reach it.")]
    weight: Annotated[
        float,
        _about(
            "Its share of the blocks in proportion to the others'; 0: it is home to none.", ge=0, le=1_000_000
        ),
    ] = 1.0


class MetricsSettings(_Section, frozen=True, kw_only=True):
    """Counters over HTTP at /metrics, as Prometheus reads them."""

    master: Annotated[
        Address | None,
        _about("Address of the master's /metrics; port 0: any free one.", "--metrics", ("master",)),
    ] = None
    s3: Annotated[
        Address | None,
        _about(
            "Address of an S3 worker's /metrics; further workers take the next free ports.",
            "--metrics",
            ("s3",),
        ),
    ] = None


class LogSettings(_Section, frozen=True, kw_only=True):
    """The log, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        _about("Least level that is written.", "--log-level", _ALL),
    ] = "info"
    format: Annotated[
        Literal["console", "json"], _about("Lines for people or JSON lines.", "--log-format", _ALL)
    ] = "console"


class Settings(_Section, frozen=True, kw_only=True):
    """All settings of a host's daemons; what :func:`load_settings` gives is complete and checked."""

    instance: InstanceSettings = InstanceSettings()
    memory: MemorySettings = MemorySettings()
    limits: LimitsSettings = LimitsSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    origins: Annotated[
        tuple[OriginSettings, ...], _about("Where objects come from; repeatable.", "--origin", _ALL)
    ] = msgspec.field(default=(), name="origin")
    s3: S3Settings = S3Settings()
    cluster: ClusterSettings = ClusterSettings()
    peers: Annotated[
        tuple[PeerSettings, ...],
        _about("All hosts of the cluster, this one too; repeatable.", "--peer", _MASTER),
    ] = msgspec.field(default=(), name="peer")
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    @property
    def client_pin_bytes_max(self) -> int:
        """Bytes that one client may hold pinned, whichever of the two settings says so."""
        return self.limits.client_pin_bytes or int(self.memory.size_bytes * self.limits.client_pin_fraction)

    def this_host(self) -> PeerSettings | None:
        """This host's entry among the peers; None if it works alone.

        Raises ConfigError if the peers or the host's own name are missing: an S3 worker needs neither, and may
        be told only one of them; a master needs both.
        """
        host, names = self.cluster.host, ", ".join(peer.name for peer in self.peers)
        if self.peers and host is None:
            raise ConfigError(
                "there are [[peer]] hosts, but which of them is this one? Give cluster.host or --cluster-host, "
                f"one of: {names}"
            )
        if host is not None and not self.peers:
            raise ConfigError(
                f'this host is "{host}" of a cluster, but there are no peers: add a [[peer]] (or --peer) for every '
                "host of the cluster, this one too"
            )
        return next((peer for peer in self.peers if peer.name == host), None)
