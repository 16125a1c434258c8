"""Following a read that somebody wants traced, through the tasks and callbacks of the master.

Law: the trace travels as a context variable: from the task that reads to what it starts, and into each route when that is made, which keeps it. So no
call of the reading path has an argument for it, and a read that nobody traces pays one look at the variable per block that is not here. What is
noted, and what is made of it, is in :mod:`cashy.core.trace`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from cashy.core.trace import METADATA, Trace

__all__ = ["current_trace", "followed", "note_metadata"]

_current: ContextVar[Trace | None] = ContextVar("cashy_trace", default=None)


def current_trace() -> Trace | None:
    """The trace that what runs now belongs to; None for nearly everything."""
    return _current.get()


@contextmanager
def followed(trace: Trace) -> Iterator[None]:
    """What is begun inside belongs to the trace."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


def note_metadata(what: str, where: str = "", detail: str = "") -> None:
    """An event about the object itself, if somebody traces this."""
    trace = _current.get()
    if trace is not None:
        trace.note(time.monotonic_ns(), METADATA, what, where, detail)
