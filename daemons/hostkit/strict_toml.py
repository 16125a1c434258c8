"""Strict TOML files: what is not understood is an error that names file and line, and what was probably meant.

Law: the shape of a file is a ``msgspec.Struct``; nothing of it is said twice. A misspelt key that is silently ignored runs a daemon otherwise than
its operator believes, so unknown keys are errors on every level, also where a table has names of the operator's own (``dict[str, Struct]``).
"""

from __future__ import annotations

import difflib
import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar, Union

import msgspec

from hostkit.toml_lines import KeyPath, line_of

__all__ = ["StrictTomlError", "parse_toml", "read_toml"]

_T = TypeVar("_T")
_PATH_PART = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class StrictTomlError(ValueError):
    """The file's author's move. ``line`` is 1-based; None where no line is at fault."""

    def __init__(self, source: str, line: int | None, problem: str) -> None:
        self.source = source
        self.line = line
        self.problem = problem
        super().__init__(f"{source}:{line}: {problem}" if line else f"{source}: {problem}")


def read_toml(path: Path, shape: type[_T]) -> _T:
    """Reads a file of this shape. Raises :class:`StrictTomlError`, also where the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StrictTomlError(str(path), None, "there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StrictTomlError(str(path), None, f"cannot be read: {error}") from error
    return parse_toml(text, shape, str(path))


def parse_toml(text: str, shape: type[_T], source: str) -> _T:
    """The value of a document of this shape; ``source`` is what messages call it. Raises :class:`StrictTomlError`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"\(at line (\d+)", str(error))
        raise StrictTomlError(
            source, int(match.group(1)) if match else None, f"is not TOML: {error}"
        ) from None
    unknown = _unknown_key(document, shape, ())
    if unknown is not None:
        path, names = unknown
        raise StrictTomlError(source, line_of(text, path), _unknown_text(path, names))
    try:
        return msgspec.convert(document, shape, strict=True)
    except msgspec.ValidationError as error:
        problem, path = _located(document, shape, ()) or _split(str(error))
        where = ".".join(str(part) for part in path)
        raise StrictTomlError(
            source, line_of(text, path), f"{where}: {problem}" if where else problem
        ) from None


def _unknown_key(value: Any, shape: Any, path: KeyPath) -> tuple[KeyPath, list[str]] | None:
    """The first key that the shape does not have, with those that it does."""
    origin = typing.get_origin(shape)
    if origin in (Union, types.UnionType):
        shapes = [one for one in typing.get_args(shape) if one is not type(None)]
        return _unknown_key(value, shapes[0], path) if len(shapes) == 1 else None
    if isinstance(value, dict) and isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        fields = {one.encode_name: one.type for one in msgspec.structs.fields(shape)}
        for key, item in value.items():
            if key not in fields:
                return (*path, key), sorted(fields)
            found = _unknown_key(item, fields[key], (*path, key))
            if found is not None:
                return found
        return None
    arguments = typing.get_args(shape)
    if isinstance(value, dict) and origin is dict:
        return _first(((*path, key), item, arguments[1]) for key, item in value.items())
    if isinstance(value, list) and origin in (list, tuple, frozenset, set) and arguments:
        return _first(((*path, index), item, arguments[0]) for index, item in enumerate(value))
    return None


def _first(items: Any) -> tuple[KeyPath, list[str]] | None:
    for path, item, shape in items:
        found = _unknown_key(item, shape, path)
        if found is not None:
            return found
    return None


def _unknown_text(path: KeyPath, names: list[str]) -> str:
    key = str(path[-1])
    near = difflib.get_close_matches(key, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(names)}"
    return f"unknown key {'.'.join(str(part) for part in path)!r}{hint}"


def _located(value: Any, shape: Any, path: KeyPath) -> tuple[str, KeyPath] | None:
    """Problem and place of what is wrong within tables whose names are the author's own, which msgspec's messages do not tell."""
    if not (isinstance(value, dict) and isinstance(shape, type) and issubclass(shape, msgspec.Struct)):
        return None
    for field in msgspec.structs.fields(shape):
        item = value.get(field.encode_name)
        if not isinstance(item, dict) or typing.get_origin(field.type) is not dict:
            continue
        inner = typing.get_args(field.type)[1]
        for key, entry in item.items():
            try:
                msgspec.convert(entry, inner, strict=True)
            except msgspec.ValidationError as error:
                problem, rest = _split(str(error))
                return problem, (*path, field.encode_name, key, *rest)
    return None


def _split(message: str) -> tuple[str, KeyPath]:
    """Problem and place of one of msgspec's messages: ``Expected `int`, got `str` - at `$.venue[0].port```."""
    problem, found, place = message.rpartition(" - at `$")
    if not found:
        return message.replace("`", "'"), ()
    path: list[str | int] = []
    for name, index in _PATH_PART.findall(place.rstrip("`")):
        if name:
            path.append(name)
        elif index.isdigit():
            path.append(int(index))
    return problem.replace("`", "'"), tuple(path)
