"""What commands print, as lines for a terminal or a file: text as it is but harmless, tables and the like by rich, in the width there is."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from typing import Any

from rich.color import ColorSystem
from rich.console import Console, RenderableType
from rich.style import Style

from labshell.app.harmless import harmless, harmless_line
from labshell.core.tables import Cell, Fitted, Table, fitted
from labshell.core.text import padded

__all__ = ["STYLES", "Drawable", "Renderer", "wants_color"]

#: What commands print besides text.
Drawable = RenderableType | Table

#: How the program's own lines look; by SGR number.
STYLES = {
    "error": "31", "warn": "33", "note": "2", "echo": "1", "good": "32", "down": "31;1", "old": "2", "title": "1",
}  # fmt: skip
#: Columns of tables where no terminal says how wide it is.
_PLAIN_WIDTH = 120


def wants_color(is_terminal: bool) -> bool:
    """Whether to use colours: on a terminal that is more than a typewriter, unless NO_COLOR (no-color.org) is set."""
    return is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


class Renderer:
    """Makes lines; ``color`` False: without any escape sequence. ``exact``: text stays as it is, for files and other programs."""

    def __init__(self, *, color: bool, exact: bool = False) -> None:
        self.color = color
        self._exact = exact
        self._system = _color_system() if color else None

    def line(self, text: str, style: str = "") -> str:
        """One line of text."""
        if not self._exact:
            text = harmless_line(text)
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if style and self.color else text

    def lines(self, what: Drawable, width: int = _PLAIN_WIDTH) -> list[str]:
        """Lines of a table, or of anything that rich can draw. Takes milliseconds; safe in a thread."""
        if isinstance(what, Table):
            return self._table_lines(what, width)
        console = Console(
            width=max(1, width), color_system=None, force_terminal=False, legacy_windows=False, file=io.StringIO(),
            markup=False, highlight=False, emoji=False,
        )  # fmt: skip
        drawn = console.render_lines(what, console.options.update(width=max(1, width)), pad=False)
        return [self._join(line).rstrip(" ") for line in drawn]

    def _table_lines(self, table: Table, width: int) -> list[str]:
        if not table.rows:
            return [self.line(table.empty)]
        fit = fitted(table, width)
        titles = [Cell(title, "title") for title in fit.titles]
        lines = [self._row(row, fit) for row in (titles, *fit.rows)]
        if fit.dropped:
            lines.append(self.line(f"(no room for {', '.join(fit.dropped)})", "note"))
        return lines

    def _row(self, row: Sequence[Cell], fit: Fitted) -> str:
        cells = []
        for cell, width, is_right in zip(row, fit.widths, fit.right, strict=True):
            text = padded(cell.text, width, right=is_right)
            is_styled = cell.style in STYLES and self.color
            cells.append(f"\x1b[{STYLES[cell.style]}m{text}\x1b[0m" if is_styled else text)
        return "  ".join(cells).rstrip()

    def _join(self, segments: Iterable[Any]) -> str:
        parts = []
        for segment in segments:
            if segment.control:
                continue
            # After layout, one character for one, so that columns stay straight.
            text = harmless(segment.text)
            style: Style | None = segment.style
            parts.append(style.render(text, color_system=self._system) if style and self._system else text)
        return "".join(parts)


def _color_system() -> ColorSystem:
    term = os.environ.get("TERM", "")
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return ColorSystem.TRUECOLOR
    return ColorSystem.EIGHT_BIT if "256" in term else ColorSystem.STANDARD
