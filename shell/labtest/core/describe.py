"""Plans in words: by host, in the order in which steps could be done, with the counts last.

Law: words only; what is said follows from the plan. Steps that nobody decides about (a health check behind a start, ``daemon-reload``) are
counted and not listed, so that what is listed can be read. The machine-readable form of a plan is the plan: :mod:`msgspec` encodes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from labtest.core.plan import Planned
from labtest.core.steps import (
    Action,
    CheckHealth,
    Forget,
    InstallRelease,
    Plan,
    PutFile,
    Reload,
    ReloadManager,
    RemoveFile,
    RemoveRelease,
    Restart,
    Start,
    Step,
    Stop,
    SwitchRelease,
)

__all__ = ["action_title", "describe"]

_QUIET = (CheckHealth, ReloadManager, Forget, InstallRelease)
#: Type of action to a word for one and for many.
_COUNTED: dict[type, tuple[str, str]] = {
    PutFile: ("file written", "files written"),
    RemoveFile: ("file removed", "files removed"),
    InstallRelease: ("release installed", "releases installed"),
    SwitchRelease: ("release switched", "releases switched"),
    RemoveRelease: ("release removed", "releases removed"),
    Start: ("start", "starts"),
    Restart: ("restart", "restarts"),
    Reload: ("reload", "reloads"),
    Stop: ("stop", "stops"),
    CheckHealth: ("health check", "health checks"),
}


def action_title(action: Action) -> str:
    """What an action does, in a few words."""
    match action:
        case PutFile(file):
            return f"{'replace' if action.replaces_sha256 else 'write'} {file.path}"
        case RemoveFile(path):
            return f"remove {path}"
        case InstallRelease(release):
            return f"install release {release.name} {release.version}"
        case SwitchRelease(release):
            return f"switch release {release.name} to {release.version}"
        case RemoveRelease(name, _, version):
            return f"remove release {name} {version}".rstrip()
        case ReloadManager():
            return "have systemd read its units"
        case Start(process) | Restart(process) | Reload(process):
            return f"{type(action).__name__.lower()} {process.process}"
        case CheckHealth(process):
            return f"wait until {process.process} is healthy"
        case Stop(process) | Forget(process):
            return f"{type(action).__name__.lower()} {process}"


def describe(planned: Planned | Plan) -> list[str]:
    """Lines for people. A plan without steps is one line."""
    plan, held = (planned, {}) if isinstance(planned, Plan) else (planned.plan, planned.held)
    lines: list[str] = []
    for host in sorted({step.host for step in plan.steps}):
        steps = [step for step in plan.steps if step.host == host and not isinstance(step.action, _QUIET)]
        if not steps:
            steps = [step for step in plan.steps if step.host == host]
        titles = [(_sign(step.action), action_title(step.action), _reason(step)) for step in steps]
        width = max(len(title) for _, title, _ in titles)
        lines.append(host)
        lines += [f"  {sign} {title:<{width}}  {reason}".rstrip() for sign, title, reason in titles]
    lines += _left_out(plan, held)
    lines.append(_counts(plan))
    return lines


def _reason(step: Step) -> str:
    """Why, without what its title says already."""
    if not isinstance(step.action, PutFile):
        return step.reason
    why = step.reason.removeprefix(f"{step.action.file.path} ")
    return "" if why == "is not there" else why


def _sign(action: Action) -> str:
    """``+`` something comes, ``-`` something goes, ``~`` something changes."""
    if isinstance(action, (RemoveFile, RemoveRelease, Stop, Forget)):
        return "-"
    is_new = isinstance(action, (Start, InstallRelease)) or (
        isinstance(action, PutFile) and not action.replaces_sha256
    )
    return "+" if is_new or (isinstance(action, SwitchRelease) and not action.replaces) else "~"


def _left_out(plan: Plan, held: Mapping[tuple[str, str], str]) -> list[str]:
    lines = [f"left as it is: {unit} on {host}: {reason}" for (host, unit), reason in sorted(held.items())]
    if plan.unreachable:
        lines.append(f"no answer, so nothing is done there: {', '.join(plan.unreachable)}")
    return lines


def _counts(plan: Plan) -> str:
    if not plan.steps:
        return "nothing to do"
    counts = Counter(type(step.action) for step in plan.steps)
    words = [f"{counts[kind]} {names[counts[kind] > 1]}" for kind, names in _COUNTED.items() if counts[kind]]
    hosts = len({step.host for step in plan.steps})
    said = ", ".join(words) if words else f"{len(plan.steps)} steps"
    return f"{said} on {hosts} {'hosts' if hosts > 1 else 'host'}"
