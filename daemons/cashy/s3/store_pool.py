"""The links of one worker to the hosts of one store, and who waits for one.

Law: of each host at most ``links_max`` links exist, at most ``queue_max`` requests wait for one, none longer than a named time; beyond that the
answer is SlowDown, not memory. Links that come back whole are used again, the last used first; others are closed. Whoever
gets a link returns it, by leaving :meth:`StorePool.leased`.

The master's pool (:mod:`cashy.origin.s3_pool`) is another thing: its requests have no bodies, can be sent again, and come from one program
that is told of each end; here each waits in a task of its own, for as long as its client does.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from cashy.errors import OriginTimeout, OriginUnavailable, SlowDown
from cashy.origin.dial import DialPlace, dial
from cashy.s3.limits import STORE_HOSTS_MAX, STORE_IDLE_S, STORE_PLACE_S
from cashy.s3.store_link import LinkOwner, StoreLink

__all__ = ["StorePlace", "StorePool", "StorePools"]


@dataclass(frozen=True, slots=True)
class StorePlace:
    """Where a store listens, and what one worker may ask of it at a time; times in seconds."""

    name: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None
    links_max: int = 32
    queue_max: int = 1024
    connect_timeout_s: float = 5.0
    place_timeout_s: float = STORE_PLACE_S


class StorePool(LinkOwner):
    """Links to one host. All calls on the loop's thread."""

    def __init__(self, place: StorePlace) -> None:
        self._place = place
        self._idle: deque[StoreLink] = deque()
        self._count = 0  # links that exist or are being made
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._live: set[StoreLink] = set()
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def links(self) -> int:
        """Links that exist or are being made."""
        return self._count

    @property
    def is_idle(self) -> bool:
        """Nobody has a link or waits for one."""
        return not self._waiting and self._count == len(self._idle)

    def close_idle(self) -> None:
        """Closes the links that nobody has."""
        while self._idle:
            self._idle.pop().abort()

    @asynccontextmanager
    async def leased(self, *, idle_max_s: float) -> AsyncIterator[StoreLink]:
        """A link for one request, unused for at most ``idle_max_s``. Raises SlowDown, OriginUnavailable, OriginTimeout."""
        link = await self._acquire(idle_max_s)
        try:
            yield link
        finally:
            self._release(link)

    async def close(self) -> None:
        """Closes all links, also those in use."""
        for link in tuple(self._live):
            link.abort()
        if self._sweep is not None:
            self._sweep.cancel()
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn

    def link_lost(self, link: StoreLink) -> None:
        """Takes a lost link off; its place is free."""
        if link in self._live:
            self._live.discard(link)
            self._count -= 1
            if link in self._idle:
                self._idle.remove(link)
            self._wake_one()

    # ------------------------------------------------------------ getting one

    async def _acquire(self, idle_max_s: float) -> StoreLink:
        while True:
            link = self._take_idle(idle_max_s)
            if link is not None:
                return link
            if self._count < self._place.links_max:
                return await self._connect()
            if self._idle:  # too old for this request: its place is wanted
                self._idle.popleft().abort()
            await self._wait_for_place()

    def _take_idle(self, idle_max_s: float) -> StoreLink | None:
        while self._idle:
            link = self._idle[-1]
            if not link.is_reusable:
                self._idle.pop()
                continue
            if asyncio.get_running_loop().time() - link.idle_since > idle_max_s:
                return None
            return self._idle.pop()
        return None

    async def _connect(self) -> StoreLink:
        place = self._place
        self._count += 1
        try:
            link = await dial(
                lambda: StoreLink(self, place.name),
                StoreLink.give_up,
                DialPlace(place.host, place.port, place.tls),
                place.connect_timeout_s,
            )
            if not link.is_reusable:
                raise OriginUnavailable(f"{place.name} closes connections as soon as they are made")
        except BaseException as error:
            self._count -= 1
            self._wake_one()
            if isinstance(error, TimeoutError):
                text = f"{place.name}: no connection within {place.connect_timeout_s:g} s"
                raise OriginTimeout(text) from None
            if isinstance(error, OSError):  # refused, no route, no such host, a bad certificate
                raise OriginUnavailable(f"{place.name}: no connection: {error.strerror or error}") from None
            raise
        self._live.add(link)
        return link

    async def _wait_for_place(self) -> None:
        place = self._place
        if len(self._waiting) >= place.queue_max:
            raise SlowDown(f"{place.name}: {place.queue_max} requests wait for a connection already")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(place.place_timeout_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._wake_one()  # the turn was ours, and is the next one's now
            if isinstance(error, TimeoutError):
                text = f"{place.name}: no connection became free within {place.place_timeout_s:g} s"
                raise SlowDown(text) from None
            raise
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def _wake_one(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    # ------------------------------------------------------------ giving it back

    def _release(self, link: StoreLink) -> None:
        if link not in self._live:
            return
        if not link.is_reusable:
            link.abort()  # link_lost follows, and frees the place
            return
        loop = asyncio.get_running_loop()
        link.idle_since = loop.time()
        self._idle.append(link)
        if self._sweep is None:
            self._sweep = loop.call_later(STORE_IDLE_S, self._close_old)
        self._wake_one()

    def _close_old(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        while self._idle and loop.time() - self._idle[0].idle_since >= STORE_IDLE_S:
            self._idle.popleft().abort()
        if self._idle:
            self._sweep = loop.call_later(STORE_IDLE_S, self._close_old)


class StorePools:
    """The pools of all hosts of one store: its endpoint's, and those of buckets with a host or region of their own."""

    def __init__(self, place: StorePlace) -> None:
        self._place = place
        self._pools: OrderedDict[tuple[str, int], StorePool] = OrderedDict()

    @property
    def links(self) -> int:
        """Links that exist or are being made."""
        return sum(pool.links for pool in self._pools.values())

    def of(self, host: str, port: int) -> StorePool:
        """The pool of a host. Raises SlowDown if too many others are in use."""
        pool = self._pools.get((host, port))
        if pool is None:
            self._make_room()
            pool = StorePool(replace(self._place, host=host, port=port))
            self._pools[host, port] = pool
        self._pools.move_to_end((host, port))
        return pool

    def _make_room(self) -> None:
        if len(self._pools) < STORE_HOSTS_MAX:
            return
        key = next((key for key, pool in self._pools.items() if pool.is_idle), None)
        if key is None:
            raise SlowDown(f"{self._place.name}: requests to {STORE_HOSTS_MAX} hosts are under way")
        self._pools.pop(key).close_idle()

    async def close(self) -> None:
        """Closes all links, also those in use."""
        for pool in tuple(self._pools.values()):
            await pool.close()
