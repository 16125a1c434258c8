"""The tables of ``status``, ``hosts``, ``plan`` and ``jobs``.

Law: a row says what is known, and marks it if it may be old or is not known; the worst word of a row has the style. Order is that of the environment
and never depends on how things are, so that a row stays where it is while one looks at it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from labshell.core.plan_words import fold_steps
from labshell.core.state import (
    Condition,
    HostView,
    JobState,
    JobView,
    View,
    condition,
    instances_of,
    is_stale,
    shown_hosts,
)
from labshell.core.tables import Cell, Column, Table
from labshell.core.text import ago
from labtest.core.actual import UnitState
from labtest.core.environment import HostKind, HostSpec
from labtest.core.steps import Plan
from labtest.hosts.interface import LinkState

__all__ = ["hosts_table", "jobs_table", "plan_table", "size_words", "status_table"]

_NS = 1_000_000_000
_KIB = 1024

_STYLES = {
    Condition.RUNNING: "good",
    Condition.STARTING: "warn",
    Condition.STOPPING: "warn",
    Condition.STOPPED: "",
    Condition.DOWN: "down",
    Condition.ABSENT: "warn",
    Condition.UNKNOWN: "old",
}
_LINK_STYLES = {
    LinkState.UP: "good",
    LinkState.CONNECTING: "warn",
    LinkState.LOST: "down",
    LinkState.REFUSED: "down",
    LinkState.CLOSED: "",
}
_JOB_STYLES = {
    JobState.RUNNING: "warn",
    JobState.DONE: "good",
    JobState.FAILED: "down",
    JobState.CANCELLED: "",
}


def status_table(
    view: View,
    *,
    now_s: float,
    now_ns: int,
    instances: Collection[str] | None = None,
    down_only: bool = False,
) -> Table:
    """One row for each instance. ``now_s`` is the view's clock, ``now_ns`` the time since the epoch; ``instances``: only these ``process@host``."""
    rows = []
    for process, host, wanted in instances_of(view.environment):
        if instances is not None and f"{process}@{host}" not in instances:
            continue
        what = condition(view, process, host, wanted=wanted)
        if down_only and not (wanted and what is not Condition.RUNNING):
            continue
        rows.append(_status_row(process, host, what, view.hosts.get(host), now_s, now_ns))
    return Table(
        columns=(
            Column(title="PROCESS", narrowest=12),
            Column(title="HOST", narrowest=8),
            Column(title="STATE", narrowest=10),
            Column(title="FOR", rank=2, right=True),
            Column(title="RESTARTS", rank=4, right=True),
            Column(title="MEMORY", rank=5, right=True),
            Column(title="PID", rank=6, right=True),
            Column(title="STATUS", rank=1, narrowest=16),
        ),
        rows=tuple(rows),
        empty="nothing is down" if down_only else "no processes",
    )


def _status_row(
    process: str, host: str, what: Condition, there: HostView | None, now_s: float, now_ns: int
) -> tuple[Cell, ...]:
    unit = None if there is None else there.units.get(process)
    is_old = there is not None and is_stale(there, now_s)
    state, style = _state_words(what, unit, there, now_s), _STYLES[what]
    if is_old and style == "good":
        style = "old"
    if unit is None or what is Condition.UNKNOWN:
        return (Cell(process), Cell(host), Cell(state, style), *[Cell("")] * 5)
    is_up = unit.active_since_ns > 0 and what is not Condition.DOWN
    return (
        Cell(process),
        Cell(host),
        Cell(state, style),
        Cell(ago((now_ns - unit.active_since_ns) / _NS) if is_up else ""),
        Cell(str(unit.restarts) if unit.restarts else "", "warn"),
        Cell(size_words(unit.memory_bytes) if unit.memory_bytes else ""),
        Cell(str(unit.main_pid) if unit.main_pid else ""),
        Cell(unit.status),
    )


def _state_words(what: Condition, unit: UnitState | None, there: HostView | None, now_s: float) -> str:
    """``down (exit-code)``, ``unknown (lost 12 s)``, ``running (12 s ago)``."""
    if there is None or there.link is not LinkState.UP:
        link = "not connected" if there is None else f"{there.link.value} {ago(now_s - there.since_s)}"
        return f"{what.value} ({link})"
    words = []
    if what is Condition.DOWN and unit is not None:
        words.append(unit.result if unit.result not in ("", "success") else unit.sub)
    if is_stale(there, now_s):
        words.append(f"{ago(now_s - (there.since_s if there.heard_s is None else there.heard_s))} ago")
    return f"{what.value} ({', '.join(filter(None, words))})" if any(words) else what.value


def hosts_table(view: View, *, now_s: float, hosts: Collection[str] | None = None) -> Table:
    """One row for each host."""
    specs = {one.name: one for one in view.environment.hosts}
    running: dict[str, list[bool]] = {}
    for process, name, wanted in instances_of(view.environment):
        is_running = condition(view, process, name, wanted=wanted) is Condition.RUNNING
        running.setdefault(name, []).append(is_running)
    rows = [
        _host_row(specs[name], host, running.get(name, []), now_s)
        for name, host in shown_hosts(view)
        if hosts is None or name in hosts
    ]
    return Table(
        columns=(
            Column(title="HOST", narrowest=8),
            Column(title="LINK", narrowest=10),
            Column(title="RUNNING", rank=1, right=True),
            Column(title="REACHED BY", rank=4, narrowest=10),
            Column(title="ADDRESS", rank=3),
            Column(title="GROUPS", rank=5, narrowest=8),
            Column(title="WHY", rank=2, narrowest=16),
        ),
        rows=tuple(rows),
        empty="no hosts",
    )


def _host_row(spec: HostSpec, host: HostView, running: Sequence[bool], now_s: float) -> tuple[Cell, ...]:
    link, style = f"{host.link.value} {ago(now_s - host.since_s)}", _LINK_STYLES[host.link]
    if is_stale(host, now_s):
        link, style = f"silent {ago(now_s - (host.since_s if host.heard_s is None else host.heard_s))}", "old"
    shown = f"{sum(running) if host.link is LinkState.UP else '?'}/{len(running)}"
    return (
        Cell(spec.name),
        Cell(link, style),
        Cell(shown if running else "", "" if all(running) else "warn"),
        Cell(f"ssh {spec.ssh or spec.name}" if spec.kind is HostKind.SSH else spec.kind.value),
        Cell(spec.address),
        Cell(" ".join(spec.groups)),
        Cell(host.reason, "down" if style == "down" else ""),
    )


def plan_table(plan: Plan) -> Table:
    """One row for what is done on one host or, alike, on several; in the order in which it begins."""
    rows = tuple((Cell(one.hosts), Cell(one.what), Cell(one.why)) for one in fold_steps(plan))
    return Table(
        columns=(
            Column(title="HOSTS", narrowest=12),
            Column(title="WHAT", narrowest=24),
            Column(title="WHY", rank=1, narrowest=16),
        ),
        rows=rows,
        empty="nothing to do: everything is as it should be",
    )


def jobs_table(view: View, *, now_s: float) -> Table:
    """One row for each job, the latest last."""
    return Table(
        columns=(
            Column(title="JOB", right=True),
            Column(title="STATE"),
            Column(title="FOR", rank=3, right=True),
            Column(title="DONE", rank=2, right=True),
            Column(title="WHAT", narrowest=16),
            Column(title="DETAIL", rank=1, narrowest=16),
        ),
        rows=tuple(_job_rows(view, now_s)),
        empty="no jobs",
    )


def _job_rows(view: View, now_s: float) -> Iterator[tuple[Cell, ...]]:
    for number, job in sorted(view.jobs.items()):
        yield (
            Cell(str(number)),
            Cell(job.state.value, _JOB_STYLES[job.state]),
            Cell(ago((now_s if job.ended_s is None else job.ended_s) - job.started_s)),
            Cell(_progress(job)),
            Cell(job.title),
            Cell(job.detail),
        )


def _progress(job: JobView) -> str:
    return f"{job.done}/{job.total}" if job.total else str(job.done or "")


def size_words(size_bytes: int) -> str:
    """``512 B``, ``1.5 MiB``: three digits at most."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < _KIB:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= _KIB
    return f"{size:.0f} TiB" if size >= 10 else f"{size:.1f} TiB"
