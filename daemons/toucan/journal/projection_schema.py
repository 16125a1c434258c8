"""The tables of the audit projection, its rows and its queries, as SQL; :mod:`toucan.journal.projection` runs it."""

from __future__ import annotations

import msgspec

from toucan.journal.limits import QUERY_ROWS_MAX

__all__ = ["COLUMNS", "INSERT", "SCHEMA", "SCHEMA_VERSION", "AuditQuery", "AuditRow", "select"]

#: A projection of another version is thrown away and made anew.
SCHEMA_VERSION = 2


class AuditRow(msgspec.Struct, frozen=True, gc=False):
    """What one event says, for people. ``at_ns``: wall clock, ns since 1970-01-01 UTC. ``text``: all of it, mostly as JSON. Empty: does not apply."""

    seq: int
    at_ns: int
    kind: str
    user: str = ""
    session: str = ""
    account: str = ""
    symbol: str = ""
    order_id: str = ""
    text: str = ""
    staged_id: str = ""


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows; None or empty: no condition. Times are ns since the epoch, ``from`` and ``to`` are both included.

    ``contains`` looks for a piece of ``text``, with letters A-Z in any case. ``limit``: at most ``QUERY_ROWS_MAX`` rows.
    """

    kind: str = ""
    user: str = ""
    session: str = ""
    account: str = ""
    symbol: str = ""
    order_id: str = ""
    staged_id: str = ""
    contains: str = ""
    from_ns: int | None = None
    to_ns: int | None = None
    from_seq: int | None = None
    to_seq: int | None = None
    limit: int = QUERY_ROWS_MAX
    #: The last rows rather than the first ones, and in falling order.
    newest_first: bool = False


COLUMNS = AuditRow.__struct_fields__
_EQUAL = ("kind", "user", "session", "account", "symbol", "order_id", "staged_id")
_RANGES = (
    ("seq", "from_seq", ">="),
    ("seq", "to_seq", "<="),
    ("at_ns", "from_ns", ">="),
    ("at_ns", "to_ns", "<="),
)

# Rows keep the order in which they were made by their rowid. An index of what everything has (kind) would help nobody.
SCHEMA = f"""
CREATE TABLE state (version INTEGER NOT NULL, decoder TEXT NOT NULL, journal_id BLOB NOT NULL, seq INTEGER NOT NULL, chain BLOB NOT NULL);
CREATE TABLE audit ({", ".join(f'"{name}" {"INTEGER" if name in ("seq", "at_ns") else "TEXT"} NOT NULL' for name in COLUMNS)});
CREATE INDEX audit_seq ON audit (seq);
CREATE INDEX audit_at_ns ON audit (at_ns);
CREATE INDEX audit_user ON audit (user, seq) WHERE user <> '';
CREATE INDEX audit_account ON audit (account, seq) WHERE account <> '';
CREATE INDEX audit_symbol ON audit (symbol, seq) WHERE symbol <> '';
CREATE INDEX audit_order_id ON audit (order_id, seq) WHERE order_id <> '';
CREATE INDEX audit_staged_id ON audit (staged_id, seq) WHERE staged_id <> '';
"""

INSERT = f"INSERT INTO audit VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608


def select(query: AuditQuery) -> tuple[str, list[object]]:
    """The statement for a query and its values. Raises ``ValueError`` for a limit that is not from 1 to ``QUERY_ROWS_MAX``."""
    if not 1 <= query.limit <= QUERY_ROWS_MAX:
        raise ValueError(f"a query for {query.limit} rows: from 1 to {QUERY_ROWS_MAX:,}")
    conditions, values = ["1"], []
    for name in _EQUAL:
        if wanted := getattr(query, name):
            conditions.append(
                f'"{name}" = ? AND "{name}" <> \'\''
            )  # the second half lets the partial index be used
            values.append(wanted)
    for column, name, relation in _RANGES:
        bound = getattr(query, name)
        if bound is not None:
            conditions.append(f"{column} {relation} ?")
            values.append(bound)
    if query.contains:
        conditions.append("text LIKE ? ESCAPE '\\'")
        values.append(f"%{_escape(query.contains)}%")
    order = "DESC" if query.newest_first else "ASC"
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    where = " AND ".join(conditions)
    values.append(query.limit)
    return f"SELECT {columns} FROM audit WHERE {where} ORDER BY seq {order}, rowid {order} LIMIT ?", values  # noqa: S608


def _escape(piece: str) -> str:
    """Makes SQL's wildcards ordinary letters."""
    return piece.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
