"""Turns: the requests of one client one after the other, those of different clients side by side.

A client is a user and one of his sessions. Its requests are sent to the engine one at a time, so that an answer is there before the next one is
decided; what waits is bounded. Of those that wait the lowest number is next: gRPC keeps no order among calls, and a request that came after a
higher number of its session would be refused for good (``REQUEST_SUPERSEDED``).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools

from toucan.core.order import Client
from toucan.core.outcomes import Refusal
from toucan.server.errors import Exhausted, Expired, FrontCode
from toucan.server.limits import CLIENTS_WITH_REQUESTS_MAX, REQUESTS_WAITING_MAX

__all__ = ["Turns"]

#: A request's number, its place among equals, and what tells it that its turn has come.
_Waiting = tuple[int, int, asyncio.Future[None]]


class Turns:
    """Whose turn it is; one event loop."""

    def __init__(self) -> None:
        #: Clients that have something under way, and what waits behind it: heaps.
        self._queues: dict[Client, list[_Waiting]] = {}
        self._arrivals = itertools.count()

    @property
    def waiting_count(self) -> int:
        """Requests that wait for their turn."""
        return sum(map(len, self._queues.values()))

    async def take(self, client: Client, number: int, timeout_s: float) -> None:
        """Waits for the turn of a client's request; :meth:`release` ends it.

        Raises :class:`~toucan.server.errors.Exhausted` and :class:`~toucan.server.errors.Expired`; nothing was sent then.
        """
        if self.take_at_once(client):
            return
        queue = self._queues[client]
        if len(queue) >= REQUESTS_WAITING_MAX:
            text = f"{len(queue)} requests of session {client.session!r} are waiting already; send it again when some are answered"
            raise Exhausted(text, code=FrontCode.QUEUE_FULL)
        entry = (number, next(self._arrivals), asyncio.get_running_loop().create_future())
        heapq.heappush(queue, entry)
        await self._wait(client, entry, timeout_s)

    def take_at_once(self, client: Client) -> bool:
        """The turn, if nothing of the client is under way; raises as :meth:`take`."""
        if client in self._queues:
            return False
        if len(self._queues) >= CLIENTS_WITH_REQUESTS_MAX:
            text = f"{CLIENTS_WITH_REQUESTS_MAX} sessions have requests under way; send it again"
            raise Exhausted(text, code=FrontCode.QUEUE_FULL)
        self._queues[client] = []
        return True

    async def _wait(self, client: Client, entry: _Waiting, timeout_s: float) -> None:
        turn = entry[2]
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.release(client)  # it came at the same moment: it is the next one's
            else:
                self._withdraw(client, entry)
            if isinstance(error, TimeoutError):
                text = "the deadline passed while earlier requests of this session were waited for; it was not sent"
                raise Expired(text, code=Refusal.DEADLINE_PASSED) from None
            raise

    def _withdraw(self, client: Client, entry: _Waiting) -> None:
        queue = self._queues.get(client, [])
        if entry in queue:  # else its turn came while it was leaving, and was passed on
            queue.remove(entry)
            heapq.heapify(queue)

    def release(self, client: Client) -> None:
        """The turn is over; it is the next one's."""
        queue = self._queues[client]
        while queue:
            turn = heapq.heappop(queue)[2]
            if not turn.done():
                turn.set_result(None)
                return
        del self._queues[client]
