"""The projection says what a naive scan of the journal says, however it came to be."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.journal.support import AT_NS, SEGMENT_BYTES, flip, open_journal, segments_of

from toucan.journal.core.frame import Record
from toucan.journal.errors import JournalDamaged
from toucan.journal.limits import PROJECTION_ROWS_PER_TRANSACTION, QUERY_ROWS_MAX
from toucan.journal.projection import Projection
from toucan.journal.projection_schema import AuditQuery, AuditRow, select
from toucan.journal.reader import read
from toucan.journal.writer import Journal

KINDS = ("NewOrder", "Fill", "Cancel")
NAMES = ("ann", "bob", "")
TEXTS = ('{"price": 1}', "100% of it", "a_b", "AxB", "back\\slash", "")


class Event(msgspec.Struct, frozen=True):
    """What these tests write into the journal."""

    kind: str
    user: str
    account: str
    symbol: str
    order_id: str
    text: str


def rows_of(record: Record) -> list[AuditRow]:
    """The decoder: one row for each event, two for a fill."""
    rows = []
    for number, event in enumerate(msgspec.json.decode(record.payload, type=list[Event])):
        row = AuditRow(
            record.first_seq + number, record.at_ns, event.kind, event.user, "session", event.account,
            event.symbol, event.order_id, event.text,
        )  # fmt: skip
        rows += [row, row] if event.kind == "Fill" else [row]
    return rows


events = st.builds(
    Event,
    kind=st.sampled_from(KINDS),
    user=st.sampled_from(NAMES),
    account=st.sampled_from(("A1", "A2")),
    symbol=st.sampled_from(("AAPL", "MSFT", "")),
    order_id=st.sampled_from(("o1", "o2", "o3", "")),
    text=st.sampled_from(TEXTS),
)
batches = st.lists(st.lists(events, min_size=1, max_size=3), max_size=12)

optional_seq = st.none() | st.integers(0, 40)
optional_ns = st.none() | st.integers(0, 15).map(lambda n: AT_NS + n)
queries = st.builds(
    AuditQuery,
    kind=st.sampled_from(("", *KINDS, "Nothing")),
    user=st.sampled_from(NAMES),
    session=st.sampled_from(("", "session", "other")),
    account=st.sampled_from(("", "A1", "A2")),
    symbol=st.sampled_from(("", "AAPL")),
    order_id=st.sampled_from(("", "o1", "o2")),
    contains=st.sampled_from(("", "%", "a_b", "axb", "\\", "price")),
    from_seq=optional_seq,
    to_seq=optional_seq,
    from_ns=optional_ns,
    to_ns=optional_ns,
    limit=st.integers(1, 50),
    newest_first=st.booleans(),
)


def append(journal: Journal, some: list[list[Event]]) -> None:
    for batch in some:
        journal.append(
            journal.next_seq, len(batch), AT_NS + journal.next_seq // 3, msgspec.json.encode(batch)
        )
        journal.commit()


def naive(folder: Path, last_seq: int, query: AuditQuery) -> list[AuditRow]:
    """A scan of everything."""

    def fits(row: AuditRow) -> bool:
        equal = all(
            not getattr(query, name) or getattr(query, name) == getattr(row, name)
            for name in ("kind", "user", "session", "account", "symbol", "order_id")
        )
        return (
            equal
            and query.contains.lower() in row.text.lower()
            and (query.from_seq is None or row.seq >= query.from_seq)
            and (query.to_seq is None or row.seq <= query.to_seq)
            and (query.from_ns is None or row.at_ns >= query.from_ns)
            and (query.to_ns is None or row.at_ns <= query.to_ns)
        )

    found = [
        row for record in read(folder, 1, last_seq, past_damage=True) for row in rows_of(record) if fits(row)
    ]
    return (found[::-1] if query.newest_first else found)[: query.limit]


@settings(max_examples=60, deadline=None)
@given(batches, batches, st.lists(queries, min_size=1, max_size=8))
def test_projection_says_what_a_scan_says(
    before: list[list[Event]], after: list[list[Event]], asked: list[AuditQuery]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        projection = Projection(folder / "audit.sqlite", folder, rows_of)
        try:
            with open_journal(folder) as journal:
                for some in (before, after):
                    append(journal, some)
                    added = projection.update(journal.committed_seq)
                    assert added == sum(1 + (event.kind == "Fill") for batch in some for event in batch)
                    assert projection.seq == journal.committed_seq
                    for query in asked:
                        assert projection.query(query) == naive(folder, journal.committed_seq, query)
            assert projection.notes == []
        finally:
            projection.close()


def batch(*numbers: int) -> list[Event]:
    return [Event("NewOrder", "ann", "A1", "AAPL", f"o{number}", f"text {number}") for number in numbers]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A journal of 60 events."""
    folder = tmp_path / "journal"
    with open_journal(folder, segment_bytes=4096) as journal:
        append(journal, [batch(2 * number, 2 * number + 1) for number in range(30)])
        assert journal.committed_seq == 60
    assert len(segments_of(folder)) > 1
    return folder


Make = Callable[..., Projection]


@pytest.fixture
def make(folder: Path, tmp_path: Path) -> Iterator[Make]:
    """Opens the one projection file; several times, if wanted."""
    made: list[Projection] = []

    def open_one(journal_folder: Path = folder, **options: object) -> Projection:
        made.append(Projection(tmp_path / "audit.sqlite", journal_folder, rows_of, **options))  # type: ignore[arg-type]
        return made[-1]

    yield open_one
    for projection in made:
        projection.close()


def numbers(projection: Projection) -> list[int]:
    return [row.seq for row in projection.query(AuditQuery())]


def test_projection_goes_on_where_it_was(make: Make) -> None:
    first = make()
    assert first.update(20) == 20
    first.close()
    second = make()
    assert second.seq == 20
    assert second.update(60) == 40
    assert second.update(60) == 0
    assert second.update(10) == 0, "somebody who knows less does no harm"
    assert numbers(second) == list(range(1, 61))
    assert second.notes == []


def test_several_processes_may_update_one_projection(make: Make) -> None:
    one, other = make(), make()
    assert one.update(20) == 20
    assert other.update(40) == 20
    assert one.update(60) == 20
    assert other.update(60) == 0
    assert numbers(one) == numbers(other) == list(range(1, 61))
    assert one.notes == other.notes == []


def test_two_updates_at_a_time_make_each_row_once(make: Make) -> None:
    projections = [make() for _ in range(4)]
    errors: list[BaseException] = []

    def work(projection: Projection) -> None:
        try:
            for up_to_seq in range(2, 61, 2):
                projection.update(up_to_seq)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(projection,)) for projection in projections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert numbers(projections[0]) == list(range(1, 61))


def test_projection_of_another_journal_is_made_anew(make: Make, tmp_path: Path) -> None:
    first = make()
    first.update(60)
    first.close()
    other = tmp_path / "other"
    with Journal.open(other, new_journal_id=bytes(16), at_ns=0, segment_bytes=SEGMENT_BYTES) as journal:
        append(journal, [batch(1, 2, 3)])
    second = make(other)
    assert second.update(3) == 3
    assert "made from another journal" in second.notes[0]
    assert numbers(second) == [1, 2, 3]


def test_projection_of_events_that_are_no_more_is_made_anew(make: Make, folder: Path, tmp_path: Path) -> None:
    """An older copy of the journal was restored, and other events were written under the same numbers."""
    restored = tmp_path / "restored"
    with open_journal(restored) as journal:
        append(journal, [batch(2 * number, 2 * number + 1) for number in range(29)])
        append(journal, [[Event("Cancel", "bob", "A2", "", "", "")] * 4])
    first = make()
    first.update(60)
    first.close()
    second = make(restored)
    assert second.update(62) == 62
    assert "events that the journal has no more" in second.notes[0]
    assert [row.kind for row in second.query(AuditQuery(from_seq=58))] == ["NewOrder", *["Cancel"] * 4]


def test_other_events_of_the_same_numbers_are_noticed(make: Make, tmp_path: Path) -> None:
    restored = tmp_path / "restored"
    with open_journal(restored) as journal:
        append(journal, [batch(2 * number, 2 * number + 1) for number in range(29)])
        append(journal, [[Event("Cancel", "bob", "A2", "", "", "")] * 2] * 2)
    first = make()
    first.update(60)
    first.close()
    second = make(restored)
    second.update(62)
    assert "events that the journal has no more" in second.notes[0]
    assert [row.kind for row in second.query(AuditQuery(from_seq=58))] == ["NewOrder", *["Cancel"] * 4]


def test_nobody_else_writes_while_rows_are_made(make: Make, folder: Path, tmp_path: Path) -> None:
    """Or two processes would make the same ones."""
    tried: list[str] = []

    def decode(record: Record) -> list[AuditRow]:
        other = sqlite3.connect(tmp_path / "audit.sqlite", timeout=0, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            tried.append(str(error))
        finally:
            other.close()
        return rows_of(record)

    make().update(2)
    projection = Projection(tmp_path / "audit.sqlite", folder, decode)
    try:
        assert projection.update(4) == 2
    finally:
        projection.close()
    assert tried == ["database is locked"]


def test_projection_of_another_decoder_is_made_anew(make: Make) -> None:
    first = make(decoder_version="1")
    first.update(60)
    first.close()
    second = make(decoder_version="2")
    assert second.update(60) == 60
    assert "another version" in second.notes[0]


@pytest.mark.parametrize("offset", [0, 18, 100, 4096, 8192, 12288])
def test_damaged_file_is_made_anew(make: Make, tmp_path: Path, offset: int) -> None:
    first = make()
    first.update(60)
    first.close()
    path = tmp_path / "audit.sqlite"
    data = bytearray(path.read_bytes())
    data[offset : offset + 60] = b"\xa5" * 60
    path.write_bytes(data)
    second = make()
    assert second.update(60) == 60
    assert "it is damaged" in second.notes[0]
    assert numbers(second) == list(range(1, 61))


def test_rebuilding_undoes_what_sqlite_cannot_notice(make: Make, tmp_path: Path) -> None:
    projection = make()
    projection.update(60)
    good = projection.query(AuditQuery())
    other = sqlite3.connect(tmp_path / "audit.sqlite")
    other.execute("UPDATE audit SET text = 'something else' WHERE seq = 7")
    other.commit()
    other.close()
    assert projection.query(AuditQuery()) != good
    assert projection.rebuild(60) == 60
    assert projection.query(AuditQuery()) == good


def test_file_damaged_while_it_is_open_is_made_anew(make: Make, tmp_path: Path) -> None:
    projection = make()
    projection.update(60)
    other = sqlite3.connect(tmp_path / "audit.sqlite")
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.execute("DELETE FROM state")
    other.commit()
    other.close()
    with pytest.raises(sqlite3.DatabaseError):
        projection.seq  # noqa: B018
    assert projection.update(60) == 60
    assert numbers(projection) == list(range(1, 61))


def test_query_of_a_damaged_file_says_to_update(make: Make, tmp_path: Path) -> None:
    projection = make()
    projection.update(60)
    projection.close()
    (tmp_path / "audit.sqlite").write_bytes(b"this is no database" * 1000)
    assert projection.query(AuditQuery()) == []
    assert "it is damaged" in projection.notes[0]
    assert projection.update(60) == 60


def test_damage_of_the_journal_is_passed_over_or_raised(make: Make, folder: Path) -> None:
    record = list(read(folder, 1, 60))[7]
    flip(segments_of(folder)[0], record.offset + 66)
    strict = make(past_damage=False)
    with pytest.raises(JournalDamaged):
        strict.update(60)
    strict.close()
    projection = make()
    projection.update(60)
    assert projection.damages == 1
    assert set(range(1, 61)) - set(numbers(projection)) == {record.first_seq, record.last_seq}
    again = make()
    assert again.update(60) == 0
    assert again.notes == []


def test_decoder_that_fails_leaves_the_file_as_it_was(make: Make, folder: Path, tmp_path: Path) -> None:
    class Broken(Exception):
        pass

    is_broken = True

    def decode(record: Record) -> list[AuditRow]:
        if is_broken and record.last_seq > 30:
            raise Broken
        return rows_of(record)

    good = make()
    good.update(20)
    bad = Projection(tmp_path / "audit.sqlite", folder, decode)
    try:
        with pytest.raises(Broken):
            bad.update(60)
        assert bad.seq == 20
        is_broken = False
        assert bad.update(60) == 40
        assert numbers(bad) == list(range(1, 61))
    finally:
        bad.close()
    assert good.update(60) == 0


def test_many_rows_take_several_transactions(tmp_path: Path, make: Make) -> None:
    other = tmp_path / "many"
    with Journal.open(other, new_journal_id=bytes(16), at_ns=0) as journal:
        for first_seq in range(1, 2 * PROJECTION_ROWS_PER_TRANSACTION + 2000, 100):
            journal.append(first_seq, 100, AT_NS, msgspec.json.encode(batch(*range(100))))
        last_seq = journal.commit()
    projection = make(other)
    assert projection.update(last_seq) == last_seq
    assert len(projection.query(AuditQuery())) == last_seq


@pytest.mark.parametrize("limit", [0, -1, QUERY_ROWS_MAX + 1])
def test_impossible_limit_is_refused(make: Make, limit: int) -> None:
    with pytest.raises(ValueError, match="rows: from 1 to 100,000"):
        make().query(AuditQuery(limit=limit))


def test_common_questions_use_an_index(make: Make, tmp_path: Path) -> None:
    projection = make()
    projection.update(60)
    connection = sqlite3.connect(tmp_path / "audit.sqlite")
    try:
        for query, index in (
            (AuditQuery(order_id="o1"), "audit_order_id"),
            (AuditQuery(user="ann"), "audit_user"),
            (AuditQuery(account="A1"), "audit_account"),
            (AuditQuery(symbol="AAPL"), "audit_symbol"),
            (AuditQuery(from_seq=3), "audit_seq"),
        ):
            statement, values = select(query)
            plan = str(connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall())
            assert f"INDEX {index}" in plan, plan
    finally:
        connection.close()
