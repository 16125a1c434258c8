"""What a host does for others: their requests wait for its loop, and the blocks for its network. Follows ``cashy.master.peer_service``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .events import US, Draws
from .fill import Attempt
from .link import SharedLink
from .measures import Tier
from .placing import block_of

if TYPE_CHECKING:
    from .host import Host

__all__ = ["Serving"]

#: A turn of the loop that is so near is not waited for: it is nothing beside a block's time, and an event less.
_SOON_NS = 200 * US

#: Of a block; the last one can only be sent when all of it has arrived.
_FRAMES = 16


class Serving:
    """One host's answers."""

    def __init__(self, host: Host) -> None:
        self._host, self._world = host, host.world
        self._events, self._counts = host.world.events, host.world.measures.counts
        shape, times = host.world.shape, host.world.times
        self._service = Draws(
            (host.world.seed, 1000 + host.number), times.serve_ns, times.serve_sigma, pause_share=times.pause_share, pause_ns=times.pause_ns
        )  # fmt: skip
        self._block_ns = shape.block_ns(shape.nic_bytes_s)
        self._loop_free_ns = 0
        self.link = SharedLink(host.world.events, self._block_ns, self._sent)
        #: Blocks given to others.
        self.blocks = 0
        #: What others have asked of this host and is not over, in that order.
        self.asked: dict[Attempt, None] = {}

    def start_anew(self) -> None:
        """Nothing is on its way any more."""
        self.link.drop_all()
        self._loop_free_ns = 0

    def service_ns(self) -> int:
        """How long the loop takes for something small."""
        return int(self._service.next() * self._host.slow)

    def serve(self, attempt: Attempt) -> None:
        """A request has arrived: it waits for the loop."""
        host = self._host
        if attempt.is_over or not host.is_up or not self._reaches(attempt):
            return
        self._loop_free_ns = max(self._events.now_ns, self._loop_free_ns) + self.service_ns()
        hot = host.asking.hot
        if hot is not None and hot.asked(attempt):
            self._events.at(
                self._loop_free_ns + self._world.times.network_ns, attempt.asker.asking.sent_on, attempt
            )
            return
        if attempt.fill.content in host.memory:
            host.memory.touch(attempt.fill.content)
            if self._loop_free_ns - self._events.now_ns < _SOON_NS:
                self.send(attempt, Tier.PEER_MEMORY)
            else:
                self._events.at(self._loop_free_ns, self.send, attempt, Tier.PEER_MEMORY)
        else:
            self._events.at(self._loop_free_ns, self._serve_missing, attempt)

    def _serve_missing(self, attempt: Attempt) -> None:
        host, content = self._host, attempt.fill.content
        if attempt.is_over or not host.is_up:
            return
        if content in host.memory:
            host.memory.touch(content)
            self.send(attempt, Tier.PEER_MEMORY)
            return
        fill = host.fills.get(content)
        if fill is not None and any(
            each.peer == attempt.asker.number and not each.is_over for each in fill.attempts
        ):
            self.refuse(attempt, is_slow_down=True)  # each would wait for the other
            return
        # A holder of copies gets the block from its home.
        home = host.hosts.home(block_of(content))
        is_copy = attempt.copies > 0 and home != host.number and host.asking.is_worth_trying(home)
        fill = host.join(content, attempt, peers=[home] if is_copy else [])
        if fill.is_at_origin and not fill.is_done:
            attempt.waiting_ns = self._events.now_ns + self._world.times.network_ns

    def refuse(self, attempt: Attempt, *, is_slow_down: bool) -> None:
        """The asker must look elsewhere."""
        self._events.at(
            self._events.now_ns + self._world.times.network_ns,
            attempt.asker.asking.refused,
            attempt,
            is_slow_down,
        )

    # --- bytes ---

    def send(self, attempt: Attempt, tier: Tier, *, arrived_in_ns: int = 0, with_others: int = 0) -> None:
        """``arrived_in_ns``: the bytes were sent on while they came, for so long, and to so many other hosts as well."""
        if attempt.is_over or not self._host.is_up:
            return
        attempt.tier = tier
        self._counts["peer_reads_served"] += 1
        self.blocks += 1
        share = 1.0
        if arrived_in_ns:
            sent_ns = arrived_in_ns / (len(self.link) + with_others + 1) / self.link.slow
            share = max(1 / _FRAMES, 1.0 - sent_ns / self._block_ns)
        attempt.sign_ns = self.link.begin(attempt, share) + self._world.times.network_ns
        attempt.asker.asking.sign_is_due(attempt)

    def _sent(self, attempt: Attempt) -> None:
        self._events.at(self._events.now_ns + self._world.times.network_ns, self._arrives, attempt)

    def _arrives(self, attempt: Attempt) -> None:
        if not attempt.is_over and self._reaches(attempt):
            attempt.asker.asking.arrived(attempt)

    def _reaches(self, attempt: Attempt) -> bool:
        return self._world.network.reaches(self._host.number, attempt.asker.number)
