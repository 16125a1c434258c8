"""The bytes of a recording: a file's head, and its records, made and taken apart.

Law: layout and checksums; which files there are and when they are written is known to :mod:`toucan.market.recorder` alone. All integers are
little-endian. A file is a head and records behind each other::

    head, 16 bytes                       record, 17 bytes and its payload
     0  8s  magic "TJmarket"              0  u32 length of the payload
     8  u32 format version (1)            4  u32 crc32c of all from byte 8 to the end of the payload
    12  u32 crc32c of bytes 0..12         8  i64 at_ns: when it was heard, ns since 1970-01-01 UTC
                                         16  u8  kind: 1 news, 2 picture
                                         17      payload: one message of a feed in MessagePack (:mod:`toucan.market.core.messages`)

Each file begins with a *picture*, the newest of everything when it was begun, so each can be read without those before it; a reader who has them
sees nothing new in it. News are what the feed said, in order; that the feed was lost is a beat which says that it is stale.

A reader goes as far as records are whole. Where one is not, the place is a *cut* if nothing that can be a record follows (the recorder was killed,
the disk was full), else *damage*. Both are told, with how many bytes are left unread; a recording's next file goes on.

Rejected: a database or a column format (a cut one is unreadable as a whole, and a tail cannot be followed); compression here (a rotated file is
compressed by whoever keeps it); looking for the next record behind damage (market data without what came between mislead).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from struct import Struct
from typing import BinaryIO

import crc32c
import msgspec

from toucan.market.core.messages import FromFeed
from toucan.market.limits import RECORD_BYTES_MAX

__all__ = [
    "HEAD_BYTES",
    "Ending",
    "Kind",
    "NotARecording",
    "Record",
    "RecordReader",
    "encode_head",
    "encode_record",
]

_MAGIC = b"TJmarket"
_VERSION = 1
_HEAD = Struct("<8sII")
_RECORD = Struct("<IIqB")
_CHECKED_FROM = 8
HEAD_BYTES = _HEAD.size
_READ_BYTES = 256 << 10

_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[FromFeed] = msgspec.msgpack.Decoder(FromFeed)


class NotARecording(ValueError):
    """A file that is none, or is of another version; the message says which."""


class Kind(enum.IntEnum):
    """What a record is."""

    NEWS = 1
    PICTURE = 2


class Record(msgspec.Struct, frozen=True):
    """One message, and when it was heard (ns since the epoch)."""

    at_ns: int
    kind: Kind
    message: FromFeed


class Ending(msgspec.Struct, frozen=True):
    """How far a file could be read, in bytes, and what is behind that."""

    read_bytes: int
    unread_bytes: int = 0
    is_damage: bool = False

    @property
    def is_whole(self) -> bool:
        """All of it was read."""
        return self.unread_bytes == 0


def encode_head() -> bytes:
    """How a file begins."""
    head = _HEAD.pack(_MAGIC, _VERSION, 0)
    return head[:-4] + crc32c.crc32c(head[:-4]).to_bytes(4, "little")


def encode_record(record: Record) -> bytes:
    """A record's bytes."""
    payload = _encode(record.message)
    head = _RECORD.pack(len(payload), 0, record.at_ns, record.kind)
    checksum = crc32c.crc32c(payload, crc32c.crc32c(head[_CHECKED_FROM:]))
    return _RECORD.pack(len(payload), checksum, record.at_ns, record.kind) + payload


class RecordReader:
    """Reads one file; :attr:`ending` says how it ended once :meth:`records` is exhausted. Memory: one record and a buffer."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._buffer = b""
        #: Where in the buffer the next record begins, and where in the file.
        self._start = 0
        self._read_bytes = 0
        self.ending: Ending | None = None

    def records(self) -> Iterator[Record]:
        """All that are whole, in order. Raises :class:`NotARecording` for a file that begins with something else."""
        if self._take_head():
            while (record := self._next()) is not None:
                yield record
        self.ending = self._ended()

    def _take_head(self) -> bool:
        """False: the file is cut within its first bytes."""
        is_there = self._fill(HEAD_BYTES)
        head = self._buffer[:HEAD_BYTES]
        if not is_there and encode_head().startswith(head):
            return False
        magic, version, checksum = _HEAD.unpack(head) if is_there else (b"", 0, 0)
        if magic != _MAGIC or checksum != crc32c.crc32c(head[:-4]):
            raise NotARecording("it is no recording of market data")
        if version != _VERSION:
            raise NotARecording(f"it has format {version}, and this program reads format {_VERSION}")
        self._pass(HEAD_BYTES)
        return True

    def _next(self) -> Record | None:
        if not self._fill(_RECORD.size):
            return None
        length, checksum, at_ns, kind = _RECORD.unpack_from(self._buffer, self._start)
        size = _RECORD.size + length
        if not length or size > RECORD_BYTES_MAX or not self._fill(size):
            return None
        whole = memoryview(self._buffer)[self._start : self._start + size]
        if checksum != crc32c.crc32c(whole[_CHECKED_FROM:]):
            return None
        try:
            record = Record(at_ns, Kind(kind), _decoder.decode(whole[_RECORD.size :]))
        except (msgspec.MsgspecError, ValueError):
            return None
        self._pass(size)
        return record

    def _ended(self) -> Ending:
        """What is left is a cut if its first record goes to the file's end or beyond, or if there is nothing but zeros."""
        rest = memoryview(self._buffer)[self._start :]
        length = _RECORD.unpack_from(rest)[0] if len(rest) >= _RECORD.size else 0
        left, is_zero = len(rest), not any(rest)
        while chunk := self._file.read(_READ_BYTES):
            left += len(chunk)
            is_zero = is_zero and not any(chunk)
        size = _RECORD.size + length
        reaches_end = length > 0 and left <= size <= RECORD_BYTES_MAX
        is_cut = left < _RECORD.size or is_zero or reaches_end
        return Ending(self._read_bytes, left, is_damage=left > 0 and not is_cut)

    def _fill(self, size: int) -> bool:
        """Whether so many bytes could be had behind the start."""
        while len(self._buffer) - self._start < size:
            chunk = self._file.read(_READ_BYTES)
            if not chunk:
                return False
            self._buffer = self._buffer[self._start :] + chunk
            self._start = 0
        return True

    def _pass(self, size: int) -> None:
        self._start += size
        self._read_bytes += size
