"""Whether an origin counts as down, and how it is asked again: what its answers and silences so far say.

Law. Decisions only, from times and numbers that are given; who sleeps, asks and answers readers is :mod:`cashy.reachability`'s and the catalog's
business. An *answer* is whatever an origin says of an object, "no such object" and "access denied" included. No answer is a refused or broken
connection, a time limit, and an answer that is about the origin itself: 5xx, 429.

Three states. UP: asked by whoever wants to know. DOWN, after :data:`FAILURES_TO_DOWN` questions in a row without an answer, or one that has been
silent for :data:`ANSWER_S` while nothing else was answered: one *probe* asks, ever more rarely, each pause drawn anew from the upper half of its
bound, so that the hosts of a cluster do not come all at once. RECOVERING, from the first answer on: so many questions at a time as
:data:`PLACES`, first come, first served, until for :data:`RECOVERY_S` nobody had to wait; one failure, and it is DOWN again.

What this is for: an object whose time is over is served all the same while its origin is down (RFC 5861 4, "stale-if-error"), and nobody waits
for an origin of which it is known that it will not answer. When it is back, thousands of objects are past their time at once, and the
store that has just started is not to be met by all of their questions together.

Rejected: counting down from the first failure (one object whose HEAD always fails would let all others be served old); readers as probes (the gauge
of an origin that nobody reads would say "down" for ever); opening up by a share of the load (nobody knows what share a starting store bears).

Source: RFC 5861; "Grace mode" of Varnish's users' guide; Nygard, "Release It!" (circuit breaker).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from enum import Enum

__all__ = [
    "ANSWER_S",
    "FAILURES_TO_DOWN",
    "PAUSE_FIRST_S",
    "PAUSE_MAX_S",
    "PLACES",
    "RECOVERY_S",
    "OriginHealth",
    "Reach",
]

#: Questions in a row without an answer.
FAILURES_TO_DOWN = 3

#: How long a question is silent before that says something; longer than a dead host of the cluster takes to be noticed (2.5 s), which may be in
#: between. It is also how long a reader waits who could be served what is here.
ANSWER_S = 4.0

#: The bound of the pause before the first probe; it doubles with each up to the second. A store that restarts is back within seconds.
PAUSE_FIRST_S, PAUSE_MAX_S = 0.5, 5.0

#: Questions at a time while it recovers: at 10 ms each, 1,600 a second.
PLACES = 16

#: For how long nobody must have had to wait before all may ask again.
RECOVERY_S = 10.0


class Reach(Enum):
    """What is believed of an origin."""

    UP = "up"
    DOWN = "down"
    RECOVERING = "recovering"


class OriginHealth:
    """One origin. Times are seconds of a clock that does not go back."""

    def __init__(self) -> None:
        self.reach = Reach.UP
        self.down_since = 0.0
        self._failures = 0  # in a row
        self._probes = 0
        self._answered_at = float("-inf")
        self._quiet_since = 0.0
        self._asking: set[Hashable] = set()
        self._waiting: OrderedDict[Hashable, None] = OrderedDict()

    # --- what happened ---

    def answered(self, now: float) -> None:
        """It has said something of an object."""
        self._failures = 0
        self._answered_at = now
        if self.reach is Reach.DOWN:
            self.reach = Reach.RECOVERING
            self._probes = 0
            self._quiet_since = now

    def failed(self, now: float) -> None:
        """A question ended without an answer."""
        self._failures += 1
        if self.reach is Reach.RECOVERING or (self.reach is Reach.UP and self._failures >= FAILURES_TO_DOWN):
            self._is_down(now)

    def silent(self, asked_at: float, now: float) -> None:
        """A question that was sent at ``asked_at`` has had no answer for :data:`ANSWER_S`."""
        if self.reach is not Reach.DOWN and self._answered_at < asked_at:
            self._is_down(now)

    def _is_down(self, now: float) -> None:
        self.reach = Reach.DOWN
        self.down_since = now
        self._probes = 0

    def pause_s(self, fraction: float) -> float:
        """How long to wait before the next probe; ``fraction`` is random, even in [0, 1)."""
        bound_s: float = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0 ** min(self._probes, 30))
        self._probes += 1
        return bound_s * (1 + fraction) / 2

    # --- places while it recovers ---

    def enter(self, question: Hashable, now: float) -> bool:
        """Whether a question may be asked now; else it waits, and is named by :meth:`leave`. While it is DOWN nothing may, and nothing waits."""
        if self.reach is Reach.RECOVERING and not self._waiting and now - self._quiet_since >= RECOVERY_S:
            self.reach = Reach.UP
        if self.reach is Reach.RECOVERING and len(self._asking) >= PLACES:
            self._waiting[question] = None
            return False
        if self.reach is not Reach.DOWN:
            self._asking.add(question)
        return True

    def leave(self, question: Hashable, now: float) -> list[Hashable]:
        """A question is over, or given up while it waited; gives those that may be asked now, or learn that it is DOWN."""
        self._waiting.pop(question, None)
        self._asking.discard(question)
        free = PLACES - len(self._asking) if self.reach is Reach.RECOVERING else len(self._waiting)
        released = [self._waiting.popitem(last=False)[0] for _ in range(min(free, len(self._waiting)))]
        if released:
            self._quiet_since = now
        if self.reach is not Reach.DOWN:
            self._asking.update(released)
        return released

    @property
    def asking(self) -> int:
        """Questions that have a place."""
        return len(self._asking)

    @property
    def waiting(self) -> int:
        """Questions that wait for one."""
        return len(self._waiting)
