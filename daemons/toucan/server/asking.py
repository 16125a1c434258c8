"""Asking the engine: in turn, within the deadline, and with every way to fail told as what it is."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from toucan.core.order import Client
from toucan.core.outcomes import Accepted, Done, MassCanceled, Previewed, Proposed, Refusal, Refused
from toucan.core.requests import Body, Reply
from toucan.engine.port import EngineAway, EnginePort
from toucan.server.errors import Away, Expired, FrontCode, InvalidRequest, OutcomeUnknown
from toucan.server.translate.statuses import engine_error
from toucan.server.turns import Turns

__all__ = ["Asking", "key_reused"]

_Kind = TypeVar("_Kind", Accepted, MassCanceled, Previewed, Done, Proposed)


class Asking:
    """The engine as calls see it."""

    def __init__(self, port: EnginePort) -> None:
        self.port = port
        self.turns = Turns()
        #: The newest event that any answer has told of: who asks after his own order may be quicker than the copy.
        self.newest_seq = 0

    async def ask(self, client: Client, number: int, body: Body, timeout_s: float) -> Reply:
        """The engine's answer to what it has carried out. Raises :class:`~toucan.server.errors.CallError` for everything else."""
        left_s = timeout_s
        if not self.turns.take_at_once(client):
            loop = asyncio.get_running_loop()
            ends_at = loop.time() + timeout_s
            await self.turns.take(client, number, timeout_s)
            left_s = ends_at - loop.time()
        try:
            reply = await self._send(client, number, body, left_s)
        finally:
            self.turns.release(client)
        self.newest_seq = max(self.newest_seq, reply.seq)
        if isinstance(reply.outcome, Refused) and reply.outcome.code is Refusal.KEY_REUSED:
            raise key_reused(number)
        error = engine_error(reply.outcome)
        if error is not None:
            raise error
        return reply

    async def _send(self, client: Client, number: int, body: Body, timeout_s: float) -> Reply:
        if timeout_s <= 0:
            raise Expired("the deadline has passed; it was not sent", code=Refusal.DEADLINE_PASSED)
        try:
            return await self.port.ask(client, number, body, timeout_s)
        except EngineAway as error:
            raise Away(str(error)) from None
        except TimeoutError:
            raise OutcomeUnknown(
                "the engine did not answer before the deadline: whether this was carried out is told when the same key is sent again"
            ) from None

    async def ask_for(
        self, kind: type[_Kind], client: Client, number: int, body: Body, timeout_s: float
    ) -> tuple[_Kind, int]:
        """The same, of a request to which the answer is of one kind; gives the outcome and the newest event."""
        reply = await self.ask(client, number, body, timeout_s)
        if not isinstance(reply.outcome, kind):
            raise key_reused(number)
        return reply.outcome, reply.seq

    async def caught_up(self, seq: int, timeout_s: float) -> None:
        """Waits until what is read has seen this event. Raises :class:`~toucan.server.errors.CallError`."""
        if await self.port.wait_for(seq, timeout_s):
            return
        if self.port.is_stale:
            raise Away(f"the engine is away, and event {seq} was not heard of")
        text = f"event {seq} has not come in {timeout_s:.1f} s; the newest is {self.port.state.seq}"
        raise Expired(text, code=FrontCode.NOT_CAUGHT_UP)


def key_reused(number: int) -> InvalidRequest:
    """The answer that is remembered for this number is to another request."""
    text = f"key.number {number} was used for another request of this session, which was answered; take the next number"
    return InvalidRequest(text, field="key.number", code=FrontCode.KEY_REUSED)
