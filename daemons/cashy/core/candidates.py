"""In which order the hosts that may have a block are asked for it: by what each is expected to take, without giving up a block's home lightly.

Law. One pure function of what is known: who the candidates are, in the block's own order (:mod:`cashy.core.placement`), who of them has
the block for certain, how long each takes to answer, how much is under way there. It asks nobody, and keeps nothing.

A block's home is not just any host: it has the block, or is the one that reads it for everybody, and each reader that goes elsewhere makes the
next host read the block from the origin once more. So among those that *hold* a block (its home, and hosts with copies of a hot one) the one
with the least load is asked, by peak EWMA: expected time times what is under way. And a holder is left for a host that would have to fetch the
block only where it is *clearly* slower than that fetch: more than ``SLOW_FACTOR`` times as slow, and by more than ``SLOW_MARGIN_S``. What is
under way has no part in that: blocks of one read go out together, and a long queue at a healthy home is no reason to read the origin.

Every host decides by what it measures itself. Where two disagree, a block is read from the origin twice: more reads, right bytes.

Rejected: two random choices (a block has one home, not a pool of equal servers); leaving a home as soon as another one is faster
(hosts would take turns in being faster, and every block would be read everywhere).

Sources: Finagle's peak EWMA balancer; Mitzenmacher, "The power of two choices", 2001, for what is rejected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = [
    "LOST_IN_A_ROW",
    "MISS_UNKNOWN_S",
    "PROBE_FIRST_S",
    "PROBE_MAX_S",
    "SLOW_FACTOR",
    "SLOW_MARGIN_S",
    "Candidate",
    "in_order",
    "is_slow",
]

#: A host is slow when another way takes less than this part of its time …
SLOW_FACTOR = 2.0

#: … and at least so much less: below it nobody notices, and a loop that stood still once must not move blocks.
SLOW_MARGIN_S = 0.050

#: What a read from the origin takes while none has been seen.
MISS_UNKNOWN_S = 0.050

#: A slow host that is not asked says nothing of itself; so it is asked again after this, with the next host beside it, and if it is still the
#: slower one, after twice as long. Most hosts that are slow have stood still for a moment.
PROBE_FIRST_S = 0.25
PROBE_MAX_S = 4.0

#: Races that a host must lose one after the other to be slow, each begun after the last was lost: reads asked twice are cut short, so that
#: their times alone would never show how slow it is.
LOST_IN_A_ROW = 3


class Candidate(NamedTuple):
    """One host that may be asked. ``expected_s``: its usual time to a first sign, None: unknown.

    ``holds``: it has the block, or reads it for everybody.
    """

    name: str
    expected_s: float | None
    outstanding: int
    holds: bool

    def cost_s(self, miss_s: float) -> float:
        """The time until bytes come, ``miss_s`` being what the origin takes."""
        return (self.expected_s or 0.0) + (0.0 if self.holds else miss_s)


def in_order(candidates: Sequence[Candidate], miss_s: float) -> list[str]:
    """Names of all candidates, the first to be asked first; ``candidates`` are in the block's own order."""
    holders = sorted(
        (each for each in candidates if each.holds), key=_load
    )  # sorted keeps the order of equals
    ordered = [*holders, *(each for each in candidates if not each.holds)]
    slow = [each for each in ordered if is_slow(each, candidates, miss_s)]
    slow.sort(key=lambda each: each.cost_s(miss_s))
    return [each.name for each in ordered if each not in slow] + [each.name for each in slow]


def is_slow(candidate: Candidate, candidates: Sequence[Candidate], miss_s: float) -> bool:
    """Whether another of ``candidates`` is clearly the better way."""
    best_s = min(each.cost_s(miss_s) for each in candidates)
    cost_s = candidate.cost_s(miss_s)
    return cost_s > SLOW_FACTOR * best_s and cost_s > best_s + SLOW_MARGIN_S


def _load(candidate: Candidate) -> float:
    return (candidate.expected_s or 0.0) * (1 + candidate.outstanding)
