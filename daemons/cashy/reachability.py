"""Asks origins, and keeps account of which of them can be reached. What follows from what is decided in :mod:`cashy.core.reachability`."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import structlog

from cashy.core.reachability import ANSWER_S, OriginHealth, Reach
from cashy.core.staleness import says_nothing
from cashy.errors import CashyError, OriginUnavailable

__all__ = ["Reachability"]

_log = structlog.get_logger("cashy")

_T = TypeVar("_T")


class Reachability:
    """One origin, of one loop. ``fraction`` gives random numbers in [0, 1)."""

    def __init__(
        self,
        name: str,
        *,
        now: Callable[[], float] = time.monotonic,
        fraction: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._now = now
        self._fraction = fraction
        self._health = OriginHealth()
        self._turns: dict[int, asyncio.Future[None]] = {}
        self._question_count = 0
        self._prober: asyncio.Task[None] | None = None

    @property
    def is_down(self) -> bool:
        """Whether only the probe asks it."""
        return self._health.reach is Reach.DOWN

    @property
    def is_recovering(self) -> bool:
        """Whether it answers again, and is asked by few at a time."""
        return self._health.reach is Reach.RECOVERING

    async def ask(self, question: Callable[[], Awaitable[_T]]) -> _T:
        """Asks, and takes note of what becomes of it. ``question`` is kept for the probe, should the origin be down by it."""
        asked_at = self._now()
        timer = asyncio.get_running_loop().call_later(ANSWER_S, self._silent, asked_at, question)
        try:
            answer = await question()
        except CashyError as error:
            self.note(error, question)
            raise
        finally:
            timer.cancel()
        self.note(None, question)
        return answer

    def note(self, error: CashyError | None, question: Callable[[], Awaitable[object]]) -> None:
        """The same for what was asked otherwise: it ended well, or with an error."""
        was = self._health.reach
        if error is not None and says_nothing(error):
            self._health.failed(self._now())
            self._follow(was, question, error.message)
        else:
            self._health.answered(self._now())

    def _silent(self, asked_at: float, question: Callable[[], Awaitable[object]]) -> None:
        was = self._health.reach
        self._health.silent(asked_at, self._now())
        self._follow(was, question, f"no answer for {ANSWER_S:g} s")

    def _follow(self, was: Reach, question: Callable[[], Awaitable[object]], reason: str) -> None:
        if self.is_down and was is not Reach.DOWN and (self._prober is None or self._prober.done()):
            _log.warning("origin_down", origin=self.name, reason=reason)
            self._prober = asyncio.get_running_loop().create_task(self._probe(question))

    async def _probe(self, question: Callable[[], Awaitable[object]]) -> None:
        while self.is_down:
            await asyncio.sleep(self._health.pause_s(self._fraction()))
            try:
                async with asyncio.timeout(ANSWER_S):
                    await question()
            except (TimeoutError, CashyError) as error:
                if isinstance(error, CashyError) and not says_nothing(error):
                    break
                self._health.failed(self._now())
            else:
                break
        _log.info("origin_up", origin=self.name, down_s=round(self._now() - self._health.down_since, 1))
        self._health.answered(self._now())

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place among those who ask, waited for while the origin recovers. Raises ``OriginUnavailable`` if it is down, by then or already."""
        self._question_count += 1
        number = self._question_count
        try:
            if not self._health.enter(number, self._now()):
                turn = self._turns[number] = asyncio.get_running_loop().create_future()
                await turn
            if self.is_down:
                raise OriginUnavailable(
                    f"origin {self.name!r} cannot be reached: it is tried again every few seconds"
                )
            yield
        finally:
            self._turns.pop(number, None)
            for other in self._health.leave(number, self._now()):
                assert isinstance(other, int)
                waiting = self._turns.get(other)
                if waiting is not None and not waiting.done():
                    waiting.set_result(None)

    async def close(self) -> None:
        """Probes no more."""
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)
