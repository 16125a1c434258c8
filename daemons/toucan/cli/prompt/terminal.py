"""The prompt on a terminal: a line to type on, the blotter line below it, and news above it as they come."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.styles import Style

from toucan.cli import toucan_group
from toucan.cli.caller import Caller
from toucan.cli.command import ConnectionOptions
from toucan.cli.exits import Exit
from toucan.cli.limits import HISTORY_LINES_MAX, PROMPT_WAIT_S, REFRESH_INTERVAL_S
from toucan.cli.lines import run_line
from toucan.cli.prompt.above import Above, PromptInput
from toucan.cli.prompt.completion import PromptCompleter
from toucan.cli.prompt.feed import Feed
from toucan.cli.prompt.picture import bottom_line

__all__ = ["Terminal", "history_file"]

_MESSAGE = "toucan> "
_STYLE = Style.from_dict(
    {
        "bottom-toolbar": "noreverse bg:#303030 #d0d0d0",
        "facts": "",
        # Not to be missed: from end to end.
        "old": "bg:#d00000 #ffffff bold",
        "stopped": "bg:#d00000 #ffffff bold",
    }
)


def history_file() -> Path | None:
    """Where lines are remembered; None if there is no place for it. Others cannot read it."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    path = Path(base) / "toucan" / "history"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
        _shorten(path)
    except OSError:
        return None
    return path


def _shorten(path: Path) -> None:
    """Keeps the newest lines; prompt_toolkit only ever appends."""
    lines = path.read_bytes().splitlines(keepends=True)
    if len(lines) > 4 * HISTORY_LINES_MAX:  # an entry has a time, its text and an empty line
        path.write_bytes(b"".join(lines[-3 * HISTORY_LINES_MAX :]))


@contextlib.contextmanager
def _ctrl_d_is_a_key() -> Iterator[None]:
    """Lets the prompt read a Ctrl-D that is typed while a command runs.

    The terminal reads whole lines then, and Linux keeps the end of input as a NUL in their place, which is what the prompt would get once
    it reads key by key again (n_tty.c): the key would be lost.
    """
    try:
        descriptor = sys.stdin.fileno()
        found = termios.tcgetattr(descriptor)
    except (OSError, ValueError, termios.error):
        yield  # no terminal
        return
    modes = [*found[:6], list(found[6])]
    modes[6][termios.VEOF] = bytes([os.fpathconf(descriptor, "PC_VDISABLE")])
    termios.tcsetattr(descriptor, termios.TCSANOW, modes)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(descriptor, termios.TCSANOW, found)


class Terminal:
    """The prompt, from its start to its end."""

    def __init__(self, options: ConnectionOptions) -> None:
        self._caller = Caller(options, is_shared=True, read_line=self._ask, wait_s=PROMPT_WAIT_S)
        path = history_file()
        history: History = InMemoryHistory() if path is None else FileHistory(str(path))
        self._above = Above(click.echo)
        self._feed = Feed(self._caller.client, options.server_text, self._above.say, self._redraw)
        keys = PromptInput(sys.stdin)
        # No suggestion of a whole line from history: a price that nobody has typed must not stand there.
        self._session: PromptSession[str] = PromptSession(
            history=history,
            completer=PromptCompleter(toucan_group, self._feed.picture),
            complete_in_thread=True,
            bottom_toolbar=self._bottom_line,
            refresh_interval=REFRESH_INTERVAL_S,
            style=_STYLE,
            input=keys,
        )
        self._questions: PromptSession[str] = PromptSession(
            bottom_toolbar=self._bottom_line, refresh_interval=REFRESH_INTERVAL_S, style=_STYLE, input=keys
        )

    def run(self) -> int:
        """Reads and runs commands until the end of input; the exit code is always 0: each command has told its own error."""
        click.echo(
            'toucan: Tab completes, `help` lists the commands, Ctrl-D ends. Example: "buy 100 AAPL @ 189.50"'
        )
        self._feed.start()
        try:
            with _ctrl_d_is_a_key():
                while self._read_and_run():
                    pass
        finally:
            orders = self._feed.picture().orders
            self._feed.close()
            self._caller.close()
        if orders:
            click.echo(f"{len(orders)} of your orders stay open")
        return Exit.OK

    def _read_and_run(self) -> bool:
        try:
            line = self._read(self._session, _MESSAGE)
        except KeyboardInterrupt:
            return True  # drops the line
        except EOFError:
            return False
        try:
            return run_line(line, self._caller) is not None
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            return True

    def _ask(self, question: str) -> str:
        try:
            return self._read(self._questions, question)
        except (KeyboardInterrupt, EOFError):
            return ""

    def _read(self, session: PromptSession[str], message: str) -> str:
        with self._above.reading():
            return session.prompt(message, pre_run=self._above.begin)

    def _redraw(self) -> None:
        app = self._session.app
        if app.is_running:
            app.invalidate()

    def _bottom_line(self) -> FormattedText:
        return FormattedText(bottom_line(self._feed.picture(), time.monotonic()))
