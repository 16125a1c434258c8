"""What ``--json`` prints, as tables of fields: the same table makes the object and its documentation.

Law: stable. A field is never renamed, removed or given another meaning, only added. Times are ISO 8601 in UTC in text, durations are seconds, sizes
are bytes. What is absent or not known is null, and never left out. Bytes that are no UTF-8 become U+FFFD; nothing else of a text is changed, since
JSON's own escapes keep terminals safe."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import msgspec

from labshell.core.errors import Ambiguous, LineError, MissingParameter
from labshell.core.folding import Folded, FoldedLine
from labshell.core.plan_words import action_words
from labshell.core.state import (
    Condition,
    HostView,
    View,
    condition,
    instances_of,
    is_stale,
    shown_hosts,
)
from labtest.core.actual import UnitState
from labtest.core.environment import HostSpec
from labtest.core.steps import Plan, Step
from labtest.errors import LabError
from labtest.hosts.interface import LinkState, LogLine

__all__ = [
    "OBJECTS",
    "Fields",
    "JsonField",
    "error_json",
    "held_json",
    "hosts_json",
    "iso_time",
    "job_json",
    "log_line_json",
    "outputs_json",
    "plan_json",
    "status_json",
]

_NS = 1_000_000_000


class JsonField(msgspec.Struct, frozen=True):
    """One field: its type and meaning for people, and how it is had from a value."""

    name: str
    kind: str
    text: str
    of: Callable[[Any], object]


class Fields(msgspec.Struct, frozen=True):
    """An object: its title in the documentation and its fields in order."""

    title: str
    fields: tuple[JsonField, ...]

    def of(self, value: object) -> dict[str, object]:
        """The object of a value."""
        return {field.name: field.of(value) for field in self.fields}


def iso_time(at_ns: int) -> str:
    """UTC, with all nanoseconds: ``2026-01-02T03:04:05.123456789Z``."""
    seconds, rest = divmod(at_ns, _NS)
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


class _Instance(msgspec.Struct, frozen=True):
    process: str
    host: str
    wanted: bool
    condition: Condition
    is_old: bool
    unit: UnitState | None


class _Message(msgspec.Struct, frozen=True):
    line: LogLine
    hosts: tuple[str, ...]
    process: str


class _Host(msgspec.Struct, frozen=True):
    spec: HostSpec
    host: HostView
    now_s: float
    instances: list[bool]


def _of_unit(read: Callable[[UnitState], object]) -> Callable[[_Instance], object]:
    return lambda one: None if one.unit is None else read(one.unit)


_STATUS = Fields(
    "`status`: an array of",
    (
        JsonField("process", "text", "Its name in the spec.", lambda one: one.process),
        JsonField("host", "text", "Its host's name in the spec.", lambda one: one.host),
        JsonField("wanted", "boolean", "Whether it shall run; false after `stop`.", lambda one: one.wanted),
        JsonField(
            "condition", "text", "One of: " + ", ".join(Condition) + ".", lambda one: one.condition.value
        ),
        JsonField("old", "boolean", "Its host has given no sign for a while: all of this may be old.", lambda one: one.is_old),
        JsonField("unit", "text or null", "Name of the systemd unit.", _of_unit(lambda unit: unit.unit)),
        JsonField("load", "text or null", "systemd's LoadState.", _of_unit(lambda unit: unit.load)),
        JsonField("active", "text or null", "systemd's ActiveState.", _of_unit(lambda unit: unit.active)),
        JsonField("sub", "text or null", "systemd's SubState.", _of_unit(lambda unit: unit.sub)),
        JsonField("result", "text or null", "systemd's Result.", _of_unit(lambda unit: unit.result or None)),
        JsonField(
            "status", "text or null", "The daemon's own line about itself.", _of_unit(lambda unit: unit.status or None)
        ),
        JsonField("main_pid", "integer or null", "Its process on the host.", _of_unit(lambda unit: unit.main_pid or None)),
        JsonField("restarts", "integer or null", "How often systemd has restarted it.", _of_unit(lambda unit: unit.restarts)),
        JsonField(
            "active_since",
            "time or null",
            "When it became active, on the host's clock.",
            _of_unit(lambda unit: iso_time(unit.active_since_ns) if unit.active_since_ns else None),
        ),
        JsonField(
            "memory_bytes", "integer or null", "Memory of its control group.", _of_unit(lambda unit: unit.memory_bytes or None)
        ),
    ),
)  # fmt: skip

_HOSTS = Fields(
    "`hosts`: an array of",
    (
        JsonField("host", "text", "Its name in the spec.", lambda one: one.spec.name),
        JsonField(
            "kind", "text", "How it is reached: ssh, namespace or local.", lambda one: one.spec.kind.value
        ),
        JsonField("ssh", "text or null", "What ssh is called with.", lambda one: one.spec.ssh or None),
        JsonField(
            "address", "text", "Where other hosts reach it.", lambda one: one.spec.address or one.spec.name
        ),
        JsonField("groups", "array of text", "Its groups.", lambda one: list(one.spec.groups)),
        JsonField("link", "text", "One of: " + ", ".join(LinkState) + ".", lambda one: one.host.link.value),
        JsonField(
            "link_seconds",
            "number",
            "Since when the link is so.",
            lambda one: round(one.now_s - one.host.since_s, 3),
        ),
        JsonField(
            "silent_seconds",
            "number or null",
            "Since when it has given no sign; null: it never has.",
            lambda one: None if one.host.heard_s is None else round(one.now_s - one.host.heard_s, 3),
        ),
        JsonField(
            "old",
            "boolean",
            "It counts as up, and has been silent for too long.",
            lambda one: is_stale(one.host, one.now_s),
        ),
        JsonField("reason", "text or null", "Why it is not up.", lambda one: one.host.reason or None),
        JsonField("processes", "integer", "How many it has.", lambda one: len(one.instances)),
        JsonField(
            "running",
            "integer or null",
            "How many of them run; null: it is not connected.",
            lambda one: sum(one.instances) if one.host.link is LinkState.UP else None,
        ),
    ),
)

_STEP = Fields(
    "`steps` of `plan`: an array of",
    (
        JsonField("id", "integer", "Its place in the plan, from 0.", lambda step: step.id),
        JsonField("host", "text", "Where.", lambda step: step.host),
        JsonField("action", "text", "Kind of action, e.g. `put-file`, `restart`.", lambda step: _tag(step)),
        JsonField("what", "text", "What is done, for people.", lambda step: action_words(step.action)),
        JsonField(
            "needs", "array of integer", "Ids of steps that are done before.", lambda step: list(step.needs)
        ),
        JsonField("reason", "text", "Why, for people.", lambda step: step.reason),
    ),
)

_PLAN = Fields(
    "`plan`: an object",
    (
        JsonField("environment", "text", "Its name.", lambda plan: plan.environment),
        JsonField("index", "text", "Digest of what the plan was made from.", lambda plan: plan.index),
        JsonField("minor", "boolean", "Whether it leaves everything where it is.", lambda plan: plan.minor),
        JsonField("unreachable", "array of text", "Hosts that do not answer, and have no part in it.", lambda plan: list(plan.unreachable)),
        JsonField("held", "array", "What is left as it is, each an object of `host`, `unit` and `reason`.", lambda plan: []),
        JsonField("notes", "array of text", "What should be known beforehand.", lambda plan: []),
        JsonField("steps", "array", "In an order in which they could be done one by one.", lambda plan: [_STEP.of(one) for one in plan.steps]),
    ),
)  # fmt: skip

_JOB = Fields(
    "`jobs`: an array of",
    (
        JsonField("job", "integer", "Its number.", lambda job: job.number),
        JsonField("state", "text", "waiting, running, done, failed, cancelled or dropped.", lambda job: job.state.value),
        JsonField("line", "text", "The command in full.", lambda job: job.line),
        JsonField("elapsed_s", "number", "How long it took, or has taken.", lambda job: round(job.elapsed_s(), 3)),
        JsonField("done", "integer or null", "How much of it is done.", lambda job: job.progress[1] if job.progress else None),
        JsonField("total", "integer or null", "How much there is.", lambda job: job.progress[2] if job.progress else None),
        JsonField("exit", "integer or null", "Its exit code.", lambda job: job.code),
        JsonField("problem", "text or null", "Why it failed.", lambda job: job.problem or None),
        JsonField("background", "boolean", "Whether it was put into the background.", lambda job: job.background),
        JsonField("abandoned", "boolean", "It did not end when it was told to, and was left to itself.", lambda job: job.abandoned),
    ),
)  # fmt: skip

_OUTPUT = Fields(
    "`run`: an array, the most hosts first, of",
    (
        JsonField("hosts", "array of text", "Those with this output.", lambda one: list(one.hosts)),
        JsonField("status", "integer or null", "Exit status, or minus the signal; null: no answer, and `output` says why.", lambda one: one.status),
        JsonField("output", "text", "What was written.", lambda one: one.output.decode("utf-8", "replace")),
    ),
)  # fmt: skip

_LOG = Fields(
    "`logs`: an array, in the order of their times, of",
    (
        JsonField("at", "time", "On the clock of the first host.", lambda one: iso_time(one.line.at_ns)),
        JsonField("hosts", "array of text", "Those that wrote it.", lambda one: list(one.hosts)),
        JsonField("process", "text or null", "Its name in the spec.", lambda one: one.process or None),
        JsonField("unit", "text", "systemd's name of who wrote it.", lambda one: one.line.unit),
        JsonField("pid", "integer", "Which process of the first host.", lambda one: one.line.pid),
        JsonField("priority", "integer", "Of syslog(3): 0 is the worst.", lambda one: one.line.priority),
        JsonField("text", "text", "The message.", lambda one: one.line.text),
    ),
)

_ERROR = Fields(
    "`errors`: an array of",
    (
        JsonField(
            "error",
            "text",
            "Its kind, e.g. `MissingParameter`, `HostUnreachable`.",
            lambda error: type(error).__name__,
        ),
        JsonField("message", "text", "For people.", lambda error: str(error)),
        JsonField("exit_code", "integer", "With what the command ends.", lambda error: error.exit_code),
        JsonField(
            "host", "text or null", "Which host it is about.", lambda error: getattr(error, "host", None)
        ),
        JsonField(
            "start",
            "integer or null",
            "Where in the line the fault begins.",
            lambda error: getattr(error, "start", None),
        ),
        JsonField("end", "integer or null", "Where it ends.", lambda error: getattr(error, "end", None)),
        JsonField("candidates", "array of text", "What could stand there.", lambda error: _candidates(error)),
    ),
)

#: All of them, for the documentation.
OBJECTS: tuple[Fields, ...] = (_STATUS, _HOSTS, _PLAN, _STEP, _JOB, _OUTPUT, _LOG, _ERROR)


def _tag(step: Step) -> object:
    return type(step.action).__struct_config__.tag


def _candidates(error: LabError) -> list[str]:
    if isinstance(error, MissingParameter):
        return list(error.candidates)
    if isinstance(error, Ambiguous):
        return list(error.readings)
    return list(error.suggestions) if isinstance(error, LineError) else []


def status_json(
    view: View, *, now_s: float, instances: Collection[str] | None = None, down_only: bool = False
) -> list[dict[str, object]]:
    """The instances, as the table of the same name chooses them."""
    found = []
    for process, host, wanted in instances_of(view.environment):
        if instances is not None and f"{process}@{host}" not in instances:
            continue
        what = condition(view, process, host, wanted=wanted)
        if down_only and not (wanted and what is not Condition.RUNNING):
            continue
        there = view.hosts.get(host)
        is_known = there is not None and what is not Condition.UNKNOWN
        unit = there.units.get(process) if there is not None and is_known else None
        is_old = there is not None and is_stale(there, now_s)
        found.append(_STATUS.of(_Instance(process, host, wanted, what, is_old, unit)))
    return found


def hosts_json(view: View, *, now_s: float, hosts: Collection[str] | None = None) -> list[dict[str, object]]:
    """The hosts."""
    running: dict[str, list[bool]] = {}
    for process, host, wanted in instances_of(view.environment):
        what = condition(view, process, host, wanted=wanted)
        running.setdefault(host, []).append(what is Condition.RUNNING)
    specs = {one.name: one for one in view.environment.hosts}
    return [
        _HOSTS.of(_Host(specs[name], host, now_s, running.get(name, [])))
        for name, host in shown_hosts(view)
        if hosts is None or name in hosts
    ]


def held_json(held: Mapping[tuple[str, str], str]) -> list[dict[str, str]]:
    """What a plan leaves as it is: host and unit to the reason."""
    return [{"host": host, "unit": unit, "reason": why} for (host, unit), why in sorted(held.items())]


def plan_json(
    plan: Plan, held: Mapping[tuple[str, str], str] | None = None, notes: Iterable[str] = ()
) -> dict[str, object]:
    """A plan with all its steps. ``held`` is host and unit to the reason for which nothing is done about it."""
    return _PLAN.of(plan) | {"held": held_json(held or {}), "notes": list(notes)}


def job_json(job: object) -> dict[str, object]:
    """A job of :mod:`labshell.app.jobs`."""
    return _JOB.of(job)


def outputs_json(outputs: Iterable[Folded]) -> list[dict[str, object]]:
    """What hosts said, folded."""
    return [_OUTPUT.of(one) for one in outputs]


def log_line_json(line: FoldedLine, process: str = "") -> dict[str, object]:
    """One message."""
    return _LOG.of(_Message(line.line, line.hosts, process))


def error_json(error: LabError) -> dict[str, object]:
    """An error."""
    return _ERROR.of(error)
