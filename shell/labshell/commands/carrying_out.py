"""Carries a prepared plan out, shows how it goes, and says truthfully how it ended."""

from __future__ import annotations

from typing import Any, Self

import trio

from labshell.app.context import Context
from labshell.app.exits import Exit
from labshell.core.json_results import outcome_json
from labshell.session.session import Session
from labtest.core.describe import describe
from labtest.deploy import Prepared

__all__ = ["LINKS_S", "Results", "carry_out", "fresh", "show_prepared"]

#: Hosts that are on their way for the first time are waited for this long before something is planned.
LINKS_S = 15.0


async def fresh(session: Session) -> None:
    """Reads again what is wanted, and waits for hosts that are on their way: a plan made now is about all that can be reached."""
    await session.refresh()
    await session.wait_for_links(LINKS_S)


def show_prepared(context: Context, prepared: Prepared) -> None:
    """The steps, and what is left as it is."""
    for note in prepared.notes:
        context.warn(note)
    context.print("\n".join(describe(prepared.planned)))


class Results:
    """Adds up what several plans of one command have come to, and gives that as the command's result, however it ends."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._whole: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._whole is not None:
            self._context.emit(self._whole)

    def add(self, outcome: dict[str, Any]) -> None:
        """One more: how it ended counts, and the rest is added."""
        before = self._whole or {}
        self._whole = {
            name: value if isinstance(value, str) or name not in before else before[name] + value
            for name, value in outcome.items()
        }


async def carry_out(
    session: Session,
    context: Context,
    prepared: Prepared,
    *,
    rollback: bool = True,
    results: Results | None = None,
) -> int:
    """Does it; the exit code: 5 if it went well where hosts answer, and some do not. What is wanted, and what is shown, follows."""
    try:
        outcome = await session.deployment.apply(prepared, rollback=rollback)
    finally:
        with trio.CancelScope(shield=True):
            await session.follow()
    if prepared.plan.steps or outcome.problems or outcome.unreachable:
        context.print("\n".join(outcome.lines()))
    result = outcome_json(
        ending=outcome.ending,
        steps_done=outcome.steps_done,
        problems=[(one.host, one.title, one.error) for one in outcome.problems],
        left=outcome.left,
        unreachable=outcome.unreachable,
        held=prepared.planned.held,
    )
    if results is None:
        context.emit(result)
    else:
        results.add(result)
    return outcome.exit_code or (Exit.UNREACHABLE if outcome.unreachable else Exit.OK)
