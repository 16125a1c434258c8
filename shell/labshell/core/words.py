"""A line into words, as POSIX shells quote, with the place of each; and back.

Law: only quoting is decided here: ``'…'`` takes everything, ``"…"`` all but ``\\"`` and ``\\\\``, a backslash the character after it, and ``#``
where a word would begin ends the line. Nothing is expanded: no variable, pattern, tilde or pipe, so what is typed is what a command gets. The
standard library's shlex was rejected since it gives no places and refuses an unfinished quote, which is what most lines are while they are typed.
"""

from __future__ import annotations

import msgspec

from labshell.core.errors import LineError, UnfinishedQuote
from labshell.core.limits import LINE_CHARACTERS_MAX

__all__ = ["Split", "Word", "quoted", "split", "words_of"]

_SPACES = frozenset(" \t\r\n")
_MARKS = frozenset("'\"\\")


class Word(msgspec.Struct, frozen=True):
    """One word. ``start`` and ``end`` are its place in the line, quotes included."""

    text: str
    start: int
    end: int
    #: The quote that it begins with: ``'``, ``"``, or none.
    quote: str = ""
    #: Whether the text stands in the line just so, without quotes and backslashes.
    plain: bool = True


class Split(msgspec.Struct, frozen=True):
    """The words of a line."""

    words: tuple[Word, ...]
    #: What the line ends within: ``'``, ``"``, ``\\`` or nothing. The last word is then unfinished.
    open_quote: str
    #: Whether the end of the line is within a comment.
    comment: bool


class _Reader:
    """Goes through a line once."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._at = 0
        self._open = ""

    def read(self) -> Split:
        words: list[Word] = []
        while True:
            while self._at < len(self._line) and self._line[self._at] in _SPACES:
                self._at += 1
            if self._at == len(self._line):
                return Split(tuple(words), self._open, False)
            if self._line[self._at] == "#":
                return Split(tuple(words), "", True)
            words.append(self._word())

    def _word(self) -> Word:
        start = self._at
        parts: list[str] = []
        while self._at < len(self._line) and self._line[self._at] not in _SPACES:
            mark = self._line[self._at]
            if mark in "'\"":
                parts.append(self._within(mark))
            elif mark == "\\":
                parts.append(self._escaped())
            else:
                parts.append(mark)
                self._at += 1
        raw = self._line[start : self._at]
        text = "".join(parts)
        return Word(text, start, self._at, raw[0] if raw[0] in "'\"" else "", raw == text)

    def _within(self, quote: str) -> str:
        """The text up to the closing quote, or to the end."""
        self._at += 1
        parts: list[str] = []
        while self._at < len(self._line):
            mark = self._line[self._at]
            self._at += 1
            if mark == quote:
                return "".join(parts)
            if mark == "\\" and quote == '"' and self._line[self._at : self._at + 1] in ('"', "\\"):
                mark = self._line[self._at]
                self._at += 1
            parts.append(mark)
        self._open = quote
        return "".join(parts)

    def _escaped(self) -> str:
        escaped = self._line[self._at + 1 : self._at + 2]
        self._at += 1 + len(escaped)
        if not escaped:
            self._open = "\\"
        return escaped


def split(line: str) -> Split:
    """The words of a line, also of one that is not finished. Raises LineError for a line that is too long."""
    if len(line) > LINE_CHARACTERS_MAX:
        problem = f"the line has {len(line)} characters; at most {LINE_CHARACTERS_MAX} are read"
        raise LineError(problem, start=LINE_CHARACTERS_MAX, end=len(line))
    return _Reader(line).read()


def words_of(line: str) -> tuple[Word, ...]:
    """The words of a finished line. Raises LineError, and UnfinishedQuote at the place of the open quote."""
    found = split(line)
    if found.open_quote == "\\":
        raise UnfinishedQuote("a backslash at the end of the line", start=len(line) - 1, end=len(line))
    if found.open_quote:
        start = line.rindex(found.open_quote, 0, found.words[-1].end)
        raise UnfinishedQuote(f"the quote {found.open_quote} is not closed", start=start, end=len(line))
    return found.words


def quoted(text: str, quote: str = "") -> str:
    """The text as it must be typed to be one word; with ``quote``, in such quotes if that can be."""
    is_plain = bool(text) and text[0] != "#" and not (_SPACES | _MARKS).intersection(text)
    if is_plain and not quote:
        return text
    if "'" not in text and quote != '"':
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
