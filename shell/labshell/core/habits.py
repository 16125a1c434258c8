"""What was used how often and when last: the order of suggestions that match equally well.

Law: frequency and recency are joined as zoxide does it: a count of uses, times four within the last hour, two within the last day, halved within the
week, quartered after. When the sum of all counts passes a bound all are made smaller, and those that fall below one are forgotten. Time is an
argument: whoever completes fixes it when a line begins, so that an hour that passes while somebody types changes no order.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from labshell.core.limits import HABITS_TOTAL_MAX

__all__ = ["Habits", "Use", "score", "used"]

_HOUR_S = 3_600.0
_DAY_S = 86_400.0
_WEEK_S = 604_800.0
_KEPT = 0.9


class Use(msgspec.Struct, frozen=True, gc=False):
    """How often something was used, and when last (seconds, of a clock that goes on between sessions)."""

    count: float
    last_s: float


#: (Kind of parameter, or ``command``; text) to its use.
Habits = Mapping[tuple[str, str], Use]


def score(use: Use | None, now_s: float) -> float:
    """What its use makes something worth; 0 if it was never used."""
    if use is None:
        return 0.0
    age_s = now_s - use.last_s
    if age_s < _HOUR_S:
        return use.count * 4
    if age_s < _DAY_S:
        return use.count * 2
    return use.count / (2 if age_s < _WEEK_S else 4)


def used(habits: Habits, kind: str, text: str, now_s: float) -> Habits:
    """The habits after one more use."""
    before = habits.get((kind, text))
    grown = dict(habits)
    grown[kind, text] = Use((before.count if before else 0.0) + 1, now_s)
    total = sum(use.count for use in grown.values())
    if total <= HABITS_TOTAL_MAX:
        return grown
    factor = _KEPT * HABITS_TOTAL_MAX / total
    aged = {key: Use(use.count * factor, use.last_s) for key, use in grown.items()}
    return {key: use for key, use in aged.items() if use.count >= 1}
