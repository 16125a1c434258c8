"""Which block goes next: eviction policies over slot numbers.

Law. A policy ranks slots and does nothing else. It does not know what a slot holds, whether it is pinned, or what time it is; the owner
tells it of insertions, touches and removals, asks it for victims, and decides what becomes of each. A victim that the owner could not
evict (pinned) is *spared* and ranks as if it had just come; a victim about which the owner says nothing is proposed again. The work of
one call is bounded by a multiple of the victims asked for, whatever the number of slots, so a policy cannot hang an owner whose every
slot is touched or pinned; the owner bounds its own tries by :meth:`Policy.tracked`.

Hits never reach the owner as they happen: readers leave touch marks in their own tables, and the owner harvests them in batches. So a
policy must bear touches that come late and out of order (:mod:`cashy.core.uses` says which of them are uses), and one for every fresh block by
the reader that missed it. S3-FIFO does, as it counts to three and asks for more than one touch to promote; LRU's order is as good as the harvest.

:class:`S3Fifo` is the default because reads of whole data sets, once, are what jobs do all day, and they must not push out what is
read again and again (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023; https://s3fifo.com). :class:`Lru` is the
yardstick, and can be chosen. Each size class is a cache of its own, since a victim is only of use to the class whose cells it frees;
:meth:`Policy.is_slab_colder` compares across classes.

A block may come in as *transient*: a copy of what another host has in its keeping (see :mod:`cashy.core.admission`). Transients go first, oldest
first, except for a small share of the class that the youngest of them may fill, so that blocks read ahead are still there when their reader
comes. One that shows reuse ranks as any other block from then on. A transient victim gives its class no claim on the memory of another.

State is in arrays, 15 bytes a slot for LRU and 35 for S3-FIFO, ghost included: there may be 10^6 slots, and the garbage collector must
not see them. Rejected: LFU and its kin (heaps or many lists, and the past never ages), ARC (its lists move on every hit: patented until
2024, and late touches distort its adaptation), W-TinyLFU (a sketch per touch costs more than three list words).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable
from typing import Protocol

from cashy.core.lazy_memory import zeros

__all__ = ["CLASSES_MAX", "FREQUENCY_MAX", "Lru", "Policy", "S3Fifo", "make_policy"]

FREQUENCY_MAX = 3  # two bits, as in the paper: more remembers the past for too long
CLASSES_MAX = 64  # the low bits of a ghost entry name the class; slabs of 4 GiB have 43 classes

_PROMOTE_AT = 2  # touches in the small queue that show reuse ("accessed more than once")
_SMALL_SHARE = 10  # the small queue gives the victims while it has at least one slot in this many
_GHOST_WAYS = 4  # places where a fingerprint may be: looked through one by one
_CLOCK_MASK = 0xFFFF_FFFF
# A call of victims() lets this many slots pass, and so many more per victim wanted, before it takes the next one whatever its
# touches: otherwise 10^6 slots that were all touched would make the owner's loop stand still for seconds.
_PASSES_MIN = 1024
_PASSES_PER_VICTIM = 16

#: Transients are the first victims while they are at least one in this many of the class; what is younger is read ahead, perhaps.
_TRANSIENT_SHARE = 32
#: For a transient the ghost's memory reaches back one part in so many of what it does for others: a copy is worth the cluster's only block if it
#: is read ten times as often. With the whole memory, epochs over a data set that fits into all hosts together missed half (docs/placement.md).
_TRANSIENT_GHOST_SHARE = 10

# Where a slot stands. A passing block is a transient that nothing promotes. The second and third line are S3-FIFO's: named as victims, and parked.
_UNTRACKED, _SMALL, _MAIN, _TRANSIENT, _PASSING = range(5)
_FROM_SMALL, _FROM_MAIN, _FROM_TRANSIENT, _FROM_PASSING = range(5, 9)
_PARKED, _PARKED_TRANSIENT, _PARKED_PASSING = range(9, 12)
_SEEN = 12  # LRU's: a transient that was touched once
# S3-FIFO's five queues a class, and for each place above: its queue, where a touch or its unparking leads from there, and how it is parked.
_SMALL_QUEUE, _MAIN_QUEUE, _NAMED_QUEUE, _PARKED_QUEUE, _TRANSIENT_QUEUE = range(5)
_QUEUES = 5
_QUEUE_OF_PLACE = (0, 0, 1, 4, 4, 2, 2, 2, 2, 3, 3, 3)
_GOES_BACK_TO = (_UNTRACKED, *(_SMALL, _MAIN, _TRANSIENT, _PASSING) * 2, _MAIN, _TRANSIENT, _PASSING)
_PARKED_AS = (_UNTRACKED, *(_PARKED, _PARKED, _PARKED_TRANSIENT, _PARKED_PASSING) * 2, *range(9, 12))
_GOES_TO_GHOST = frozenset({_SMALL, _FROM_SMALL, _TRANSIENT, _FROM_TRANSIENT})
_IS_TRANSIENT = frozenset(
    {_TRANSIENT, _PASSING, _FROM_TRANSIENT, _FROM_PASSING, _PARKED_TRANSIENT, _PARKED_PASSING, _SEEN}
)
_IS_PROVEN = frozenset({_MAIN, _FROM_MAIN})
_UNPARKED_PER_INSERTION = 2  # more than one, so that parked slots become fewer while others come


class Policy(Protocol):
    """What the owner of the slots calls; see the module's law. Slots are 0 … slot_count - 1."""

    def inserted(
        self, slot: int, fingerprint: int, class_index: int, is_transient: bool = False, may_stay: bool = True
    ) -> None:
        """A block was put in ``slot``; ``fingerprint`` is 64 bits of its digest. ValueError if the slot is tracked already.

        A transient one goes first, unless it is used again, or left not long ago and is back (where the policy remembers that); if it may
        not stay, that makes no difference. ``may_stay`` is of no meaning for others.
        """

    def touched(self, slot: int) -> None:
        """A reader has used the block at least once since it was last said so. Ignored if the slot is not tracked (a late mark)."""

    def removed(self, slot: int) -> None:
        """The slot is free again, for whatever reason. Ignored if it is not tracked."""

    def victims(self, class_index: int, count: int) -> list[int]:
        """Up to ``count`` slots of the class, the first to go first; they stay tracked until removed."""

    def spared(self, slot: int) -> None:
        """This victim could not be evicted: others come first from now on. Ignored if the slot is not tracked."""

    def tracked(self, class_index: int) -> int:
        """Number of slots tracked in the class."""

    def uses(self, slot: int) -> int:
        """How often the block was used since it came, the first time left out, as far as the policy remembers: 0 to 3; 0 if the slot is not
        tracked.
        """

    def age(self, slot: int) -> int:
        """Insertions, of any class, since the slot was inserted or last touched (modulo 2^32)."""

    def is_slab_colder(self, slots: Iterable[int], victim: int) -> bool:
        """Whether every one of ``slots`` was last used longer ago than ``victim``; True if there are none.

        For a transient victim the next one of its class that is not transient is compared; False if there is none.
        """


def make_policy(name: str, slot_count: int, class_count: int) -> Policy:
    """Makes the policy that a setting names: ``s3fifo`` or ``lru``; ValueError otherwise."""
    if name == "s3fifo":
        return S3Fifo(slot_count, class_count)
    if name == "lru":
        return Lru(slot_count, class_count)
    raise ValueError(f"there is no eviction policy {name!r}: choose s3fifo or lru")


class _Queues:
    """Doubly linked queues over slot numbers, in two arrays; any slot leaves in O(1).

    The nodes after the slots are the queues' heads: ``next`` of a head is the newest, ``previous`` the oldest. A slot is in at most one.
    """

    def __init__(self, slot_count: int, queue_count: int) -> None:
        self._next = zeros("I", slot_count + queue_count)
        self._previous = zeros("I", slot_count + queue_count)
        for head in range(slot_count, slot_count + queue_count):
            self._next[head] = self._previous[head] = head
        self._slot_count = slot_count
        self.lengths = array("I", bytes(4 * queue_count))

    def push(self, queue: int, slot: int) -> None:
        """Adds a slot as the newest."""
        head = self._slot_count + queue
        after = self._next[head]
        self._previous[after] = self._next[head] = slot
        self._next[slot], self._previous[slot] = after, head
        self.lengths[queue] += 1

    def remove(self, queue: int, slot: int) -> None:
        """Takes a slot out, which must be in this queue."""
        before, after = self._previous[slot], self._next[slot]
        self._next[before], self._previous[after] = after, before
        self.lengths[queue] -= 1

    def oldest(self, queue: int) -> int:
        """The oldest slot; the queue must not be empty."""
        return self._previous[self._slot_count + queue]

    def oldest_first(self, queue: int, count: int) -> list[int]:
        """Up to ``count`` slots from the old end."""
        slots = []
        slot = self.oldest(queue)
        for _ in range(min(count, self.lengths[queue])):
            slots.append(slot)
            slot = self._previous[slot]
        return slots


class _Ghost:
    """Fingerprints of blocks evicted not long ago, in a table of fixed size (12 bytes an entry); it may forget, never grow.

    An entry is a fingerprint with its low 6 bits replaced by its class, and the class's eviction count when it was made; it is valid for
    as many further evictions of the class as the caller says. A full set loses the entry that is oldest by its own class's count.
    """

    def __init__(self, entry_count: int, class_count: int) -> None:
        self._sets = max(1, -(-entry_count // _GHOST_WAYS))
        self._entries = zeros("Q", self._sets * _GHOST_WAYS)  # 0: empty
        self._made_at = zeros("I", self._sets * _GHOST_WAYS)
        self._clocks = array("I", bytes(4 * class_count))

    def add(self, fingerprint: int, class_index: int) -> None:
        entry, first = self._place(fingerprint, class_index)
        place = max(range(first, first + _GHOST_WAYS), key=lambda way: self._age(way, entry))
        self._clocks[class_index] = clock = (self._clocks[class_index] + 1) & _CLOCK_MASK
        self._entries[place] = entry
        self._made_at[place] = clock

    def take(self, fingerprint: int, class_index: int, valid_for: int) -> bool:
        """Whether the fingerprint is remembered; if so it is forgotten, since its block is back."""
        entry, first = self._place(fingerprint, class_index)
        for place in range(first, first + _GHOST_WAYS):
            if self._entries[place] == entry:
                self._entries[place] = 0
                return (self._clocks[class_index] - self._made_at[place]) & _CLOCK_MASK < valid_for
        return False

    def _place(self, fingerprint: int, class_index: int) -> tuple[int, int]:
        tag = fingerprint // CLASSES_MAX
        # A tag of zero would make class 0's entry look empty.
        return (tag or 1) * CLASSES_MAX + class_index, tag % self._sets * _GHOST_WAYS

    def _age(self, place: int, replacing: int) -> int:
        held = self._entries[place]
        if held in (0, replacing):
            return _CLOCK_MASK + (2 if held else 1)
        return (self._clocks[held % CLASSES_MAX] - self._made_at[place]) & _CLOCK_MASK


class _SlotPolicy(ABC):
    """What both policies share: the class and last use of each slot, by a clock that counts insertions."""

    def __init__(self, slot_count: int, class_count: int) -> None:
        if not 0 < class_count <= CLASSES_MAX:
            raise ValueError(f"{class_count} size classes: at least 1, at most {CLASSES_MAX}")
        self._class_count = class_count
        self._class_of = zeros("B", slot_count)
        self._place_of = zeros("B", slot_count)  # which queue, or _UNTRACKED
        self._last_use = zeros("I", slot_count)
        self._clock = 0

    def age(self, slot: int) -> int:
        return (self._clock - self._last_use[slot]) & _CLOCK_MASK

    def is_slab_colder(self, slots: Iterable[int], victim: int) -> bool:
        if self._place_of[victim] in _IS_TRANSIENT:
            victim = self._oldest_lasting(self._class_of[victim])
        if victim < 0:
            return False
        limit = self.age(victim)
        return all(self.age(slot) > limit for slot in slots)

    @abstractmethod
    def _oldest_lasting(self, class_index: int) -> int:
        """The oldest slot of the class that is neither transient nor named already; -1 if there is none."""

    def _enter(self, slot: int, class_index: int) -> None:
        if self._place_of[slot] != _UNTRACKED:
            raise ValueError(f"slot {slot} was inserted twice without being removed")
        if not 0 <= class_index < self._class_count:
            raise ValueError(f"there is no size class {class_index}")
        self._class_of[slot] = class_index
        self._clock = (self._clock + 1) & _CLOCK_MASK
        self._last_use[slot] = self._clock


class Lru(_SlotPolicy):
    """Least recently used, by class: victims are those whose last touch was reported longest ago.

    Transients stand in a queue of their own, in the order in which they came. The first touch is that of the reader that missed the block,
    the second makes it one of the others; so does being spared, since pinned transients must not hide what could go.
    """

    def __init__(self, slot_count: int, class_count: int) -> None:
        super().__init__(slot_count, class_count)
        self._queues = _Queues(slot_count, 2 * class_count)
        self._touches = zeros("B", slot_count)  # of no part in the order

    def inserted(  # noqa: D102 - see Policy
        self, slot: int, fingerprint: int, class_index: int, is_transient: bool = False, may_stay: bool = True
    ) -> None:
        self._enter(slot, class_index)
        self._touches[slot] = 0
        self._push(slot, (_TRANSIENT if may_stay else _PASSING) if is_transient else _MAIN)

    def touched(self, slot: int) -> None:  # noqa: D102 - see Policy
        place = self._place_of[slot]
        if place == _UNTRACKED:
            return
        self._last_use[slot] = self._clock
        self._touches[slot] = min(FREQUENCY_MAX + 1, self._touches[slot] + 1)
        if place == _TRANSIENT:
            self._place_of[slot] = _SEEN
        elif place != _PASSING:
            self._to_front(slot)

    def removed(self, slot: int) -> None:  # noqa: D102 - see Policy
        if self._place_of[slot] != _UNTRACKED:
            self._queues.remove(self._queue_of(slot), slot)
            self._place_of[slot] = _UNTRACKED

    def victims(self, class_index: int, count: int) -> list[int]:  # noqa: D102 - see Policy
        lasting, transient = 2 * class_index, 2 * class_index + 1
        kept = self.tracked(class_index) // _TRANSIENT_SHARE
        due = min(count, max(0, self._queues.lengths[transient] - kept))
        others = self._queues.oldest_first(lasting, count - due)
        transients = self._queues.oldest_first(transient, count - len(others))
        return transients[:due] + others + transients[due:]

    def spared(self, slot: int) -> None:  # noqa: D102 - see Policy
        if self._place_of[slot] != _UNTRACKED:
            self._to_front(slot)

    def tracked(self, class_index: int) -> int:  # noqa: D102 - see Policy
        return sum(self._queues.lengths[2 * class_index : 2 * class_index + 2])

    def uses(self, slot: int) -> int:  # noqa: D102 - see Policy
        return max(0, self._touches[slot] - 1)

    def _oldest_lasting(self, class_index: int) -> int:
        return next(iter(self._queues.oldest_first(2 * class_index, 1)), -1)

    def _to_front(self, slot: int) -> None:
        self._queues.remove(self._queue_of(slot), slot)
        self._push(slot, _MAIN)

    def _push(self, slot: int, place: int) -> None:
        self._place_of[slot] = place
        self._queues.push(self._queue_of(slot), slot)

    def _queue_of(self, slot: int) -> int:
        return 2 * self._class_of[slot] + (self._place_of[slot] != _MAIN)


class S3Fifo(_SlotPolicy):
    """S3-FIFO, by class: a small queue for newcomers, a main queue for what proved itself, a ghost of what left too early.

    A newcomer that reaches the small queue's end untouched, or touched once, goes, and its fingerprint to the ghost; touched more often,
    it moves on to main. One whose fingerprint is in the ghost enters main at once. In main a touched slot goes round again, at the cost
    of one touch. The small queue gives the victims while it holds a tenth of the class or more.

    Slots that :meth:`victims` has named stand in a third queue until they are removed, spared or touched, so that they are not named
    twice in one call and are named again in the next. A spared slot is *parked* in a fourth: it is named only when nothing else is left,
    and goes to main when it is touched or others have been inserted. Put back in small or main at once, a few pinned slots at the end of
    main could hide all of small from an owner that looks for room.

    Transients stand in a fifth queue. At its end one that was touched more than once moves on to main, another goes, and to the ghost, so that
    it enters main when it comes again soon: within a tenth of the time that others have. Parked ones become transients again.
    """

    def __init__(self, slot_count: int, class_count: int) -> None:
        super().__init__(slot_count, class_count)
        self._queues = _Queues(slot_count, _QUEUES * class_count)
        self._frequency = zeros("B", slot_count)
        self._fingerprints = zeros("Q", slot_count)
        self._ghost = _Ghost(slot_count, class_count)

    def inserted(  # noqa: D102 - see Policy
        self, slot: int, fingerprint: int, class_index: int, is_transient: bool = False, may_stay: bool = True
    ) -> None:
        self._enter(slot, class_index)
        self._frequency[slot] = 0
        self._fingerprints[slot] = fingerprint
        self._push(slot, self._first_place(fingerprint, class_index, is_transient, may_stay))
        for parked in self._queues.oldest_first(
            _QUEUES * class_index + _PARKED_QUEUE, _UNPARKED_PER_INSERTION
        ):
            self._move(parked, _GOES_BACK_TO[self._place_of[parked]])

    def touched(self, slot: int) -> None:  # noqa: D102 - see Policy
        place = self._place_of[slot]
        if place == _UNTRACKED:
            return
        self._last_use[slot] = self._clock
        if self._frequency[slot] < FREQUENCY_MAX:
            self._frequency[slot] += 1
        if place >= _FROM_SMALL:  # it was about to go: it gets another round where it came from
            self._move(slot, _GOES_BACK_TO[place])

    def removed(self, slot: int) -> None:  # noqa: D102 - see Policy
        place = self._place_of[slot]
        if place == _UNTRACKED:
            return
        self._leave(slot)
        self._place_of[slot] = _UNTRACKED
        if place in _GOES_TO_GHOST:
            self._ghost.add(self._fingerprints[slot], self._class_of[slot])

    def victims(self, class_index: int, count: int) -> list[int]:  # noqa: D102 - see Policy
        lengths = self._queues.lengths
        small, main, named, parked, transient = range(_QUEUES * class_index, _QUEUES * (class_index + 1))
        passes_left = _PASSES_MIN + _PASSES_PER_VICTIM * count
        while lengths[named] < count and (lasting := lengths[small] + lengths[main]) + lengths[transient]:
            passes_left -= 1
            forced = passes_left < 0
            if lengths[transient] * _TRANSIENT_SHARE >= lasting + lengths[transient]:
                self._pass_transient(self._queues.oldest(transient), forced=forced)
            elif lengths[small] and (lengths[small] * _SMALL_SHARE >= lasting or not lengths[main]):
                self._pass_small(self._queues.oldest(small), forced=forced)
            else:
                self._pass_main(self._queues.oldest(main), forced=forced)
        for slot in self._queues.oldest_first(parked, max(0, count - lengths[named])):
            self._move(slot, _GOES_BACK_TO[self._place_of[slot]] + _FROM_SMALL - _SMALL)
        return self._queues.oldest_first(named, count)

    def spared(self, slot: int) -> None:  # noqa: D102 - see Policy
        if self._place_of[slot] != _UNTRACKED:
            self._move(slot, _PARKED_AS[self._place_of[slot]])

    def tracked(self, class_index: int) -> int:  # noqa: D102 - see Policy
        return sum(self._queues.lengths[_QUEUES * class_index : _QUEUES * (class_index + 1)])

    def uses(self, slot: int) -> int:  # noqa: D102 - see Policy
        if self._place_of[slot] in _IS_PROVEN:
            return max(1, self._frequency[slot])
        return max(0, self._frequency[slot] - 1)

    def _first_place(self, fingerprint: int, class_index: int, is_transient: bool, may_stay: bool) -> int:
        if is_transient and not may_stay:
            return _PASSING
        valid_for = self.tracked(class_index)
        if is_transient:
            valid_for //= _TRANSIENT_GHOST_SHARE
        if self._ghost.take(fingerprint, class_index, valid_for):
            return _MAIN
        return _TRANSIENT if is_transient else _SMALL

    def _oldest_lasting(self, class_index: int) -> int:
        main, small = _QUEUES * class_index + _MAIN_QUEUE, _QUEUES * class_index + _SMALL_QUEUE
        queue = main if self._queues.lengths[main] else small
        return self._queues.oldest(queue) if self._queues.lengths[queue] else -1

    def _pass_transient(self, slot: int, *, forced: bool) -> None:
        """What befalls the oldest transient: it is promoted, or named as a victim."""
        if self._place_of[slot] == _TRANSIENT and self._frequency[slot] >= _PROMOTE_AT and not forced:
            self._frequency[slot] = 0
            self._move(slot, _MAIN)
        else:
            self._move(slot, self._place_of[slot] + _FROM_SMALL - _SMALL)

    def _pass_small(self, slot: int, *, forced: bool) -> None:
        """What befalls the oldest of the small queue: it is promoted, or named as a victim."""
        if self._frequency[slot] >= _PROMOTE_AT and not forced:
            self._frequency[slot] = 0
            self._move(slot, _MAIN)
        else:
            self._move(slot, _FROM_SMALL)

    def _pass_main(self, slot: int, *, forced: bool) -> None:
        """What befalls the oldest of main: it goes round again for one of its touches, or is named as a victim."""
        if self._frequency[slot] and not forced:
            self._frequency[slot] -= 1
            self._move(slot, _MAIN)
        else:
            self._move(slot, _FROM_MAIN)

    def _move(self, slot: int, place: int) -> None:
        self._leave(slot)
        self._push(slot, place)

    def _push(self, slot: int, place: int) -> None:
        self._place_of[slot] = place
        self._queues.push(_QUEUES * self._class_of[slot] + _QUEUE_OF_PLACE[place], slot)

    def _leave(self, slot: int) -> None:
        self._queues.remove(_QUEUES * self._class_of[slot] + _QUEUE_OF_PLACE[self._place_of[slot]], slot)
