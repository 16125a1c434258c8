"""How often blocks were used, from the touch marks that readers leave.

Law. A reader leaves a mark each time it pins or copies a block, and the owner takes marks in by batches, when it has time or needs room. How
many uses a batch stands for is decided here, from the order of its marks alone: it must not depend on when the owner came by. Were all marks
of a block in a batch one use, a block read ten times while there is room for all would count as read once, and be among the first to go when
room becomes scarce; and one that is a copy of another host's (:mod:`cashy.core.admission`) is not remembered for long enough to prove itself later.

Nor is each mark a use, as a block that is read in small pieces leaves one for each, and a scan would look like what is read again and again.
So a mark that comes soon after another of the same block belongs to the same use: by one reader, or by a few that read in turns through one
client. What that costs: a block that is read again at once, and no other between, has been used once.

Rejected: a time in each mark (eight bytes more in each hit, and a clock's reading, for what the order says nearly as well).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["PIECES_APART_MAX", "uses"]

#: Marks from one piece of a block to the next by which both are one use: readers in turns. As many blocks are read ahead for one reader.
PIECES_APART_MAX = 4


def uses(marks: Iterable[int]) -> Iterator[int]:
    """The marks, oldest first, that begin a use of their block."""
    last: dict[int, int] = {}
    for at, mark in enumerate(marks):
        before = last.get(mark)
        last[mark] = at
        if before is None or at - before > PIECES_APART_MAX:
            yield mark
