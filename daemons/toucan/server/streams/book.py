"""All streams that are open: how many there may be, and whose."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from toucan.server.calls import Call
from toucan.server.errors import Away, Exhausted, FrontCode, NotAuthenticated
from toucan.server.identity import Authority
from toucan.server.limits import ANONYMOUS_STREAMS_MAX, STREAMS_MAX, STREAMS_PER_USER_MAX
from toucan.server.streams.pump import Pump

__all__ = ["StreamBook"]


class StreamBook:
    """Counts streams, and ends them where that is due."""

    def __init__(self, pump: Pump, authority: Authority) -> None:
        self.pump = pump
        self._authority = authority
        self._by_user: Counter[str] = Counter()
        self._anonymous = 0
        self._is_stopping = False

    @contextlib.contextmanager
    def place(self, call: Call) -> Iterator[None]:
        """A stream's place among those that may be open. Raises :class:`~toucan.server.errors.Exhausted`."""
        user = call.user.name
        if self._is_stopping:
            raise self._stopping()
        if self._by_user.total() >= STREAMS_MAX:
            text = f"{STREAMS_MAX} streams are open on this front end; close some, or go to another one"
            raise Exhausted(text, code=FrontCode.TOO_MANY_STREAMS)
        if self._by_user[user] >= STREAMS_PER_USER_MAX:
            text = f"{user} has {STREAMS_PER_USER_MAX} streams open on this front end; close some"
            raise Exhausted(text, code=FrontCode.TOO_MANY_STREAMS)
        self._by_user[user] += 1
        try:
            yield
        finally:
            self._by_user[user] -= 1
            if not self._by_user[user]:
                del self._by_user[user]

    @contextlib.contextmanager
    def anonymous_place(self) -> Iterator[None]:
        """The place of a stream that needs no user: health checks, reflection."""
        if self._anonymous >= ANONYMOUS_STREAMS_MAX:
            text = f"{ANONYMOUS_STREAMS_MAX} streams of nobody in particular are open"
            raise Exhausted(text, code=FrontCode.TOO_MANY_STREAMS)
        self._anonymous += 1
        try:
            yield
        finally:
            self._anonymous -= 1

    def on_users_changed(self) -> None:
        """The users file is another one: who may no longer watch is not shown anything more."""
        for outlet in [*self.pump.outlets]:
            renewed = self._authority.renewed(outlet.identity)
            if renewed is None:
                outlet.end(NotAuthenticated(f"{outlet.identity.user.name} may no longer connect in this way"))
            elif renewed != outlet.identity:
                outlet.on_identity(renewed)

    def stop(self) -> None:
        """Ends all streams; none can be opened any more."""
        self._is_stopping = True
        for outlet in [*self.pump.outlets]:
            outlet.end(self._stopping())

    @staticmethod
    def _stopping() -> Away:
        return Away(
            "this front end is being stopped; go to another one, or come back", code=FrontCode.STOPPING
        )
