"""The origin, and each host's way to it: the store has a latency, a speed for each connection, one for all, and says SlowDown when it has too much.

A host's way is the daemon's own (``cashy.core.backoff``): a window that refusals halve, a budget of retries, and full jitter between them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Protocol

from cashy.core.backoff import RetryBudget, Window, retry_delay_s

from .events import NS, Draws, Events
from .measures import Measures
from .model import Shape, Times
from .placing import block_of, version_of

__all__ = ["Origin", "OriginClient", "OriginRead"]

#: A block's whole time at a store, retries included (``block_timeout_s`` of an S3 origin).
_BLOCK_TIMEOUT_NS = 60 * NS


class OriginRead(Protocol):
    """A block that a host reads from the origin."""

    content: int
    wants_origin: bool
    refusals: int
    asked_origin_ns: int


class Origin:
    """The store behind all hosts."""

    def __init__(self, shape: Shape, times: Times, events: Events, measures: Measures, seed: int) -> None:
        self._shape, self._times = shape, times
        self._events, self._measures = events, measures
        self._latency = Draws(
            (seed, 1), times.origin_ns, times.origin_sigma,
            pause_share=times.origin_pause_share, pause_ns=times.origin_pause_ns,
        )  # fmt: skip
        self._block_ns = shape.block_ns(shape.origin_bytes_s)
        self._connection_ns = shape.block_ns(shape.origin_connection_bytes_s)
        self._free_ns = 0
        self.under_way = 0
        self._under_way_of: Counter[int] = Counter()
        #: The version of a block that there is now.
        self.current_version: Callable[[int], int] = lambda block: 0

    def begin(self, client: OriginClient, read: OriginRead) -> None:
        """One GET of one block."""
        now_ns = self._events.now_ns
        self._measures.origin_asked_ns.append(now_ns)
        if self.under_way >= self._shape.origin_requests_max:
            self._measures.counts["origin_refusals"] += 1
            self._events.at(now_ns + self._times.refusal_ns, client.refused, read)
            return
        self.under_way += 1
        self._measures.counts["origin_reads_doubled"] += self._under_way_of[read.content] > 0
        self._under_way_of[read.content] += 1
        self._measures.origin_under_way_max = max(self._measures.origin_under_way_max, self.under_way)
        begun_ns = now_ns + self._latency.next()
        self._free_ns = max(self._free_ns, begun_ns) + self._block_ns
        self._events.at(max(begun_ns + self._connection_ns, self._free_ns), self._given, client, read)

    def _given(self, client: OriginClient, read: OriginRead) -> None:
        self.under_way -= 1
        self._under_way_of[read.content] -= 1
        if not self._under_way_of[read.content]:
            del self._under_way_of[read.content]
        if self.current_version(block_of(read.content)) != version_of(read.content):
            client.changed(read)
            return
        self._measures.counts["origin_reads"] += 1
        self._measures.origin_gave_ns.append(self._events.now_ns)
        self._measures.given[read.content] += 1
        client.given(read)


class OriginClient:
    """One host's requests to the origin. ``given`` and ``failed`` are the host's: a block is there, or is not to be had."""

    def __init__(
        self, origin: Origin, shape: Shape, events: Events, random: Random,
        given: Callable[[OriginRead], None], failed: Callable[[OriginRead], None],
    ) -> None:  # fmt: skip
        self._origin, self._events, self._random = origin, events, random
        self._on_given, self._on_failed = given, failed
        self._window = Window(shape.origin_connections_max)
        self._budget = RetryBudget()
        self._queue: deque[OriginRead] = deque()
        self._busy = 0
        self.is_closed = False

    def submit(self, read: OriginRead) -> None:
        """Asks now, or when the window has a place; ``wants_origin`` false gives it up."""
        if not self.is_closed:
            self._queue.append(read)
            self._pump()

    def _pump(self) -> None:
        while self._queue and self._busy < self._window.limit:
            read = self._queue.popleft()
            if read.wants_origin:
                self._busy += 1
                self._origin.begin(self, read)

    def given(self, read: OriginRead) -> None:
        """The block is here."""
        if self.is_closed:
            return
        self._busy -= 1
        self._window.succeeded()
        self._budget.succeeded()
        if read.wants_origin:
            self._on_given(read)
        self._pump()

    def changed(self, read: OriginRead) -> None:
        """The object has another version now."""
        if self.is_closed:
            return
        self._busy -= 1
        self._window.succeeded()
        if read.wants_origin:
            self._on_failed(read)
        self._pump()

    def refused(self, read: OriginRead) -> None:
        """SlowDown: again later, if there is time and budget."""
        if self.is_closed:
            return
        now_ns = self._events.now_ns
        self._window.refused(self._busy, now_ns / NS)
        self._busy -= 1
        if read.wants_origin:
            read.refusals += 1
            left_s = (read.asked_origin_ns + _BLOCK_TIMEOUT_NS - now_ns) / NS
            delay_s = retry_delay_s(read.refusals, self._random.random(), asked_s=0.0, remaining_s=left_s)
            if delay_s is None or not self._budget.take():
                self._on_failed(read)
            else:
                self._events.at(now_ns + int(delay_s * NS), self.submit, read)
        self._pump()
