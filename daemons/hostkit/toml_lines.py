"""Finds the line on which each key of a TOML document is written, for error messages.

Law: this module answers "where", never "what": the values come from :mod:`tomllib`, which also has the last
word on what is valid TOML. So the scanner below may assume a valid document, and a mistake in it can only
point to a wrong line. The standard library's parser keeps no positions; a second TOML package for these
alone was rejected.
"""

from __future__ import annotations

import re
import tomllib

__all__ = ["KeyPath", "key_lines", "line_of"]

#: Names of keys and places in lists that lead to a value: ``("origin", 0, "url")``.
KeyPath = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]+")


def line_of(text: str, path: KeyPath) -> int | None:
    """Gives the 1-based line of the key at ``path``, or of the nearest table around it, if any."""
    lines = key_lines(text)
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def key_lines(text: str) -> dict[KeyPath, int]:
    """Gives the 1-based line of every key, table header and list element of a valid TOML document."""
    return _Scanner(text).scan()


class _Scanner:
    """One pass over a valid document; ``at`` is the next character."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self.list_lengths: dict[KeyPath, int] = {}  # of [[tables]] seen so far

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip_blank()
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._key_and_value(table)
            self._skip_blank()
        return self.lines

    def _header(self) -> KeyPath:
        is_list = self.text.startswith("[[", self.at)
        line = self._line()
        self.at += 2 if is_list else 1
        names = self._dotted_key()
        self.at += 2 if is_list else 1
        path = self._resolve(names[:-1]) + names[-1:]
        if is_list:
            index = self.list_lengths.get(path, 0)
            self.list_lengths[path] = index + 1
            self._note(path, line)
            path = (*path, index)
        else:
            path = self._resolve(names)
        self._note(path, line)
        return path

    def _resolve(self, names: KeyPath) -> KeyPath:
        """Adds to the names of a header the place of the last element of each list of tables on the way."""
        path: KeyPath = ()
        for name in names:
            path = (*path, name)
            if path in self.list_lengths:
                path = (*path, self.list_lengths[path] - 1)
        return path

    def _key_and_value(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for name in self._dotted_key():
            path = (*path, name)
            self._note(path, line)
        self.at += 1  # the "="
        self._skip_blank()
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        first = self.text[self.at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._list(path)
        elif first == "{":
            self._inline_table(path)
        else:
            match = _SCALAR.match(self.text, self.at)
            self.at = match.end() if match else self.at + 1

    def _list(self, path: KeyPath) -> None:
        self.at += 1
        self._skip_blank()
        index = 0
        while self.text[self.at] != "]":
            self._note((*path, index), self._line())
            self._value((*path, index))
            self._skip_separator()
            index += 1
        self.at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.at += 1
        self._skip_blank()
        while self.text[self.at] != "}":
            self._key_and_value(path)
            self._skip_separator()
        self.at += 1

    def _dotted_key(self) -> tuple[str, ...]:
        """Reads ``a.b."c d"`` and the blanks around it; stops at the "=" or "]"."""
        names = []
        while True:
            self._skip_blank()
            names.append(self._simple_key())
            self._skip_blank()
            if self.text[self.at] != ".":
                return tuple(names)
            self.at += 1

    def _simple_key(self) -> str:
        start = self.at
        if self.text[start] in "\"'":
            self._string()
            return next(iter(tomllib.loads(self.text[start : self.at] + " = 0")))
        match = _BARE_KEY.match(self.text, start)
        if match is None:
            raise ValueError(f"no key at line {self._line()}: this is not a TOML document")
        self.at = match.end()
        return match.group()

    def _string(self) -> None:
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            end = self._string_end(self.at + 3, quote * 3)
            # A multi-line string may end in one or two quotes of its own before the closing three.
            while self.text.startswith(quote, end):
                end += 1
        else:
            end = self._string_end(self.at + 1, quote)
        self.at = end

    def _string_end(self, at: int, closing: str) -> int:
        while not self.text.startswith(closing, at):
            at += 2 if self.text[at] == "\\" and closing[0] == '"' else 1
        return at + len(closing)

    def _skip_separator(self) -> None:
        self._skip_blank()
        if self.text[self.at] == ",":
            self.at += 1
            self._skip_blank()

    def _skip_blank(self) -> None:
        while self.at < len(self.text):
            if self.text[self.at] == "#":
                newline = self.text.find("\n", self.at)
                self.at = len(self.text) if newline < 0 else newline
            elif self.text[self.at] in " \t\n":
                self.at += 1
            else:
                return

    def _line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def _note(self, path: KeyPath, line: int) -> None:
        self.lines.setdefault(path, line)
