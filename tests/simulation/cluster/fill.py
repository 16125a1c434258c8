"""A block on its way to a host, and what is asked of others for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .measures import Tier

if TYPE_CHECKING:
    from cashy.master.lanes import Lane

    from .host import Host

__all__ = ["Attempt", "Fill", "LocalRead", "SecondPlace", "Waiter"]


class LocalRead:
    """A read of one block by a client of a host. ``on_done`` is told whether it got it."""

    __slots__ = ("on_done", "started_ns")

    def __init__(self, started_ns: int, on_done: Callable[[int, bool], None] | None = None) -> None:
        self.started_ns = started_ns
        self.on_done = on_done


class SecondPlace:
    """The place in a lane of a source that is asked beside the first."""

    is_demand = True
    owner = ""
    source = ""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes

    def start(self) -> None:
        """Never: it takes a place that is free, or none."""


class Attempt:
    """A block asked of another host: under way until its bytes have arrived, it failed, or nobody wants it any more.

    ``sign_ns``: when its first bytes are at the asker, ``waiting_ns``: when the word is that the other host is at the origin for it; 0: not yet.
    """

    __slots__ = (
        "asker", "copies", "fill", "has_sign", "hot", "is_final", "is_over", "lane", "peer", "place", "sign_ns", "started_ns", "tier",
        "waiting_ns",
    )  # fmt: skip

    def __init__(
        self, asker: Host, fill: Fill, peer: int, started_ns: int, lane: Lane, place: Fill | SecondPlace
    ) -> None:
        self.asker = asker
        self.fill = fill
        self.peer = peer
        self.started_ns = started_ns
        self.lane = lane
        self.place = place
        self.is_over = False
        self.has_sign = False  # what it says of its host's speed has been learnt
        self.sign_ns = 0
        self.waiting_ns = 0
        self.tier = Tier.PEER_MEMORY
        #: The host was chosen among so many that hold a hot block; it must not be sent on to yet another; what the answer says of the block's heat.
        self.copies = 0
        self.is_final = False
        self.hot: Any = None

    @property
    def is_sending(self) -> bool:
        """Whether bytes of other reads are coming from the host."""
        return self.asker.asking.is_sending(self.peer)


Waiter = LocalRead | Attempt


class Fill:
    """As the master's: one for each block and host however many ask. Also the lane's user."""

    __slots__ = (
        "asked_origin_ns", "attempts", "content", "copies", "host", "is_at_origin", "is_demand", "is_done", "is_final", "is_guest", "is_probe",
        "kept", "owner", "peers", "refusals", "second", "size_bytes", "source", "waiters", "wants_origin",
    )  # fmt: skip

    def __init__(
        self, host: Host, content: int, peers: list[int], *, is_demand: bool, is_guest: bool
    ) -> None:
        self.host = host
        self.content = content
        self.peers = peers
        self.is_demand = is_demand
        self.is_guest = is_guest
        #: The first host is slow, and asked to see whether it still is.
        self.is_probe = False
        #: Of the next host to be asked: see :class:`Attempt`.
        self.copies = 0
        self.is_final = False
        self.waiters: list[Waiter] = []
        self.attempts: list[Attempt] = []
        #: Whom else it is asked of: a host's name, or empty for the origin; None: of nobody else.
        self.second: tuple[str, Lane, SecondPlace] | None = None
        self.is_done = False
        self.is_at_origin = False
        self.refusals = 0
        #: The place of an origin read that began as the second and is the only one now.
        self.kept: tuple[Lane, SecondPlace] | None = None
        self.asked_origin_ns = 0
        self.wants_origin = False
        # What the lane wants to know of its users: all are one here, and no source has a limit.
        self.owner = ""
        self.source = ""
        self.size_bytes = host.world.shape.block_bytes

    def start(self) -> None:
        """It has a place."""
        self.host.start(self)
