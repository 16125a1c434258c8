"""Lines that come by themselves: written above the prompt while one is being read, and at once while none is.

prompt_toolkit's ``patch_stdout`` does this for whatever is printed, in a thread of its own: what is printed just when a prompt begins may be written
into it, and what is printed just when one ends may be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

from prompt_toolkit.application import get_app_or_none, run_in_terminal
from prompt_toolkit.input.vt100 import Vt100Input

__all__ = ["Above", "PromptInput"]


class Above:
    """Hands each line that it is given to ``write``, once and in order, never while a prompt is on the screen that would not be drawn anew."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        #: Guards all of it, and is held while lines are written: a prompt begins before or after them.
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[str] = []

    def say(self, line: str) -> None:
        """Writes a line, or has it written; from any thread."""
        with self._lock:
            self._waiting.append(line)
            if self._loop is None:
                self._write_waiting()
                return
            with contextlib.suppress(RuntimeError):  # the loop is closed: `reading` is about to write it
                self._loop.call_soon_threadsafe(self._make_room)

    def begin(self) -> None:
        """A prompt begins: called on its loop, before anything of it is drawn."""
        with self._lock:
            self._loop = asyncio.get_running_loop()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Around the reading of a line."""
        try:
            yield
        finally:
            with self._lock:
                self._loop = None
                self._write_waiting()  # what came at the last moment

    def _make_room(self) -> None:
        app = get_app_or_none()
        if app is not None and app.is_running and not app.is_done:
            run_in_terminal(self._write_all)

    def _write_all(self) -> None:
        with self._lock:
            self._write_waiting()

    def _write_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for line in waiting:
            self._write(line)


class PromptInput(Vt100Input):
    """Stays in raw mode while lines are written above the prompt: a key that is pressed just then is neither echoed by the kernel nor lost."""

    def cooked_mode(self) -> contextlib.AbstractContextManager[None]:
        """No change."""
        return contextlib.nullcontext()
