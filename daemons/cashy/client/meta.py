"""What a client knows of one version of an object."""

from __future__ import annotations

from aviary.cashy.v1 import control_pb2 as pb
from aviary.cashy.v1.operate_pb2 import PinnedObject
from cashy.core import meta_record

__all__ = ["IN_MEMORY", "NOT_HERE", "TIER_NAMES", "Location", "Meta"]

#: Where bytes were not found; in a cluster another host may have them.
NOT_HERE = "not on this host"

IN_MEMORY = "local memory"

#: Where the home of a block has it, in words; "" where that is no question.
_AT_HOME: dict[int, str] = {
    pb.TIER_UNSPECIFIED: "not there",
    pb.TIER_LOCAL_MEMORY: "memory",
    pb.TIER_LOCAL_SSD: "SSD",
}

#: Where bytes were found, in words.
TIER_NAMES: dict[int, str] = {
    pb.TIER_UNSPECIFIED: NOT_HERE,
    pb.TIER_LOCAL_MEMORY: IN_MEMORY,
    pb.TIER_LOCAL_SSD: "local SSD",
    pb.TIER_PEER: "other host",
    pb.TIER_ORIGIN: "origin",
}

Pairs = tuple[tuple[str, str], ...]


class Meta:
    """Metadata of exactly one version of an object; immutable.

    The fields that the hit path needs are attributes; the rest is decoded when it is first asked for.
    """

    __slots__ = ("_info", "_record", "block_bytes", "content_id", "name", "size_bytes")

    def __init__(self, name: str, record: bytes, info: pb.ObjectInfo | None = None) -> None:
        self.name = name
        self._record = record
        self._info = info
        if info is None:
            self.content_id, self.size_bytes, self.block_bytes = meta_record.decode_prefix(record)
        else:
            self.content_id, self.size_bytes, self.block_bytes = info.content_id, info.size, info.block_bytes

    @classmethod
    def from_info(cls, name: str, info: pb.ObjectInfo) -> Meta:
        """From an answer of the daemon."""
        return cls(name, b"", info)

    @property
    def info(self) -> pb.ObjectInfo:
        """All of it as the daemon wrote it."""
        if self._info is None:
            self._info = meta_record.decode(self._record)
            self._info.tier = (
                pb.TIER_LOCAL_MEMORY
            )  # where this was read from, not where the daemon once had it from
        return self._info

    @property
    def version(self) -> str:
        """ETag with its quotes, or what identifies a file's state."""
        return self.info.version

    @property
    def last_modified(self) -> float:
        """Seconds since the epoch, UTC."""
        return self.info.last_modified

    @property
    def content_type(self) -> str:
        """MIME type, as the store has it."""
        return self.info.content_type

    @property
    def headers(self) -> Pairs:
        """Further stored headers, names in lower case."""
        return tuple((header.name, header.value) for header in self.info.headers)

    @property
    def user_metadata(self) -> Pairs:
        """``x-amz-meta-*`` without the prefix."""
        return tuple((header.name, header.value) for header in self.info.user_metadata)

    @property
    def tier(self) -> int:
        """Where the metadata came from (``Tier`` of control.proto)."""
        return self.info.tier

    @property
    def stale_for_s(self) -> float:
        """Not 0: the origin could not be reached, and this had been past its time for so many seconds when the daemon said it."""
        return 0.0 if self._info is None else self._info.stale_for_ms / 1000

    @property
    def age_s(self) -> float:
        """Seconds since the origin was asked whose answer this is; known of what is stale."""
        return 0.0 if self._info is None else self._info.age_ms / 1000

    @property
    def block_count(self) -> int:
        """How many blocks the object has; an empty one has none."""
        return -(-self.size_bytes // self.block_bytes)

    def __repr__(self) -> str:
        return f"<Meta {self.name!r} {self.size_bytes:,} bytes, {self.content_id.hex()[:12]}>"


class Location:
    """Where the blocks of an object lie; ``tiers`` has one name of :data:`TIER_NAMES` per block, as this host has it.

    In a cluster ``homes`` has the name of each block's home, ``at_home`` where another home has a block that is not here ("memory", "SSD",
    "not there", "unknown" where it did not say; "" where it was not asked), and ``host`` is this host's own name; without one they are empty.
    ``pin``: what is pinned of it on this host, or None.
    """

    __slots__ = ("at_home", "homes", "host", "meta", "pin", "tiers")

    def __init__(
        self, meta: Meta, tiers: tuple[str, ...], homes: tuple[str, ...] = (), host: str = "", at_home: tuple[str, ...] = (),
        pin: PinnedObject | None = None,
    ) -> None:  # fmt: skip
        self.meta = meta
        self.tiers = tiers
        self.homes = homes
        self.host = host
        self.pin = pin
        self.at_home = at_home

    @classmethod
    def from_report(cls, name: str, report: pb.LocateReport) -> Location:
        """From an answer of the daemon."""
        tiers = tuple(TIER_NAMES.get(tier, "elsewhere") for tier in report.tiers)
        homes = tuple(report.hosts[number] for number in report.homes)
        at_home = tuple(
            _AT_HOME.get(there, "unknown") if here == pb.TIER_UNSPECIFIED and home != report.host else ""
            for here, home, there in zip(report.tiers, homes, report.at_home, strict=False)
        )
        pin = report.pin if report.HasField("pin") else None
        return cls(Meta.from_info(name, report.object), tiers, homes, report.host, at_home, pin)
