"""Blocks that very many hosts want: at a home who asks, and at who asks what it was told. The rules are those of ``cashy.core.hot_blocks``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from .fill import Attempt, Fill
from .placing import block_of
from .plugs import HOT_BLOCKS

if TYPE_CHECKING:
    from .host import Host

__all__ = ["HotBlocks"]


class HotBlocks:
    """One host's part; follows ``cashy.master.hot_spots`` and ``Cluster.asks_for``."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._events, self._counts = host.world.events, host.world.measures.counts
        assert HOT_BLOCKS is not None
        self._rules: Any = HOT_BLOCKS
        self._heat, self._hints = self._rules.Heat(), self._rules.Hints()
        #: Requests that each other host has to answer to this one.
        self.under_way: Counter[int] = Counter()

    # --- who asks ---

    def spread(self, fill: Fill) -> None:
        """Of a hot block one of the hosts that hold it is asked first."""
        if fill.peers:
            copies = self._hints.copies(self._key(fill), self._events.now_ns)
            holder = self._holder(fill, copies, not_of=-1) if copies > 1 else None
            if holder is not None:
                fill.copies = copies
                fill.peers = [holder, *(peer for peer in fill.peers if peer != holder)]

    def sent_on(self, attempt: Attempt, hot: Any) -> None:
        """The home has said that others hold the block: one of them is asked, and the home itself if that comes to nothing."""
        fill = attempt.fill
        self._hints.note(self._key(fill), hot, self._events.now_ns)
        holder = self._holder(fill, hot.copies, not_of=attempt.peer)
        fill.copies = hot.copies if holder is not None else 0
        fill.is_final = holder is None
        fill.peers = [*([holder] if holder is not None else []), attempt.peer]

    def told(self, attempt: Attempt) -> None:
        """An answer says how hot its block is."""
        if attempt.hot is not None and attempt.hot.copies:
            self._hints.note(self._key(attempt.fill), attempt.hot, self._events.now_ns)

    def _holder(self, fill: Fill, copies: int, *, not_of: int) -> int | None:
        host = self._host
        numbers = host.hosts.ranked(block_of(fill.content), copies)[:copies]
        if host.number in numbers:
            return None
        candidates = [
            self._rules.Candidate(str(number), 1.0, self.under_way[number])
            for number in numbers
            if host.asking.is_worth_trying(number)
        ]
        order = [int(name) for name in self._rules.choose(candidates, self._key(fill), str(host.number))]
        return next((number for number in order if number != not_of), None)

    def _key(self, fill: Fill) -> int:
        return self._host.hosts.key(block_of(fill.content))

    # --- who is asked ---

    def asked(self, attempt: Attempt) -> bool:
        """Counts a request; whether the asker is sent on to another host."""
        host, block = self._host, block_of(attempt.fill.content)
        if attempt.is_final or not self.is_home(block):
            return False
        key, asker = host.hosts.key(block), str(attempt.asker.number)
        attempt.hot = hot = self._heat.asked(
            key, asker, attempt.copies, len(host.hosts.numbers), self._events.now_ns
        )
        if not hot.copies:
            return False
        self._counts["hot_reads"] += 1
        if (
            attempt.copies
            or attempt.asker.number in host.hosts.ranked(block, hot.copies)[: hot.copies]
            or not self._rules.is_sent_on(key, asker, hot.copies)
        ):
            return False
        self._counts["hot_reads_sent_on"] += 1
        return True

    def is_home(self, block: int) -> bool:
        """Whether this host is the block's home."""
        return self._host.hosts.home(block) == self._host.number
