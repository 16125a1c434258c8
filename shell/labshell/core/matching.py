"""How well a candidate matches what is typed, and in which order those come that match.

Law: the order is by class of match, then weight, then habit, then place in the table; only the class depends on what is typed. So while more is
typed, candidates leave and those that stay keep their order, unless one of them changes its class; and a class only gets worse by typing, but for the
last character that makes a match exact. A finer score (lengths, gaps, places, as fuzzy finders have them) was rejected: with it candidates change
places at every key, and the finger is on the wrong one. Letters match in either case.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["MatchClass", "classify", "ranked"]

_T = TypeVar("_T")


class MatchClass(enum.IntEnum):
    """The better the smaller."""

    EXACT = 0
    PREFIX = 1
    #: From the beginning of a part of it: ``s3`` in ``cashy-s3``.
    BOUNDARY = 2
    SUBSTRING = 3
    #: All characters, in their order, with others between them.
    SUBSEQUENCE = 4


def classify(typed: str, text: str) -> MatchClass | None:
    """How ``typed`` matches ``text``; both in lower case. None: it does not."""
    if text.startswith(typed):
        return MatchClass.EXACT if len(text) == len(typed) else MatchClass.PREFIX
    at = text.find(typed)
    if at >= 0:
        while at > 0:
            if _begins_part(text, at):
                return MatchClass.BOUNDARY
            at = text.find(typed, at + 1)
        return MatchClass.SUBSTRING
    at = -1
    for character in typed:
        at = text.find(character, at + 1)
        if at < 0:
            return None
    return MatchClass.SUBSEQUENCE


def _begins_part(text: str, at: int) -> bool:
    before, first = text[at - 1], text[at]
    return not before.isalnum() or (first.isdigit() and not before.isdigit())


def ranked(
    typed: str, items: Sequence[_T], text_of: Callable[[_T], str], score_of: Callable[[_T], float]
) -> list[_T]:
    """The items that match, in order; of those in one class a higher score comes first, then the earlier item."""
    wanted = typed.lower()
    found: list[tuple[int, float, int, _T]] = []
    for place, item in enumerate(items):
        match = classify(wanted, text_of(item).lower())
        if match is not None:
            found.append((match, -score_of(item), place, item))
    found.sort(key=lambda one: one[:3])
    return [one[3] for one in found]
