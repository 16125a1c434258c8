"""What has to be decided and done about the end of a journal before events can be appended to it.

First everything is looked at, and what a person must decide is raised; only then is anything changed. Cut off at any point, it is done again the
same way.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from toucan.journal.core.frame import SEGMENT_HEADER_BYTES, Flaw, SegmentHeader
from toucan.journal.core.mark import Mark
from toucan.journal.core.scan import Damage, TornTail
from toucan.journal.disk import Disk
from toucan.journal.errors import JournalTruncated
from toucan.journal.folder import SegmentFile, list_segments, set_aside
from toucan.journal.losses import Loss, acknowledge, covers, read_losses
from toucan.journal.segments import read_header
from toucan.journal.space import Reserve, is_out_of_space
from toucan.journal.tail import Tail, damaged, read_tail
from toucan.journal.witness import Witness

__all__ = ["Opened", "open_tail"]

_ACCEPT = (
    "If the data can be had from elsewhere (another copy, the right disk), stop and bring it here; "
    "if it is lost for good, start the engine once with --accept-loss"
)


class Opened(msgspec.Struct):
    """The end of the journal, ready. ``fd`` is -1 where a new segment must begin: there is none yet, or nothing may be written behind its end."""

    tail: Tail | None
    fd: int
    #: The last event, lost ones included: its number is not used again.
    last_seq: int
    notes: list[str]


class _Opening:
    def __init__(
        self, folder: Path, witness: Witness | None, reserve: Reserve, disk: Disk, at_ns: int, accept: bool
    ) -> None:
        self.folder = folder
        self.witness = witness
        self.reserve = reserve
        self.disk = disk
        self.at_ns = at_ns
        self.accept = accept
        self.notes: list[str] = []

    def keep(self, name: str, data: bytes) -> None:
        """Sets bytes aside, on a full disk in the room of the reserve."""
        try:
            path = set_aside(self.folder, name, data, self.disk)
        except OSError as error:
            if not is_out_of_space(error) or not self.reserve.release():
                raise
            path = set_aside(self.folder, name, data, self.disk)
        self.notes.append(f"{len(data)} bytes were set aside as {path}")

    # ------------------------------------------------------------ the witness

    def mark_for(self, journal_id: bytes | None) -> Mark | None:
        """What the witness says of this journal (None: there is none). Raises :class:`JournalTruncated`, unless that is accepted."""
        if self.witness is None:
            return None
        mark = self.witness.mark
        path = self.witness.path
        if self.witness.is_destroyed:
            self._doubt(f"the witness {path} is unreadable, so nobody can say whether the journal is whole")
        elif mark is not None and journal_id is None and mark.seq:
            self._doubt(
                f"{self.folder} holds no journal, but the witness {path} saw one with {mark.seq} events",
                mark.seq,
            )
        elif mark is not None and journal_id is not None and mark.journal_id != journal_id:
            self._doubt(
                f"the witness {path} belongs to journal {mark.journal_id.hex()}, {self.folder} holds {journal_id.hex()}"
            )
        else:
            return mark if journal_id is not None else None
        return None

    def _doubt(self, what: str, missing_events: int | None = None) -> None:
        if not self.accept:
            raise JournalTruncated(f"{what}. {_ACCEPT}.", missing_events)
        assert self.witness is not None
        self.notes.append(f"accepted: {what}")
        self.keep("witness", self.witness.raw)

    # ------------------------------------------------------------ the last segment

    def look(self, fd: int, segment: SegmentFile) -> tuple[Tail, list[Loss]]:
        """Reads the last segment; raises what a person must decide."""
        # What a killed process wrote may not be on the disk yet; and what is in memory may not be what is on the disk.
        self.disk.sync(fd)
        self.disk.forget_cache(fd)
        header = read_header(fd, segment)
        if header is None:
            raise damaged(
                segment,
                Damage(0, SEGMENT_HEADER_BYTES, segment.first_seq, segment.first_seq - 1, Flaw.HEADER, True),
            )
        mark = self.mark_for(header.journal_id)
        losses = [loss for loss in read_losses(self.folder) if loss.segment == segment.path.name]
        committed_seq = max([loss.last_seq for loss in losses if loss.events], default=0)
        if mark is not None:
            committed_seq = max(committed_seq, mark.seq)
        tail = read_tail(fd, segment, header, committed_seq=committed_seq, losses=losses, mark=mark)
        if tail.damages:
            raise damaged(segment, tail.damages[0])
        if tail.contradicts_witness:
            self._doubt(
                f"{self.folder} has another history than the witness saw up to event {mark.seq if mark else 0}"
            )
        if tail.is_cut and mark is None:
            self._cut(segment, header)
        return tail, losses

    def _cut(self, segment: SegmentFile, header: SegmentHeader) -> None:
        what = f"{segment.path} was made with {header.size_bytes:,} bytes and is shorter now; without a witness nobody can say what is gone"
        if not self.accept:
            raise JournalTruncated(f"{what}. {_ACCEPT}.", None)
        self.notes.append(f"accepted: {what}")

    def finish(self, fd: int, tail: Tail, losses: list[Loss]) -> Opened:
        """Cuts what never was acknowledged, acknowledges what is accepted to be lost."""
        ending = tail.ending
        if isinstance(ending, Damage):
            self._lose(ending, tail, losses)
            last_seq = max([ending.last_seq, *(loss.last_seq for loss in read_losses(self.folder))])
            os.close(fd)
            return Opened(tail, -1, last_seq, self.notes)
        if isinstance(ending, TornTail):
            name = f"{tail.segment.path.name}-{ending.offset}.torn"
            self.notes.append(
                f"{tail.segment.path}: a commit that never ended was cut from byte {ending.offset} on, behind event {tail.last_seq}"
            )
            self.keep(name, os.pread(fd, ending.size_bytes, ending.offset))
            self.disk.write(fd, bytes(ending.size_bytes), ending.offset)
            self.disk.sync(fd)
        if tail.is_cut:
            self.notes.append(
                f"{tail.segment.path} was shorter than it was made; it has its {tail.header.size_bytes:,} bytes again"
            )
            self.disk.allocate(fd, tail.header.size_bytes)
            self.disk.sync(fd)
        return Opened(tail, fd, tail.last_seq, self.notes)

    def _lose(self, damage: Damage, tail: Tail, losses: list[Loss]) -> None:
        if damage.last_seq < damage.first_seq:
            raise damaged(tail.segment, damage)
        if covers(losses, tail.segment, damage):
            return
        missing = damage.last_seq - damage.first_seq + 1
        what = (
            f"{missing} events are missing at the end of {tail.segment.path}: event {damage.last_seq} was committed, the last one there is "
            f"{tail.last_seq} (byte {damage.offset}: {damage.reason.value})"
        )
        if not self.accept:
            raise JournalTruncated(f"{what}. {_ACCEPT}.", missing)
        if self.witness is not None:
            self.keep("witness", self.witness.raw)
        acknowledge(self.folder, tail.segment, damage, self.at_ns, self.disk)
        self.notes.append(f"accepted: {what}")


def open_tail(
    folder: Path, witness: Witness | None, reserve: Reserve, disk: Disk, *, at_ns: int, accept_loss: bool
) -> Opened:
    """Makes the end of the journal ready for new events.

    Raises :class:`JournalDamaged`, :class:`JournalTruncated` (unless ``accept_loss``), :class:`JournalUnsupported`, and ``OSError``.
    """
    opening = _Opening(folder, witness, reserve, disk, at_ns, accept_loss)
    segments = list_segments(folder)
    if not segments:
        opening.mark_for(None)
        return Opened(None, -1, 0, opening.notes)
    fd = os.open(segments[-1].path, os.O_RDWR | os.O_CLOEXEC)
    try:
        tail, losses = opening.look(fd, segments[-1])
        return opening.finish(fd, tail, losses)
    except BaseException:
        os.close(fd)
        raise
