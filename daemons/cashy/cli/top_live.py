"""``cashy top`` on a terminal: the table on the alternate screen, drawn again with every look, until q or Ctrl-C.

Two threads: one asks, so that a master that does not answer holds up neither keys nor window; the main one draws and reads keys. They meet in one
eventfd. However it ends (q, Ctrl-C, SIGTERM, SIGHUP, an error, or a pause with Ctrl-Z), the terminal is as it was.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from cashy.cli.top_table import table_lines
from cashy.core.activity import Activity, ClusterActivity, HostSnapshot
from cashy.errors import CashyError

__all__ = ["run_live"]

#: A key's escape sequence has three bytes; more were typed ahead.
_KEYS_BYTES = 64
#: It is drawn at least this often: where there is no answer, the user sees for how long.
_REDRAW_S = 0.5
#: After this time an answer is late.
_LATE_S = 1.5
#: For the asking thread at the end: its connection is closed under it, so it is quick.
_JOIN_S = 0.2

_QUIT = (b"q", b"Q")
_STEPS = {b"\x1b[A": -1, b"k": -1, b"\x1b[B": 1, b"j": 1, b"\x1b[5~": -10, b"\x1b[6~": 10}


def run_live(look: Callable[[], list[HostSnapshot]], interval_s: float) -> None:
    """Shows and refreshes until the user leaves."""
    console = Console(highlight=False)
    with _Looker(look, interval_s) as looker, _signals(looker) as asked, _Screen(console) as screen:
        view = _View(console, interval_s)
        while not asked.quit:
            screen.show(view.render(looker.latest, looker.trouble()))
            keys = looker.wait(screen.keys_fd)
            if any(key in keys for key in _QUIT):
                return
            view.scroll(keys, looker.latest)
            if looker.failure is not None:
                raise looker.failure
            if asked.pause:
                asked.pause = False
                screen.pause()


class _Looker:
    """Asks in a thread of its own. ``latest`` is what it learnt, ``failure`` what nobody foresaw."""

    def __init__(self, look: Callable[[], list[HostSnapshot]], interval_s: float) -> None:
        self.latest: ClusterActivity | None = None
        self._error = ""
        self._asked_at: float | None = None
        self.failure: BaseException | None = None
        self._look, self._interval_s = look, interval_s
        self._stop = threading.Event()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="cashy-top", daemon=True)

    def _run(self) -> None:
        activity = Activity()
        while not self._stop.is_set():
            self._asked_at = time.monotonic()
            try:
                self.latest = activity.update(self._look())
                self._error = ""
            except CashyError as error:
                self._error = error.message
            except BaseException as error:
                self.failure = error
                self._stop.set()
            self._asked_at = None
            self.wake()
            self._stop.wait(self._interval_s)

    def trouble(self) -> str:
        """Why what is shown is old; empty if it is not."""
        asked_at = self._asked_at
        waited_s = 0.0 if asked_at is None else time.monotonic() - asked_at
        if waited_s < _LATE_S:
            return self._error
        return f"no answer for {waited_s:.0f} s; what is shown is older"

    def wake(self) -> None:
        """Ends :meth:`wait`; safe in a signal handler."""
        os.eventfd_write(self._wake_fd, 1)

    def wait(self, keys_fd: int | None) -> bytes:
        """Waits for something to show, not for long; gives what was typed."""
        watched = [self._wake_fd] + ([] if keys_fd is None else [keys_fd])
        ready = select.select(watched, [], [], _REDRAW_S)[0]
        if self._wake_fd in ready:
            os.eventfd_read(self._wake_fd)
        return os.read(keys_fd, _KEYS_BYTES) if keys_fd in ready and keys_fd is not None else b""

    def __enter__(self) -> _Looker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_JOIN_S)
        if not self._thread.is_alive():
            os.close(self._wake_fd)


class _Asked:
    """What signals asked for."""

    def __init__(self) -> None:
        self.quit = False
        self.pause = False


@contextlib.contextmanager
def _signals(looker: _Looker) -> Iterator[_Asked]:
    """SIGTERM and SIGHUP end it in order, Ctrl-Z pauses it, a resized window is drawn again."""
    asked = _Asked()

    def handle(number: int, frame: FrameType | None) -> None:
        asked.quit = asked.quit or number in (signal.SIGTERM, signal.SIGHUP)
        asked.pause = asked.pause or number == signal.SIGTSTP
        looker.wake()

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGWINCH)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Screen:
    """The alternate screen, and a terminal that gives keys at once and does not echo them."""

    def __init__(self, console: Console) -> None:
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self.keys_fd = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._terminal_before: list[Any] | None = None

    def __enter__(self) -> _Screen:
        if self.keys_fd is not None:
            self._terminal_before = termios.tcgetattr(self.keys_fd)
            tty.setcbreak(self.keys_fd)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        if self.keys_fd is not None and self._terminal_before is not None:
            termios.tcsetattr(self.keys_fd, termios.TCSADRAIN, self._terminal_before)

    def show(self, lines: Group) -> None:
        """Draws."""
        self._live.update(lines, refresh=True)

    def pause(self) -> None:
        """Gives the terminal back, stops like any program, and takes it again when continued."""
        self.__exit__()
        ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, ours)
        self.__enter__()


class _View:
    """What is on the screen: a line about the whole, the table, and where in the list of hosts it begins."""

    def __init__(self, console: Console, interval_s: float) -> None:
        self._console = console
        self._interval_s = interval_s
        self._first_host = 0

    def scroll(self, keys: bytes, activity: ClusterActivity | None) -> None:
        """Moves through the hosts."""
        steps = sum(step * keys.count(key) for key, step in _STEPS.items())
        last = len(activity.hosts) - 1 if activity else 0
        self._first_host = max(0, min(self._first_host + steps, last))

    def render(self, activity: ClusterActivity | None, trouble: str) -> Group:
        """The whole screen."""
        width, height = self._console.size
        lines = [self._title(activity)]
        if trouble:
            lines.append(Text(" ".join(trouble.split()), style="red"))
        if activity is not None:
            lines += table_lines(activity, width, height - len(lines), self._first_host)
        for line in lines:
            line.no_wrap = True
            line.truncate(width, overflow="ellipsis")
        return Group(*lines[:height])

    def _title(self, activity: ClusterActivity | None) -> Text:
        title = Text("cashy top", style="bold")
        if activity is not None:
            count, up = len(activity.hosts), activity.hosts_up
            title.append(f"   {count} host{'s' if count > 1 else ''}", style="not bold")
            if up < count:
                title.append(f", {count - up} down", style="red")
        title.append(f"   every {self._interval_s:g} s   q quits", style="dim not bold")
        return title
