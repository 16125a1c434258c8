"""What lies on the disk, byte by byte.

```text
   DIR/cashy-disk            what this folder is: layout version and block size (and the flock of its master)
   DIR/index                 the journal: a header, then a record of 32 bytes for each block that came or went
   DIR/blocks/3f/3fa9…       one block: its bytes from offset 0, zeros up to the next multiple of 4096, then the trailer
   DIR/blocks/new-<n>        one that is being written
```

A block's bytes begin at offset 0, so a client can map them; its file is never written again, so a mapping outlives its name. All numbers are
little-endian; checksums are crc32c.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import crc32c

from cashy.core.disk_index import DISK_PAGE_BYTES

__all__ = [
    "LAYOUT_VERSION", "RECORD_BYTES", "TRAILER_BYTES", "Record", "RecordKind", "Trailer", "block_path", "key_of_name", "pack_record",
    "pack_trailer", "trailer_offset", "unpack_record", "unpack_trailer",
]  # fmt: skip

#: Another one is another folder: nothing is converted.
LAYOUT_VERSION = 1

_MAGIC = b"cashyblk"
#: Magic, layout version, length, crc of the bytes, digest.
_TRAILER = struct.Struct("<8sIII32s")
TRAILER_BYTES = _TRAILER.size + 4

#: Kind, first 16 bytes of the digest, length, crc of the bytes.
_RECORD = struct.Struct("<I16sII")
RECORD_BYTES = _RECORD.size + 4


class RecordKind:
    """What a record says."""

    ADDED = 0x61646465
    REMOVED = 0x72656D6F


class Trailer(NamedTuple):
    """What stands behind a block's bytes."""

    digest: bytes
    length: int
    crc: int


class Record(NamedTuple):
    """One line of the journal."""

    kind: int
    key: bytes
    length: int
    crc: int


def trailer_offset(length: int) -> int:
    """Where the trailer of a block of so many bytes begins."""
    return -(-length // DISK_PAGE_BYTES) * DISK_PAGE_BYTES


def pack_trailer(digest: bytes, length: int, crc: int) -> bytes:
    """The trailer's bytes."""
    body = _TRAILER.pack(_MAGIC, LAYOUT_VERSION, length, crc, digest)
    return body + crc32c.crc32c(body).to_bytes(4, "little")


def unpack_trailer(data: bytes) -> Trailer | None:
    """None: this is no trailer, or a damaged one."""
    if len(data) != TRAILER_BYTES or crc32c.crc32c(data[:-4]) != int.from_bytes(data[-4:], "little"):
        return None
    magic, version, length, crc, digest = _TRAILER.unpack(data[:-4])
    return Trailer(digest, length, crc) if (magic, version) == (_MAGIC, LAYOUT_VERSION) else None


def pack_record(record: Record) -> bytes:
    """The record's bytes."""
    body = _RECORD.pack(*record)
    return body + crc32c.crc32c(body).to_bytes(4, "little")


def unpack_record(data: bytes | memoryview) -> Record | None:
    """None: damaged."""
    if crc32c.crc32c(data[:-4]) != int.from_bytes(data[-4:], "little"):
        return None
    record = Record(*_RECORD.unpack(data[:-4]))
    return record if record.kind in (RecordKind.ADDED, RecordKind.REMOVED) else None


def block_path(folder: Path, key: bytes) -> str:
    """Where a block lies."""
    name = key.hex()
    return f"{folder}/blocks/{name[:2]}/{name}"


def key_of_name(name: str) -> bytes | None:
    """The key of a block file's name; None: no block file."""
    try:
        key = bytes.fromhex(name)
    except ValueError:
        return None
    return key if len(key) == 16 and key.hex() == name else None
