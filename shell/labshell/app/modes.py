"""A terminal in order: what must be told to it, and which process group has it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

__all__ = ["SANE", "fresh_line", "outside_foreground", "restore_foreground"]

#: What a program that was killed may have left on, off again: alternate screen (the cursor is saved before, for it is restored on the way
#: out, also when there was none), colours, hidden cursor, pastes in brackets, mouse and focus reports, application keys, scroll region, no wrap,
#: insert mode, line drawing.
SANE = (
    "\x1b7\x1b[?1049l\x1b[0m\x1b[?25h\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l"
    "\x1b[?1l\x1b>\x1b7\x1b[r\x1b8\x1b[?7h\x1b[4l\x1b(B\x0f"
)


def fresh_line(columns: int) -> str:
    """To the beginning of a line that is empty: of this one, if the cursor is there already, else of the next (by the terminal's wrap)."""
    return " " * columns + "\r"


@contextlib.contextmanager
def outside_foreground() -> Iterator[None]:
    """In here the terminal may be changed although another process group has it (SIGTTOU would stop us)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def restore_foreground(descriptor: int) -> None:
    """Makes our process group that which has the terminal; not an error if the terminal is gone."""
    with outside_foreground(), contextlib.suppress(OSError):
        os.tcsetpgrp(descriptor, os.getpgrp())
