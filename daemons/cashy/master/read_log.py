"""What the master's log says of reads that went wrong: enough to follow one, and few lines however many go wrong.

An origin that is down fails thousands of reads a second. So of each event and each source (host, origin, client) one line is written in
:data:`PAUSE_S`; those left out meanwhile are counted in the next (``not_logged``), and all of them in the counters.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import structlog

__all__ = ["PAUSE_S", "SOURCES_MAX", "ReadLog"]

#: Between two lines of one event of one source: enough to see that it goes on, little enough to keep.
PAUSE_S = 10.0

#: Sources remembered: a thousand hosts, their origins, and the clients that were unlucky lately.
SOURCES_MAX = 2048


class ReadLog:
    """Writes the lines of one master."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._log = structlog.get_logger("cashy.master")
        self._now = now
        self._told: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def warning(self, event: str, source: str, **values: object) -> None:
        """A read that went wrong at ``source``, or for it."""
        now = self._now()
        told_at, left_out = self._told.get((event, source), (-PAUSE_S, 0))
        if now - told_at < PAUSE_S:
            self._told[event, source] = told_at, left_out + 1
            return
        self._told[event, source] = now, 0
        self._told.move_to_end((event, source))
        while len(self._told) > SOURCES_MAX:
            self._told.popitem(last=False)
        named = {name: value for name, value in values.items() if value not in ("", None)}
        if left_out:
            named["not_logged"] = left_out
        self._log.warning(event, **named)
