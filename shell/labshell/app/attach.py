"""Gives the terminal to a program (a shell on a host, ssh, a debugger) until it ends, and takes it back in order, whatever the program did to it.

The program is the leader of a process group of its own that has the terminal, as under any shell with job control: Ctrl-C and the news that the
window was resized go to it and not to us, nor to our connections. Jobs and keep-alives go on meanwhile. Suspending (Ctrl-Z) would leave a terminal
that nobody has; a program that stops is continued.
"""

from __future__ import annotations

import contextlib
import os
import signal
import termios
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

from labshell.app.exits import NotStarted
from labshell.app.limits import ATTACH_GRACE_S, END_POLL_S, STOP_POLL_S
from labshell.app.modes import outside_foreground, restore_foreground

__all__ = ["borrowed", "run_attached"]


@contextlib.contextmanager
def borrowed(descriptor: int, modes: list[Any]) -> Iterator[None]:
    """In here a terminal has ``modes`` (of tcgetattr), those for a program that is attached; afterwards those it had, and we have it."""
    before = termios.tcgetattr(descriptor)
    _set_modes(descriptor, modes)
    try:
        yield
    finally:
        _hang_up_left_behind(descriptor)
        restore_foreground(descriptor)
        _set_modes(descriptor, before)


def _set_modes(descriptor: int, modes: list[Any]) -> None:
    with outside_foreground(), contextlib.suppress(termios.error, OSError):
        termios.tcsetattr(descriptor, termios.TCSADRAIN, modes)


def _hang_up_left_behind(descriptor: int) -> None:
    """A job of a shell that was killed still has the terminal: it is told what a closed window would tell it."""
    try:
        group = os.tcgetpgrp(descriptor)
    except OSError:
        return
    if group != os.getpgrp():
        _signal_group(group, signal.SIGHUP)
        _signal_group(group, signal.SIGCONT)


def _signal_group(group: int, number: int) -> None:
    if group > 1:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


async def run_attached(
    argv: Sequence[str], *, descriptor: int, env: Mapping[str, str] | None = None, folder: str | None = None
) -> int:
    """Runs a program on the terminal ``descriptor``, which is our standard input and output; its status, or minus the signal that killed it.

    Cancelled, it is ended with all that it runs in front: SIGHUP, then SIGKILL. Raises :class:`~labshell.app.exits.NotStarted`.
    """
    size = _size(descriptor)
    try:
        # Not trio.run_process: its default is an empty input.
        process = await trio.lowlevel.open_process(
            list(argv), stdin=None, stdout=None, stderr=None, process_group=0, cwd=folder, env={**os.environ, **(env or {})}
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise NotStarted(f"{argv[0] if argv else 'nothing'} cannot be started: {error}") from None
    try:
        _give(descriptor, process.pid)
        if _size(descriptor) != size:
            # It ran already and did not have the terminal yet, so that nobody told it.
            _signal_group(process.pid, signal.SIGWINCH)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_keep_going, process, descriptor)
            status = await process.wait()
            nursery.cancel_scope.cancel()
        return status
    finally:
        if process.poll() is None:  # cancelled
            with trio.CancelScope(shield=True):
                await _end(process, descriptor)


def _size(descriptor: int) -> os.terminal_size | None:
    with contextlib.suppress(OSError):
        return os.get_terminal_size(descriptor)
    return None


def _give(descriptor: int, group: int) -> None:
    with outside_foreground(), contextlib.suppress(OSError):
        os.tcsetpgrp(descriptor, group)
    # It may have asked for the terminal before it had it, and been stopped for that.
    _signal_group(group, signal.SIGCONT)


async def _keep_going(process: trio.Process, descriptor: int) -> None:
    while True:
        await trio.sleep(STOP_POLL_S)
        with contextlib.suppress(ChildProcessError):
            if os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG) is not None:  # noqa: ASYNC222 - does not wait
                _give(descriptor, process.pid)


async def _end(process: trio.Process, descriptor: int) -> None:
    """Returns when nothing of it can write to the terminal any more, or after two grace times."""
    seen = {process.pid}
    for number in (signal.SIGHUP, signal.SIGKILL):
        told: set[int] = set()
        with trio.move_on_after(ATTACH_GRACE_S):
            while groups := _alive(process, descriptor, seen):
                for group in groups - told:
                    _signal_group(group, number)
                    _signal_group(group, signal.SIGCONT)
                told |= groups
                await trio.sleep(END_POLL_S)
            return


def _alive(process: trio.Process, descriptor: int, seen: set[int]) -> set[int]:
    """Of the groups that were ``seen``, the program's own and those in front, which have not ended. A shell that ends puts itself in front again."""
    with contextlib.suppress(OSError):
        seen.add(os.tcgetpgrp(descriptor))
    seen -= {0, os.getpgrp()}
    process.poll()  # if it has ended it is no zombie after this
    return {group for group in seen if _has_members(group)}


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # What has ended and nobody has waited for is there as well.
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False
