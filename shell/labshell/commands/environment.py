"""Commands that change what is wanted: set and unset at once, the others with the next ``apply``."""

from __future__ import annotations

import trio

from labshell.app.context import Context
from labshell.app.exits import Exit
from labshell.commands.carrying_out import carry_out, fresh, show_prepared
from labshell.core.json_results import collected_json
from labshell.core.parse import Bound
from labshell.session.session import Session
from labtest.core.change_values import (
    AddHost,
    AddInstance,
    Change,
    ChangeRefused,
    MoveProcess,
    RemoveHost,
    RemoveInstance,
    SetVariable,
    SwapRelease,
    UnsetVariable,
)
from labtest.core.changes import describe, parse_value
from labtest.core.environment import HostSpec, Value
from labtest.core.variables import variables_of
from labtest.errors import LabError

__all__ = ["add", "add_host", "move", "remove", "remove_host", "set_variable", "swap", "unset_variable"]

#: How long ``add-host`` waits to see whether the host can be reached.
FIRST_CONNECTION_S = 15.0


async def set_variable(session: Session, context: Context, bound: Bound) -> int:
    """Changes a variable, and what is made from it."""
    name, text, scope = bound.text("variable") or "", bound.text("value") or "", _scope(bound)
    await fresh(session)
    value = _value(session, name, text, scope)
    return await _change(session, context, SetVariable(name, value, scope), later=bound.flag("later"))


async def unset_variable(session: Session, context: Context, bound: Bound) -> int:
    """Takes back what was set."""
    name, scope = bound.text("variable") or "", _scope(bound)
    await fresh(session)
    change: Change = UnsetVariable(name, scope) if scope else await _as_in_the_spec(session, name)
    return await _change(session, context, change, later=bound.flag("later"))


async def _as_in_the_spec(session: Session, name: str) -> SetVariable:
    variables = (await session.spec()).variables
    if name not in variables:
        raise LabError(
            f"{name}: the spec gives it no value for all, so name the host (--host) or the process (--process)"
        )
    return SetVariable(name, variables[name])


def _scope(bound: Bound) -> str:
    host, process = bound.text("host"), bound.text("process")
    if host and process:
        raise LabError("--host and --process exclude each other: a value is of one or of the other")
    return f"host:{host}" if host else f"process:{process}" if process else ""


def _value(session: Session, name: str, text: str, scope: str) -> Value:
    """Typed as what it replaces."""
    known = {**session.environment.variables, **variables_of(session.environment, scope)}
    if name not in known:
        return text
    try:
        return parse_value(text, known[name])
    except ValueError as error:
        raise LabError(f"{name}: {error}") from None


async def _change(session: Session, context: Context, change: Change, *, later: bool) -> int:
    """At once if that only restarts, reloads or rewrites what is there; what is more than that is collected."""
    if later:
        return await _collect(session, context, change)
    try:
        ask = await session.touched_by((change,))
    except ChangeRefused as refused:
        return _refused(session, context, refused)
    title = "unset" if isinstance(change, UnsetVariable) else "set"
    prepared = await session.deployment.plan(ask, changes=(change,), title=title)
    if not prepared.plan.minor:
        context.warn("this installs or starts something that was not there, so it is not done at once")
        return await _collect(session, context, change)
    context.print(describe(change))
    show_prepared(context, prepared)
    code = await carry_out(session, context, prepared)
    return code or (Exit.FAILED if prepared.planned.held else Exit.OK)


async def swap(session: Session, context: Context, bound: Bound) -> int:
    """Another version of a release."""
    return await _collect(
        session, context, SwapRelease(bound.text("release") or "", bound.text("version") or "")
    )


async def move(session: Session, context: Context, bound: Bound) -> int:
    """A process to another host."""
    names = (bound.text("process") or "", bound.text("from") or "", bound.text("to") or "")
    return await _collect(session, context, MoveProcess(*names))


async def add(session: Session, context: Context, bound: Bound) -> int:
    """One more instance."""
    return await _collect(
        session, context, AddInstance(bound.text("process") or "", bound.text("host") or "")
    )


async def remove(session: Session, context: Context, bound: Bound) -> int:
    """One instance less."""
    return await _collect(
        session, context, RemoveInstance(bound.text("process") or "", bound.text("host") or "")
    )


async def add_host(session: Session, context: Context, bound: Bound) -> int:
    """A host more, to which a connection is made at once."""
    groups = tuple(group for group in (bound.text("groups") or "").split(",") if group)
    name = bound.text("name") or ""
    spec = HostSpec(
        name=name,
        ssh=bound.text("ssh") or "",
        address=bound.text("address") or "",
        groups=groups,
        sudo=bound.flag("sudo"),
    )
    code = await _collect(session, context, AddHost(spec))
    with trio.move_on_after(FIRST_CONNECTION_S) as scope:
        try:
            await session.links[name].agent()
            context.print(f"{name}: connected")
        except LabError as error:
            context.warn(str(error))
    if scope.cancelled_caught:
        context.warn(f"{name}: no answer within {FIRST_CONNECTION_S:.0f} s; it is tried further")
    return code


async def remove_host(session: Session, context: Context, bound: Bound) -> int:
    """A host less."""
    return await _collect(session, context, RemoveHost(bound.text("host") or ""))


async def _collect(session: Session, context: Context, change: Change) -> int:
    """Adds a change to those that wait for ``apply``."""
    try:
        await session.collect(change)
    except ChangeRefused as refused:
        return _refused(session, context, refused)
    pending = _pending(session)
    context.emit(collected_json(change, pending))
    context.print(f"{describe(change)}  (with the next `apply`; {len(pending)} pending)")
    return Exit.OK


def _refused(session: Session, context: Context, refused: ChangeRefused) -> int:
    """What is so already is no error: a script can be run twice."""
    if not refused.already:
        raise refused
    context.print(str(refused))
    context.emit(collected_json(None, _pending(session)))
    return Exit.OK


def _pending(session: Session) -> list[str]:
    return [one.text for one in session.store.view.pending]
