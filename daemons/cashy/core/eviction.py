"""Which block goes next: eviction policies over slot numbers.

Law. A policy ranks slots and does nothing else. It does not know what a slot holds, whether it is pinned, or what time it is; the owner
tells it of insertions, touches and removals, asks it for victims, and decides what becomes of each. A victim that the owner could not
evict (pinned) is *spared* and ranks as if it had just come; a victim about which the owner says nothing is proposed again. The work of
one call is bounded by a multiple of the victims asked for, whatever the number of slots, so a policy cannot hang an owner whose every
slot is touched or pinned; the owner bounds its own tries by :meth:`Policy.tracked`.

Hits never reach the owner as they happen: readers leave touch marks in their own tables, and the owner harvests them in batches. So a
policy must bear touches that come late, out of order and merged into one, and a touch for every fresh block by the reader that missed
it. S3-FIFO does, as it counts to three and asks for more than one touch to promote; LRU's order is as good as the harvest.

:class:`S3Fifo` is the default because reads of whole data sets, once, are what jobs do all day, and they must not push out what is
read again and again (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023; https://s3fifo.com). :class:`Lru` is the
yardstick, and can be chosen. Each size class is a cache of its own, since a victim is only of use to the class whose cells it frees;
:meth:`Policy.is_slab_colder` compares across classes.

State is in arrays, 14 bytes a slot for LRU and 35 for S3-FIFO, ghost included: there may be 10^6 slots, and the garbage collector must
not see them. Rejected: LFU and its kin (heaps or many lists, and the past never ages), ARC (its lists move on every hit: patented until
2024, and late touches distort its adaptation), W-TinyLFU (a sketch per touch costs more than three list words).
"""

from __future__ import annotations

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

# Where a slot stands. S3-FIFO has four queues a class: small, main, named (from small or from main), parked.
_UNTRACKED, _SMALL, _MAIN, _FROM_SMALL, _FROM_MAIN, _PARKED = range(6)
_QUEUE_OF_PLACE = (0, 0, 1, 2, 2, 3)
_UNPARKED_PER_INSERTION = 2  # more than one, so that parked slots become fewer while others come


class Policy(Protocol):
    """What the owner of the slots calls; see the module's law. Slots are 0 … slot_count - 1."""

    def inserted(self, slot: int, fingerprint: int, class_index: int) -> None:
        """A block was put in ``slot``; ``fingerprint`` is 64 bits of its digest. ValueError if the slot is tracked already."""

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

    def age(self, slot: int) -> int:
        """Insertions, of any class, since the slot was inserted or last touched (modulo 2^32)."""

    def is_slab_colder(self, slots: Iterable[int], victim: int) -> bool:
        """Whether every one of ``slots`` was last used longer ago than ``victim``; True if there are none."""


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


class _SlotPolicy:
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
        limit = self.age(victim)
        return all(self.age(slot) > limit for slot in slots)

    def _enter(self, slot: int, class_index: int) -> None:
        if self._place_of[slot] != _UNTRACKED:
            raise ValueError(f"slot {slot} was inserted twice without being removed")
        if not 0 <= class_index < self._class_count:
            raise ValueError(f"there is no size class {class_index}")
        self._class_of[slot] = class_index
        self._clock = (self._clock + 1) & _CLOCK_MASK
        self._last_use[slot] = self._clock


class Lru(_SlotPolicy):
    """Least recently used, by class: victims are those whose last touch was reported longest ago."""

    def __init__(self, slot_count: int, class_count: int) -> None:
        super().__init__(slot_count, class_count)
        self._queues = _Queues(slot_count, class_count)

    def inserted(self, slot: int, fingerprint: int, class_index: int) -> None:  # noqa: D102 - see Policy
        self._enter(slot, class_index)
        self._place_of[slot] = _MAIN
        self._queues.push(class_index, slot)

    def touched(self, slot: int) -> None:  # noqa: D102 - see Policy
        if self._place_of[slot] != _UNTRACKED:
            self._last_use[slot] = self._clock
            self._to_front(slot)

    def removed(self, slot: int) -> None:  # noqa: D102 - see Policy
        if self._place_of[slot] != _UNTRACKED:
            self._place_of[slot] = _UNTRACKED
            self._queues.remove(self._class_of[slot], slot)

    def victims(self, class_index: int, count: int) -> list[int]:  # noqa: D102 - see Policy
        return self._queues.oldest_first(class_index, count)

    def spared(self, slot: int) -> None:  # noqa: D102 - see Policy
        if self._place_of[slot] != _UNTRACKED:
            self._to_front(slot)

    def tracked(self, class_index: int) -> int:  # noqa: D102 - see Policy
        return self._queues.lengths[class_index]

    def _to_front(self, slot: int) -> None:
        queue = self._class_of[slot]
        self._queues.remove(queue, slot)
        self._queues.push(queue, slot)


class S3Fifo(_SlotPolicy):
    """S3-FIFO, by class: a small queue for newcomers, a main queue for what proved itself, a ghost of what left too early.

    A newcomer that reaches the small queue's end untouched, or touched once, goes, and its fingerprint to the ghost; touched more often,
    it moves on to main. One whose fingerprint is in the ghost enters main at once. In main a touched slot goes round again, at the cost
    of one touch. The small queue gives the victims while it holds a tenth of the class or more.

    Slots that :meth:`victims` has named stand in a third queue until they are removed, spared or touched, so that they are not named
    twice in one call and are named again in the next. A spared slot is *parked* in a fourth: it is named only when nothing else is left,
    and goes to main when it is touched or others have been inserted. Put back in small or main at once, a few pinned slots at the end of
    main could hide all of small from an owner that looks for room.
    """

    def __init__(self, slot_count: int, class_count: int) -> None:
        super().__init__(slot_count, class_count)
        self._queues = _Queues(slot_count, 4 * class_count)
        self._frequency = zeros("B", slot_count)
        self._fingerprints = zeros("Q", slot_count)
        self._ghost = _Ghost(slot_count, class_count)

    def inserted(self, slot: int, fingerprint: int, class_index: int) -> None:  # noqa: D102 - see Policy
        self._enter(slot, class_index)
        self._frequency[slot] = 0
        self._fingerprints[slot] = fingerprint
        known = self._ghost.take(fingerprint, class_index, valid_for=self.tracked(class_index))
        self._push(slot, _MAIN if known else _SMALL)
        for parked in self._queues.oldest_first(4 * class_index + 3, _UNPARKED_PER_INSERTION):
            self._move(parked, _MAIN)

    def touched(self, slot: int) -> None:  # noqa: D102 - see Policy
        place = self._place_of[slot]
        if place == _UNTRACKED:
            return
        self._last_use[slot] = self._clock
        if self._frequency[slot] < FREQUENCY_MAX:
            self._frequency[slot] += 1
        if place >= _FROM_SMALL:  # it was about to go: it gets another round where it came from
            self._move(slot, _SMALL if place == _FROM_SMALL else _MAIN)

    def removed(self, slot: int) -> None:  # noqa: D102 - see Policy
        place = self._place_of[slot]
        if place == _UNTRACKED:
            return
        self._leave(slot)
        self._place_of[slot] = _UNTRACKED
        if place in (_SMALL, _FROM_SMALL):
            self._ghost.add(self._fingerprints[slot], self._class_of[slot])

    def victims(self, class_index: int, count: int) -> list[int]:  # noqa: D102 - see Policy
        lengths = self._queues.lengths
        small, main, named, parked = range(4 * class_index, 4 * class_index + 4)
        passes_left = _PASSES_MIN + _PASSES_PER_VICTIM * count
        while lengths[named] < count and lengths[small] + lengths[main]:
            passes_left -= 1
            small_is_due = lengths[small] * _SMALL_SHARE >= lengths[small] + lengths[main]
            if lengths[small] and (small_is_due or not lengths[main]):
                self._pass_small(self._queues.oldest(small), forced=passes_left < 0)
            else:
                self._pass_main(self._queues.oldest(main), forced=passes_left < 0)
        for slot in self._queues.oldest_first(parked, max(0, count - lengths[named])):
            self._move(slot, _FROM_MAIN)
        return self._queues.oldest_first(named, count)

    def spared(self, slot: int) -> None:  # noqa: D102 - see Policy
        if self._place_of[slot] != _UNTRACKED:
            self._move(slot, _PARKED)

    def tracked(self, class_index: int) -> int:  # noqa: D102 - see Policy
        return sum(self._queues.lengths[4 * class_index : 4 * class_index + 4])

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
        self._queues.push(4 * self._class_of[slot] + _QUEUE_OF_PLACE[place], slot)

    def _leave(self, slot: int) -> None:
        self._queues.remove(4 * self._class_of[slot] + _QUEUE_OF_PLACE[self._place_of[slot]], slot)
