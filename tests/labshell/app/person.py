"""A person at a terminal: a pseudo-terminal with a screen that can be read, and a program that believes in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyte
from tests.readable import readable

REPOSITORY = Path(__file__).resolve().parents[3]
#: A slow machine may take this long for what is instant on others.
PATIENCE_S = 30.0
#: In a session of its own, with the pseudo-terminal as its terminal, so that Ctrl-C reaches it.
_PROGRAM = (
    "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "from tests.labshell.app.program import main; sys.exit(main(sys.argv[1:]))"
)
#: The same for a command of one's own.
_COMMAND = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


def environment(folder: Path, term: str = "xterm-256color", **more: str) -> dict[str, str]:
    """For the program: nothing of ours that says how a terminal is."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if name not in ("COLUMNS", "LINES", "NO_COLOR", "COLORTERM")
    }
    paths = os.pathsep.join((str(REPOSITORY), ours.get("PYTHONPATH", "")))
    return {**ours, "TERM": term, "SHELL_TEST_FOLDER": str(folder), "PYTHONPATH": paths, **more}


class Person:
    """Runs the program of these tests, or a ``command`` (a path and its arguments), types, and looks at the screen."""

    #: How long something is waited for.
    patience_s = PATIENCE_S

    def __init__(
        self, folder: Path, *arguments: str, rows: int = 30, columns: int = 100, term: str = "xterm-256color",
        env: Mapping[str, str] | None = None, command: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.folder = folder
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self.terminal, self.inside = os.openpty()
        self.resize(rows, columns, is_first=True)
        self.modes = self.stty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", *([_COMMAND, *command] if command else [_PROGRAM]), *arguments],
            stdin=self.inside, stdout=self.inside, stderr=self.inside, start_new_session=True,
            env=environment(folder, term, **(env or {})), cwd=folder,
        )  # fmt: skip

    # --- looking ---

    def look(self, wait_s: float = 0.01) -> bool:
        """Takes what has been shown meanwhile; False: the program is over."""
        if not readable(self.terminal, timeout_s=wait_s):
            return self.process.poll() is None
        data = os.read(self.terminal, 65536)
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    @property
    def screen(self) -> str:
        """All lines, without what is empty at their ends."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def lines(self) -> list[str]:
        return self.screen.splitlines()

    def sees(self, text: str, times: int = 1) -> None:
        """Waits until a text is on the screen."""
        self.waits(lambda: self.screen.count(text) >= times, f"{text!r} was not shown")

    def waits(self, is_true: Callable[[], Any], complaint: str) -> None:
        """Waits until something is so, looking at the screen meanwhile."""
        deadline_s = time.monotonic() + self.patience_s
        while not is_true():
            is_running = self.look()
            if (not is_running and not is_true()) or time.monotonic() > deadline_s:
                raise AssertionError(f"{complaint}; on the screen is:\n{self.screen}")

    @property
    def is_cursor_hidden(self) -> bool:
        return bool(self._screen.cursor.hidden)

    @property
    def scroll_region(self) -> object:
        return self._screen.margins

    # --- doing ---

    def type(self, text: str) -> None:
        """Presses keys."""
        os.write(self.terminal, text.encode())

    def presses(self, key: str, text: str) -> None:
        """Again and again, until the text is on the screen."""
        pressed_s = -1.0

        def shows() -> bool:
            nonlocal pressed_s
            if text in self.screen:
                return True
            if time.monotonic() - pressed_s > 0.5:
                self.type(key)
                pressed_s = time.monotonic()
            return False

        self.waits(shows, f"{text!r} was not shown")

    def enter(self, line: str) -> None:
        """Types a line."""
        self.type(line + "\r")

    def ready(self) -> Person:
        """Waits until the prompt is there."""
        self.sees("test>")
        self.sees(" columns")
        return self

    def resize(self, rows: int, columns: int, *, is_first: bool = False) -> None:
        """Makes the window another size."""
        fcntl.ioctl(self.inside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if not is_first:
            self._screen.resize(rows, columns)

    def stty(self) -> str:
        """The terminal's modes, as ``stty -g`` tells them."""
        return subprocess.run(
            ["stty", "-g"], stdin=self.inside, capture_output=True, text=True, check=True
        ).stdout

    def ends(self) -> int:
        """Waits until the program is over; its exit code."""
        deadline_s = time.monotonic() + self.patience_s
        while self.process.poll() is None:
            self.look(0.02)
            if time.monotonic() > deadline_s:
                raise AssertionError(f"it does not end; on the screen is:\n{self.screen}")
        while readable(self.terminal, timeout_s=0):
            self.look(0)
        return self.process.wait()

    def close(self) -> None:
        """Leaves, and takes all of the session along."""
        for pid in session_of(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for descriptor in (self.terminal, self.inside):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def session_of(leader: int) -> list[int]:
    """All processes of a session that are not dead."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(path.parent.name))
    return found
