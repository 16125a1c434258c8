"""Steps of a plan in words.

Law: one short line for each kind of action, in the imperative, without its host (the column beside it has that), so that equal work on many hosts
is one row."""

from __future__ import annotations

import msgspec

from labshell.core.fold import fold_hosts
from labshell.core.text import one_line
from labtest.core import steps

__all__ = ["FoldedSteps", "action_words", "fold_steps"]


def action_words(action: steps.Action) -> str:
    """What an action does: ``restart cashy-master``, ``write /etc/aviary/cashy.toml``."""
    match action:
        case steps.PutFile(file=file, replaces_sha256=before):
            return f"{'replace' if before else 'write'} {file.path}"
        case steps.RemoveFile(path=path):
            return f"remove {path}"
        case steps.InstallRelease(release=release):
            return f"install {release.name} {release.version}"
        case steps.SwitchRelease(release=release, replaces=before):
            return f"switch {release.name} {f'from {before} ' if before else ''}to {release.version}"
        case steps.RemoveRelease(name=name, version=version):
            return f"remove {name} {version}".rstrip()
        case steps.ReloadManager():
            return "have systemd read its units again"
        case steps.Stop(process=process):
            return f"stop {process}"
        case steps.Start(process=target):
            return f"start {target.process}"
        case steps.Restart(process=target):
            return f"restart {target.process}"
        case steps.Reload(process=target):
            return f"reload {target.process}"
        case steps.CheckHealth(process=target):
            return f"wait until {target.process} is healthy"
        case steps.Forget(process=process):
            return f"forget {process}"


class FoldedSteps(msgspec.Struct, frozen=True):
    """Steps that do the same for the same reason on several hosts."""

    hosts: str
    count: int
    what: str
    why: str


def fold_steps(plan: steps.Plan) -> list[FoldedSteps]:
    """The plan's steps, equal ones of different hosts together, in the order of the first of each."""
    found: dict[tuple[str, str], list[str]] = {}
    for step in plan.steps:
        found.setdefault((action_words(step.action), one_line(step.reason)), []).append(step.host)
    return [FoldedSteps(fold_hosts(hosts), len(hosts), what, why) for (what, why), hosts in found.items()]
