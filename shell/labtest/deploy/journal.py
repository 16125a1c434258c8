"""Journals of runs: a file for each, a record on each line, on the disk before what it tells of begins.

Each line is ``crc32 JSON``. The last line may have been cut by a kill, which is as if it had not been written; anything else that is not as it was
written is damage, and is told.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import msgspec

from labtest.core.run_records import Record
from labtest.deploy.errors import JournalFailed, StateDamaged
from labtest.deploy.files import append, make_folder, open_own
from labtest.deploy.limits import JOURNAL_BYTES_MAX, JOURNALS_KEPT

__all__ = ["JournalFile", "journals", "read_journal"]

_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(Record)


class JournalFile:
    """A journal that is being written."""

    def __init__(self, folder: Path) -> None:
        """Begins the next one. Those that are too many go."""
        make_folder(folder)
        there = journals(folder)
        for old in there[: max(0, len(there) + 1 - JOURNALS_KEPT)]:
            old.unlink(missing_ok=True)
        number = int(there[-1].stem) + 1 if there else 1
        self.path = folder / f"{number:08}.jsonl"
        self._descriptor = open_own(self.path, os.O_WRONLY | os.O_APPEND | os.O_EXCL)

    def write(self, record: Record) -> None:
        """Adds a record. Raises :class:`~labtest.deploy.errors.JournalFailed`: then the run must not go on, since nobody would know of it."""
        text = _ENCODER.encode(record)
        try:
            append(self._descriptor, b"%08x " % zlib.crc32(text) + text + b"\n")
        except OSError as error:
            raise JournalFailed(
                f"{self.path}: {error.strerror}: what is done could not be written down, so nothing more is begun"
            ) from error

    def close(self) -> None:
        """No more records come."""
        os.close(self._descriptor)


def journals(folder: Path) -> list[Path]:
    """All journals, oldest first."""
    return sorted(path for path in folder.glob("*.jsonl") if path.stem.isdecimal())


def read_journal(path: Path) -> list[Record]:
    """All records of a journal. Raises :class:`~labtest.deploy.errors.StateDamaged`."""
    if path.stat().st_size > JOURNAL_BYTES_MAX:
        raise StateDamaged(f"{path} has more than {JOURNAL_BYTES_MAX:,} bytes: that is no journal of labtest")
    lines = path.read_bytes().split(b"\n")
    lines.pop()  # what comes after the last newline was cut off by a kill, or is nothing
    records = []
    for number, line in enumerate(lines, 1):
        crc, _, text = line.partition(b" ")
        try:
            if int(crc, 16) != zlib.crc32(text):
                raise ValueError("its checksum is another")
            records.append(_DECODER.decode(text))
        except (ValueError, msgspec.DecodeError) as error:
            raise StateDamaged(
                f"{path}:{number}: {error}. The file was changed since it was written, or the disk is bad; "
                "what the run did is on the hosts: move the file away, and plan again"
            ) from error
    return records
