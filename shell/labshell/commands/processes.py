"""Commands that act on processes where they are: start, stop, restart, reload."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
import trio

from labshell.app.context import Context
from labshell.app.exits import Declined, Exit
from labshell.commands.carrying_out import Results, carry_out, fresh, show_prepared
from labshell.core.fold import fold_hosts
from labshell.core.parse import Bound
from labshell.core.state import instances_of
from labshell.session.session import Session
from labtest.core.ask import Ask
from labtest.core.change_values import Change, StartInstance, StopInstance
from labtest.core.environment import Environment
from labtest.core.steps import CheckHealth, Reload, Restart, Start, Step, Stop
from labtest.core.unchecked import without_checks
from labtest.deploy import Prepared
from labtest.errors import LabError

__all__ = ["reload", "restart", "start", "stop"]

Instances = Sequence[tuple[str, str]]

#: Steps that are what was typed.
_PLAIN = (Start, Stop, Restart, Reload, CheckHealth)


async def start(session: Session, context: Context, bound: Bound) -> int:
    """Starts instances; those that were stopped are wanted again."""
    chosen = await _chosen(session, bound)
    changes = [
        StartInstance(process, host) for process, host in chosen if _is_stopped(session, process, host)
    ]
    return await _act(session, context, bound, _ask(chosen), changes)


async def stop(session: Session, context: Context, bound: Bound) -> int:
    """Stops instances, which stay stopped."""
    chosen = await _chosen(session, bound)
    changes = [
        StopInstance(process, host) for process, host in chosen if not _is_stopped(session, process, host)
    ]
    for line in _left_without(session.deployment.in_effect, chosen):
        context.warn(line)
    return await _act(session, context, bound, _ask(chosen), changes)


async def restart(session: Session, context: Context, bound: Bound) -> int:
    """Restarts instances in batches, each healthy before the next."""
    chosen = _without_stopped(session, context, await _chosen(session, bound))
    batch = _batch_size(bound.text("batch"), len(chosen))
    wait_s, asks = bound.seconds("wait") or 0.0, bound.text("wait") == "ask"
    if not (wait_s or asks):
        return await _act(session, context, bound, _ask(chosen, restart=chosen, batch_size=batch))
    with Results(context) as results:
        for index, some in enumerate(_batches(session, chosen, batch)):
            if index:
                await _pause(context, some, wait_s, asks=asks)
            context.print(" ".join(f"{process}@{host}" for process, host in some))
            ask = _ask(some, restart=some, batch_size=batch)
            code = await _act(session, context, bound, ask, results=results)
            if code:
                return code
    return Exit.OK


async def reload(session: Session, context: Context, bound: Bound) -> int:
    """Has instances read their configuration again."""
    chosen = _without_stopped(session, context, await _chosen(session, bound))
    return await _act(session, context, bound, _ask(chosen, reload=chosen))


async def _act(
    session: Session,
    context: Context,
    bound: Bound,
    ask: Ask,
    changes: Sequence[Change] = (),
    *,
    results: Results | None = None,
) -> int:
    """At once, and as it is in effect: what is pending has no part in it. Exit code 1 too if something was held back."""
    name = bound.command.name
    prepared = await session.deployment.plan(ask, changes=tuple(changes), title=name)
    if bound.flag("no-health"):
        prepared = msgspec.structs.replace(prepared, planned=without_checks(prepared.planned))
    if name == "reload":
        _refuse_restarts(prepared)
    _show(context, prepared)
    code = await carry_out(session, context, prepared, results=results)
    return code or (Exit.FAILED if prepared.planned.held else Exit.OK)


def _show(context: Context, prepared: Prepared) -> None:
    """Says what is done besides what was typed, if anything is."""
    if all(isinstance(step.action, _PLAIN) for step in prepared.plan.steps):
        for note in prepared.notes:
            context.warn(note)
        for (host, unit), reason in prepared.planned.held.items():
            context.warn(f"{unit} on {host}: {reason}")
    else:
        show_prepared(context, prepared)


def _refuse_restarts(prepared: Prepared) -> None:
    """A reload is not silently more than that."""
    changed = [step for step in prepared.plan.steps if isinstance(step.action, (Restart, Start))]
    if changed:
        names = ", ".join(f"{_process(step)}@{step.host} ({step.reason})" for step in changed)
        raise LabError(f"a reload is not enough, so nothing was done: {names}; use `restart`, or `apply`")


def _process(step: Step) -> str:
    assert isinstance(step.action, (Restart, Start))
    return step.action.process.process


async def _chosen(session: Session, bound: Bound) -> list[tuple[str, str]]:
    """Process and host of each instance. Raises LabError for one that will only be there when what is pending was applied."""
    await fresh(session)
    pairs = (one.rpartition("@") for one in bound.texts("instances"))
    chosen = [(process, host) for process, _, host in pairs]
    there = {(process, host) for process, host, _ in instances_of(session.deployment.in_effect)}
    missing = [f"{process}@{host}" for process, host in chosen if (process, host) not in there]
    if missing:
        raise LabError(f"{', '.join(missing)}: not there before what is pending was applied; see `plan`")
    return chosen


def _is_stopped(session: Session, process: str, host: str) -> bool:
    return any(
        (one, where) == (process, host) and not wanted
        for one, where, wanted in instances_of(session.deployment.in_effect)
    )


def _without_stopped(session: Session, context: Context, chosen: Instances) -> Instances:
    """Those that somebody has stopped stay so: only `start` takes that back."""
    stopped = [one for one in chosen if _is_stopped(session, *one)]
    names = " ".join(f"{process}@{host}" for process, host in stopped)
    if stopped and len(stopped) == len(chosen):
        raise LabError(f"{names}: stopped by `stop`; `start {names}` starts what it names again")
    if stopped:
        context.warn(f"{names}: stopped by `stop`, and left so")
    return [one for one in chosen if one not in stopped]


def _ask(
    chosen: Instances,
    *,
    restart: Instances = (),
    reload: Instances = (),
    batch_size: int | None = None,
) -> Ask:
    return Ask(
        hosts=frozenset(host for _, host in chosen),
        processes=frozenset(process for process, _ in chosen),
        instances=frozenset(chosen),
        restart=frozenset(restart),
        reload=frozenset(reload),
        batch_size=batch_size,
    )


def _batch_size(text: str | None, count: int) -> int | None:
    """``3`` or ``25%`` as a number of instances, at least one."""
    if text is None:
        return None
    if text.endswith("%"):
        return max(1, math.floor(count * float(text[:-1]) / 100))
    return int(text)


def _batches(session: Session, chosen: Instances, size: int | None) -> Iterable[Instances]:
    """Each process by itself, in the order of the spec, so many at a time."""
    for spec in session.deployment.in_effect.processes:
        mine = [one for one in chosen if one[0] == spec.name]
        step = size or spec.batch_size
        for at in range(0, len(mine), step):
            yield mine[at : at + step]


async def _pause(context: Context, following: Instances, wait_s: float, *, asks: bool) -> None:
    names = ", ".join(f"{process}@{host}" for process, host in following)
    if asks and not await context.confirm(f"Go on with {names}?", default=True):
        raise Declined(f"ended before {names}; what was restarted stays so")
    if wait_s:
        context.progress(f"{names} in {wait_s:.0f} s")
        await trio.sleep(wait_s)


def _left_without(environment: Environment, stopped: Instances) -> Iterable[str]:
    """What needs a process that runs nowhere any more, and goes on."""
    gone = {
        spec.name
        for spec in environment.processes
        if spec.hosts and all((spec.name, host) in stopped or host in spec.stopped_on for host in spec.hosts)
    }
    for spec in environment.processes:
        needs = [name for name in spec.after if name in gone]
        running = [
            host for host in spec.hosts if host not in spec.stopped_on and (spec.name, host) not in stopped
        ]
        if needs and running:
            yield f"{spec.name}@{fold_hosts(running)} needs {', '.join(needs)}, and goes on without"
