"""Where request keys come from: the names of sessions and the numbers within them.

The engine executes a number at most once, answers it the same again, and refuses for good (``REQUEST_SUPERSEDED``) one that is lower than the newest
and was never seen. So within a session numbers only ever count up, also over restarts of the program:

* a session that was given no name gets a random one, which nobody had before, and counts from 1;
* a session with a name of its own may have been used before by another life of the program, so it counts on from the clock (microseconds since
  the epoch): no program makes a request in every microsecond, so what comes later is higher;
* where a clock was set back, or two programs share a name, a number can be too low: the engine says so, has not executed it and never will, and
  the request goes out again under a fresh random session. A wrong clock makes no order twice, loses none, and stops no cancel.

A session *stream* needs no clock: the server says with which number it goes on.
"""

from __future__ import annotations

from toucan.client.errors import InvalidRequest
from toucan.client.limits import SESSION_NAME_MAX
from toucan.client.values import RequestKey

__all__ = ["Keys", "check_session_name"]


def check_session_name(name: str) -> str:
    """The name itself; raises :class:`~toucan.client.errors.InvalidRequest` if the server would not take it."""
    if not name or len(name) > SESSION_NAME_MAX or not name.isprintable():
        raise InvalidRequest(
            f"a session's name has 1 to {SESSION_NAME_MAX} printable characters, not {name[:80]!r}"
        )
    return name


class Keys:
    """The keys of one client, one after the other. Not thread-safe: its owner has one request in flight at a time."""

    def __init__(self, session: str, first_number: int = 1) -> None:
        self._session = check_session_name(session)
        self._next_number = first_number

    @property
    def session(self) -> str:
        """The session that the next key is of."""
        return self._session

    def next(self) -> RequestKey:
        """A key that was never given before."""
        key = RequestKey(self._session, self._next_number)
        self._next_number += 1
        return key

    def renew(self, session: str) -> None:
        """Goes on in a session that nobody had before."""
        self._session = check_session_name(session)
        self._next_number = 1
