"""Text of others (log lines, output of commands) made such that it can only be read: it moves no cursor, sets no title, asks the terminal nothing."""

from __future__ import annotations

import re

from labshell.app.limits import LINE_CHARACTERS_MAX
from labshell.core.text import printable

__all__ = ["harmless", "harmless_line"]

#: Colours of daemons that think they write to a terminal (ECMA-48, SGR): left out whole, since visible they hide what is said.
_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")


def harmless(text: str) -> str:
    """Without colours; everything else that steers a terminal is visible as ``?``. Newlines stay."""
    if text.isascii() and text.isprintable():
        return text
    if "\x1b" in text:
        text = _COLOURS.sub("", text)
    return printable(text)


def harmless_line(text: str) -> str:
    """The same of one line, which is cut if it is endless."""
    if len(text) > LINE_CHARACTERS_MAX:
        text = f"{text[:LINE_CHARACTERS_MAX]}… ({len(text) - LINE_CHARACTERS_MAX:,} characters more)"
    return harmless(text)
