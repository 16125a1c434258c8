"""``down``: takes an environment away from its hosts."""

from __future__ import annotations

from labshell.app.context import Context
from labshell.app.exits import Declined, Exit
from labshell.commands.carrying_out import carry_out, fresh, show_prepared
from labshell.core.parse import Bound
from labshell.session.session import Session

__all__ = ["down"]


async def down(session: Session, context: Context, bound: Bound) -> int:
    """Stops and removes all that the environment has on its hosts. The hosts themselves stay; data of daemons stays as well."""
    await fresh(session)
    prepared = await session.deployment.plan_down()
    show_prepared(context, prepared)
    if not prepared.plan.steps and not prepared.plan.unreachable:
        return Exit.OK
    if not await context.confirm(f"Stop and remove all of {session.environment.name}?"):
        raise Declined("nothing was done")
    return await carry_out(session, context, prepared, rollback=False)
