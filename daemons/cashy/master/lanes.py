"""A lane: at most so many reads under way at once, demand before prefetch, users in turn, sources with a bandwidth limit at their pace.

Places at the origins and places at peers are two lanes. With one, two hosts whose every place waits for the other would wait for ever: each
read that a peer asks for needs a place here to end.

Who waits for a source with a bandwidth limit waits in a line of its own, so that nobody else waits for that source.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Protocol

from cashy.core.fair_queue import FairQueue, Load
from cashy.core.pace import Pace
from cashy.core.shares import is_too_much
from cashy.errors import SlowDown
from cashy.limits import FILLS_WAITING_BYTES_MAX, FILLS_WAITING_MAX

__all__ = ["Lane", "LaneUser", "SourcePace"]

#: What a user may begin in one turn: the largest block there is.
_QUANTUM_BYTES = 64 << 20

#: How long a lane waits for another one that has been told that it may begin first.
_GIVES_WAY_S = 0.001


class LaneUser(Protocol):
    """A read that needs a place."""

    is_demand: bool
    #: On whose behalf: users take turns.
    owner: str

    @property
    def size_bytes(self) -> int:
        """Bytes that are asked for."""
        ...

    @property
    def source(self) -> str:
        """Of whom: it may have a bandwidth limit."""
        ...

    def start(self) -> None:
        """A place is free, and the read's until it leaves. May leave from inside."""


class SourcePace:
    """One source's limit, of all lanes that lead to it. Whose read has begun last lets the others' go first: their timers end at one time."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._last: Lane | None = None
        self._lines: list[tuple[Lane, _Line]] = []

    def join(self, lane: Lane, line: _Line) -> None:
        """One more lane leads to the source."""
        self._lines.append((lane, line))

    def take(self, lane: Lane, size_bytes: int, now_s: float) -> None:
        """A read of so many bytes begins there."""
        self._last = lane
        self.pace.take(size_bytes, now_s)

    def gives_way(self, lane: Lane) -> bool:
        """Whether others are told to begin before this lane does so again; said once."""
        others = [other for other, line in self._lines if other is not lane and len(line)]
        if self._last is not lane or not others:
            return False
        self._last = None
        for other in others:
            asyncio.get_running_loop().call_soon(other.go_on)
        return True


class _Line:
    """Who waits for one source, or for all that have no limit."""

    def __init__(self, quantum_bytes: int, pace: SourcePace | None) -> None:
        self.demand: FairQueue[LaneUser] = FairQueue(quantum_bytes)
        self.wishes: FairQueue[LaneUser] = FairQueue(quantum_bytes)
        self.pace = pace

    def __len__(self) -> int:
        return len(self.demand) + len(self.wishes)

    def wait_s(self, now_s: float) -> float:
        """How long nobody may begin."""
        return 0.0 if self.pace is None else self.pace.pace.wait_s(now_s)


class Lane:
    """Places, and who waits for one. ``paces``: limits of sources, by name. ``quantum_bytes``: what a user may begin in one turn."""

    def __init__(
        self, places: int, *, paces: Mapping[str, Pace] | None = None, quantum_bytes: int = _QUANTUM_BYTES, limit: Load | None = None
    ) -> None:  # fmt: skip
        self._places = places
        self._active: set[LaneUser] = set()
        self._limit = limit or Load(FILLS_WAITING_MAX, FILLS_WAITING_BYTES_MAX)
        self._quantum_bytes = quantum_bytes
        self._lines = {"": _Line(quantum_bytes, None)}
        self._turns = list(self._lines.values())
        self._timer: asyncio.Handle | None = None
        self._timer_due_s = 0.0
        for name, pace in (paces or {}).items():
            self.limit(name, SourcePace(pace))

    def _line(self, user: LaneUser) -> _Line:
        return self._lines.get(user.source, self._lines[""])

    def limit(self, source: str, pace: SourcePace) -> None:
        """A source has a limit from now on, unless it has one."""
        if source not in self._lines:
            line = self._lines[source] = _Line(self._quantum_bytes, pace)
            self._turns.append(line)
            pace.join(self, line)

    @property
    def active(self) -> int:
        """Reads under way."""
        return len(self._active)

    @property
    def waiting(self) -> int:
        """Reads waiting for a place."""
        return sum(len(line) for line in self._turns)

    @property
    def crowd(self) -> float:
        """How many wait for each place."""
        return self.waiting / self._places

    @property
    def takes_wishes(self) -> bool:
        """Whether one more prefetch may be queued."""
        return sum(len(line.wishes) for line in self._turns) < self._places

    def resize(self, places: int) -> None:
        """Changes the number of places; whoever has one keeps it."""
        self._places = places
        self._pump()

    def check_room(self, owner: str = "") -> None:
        """Raises ``SlowDown`` when so much waits that one more read of this user is too much."""
        waiting, own, users = Load(0, 0), Load(0, 0), 0
        for line in self._turns:
            waiting, own = _sum(waiting, line.demand.load), _sum(own, line.demand.load_of(owner))
            users += line.demand.users
        if is_too_much(waiting, own, users, self._limit):
            raise SlowDown(
                f"{waiting.reads:,} block reads ({waiting.size_bytes >> 20:,} MiB) are waiting already, {own.reads:,} of them yours: try again later"
            )

    def enter(self, user: LaneUser, *, first: bool = False) -> None:
        """Starts ``user`` now or when a place is free; ``first``: before all who wait, since it has waited elsewhere."""
        line = self._line(user)
        queue = line.demand if user.is_demand else line.wishes
        queue.push(user, user.owner, user.size_bytes, first=first)
        self._pump()

    def also_for(self, user: LaneUser, owner: str) -> None:
        """Another user wants the same: if it still waits, it has that user's turn too."""
        line = self._line(user)
        if user in line.demand:
            line.demand.push(user, owner, user.size_bytes)

    def try_enter(self, user: LaneUser) -> bool:
        """Takes a place if one is free, and nobody waits for it or for this source; does not start ``user``."""
        line = self._line(user)
        now_s = time.monotonic()
        if len(self._active) >= self._places or len(line.demand) or line.wait_s(now_s):
            return False
        self._take_place(line, user, now_s)
        return True

    def leave(self, user: LaneUser) -> None:
        """Gives the place back, or the wait up."""
        if user in self._active:
            self._active.discard(user)
            self._pump()
            return
        line = self._line(user)
        if not line.demand.discard(user):
            line.wishes.discard(user)

    def give_back(self, source: str, size_bytes: int) -> None:
        """So many bytes of what a read of ``source`` was let through for will not come."""
        line = self._lines.get(source)
        if line is not None and line.pace is not None and size_bytes > 0:
            line.pace.pace.give_back(size_bytes)

    def _take_place(self, line: _Line, user: LaneUser, now_s: float) -> None:
        self._active.add(user)
        if line.pace is not None:
            line.pace.take(self, user.size_bytes, now_s)

    def _pump(self) -> None:
        while len(self._active) < self._places:
            now_s = time.monotonic()
            found = self._next(now_s)
            if found is None:
                return
            line, queue = found
            user = queue.pop()
            self._take_place(line, user, now_s)
            user.start()

    def _next(self, now_s: float) -> tuple[_Line, FairQueue[LaneUser]] | None:
        """The queue whose turn it is; sets the timer where only a pace is in the way."""
        # Wishes may fill half of the places, so that demand never finds all taken.
        takes_wishes = len(self._active) < max(1, self._places // 2)
        wish, wait_s = None, 0.0
        for position, line in enumerate(self._turns):
            if not len(line):
                continue
            line_wait_s = line.wait_s(now_s)
            if not line_wait_s and line.pace is not None and line.pace.gives_way(self):
                line_wait_s = _GIVES_WAY_S
            if line_wait_s:
                wait_s = min(wait_s or line_wait_s, line_wait_s)
            elif line.demand:
                self._turns.append(self._turns.pop(position))
                return line, line.demand
            elif takes_wishes and wish is None:
                wish = line
        if wish is not None:
            return wish, wish.wishes
        if wait_s:
            self._wake_in(wait_s, now_s)
        return None

    def _wake_in(self, wait_s: float, now_s: float) -> None:
        """Sets the timer; one that is set for a source that has to wait longer is brought forward."""
        due_s = now_s + wait_s
        if self._timer is not None:
            if self._timer_due_s <= due_s:
                return
            self._timer.cancel()
        # No TimerHandle.when(): what uvloop gives for less than a millisecond has none.
        self._timer, self._timer_due_s = asyncio.get_running_loop().call_later(wait_s, self._woken), due_s

    def _woken(self) -> None:
        self._timer = None
        self._pump()

    def go_on(self) -> None:
        """Some may begin now."""
        self._pump()


def _sum(one: Load, other: Load) -> Load:
    return Load(one.reads + other.reads, one.size_bytes + other.size_bytes)
