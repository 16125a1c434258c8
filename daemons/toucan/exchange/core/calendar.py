"""When an instrument's market opens and closes.

Law: dates and a calendar in, points in time out; the calendar itself is :class:`toucan.core.instruments.Session`'s, whose close is the only one
there is, so that the exchange and the engine end a day at the same nanosecond. A session that opens at the close before it (around the clock) never
closes for anybody: one day follows the other.
"""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

import msgspec

from toucan.core.instruments import Session

__all__ = ["SessionSpan", "session_span"]

_NS = 1_000_000_000


class SessionSpan(msgspec.Struct, frozen=True, gc=False):
    """One session: from ``opens_ns`` up to, not including, ``closes_ns``; ns since the epoch."""

    opens_ns: int
    closes_ns: int

    def is_open(self, now_ns: int) -> bool:
        """Whether it is on."""
        return self.opens_ns <= now_ns < self.closes_ns


def session_span(session: Session, now_ns: int) -> SessionSpan:
    """The session that is on, or else the next one."""
    closes_ns = session.ends_after_ns(now_ns)
    zone = ZoneInfo(session.zone)
    day = datetime.datetime.fromtimestamp(closes_ns // _NS, zone).date()
    # It runs over midnight, or until then: it has opened the day before.
    if session.open >= session.close:
        day -= datetime.timedelta(days=1)
    opens = datetime.datetime.combine(day, session.open, zone)
    return SessionSpan(min(int(opens.timestamp()) * _NS, closes_ns - 1), closes_ns)
