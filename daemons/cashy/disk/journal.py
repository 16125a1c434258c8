"""The index on the disk: what there was when it was begun, and what came and went since, appended; so a million blocks are found again by one file.

```text
   header   32 bytes
   count, crc32c of the three arrays   12 bytes, then their keys (16 bytes each), lengths (4) and checksums (4)
   records  32 bytes each
```

It is written behind the blocks and without a sync. What it lacks after a crash lies in the folders and is adopted from there; what it has too much is
noticed when it is read. So it may be wrong and never harms.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import crc32c

from cashy.core.disk_index import DiskIndex
from cashy.disk.layout import RECORD_BYTES, Record, RecordKind, pack_record, unpack_record

__all__ = ["Journal", "read_journal"]

_HEADER = b"cashy disk index, layout 1".ljust(RECORD_BYTES, b"\n")
_CHUNK_RECORDS = 1 << 15
_ARRAYS = struct.Struct("<QI")
#: Of one block in each of the arrays.
_ARRAY_BYTES = 16, 4, 4
_BLOCK_BYTES = sum(_ARRAY_BYTES)


def read_journal(path: Path, index: DiskIndex) -> int:
    """Puts into ``index`` (empty) what the journal at ``path`` says; how many records it has, -1: it is missing or damaged from its beginning on.

    What follows a damaged record counts as not written. Raises OSError.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return -1
    count = 0
    with file:
        if file.read(RECORD_BYTES) != _HEADER or not _read_arrays(file, index):
            return -1
        while chunk := file.read(_CHUNK_RECORDS * RECORD_BYTES):
            view = memoryview(chunk)
            for at in range(0, len(chunk) - RECORD_BYTES + 1, RECORD_BYTES):
                record = unpack_record(view[at : at + RECORD_BYTES])
                if record is None:
                    return count
                count += 1
                _apply(record, index)
    return count


def _read_arrays(file: BinaryIO, index: DiskIndex) -> bool:
    head = file.read(_ARRAYS.size)
    if len(head) < _ARRAYS.size:
        return False
    count, crc = _ARRAYS.unpack(head)
    if count > os.fstat(file.fileno()).st_size // _BLOCK_BYTES:
        return False  # a damaged count would ask for any amount of memory
    arrays = [file.read(count * size) for size in _ARRAY_BYTES]
    if len(arrays[2]) != count * 4 or _sum(arrays) != crc:
        return False
    index.load(*arrays)
    return True


def _sum(arrays: Iterable[bytes]) -> int:
    crc = 0
    for each in arrays:
        crc = crc32c.crc32c(each, crc)
    return crc


def _apply(record: Record, index: DiskIndex) -> None:
    if record.kind == RecordKind.ADDED:
        while index.count >= index.capacity and (victim := index.victim()) is not None:
            index.remove(victim.slot)
        index.add(record.key, record.length, record.crc)
    elif (place := index.find(record.key)) is not None:
        index.remove(place.slot)


class Journal:
    """For appending; all methods are for one thread at a time. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._end = 0
        self.records = 0

    @property
    def is_open(self) -> bool:
        """Whether it can be appended to; if not, it has to be written anew."""
        return self._fd >= 0

    def write_anew(self, index: DiskIndex) -> None:
        """A journal of what this index holds takes the place of the one that is there."""
        new = self._path.with_name(f"{self._path.name}.new")
        arrays = index.dump()
        try:
            with new.open("wb") as file:
                file.write(_HEADER + _ARRAYS.pack(len(index), _sum(arrays)))
                for each in arrays:
                    file.write(each)
                end = file.tell()
            new.rename(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()  # half of it would take room that there is too little of
            raise
        self.close()
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        self._end = end
        self.records = 0

    def append(self, records: Iterable[Record]) -> None:
        """Adds to it. What was not written whole is as if it had not been tried: the next records go to its place."""
        if self._fd < 0:
            return
        data = memoryview(b"".join(map(pack_record, records)))
        at = self._end
        while at - self._end < len(data):
            at += os.pwrite(self._fd, data[at - self._end :], at)
        self._end = at
        self.records += len(data) // RECORD_BYTES

    def close(self) -> None:
        """Gives its file back."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
