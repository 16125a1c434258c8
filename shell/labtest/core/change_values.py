"""Changes of an environment that are made at a prompt, as values.

Law: a change says what is wanted, not how to get there; what is to be done on hosts comes from comparing targets. It holds names and values
only, so it can be shown, kept in a journal as JSON, and applied again to an environment that is another by now. What each does is in
:mod:`labtest.core.changes`.
"""

from __future__ import annotations

import msgspec

from labtest.core.environment import HostSpec, Value
from labtest.core.names import spell_list
from labtest.errors import LabError

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
    "describe",
    "for_scope",
    "shown",
]


class ChangeRefused(LabError):
    """A change that cannot be made, and why. ``already``: everything is as it asks for, so there is nothing to do."""

    exit_code = 2

    def __init__(self, problem: str, *, already: bool = False) -> None:
        self.already = already
        super().__init__(problem)


class SetVariable(msgspec.Struct, frozen=True, tag="set-variable"):
    """Gives a variable a value. It must be known, and the value of its type."""

    name: str
    value: Value
    #: Empty: the environment's; ``host:NAME``, ``process:NAME``: for these alone.
    scope: str = ""


class UnsetVariable(msgspec.Struct, frozen=True, tag="unset-variable"):
    """Takes away what a variable is for a host or process alone, so that the wider value counts again."""

    name: str
    scope: str


class SwapRelease(msgspec.Struct, frozen=True, tag="swap-release"):
    """Puts another version of a release in use, on all its hosts."""

    release: str
    version: str


class MoveProcess(msgspec.Struct, frozen=True, tag="move-process"):
    """Lets an instance run on another host instead. Stopped stays stopped."""

    process: str
    from_host: str
    to_host: str


class AddInstance(msgspec.Struct, frozen=True, tag="add-instance"):
    """Lets a process run on one more host."""

    process: str
    host: str
    #: Host before which it comes in the process's list (the first of which is its address); empty, or not there: the end.
    before: str = ""


class RemoveInstance(msgspec.Struct, frozen=True, tag="remove-instance"):
    """Takes a process from a host."""

    process: str
    host: str


class StopInstance(msgspec.Struct, frozen=True, tag="stop-instance"):
    """An instance shall stay where it is, and not run."""

    process: str
    host: str


class StartInstance(msgspec.Struct, frozen=True, tag="start-instance"):
    """A stopped instance shall run again."""

    process: str
    host: str


class AddHost(msgspec.Struct, frozen=True, tag="add-host"):
    """Adds a host; nothing runs there yet."""

    host: HostSpec
    #: Host before which it comes in lists; empty, or not there: the end.
    before: str = ""
    #: Names of files and releases that it has whatever runs there.
    files: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()


class RemoveHost(msgspec.Struct, frozen=True, tag="remove-host"):
    """Takes a host out on which nothing runs."""

    name: str


#: All of them: ``msgspec.json.decode(raw, type=tuple[Change, ...])``.
Change = (
    SetVariable
    | UnsetVariable
    | SwapRelease
    | MoveProcess
    | AddInstance
    | RemoveInstance
    | StopInstance
    | StartInstance
    | AddHost
    | RemoveHost
)


def describe(change: Change) -> str:
    """A change in a few words, as a list of pending changes shows it."""
    match change:
        case SetVariable(name, value, scope):
            return f"set {name} = {shown(value)}{for_scope(scope)}"
        case UnsetVariable(name, scope):
            return f"unset {name}{for_scope(scope)}"
        case SwapRelease(release, version):
            return f"swap {release} to version {version}"
        case MoveProcess(process, from_host, to_host):
            return f"move {process} from {from_host} to {to_host}"
        case AddInstance(process, host):
            return f"add {process} on {host}"
        case RemoveInstance(process, host):
            return f"remove {process} from {host}"
        case StopInstance(process, host):
            return f"stop {process} on {host}"
        case StartInstance(process, host):
            return f"start {process} on {host}"
        case AddHost(host):
            groups = f" (in {spell_list(host.groups)})" if host.groups else ""
            return f"add host {host.name}{groups}"
        case RemoveHost(name):
            return f"remove host {name}"


def shown(value: Value) -> str:
    """A value as messages show it: text in quotes."""
    return msgspec.json.encode(value).decode()


def for_scope(scope: str) -> str:
    """Whom a variable is for, as messages say it: `` for host cache2``; empty for all."""
    return f" for {scope.replace(':', ' ')}" if scope else ""
