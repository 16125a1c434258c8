"""Grace: what is cached goes on being served while its origin cannot be reached, past its time and marked as stale.

Who asks for an object whose time is over waits for the origin's answer as long as an origin that lives may take, and then gets what is here, if
:mod:`cashy.core.staleness` lets it stand in. Once the origin counts as down (:mod:`cashy.core.reachability`) nobody waits. An object that is not
here, or is beyond its grace, is asked for with all patience that the origin's own limits have, and fails with their error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from aviary.cashy.v1.control_pb2 import ObjectInfo
from cashy.core.names import Resolved
from cashy.core.reachability import ANSWER_S
from cashy.core.staleness import Staleness, beyond_grace, may_stand_in, says_nothing
from cashy.errors import CashyError
from cashy.master.counters import Counters
from cashy.master.known import Known
from cashy.origin.base import ObjectMeta, Origin
from cashy.reachability import Reachability
from shmipc.arena import SlotFields

__all__ = ["Grace", "StandIn"]

_NS = 1_000_000_000


class StandIn(NamedTuple):
    """A record whose time is over. ``staleness`` None: it must not be served."""

    known: Known
    staleness: Staleness | None
    past_s: float


class Grace:
    """Of all origins of a host. ``grace_s`` by origin's name; who is not in it gets ``default_s``."""

    def __init__(self, origins: Mapping[str, Origin], counters: Counters) -> None:
        self._origins = origins
        self._counters = counters
        self._reach = {name: Reachability(name) for name in origins}
        self._own_s: Mapping[str, float] = {}
        self._default_s = 0.0
        self._when_doubted = False

    def allow(self, default_s: float, own_s: Mapping[str, float], *, when_doubted: bool) -> None:
        """How long past its time something may be served: of most origins, and of some."""
        self._default_s = default_s
        self._own_s = own_s
        self._when_doubted = when_doubted

    def grace_s(self, origin: str) -> float:
        """Seconds for objects of an origin."""
        return self._own_s.get(origin, self._default_s)

    def weigh(self, known: Known, fields: SlotFields, now_ns: int, *, is_doubted: bool) -> StandIn:
        """Whether a record may stand in for the origin's answer."""
        staleness = may_stand_in(
            now_ns=now_ns,
            valid_until_ns=fields.valid_until_ns,
            validated_ns=fields.validated_ns,
            grace_ns=int(self.grace_s(known.content.place.origin) * _NS),
            is_doubted=is_doubted,
            when_doubted=self._when_doubted,
        )
        return StandIn(known, staleness, (now_ns - fields.valid_until_ns) / _NS)

    # --- answers ---

    async def answer(
        self, stand_in: Callable[[], StandIn | None], ask: Callable[[], Awaitable[Known]]
    ) -> Known:
        """The origin's answer, or what stands in for it. Raises what ``ask`` raises; the question goes on if nobody waits for it any more."""
        found = stand_in()
        if found is None or found.staleness is None:
            return await self._unaided(found, ask)
        origin = found.known.content.place.origin
        if self._reach[origin].is_down:
            return self._stale(found.known, found.staleness)
        error: CashyError | None = None
        try:
            async with asyncio.timeout(ANSWER_S):
                return await ask()
        except CashyError as failure:
            error = failure
        except TimeoutError:
            pass
        found = stand_in()  # it may have been changed meanwhile
        if found is not None and found.staleness is not None and (error is None or says_nothing(error)):
            return self._stale(found.known, found.staleness)
        if error is None:  # nobody but the origin can answer now, and it still may
            return await self._unaided(found, ask)
        raise error

    async def _unaided(self, found: StandIn | None, ask: Callable[[], Awaitable[Known]]) -> Known:
        try:
            return await ask()
        except CashyError as error:
            if found is None or found.past_s <= 0 or not says_nothing(error):
                raise
            grace_s = self.grace_s(found.known.content.place.origin)
            raise (beyond_grace(error, found.past_s, grace_s) if grace_s else error) from error

    def _stale(self, known: Known, staleness: Staleness) -> Known:
        if not staleness.past_ns:
            return known
        self._counters.add("stale_answers")
        info = ObjectInfo()
        info.CopyFrom(known.info)
        info.stale_for_ms = max(1, staleness.past_ns // 1_000_000)
        info.age_ms = staleness.age_ns // 1_000_000
        return Known(known.name, known.content, info)

    # --- questions ---

    @asynccontextmanager
    async def place(self, found: StandIn | None) -> AsyncIterator[None]:
        """A place among those who ask an origin that recovers. Who has nothing that could stand in needs none, and asks also where it is down."""
        if found is None or found.staleness is None:
            yield
            return
        async with self._reach[found.known.content.place.origin].place():
            yield

    async def head(self, place: Resolved) -> ObjectMeta:
        """Asks the origin; raises a :class:`~cashy.errors.CashyError`."""
        return await self._reach[place.origin].ask(lambda: self._head(place))

    def _head(self, place: Resolved) -> Awaitable[ObjectMeta]:
        return self._origins[place.origin].head(place.bucket, place.key)

    def note(self, place: Resolved, error: CashyError) -> None:
        """A read at the origin has ended so."""
        self._reach[place.origin].note(error, lambda: self._head(place))

    def levels(self) -> dict[str, int]:
        """``reach.<name>.is_down`` and ``is_recovering``, 0 or 1."""
        levels: dict[str, int] = {}
        for name, reach in self._reach.items():
            levels |= {
                f"reach.{name}.is_down": int(reach.is_down),
                f"reach.{name}.is_recovering": int(reach.is_recovering),
            }
        return levels

    async def close(self) -> None:
        """Asks nobody any more."""
        for reach in self._reach.values():
            await reach.close()
