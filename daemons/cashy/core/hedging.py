"""When a read that gives no sign is asked of a second source too, and when that would only do harm.

Law. Decisions only: times are arguments, and who asks counts, asks and cancels. A hedge shortens the tail because two sources are seldom
slow at once; it is worth its cost only while few reads need one. So:

* *Not before the expected time*: a read is late when it has given no sign for as long as 95 of 100 recent ones of its host took, or of all
  hosts together where that is less (a host that is slow at every fifth read would set its own mark too high).
* *A budget that successes earn*: each read that ends well earns a part of a token (``budget``, a twentieth by default), a hedge costs a whole
  one. So extra reads are at most that part of what has succeeded, whatever happens; where nothing succeeds there are none. The bucket is
  small: a quiet hour does not pay for a storm.
* *Caps of what is under way*, in all and at any one host: the host that is asked instead must not become the next slow one.
* *Off under overload*: for ``REST_S`` after anybody said SlowDown, and wherever a place would have to be waited for. Retries of a system that is
  overloaded are what keeps it overloaded ("metastable failures", Bronson et al., HotOS 2021).
* *Never behind other blocks*: while bytes of other reads come from the host, it is its link that is full. A second read would make it fuller.
* *Without a token where the host is silent*: one that does not even answer PING will most likely not answer at all, and whoever waits would be
  told so later and ask the other source then. So this is no extra read, but the only one, sooner. The caps hold.
* *Never for a read whose host says WAITING*: it is at the origin for it, and a second host, or this one, would read the block there once
  more. Such a host has given its sign at once; only the origin is slow.

What is cancelled frees the other host's work; the time that it had taken until then is still learnt from (:mod:`cashy.core.latency`).

Rejected: hedging every read at once (twice the load, and the same tail under it); a budget as a part of a time window (a window forgets what
was spent just before it); hedging between two origins (there are none: an origin is the truth).

Sources: Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013; gRFC A6 (hedging policy and retry throttling).
"""

from __future__ import annotations

from collections import Counter
from enum import Enum

from cashy.core.latency import Latencies

__all__ = [
    "DELAY_MAX_S",
    "DELAY_MIN_S",
    "HEDGES_MAX",
    "HEDGES_PER_HOST_MAX",
    "REST_S",
    "TOKENS_MAX",
    "Hedging",
    "Refusal",
]

#: A read is never late before this: loops of busy hosts stand still for so long now and then.
DELAY_MIN_S = 0.020

#: Nor later than this, and while nothing is known of a host: it would be dead soon after.
DELAY_MAX_S = 0.5

#: The usual time of a read: longer than so many of the recent ones took.
_LATE_AFTER = 0.95

#: Tokens that are kept: so many hedges may come at once after a good time.
TOKENS_MAX = 10.0

#: Second reads under way: at all sources together, and at any one.
HEDGES_MAX = 32
HEDGES_PER_HOST_MAX = 8

#: How long nobody is asked twice after a SlowDown.
REST_S = 5.0


class Refusal(Enum):
    """Why a late read is asked of nobody else."""

    OFF = "off"
    BUDGET = "budget"
    CAP = "cap"
    OVERLOAD = "overload"
    WAITING = "waiting"
    SENDING = "sending"


class Hedging:
    """The rules of one host. ``budget``: extra reads for each that has ended well; 0 turns hedging off."""

    __slots__ = ("_rests_until_s", "_under_way", "budget", "tokens")

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.tokens = 0.0
        self._under_way: Counter[str] = Counter()
        self._rests_until_s = float("-inf")

    @property
    def under_way(self) -> int:
        """Second reads at present."""
        return self._under_way.total()

    def delay_s(self, of_host: Latencies, of_all: Latencies) -> float:
        """How long a read of this host may give no sign until it is late."""
        usual = [
            time_s
            for time_s in (of_host.percentile_s(_LATE_AFTER), of_all.percentile_s(_LATE_AFTER))
            if time_s is not None
        ]
        return min(DELAY_MAX_S, max(DELAY_MIN_S, min(usual, default=DELAY_MAX_S)))

    def succeeded(self) -> None:
        """A read ended well."""
        self.tokens = min(TOKENS_MAX, self.tokens + self.budget)

    def slow_down_seen(self, now_s: float) -> None:
        """A host or an origin, or this host itself, has more to do than it can."""
        self._rests_until_s = now_s + REST_S

    def refusal(
        self, host: str, now_s: float, *, is_waiting: bool, is_sending: bool = False, is_silent: bool = False
    ) -> Refusal | None:
        """Why ``host`` (empty: the origin) must not be asked too; None: it may, see :meth:`started`.

        ``is_waiting``: the first host has said that it is at the origin for the read. ``is_sending``: bytes of other reads come from it.
        ``is_silent``: it gives no sign of life.
        """
        if not self.budget:
            return Refusal.OFF
        if is_waiting and not is_silent:
            return Refusal.WAITING
        if is_sending:
            return Refusal.SENDING
        if now_s < self._rests_until_s:
            return Refusal.OVERLOAD
        if self.under_way >= HEDGES_MAX or self._under_way[host] >= HEDGES_PER_HOST_MAX:
            return Refusal.CAP
        return Refusal.BUDGET if self.tokens < 1.0 and not is_silent else None

    def started(self, host: str, *, is_silent: bool = False) -> None:
        """``host`` is asked too; pays for it, unless the first one ``is_silent``."""
        self.tokens -= 0.0 if is_silent else 1.0
        self._under_way[host] += 1

    def ended(self, host: str) -> None:
        """That read is over, or is the only one now."""
        self._under_way[host] -= 1
        if self._under_way[host] <= 0:
            del self._under_way[host]
