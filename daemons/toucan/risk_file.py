"""The limits file: read, checked as a whole and against the instrument table, and every mistake told with file and line.

What is in it: :mod:`toucan.core.risk_document`. What each limit means: :data:`toucan.core.risk_limits.LIMITS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hostkit.toml_lines import KeyPath, line_of
from toucan.core.instruments import Instrument
from toucan.core.risk_document import DocumentError, tree_of
from toucan.core.risk_limits import LIMITS, LimitKind, nearest, split_name
from toucan.core.risk_tree import FIRM, LimitTree
from toucan.errors import InvalidSettings

__all__ = ["LIMITS_FILE_BYTES_MAX", "LimitsFileError", "parse_limits", "read_limits"]

#: The file's text becomes one record of the journal and one message to every front end.
LIMITS_FILE_BYTES_MAX = 256 << 10


class LimitsFileError(InvalidSettings):
    """The limits file cannot be read or is wrong; the message names file and line, and what was probably meant."""


def read_limits(path: Path, instruments: Mapping[str, Instrument]) -> str:
    """The text of a limits file, checked, as the journal takes it. Raises :class:`LimitsFileError`."""
    try:
        with path.open("rb") as file:
            raw = file.read(LIMITS_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise LimitsFileError(f"cannot read the limits file {path}: {error.strerror}") from None
    if len(raw) > LIMITS_FILE_BYTES_MAX:
        raise LimitsFileError(
            f"{path}: it has more than the {LIMITS_FILE_BYTES_MAX:,} bytes that a limits file may have"
        )
    try:
        document = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise LimitsFileError(f"{path}: the limits file is not UTF-8 text") from None
    return parse_limits(document, instruments, str(path))


def parse_limits(document: str, instruments: Mapping[str, Instrument], name: str = "limits.toml") -> str:
    """The text of a limits file, after a check that it can be used with these instruments; errors are told as being in the file ``name``.

    Raises :class:`LimitsFileError`.
    """
    try:
        tree = tree_of(document)
    except DocumentError as error:
        line = error.line or line_of(document, error.path) or 1
        raise LimitsFileError(f"{name}:{line}: {error}") from None
    problem = _rate_problem(tree, instruments) or _symbol_problem(tree, instruments)
    if problem is not None:
        path, message = problem
        raise LimitsFileError(f"{name}:{line_of(document, path) or 1}: {message}")
    return document


def _rate_problem(tree: LimitTree, instruments: Mapping[str, Instrument]) -> tuple[KeyPath, str] | None:
    """A currency of the table whose orders would all be denied, since there is a limit on money and nobody says what it is worth."""
    missing = tree.missing_rates(instruments.values())
    limits = [limit for _, limit, _ in tree if limit.partition(".")[0] != "currency"]
    on_money = [limit for limit in limits if LIMITS[split_name(limit)[0]].kind is LimitKind.MONEY]
    if not missing or not on_money:
        return None
    return ("currency",), (
        f"{missing[0]} is the currency of an instrument, and there are limits on money ({on_money[0]}); "
        f'say under [currency] what it is worth in {tree.base_currency}, such as {missing[0]} = "1.08"'
    )


def _symbol_problem(tree: LimitTree, instruments: Mapping[str, Instrument]) -> tuple[KeyPath, str] | None:
    """A limit for a symbol that no instrument has. A restricted list may name more than is traded here."""
    for node, limit, _ in tree:
        name, symbol = split_name(limit)
        if symbol and symbol not in instruments:
            path = (*_place_of(node), "symbol", symbol, name)
            return path, f"{'.'.join(path)}: there is no instrument {symbol}; {nearest(symbol, instruments)}"
    return None


def _place_of(node: str) -> tuple[str, ...]:
    """Where a node stands in the file."""
    names = node.split("/")
    if node == FIRM:
        return (FIRM,)
    if len(names) == 4:
        return ("trader", "/".join(names[2:]))
    return ("team", names[1]) if len(names) == 2 else ("account", names[2])
