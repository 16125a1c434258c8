"""Patterns of objects' names: what to list for one, and which of the names listed it means.

Law. Pure. A pattern is a name in which ``*`` stands for any characters but ``/``, ``**`` for any at all (``**/`` for any folders, or none), ``?`` for
one character that is no ``/``, and ``[…]`` for one of a set (``[!…]``: not of it); a name that ends in ``/`` means all below it. Anything else stands
for itself, as names are literal: so does a ``[`` that nothing closes, and ``[*]`` is how a star is written. What comes before the first of these
is the listing's prefix, since an origin can find by nothing else.

Rejected: ``{a,b}`` and regular expressions (braces are common in keys); a star that crosses folders, which is what keys are like to a store and what
nobody expects who has used a shell.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["NamePattern", "is_pattern", "parse_pattern"]

_SPECIAL = re.compile(r"\*\*/?|\*|\?|\[!?(?:\]|[^\]/!])[^\]/]*\]")


class NamePattern(NamedTuple):
    """What to list (``prefix``, for :func:`cashy.core.names.parse_prefix`), and what of it is meant.

    ``is_flat``: nothing that lies in a folder behind the prefix is.
    """

    prefix: str
    is_flat: bool
    expression: re.Pattern[str]

    def matches(self, name: str) -> bool:
        """Whether the pattern means this name."""
        return self.expression.fullmatch(name) is not None


def is_pattern(text: str) -> bool:
    """Whether a text is more than one object's name."""
    return text.endswith("/") or _SPECIAL.search(text) is not None


def parse_pattern(text: str) -> NamePattern:
    """Reads a pattern; a plain name is a pattern for itself."""
    if text.endswith("/"):
        text += "**"
    parts: list[str] = []
    at = 0
    first = _SPECIAL.search(text)
    prefix = text if first is None else text[: first.start()]
    for special in _SPECIAL.finditer(text):
        parts += [re.escape(text[at : special.start()]), _expression_of(special[0])]
        at = special.end()
    parts.append(re.escape(text[at:]))
    is_flat = "/" not in text[len(prefix) :] and "**" not in text[len(prefix) :]
    return NamePattern(prefix, is_flat, re.compile("".join(parts), re.DOTALL))


def _expression_of(special: str) -> str:
    match special:
        case "**":
            return ".*"
        case "**/":
            return "(?:.*/)?"
        case "*":
            return "[^/]*"
        case "?":
            return "[^/]"
    inside, negation = special[1:-1], ""
    if inside.startswith("!"):
        inside, negation = inside[1:], "^/"
    ranges = _ranges_of(inside)
    try:
        re.compile(f"[{negation}{ranges}]")
    except re.error:  # as [z-a]: nothing lies in it
        return "(?!)"
    return f"(?!/)[{negation}{ranges}]"


def _ranges_of(inside: str) -> str:
    """The inside of a set: what stands for itself is escaped, since ``--`` may mean something to expressions one day."""
    parts: list[str] = []
    at = 0
    while at < len(inside):
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            parts.append(f"{re.escape(inside[at])}-{re.escape(inside[at + 2])}")
            at += 3
        else:
            parts.append(re.escape(inside[at]))
            at += 1
    return "".join(parts)
