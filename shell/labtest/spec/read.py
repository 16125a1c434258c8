"""Reads a spec: file, overlays, variables; then shape, names, and a trial of every template. Whatever is wrong is told with file and line.

Each stage needs the one before, so problems are told stage by stage, and within one all at once. What has passed can be deployed, as far as that can
be known without a host: the one thing left is an address that is not known before a host is booted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from labtest.core.changes import parse_value
from labtest.core.checks import check
from labtest.core.environment import Environment, Value
from labtest.core.names import bad_name, nearest
from labtest.core.problems import PROBLEMS_SHOWN_MAX, Place, Problem, spelt
from labtest.core.resolve import problems_of
from labtest.errors import SpecError
from labtest.spec.build import build_environment
from labtest.spec.documents import Document, read_document
from labtest.spec.sections import Spec
from labtest.spec.sources import Sources
from labtest.spec.strict import shape_problems

__all__ = ["SpecErrors", "read_environment"]

_OVERLAYS = "overlays"


class SpecErrors(SpecError):
    """Several problems. ``source``, ``line`` and ``problem`` are those of the first."""

    def __init__(self, problems: Sequence[SpecError]) -> None:
        self.problems = tuple(problems)
        super().__init__(problems[0].source, problems[0].line, problems[0].problem)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems[:PROBLEMS_SHOWN_MAX]]
        if len(self.problems) > PROBLEMS_SHOWN_MAX:
            lines.append(f"and {len(self.problems) - PROBLEMS_SHOWN_MAX} more")
        return "\n".join(lines)


def read_environment(
    path: Path, *, overlays: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> Environment:
    """The environment that the spec at ``path`` describes.

    ``overlays`` are laid over it in this order. ``variables`` are values for variables of the environment, as typed; each must be known, and is
    taken as what the variable is. Raises :class:`~labtest.errors.SpecError`, or its subclass :class:`SpecErrors` if there are several.
    """
    document = _with_overlays(read_document(path), path.parent, overlays)
    _raise(document, path.parent, shape_problems(document.tree, Spec))
    spec = msgspec.convert(document.tree, Spec, strict=True)
    spec = msgspec.structs.replace(spec, variables=_with_typed(spec.variables, variables or {}))
    if not spec.hosts:
        raise document.error(("hosts",), "hosts: an environment has at least one host")
    found: list[Problem] = []
    environment = build_environment(spec, lambda place, text: found.append(Problem(place, text)))
    told = {problem.place for problem in found}
    found += [problem for problem in check(environment) if not _is_told(problem.place, told)]
    _raise(document, path.parent, found)
    _raise(document, path.parent, problems_of(environment, Sources(path.parent)))
    return environment


def _is_told(place: Place, told: set[Place]) -> bool:
    """Whether a problem was told of this part, or of one within it: then the other follows from it."""
    return any(one[: len(place)] == place or place[: len(one)] == one for one in told)


def _with_overlays(document: Document, folder: Path, names: Sequence[str]) -> Document:
    inside = _inside_overlays(document)
    files = {one.stem: one for one in sorted((folder / _OVERLAYS).glob("*.toml"))}
    merged = document.without(_OVERLAYS)
    for name in names:
        if name in inside and name in files:
            raise document.error(
                (_OVERLAYS, name), f"overlay {name!r} is in {files[name]} too; say it in one place"
            )
        if name not in inside and name not in files:
            raise SpecError(
                document.source, None, f"there is no overlay {name!r}{nearest(name, {*inside, *files})}"
            )
        over = inside.get(name)
        if over is None:
            over = read_document(files[name])
            _raise(over, folder, _overlay_problems(over))
        merged = merged.under(over)
    return merged


def _inside_overlays(document: Document) -> dict[str, Document]:
    """Overlays in the spec itself; all are checked, since one that is wrong would be found on the day it is needed."""
    table = document.tree.get(_OVERLAYS, {})
    if not isinstance(table, dict):
        raise document.error((_OVERLAYS,), f"{_OVERLAYS}: it must be tables, such as [overlays.big]")
    found: dict[str, Document] = {}
    problems: list[SpecError] = []
    for name, tree in table.items():
        if wrong := bad_name(name):
            raise document.error((_OVERLAYS, name), f"{_OVERLAYS}: {wrong}")
        if not isinstance(tree, dict):
            raise document.error((_OVERLAYS, name), f"{_OVERLAYS}.{name}: it must be a table")
        found[name] = document.part(_OVERLAYS, name).with_hosts_spelt_out()
        for problem in _overlay_problems(found[name]):
            where = spelt((_OVERLAYS, name, *problem.place))
            problems.append(found[name].error(problem.place, f"{where}: {problem.text}"))
    _raise_all(problems)
    return found


def _overlay_problems(overlay: Document) -> list[Problem]:
    if _OVERLAYS in overlay.tree:
        return [Problem((_OVERLAYS,), "an overlay has no overlays of its own")]
    return shape_problems(overlay.tree, Spec, is_overlay=True)


def _with_typed(known: dict[str, Value], typed: Mapping[str, str]) -> dict[str, Value]:
    made = dict(known)
    for name, text in typed.items():
        if name not in known:
            raise SpecError("command line", None, f"there is no variable {name!r}{nearest(name, known)}")
        try:
            made[name] = parse_value(text, known[name])
        except ValueError as problem:
            raise SpecError("command line", None, f"variable {name!r}: {problem}") from None
    return made


def _raise(document: Document, folder: Path, problems: Sequence[Problem]) -> None:
    errors: dict[tuple[str, int | None, str], SpecError] = {}
    for problem in problems:
        if problem.source:
            error = SpecError(str(folder / problem.source), problem.line, problem.text)
        else:
            error = document.error(_written(document, problem.place), str(problem))
        # What is written once for many hosts is told once.
        errors.setdefault((error.source, error.line, problem.text), error)
    _raise_all(tuple(errors.values()))


def _written(document: Document, place: Place) -> Place:
    """Where a part is written: a group may be only in the lists of its hosts."""
    if place[:1] == ("groups",) and place[:2] not in document.places:
        for host, section in document.tree["hosts"].items():
            if place[1] in section.get("groups", ()):
                return ("hosts", host, "groups", section["groups"].index(place[1]))
    return place


def _raise_all(errors: Sequence[SpecError]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise SpecErrors(sorted(errors, key=lambda error: (error.source, error.line or 0)))
