"""Whether a disk is used, as a table of states: what happens to it, and what follows.

Law. Times are arguments; whoever asks does the reads, writes and probes.

```text
   state        event                        next
   RECOVERING   recovered                    READY
   READY        an error too many            FAILED       (ERRORS_MAX within ERRORS_S: EIO, read-only, folder gone, checksums)
   READY        a call hangs                 STUCK
   STUCK        the call has come back       FAILED       (it is probed before it is trusted)
   FAILED       PROBE_S later, doubled       probe: good  RECOVERING (what it held may be gone);   bad  FAILED
```

A disk that is full by other hands is no failure: it is read from as before, and not written to for FULL_S.
One error is no failure either: a flipped bit costs one block. What is not READY has no blocks, so a read goes to the next tier at once.

Rejected: taking a disk out for good (a cable that was loose for a minute costs a restart); trying it with the next reader's block (the reader waits).
"""

from __future__ import annotations

from collections import deque
from enum import Enum

__all__ = ["ERRORS_MAX", "ERRORS_S", "FULL_S", "PROBE_S", "PROBE_S_MAX", "DiskHealth", "DiskState"]

#: So many errors within so many seconds, and a disk is taken out.
ERRORS_MAX = 5
ERRORS_S = 60.0

#: Until the first probe, doubled by each that fails, up to the last.
PROBE_S = 2.0
PROBE_S_MAX = 300.0

#: After ENOSPC nothing is written for so long.
FULL_S = 10.0


class DiskState(Enum):
    """See the table above."""

    RECOVERING = "recovering"
    READY = "ready"
    FAILED = "failed"
    STUCK = "stuck"


class DiskHealth:
    """Of one disk."""

    def __init__(self) -> None:
        self.state = DiskState.RECOVERING
        #: What went wrong last; for people.
        self.reason = ""
        self._errors: deque[float] = deque(maxlen=ERRORS_MAX)
        self._hanging = 0
        self._probe_s = PROBE_S
        self._probe_at_s = 0.0
        self._full_until_s = 0.0

    def recovered(self) -> None:
        """It can be used."""
        if self.state is DiskState.RECOVERING:
            self.state = DiskState.READY
            self._errors.clear()

    def went_well(self) -> None:
        """A read or write of a READY disk came true: the next failure begins with short waits again."""
        if self.state is DiskState.READY:
            self._probe_s = PROBE_S

    def erred(self, reason: str, now_s: float) -> bool:
        """A call failed. True: the disk is taken out by this."""
        self.reason = reason
        if self.state is not DiskState.READY:
            return False
        self._errors.append(now_s)
        if len(self._errors) < ERRORS_MAX or now_s - self._errors[0] > ERRORS_S:
            return False
        self.failed(reason, now_s)
        return True

    def failed(self, reason: str, now_s: float) -> None:
        """It cannot be used: at the start, by too many errors, or by a bad probe. While a call hangs it stays STUCK: nothing is asked of it."""
        self.reason = reason
        if self._hanging:
            return
        self.state = DiskState.FAILED
        self._probe_at_s = now_s + self._probe_s
        self._probe_s = min(PROBE_S_MAX, self._probe_s * 2)

    def hangs(self, reason: str) -> None:
        """A call has not come back in time."""
        self._hanging += 1
        self.reason = reason
        self.state = DiskState.STUCK

    def came_back(self, now_s: float) -> None:
        """A call that hung has ended."""
        self._hanging -= 1
        if not self._hanging and self.state is DiskState.STUCK:
            self.failed(self.reason, now_s)

    def is_probe_due(self, now_s: float) -> bool:
        """Whether it should be tried now."""
        return self.state is DiskState.FAILED and now_s >= self._probe_at_s

    def probed(self, reason: str, now_s: float) -> None:
        """The probe's outcome; ``reason`` empty: it was good."""
        if reason:
            self.failed(reason, now_s)
        else:
            self.state = DiskState.RECOVERING

    def is_full(self, now_s: float) -> None:
        """A write found no room."""
        self._full_until_s = now_s + FULL_S

    def may_write(self, now_s: float) -> bool:
        """Whether anything may be written to it."""
        return self.state is DiskState.READY and now_s >= self._full_until_s
