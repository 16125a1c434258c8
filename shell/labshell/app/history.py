"""What was typed, kept between sessions: readable only by its owner, bounded, and never worth an error."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from pathlib import Path

from prompt_toolkit.history import History

from labshell.app.limits import HISTORY_LINES_MAX

__all__ = ["BoundedHistory"]


class BoundedHistory(History):
    """One JSON text a line. Lines that begin with a space are not kept, nor are answers to questions (``is_paused``)."""

    def __init__(
        self, path: Path | None, executor: Executor, is_paused: Callable[[], bool] = lambda: False
    ) -> None:
        super().__init__()
        self._path = path
        self._executor = executor
        self._is_paused = is_paused
        self._last = ""

    def append_string(self, string: str) -> None:
        """Takes a line that was given."""
        if self._is_paused() or not string.strip() or string.startswith(" ") or string == self._last:
            return
        self._last = string
        super().append_string(string)

    def load_history_strings(self) -> Iterable[str]:
        """The newest first. Shortens a file that has become too long."""
        if self._path is None:
            return []
        with contextlib.suppress(OSError):
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
            if len(lines) > 2 * HISTORY_LINES_MAX:
                lines = lines[-HISTORY_LINES_MAX:]
                self._rewrite(lines)
            return [text for line in reversed(lines[-HISTORY_LINES_MAX:]) if (text := _decoded(line))]
        return []

    def store_string(self, string: str) -> None:
        """Appends in a thread, since a home folder may be far away."""
        if self._path is not None:
            self._executor.submit(self._append, json.dumps(string) + "\n")

    def _append(self, line: str) -> None:
        assert self._path is not None
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(line)

    def _rewrite(self, lines: list[str]) -> None:
        assert self._path is not None
        new = self._path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        os.replace(new, self._path)


def _decoded(line: str) -> str:
    try:
        text = json.loads(line)
    except ValueError:
        return ""
    return text if isinstance(text, str) else ""
