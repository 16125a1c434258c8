"""Names: what one may look like, which was probably meant, and how many hosts are named with few words.

Law: the words by which people name hosts mean the same in a spec and at the prompt, so they are understood here and nowhere else. A word is a
host's name, ``@group``, ``@all``, a shell pattern (``cache*``), a range (``cache[1-3]``), or any of these after ``!``, which takes hosts out again.
Hosts come in the order of the words, each once. A word that names nobody is an error: a misspelt pattern that deploys to no host looks like success.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

__all__ = [
    "EVERY_HOST",
    "NameProblem",
    "bad_name",
    "bad_variable_name",
    "expand_range",
    "nearest",
    "select_hosts",
    "spell_list",
]

#: A host's name is its DNS label (RFC 1035), and all other names become parts of paths.
NAME_CHARACTERS_MAX = 63

#: One range that is mistyped (``[1-1000000]``) must not fill the memory.
RANGE_MAX = 1000

#: Names that an error message lists; more are counted.
NAMES_SHOWN_MAX = 12

#: The group that every host is in.
EVERY_HOST = "all"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RANGE = re.compile(r"\[([^\[\]]*)\]")
_RANGE_PART = re.compile(r"(\d+)(?:-(\d+))?")

#: What templates are given beside the variables, and words of Jinja2's own.
_RESERVED = (
    frozenset({"address", "environment", "host", "hosts", "instances", "process", "release"})
    | frozenset(
        {"and", "else", "false", "False", "if", "in", "is", "none", "None", "not", "or", "true", "True"}
    )
    | frozenset({"caller", "kwargs", "loop", "self", "super", "varargs"})
)


class NameProblem(ValueError):
    """A word that names nobody, or cannot be understood. ``index`` is its place in the list of words."""

    def __init__(self, problem: str, index: int = 0) -> None:
        self.index = index
        super().__init__(problem)


def spell_list(names: Iterable[str]) -> str:
    """``a, b, c``, of which a very long one is cut and counted."""
    every = list(names)
    shown = ", ".join(every[:NAMES_SHOWN_MAX])
    return f"{shown} and {len(every) - NAMES_SHOWN_MAX} more" if len(every) > NAMES_SHOWN_MAX else shown


def nearest(name: str, known: Collection[str]) -> str:
    """What follows after "there is no such …": the name that was probably meant, or else all there are."""
    near = difflib.get_close_matches(name, sorted(known), 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are {spell_list(sorted(known))}" if known else "; there are none"


def bad_name(name: str) -> str:
    """Why this cannot be the name of a host, group, process, file, release, tool, overlay or environment; empty: it can."""
    if len(name) > NAME_CHARACTERS_MAX:
        return f"a name has at most {NAME_CHARACTERS_MAX} characters, and this has {len(name)}"
    if _NAME.fullmatch(name):
        return ""
    mended = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    hint = f"; how about {mended!r}?" if mended else ""
    return f"{name!r} is not a name: names have small letters, digits and '-', and begin with a letter or digit{hint}"


def bad_variable_name(name: str) -> str:
    """Why this cannot be the name of a variable; empty: it can."""
    if not _VARIABLE.fullmatch(name):
        mended = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_0123456789")
        hint = f"; how about {mended!r}?" if mended else ""
        return f"{name!r} is not a name of a variable: these have letters, digits and '_', and begin with a letter{hint}"
    if name in _RESERVED:
        return f"templates have {name!r} for something else; take another name"
    return ""


def expand_range(word: str) -> tuple[tuple[str, str], ...]:
    """Names that a word with ranges stands for, each with its number as written; of a word without, itself and no number.

    ``cache[1-3]``, ``cache[01-12]`` (as many digits), ``cache[1-3,7]``. Raises :class:`NameProblem`.
    """
    found = _RANGE.search(word)
    if found is None:
        return ((word, ""),)
    if _RANGE.search(word, found.end()):
        raise NameProblem(f"{word!r} has two ranges; one is possible")
    numbers = [number for part in found.group(1).split(",") for number in _numbers(word, part.strip())]
    if len(numbers) > RANGE_MAX:
        raise NameProblem(f"{word!r} stands for {len(numbers)} names; {RANGE_MAX} are possible")
    return tuple((f"{word[: found.start()]}{number}{word[found.end() :]}", number) for number in numbers)


def _numbers(word: str, part: str) -> list[str]:
    match = _RANGE_PART.fullmatch(part)
    if match is None:
        raise NameProblem(f"{word!r} has {part!r} where a range such as [1-3] or [1,4-6] is meant")
    first, last = match.group(1), match.group(2) or match.group(1)
    if int(last) < int(first):
        raise NameProblem(f"{word!r} counts backwards; how about [{last}-{first}]?")
    if int(last) - int(first) >= RANGE_MAX:
        raise NameProblem(f"{word!r} stands for too many names; {RANGE_MAX} are possible")
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]


def select_hosts(
    words: Sequence[str], hosts: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Names of the hosts that the words name, in that order and each once. Raises :class:`NameProblem`."""
    chosen: dict[str, None] = {}
    for index, word in enumerate(words):
        try:
            if word.startswith("!"):
                for name in _named(word[1:], hosts, groups):
                    chosen.pop(name, None)
            else:
                chosen.update(dict.fromkeys(_named(word, hosts, groups)))
        except NameProblem as problem:
            raise NameProblem(str(problem), index) from None
    return tuple(chosen)


def _named(word: str, hosts: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    if word == f"@{EVERY_HOST}":
        return list(hosts)
    if word.startswith("@"):
        if word[1:] not in groups:
            raise NameProblem(f"there is no group {word[1:]!r}{nearest(word[1:], {*groups, EVERY_HOST})}")
        return list(groups[word[1:]])
    if "*" in word or "?" in word:
        matches = fnmatch.filter(hosts, word)
        if not matches:
            raise NameProblem(f"no host matches {word!r}{nearest(word, hosts)}")
        return matches
    names = [name for name, _ in expand_range(word)]
    for name in names:
        if name not in hosts:
            hint = f"; did you mean '@{name}'?" if name in groups else nearest(name, hosts)
            raise NameProblem(f"there is no host {name!r}{hint}")
    return names
