"""Text as a terminal shows it: without anything that steers the terminal, and as wide as it is.

Law: what hosts, daemons and files say never reaches the terminal as it came: escape sequences in a log line or a status could move the cursor, set
the window's title, or make a terminal answer into the prompt. Widths are those of Unicode's East Asian Width (UAX #11): wide and full-width
characters take two columns, combining ones none. Where terminals differ this counts the larger, so that a line is rather cut too early than
wrapped.
"""

from __future__ import annotations

import unicodedata

from labshell.core.limits import TEXT_CHARACTERS_MAX

__all__ = ["ago", "cut", "one_line", "padded", "printable", "width_of"]

_MINUTE_S = 60
_HOUR_S = 3_600
_DAY_S = 86_400
_ELLIPSIS = "…"
#: Emoji, many of which are narrow by the table and wide in terminals; and what has become wide with Unicode 16, which Python may not know yet.
_WIDE = (
    range(0x1F000, 0x20000),
    range(0x2630, 0x2638),
    range(0x268A, 0x2690),
    range(0x4DC0, 0x4E00),
    range(0x1D300, 0x1D380),
)
#: Asks for the coloured form of the character before it, which is wide.
_EMOJI_SELECTOR = "\ufe0f"


def printable(text: str) -> str:
    """The text with characters that steer a terminal or its text direction made visible as ``?``; tabs become spaces. Newlines stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character == "\n":
        return character
    if character == "\t":
        return "    "
    # Cc: controls; Cf: bidi marks and other formats; Cs: lone surrogates; Zl, Zp: line ends that are none; Co, Cn: nothing that can be drawn.
    return "?" if unicodedata.category(character) in _UNSAFE else character


_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def one_line(text: str) -> str:
    """A text of a host for one line: printable, without newlines, and not endless."""
    return " ".join(printable(text[: TEXT_CHARACTERS_MAX + 1]).split())[:TEXT_CHARACTERS_MAX]


def width_of(text: str) -> int:
    """How many columns a printable text takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    if character == _EMOJI_SELECTOR:
        return 1
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    is_wide = unicodedata.east_asian_width(character) in ("W", "F") or any(
        ord(character) in one for one in _WIDE
    )
    return 2 if is_wide else 1


def cut(text: str, width: int) -> str:
    """The text in at most ``width`` columns; what is left out shows as ``…``."""
    if width_of(text) <= width:
        return text
    if width <= 0:
        return ""
    taken, room = [], width - 1
    for character in text:
        room -= _width(character)
        if room < 0:
            break
        taken.append(character)
    return "".join(taken) + _ELLIPSIS


def padded(text: str, width: int, *, right: bool = False) -> str:
    """The text in exactly ``width`` columns."""
    text = cut(text, width)
    space = " " * (width - width_of(text))
    return space + text if right else text + space


def ago(seconds: float) -> str:
    """A duration in one unit, as short as it can be: ``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    whole = int(max(0.0, seconds))
    if whole < 2 * _MINUTE_S:
        return f"{whole} s"
    if whole < 2 * _HOUR_S:
        return f"{whole // _MINUTE_S} min"
    if whole < 2 * _DAY_S:
        return f"{whole // _HOUR_S} h"
    return f"{whole // _DAY_S} d"
