"""A plan without its health checks, for somebody who wants a thing started and does not want to wait for it.

Law: what waited for a check waits for what the check waited for, so nothing else of the order changes. The plan's index stays as it is: it says what
the plan was made from, and that is the same.
"""

from __future__ import annotations

import msgspec

from labtest.core.plan import Planned
from labtest.core.steps import CheckHealth, Step

__all__ = ["without_checks"]


def without_checks(planned: Planned) -> Planned:
    """The same, and nothing is asked for its health."""
    needs: dict[int, tuple[int, ...]] = {}  # what stands for a step: itself, or what a check needed
    numbers: dict[int, int] = {}
    steps: list[Step] = []
    for step in planned.plan.steps:
        known = tuple(dict.fromkeys(one for needed in step.needs for one in needs[needed]))
        if isinstance(step.action, CheckHealth):
            needs[step.id] = known
            continue
        needs[step.id] = (step.id,)
        numbers[step.id] = len(steps)
        renumbered = tuple(sorted(numbers[needed] for needed in known))
        steps.append(msgspec.structs.replace(step, id=len(steps), needs=renumbered))
    plan = msgspec.structs.replace(planned.plan, steps=tuple(steps))
    return msgspec.structs.replace(planned, plan=plan)
