"""The terminal itself: its modes, its size, and writing to it without ever waiting for it.

Written is through a file description of our own, which is non-blocking; that of standard output is shared with whoever started us and with attached
programs, and must stay as it is. A terminal that takes nothing (a laptop asleep behind ssh) so stops neither jobs nor keep-alives: bytes wait up
to a bound, over it they are thrown away, and everything is drawn anew when the terminal is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from prompt_toolkit.data_structures import Size
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from labshell.app.limits import DRAIN_S, TERMINAL_PENDING_BYTES_MAX
from labshell.app.modes import SANE, outside_foreground, restore_foreground

__all__ = ["PromptInput", "PromptOutput", "Terminal"]


class Terminal:
    """Standard input and output, which are one terminal."""

    def __init__(self, input_descriptor: int = 0, output_descriptor: int = 1) -> None:
        self.input_descriptor = input_descriptor
        self.output_descriptor = output_descriptor
        #: As it was found.
        self.modes: list[Any] = termios.tcgetattr(input_descriptor)
        #: Called when bytes were thrown away and the terminal takes some again.
        self.on_torn: Callable[[], None] = lambda: None
        #: While somebody else has it: nothing is written.
        self.is_lent = False
        self.is_gone = False
        self._writer = _own_description(output_descriptor)
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._is_torn = False
        self._is_waiting = False
        self._corks = 0

    @property
    def pending_bytes(self) -> int:
        """What it has not taken yet."""
        return self._pending_bytes

    def size(self) -> Size:
        """Rows and columns; 24 x 80 if it does not say."""
        try:
            columns, rows = os.get_terminal_size(self.output_descriptor)
        except OSError:
            columns, rows = 0, 0
        return Size(rows=rows or 24, columns=columns or 80)

    def write(self, text: str) -> None:
        """Writes as soon as the terminal takes it. Needs a running asyncio loop if the terminal is slow."""
        if self.is_lent or self.is_gone or not text:
            return
        if self._is_torn or self._pending_bytes > TERMINAL_PENDING_BYTES_MAX:
            self._is_torn = True
            return
        data = text.encode("utf-8", "replace")
        self._pending.append(data)
        self._pending_bytes += len(data)
        if not self._corks and not self._is_waiting:
            self._pump()

    @contextlib.contextmanager
    def corked(self) -> Iterator[None]:
        """What is written in here leaves at once at its end, so that nobody sees the half of it."""
        self._corks += 1
        try:
            yield
        finally:
            self._corks -= 1
            if not self._corks and not self._is_waiting:
                self._pump()

    def _pump(self) -> None:
        try:
            while self._pending:
                data = b"".join(self._pending)
                written = os.write(self._writer, data)
                self._pending.clear()
                self._pending_bytes = len(data) - written
                if self._pending_bytes:
                    self._pending.append(data[written:])
        except BlockingIOError:
            self._wait(True)
            return
        except OSError:
            self._give_up()
        self._wait(False)
        if self._is_torn and not self.is_gone:
            self._is_torn = False
            self.on_torn()

    def _wait(self, is_waiting: bool) -> None:
        if is_waiting == self._is_waiting:
            return
        loop = asyncio.get_running_loop()
        if is_waiting:
            loop.add_writer(self._writer, self._pump)
        else:
            loop.remove_writer(self._writer)
        self._is_waiting = is_waiting

    def _give_up(self) -> None:
        """The terminal is gone: SIGHUP says so, too."""
        self.is_gone = True
        self._pending.clear()
        self._pending_bytes = 0

    async def drained(self, timeout_s: float = DRAIN_S) -> bool:
        """Waits until the terminal has taken everything, also of what is corked: whoever corked it may wait for what comes now. False: it has not."""
        if self._pending and not self._is_waiting:
            self._pump()
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while self._pending_bytes and asyncio.get_running_loop().time() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(
                0.005
            )  # rare and short: an event would have to be kept right by everything that writes
        return not self._pending_bytes

    def restore(self, text: str = SANE) -> None:
        """Makes it as it was found, synchronously and as well as it goes: at the end of the program, whatever that was."""
        restore_foreground(self.input_descriptor)
        with outside_foreground(), contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self.input_descriptor, termios.TCSANOW, self.modes)
        if self.is_gone or not text:
            return
        with contextlib.suppress(OSError):
            os.write(self._writer, b"".join(self._pending) + text.encode())
        self._pending.clear()
        self._pending_bytes = 0

    def close(self) -> None:
        """Closes our description of it."""
        if self._writer != self.output_descriptor:
            with contextlib.suppress(RuntimeError):
                self._wait(False)
            os.close(self._writer)
            self._writer = self.output_descriptor


def _own_description(descriptor: int) -> int:
    """A description of the same terminal that is ours alone and does not block; else the given one, which may."""
    flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    wanted = os.fstat(descriptor).st_rdev
    with contextlib.suppress(OSError):
        opened = os.open(os.ttyname(descriptor), flags)
        if os.fstat(opened).st_rdev == wanted:
            return opened
        os.close(opened)
    with contextlib.suppress(OSError):  # that of another user (after `su`), but the one that controls us
        return os.open("/dev/tty", flags)
    return descriptor


class _File:
    """What prompt_toolkit takes for standard output."""

    encoding = "utf-8"

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def write(self, text: str) -> int:
        self._terminal.write(text)
        return len(text)

    def flush(self) -> None:
        """Nothing waits here."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._terminal.output_descriptor


class PromptOutput(Vt100_Output):
    """Draws without asking the terminal where the cursor is: an answer that comes late would be typed into an attached program."""

    def __init__(self, terminal: Terminal, term: str, color_depth: ColorDepth | None) -> None:
        stdout: Any = _File(terminal)
        super().__init__(stdout, terminal.size, term=term, default_color_depth=color_depth, enable_cpr=False)

    def get_rows_below_cursor_position(self) -> int:
        """At least one. What is drawn takes what it needs, right below the output, and scrolls if there is no room."""
        return 1


class PromptInput(Vt100Input):
    """Stays in raw mode while output is written above the prompt: a key that is pressed just then must not be echoed by the kernel."""

    def cooked_mode(self) -> contextlib.AbstractContextManager[None]:
        """No change; whoever hands the terminal over sets its modes himself."""
        return contextlib.nullcontext()
