"""A circuit breaker: a host that keeps failing is passed over at once, and comes back by one read that tries.

Law. A state machine and nothing else: it knows no host, no connection and no clock; times are arguments. It is *closed* while a host works,
*open* (nobody is sent there) from the ``FAILURES_MAX`` th failure in a row, and *half open* when its rest is over: then one request may try. If
that succeeds the breaker is closed, else it rests twice as long, up to ``REST_MAX_S``. What is a failure its owner knows: no answer
in time, no connection; an answer that says no ("no such object", "other version", SlowDown) is an answer.

| state | succeeded | failed | rest is over |
|---|---|---|---|
| closed | closed | closed, at the limit open | |
| open | closed | open | half open |
| half open | closed | open, resting longer | |

A success in any state closes it: a request that was under way when it opened says best that the host works. A failure while it is open is
of such a request too, and does not prolong the rest. A request that tries and is given up by whoever wanted it says nothing, and frees its place; one
whose end is never told frees it after ``TRIAL_S_MAX``.

Rejected: a rate of failures over a window (a host that is asked once a second would need a minute to be left); several trials at once (each is
somebody's read that waits); a random rest (one request in a second from each of a thousand hosts is no storm).

Source: M. Nygard, Release It!, 2nd edition, 2018, "Circuit Breaker".
"""

from __future__ import annotations

from enum import Enum

__all__ = [
    "FAILURES_MAX",
    "ORIGIN_REST_MAX_S",
    "REST_FIRST_S",
    "REST_MAX_S",
    "TRIAL_S_MAX",
    "Breaker",
    "State",
]

#: Failures in a row: fewer may be one lost packet's.
FAILURES_MAX = 5

#: The first rest, doubled after each trial that fails: long enough for a host to be restarted, short enough that nobody misses it.
REST_FIRST_S = 1.0
REST_MAX_S = 30.0

#: The same for an origin: nobody else has what it has, and whoever reads is to hear soon that it is back.
ORIGIN_REST_MAX_S = 4.0

#: A trial that has not ended by then is forgotten.
TRIAL_S_MAX = 60.0


class State(Enum):
    """As Nygard calls them; the values are those of the gauge."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """The breaker of one host; seconds of a monotonic clock. ``rest_max_s``: shorter where there is nobody else to ask."""

    __slots__ = ("_failures", "_open_until_s", "_rest_max_s", "_rest_s", "_trial_until_s", "opened_total")

    def __init__(self, rest_max_s: float = REST_MAX_S) -> None:
        self._rest_max_s = rest_max_s
        self._failures = 0
        self._rest_s = 0.0  # 0: closed
        self._open_until_s = 0.0
        self._trial_until_s = 0.0
        #: How often it has opened, longer rests included.
        self.opened_total = 0

    @property
    def is_closed(self) -> bool:
        """Whether everybody may be sent there."""
        return not self._rest_s

    def state(self, now_s: float) -> State:
        """What it is in now."""
        if not self._rest_s:
            return State.CLOSED
        return State.HALF_OPEN if now_s >= self._open_until_s else State.OPEN

    def may_ask(self, now_s: float) -> bool:
        """Whether a request would be let through; asks for nothing."""
        return not self._rest_s or (now_s >= self._open_until_s and now_s >= self._trial_until_s)

    def ask(self, now_s: float) -> bool:
        """Lets a request through, or not; half open, it is the one that tries, and its end must be told."""
        if not self.may_ask(now_s):
            return False
        if self._rest_s:
            self._trial_until_s = now_s + TRIAL_S_MAX
        return True

    def succeeded(self) -> None:
        """The host has answered."""
        self._failures = 0
        self._rest_s = self._trial_until_s = 0.0

    def failed(self, now_s: float) -> None:
        """It has not."""
        state = self.state(now_s)
        if state is State.CLOSED:
            self._failures += 1
            if self._failures < FAILURES_MAX:
                return
            self._rest_s = REST_FIRST_S
        elif state is State.HALF_OPEN:
            self._rest_s = min(self._rest_max_s, 2 * self._rest_s)
        else:
            return
        self._trial_until_s = 0.0
        self._open_until_s = now_s + self._rest_s
        self.opened_total += 1

    def given_up(self) -> None:
        """A request was given up before its end: it says nothing."""
        self._trial_until_s = 0.0
