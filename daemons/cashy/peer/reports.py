"""What a log says of other hosts: links that come and go, hosts that are refused or broken, strangers; few lines however often it happens.

A host that flaps or a port scanner must not fill a disk. So each event of each peer is written once in ``PAUSE_S``; those left out meanwhile are
counted in the next line (``not_logged``), and all of them in the counters.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

__all__ = ["PAUSE_S", "Reports"]

#: Between two lines of one event of one peer: enough to see that it goes on, little enough to keep.
PAUSE_S = 30.0


class Reports:
    """Writes the lines of one end, asking or answering. ``peer`` is a name of the list of hosts, or empty for whoever has proved none."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._log = structlog.get_logger("cashy.peer")
        self._now = now
        self._told_at: dict[tuple[str, str], float] = {}
        self._not_logged: dict[tuple[str, str], int] = {}

    def info(self, event: str, peer: str, **values: object) -> None:
        """Something that is as it should be."""
        if self._may_tell(event, peer):
            self._log.info(event, **self._with_peer(event, peer, values))

    def warning(self, event: str, peer: str, reason: str, **values: object) -> None:
        """Something that somebody should look at; ``reason`` is a sentence."""
        if self._may_tell(event, peer):
            self._log.warning(event, **self._with_peer(event, peer, {"reason": reason, **values}))

    def _may_tell(self, event: str, peer: str) -> bool:
        key, now = (event, peer), self._now()
        told_at = self._told_at.get(key)
        if told_at is not None and now - told_at < PAUSE_S:
            self._not_logged[key] = self._not_logged.get(key, 0) + 1
            return False
        self._told_at[key] = now
        return True

    def _with_peer(self, event: str, peer: str, values: dict[str, object]) -> dict[str, object]:
        not_logged = self._not_logged.pop((event, peer), 0)
        named = {"peer": peer, **values} if peer else values
        return {**named, "not_logged": not_logged} if not_logged else named
