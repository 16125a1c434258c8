"""The engine's time: the wall clock without its steps.

Law: it never goes back, not even over a restart, and a second of it is a second. A clock that somebody sets, or that was wrong at the start, is
followed slowly: grace times, cooling-off times and rate windows must not end because of it. Both clocks are parameters, so a simulation can set them.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["SLEW", "STEP_NS", "EngineClock"]

#: How much faster or slower than real the engine's time may go to catch up with a wall clock that was set: 5 %.
SLEW = 0.05
#: The wall clock's own adjustments (NTP) are smaller than this between two looks; more is a step, and is counted.
STEP_NS = 500_000_000


class EngineClock:
    """``wall_ns`` and ``monotonic_ns`` are functions; ``not_before_ns``: the last event's time."""

    def __init__(
        self, wall_ns: Callable[[], int], monotonic_ns: Callable[[], int], not_before_ns: int = 0
    ) -> None:
        self._wall_ns = wall_ns
        self.monotonic_ns = monotonic_ns
        self._last_monotonic = monotonic_ns()
        self._now = max(wall_ns(), not_before_ns)
        self._offset = 0
        #: Times that the wall clock was seen to jump.
        self.steps_count = 0

    def now_ns(self) -> int:
        """Time now, ns since the epoch; at least that of every call before."""
        monotonic = self.monotonic_ns()
        passed = max(0, monotonic - self._last_monotonic)
        self._last_monotonic = monotonic
        ahead = self._now + passed - self._wall_ns()
        if abs(ahead - self._offset) > STEP_NS:
            self.steps_count += 1
        most = int(passed * SLEW)
        slew = -ahead if -most <= ahead <= most else -most if ahead > 0 else most
        self._offset = ahead + slew
        self._now += max(0, passed + slew)
        return self._now
