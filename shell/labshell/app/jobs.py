"""Commands that run, each in a trio task of its own: what becomes of it is its result, and never ends the shell.

Commands that only look run at once and side by side. Commands that change something run one after another, in the order in which they were given;
what waits is not run when the one before it failed or was cancelled, for whoever typed it ahead believed that it would not. Two changes at a time
were rejected: nobody can tell from such an output which of them did what.
"""

from __future__ import annotations

import enum
import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import trio

from labshell.app.audit import Audit, AuditFailed
from labshell.app.context import Context, Handler, Surface, Writer
from labshell.app.exits import Exit, Interrupted, NotRun, leaves_of
from labshell.app.limits import JOBS_ALIVE_MAX, JOBS_KEPT_MAX
from labshell.app.traces import Traces
from labshell.core.json_objects import error_json
from labshell.core.parse import Bound
from labtest.errors import LabError

__all__ = ["Job", "JobState", "JobTable", "refused_json"]


class JobState(enum.StrEnum):
    """Where a job is. ``DROPPED``: it was never begun."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DROPPED = "dropped"


ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.DROPPED})


class Job:
    """One command line that was given. Times are of :func:`time.monotonic`."""

    def __init__(self, number: int, line: str, bound: Bound, after: Iterable[Job], background: bool) -> None:
        self.number = number
        self.line = line
        self.bound = bound
        self.after = tuple(after)
        #: Its lines are tagged, and Ctrl-C does not mean it.
        self.background = background
        #: It did not end when it was told to, and was left to itself.
        self.abandoned = False
        self.state = JobState.WAITING
        self.code: int | None = None
        #: Why it failed; empty: it did not.
        self.problem = ""
        self.progress: tuple[str, int | None, int | None] | None = None
        self.began_s = self.given_s = time.monotonic()
        self.ended_s: float | None = None
        #: When it was told to end.
        self.cancelled_s: float | None = None
        #: When Ctrl-C last meant it.
        self.interrupted_s = float("-inf")
        self.ended = trio.Event()
        self.scope = trio.CancelScope()

    @property
    def changes(self) -> bool:
        """Whether it changes something."""
        return self.bound.command.changes

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or never will begin."""
        return self.state in ENDED

    def elapsed_s(self) -> float:
        """How long it runs or ran; 0 while it waits."""
        if self.state is JobState.WAITING:
            return 0.0
        return (self.ended_s or time.monotonic()) - self.began_s

    def cancel(self) -> None:
        """Tells it to end; what it has printed stays."""
        if self.cancelled_s is None and not self.is_over:
            self.cancelled_s = time.monotonic()
        self.scope.cancel()


class JobTable:
    """All jobs. ``handlers`` are by name of command; ``on_json`` gets a command's JSON line, ``on_change`` each job that has changed."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        surface: Surface,
        ready: trio.Event,
        *,
        audit: Audit,
        traces: Traces,
        as_json: bool = False,
        assume_yes: bool = False,
        read_only: bool = False,
        on_json: Callable[[str], None] = lambda text: None,
        on_change: Callable[[Job], None] = lambda job: None,
    ) -> None:
        self._handlers = handlers
        self._surface = surface
        self._ready = ready
        self._audit = audit
        self._traces = traces
        self._as_json = as_json
        self._assume_yes = assume_yes
        self._read_only = read_only
        self._on_json = on_json
        self._on_change = on_change
        self._jobs: dict[int, Job] = {}
        self._numbers = itertools.count(1)
        #: The job of the last line that was given; None: that line was none.
        self.latest: Job | None = None

    # --- what there is ---

    def all(self) -> list[Job]:
        """Those that run or wait, and the last that have ended; in the order in which they were given."""
        return list(self._jobs.values())

    def alive(self) -> list[Job]:
        """Those that run or wait."""
        return [job for job in self._jobs.values() if not job.is_over]

    def find(self, number: int) -> Job | None:
        """A job by its number."""
        return self._jobs.get(number)

    def foreground(self) -> Job | None:
        """The one that Ctrl-C means: the newest that runs, or else waits, and was not put into the background."""
        alive = [job for job in self.alive() if not job.background and not job.abandoned]
        running = [job for job in alive if job.state is JobState.RUNNING]
        newest = running or alive
        return newest[-1] if newest else None

    # --- giving one ---

    def submit(self, line: str, bound: Bound, *, after: Iterable[Job] = (), background: bool = False) -> Job:
        """A new job; begins when :meth:`run` is called on it. ``after``: those that must have ended well before. Raises :class:`NotRun`."""
        name = bound.command.name
        if self._read_only and bound.command.changes:
            raise NotRun(
                f"{name} changes something, and this shell was started with --read-only; nothing was done"
            )
        if background and bound.command.terminal:
            raise NotRun(
                f"{name} has the whole terminal, so it cannot run in the background; leave out the &"
            )
        if name not in self._handlers:
            raise NotRun(f"{name} cannot be carried out by this program")
        alive = self.alive()
        if len(alive) >= JOBS_ALIVE_MAX:
            raise NotRun(
                f"{len(alive)} commands run or wait, which is all there can be; `jobs` lists them, `cancel` ends one"
            )
        before = list(after)
        if bound.command.changes:
            before.extend([job for job in alive if job.changes][-1:])
        job = Job(next(self._numbers), line, bound, before, background)
        self._jobs[job.number] = self.latest = job
        self._forget_old()
        return job

    def _forget_old(self) -> None:
        over = [job for job in self._jobs.values() if job.is_over]
        for job in over[: max(0, len(over) - JOBS_KEPT_MAX)]:
            del self._jobs[job.number]

    # --- running one ---

    async def run(self, job: Job) -> None:
        """Waits for those before, runs it, and says how it ended. Never raises but trio.Cancelled."""
        writer = self._surface.writer(lambda: self._tag(job))
        as_json = self._as_json or job.bound.flag("json")
        yes = self._assume_yes or job.bound.flag("yes")
        context = Context(self._surface, job, self, writer, json=as_json, assume_yes=yes)
        try:
            await self._run_in_scope(job, context)
        finally:
            job.ended_s = time.monotonic()
            self._tell(job, context, writer)
            writer.close()
            job.ended.set()
            self.changed(job)

    def _tag(self, job: Job) -> str:
        """Before a line that does not belong to the command just above it."""
        return f"[{job.number}]" if job.background or job.abandoned or job is not self.latest else ""

    def changed(self, job: Job) -> None:
        """A job has begun, ended, or says how far it is."""
        self._on_change(job)
        self._surface.changed()

    async def _run_in_scope(self, job: Job, context: Context) -> None:
        try:
            with job.scope:
                await self._wait_for_those_before(job)
                await self._carry_out(job, context)
        except BaseException as error:
            self._failed(job, context, error)
            if _is_cancelled(error):
                raise
            return
        if job.scope.cancelled_caught and not job.is_over:
            self._cancelled(job)

    async def _wait_for_those_before(self, job: Job) -> None:
        await self._ready.wait()
        for other in job.after:
            await other.ended.wait()
            if other.state is not JobState.DONE:
                job.state = JobState.DROPPED
                job.code = Exit.USAGE
                raise NotRun(f"not run, since `{other.line}` before it {_outcome(other)}")

    async def _carry_out(self, job: Job, context: Context) -> None:
        job.began_s = time.monotonic()
        if job.changes:
            # If it cannot be recorded it never ran; if it was recorded, its end is too, also if it is cancelled just now.
            with trio.CancelScope(shield=True):
                await self._audit.write(self._record(job, "began"), durable=True)
        job.state = JobState.RUNNING
        self.changed(job)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            code = await self._handlers[job.bound.command.name](context, job.bound)
            job.code = int(code or 0)
            job.state = JobState.DONE if job.code == Exit.OK else JobState.FAILED
        except BaseException as error:
            if _is_cancelled(error):
                self._cancelled(job)
                raise
            self._failed(job, context, error)
        finally:
            await self._record_end(job, context)

    async def _record_end(self, job: Job, context: Context) -> None:
        job.ended_s = time.monotonic()
        with trio.CancelScope(shield=True):
            try:
                await self._audit.write(self._record(job, "ended"), durable=job.changes)
            except AuditFailed as error:
                context.warn(f"its end is not in the audit log: {error}")

    def _record(self, job: Job, event: str) -> dict[str, Any]:
        record: dict[str, Any] = {
            "event": event, "job": job.number, "command": job.bound.command.name, "line": job.line,
            "arguments": msgspec.to_builtins(job.bound.arguments, enc_hook=str),
            "options": msgspec.to_builtins(job.bound.options, enc_hook=str), "changes": job.changes,
        }  # fmt: skip
        if event == "ended":
            record |= {
                "result": job.state.value, "exit": job.code, "problem": job.problem, "elapsed_s": round(job.elapsed_s(), 3)
            }  # fmt: skip
        return record

    # --- how it ended ---

    def _cancelled(self, job: Job) -> None:
        job.state = JobState.CANCELLED if job.state is JobState.RUNNING else JobState.DROPPED
        job.code = Exit.INTERRUPTED
        job.problem = "cancelled"

    def _failed(self, job: Job, context: Context, error: BaseException) -> None:
        leaves = [leaf for leaf in leaves_of(error) if not isinstance(leaf, trio.Cancelled)]
        if not leaves:
            if not job.is_over:
                self._cancelled(job)
            return
        if job.state is not JobState.DROPPED:
            job.state = JobState.FAILED
        texts = []
        for leaf in leaves:
            if isinstance(leaf, Interrupted):
                job.state, job.code = JobState.CANCELLED, Exit.INTERRUPTED
            texts.append(self._told(job, leaf))
            context.error(texts[-1])
            context.raised += [leaf] if isinstance(leaf, LabError) else []
        if job.code is None:
            job.code = next((leaf.exit_code for leaf in leaves if isinstance(leaf, LabError)), Exit.INTERNAL)
        job.problem = "; ".join(texts)

    def _told(self, job: Job, error: BaseException) -> str:
        if isinstance(error, LabError):
            return str(error)
        where = self._traces.write(f"job {job.number}: {job.line}", error)
        return f"internal error: {type(error).__name__}: {error} (trace: {where})"

    def _tell(self, job: Job, context: Context, writer: Writer) -> None:
        if context.json:
            self._on_json(_json_line(job, context))
            return
        if job.state is JobState.CANCELLED:
            took = f" after {job.elapsed_s():.1f} s" if job.elapsed_s() >= 1 else ""
            writer.write(f"cancelled{took}: {job.line}", "note")
        elif job.state is JobState.DROPPED and job.code == Exit.INTERRUPTED:
            writer.write(f"cancelled before it began: {job.line}", "note")
        elif job.background or job.abandoned:
            writer.write(f"{job.state.value} after {job.elapsed_s():.1f} s: {job.line}", "note")


def _outcome(job: Job) -> str:
    return {JobState.CANCELLED: "was cancelled", JobState.DROPPED: "was not run"}.get(job.state, "failed")


def _is_cancelled(error: BaseException) -> bool:
    return any(isinstance(leaf, trio.Cancelled) for leaf in leaves_of(error))


def _json_line(job: Job, context: Context) -> str:
    document = {
        "command": job.line, "exit": job.code, "state": job.state.value, "result": context.result, "text": context.texts,
        "warnings": context.warnings, "error": "; ".join(context.errors) or None,
        "errors": [error_json(one) for one in context.raised], "dropped": context.dropped,
        "elapsed_s": round(job.elapsed_s(), 3),
    }  # fmt: skip
    return _encoded(document)


def _encoded(document: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(document, enc_hook=str).decode()
    except (UnicodeEncodeError, TypeError):
        # Half characters of broken output, or keys that are no texts.
        return json.dumps(msgspec.to_builtins(document, enc_hook=str, str_keys=True), default=str)


def refused_json(line: str, error: LabError) -> str:
    """The JSON line of a command that did not become a job."""
    document = {
        "command": line, "exit": error.exit_code, "state": JobState.DROPPED.value, "result": None, "text": [],
        "warnings": [], "error": str(error), "errors": [error_json(error)], "dropped": 0, "elapsed_s": 0.0,
    }  # fmt: skip
    return _encoded(document)
