"""The table of all commands. Parser, inference, completion, help and the reference page derive from it.

Law: what the shell understands is this table and nothing else. A command that is not here does not exist; what its parameters can be is said here,
in terms of kinds, and found by whoever knows the environment (:mod:`labshell.core.choices`). What carries it out is bound by its name elsewhere, and
a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from labshell.core.commands_change import ENVIRONMENT, PLAN, PROCESSES
from labshell.core.commands_hosts import DEBUGGERS, HOSTS
from labshell.core.commands_look import LOOK, PRIORITIES, SHELL
from labshell.core.declare import CLOSED, Command, Example, Group, Option, Parameter, ParameterKind

__all__ = [
    "CLOSED",
    "COMMANDS",
    "Command",
    "DEBUGGERS",
    "Example",
    "Group",
    "Option",
    "PRIORITIES",
    "Parameter",
    "ParameterKind",
    "find_command",
    "usage",
    "value_name",
]

#: Name to command, in the order of help.
COMMANDS: Mapping[str, Command] = MappingProxyType(
    {one.name: one for one in (*LOOK, *PROCESSES, *ENVIRONMENT, *PLAN, *HOSTS, *SHELL)}
)


def find_command(name: str, commands: Mapping[str, Command] = COMMANDS) -> Command | None:
    """The command with this name or alias. Names are not abbreviated: a later command would change what the abbreviation means."""
    found = commands.get(name)
    if found is not None:
        return found
    return next((one for one in commands.values() if name in one.aliases), None)


def usage(command: Command) -> str:
    """One line: ``move PROCESS FROM TO``, ``run [--on HOSTS] [--timeout DURATION] ARGV…``."""
    return " ".join([command.name, *_option_usages(command), *_parameter_usages(command)])


def _option_usages(command: Command) -> Iterator[str]:
    for one in command.options:
        name = f"-{one.short}|--{one.name}" if one.short else f"--{one.name}"
        yield f"[{name}]" if one.kind is None else f"[{name} {value_name(one.parameter)}]"


def _parameter_usages(command: Command) -> Iterator[str]:
    for one in command.parameters:
        text = one.name.upper() + ("…" if one.many or one.kind is ParameterKind.ARGV else "")
        yield f"[{text}]" if one.optional else text


def value_name(parameter: Parameter) -> str:
    """What stands for a value in help: its words, or the kind of it."""
    words = "|".join(parameter.words)
    if parameter.kind is ParameterKind.WORD:
        return words
    kind = "TIME" if parameter.kind is ParameterKind.SINCE else parameter.kind.value.upper().replace("-", "_")
    return f"{kind}|{words}" if words else kind
