"""A shell, by what it stands on: a terminal has the prompt, everything else is a script."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from labshell.app.script import InputLines, Script
from labshell.app.settings import ShellSettings

__all__ = ["Shell", "is_full_terminal"]


def is_full_terminal() -> bool:
    """Whether input and output are a terminal that can do more than lines."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "")


class Shell:
    """Runs commands as ``settings`` say. One run per process at the prompt, since the terminal and its signals are the process's."""

    def __init__(self, settings: ShellSettings) -> None:
        self._settings = settings

    def run_interactive(self, *, keep_going: bool = False) -> int:
        """Whatever standard input is: the prompt on a terminal, lines on one that cannot do it, else a script. The exit code."""
        if is_full_terminal() and not self._settings.json:
            # Only here, since it takes a while to import.
            from labshell.app.interactive import Interactive

            return Interactive(self._settings).run()
        asks = sys.stdin.isatty() and not self._settings.json
        return Script(self._settings, asks=asks, keep_going=keep_going).run(InputLines(0))

    def run_script(self, lines: Iterable[str], *, keep_going: bool = False) -> int:
        """Runs commands (of ``-c``: :func:`labshell.app.script.split_commands`; of a file: its lines) and never asks. The exit code."""
        return Script(self._settings, keep_going=keep_going).run(lines)
