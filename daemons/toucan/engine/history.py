"""The last events that a front end has applied, so that a stream can go on where it broke off."""

from __future__ import annotations

import collections
from itertools import islice

from toucan.core.events import Event
from toucan.limits import HISTORY_EVENTS_MAX

__all__ = ["History"]


class History:
    """A bounded run of consecutive events."""

    def __init__(self) -> None:
        self._events: collections.deque[tuple[int, int, Event]] = collections.deque(maxlen=HISTORY_EVENTS_MAX)
        #: The newest event that was put in or, if there is none, from where on events will come.
        self.seq = 0

    def restart(self, seq: int) -> None:
        """Begins anew after ``seq``."""
        self._events.clear()
        self.seq = seq

    def put(self, seq: int, at_ns: int, event: Event) -> None:
        """The next event."""
        self._events.append((seq, at_ns, event))
        self.seq = seq

    def after(self, seq: int) -> list[tuple[int, int, Event]] | None:
        """Everything after ``seq``, oldest first; None if some of it is not kept, or ``seq`` is still to come."""
        missing = self.seq - seq
        if missing < 0 or missing > len(self._events):
            return None
        return list(islice(self._events, len(self._events) - missing, None))
