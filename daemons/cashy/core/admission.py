"""What becomes of guests: copies of blocks whose home is another host.

Law. This module alone decides how a block enters the eviction policy of this host: as any other, or as a *transient*, which goes first
when room is needed (:mod:`cashy.core.eviction` says what that means and what promotes it). It holds no block, knows no cluster and no
clock; whether a block is a guest is told to it by who knows the placement. A guest always enters: its reader must have it in memory.

The trade is this. A guest that is kept saves its next reader here a trip to its home, and takes the room of a block that this host has
for the whole cluster: lost, that one must come from the origin again. So blocks that are hot here are worth keeping, and those that
are read once are not. ``second-read`` tells them apart by the eviction policy's own means, a second touch or the ghost's memory, and so
costs no memory of its own. docs/placement.md has it simulated beside the other two.

Rejected: a coin (keep one guest in k, as web caches do): it keeps hot blocks late and cold ones at all; a sketch of frequencies of its own
(TinyLFU): the ghost says the same of the blocks that matter; asking the home how hot a block is: it does not see what its copies save it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["NORMAL", "PASSING", "TRANSIENT", "Admission", "Entry", "RuleForGuests", "make_admission"]


class Entry(NamedTuple):
    """How a block enters the eviction policy: the last arguments of :meth:`cashy.core.eviction.Policy.inserted`, by name."""

    is_transient: bool
    may_stay: bool


NORMAL = Entry(is_transient=False, may_stay=True)
TRANSIENT = Entry(is_transient=True, may_stay=True)
PASSING = Entry(is_transient=True, may_stay=False)

_GUESTS_BY_NAME = {"always": NORMAL, "second-read": TRANSIENT, "never": PASSING}


class Admission(Protocol):
    """What the owner of the slots asks for each block that has come."""

    def entry(self, fingerprint: int, *, is_guest: bool, has_room: bool) -> Entry:
        """How the block enters; ``fingerprint`` as for the eviction policy, ``has_room``: nothing had to go for it."""


class RuleForGuests:
    """One rule for all guests, whichever they are and whether there is room: what stands first to go costs nothing while there is."""

    def __init__(self, guest: Entry) -> None:
        self._guest = guest

    def entry(self, fingerprint: int, *, is_guest: bool, has_room: bool) -> Entry:  # noqa: D102 - see Admission
        return self._guest if is_guest else NORMAL


def make_admission(name: str) -> Admission:
    """Makes what a setting names: ``always``, ``second-read`` or ``never``; ValueError otherwise."""
    if name not in _GUESTS_BY_NAME:
        raise ValueError(f"there is no rule for local copies {name!r}: choose {', '.join(_GUESTS_BY_NAME)}")
    return RuleForGuests(_GUESTS_BY_NAME[name])
