"""A deadline of one read: what is left of it goes with each request, to the daemon and on to whoever it asks."""

from __future__ import annotations

import math
from time import monotonic

from cashy.errors import DeadlineExceeded

__all__ = ["NO_DEADLINE", "Deadline"]

_MILLISECONDS_MAX = 0xFFFFFFFF


class Deadline:
    """``timeout_s`` from now on; None: for ever. ValueError for one that is not positive."""

    __slots__ = ("_at", "_timeout_s")

    def __init__(self, timeout_s: float | None) -> None:
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"a timeout is more than 0 seconds, not {timeout_s}")
        self._timeout_s = timeout_s
        self._at = math.inf if timeout_s is None else monotonic() + timeout_s

    @property
    def is_set(self) -> bool:
        """Whether there is one."""
        return self._timeout_s is not None

    def left_s(self, name: str) -> float:
        """Seconds that are left, infinite without a deadline; raises :class:`~cashy.errors.DeadlineExceeded` when there are none."""
        left_s = self._at - monotonic()
        if left_s <= 0:
            raise self.exceeded(name)
        return left_s

    def left_ms(self, name: str) -> int:
        """The same in milliseconds, rounded up, as requests say it; 0 without a deadline."""
        left_s = self.left_s(name)
        return 0 if left_s == math.inf else min(_MILLISECONDS_MAX, math.ceil(left_s * 1000))

    def exceeded(self, name: str) -> DeadlineExceeded:
        """What the reader gets."""
        return DeadlineExceeded(
            f"{name} was not there within {self._timeout_s:g} s: the origin or another host is slow; `cashy top` shows which, or allow more time"
        )


NO_DEADLINE = Deadline(None)
