"""Runs pytest in a process of its own that does not outlive the one that started it: ``python -m labtest.testing.child PARENT ARGUMENTS…``."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import signal
import sys
from typing import NoReturn

__all__ = ["main"]

_PLUGIN = "labtest.plugin"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> NoReturn:
    """Becomes pytest."""
    parent = int(arguments[0])
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)  # it died before the line above
    words = [] if _is_loaded_by_itself() else ["-p", _PLUGIN]
    # In a new program, which keeps the signal: pytest complains of plugins that were imported before it.
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *words, *arguments[1:]])  # noqa: S606 - no shell is wanted


def _is_loaded_by_itself() -> bool:
    """Whether pytest finds the plugin: a plugin that is loaded twice is an error."""
    if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        return False
    return any(one.value == _PLUGIN for one in importlib.metadata.entry_points(group="pytest11"))


if __name__ == "__main__":
    main(sys.argv[1:])
