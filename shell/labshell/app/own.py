"""Commands about the shell itself: `jobs`, `cancel`, `quit`. Handlers as all others."""

from __future__ import annotations

from labshell.app.context import Context, Handler
from labshell.app.exits import Exit, NotRun
from labshell.app.jobs import Job, JobState
from labshell.core.json_objects import job_json
from labshell.core.parse import Bound
from labshell.core.tables import Cell, Column, Table

__all__ = ["OWN_HANDLERS", "cancel_command", "jobs_command", "quit_command"]


_COLUMNS = (
    Column(title="JOB", right=True),
    Column(title="STATE"),
    Column(title="TIME", rank=3, right=True),
    Column(title="COMMAND", rank=1, narrowest=12),
    Column(title="REMARK", rank=2, narrowest=12),
)


async def jobs_command(context: Context, bound: Bound) -> int:
    """Lists what runs, waits, and has ended."""
    jobs = [job for job in context.jobs.all() if job is not context.job]
    context.emit([job_json(job) for job in jobs])
    context.print(Table(columns=_COLUMNS, rows=tuple(map(_row_of, jobs)), empty="no jobs"))
    return Exit.OK


def _row_of(job: Job) -> tuple[Cell, ...]:
    style = {JobState.FAILED: "down", JobState.DROPPED: "warn", JobState.CANCELLED: "warn"}.get(job.state, "")
    texts = (str(job.number), job.state.value, f"{job.elapsed_s():.1f} s", job.line, _remark(job))
    return tuple(Cell(text, style if at == 1 else "") for at, text in enumerate(texts))


def _remark(job: Job) -> str:
    if job.abandoned and not job.is_over:
        return "does not end"
    if job.after and job.state.value == "waiting":
        return f"after {job.after[-1].number}"
    return job.problem


async def cancel_command(context: Context, bound: Bound) -> int:
    """Cancels one, or says that it is over."""
    number = int(bound.text("job") or 0)
    job = context.jobs.find(number)
    if job is None:
        raise NotRun(f"there is no job {number}; `jobs` lists them")
    was_over = job.is_over
    job.cancel()
    context.emit({"job": number, "state": job.state.value})
    context.print(
        f"[{number}] is over already: {job.line}" if was_over else f"[{number}] is told to end: {job.line}"
    )
    return Exit.OK


async def quit_command(context: Context, bound: Bound) -> int:
    """Ends the program; nothing on the hosts ends with it."""
    busy = [job for job in context.jobs.alive() if job.changes and job is not context.job]
    if busy and not await context.confirm(f"`{busy[0].line}` is under way and is cancelled then. Quit?"):
        return Exit.OK
    context.quit(Exit.OK)
    return Exit.OK


#: By name of command.
OWN_HANDLERS: dict[str, Handler] = {"jobs": jobs_command, "cancel": cancel_command, "quit": quit_command}
