"""How urgent a certificate's end is, and when to say so.

Law. The time is an argument; nothing is logged, read or renewed here. Three steps, since what is said daily for a month is read by nobody on the
last day: a log has one line a day, and one more at each step. Who wants it earlier has the metric, which counts down from the first second.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["EXPIRES_SOON_S", "EXPIRES_VERY_SOON_S", "SAID_AGAIN_S", "Age", "age_of", "is_worth_saying"]

#: A month, as authorities warn: long enough for holidays.
EXPIRES_SOON_S = 30 * 86400
EXPIRES_VERY_SOON_S = 3 * 86400
#: Between two lines that say the same.
SAID_AGAIN_S = 86400


class Age(IntEnum):
    """In order of urgency."""

    FRESH = 0
    SOON = 1
    VERY_SOON = 2
    EXPIRED = 3


def age_of(left_s: float) -> Age:
    """Of a certificate that lasts for so long still."""
    if left_s <= 0:
        return Age.EXPIRED
    if left_s < EXPIRES_VERY_SOON_S:
        return Age.VERY_SOON
    return Age.SOON if left_s < EXPIRES_SOON_S else Age.FRESH


def is_worth_saying(age: Age, now: float, told: tuple[Age, float] | None) -> bool:
    """``told``: what was said last, and when (seconds, as ``now``)."""
    if age is Age.FRESH:
        return False
    return told is None or age > told[0] or now - told[1] >= SAID_AGAIN_S
