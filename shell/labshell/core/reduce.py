"""The next view, from the one before and an event.

Law: :func:`reduce` is the only way a view comes about. It is a function: the same view and event give the same view, and the one before stays as it
was. Only what an event is about is made anew, the rest is shared, so that an event costs no more than the list of hosts is long. Events of hosts,
steps and jobs that the view does not have change nothing, and the *same* view comes back: whoever draws can see by identity that there is nothing
to draw. An ended job or plan never runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from labshell.core import events
from labshell.core.limits import HEARD_STEP_S, JOBS_KEPT_MAX
from labshell.core.state import HostView, JobState, JobView, PlanProgress, RunningStep, View
from labshell.core.text import one_line
from labtest.hosts.interface import LinkState

__all__ = ["reduce"]

_replace = msgspec.structs.replace


def reduce(view: View, event: events.Event) -> View:
    """The view after an event."""
    return _REDUCERS[type(event)](view, event)


def _environment(view: View, event: events.EnvironmentChanged) -> View:
    hosts = {
        one.name: view.hosts.get(one.name) or HostView(since_s=event.at_s) for one in event.environment.hosts
    }
    return _replace(view, environment=event.environment, pending=event.pending, hosts=hosts)


def _with_host(view: View, name: str, host: HostView) -> View:
    return view if host is view.hosts.get(name) else _replace(view, hosts={**view.hosts, name: host})


def _heard(host: HostView, at_s: float) -> HostView:
    """The host after a sign of it; one that comes soon after another changes nothing."""
    if host.heard_s is not None and at_s - host.heard_s < HEARD_STEP_S:
        return host
    return _replace(host, heard_s=at_s)


def _link(view: View, event: events.LinkChanged) -> View:
    host = view.hosts.get(event.host)
    if host is None:
        return view
    reason = one_line(event.reason)
    if event.state is host.link:
        return view if reason == host.reason else _with_host(view, event.host, _replace(host, reason=reason))
    changed = _replace(host, link=event.state, since_s=event.at_s, reason=reason)
    if event.state is LinkState.UP:
        # What it said before the connection was lost is of another time: the agent tells all of it again.
        changed = _replace(changed, heard_s=event.at_s, units={})
    return _with_host(view, event.host, changed)


def _host_heard(view: View, event: events.Heard) -> View:
    host = view.hosts.get(event.host)
    return view if host is None else _with_host(view, event.host, _heard(host, event.at_s))


def _units(view: View, event: events.UnitsReported) -> View:
    host = view.hosts.get(event.host)
    if host is None:
        return view
    units = dict(event.units) if event.whole else {**host.units, **event.units}
    if units != host.units:
        host = _replace(host, units=units, heard_s=_later(host.heard_s, event.at_s))
    return _with_host(view, event.host, _heard(host, event.at_s))


def _later(before_s: float | None, at_s: float) -> float:
    return at_s if before_s is None else max(before_s, at_s)


def _versions(view: View, event: events.VersionsReported) -> View:
    host = view.hosts.get(event.host)
    if host is None:
        return view
    if host.versions != event.versions:
        host = _replace(host, versions=dict(event.versions))
    return _with_host(view, event.host, _heard(host, event.at_s))


def _plan_started(view: View, event: events.PlanStarted) -> View:
    return _replace(view, plan=PlanProgress(title=event.title, steps=event.steps, started_s=event.at_s))


def _with_plan(view: View, change: Callable[[PlanProgress], PlanProgress]) -> View:
    if view.plan is None or view.plan.ended_s is not None:
        return view
    plan = change(view.plan)
    return view if plan is view.plan else _replace(view, plan=plan)


def _step_started(view: View, event: events.StepStarted) -> View:
    step = RunningStep(event.host, one_line(event.text), event.at_s)
    return _with_plan(view, lambda plan: _replace(plan, running={**plan.running, event.step: step}))


def _step_ended(view: View, event: events.StepEnded) -> View:
    def end(plan: PlanProgress) -> PlanProgress:
        if event.step not in plan.running:
            return plan
        running = {step: one for step, one in plan.running.items() if step != event.step}
        if event.ok:
            return _replace(plan, running=running, done=plan.done + 1)
        host = plan.running[event.step].host
        problem = plan.problem or f"{host}: {one_line(event.problem)}"
        return _replace(plan, running=running, failed=plan.failed + 1, problem=problem)

    return _with_plan(view, end)


def _plan_ended(view: View, event: events.PlanEnded) -> View:
    outcome = one_line(event.outcome)
    return _with_plan(
        view, lambda plan: _replace(plan, running={}, ended_s=event.at_s, outcome=outcome, ok=event.ok)
    )


def _job_started(view: View, event: events.JobStarted) -> View:
    if event.job in view.jobs:
        return view
    job = JobView(title=one_line(event.title), started_s=event.at_s, total=event.total)
    return _replace(view, jobs=_kept({**view.jobs, event.job: job}))


def _kept(jobs: Mapping[int, JobView]) -> Mapping[int, JobView]:
    """Without the oldest of those that have ended, if there are too many."""
    ended = sorted((one.ended_s, job) for job, one in jobs.items() if one.ended_s is not None)
    gone = {job for _, job in ended[: max(0, len(ended) - JOBS_KEPT_MAX)]}
    return {job: one for job, one in jobs.items() if job not in gone} if gone else jobs


def _job_progress(view: View, event: events.JobProgress) -> View:
    job = view.jobs.get(event.job)
    if job is None or job.state is not JobState.RUNNING:
        return view
    detail = one_line(event.detail)
    changed = _replace(job, done=event.done, total=event.total, detail=detail)
    return view if changed == job else _replace(view, jobs={**view.jobs, event.job: changed})


def _job_ended(view: View, event: events.JobEnded) -> View:
    job = view.jobs.get(event.job)
    if job is None or job.state is not JobState.RUNNING or event.state is JobState.RUNNING:
        return view
    changed = _replace(job, state=event.state, detail=one_line(event.detail), ended_s=event.at_s)
    return _replace(view, jobs=_kept({**view.jobs, event.job: changed}))


def _lock(view: View, event: events.LockChanged) -> View:
    return view if event.holder == view.locked_by else _replace(view, locked_by=event.holder)


def _interrupted(view: View, event: events.InterruptedChanged) -> View:
    return view if event.text == view.interrupted else _replace(view, interrupted=event.text)


_REDUCERS: Mapping[type, Callable[[View, Any], View]] = {
    events.EnvironmentChanged: _environment,
    events.LinkChanged: _link,
    events.Heard: _host_heard,
    events.UnitsReported: _units,
    events.VersionsReported: _versions,
    events.PlanStarted: _plan_started,
    events.StepStarted: _step_started,
    events.StepEnded: _step_ended,
    events.PlanEnded: _plan_ended,
    events.JobStarted: _job_started,
    events.JobProgress: _job_progress,
    events.JobEnded: _job_ended,
    events.LockChanged: _lock,
    events.InterruptedChanged: _interrupted,
}
