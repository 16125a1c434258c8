"""Blocks that very many hosts ask for: how hot they are, how many hosts shall hold them, and which of those one host asks.

Law. Counting and choosing only; keys are :func:`cashy.core.placement.place_key`'s, times are arguments, nothing is read or sent. A hint is advice:
whoever follows an old or a wrong one asks a host that has to fetch the block first, and gets the bytes that everybody gets.

A block has one home, and with a thousand hosts that all want it within a second that home would send it a thousand times over one link. So the
home counts who asks it for what (:class:`Heat`). Where d askers come and k hosts hold copies, the home sends k - 1 of them to these and d / k to
askers: least for **k = √d**. So many it tells the askers of, for a short time: the first k hosts in the block's own order. An asker that has been
told chooses one of them (:func:`choose`); one that has not, and asks the home, is sent on to another one in k - 1 of k cases, before any byte. Hosts
that hold copies fetch them from the home when first asked. When the askers cease the count decays, k falls, and the copies are guests of their
hosts like any other: the first to go.

The home hears less, the more it sends on: a request that says it was chosen among k counts k times, which is right on average.

Memory is bounded: a table of so many blocks; for a new one the coldest goes of those that have not been asked for longest (as Space-Saving:
Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and top-k elements in data streams", ICDT 2005). Different hosts are told
apart in 256 bits (linear counting: Whang, Vander-Zanden and Taylor, ACM TODS 15(2), 1990), renewed with each half-life: one host that
asks a thousand times has no friends.

Rejected: more homes for every block (all memory pays for what few blocks need); hosts that gossip their loads (messages and state for what the
asked one knows); each asker as a copy for the next, in a chain (one slow host in it slows all behind it); a lasting directory of copies.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from math import ceil, log, sqrt
from typing import NamedTuple
from zlib import crc32

__all__ = [
    "COPIES_MAX", "HALF_LIFE_NS", "HOT_COUNT", "HOT_HOSTS", "NOT_HOT", "Candidate", "Heat", "Hints", "Hot", "choose", "is_sent_on",
]  # fmt: skip

#: What was asked this long ago counts half: a burst of a job's start is noticed within it, and forgotten after some.
HALF_LIFE_NS = 5_000_000_000

#: A block is hot from so many asks on (decayed), of so many different hosts: below that a home's link does not notice.
HOT_COUNT = 16.0
HOT_HOSTS = 4

#: Hosts that hold a block at most: the square root of the largest cluster's hosts.
COPIES_MAX = 32

#: How long a hint is good for; the next answer renews it.
_HOT_FOR_S = 10.0

#: Blocks whose heat is kept (about 300 bytes each), and of how many of the longest unasked ones the coldest goes.
_BLOCKS_MAX = 4096
_WEIGHED = 8

#: Hints kept (about 200 bytes each).
_HINTS_MAX = 8192

_SEEN_BITS = 256


class Hot(NamedTuple):
    """``copies``: of how many hosts, the first in its order, a block may be asked for ``for_s`` seconds; 0: of its home."""

    copies: int
    for_s: float


NOT_HOT = Hot(0, 0.0)


class _Entry:
    __slots__ = ("at_ns", "before", "count", "seen", "seen_since_ns")

    def __init__(self, now_ns: int) -> None:
        self.count = 0.0
        self.at_ns = self.seen_since_ns = now_ns
        self.seen = self.before = 0  # bits of the askers of this half-life and the one before

    def decayed(self, now_ns: int) -> float:
        return float(self.count * 0.5 ** ((now_ns - self.at_ns) / HALF_LIFE_NS))

    def add(self, asker: str, weight: int, now_ns: int) -> None:
        self.count = self.decayed(now_ns) + weight
        self.at_ns = now_ns
        passed = (now_ns - self.seen_since_ns) // HALF_LIFE_NS
        if passed:
            self.before, self.seen = (self.seen if passed == 1 else 0), 0
            self.seen_since_ns += passed * HALF_LIFE_NS
        self.seen |= 1 << crc32(asker.encode()) % _SEEN_BITS

    @property
    def hosts(self) -> float:
        """About how many different hosts have asked."""
        unseen = _SEEN_BITS - (self.seen | self.before).bit_count()
        return _SEEN_BITS * log(_SEEN_BITS / max(1, unseen))


class Heat:
    """What other hosts ask this one for."""

    def __init__(self, blocks_max: int = _BLOCKS_MAX) -> None:
        self._blocks_max = blocks_max
        self._entries: OrderedDict[int, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def asked(self, key: int, asker: str, copies: int, homes: int, now_ns: int) -> Hot:
        """Host ``asker``, which chose among ``copies`` hosts (0 or 1: it knows of no others), asks for a block; ``homes`` hosts could hold it. How
        hot it is.
        """
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(now_ns)
            if len(self._entries) > self._blocks_max:
                self._forget_a_cold_one(now_ns)
        else:
            self._entries.move_to_end(key)
        entry.add(asker, min(max(1, copies), COPIES_MAX), now_ns)
        return self._hot(entry, homes, now_ns)

    def _hot(self, entry: _Entry, homes: int, now_ns: int) -> Hot:
        count = entry.decayed(now_ns)
        # Of the hosts at most half: who holds a copy gets it from the home, so were all of them holders the home would send as often as before.
        wanted = min(ceil(sqrt(count)), COPIES_MAX, (homes + 1) // 2)
        if count < HOT_COUNT or entry.hosts < HOT_HOSTS - 0.5 or wanted < 2:
            return NOT_HOT
        return Hot(wanted, _HOT_FOR_S)

    def hot_blocks(self, homes: int, now_ns: int) -> int:
        """How many blocks are hot at present."""
        return sum(self._hot(entry, homes, now_ns) is not NOT_HOT for entry in self._entries.values())

    def _forget_a_cold_one(self, now_ns: int) -> None:
        coldest = min(islice(self._entries, _WEIGHED), key=lambda key: self._entries[key].decayed(now_ns))
        del self._entries[coldest]


class Hints:
    """What a host was told of hot blocks."""

    def __init__(self, hints_max: int = _HINTS_MAX) -> None:
        self._hints_max = hints_max
        self._until: OrderedDict[int, tuple[int, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def note(self, key: int, hot: Hot, now_ns: int) -> None:
        """A home has said how hot a block is."""
        if hot.copies < 2:
            self._until.pop(key, None)
            return
        copies, for_s = min(hot.copies, COPIES_MAX), min(max(0.0, hot.for_s), _HOT_FOR_S)
        self._until[key] = copies, now_ns + int(for_s * 1e9)
        self._until.move_to_end(key)
        if len(self._until) > self._hints_max:
            self._until.popitem(last=False)

    def copies(self, key: int, now_ns: int) -> int:
        """Of how many hosts a block may be asked; 0: nothing is known."""
        found = self._until.get(key)
        if found is None:
            return 0
        copies, until_ns = found
        if until_ns <= now_ns:
            del self._until[key]
            return 0
        return copies


class Candidate(NamedTuple):
    """A host that holds a hot block; ``under_way``: requests that it has to answer to the asking host."""

    name: str
    weight: float
    under_way: int


def choose(candidates: Iterable[Candidate], key: int, asker: str) -> list[str]:
    """The hosts in the order in which ``asker`` should ask them: the least busy for its weight first; equal ones in an order that is each asker's
    own.
    """

    def rank(candidate: Candidate) -> tuple[float, int]:
        own_order = crc32(f"{key}:{asker}:{candidate.name}".encode())
        return (candidate.under_way + 1) / candidate.weight, own_order

    return [candidate.name for candidate in sorted(candidates, key=rank)]


def is_sent_on(key: int, asker: str, copies: int) -> bool:
    """Whether the home sends an asker that was told nothing yet on to another holder: all but one of ``copies``, always the same."""
    return crc32(f"{asker}:{key}".encode()) % copies != 0
