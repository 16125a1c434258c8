"""Commands about plans: plan, apply, diff, discard, rollback, resume."""

from __future__ import annotations

import difflib

from labshell.app.context import Context
from labshell.app.exits import Declined, Exit
from labshell.commands.carrying_out import carry_out, fresh, show_prepared
from labshell.core.json_objects import plan_json
from labshell.core.json_results import collected_json, difference_json
from labshell.core.parse import Bound
from labshell.session.session import Session
from labtest.core.steps import (
    Action,
    CheckHealth,
    Forget,
    InstallRelease,
    PutFile,
    Reload,
    ReloadManager,
    RemoveFile,
    RemoveRelease,
    Restart,
    Start,
    Stop,
    SwitchRelease,
)
from labtest.deploy import Prepared
from labtest.errors import ActionFailed, HostUnreachable

__all__ = ["apply", "diff", "discard", "plan", "resume", "rollback"]

#: Of a file's mode.
EVERYBODY_READS = 0o004
#: Files that are larger are said to differ, and not compared line by line.
COMPARED_BYTES_MAX = 256 * 2**10
#: Steps that follow from others, and are no difference by themselves.
_NO_DIFFERENCE = (CheckHealth, ReloadManager, Forget, InstallRelease)


async def _fresh_plan(session: Session) -> Prepared:
    await fresh(session)
    return await session.deployment.plan()


async def plan(session: Session, context: Context, bound: Bound) -> int:
    """What ``apply`` would do."""
    prepared = await _fresh_plan(session)
    context.emit(plan_json(prepared.plan, prepared.planned.held, prepared.notes))
    show_prepared(context, prepared)
    return Exit.UNREACHABLE if prepared.plan.unreachable else Exit.OK


async def apply(session: Session, context: Context, bound: Bound) -> int:
    """All that is pending, and whatever else differs."""
    prepared = await _fresh_plan(session)
    return await _ask_and_do(session, context, prepared, rollback=not bound.flag("no-rollback"))


async def rollback(session: Session, context: Context, bound: Bound) -> int:
    """Back to the state before."""
    await fresh(session)
    return await _ask_and_do(session, context, await session.deployment.plan_rollback(), rollback=False)


async def resume(session: Session, context: Context, bound: Bound) -> int:
    """On with what was interrupted."""
    await fresh(session)
    prepared = await session.deployment.plan_resume()
    return await _ask_and_do(session, context, prepared, rollback=not bound.flag("no-rollback"))


async def _ask_and_do(session: Session, context: Context, prepared: Prepared, *, rollback: bool) -> int:
    show_prepared(context, prepared)
    if prepared.plan.steps and not await context.confirm("Do it?"):
        raise Declined("nothing was done")
    return await carry_out(session, context, prepared, rollback=rollback)


async def discard(session: Session, context: Context, bound: Bound) -> int:
    """Forgets what is pending."""
    await session.refresh()
    pending = session.store.view.pending
    if not pending:
        context.emit(collected_json(None, ()))
        context.print("nothing is pending")
        return 0
    for change in pending:
        context.print(change.text)
    if not await context.confirm("Forget these changes?"):
        raise Declined("they are still pending")
    await session.discard()
    context.emit(collected_json(None, ()))
    return 0


async def diff(session: Session, context: Context, bound: Bound) -> int:
    """How hosts differ from what is wanted. Exit code 1 if they do, 5 if they do not and a host does not answer."""
    await fresh(session)
    chosen = frozenset(bound.texts("hosts")) or None
    prepared = await session.deployment.plan()
    steps = [
        step
        for step in prepared.plan.steps
        if (chosen is None or step.host in chosen) and not isinstance(step.action, _NO_DIFFERENCE)
    ]
    items = []
    for step in steps:
        lines: list[str] = []
        if isinstance(step.action, PutFile):
            lines = await _file_lines(session, prepared, step.host, step.action)
        what = _subject(step.action)
        context.print(_headline(step.host, what, step.reason))
        for line in lines:
            context.print(f"    {line}")
        items.append(difference_json(step.host, what, step.reason, step.action, lines))
    context.emit(items)
    return _end_diff(context, prepared, chosen, bool(steps))


def _end_diff(
    context: Context, prepared: Prepared, chosen: frozenset[str] | None, are_different: bool
) -> int:
    silent = [host for host in prepared.plan.unreachable if chosen is None or host in chosen]
    if not are_different:
        context.print("no differences" if not silent else "no differences where hosts answer")
    for host in silent:
        context.warn(f"{host}: no answer, so nothing is known of it")
    return Exit.FAILED if are_different else Exit.UNREACHABLE if silent else Exit.OK


def _subject(action: Action) -> str:
    """What a step is about."""
    match action:
        case PutFile(file):
            return file.path
        case RemoveFile(path):
            return path
        case InstallRelease(release) | SwitchRelease(release):
            return f"release {release.name}"
        case RemoveRelease(name):
            return f"release {name}"
        case Start(process) | Restart(process) | Reload(process) | CheckHealth(process):
            return process.process
        case Stop(process) | Forget(process):
            return process
        case ReloadManager():
            return "systemd"


def _headline(host: str, what: str, reason: str) -> str:
    """``a: web: /srv/page changed``; a path that the reason begins with is not said twice."""
    return (
        f"{host}: {reason}"
        if reason.startswith(what) or not what
        else f"{host}: {what}: {reason or 'differs'}"
    )


async def _file_lines(session: Session, prepared: Prepared, host: str, action: PutFile) -> list[str]:
    """The lines of a file that differ, as a unified diff."""
    wanted = prepared.blobs[action.file.sha256]
    try:
        agent = await session.agent(host)
        found = await agent.read_file(action.file.path, size_max=COMPARED_BYTES_MAX)
    except ActionFailed as error:
        found = b""
        if error.code != "not-found":
            return [error.problem]
    except HostUnreachable as error:
        return [error.problem]
    if not action.file.mode & EVERYBODY_READS:
        # Keys and passwords: whoever looks over a shoulder, or reads a log of this, need not see them.
        return [
            f"{len(found)} bytes are there, {len(wanted)} bytes are wanted; not shown, since not everybody may read it"
        ]
    if len(wanted) > COMPARED_BYTES_MAX or b"\0" in wanted or b"\0" in found:
        return [f"{len(found)} bytes are there, {len(wanted)} bytes are wanted"]
    there, here = (text.decode("utf-8", "replace").splitlines() for text in (found, wanted))
    return [line.rstrip("\n") for line in difflib.unified_diff(there, here, "there", "wanted", lineterm="")]
