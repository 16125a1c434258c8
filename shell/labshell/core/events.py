"""What can happen to a view.

Law: an event says what was seen or decided, by whom of the outside, at which time; never what to draw or to do. Each is complete in itself, and one
about a host that is not in the environment (any more) is no error: events of several sources meet in no particular order.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from labshell.core.state import JobState, PendingChange
from labtest.core.actual import UnitState
from labtest.core.environment import Environment
from labtest.hosts.interface import LinkState

__all__ = [
    "EnvironmentChanged",
    "Event",
    "Heard",
    "InterruptedChanged",
    "JobEnded",
    "JobProgress",
    "JobStarted",
    "LinkChanged",
    "LockChanged",
    "PlanEnded",
    "PlanStarted",
    "StepEnded",
    "StepStarted",
    "UnitsReported",
    "VersionsReported",
]


class EnvironmentChanged(msgspec.Struct, frozen=True):
    """Another environment is wanted, or other changes are pending."""

    environment: Environment
    pending: tuple[PendingChange, ...]
    at_s: float


class LinkChanged(msgspec.Struct, frozen=True):
    """The connection to a host is different."""

    host: str
    state: LinkState
    reason: str
    at_s: float


class Heard(msgspec.Struct, frozen=True):
    """A host gave a sign, and nothing else is new."""

    host: str
    at_s: float


class UnitsReported(msgspec.Struct, frozen=True):
    """States of processes on a host; ``whole``: of all that it has, so others are not there."""

    host: str
    units: Mapping[str, UnitState]
    at_s: float
    whole: bool = False


class VersionsReported(msgspec.Struct, frozen=True):
    """Which versions of releases a host has, the one in use first."""

    host: str
    versions: Mapping[str, tuple[str, ...]]
    at_s: float


class PlanStarted(msgspec.Struct, frozen=True):
    """A plan of so many steps is being carried out."""

    title: str
    steps: int
    at_s: float


class StepStarted(msgspec.Struct, frozen=True):
    """One of its steps has begun."""

    step: int
    host: str
    text: str
    at_s: float


class StepEnded(msgspec.Struct, frozen=True):
    """One of its steps has ended; ``problem`` if not well."""

    step: int
    ok: bool
    problem: str
    at_s: float


class PlanEnded(msgspec.Struct, frozen=True):
    """The plan has ended."""

    ok: bool
    outcome: str
    at_s: float


class JobStarted(msgspec.Struct, frozen=True):
    """A job has begun. Numbers are not used again. ``total`` 0: not known."""

    job: int
    title: str
    at_s: float
    total: int = 0


class JobProgress(msgspec.Struct, frozen=True):
    """A job has come further."""

    job: int
    done: int
    total: int
    detail: str
    at_s: float


class JobEnded(msgspec.Struct, frozen=True):
    """A job has ended: done, failed or cancelled."""

    job: int
    state: JobState
    detail: str
    at_s: float


class LockChanged(msgspec.Struct, frozen=True):
    """Somebody else holds the environment's lock; empty: nobody."""

    holder: str
    at_s: float


class InterruptedChanged(msgspec.Struct, frozen=True):
    """An apply was interrupted and can be resumed; empty: none."""

    text: str
    at_s: float


Event = (
    EnvironmentChanged
    | LinkChanged
    | Heard
    | UnitsReported
    | VersionsReported
    | PlanStarted
    | StepStarted
    | StepEnded
    | PlanEnded
    | JobStarted
    | JobProgress
    | JobEnded
    | LockChanged
    | InterruptedChanged
)
