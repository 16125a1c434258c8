"""Variables that are set at a prompt: for all, or for one host or process alone.

Law: a variable keeps its type, since templates were written for it, and a name that no part of the spec has is a misspelt one.
"""

from __future__ import annotations

import msgspec

from labtest.core.change_values import ChangeRefused, SetVariable, UnsetVariable, for_scope, shown
from labtest.core.checks import bad_value
from labtest.core.environment import Environment, Value
from labtest.core.lookup import find_host, find_process, replaced, with_process
from labtest.core.names import bad_variable_name, nearest

__all__ = [
    "known_variables",
    "parse_value",
    "set_variable",
    "unset_variable",
    "variables_of",
]


def parse_value(text: str, like: Value) -> Value:
    """What was typed, as a value of the type of ``like``. Raises :class:`ValueError` that says what is possible."""
    if isinstance(like, bool):
        if text not in ("true", "false"):
            raise ValueError(f"it must be true or false, and not {text!r}")
        return text == "true"
    if isinstance(like, str):
        return text
    kind, words = (int, "a whole number") if isinstance(like, int) else (float, "a number")
    try:
        value: Value = kind(text)
    except ValueError:
        raise ValueError(f"it must be {words}, and not {text!r}") from None
    if wrong := bad_value(value):
        raise ValueError(wrong)
    return value


def variables_of(environment: Environment, scope: str) -> dict[str, Value]:
    """What a scope gives values itself. Raises :class:`ChangeRefused`."""
    kind, _, name = scope.partition(":")
    if not scope:
        return environment.variables
    if kind == "host":
        return find_host(environment, name).variables
    if kind == "process":
        return find_process(environment, name).variables
    raise ChangeRefused(f"{scope!r} is nothing that has variables; write host:NAME or process:NAME")


def known_variables(environment: Environment, scope: str) -> dict[str, Value]:
    """Every variable that can be set there, with a value of its type: the scope's own, and those that it may override."""
    known: dict[str, Value] = {}
    if scope.startswith("process:"):
        for host in environment.hosts:
            known |= host.variables
    return known | environment.variables | variables_of(environment, scope)


def _with_variables(environment: Environment, scope: str, variables: dict[str, Value]) -> Environment:
    kind, _, name = scope.partition(":")
    if not scope:
        return msgspec.structs.replace(environment, variables=variables)
    if kind == "host":
        changed_host = msgspec.structs.replace(find_host(environment, name), variables=variables)
        return msgspec.structs.replace(environment, hosts=replaced(environment.hosts, changed_host))
    return with_process(
        environment, msgspec.structs.replace(find_process(environment, name), variables=variables)
    )


def set_variable(environment: Environment, change: SetVariable) -> Environment:
    """See :class:`SetVariable`. Raises :class:`ChangeRefused`."""
    known = known_variables(environment, change.scope)
    if change.name not in known:
        raise ChangeRefused(f"there is no variable {change.name!r}{nearest(change.name, known)}")
    value = _like(change.name, change.value, known[change.name])
    own = variables_of(environment, change.scope)
    if change.name in own and own[change.name] == value:
        raise ChangeRefused(f"{change.name} is {shown(value)}{for_scope(change.scope)} already", already=True)
    return _with_variables(environment, change.scope, own | {change.name: value})


def _like(name: str, value: Value, like: Value) -> Value:
    if isinstance(like, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(like):
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[type(like)]
        raise ChangeRefused(f"{name} is {shown(like)}, so it must be {kind}, and not {shown(value)}")
    if wrong := bad_variable_name(name) or bad_value(value):
        raise ChangeRefused(f"{name}: {wrong}")
    return value


def unset_variable(environment: Environment, change: UnsetVariable) -> Environment:
    """See :class:`UnsetVariable`. Raises :class:`ChangeRefused`."""
    own = variables_of(environment, change.scope)
    if not change.scope:
        raise ChangeRefused("a variable of the environment has a value always; set it to another")
    if change.name not in own:
        raise ChangeRefused(f"{change.name} has no value of its own{for_scope(change.scope)}", already=True)
    rest = {name: value for name, value in own.items() if name != change.name}
    return _with_variables(environment, change.scope, rest)
