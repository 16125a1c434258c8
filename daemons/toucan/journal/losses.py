"""Acknowledged losses: a person has said that these events are gone for good, so that the engine may go on without them.

The damaged bytes stay where they are; a loss is a small file of JSON beside them, which readers look up when they come to the place. If it is
removed the place is damage again. Rejected: to mend the segment in place (it destroys the evidence, and a second mistake while doing so destroys
more).
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from toucan.journal.core.scan import Damage
from toucan.journal.disk import Disk
from toucan.journal.errors import JournalError
from toucan.journal.folder import SegmentFile, write_whole_file
from toucan.journal.limits import LOSSES_MAX

__all__ = ["Loss", "acknowledge", "covers", "read_losses"]


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """Events ``first_seq`` to ``last_seq`` are gone (none, if ``last_seq`` is less). ``at_ns``: when that was acknowledged, ns since the epoch."""

    segment: str
    offset: int
    first_seq: int
    last_seq: int
    at_ns: int
    reason: str

    @property
    def events(self) -> int:
        """How many events are lost."""
        return max(0, self.last_seq - self.first_seq + 1)


def _folder(folder: Path) -> Path:
    return folder / "losses"


def read_losses(folder: Path) -> list[Loss]:
    """All acknowledged losses, by their first event. Raises :class:`JournalError` for a file that cannot be understood."""
    try:
        names = sorted(name for name in os.listdir(_folder(folder)) if name.endswith(".json"))
    except FileNotFoundError:
        return []
    losses = []
    for name in names:
        path = _folder(folder) / name
        try:
            losses.append(msgspec.json.decode(path.read_bytes(), type=Loss))
        except msgspec.DecodeError as error:
            raise JournalError(
                f"{path} is not an acknowledged loss ({error}); move it away, then acknowledge the loss again"
            ) from error
    return sorted(losses, key=lambda loss: loss.first_seq)


def covers(losses: list[Loss], segment: SegmentFile, damage: Damage) -> bool:
    """Whether this damage was acknowledged: the same place, and no event that was not said to be lost."""
    return any(
        loss.segment == segment.path.name
        and loss.offset == damage.offset
        and loss.first_seq == damage.first_seq
        and loss.last_seq >= damage.last_seq
        for loss in losses
    )


def acknowledge(folder: Path, segment: SegmentFile, damage: Damage, at_ns: int, disk: Disk) -> Loss:
    """Notes that what is damaged there is lost; durable when this returns. Raises ``OSError``, and :class:`JournalError` if there are too many."""
    loss = Loss(
        segment=segment.path.name, offset=damage.offset, first_seq=damage.first_seq,
        last_seq=damage.last_seq, at_ns=at_ns, reason=damage.reason.value,
    )  # fmt: skip
    losses = _folder(folder)
    if not losses.is_dir():
        losses.mkdir(mode=0o750)
        disk.sync_folder(folder)
    if len(os.listdir(losses)) >= LOSSES_MAX:
        raise JournalError(
            f"{losses} holds {LOSSES_MAX:,} acknowledged losses: this disk is not fit for a journal, begin a new one elsewhere"
        )
    name = f"{loss.first_seq:020d}-{segment.first_seq:020d}-{loss.offset}.json"
    write_whole_file(losses / name, msgspec.json.format(msgspec.json.encode(loss)), disk)
    return loss
