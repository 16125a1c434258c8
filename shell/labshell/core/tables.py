"""Tables as rows of plain cells, and how they are made to fit.

Law: what a table says is decided here, how it is drawn is not: cells are texts with the name of a style. A table is as wide as it needs, and made
to fit by rules that its columns carry: first columns that may be cut are cut (the least important first, never below what still says something),
then the least important leave whole, and names of rows are cut before more than those leave. Columns that name the row never leave. Nothing wraps:
one row is one line, so a table can be scanned and grepped."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from labshell.core.text import cut, padded, printable, width_of

__all__ = ["Cell", "Column", "Fitted", "Table", "fitted", "plain_lines"]

_GAP = 2
#: Columns of this rank or a higher one leave before the names of rows are cut.
_LEAVES_EARLY = 3


class Cell(msgspec.Struct, frozen=True, gc=False):
    """A text of one line, and its style: ``good``, ``warn``, ``down``, ``old`` or none."""

    text: str
    style: str = ""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column."""

    title: str
    #: 0 stays; of the others the highest is cut and dropped first.
    rank: int = 0
    #: What it may be cut to; 0: it is never cut (but for columns of rank 0, when nothing else is left).
    narrowest: int = 0
    right: bool = False


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table, as wide as it needs."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    #: What to say if it has no rows.
    empty: str


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A table for a width: every cell fits its column, and the columns the width."""

    titles: tuple[str, ...]
    widths: tuple[int, ...]
    right: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    #: Titles of columns that did not fit.
    dropped: tuple[str, ...] = ()


def fitted(table: Table, width: int) -> Fitted:
    """The table in at most ``width`` columns (at least one for each column that stays). Columns that have nothing in any row are left out."""
    kept = [
        at
        for at, column in enumerate(table.columns)
        if column.rank == 0 or any(row[at].text for row in table.rows)
    ]
    natural = {at: _natural(table, at) for at in kept}
    dropped: list[str] = []
    widths = _shrunk(table.columns, kept, natural, width)
    while _total(widths) > width:
        least = max(kept, key=lambda at: (table.columns[at].rank, at))
        rank = table.columns[least].rank
        if rank < _LEAVES_EARLY:
            widths = _shrunk(table.columns, kept, natural, width, names=True)
        if rank == 0 or _total(widths) <= width:
            widths = _forced(widths, width)
            break
        kept.remove(least)
        dropped.append(table.columns[least].title)
        widths = _shrunk(table.columns, kept, natural, width)
    columns = [table.columns[at] for at in kept]
    return Fitted(
        titles=tuple(cut(column.title, size) for column, size in zip(columns, widths, strict=True)),
        widths=tuple(widths),
        right=tuple(column.right for column in columns),
        rows=tuple(
            tuple(
                Cell(cut(_shown(row[at]), size), row[at].style) for at, size in zip(kept, widths, strict=True)
            )
            for row in table.rows
        ),
        dropped=tuple(dropped),
    )


def _shown(cell: Cell) -> str:
    return printable(cell.text).replace("\n", " ")


def _natural(table: Table, at: int) -> int:
    return max([width_of(table.columns[at].title), *(width_of(_shown(row[at])) for row in table.rows)])


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * max(0, len(widths) - 1)


def _shrunk(
    columns: Sequence[Column],
    kept: Sequence[int],
    natural: dict[int, int],
    width: int,
    *,
    names: bool = False,
) -> list[int]:
    """Widths of the columns, cut where that is allowed and needed, the least important first; those of rank 0 only with ``names``."""
    widths = {at: natural[at] for at in kept}
    for at in sorted(kept, key=lambda one: (-columns[one].rank, one)):
        excess = _total(list(widths.values())) - width
        if excess > 0 and columns[at].narrowest and (names or columns[at].rank):
            widths[at] = max(min(columns[at].narrowest, natural[at]), widths[at] - excess)
    return [widths[at] for at in kept]


def _forced(widths: list[int], width: int) -> list[int]:
    """Takes from the widest until it fits, or each has one column."""
    widths = list(widths)
    while _total(widths) > width and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    return widths


def plain_lines(table: Fitted) -> list[str]:
    """The table as lines of text without styles, for terminals that have none, pipes and files."""
    lines = [_line(table.titles, table)]
    lines += [_line([cell.text for cell in row], table) for row in table.rows]
    return lines


def _line(texts: Sequence[str], table: Fitted) -> str:
    cells = [
        padded(text, size, right=right)
        for text, size, right in zip(texts, table.widths, table.right, strict=True)
    ]
    return (" " * _GAP).join(cells).rstrip()
