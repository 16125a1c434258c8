"""What the program needs to know of the language that is typed: a line's meaning, completion, the bottom line. It knows no command by itself.

:class:`TableLanguage` is the language of :mod:`labshell.core` over a live view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from labshell.core.candidates import Choices
from labshell.core.commands import COMMANDS
from labshell.core.declare import Command
from labshell.core.errors import LineError
from labshell.core.parse import Bound, parse

__all__ = ["CarefulLanguage", "Fragments", "Language", "Proposal", "TableLanguage", "background_of"]

#: Styled text, as prompt_toolkit has it: pairs of style and text.
Fragments = Sequence[tuple[str, str]]


class Proposal(Protocol):
    """One completion: ``text`` replaces the line from ``start`` up to the cursor."""

    @property
    def text(self) -> str:
        """What is inserted."""

    @property
    def start(self) -> int:
        """Offset into the line."""

    @property
    def display(self) -> str:
        """What the menu shows."""

    @property
    def detail(self) -> str:
        """What it is."""


class Language(Protocol):
    """All of it must be quick and in memory: it is called between two keys."""

    def bind(self, line: str, *, abbreviated: bool) -> Bound | None:
        """A line's meaning; None if there is nothing in it. Raises LineError."""

    def complete(self, line: str, cursor: int) -> Sequence[Proposal]:
        """What may stand at the cursor, the best first."""

    def prompt(self, width: int) -> Fragments:
        """What stands before the line."""

    def toolbar(self, width: int) -> Fragments:
        """The bottom line."""


def background_of(line: str) -> tuple[str, bool]:
    """A line without the ``&`` at its end, and whether there was one. Only one that stands by itself counts."""
    text = line.rstrip()
    if text.endswith(" &"):
        return text[:-2], True
    return line, False


class TableLanguage:
    """The commands of a table, over what can be chosen now. ``choices`` is called for each line and each key."""

    def __init__(
        self,
        *,
        choices: Callable[[], Choices],
        complete: Callable[[str, int], Sequence[Proposal]],
        prompt: Callable[[int], Fragments],
        toolbar: Callable[[int], Fragments],
        commands: Mapping[str, Command] = COMMANDS,
    ) -> None:
        self._choices = choices
        self._commands = commands
        self.complete = complete
        self.prompt = prompt
        self.toolbar = toolbar

    def bind(self, line: str, *, abbreviated: bool) -> Bound | None:
        """A line's meaning."""
        return parse(line, self._choices(), commands=self._commands, abbreviated=abbreviated)


class CarefulLanguage:
    """Another language, whose faults are reported and then do without: a bottom line that cannot be drawn is no reason to lose the prompt."""

    def __init__(self, language: Language, report: Callable[[str, BaseException], None]) -> None:
        self._language = language
        self._report = report

    def bind(self, line: str, *, abbreviated: bool) -> Bound | None:
        """A line's meaning; its faults are its caller's."""
        return self._language.bind(line, abbreviated=abbreviated)

    def complete(self, line: str, cursor: int) -> Sequence[Proposal]:
        """What may stand at the cursor, or nothing."""
        try:
            return self._language.complete(line, cursor)
        except LineError:
            return ()
        except Exception as error:
            self._report("in completion", error)
            return ()

    def prompt(self, width: int) -> Fragments:
        """What stands before the line."""
        return self._drawn("in the prompt's text", self._language.prompt, width, "labshell> ")

    def toolbar(self, width: int) -> Fragments:
        """The bottom line."""
        return self._drawn(
            "in the bottom line", self._language.toolbar, width, " (cannot be drawn; see the error above)"
        )

    def _drawn(self, what: str, draw: Callable[[int], Fragments], width: int, instead: str) -> Fragments:
        try:
            return draw(width)
        except Exception as error:
            self._report(what, error)
            return [("class:bar.down", instead)]
