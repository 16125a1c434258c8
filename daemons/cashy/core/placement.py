"""Which host is a block's home: weighted rendezvous hashing over the hosts' names.

Law. The home of a block is a function of the block's place (origin, key, index) and of the members' names and weights, and of nothing else:
not of their order in a file, not of who is up, not of what was asked before. So all hosts that read the same list agree without a message,
and a host that leaves (or joins) moves only the blocks it had (or gets). Who is up is the caller's business: it walks the ranking and
skips whom it cannot reach. The *version* of an object has no part in the key, so that an object whose version is not known yet can be asked
for at its home. No host may change a constant of this module alone: two hosts that place differently each fetch every block.

Rendezvous ("highest random weight") hashing: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM
Transactions on Networking 6(1), 1998. Weights by the score -w / ln(u): Schindelhauer and Schomaker, "Weighted distributed hash tables",
SPAA 2005; a host's share is then exactly its part of all weights, and a changed weight moves only what that host gains or loses.

All members' hashes of a key are computed at once, each in a lane of 128 bits of one Python integer: a multiplication by the key gives all
128-bit products, exclusive-or of their halves folds them. Members of one weight are compared by their hashes alone, by halving the integer
with a lane-wise maximum until one lane is left; so a logarithm is needed for each *distinct weight* only, and a thousand hosts cost some
dozens of operations of the interpreter, not thousands. A few hosts, or many weights, are scored one by one; the order is the same.

Rejected: a hash ring (uneven unless each host has hundreds of points, a table to keep, and weights only in steps of a point); jump hash
(only the last host can leave); modulo (a change of n moves nearly everything); Maglev and other tables (must be built again by every
host for every change, and give no second choice); a digest per host and key (a millisecond for a thousand hosts).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby, islice
from math import isfinite, log
from struct import Struct

__all__ = ["MEMBERS_MAX", "Member", "Ranking", "place_key"]

#: A ranking of more would take longer than the read it is for; and such a cluster should not be a flat one.
MEMBERS_MAX = 10_000

_KEY_BYTES = 8
_WORD_BITS = 8 * _KEY_BYTES
_WORD_MASK = (1 << _WORD_BITS) - 1
_LANE_BITS = (
    2 * _WORD_BITS
)  # holds a product of two words; afterwards a draw in its lower word, and zero above
_LANE_BYTES = _LANE_BITS // 8
# A draw is a member's hash for a key, above the member's number, so that the greatest draw says whose it is and no two draws are equal.
_NUMBER_BITS = 16
_NUMBER_MASK = (1 << _NUMBER_BITS) - 1
_HASH_MASK = _WORD_MASK ^ _NUMBER_MASK
_GUARD_BIT = 1 << _WORD_BITS
_MULTIPLIER = 0x9E37_79B9_7F4A_7C15  # 2^64 divided by the golden ratio, odd: Knuth, TAOCP 3, 6.4
# A hash as a number strictly between 0 and 1: with the half added it has 49 bits, so a double holds it exactly.
_HASH_STEP = 0.5 ** (_WORD_BITS - _NUMBER_BITS)
# Up to so many members, or where a weight has fewer members than this on average, they are scored one by one: measured.
_FEW_MEMBERS = 24
_FEW_OF_A_WEIGHT = 8

assert MEMBERS_MAX < _NUMBER_MASK
assert _WORD_BITS - _NUMBER_BITS + 1 <= 53, "the score's argument would be rounded, perhaps to 1"


@dataclass(frozen=True, slots=True)
class Member:
    """A host of the cluster; its share of the blocks is ``weight`` divided by the sum of all (0: it is no block's home)."""

    name: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a member of the cluster needs a name")
        if not (isfinite(self.weight) and self.weight >= 0):
            raise ValueError(
                f"host {self.name!r}: the weight is {self.weight}, it must be 0 or more, and finite"
            )


def place_key(origin: str, source_key: str, index: int) -> int:
    """64 bits that stand for block ``index`` (0 …) of an object, whatever its version; the same on every host, for ever.

    ``origin`` is the origin's name, which must be the same on all hosts; ``source_key`` is what the origin calls the object. Each field
    goes in with its length in front, so that no two lists of fields make the same bytes.
    """
    text = f"{index}:{len(origin)}:{origin}{source_key}".encode("utf-8", "surrogatepass")
    digest = blake2b(text, digest_size=_KEY_BYTES, person=b"cashy place 1").digest()
    return int.from_bytes(digest, "little")


class Ranking:
    """The members in order of preference, for any key. ValueError for two members of one name, or more than ``MEMBERS_MAX``."""

    def __init__(self, members: Iterable[Member]) -> None:
        # By name within a weight: the order in which they were given must not matter.
        given = sorted(members, key=lambda member: (member.weight, member.name))
        _check_members(given)
        homes = [member for member in given if member.weight > 0]
        self._names = [member.name for member in homes]
        self._weights = [member.weight for member in homes]
        seeds = [_seed(name) for name in self._names]
        # Odd factors: multiplying by one loses nothing. The second half comes in between the rounds, so that no key is degenerate.
        self._factors = _lanes((seed | 1) & _WORD_MASK for seed in seeds)
        self._offsets = _lanes(seed >> _WORD_BITS for seed in seeds)
        self._numbers = _lanes(range(1, len(homes) + 1))
        self._word_masks = _lanes(_WORD_MASK for _ in homes)
        self._hash_masks = _lanes(_HASH_MASK for _ in homes)
        self._groups = list(_groups(self._weights))
        self._unpack = Struct("<" + "Q8x" * len(homes)).unpack
        self._is_one_by_one = len(homes) <= _FEW_MEMBERS or len(homes) < len(self._groups) * _FEW_OF_A_WEIGHT

    def first(self, key: int, count: int) -> list[str]:
        """Names of the ``count`` best hosts for ``key`` (64 bits, see :func:`place_key`), best first; fewer if there are no more.

        The first is the block's home. Members of weight 0 are never named.
        """
        lanes = self._draws(key)
        if self._is_one_by_one:
            draws: Iterable[int] = self._ranked_one_by_one(lanes)
        elif len(self._groups) == 1:
            draws = self._groups[0].ranked(lanes)
        else:
            draws = self._ranked_by_group(lanes)
        return [self._names[(draw & _NUMBER_MASK) - 1] for draw in islice(draws, count)]

    def _draws(self, key: int) -> int:
        """Every member's draw for the key, in its lane."""
        product = self._factors * key
        folded = ((product ^ (product >> _WORD_BITS)) & self._word_masks) ^ self._offsets
        product = folded * _MULTIPLIER
        return ((product ^ (product >> _WORD_BITS)) & self._hash_masks) | self._numbers

    def _ranked_one_by_one(self, lanes: int) -> list[int]:
        draws = self._unpack(lanes.to_bytes(len(self._names) * _LANE_BYTES, "little"))
        if len(self._groups) == 1:
            return sorted(draws, reverse=True)
        # Written out, since a call for each would double the cost: see _score.
        scored = [
            (weight / -log(((draw >> _NUMBER_BITS) + 0.5) * _HASH_STEP), draw)
            for weight, draw in zip(self._weights, draws, strict=True)
        ]
        scored.sort(reverse=True)
        return [draw for _, draw in scored]

    def _ranked_by_group(self, lanes: int) -> Iterator[int]:
        ranked = [group.scored(lanes) for group in self._groups]
        return (draw for _, draw in heapq.merge(*ranked, reverse=True))


class _Group:
    """The members of one weight: ``count`` neighbouring lanes, from lane ``first`` on."""

    def __init__(self, weight: float, first: int, count: int) -> None:
        self._weight = weight
        self._first = first
        self._shift = first * _LANE_BITS
        self._mask = (1 << count * _LANE_BITS) - 1
        self._halvings: list[tuple[int, int, int]] = []  # width of the lower half, its mask, its guard bits
        while count > 1:
            count = (count + 1) // 2
            width = count * _LANE_BITS
            self._halvings.append((width, (1 << width) - 1, _lanes(_GUARD_BIT for _ in range(count))))

    def scored(self, all_lanes: int) -> Iterator[tuple[float, int]]:
        """Score and draw of each member, best first; computed as they are asked for."""
        return ((_score(self._weight, draw), draw) for draw in self.ranked(all_lanes))

    def ranked(self, all_lanes: int) -> Iterator[int]:
        """The members' draws, best first; computed as they are asked for."""
        lanes = (all_lanes >> self._shift) & self._mask
        while best := self._greatest(lanes):
            yield best
            lane = (best & _NUMBER_MASK) - 1 - self._first
            lanes ^= best << lane * _LANE_BITS  # zero is nobody's draw: numbers begin at 1

    def _greatest(self, lanes: int) -> int:
        """The greatest draw: one half of the lanes is compared with the other, all at once, until one lane is left."""
        for width, mask, guards in self._halvings:
            upper, lower = lanes >> width, lanes & mask
            # The guard bit survives the subtraction where upper >= lower; less its word's lowest bit it is a mask of the word.
            won = ((upper | guards) - lower) & guards
            won -= won >> _WORD_BITS
            lanes = lower ^ ((upper ^ lower) & won)
        return lanes


def _score(weight: float, draw: int) -> float:
    """Schindelhauer and Schomaker's logarithmic method: the greatest is a member's with probability weight / sum of weights."""
    return weight / -log(((draw >> _NUMBER_BITS) + 0.5) * _HASH_STEP)


def _groups(weights: list[float]) -> Iterator[_Group]:
    first = 0
    for weight, same in groupby(weights):
        count = sum(1 for _ in same)
        yield _Group(weight, first, count)
        first += count


def _seed(name: str) -> int:
    encoded = name.encode("utf-8", "surrogatepass")
    return int.from_bytes(
        blake2b(encoded, digest_size=_LANE_BYTES, person=b"cashy host 1").digest(), "little"
    )


def _lanes(values: Iterable[int]) -> int:
    """Numbers as lanes of one integer, the first lowest."""
    return int.from_bytes(b"".join(value.to_bytes(_LANE_BYTES, "little") for value in values), "little")


def _check_members(members: list[Member]) -> None:
    if len(members) > MEMBERS_MAX:
        raise ValueError(f"{len(members):,} hosts: a cluster may have {MEMBERS_MAX:,}")
    names = [member.name for member in members]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"two hosts are called {twice!r}: names must differ, since a name decides what a host homes"
        )
