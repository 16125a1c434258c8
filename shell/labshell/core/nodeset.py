"""Sets of hosts in few characters: ``cache[1-20]``, ``@web!web2``; and such a text for a set of names.

Law: a text means hosts that are known, or it is an error with its place; nothing is ever dropped because it is unknown. The notation is that of
ClusterShell's NodeSet, as far as hosts of one environment need it::

    a                 one host                  cache*            those whose names match
    cache[1-3,7]      cache1 cache2 cache3 cache7      cache[01-20]      with leading zeros
    @web              the hosts of a group      @all              all
    x,y               both together             x!y               x without y       x&y     those in both
    !y                all without y

Operators bind equally and are taken from left to right, as there. Whatever the order of the text, hosts come in the order of the environment.
Steps (``[0-10/2]``), ``^`` and brackets around expressions were left out: nobody types them at a prompt.
"""

from __future__ import annotations

import difflib
import fnmatch
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from labshell.core.limits import SET_HOSTS_MAX, SIGNIFICANT_DIGITS_MAX, SUGGESTIONS_MAX

__all__ = ["ALL_GROUP", "KnownHosts", "NodeSetError", "last_term", "parse_hosts"]

#: The group of all hosts; a group of the spec cannot have this name.
ALL_GROUP = "all"

_BRACKET = re.compile(r"\[([^\]\[]*)\]")
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")


class KnownHosts(msgspec.Struct, frozen=True):
    """The hosts and groups that a text can name."""

    #: In the order of the environment.
    names: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]] = {}


class NodeSetError(ValueError):
    """A text that is no set of known hosts. ``start`` and ``end`` are the part of it at fault."""

    def __init__(self, problem: str, start: int, end: int, suggestions: Sequence[str] = ()) -> None:
        self.problem = problem
        self.start = start
        self.end = end
        self.suggestions = tuple(suggestions)
        super().__init__(problem)


class _Term(msgspec.Struct, frozen=True):
    operator: str
    text: str
    start: int


def _terms(text: str) -> Iterator[_Term]:
    """The terms with the operator before each; a comma within brackets is no operator."""
    operator, start, depth = ",", 0, 0
    for at, mark in enumerate(text):
        if mark in "[]":
            depth += 1 if mark == "[" else -1
        if mark in ",!&" and not depth:
            # Only the one before the first term may stand alone: "!a" is all but a.
            if at > start or at > 0 or mark != "!":
                yield _Term(operator, text[start:at], start)
            else:
                yield _Term(",", f"@{ALL_GROUP}", 0)
            operator, start = mark, at + 1
    yield _Term(operator, text[start:], start)


def last_term(text: str) -> int:
    """Where the term begins that is being typed at the end of the text, for completion."""
    return max((term.start for term in _terms(text)), default=0)


def parse_hosts(text: str, known: KnownHosts) -> tuple[str, ...]:
    """The hosts that a text names, in the order of the environment, without repeats. Raises NodeSetError; the set may be empty."""
    found: set[str] = set()
    index = frozenset(known.names)
    for term in _terms(text):
        names = _hosts_of(term, known, index)
        if term.operator == "!":
            found -= names
        elif term.operator == "&":
            found &= names
        else:
            found |= names
    return tuple(name for name in known.names if name in found)


def _hosts_of(term: _Term, known: KnownHosts, index: frozenset[str]) -> set[str]:
    text, end = term.text, term.start + len(term.text)
    if not text:
        raise NodeSetError("a host, a group or a set is missing here", term.start, end)
    if text in index:
        return {text}
    if text.startswith("@"):
        return _group(text[1:], known, term.start, end)
    if "*" in text or "?" in text:
        matching = set(fnmatch.filter(known.names, text))
        if not matching:
            raise NodeSetError(f"no host matches {text}", term.start, end)
        return matching
    names = list(_expanded(text, term.start))
    unknown = [name for name in names if name not in index]
    if unknown:
        raise _no_host(unknown, known, term.start, end)
    return set(names)


def _group(name: str, known: KnownHosts, start: int, end: int) -> set[str]:
    if name in known.groups:
        return set(known.groups[name]) & set(known.names)
    if name == ALL_GROUP:
        return set(known.names)
    near = difflib.get_close_matches(name, [*known.groups, ALL_GROUP], SUGGESTIONS_MAX)
    raise NodeSetError(f"no group is called {name}", start, end, [f"@{one}" for one in near])


def _no_host(unknown: list[str], known: KnownHosts, start: int, end: int) -> NodeSetError:
    more = f", nor {len(unknown) - 1} more of these" if len(unknown) > 1 else ""
    near = difflib.get_close_matches(unknown[0], known.names, SUGGESTIONS_MAX) if not more else ()
    return NodeSetError(f"no host is called {unknown[0]}{more}", start, end, near)


def _expanded(text: str, start: int) -> Iterator[str]:
    """All names of ``rack[1-2]-node[01-04]``. Raises NodeSetError."""
    pieces: list[Sequence[str]] = []
    at, count = 0, 1
    for bracket in _BRACKET.finditer(text):
        numbers = _numbers(bracket.group(1), start + bracket.start(1))
        count *= len(numbers)
        if count > SET_HOSTS_MAX:
            problem = f"{text} stands for more than {SET_HOSTS_MAX} hosts"
            raise NodeSetError(problem, start, start + len(text))
        pieces += [(text[at : bracket.start()],), numbers]
        at = bracket.end()
    pieces.append((text[at:],))
    if any(mark in piece[0] for piece in pieces[::2] for mark in "[]"):
        raise NodeSetError(f"{text}: a bracket is not closed, or not opened", start, start + len(text))
    return map("".join, itertools.product(*pieces))


def _numbers(text: str, start: int) -> list[str]:
    """``1-3,07`` as ``1 2 3 07``: as many digits as the first number of a range, if that begins with a zero."""
    found: list[str] = []
    at = start
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None or len(part) > 2 * SIGNIFICANT_DIGITS_MAX + 1:
            problem = f"{part or 'nothing'} is no number, and no range as 1-20"
            raise NodeSetError(problem, at, at + len(part))
        low, high = match.group(1), match.group(2) or match.group(1)
        if int(low) > int(high):
            raise NodeSetError(f"the range {part} goes down", at, at + len(part))
        if int(high) - int(low) >= SET_HOSTS_MAX:
            raise NodeSetError(f"{part} is more than {SET_HOSTS_MAX} hosts", at, at + len(part))
        width = len(low) if low.startswith("0") else 0
        found += [str(number).zfill(width) for number in range(int(low), int(high) + 1)]
        at += len(part) + 1
    return found
