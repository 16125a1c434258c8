"""Whether an unknown object is asked about before it is read: where its blocks are likely on the SSD already.

Law. Counts only. An object whose metadata is not in memory is read outright, since its first block's answer brings size and version, too. After a
restart that lost the memory, or where metadata gave way to blocks, that reads from the origin what the SSD has; so there it is asked about by a HEAD,
which costs a round trip more where the SSD has nothing of it. Which of the two is the case changes by the hour, and is learnt from what was found:
after :data:`MISSES_MAX` questions in a row that found nothing no more are asked, until a read that was begun at the origin turns out to be of what
the SSD has.

Rejected: names on the SSD (a record for each object, to be kept in step with blocks that come and go); always a HEAD (each cold read pays); a rule
that begins with the restart and ends by a clock (a host reads its old data an hour later, or never).
"""

from __future__ import annotations

__all__ = ["MISSES_MAX", "AskFirst"]

#: What a host that never reads old data again pays once: so many round trips.
MISSES_MAX = 32


class AskFirst:
    """Of one host."""

    __slots__ = ("_misses",)

    def __init__(self) -> None:
        self._misses = 0

    @property
    def is_worth_it(self) -> bool:
        """Whether to ask before the next unknown object is read."""
        return self._misses < MISSES_MAX

    def found(self, is_on_ssd: bool) -> None:
        """An unknown object turned out to be on the SSD, or not."""
        self._misses = 0 if is_on_ssd else self._misses + 1
