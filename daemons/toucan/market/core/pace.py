"""A replay's pace: when a record is due.

Law: times in, times out; no clock. A recording's time runs at ``speed`` times that of the clock, from the record it begins with. Records whose times
go back (a clock was set while it was recorded) are due at once. While it is held nothing is due, except for what a step lets pass; when it goes on
it goes on from the record that is next, without making up for the pause.
"""

from __future__ import annotations

__all__ = ["Pace"]


class Pace:
    """All times in ns: the recording's (``at_ns``), and a monotonic clock's (``now_ns``)."""

    def __init__(self, speed: float, *, is_held: bool = False) -> None:
        if not 0 < speed < float("inf"):
            raise ValueError(f"a speed of {speed}: it must be more than 0")
        self.speed = speed
        self.is_held = is_held
        self._steps = 0
        self._began: tuple[int, int] | None = None

    def due_ns(self, at_ns: int, now_ns: int) -> int | None:
        """When a record is due, which is the next; None: not before it is stepped or goes on."""
        if self._steps:
            return now_ns
        if self.is_held:
            return None
        if self._began is None:
            self._began = at_ns, now_ns
        recorded_ns, clock_ns = self._began
        return max(clock_ns + int((at_ns - recorded_ns) / self.speed), clock_ns)

    def begin_anew(self) -> None:
        """The record that is next is the first one again."""
        self._began = None

    def played(self) -> None:
        """A record was played."""
        self._steps = max(0, self._steps - 1)

    def step(self, count: int) -> None:
        """Lets so many records pass, and holds behind them."""
        self.is_held, self._began = True, None
        self._steps += count

    def go_on(self) -> None:
        """Plays on by itself."""
        self.is_held, self._steps, self._began = False, 0, None

    def hold(self) -> None:
        """Stops behind the record that was played last."""
        self.is_held, self._steps, self._began = True, 0, None
