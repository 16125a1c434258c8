"""A person at a terminal: a pseudo-terminal with a screen that can be read, and a program that believes in it."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable

import pyte
from tests.readable import readable

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
        self._answered = 0
        self._terminal, inside = os.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *arguments],
            stdin=inside, stdout=inside, stderr=inside, start_new_session=True, env={**os.environ, "TERM": term},
        )  # fmt: skip
        os.close(inside)

    def _look(self, wait_s: float) -> bool:
        """Takes what has been shown meanwhile; False: the program is over."""
        if not readable(self._terminal, timeout_s=wait_s):
            return True
        try:
            data = os.read(self._terminal, 65536)
        except OSError:
            return False  # EIO: nobody has the other end open
        self.raw += data
        self._stream.feed(data)
        # Questions that a terminal answers: where the cursor is. One may come in two pieces.
        asked = self.raw.count(b"\x1b[6n")
        for _ in range(asked - self._answered):
            self.type(f"\x1b[{self._screen.cursor.y + 1};{self._screen.cursor.x + 1}R")
        self._answered = asked
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
        if not self.shows(is_true, PATIENCE_S):
            raise AssertionError(f"{complaint}; on the screen is:\n{self.screen}")

    def shows(self, is_true: Callable[[], bool], within_s: float) -> bool:
        """Whether something is so within a time, and before the program is over."""
        deadline_s = time.monotonic() + within_s
        while not is_true():
            if not self._look(0.01) or time.monotonic() > deadline_s:
                return False
        return True

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
        self.waits(lambda: self.is_asked, "no prompt")
        self.type(line + "\r")

    @property
    def is_asked(self) -> bool:
        """Whether a prompt or a question is there; a terminal that can only do lines has no bottom line."""
        return any(part.endswith(("toucan>", "]")) for part in (self.screen_above(), self.screen))

    def screen_above(self) -> str:
        """The screen without the bottom line, which stands right below the prompt until the terminal has said how much room there is."""
        return self.screen.rpartition("\n")[0].rstrip()

    def ends(self) -> int:
        """Waits until the program is over; its exit code."""
        deadline_s = time.monotonic() + PATIENCE_S
        while self._look(0.05) and self._process.poll() is None:
            if time.monotonic() > deadline_s:
                raise AssertionError(f"the program did not end; on the screen is:\n{self.screen}")
        code = self._process.wait(PATIENCE_S)
        while self._look(0.0) and readable(self._terminal, timeout_s=0):
            pass
        return code

    @property
    def end_of_input(self) -> str:
        """The key that ends the input of whoever reads whole lines from this terminal."""
        return str(termios.tcgetattr(self._terminal)[6][termios.VEOF], "latin-1")

    def close(self) -> None:
        """Leaves."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._terminal)
