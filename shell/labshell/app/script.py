"""Commands without a prompt: `-c`, a file, a pipe, or a terminal that can do no more than lines (TERM=dumb). Plain trio, nothing is drawn.

Output goes straight to standard output, and nothing of it is lost: who reads slowly slows us down. A script stops at the first command that fails,
and its exit code is that command's; it never asks.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import TextIO

import trio

from labshell.app.attach import borrowed, run_attached
from labshell.app.exits import Exit, NeedsConfirmation, NeedsTerminal, NotRun, lab_errors_of
from labshell.app.guest import SIGNALS, deaf_to_interrupts
from labshell.app.harmless import harmless
from labshell.app.jobs import Job, refused_json
from labshell.app.language import background_of
from labshell.app.limits import END_GRACE_S, SCRIPT_LINE_BYTES_MAX
from labshell.app.modes import SANE
from labshell.app.render import Drawable, Renderer, wants_color
from labshell.app.settings import ShellSettings
from labshell.core.errors import LineError
from labtest.errors import LabError

__all__ = ["InputLines", "Script", "split_commands"]

_LINES_PROMPT = "labshell> "
#: Columns where there is no terminal.
_PLAIN_WIDTH = 120


def split_commands(text: str) -> list[str]:
    """The commands of ``-c``: separated by newlines, or ``;`` outside quotes and comments."""
    commands, current, quote, at = [], "", "", 0
    while at < len(text):
        mark = text[at]
        if mark == "\\" and quote != "'" and at + 1 < len(text):
            mark += text[at + 1]
        elif quote:
            quote = "" if mark == quote else quote
        elif mark in "'\"":
            quote = mark
        elif mark == "#" and (not current or current[-1].isspace()):
            at = end if (end := text.find("\n", at)) >= 0 else len(text)
            continue
        at += len(mark)
        if not quote and mark in (";", "\n"):
            commands.append(current)
            current = ""
        else:
            current += mark
    return [command.strip() for command in [*commands, current] if command.strip()]


class InputLines:
    """Lines of a file descriptor, as they come; waiting for one blocks nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._data = b""
        self._is_over = False

    def drop(self) -> None:
        """Forgets what has been read and not given."""
        self._data = b""

    async def next(self) -> str | None:
        """The next line, without its end; None: there is none. Raises LabError for one that is endless."""
        while b"\n" not in self._data and not self._is_over:
            if len(self._data) > SCRIPT_LINE_BYTES_MAX:
                raise LineError("the line is too long; is this a script?", start=0, end=0)
            await self._readable()
            data = os.read(self._descriptor, 65536)
            self._is_over = not data and not os.isatty(self._descriptor)
            if not data and not self._is_over:
                return None  # Ctrl-D: a terminal may have more afterwards
            self._data += data
        line, _, self._data = self._data.partition(b"\n")
        if not line and self._is_over and not self._data:
            return None
        return line.decode("utf-8", "replace")

    async def _readable(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._descriptor)
        except OSError:
            await trio.lowlevel.checkpoint()  # a file, which always can be read


class _Writer:
    """A command's lines, on the standard streams."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def write(self, text: str, style: str = "") -> None:
        """Lines of text; complaints go to standard error."""
        script = self._script
        stream, renderer = (sys.stderr, script.err_renderer) if style else (sys.stdout, script.renderer)
        for each in text.split("\n"):
            script.put(stream, renderer.line(each, style) + "\n")

    def draw(self, what: Drawable) -> None:
        """A table, or anything else that rich can draw."""
        for line in self._script.renderer.lines(what, self._script.width()):
            self._script.put(sys.stdout, line + "\n")

    def close(self) -> None:
        """All of it is out."""
        self._script.flush()


class Script:
    """Runs lines. ``asks``: somebody sits there, on a terminal that does lines only."""

    def __init__(self, settings: ShellSettings, *, asks: bool = False, keep_going: bool = False) -> None:
        self.interactive = asks
        self._settings = settings
        self._keep_going = keep_going
        self._ready = trio.Event()
        self._jobs = settings.job_table(self, self._put_json, self._ready)
        self.renderer, self.err_renderer = (
            Renderer(color=wants_color(stream.isatty()), exact=not stream.isatty())
            for stream in (sys.stdout, sys.stderr)
        )
        self._input = InputLines(0) if asks else None
        self._current: Job | None = None
        self._scope, self._lines_scope = trio.CancelScope(), trio.CancelScope()
        self._reading: trio.CancelScope | None = None
        self._signalled = 0
        self._quit: int | None = None
        self._is_pipe_broken = False

    # --- life ---

    def run(self, lines: Iterable[str] | InputLines) -> int:
        """Runs all lines; the exit code: that of the first that failed."""
        with deaf_to_interrupts():
            code = trio.run(self._main, lines)
        self.flush()
        if self._is_pipe_broken:
            # What is still in a buffer would be tried again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.BROKEN_PIPE
        return code

    async def _main(self, lines: Iterable[str] | InputLines) -> int:
        code = 0
        async with trio.open_nursery() as nursery:
            await nursery.start(self._listen, nursery)
            try:
                with self._scope:
                    async with self._settings.surround():
                        self._ready.set()
                        with self._lines_scope:
                            code = await self._run_all(self._input or lines)
            except Exception as error:
                code = self._fault(error)
            nursery.cancel_scope.cancel()
        if self._signalled:
            return 128 + self._signalled
        return code if self._quit is None else self._quit

    def _fault(self, error: Exception) -> int:
        """Tells of an error outside of all commands: of what surrounds them, or of the input."""
        told = lab_errors_of(error)
        for one in told:
            _Writer(self).write(f"labshell: error: {one}", "error")
        if told:
            return told[0].exit_code
        where = self._settings.traces.write("around all commands", error)
        _Writer(self).write(
            f"labshell: internal error: {type(error).__name__}: {error} (trace: {where})", "error"
        )
        return Exit.INTERNAL

    async def _listen(self, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(*SIGNALS) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGINT and self._is_attached:
                    continue
                self._on_signal(number)
                if self._signalled:
                    nursery.start_soon(self._leave_behind)

    async def _leave_behind(self) -> None:
        await trio.sleep(END_GRACE_S)
        # A command that ignores being cancelled, or waits for a host that does not answer.
        what = f": {self._current.line}" if self._current is not None else ""
        _Writer(self).write(f"labshell: left after {END_GRACE_S:g} s without an end{what}", "error")
        self.flush()
        os._exit(128 + self._signalled)

    def _on_signal(self, number: int) -> None:
        current = self._current
        if number == signal.SIGINT and self.interactive:
            if current is not None:
                current.cancel()
            elif self._reading is not None:
                self._reading.cancel()
            return
        if self._signalled:
            self._scope.cancel()  # somebody means it
        self._signalled = self._signalled or number
        if current is not None:
            current.cancel()
        else:
            self._lines_scope.cancel()

    # --- lines ---

    async def _run_all(self, lines: Iterable[str] | InputLines) -> int:
        first_failure, number = 0, 0
        async for line in self._each(lines):
            number += 1
            code = await self._run_line(line)
            if self._quit is not None or self._is_pipe_broken or self._signalled:
                return first_failure or code
            if code and not self.interactive:
                first_failure = first_failure or code
                if not self._keep_going:
                    if number > 1 or isinstance(lines, InputLines):
                        _Writer(self).write(
                            f"labshell: stopped at line {number}: {line.strip()[:80]}", "error"
                        )
                    break
        return first_failure

    async def _each(self, lines: Iterable[str] | InputLines) -> AsyncIterator[str]:
        if not isinstance(lines, InputLines):
            for one in lines:
                yield one
            return
        while True:
            line = await self._read_line(_LINES_PROMPT) if self.interactive else await lines.next()
            if line is None:
                return
            yield line

    async def _read_line(self, prompt: str) -> str | None:
        """A line of the person; Ctrl-C begins it anew. None: Ctrl-D."""
        assert self._input is not None
        while True:
            self.put(sys.stdout, prompt)
            self.flush()
            with trio.CancelScope() as self._reading:
                line = await self._input.next()
                if line is None:
                    self.put(sys.stdout, "\n")
                return line
            self._input.drop()
            self.put(sys.stdout, "\n")

    async def _run_line(self, line: str) -> int:
        text, in_background = background_of(line)
        try:
            if in_background:
                raise NotRun("these commands run one after another; leave out the & at the end")
            bound = self._settings.language.bind(text, abbreviated=self.interactive)
            if bound is None:
                return 0
            job = self._jobs.submit(bound.spelled or text.strip(), bound)
        except LabError as error:
            return self._refused(line, error)
        if bound.inferred and self.interactive:
            _Writer(self).write(f"{bound.spelled}   {bound.note}")
        self._current = job
        try:
            await self._jobs.run(job)
        finally:
            self._current = None
            self.flush()
        return job.code if job.code is not None else Exit.INTERNAL

    def _refused(self, line: str, error: LabError) -> int:
        if self._settings.json:
            self._put_json(refused_json(line.strip(), error))
            return error.exit_code
        if isinstance(error, LineError):
            _Writer(self).write(error.marked(line), "note")
        _Writer(self).write(f"error: {error}", "error")
        return error.exit_code

    # --- what commands can do here ---

    def put(self, stream: TextIO, text: str) -> None:
        """Writes; when nobody reads any more, everything ends quietly."""
        if self._is_pipe_broken:
            return
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                # Bytes that are no text in any encoding, or a locale that has no such character.
                encoding = stream.encoding or "utf-8"
                stream.write(text.encode(encoding, "replace").decode(encoding, "replace"))
            if self.interactive or stream.isatty():
                stream.flush()
        except (BrokenPipeError, ValueError):  # nobody reads, or the stream is closed
            self._break_pipe()

    def flush(self) -> None:
        """Gets out what is buffered."""
        if self._is_pipe_broken:
            return
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (BrokenPipeError, ValueError):
            self._break_pipe()

    def _break_pipe(self) -> None:
        self._is_pipe_broken = True
        if self._current is not None:
            self._current.cancel()

    def _put_json(self, text: str) -> None:
        self.put(sys.stdout, (harmless(text) if sys.stdout.isatty() else text) + "\n")

    def writer(self, tag: Callable[[], str]) -> _Writer:
        """For the lines of one command."""
        return _Writer(self)

    def width(self) -> int:
        """Columns of standard output's terminal, 120 without one."""
        try:
            return os.get_terminal_size(sys.stdout.fileno()).columns or _PLAIN_WIDTH
        except (OSError, ValueError):
            return _PLAIN_WIDTH

    def changed(self) -> None:
        """Nothing is drawn."""

    def quit(self, code: int) -> None:
        """Ends after this command."""
        self._quit = code

    async def confirm(self, question: str, default: bool) -> bool:
        """Asks on a line, or refuses to ask."""
        if not self.interactive:
            raise NeedsConfirmation(
                f"needs a yes and cannot ask here: {question} (--yes confirms it; nothing was done)"
            )
        choices = {"": default, "y": True, "yes": True, "n": False, "no": False}
        while True:
            line = await self._read_line(f"{question} {'[Y/n]' if default else '[y/N]'} ")
            answer = choices.get((line or "no").strip().lower()) if line is None or line.strip() else default
            if answer is not None:
                return answer

    _is_attached = False

    async def attach(self, argv: Sequence[str], env: Mapping[str, str] | None, folder: str | None) -> int:
        """Gives the terminal to a program, if this runs on one."""
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise NeedsTerminal("this needs a terminal, and input or output is none")
        self.flush()
        self._is_attached = True
        try:
            with borrowed(0, termios.tcgetattr(0)):
                return await run_attached(argv, descriptor=0, env=env, folder=folder)
        finally:
            self._is_attached = False
            if wants_color(True):
                self.put(sys.stdout, SANE)
