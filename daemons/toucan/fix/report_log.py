"""What a venue has told, numbered and kept, so that an engine can ask for it again: FIX's sequence numbers become the seam's ``venue_seq``.

A report is in the file before QuickFIX is told that it was taken, and on the disk before an engine hears of it. So kill -9 loses none, and after a
power cut the venue is asked again from the last one that is here (:attr:`ReportLog.fix_seq`). One that comes twice is recognised: an execution by
its ExecID, whatever else by its FIX number, and only if the venue itself says that it may be a repetition (PossDup, PossResend), since a venue may
use an ExecID again another day.

A file that is damaged, or that an engine knows to have been longer, begins a new life: then all that is kept is told again under new numbers.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from pathlib import Path

import msgspec

from toucan.core.venue_messages import Report
from toucan.exchange.core.firms import ReportLog as KeptReports
from toucan.fix.core.records import RecordEnd
from toucan.fix.limits import EXEC_IDS_KEPT_MAX, LOG_BYTES_KEPT, REPORTS_KEPT_MAX
from toucan.fix.record_file import FixFileError, RecordFile

__all__ = ["ReportLog"]

_VERSION = 1


class _Header(msgspec.Struct, frozen=True, array_like=True, tag="H"):
    """First record. ``first_seq``: the number of the first report behind it."""

    version: int
    life: str
    first_seq: int


class _Told(msgspec.Struct, frozen=True, array_like=True, tag="R"):
    """A report; ``fix_seq``: the venue's MsgSeqNum, 0 for what was said here."""

    report: Report
    fix_seq: int


class _Reset(msgspec.Struct, frozen=True, array_like=True, tag="S"):
    """The session's numbers begin anew."""


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[_Header | _Told | _Reset] = msgspec.msgpack.Decoder(
    _Header | _Told | _Reset
)


class ReportLog:
    """Of one venue. :meth:`append` may be called from any thread; reading is for one at a time."""

    def __init__(
        self, path: Path, *, kept_max: int = REPORTS_KEPT_MAX, bytes_kept: int = LOG_BYTES_KEPT
    ) -> None:
        self._kept_max = kept_max
        self._bytes_kept = self._bytes_max = bytes_kept
        self._lock = threading.Lock()
        #: Held while the file is synced or takes another's place; taken inside the other lock or alone.
        self._disk = threading.Lock()
        self._file = RecordFile(path)
        self._exec_ids: OrderedDict[str, None] = OrderedDict()
        self._kept = KeptReports(kept_max)
        self.life = ""
        #: The venue's number of the last report that is here.
        self.fix_seq = 0
        #: What was wrong with the file; "": nothing.
        self.flaw = "" if self._file.end is RecordEnd.CLEAN else f"it ended with {self._file.end.value}"
        self._load()
        is_new = not self.life or self._file.end is RecordEnd.DAMAGE
        #: What an engine may be told: it is on the disk.
        self.synced_seq = self.newest_seq
        if is_new:
            self.begin_life()
        elif self._file.size > bytes_kept:
            self._rewrite()
        self._file.sync()

    def _load(self) -> None:
        for payload in self._file.records:
            try:
                record = _decoder.decode(payload)
            except msgspec.DecodeError as error:
                raise FixFileError(f"{self._file.path} is of another program: {error}") from error
            match record:
                case _Header():
                    if record.version != _VERSION:
                        raise FixFileError(f"{self._file.path} has version {record.version}, not {_VERSION}")
                    self.life, self._kept.newest_seq = record.life, record.first_seq - 1
                case _Told():
                    self._keep(record.report, record.fix_seq)
                case _Reset():
                    self.fix_seq = 0
        self._file.forget_records()

    def _keep(self, report: Report, fix_seq: int) -> None:
        self._kept.append(report)
        self.fix_seq = fix_seq or self.fix_seq
        if report.exec_id:
            self._exec_ids[_execution(report)] = None
            if len(self._exec_ids) > EXEC_IDS_KEPT_MAX:
                self._exec_ids.popitem(last=False)

    # ------------------------------------------------------------ written

    def is_repeated(self, report: Report, fix_seq: int) -> bool:
        """Whether a report that may be a repetition is one."""
        with self._lock:
            return _execution(report) in self._exec_ids if report.exec_id else 0 < fix_seq <= self.fix_seq

    def append(self, report: Report, fix_seq: int = 0) -> Report:
        """Numbers a report and writes it; gives it with its number. Raises :class:`~toucan.fix.record_file.FixFileError`."""
        with self._lock:
            numbered = msgspec.structs.replace(report, venue_seq=self._kept.newest_seq + 1)
            self._file.append(_encoder.encode(_Told(numbered, fix_seq)))
            self._keep(numbered, fix_seq)
            if self._file.size > self._bytes_max:
                self._rewrite()
        return numbered

    def numbers_begin_anew(self) -> None:
        """The session's sequence numbers were reset to 1."""
        with self._lock:
            if self.fix_seq:
                self._file.append(_encoder.encode(_Reset()))
                self.fix_seq = 0

    def sync(self) -> None:
        """Puts all that was written on the disk, which takes milliseconds; then :attr:`synced_seq` is what was the newest at its begin."""
        with self._lock:
            newest, life = self._kept.newest_seq, self.life
        with self._disk:
            self._file.sync()
        with self._lock:
            if life == self.life:  # else the number is of another life
                self.synced_seq = max(self.synced_seq, newest)

    def begin_life(self) -> None:
        """Another life: what is kept gets new numbers."""
        with self._lock:
            kept = list(self._kept.after(0))
            self.life = secrets.token_hex(6)
            self._kept = KeptReports(self._kept_max)
            for number, report in enumerate(kept, 1):
                self._kept.append(msgspec.structs.replace(report, venue_seq=number))
            self._rewrite()
            self.synced_seq = self._kept.newest_seq

    def _rewrite(self) -> None:
        kept = list(self._kept.after(0))
        records: list[_Header | _Told | _Reset] = [_Header(_VERSION, self.life, self._kept.oldest_seq)]
        # One number is enough: what is older is known by its ExecID.
        records += [_Told(report, self.fix_seq if report is kept[-1] else 0) for report in kept]
        with self._disk:
            self._file.rewrite(map(_encoder.encode, records))
        self._bytes_max = max(self._bytes_kept, 2 * self._file.size)

    def close(self) -> None:
        """Syncs and closes the file."""
        self.sync()
        self._file.close()

    # ------------------------------------------------------------ read

    @property
    def newest_seq(self) -> int:
        """The number of the newest report; 0 before the first one."""
        return self._kept.newest_seq

    @property
    def oldest_seq(self) -> int:
        """The number of the oldest one that is kept."""
        return self._kept.oldest_seq

    def all_kept(self) -> list[Report]:
        """All that is kept, oldest first."""
        with self._lock:
            return list(self._kept.after(0))

    def after(self, venue_seq: int, count_max: int) -> list[Report]:
        """Reports with larger numbers that are on the disk, at most so many, oldest first."""
        count = min(count_max, self.synced_seq - venue_seq)
        if count <= 0:
            return []
        with self._lock:
            found = list(self._kept.after(venue_seq, count))
        return [report for report in found if report.venue_seq <= self.synced_seq]


def _execution(report: Report) -> str:
    return f"{report.exec_id}/{report.venue_order_id}/{int(report.kind)}"
