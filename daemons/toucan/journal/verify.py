"""Reads a whole journal and says what is in it and what is wrong with it. Changes nothing, needs no lock."""

from __future__ import annotations

from pathlib import Path

import msgspec

from toucan.journal.core.frame import Record
from toucan.journal.core.mark import Mark
from toucan.journal.core.scan import Damage, Item, TornTail
from toucan.journal.folder import SegmentFile, list_segments, opened, quarantine_folder
from toucan.journal.losses import Loss, covers, read_losses
from toucan.journal.segments import any_journal_id, read_header, walk
from toucan.journal.witness import read_witness

__all__ = ["Finding", "Report", "SegmentReport", "verify"]


_TRIES = 4


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person may want to know.

    ``kind``: "damage" (not acknowledged), "loss" (acknowledged damage), "torn" (a commit that
    never ended, or is under way), "cut" (a file shorter than it was made), "witness" (it does not fit the journal).
    ``last_seq`` is less than ``first_seq`` where no event is missing.
    """

    kind: str
    segment: str
    offset: int
    size_bytes: int
    first_seq: int
    last_seq: int
    text: str


class SegmentReport(msgspec.Struct, kw_only=True):
    """What is in one segment."""

    name: str
    size_bytes: int
    used_bytes: int
    records: int
    events: int
    first_seq: int
    last_seq: int


class Report(msgspec.Struct, kw_only=True):
    """What is in a journal. ``first_seq`` is 0 where there are no events."""

    journal_id: str
    segments: list[SegmentReport]
    records: int
    events: int
    first_seq: int
    last_seq: int
    #: The chain hash up to ``last_seq``, in hexadecimal: to be compared with what was noted elsewhere.
    chain: str
    #: Events behind the first damage: readable, but no chain of hashes leads to them.
    unreachable_events: int
    lost_events: int
    quarantined: list[str]
    findings: list[Finding]

    @property
    def is_whole(self) -> bool:
        """Nothing is wrong; a torn tail, which was never acknowledged, and acknowledged losses do not count."""
        return not any(finding.kind in ("damage", "cut", "witness") for finding in self.findings)


class _Verification:
    """A report in the making."""

    def __init__(self, folder: Path, mark: Mark | None) -> None:
        segments = list_segments(folder)
        quarantine = quarantine_folder(folder)
        self.mark = mark
        self.losses: list[Loss] = read_losses(folder)
        self.is_behind_damage = False
        self.by_name: dict[str, SegmentReport] = {}
        journal_id = any_journal_id(segments)
        self.report = Report(
            journal_id=journal_id.hex() if journal_id else "",
            segments=[],
            records=0,
            events=0,
            first_seq=0,
            last_seq=0,
            chain=journal_id.hex() if journal_id else "",
            unreachable_events=0,
            lost_events=sum(loss.events for loss in self.losses),
            quarantined=sorted(path.name for path in quarantine.iterdir()) if quarantine.is_dir() else [],
            findings=[],
        )
        for segment in segments:
            self.begin(segment)

    def begin(self, segment: SegmentFile) -> None:
        """Notes a segment, and whether it has its size."""
        size = segment.path.stat().st_size
        found = SegmentReport(
            name=segment.path.name, size_bytes=size, used_bytes=0, records=0, events=0,
            first_seq=segment.first_seq, last_seq=segment.first_seq - 1,
        )  # fmt: skip
        self.by_name[found.name] = found
        self.report.segments.append(found)
        with opened(segment.path) as fd:
            header = read_header(fd, segment)
        if header is not None and size < header.size_bytes:
            missing = header.size_bytes - size
            self.find("cut", found.name, f"{missing:,} bytes shorter than it was made", offset=size)

    def see(self, segment: SegmentFile, item: Item) -> None:
        """Takes one item of the walk into account."""
        if isinstance(item, Record):
            self.count(segment, item)
        elif isinstance(item, Damage):
            self.is_behind_damage = True
            kind = "loss" if covers(self.losses, segment, item) else "damage"
            self.find(
                kind, segment.path.name, item.reason.value,
                offset=item.offset, size_bytes=item.size_bytes, first_seq=item.first_seq, last_seq=item.last_seq,
            )  # fmt: skip
        elif isinstance(item, TornTail):
            text = "a commit that never ended, or is under way"
            self.find("torn", segment.path.name, text, offset=item.offset, size_bytes=item.size_bytes)

    def count(self, segment: SegmentFile, record: Record) -> None:
        """One more record."""
        report, of_segment = self.report, self.by_name[segment.path.name]
        for counts in (report, of_segment):
            counts.records += 1
            counts.events += record.count
            counts.last_seq = record.last_seq
        report.first_seq = report.first_seq or record.first_seq
        report.chain = record.chain.hex()
        of_segment.used_bytes = record.end_offset
        if self.is_behind_damage:
            report.unreachable_events += record.count
        mark = self.mark
        if mark is None or not record.first_seq <= mark.seq <= record.last_seq:
            return
        if (mark.seq, mark.chain) != (record.last_seq, record.chain):
            self.find(
                "witness", segment.path.name, "the witness saw another event here: the journal has another history",
                offset=record.offset, first_seq=record.first_seq, last_seq=record.last_seq,
            )  # fmt: skip

    def find(
        self,
        kind: str,
        segment: str,
        text: str,
        *,
        offset: int = 0,
        size_bytes: int = 0,
        first_seq: int = 0,
        last_seq: int = -1,
    ) -> None:
        """Notes a finding."""
        self.report.findings.append(
            Finding(
                kind=kind, segment=segment, offset=offset, size_bytes=size_bytes,
                first_seq=first_seq, last_seq=last_seq, text=text,
            )
        )  # fmt: skip


def verify(folder: Path, witness_path: Path | None = None) -> Report:
    """Reads and checks every byte of the journal in ``folder``; compares its end with the witness, if there is one.

    A journal may be verified while it is written to; what is under way then shows as a torn tail. Raises ``OSError``,
    :class:`JournalUnsupported`, and :class:`JournalError` for a file of an acknowledged loss that cannot be understood.
    """
    report = _verify_once(folder, witness_path)
    for _ in range(_TRIES - 1):
        if report.is_whole:
            break
        # The end may have been written while it was read, here a window before and there a window after; real damage stays.
        before, report = report, _verify_once(folder, witness_path)
        if report.findings == before.findings:
            break
    return report


def _verify_once(folder: Path, witness_path: Path | None) -> Report:
    mark = read_witness(witness_path) if witness_path is not None else None
    journal_id = any_journal_id(list_segments(folder))
    is_foreign = mark is not None and mark.journal_id != journal_id
    verification = _Verification(folder, None if is_foreign else mark)
    if mark is not None and is_foreign:
        text = f"the witness belongs to journal {mark.journal_id.hex()}"
        verification.find("witness", "", text, first_seq=1, last_seq=mark.seq)
    for segment, item in walk(folder, mark.seq if mark is not None and not is_foreign else 0):
        verification.see(segment, item)
    return verification.report
