"""Which blocks are written to the SSD, and when: before they go, not as they come, and not as they go.

Law. This module decides over slot numbers what is offered to the SSD; it does not know what a slot holds, which disk takes it or refuses it, and what
time it is. The owner of the slots tells it what came and went, and what the eviction policy would let go next; it answers with those of them that
are to be written now, each once for the time that it stays. Nobody waits for a write: a block that must go before it was written goes unwritten, and
is counted, since an arena that waited for a disk would be as slow as the disk.

So memory has an edge of blocks that are already written and can go at once, :func:`edge` slots wide in each size class, and the writer follows the
eviction policy's own order of what goes next. What goes first is by then what the policy thinks least of; whether that is worth a write (seen before,
room in the rate) is the disk's admission to say, not this module's.

Guests (blocks whose home is another host, :mod:`cashy.core.admission`) are not written: their home has them, in memory or on its SSD, and a second
copy would take the room of a block that this host alone keeps. Nor are metadata records, which have to be asked for anew anyway.

Rejected (docs/ssd-tier.md has the figures): writing each block as it comes, when nobody knows how often it will be used and what stays in memory for
long takes room on the SSD, too (0.264 of the reads found there, 0.274 so, for as many writes); writing at eviction (0.270, and one read in eight
waits for the disk: the slot is wanted now, and its bytes would have to be copied or waited for); writing what is used most in idle time, against a
power cut: what is used most comes back first by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from cashy.core.lazy_memory import zeros

__all__ = ["EDGE_SHARE", "EDGE_SLOTS_MAX", "EDGE_SLOTS_MIN", "Demotion", "edge"]

#: The edge is one part in so many of a class: as large as a batch of victims, and what is named early is still found until it goes.
EDGE_SHARE = 16
#: In a small class as many as the blocks that one reader asks for at once, which come in one turn of the loop; but never more than a quarter of it.
EDGE_SLOTS_MIN = 16
#: And not wider: to name victims costs microseconds each, and beyond a few batches the writer is behind for good.
EDGE_SLOTS_MAX = 256

_NOTHING, _FRESH, _OFFERED, _KEPT_OFF = range(4)


def edge(tracked: int) -> int:
    """How many slots of a class with ``tracked`` of them are to be written before they go."""
    return min(EDGE_SLOTS_MAX, max(tracked // EDGE_SHARE, min(EDGE_SLOTS_MIN, tracked // 4)))


class Demotion:
    """What was offered and what not, one byte a slot."""

    def __init__(self, slot_count: int) -> None:
        self._state = zeros("B", slot_count)

    def came(self, slot: int, *, is_wanted: bool) -> None:
        """A block came into ``slot``; ``is_wanted``: it may be offered, being no guest and no metadata."""
        self._state[slot] = _FRESH if is_wanted else _KEPT_OFF

    def went(self, slot: int) -> bool:
        """The block has gone; True if it should have been offered and was not: the writer was behind."""
        state = self._state[slot]
        self._state[slot] = _NOTHING
        return state == _FRESH

    def is_due(self, slot: int) -> bool:
        """Whether it has yet to be offered."""
        return self._state[slot] == _FRESH

    def due(self, next_to_go: Iterable[int], count: int) -> list[int]:
        """Up to ``count`` of the slots that go next, in their order, that are to be offered now: each once."""
        chosen: list[int] = []
        for slot in next_to_go:
            if len(chosen) == count:
                break
            if self._state[slot] == _FRESH:
                self._state[slot] = _OFFERED
                chosen.append(slot)
        return chosen
