"""What can be wrong with a line, and where in it.

Law: every error here is the typist's move: it names the place (``start`` and ``end`` are offsets into the line), what was found there, and what
would have been right. Nothing was done yet when one of these is raised. Errors of hosts and plans are :mod:`labtest.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence

from labshell.core.limits import CANDIDATES_NAMED_MAX
from labtest.errors import LabError

__all__ = [
    "Ambiguous",
    "BadOption",
    "BadValue",
    "LineError",
    "MissingParameter",
    "TooManyWords",
    "UnfinishedQuote",
    "UnknownCommand",
    "named",
]


class LineError(LabError):
    """A line that cannot be carried out. ``start`` and ``end`` say which part of it is at fault; both at its end if something is missing."""

    exit_code = 2

    def __init__(self, problem: str, *, start: int, end: int, suggestions: Sequence[str] = ()) -> None:
        self.problem = problem
        self.start = start
        self.end = end
        #: Texts that could stand there instead, the nearest first.
        self.suggestions = tuple(suggestions)
        hint = f"; did you mean {_either(self.suggestions)}?" if self.suggestions else ""
        super().__init__(problem + hint)

    def marked(self, line: str) -> str:
        """The line, and below it a mark under the part at fault."""
        width = max(1, self.end - self.start)
        return f"{line}\n{' ' * self.start}{'^' * width}"


class UnfinishedQuote(LineError):
    """A quote was opened and not closed."""


class UnknownCommand(LineError):
    """No command has this name."""


class BadOption(LineError):
    """An option that the command does not have, that has no value or a wrong one, or that is given twice."""


class BadValue(LineError):
    """A word that fits no parameter it could be for. ``parameters`` names those."""

    def __init__(
        self,
        problem: str,
        *,
        start: int,
        end: int,
        parameters: Sequence[str],
        suggestions: Sequence[str] = (),
    ) -> None:
        self.parameters = tuple(parameters)
        super().__init__(problem, start=start, end=end, suggestions=suggestions)


class MissingParameter(LineError):
    """Nothing was said for a parameter that can be more than one thing, or nothing at all. ``candidates`` are all that it can be."""

    def __init__(self, problem: str, *, at: int, parameter: str, candidates: Sequence[str]) -> None:
        self.parameter = parameter
        self.candidates = tuple(candidates)
        super().__init__(problem, start=at, end=at)


class TooManyWords(LineError):
    """All parameters have their values, and words are left."""


class Ambiguous(LineError):
    """The line can be read in more than one way. ``readings`` are those, each spelt out in full."""

    def __init__(self, problem: str, *, start: int, end: int, readings: Sequence[str]) -> None:
        self.readings = tuple(readings)
        super().__init__(problem, start=start, end=end)


def named(texts: Sequence[str], *, most: int = CANDIDATES_NAMED_MAX) -> str:
    """``a, b or c``, or ``a, b … (40 in all)``."""
    if len(texts) > most:
        return f"{', '.join(texts[:most])} … ({len(texts)} in all)"
    return _either(texts)


def _either(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}" if texts else ""
