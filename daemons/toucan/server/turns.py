"""Turns: the requests of one client one after the other, those of different clients side by side.

A client is a user and one of his sessions. Its requests are sent to the engine in the order in which they came and one at a time, so that an answer
is there before the next one is decided; what waits is bounded. The engine would keep the order by itself, but it has one queue for everybody.
"""

from __future__ import annotations

import asyncio
from collections import deque

from toucan.core.order import Client
from toucan.core.outcomes import Refusal
from toucan.server.errors import Exhausted, Expired, FrontCode
from toucan.server.limits import CLIENTS_WITH_REQUESTS_MAX, REQUESTS_WAITING_MAX

__all__ = ["Turns"]


class Turns:
    """Whose turn it is; one event loop."""

    def __init__(self) -> None:
        #: Clients that have something under way, and what waits behind it.
        self._waiting: dict[Client, deque[asyncio.Future[None]]] = {}

    @property
    def waiting_count(self) -> int:
        """Requests that wait for their turn."""
        return sum(len(queue) for queue in self._waiting.values())

    async def take(self, client: Client, timeout_s: float) -> None:
        """Waits for the client's turn; :meth:`release` ends it.

        Raises :class:`~toucan.server.errors.Exhausted` and :class:`~toucan.server.errors.Expired`; nothing was sent then.
        """
        queue = self._waiting.get(client)
        if queue is None:
            if len(self._waiting) >= CLIENTS_WITH_REQUESTS_MAX:
                text = f"{CLIENTS_WITH_REQUESTS_MAX} sessions have requests under way; send it again"
                raise Exhausted(text, code=FrontCode.QUEUE_FULL)
            self._waiting[client] = deque()
            return
        if len(queue) >= REQUESTS_WAITING_MAX:
            text = f"{len(queue)} requests of session {client.session!r} are waiting already; send it again when some are answered"
            raise Exhausted(text, code=FrontCode.QUEUE_FULL)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        await self._wait(client, turn, timeout_s)

    async def _wait(self, client: Client, turn: asyncio.Future[None], timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.release(client)  # it came at the same moment: it is the next one's
            else:
                self._waiting[client].remove(turn)
            if isinstance(error, TimeoutError):
                text = "the deadline passed while earlier requests of this session were waited for; it was not sent"
                raise Expired(text, code=Refusal.DEADLINE_PASSED) from None
            raise

    def release(self, client: Client) -> None:
        """The turn is over; it is the next one's."""
        queue = self._waiting[client]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[client]
