"""How long a source takes to give the first sign of a read, learnt from the recent ones: a histogram that forgets, and a moving average.

Law. Numbers only: a time that was measured goes in, an expectation comes out. Whose times they are, what is asked of whom and when, is
decided elsewhere (:mod:`cashy.core.hedging`, :mod:`cashy.core.candidates`). Two figures, for two questions. *Is this read late?* asks for a high
percentile of the times at hand, since a mean says nothing of the tail. *Is this host slow?* asks for an average that follows within a few
reads, since a percentile of hundreds would need dozens of slow ones before it moves.

The histogram has buckets that grow by a fourth root of two, so a percentile is at most 19 % too high and never too low; its memory does not
grow. It forgets by halving all counts when there are ``WINDOW`` of them: the last reads count most, and nothing ever has to be
sorted. *Censored* times ("it had given no sign after 80 ms, then nobody waited any longer") count only where they say something: that
the source is slower than believed.

Rejected: keeping the last n times and sorting them (an allocation and a sort for each read); a decay by time (a source that is asked once
a minute would be forgotten between two reads); t-digests (exact where nobody looks, at the middle).

Sources: J. Dean and L. A. Barroso, "The Tail at Scale", CACM 56(2), 2013 (hedge at the 95th percentile); Finagle's peak EWMA.
"""

from __future__ import annotations

from math import log2

__all__ = ["SAMPLES_MIN", "STALE_S", "WINDOW", "Latencies"]

#: Counts are halved when there are so many, so between 128 and 256 reads say what is usual.
WINDOW = 256

#: With fewer times a percentile is a guess: one slow read out of ten would be the tail.
SAMPLES_MIN = 20

#: Part of the moving average that is the last time: four slow reads in a row make most of it.
_NEWEST = 0.2

#: The same where nothing had been heard for ``STALE_S``: what was before says little of now.
_NEWEST_AFTER_SILENCE = 0.8
STALE_S = 1.0

_FIRST_S = 1e-4
_PER_DOUBLING = 4
_BUCKETS = 82

assert _FIRST_S * 2 ** ((_BUCKETS - 1) / _PER_DOUBLING) > 100


class Latencies:
    """Times of one source, or of several together; seconds."""

    __slots__ = ("_counts", "_total", "average_s", "seen")

    def __init__(self) -> None:
        self._counts = [0.0] * _BUCKETS
        self._total = 0.0
        #: The moving average; None before the first time.
        self.average_s: float | None = None
        #: Times ever taken in.
        self.seen = 0

    def add(self, took_s: float, silent_for_s: float = 0.0) -> None:
        """One read gave its first sign after ``took_s``; none had for ``silent_for_s``."""
        took_s = max(0.0, took_s)
        average_s = self.average_s
        newest = _NEWEST if silent_for_s < STALE_S else _NEWEST_AFTER_SILENCE
        self.average_s = took_s if average_s is None else average_s + newest * (took_s - average_s)
        self._counts[_bucket(took_s)] += 1.0
        self._total += 1.0
        self.seen += 1
        if self._total >= WINDOW:
            self._counts = [count / 2 for count in self._counts]
            self._total /= 2

    def add_at_least(self, waited_s: float) -> None:
        """One read had given no sign after ``waited_s``, when it was given up: counts if that is longer than was expected."""
        if self.average_s is None or waited_s > self.average_s:
            self.add(waited_s)

    def percentile_s(self, part: float) -> float | None:
        """The time within which ``part`` (0 to 1) of the recent reads gave a sign, rounded up; None while too few are known."""
        if self.seen < SAMPLES_MIN:
            return None
        due = part * self._total
        for bucket, count in enumerate(self._counts):
            due -= count
            if due <= 0:
                return _end_s(bucket)
        return _end_s(_BUCKETS - 1)


def _bucket(took_s: float) -> int:
    if took_s <= _FIRST_S:
        return 0
    return min(_BUCKETS - 1, 1 + int(_PER_DOUBLING * log2(took_s / _FIRST_S)))


def _end_s(bucket: int) -> float:
    return float(_FIRST_S * 2 ** (bucket / _PER_DOUBLING))
