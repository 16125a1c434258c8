"""What ``cashy warm --state FILE`` remembers: a line for each object that is in memory, written when it is.

Law: what stands in the file was done, whatever ended the run that wrote it; a line is one write at the file's end, and one that was cut off counts
for nothing. A line is of one arena: when the host's memory is another one (after a reboot), what was done there is to be done again. The file belongs
to one run at a time (flock).
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType

from cashy.errors import ConfigError

__all__ = ["WarmState"]


class WarmState:
    """The file, or nothing if ``path`` is None; a context manager. ``arena_id`` says whose memory it is about. Raises ConfigError, OSError."""

    def __init__(self, path: Path | None, arena_id: int) -> None:
        self._arena = f"{arena_id:016x}"
        self._fd = -1
        #: Names that are done.
        self.done: set[str] = set()
        #: Lines of another arena, which count for nothing.
        self.outdated = 0
        if path is not None:
            self._open(path)

    def _open(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise ConfigError(
                f"{path} is in use by another `cashy warm`: wait for it, or give another --state"
            ) from None
        text = path.read_bytes()
        for number, line in enumerate(text.split(b"\n")[:-1], 1):  # the last one was cut off, or is empty
            if line:
                self._take(path, number, line)
        if text and not text.endswith(b"\n"):
            os.write(self._fd, b"\n")

    def _take(self, path: Path, number: int, line: bytes) -> None:
        try:
            told = json.loads(line)
            arena, url = told["arena"], told["url"]
        except (ValueError, KeyError, TypeError):
            if number == 1:
                self.close()
                raise ConfigError(f"{path} is no state of `cashy warm`: name another file") from None
            return  # the end of a run that was killed, with another run's lines after it
        if arena == self._arena:
            self.done.add(url)
        else:
            self.outdated += 1

    def add(self, url: str, version: str, size_bytes: int) -> None:
        """An object is done."""
        self.done.add(url)
        if self._fd >= 0:
            told = {"arena": self._arena, "url": url, "version": version, "size": size_bytes}
            os.write(self._fd, json.dumps(told).encode() + b"\n")

    def close(self) -> None:
        """Gives the file free."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> WarmState:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
