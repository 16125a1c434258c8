"""A cluster of caching hosts, one request at a time: what its rule for guests is worth.

Placement, admission and eviction are the real ones. Left out are sizes (every block is one slot of one class), pins and time; so two hosts
never miss the same block at once. Touches reach a policy late, and victims go in batches, as in the master's store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cashy.core.admission import Admission, make_admission
from cashy.core.eviction import Policy, make_policy
from cashy.core.placement import Member, Ranking, place_key
from cashy.core.uses import uses

__all__ = ["Cluster", "Host", "Outcome", "Request", "fingerprint", "play"]

#: Host number, block number.
Request = tuple[int, int]

EVICTION_BATCH_SLOTS = 64
BATCH_SHARE = 16  # of the slots, at most this part goes at once
HARVEST_EVERY = 64  # insertions and hits between two harvests of touch marks


def fingerprint(block: int) -> int:
    """64 bits that stand for a block, as the master's come from its digest."""
    return place_key("fingerprint", "", block)


class Host:
    """The memory of one host. ``evicted`` is told of each block that goes."""

    def __init__(
        self,
        slot_count: int,
        *,
        policy: str,
        admission: Admission,
        evicted: Callable[[int], None] = lambda block: None,
    ) -> None:
        self._evicted = evicted
        self._policy: Policy = make_policy(policy, slot_count, 1)
        self._admission = admission
        self._batch = max(1, min(EVICTION_BATCH_SLOTS, slot_count // BATCH_SHARE))
        self._slot_of: dict[int, int] = {}
        self._block_in: dict[int, int] = {}
        self._free = list(range(slot_count))
        self._marks: list[int] = []
        self._marked = 0

    def __contains__(self, block: int) -> bool:
        return block in self._slot_of

    def touch(self, block: int) -> None:
        """A reader here, or another host, has got the block from this memory."""
        self._marks.append(self._slot_of[block])
        self._marked += 1
        if self._marked % HARVEST_EVERY == 0:
            self._harvest()

    def insert(self, block: int, *, is_guest: bool) -> None:
        """The block has come; what must go for it goes."""
        has_room = bool(self._free)
        if not has_room:
            self._make_room()
        slot = self._free.pop()
        self._slot_of[block], self._block_in[slot] = slot, block
        mark = fingerprint(block)
        entry = self._admission.entry(mark, is_guest=is_guest, has_room=has_room)
        self._policy.inserted(slot, mark, 0, **entry._asdict())

    def _make_room(self) -> None:
        self._harvest()
        for slot in self._policy.victims(0, self._batch):
            self._policy.removed(slot)
            block = self._block_in.pop(slot)
            del self._slot_of[block]
            self._free.append(slot)
            self._evicted(block)

    def _harvest(self) -> None:
        for slot in uses(self._marks):
            if slot in self._block_in:
                self._policy.touched(slot)
        self._marks.clear()


@dataclass(frozen=True)
class Outcome:
    """Shares of the requests counted: served from the reader's own host, from the block's home, and read from the origin."""

    local: float
    home: float
    origin: float

    @property
    def cluster(self) -> float:
        """Share that did not need the origin."""
        return self.local + self.home


class Cluster:
    """Hosts of equal size; each block has one home, all have the same rule for guests."""

    def __init__(
        self, host_count: int, slots_per_host: int, *, local_copies: str, policy: str = "s3fifo"
    ) -> None:
        names = [f"host{number}" for number in range(host_count)]
        self._number_of = {name: number for number, name in enumerate(names)}
        self._ranking = Ranking(Member(name) for name in names)
        self._homes: dict[int, int] = {}
        admission = make_admission(local_copies)
        self.hosts = [Host(slots_per_host, policy=policy, admission=admission) for _ in names]

    def read(self, request: Request) -> str:
        """One read of one block at one host; says where it was: ``local``, ``home`` or ``origin``."""
        number, block = request
        here = self.hosts[number]
        if block in here:
            here.touch(block)
            return "local"
        home_number = self.home(block)
        home = self.hosts[home_number]
        found = block in home
        if not found:
            home.insert(block, is_guest=False)
        home.touch(block)
        if home is not here:
            here.insert(block, is_guest=True)
            here.touch(block)
        return "home" if found else "origin"

    def home(self, block: int) -> int:
        """Number of the block's home."""
        if (home := self._homes.get(block)) is None:
            name = self._ranking.first(place_key("origin", "", block), 1)[0]
            home = self._homes[block] = self._number_of[name]
        return home


def play(cluster: Cluster, requests: Iterable[Request], *, warm_up: int) -> Outcome:
    """Plays all requests and counts those after the first ``warm_up``."""
    counts = {"local": 0, "home": 0, "origin": 0}
    for number, request in enumerate(requests):
        where = cluster.read(request)
        if number >= warm_up:
            counts[where] += 1
    total = sum(counts.values())
    return Outcome(**{where: count / total for where, count in counts.items()})
