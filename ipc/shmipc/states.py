"""The life cycle of a slot, as a table.

Law: which state may follow which lives here; this module knows neither memory nor process. Every change of a slot's state in the owner goes
through :func:`after`, so a transition the table lacks is an error and not a corruption. Generation is counted up by LEASE only.

* ``FREE`` has no content. ``LEASE`` gives it to a transfer and makes it a new generation.
* ``FILLING`` is being written; readers who ask for it may pin it and read up to its watermark.
* ``READY`` is complete and verified; anybody may pin it.
* ``EVICTING`` was READY and may become FREE: no new pin is valid. Fence and scan decide: ``RECLAIM`` if nobody holds it, else ``SPARE``.
* ``ADOPTED`` was READY when its owner died. Nobody accepts it until the next owner has looked whether its bytes are still those that were
  published (``CONFIRM``, or ``INVALIDATE``): memory that nobody watched may have been damaged. Who had it pinned keeps it.
* ``RETIRED`` will never be READY again (invalidated, aborted, or left over by a dead owner) but may still be pinned, or still be
  written into by a transfer that was cancelled and is not detached yet. Fence, scan and detachment decide when to ``RECLAIM`` it.

An aborted fill goes to RETIRED and never straight to FREE: a reader may have pinned it while it was filling, and its transfer may still be
attached. After a restart FILLING and EVICTING slots are retired too (``ADOPT``): one way, no special case.

Verifying by the same word that readers compare anyway costs a hit nothing, and what readers remember of a slot counts again once it is confirmed, for
its generation is the same. Rejected: an epoch that each hit compares (a load more for ever), and verifying all before anything is served
(a second of each 20 GB).

``python -m shmipc.states`` prints the table as a diagram.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

from shmipc.errors import StateError

__all__ = ["TRANSITIONS", "Event", "State", "after", "diagram"]


class State(IntEnum):
    """State of a slot; the value is what lies in shared memory."""

    FREE = 0
    FILLING = 1
    READY = 2
    EVICTING = 3
    RETIRED = 4
    ADOPTED = 5


class Event(StrEnum):
    """What the owner does to a slot."""

    LEASE = "lease"
    PUBLISH = "publish"
    ABORT = "abort"
    MARK = "mark"
    SPARE = "spare"
    RECLAIM = "reclaim"
    INVALIDATE = "invalidate"
    ADOPT = "adopt"
    CONFIRM = "confirm"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.FREE, Event.LEASE): State.FILLING,
    (State.FILLING, Event.PUBLISH): State.READY,
    (State.FILLING, Event.ABORT): State.RETIRED,
    (State.FILLING, Event.ADOPT): State.RETIRED,
    (State.READY, Event.MARK): State.EVICTING,
    (State.READY, Event.INVALIDATE): State.RETIRED,
    (State.READY, Event.ADOPT): State.ADOPTED,
    (State.ADOPTED, Event.ADOPT): State.ADOPTED,
    (State.ADOPTED, Event.CONFIRM): State.READY,
    (State.ADOPTED, Event.INVALIDATE): State.RETIRED,
    (State.EVICTING, Event.SPARE): State.READY,
    (State.EVICTING, Event.RECLAIM): State.FREE,
    (State.EVICTING, Event.ADOPT): State.RETIRED,
    (State.RETIRED, Event.RECLAIM): State.FREE,
}


def after(state: State, event: Event) -> State:
    """The state that follows; raises :class:`~shmipc.errors.StateError` where the table has none."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise StateError(f"a slot that is {state.name} cannot {event.value}") from None


def diagram() -> str:
    """The table as a mermaid ``stateDiagram-v2``, ending with a newline."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.FREE.name}"]
    lines += [f"    {state.name} --> {to.name}: {event}" for (state, event), to in TRANSITIONS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(diagram(), end="")
