"""Steps that need each other, put into an order in which they can be done one by one.

Law: whoever plans names steps by keys and says what each needs; numbers come last, when all is known. The order is a topological one, and among
steps that could be next it is that of ``rank``, so that the same plan always reads the same, in the order in which people think of it. Needs
that form a circle are a bug of the planner, never of a spec, and end it loudly.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable

from labtest.core.steps import Action, Step

__all__ = ["StepGraph"]

Key = tuple[Hashable, ...]
Rank = tuple[int, int, str, str]


class StepGraph:
    """Steps by key."""

    def __init__(self) -> None:
        self._steps: dict[Key, tuple[str, Action, str, Rank]] = {}
        self._needs: dict[Key, set[Key]] = {}

    def add(self, key: Key, host: str, action: Action, *, rank: Rank, reason: str = "") -> None:
        """A step. Its needs are told by :meth:`need`, also before it is there itself."""
        assert key not in self._steps, f"step {key} is planned twice"
        self._steps[key] = (host, action, reason, rank)

    def need(self, key: Key, needed: Iterable[Key]) -> None:
        """``key`` comes after those of ``needed`` that are, or will be, steps of this plan."""
        self._needs.setdefault(key, set()).update(needed)

    def __contains__(self, key: Key) -> bool:
        return key in self._steps

    def host(self, key: Key) -> str:
        """Where a step is done."""
        return self._steps[key][0]

    def needs(self, key: Key) -> set[Key]:
        """What a step needs so far, without what is no step."""
        return {needed for needed in self._needs.get(key, ()) if needed in self._steps and needed != key}

    def all_keys(self) -> list[Key]:
        """All steps so far."""
        return list(self._steps)

    def steps(self) -> tuple[Step, ...]:
        """All of them, in order."""
        needs = {key: self.needs(key) for key in self._steps}
        open_needs = {key: len(needed) for key, needed in needs.items()}
        followers: dict[Key, list[Key]] = {}
        for key, needed in needs.items():
            for one in needed:
                followers.setdefault(one, []).append(key)
        ready = [
            (self._steps[key][3], index, key) for index, key in enumerate(self._steps) if not open_needs[key]
        ]
        place = {key: index for index, key in enumerate(self._steps)}
        heapq.heapify(ready)
        ids: dict[Key, int] = {}
        while ready:
            _, _, key = heapq.heappop(ready)
            ids[key] = len(ids)
            for follower in followers.get(key, ()):
                open_needs[follower] -= 1
                if not open_needs[follower]:
                    heapq.heappush(ready, (self._steps[follower][3], place[follower], follower))
        if len(ids) != len(self._steps):
            stuck = sorted(str(key) for key in self._steps if key not in ids)
            raise AssertionError(f"steps need each other in a circle: {', '.join(stuck)}")
        return tuple(self._step(key, ids, needs[key]) for key in ids)

    def _step(self, key: Key, ids: dict[Key, int], needed: set[Key]) -> Step:
        host, action, reason, _ = self._steps[key]
        return Step(
            id=ids[key], host=host, action=action, needs=tuple(sorted(ids[one] for one in needed)), reason=reason
        )  # fmt: skip
