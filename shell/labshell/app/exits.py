"""Exit codes of commands and of the program. Numbers never change their meaning; 3 to 5 are those of :mod:`labtest.errors`."""

from __future__ import annotations

import enum

from labtest.errors import LabError

__all__ = [
    "Declined",
    "Exit",
    "Interrupted",
    "NeedsConfirmation",
    "NeedsTerminal",
    "NotRun",
    "NotStarted",
    "lab_errors_of",
    "leaves_of",
]


class Exit(enum.IntEnum):
    """What a command's exit code says."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PLAN_OUTDATED = 3
    LOCKED = 4
    UNREACHABLE = 5
    #: A question could not be asked, or was answered with no; nothing was done.
    NEEDS_CONFIRMATION = 8
    #: A fault of this program: there is a trace.
    INTERNAL = 70
    #: 128 + SIGHUP: the terminal went away.
    HUNG_UP = 129
    #: 128 + SIGINT.
    INTERRUPTED = 130
    #: 128 + SIGPIPE: nobody reads the output any more.
    BROKEN_PIPE = 141
    #: 128 + SIGTERM.
    TERMINATED = 143


class NeedsConfirmation(LabError):
    """There is nobody to ask: ``--yes`` confirms beforehand."""

    exit_code = Exit.NEEDS_CONFIRMATION


class Declined(LabError):
    """A handler may raise this after a question that was answered with no."""

    exit_code = Exit.NEEDS_CONFIRMATION


class NeedsTerminal(LabError):
    """A command that has the whole terminal was given where there is none."""

    exit_code = Exit.USAGE


class Interrupted(LabError):
    """A command was cancelled."""

    exit_code = Exit.INTERRUPTED


class NotStarted(LabError):
    """A program that was to have the terminal could not be started."""


class NotRun(LabError):
    """A command was not begun: one that it waited for has failed, it is refused with ``--read-only``, or there are too many."""

    exit_code = Exit.USAGE


def leaves_of(error: BaseException) -> list[BaseException]:
    """The errors in an error: those of nested groups in their order, or itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in leaves_of(one)]
    return [error]


def lab_errors_of(error: BaseException) -> list[LabError]:
    """The errors in an error, if each of them is one that a user is told; else none."""
    leaves = leaves_of(error)
    told = [leaf for leaf in leaves if isinstance(leaf, LabError)]
    return told if len(told) == len(leaves) else []
