"""How much may wait, and whose turn it is to hear SlowDown when that is too much.

Law. One decision, from numbers: how many reads and bytes wait in all, how many of them are the user's, how many users wait. It keeps nothing
and knows neither the queue (:mod:`cashy.core.fair_queue`) nor who the users are.

Up to the limits everybody is let in. Beyond them only who has less than a fair share (the limit divided by those who wait, the newcomer
included) is: the user who has filled the queue is told to slow down, and one who comes with a single block is not. What may wait in all ends
at ``OVERFLOW`` times the limits, for everybody, since names of users are cheap.

Both are limited, reads and bytes: a million small objects cost memory for each, and a thousand large blocks the time of everybody behind
them. Nothing that waits holds a slot of the arena.

Rejected: a fixed limit per user (too low for one alone, too high for a hundred); dropping what waits already in favour of a newcomer (it
has been promised an answer).
"""

from __future__ import annotations

from cashy.core.fair_queue import Load

__all__ = ["OVERFLOW", "is_too_much"]

#: Times the limits: room for users who come when others have filled the queue.
OVERFLOW = 2


def is_too_much(waiting: Load, own: Load, users: int, limit: Load) -> bool:
    """Whether one more read of a user is refused, who has ``own`` waiting; ``users`` wait at present, perhaps this one too."""
    if waiting.reads < limit.reads and waiting.size_bytes < limit.size_bytes:
        return False
    if waiting.reads >= OVERFLOW * limit.reads or waiting.size_bytes >= OVERFLOW * limit.size_bytes:
        return True
    sharing = users + (not own.reads)
    return own.reads * sharing >= limit.reads or own.size_bytes * sharing >= limit.size_bytes
