"""What the agent cannot do, as one of the codes of ``labtest.hosts.interface`` and a text for people."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Cancelled", "Failed", "failed_from", "naming"]

_CODES = {
    errno.ENOENT: "not-found",
    errno.ENOTDIR: "not-found",
    errno.ENOSPC: "no-space",
    errno.EDQUOT: "no-space",
    errno.EACCES: "not-allowed",
    errno.EPERM: "not-allowed",
    errno.EROFS: "not-allowed",
    errno.EEXIST: "exists",
    errno.ENOTEMPTY: "exists",
    errno.ETIMEDOUT: "timeout",
}


class Failed(Exception):
    """A request that could not be done; ``code`` is one of the interface's, ``details`` travels with it."""

    def __init__(self, code: str, problem: str, **details: str) -> None:
        self.code = code
        self.problem = problem
        self.details = details
        super().__init__(f"{code}: {problem}")


class Cancelled(Exception):
    """The request is not wanted any more."""


def failed_from(error: OSError, what: str = "") -> Failed:
    """The system's error in the interface's words; ``what`` says what was being done, e.g. ``writing /etc/x``."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    path = error.filename if isinstance(error.filename, str) else ""
    place = f"{path}: " if path and path not in what else ""
    return Failed(
        _CODES.get(error.errno or 0, "io"), f"{what}: {place}{reason}" if what else f"{place}{reason}"
    )


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Turns the system's errors of the block into :class:`Failed` that say what was being done."""
    try:
        yield
    except OSError as error:
        raise failed_from(error, what) from error
