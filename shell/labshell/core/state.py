"""What the shell knows at one moment: the environment that is wanted, and what is known of its hosts. One immutable value.

Law: a :class:`View` is only ever made from the one before and an event (:mod:`labshell.core.reduce`), so all that is drawn, completed and answered
between two events agrees. It keeps what was last heard and when, and concludes nothing: whether a process is down, or a host's word old, follows
from the view and the time (:func:`condition`, :func:`is_stale`), since silence is no event. What is not known is said to be unknown, never to be
down. Times are seconds of one clock that never steps (``time.monotonic()`` of the shell), given by whoever makes the events.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping

import msgspec

from labshell.core.limits import STALE_AFTER_S
from labtest.core.actual import UnitState
from labtest.core.environment import Environment
from labtest.hosts.interface import LinkState

__all__ = [
    "Condition",
    "HostView",
    "JobState",
    "JobView",
    "PendingChange",
    "PlanProgress",
    "RunningStep",
    "View",
    "condition",
    "first_view",
    "instances_of",
    "is_stale",
    "shown_hosts",
]


class HostView(msgspec.Struct, frozen=True, kw_only=True):
    """One host, as last heard of."""

    link: LinkState = LinkState.CONNECTING
    #: When the link became what it is.
    since_s: float
    #: Why, if it is not up.
    reason: str = ""
    #: When it last gave a sign; None: never.
    heard_s: float | None = None
    #: Process to the state of its unit. Kept when the link is lost: it is what was last known.
    units: Mapping[str, UnitState] = {}
    #: Release to its versions that are installed, the one in use first.
    versions: Mapping[str, tuple[str, ...]] = {}


class PendingChange(msgspec.Struct, frozen=True):
    """A major change that waits for ``apply``; ``text`` is the line that made it."""

    text: str


class RunningStep(msgspec.Struct, frozen=True):
    """A step that is being done."""

    host: str
    text: str
    since_s: float


class PlanProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The plan that is being carried out, or the last one that was."""

    title: str
    #: How many steps it has.
    steps: int
    started_s: float
    done: int = 0
    failed: int = 0
    #: Id of a step to what it is.
    running: Mapping[int, RunningStep] = {}
    #: Of the first step that failed.
    problem: str = ""
    ended_s: float | None = None
    #: How it ended, in words.
    outcome: str = ""
    ok: bool | None = None


class JobState(enum.StrEnum):
    """How a job is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """One job. ``total`` 0: it does not say how much there is."""

    title: str
    started_s: float
    state: JobState = JobState.RUNNING
    done: int = 0
    total: int = 0
    #: What it is at, or how it ended.
    detail: str = ""
    ended_s: float | None = None


class View(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    #: As it is wanted, with all pending changes.
    environment: Environment
    pending: tuple[PendingChange, ...] = ()
    #: In the order of the environment.
    hosts: Mapping[str, HostView]
    plan: PlanProgress | None = None
    #: By number; the running ones, and the last that ended.
    jobs: Mapping[int, JobView] = {}
    #: What was interrupted and can be resumed or rolled back; empty: nothing.
    interrupted: str = ""
    #: Who holds the environment's lock; empty: nobody, or this shell itself.
    locked_by: str = ""
    read_only: bool = False


def first_view(environment: Environment, *, now_s: float, read_only: bool = False) -> View:
    """What is known before anything was heard."""
    hosts = {host.name: HostView(since_s=now_s) for host in environment.hosts}
    return View(environment=environment, hosts=hosts, read_only=read_only)


class Condition(enum.StrEnum):
    """What an instance of a process is doing, for people."""

    RUNNING = "running"
    #: On its way up, or reading its configuration again.
    STARTING = "starting"
    STOPPING = "stopping"
    #: Not running, as somebody wished.
    STOPPED = "stopped"
    #: It should run and does not.
    DOWN = "down"
    #: Its host does not know it: it was not put there yet.
    ABSENT = "absent"
    #: Its host is not connected, or has not said.
    UNKNOWN = "unknown"


_BY_ACTIVE = {
    "active": Condition.RUNNING,
    "reloading": Condition.STARTING,
    "activating": Condition.STARTING,
    "deactivating": Condition.STOPPING,
}


def instances_of(environment: Environment) -> Iterator[tuple[str, str, bool]]:
    """Process, host, and whether it shall run (nobody has stopped it), for all instances in the order of the environment."""
    for process in environment.processes:
        stopped = frozenset(process.stopped_on)
        for host in process.hosts:
            yield process.name, host, host not in stopped


def condition(view: View, process: str, host: str, *, wanted: bool) -> Condition:
    """What an instance is doing, by what was last heard. ``wanted``: whether it shall run."""
    there = view.hosts.get(host)
    if there is None or there.link is not LinkState.UP:
        return Condition.UNKNOWN
    unit = there.units.get(process)
    if unit is None:
        return Condition.UNKNOWN
    # A unit between two tries of systemd is activating, and no more up for that.
    if unit.active in _BY_ACTIVE and unit.sub != "auto-restart":
        return _BY_ACTIVE[unit.active]
    if unit.load == "not-found":
        return Condition.ABSENT
    return Condition.DOWN if wanted or unit.active == "failed" else Condition.STOPPED


def is_stale(host: HostView, now_s: float) -> bool:
    """Whether a host counts as up and has given no sign for so long that what is known of it may be old."""
    heard_s = host.since_s if host.heard_s is None else host.heard_s
    return host.link is LinkState.UP and now_s - heard_s > STALE_AFTER_S


def shown_hosts(view: View) -> Iterator[tuple[str, HostView]]:
    """Hosts in the order of the environment."""
    return ((one.name, view.hosts[one.name]) for one in view.environment.hosts if one.name in view.hosts)
