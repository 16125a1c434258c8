"""One call in a thread, as the loop sees it: it may come back in time, late, or never."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from cashy.origin.file_threads import FileJob, FileThreads

__all__ = ["Task"]


class Task:
    """One call in a thread, and who hears of it. ``over`` is called once, on the loop, when the thread will do nothing more."""

    __slots__ = (
        "_call",
        "_loop",
        "error",
        "is_cancelled",
        "is_dropped",
        "is_over",
        "is_told",
        "job",
        "may_wait",
        "over",
        "result",
        "threads",
        "told",
    )

    def __init__(
        self, call: Callable[[], Any], told: Callable[[Task], None], over: Callable[[Task], None], *, may_wait: bool = False
    ) -> None:  # fmt: skip
        self._call = call
        self._loop = asyncio.get_running_loop()
        self.told = told
        self.over = over
        self.may_wait = may_wait  # its limit begins when a thread takes it
        self.threads: FileThreads | None = None
        self.is_told = False
        self.is_dropped = False  # a thread that takes it from now on does nothing
        self.is_cancelled = False
        self.is_over = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.job = FileJob(self._run)

    def _run(self) -> None:
        try:
            if not self.is_dropped:
                self.result = self._call()
        except Exception as error:
            self.error = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
            self._loop.call_soon_threadsafe(self._back)

    def _back(self) -> None:
        self.end()
        self.tell()

    def end(self) -> None:
        """No thread works at it, nor ever will."""
        if not self.is_over:
            self.is_over = True
            self.over(self)

    def tell(self) -> None:
        """The outcome, once."""
        if not self.is_told:
            self.is_told = True
            self.told(self)
