"""The one place that holds the current :class:`~labshell.core.state.View`, and through which every event goes.

Events come from links, from agents, from jobs and from plans, all on one thread, in the order in which they happened. Whoever draws is told that
there is something new, and looks at the view when it is his turn: nothing is drawn for each event.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

from labshell.core.events import Event
from labshell.core.reduce import reduce
from labshell.core.state import View

__all__ = ["Store"]


class Store:
    """The view, and who wants to know that it has changed."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._listeners: list[Callable[[], None]] = []

    @property
    def view(self) -> View:
        """As of now."""
        return self._view

    def feed(self, event: Event) -> None:
        """Takes in what has happened."""
        before, self._view = self._view, reduce(self._view, event)
        if self._view is not before:
            for listener in tuple(self._listeners):
                listener()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls ``listener`` after each event; gives the function that ends it. A listener must not block, feed or raise."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Waits for an event after which it is so."""
        while not is_so():
            happened = trio.Event()
            silence = self.listen(happened.set)
            try:
                await happened.wait()
            finally:
                silence()

    @staticmethod
    def now_s() -> float:
        """The clock of all events."""
        return time.monotonic()
