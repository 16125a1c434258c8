"""Changes of an environment that are made at a prompt: each is a value that makes another environment of one.

Law: a change is applied to a value and gives a value; the environment before it is still there, and is what a rollback goes to. What a change
does follows from the two alone. A change that would do nothing is refused like one that is impossible (``already`` tells them apart), so a
prompt never answers "done" to what did not happen.

What was decided: hosts are taken out only when nothing runs there and no tool needs them (a change that silently took processes along would hide what
it stops). The last instance of a process can be taken out, unless processes that start after it still run; the process stays known, and can be added
again. An instance that is moved stays stopped if it was. A group cannot be made at the prompt: a misspelt one would be a new one.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from labtest.core.change_values import (
    AddHost,
    AddInstance,
    Change,
    ChangeRefused,
    MoveProcess,
    RemoveHost,
    RemoveInstance,
    SetVariable,
    StartInstance,
    StopInstance,
    SwapRelease,
    UnsetVariable,
    describe,
)
from labtest.core.environment import Environment, ProcessSpec
from labtest.core.host_changes import add_host, remove_host
from labtest.core.lookup import (
    find_host,
    find_process,
    find_process_on,
    find_release,
    inserted,
    next_of,
    replaced,
    with_process,
)
from labtest.core.names import spell_list
from labtest.core.rendered_checks import bad_version
from labtest.core.variables import parse_value, set_variable, unset_variable, variables_of

__all__ = [
    "AddHost",
    "AddInstance",
    "Change",
    "ChangeRefused",
    "MoveProcess",
    "RemoveHost",
    "RemoveInstance",
    "SetVariable",
    "StartInstance",
    "StopInstance",
    "SwapRelease",
    "UnsetVariable",
    "apply",
    "describe",
    "inverse",
    "parse_value",
]


def apply(environment: Environment, changes: Iterable[Change]) -> Environment:
    """The environment after the changes, one after the other. Raises :class:`ChangeRefused` at the first that cannot be made."""
    for change in changes:
        environment = _applied(environment, change)
    return environment


def _applied(environment: Environment, change: Change) -> Environment:
    match change:
        case SetVariable():
            return set_variable(environment, change)
        case UnsetVariable():
            return unset_variable(environment, change)
        case SwapRelease():
            return _swap_release(environment, change)
        case MoveProcess():
            return _move_process(environment, change)
        case AddInstance():
            return _add_instance(environment, change)
        case RemoveInstance():
            return _remove_instance(environment, change)
        case StopInstance():
            return _stop_instance(environment, change)
        case StartInstance():
            return _start_instance(environment, change)
        case AddHost():
            return add_host(environment, change)
        case RemoveHost():
            return remove_host(environment, change)


def inverse(environment: Environment, change: Change) -> tuple[Change, ...]:
    """What takes a change back that is made to this environment. Raises :class:`ChangeRefused` if it cannot be made."""
    apply(environment, (change,))
    match change:
        case SetVariable() | UnsetVariable():
            before = variables_of(environment, change.scope).get(change.name)
            if before is None:
                return (UnsetVariable(change.name, change.scope),)
            return (SetVariable(change.name, before, change.scope),)
        case SwapRelease():
            return (SwapRelease(change.release, find_release(environment, change.release).version),)
        case MoveProcess():
            return (MoveProcess(change.process, change.to_host, change.from_host),)
        case AddInstance():
            return (RemoveInstance(change.process, change.host),)
        case RemoveInstance():
            return _put_back(find_process(environment, change.process), change.host)
        case StopInstance():
            return (StartInstance(change.process, change.host),)
        case StartInstance():
            return (StopInstance(change.process, change.host),)
        case AddHost():
            return (RemoveHost(change.host.name),)
        case RemoveHost():
            return (_add_again(environment, change.name),)


def _put_back(process: ProcessSpec, host: str) -> tuple[Change, ...]:
    added = AddInstance(process.name, host, next_of(process.hosts, host))
    return (added, StopInstance(process.name, host)) if host in process.stopped_on else (added,)


def _add_again(environment: Environment, name: str) -> AddHost:
    return AddHost(
        host=find_host(environment, name),
        before=next_of([host.name for host in environment.hosts], name),
        files=tuple(file.name for file in environment.files if name in file.hosts),
        releases=tuple(release.name for release in environment.releases if name in release.hosts),
    )


def _swap_release(environment: Environment, change: SwapRelease) -> Environment:
    release = find_release(environment, change.release)
    if wrong := bad_version(change.version):
        raise ChangeRefused(wrong)
    if release.version == change.version:
        raise ChangeRefused(f"{release.name} has version {change.version} already", already=True)
    changed = msgspec.structs.replace(release, version=change.version)
    return msgspec.structs.replace(environment, releases=replaced(environment.releases, changed))


def _move_process(environment: Environment, change: MoveProcess) -> Environment:
    process = find_process_on(environment, change.process, change.from_host)
    find_host(environment, change.to_host)
    if change.from_host == change.to_host:
        raise ChangeRefused(f"{process.name} is on {change.to_host} already", already=True)
    if change.to_host in process.hosts:
        raise ChangeRefused(
            f"{process.name} runs on {change.to_host} too; take it from {change.from_host} with `remove` instead"
        )
    hosts = tuple(change.to_host if host == change.from_host else host for host in process.hosts)
    stopped = {change.to_host if host == change.from_host else host for host in process.stopped_on}
    return _with_hosts(environment, process, hosts, stopped)


def _add_instance(environment: Environment, change: AddInstance) -> Environment:
    process = find_process(environment, change.process)
    find_host(environment, change.host)
    if change.host in process.hosts:
        raise ChangeRefused(f"{process.name} is on {change.host} already", already=True)
    for name in process.after:
        if not find_process(environment, name).hosts:
            raise ChangeRefused(f"{process.name} starts after {name}, which runs on no host; add that first")
    return _with_hosts(
        environment, process, inserted(process.hosts, change.host, change.before), process.stopped_on
    )


def _remove_instance(environment: Environment, change: RemoveInstance) -> Environment:
    process = find_process_on(environment, change.process, change.host)
    if len(process.hosts) == 1:
        waiting = [
            other.name for other in environment.processes if process.name in other.after and other.hosts
        ]
        if waiting:
            raise ChangeRefused(
                f"{change.host} is the last host of {process.name}, and {spell_list(waiting)} "
                f"start{'s' if len(waiting) == 1 else ''} after it; move it, or remove "
                f"{'that' if len(waiting) == 1 else 'those'} first"
            )
    rest = tuple(host for host in process.hosts if host != change.host)
    return _with_hosts(environment, process, rest, process.stopped_on)


def _stop_instance(environment: Environment, change: StopInstance) -> Environment:
    process = find_process_on(environment, change.process, change.host)
    if change.host in process.stopped_on:
        raise ChangeRefused(f"{process.name} on {change.host} is stopped already", already=True)
    return _with_hosts(environment, process, process.hosts, {*process.stopped_on, change.host})


def _start_instance(environment: Environment, change: StartInstance) -> Environment:
    process = find_process_on(environment, change.process, change.host)
    if change.host not in process.stopped_on:
        raise ChangeRefused(f"{process.name} on {change.host} is not stopped", already=True)
    return _with_hosts(environment, process, process.hosts, {*process.stopped_on} - {change.host})


def _with_hosts(
    environment: Environment, process: ProcessSpec, hosts: tuple[str, ...], stopped: Iterable[str]
) -> Environment:
    wanted = set(stopped)
    return with_process(
        environment,
        msgspec.structs.replace(
            process, hosts=hosts, stopped_on=tuple(host for host in hosts if host in wanted)
        ),
    )
