"""pytest as a child: it has the terminal while it runs, is interrupted when we are, and is killed if it does not end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

__all__ = ["Ended", "run_pytest"]

#: After Ctrl-C: fixtures are torn down, and what is up is brought back.
_INTERRUPT_TIMEOUT_S = 60.0


class Ended:
    """How it ended."""

    def __init__(self, status: int, *, was_interrupted: bool) -> None:
        #: Exit code, or minus the signal that killed it.
        self.status = status
        #: Whether this process was told to stop meanwhile.
        self.was_interrupted = was_interrupted


def run_pytest(arguments: Sequence[str], *, said: Callable[[str], None]) -> Ended:
    """Runs it to its end. The first interrupt is passed on to it, the second kills it."""
    argv = [sys.executable, "-m", "labtest.testing.child", str(os.getpid()), *arguments]
    child = subprocess.Popen(argv, process_group=0)
    try:
        with _terminal_given_to(child.pid):
            return _wait(child, said)
    finally:
        _kill(child)


def _wait(child: subprocess.Popen[bytes], said: Callable[[str], None]) -> Ended:
    try:
        return Ended(child.wait(), was_interrupted=False)
    except KeyboardInterrupt:
        said("interrupted: the tests are ended; once more to kill them")
    _signal(child, signal.SIGINT)
    try:
        return Ended(child.wait(_INTERRUPT_TIMEOUT_S), was_interrupted=True)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        _kill(child)
        return Ended(child.wait(), was_interrupted=True)


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        pass


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Ends it with all that it started and that stayed in its group."""
    _signal(child, signal.SIGKILL)
    child.wait()


@contextmanager
def _terminal_given_to(group: int) -> Iterator[None]:
    """Lets the child read the terminal and get its Ctrl-C, as a shell does, if it is ours to give."""
    try:
        terminal = sys.stdin.fileno()
        is_ours = os.isatty(terminal) and os.tcgetpgrp(terminal) == os.getpgrp()
    except (OSError, ValueError):
        is_ours = False
    if not is_ours:
        yield
        return
    # Who takes the terminal back is in the background at that moment, and would be stopped for it.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.tcsetpgrp(terminal, group)
        yield
    finally:
        os.tcsetpgrp(terminal, os.getpgrp())
        signal.signal(signal.SIGTTOU, before)
