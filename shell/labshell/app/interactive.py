"""The program at a terminal: the prompt on asyncio's side, commands on trio's, one screen for both."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import trio
from prompt_toolkit.application import in_terminal

from labshell.app.attach import borrowed, run_attached
from labshell.app.exits import Exit, Interrupted, lab_errors_of
from labshell.app.guest import Bridge, GuestEnded, run_with_guest
from labshell.app.history import BoundedHistory
from labshell.app.jobs import Job, JobState
from labshell.app.language import CarefulLanguage, background_of
from labshell.app.limits import (
    CRASH_WINDOW_S,
    CRASHES_MAX,
    DOUBLE_INTERRUPT_S,
    END_GRACE_S,
    QUIT_AGAIN_S,
    REPORT_AGAIN_S,
    SHOW_RUNNING_AFTER_S,
)
from labshell.app.modes import SANE, fresh_line
from labshell.app.output import Channel, Output
from labshell.app.prompt import PromptLine, Question
from labshell.app.render import Drawable, Renderer, wants_color
from labshell.app.settings import ShellSettings
from labshell.app.terminal import Terminal
from labshell.core.errors import LineError
from labshell.core.parse import Bound
from labtest.errors import LabError

__all__ = ["Interactive"]


class _NotGiven(Exception):
    """A line became no job, and it was said why."""


class _Writer:
    """A command's lines, for the screen."""

    def __init__(self, channel: Channel, draw: Callable[[Channel, Drawable], None]) -> None:
        self._channel = channel
        self._draw = draw
        self.write = channel.write

    def draw(self, what: Drawable) -> None:
        """A table, or anything else that rich can draw."""
        self._draw(self._channel, what)

    def close(self) -> None:
        """Nothing more comes."""
        self._channel.is_closed = True


class Interactive:
    """The whole of it; one per process."""

    interactive = True

    def __init__(self, settings: ShellSettings) -> None:
        self._settings = settings
        self._terminal = Terminal()
        color = wants_color(True)
        self._renderer = Renderer(color=color)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="labshell-draw")
        self._output = Output(self._renderer, self._write_above, self._can_write)
        self._own = self._output.channel()
        self._prompt = PromptLine(
            self._terminal, CarefulLanguage(settings.language, self.report),
            lambda is_asking: BoundedHistory(settings.history, self._executor, is_asking),
            on_lines=self._entered, on_interrupt=self._interrupt, on_end=self._end_key, on_note=self._own.write,
            running=self._running, term=os.environ.get("TERM", ""), color=color,
        )  # fmt: skip
        self._code: int | None = None
        self._ending = asyncio.Event()
        self._end_asked_s = float("-inf")
        self._told: dict[tuple[str, type[BaseException]], float] = {}
        self._attaching = trio.Lock()
        # What surrounds commands: it is there; all commands are over; it is gone again.
        self._ready, self._all_over, self._surrounded = trio.Event(), trio.Event(), trio.Event()
        self._jobs = settings.job_table(self, self._own.write_whole, self._ready)
        self._bridge = Bridge(self.report)

    # --- from start to end ---

    def run(self) -> int:
        """Runs until its end; the exit code. The terminal is then as it was, and SIGINT ignored: what is left of the program only ends."""
        try:
            return run_with_guest(self._main, bridge=self._bridge, leave=self._leave, grace_s=END_GRACE_S)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._leave()
            self._terminal.close()
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _leave(self) -> None:
        """Whatever has happened: the last lines, and the terminal as it was found."""
        self._terminal.restore(
            SANE + fresh_line(self._terminal.size().columns) + self._output.take(sys.maxsize)
        )

    async def _main(self, bridge: Bridge) -> int:
        # What is there now stays: looking through all of it for garbage again and again, as lines stream, held keys up for 40 ms.
        gc.freeze()
        bridge.on_signal = self._signal
        asyncio.get_running_loop().add_signal_handler(signal.SIGCONT, self._continued)
        if self._settings.banner:
            self._own.write(self._settings.banner)
        self._output.start()
        bridge.start_soon(self._surround)
        prompt = asyncio.ensure_future(self._read())
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait({prompt, ending}, return_when=asyncio.FIRST_COMPLETED)
            if prompt.done():
                self.quit(prompt.result())
            await self._finish(prompt)
        finally:
            ending.cancel()
        return Exit.OK if self._code is None else self._code

    async def _read(self) -> int:
        """The prompt, started again when it crashes; the exit code."""
        crashes: deque[float] = deque(maxlen=CRASHES_MAX)
        while True:
            try:
                return await self._prompt.run()
            except EOFError:
                return Exit.HUNG_UP
            except Exception as error:
                self.report("in the prompt", error)
            now_s = time.monotonic()
            crashes.append(now_s)
            if len(crashes) == CRASHES_MAX and now_s - crashes[0] < CRASH_WINDOW_S:
                return Exit.INTERNAL

    async def _surround(self) -> None:
        """What commands need is there before the first of them runs, and until the last has ended."""
        try:
            async with self._settings.surround():
                self._ready.set()
                await self._all_over.wait()
        except Exception as error:
            told = lab_errors_of(error)
            if not told:
                raise
            for one in told:
                self._own.write(f"error: {one}", "error")
            self.quit(told[0].exit_code)
        finally:
            self._surrounded.set()

    async def _finish(self, prompt: asyncio.Task[int]) -> None:
        """Ends prompt, jobs, and what surrounds them, each with a bound."""
        self._prompt.end(0)
        for job in self._jobs.alive():
            job.cancel()
        await self._bridge.call(self._until_all_is_over)
        left = [f"[{job.number}] {job.line}" for job in self._jobs.alive()]
        if left:
            self._own.write(f"left behind, since it does not end: {', '.join(left)}", "warn")
        await asyncio.wait({prompt}, timeout=END_GRACE_S)
        await asyncio.wait_for(self._output.flushed(), END_GRACE_S)
        await self._terminal.drained()

    async def _until_all_is_over(self) -> None:
        with trio.move_on_after(END_GRACE_S):
            for job in self._jobs.alive():
                await job.ended.wait()
        self._all_over.set()
        with trio.move_on_after(END_GRACE_S):
            await self._surrounded.wait()

    def quit(self, code: int) -> None:
        """Ends the program; the first code counts."""
        if self._code is None:
            self._code = code
        self._ending.set()

    def report(self, what: str, error: BaseException) -> None:
        """Tells of an error that is nobody's result; the same one not all the time."""
        now_s = time.monotonic()
        key = (what, type(error))
        if now_s - self._told.get(key, float("-inf")) < REPORT_AGAIN_S:
            return
        self._told[key] = now_s
        where = self._settings.traces.write(what, error)
        self._own.write(f"internal error {what}: {type(error).__name__}: {error} (trace: {where})", "error")

    # --- what is typed ---

    def _entered(self, lines: list[str]) -> None:
        if len(lines) > 1:
            self._start(self._run_lines, lines)
            return
        try:
            job = self._submit(lines[0])
        except _NotGiven:
            return
        if job is not None:
            self._start(self._jobs.run, job)

    def _start(self, async_fn: Callable[[Any], Awaitable[object]], argument: object) -> None:
        try:
            self._bridge.start_soon(async_fn, argument)
        except GuestEnded:
            self._own.write("not run: the program ends", "error")

    async def _run_lines(self, lines: Sequence[str]) -> None:
        """Lines of a paste, one after another. What comes after one that fails was written by somebody who thought that it would not."""
        for number, line in enumerate(lines, 1):
            is_well = True
            try:
                job = self._submit(line)
            except _NotGiven:
                is_well = False
            else:
                if job is not None and job.background:
                    self._start(self._jobs.run, job)
                elif job is not None:
                    await self._jobs.run(job)
                    is_well = job.state is JobState.DONE
            left = len(lines) - number
            if not is_well and left:
                self._own.write(
                    f"stopped: {left} more {'line is' if left == 1 else 'lines are'} not run", "warn"
                )
                return

    def _submit(self, line: str) -> Job | None:
        """Shows a line as it was given, and makes it a job; None: there is nothing in it. Raises :class:`_NotGiven` when it has told why not."""
        shown = self._prompt.prompt_text()
        self._own.write(f"{shown}{line}", "echo")
        self._jobs.latest = None
        text, background = background_of(line)
        try:
            bound = self._settings.language.bind(text, abbreviated=True)
            if bound is None:
                return None
            job = self._jobs.submit(bound.spelled or text.strip(), bound, background=background)
        except Exception as error:
            self._tell_line_error(error, len(shown))
            raise _NotGiven from None
        self._tell_how_it_goes(job, bound)
        return job

    def _tell_line_error(self, error: Exception, indent: int) -> None:
        if not isinstance(error, LabError):
            self.report("in reading a line", error)
            return
        if isinstance(error, LineError) and indent + error.end < self._terminal.size().columns:
            self._own.write(f"{' ' * (indent + error.start)}{'^' * max(1, error.end - error.start)}", "error")
        self._own.write(f"error: {error}", "error")

    def _tell_how_it_goes(self, job: Job, bound: Bound) -> None:
        if bound.inferred:
            self._own.write(f"{bound.spelled}   {bound.note}", "note")
        waits_for = [other for other in job.after if not other.is_over]
        if waits_for:
            self._own.write(
                f"[{job.number}] waits until [{waits_for[-1].number}] {waits_for[-1].line} has ended", "note"
            )
        elif job.background:
            self._own.write(f"[{job.number}] {job.line}", "note")

    # --- Ctrl-C, Ctrl-D, signals ---

    def _interrupt(self) -> bool:
        """Ctrl-C: ends the command in front. False: there is none."""
        job = self._jobs.foreground()
        if job is None:
            return False
        if job.cancelled_s is None:
            job.cancel()
        elif time.monotonic() - job.interrupted_s < DOUBLE_INTERRUPT_S:
            job.abandoned = True
            self._own.write(
                f"[{job.number}] does not end; it is left to itself (`jobs` shows it): {job.line}", "warn"
            )
        else:
            took_s = time.monotonic() - job.cancelled_s
            self._own.write(
                f"[{job.number}] was told to end {took_s:.0f} s ago; Ctrl-C twice leaves it to itself", "warn"
            )
        job.interrupted_s = time.monotonic()
        return True

    def _end_key(self) -> None:
        busy = [job for job in self._jobs.alive() if job.changes]
        now_s = time.monotonic()
        if busy and now_s - self._end_asked_s > QUIT_AGAIN_S:
            self._end_asked_s = now_s
            self._own.write(
                f"[{busy[0].number}] {busy[0].line} is under way; Ctrl-D again cancels it and quits", "warn"
            )
            return
        self.quit(Exit.OK)

    def _signal(self, number: int) -> None:
        if number != signal.SIGINT:
            self.quit(Exit.HUNG_UP if number == signal.SIGHUP else Exit.TERMINATED)
        elif not self._terminal.is_lent and not self._prompt.interrupted():
            # While a program is attached Ctrl-C is its own.
            self._prompt.clear()

    def _continued(self) -> None:
        """Somebody had stopped us, and the shell that started us has used the terminal meanwhile."""
        if not self._terminal.is_lent and os.tcgetpgrp(self._terminal.input_descriptor) == os.getpgrp():
            self._prompt.begin_anew()

    def _running(self) -> str:
        """What the line above the bottom line says of the command in front."""
        job = self._jobs.foreground()
        others = len(self._jobs.alive()) - 1
        if job is None or time.monotonic() - job.given_s < SHOW_RUNNING_AFTER_S:
            return ""
        more = f" and {others} more" if others > 0 else ""
        if job.state is JobState.WAITING:
            return f" [{job.number}] waits: {job.line}{more}"
        text, done, total = job.progress or ("", None, None)
        share = f" {done}/{total}" if done is not None and total else ""
        ends = "ends" if job.cancelled_s is not None else "Ctrl-C cancels"
        return (
            f" [{job.number}] {job.line} {job.elapsed_s():.0f} s{share} {text}".rstrip() + f" ({ends}){more}"
        )

    # --- what commands can do here ---

    def writer(self, tag: Callable[[], str]) -> _Writer:
        """For the lines of one command."""
        return _Writer(self._output.channel(tag), self._draw)

    def _draw(self, channel: Channel, what: Drawable) -> None:
        channel.draw(what, self._executor, self._renderer, self.width())

    def _can_write(self) -> bool:
        return not self._terminal.is_lent and not self._terminal.pending_bytes

    async def _write_above(self, take: Callable[[], str]) -> None:
        await self._prompt.write_above(take)

    def width(self) -> int:
        """Columns of the terminal."""
        return self._terminal.size().columns

    def changed(self) -> None:
        """Something that prompt or bottom line shows has changed."""
        self._prompt.changed()

    async def confirm(self, question: str, default: bool) -> bool:
        """Asks on the line."""
        answers: list[bool | None] = []
        answered = trio.Event()

        def answer(value: bool | None) -> None:
            answers.append(value)
            answered.set()

        asked = Question(question, default, answer)
        self._prompt.ask(asked)
        try:
            await answered.wait()
        finally:
            self._prompt.withdraw(asked)
        if answers[0] is None:
            raise Interrupted("cancelled")
        return answers[0]

    async def attach(self, argv: Sequence[str], env: Mapping[str, str] | None, folder: str | None) -> int:
        """Gives the terminal to a program. One at a time; another one waits."""
        async with self._attaching:
            taken, given_back = trio.Event(), asyncio.Event()
            lending = self._bridge.start_host(self._lend(taken, given_back))
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_set_when, lending.ended, taken)
                    await taken.wait()
                    nursery.cancel_scope.cancel()
                if lending.ended.is_set():
                    lending.task.result()
                descriptor = self._terminal.input_descriptor
                return await run_attached(argv, descriptor=descriptor, env=env, folder=folder)
            finally:
                given_back.set()
                with trio.CancelScope(shield=True):
                    await lending.ended.wait()

    async def _lend(self, taken: trio.Event, given_back: asyncio.Event) -> None:
        """The prompt goes, the terminal is as it was found, and afterwards in order again. The line that asked for it is written before."""
        await self._output.caught_up()
        async with in_terminal():
            await self._terminal.drained()
            with borrowed(self._terminal.input_descriptor, self._terminal.modes):
                self._terminal.is_lent = True
                try:
                    taken.set()
                    await given_back.wait()
                finally:
                    self._terminal.is_lent = False
            self._terminal.write(SANE + fresh_line(self._terminal.size().columns))


async def _set_when(ended: trio.Event, also: trio.Event) -> None:
    await ended.wait()
    also.set()
