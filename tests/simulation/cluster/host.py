"""One host: its memory, its disk, and the blocks on their way to it. It follows ``cashy.master``'s fetches and fills.

Real are placement, admission, eviction, lanes, order of sources, hedging, and retries at the origin; bytes are only counted.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from tests.simulation.copies import Host as Memory

from cashy.core.admission import make_admission
from cashy.errors import SlowDown
from cashy.limits import PEER_FILLS_MAX
from cashy.master.lanes import Lane

from .asking import Asking
from .disk import Disk
from .events import NS, Draws
from .fill import Attempt, Fill, LocalRead, Waiter
from .measures import Tier
from .origin import OriginClient, OriginRead
from .placing import HostList, block_of
from .serving import Serving

if TYPE_CHECKING:
    from .world import World

__all__ = ["Host"]


class Host:
    """Host ``number``; ``hosts`` is the list that it has read last."""

    def __init__(self, world: World, number: int, hosts: HostList) -> None:
        self.world, self.number, self.hosts = world, number, hosts
        self._events, self._measures, self._counts = world.events, world.measures, world.measures.counts
        disk_draws = Draws((world.seed, 1_000_000 + number), world.times.disk_ns, world.times.disk_sigma)
        self.disk = Disk(world.shape, world.events, disk_draws) if world.shape.disk_blocks else None
        self._connection_ns = world.shape.block_ns(world.shape.origin_connection_bytes_s)
        self.slow = 1.0  # a factor on what its loop takes
        self.serving = Serving(self)
        self.forget_all()
        self.start_anew()

    @property
    def is_up(self) -> bool:
        """Whether it works."""
        return self.world.network.is_up[self.number]

    def forget_all(self) -> None:
        """Memory is empty."""
        shape = self.world.shape
        self.memory = Memory(
            shape.memory_blocks, policy=shape.eviction, admission=make_admission(shape.local_copies), evicted=self._evicted
        )  # fmt: skip

    def start_anew(self) -> None:
        """A master that has just started: nothing is under way, and nothing known of others."""
        shape = self.world.shape
        self.fills: dict[int, Fill] = {}
        self.at_peers = Lane(PEER_FILLS_MAX)
        self.at_origins = Lane(shape.fills_max)
        self.asking = Asking(self)
        self.serving.start_anew()
        self.origin = OriginClient(
            self.world.origin, shape, self._events, Random(f"{self.world.seed} {self.number} retries"),
            self._origin_gave, self._origin_failed,
        )  # fmt: skip

    def die(self) -> None:
        """All that is under way here ends without a word."""
        self.origin.is_closed = True
        self.serving.link.drop_all()
        for fill in list(self.fills.values()):
            fill.is_done = True
            fill.wants_origin = False
            for attempt in fill.attempts:
                self.asking.end(attempt)
            self._counts["reads_died"] += sum(isinstance(waiter, LocalRead) for waiter in fill.waiters)
        self.fills.clear()

    # --- a client's read ---

    def read(self, content: int, read: LocalRead) -> None:
        """A client here reads a block; with this host dead, nobody does."""
        if not self.is_up:
            self._counts["reads_not_asked"] += 1
            return
        self._counts["reads"] += 1
        if content in self.memory:
            self.memory.touch(content)
            self._counts["hits_memory"] += 1
            self._end_read(read, content, Tier.MEMORY, self.world.times.hit_ns)
        else:
            self._events.at(self._events.now_ns + self.world.times.ask_master_ns, self._want, content, read)

    def _want(self, content: int, read: LocalRead) -> None:
        """The miss has come to the master."""
        if not self.is_up:
            self._counts["reads_died"] += 1
        elif content in self.memory:
            self.memory.touch(content)
            self._end_read(read, content, Tier.MEMORY, 0)
        else:
            self.join(content, read)

    def _end_read(self, read: LocalRead, content: int, tier: Tier, more_ns: int) -> None:
        self._counts["reads_done"] += 1
        self._measures.read(read.started_ns, self._events.now_ns + more_ns, tier)
        if read.on_done is not None:
            self._events.at(self._events.now_ns + more_ns, read.on_done, content, True)

    def wish(self, content: int) -> bool:
        """Prefetch; False where there is no room for it."""
        if content in self.memory or content in self.fills:
            return True
        if not (self.at_origins.takes_wishes and self.at_peers.takes_wishes):
            return False
        self._counts["blocks_prefetched"] += 1
        self._begin(content, is_demand=False)
        return True

    # --- fills ---

    def join(self, content: int, waiter: Waiter, *, peers: list[int] | None = None) -> Fill:
        """Waits for a block: joins its fill, or starts one. ``peers``: whom to ask for it, where that is not for this host to choose."""
        fill = self.fills.get(content)
        if fill is None:
            return self._begin(content, is_demand=True, peers=peers, waiter=waiter)
        self._counts["fills_joined"] += 1
        fill.waiters.append(waiter)
        return fill

    def _begin(
        self, content: int, *, is_demand: bool, peers: list[int] | None = None, waiter: Waiter | None = None
    ) -> Fill:
        is_own = peers is None
        if peers is None:
            peers = self.asking.peers_for(block_of(content))
        fill = Fill(self, content, peers, is_demand=is_demand, is_guest=bool(peers))
        if waiter is not None:
            fill.waiters.append(waiter)
        self.fills[content] = fill
        self._counts["fills_started"] += 1
        if self.disk is not None and content in self.disk:
            self._events.at(self.disk.read_ends_ns(), self._disk_gave, fill)
        else:
            if is_own:
                self.asking.plan(fill)
            else:
                fill.is_final = True
            self.enter(fill, first=False)
        return fill

    def _disk_gave(self, fill: Fill) -> None:
        if not fill.is_done:
            self.done(fill, Tier.DISK)

    def enter(self, fill: Fill, *, first: bool) -> None:
        """Waits for a place: at peers while there are some to ask, then at the origin."""
        fill.is_at_origin = not fill.peers
        lane = self.at_peers if fill.peers else self.at_origins
        try:
            lane.check_room()
        except SlowDown:
            self._counts["slow_downs"] += 1
            self.asking.hedging.slow_down_seen(self._events.now_ns / NS)
            self._failed(fill)
            return
        lane.enter(fill, first=first)

    def start(self, fill: Fill) -> None:
        """The fill has a place: the next source is asked."""
        if not fill.is_at_origin:
            self.asking.ask(fill, self.at_peers)
        else:
            self.ask_origin(fill)

    def ask_origin(self, fill: Fill) -> None:
        """As its only source, or beside another host."""
        fill.asked_origin_ns = self._events.now_ns
        fill.wants_origin = True
        self.origin.submit(fill)

    def _end_fill(self, fill: Fill) -> None:
        fill.is_done = True
        self.fills.pop(fill.content, None)
        self.asking.give_up_all(fill)
        fill.wants_origin = False
        if fill.kept is not None:
            fill.kept[0].leave(fill.kept[1])
        for lane in (self.at_peers, self.at_origins):
            lane.leave(fill)

    def done(self, fill: Fill, tier: Tier) -> None:
        """The block is here."""
        self._end_fill(fill)
        self._counts["blocks_filled"] += 1
        self.memory.insert(fill.content, is_guest=fill.is_guest)
        arrived_in_ns = self._connection_ns if tier is Tier.ORIGIN else 0
        for waiter in fill.waiters:
            if fill.content in self.memory:
                self.memory.touch(fill.content)
            if isinstance(waiter, LocalRead):
                self._end_read(waiter, fill.content, tier, 0)
            else:
                self.serving.send(
                    waiter,
                    _AT_HOME[tier],
                    arrived_in_ns=arrived_in_ns,
                    with_others=len(fill.waiters) - 1,
                )

    def _failed(self, fill: Fill) -> None:
        """Nobody has it."""
        self._end_fill(fill)
        self._counts["fills_failed"] += 1
        for waiter in fill.waiters:
            if isinstance(waiter, Attempt):
                self.serving.refuse(waiter, is_slow_down=True)
            else:
                self._counts["reads_failed"] += 1
                if waiter.on_done is not None:
                    waiter.on_done(fill.content, False)

    # --- the origin ---

    def _origin_gave(self, read: OriginRead) -> None:
        assert isinstance(read, Fill)
        self._counts["blocks_from_origin"] += 1
        self.asking.origin_came(read)
        self.asking.sources.of_origin("origin").add(self.world.times.origin_ns / NS)
        self.done(read, Tier.ORIGIN)

    def _origin_failed(self, read: OriginRead) -> None:
        assert isinstance(read, Fill)
        read.wants_origin = False
        if not self.asking.origin_failed(read):
            self._failed(read)

    def _evicted(self, content: int) -> None:
        self._counts["blocks_evicted"] += 1
        if self.disk is not None and self.hosts.home(block_of(content)) == self.number:
            self.disk.write(content)


_AT_HOME = {
    Tier.DISK: Tier.PEER_DISK,
    Tier.ORIGIN: Tier.PEER_ORIGIN,
    Tier.PEER_MEMORY: Tier.PEER_MEMORY,
    Tier.PEER_DISK: Tier.PEER_DISK,
    Tier.PEER_ORIGIN: Tier.PEER_ORIGIN,
}
