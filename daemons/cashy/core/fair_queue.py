"""Who is next when many wait for few places: users take turns, by bytes (deficit round robin).

Law. A queue of things with an owner and a size, and the order in which they leave; it starts nothing and knows no time. Each user who waits
gets, in turn, ``quantum_bytes`` worth of reads. So a user with 10,000 blocks waiting and one with a single block wait for each other's turn,
not for each other's queue: the single block leaves at the latest when every other user has had one turn. Within a user it is first come,
first served, since a reader wants its blocks in order. Who has nothing left to wait for keeps nothing of its turn.

Something that several users want stands in the queue of each, and leaves with whoever's turn comes first. Operations cost the same
however many reads wait: what is taken away is found without a search.

Rejected: one queue for all, in order of arrival (the first user to ask for everything has everything); random choice (fair on average, and
unfair to whoever waits for one block); strict shares of the places (places stand idle while somebody waits).

Source: M. Shreedhar and G. Varghese, "Efficient fair queuing using deficit round robin", SIGCOMM 1995.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, NamedTuple, TypeVar

__all__ = ["FairQueue", "Load"]

_T = TypeVar("_T")


class Load(NamedTuple):
    """What waits: reads and their bytes."""

    reads: int
    size_bytes: int


class _User(Generic[_T]):
    """One user's queue, by item its size, and what of the present turn is left."""

    __slots__ = ("deficit_bytes", "has_turn", "items", "size_bytes")

    def __init__(self) -> None:
        self.items: OrderedDict[_T, int] = OrderedDict()
        self.size_bytes = 0
        self.deficit_bytes = 0
        self.has_turn = False


class FairQueue(Generic[_T]):
    """The queue. ``quantum_bytes``: what a user may have in one turn, at least the largest item."""

    def __init__(self, quantum_bytes: int) -> None:
        self._quantum_bytes = quantum_bytes
        self._users: dict[str, _User[_T]] = {}
        self._ring: deque[str] = deque()  # users with items, the next one first
        self._owners_of: dict[_T, list[str]] = {}
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._owners_of)

    def __contains__(self, item: _T) -> bool:
        return item in self._owners_of

    @property
    def users(self) -> int:
        """Users who wait for something."""
        return len(self._users)

    @property
    def load(self) -> Load:
        """All that waits; what several want counts once."""
        return Load(len(self._owners_of), self._size_bytes)

    def load_of(self, owner: str) -> Load:
        """What one user waits for."""
        user = self._users.get(owner)
        return Load(0, 0) if user is None else Load(len(user.items), user.size_bytes)

    def push(self, item: _T, owner: str, size_bytes: int, *, first: bool = False) -> None:
        """``owner`` waits for ``item`` (again: nothing changes); ``first``: before all others, its turn is now."""
        owners = self._owners_of.setdefault(item, [])
        if owner in owners:
            return
        if not owners:
            self._size_bytes += size_bytes
        owners.append(owner)
        user = self._users.get(owner)
        if user is None:
            user = self._users[owner] = _User()
            self._ring.append(owner)
        user.items[item] = size_bytes
        user.size_bytes += size_bytes
        if first:
            user.items.move_to_end(item, last=False)
            user.deficit_bytes = max(user.deficit_bytes, size_bytes)
            user.has_turn = True
            self._ring.remove(owner)
            self._ring.appendleft(owner)

    def pop(self) -> _T:
        """The next one, gone from all queues; IndexError if nothing waits."""
        while True:
            user = self._users[self._ring[0]]
            if not user.has_turn:
                user.has_turn = True
                user.deficit_bytes += self._quantum_bytes
            item, size_bytes = next(iter(user.items.items()))
            if user.deficit_bytes >= size_bytes:
                user.deficit_bytes -= size_bytes
                self.discard(item)
                return item
            user.has_turn = False
            self._ring.rotate(-1)

    def discard(self, item: _T) -> bool:
        """Takes an item away; False if it is not there."""
        owners = self._owners_of.pop(item, None)
        if owners is None:
            return False
        for position, owner in enumerate(owners):
            user = self._users[owner]
            size_bytes = user.items.pop(item)
            user.size_bytes -= size_bytes
            if not position:
                self._size_bytes -= size_bytes
            if not user.items:
                del self._users[owner]
                self._ring.remove(owner)
        return True
