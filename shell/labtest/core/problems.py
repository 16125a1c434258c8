"""What is wrong with an environment, and where in its spec.

Law: a core knows no files and no lines. It says *which part* is wrong, as a path of names (``("processes", "store", "unit")``), and who has read
the spec knows on which line of which file that stands. So the same check serves the reader of a spec, a change made at the prompt, and a test.
Problems are collected, not raised one by one: whoever mends a file wants to see all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from labtest.errors import LabError

__all__ = ["PROBLEMS_SHOWN_MAX", "Place", "Problem", "ResolveError", "spelt"]

#: Names of tables and keys, and places in lists, that lead to a value of the spec.
Place = tuple[str | int, ...]

#: Problems that are told at once; a mistake in a widely used place gives one for each use.
PROBLEMS_SHOWN_MAX = 20


def spelt(place: Place) -> str:
    """A place as people write it: ``processes.store.after[0]``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class Problem(msgspec.Struct, frozen=True):
    """One problem. ``text`` is a sentence without the place."""

    place: Place
    text: str
    #: The template that is wrong, relative to the spec's folder; empty: it is the spec itself.
    source: str = ""
    #: Line in ``source``, from 1.
    line: int | None = None

    def __str__(self) -> str:
        where = spelt(self.place)
        if self.source:
            return f"{self.source}:{self.line}: {self.text}" if self.line else f"{self.source}: {self.text}"
        return f"{where}: {self.text}" if where else self.text


class ResolveError(LabError):
    """An environment that cannot be rendered, all problems at once. The spec's author's move, or that of who changed it at the prompt."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        shown = [str(problem) for problem in self.problems[:PROBLEMS_SHOWN_MAX]]
        if len(self.problems) > PROBLEMS_SHOWN_MAX:
            shown.append(f"and {len(self.problems) - PROBLEMS_SHOWN_MAX} more")
        super().__init__("\n".join(shown))
