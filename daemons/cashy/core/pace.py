"""A bandwidth limit: how long the next read has to wait so that no more than so many bytes a second are asked for.

Law. Arithmetic only: times are arguments, whoever asks waits. The bucket may go below zero: a read is let through as soon as the bucket
is not empty, and its bytes are owed afterwards. So a read larger than the burst passes too (waiting until a bucket of a MiB holds a
block of 4 MiB would be for ever), the rate over any long time is exact, and what was not needed after all (the block was shorter, the read
was given up) is given back.

Reads are paced by when they begin and never dropped: who waits too long has a deadline, and how many may wait is another limit's business
(:mod:`cashy.core.shares`).

Rejected: pacing each byte as it is received (a transfer that is held up in the middle keeps its connection, its slot and its place, and times
out); a leaky bucket with one read at a time (a link is full only with several under way).

Source: the token bucket of RFC 2697, with debt.
"""

from __future__ import annotations

__all__ = ["BURST_S", "Pace"]

#: What may come at once after a quiet time, in seconds of the rate.
BURST_S = 0.1


class Pace:
    """A limit of ``bytes_per_s`` (more than 0) for one source."""

    __slots__ = ("_at_s", "_burst_bytes", "_bytes", "bytes_per_s")

    def __init__(self, bytes_per_s: float) -> None:
        if bytes_per_s <= 0:
            raise ValueError(f"a rate of {bytes_per_s} bytes per second lets nothing through")
        self.bytes_per_s = bytes_per_s
        self._burst_bytes = bytes_per_s * BURST_S
        self._bytes = self._burst_bytes
        self._at_s: float | None = None

    def wait_s(self, now_s: float) -> float:
        """How long the next read must wait; 0.0: it may begin."""
        self._refill(now_s)
        return 0.0 if self._bytes > 0 else -self._bytes / self.bytes_per_s + 1e-6

    def take(self, size_bytes: int, now_s: float) -> None:
        """A read of so many bytes begins."""
        self._refill(now_s)
        self._bytes -= size_bytes

    def give_back(self, size_bytes: int) -> None:
        """So many bytes of those taken will not come."""
        self._bytes += size_bytes

    def _refill(self, now_s: float) -> None:
        if self._at_s is not None and now_s > self._at_s:
            self._bytes = min(self._burst_bytes, self._bytes + (now_s - self._at_s) * self.bytes_per_s)
        self._at_s = now_s if self._at_s is None else max(self._at_s, now_s)
