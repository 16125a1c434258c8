"""A person at a terminal: a pseudo-terminal with a screen that can be read, and a program that believes in it."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable

import pyte

COLUMNS, LINES = 150, 40
#: A slow machine may take this long for what is instant on others.
PATIENCE_S = 60.0
#: In a session of its own, with the pseudo-terminal as its terminal, so that Ctrl-C reaches it.
_PROGRAM = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from toucan.cli import main; main()"


class Person:
    """Runs ``toucan`` with these arguments, types, and looks at the screen."""

    def __init__(self, *arguments: str, term: str = "xterm-256color") -> None:
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self._terminal, inside = os.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *arguments],
            stdin=inside, stdout=inside, stderr=inside, start_new_session=True, env={**os.environ, "TERM": term},
        )  # fmt: skip
        os.close(inside)

    def _look(self, wait_s: float) -> bool:
        """Takes what has been shown meanwhile; False: the program is over."""
        ready, _, _ = select.select([self._terminal], [], [], wait_s)
        if not ready:
            return True
        try:
            data = os.read(self._terminal, 65536)
        except OSError:
            return False  # EIO: nobody has the other end open
        self.raw += data
        self._stream.feed(data)
        # Questions that a terminal answers: where the cursor is.
        for _ in range(data.count(b"\x1b[6n")):
            self.type(f"\x1b[{self._screen.cursor.y + 1};{self._screen.cursor.x + 1}R")
        return bool(data)

    @property
    def screen(self) -> str:
        """All lines, without what is empty at their ends."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def sees(self, text: str) -> None:
        """Waits until a text is on the screen."""
        self.waits(lambda: text in self.screen, f"{text!r} was not shown")

    def waits(self, is_true: Callable[[], bool], complaint: str) -> None:
        """Waits until something is so, looking at the screen meanwhile."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not is_true():
            is_running = self._look(0.01)
            if not is_running or time.monotonic() > deadline_s:
                raise AssertionError(f"{complaint}; on the screen is:\n{self.screen}")

    def style_at(self, text: str) -> tuple[str, str]:
        """Foreground and background of the first character of a text on the screen."""
        for row, line in enumerate(self._screen.display):
            column = line.find(text)
            if column >= 0:
                character = self._screen.buffer[row][column]
                return character.fg, character.bg
        raise AssertionError(f"{text!r} is not on the screen:\n{self.screen}")

    def type(self, text: str) -> None:
        """Presses keys."""
        os.write(self._terminal, text.encode())

    def enter(self, line: str) -> None:
        """Types a line, when the prompt is there."""
        self.waits(
            lambda: self.screen_above().endswith("toucan>") or self.screen_above().endswith("]"), "no prompt"
        )
        self.type(line + "\r")

    def screen_above(self) -> str:
        """The screen without the bottom line."""
        return "\n".join(line.rstrip() for line in self._screen.display[:-1]).rstrip()

    def ends(self) -> int:
        """Waits until the program is over; its exit code."""
        while self._look(0.05) and self._process.poll() is None:
            pass
        code = self._process.wait(PATIENCE_S)
        while self._look(0.0) and select.select([self._terminal], [], [], 0)[0]:
            pass
        return code

    def close(self) -> None:
        """Leaves."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._terminal)
