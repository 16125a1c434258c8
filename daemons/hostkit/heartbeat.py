"""A daemon's signs of life to its supervisor: that its work loop turns, and one line that says how it does.

Law: :meth:`Heartbeat.beat` is called by the loop that does the daemon's work, between two pieces of it, and never by a thread or timer that would go
on while the work stands still: a ping that proves nothing keeps a hanging daemon alive. Pings come at half the time that the supervisor
gives (sd_watchdog_enabled(3)); the line, STATUS=, is sent when it has changed, at most once a second, as each wakes the supervisor.
Without a supervisor a beat costs a comparison. What makes the line may fail: that is logged, and is no reason to fall.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping

from hostkit.log import get_logger
from hostkit.notify import notify, watchdog_s

__all__ = ["STATUS_INTERVAL_S", "Heartbeat"]

#: How often the line may change at most, and so how often it is made.
STATUS_INTERVAL_S = 1.0

#: Loops wake a little early or late; a beat that is due by this part of its interval counts.
_DUE = 0.9

#: A beat may come late by this part of the watchdog's time before the ping that was put off to it comes late.
_BEATS_PER_WATCHDOG = 8


class Heartbeat:
    """``status`` makes the line; call :meth:`beat` about every :attr:`interval_s`, or more often."""

    def __init__(
        self,
        status: Callable[[], str],
        *,
        environ: Mapping[str, str] = os.environ,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._status = status
        self._now_s = now_s
        self._watchdog_s = watchdog_s(environ)
        self._is_heard = bool(environ.get("NOTIFY_SOCKET"))
        #: Seconds between two beats that are worth it.
        self.interval_s = min(
            STATUS_INTERVAL_S, (self._watchdog_s or STATUS_INTERVAL_S) / _BEATS_PER_WATCHDOG
        )
        self._next_s = now_s()
        self._ping_s = now_s()
        self._status_s = now_s()
        self._said = ""
        self._has_failed = False

    def beat(self) -> None:
        """The loop turns. Never raises and never blocks."""
        if not self._is_heard:
            return
        now = self._now_s()
        if now < self._next_s:
            return
        self._next_s = now + self.interval_s * _DUE
        if self._watchdog_s is not None and now >= self._ping_s:
            self._ping_s = now + self._watchdog_s / 2 - self.interval_s
            notify(WATCHDOG="1")
        if now >= self._status_s:
            self._status_s = now + STATUS_INTERVAL_S * _DUE
            self._tell()

    def _tell(self) -> None:
        try:
            line = self._status()
        except Exception as error:  # a bug in a line for people must not end the daemon
            if not self._has_failed:
                get_logger(program="heartbeat").error("the status cannot be made: a bug", exc_info=error)
            self._has_failed = True
            return
        if line != self._said:
            self._said = line
            notify(STATUS=" ".join(line.split()))

    async def run(self) -> None:
        """Beats for ever, as a task of an event loop that does the work."""
        while True:
            self.beat()
            await asyncio.sleep(self.interval_s)
