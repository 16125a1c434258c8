"""Tables of the pure core, as rich draws them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from labshell.app.context import Context
from labshell.core.tables import Fitted, Table, fitted
from labshell.core.text import padded

__all__ = ["draw_table"]

_STYLES = {"good": "green", "warn": "yellow", "down": "bold red", "old": "dim"}


def draw_table(context: Context, table: Table) -> None:
    """Prints a table in the width there is; what it says when it is empty otherwise."""
    if not table.rows:
        context.print(table.empty)
        return
    fit = fitted(table, context.width)
    context.print(_lines(fit))
    if fit.dropped:
        context.print(Text(f"(no room for: {', '.join(fit.dropped)})", style="dim"))


def _lines(table: Fitted) -> Text:
    text = Text(no_wrap=True)
    _add_row(text, table, [(title, "bold") for title in table.titles])
    for row in table.rows:
        text.append("\n")
        _add_row(text, table, [(cell.text, _STYLES.get(cell.style, "")) for cell in row])
    return text


def _add_row(text: Text, table: Fitted, cells: Sequence[tuple[str, str]]) -> None:
    for index, ((shown, style), width, right) in enumerate(
        zip(cells, table.widths, table.right, strict=True)
    ):
        text.append("  " if index else "")
        text.append(padded(shown, width, right=right), style=style)
