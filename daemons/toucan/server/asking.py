"""Asking the engine: in turn, within the deadline, and with every way to fail told as what it is."""

from __future__ import annotations

import asyncio

from toucan.core.order import Client
from toucan.core.outcomes import Refusal
from toucan.core.requests import Body, Reply
from toucan.engine.port import EngineAway, EnginePort
from toucan.server.errors import Away, Expired, FrontCode, OutcomeUnknown
from toucan.server.translate.statuses import engine_error
from toucan.server.turns import Turns

__all__ = ["Asking"]


class Asking:
    """The engine as calls see it."""

    def __init__(self, port: EnginePort) -> None:
        self.port = port
        self.turns = Turns()
        #: The newest event that any answer has told of: who asks after his own order may be quicker than the copy.
        self.newest_seq = 0

    async def ask(self, client: Client, number: int, body: Body, timeout_s: float) -> Reply:
        """The engine's answer to what it has carried out. Raises :class:`~toucan.server.errors.CallError` for everything else."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_s
        await self.turns.take(client, number, timeout_s)
        try:
            reply = await self._send(client, number, body, ends_at - loop.time())
        finally:
            self.turns.release(client)
        self.newest_seq = max(self.newest_seq, reply.seq)
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

    async def caught_up(self, seq: int, timeout_s: float) -> None:
        """Waits until what is read has seen this event. Raises :class:`~toucan.server.errors.CallError`."""
        if await self.port.wait_for(seq, timeout_s):
            return
        if self.port.is_stale:
            raise Away(f"the engine is away, and event {seq} was not heard of")
        text = f"event {seq} has not come in {timeout_s:.1f} s; the newest is {self.port.state.seq}"
        raise Expired(text, code=FrontCode.NOT_CAUGHT_UP)
