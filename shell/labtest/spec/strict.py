"""Checks a document against the classes of :mod:`labtest.spec.sections`, and finds all that is wrong in one pass.

:mod:`hostkit.strict_toml` ends at the first mistake of one file, which is right for a daemon's settings. A spec is longer, is merged from several
files, and an overlay may leave out what a spec may not.
"""

from __future__ import annotations

import enum
import re
import types
import typing
from typing import Any, Union

import msgspec

from labtest.core.names import nearest, spell_list
from labtest.core.problems import Place, Problem

__all__ = ["shape_problems"]

_KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "datetime": "a date and time",
    "date": "a date",
    "time": "a time of day",
    "null": "nothing",
}
_EXPECTED = re.compile(r"Expected `(.+?)`, got `(.+?)`")
_VARIABLE = "bool | int | float | str"
_MENDED = {
    ("str", "int"): "; put it in quotes",
    ("str", "float"): "; put it in quotes",
    ("str", "bool"): "; put it in quotes",
    ("int", "str"): "; leave the quotes out",
    ("float", "str"): "; leave the quotes out",
    ("bool", "str"): "; leave the quotes out",
    ("array", "str"): "; put it in brackets",
}


def shape_problems(value: Any, shape: Any, *, is_overlay: bool = False) -> list[Problem]:
    """All that does not fit: unknown and missing keys, and values of the wrong type. An overlay misses nothing."""
    found: list[Problem] = []
    _check(value, shape, (), found, is_overlay)
    return found


def _check(value: Any, shape: Any, place: Place, found: list[Problem], is_overlay: bool) -> None:
    section = _section(shape)
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if isinstance(value, dict) and section is not None:
        _check_table(value, section, place, found, is_overlay)
    elif isinstance(value, dict) and origin is dict:
        for key, item in value.items():
            _check(item, arguments[1], (*place, key), found, is_overlay)
    elif isinstance(value, list) and origin is tuple:
        for index, item in enumerate(value):
            # What is in a list is there as a whole: overlays replace lists.
            _check(item, arguments[0], (*place, index), found, False)
    else:
        _check_value(value, shape, place, found)


def _check_table(
    value: dict[str, Any], section: type[msgspec.Struct], place: Place, found: list[Problem], is_overlay: bool
) -> None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(section)}
    for key, item in value.items():
        if key not in fields:
            found.append(
                Problem((*place, key), f"this key is unknown{_hint(key, list(fields), 'known are')}")
            )
        else:
            _check(item, fields[key].type, (*place, key), found, is_overlay)
    if not is_overlay:
        for name, field in fields.items():
            if field.required and name not in value:
                found.append(Problem(place, f"the key {name!r} is missing"))


def _hint(name: str, known: list[str], otherwise: str) -> str:
    hint = nearest(name, known)
    return hint if "did you mean" in hint else f"; {otherwise} {spell_list(known)}"


def _check_value(value: Any, shape: Any, place: Place, found: list[Problem]) -> None:
    if isinstance(value, str) and "\0" in value:
        found.append(Problem(place, "it has a character 0, which nothing on a host can take"))
    try:
        msgspec.convert(value, shape, strict=True)
    except msgspec.ValidationError as error:
        found.append(_value_problem(value, shape, place, str(error)))


def _value_problem(value: Any, shape: Any, place: Place, message: str) -> Problem:
    if isinstance(shape, type) and issubclass(shape, enum.Enum) and isinstance(value, str):
        known = [str(member.value) for member in shape]
        return Problem(place, f"it cannot be {value!r}{_hint(value, known, 'possible are')}")
    match = _EXPECTED.match(message)
    if match is None:
        return Problem(place, message.replace("`", "'"))
    wanted, found = match.group(1), match.group(2)
    return Problem(
        place, f"it must be {_words(wanted)}, and is {_words(found)}{_MENDED.get((wanted, found), '')}"
    )


def _words(kinds: str) -> str:
    if kinds == _VARIABLE:
        return "text, a number, or true or false"
    return " or ".join(_KINDS.get(kind, kind) for kind in kinds.split(" | "))


def _section(shape: Any) -> type[msgspec.Struct] | None:
    """The class of a table, also where a text may stand for one."""
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        return shape
    if typing.get_origin(shape) in (Union, types.UnionType):
        return next(filter(None, map(_section, typing.get_args(shape))), None)
    return None
