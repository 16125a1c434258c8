"""The audit projection: what the journal says, as rows of a SQLite file that can be searched. It follows the journal and can be thrown away at
any time.

The journal's payloads are opaque here: a decoder, given by who knows the events, makes rows of a record. The file remembers up to which event it
goes, of which journal, and the chain hash there, in the same transaction as the rows. If any of that does not fit the journal, or SQLite finds
the file damaged, it is removed and made anew. Several processes may update one projection; what one has done the next one does not repeat.

It is written with a write-ahead log and ``synchronous=NORMAL``: no sync at a commit, and after a loss of power the last transactions may be gone,
which is no harm. Rejected: ``synchronous=OFF``, with which pages in the middle may be gone, and SQLite does not notice each such loss.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec

from toucan.journal.core.frame import Record
from toucan.journal.errors import JournalError
from toucan.journal.folder import list_segments
from toucan.journal.limits import PROJECTION_READ_BYTES, PROJECTION_ROWS_PER_TRANSACTION
from toucan.journal.projection_schema import INSERT, SCHEMA, SCHEMA_VERSION, AuditQuery, AuditRow, select
from toucan.journal.reader import Follower
from toucan.journal.segments import any_journal_id

__all__ = ["Decoder", "Projection"]

#: Makes the rows of a record, in order; each ``seq`` is one of the record's.
Decoder = Callable[[Record], list[AuditRow]]

_BUSY_TIMEOUT_S = 30.0  # another process is in the middle of a transaction of as many rows


class Projection:
    """The projection of the journal in ``journal_folder`` in the SQLite file ``path``. One thread at a time; close it.

    ``decoder_version`` names what the decoder does: rows made by another version are thrown away. With ``past_damage`` (the default) what is readable
    behind damage is shown, too; :attr:`damages` says how often.
    """

    def __init__(
        self,
        path: Path,
        journal_folder: Path,
        decoder: Decoder,
        *,
        decoder_version: str = "",
        past_damage: bool = True,
    ) -> None:
        """Opens nothing yet."""
        self.path = path
        self._journal_folder = journal_folder
        self._decode = decoder
        self._decoder_version = decoder_version
        self._past_damage = past_damage
        self._connection: sqlite3.Connection | None = None
        self._follower: Follower | None = None
        #: Whether it was begun anew since this object was made, and why: for the log.
        self.notes: list[str] = []

    def close(self) -> None:
        """Closes all files; a second call does nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._follower is not None:
            self._follower.close()
            self._follower = None

    @property
    def damages(self) -> int:
        """Damaged places of the journal that were passed over by this object."""
        return len(self._follower.damages) if self._follower is not None else 0

    # ------------------------------------------------------------ following

    def update(self, up_to_seq: int) -> int:
        """Brings it up to event ``up_to_seq``, which must be committed; returns how many rows are new.

        Raises :class:`JournalDamaged` (without ``past_damage``), ``OSError``, ``sqlite3.OperationalError`` (a full disk, a lock), what the
        decoder raises.
        """
        try:
            return self._update(up_to_seq)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self._begin_anew(f"it is damaged ({error})")
            return self._update(up_to_seq)

    def rebuild(self, up_to_seq: int) -> int:
        """Makes it anew from the first event, whatever is in it; returns how many rows it has then. Errors are those of :meth:`update`."""
        self._begin_anew("that was asked for")
        return self.update(up_to_seq)

    def _update(self, up_to_seq: int) -> int:
        added = 0
        while True:
            count, is_behind = self._step(up_to_seq)
            added += count
            if not is_behind:
                return added

    def _step(self, up_to_seq: int) -> tuple[int, bool]:
        """One transaction; how many rows, and whether there may be more."""
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")  # so that no other process does the same rows
        try:
            seq, chain, journal_id = self._state(connection)
            if not self._fits(seq, chain, journal_id, up_to_seq):
                connection.rollback()
                self._begin_anew(
                    "it was made from another journal, or of events that the journal has no more"
                )
                return 0, up_to_seq > 0
            if seq >= up_to_seq:
                connection.rollback()
                return 0, False
            follower = self._follower_at(seq + 1)
            rows, is_behind = self._collect(follower, up_to_seq)
            if not is_behind and follower.next_seq == seq + 1:
                connection.rollback()
                return 0, False
            connection.executemany(INSERT, map(msgspec.structs.astuple, rows))
            connection.execute(
                "UPDATE state SET seq = ?, chain = ?, journal_id = ?",
                (follower.next_seq - 1, follower.chain_before() or b"", follower.journal_id),
            )
            connection.commit()
            return len(rows), is_behind
        except BaseException:
            connection.rollback()
            raise

    def _collect(self, follower: Follower, up_to_seq: int) -> tuple[list[AuditRow], bool]:
        rows: list[AuditRow] = []
        while len(rows) < PROJECTION_ROWS_PER_TRANSACTION:
            records = follower.read(up_to_seq, bytes_max=PROJECTION_READ_BYTES)
            if not records:
                return rows, False
            for record in records:
                rows += self._decode(record)
        return rows, True

    def _follower_at(self, seq: int) -> Follower:
        """A follower whose next event is this one: mostly the one that there is."""
        if self._follower is None or self._follower.next_seq != seq:
            self._forget_follower()
            self._follower = Follower(self._journal_folder, seq, past_damage=self._past_damage)
        return self._follower

    def _forget_follower(self) -> None:
        if self._follower is not None:
            self._follower.close()
            self._follower = None

    def _fits(self, seq: int, chain: bytes, journal_id: bytes, up_to_seq: int) -> bool:
        """Whether the journal has, as far as it is known to be committed, the history that was projected."""
        if not seq:
            return True
        if seq > up_to_seq:  # another process knew more
            return any_journal_id(list_segments(self._journal_folder)) == journal_id
        follower = self._follower_at(seq + 1)
        found = follower.chain_before()
        is_same_history = found is None or not chain or found == chain
        return follower.journal_id == journal_id and follower.next_seq == seq + 1 and is_same_history

    # ------------------------------------------------------------ asking

    def query(self, query: AuditQuery) -> list[AuditRow]:
        """The rows that fit, by number of their event. Shows what the last :meth:`update` (of any process) has brought.

        Raises ``ValueError`` for a bad limit; :class:`JournalError` if the file is damaged: it is then begun anew, so update it and ask again.
        """
        statement, values = select(query)
        try:
            found = self._connected().execute(statement, values).fetchall()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self._begin_anew(f"it is damaged ({error})")
            raise JournalError(
                f"{self.path} was damaged and is begun anew: update it, and ask again"
            ) from error
        return [AuditRow(*row) for row in found]

    @property
    def seq(self) -> int:
        """Up to which event it goes; 0: nothing."""
        return self._state(self._connected())[0]

    # ------------------------------------------------------------ the file

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = self._open()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                self._begin_anew(f"it is damaged ({error})")
                self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            connection.execute("BEGIN IMMEDIATE")
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'state'").fetchone():
                for statement in SCHEMA.split(";"):
                    connection.execute(statement)
                first = (SCHEMA_VERSION, self._decoder_version, b"", 0, b"")
                connection.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?)", first)
            connection.execute("COMMIT")
            row = connection.execute("SELECT version, decoder FROM state").fetchone()
            if row != (SCHEMA_VERSION, self._decoder_version):
                raise sqlite3.DatabaseError("made by another version")
        except BaseException:
            connection.close()
            raise
        return connection

    def _state(self, connection: sqlite3.Connection) -> tuple[int, bytes, bytes]:
        row = connection.execute("SELECT seq, chain, journal_id FROM state").fetchone()
        if row is None:
            raise sqlite3.DatabaseError("it does not say up to where it goes")
        return row[0], row[1], row[2]

    def _begin_anew(self, why: str) -> None:
        self.close()
        self.notes.append(f"{self.path} is made anew: {why}")
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
