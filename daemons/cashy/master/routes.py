"""Routes: from whom a block is read, one after the other, until its bytes are here.

A route leads over the block's home and the hosts after it to the origin. Only the origin's own word is final: whatever a peer answers but bytes leads
to the next source, which goes on at the byte where the peer stopped, if it has the same version. To the fill that waits, a route is one read
of one origin: one ``begin``, one ``detached``, one outcome.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aviary.cashy.v1.control_pb2 import Tier
from cashy.core.names import Resolved
from cashy.errors import AccessDenied, CashyError, NoSuchBucket, NoSuchObject, OriginInvalid, VersionChanged
from cashy.limits import PEER_FILLS_MAX
from cashy.master.cluster import Cluster
from cashy.master.counters import Counters
from cashy.master.lanes import Lane
from cashy.origin.base import BlockRead, BlockSink, ObjectMeta, Origin
from cashy.peer.client import Peer
from cashy.peer.service import PeerRead

__all__ = ["Route", "Routes", "Target"]

#: What a peer says of the object itself: other peers would say the same, so the origin is asked next.
_ABOUT_THE_OBJECT = (NoSuchObject, NoSuchBucket, AccessDenied, VersionChanged)


@dataclass(frozen=True, slots=True)
class Target:
    """Block ``index`` at ``place``. ``version`` None takes what there is, and then ``url`` is the object's name."""

    place: Resolved
    source_key: str
    index: int
    version: str | None
    url: str = ""
    size_bytes: int | None = None


class Routes:
    """The ways of one host: its origins, and its cluster if it is in one."""

    def __init__(
        self, origins: Mapping[str, Origin], cluster: Cluster | None, counters: Counters, *, block_bytes: int, fills_max: int
    ) -> None:  # fmt: skip
        self.origins = origins
        self.cluster = cluster
        self.counters = counters
        self.block_bytes = block_bytes
        self.at_origins = Lane(fills_max)
        self.at_peers = Lane(PEER_FILLS_MAX)

    def peers_for(self, target: Target) -> Sequence[Peer]:
        """Hosts to ask before the origin; none for a block whose home is here."""
        if self.cluster is None:
            return ()
        return self.cluster.peers_for(target.place.origin, target.source_key, target.index)

    @property
    def takes_wishes(self) -> bool:
        """Whether there is room for one more prefetch."""
        return self.at_origins.takes_wishes and self.at_peers.takes_wishes

    def check_room(self) -> None:
        """Raises ``SlowDown`` if too many reads wait already."""
        self.at_origins.check_room()
        self.at_peers.check_room()

    @property
    def active(self) -> int:
        """Reads under way."""
        return self.at_origins.active + self.at_peers.active

    @property
    def waiting(self) -> int:
        """Reads waiting for a place."""
        return self.at_origins.waiting + self.at_peers.waiting


class Route:
    """One block on its way. Is the sink of each of its reads in turn."""

    __slots__ = (
        "_base", "_buffer", "_cancel_source", "_ended", "_is_attached", "_lane", "_on_done", "_peers", "_read", "_refused", "_routes", "_sink",
        "_target", "asked_at_ns", "is_demand", "is_guest", "meta", "peer", "started", "tier", "watermark",
    )  # fmt: skip

    def __init__(
        self, routes: Routes, target: Target, sink: BlockSink, on_done: Callable[[CashyError | None], None], *, is_demand: bool, forward: bool
    ) -> None:  # fmt: skip
        self._routes = routes
        self._target = target
        self._sink = sink
        self._on_done = on_done
        self.is_demand = is_demand
        self._peers = list(routes.peers_for(target)) if forward else []
        #: Whether another host is the block's home.
        self.is_guest = bool(self._peers)
        self._lane: Lane | None = None
        self._cancel_source: Callable[[], None] | None = None
        self._read: BlockRead | None = None
        self._buffer: memoryview | None = None
        self._is_attached = False
        self._refused: CashyError | None = None
        self._ended = False
        self.started = False
        self.meta: ObjectMeta | None = None
        self.watermark = 0
        self._base = 0
        #: The peer asked at the moment, by name; empty: none.
        self.peer = ""
        #: Where the bytes come from.
        self.tier = Tier.TIER_ORIGIN
        self.asked_at_ns = 0

    def launch(self) -> None:
        """Starts, or queues."""
        self._enter(first=False)

    def _enter(self, *, first: bool) -> None:
        self.started = False
        self._lane = self._routes.at_peers if self._peers else self._routes.at_origins
        self._lane.enter(self, first=first)

    @property
    def is_at_origin(self) -> bool:
        """Whether the origin is being asked, or a place there waited for, and no other host."""
        return self._lane is self._routes.at_origins and not self._ended

    @property
    def last_sign(self) -> float:
        """When the present source was asked, or another host last said that it is at it (CLOCK_MONOTONIC, seconds)."""
        heard_at = self._read.heard_at if isinstance(self._read, PeerRead) else 0.0
        return max(self.asked_at_ns / 1e9, heard_at)

    # --- LaneUser ---

    def start(self) -> None:
        """Asks the next source for what is missing."""
        self.started = True
        self._refused = None
        self.asked_at_ns = time.monotonic_ns()
        if self._peers:
            self._ask_peer(self._peers.pop(0))
        else:
            self._ask_origin()

    def _ask_peer(self, peer: Peer) -> None:
        self.peer, self.tier = peer.name, Tier.TIER_PEER
        assert self._routes.cluster is not None
        read = PeerRead(
            **self._range(),
            origin=self._target.place.origin,
            url=self._target.url,
            size_bytes=self._target.size_bytes,
            silence_s=self._routes.cluster.read_timeout_s,
            deadline_s=self._routes.cluster.read_total_s,
        )
        self._read = read
        self._routes.counters.add("peer_reads")
        self._cancel_source = lambda: peer.cancel_read_block(read)
        peer.begin_read_block(read)

    def _ask_origin(self) -> None:
        self.peer, self.tier = "", Tier.TIER_ORIGIN
        origin = self._routes.origins[self._target.place.origin]
        read = BlockRead(**self._range())
        self._read = read
        self._routes.counters.add("origin_reads")
        self._cancel_source = lambda: origin.cancel_read_block(read)
        origin.begin_read_block(read)

    def _range(self) -> dict[str, Any]:
        """The bytes still missing, as arguments of a read."""
        target, block_bytes = self._target, self._routes.block_bytes
        self._base = self.watermark
        return {
            "bucket": target.place.bucket,
            "key": target.place.key,
            "offset": target.index * block_bytes + self.watermark,
            "length": (block_bytes if self._buffer is None else len(self._buffer)) - self.watermark,
            "expected_version": target.version if self.meta is None else self.meta.version,
            "sink": self,
            "on_done": self._source_done,
        }

    # --- BlockSink, of the present source ---

    def begin(self, meta: ObjectMeta, length: int) -> memoryview:
        """Gives the fill's buffer, from where the bytes are missing."""
        if self._buffer is None:
            try:
                self._buffer = self._sink.begin(meta, length)
            except (VersionChanged, OriginInvalid):
                raise  # of a peer: the next source is asked
            except CashyError as error:
                self._refused = error
                raise
            self.meta = meta
            self._is_attached = True
            return self._buffer
        assert self.meta is not None
        if meta.version != self.meta.version:
            raise VersionChanged(
                f"half of {self._target.source_key} came as version {self.meta.version}, now it is {meta.version}"
            )
        if length != len(self._buffer) - self.watermark:
            raise OriginInvalid(
                f"{length} bytes of {self._target.source_key} are offered where {len(self._buffer) - self.watermark} are missing"
            )
        self._is_attached = True
        return self._buffer[self.watermark :]

    def advanced(self, watermark: int, crc: int | None = None) -> None:
        """More bytes are here."""
        self.watermark = self._base + watermark
        self._sink.advanced(self.watermark, None if self._base else crc)

    def detached(self) -> None:
        """The source will not write any more; the next one may, unless this was the last."""
        self._is_attached = False
        if self._ended:
            self._release()

    def _release(self) -> None:
        if self._buffer is not None and not self._is_attached:
            self._buffer = None
            self._sink.detached()

    # --- outcome ---

    def _source_done(self, _read: BlockRead, error: CashyError | None) -> None:
        assert self._lane is not None
        if self._buffer is not None and self.watermark == len(self._buffer) and self.peer:
            error = None  # all bytes are here and checked, whatever came after them
        if error is not None and self.peer and self._refused is None and not self._is_attached:
            self._routes.counters.add("peer_reads_failed")
            if isinstance(error, _ABOUT_THE_OBJECT):
                self._peers.clear()
            self.peer, self._read, self._cancel_source = "", None, None
            self._lane.leave(self)
            self._enter(first=True)
            return
        self._lane.leave(self)
        self._ended = True
        self._release()
        self._on_done(error)

    def cancel(self) -> None:
        """Gives up: no outcome comes; ``detached`` does if ``begin`` was called."""
        if self._ended:
            return
        self._ended = True
        if self._cancel_source is not None:
            self._cancel_source()
        if self._lane is not None:
            self._lane.leave(self)
        self._release()

    @property
    def fresh_until_ns(self) -> int | None:
        """Until when the peer vouches for what it said of the object (CLOCK_MONOTONIC), from the question on; None: the origin said it just now."""
        if isinstance(self._read, PeerRead):
            return self.asked_at_ns + int(self._read.fresh_for_s * 1e9)
        return None
