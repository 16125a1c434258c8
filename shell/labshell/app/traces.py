"""Where unexpected errors are told in full: a file for each, readable only by its owner."""

from __future__ import annotations

import os
import time
import traceback
from pathlib import Path

from labshell.app.limits import TRACES_KEPT_MAX

__all__ = ["Traces", "state_folder"]


def state_folder() -> Path:
    """``$XDG_STATE_HOME/labshell``, else ``~/.local/state/labshell``. It is made when something is first written."""
    return Path(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")) / "labshell"


class Traces:
    """Writes traces into ``folder``, and keeps the newest."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or state_folder() / "traces"
        self._count = 0

    def write(self, what: str, error: BaseException) -> str:
        """Writes an error's trace, with a line of ``what`` was going on; the file's path, or why there is none. Never raises."""
        self._count += 1
        name = f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}-{self._count}.txt"
        path = self._folder / name
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = f"{what}\n\n{''.join(traceback.format_exception(error))}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            self._forget_old()
        except OSError as problem:
            return f"not written: {problem}"
        return str(path)

    def _forget_old(self) -> None:
        for path in sorted(self._folder.glob("*.txt"))[:-TRACES_KEPT_MAX]:
            path.unlink(missing_ok=True)
