"""The engine's counters and its longest pauses; the loop's thread writes them, the metrics page reads them."""

from __future__ import annotations

import time

__all__ = ["Figures"]


class Figures:
    """Plain numbers: one writer, and a reader that may see one of them a moment older than the other."""

    def __init__(self) -> None:
        self.requests = 0
        self.reports = 0
        self.records = 0
        #: The engine's own cancels that a venue has refused.
        self.cancels_refused = 0
        self.commits_failed = 0
        self.fronts = 0
        self.fronts_dropped = 0
        self.turns = 0
        #: How long the loop was away from its semaphore at the longest, in all and since the metrics were last read.
        self.longest_turn_s = 0.0
        self._longest_since_s = 0.0
        self._began = 0.0

    def woken(self) -> None:
        """The loop has come back from waiting."""
        self._began = time.monotonic()

    def turn(self, records: int) -> None:
        """A turn is over."""
        self.turns += 1
        self.records += records
        now = time.monotonic()
        took, self._began = now - self._began, now
        self.longest_turn_s = max(self.longest_turn_s, took)
        self._longest_since_s = max(self._longest_since_s, took)

    def take_longest_s(self) -> float:
        """The longest turn since this was last asked."""
        longest, self._longest_since_s = self._longest_since_s, 0.0
        return longest
