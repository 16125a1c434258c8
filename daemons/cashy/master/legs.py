"""Legs of a route: one source each, asked for what is missing of a block."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cashy.master.lanes import Lane, LaneUser
from cashy.origin.base import BlockRead, ObjectMeta, Origin
from cashy.peer.client import Peer
from cashy.peer.service import PeerRead

if TYPE_CHECKING:
    from cashy.master.routes import Route

__all__ = ["Leg", "SecondPlace"]


class SecondPlace:
    """The place that a second leg takes, beside its route's own."""

    is_demand = True

    def __init__(self, owner: str, size_bytes: int, source: str) -> None:
        self.owner = owner
        self.size_bytes = size_bytes
        self.source = source

    def start(self) -> None:
        """Never: it takes a place that is free, or none."""


class Leg:
    """One read of one source. Is the sink of that read, and says everything on to its route."""

    __slots__ = (
        "_cancel", "_route", "asked_at", "base", "due_bytes", "has_sign", "is_over", "lane", "peer", "place", "read", "source",
    )  # fmt: skip

    def __init__(
        self, route: Route, peer: Peer | None, lane: Lane, place: LaneUser, *, source: str, due_bytes: int, base: int, asked_at: float
    ) -> None:  # fmt: skip
        self._route = route
        #: None: the origin.
        self.peer = peer
        self.lane = lane
        #: Who has the place in the lane.
        self.place = place
        #: Who it is, as the lane calls it, and the bytes that it was let through for and that have not come.
        self.source = source
        self.due_bytes = due_bytes
        #: Where in the block the read begins.
        self.base = base
        self.asked_at = asked_at
        self.has_sign = False
        self.is_over = False
        self.read: BlockRead
        self._cancel: Callable[[BlockRead], None]

    def ask(self, source: Peer | Origin, read: BlockRead) -> None:
        """Begins the read."""
        self.read = read
        self._cancel = source.cancel_read_block  # type: ignore[assignment]  # a PeerRead for a Peer
        source.begin_read_block(read)  # type: ignore[arg-type]  # likewise

    def cancel(self) -> None:
        """Gives the read up; ``detached`` comes if it had begun."""
        self._cancel(self.read)

    @property
    def name(self) -> str:
        """The other host's; empty: the origin."""
        return "" if self.peer is None else self.peer.name

    @property
    def is_of_memory(self) -> bool:
        """Whether the other host is asked for what it has in memory, and for nothing else."""
        return isinstance(self.read, PeerRead) and self.read.only_here

    @property
    def waiting_since(self) -> float:
        """When the other host said first that it is at the origin for this (CLOCK_MONOTONIC); 0.0: it has not."""
        return self.read.waiting_since if isinstance(self.read, PeerRead) else 0.0

    @property
    def heard_at(self) -> float:
        """When the source was asked, or gave a sign of this last."""
        return max(self.asked_at, self.read.heard_at if isinstance(self.read, PeerRead) else 0.0)

    @property
    def is_sending(self) -> bool:
        """Whether bytes of other reads are coming from the host."""
        return self.peer is not None and self.peer.is_sending()

    @property
    def is_silent(self) -> bool:
        """Whether the host gives no sign of life at all."""
        return self.peer is not None and self.peer.is_silent

    # --- BlockSink ---

    def begin(self, meta: ObjectMeta, length: int) -> memoryview:
        """The head of the answer."""
        return self._route.leg_begins(self, meta, length)

    def advanced(self, watermark: int, crc: int | None = None) -> None:
        """More bytes are here."""
        self._route.leg_advanced(self, watermark, crc)

    def detached(self) -> None:
        """The source will not write any more."""
        self._route.leg_detached()
