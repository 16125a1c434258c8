"""TOML documents with the place of every value, and how one is laid over another.

A value that is found wrong after three files were merged must still be told with the file and line where it was written; so each document keeps
beside its tree where every part of it stands, and merging merges both.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from hostkit.toml_lines import key_lines
from labtest.core.names import NameProblem, expand_range
from labtest.core.problems import Place
from labtest.core.templates import TemplateProblem, render
from labtest.errors import SpecError
from labtest.spec.limits import SPEC_BYTES_MAX

__all__ = ["Document", "parse_document", "read_document"]

_TREE = dict[str, Any]


class Document(msgspec.Struct, frozen=True):
    """A tree of tables, lists and values, and the file and line of each."""

    #: The file, as messages call it.
    source: str
    tree: _TREE
    places: dict[Place, tuple[str, int]]

    def where(self, place: Place) -> tuple[str, int | None]:
        """File and line of a part, or of the first thing in it, or of the nearest table around it."""
        for length in range(len(place), 0, -1):
            outer = place[:length]
            if outer in self.places:
                return self.places[outer]
            within = [at for one, at in self.places.items() if one[:length] == outer]
            if within:  # [a.b] is also where a begins
                return min(within, key=lambda at: at[1])
        return self.source, None

    def error(self, place: Place, problem: str) -> SpecError:
        """An error about a part."""
        return SpecError(*self.where(place), problem)

    def part(self, key: str, name: str) -> Document:
        """The table ``[key.name]`` as a document of its own."""
        places = {
            place[2:]: at for place, at in self.places.items() if place[:2] == (key, name) and place[2:]
        }
        return Document(self.source, self.tree[key][name], places)

    def without(self, key: str) -> Document:
        """All but one table."""
        return Document(
            self.source,
            {name: value for name, value in self.tree.items() if name != key},
            {place: at for place, at in self.places.items() if place[0] != key},
        )

    def with_hosts_spelt_out(self) -> Document:
        """With each ``[hosts."cache[1-3]"]`` as the tables ``cache1``, ``cache2``, ``cache3``. Raises :class:`SpecError`."""
        return _with_hosts_spelt_out(self)

    def under(self, over: Document) -> Document:
        """Both as one: tables are merged; of anything else, what ``over`` has replaces what is here."""
        places = dict(self.places)
        tree = _merged(self.tree, over.tree, (), places, over.places)
        return Document(self.source, tree, places)


def _merged(
    base: _TREE,
    over: _TREE,
    place: Place,
    places: dict[Place, tuple[str, int]],
    new: dict[Place, tuple[str, int]],
) -> _TREE:
    """``places`` is that of the base, and becomes that of both."""
    merged = dict(base)
    for key, value in over.items():
        here = (*place, key)
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merged(merged[key], value, here, places, new)
            continue
        places.update((one, at) for one, at in new.items() if one[: len(here)] == here)
        merged[key] = value
    return merged


def read_document(path: Path) -> Document:
    """Reads a file. Raises :class:`SpecError`, also where it cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(SPEC_BYTES_MAX + 1)
    except FileNotFoundError:
        raise SpecError(str(path), None, "there is no such file") from None
    except OSError as error:
        raise SpecError(str(path), None, f"cannot be read: {error.strerror}") from None
    if len(raw) > SPEC_BYTES_MAX:
        raise SpecError(
            str(path), None, f"it has more than the {SPEC_BYTES_MAX:,} bytes that a spec may have"
        )
    try:
        return parse_document(raw.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SpecError(str(path), line, "it is not UTF-8 text") from None


def parse_document(text: str, source: str) -> Document:
    """A document of a text that ``source`` is the name of. Raises :class:`SpecError`."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(source, text, str(error)) from None
    return _with_hosts_spelt_out(
        Document(source, tree, {place: (source, line) for place, line in key_lines(text).items()})
    )


def _not_toml(source: str, text: str, problem: str) -> SpecError:
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", problem)
    line = None
    if found is not None:
        problem = problem[: found.start()]
        line = int(found.group(1)) if found.group(1) else text.count("\n") + 1
    # The parser shows keys as Python does: ('files', 'keys').
    problem = re.sub(r"\(('[^()]*?'),?\)", lambda match: match.group(1).replace("', '", "."), problem)
    return SpecError(source, line, f"it is not TOML: {problem[:1].lower()}{problem[1:]}")


def _with_hosts_spelt_out(document: Document) -> Document:
    """Each ``[hosts."cache[1-3]"]`` as the tables ``cache1``, ``cache2``, ``cache3``."""
    hosts = document.tree.get("hosts")
    if not isinstance(hosts, dict):
        return document
    spelt: _TREE = {}
    places = {
        place: at for place, at in document.places.items() if place[:1] != ("hosts",) or len(place) == 1
    }
    for key, table in hosts.items():
        try:
            names = expand_range(key)
        except NameProblem as problem:
            raise document.error(("hosts", key), f"hosts: {problem}") from None
        for name, number in names:
            if name in spelt:
                raise document.error(
                    ("hosts", key), f"hosts.{name}: it is there already; say it in one place"
                )
            spelt[name] = _host_table(document, key, table, name, number)
            for place, at in document.places.items():
                if place[:2] == ("hosts", key):
                    places["hosts", name, *place[2:]] = at
    return Document(document.source, {**document.tree, "hosts": spelt}, places)


def _host_table(document: Document, key: str, table: Any, name: str, number: str) -> Any:
    """The host's table, with ``{{ name }}`` and ``{{ number }}`` filled in where it says how it is reached."""
    if not isinstance(table, dict):
        return table
    made = dict(table)
    for field in ("ssh", "address"):
        text = table.get(field)
        if not isinstance(text, str):
            continue
        try:
            made[field] = render(text, {"name": name, "number": number})
        except TemplateProblem as problem:
            raise document.error(("hosts", key, field), f"hosts.{name}.{field}: {problem}") from None
    return made
