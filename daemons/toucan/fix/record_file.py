"""A file of records (:mod:`toucan.fix.core.records`) that is appended to, and is whole again at each start.

What was appended is the kernel's at once, so it outlives the process (kill -9); only after :meth:`RecordFile.sync` does it outlive the host. A record
that was not finished is cut off. Damage is told, and what is in front of it is kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from toucan.errors import ToucanError
from toucan.fix.core.records import RecordEnd, encode_record, read_records
from toucan.fix.limits import RECORD_BYTES_MAX

__all__ = ["FixFileError", "RecordFile"]


class FixFileError(ToucanError):
    """A file of a FIX session cannot be read or written; the message says which."""


class RecordFile:
    """``records`` are those that were there, until :meth:`forget_records`; ``end`` is what was behind them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            data = self._read()
        except OSError as error:
            raise FixFileError(f"cannot use {path}: {error.strerror or error}") from error
        self.records: list[bytes] = []
        self.end = RecordEnd.CLEAN
        whole = 0
        for item in read_records(data):
            if isinstance(item, RecordEnd):
                self.end = item
            else:
                payload, whole = item
                self.records.append(payload)
        if whole < len(data):
            os.ftruncate(self._file, whole)
        self.size = whole

    def _read(self) -> bytes:
        parts = []
        while part := os.read(self._file, 1 << 20):
            parts.append(part)
        return b"".join(parts)

    def forget_records(self) -> None:
        """What was read is of no more use."""
        self.records = []

    def append(self, payload: bytes) -> None:
        """One more record. Raises :class:`FixFileError`; then the file ends with a part of it at most."""
        if len(payload) > RECORD_BYTES_MAX:
            # The next start would take it for damage, and all that is behind it.
            raise FixFileError(f"cannot write {self.path}: a record of {len(payload):,} bytes")
        data = encode_record(payload)
        try:
            self.size += len(data)
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            raise FixFileError(f"cannot write {self.path}: {error.strerror or error}") from error

    def sync(self) -> None:
        """Waits until all of it is on the disk. Raises :class:`FixFileError`."""
        try:
            os.fdatasync(self._file)
        except OSError as error:
            raise FixFileError(f"cannot sync {self.path}: {error.strerror or error}") from error

    def rewrite(self, payloads: Iterable[bytes]) -> None:
        """The file has these records and no others, at once or not at all."""
        fresh = self.path.with_name(f"{self.path.name}.new")
        data = b"".join(map(encode_record, payloads))
        try:
            file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            os.fsync(file)
            fresh.replace(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            os.fsync(folder)
            os.close(folder)
        except OSError as error:
            raise FixFileError(f"cannot write {fresh}: {error.strerror or error}") from error
        os.close(self._file)
        self._file, self.size = file, len(data)

    def close(self) -> None:
        """Syncs and closes it."""
        self.sync()
        os.close(self._file)
