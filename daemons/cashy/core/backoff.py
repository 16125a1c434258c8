"""When a request to a store is sent again, and how many may be under way: a store that is overloaded is not hammered.

Law. Pure: times and random numbers are parameters; whoever calls waits and counts. Four rules, each with a table of tests:

* *Full jitter*: the wait before a retry is drawn evenly from zero to a bound that doubles, so that those who failed together do not come
  back together. What the store asks for (Retry-After) is the least, within a limit.
* *Never beyond the deadline*: a retry that could not begin in time is no retry; the error is told now.
* *A budget per store*: retries are paid from a bucket that successes fill, so a store that answers nothing but errors gets at most the
  bucket's retries beyond its load, not its load times five. (As gRPC's retry throttling.)
* *A window per host*: SlowDown halves the number of requests under way, each further answer lets it grow by its part (additive increase,
  multiplicative decrease, RFC 5681 3.1), and one burst of refusals counts as one.

What was not answered in time is asked again like what broke, on another connection: one that leads to a lost backend is silent for ever, and
the budget bounds what a slow store gets. Rejected: telling silence at once (with one backend of three hanging, each third read failed), and a
pause of the whole store instead of the window (a store that throttles one prefix would stop all others).

Sources: "Error responses" and "Best practices design patterns: retries" in Amazon S3 User Guide; RFC 9110 10.2.3 (Retry-After); gRFC A6.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "RETRY_AFTER_S_MAX",
    "RETRY_BASE_S",
    "RETRY_CAP_S",
    "RETRY_TOKENS_MAX",
    "RetryBudget",
    "Window",
    "is_transient",
    "retry_after_s",
    "retry_delay_s",
]

#: Bound of the wait before the first retry; it doubles with each. S3 sheds load in fractions of a second.
RETRY_BASE_S = 0.1

#: The bound grows no further: with more, a block's whole time would go into one wait.
RETRY_CAP_S = 5.0

#: A store's own Retry-After is honoured up to here; beyond it the caller, who knows whether to wait so long, is told at once.
RETRY_AFTER_S_MAX = 20.0

#: Retries that a store gets beyond its successes: a bucket this large, and one more for each ten answers.
RETRY_TOKENS_MAX = 100.0
TOKENS_PER_SUCCESS = 0.1

#: Refusals within this time of a decrease are of requests that were sent before it.
DECREASE_INTERVAL_S = 0.5

#: Least window: one request asks whether the store works again.
WINDOW_MIN = 1.0

_TRANSIENT = frozenset((429, 500, 502, 503, 504))


def is_transient(status: int) -> bool:
    """Whether an answer says that the same request may succeed later: S3's SlowDown and InternalError, and what gateways answer for it."""
    return status in _TRANSIENT


def retry_after_s(header: str) -> float:
    """Seconds that a Retry-After header asks for; 0 if there is none. Dates count as none: they need both clocks to agree."""
    return float(header) if header.isascii() and header.isdigit() and len(header) <= 9 else 0.0


def retry_delay_s(attempt: int, fraction: float, *, asked_s: float, remaining_s: float) -> float | None:
    """The wait before retry ``attempt`` (from 1); None if it would not begin before the deadline, or the store asks for too long.

    ``fraction`` is random, even in [0, 1); ``asked_s`` is the store's Retry-After; ``remaining_s`` is the time to the deadline.
    """
    if asked_s > RETRY_AFTER_S_MAX:
        return None
    bound_s = min(RETRY_CAP_S, RETRY_BASE_S * 2.0 ** min(attempt - 1, 30))
    delay_s = asked_s + fraction * bound_s
    return delay_s if delay_s < remaining_s else None


@dataclass(slots=True)
class RetryBudget:
    """The bucket of one store."""

    tokens: float = RETRY_TOKENS_MAX

    def succeeded(self) -> None:
        """The store answered as it should."""
        self.tokens = min(RETRY_TOKENS_MAX, self.tokens + TOKENS_PER_SUCCESS)

    def take(self) -> bool:
        """Pays for one retry; False if there is nothing left."""
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class Window:
    """How many requests may be under way at one host, at most ``limit_max``."""

    __slots__ = ("_decreased_at_s", "_limit", "limit_max")

    def __init__(self, limit_max: int) -> None:
        self.limit_max = limit_max
        self._limit = float(limit_max)
        self._decreased_at_s = float("-inf")

    @property
    def limit(self) -> int:
        """At least one, at most ``limit_max``."""
        return int(self._limit)

    def succeeded(self) -> None:
        """An answer came that is no refusal: after as many as the window is wide, it is wider by one."""
        if self._limit < self.limit_max:
            self._limit = min(float(self.limit_max), self._limit + 1.0 / self._limit)

    def refused(self, under_way: int, now_s: float) -> bool:
        """SlowDown came while so many were under way: the window is half of that. False if it belongs to the burst before."""
        if now_s - self._decreased_at_s < DECREASE_INTERVAL_S:
            return False
        self._decreased_at_s = now_s
        self._limit = max(WINDOW_MIN, min(self._limit, float(under_way)) / 2.0)
        return True
